"""Crossings with one object or none: their decisions are remembered.

In a zero-suppressed muon stream 19 crossings of 20 have a single muon. Where a menu looks at object
lists alone, nothing can be paired with it, and only the classes of its values matter: a field of
the word has few values that any requirement tells apart. The classes of all fields together number
a place in one table, and there stands which decisions were found for it before. The kernel decides
the first crossing of its like. Objects of other crossings do not matter when the object here
satisfies no requirement that goes with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from scout40.emulator.ugt.correlate import C_LEGS
from scout40.emulator.ugt.group_masks import (
    H_COLUMNS,
    H_FIELD0,
    H_FIELD1,
    H_SAME_LIST,
    H_SHIFT,
    H_TYPE,
    mask_of,
)
from scout40.emulator.ugt.lanes import WIDTH, alike, both, digest, either, load, nothing, store
from scout40.emulator.ugt.model import Condition
from scout40.emulator.ugt.singles import row_at
from scout40.streams.jit import njit

KNOWN = 1024
"""Different decisions of such crossings that are remembered at most, a power of two."""

OTHERS = 4096
"""Different decisions of the other crossings of a block that are told apart, a power of two."""

PLACES = 1 << 21
"""Combinations of classes at most, a few MB; a menu that tells more apart remembers nothing."""

NO_OBJECT = 0
"""Place of a crossing without objects."""

NOT_KEPT = -1


def places_of(tables: Any) -> int:
    """Places of the memo for the menu of ``tables`` (compile.Tables); 0 when one object is no key.

    It is none when numbers or signals of the crossing count, when the legs on a list are spread
    over several masks, and when a condition on one object looks at more than its mask.
    """
    singles, head = tables.singles, tables.groups.head
    others = len(singles.value) + len(singles.signal) + len(singles.later)
    spread = (head[:, H_SAME_LIST] != np.arange(len(head))).any()
    one_leg = (tables.correlations.rows[:, C_LEGS] == 1).any()
    if others or spread or one_leg:
        return 0
    places = 1 + sum(_classes(tables.groups, group)[0] for group in range(len(head)))
    return places if places <= PLACES else 0


def _classes(groups: Any, group: int) -> tuple[int, list[tuple[int, npt.NDArray[np.int64]]]]:
    """Combinations of classes in a group; by field, place in ``groups.row`` and class by value."""
    total, fields = 1, []
    for field in range(groups.head[group, H_FIELD0], groups.head[group, H_FIELD1]):
        _, mask, place = (int(value) for value in groups.field[field])
        rows, which = np.unique(groups.row[place : place + mask + 1], return_inverse=True)
        fields.append((place, which.ravel() * total))
        total *= len(rows)
    return total, fields


def beside(
    conditions: Sequence[Condition],
    where: Mapping[tuple[int, int], tuple[int, int, int, int]],
    groups: int,
) -> npt.NDArray[np.uint64]:
    """uint64 (groups + 1) * 8: by group, legs on this crossing whose condition looks at others too.

    The last mask has bits when a condition looks at other crossings alone. ``where``: (condition,
    leg) -> group, word and bit of the group's mask, as in groups.py.
    """
    out = np.zeros((groups + 1, WIDTH), np.uint64)
    for n, condition in enumerate(conditions):
        shifts = [requirement.bx_offset for requirement in condition.requirements]
        if not any(shifts):
            continue
        if all(shifts):
            out[groups] = ~np.uint64(0)
        for leg, shift in enumerate(shifts):
            if not shift and (n, leg) in where:
                group, word, bit, _ = where[n, leg]
                out[group, word] |= np.uint64(1) << np.uint64(bit)
    return out.ravel()


class Memo(NamedTuple):
    """What is remembered, pointers in kernels; see ``memo_of``.

    base: int64 by group, place of the object whose fields are all of class 0; step: int32 by place
    of a value in ``Groups.row``, what its class adds. number: int16 by place; 0: not decided yet,
    else 2 * (number + 1), and 1 more when objects of other crossings matter. words: uint64 of 8 by
    number; index: int64, number + 1 by digest of the words. others: int64, by digest,
    row + 1 of the block's own decisions. count: int64 (2,), numbers, and rows in ``others``.
    """

    base: Any
    step: Any
    number: Any
    words: Any
    index: Any
    others: Any
    count: Any


def memo_of(tables: Any) -> Memo:
    """An empty memo for the menu of ``tables``."""
    places, groups = places_of(tables), tables.groups
    base = np.zeros(len(groups.head), np.int64)
    step = np.zeros(len(groups.row), np.int32)
    first = NO_OBJECT + 1
    for group in range(len(groups.head) if places else 0):
        total, fields = _classes(groups, group)
        base[group], first = first, first + total
        for place, added in fields:
            step[place : place + len(added)] = added
    known, others = (KNOWN, OTHERS) if places else (0, 0)
    return Memo(
        base, step, np.zeros(places, np.int16), np.zeros(known * WIDTH, np.uint64),
        np.zeros(2 * known, np.int64), np.zeros(2 * others, np.int64), np.zeros(2, np.int64),
    )  # fmt: skip


def begin_block(memo: Memo) -> None:
    """Forget the decisions that only the rows of one block refer to."""
    memo.others[:] = 0
    memo.count[1] = 0


@njit
def known_rows(
    begin: Any, rows: Any, lists: Any, groups: Any, sizes: Any, memo: Any, key: Any, codes: Any
) -> Any:
    """Number the rows from ``begin`` on while they are known; the first that is not, or ``rows``.

    ``key[0]`` receives what it is to be remembered by: twice the place, and 1 more when other
    crossings matter, or NOT_KEPT. All arrays are pointers.
    """
    for i in range(begin, rows):
        row = sizes.first + i
        place, group, first, around = np.int64(NO_OBJECT), np.int64(-1), np.int64(0), False
        for g in range(sizes.groups):
            head = g * H_COLUMNS
            shift, at = groups.head[head + H_SHIFT], row
            if shift:
                at = row_at(lists.time, sizes.rows, row, shift) if sizes.neighbours else -1
                if at < 0:
                    continue
            listed = groups.head[head + H_TYPE] * (sizes.rows + 1) + at
            count = lists.offsets[listed + 1] - lists.offsets[listed]
            if count and shift:
                around = True
            elif count:
                if count > 1 or group >= 0:
                    key[0] = NOT_KEPT
                    return i
                group, first = np.int64(g), lists.offsets[listed]
                place = _place_of(lists.words[first], g, groups, memo)
        number = np.int64(memo.number[place])
        if not number:
            needed = _needs_others(group, lists.words[first], groups, sizes)
            key[0] = NOT_KEPT if around and needed else 2 * place + needed
            return i
        if around and number & 1:
            key[0] = NOT_KEPT
            return i
        codes[i] = (number >> 1) - 1
    return rows


@njit
def _place_of(word: Any, group: Any, groups: Any, memo: Any) -> Any:
    """The place in the memo of a crossing that has this object alone."""
    head = group * H_COLUMNS
    place = memo.base[group]
    for f in range(groups.head[head + H_FIELD0], groups.head[head + H_FIELD1]):
        value = (word >> groups.field[3 * f]) & groups.field[3 * f + 1]
        place += memo.step[groups.field[3 * f + 2] + value]
    return place


@njit
def _needs_others(group: Any, word: Any, groups: Any, sizes: Any) -> Any:
    """Does a condition look at the object of this group (-1: there is none) and at others?"""
    others = load(groups.beside, sizes.groups * WIDTH)
    if group >= 0:
        mask = mask_of(word, 0, group, groups)
        others = either(others, both(mask, load(groups.beside, group * WIDTH)))
    return np.int64(not alike(others, nothing()))


@njit
def remembered(key: Any, done: Any, sizes: Any, memo: Any) -> Any:
    """Keep decision words for what ``key`` stands for; their number, -1 when there is no room."""
    place = np.int64(digest(done)) & (2 * sizes.known - 1)
    while memo.index[place] and not alike(done, load(memo.words, (memo.index[place] - 1) * WIDTH)):
        place = (place + 1) & (2 * sizes.known - 1)
    number = memo.index[place] - 1
    if number < 0:
        number = memo.count[0]
        if number == sizes.known:
            return -1
        memo.count[0] = memo.index[place] = number + 1
        store(memo.words, number * WIDTH, done)
    memo.number[key >> 1] = 2 * (number + 1) + (key & 1)
    return number


@njit
def row_of(done: Any, rows: Any, out: Any, sizes: Any, memo: Any) -> Any:
    """The row of ``out``, which has ``rows``, that holds decision words; ``rows``: a new one."""
    place = np.int64(digest(done)) & (2 * sizes.others - 1)
    while memo.others[place]:
        row = memo.others[place] - 1
        if alike(done, load(out, row * WIDTH)):
            return row
        place = (place + 1) & (2 * sizes.others - 1)
    if memo.count[1] < sizes.others:
        memo.count[1] += 1
        memo.others[place] = rows + 1
    store(out, rows * WIDTH, done)
    return rows
