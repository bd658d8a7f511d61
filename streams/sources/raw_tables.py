"""Scouting packets of each source kind to tables of hardware columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.streams.block import ORBIT_BX
from scout40.streams.formats import bmtf, calo
from scout40.streams.formats.gmt import GmtMuon, ScoutingMuon, ScoutingMuonAll
from scout40.streams.formats.tower import CaloTower
from scout40.streams.jit import inline, njit
from scout40.streams.layout import Word
from scout40.streams.sources.raw_unpack import (
    SHAPES,
    BadPacket,
    Directory,
    Objects,
    Packets,
    count_bits,
    crossings_of,
    directory,
    gather,
)

Array = npt.NDArray[Any]

BATCH_WORDS = 1 << 18
"""Words of GMT packets handled at a time: 1 MiB and what is made of it stay in the cache."""

CALO_WORDS: dict[str, type[Word]] = {
    "jet": calo.CaloJet,
    "eg": calo.CaloEgamma,
    "tau": calo.CaloTau,
    "sums": calo.CaloSums,
}
KIND_TABLES: dict[str, tuple[str, ...]] = {
    "gmt": ("mu",),
    "calo": tuple(CALO_WORDS),
    "bmtf": ("stub",),
    "tower": ("tower",),
    **{f"tcp_{table}": (table,) for table in CALO_WORDS},
}
"""Source kind -> tables that its packets fill."""


def unpack(
    kind: str, packets: Packets, *, keep_intermediate: bool = False, first_bx: int = 1
) -> tuple[dict[str, Objects], list[BadPacket]]:
    """Tables of all good packets of one source kind, and the bad packets.

    Objects of zero energy are dropped. Raises BadInput when ``packets`` is inconsistent.
    """
    if kind == "gmt":
        muons, bad = unpack_gmt(packets, keep_intermediate=keep_intermediate, first_bx=first_bx)
        return {"mu": muons}, bad
    found, bad = directory(kind, packets, first_bx=first_bx)
    if kind == "bmtf":
        return {"stub": _stubs(packets, found)}, bad
    if kind == "tower":
        rows, kept = gather(packets.words, found, CaloTower.words)
        return {"tower": crossings_of(found.key, kept, CaloTower.unpack(rows))}, bad
    if kind == "calo":
        pieces = {table: _dma_pieces(found, table) for table in CALO_WORDS}
    else:
        pieces = {KIND_TABLES[kind][0]: found}
    return {table: _calo(packets, piece, table) for table, piece in pieces.items()}, bad


def _dma_pieces(found: Directory, table: str) -> Directory:
    """The groups of six words of one table in every DMA block, link 1 before link 2."""
    places = np.array(calo.DMA_GROUPS[table]) - (SHAPES["calo"].header.words - 1)
    number = 1 if table == "sums" else calo.DMA_GROUP_WORDS
    return Directory(
        np.repeat(found.packet, len(places)),
        np.repeat(found.key, len(places)),
        (found.start[:, None] + places).ravel(),
        np.full(len(found.start) * len(places), number, np.int32),
    )


def _calo(packets: Packets, found: Directory, table: str) -> Objects:
    word = CALO_WORDS[table]
    if table == "sums":
        rows, kept = gather(packets.words, found, word.words)
        return crossings_of(found.key, kept, calo.drop_undefined_azimuth(word.unpack(rows)))
    et = word.fields["hw_et"]
    rows, kept = gather(packets.words, found, word.words, et.mask << et.lo)
    return crossings_of(found.key, kept, word.unpack(rows))


def _stubs(packets: Packets, found: Directory) -> Objects:
    """Stubs with the derived columns station (1..4), sector (0..11) and tag."""
    rows, kept = gather(packets.words, found, 2)
    columns = bmtf.BmtfStub.unpack(rows.reshape(-1).view("<u8"))
    del columns["reserved"], columns["stub_bx"]
    station = columns.pop("hw_station") + np.uint8(1)
    sector = packets.source[found.packet] - np.uint8(bmtf.FIRST_SOURCE)
    columns["station"] = station
    columns["sector"] = np.repeat(sector, kept)
    columns["tag"] = np.empty(len(station), np.uint8)
    _first_of_chamber(station, columns["wheel"], kept, columns["tag"])
    return crossings_of(found.key, kept, columns)


@njit
def _first_of_chamber(station: Array, wheel: Array, counts: Array, tag: Array) -> None:
    """tag = 1 for the first stub of a (station, wheel) in its block, else 0."""
    at = 0
    for i in range(len(counts)):
        seen = np.int64(0)
        for _ in range(counts[i]):
            chamber = (np.int64(station[at]) - 1) * 8 + (np.int64(wheel[at]) & 7)
            tag[at] = 1 - ((seen >> chamber) & 1)
            seen |= np.int64(1) << chamber
            at += 1


def unpack_gmt(
    packets: Packets, *, keep_intermediate: bool = False, first_bx: int = 1
) -> tuple[Objects, list[BadPacket]]:
    """Muons with pt > 0, of all packets: the columns of ScoutingMuon.

    With ``keep_intermediate`` also the muons that a track finder sent, as ScoutingMuonAll. The
    columns may be views of longer arrays. Raises BadInput when ``packets`` is inconsistent.
    """
    packets.check("gmt")
    word = ScoutingMuonAll if keep_intermediate else ScoutingMuon
    room = int((packets.stops - packets.starts).sum()) // GmtMuon.words
    key, kept = np.empty(room, np.int32), np.empty(room, np.int32)
    columns = {name: np.empty(room, bits.dtype) for name, bits in word.fields.items()}
    pt_mask, drop, shift, eta_mask, extra_mask = (np.uint32(r) for r in _rules(keep_intermediate))
    rules = pt_mask, drop, shift, eta_mask, extra_mask
    pieces = objects = 0
    last = -1
    batches = list(_batches(packets))
    sizes = [int((packets.stops[a:b] - packets.starts[a:b]).sum()) for a, b in batches]
    rows = np.empty((max(sizes, default=0) // GmtMuon.words + 1, GmtMuon.words), np.uint32)
    for start, stop in batches:
        part = packets.take(start, stop)
        more, muons, last, _ = _muons(
            part.words, part.starts, part.stops, part.orbit, first_bx, ORBIT_BX,
            *count_bits(SHAPES["gmt"]), *rules, last, key[pieces:], kept[pieces:], rows,
        )  # fmt: skip
        if more < 0:
            return _irregular_gmt(packets, word, keep_intermediate, first_bx)
        outputs = (column[objects : objects + muons] for column in columns.values())
        word.kernels()[0](rows[:muons], *outputs)
        pieces, objects = pieces + more, objects + muons
    filled = {name: column[:objects] for name, column in columns.items()}
    return Objects(key[:pieces], kept[:pieces], filled), []


def _irregular_gmt(
    packets: Packets, word: type[Word], keep_intermediate: bool, first_bx: int
) -> tuple[Objects, list[BadPacket]]:
    """As unpack_gmt, for packets with errors or with crossings out of order; slower."""
    found, bad = directory("gmt", packets, first_bx=first_bx)
    raw, counts = gather(packets.words, found, GmtMuon.words)
    pt_mask, drop, shift, eta_mask, extra_mask = (np.uint32(r) for r in _rules(keep_intermediate))
    good = ((raw[:, 0] & pt_mask) != 0) & ((raw[:, 2] & drop) == 0)
    rows = raw[good]
    extra = rows[:, 2]
    rows[:, 2] = ((extra >> (shift * (extra & np.uint32(1)))) & eta_mask) | (extra & extra_mask)
    edges = np.concatenate([np.zeros(1, np.int64), np.cumsum(good, dtype=np.int64)])
    ends = np.cumsum(counts, dtype=np.int64)
    kept = (edges[ends] - edges[ends - counts]).astype(np.int32)
    return crossings_of(found.key, kept, word.unpack(rows)), bad


def _batches(packets: Packets) -> Iterator[tuple[int, int]]:
    """Ranges of packets with about BATCH_WORDS words."""
    place = np.cumsum(packets.stops - packets.starts) // BATCH_WORDS
    cuts = (np.flatnonzero(np.diff(place)) + 1).tolist()
    return zip([0, *cuts], [*cuts, len(place)], strict=True)


def _rules(keep_intermediate: bool) -> tuple[int, int, int, int, int]:
    """Masks of one muon: pt, what drops it, shift to the second eta, eta, bits kept with it."""
    pt, intermediate = GmtMuon.fields["hw_pt"], GmtMuon.fields["intermediate"]
    first, second = GmtMuon.fields["hw_eta_first"], GmtMuon.fields["hw_eta_second"]
    flag = intermediate.mask << intermediate.lo
    drop, extra = (0, flag) if keep_intermediate else (flag, 0)
    return pt.mask << pt.lo, drop, second.lo - first.lo, first.mask << first.lo, extra


@inline
def _muon(
    words: Array, at: int, out: Array, row: int, pt_mask: Any, drop: Any, shift: Any,
    eta_mask: Any, extra_mask: Any,
) -> Any:  # fmt: skip
    """Copies a muon to a row; 1 when it is kept, 0 when the next one may overwrite it."""
    # The copy is made always and counted only when kept: no branch to mispredict.
    first, extra = words[at], words[at + 2]
    moved = (extra >> (shift * (extra & np.uint32(1)))) & eta_mask
    out[row, 0] = first
    out[row, 1] = words[at + 1]
    out[row, 2] = moved | (extra & extra_mask)
    return np.int64(((first & pt_mask) != 0) & ((extra & drop) == 0))


@njit
def _muons(
    words: Array, starts: Array, stops: Array, orbit: Array, first_bx: int, last_bx: int,
    lo_a: int, mask_a: int, lo_b: int, mask_b: int, pt_mask: Any, drop: Any, shift: Any,
    eta_mask: Any, extra_mask: Any, last: int, keys: Array, kept: Array, out: Array,
) -> tuple[int, int, int, Any]:  # fmt: skip
    """Copies the kept muons to ``out``, their own eta moved to the first place.

    keys, kept: crossings with kept muons. Returns (crossings, muons, last key), or -1 crossings
    when a block is wrong or not in time order; the fourth value means nothing. The masks are
    uint32: a word stays 32 bits wide.
    """
    filled = done = 0
    touched = np.uint32(0)
    final = len(words) - 1
    for k in range(len(starts)):
        at, end = starts[k], stops[k]
        high = orbit[k] << 12
        while at < end:
            if end - at < 3 or at < 0:
                return -1, 0, last, touched
            head, bx = np.int64(words[at]), np.int64(words[at + 1])
            # The address of a block depends on the one before, so the processor cannot fetch
            # ahead by itself: read 1 KiB ahead. Returned, so that the compiler keeps it.
            touched ^= words[min(at + 256, final)]
            n = ((head >> lo_a) & mask_a) + ((head >> lo_b) & mask_b)
            key = high | bx
            if bx < first_bx or bx > last_bx or 3 * n > end - at - 3 or key <= last:
                return -1, 0, last, touched
            last = key
            before = filled
            at += 3
            # The first muon apart: most crossings have one, and the branch is then predicted.
            if n > 0:
                filled += _muon(words, at, out, filled, pt_mask, drop, shift, eta_mask, extra_mask)
                at += 3
            for _ in range(1, n):
                filled += _muon(words, at, out, filled, pt_mask, drop, shift, eta_mask, extra_mask)
                at += 3
            keys[done] = key
            kept[done] = filled - before
            done += filled != before
    return done, filled, last, touched
