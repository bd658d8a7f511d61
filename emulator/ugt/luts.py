"""Look-up tables of the global trigger's correlation arithmetic, from closed forms.

Every function returns a read-only int64 array whose length is a power of two, as the address
space in the firmware is; addresses beyond the physical range hold 0. Index and unit:

=====================  =====================================  =================================
function               index                                  entry
=====================  =====================================  =================================
``deta``               abs(hw eta difference)                 |delta eta| x 1000
``dphi``               folded abs(hw phi difference)          |delta phi| x 1000, phi in rad
``cosh_deta``          abs(hw eta difference)                 cosh(delta eta) x 10^digits
``cos_dphi``           folded abs(hw phi difference)          cos(delta phi) x 10^digits, signed
``cos_phi, sin_phi``   hw phi                                 cos, sin at bin centre x 10^digits
``pt_x10``             hw pt (hw et)                          pt at bin centre x 10, GeV
``calo_eta_to_muon``   hw eta & 0xFF (two's complement)       muon hw eta, signed
``calo_phi_to_muon``   hw phi                                 muon hw phi
``inverse_dr2``        eta bin, phi bin                       x 10^5 / (delta R)^2
=====================  =====================================  =================================

``digits`` is 3 for two calorimeter objects (or sums) and 4 when a muon takes part. A calorimeter
object next to a muon is first mapped to the muon's scale, whose differences then reach further.

Sources: scales and precisions of the public micro global trigger documentation (gtl.tex,
scales_inputs_2_ugt.tex) and the numeric tables of its firmware (gtl_luts_pkg.vhd), which the
formulas below reproduce in every entry.

How the tables combine (both limits of a cut are inclusive, decimals scaled up to the integers):

* delta R^2 = deta^2 + dphi^2, in 10^-6;
* M^2/2 = pt1 pt2 (cosh - cos), in 10^-(2 + digits) GeV^2; transverse: 10^digits instead of cosh;
* two-body pt^2 = (pt1^2 + pt2^2) 10^(2 digits) + 2 pt1 pt2 (cos1 cos2 + sin1 sin2), in
  10^-(2 + 2 digits) GeV^2. This is not the square of summed components: the tabulated sine and
  cosine of one phi do not add up to exactly one (tbpt_calc.vhd; CMS software has the same form);
* (M^2/2) / delta R^2 = M^2/2 times ``inverse_dr2``; where that table reads 0 the firmware takes
  the largest number, so that objects at the same place pass (mass_over_dr_calc.vhd), and it knows
  a lower limit only.

Rounding. A table entry is floor(x + 0.5), and for the difference tables x is computed in double
as (bins * step) * 1000, in this order. Every eighth muon and every second calorimeter eta
difference is an exact half in decimal arithmetic, so the floating-point noise of that product
decides 51 of 230 calorimeter and 26 of 451 muon entries downwards. The noise is part of the
hardware's behaviour: do not reorder the product.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt

Pair = Literal["calo_calo", "mu_mu", "calo_mu"]
Scale = Literal["calo", "mu"]
PtScale = Literal["eg", "tau", "jet", "sum", "mu", "mu_unconstrained"]
Table = npt.NDArray[np.int64]

CALO_ETA_STEP = 0.0435
MUON_ETA_STEP = 0.010875
CALO_PHI_BINS = 144
MUON_PHI_BINS = 576
PT_DIGITS = 1
DELTA_DIGITS = 3
INVERSE_DR2_DIGITS = 5
MATH_DIGITS: dict[Pair, int] = {"calo_calo": 3, "mu_mu": 4, "calo_mu": 4}
"""Decimal digits of cosh, cos and of the sine and cosine of phi, per pair of scales."""

_ETA_BINS: dict[Pair, tuple[int, int]] = {
    "calo_calo": (230, 256),
    "mu_mu": (451, 512),
    "calo_mu": (920, 1024),
}
"""Filled entries (differences 0..n-1) and address space of the tables over delta eta.

