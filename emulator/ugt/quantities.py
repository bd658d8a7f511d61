"""Quantities of a pair of objects, in the integer arithmetic of the global trigger firmware.

Differences in bins, tables for everything transcendental, products in the tables' fixed point.
Sources: gtl.tex and the look-up tables of mp7_ugt_legacy; see luts.py. All tables are one int64
array, and kernels hand pointers from call to call (see jit.pointer).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scout40.streams.jit import njit

# Cuts: places of their limits in a condition's row, and of the quantities.
DETA, DPHI, DR, MASS, MASSTRV, MASSUPT, MASSDR, TBPT, PAIR_CUTS = range(9)
ORMDETA, ORMDPHI, ORMDR = range(PAIR_CUTS, PAIR_CUTS + 3)
# Scale of a pair: which tables.
CALO_CALO, MUON_MUON, CALO_MUON = range(3)

# Columns of the description of an object type.
K_PT, K_PT_MASK, K_PT_STEP, K_PT_OFFSET, K_ETA, K_ETA_BITS, K_PHI, K_PHI_MASK = range(8)
K_MUON, K_COLUMNS = 8, 9
TYPES = 8
# Offsets of the tables in the one array. Distance and cosh (cos) of a difference stand side by
# side, in one line of the cache: (scales, 1024, 2).
T_ETA = 0
T_PHI = T_ETA + 2 * 3 * 1024
T_UPT = T_PHI + 2 * 3 * 1024
T_TO_MUON_ETA = T_UPT + 256
T_TO_MUON_PHI = T_TO_MUON_ETA + 256
T_COS_PHI = T_TO_MUON_PHI + 256
T_SIN_PHI = T_COS_PHI + 2 * 1024
T_INVERSE = T_SIN_PHI + 2 * 1024
T_KIND = T_INVERSE + 2 * 256 * 192
T_SIZE = T_KIND + TYPES * K_COLUMNS

UPT_SHIFT = 53
LARGEST = np.iinfo(np.int64).max


@njit
def field(word: Any, shift: Any, mask: Any) -> Any:
    return np.int64(word >> np.uint64(shift)) & mask


@njit
def _eta(word: Any, kind: Any, luts: Any) -> Any:
    width = luts[kind + K_ETA_BITS]
    raw = field(word, luts[kind + K_ETA], (1 << width) - 1)
    return raw - ((raw >> (width - 1)) << width)


@njit
def _phi(word: Any, kind: Any, luts: Any) -> Any:
    return field(word, luts[kind + K_PHI], luts[kind + K_PHI_MASK])


@njit
def pt(word: Any, kind_of: Any, luts: Any) -> Any:
    """10 x pt in GeV at the bin centre; straight lines, so no table takes room in the cache."""
    kind = T_KIND + kind_of * K_COLUMNS
    code = field(word, luts[kind + K_PT], luts[kind + K_PT_MASK])
    return luts[kind + K_PT_STEP] * code + luts[kind + K_PT_OFFSET]


@njit
def bins(a: Any, type_a: Any, b: Any, type_b: Any, luts: Any) -> Any:
    """(scale, |delta eta|, |delta phi|) in bins of the pair's scale; eta 0 when there is none."""
    kind_a, kind_b = T_KIND + type_a * K_COLUMNS, T_KIND + type_b * K_COLUMNS
    muon_a, muon_b = luts[kind_a + K_MUON], luts[kind_b + K_MUON]
    phi_a, phi_b = _phi(a, kind_a, luts), _phi(b, kind_b, luts)
    eta_a = _eta(a, kind_a, luts) if luts[kind_a + K_ETA_BITS] else 0
    eta_b = _eta(b, kind_b, luts) if luts[kind_b + K_ETA_BITS] else 0
    scale = MUON_MUON if muon_a & muon_b else CALO_CALO
    if muon_a != muon_b:
        scale = CALO_MUON
        if muon_a:
            eta_b = luts[T_TO_MUON_ETA + (eta_b & 255)]
            phi_b = luts[T_TO_MUON_PHI + phi_b]
        else:
            eta_a = luts[T_TO_MUON_ETA + (eta_a & 255)]
            phi_a = luts[T_TO_MUON_PHI + phi_a]
    half = 72 if scale == CALO_CALO else 288
    dphi = abs(phi_a - phi_b)
    if dphi >= half:
        dphi = abs(2 * half - dphi)  # abs: codes beyond the scale stay inside the tables
    return scale, abs(eta_a - eta_b), dphi


