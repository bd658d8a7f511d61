"""Crossings with one object or none: their decisions follow from one mask and are remembered.

In a zero-suppressed muon stream 19 crossings of 20 have a single muon, and the muons of a block
satisfy only some hundred different sets of requirements. Where a menu looks at object lists
alone, such a crossing is decided by the set that its object satisfies: nothing can be paired with
it. The kernel decides the first crossing of a set and keeps the answer here. Objects of other
crossings do not matter when the object here satisfies no requirement that goes with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.emulator.ugt.correlate import C_LEGS
from scout40.emulator.ugt.group_masks import H_COLUMNS, H_SAME_LIST, H_SHIFT, H_TYPE, mask_of
from scout40.emulator.ugt.lanes import WIDTH, alike, both, digest, either, load, nothing, store
from scout40.emulator.ugt.model import Condition
from scout40.emulator.ugt.singles import row_at
from scout40.streams.jit import njit

SLOTS = 512
"""Places of a memo, a power of two."""

NO_OBJECT = 1
"""Tag of a crossing without objects; that of one with an object is the group's number + 2."""

SLOT_WORDS = 2 * WIDTH
"""A place holds the mask and the decision words; its tag is kept apart, 0 = free."""


def slots_of(tables: Any) -> int:
    """Places of the memo for the menu of ``tables`` (compile.Tables); 0 when one mask is no key.

    It is none when numbers or signals of the crossing count, when the legs on a list are spread
    over several masks, and when a condition on one object looks at more than its mask.
    """
    singles, head = tables.singles, tables.groups.head
    others = len(singles.value) + len(singles.signal) + len(singles.later)
    spread = (head[:, H_SAME_LIST] != np.arange(len(head))).any()
    one_leg = (tables.correlations.rows[:, C_LEGS] == 1).any()
    return 0 if others or spread or one_leg else SLOTS


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


@njit
def known_rows(
    begin: Any,
    rows: Any,
    lists: Any,
    groups: Any,
    sizes: Any,
    memo: Any,
    tags: Any,
    key: Any,
    out: Any,
) -> Any:
    """Decide rows from ``begin`` on while they are known; the first that is not (``rows``: none).

    ``key`` receives its mask and, as word 8, its tag; a tag of 0 says it is not to be remembered.
    All arrays are pointers.
    """
    for i in range(begin, rows):
        row = sizes.first + i
        tag, first, around = NO_OBJECT, 0, False
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
                    key[WIDTH] = 0
                    return i
                tag, first = g + 2, lists.offsets[place]
        mask = nothing()
        if tag != NO_OBJECT:
            mask = mask_of(lists.words[first], 0, tag - 2, groups)
        if around:
            others = both(mask, load(groups.beside, max(tag - 2, 0) * WIDTH))
            others = either(others, load(groups.beside, sizes.groups * WIDTH))
            if not alike(others, nothing()):
                key[WIDTH] = 0
                return i
        slot = np.int64(digest(mask) & np.uint64(sizes.slots - 1))
        at = slot * SLOT_WORDS
        if tags[slot] != tag or not alike(mask, load(memo, at)):
            store(key, 0, mask)
            key[WIDTH] = tag
            return i
        store(out, i * WIDTH, load(memo, at + WIDTH))
    return rows


@njit
def remember(key: Any, at: Any, done: Any, sizes: Any, memo: Any, tags: Any) -> Any:
    """Keep the decision words ``done`` of the mask and tag at ``key[at]``."""
    mask = load(key, at)
    slot = np.int64(digest(mask) & np.uint64(sizes.slots - 1))
    tags[slot] = np.int64(key[at + WIDTH])
    store(memo, slot * SLOT_WORDS, mask)
    store(memo, slot * SLOT_WORDS + WIDTH, done)
