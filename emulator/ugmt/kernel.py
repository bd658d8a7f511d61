"""One pass over all crossings: every step of the uGMT on the muons of one, then of the next."""

from __future__ import annotations

from typing import Any, NamedTuple

from scout40.emulator.ugmt.addresses import AddressRules, BarrelAddresses, EndcapAddresses
from scout40.emulator.ugmt.cancel_out import (
    Addresses,
    CancelRules,
    Crossing,
    cancel_out,
)
from scout40.emulator.ugmt.extrapolate import ExtrapolationRules, address, eta_move, phi_move
from scout40.emulator.ugmt.isolate import (
    NOT_SENT,
    CaloSums,
    IsolationRules,
    calo_place,
    clear,
    isolation_bits,
    unfold,
)
from scout40.emulator.ugmt.links import BMTF, EMTF, FIRST_LINK, N_LINKS, PHI_TURN
from scout40.emulator.ugmt.neighbours import Neighbours
from scout40.emulator.ugmt.sort import (
    FINAL,
    N_STREAMS,
    NOTHING,
    STRIDE,
    SortLists,
    keep_best,
    merge,
    muon_of,
)
from scout40.streams.jit import njit, pointer

_NEGATIVE_SIDE = N_LINKS // 2  # links less 36 from here on are of that side, the barrel aside
_DISORDER, _REPEATED_SUM = 1, 2
DISORDER, REPEATED_SUM = _DISORDER, _REPEATED_SUM
"""Reasons to stop: input muons not in order of link and slot; a calorimeter sum sent twice."""


class Raw(NamedTuple):
    """Input columns, signed integers, and the offsets of crossings."""

    link: Any
    slot: Any
    pt: Any
    qual: Any
    eta: Any
    hf: Any
    sign: Any
    local_phi: Any
    offsets: Any


class LinkRules(NamedTuple):
    """By link less 36, int64: track finder, offset of azimuth, stream (see links.STREAM)."""

    track_finder: Any
    phi_offset: Any
    stream: Any
    capacity: Any
    rank: Any


class PerMuon(NamedTuple):
    """int16 results by input row; phi is the global azimuth, cancel see ``Crossing``."""

    phi: Any
    rank: Any
    dphi: Any
    deta: Any
    vertex_phi: Any
    cancel: Any


class Kept(NamedTuple):
    """Input rows of the output muons, and what isolation adds to the final ones.

    offsets, between_offsets: int32 (n + 1,) by crossing. row, between_row: int32. The others are
    int8, ``calo_place`` is int16.
    """

    offsets: Any
    row: Any
    iso: Any
    iso_sum: Any
    calo_place: Any
    between_offsets: Any
    between_row: Any
    stream: Any
    position: Any


class Rules(NamedTuple):
    """All rules of one firmware."""

    links: LinkRules
    cancel: CancelRules
    extrapolation: ExtrapolationRules
    isolation: IsolationRules


