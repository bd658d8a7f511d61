"""Two-object conditions, kept apart: all of them look at each pair of objects once.

A pair set holds the conditions on one pair of object lists. The sets share condition words: set
by set their bits fill a word, and bit b of a word is the same condition in the mask of the first
list (its first leg), in the mask of the second list (its second leg) and in the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from scout40.emulator.ugt.bits import lowest_bit
from scout40.emulator.ugt.correlate import (
    ANY_CHARGE,
    C_CHARGE,
    C_COLUMNS,
    C_CUTS,
    charge,
    charges_pass,
    pair_passes,
)

from scout40.emulator.ugt.lanes import WIDTH
from scout40.emulator.ugt.model import Condition
from scout40.emulator.ugt.objects import LISTS
from scout40.streams.jit import njit

MAX_OBJECTS = 64
"""Longest object list per crossing (the hardware's longest is 12)."""

GroupKey = tuple[str, int]  # object type, bx offset

P_GROUP_A, P_WORD_A, P_GROUP_B, P_WORD_B, P_RESULT, P_COLUMNS = range(6)


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
        keys = [(r.object, r.bx_offset) for r in conditions[n].requirements]
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
def decide_pairs(words, start, number, masks, anys, kinds, sets, pairs, members, of_bit, rows, luts, bits):  # type: ignore[no-untyped-def]  # noqa: E501
    """Result bits of all pair sets for one crossing.

    All arrays are pointers. pairs: int64 (sets, P_COLUMNS). members: uint64, bits of each set. of_bit: place of a
    condition's bit -> row of ``rows``. masks, anys: legs that each object, that some object of a
    group satisfies.
    """
    for p in range(sets):
        a, word_a = pairs[p * P_COLUMNS + P_GROUP_A], pairs[p * P_COLUMNS + P_WORD_A]
        b, word_b = pairs[p * P_COLUMNS + P_GROUP_B], pairs[p * P_COLUMNS + P_WORD_B]
        if number[a] == 0 or number[b] == 0:
            continue
        left = anys[a * WIDTH + word_a] & anys[b * WIDTH + word_b] & members[p]
        if not left:
            continue
        open_ = left
        base_a, base_b = a * MAX_OBJECTS * WIDTH + word_a, b * MAX_OBJECTS * WIDTH + word_b
        for i in range(number[a]):
            mine = masks[base_a + i * WIDTH] & open_
            if not mine:
                continue
            for j in range(number[b]):
                both = mine & masks[base_b + j * WIDTH] & open_
                if both and start[a] + i != start[b] + j:
                    open_ ^= _passing(
                        both, words[start[a] + i], kinds[a], words[start[b] + j], kinds[b],
                        pairs[p * P_COLUMNS + P_RESULT], of_bit, rows, luts,
                    )  # fmt: skip
            if not open_:
                break
        bits[pairs[p * P_COLUMNS + P_RESULT]] |= left ^ open_


@njit
def _passing(left, a, type_a, b, type_b, result, of_bit, rows, luts):  # type: ignore[no-untyped-def]
    """Those conditions of ``left`` whose cuts the pair (a, b) passes."""
    passed = np.uint64(0)
    codes = charge(a) + charge(b)
    while left:
        low = left & (~left + np.uint64(1))
        left ^= low
        c = of_bit[64 * result + lowest_bit(low)] * C_COLUMNS
        if rows[c + C_CHARGE] != ANY_CHARGE and not charges_pass(codes, 2, rows[c + C_CHARGE]):
            continue
        if rows[c + C_CUTS] == 0 or pair_passes(a, type_a, b, type_b, rows, c, luts):
            passed |= low
    return passed
