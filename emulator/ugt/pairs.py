"""Two-object conditions, kept apart: all of them look at each pair of objects once.

A pair set holds the conditions on one pair of object lists. The sets share condition words: set
by set their bits fill a word, and bit b of a word is the same condition in the mask of the first
list (its first leg), in the mask of the second list (its second leg) and in the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scout40.emulator.ugt.bits import lowest_bit
from scout40.emulator.ugt.correlate import (
    LIKE,
    OPPOSITE,
    charge,
    charges_pass,
)
from scout40.emulator.ugt.lanes import WIDTH
from scout40.emulator.ugt.model import Condition
from scout40.emulator.ugt.objects import LISTS
from scout40.emulator.ugt.quantities import quantities
from scout40.streams.jit import njit

MAX_OBJECTS = 64
"""Longest object list per crossing (the hardware's longest is 12)."""

GroupKey = tuple[str, int]  # object type, bx offset

(
    P_GROUP_A, P_WORD_A, P_GROUP_B, P_WORD_B, P_RESULT, P_SHIFT, P_MEMBERS, P_CUTS, P_LIMITS,
    P_ANY_CHARGE, P_OPPOSITE, P_LIKE, P_COLUMNS,
) = range(13)  # fmt: skip


@dataclass
class PairSet:
    """Conditions on pairs of one list (or of two), in one condition word.

    members: (condition, its leg on ``first``, its leg on ``second``). shift: bit of the first
    one. word: place among the pair words.
    """

    first: GroupKey
    second: GroupKey
    word: int
    shift: int
    members: list[tuple[int, int, int]] = field(default_factory=list)


def pair_sets(conditions: Sequence[Condition], chosen: Sequence[int]) -> list[PairSet]:
    """Sets of the two-object conditions ``chosen``; words are filled one after the other."""
    order = {name: place for place, name in enumerate(LISTS)}
    by_key: dict[tuple[GroupKey, GroupKey], list[tuple[int, int, int]]] = {}
    for n in chosen:
        keys = [(r.object, r.bx_offset) for r in conditions[n].requirements[:2]]
        a, b = sorted((0, 1), key=lambda leg: (order[keys[leg][0]], keys[leg][1], leg))
        by_key.setdefault((keys[a], keys[b]), []).append((n, a, b))
    found: list[PairSet] = []
    used = 0
    for first, second in sorted(by_key, key=lambda pair: [(order[n], bx) for n, bx in pair]):
        members = by_key[first, second]
        while members:
            if used % 64 and used % 64 + len(members) > 64:
                used += 64 - used % 64
            here, members = members[:64], members[64:]
            found.append(PairSet(first, second, used // 64, used % 64, here))
            used += len(here)
    return found


@njit
def decide_pairs(
    words: Any,
    start: Any,
    number: Any,
    masks: Any,
    anys: Any,
    kinds: Any,
    sets: Any,
    pairs: Any,
    members: Any,
    limits: Any,
    luts: Any,
    bits: Any,
    found: Any,
) -> Any:
    """Result bits of all pair sets for one crossing.

    All arrays are pointers. pairs: int64 (sets, P_COLUMNS). members: uint64, bits of each set.
    limits: int64, for each cut of a set the lower, then the upper limits of its members.
    masks, anys: legs that each object, that some object of a group satisfies. found: int64
    scratch for the quantities of a pair.
    """
    for p in range(sets):
        row = p * P_COLUMNS
        a, word_a = pairs[row + P_GROUP_A], pairs[row + P_WORD_A]
        b, word_b = pairs[row + P_GROUP_B], pairs[row + P_WORD_B]
        same = start[a] == start[b]
        if number[a] == 0 or number[b] == 0 or (same and number[a] == 1):
            continue
        result, cuts = pairs[row + P_RESULT], pairs[row + P_CUTS]
        left = anys[a * WIDTH + word_a] & anys[b * WIDTH + word_b] & members[p]
        if not left:
            continue
        base_a, base_b = a * MAX_OBJECTS * WIDTH + word_a, b * MAX_OBJECTS * WIDTH + word_b
        open_ = left
        for i in range(number[a]):
            first = masks[base_a + i * WIDTH] & open_
            swapped = masks[base_b + i * WIDTH] & open_ if same else np.uint64(0)
            if not first | swapped:
                continue
            for j in range(i + 1 if same else 0, number[b]):
                legs = first & masks[base_b + j * WIDTH]
                if same:  # either object may take either leg
                    legs |= swapped & masks[base_a + j * WIDTH]
                legs &= open_
                if legs:
                    word_i, word_j = words[start[a] + i], words[start[b] + j]
                    if cuts:
                        quantities(word_i, kinds[a], word_j, kinds[b], cuts, luts, found)
                    open_ ^= _passing(legs, word_i, word_j, row, pairs, limits, found)
            if not open_:
                break
        bits[result] |= left ^ open_


@njit
def _passing(legs: Any, a: Any, b: Any, row: Any, pairs: Any, limits: Any, found: Any) -> Any:
    """Those conditions of ``legs`` that the pair (a, b) with the quantities ``found`` passes."""
    passed = np.uint64(pairs[row + P_ANY_CHARGE])
    codes = charge(a) + charge(b)
    if charges_pass(codes, 2, OPPOSITE):
        passed |= np.uint64(pairs[row + P_OPPOSITE])
    if charges_pass(codes, 2, LIKE):
        passed |= np.uint64(pairs[row + P_LIKE])
    passed &= legs
    members, shift = pairs[row + P_MEMBERS], np.uint64(pairs[row + P_SHIFT])
    cuts, at = pairs[row + P_CUTS], pairs[row + P_LIMITS]
    while cuts and passed:
        value = found[lowest_bit(np.uint64(cuts))]
        cuts &= cuts - 1
        inside = np.uint64(0)
        for k in range(members):  # without branches, so that it runs in vector registers
            within = (limits[at + k] <= value) & (value <= limits[at + members + k])
            inside |= np.uint64(within) << np.uint64(k)
        passed &= inside << shift
        at += 2 * members
    return passed
