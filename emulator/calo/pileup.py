"""Energy from other collisions that is taken off a jet: phi ring or chunky donut.

Source: public description of the CMS calorimeter layer 2 (Run 3 uses the phi ring, earlier years
the chunky donut).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scout40.emulator.calo.geometry import FIRST, N_PHI, N_ROWS, STRIDE
from scout40.streams.jit import njit

NONE, PHI_RING, CHUNKY_DONUT = 0, 1, 2
PILE_UP = {"none": NONE, "phi ring": PHI_RING, "chunky donut": CHUNKY_DONUT}

_HALF = 4  # a jet is 9 x 9 towers
_NEAR, _FAR = 5, 7  # the donut's strips lie at these distances from the seed


@njit
def sum_rings(grid: Any, rings: Any) -> None:
    """Sum over phi of every row, int64 (80,)."""
    for row in range(N_ROWS):
        first = FIRST + row * STRIDE
        total = np.uint32(0)
        for k in range(N_PHI):
            total += np.uint32(grid[first + k])
        rings[row] = total


@njit
def pile_up(kind: int, grid: Any, rings: Any, row: int, column: int) -> Any:
    """Et to subtract from the jet with this seed; ``rings`` is of use to the phi ring only."""
    if kind == PHI_RING:
        return phi_ring(rings, row)
    if kind == CHUNKY_DONUT:
        return chunky_donut(grid, row, column)
    return 0


@njit
def phi_ring(rings: Any, row: int) -> Any:
    """The jet's nine rings, scaled to the jet's area: sum * 9 / 72, rounded down.

    Rings beyond the detector count 0.
    """
    total = 0
    for k in range(max(row - _HALF, 0), min(row + _HALF, N_ROWS - 1) + 1):
        total += rings[k]
    return (total * (2 * _HALF + 1)) // N_PHI


@njit
def chunky_donut(grid: Any, row: int, column: int) -> Any:
    """Sum of the three lowest of four strips of 9 x 3 towers around the jet.

    Towers beyond the detector count 0, so a strip that lies there is among the lowest.
    """
    seed = FIRST + row * STRIDE + column
    total, highest = np.int64(0), np.int64(0)
    for strip in range(4):
        energy = np.int64(0)
        sign = 1 if strip % 2 == 0 else -1
        if strip < 2:
            for deta in range(-_HALF, _HALF + 1):
                for away in range(_NEAR, _FAR + 1):
                    energy += np.int64(grid[seed + deta * STRIDE + sign * away])
        else:
            for away in range(_NEAR, _FAR + 1):
                for dphi in range(-_HALF, _HALF + 1):
                    energy += np.int64(grid[seed + sign * away * STRIDE + dphi])
        total += energy
        highest = max(highest, energy)
    return total - highest