@njit
def emulate(
    raw: Raw, addresses: Addresses, calo: CaloSums, rules: Rules,
    at: Crossing, lists: SortLists, found: PerMuon, kept: Kept,
) -> tuple[int, int]:  # fmt: skip
    """All crossings; (0, 0), or (reason, row of the table) where the input is wrong.

    Fills ``found`` and ``kept``. From here on arrays are
    pointers, see ``streams.jit``: with arrays it takes ten times as long.
    """
    barrel, endcap = addresses.barrel, addresses.endcap
    return _crossings(
        len(raw.offsets) - 1,
        len(calo.offsets) > 0,
        Raw(
            pointer(raw.link), pointer(raw.slot), pointer(raw.pt), pointer(raw.qual),
            pointer(raw.eta), pointer(raw.hf), pointer(raw.sign), pointer(raw.local_phi),
            pointer(raw.offsets),
        ),
        Addresses(
            BarrelAddresses(
                pointer(barrel.side), pointer(barrel.wheel),
                pointer(barrel.inner), pointer(barrel.middle), pointer(barrel.outer),
            ),
            EndcapAddresses(
                pointer(endcap.segment1), pointer(endcap.chamber1),
                pointer(endcap.segment2), pointer(endcap.chamber2),
                pointer(endcap.segment3), pointer(endcap.chamber3),
                pointer(endcap.segment4), pointer(endcap.chamber4),
            ),
        ),
        CaloSums(
            pointer(calo.ieta), pointer(calo.iphi), pointer(calo.et), pointer(calo.offsets),
            pointer(calo.grid),
        ),
        _rules(rules),
        Crossing(
            pointer(at.row), pointer(at.link), pointer(at.qual), pointer(at.eta),
            pointer(at.phi), pointer(at.fine), pointer(at.cancel), pointer(at.links),
            pointer(at.start), pointer(at.stop),
        ),
        SortLists(
            pointer(lists.key), pointer(lists.count), pointer(lists.taken)
        ),
        PerMuon(
            pointer(found.phi), pointer(found.rank), pointer(found.dphi), pointer(found.deta),
            pointer(found.vertex_phi), pointer(found.cancel),
        ),
        Kept(
            pointer(kept.offsets), pointer(kept.row), pointer(kept.iso), pointer(kept.iso_sum),
            pointer(kept.calo_place), pointer(kept.between_offsets), pointer(kept.between_row),
            pointer(kept.stream), pointer(kept.position),
        ),
    )  # fmt: skip


@njit
def _rules(rules: Rules) -> Rules:
    """The same with pointers for arrays."""
    link, cancel, near = rules.links, rules.cancel, rules.cancel.near
    move, isolation = rules.extrapolation, rules.isolation
    return Rules(
        LinkRules(
            pointer(link.track_finder), pointer(link.phi_offset), pointer(link.stream),
            pointer(link.capacity), pointer(link.rank),
        ),
        CancelRules(
            Neighbours(
                pointer(near.kind), pointer(near.lower), pointer(near.crossed),
                pointer(near.by_address), near.has_addresses, pointer(near.mirror),
            ),
            pointer(cancel.match),
            AddressRules(
                pointer(cancel.addresses.relation), pointer(cancel.addresses.codes)
            ),
        ),
        ExtrapolationRules(
            pointer(move.phi), pointer(move.eta), move.eta_shift, move.eta_mask,
            move.pt_bits, move.phi_shift,
        ),
        IsolationRules(
            pointer(isolation.phi_index), pointer(isolation.eta_index),
            pointer(isolation.absolute), pointer(isolation.relative),
        ),
    )  # fmt: skip


@njit
def _crossings(
    count: int, has_sums: bool, raw: Raw, addresses: Addresses, calo: CaloSums,
    rules: Rules, at: Crossing, lists: SortLists, found: PerMuon, kept: Kept,
) -> tuple[int, int]:  # fmt: skip
    for crossing in range(count):
        begin, end = raw.offsets[crossing], raw.offsets[crossing + 1]
        count, used, mixed, wrong = _prepare(begin, end, raw, rules, at, found)
        if wrong >= 0:
            return _DISORDER, wrong
        if count > 1:
            cancel_out(count, used, mixed, at, addresses, rules.cancel)
        _sort(count, at, rules.links, lists, found)
        _keep_intermediate(crossing, at, lists, kept)
        if has_sums:
            wrong = unfold(crossing, calo)
            if wrong >= 0:
                return _REPEATED_SUM, wrong
        _keep_final(crossing, has_sums, at, raw, rules.isolation, calo, lists, found, kept)
        if has_sums:
            clear(crossing, calo)
    return 0, 0


