"""Scouting words of the calorimeter trigger towers (source id 32).

Per crossing a header of three words, then one word a tower. Source: bit masks and unpacker of
the CMS Level-1 scouting (2026), as written down in the project's format notes. The ratio field is
bits 9..11; an earlier mask of the unpacker (0xE, shifted by 9) lost its low bit.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from scout40.streams.formats.scales import CALO_ET, wrapped
from scout40.streams.layout import Bits, Scale, Word

IETAS = tuple(ieta for ieta in range(-41, 42) if ieta not in (-29, 0, 29))
"""Indices of the towers in eta, +-1..28 and +-30..41, rising."""

IPHIS = 72
"""Towers of a ring; their index in azimuth counts from 1."""


class TowerBlockHeader(Word, words=3):
    """Three words in front of the towers of one crossing."""

    count = Bits(0, 32, "number of towers", word=0)
    bx = Bits(0, 32, "bunch crossing 1..3564", word=1)
    orbit = Bits(0, 31, "orbit number", word=2)


_UPPER_EDGES = (
    *(0.087 * i for i in range(1, 21)),
    *(1.830, 1.930, 2.043, 2.172, 2.322, 2.5, 2.650, 2.853, 3.139, 3.314, 3.489, 3.664),
    *(3.839, 4.013, 4.191, 4.363, 4.538, 4.716, 4.889, 5.191),
)
"""Upper edges in eta of towers 1..28 and 30..41; tower 29 does not exist."""

NO_TOWER, NO_TOWER_29, BEYOND = 9999.0, 9998.0, 9997.0
"""Eta of ieta 0, of +-29 (no such tower) and of those beyond 41; with the sign of ieta."""


def _eta_of_size(size: int) -> float:
    """Centre of towers +-size, in the magnitude of eta."""
    if size == 0:
        return NO_TOWER
    if size == 29:
        return NO_TOWER_29
    if size > 41:
        return BEYOND
    place = size - 1 if size < 29 else size - 2
    low = _UPPER_EDGES[place - 1] if place else 0.0
    # The unpacker's table has tower 28 up to 3.0, over the first part of tower 30.
    high = 3.0 if size == 28 else _UPPER_EDGES[place]
    return (low + high) / 2


def _eta(codes: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    sizes = np.array([_eta_of_size(size) for size in range(129)])
    values = np.where(codes < 0, -1.0, 1.0) * sizes[np.abs(codes)]
    # The centres have four decimals; the half sums differ from them by rounding noise.
    return np.asarray(np.round(values, 4), np.float32)


def _phi(codes: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    return wrapped(((2 * codes - 1) * math.pi / 72).astype(np.float32))


TOWER_ETA = Scale("", 0.087, _eta)
TOWER_PHI = Scale("rad", math.pi / 36, _phi)


class CaloTower(Word):
    """One trigger tower; towers of zero energy are sent too."""

    hw_et = Bits(0, 9, "transverse energy; 509, 510, 511 = saturated", scale=CALO_ET)
    er_bits = Bits(9, 3, "ratio of hadronic and electromagnetic energy, coded")
    misc_bits = Bits(12, 4, "flags: no energy in one part, E/H, HCAL, ECAL")
    hw_phi = Bits(16, 8, "tower azimuth index 1..72", scale=TOWER_PHI)
    hw_eta = Bits(24, 8, "tower eta index, +-1..28 and +-30..41", signed=True, scale=TOWER_ETA)
