"""The loop of the jet finder over the crossings of a block; jets.py has the rules.

All arrays are pointers (jit.pointer) inside: counting references to them would take half of the
time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from scout40.emulator.calo.calibration import OVERFLOW, calibrated
from scout40.emulator.calo.geometry import (
    CELLS,
    FIRST,
    MAX_ET,
    N_M,
    N_PHI,
    N_ROWS,
    SATURATED,
    STRIDE,
    fill_halo,
)
from scout40.emulator.calo.pileup import PHI_RING, pile_up, sum_rings
from scout40.emulator.calo.sort import (
    ACCUMULATED,
    KEPT_OF_RING,
    KEPT_OF_SIDE,
    MAX_NETWORK,
    NAME_BITS,
    accumulate,
    run_network,
    settle_last,
)
from scout40.streams.jit import njit, pointer

_RANK_BITS = 15
_NAME = (1 << NAME_BITS) - 1


class Towers(NamedTuple):
    """Columns of the table, and what is known of their places."""

    offsets: Any
    hw_et: Any
    ieta: Any
    iphi: Any
    cell_of_ieta: Any
    ring_rows: Any
    m_of_row: Any
    rank: Any


class Rules(NamedTuple):
    """What the setting says, and tables."""

    pile_up: int
    threshold: int
    calibrate: bool
    multiplier: Any
    addend: Any
    comparators: Any
    starts: Any


class Candidates(NamedTuple):
    """Output of one row a candidate; ``sorter_et`` is the Et on the way to the sorters."""

    hw_et: Any
    raw_et: Any
    seed_et: Any
    pu_et: Any
    row: Any
    iphi: Any
    sorter_et: Any


class Lists(NamedTuple):
    """Jets after the sorts: candidate's index; and how many jets per crossing, int32 (3, n)."""

    processor: Any
    demux: Any
    counts: Any


class Scratch(NamedTuple):
    """Work space of one crossing."""

    grid: Any
    key: Any
    wide: Any
    is_seed: Any
    rings: Any
    first: Any
    number: Any
    places: Any
    best: Any
    kept: Any


def _ranks() -> npt.NDArray[np.uint32]:
    """Order of towers of equal Et: by deta + dphi, then by deta.

    The halo makes this one order for the whole grid: a window never wraps inside it.
    """
    row, column = np.divmod(np.arange(CELLS), STRIDE)
    return np.asarray(((row + column) << 7) | row, np.uint32)


RANK = _ranks()
"""uint32 (CELLS,)"""


def scratch_space() -> Scratch:
    """Work space of one thread.

    Behind the grid there is room for towers that have no row.
    """
    return Scratch(
        grid=np.zeros(CELLS + 256, np.uint16),
        key=np.zeros(CELLS, np.uint32),
        wide=np.zeros(CELLS, np.uint32),
        is_seed=np.zeros(N_PHI, np.uint8),
        rings=np.zeros(N_ROWS, np.int64),
        first=np.zeros(N_ROWS, np.int64),
        number=np.zeros(N_ROWS, np.int64),
        places=np.zeros(MAX_NETWORK, np.int64),
        best=np.zeros(ACCUMULATED, np.int64),
        kept=np.zeros(KEPT_OF_RING, np.int64),
    )


@njit
def find(towers: Any, rules: Any, scratch: Any, found: Any, lists: Any) -> Any:
    """All crossings; returns the first one with a bad tower, or -1."""
    return _crossings(
        len(towers.offsets) - 1,
        Towers(
            pointer(towers.offsets), pointer(towers.hw_et), pointer(towers.ieta),
            pointer(towers.iphi), pointer(towers.cell_of_ieta), pointer(towers.ring_rows),
            pointer(towers.m_of_row), pointer(towers.rank),
        ),
        Rules(
            rules.pile_up, rules.threshold, rules.calibrate, pointer(rules.multiplier),
            pointer(rules.addend), pointer(rules.comparators), pointer(rules.starts),
        ),
        Scratch(
            pointer(scratch.grid), pointer(scratch.key), pointer(scratch.wide),
            pointer(scratch.is_seed), pointer(scratch.rings), pointer(scratch.first),
            pointer(scratch.number), pointer(scratch.places), pointer(scratch.best),
            pointer(scratch.kept),
        ),
        Candidates(
            pointer(found.hw_et), pointer(found.raw_et), pointer(found.seed_et),
            pointer(found.pu_et), pointer(found.row), pointer(found.iphi),
            pointer(found.sorter_et),
        ),
        Lists(pointer(lists.processor), pointer(lists.demux), pointer(lists.counts)),
    )  # fmt: skip


