"""Crossings with one object or none: their decisions follow from one mask and are remembered.

In a zero-suppressed muon stream 19 crossings of 20 have a single muon, and the muons of a block
satisfy only some hundred different sets of requirements. Where a menu looks at object lists
alone, such a crossing is decided by the set that its object satisfies: nothing can be paired with
it. The kernel decides the first crossing of a set and keeps the answer here. Objects of other
crossings do not matter when the object here satisfies no requirement that goes with them.
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
    H_SLOT,
    H_TYPE,
    mask_of,
)
from scout40.emulator.ugt.lanes import WIDTH, alike, both, digest, either, load, nothing, store
from scout40.emulator.ugt.model import Condition
from scout40.emulator.ugt.singles import row_at
from scout40.streams.jit import njit

SLOT_BITS = 9
SLOTS = 1 << SLOT_BITS
"""Masks, and different decisions, that are remembered at most; a power of two."""

KEYS_PER_SLOT = 8
"""Many objects that differ satisfy the same: a key leads to the number without the mask."""

ENTRY = WIDTH + 1
"""Words that say what a crossing is to be remembered by: its mask and tag."""

NO_OBJECT = 1
"""Tag of a crossing without objects; that of one with an object is the group's number + 2."""

_GOLDEN = 0x9E3779B97F4A7C15  # spreads keys over the places


def slots_of(tables: Any) -> int:
    """Places of the memo for the menu of ``tables`` (compile.Tables); 0 when one object is no key.

    It is none when numbers or signals of the crossing count, when the legs on a list are spread
    over several masks, and when a condition on one object looks at more than its mask.
    """
    singles, head = tables.singles, tables.groups.head
    others = len(singles.value) + len(singles.signal) + len(singles.later)
    spread = (head[:, H_SAME_LIST] != np.arange(len(head))).any()
    one_leg = (tables.correlations.rows[:, C_LEGS] == 1).any()
    return 0 if others or spread or one_leg else SLOTS


