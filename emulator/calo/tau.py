"""Taus of calorimeter layer 2: a cluster and, if there is one, a second cluster beside it in phi.

From each cluster (clusters.py) with |ieta| <= 25:

1. Second seeds are looked for at eight places, a T on each side in phi:

   =====  ======  ======  ======  ======
   place  0, 7    1, 4    2, 5    3, 6
   deta   0       -1      0       +1
   dphi   +3, -3  +2, -2  +2, -2  +2, -2
   =====  ======  ======  ======  ======

   A seed has Et >= 4 and is the largest of 3 x 3 towers (ties as for clusters); at 2 and 5 only if
   the tower is no member of the first cluster. Its cluster keeps both eta sides.
2. On each side the tip (0, 7) is preferred, then the middle (2, 5), then of the two others the
   one of more Et; between the sides more Et decides, the falling side (4..7) on a tie. Of two
   equal others that one is taken which is nearer to eta 0. If this happens on the falling side, its
   choice also replaces that of the rising side: it looks like an oversight of the public code,
   and is kept.
3. Towers that both have are taken off the first cluster. Raw Et: the sum of both.
4. Et: raw Et times the factor / 512 of a table by eta, Et, electromagnetic energy and merging, up
   to 4095. Isolation bit: Et in 6 x 9 towers less raw Et, below the limit of a table by eta, Et and
   number of towers, or a limit above 255. Position as for e/gammas, from the first cluster.
5. 6 of each side by the networks of the jets, then all by one more; Et up to 511.

Without tables: factor 1, isolation bit 0. Bit 1 is 0 in any case, as in the data.

Not confirmed by any public vector: everything but the codes of eta (see clusters.py), which also
show the limit |ieta| <= 25; and in particular the order of equal ones. Source: public description
of the CMS calorimeter layer 2 (tau, demux) and caloParams_2024_v0_2.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scout40.emulator.calo.clusters import (
    CELL_ROW,
    HW_ETA,
    HW_ISO,
    HW_PHI,
    ISO_ET,
    NN,
    RAW_ET,
    SEED,
    SS,
    SW,
    around_of,
    energy,
    fine_phi,
    is_maximum,
    members,
    step,
    trimmed,
)
from scout40.emulator.calo.clusters_grid import (
    E_OVER_H,
    ZERO,
)
from scout40.emulator.calo.clusters_tables import TAU_ET, TAU_TOWERS
from scout40.emulator.calo.geometry import FIRST, N_M, N_PHI, STRIDE
from scout40.streams.jit import njit, pointer

TAU_RINGS = 25
NO_LIMIT = 255
LARGEST_RAW, LARGEST_FACTORED, LARGEST = 255, 8191, 4095
LARGEST_COUNT = 1023
FACTOR_BITS = 9
NONE = -1


@njit
def tau_candidate(
    tables: Any, look: Any, work: Any, cell: int, row: int, ring: int, count: int, name: int
) -> Any:
    """Write all but hw_et and the azimuth of the tower; returns Et."""
    grid = pointer(work.grid)
    mask, fine_eta, east = trimmed(grid, cell, members(grid, cell))
    place, second = _second(grid, cell, mask, row >= N_M, work.seconds)
    if place != NONE:
        mask = _without_shared(grid, cell, mask, place)
    raw = np.int64(grid[cell]) + energy(grid, cell, mask) + second
    isolation = max(around_of(grid, cell, east) - raw, 0)
    column = (cell - FIRST) % STRIDE
    out = work.candidates
    out[name, HW_ETA] = look.fine_eta[row, fine_eta]
    out[name, HW_PHI] = (2 * column + 1 + fine_phi(grid, cell, mask)) % (2 * N_PHI)
    out[name, HW_ISO] = _iso_bit(tables, ring, raw, count, isolation)
    out[name, RAW_ET] = raw
    out[name, ISO_ET] = isolation
    out[name, CELL_ROW] = look.ieta_of_row[row]
    flags = work.flags[cell]
    has_em = flags & E_OVER_H != 0 or flags & ZERO == 0
    return _calibrated(tables, ring, raw, has_em, second > 0)


@njit
def _away(place: int) -> Any:
    """(deta, dphi) of a place for second seeds."""
    if place == 0:
        return 0, 3
    if place == 7:
        return 0, -3
    return (place - 2, 2) if place < 4 else (place - 5, -2)


@njit
def _second_et(grid: Any, cell: int, mask: int, place: int) -> Any:
    """Et of the second cluster at a place, 0 when there is none."""
    if (place == 2 and mask >> SS & 1) or (place == 5 and mask >> NN & 1):
        return 0
    deta, dphi = _away(place)
    seed = cell + deta * STRIDE + dphi
    if grid[seed] < SEED or not is_maximum(grid, seed, 1, 1):
        return 0
    return np.int64(grid[seed]) + energy(grid, seed, members(grid, seed))


@njit
def _of_side(seconds: Any, tip: int, first: int, positive: bool) -> Any:
    """(place, whether it was one of two equal ones) of one side's second cluster."""
    for place in (tip, first + 1):
        if seconds[place]:
            return place, False
    low, high = seconds[first], seconds[first + 2]
    if low == 0 and high == 0:
        return NONE, False
    if low == high:
        return (first if positive else first + 2), True
    return (first, False) if low > high else (first + 2, False)


@njit
def _second(grid: Any, cell: int, mask: int, positive: bool, seconds: Any) -> Any:
    """(place, Et) of the second cluster; NONE, 0 when there is none."""
    for place in range(8):
        seconds[place] = _second_et(grid, cell, mask, place)
    rising, _ = _of_side(seconds, 0, 1, positive)
    falling, equal = _of_side(seconds, 7, 4, positive)
    rising_et = seconds[rising] if rising != NONE else 0
    falling_et = seconds[falling] if falling != NONE else 0
    if equal or rising_et <= falling_et:
        return falling, falling_et
    return rising, rising_et


@njit
def _without_shared(grid: Any, cell: int, mask: int, place: int) -> Any:
    """The first cluster's mask without the towers of the second one."""
    deta, dphi = _away(place)
    shift = deta * STRIDE + dphi
    second = members(grid, cell + shift)
    for member in range(SW + 1):
        if second >> member & 1:
            for own in range(SW + 1):
                if step(own) == shift + step(member):
                    mask &= ~(1 << own)
    return mask


@njit
def _calibrated(tables: Any, ring: int, raw: int, has_em: bool, merged: bool) -> Any:
    if tables.tau_calibration.shape[0] == 0:
        return min(raw, LARGEST)
    compress = tables.tau_compress
    address = compress[ring] << 7 | compress[TAU_ET + min(raw, LARGEST_RAW)] << 2
    factor = tables.tau_calibration[address + (int(has_em) << 1) + int(merged)]
    return min(factor * min(raw, LARGEST_FACTORED) >> FACTOR_BITS, LARGEST)


@njit
def _iso_bit(tables: Any, ring: int, raw: int, count: int, isolation: int) -> Any:
    if tables.tau_iso.shape[0] == 0:
        return 0
    compress = tables.tau_compress
    address = compress[ring] << 10 | compress[TAU_ET + min(raw, LARGEST_RAW)] << 5
    limit = tables.tau_iso[address | compress[TAU_TOWERS + min(count, LARGEST_COUNT)]]
    return int(isolation < limit or limit > NO_LIMIT)
