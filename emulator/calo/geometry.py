"""Trigger towers as the jet finder sees them: a dense grid of one crossing, with halo.

Towers are named by ieta +-1..28 and +-30..41 (29 does not exist) and iphi 1..72. Eta steps skip
the two gaps, so the grid has 80 rows of rising eta without them: row of m = +-1..40, where
m = ieta below 29 and ieta - 1 above. Source: public description of the CMS calorimeter layer 2.

The grid is flat, row-major. Phi is the fast direction; it wraps, so HALO_PHI columns on both
sides repeat the other end. HALO_ETA rows on both sides stay 0: there is no detector. The halos
are as wide as the outermost strip of the chunky donut reaches.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.streams.formats.scales import CALO_ETA
from scout40.streams.formats.tower import IETAS, IPHIS, TOWER_ETA, CaloTower
from scout40.streams.jit import njit

Array = npt.NDArray[Any]

N_PHI = IPHIS
N_ROWS = len(IETAS)
N_M = N_ROWS // 2
"""Rows of one eta side."""
HALO_ETA = 7
HALO_PHI = 8
STRIDE = N_PHI + 2 * HALO_PHI
CELLS = (N_ROWS + 2 * HALO_ETA) * STRIDE
FIRST = HALO_ETA * STRIDE + HALO_PHI
"""Cell of row 0, iphi 1."""

MAX_ET = CaloTower.fields["hw_et"].limit
SATURATED = 509
"""From this code on a tower is saturated: 509 HCAL, 510 ECAL, 511 both."""

NO_ROW = 255


IETA_OF_ROW = np.array(IETAS, np.int8)
"""int8 (80,): ieta of a row."""

ROW_OF = np.full(256, NO_ROW, np.uint8)
ROW_OF[IETA_OF_ROW.view(np.uint8)] = np.arange(N_ROWS)
"""uint8 (256,): row of ieta (as unsigned byte); NO_ROW where there is no such tower."""

M_OF_ROW = np.array([N_M - r if r < N_M else r - N_M + 1 for r in range(N_ROWS)], np.int64)
"""int64 (80,): |m| of a row."""


def _ring_rows() -> npt.NDArray[np.int64]:
    rings = [m for first in range(1, 5) for m in range(first, N_M + 1, 4)]
    return np.array([N_M - 1 + m for m in rings] + [N_M - m for m in rings], np.int64)


RING_ROWS = _ring_rows()
"""int64 (80,): rows in the order in which the processor makes its candidate list: positive side
first, on each side rings m = 1, 5, 9 ..., then 2, 6 ..., 3, 7 ..., 4, 8 ..."""


def _gt_eta() -> npt.NDArray[np.int8]:
    centres = TOWER_ETA.convert(IETA_OF_ROW.astype(np.int64)).astype(np.float64)
    return np.rint(centres / CALO_ETA.lsb).astype(np.int8)


GT_ETA_OF_ROW = _gt_eta()
"""int8 (80,): centre of the tower in scouting / 0.0435, rounded.

The hardware's codes differ at ieta +-28 and +-41, see clusters_grid.FINE_ETA.
"""


def gt_phi(iphi: Array) -> Array:
    """hw_phi at the global trigger, uint8: the tower centre, 2 iphi - 1 of 144."""
    return (np.asarray(iphi, np.uint8) * np.uint8(2) - np.uint8(1)).astype(np.uint8)


CELL_OF_IETA = np.where(ROW_OF == NO_ROW, CELLS, FIRST - 1 + ROW_OF.astype(np.int64) * STRIDE)
"""int64 (256,): added to iphi, the cell of a tower; CELLS where there is no such row."""


@njit
def fill_grid(
    grid: Any, hw_et: Any, hw_eta: Any, hw_phi: Any, row_of: Any, start: int, stop: int
) -> Any:
    """Towers start .. stop - 1 into ``grid`` (uint16 (CELLS,)), which must be 0 before.

    Returns (largest Et, index of the first tower that cannot be used or -1): one of more than
    9 bits, without place or at a place that was filled before. A tower of Et 0 is the same as
    none, wherever it claims to be.
    """
    highest = 0
    for k in range(start, stop):
        et = hw_et[k]
        if et == 0:
            continue
        row = row_of[np.uint8(hw_eta[k])]
        column = np.int64(hw_phi[k]) - 1
        if et > MAX_ET or row == NO_ROW or column < 0 or column >= N_PHI:
            return highest, k
        cell = FIRST + np.int64(row) * STRIDE + column
        if grid[cell] != 0:
            return highest, k
        grid[cell] = et
        highest = max(highest, et)
    fill_halo(grid)
    return highest, -1


@njit
def fill_halo(grid: Any) -> None:
    """Both ends of every row again on the other side."""
    for row in range(N_ROWS):
        left = FIRST + row * STRIDE
        right = left + N_PHI
        for k in range(HALO_PHI):
            grid[left - HALO_PHI + k] = grid[right - HALO_PHI + k]
            grid[right + k] = grid[left + k]
