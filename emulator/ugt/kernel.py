"""The menu kernel: object words of every crossing in, algorithm bits out.

How it is fast. Every object is compared with all requirements of its type at once: each field
of the word addresses a table whose row is a bit mask of the requirements that accept that value,
and the AND of the rows says which requirements the object satisfies. The requirements of a type
stand in lanes: bit k of lane j is requirement j of condition k. Counters as bit masks ("at least
1, 2, 3, 4 objects so far") turn the lanes into condition bits; for nested requirements that is
exact. Two-object conditions look at each pair once (pairs.py); the few others for which the
lanes are only a necessary condition are searched when that is met (correlate.py). Algorithms
are logic over those bits, for 64 crossings at a time (logic.py).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from scout40.emulator.ugt.bits import lowest_bit
from scout40.emulator.ugt.correlate import C_COLUMNS, MAX_LEGS, Correlations, exact
from scout40.emulator.ugt.group_masks import (
    H_COLUMNS,
    H_FIELD0,
    H_JOIN0,
    H_JOIN1,
    H_LANES,
    H_LOWEST_PT,
    H_RESULT,
    H_SAME_LIST,
    H_SHIFT,
    H_TYPE,
    H_WORDS,
    Groups,
    Sizes,
    mask_of,
)
from scout40.emulator.ugt.lanes import WIDTH, both, either, invert, load, nothing, store
from scout40.emulator.ugt.logic import BATCH, algorithm_bits
from scout40.emulator.ugt.lone import (
    NOT_KEPT,
    Memo,
    known_rows,
    memo_of,
    remembered,
    row_of,
)
from scout40.emulator.ugt.pairs import MAX_OBJECTS, decide_pairs
from scout40.emulator.ugt.quantities import PAIR_CUTS
from scout40.emulator.ugt.singles import M_BITS, Singles, row_at, signals, single_values
from scout40.streams.jit import njit, pointer

COUNTED_LANES = 4
"""Lanes that are counted; a fifth leg and later ones are only required to have an object."""


class Lists(NamedTuple):
    """Object lists of a run of crossings.

    words: uint64, all lists one after the other. offsets: int32 (types, crossings + 1) into it;
    rows of types that no leg looks at are not read.
    values: int32 (crossings, n values); -1 = not there. ext: uint64 (crossings, 4).
    time: int64 crossing numbers, rising.
    """

    words: Any
    offsets: Any
    values: Any
    ext: Any
    time: Any


class Pairs(NamedTuple):
    """Pair sets, see pairs.py. table: int64 (sets, P_COLUMNS). members: uint64 bits of each.

    limits: int64, see pairs.py.
    """

    table: Any
    members: Any
    limits: Any


class Scratch(NamedTuple):
    """Memory that one thread works in, for one menu; only the memo outlives a call.

    memo: decisions of crossings with one object, see lone.py. key: int64 (1,), what the crossing
    in work is remembered by; keys: int64 (64,), those of the batch; waiting: its rows.
    """

    chosen: Any
    slot: Any
    masks: Any
    anys: Any
    kinds: Any
    start: Any
    number: Any
    bits: Any
    words: Any
    legs: Any
    place: Any
    found: Any
    memory: Any
    batch: Any
    memo: Any
    key: Any
    keys: Any
    waiting: Any


@njit
def _alive(words: Any, first: Any, count: Any, group: Any, groups: Any, s: Any) -> Any:
    """Copy the objects that are not below every threshold, most lists have few; their number."""
    field = 3 * groups.head[group * H_COLUMNS + H_FIELD0]
    shift, mask = groups.field[field], groups.field[field + 1]
    lowest_pt = np.uint64(groups.head[group * H_COLUMNS + H_LOWEST_PT])
    at = group * MAX_OBJECTS
    number = 0
    for i in range(count):
        word = words[first + i]
        s.chosen[at + number] = word
        s.slot[at + number] = i
        number += (word >> shift) & mask >= lowest_pt
    return number


@njit
def _legs_of_objects(
    chosen: Any, slots: Any, first: Any, count: Any, group: Any, groups: Any, masks: Any, anys: Any
) -> Any:
    """Masks of every object of one group; condition words of the lanes, before they are joined."""
    one, two, three, four = nothing(), nothing(), nothing(), nothing()
    for i in range(count):
        mask = mask_of(chosen[first + i], slots[first + i], group, groups)
        store(masks, (group * MAX_OBJECTS + i) * WIDTH, mask)
        four = either(four, both(three, mask))
        three = either(three, both(two, mask))
        two = either(two, both(one, mask))
        one = either(one, mask)
    store(anys, group * WIDTH, one)
    if groups.head[group * H_COLUMNS + H_LANES] < 2:
        return one  # nothing to count and nothing to join
    at = group * 6 * WIDTH
    enough = both(one, load(groups.select, at))
    enough = either(enough, both(two, load(groups.select, at + WIDTH)))
    enough = either(enough, both(three, load(groups.select, at + 2 * WIDTH)))
    enough = either(enough, both(four, load(groups.select, at + 3 * WIDTH)))
    nested = load(groups.select, at + 4 * WIDTH)
    needed = load(groups.select, at + 5 * WIDTH)
    return either(both(one, either(enough, invert(nested))), invert(needed))


@njit
def _group(group: Any, groups: Any, s: Any) -> Any:
    """Condition bits of one group: exact for nested legs, necessary for the others."""
    first, count = s.start[group], s.number[group]
    joined, bits = s.words, s.bits
    legs = _legs_of_objects(s.chosen, s.slot, first, count, group, groups, s.masks, s.anys)
    store(joined, 0, legs)
    result = groups.head[group * H_COLUMNS + H_RESULT]
    begin = groups.head[group * H_COLUMNS + H_JOIN0]
    end = groups.head[group * H_COLUMNS + H_JOIN1]
    for w in range(groups.head[group * H_COLUMNS + H_WORDS]):
        bits[result + w] = joined[w]
    for k in range(begin, end):
        bits[groups.join[2 * k]] &= joined[groups.join[2 * k + 1]]


def scratch_for(tables: Any) -> Scratch:
    """Memory for the menu of ``tables`` (compile.Tables)."""
    n_groups, words = len(tables.groups.head), len(tables.correlations.mask)
    return Scratch(
        chosen=np.zeros(n_groups * MAX_OBJECTS, np.uint64),
        slot=np.zeros(n_groups * MAX_OBJECTS, np.int64),
        masks=np.zeros(n_groups * MAX_OBJECTS * WIDTH, np.uint64),
        anys=np.zeros(n_groups * WIDTH, np.uint64),
        kinds=tables.groups.head[:, H_TYPE].copy(),
        start=np.zeros(n_groups, np.int64),
        number=np.zeros(n_groups, np.int64),
        bits=np.zeros(tables.logic.tiles * WIDTH, np.uint64),
        words=np.zeros(WIDTH, np.uint64),
        legs=np.zeros(2 * MAX_LEGS, np.uint64),
        place=np.zeros(MAX_LEGS, np.int64),
        found=np.zeros(PAIR_CUTS, np.int64),
        memory=np.zeros(M_BITS + words, np.uint64),
        batch=np.zeros(tables.logic.size, np.uint64),
        memo=memo_of(tables),
        key=np.zeros(1, np.int64),
        keys=np.zeros(BATCH, np.int64),
        waiting=np.zeros(BATCH, np.int64),
    )


def decide(
    lists: Lists,
    tables: Any,
    scratch: Scratch,
    first: int,
    neighbours: bool,
    codes: Any,
    out: Any,
    done: int,
) -> int:
    """Decide the rows first .. first + len(codes) of ``lists``; the rows then in ``out``.

    out:
        flat, 8 words a row; ``done`` of its rows are there from earlier crossings of the block.
        It gets the algorithm bits of every row or, when there is a memo, those of the
        crossings that are not in it, equal ones mostly once.
    codes:
        int32; a number of the memo, or their count plus a row of ``out``.
    tables: compile.Tables. scratch: made for them, used by one call at a time.
    """
    singles = tables.singles
    sizes = Sizes(
        first=first,
        rows=len(lists.time),
        groups=len(tables.groups.head),
        sets=len(tables.pairs.table),
        values=len(singles.value),
        value_rows=lists.values.shape[1],
        signals=len(singles.signal),
        later=len(singles.later),
        bits=len(tables.correlations.mask),
        gates=len(tables.logic.gate),
        tiles=tables.logic.tiles,
        neighbours=int(neighbours),
        known=len(scratch.memo.index) // 2,
        others=len(scratch.memo.others) // 2,
    )
    scratch.memory[0] = 0  # external signals are those of other rows
    rows: int = _decide(
        lists, tables.groups, tables.pairs, singles, tables.correlations, tables.luts,
        tables.logic, scratch, sizes, codes, out, done,
    )  # fmt: skip
    return rows


@njit
def _decide(
    lists: Any,
    groups: Any,
    pairs: Any,
    singles: Any,
    correlations: Any,
    luts: Any,
    logic: Any,
    scratch: Any,
    sizes: Any,
    codes: Any,
    out: Any,
    done: Any,
) -> Any:
    return _rows(
        Lists(
            pointer(lists.words), pointer(lists.offsets), pointer(lists.values),
            pointer(lists.ext), pointer(lists.time),
        ),
        Groups(
            pointer(groups.head), pointer(groups.join), pointer(groups.select),
            pointer(groups.field), pointer(groups.row), pointer(groups.table),
            pointer(groups.beside),
        ),
        Pairs(pointer(pairs.table), pointer(pairs.members), pointer(pairs.limits)),
        Singles(
            pointer(singles.value), pointer(singles.level), pointer(singles.passed),
            pointer(singles.signal), pointer(singles.later),
        ),
        Correlations(
            pointer(correlations.mask), pointer(correlations.of_bit), pointer(correlations.rows)
        ),
        pointer(luts),
        pointer(logic.gate),
        pointer(logic.used),
        Scratch(
            pointer(scratch.chosen), pointer(scratch.slot), pointer(scratch.masks),
            pointer(scratch.anys), pointer(scratch.kinds),
            pointer(scratch.start), pointer(scratch.number), pointer(scratch.bits),
            pointer(scratch.words), pointer(scratch.legs), pointer(scratch.place),
            pointer(scratch.found), pointer(scratch.memory),
            pointer(scratch.batch),
            Memo(
                pointer(scratch.memo.base), pointer(scratch.memo.step),
                pointer(scratch.memo.number), pointer(scratch.memo.words),
                pointer(scratch.memo.index), pointer(scratch.memo.others),
                pointer(scratch.memo.count),
            ),
            pointer(scratch.key), pointer(scratch.keys), pointer(scratch.waiting),
        ),
        sizes,
        len(codes),
        pointer(codes),
        pointer(out),
        done,
    )  # fmt: skip


@njit
def _rows(
    lists: Any,
    groups: Any,
    pairs: Any,
    singles: Any,
    correlations: Any,
    luts: Any,
    gate: Any,
    used: Any,
    s: Any,
    sizes: Any,
    rows: Any,
    codes: Any,
    out: Any,
    done: Any,
) -> Any:
    """The loop over crossings; everything is a pointer here. Returns the rows in ``out``."""
    here = i = 0
    while i < rows:
        if sizes.known:
            i = known_rows(i, rows, lists, groups, sizes, s.memo, s.key, codes)
            if i == rows:
                break
        row = sizes.first + i
        signals(lists, singles, sizes, row, s.bits, s.memory)
        for g in range(sizes.groups):
            shift = groups.head[g * H_COLUMNS + H_SHIFT]
            if shift and not sizes.neighbours:
                continue  # nothing that depends on it is evaluated
            same = groups.head[g * H_COLUMNS + H_SAME_LIST]
            s.start[g], s.number[g] = same * MAX_OBJECTS, 0
            if same < g:
                s.number[g] = s.number[same]
            else:
                at = row_at(lists.time, sizes.rows, row, shift) if shift else row
                if at >= 0:
                    place = s.kinds[g] * (sizes.rows + 1) + at
                    first = lists.offsets[place]
                    count = lists.offsets[place + 1] - first
                    s.number[g] = _alive(lists.words, first, count, g, groups, s)
            if s.number[g]:
                _group(g, groups, s)
        if sizes.sets:
            decide_pairs(
                s.chosen, s.start, s.number, s.masks, s.anys, s.kinds, sizes.sets, pairs.table,
                pairs.members, pairs.limits, luts, s.bits, s.found,
            )  # fmt: skip
        if sizes.values:
            single_values(lists, singles, sizes, row, s.bits)
        for w in range(sizes.bits):
            left = s.bits[w] & correlations.mask[w]
            while left:
                low = left & (~left + np.uint64(1))
                left ^= low
                condition = correlations.of_bit[64 * w + lowest_bit(low)] * C_COLUMNS
                if not exact(
                    condition, s.bits, s.chosen, s.start, s.number, s.masks, s.kinds,
                    correlations.rows, luts, s.legs, s.place, s.found,
                ):  # fmt: skip
                    s.bits[w] ^= low
        for tile in range(sizes.tiles):
            store(s.batch, (tile * BATCH + here) * WIDTH, load(s.bits, tile * WIDTH))
        s.keys[here], s.waiting[here] = s.key[0], i
        i += 1
        here += 1
        if here == BATCH:
            done = _finish(s, gate, used, sizes, here, codes, out, done)
            here = 0
    if here:
        done = _finish(s, gate, used, sizes, here, codes, out, done)
    return done


@njit
def _finish(
    s: Any, gate: Any, used: Any, sizes: Any, count: Any, codes: Any, out: Any, done: Any
) -> Any:
    """Decide the first ``count`` crossings of the batch; the rows in ``out`` afterwards."""
    algorithm_bits(s.batch, gate, sizes.gates, sizes.tiles)
    for k in range(count):
        words = both(load(s.batch, (sizes.tiles * BATCH + k) * WIDTH), load(used, 0))
        row = s.waiting[k]
        if not sizes.known:
            store(out, done * WIDTH, words)
            codes[row] = done
            done += 1
            continue
        number = -1
        if s.keys[k] != NOT_KEPT:
            number = remembered(s.keys[k], words, sizes, s.memo)
        if number < 0:
            number = sizes.known + row_of(words, done, out, sizes, s.memo)
            done = max(done, number - sizes.known + 1)
        codes[row] = number
    return done
