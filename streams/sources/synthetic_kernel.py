"""Kernels of the synthetic stream: counter-based draws, and packets written word by word.

Every random number is a hash of (seed, orbit, number of the draw), so an orbit does not depend
on what was made before it. The hash is the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.streams.block import ORBIT_BX
from scout40.streams.formats import calo, frd
from scout40.streams.formats.gmt import GmtBlockHeader, GmtMuon
from scout40.streams.jit import inline, njit, pointer
from scout40.streams.sources.synthetic_pointers import Calos, Fill, Muons, Scratch, Work

Array = npt.NDArray[Any]

GOLDEN = 0x9E3779B97F4A7C15
PAIR_DRAW, COUNT_DRAW, PROCESS_DRAW, CALO_DRAW, MUON_DRAW = 0, 1 << 16, 1 << 17, 1 << 18, 1 << 20
"""Numbers of draws: plus the pair of crossings; plus the crossing (three times); plus 16 times
the crossing plus the number of the muon. Crossings count from 0."""
MAX_MUONS = 8
"""Muons that the GMT sends in a crossing, and at most drawn in one beside a rare process."""
TOP = MAX_MUONS * ORBIT_BX
"""Place of the last row of limits."""
PROCESSES = 3
QUANTILES = 1024
"""Length of the table of quantiles of the normal distribution."""
LOW = 0xFFFFFFFF

EVENT_WORDS = frd.EVENT_BYTES // 4 + 1
"""FRD event header and source id."""
DMA_BODY = calo.DMA_WORDS - calo.CaloBlockHeader.words

_FIELDS = frd.FrdEvent6.fields
_VERSION, _RUN, _LUMI = (_FIELDS[name].word for name in ("version", "run", "lumi"))
_ORBIT, _SIZE, CRC_WORD = (_FIELDS[name].word for name in ("orbit", "size", "crc32c"))
_GMT, _CALO, _FIRST_TCP = frd.GMT, frd.CALO, min(frd.CALO_TCP)
_SUMS = next(source for source, table in frd.CALO_TCP.items() if table == "sums")
_N_A = GmtBlockHeader.fields["n_a"].lo
_GMT_HEADER, _MUON = GmtBlockHeader.words, GmtMuon.words
_PT = GmtMuon.fields["hw_pt"].mask << GmtMuon.fields["hw_pt"].lo
_SECOND = 1 << GmtMuon.fields["second"].lo
_ETA_SHIFT = GmtMuon.fields["hw_eta_second"].lo - GmtMuon.fields["hw_eta_first"].lo
_CALO_HEADER, _SUMS_HEADER = calo.CaloBlockHeader.words, calo.CaloSumsHeader.words
_SUMS_WORDS, _LINK = calo.CaloSums.words, calo.DMA_GROUP_WORDS
_SUMS_PLACE = calo.DMA_GROUPS["sums"][0] + 1 - _CALO_HEADER
BLOCK_WORDS = _GMT_HEADER + MAX_MUONS * _MUON
CALO_WORDS = calo.DMA_WORDS
"""Longest blocks of a crossing: of the muon trigger, of the calorimeter."""


def work() -> Work:
    """What one call of write_orbits needs."""
    # numba frees an array after its last use, whatever still points to it: so Python owns these.
    return Work(
        np.empty(ORBIT_BX // 2, np.uint64), np.zeros((ORBIT_BX + 7) // 8 * 8, np.uint8),
        np.empty(ORBIT_BX, np.int32), np.empty(ORBIT_BX, np.uint32),
        np.empty(ORBIT_BX, np.int64), np.empty(2 * MAX_MUONS + 2, np.int64),
    )  # fmt: skip


@inline
def _mix(x: Any) -> Any:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@inline
def _draw(key: Any, number: Any) -> Any:
    """64 random bits."""
    return _mix(key + np.uint64(number + 1) * np.uint64(GOLDEN))


@inline
def _below(bits: Any, limit: Any) -> Any:
    """A number of [0, limit) from 32 random bits."""
    return np.int64((bits * np.uint64(limit)) >> np.uint64(32))


@inline
def _orbit_key(seed_key: Any, orbit: Any) -> Any:
    return _mix(seed_key + np.uint64(orbit) * np.uint64(GOLDEN))


@inline
def _busy(key: Any, fill: Any, pairs: Any, scratch: Any) -> Any:
    """Crossings in which anything was drawn go to ``place``, their 32 random bits to ``uniform``.

    Two crossings share a hash; one is busy when its bits are above its ``idle``. Returns their
    number.
    """
    for i in range(pairs):
        scratch.bits[i] = _mix(key + fill.counters[i])
    for i in range(2 * pairs):
        scratch.above[i] = np.uint8(scratch.halves[i] > fill.idle[i])
    n = 0
    # Few bytes are set: eight are looked at together, and each that is set costs one round.
    for i in range((2 * pairs + 7) // 8):
        left = scratch.eights[i]
        while left:
            lowest = left & (~left + np.uint64(1))
            k = np.int64(8 * i)
            k += 4 * np.int64((lowest & np.uint64(0x0101010100000000)) != 0)
            k += 2 * np.int64((lowest & np.uint64(0x0101000001010000)) != 0)
            k += np.int64((lowest & np.uint64(0x0100010001000100)) != 0)
            scratch.place[n], scratch.uniform[n] = fill.slots[k], scratch.halves[k]
            n += 1
            left ^= lowest
    return n


@inline
def _process(key: Any, bx: Any, shares: Any, entries: Any) -> tuple[Any, Any]:
    """Which rare process was added in a crossing that has one, and which entry of its pool."""
    bits = _draw(key, PROCESS_DRAW + bx)
    kind = 0
    while kind < PROCESSES - 1 and (bits >> np.uint64(32)) > shares[kind]:
        kind += 1
    return kind, _below(bits & np.uint64(LOW), entries[kind])


@inline
def _muon_row(key: Any, bx: Any, number: Any, drawn: Any) -> Any:
    return _below(_draw(key, MUON_DRAW + 16 * bx + number) >> np.uint64(32), drawn)


@inline
def _chosen(
    key: Any, bx: Any, bits: Any, bunches: Any, muons: Any, drawn: Any, ghosts: Any, chosen: Any
) -> Any:
    """Rows of the muon pool for one crossing, those of a rare process first; their number."""
    n = 0
    limits, rows = bunches.limits, muons.rows
    uniform = np.uint64(bits)
    if uniform > limits[TOP + bx]:
        kind, entry = _process(key, bx, bunches.shares, muons.entries)
        for row in range(muons.starts[kind] + 2 * entry, muons.starts[kind] + 2 * entry + 2):
            if rows[_MUON * row] & np.uint32(_PT):
                chosen[n] = row
                n += 1
        again = _draw(key, COUNT_DRAW + bx) >> np.uint64(32)
        uniform = np.uint64(_below(again, np.int64(limits[TOP + bx]) + 1))
    number = 0
    while number < MAX_MUONS and uniform > limits[number * ORBIT_BX + bx]:
        row = _muon_row(key, bx, number, drawn)
        number += 1
        chosen[n] = row
        n += 1
        if row >= drawn - ghosts:
            chosen[n] = row + ghosts
            n += 1
    return n


@inline
def _sort(chosen: Any, n: Any, rows: Any) -> None:
    """By falling hardware pt; equal ones stay in order."""
    for i in range(1, n):
        row = chosen[i]
        pt = rows[_MUON * row] & np.uint32(_PT)
        j = i
        while j > 0 and (rows[_MUON * chosen[j - 1]] & np.uint32(_PT)) < pt:
            chosen[j] = chosen[j - 1]
            j -= 1
        chosen[j] = row


@inline
def _write_block(out: Any, at: Any, orbit: Any, bx: Any, chosen: Any, n: Any, rows: Any) -> Any:
    """The muons of a crossing, hardest first; the place behind them."""
    if n > 1:
        _sort(chosen, n, rows)
        n = min(n, MAX_MUONS)
    out[at], out[at + 1], out[at + 2] = n << _N_A, bx + 1, orbit
    at += _GMT_HEADER
    for j in range(n):
        row = _MUON * chosen[j]
        extra = rows[row + 2]
        if j % 2:  # every other muon has its eta in the second place of the shared word
            extra = (extra << np.uint32(_ETA_SHIFT)) | np.uint32(_SECOND)
        out[at], out[at + 1], out[at + 2] = rows[row], rows[row + 1], extra
        at += _MUON
    return at


@inline
def _write_gmt(
    out: Any, at: Any, orbit: Any, key: Any, busy: Any, scratch: Any, bunches: Any, muons: Any,
    drawn: Any, ghosts: Any,
) -> Any:  # fmt: skip
    for i in range(busy):
        bx, bits = np.int64(scratch.place[i]), scratch.uniform[i]
        if bits <= bunches.limits[ORBIT_BX + bx]:  # one muon and no more: most crossings
            row = _muon_row(key, bx, 0, drawn)
            if row < drawn - ghosts:
                out[at], out[at + 1], out[at + 2] = 1 << _N_A, bx + 1, orbit
                at += _GMT_HEADER
                row *= _MUON
                for j in range(_MUON):
                    out[at + j] = muons.rows[row + j]
                at += _MUON
                continue
        n = _chosen(key, bx, bits, bunches, muons, drawn, ghosts, scratch.chosen)
        if n:
            at = _write_block(out, at, orbit, bx, scratch.chosen, n, muons.rows)
    return at


@inline
def _crossings(key: Any, bunches: Any, colliding: Any, calos: Any, found: Any) -> None:
    """Row of the calorimeter pool for every colliding crossing; found is indexed by crossing."""
    first, step, strata, each = calos.sizes[0], calos.sizes[1], calos.sizes[2], calos.sizes[3]
    for i in range(colliding):
        bx = bunches.colliding[i]
        bits = _draw(key, CALO_DRAW + bx)
        width = calos.quantiles[np.int64(bits & np.uint64(QUANTILES - 1))]
        n_pu = np.int64(bunches.mean[bx] + bunches.spread[bx] * width + 0.5)
        stratum = min(max(n_pu - first, 0) // step, strata - 1)
        found[bx] = stratum * each + _below(bits >> np.uint64(32), each)


@inline
def _write_dma(
    out: Any, at: Any, orbit: Any, bunches: Any, colliding: Any, calos: Any, row: Any
) -> Any:
    for i in range(colliding):
        bx = bunches.colliding[i]
        body = row[bx] * DMA_BODY
        out[at], out[at + 1], out[at + 2] = 0, bx + 1, orbit
        at += _CALO_HEADER
        for j in range(DMA_BODY):
            out[at + j] = calos.bodies[body + j]
        at += DMA_BODY
    return at


@inline
def _write_sums(
    out: Any, at: Any, orbit: Any, bunches: Any, colliding: Any, calos: Any, row: Any
) -> Any:
    for i in range(colliding):
        bx = bunches.colliding[i]
        body = row[bx] * DMA_BODY + _SUMS_PLACE
        out[at], out[at + 1] = bx + 1, orbit
        at += _SUMS_HEADER
        for j in range(_SUMS_WORDS):
            out[at + j] = calos.bodies[body + j]
        at += _SUMS_WORDS
    return at


@inline
def _write_objects(
    out: Any, at: Any, orbit: Any, bunches: Any, colliding: Any, calos: Any, row: Any, table: Any
) -> Any:
    """One of the tables of objects, TCP form: sources 22, 23, 25 are table 0, 1, 3."""
    first, second = calos.links[2 * table], calos.links[2 * table + 1] - _LINK
    for i in range(colliding):
        bx = bunches.colliding[i]
        n = np.int64(calos.numbers[4 * row[bx] + table])
        if n == 0:
            continue
        body = row[bx] * DMA_BODY
        out[at], out[at + 1], out[at + 2] = n, bx + 1, orbit
        at += _CALO_HEADER
        for j in range(n):
            out[at + j] = calos.bodies[body + j + (first if j < _LINK else second)]
        at += n
    return at


@inline
def _finish(out: Any, begin: Any, at: Any, source: Any, orbit: Any, run: int, lumi: int) -> None:
    """The event header, without checksum."""
    out[begin + _VERSION] = 6
    out[begin + _RUN] = run
    out[begin + _LUMI] = lumi
    out[begin + _ORBIT] = orbit
    out[begin + _SIZE] = 4 * (at - begin - EVENT_WORDS + 1)
    out[begin + CRC_WORD] = 0
    out[begin + EVENT_WORDS - 1] = source


@inline
def _muon_pointers(muons: Any) -> Any:
    return Muons(pointer(muons.rows), pointer(muons.starts), pointer(muons.entries))


@inline
def _calo_pointers(calos: Any) -> Any:
    return Calos(
        pointer(calos.bodies), pointer(calos.sizes), pointer(calos.starts),
        pointer(calos.numbers), pointer(calos.links), pointer(calos.quantiles),
    )  # fmt: skip


@inline
def _fill_pointers(bunches: Any) -> Any:
    return Fill(
        pointer(bunches.counters), pointer(bunches.slots), pointer(bunches.idle),
        pointer(bunches.colliding), pointer(bunches.mean), pointer(bunches.spread),
        pointer(bunches.limits), pointer(bunches.shares),
    )  # fmt: skip


@inline
def _scratch_pointers(work: Any) -> Any:
    return Scratch(
        pointer(work.bits), pointer(work.bits.view(np.uint32)), pointer(work.above),
        pointer(work.above.view(np.uint64)), pointer(work.place), pointer(work.uniform),
        pointer(work.row), pointer(work.chosen),
    )  # fmt: skip


@njit
def write_orbits(
    first: int, orbits: int, seed_key: Any, run: int, lumi: int, sources: Array, muons: Any,
    calos: Any, bunches: Any, work: Any, out: Array, ends: Array,
) -> Any:  # fmt: skip
    """FRD events of consecutive orbits of one luminosity section; words written.

    sources: source ids, rising. muons, calos, bunches: MuonPool, CaloPool, Bunches. work: a
    Work of this thread's own. out: uint32.
    ends: int64, end of each event in words. Returns -1 when ``out`` is too short. The checksum
    word of every event is 0.
    """
    pool, crossing = _muon_pointers(muons), _calo_pointers(calos)
    fill, scratch = _fill_pointers(bunches), _scratch_pointers(work)
    words, room = pointer(out), len(out)
    pairs, colliding = len(bunches.counters), len(bunches.colliding)
    at: Any = 0
    event = 0
    for orbit in range(first, first + orbits):
        key = _orbit_key(seed_key, orbit)
        busy = _busy(key, fill, pairs, scratch)
        if sources[-1] != _GMT:
            _crossings(key, fill, colliding, crossing, scratch.row)
            for i in range(busy):
                bx = np.int64(scratch.place[i])
                if scratch.uniform[i] > fill.limits[TOP + bx]:
                    kind, entry = _process(key, bx, fill.shares, pool.entries)
                    if crossing.starts[kind] >= 0:
                        scratch.row[bx] = crossing.starts[kind] + entry
        for s in range(len(sources)):
            source = sources[s]
            begin, at = at, at + EVENT_WORDS
            if source == _GMT:
                if at + busy * BLOCK_WORDS > room:
                    return -1
                at = _write_gmt(
                    words, at, orbit, key, busy, scratch, fill, pool, muons.drawn, muons.ghosts
                )
            elif at + colliding * CALO_WORDS > room:
                return -1
            elif source == _CALO:
                at = _write_dma(words, at, orbit, fill, colliding, crossing, scratch.row)
            elif source == _SUMS:
                at = _write_sums(words, at, orbit, fill, colliding, crossing, scratch.row)
            else:
                table = source - _FIRST_TCP
                at = _write_objects(words, at, orbit, fill, colliding, crossing, scratch.row, table)
            _finish(words, begin, at, source, orbit, run, lumi)
            ends[event] = at
            event += 1
    return at


@njit
def find_processes(
    first: int, orbits: int, seed_key: Any, entries: Array, bunches: Any, out: Array
) -> int:
    """Rows (orbit, crossing 0..3563, process, entry) of what was added; their number."""
    n = 0
    for orbit in range(first, first + orbits):
        key = _orbit_key(seed_key, orbit)
        for i in range(len(bunches.slots)):
            bx = np.int64(bunches.slots[i])
            bits = _mix(key + bunches.counters[i // 2])
            if (bits >> np.uint64(32 * (i % 2))) & np.uint64(LOW) > bunches.limits[MAX_MUONS, bx]:
                kind, entry = _process(key, bx, bunches.shares, entries)
                out[n, 0], out[n, 1], out[n, 2], out[n, 3] = orbit, bx, kind, entry
                n += 1
    return n