@njit
def _mass(pts: Any, scale: Any, deta: Any, dphi: Any, luts: Any) -> Any:
    """M^2/2 in 10^-(2 + digits) GeV^2."""
    return pts * (
        luts[T_ETA + 2048 * scale + 2 * deta + 1] - luts[T_PHI + 2048 * scale + 2 * dphi + 1]
    )


@njit
def mass(a: Any, type_a: Any, b: Any, type_b: Any, luts: Any) -> Any:
    """M^2/2 of the pair in 10^-(2 + digits) GeV^2."""
    scale, deta, dphi = bins(a, type_a, b, type_b, luts)
    return _mass(pt(a, type_a, luts) * pt(b, type_b, luts), scale, deta, dphi, luts)


@njit
def _unconstrained(a: Any, b: Any, scale: Any, deta: Any, dphi: Any, luts: Any) -> Any:
    pt_a = luts[T_UPT + field(a, UPT_SHIFT, 255)]
    pt_b = luts[T_UPT + field(b, UPT_SHIFT, 255)]
    return _mass(pt_a * pt_b, scale, deta, dphi, luts)


@njit
def _two_body_pt2(a: Any, type_a: Any, b: Any, type_b: Any, luts: Any) -> Any:
    """Squared transverse momentum of the pair, in 10^-(2 + 2 digits) GeV^2."""
    kind_a, kind_b = T_KIND + type_a * K_COLUMNS, T_KIND + type_b * K_COLUMNS
    muon_a, muon_b = luts[kind_a + K_MUON], luts[kind_b + K_MUON]
    phi_a, phi_b = _phi(a, kind_a, luts), _phi(b, kind_b, luts)
    if muon_a != muon_b:
        phi_a = phi_a if muon_a else luts[T_TO_MUON_PHI + phi_a]
        phi_b = phi_b if muon_b else luts[T_TO_MUON_PHI + phi_b]
    table = 1024 * (muon_a | muon_b)
    one = 10000 if muon_a | muon_b else 1000
    cosine = (
        luts[T_COS_PHI + table + phi_a] * luts[T_COS_PHI + table + phi_b]
        + luts[T_SIN_PHI + table + phi_a] * luts[T_SIN_PHI + table + phi_b]
    )
    pt_a, pt_b = pt(a, type_a, luts), pt(b, type_b, luts)
    # Not the square of summed components: tabulated sine and cosine do not add up to one.
    return (pt_a * pt_a + pt_b * pt_b) * one * one + 2 * pt_a * pt_b * cosine


@njit
def quantities(a: Any, type_a: Any, b: Any, type_b: Any, wanted: Any, luts: Any, out: Any) -> Any:
    """out[cut] for every cut that is a bit of ``wanted``, in the fixed point of its limits."""
    scale, deta, dphi = bins(a, type_a, b, type_b, luts)
    delta_eta = luts[T_ETA + 2048 * scale + 2 * deta]
    delta_phi = luts[T_PHI + 2048 * scale + 2 * dphi]
    out[DETA], out[DPHI] = delta_eta, delta_phi
    out[DR] = delta_eta * delta_eta + delta_phi * delta_phi
    if wanted & ((1 << MASS) | (1 << MASSTRV) | (1 << MASSDR)):
        pts = pt(a, type_a, luts) * pt(b, type_b, luts)
        mass = _mass(pts, scale, deta, dphi, luts)
        one = 1000 if scale == CALO_CALO else 10000
        out[MASS] = mass
        out[MASSTRV] = pts * (one - luts[T_PHI + 2048 * scale + 2 * dphi + 1])
        if wanted & (1 << MASSDR):
            half = 1 if scale == MUON_MUON else 0  # the muon table's bins are twice as wide
            column = min(dphi >> half, 191)  # codes beyond the scale stay inside the table
            inverse = luts[T_INVERSE + (256 * half + (deta >> half)) * 192 + column]
            # 0 stands for "same place"; the firmware then takes the largest number.
            out[MASSDR] = mass * inverse if inverse else LARGEST
    if wanted & (1 << MASSUPT):
        out[MASSUPT] = _unconstrained(a, b, scale, deta, dphi, luts)
    if wanted & (1 << TBPT):
        out[TBPT] = _two_body_pt2(a, type_a, b, type_b, luts)
    return scale
