"""Towers of a block, checked, and what one tower word says beyond its Et."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from scout40.emulator.calo.geometry import (
    FIRST,
    HALO_PHI,
    M_OF_ROW,
    MAX_ET,
    N_M,
    N_PHI,
    N_ROWS,
    NO_ROW,
    ROW_OF,
    STRIDE,
)
from scout40.streams.block import Table
from scout40.streams.errors import BadInput
from scout40.streams.formats.scales import CALO_ETA
from scout40.streams.jit import njit

Array = npt.NDArray[Any]

COUNTED_RING = 4
"""The number of towers that stands for pile-up is counted over |ieta| <= 4, Et > 0."""
ZERO, E_OVER_H, HCAL, FINE_GRAIN = 1, 2, 4, 8
"""misc_bits: one part has no energy; E >= H; HCAL feature (HF: minimum bias 0); fine-grain veto of
ECAL (HF: minimum bias 1)."""
RATIO_SHIFT = 4
ER_BITS = 7
"""er_bits: the energies differ by a factor 2^n, n = 0..7."""

_UPPER = (
    *(0.087 * i for i in range(1, 21)),
    *(1.830, 1.930, 2.043, 2.172, 2.322, 2.5, 2.650, 2.853, 3.139, 3.314, 3.489, 3.664),
    *(3.839, 4.013, 4.191, 4.363, 4.538, 4.716, 4.889, 5.191),
)
_SHIFT = 0.251
"""Fine positions lie this part of a tower from its centre: a quarter, and no tie in rounding."""


class TowerColumns(NamedTuple):
    """Columns of the table ``tower`` in the kernels' dtypes.

    em: the electromagnetic Et. flags: misc_bits | er_bits << 4.
    """

    offsets: Array
    hw_et: Array
    hw_eta: Array
    hw_phi: Array
    em: Array
    flags: Array
    row_of: Array
    ring_of: Array


def tower_columns(table: Table) -> TowerColumns:
    """The table ``tower``, checked.

    er_bits and misc_bits may be missing: all of the energy is hadronic then. Raises BadInput for a
    column or value that no tower has; towers of Et 0 are ignored wherever they are.
    """
    for name in ("hw_et", "hw_eta", "hw_phi"):
        if name not in table.columns:
            raise BadInput("table tower lacks this column", field=name)
    et, eta, phi = (np.asarray(table[name], np.int64) for name in ("hw_et", "hw_eta", "hw_phi"))
    none = np.zeros(len(et), np.int64)
    ratio = np.asarray(table.columns.get("er_bits", none), np.int64)
    misc = np.asarray(table.columns.get("misc_bits", none | ZERO), np.int64)
    used = et != 0
    _check(et, (et < 0) | (et > MAX_ET), "hw_et", f"0..{MAX_ET}")
    outside = (abs(eta) > 127) | (ROW_OF[eta & 0xFF] == NO_ROW)
    _check(eta, used & outside, "hw_eta", "+-1..28 or +-30..41")
    _check(phi, used & ((phi < 1) | (phi > N_PHI)), "hw_phi", f"1..{N_PHI}")
    _check(ratio, (ratio < 0) | (ratio > ER_BITS), "er_bits", f"0..{ER_BITS}")
    _check(misc, (misc < 0) | (misc > 15), "misc_bits", "0..15")
    return TowerColumns(
        table.offsets, et.astype(np.uint16), eta.astype(np.int8),
        np.where(used, phi, 1).astype(np.uint8), electromagnetic(et, ratio, misc),
        (misc | ratio << RATIO_SHIFT).astype(np.uint8), ROW_OF, M_OF_ROW,
    )  # fmt: skip


def _check(values: Array, bad: Array, field: str, expected: str) -> None:
    if bad.any():
        at = int(bad.argmax())
        raise BadInput(f"tower {at}: {int(values[at])}, expected {expected}", field=field)


def electromagnetic(et: Array, ratio: Array, misc: Array) -> npt.NDArray[np.uint16]:
    """Electromagnetic part of towers, uint16: all, none, or by the coded ratio.

    The smaller part is Et times round(128 / (1 + 2^ratio)) / 128, the larger one has the other
    factor, both rounded down. Not confirmed by any public vector.
    """
    small = np.floor(128 / (1 + 2.0**ratio) + 0.5).astype(np.int64)
    share = np.where(misc & E_OVER_H, 128 - small, small)
    share = np.where(misc & ZERO, np.where(misc & E_OVER_H, 128, 0), share)
    return np.asarray(et * share >> 7, np.uint16)


def _nearest(eta: float) -> int:
    """Code of eta at the global trigger: the nearest multiple of 0.0435, with the sign."""
    code = min(range(115), key=lambda k: abs(abs(eta) - k * CALO_ETA.lsb))
    return code if eta > 0 else -code


def _fine_eta() -> npt.NDArray[np.int8]:
    table = np.zeros((N_ROWS, 3), np.int8)
    for row in range(N_ROWS):
        ring = N_M - row if row < N_M else row - N_M + 1
        low = _UPPER[ring - 2] if ring > 1 else 0.0
        high = _UPPER[ring - 1]
        centre = (high + low) / 2 * (1 if row >= N_M else -1)
        size = high - low
        for fine, shift in enumerate((0.0, -_SHIFT, _SHIFT)):
            table[row, fine] = _nearest(centre + shift * size)
    return table


FINE_ETA = _fine_eta()
"""int8 (80, 3): code of eta of a row at its centre, a quarter lower, a quarter higher."""


@njit
def fill_side_grids(towers: Any, start: int, stop: int, em: Any, flags: Any) -> None:
    """Electromagnetic Et and flags of a crossing into grids like that of the Et, with halo."""
    for k in range(start, stop):
        if towers.hw_et[k] == 0:
            continue
        row: Any = np.int64(towers.row_of[np.uint8(towers.hw_eta[k])])
        cell = FIRST + row * STRIDE + np.int64(towers.hw_phi[k]) - 1
        em[cell] = towers.em[k]
        flags[cell] = towers.flags[k]
    for row in range(N_ROWS):
        left = FIRST + row * STRIDE
        for k in range(HALO_PHI):
            em[left - HALO_PHI + k] = em[left + N_PHI - HALO_PHI + k]
            em[left + N_PHI + k] = em[left + k]


@njit
def count_towers(towers: Any, start: int, stop: int) -> Any:
    """Towers of |ieta| <= 4 with energy: the measure of pile-up in table addresses."""
    count = 0
    for k in range(start, stop):
        if towers.hw_et[k] != 0:
            row = towers.row_of[np.uint8(towers.hw_eta[k])]
            count += towers.ring_of[row] <= COUNTED_RING
    return count
