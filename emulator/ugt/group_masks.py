"""Groups of legs as the kernel reads them, its sizes, and the legs that one object satisfies."""

from __future__ import annotations

from typing import Any, NamedTuple

from scout40.emulator.ugt.lanes import both, load
from scout40.streams.jit import njit

(
    H_TYPE, H_SHIFT, H_LANES, H_FIELD0, H_FIELD1, H_SLOT, H_RESULT, H_LOWEST_PT, H_SAME_LIST,
    H_WORDS, H_JOIN0, H_JOIN1, H_COLUMNS,
) = range(13)  # fmt: skip


class Groups(NamedTuple):
    """Groups of legs on one (object type, bx offset), at most 512 bits each; see groups.py.

    head: int64 (groups, H_COLUMNS), columns H_*. join: int64 (n, 2) condition word and the word of
    a later lane that is joined to it. select: uint64 (groups * 6 * 8,): words of lane 0..3, words
    with nested legs, words that are needed. field: uint64 (fields, 3) shift, mask, place in
    ``row`` of value 0. row: uint32, place in ``table`` of the row of each value; table: uint64
    rows of 8 words, equal ones once, so that they stay in the nearest cache. beside: see lone.py.
    """

    head: Any
    join: Any
    select: Any
    field: Any
    row: Any
    table: Any
    beside: Any


class Sizes(NamedTuple):
    """Lengths that the pointers do not know."""

    first: int
    rows: int
    groups: int
    sets: int
    values: int
    value_rows: int
    signals: int
    later: int
    bits: int
    gates: int
    tiles: int
    neighbours: int  # 0: rows are independent, other crossings are not looked at
    known: int  # numbers of the memo, 0: there is none
    others: int  # decisions of other crossings that are told apart


@njit
def mask_of(word: Any, place: Any, group: Any, groups: Any) -> Any:
    """Legs of a group that an object at a place of its list satisfies."""
    head = group * H_COLUMNS
    field0, field1 = groups.head[head + H_FIELD0], groups.head[head + H_FIELD1]
    value = (word >> groups.field[3 * field0]) & groups.field[3 * field0 + 1]
    mask = load(groups.table, groups.row[groups.field[3 * field0 + 2] + value])
    for f in range(field0 + 1, field1):
        value = (word >> groups.field[3 * f]) & groups.field[3 * f + 1]
        mask = both(mask, load(groups.table, groups.row[groups.field[3 * f + 2] + value]))
    if groups.head[head + H_SLOT] >= 0:
        mask = both(mask, load(groups.table, groups.row[groups.head[head + H_SLOT] + place]))
    return mask