def row_bits(groups: Any) -> int:
    """Bits of the number of a row of the table of masks; 0 when keys do not fit into a word."""
    head = groups.head
    bits = int(groups.row.max(initial=0) // WIDTH).bit_length()
    fields = int((head[:, H_FIELD1] - head[:, H_FIELD0] + (head[:, H_SLOT] >= 0)).max(initial=0))
    return bits if fields * bits + (len(head) + 1).bit_length() + SLOT_BITS <= 64 else 0


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

    Distinct decision words have a number. keys: uint64, a key above SLOT_BITS bits of the number
    that it leads to, 0 = free. masks: uint64 of 8, tags: int64, 0 = free, numbers: int64, by place:
    mask and tag of an object, and the number of its decisions. words: uint64 of 8 by number; index:
    int64, number + 1 by place. count: int64 (2,), masks and numbers in use.
    """

    keys: Any
    masks: Any
    tags: Any
    numbers: Any
    words: Any
    index: Any
    count: Any


def memo_of(slots: int) -> Memo:
    """An empty memo for so many masks and so many different decisions."""
    return Memo(
        np.zeros(slots * KEYS_PER_SLOT, np.uint64), np.zeros(slots * 2 * WIDTH, np.uint64),
        np.zeros(slots * 2, np.int64), np.zeros(slots * 2, np.int64),
        np.zeros(slots * WIDTH, np.uint64), np.zeros(slots * 2, np.int64), np.zeros(2, np.int64),
    )  # fmt: skip


def give_up_when_full(memo: Memo) -> None:
    """Begin anew when three quarters are in use; not during a call, whose rows refer to numbers."""
    if 4 * memo.count.max() > 3 * (len(memo.index) // 2):
        for array in (memo.keys, memo.tags, memo.index, memo.count):
            array[:] = 0


@njit
def known_rows(
    begin: Any, rows: Any, lists: Any, groups: Any, sizes: Any, memo: Any, entry: Any, codes: Any
) -> Any:
    """Number the rows from ``begin`` on while they are known; the first that is not, or ``rows``.

    ``entry`` receives what it is to be remembered by; a tag of 0: nothing. All arrays are pointers.
    """
    for i in range(begin, rows):
        row = sizes.first + i
        tag, first, around = NO_OBJECT, 0, False
        entry[WIDTH] = 0
        for g in range(sizes.groups):
            head = g * H_COLUMNS
            shift, at = groups.head[head + H_SHIFT], row
            if shift:
                at = row_at(lists.time, sizes.rows, row, shift) if sizes.neighbours else -1
                if at < 0:
                    continue
            place = groups.head[head + H_TYPE] * (sizes.rows + 1) + at
            count = lists.offsets[place + 1] - lists.offsets[place]
            if count and shift:
                around = True
            elif count:
                if count > 1 or tag != NO_OBJECT:
                    return i
                tag, first = g + 2, lists.offsets[place]
        if around and _needs_others(tag, lists.words[first], groups, sizes):
            return i
        number, at, code = np.int64(-1), np.int64(0), np.uint64(tag)
        if sizes.row_bits:
            if tag != NO_OBJECT:
                code = _key_of(lists.words[first], tag - 2, groups, np.uint64(sizes.row_bits))
            at = np.int64((code * np.uint64(_GOLDEN)) >> np.uint64(32))
            at &= sizes.slots * KEYS_PER_SLOT - 1
            if memo.keys[at] >> np.uint64(SLOT_BITS) == code:
                number = np.int64(memo.keys[at] & np.uint64((1 << SLOT_BITS) - 1))
        if number < 0:
            mask = nothing()
            if tag != NO_OBJECT:
                mask = mask_of(lists.words[first], 0, tag - 2, groups)
            place = _place_of_mask(mask, tag, sizes, memo)
            if memo.tags[place] == 0:
                store(entry, 0, mask)
                entry[WIDTH] = tag
                return i
            number = memo.numbers[place]
            if sizes.row_bits:
                memo.keys[at] = (code << np.uint64(SLOT_BITS)) | np.uint64(number)
        codes[i] = number
    return rows


@njit
def _needs_others(tag: Any, word: Any, groups: Any, sizes: Any) -> Any:
    """Does a condition look at this crossing and at another one that has objects?"""
    mask = nothing()
    if tag != NO_OBJECT:
        mask = mask_of(word, 0, tag - 2, groups)
    others = both(mask, load(groups.beside, max(tag - 2, 0) * WIDTH))
    return not alike(either(others, load(groups.beside, sizes.groups * WIDTH)), nothing())


@njit
def _key_of(word: Any, group: Any, groups: Any, bits: Any) -> Any:
    """Numbers of the rows that ``mask_of`` would join, for an object at place 0; and the tag."""
    head = group * H_COLUMNS
    code = np.uint64(group + 2)
    for f in range(groups.head[head + H_FIELD0], groups.head[head + H_FIELD1]):
        value = (word >> groups.field[3 * f]) & groups.field[3 * f + 1]
        row = groups.row[groups.field[3 * f + 2] + value]
        code = (code << bits) | np.uint64(row // WIDTH)
    if groups.head[head + H_SLOT] >= 0:
        code = (code << bits) | np.uint64(groups.row[groups.head[head + H_SLOT]] // WIDTH)
    return code


@njit
def _place_of_mask(mask: Any, tag: Any, sizes: Any, memo: Any) -> Any:
    """The place of a mask, or the free one where it belongs; a quarter stays free or more."""
    place = np.int64(digest(mask)) & (2 * sizes.slots - 1)
    while memo.tags[place] and not (
        memo.tags[place] == tag and alike(mask, load(memo.masks, place * WIDTH))
    ):
        place = (place + 1) & (2 * sizes.slots - 1)
    return place


@njit
def number_of(done: Any, sizes: Any, memo: Any) -> Any:
    """The number of decision words, a new one if need be; -1 when there is none left."""
    place = np.int64(digest(done)) & (2 * sizes.slots - 1)
    while memo.index[place]:
        number = memo.index[place] - 1
        if alike(done, load(memo.words, number * WIDTH)):
            return number
        place = (place + 1) & (2 * sizes.slots - 1)
    number = memo.count[1]
    if number == sizes.slots:
        return -1
    memo.count[1] = number + 1
    memo.index[place] = number + 1
    store(memo.words, number * WIDTH, done)
    return number


@njit
def remember(entry: Any, at: Any, number: Any, sizes: Any, memo: Any) -> Any:
    """Keep the number of the decisions of the mask and tag at ``entry[at]``, if there is room."""
    if memo.count[0] == sizes.slots:
        return
    mask, tag = load(entry, at), np.int64(entry[at + WIDTH])
    place = _place_of_mask(mask, tag, sizes, memo)
    if memo.tags[place] == 0:
        memo.count[0] += 1
        memo.tags[place], memo.numbers[place] = tag, number
        store(memo.masks, place * WIDTH, mask)