Calorimeter eta runs from -115 to 114, so 229 is the largest difference the firmware foresees;
a difference of 230 (code 115, outside the scale) reads a 0.
"""
_PT: dict[PtScale, tuple[int, int, int, int]] = {
    # address space, step, value of code 0, value of code 1
    "eg": (512, 5, 3, 8),
    "tau": (512, 5, 3, 8),
    "jet": (2048, 5, 3, 8),
    "sum": (4096, 5, 3, 8),
    "mu": (512, 5, 0, 3),
    "mu_unconstrained": (256, 10, 0, 5),
}


@cache
def deta(pair: Pair) -> Table:
    """|delta eta| x 1000; (256,), (512,) or (1024,) for calo_calo, mu_mu, calo_mu."""
    filled, length = _ETA_BINS[pair]
    bins = np.arange(filled, dtype=np.float64)
    return _table((bins * _eta_step(pair)) * 10.0**DELTA_DIGITS, length)


@cache
def dphi(pair: Pair) -> Table:
    """|delta phi| x 1000, phi in rad; (256,) for calo_calo, else (1024,).

    Filled over the full turn; folded differences use the first half (0..72 or 0..288).
    """
    bins = _phi_bins(_scale(pair))
    angles = np.arange(bins, dtype=np.float64) * (2 * math.pi / bins)
    return _table(angles * 10.0**DELTA_DIGITS, _phi_length(_scale(pair)))


@cache
def cosh_deta(pair: Pair) -> Table:
    """cosh(delta eta) x 10^digits; shapes as :func:`deta`.

    One entry is computed at a time with the C library's cosh, as elsewhere vector versions may
    differ in the last bit.
    """
    filled, length = _ETA_BINS[pair]
    step = _eta_step(pair)
    values = np.array([math.cosh(n * step) for n in range(filled)])
    return _table(values * 10.0 ** MATH_DIGITS[pair], length)


@cache
def cos_dphi(pair: Pair) -> Table:
    """cos(delta phi) x 10^digits, signed; shapes as :func:`dphi`."""
    bins = _phi_bins(_scale(pair))
    values = np.array([math.cos(n * (2 * math.pi / bins)) for n in range(bins)])
    return _table(values * 10.0 ** MATH_DIGITS[pair], _phi_length(_scale(pair)))


@cache
def cos_phi(scale: Scale) -> Table:
    """Cosine at the centre of phi bin k, for the two-body pt; x 10^3 calo, x 10^4 muon."""
    return _centred(scale, math.cos)


@cache
def sin_phi(scale: Scale) -> Table:
    """Sine at the centre of phi bin k, for the two-body pt; x 10^3 calo, x 10^4 muon."""
    return _centred(scale, math.sin)


@cache
def pt_x10(scale: PtScale) -> Table:
    """10 x pt in GeV at the bin centre, halves up.

    Calorimeter code n -> 5n + 3, also for n = 0. Muon n -> 5(n - 1) + 3 and unconstrained muon
    n -> 10(n - 1) + 5, both 0 for n = 0, the code of "no value".
    """
    length, step, zero, one = _PT[scale]
    table = one + step * (np.arange(length, dtype=np.int64) - 1)
    table[0] = zero
    return _frozen(table)


@cache
def calo_eta_to_muon() -> Table:
    """Calorimeter eta code (as unsigned byte) -> muon eta code nearest the bin centre: 4k + 2."""
    code = np.arange(256, dtype=np.int64)
    return _frozen(4 * np.where(code < 128, code, code - 256) + 2)


@cache
def calo_phi_to_muon() -> Table:
    """Calorimeter phi code -> muon phi code at the bin centre: 4k + 2; 0 above code 143."""
    code = np.arange(256, dtype=np.int64)
    return _frozen(np.where(code < CALO_PHI_BINS, 4 * code + 2, 0))


@cache
def inverse_dr2(scale: Scale) -> Table:
    """10^5 / (delta R)^2, for the cut on mass over delta R; (256, 80) calo, (256, 192) muon.

    The calorimeter table is addressed by the bins of the difference, the muon table by bins of
    twice the width: (abs eta difference) >> 1, (folded abs phi difference) >> 1, because the
    full table did not fit the memories. Equal positions (0, 0) read 0. Rounding is to 5 decimals,
    half to even, as in the script that made the memories' contents (one_over_dr_sq_calc.py);
    no public set of decisions exists against which the condition could be checked.
    """
    step, bins, columns = (
        (CALO_ETA_STEP, CALO_PHI_BINS, 80)
        if scale == "calo"
        else (MUON_ETA_STEP * 2, MUON_PHI_BINS // 2, 192)
    )
    eta = np.arange(256, dtype=np.float64)[:, None] * step
    phi = np.arange(columns, dtype=np.float64)[None, :] * 2 * math.pi / bins
    squared = eta**2 + phi**2
    squared[0, 0] = np.inf
    scaled = np.array([round(float(v), INVERSE_DR2_DIGITS) for v in (1 / squared).ravel()])
    table = np.rint(scaled * 10.0**INVERSE_DR2_DIGITS).astype(np.int64)
    return _frozen(table.reshape(squared.shape))


def _table(values: npt.NDArray[np.float64], length: int) -> Table:
    """Round halves up and fill the address space with zeros."""
    table = np.zeros(length, dtype=np.int64)
    table[: len(values)] = np.floor(values + 0.5).astype(np.int64)
    return _frozen(table)


def _centred(scale: Scale, function: Callable[[float], float]) -> Table:
    bins = _phi_bins(scale)
    values = np.array([function((n + 0.5) * (2 * math.pi / bins)) for n in range(bins)])
    digits = MATH_DIGITS["calo_calo" if scale == "calo" else "mu_mu"]
    return _table(values * 10.0**digits, _phi_length(scale))


def _frozen(table: Table) -> Table:
    table.flags.writeable = False
    return table


def _scale(pair: Pair) -> Scale:
    return "calo" if pair == "calo_calo" else "mu"


def _eta_step(pair: Pair) -> float:
    return CALO_ETA_STEP if pair == "calo_calo" else MUON_ETA_STEP


def _phi_bins(scale: Scale) -> int:
    return CALO_PHI_BINS if scale == "calo" else MUON_PHI_BINS


def _phi_length(scale: Scale) -> int:
    return 256 if scale == "calo" else 1024
