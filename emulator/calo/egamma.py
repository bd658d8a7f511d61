"""e/gammas of calorimeter layer 2.

From each cluster (clusters.py) with |ieta| <= 28:

1. Its shape, the members' bits, may be trimmed by a table. Raw Et: seed and members that stay.
2. It must have the H/E bits of an electron in its seed (E >= H, and the coded ratio >= 3 for
   |ieta| < 16, else >= 4; or no hadronic energy), no fine-grain veto there and a good shape by
   table. From 128 GeV on it passes in any case.
3. Isolation: Et in 6 x 9 towers (eta x phi: two on the side left out, three on the other) less
   the footprint: electromagnetic Et of 2 x 5 towers, and the hadronic Et of the seed
   and of its neighbour in phi (falling for negative eta). Bit 0 tight, bit 1 loose: below the
   table's limit for eta, Et and number of towers, or a limit above 255.
4. Et: raw Et times the table's factor / 256, up to 4095. Position: tower centre or a quarter of a
   tower towards the side with more energy.
5. 6 of each side by the networks of the jets, then all by one more; Et up to 511.

Without tables: no trimming, every shape good, factor 1, isolation bits 0.

Not confirmed by any public vector: everything but the codes of eta (see clusters.py); and in
particular the extended H/E condition on neighbour towers that newer firmware has, which is not
applied, and the order of equal ones. Source: public description of the CMS calorimeter layer 2
(e/gamma, demux) and caloParams_2024_v0_2.
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
    RAW_ET,
    area,
    around_of,
    energy,
    fine_phi,
    mask_of,
    members,
    shape_of,
    trimmed,
)
from scout40.emulator.calo.clusters_grid import (
    E_OVER_H,
    FINE_GRAIN,
    RATIO_SHIFT,
    ZERO,
)
from scout40.emulator.calo.clusters_tables import EG_ET, EG_ETA, EG_TOWERS
from scout40.emulator.calo.geometry import FIRST, N_M, N_PHI, STRIDE
from scout40.streams.jit import njit, pointer

EGAMMA_RINGS = 28
ALWAYS = 256
"""From this Et on (LSB 0.5 GeV) nothing but the position is asked of a candidate."""
BARREL = 16
RATIO_BARREL, RATIO_ENDCAP = 3, 4
NO_LIMIT = 255
LARGEST_RAW, LARGEST = 255, 4095
LARGEST_COUNT = 255
GOOD_SHAPE = 9
FACTOR_BITS = 8


@njit
def egamma_candidate(
    tables: Any, look: Any, work: Any, cell: int, row: int, ring: int, count: int, name: int
) -> Any:
    """Write all but hw_et and the azimuth of the tower; returns Et, 0 when it is no e/gamma."""
    grid = pointer(work.grid)
    mask, fine_eta, east = trimmed(grid, cell, members(grid, cell))
    shape = shape_of(mask)
    if tables.eg_trimming.shape[0]:
        mask = mask_of(tables.eg_trimming[(ring - 1) << 7 | shape] & 127, east)
    raw = np.int64(grid[cell]) + energy(grid, cell, mask)
    et, good = _calibrated(tables, ring, raw, shape)
    if et < ALWAYS and not (good and _electron(work, cell, ring)):
        return 0
    around, footprint = _isolation(grid, pointer(work.em), cell, row, east)
    isolation = max(around - footprint, 0)
    out = work.candidates
    column = (cell - FIRST) % STRIDE
    out[name, HW_ETA] = look.fine_eta[row, fine_eta]
    out[name, HW_PHI] = (2 * column + 1 + fine_phi(grid, cell, mask)) % (2 * N_PHI)
    out[name, HW_ISO] = _iso_bits(tables, ring, raw, count, around - footprint)
    out[name, RAW_ET] = raw
    out[name, ISO_ET] = isolation
    out[name, CELL_ROW] = look.ieta_of_row[row]
    return et


@njit
def _calibrated(tables: Any, ring: int, raw: int, shape: int) -> Any:
    """(Et, whether the shape is good)."""
    if tables.eg_calibration.shape[0] == 0:
        return min(raw, LARGEST), True
    compress = tables.eg_compress
    address = compress[shape] | compress[EG_ET + min(raw, LARGEST_RAW)] | compress[EG_ETA + ring]
    word = tables.eg_calibration[address]
    factor = word & ((1 << GOOD_SHAPE) - 1)
    return min(raw * factor >> FACTOR_BITS, LARGEST), word >> GOOD_SHAPE & 1 == 1


@njit
def _electron(work: Any, cell: int, ring: int) -> Any:
    """H/E and fine-grain bits of the seed."""
    flags = np.int64(work.flags[cell])
    if flags & FINE_GRAIN or not flags & E_OVER_H:
        return False
    if flags & ZERO:
        return True
    return flags >> RATIO_SHIFT >= (RATIO_BARREL if ring < BARREL else RATIO_ENDCAP)


@njit
def _isolation(grid: Any, em: Any, cell: int, row: int, east: bool) -> Any:
    """(Et around, Et of the footprint)."""
    around = around_of(grid, cell, east)
    other = cell + (STRIDE if east else -STRIDE)
    neighbour = cell + (1 if row >= N_M else -1)
    footprint = area(em, cell, 0, 0, 2) + area(em, other, 0, 0, 2)
    for place in (cell, neighbour):
        footprint += np.int64(grid[place]) - np.int64(em[place])
    return around, footprint


@njit
def _iso_bits(tables: Any, ring: int, raw: int, count: int, isolation: int) -> Any:
    """Bit 0 tight, bit 1 loose."""
    bits = 0
    if tables.eg_iso_tight.shape[0] == 0 and tables.eg_iso_loose.shape[0] == 0:
        return bits
    compress = tables.eg_compress
    inner = compress[EG_ET + min(raw, LARGEST_RAW)] | compress[EG_ETA + ring]
    address = inner << 1 | compress[EG_TOWERS + min(count, LARGEST_COUNT)]
    if tables.eg_iso_tight.shape[0]:
        limit = tables.eg_iso_tight[address]
        bits |= int(isolation < limit or limit > NO_LIMIT)
    if tables.eg_iso_loose.shape[0]:
        limit = tables.eg_iso_loose[address]
        bits |= int(isolation < limit or limit > NO_LIMIT) << 1
    return bits
