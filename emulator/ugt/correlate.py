"""Exact evaluation of one condition on one crossing: assignments, pairs, triples, overlap.

Conditions are rows of one int64 array; ``c`` is where a condition's row begins. All limits are
inclusive integers in the fixed point of quantities.py. Everything is a pointer (jit.pointer).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from scout40.emulator.ugt.bits import lowest_bit
from scout40.emulator.ugt.lanes import WIDTH
from scout40.emulator.ugt.quantities import MASS, ORMDETA, PAIR_CUTS, field, mass, quantities
from scout40.streams.jit import njit

# Kinds of an exact condition.
ASSIGN, PAIR, TRIPLE = range(3)
# Charge correlation.
ANY_CHARGE, OPPOSITE, LIKE = range(3)
MAX_LEGS = 16
# Columns of a condition's row: what a pair needs comes first. C_LIMIT: (cut, low and high), in
# the scale of the leading objects. C_OVERLAP: (overlap cut, scale, low and high). C_LEG: L_*.
C_CHARGE, C_CUTS, C_KIND, C_LEGS, C_REFERENCE, C_LIMIT = range(6)
C_OVERLAP = C_LIMIT + 2 * PAIR_CUTS
C_LEG = C_OVERLAP + 3 * 6
L_GROUP, L_WORD, L_BIT, L_PLACE, L_COLUMNS = range(5)
C_COLUMNS = C_LEG + MAX_LEGS * L_COLUMNS

CHARGE_SHIFT = 34


class Correlations(NamedTuple):
    """Conditions that need exact evaluation.

    mask: uint64 per condition word, bits of those that are searched for one by one. of_bit: int64
    (64 * words,) place of the bit -> row. rows: int64 (n, C_COLUMNS).
    """

    mask: Any
    of_bit: Any
    rows: Any


@njit
def cuts_pass(found: Any, cuts: Any, rows: Any, c: Any) -> Any:
    """Whether the quantities ``found`` lie inside the limits of every cut of ``cuts``."""
    while cuts:
        cut = lowest_bit(np.uint64(cuts))
        cuts &= cuts - 1
        value = found[cut]
        if value < rows[c + C_LIMIT + 2 * cut] or value > rows[c + C_LIMIT + 2 * cut + 1]:
            return False
    return True


@njit
def _overlaps(
    a: Any, type_a: Any, b: Any, type_b: Any, rows: Any, c: Any, luts: Any, found: Any
) -> Any:
    """Inside some overlap-removal window that is given (the firmware ORs them)."""
    scale = quantities(a, type_a, b, type_b, 0, luts, found)
    for k in range(3):  # DETA, DPHI and DR are quantities 0, 1, 2
        if rows[c + C_CUTS] & (1 << (ORMDETA + k)):
            at = c + C_OVERLAP + 6 * k + 2 * scale
            if rows[at] <= found[k] <= rows[at + 1]:
                return True
    return False


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
    code = field(word, CHARGE_SHIFT, 3)
    return (code >> 1) + 256 * (code & 1)


@njit
def _chosen_pass(
    place: Any,
    count: Any,
    words: Any,
    start: Any,
    rows: Any,
    c: Any,
    kinds: Any,
    luts: Any,
    found: Any,
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
    a, b = rows[c + C_LEG], rows[c + C_LEG + L_COLUMNS]  # groups of the pair
    cuts = rows[c + C_CUTS] & ((1 << PAIR_CUTS) - 1)
    word_a, word_b = words[start[a] + place[0]], words[start[b] + place[1]]
    quantities(word_a, kinds[a], word_b, kinds[b], cuts, luts, found)
    return cuts_pass(found, cuts, rows, c)


@njit
def _covered(legs: Any, i: Any, j: Any, k: Any) -> Any:
    """Three objects can be given to three legs, one each."""
    one = np.uint64(1)
    x, y, z = np.uint64(i), np.uint64(j), np.uint64(k)
    i0, i1, i2 = legs[0] >> x, legs[1] >> x, legs[2] >> x
    j0, j1, j2 = legs[0] >> y, legs[1] >> y, legs[2] >> y
    k0, k1, k2 = legs[0] >> z, legs[1] >> z, legs[2] >> z
    with_i0 = i0 & ((j1 & k2) | (j2 & k1))
    with_j0 = j0 & ((i1 & k2) | (i2 & k1))
    with_k0 = k0 & ((i1 & j2) | (i2 & j1))
    return (with_i0 | with_j0 | with_k0) & one


@njit
def _triple(
    legs: Any, words: Any, start: Any, number: Any, rows: Any, c: Any, kinds: Any, luts: Any
) -> Any:
    """Some three objects of one list, whose pair values of M^2/2 add up to inside the limits."""
    group = rows[c + C_LEG]
    first, kind = start[group], kinds[group]
    for i in range(number[group] - 2):
        for j in range(i + 1, number[group] - 1):
            for k in range(j + 1, number[group]):
                if not _covered(legs, i, j, k):
                    continue
                x, y, z = words[first + i], words[first + j], words[first + k]
                if not charges_pass(charge(x) + charge(y) + charge(z), 3, rows[c + C_CHARGE]):
                    continue
                total = mass(x, kind, y, kind, luts) + mass(x, kind, z, kind, luts)
                total += mass(y, kind, z, kind, luts)
                at = c + C_LIMIT + 2 * MASS
                if rows[at] <= total <= rows[at + 1]:
                    return True
    return False


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
    found: Any,
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
        elif _chosen_pass(place, count, words, start, rows, c, kinds, luts, found):
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
    found: Any,
) -> Any:
    """Whether condition ``c`` is true; ``bits`` holds what its legs need in their groups."""
    count = rows[c + C_LEGS]
    for j in range(count):
        other = rows[c + C_LEG + j * L_COLUMNS + L_PLACE]
        if not (bits[other >> 6] >> np.uint64(other & 63)) & np.uint64(1):
            return False
    _collect(count, rows, c, number, masks, legs)
    if rows[c + C_KIND] == TRIPLE:
        return _triple(legs, words, start, number, rows, c, kinds, luts)
    if not rows[c + C_REFERENCE]:
        return _assignment(count, legs, 0, words, start, rows, c, kinds, luts, place, found)
    return _away(count, legs, words, start, number, rows, c, kinds, luts, place, found)


@njit
def _near(
    wanted: Any,
    words: Any,
    first: Any,
    count: Any,
    kind: Any,
    reference: Any,
    place: Any,
    kind_r: Any,
    rows: Any,
    c: Any,
    luts: Any,
    found: Any,
) -> Any:
    """Bit set of those objects of a list, among ``wanted``, that overlap the reference."""
    near = np.uint64(0)
    for i in range(count):
        if (wanted >> np.uint64(i)) & np.uint64(1):
            here = first + i == place or _overlaps(
                words[first + i], kind, reference, kind_r, rows, c, luts, found
            )
            near |= np.uint64(here) << np.uint64(i)
    return near


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
    found: Any,
) -> Any:
    """Some reference object (last leg) overlaps none of the objects chosen for the others."""
    last = count - 1
    near = np.uint64(0)
    group_r = rows[c + C_LEG + last * L_COLUMNS]
    for r in range(number[group_r]):
        if not (legs[last] >> np.uint64(r)) & np.uint64(1):
            continue
        reference = words[start[group_r] + r]
        for j in range(last):
            group = rows[c + C_LEG + j * L_COLUMNS]
            # Legs on one list, one after the other, are compared with the reference once.
            if j == 0 or start[group] != start[rows[c + C_LEG + (j - 1) * L_COLUMNS]]:
                wanted = legs[j]
                for k in range(j + 1, last):
                    wanted |= legs[k]
                near = _near(
                    wanted, words, start[group], number[group], kinds[group], reference,
                    start[group_r] + r, kinds[group_r], rows, c, luts, found,
                )  # fmt: skip
            legs[MAX_LEGS + j] = legs[j] & ~near
        leading = last
        if leading == 1 and rows[c + C_KIND] == PAIR:  # the cut is on object and reference
            legs[MAX_LEGS + 1] = np.uint64(1) << np.uint64(r)
            leading = 2
        if _assignment(leading, legs, 1, words, start, rows, c, kinds, luts, place, found):
            return True
    return False