@njit
def _crossings(
    crossings: int, towers: Any, rules: Any, scratch: Any, found: Any, lists: Any
) -> Any:
    """As :func:`find`, on pointers."""
    base, sent = 0, 0
    for crossing in range(crossings):
        start, stop = towers.offsets[crossing], towers.offsets[crossing + 1]
        if start == stop:
            continue
        highest = _fill(towers, scratch.grid, start, stop)
        if highest < 0:
            return crossing
        if highest < rules.threshold:
            continue
        end = _candidates(towers, rules, scratch, found, base)
        size = _send(rules, scratch, found, lists, base, sent)
        lists.counts[crossing] = end - base
        lists.counts[crossings + crossing] = size
        lists.counts[2 * crossings + crossing] = size
        base, sent = end, sent + size
    return -1


@njit
def _fill(towers: Any, grid: Any, start: int, stop: int) -> Any:
    """The grid of one crossing; returns the largest Et, or -1 with a tower that cannot be used.

    geometry.fill_grid, which can say which one that is, takes three times as long.
    """
    for k in range(CELLS):
        grid[k] = 0
    hw_et, ieta, iphi = towers.hw_et, towers.ieta, towers.iphi
    highest, sent, outside = np.uint16(0), np.uint32(0), np.uint32(0)
    for k in range(start, stop):
        highest = max(highest, hw_et[k])
        sent += np.uint32(hw_et[k] != 0)
        outside += np.uint32((hw_et[k] != 0) & ((iphi[k] < 1) | (iphi[k] > N_PHI)))
    if highest > MAX_ET or outside > 0:
        return -1
    last, base = np.uint8(0), CELLS
    for k in range(start, stop):
        if ieta[k] != last:
            last = ieta[k]
            base = towers.cell_of_ieta[last]
        grid[base + iphi[k]] += hw_et[k]
    # A tower without row is not in the grid, and two at one place are one in it.
    filled = np.uint32(0)
    for row in range(N_ROWS):
        left = FIRST + row * STRIDE
        for k in range(left, left + N_PHI):
            filled += np.uint32(grid[k] != 0)
    fill_halo(grid)
    return np.int64(highest) if filled == sent else -1


@njit
def _candidates(towers: Any, rules: Any, scratch: Any, found: Any, base: int) -> Any:
    """Candidates of one crossing from row ``base`` on; returns the row behind the last one."""
    grid, rings = scratch.grid, scratch.rings
    _largest_in_phi(grid, towers.rank, scratch.key, scratch.wide)
    if rules.pile_up == PHI_RING:
        sum_rings(grid, rings)
    least = np.uint32(rules.threshold << _RANK_BITS)
    n = base
    for q in range(N_ROWS):
        row = towers.ring_rows[q]
        first = FIRST + row * STRIDE
        scratch.first[row] = n
        left = _seeds(scratch.key, scratch.wide, first, least, scratch.is_seed)
        column = -1
        while left > 0:
            column += 1
            if scratch.is_seed[column] == 0:
                continue
            left -= 1
            cell = first + column
            seed, raw = np.int64(grid[cell]), _sum_window(grid, cell)
            pu, et = 0, OVERFLOW
            if seed < SATURATED:
                pu = pile_up(rules.pile_up, grid, rings, row, column)
                et = raw - pu
                if et <= 0:
                    continue
            sorter_et = et
            if rules.calibrate:
                m = towers.m_of_row[row]
                sorter_et = calibrated(et, m, rules.multiplier, rules.addend)
            found.hw_et[n] = et if seed >= SATURATED else sorter_et
            found.raw_et[n], found.seed_et[n], found.pu_et[n] = raw, seed, pu
            found.row[n], found.iphi[n], found.sorter_et[n] = row, column + 1, sorter_et
            n += 1
        scratch.number[row] = n - scratch.first[row]
    return n


