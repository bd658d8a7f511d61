"""The integers that the global trigger forms of two objects, computed one pair at a time.

No table is read and none is shared with the production code: every entry is worked out from its
formula when it is needed. See slow_ugt.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

Object = Mapping[str, int]


def rounded(value: float) -> int:
    """Halves up, as the tables were made."""
    return math.floor(value + 0.5)


def position(kind: str, thing: Object, muon_scale: bool) -> tuple[int | None, int]:
    """(eta, phi) on the calorimeter's or the muon's scale; sums have no eta."""
    if kind == "MU":
        return thing["hw_eta_at_vtx"], thing["hw_phi_at_vtx"]
    eta, phi = thing.get("hw_eta"), thing["hw_phi"]
    if not muon_scale:
        return eta, phi
    return None if eta is None else 4 * eta + 2, 4 * phi + 2 if phi < 144 else 0


def pt_tenths(kind: str, thing: Object) -> int:
    """10 x pt at the bin centre."""
    if kind == "MU":
        return 5 * (thing["hw_pt"] - 1) + 3 if thing["hw_pt"] else 0
    return 5 * thing["hw_et"] + 3


def upt_tenths(thing: Object) -> int:
    """10 x unconstrained pt at the bin centre."""
    code = thing["hw_pt_unconstrained"]
    return 10 * (code - 1) + 5 if code else 0


def pair(kind_a: str, a: Object, kind_b: str, b: Object) -> dict[str, int | None]:
    """Every integer that the hardware forms of two objects; None where it forms none."""
    muons = (kind_a == "MU") + (kind_b == "MU")
    step, bins, digits = (0.010875, 576, 4) if muons else (0.0435, 144, 3)
    eta_entries = (230, 920, 451)[muons]
    eta_a, phi_a = position(kind_a, a, muons > 0)
    eta_b, phi_b = position(kind_b, b, muons > 0)
    one = 10**digits
    out: dict[str, int | None] = dict.fromkeys(
        ("deta_bins", "deta", "cosh", "dr2", "mass", "mass_upt", "mass_dr", "inverse_dr2")
    )
    turn = abs(phi_a - phi_b)
    turn = bins - turn if turn >= bins // 2 else turn
    inside = turn >= 0  # codes beyond the full turn address empty entries
    dphi = rounded(turn * (2 * math.pi / bins) * 1000) if inside else 0
    cos = rounded(math.cos(turn * (2 * math.pi / bins)) * one) if inside else 0
    product = pt_tenths(kind_a, a) * pt_tenths(kind_b, b)
    out |= {"digits": digits, "dphi_bins": turn, "dphi": dphi, "cos": cos}
    out["mass_trv"] = product * (one - cos)
    out["tbpt"] = two_body_pt(kind_a, a, phi_a, kind_b, b, phi_b, digits)
    if eta_a is None or eta_b is None:
        return out
    gap = abs(eta_a - eta_b)
    deta = rounded(gap * step * 1000) if gap < eta_entries else 0
    cosh = rounded(math.cosh(gap * step) * one) if gap < eta_entries else 0
    out |= {"deta_bins": gap, "deta": deta, "cosh": cosh, "dr2": deta * deta + dphi * dphi}
    out["mass"] = product * (cosh - cos)
    if muons == 2:
        out["mass_upt"] = upt_tenths(a) * upt_tenths(b) * (cosh - cos)
    if muons != 1:
        inverse = inverse_dr2(gap, max(turn, 0), muons == 2)
        out["inverse_dr2"] = inverse
        out["mass_dr"] = product * (cosh - cos) * inverse
    return out


def two_body_pt(
    kind_a: str, a: Object, phi_a: int, kind_b: str, b: Object, phi_b: int, digits: int
) -> int:
    """Squared pt of the pair, in 10^-(2 + 2 digits) GeV^2, with sines at bin centres."""
    bins, one = (576, 10**4) if digits == 4 else (144, 10**3)

    def wave(function: Callable[[float], float], phi: int) -> int:
        return rounded(function((phi + 0.5) * (2 * math.pi / bins)) * one) if phi < bins else 0

    pt_a, pt_b = pt_tenths(kind_a, a), pt_tenths(kind_b, b)
    scalar = wave(math.cos, phi_a) * wave(math.cos, phi_b)
    scalar += wave(math.sin, phi_a) * wave(math.sin, phi_b)
    return (pt_a * pt_a + pt_b * pt_b) * one * one + 2 * pt_a * pt_b * scalar


def inverse_dr2(deta_bins: int, dphi_bins: int, muons: bool) -> int:
    """10^5 / dR^2; muons at half resolution; 0 at equal positions."""
    if muons:
        deta_bins, dphi_bins = deta_bins >> 1, dphi_bins >> 1
    if deta_bins == dphi_bins == 0:
        return 0
    eta = deta_bins * (0.02175 if muons else 0.0435)
    phi = dphi_bins * 2 * math.pi / (288 if muons else 144)
    return round(round(1 / (eta * eta + phi * phi), 5) * 10**5)
