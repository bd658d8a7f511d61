"""Exact evaluation of one condition on one crossing: assignments, pairs, triples, overlap.

Integer arithmetic of the global trigger firmware: differences in bins, tables for everything
transcendental, products in the tables' fixed point, inclusive limits. Sources: gtl.tex and the
look-up tables of mp7_ugt_legacy; see luts.py.

Conditions are rows of one int64 array, all look-up tables are one int64 array, and the kernel
hands pointers from call to call (see jit.pointer). ``c`` is where a condition's row begins.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from scout40.emulator.ugt.lanes import WIDTH
from scout40.streams.jit import njit

# Kinds of an exact condition.
ASSIGN, PAIR, TRIPLE = range(3)
# Cuts: the order of their limits in a row and of their bits in C_CUTS.
DETA, DPHI, DR, MASS, MASSUPT, MASSDR, TBPT, ORMDETA, ORMDPHI, ORMDR, N_CUTS = range(11)
# Charge correlation.
ANY_CHARGE, OPPOSITE, LIKE = range(3)
# Scale of a pair: which tables.
CALO_CALO, MUON_MUON, CALO_MUON = range(3)

MAX_LEGS = 16
# Columns of a condition's row.
C_KIND, C_LEGS, C_CHARGE, C_OVERLAP, C_TRANSVERSE, C_CUTS, C_LEG = range(7)
L_GROUP, L_WORD, L_BIT, L_PLACE, L_COLUMNS = range(5)  # of leg j, from C_LEG + j * L_COLUMNS
C_LIMIT = C_LEG + MAX_LEGS * L_COLUMNS  # then (cut, scale, low and high)
C_COLUMNS = C_LIMIT + N_CUTS * 6

# Columns of the description of an object type.
K_PT, K_PT_MASK, K_ETA, K_ETA_BITS, K_PHI, K_PHI_MASK, K_MUON, _, K_COLUMNS = range(9)
TYPES = 8
# Offsets of the tables in the one array: (scales, 1024), then (types, 4096), ...
T_DETA = 0
T_DPHI = T_DETA + 3 * 1024
T_COSH = T_DPHI + 3 * 1024
T_COS = T_COSH + 3 * 1024
T_PT = T_COS + 3 * 1024
T_UPT = T_PT + TYPES * 4096
T_TO_MUON_ETA = T_UPT + 256
T_TO_MUON_PHI = T_TO_MUON_ETA + 256
T_COS_PHI = T_TO_MUON_PHI + 256
T_SIN_PHI = T_COS_PHI + 2 * 1024
T_INVERSE = T_SIN_PHI + 2 * 1024
T_KIND = T_INVERSE + 2 * 256 * 192
T_SIZE = T_KIND + TYPES * K_COLUMNS

UPT_SHIFT, CHARGE_SHIFT = 53, 34


class Correlations(NamedTuple):
    """Conditions that need exact evaluation.

    mask: uint64 per condition word, bits of those that are searched for one by one. of_bit: int64
    (64 * words,) place of the bit -> row. rows: int64 (n, C_COLUMNS).
    """

    mask: Any
    of_bit: Any
    rows: Any


@njit
def _field(word: Any, shift: Any, mask: Any) -> Any:
    return np.int64(word >> np.uint64(shift)) & mask


@njit
def _eta(word: Any, kind: Any, luts: Any) -> Any:
    width = luts[kind + K_ETA_BITS]
    raw = _field(word, luts[kind + K_ETA], (1 << width) - 1)
    return raw - ((raw >> (width - 1)) << width)


@njit
def _phi(word: Any, kind: Any, luts: Any) -> Any:
    return _field(word, luts[kind + K_PHI], luts[kind + K_PHI_MASK])


@njit
def pt(word: Any, kind_of: Any, luts: Any) -> Any:
    kind = T_KIND + kind_of * K_COLUMNS
    return luts[T_PT + 4096 * kind_of + _field(word, luts[kind + K_PT], luts[kind + K_PT_MASK])]


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
def _mass(pts: Any, scale: Any, deta: Any, dphi: Any, transverse: Any, luts: Any) -> Any:
    """M^2/2 in 10^-(2 + digits) GeV^2."""
    one = 1000 if scale == CALO_CALO else 10000
    cosh = one if transverse else luts[T_COSH + 1024 * scale + deta]
    return pts * (cosh - luts[T_COS + 1024 * scale + dphi])


@njit
def _unconstrained(a: Any, b: Any, scale: Any, deta: Any, dphi: Any, luts: Any) -> Any:
    pt_a = luts[T_UPT + _field(a, UPT_SHIFT, 255)]
    pt_b = luts[T_UPT + _field(b, UPT_SHIFT, 255)]
    return _mass(pt_a * pt_b, scale, deta, dphi, False, luts)


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
def _inside(value: Any, rows: Any, c: Any, cut: Any, scale: Any) -> Any:
    at = C_LIMIT + 6 * cut + 2 * scale
    return rows[c + at] <= value <= rows[c + at + 1]


@njit
def _dr2(scale: Any, deta: Any, dphi: Any, luts: Any) -> Any:
    return luts[T_DETA + 1024 * scale + deta] ** 2 + luts[T_DPHI + 1024 * scale + dphi] ** 2


@njit
def pair_passes(
    a: Any,
    type_a: Any,
    b: Any,
    type_b: Any,
    scale: Any,
    deta: Any,
    dphi: Any,
    pts: Any,
    rows: Any,
    c: Any,
    luts: Any,
) -> Any:
    """All cuts of the pair except charge and overlap, cheap ones first; pts: 100 pt_a pt_b."""
    cuts = rows[c + C_CUTS]
    if cuts & (1 << DETA) and not _inside(luts[T_DETA + 1024 * scale + deta], rows, c, DETA, scale):
        return False
    if cuts & (1 << DPHI) and not _inside(luts[T_DPHI + 1024 * scale + dphi], rows, c, DPHI, scale):
        return False
    if cuts & (1 << DR) and not _inside(_dr2(scale, deta, dphi, luts), rows, c, DR, scale):
        return False
    if cuts & ((1 << MASS) | (1 << MASSDR)):
        mass = _mass(pts, scale, deta, dphi, rows[c + C_TRANSVERSE], luts)
        if cuts & (1 << MASS) and not _inside(mass, rows, c, MASS, scale):
            return False
        if cuts & (1 << MASSDR):
            half = 1 if scale == MUON_MUON else 0  # the muon table's bins are twice as wide
            place = (256 * half + (deta >> half)) * 192 + (dphi >> half)
            inverse = luts[T_INVERSE + place]
            # 0 stands for "same place"; the firmware then takes the largest number.
            if inverse and mass * inverse < rows[c + C_LIMIT + 6 * MASSDR + 2 * scale]:
                return False
    if cuts & (1 << MASSUPT) and not _inside(
        _unconstrained(a, b, scale, deta, dphi, luts), rows, c, MASSUPT, scale
    ):
        return False
    return not cuts & (1 << TBPT) or _inside(
        _two_body_pt2(a, type_a, b, type_b, luts), rows, c, TBPT, scale
    )


@njit
def _overlaps(a: Any, type_a: Any, b: Any, type_b: Any, rows: Any, c: Any, luts: Any) -> Any:
    """Inside some overlap-removal window that is given (the firmware ORs them)."""
    cuts = rows[c + C_CUTS]
    scale, deta, dphi = bins(a, type_a, b, type_b, luts)
    if cuts & (1 << ORMDETA) and _inside(
        luts[T_DETA + 1024 * scale + deta], rows, c, ORMDETA, scale
    ):
        return True
    if cuts & (1 << ORMDPHI) and _inside(
        luts[T_DPHI + 1024 * scale + dphi], rows, c, ORMDPHI, scale
    ):
        return True
    return cuts & (1 << ORMDR) != 0 and _inside(
        _dr2(scale, deta, dphi, luts), rows, c, ORMDR, scale
    )


@njit
def charges_pass(codes: Any, count: Any, wanted: Any) -> Any:
    """codes: sum of 1 per valid charge, + 256 per negative one. OPPOSITE: not all equal."""
    if wanted == ANY_CHARGE:
        return True
    if codes & 255 != count:
        return False
    negative = codes >> 8
    all_equal = negative == 0 or negative == count
    return all_equal if wanted == LIKE else not all_equal


@njit
def charge(word: Any) -> Any:
    code = _field(word, CHARGE_SHIFT, 3)
    return (code >> 1) + 256 * (code & 1)


@njit
def _chosen_pass(
    place: Any, count: Any, words: Any, start: Any, rows: Any, c: Any, kinds: Any, luts: Any
) -> Any:
    """All cuts on the objects chosen for the leading legs; place[j] = place in the list."""
    if rows[c + C_CHARGE] != ANY_CHARGE:
        codes = np.int64(0)
        for j in range(count):
            group = rows[c + C_LEG + j * L_COLUMNS]
            codes += charge(words[start[group] + place[j]])
        if not charges_pass(codes, count, rows[c + C_CHARGE]):
            return False
    if rows[c + C_KIND] == ASSIGN:
        return True
    mass, scale = np.int64(0), np.int64(0)
    for i in range(count - 1):
        group_i = rows[c + C_LEG + i * L_COLUMNS]
        a, type_a = words[start[group_i] + place[i]], kinds[group_i]
        for j in range(i + 1, count):
            group_j = rows[c + C_LEG + j * L_COLUMNS]
            b, type_b = words[start[group_j] + place[j]], kinds[group_j]
            scale, deta, dphi = bins(a, type_a, b, type_b, luts)
            pts = pt(a, type_a, luts) * pt(b, type_b, luts)
            if rows[c + C_KIND] == PAIR:
                return pair_passes(a, type_a, b, type_b, scale, deta, dphi, pts, rows, c, luts)
            mass += _mass(pts, scale, deta, dphi, False, luts)
    return _inside(mass, rows, c, MASS, scale)


@njit
def _assignment(
    count: Any,
    legs: Any,
    side: Any,
    words: Any,
    start: Any,
    rows: Any,
    c: Any,
    kinds: Any,
    luts: Any,
    place: Any,
) -> Any:
    """Some choice of different objects, one per leg, passes all cuts (depth-first search)."""
    depth = 0
    place[0] = -1
    while depth >= 0:
        place[depth] += 1
        i = place[depth]
        if i >= 64 or (legs[side * MAX_LEGS + depth] >> np.uint64(i)) == 0:
            depth -= 1
            continue
        if not (legs[side * MAX_LEGS + depth] >> np.uint64(i)) & np.uint64(1):
            continue
        taken = False
        for k in range(depth):
            # Two lists never begin at the same place: equal places are one object.
            other = start[rows[c + C_LEG + k * L_COLUMNS]] + place[k]
            taken |= other == start[rows[c + C_LEG + depth * L_COLUMNS]] + i
        if taken:
            continue
        if depth + 1 < count:
            depth += 1
            place[depth] = -1
        elif _chosen_pass(place, count, words, start, rows, c, kinds, luts):
            return True
    return False


@njit
def _collect(count: Any, rows: Any, c: Any, number: Any, masks: Any, legs: Any) -> Any:
    """legs[j] = bit set of the objects that leg j accepts."""
    for j in range(count):
        at = C_LEG + j * L_COLUMNS
        group, word, bit = rows[c + at], rows[c + at + L_WORD], np.uint64(rows[c + at + L_BIT])
        found = np.uint64(0)
        for i in range(number[group]):
            mask = masks[(group * 64 + i) * WIDTH + word]
            found |= ((mask >> bit) & np.uint64(1)) << np.uint64(i)
        legs[j] = found


@njit
def exact(
    c: Any,
    bits: Any,
    words: Any,
    start: Any,
    number: Any,
    masks: Any,
    kinds: Any,
    rows: Any,
    luts: Any,
    legs: Any,
    place: Any,
) -> Any:
    """Whether condition ``c`` is true; ``bits`` holds what its legs need in their groups."""
    count = rows[c + C_LEGS]
    for j in range(count):
        other = rows[c + C_LEG + j * L_COLUMNS + L_PLACE]
        if not (bits[other >> 6] >> np.uint64(other & 63)) & np.uint64(1):
            return False
    _collect(count, rows, c, number, masks, legs)
    if not rows[c + C_OVERLAP]:
        return _assignment(count, legs, 0, words, start, rows, c, kinds, luts, place)
    return _away(count, legs, words, start, number, rows, c, kinds, luts, place)


@njit
def _away(
    count: Any,
    legs: Any,
    words: Any,
    start: Any,
    number: Any,
    rows: Any,
    c: Any,
    kinds: Any,
    luts: Any,
    place: Any,
) -> Any:
    """Some reference object (last leg) overlaps none of the objects chosen for the others."""
    last = count - 1
    # Most often no pair passes, whatever it overlaps with.
    is_pair = rows[c + C_KIND] == PAIR and last > 1
    if is_pair and not _assignment(last, legs, 0, words, start, rows, c, kinds, luts, place):
        return False
    group_r = rows[c + C_LEG + last * L_COLUMNS]
    for r in range(number[group_r]):
        if not (legs[last] >> np.uint64(r)) & np.uint64(1):
            continue
        reference = words[start[group_r] + r]
        for j in range(last):
            group = rows[c + C_LEG + j * L_COLUMNS]
            free = legs[j]
            for i in range(number[group]):
                bit = np.uint64(1) << np.uint64(i)
                if free & bit and (
                    start[group] + i == start[group_r] + r
                    or _overlaps(
                        words[start[group] + i], kinds[group], reference, kinds[group_r],
                        rows, c, luts,
                    )
                ):  # fmt: skip
                    free ^= bit
            legs[MAX_LEGS + j] = free
        leading = last
        if leading == 1 and rows[c + C_KIND] == PAIR:  # the cut is on object and reference
            legs[MAX_LEGS + 1] = np.uint64(1) << np.uint64(r)
            leading = 2
        if _assignment(leading, legs, 1, words, start, rows, c, kinds, luts, place):
            return True
    return False