@njit
def _prepare(
    begin: int, end: int, raw: Raw, rules: Rules, at: Crossing, found: PerMuon
) -> tuple[int, int, bool, int]:
    """Azimuth, rank and extrapolation of each muon of the input rows begin .. end.

    Gives the number of muons, the links in use as a bit set, whether a muon is on the wrong
    side, and the row that is out of order or -1.
    """
    count, used, mixed, last = 0, 0, False, -1
    for row in range(begin, end):
        link, pt, eta = raw.link[row] - FIRST_LINK, raw.pt[row], raw.eta[row]
        key = 4 * link + raw.slot[row]
        if key <= last:
            return count, used, mixed, row
        last = key
        if pt == 0:
            continue
        if not used >> link & 1:
            at.start[link] = count
            used |= 1 << link
        finder = rules.links.track_finder[link]
        mixed |= finder != BMTF and (eta > 0) == (link >= _NEGATIVE_SIDE)
        phi = _turned(rules.links.phi_offset[link] + raw.local_phi[row])
        place = address(pt, eta, finder, rules.extrapolation)
        dphi = phi_move(place, raw.sign[row], rules.extrapolation)
        found.phi[row], found.dphi[row] = phi, dphi
        found.deta[row] = eta_move(place, eta, rules.extrapolation)
        found.vertex_phi[row] = _turned(phi + dphi)
        qual = raw.qual[row]
        found.rank[row] = rules.links.rank[qual << 9 | pt]
        at.row[count], at.link[count], at.qual[count] = row, link, qual
        at.eta[count], at.phi[count], at.cancel[count] = eta, phi, 0
        at.fine[count] = raw.hf[row] | (finder == EMTF)
        count += 1
        at.stop[link] = count
    return count, used, mixed, -1


@njit
def _turned(phi: int) -> int:
    """Azimuth less than a turn off, brought to 0..575."""
    if phi < 0:
        return phi + PHI_TURN
    return phi - PHI_TURN if phi >= PHI_TURN else phi


@njit
def _sort(count: int, at: Crossing, rules: LinkRules, lists: SortLists, found: PerMuon) -> None:
    for stream in range(N_STREAMS):
        lists.count[stream] = 0
        lists.key[stream * STRIDE] = NOTHING
    for k in range(count):
        row = at.row[k]
        found.cancel[row] = at.cancel[k]
        if at.cancel[k] == 0:
            positive = N_LINKS if at.eta[k] > 0 else 0
            stream = rules.stream[at.link[k] + positive]
            keep_best(k, found.rank[row], stream, rules.capacity[stream], lists)
    merge(lists)


@njit
def _keep_intermediate(crossing: int, at: Crossing, lists: SortLists, kept: Kept) -> None:
    place = kept.between_offsets[crossing]
    for stream in range(N_STREAMS):
        for position in range(lists.count[stream]):
            kept.between_row[place] = at.row[muon_of(lists.key[stream * STRIDE + position])]
            kept.stream[place], kept.position[place] = stream, position
            place += 1
    kept.between_offsets[crossing + 1] = place


@njit
def _keep_final(
    crossing: int, has_sums: bool, at: Crossing, raw: Raw, rules: IsolationRules,
    calo: CaloSums, lists: SortLists, found: PerMuon, kept: Kept,
) -> None:  # fmt: skip
    place = kept.offsets[crossing]
    for position in range(lists.count[FINAL]):
        row = at.row[muon_of(lists.key[FINAL * STRIDE + position])]
        cell = calo_place(found.vertex_phi[row], raw.eta[row] + found.deta[row], rules)
        total = 0
        if has_sums and calo.grid[cell] != NOT_SENT:
            total = calo.grid[cell]
        kept.row[place], kept.calo_place[place], kept.iso_sum[place] = row, cell, total
        kept.iso[place] = isolation_bits(total, raw.pt[row], rules)
        place += 1
    kept.offsets[crossing + 1] = place


@njit
def gather(values: Any, rows: Any, out: Any) -> None:
    """out[k] = values[rows[k]], in the type of ``out``, whose values must be known to fit."""
    for k in range(len(rows)):
        out[k] = values[rows[k]]
