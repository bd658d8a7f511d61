"""Writes raw scouting files: FRD file header version 2, events of version 6 with crc32c.

For samples, tests and feeds. What can be written is what the scouting formats carry: the tables
mu, eg, tau, jet, sums, stub and tower of contiguous blocks.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from scout40.streams.block import Block, Table
from scout40.streams.crc import crc32c
from scout40.streams.errors import BadInput
from scout40.streams.formats import bmtf, calo, frd, gmt, tower
from scout40.streams.layout import Word

Array = npt.NDArray[Any]
CaloForm = Literal["dma", "tcp"]

_FILE = frd.record(frd.FrdFileHeader2)
_EVENT = frd.record(frd.FrdEvent6)
_CALO: dict[str, type[Word]] = {
    "jet": calo.CaloJet,
    "eg": calo.CaloEgamma,
    "tau": calo.CaloTau,
    "sums": calo.CaloSums,
}
_TCP_SOURCE = {table: source for source, table in frd.CALO_TCP.items()}


class Payload(NamedTuple):
    """One orbit of one source: uint32 words without the source id."""

    orbit: int
    source: int
    words: npt.NDArray[np.uint32]


def event_bytes(payload: Payload, run: int, lumi: int) -> bytes:
    """An FRD event, version 6: header, source id, words."""
    body = payload.source.to_bytes(4, "little") + payload.words.astype("<u4").tobytes()
    return _EVENT.pack(6, 0, run, lumi, payload.orbit, len(body), crc32c(body)) + body


def file_header_bytes(events: int, run: int, lumi: int, size: int) -> bytes:
    """FRD file header, version 2. size: bytes of the whole file, header included."""
    start = (int.from_bytes(b"RAW_", "little"), int.from_bytes(b"0002", "little"))
    low, high = size & 0xFFFFFFFF, size >> 32
    return _FILE.pack(*start, _FILE.size, frd.DATA_TYPE, events, run, lumi, low, high)


class FrdWriter:
    """A raw file that gets its name when it is complete; without ``close`` nothing is left.

    Use as a context manager: an exception inside removes the unfinished file.
    """

    def __init__(self, path: str | Path, run: int = 1, lumi: int = 1) -> None:
        self._path = Path(path)
        self._partial = self._path.with_name(self._path.name + ".partial")
        self._file = self._partial.open("wb")
        self._run, self._lumi = run, lumi
        self._events = 0
        self._file.write(bytes(_FILE.size))

    def add(self, payload: Payload, lumi: int | None = None, run: int | None = None) -> None:
        """Append one event."""
        lumi = self._lumi if lumi is None else lumi
        self._file.write(event_bytes(payload, self._run if run is None else run, lumi))
        self._events += 1

    def write(self, block: Block, calo_form: CaloForm = "dma") -> None:
        """Append all orbits of a contiguous block; ``run`` and ``lumi`` columns are used."""
        lumi, run = _by_orbit(block, "lumi", self._lumi), _by_orbit(block, "run", self._run)
        for payload in payloads(block, calo_form):
            place = payload.orbit - block.first_orbit
            self.add(payload, int(lumi[place]), int(run[place]))

    def close(self) -> None:
        """Complete the header and give the file its name."""
        size = self._file.tell()
        self._file.seek(0)
        self._file.write(file_header_bytes(self._events, self._run, self._lumi, size))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._partial.replace(self._path)

    def __enter__(self) -> FrdWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._file.close()
            self._partial.unlink(missing_ok=True)


def write_frd(
    path: str | Path, blocks: Iterable[Block], *, run: int = 1, lumi: int = 1,
    calo_form: CaloForm = "dma",
) -> None:  # fmt: skip
    """A complete raw file of contiguous blocks."""
    with FrdWriter(path, run, lumi) as writer:
        for block in blocks:
            writer.write(block, calo_form)


def payloads(block: Block, calo_form: CaloForm = "dma") -> Iterator[Payload]:
    """Packets of a block: for every orbit one of each source of its tables, by source id.

    Calorimeter tables in DMA form become one block for each crossing that has any of them, and
    reading gives each of those a row of sums. Raises BadInput when the block is not contiguous,
    when a crossing has more objects than the format can announce, or a value does not fit.
    """
    if not block.contiguous:
        raise BadInput("raw files hold whole orbits: the block is not contiguous")
    streams: dict[int, tuple[Array, Array]] = {}
    tables = block.tables
    if "mu" in tables:
        streams[frd.GMT] = _muons(block, tables["mu"])
    if calo_form == "dma" and any(name in tables for name in _CALO):
        streams[frd.CALO] = _dma(block)
    if calo_form == "tcp":
        for name in set(tables) & set(_CALO):
            streams[_TCP_SOURCE[name]] = _tcp(block, name)
    if "stub" in tables:
        for sector in range(bmtf.SECTORS):
            streams[frd.BMTF[sector]] = _stubs(block, tables["stub"], sector)
    if "tower" in tables:
        rows = tower.CaloTower.pack(tables["tower"].columns)
        streams[frd.CALO_TOWER] = _blocks(
            block, tower.TowerBlockHeader, rows, tables["tower"].counts()
        )
    for orbit in range(block.first_orbit, block.last_orbit):
        place = orbit - block.first_orbit
        for source in sorted(streams):
            words, edges = streams[source]
            yield Payload(orbit, source, words[edges[place] : edges[place + 1]])


def _muons(block: Block, table: Table) -> tuple[Array, Array]:
    counts = table.counts()
    _at_most(block, counts, gmt.MAX_MUONS, "mu")
    # Muons share the word with the raw eta in pairs; each writes its own place in it.
    second = (np.arange(len(table)) - np.repeat(table.offsets[:-1], counts)) % 2
    columns = dict(table.columns)
    eta = columns.pop("hw_eta", np.zeros(len(table), np.int16))
    columns["second"] = second
    columns["hw_eta_first"] = np.where(second == 0, eta, 0)
    columns["hw_eta_second"] = np.where(second == 1, eta, 0)
    first = np.minimum(counts, gmt.GmtBlockHeader.n_a.limit)
    numbers = {"n_a": first, "n_b": counts - first}
    return _blocks(block, gmt.GmtBlockHeader, gmt.GmtMuon.pack(columns), counts, numbers)


def _tcp(block: Block, name: str) -> tuple[Array, Array]:
    table = block.tables[name]
    counts = table.counts()
    if name == "sums":
        _at_most(block, counts, 1, name)
        return _blocks(block, calo.CaloSumsHeader, calo.CaloSums.pack(table.columns), counts, {})
    _at_most(block, counts, calo.CaloBlockHeader.count.limit, name)
    return _blocks(block, calo.CaloBlockHeader, _CALO[name].pack(table.columns), counts)


def _dma(block: Block) -> tuple[Array, Array]:
    """Blocks of fixed size: link words are the number of the group."""
    body = np.zeros((len(block), calo.DMA_WORDS - calo.CaloBlockHeader.words), np.uint32)
    group_words = calo.DMA_GROUP_WORDS + 1
    groups = body.reshape(len(block), body.shape[1] // group_words, group_words)
    groups[:, :, 0] = np.arange(groups.shape[1])
    full = np.zeros(len(block), np.int32)
    for name in set(block.tables) & set(_CALO):
        table = block.tables[name]
        counts = table.counts()
        full |= counts > 0
        packed = _CALO[name].pack(table.columns)
        row = np.repeat(np.arange(len(block)), counts)
        if name == "sums":
            _at_most(block, counts, 1, name)
            place = np.full(len(row), calo.DMA_GROUPS[name][0])
        else:
            _at_most(block, counts, 2 * calo.DMA_GROUP_WORDS, name)
            slot = np.arange(len(table)) - np.repeat(table.offsets[:-1], counts)
            link, position = np.divmod(slot, calo.DMA_GROUP_WORDS)
            place = np.array(calo.DMA_GROUPS[name])[link] + position
        place = place + 1 - calo.CaloBlockHeader.words  # behind the link word
        body[row[:, None], place[:, None] + np.arange(packed.shape[1])] = packed
    return _blocks(block, calo.CaloBlockHeader, body[full > 0], full, {})


def _stubs(block: Block, table: Table, sector: int) -> tuple[Array, Array]:
    mine = table["sector"] == sector
    row = np.repeat(np.arange(len(block)), table.counts())[mine]
    columns = {name: column[mine] for name, column in table.columns.items()}
    columns["hw_station"] = columns["station"].astype(np.int16) - 1
    columns["stub_bx"] = block.bx[row]
    counts = np.bincount(row, minlength=len(block)).astype(np.int32)
    _at_most(block, counts, bmtf.BmtfBlockHeader.count.limit, "stub")
    words = bmtf.BmtfStub.pack(columns).view("<u4").reshape(-1, 2)
    return _blocks(block, bmtf.BmtfBlockHeader, words, counts)


def _blocks(
    block: Block, header: type[Word], rows: Array, counts: Array,
    numbers: dict[str, Array] | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    """(words, edges): headers and objects of all crossings that have some; edges by orbit.

    rows: uint32 (objects, stride). numbers: header fields; None: the field ``count``.
    """
    full = counts > 0
    numbers = {"count": counts} if numbers is None else numbers
    # The header keeps 31 bits of the orbit number.
    orbit = block.orbit[full] & np.uint32(header.fields["orbit"].limit)
    known = {name: values[full] for name, values in numbers.items()}
    heads = header.pack({"bx": block.bx[full], "orbit": orbit, **known})
    stride = rows.shape[1]
    sizes = header.words + stride * counts[full].astype(np.int64)
    stops = np.cumsum(sizes)
    words = np.empty(int(stops[-1]) if len(stops) else 0, np.uint32)
    is_head = np.zeros(len(words), bool)
    is_head[((stops - sizes)[:, None] + np.arange(header.words)).ravel()] = True
    words[is_head] = heads.ravel()
    words[~is_head] = rows.ravel()
    first = np.searchsorted(
        block.orbit[full], np.arange(block.first_orbit, block.last_orbit + 1, dtype=np.int64)
    )
    return words, np.concatenate([np.zeros(1, np.int64), stops])[first]


def _at_most(block: Block, counts: Array, limit: int, table: str) -> None:
    bad = np.flatnonzero(counts > limit)
    if len(bad):
        raise BadInput(
            f"{counts[bad[0]]} objects in one crossing, the format has room for {limit}",
            orbit=int(block.orbit[bad[0]]), bx=int(block.bx[bad[0]]), field=table,
        )  # fmt: skip


def _by_orbit(block: Block, name: str, default: int) -> Array:
    """A crossing column as one value an orbit; orbits without rows get the one before."""
    orbits = block.last_orbit - block.first_orbit
    if name not in block.crossing or not len(block):
        return np.full(orbits, default, np.int64)
    wanted = np.arange(block.first_orbit, block.last_orbit)
    row = np.searchsorted(block.orbit, wanted, side="right") - 1
    return block.crossing[name][np.maximum(row, 0)].astype(np.int64)
