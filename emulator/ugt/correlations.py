"""Tables of the conditions that need exact evaluation, and the firmware tables they use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import numpy as np
import numpy.typing as npt

from scout40.emulator.ugt import correlate as c
from scout40.emulator.ugt import luts
from scout40.emulator.ugt import quantities as q
from scout40.emulator.ugt.model import Condition, Limits
from scout40.emulator.ugt.objects import LISTS
from scout40.emulator.ugt.pairs import (
    P_ANY_CHARGE,
    P_CUTS,
    P_LIKE,
    P_LIMITS,
    P_OPPOSITE,
    P_SHIFT,
)
from scout40.streams.errors import BadConfig

_NO_ETA = ("ETM", "HTM", "ETMHF", "HTMHF")
_CUT = {
    "DETA": q.DETA,
    "DPHI": q.DPHI,
    "DR": q.DR,
    "MASS": q.MASS,
    "MASSUPT": q.MASSUPT,
    "MASSDR": q.MASSDR,
    "TBPT": q.TBPT,
}
_OVERLAP = {"ORMDETA": 0, "ORMDPHI": 1, "ORMDR": 2}
_CHARGES = ((P_ANY_CHARGE, c.ANY_CHARGE), (P_OPPOSITE, c.OPPOSITE), (P_LIKE, c.LIKE))
_PAIRS: tuple[luts.Pair, ...] = ("calo_calo", "mu_mu", "calo_mu")


def correlation_tables(
    conditions: Sequence[Condition],
    exact: Sequence[int],
    searched: Sequence[int],
    where: Mapping[tuple[int, int], tuple[int, int, int, int]],
    bit_of: Mapping[int, int],
    words: int,
) -> c.Correlations:
    """Kernel tables of ``conditions[exact]``.

    searched:
        those of them that are searched for one by one (the others go by pair sets); ``where``
        places their legs in the groups' masks.
    """
    mask = np.zeros(words, np.uint64)
    of_bit = np.full(64 * words, -1, np.int64)
    rows = np.zeros((max(1, len(exact)), c.C_COLUMNS), np.int64)
    for row, n in zip(rows, exact, strict=False):
        condition, place = conditions[n], bit_of[n]
        of_bit[place] = exact.index(n)
        row[c.C_KIND] = _kind(condition)
        row[c.C_LEGS] = len(condition.requirements)
        charge = condition.charge_correlation
        row[c.C_CHARGE] = {None: c.ANY_CHARGE, "os": c.OPPOSITE, "ls": c.LIKE}[charge]
        row[c.C_REFERENCE] = condition.kind.endswith("_orm")
        for j in range(len(condition.requirements)) if n in searched else ():
            mask[place // 64] |= np.uint64(1) << np.uint64(place % 64)
            at = c.C_LEG + j * c.L_COLUMNS
            row[at : at + c.L_COLUMNS] = where[n, j]
        _fill_limits(row, condition)
    return c.Correlations(mask, of_bit, rows)


def _fill_limits(row: npt.NDArray[np.int64], condition: Condition) -> None:
    muons = [requirement.object == "MU" for requirement in condition.requirements[:2]]
    pair: luts.Pair = "calo_mu" if any(muons) else "calo_calo"
    pair = "mu_mu" if all(muons) else pair
    for name, limits in condition.cuts:
        if name in _OVERLAP:
            row[c.C_CUTS] |= 1 << (q.ORMDETA + _OVERLAP[name])
            for scale, of_scale in enumerate(_PAIRS):
                at = c.C_OVERLAP + 6 * _OVERLAP[name] + 2 * scale
                row[at : at + 2] = scaled(name, limits, of_scale)
            continue
        cut = q.MASSTRV if condition.kind.startswith("mass_trv") and name == "MASS" else _CUT[name]
        low, high = scaled(name, limits, pair)
        row[c.C_CUTS] |= 1 << cut
        # The firmware compares mass over distance with a lower limit only.
        row[c.C_LIMIT + 2 * cut :][:2] = low, q.LARGEST if name == "MASSDR" else high


def pair_limits(
    table: npt.NDArray[np.int64], rows: Sequence[npt.NDArray[np.int64]]
) -> npt.NDArray[np.int64]:
    """Limits of all pair sets; ``table`` is told where they are and which charges are wanted.

    rows:
        the conditions' rows of Correlations, for each set.
    """
    limits: list[npt.NDArray[np.int64]] = []
    used = 0
    for one, members in zip(table, rows, strict=True):
        bits = np.int64(1) << np.arange(len(members), dtype=np.int64)
        for column, wanted in _CHARGES:
            one[column] = bits[members[:, c.C_CHARGE] == wanted].sum() << one[P_SHIFT]
        cuts = int(np.bitwise_or.reduce(members[:, c.C_CUTS])) & ((1 << q.PAIR_CUTS) - 1)
        one[P_CUTS], one[P_LIMITS] = cuts, used
        for cut in range(q.PAIR_CUTS):
            if cuts >> cut & 1:
                has = members[:, c.C_CUTS] >> cut & 1 == 1
                low, high = members[:, c.C_LIMIT + 2 * cut], members[:, c.C_LIMIT + 2 * cut + 1]
                limits += [np.where(has, low, -q.LARGEST), np.where(has, high, q.LARGEST)]
                used += 2 * len(members)
    return np.concatenate(limits) if limits else np.zeros(1, np.int64)


def _kind(condition: Condition) -> int:
    if condition.kind == "mass_inv_3":
        return c.TRIPLE
    pair_cuts = [name for name, _ in condition.cuts if not name.startswith("ORM")]
    return c.PAIR if pair_cuts else c.ASSIGN


def check_correlation(condition: Condition) -> None:
    """BadConfig for combinations that no rule of the hardware covers."""
    what = f"condition {condition.expression}"
    objects = [requirement.object for requirement in condition.requirements]
    if len(objects) > c.MAX_LEGS:
        raise BadConfig(f"{what}: {len(objects)} objects, at most {c.MAX_LEGS}")
    if any(name not in LISTS for name in objects):
        raise BadConfig(f"{what}: correlations need objects of {', '.join(LISTS)}")
    cuts = {name for name, _ in condition.cuts}
    leading = objects[:-1] if condition.kind.endswith("_orm") else objects
    charged = leading if len(leading) > 1 else objects
    if condition.charge_correlation is not None and set(charged) != {"MU"}:
        raise BadConfig(f"{what}: charge correlation needs muons only")
    if condition.kind == "mass_inv_3":
        if cuts != {"MASS"} or len(objects) != 3:
            raise BadConfig(f"{what}: mass_inv_3 takes three objects and one MASS cut")
        if len({(r.object, r.bx_offset) for r in condition.requirements}) > 1:
            raise BadConfig(f"{what}: mass_inv_3 takes objects of one type and crossing")
    elif any(not name.startswith("ORM") for name in cuts) and len(leading) not in (1, 2):
        raise BadConfig(f"{what}: cuts on a pair need two objects, not {len(leading)}")
    if len(leading) < 2 and not condition.kind.endswith("_orm"):
        raise BadConfig(f"{what}: a correlation needs two objects")
    transverse = condition.kind.startswith("mass_trv")
    eta_free = {"DPHI", "ORMDPHI", "TBPT"} | ({"MASS"} if transverse else set())
    if any(name in _NO_ETA for name in objects) and cuts - eta_free:
        bad = ", ".join(sorted(cuts - eta_free))
        raise BadConfig(f"{what}: missing sums have no eta, so {bad} is not defined")
    if "MASSUPT" in cuts and set(objects) != {"MU"}:
        raise BadConfig(f"{what}: MASSUPT needs two muons")
    if "MASSDR" in cuts and len({name == "MU" for name in objects}) > 1:
        raise BadConfig(f"{what}: MASSDR between a muon and a calorimeter object is not defined")


def scaled(name: str, limits: Limits, pair: luts.Pair) -> tuple[int, int]:
    """Inclusive integer limits in the fixed point of the quantity for this pair of scales."""
    digits = luts.MATH_DIGITS[pair]
    mass = 2 * luts.PT_DIGITS + digits
    exponent = {
        "DETA": luts.DELTA_DIGITS,
        "DPHI": luts.DELTA_DIGITS,
        "DR": 2 * luts.DELTA_DIGITS,
        "MASS": mass,
        "MASSUPT": mass,
        "MASSDR": mass + luts.INVERSE_DR2_DIGITS,
        "TBPT": 2 * luts.PT_DIGITS + 2 * digits,
    }[name.removeprefix("ORM")]
    top = np.iinfo(np.int64).max
    power = Decimal(10) ** exponent
    low = int((limits.minimum * power).to_integral_value(ROUND_CEILING))
    high = int((limits.maximum * power).to_integral_value(ROUND_FLOOR))
    return max(-top, min(low, top)), max(-top, min(high, top))


def lut_tables() -> npt.NDArray[np.int64]:
    """All firmware tables in one array; places T_* and row sizes as in correlate.py."""
    out = np.zeros(q.T_SIZE, np.int64)

    def put(place: int, table: npt.NDArray[np.int64]) -> None:
        out[place : place + table.size] = table.ravel()

    for scale, pair in enumerate(_PAIRS):
        put(q.T_ETA + 2048 * scale, np.stack([luts.deta(pair), luts.cosh_deta(pair)], axis=-1))
        put(q.T_PHI + 2048 * scale, np.stack([luts.dphi(pair), luts.cos_dphi(pair)], axis=-1))
    pt_scale: dict[str, luts.PtScale] = {"MU": "mu", "EG": "eg", "TAU": "tau", "JET": "jet"}
    for row, (name, listed) in enumerate(LISTS.items()):
        table = luts.pt_x10(pt_scale.get(name, "sum"))
        step, offset = int(table[2] - table[1]), int(2 * table[1] - table[2])
        pt, phi, eta = listed.fields["pt"], listed.fields["phi"], listed.fields.get("eta")
        eta_place = (eta.lo, eta.width) if eta is not None else (0, 0)
        facts = (pt.lo, pt.mask, step, offset, *eta_place, phi.lo, phi.mask, int(name == "MU"))
        put(q.T_KIND + q.K_COLUMNS * row, np.array(facts))
    put(q.T_UPT, luts.pt_x10("mu_unconstrained"))
    put(q.T_TO_MUON_ETA, luts.calo_eta_to_muon())
    put(q.T_TO_MUON_PHI, luts.calo_phi_to_muon())
    scales: tuple[luts.Scale, ...] = ("calo", "mu")
    for muon, kind in enumerate(scales):
        put(q.T_COS_PHI + 1024 * muon, luts.cos_phi(kind))
        put(q.T_SIN_PHI + 1024 * muon, luts.sin_phi(kind))
        inverse = np.zeros((256, 192), np.int64)
        inverse[:, : luts.inverse_dr2(kind).shape[1]] = luts.inverse_dr2(kind)
        put(q.T_INVERSE + 256 * 192 * muon, inverse)
    return out