@njit
def _largest_in_phi(grid: Any, rank: Any, key: Any, wide: Any) -> None:
    """Keys (Et, then rank) of all cells, and the largest of 9 around each in phi."""
    for k in range(CELLS):
        key[k] = (np.uint32(grid[k]) << np.uint32(_RANK_BITS)) | rank[k]
    for k in range(4, CELLS - 4):
        low = max(max(key[k - 4], key[k - 3]), max(key[k - 2], key[k - 1]))
        high = max(max(key[k + 4], key[k + 3]), max(key[k + 2], key[k + 1]))
        wide[k] = max(max(low, high), key[k])


@njit
def _seeds(key: Any, wide: Any, first: int, least: Any, is_seed: Any) -> Any:
    """Marks the seeds among the 72 cells from ``first`` on and returns their number."""
    total = np.uint32(0)
    for c in range(N_PHI):
        k = first + c
        low = max(
            max(wide[k - 4 * STRIDE], wide[k - 3 * STRIDE]),
            max(wide[k - 2 * STRIDE], wide[k - STRIDE]),
        )
        high = max(
            max(wide[k + 4 * STRIDE], wide[k + 3 * STRIDE]),
            max(wide[k + 2 * STRIDE], wide[k + STRIDE]),
        )
        here = (key[k] >= max(max(low, high), wide[k])) & (key[k] >= least)
        is_seed[c] = np.uint8(here)
        total += np.uint32(here)
    return np.int64(total)


@njit
def _sum_window(grid: Any, cell: int) -> Any:
    """Et of the 9 x 9 towers around a cell, its own included."""
    total = np.int64(0)
    for deta in range(-4, 5):
        first = cell + deta * STRIDE - 4
        for k in range(9):
            total += np.int64(grid[first + k])
    return total


@njit
def _send(rules: Any, scratch: Any, found: Any, lists: Any, base: int, first: int) -> Any:
    """The jets of one crossing that are sent on, from ``first`` on; returns their number."""
    size = 0
    for side in range(2):
        _sort_side(rules, scratch, found, base, side)
        for k in range(KEPT_OF_SIDE):
            if scratch.best[k] >> NAME_BITS > 0:
                lists.processor[first + size] = base + (scratch.best[k] & _NAME)
                size += 1
    places = scratch.places
    for k in range(size):
        et = np.int64(found.sorter_et[lists.processor[first + k]])
        places[k] = (et << NAME_BITS) | k
    # The network is that of the jets there are, not of 12 places.
    run_network(rules.comparators, rules.starts, size, places)
    for k in range(size):
        lists.demux[first + k] = lists.processor[first + (places[k] & _NAME)]
    return size


@njit
def _sort_side(rules: Any, scratch: Any, found: Any, base: int, side: int) -> None:
    """The best jets of one eta side (0 = positive) into ``scratch.best``, by name row - base."""
    for k in range(ACCUMULATED):
        scratch.best[k] = 0
    for m in range(1, N_M + 1):
        row = N_M - 1 + m if side == 0 else N_M - m
        size = scratch.number[row]
        if size > 0:
            size = _sort_ring(rules, scratch, found, base, scratch.first[row], size)
            accumulate(scratch.places, size, scratch.best)
    settle_last(scratch.best, found.row, found.iphi, base)


@njit
def _sort_ring(rules: Any, scratch: Any, found: Any, base: int, first: int, size: int) -> Any:
    """The jets of one ring, at most KEPT_OF_RING, in falling order; returns their number."""
    places, kept = scratch.places, scratch.kept
    for k in range(size):
        places[k] = (np.int64(found.sorter_et[first + k]) << NAME_BITS) | (first + k - base)
    if size == 1:
        return 1
    if size > KEPT_OF_RING:
        # Which ones are dropped is decided by a network of just these jets in rising phi.
        run_network(rules.comparators, rules.starts, size, places)
        size = KEPT_OF_RING
    for k in range(size):
        kept[k] = places[k]
    for k in range(MAX_NETWORK):
        places[k] = 0
    for k in range(size):
        iphi = np.int64(found.iphi[base + (kept[k] & _NAME)])
        places[(N_PHI - iphi) // 4] = kept[k]
    run_network(rules.comparators, rules.starts, MAX_NETWORK, places)
    return size
