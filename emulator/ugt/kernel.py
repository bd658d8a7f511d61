"""The menu kernel: object words of every crossing in, algorithm bits out.

How it is fast. Every object is compared with all requirements of its type at once: each field
of the word addresses a table whose row is a bit mask of the requirements that accept that value,
and the AND of the rows says which requirements the object satisfies. The requirements of a type
stand in lanes: bit k of lane j is requirement j of condition k. Counters as bit masks ("at least
1, 2, 3, 4 objects so far") turn the lanes into condition bits; for nested requirements that is
exact. Two-object conditions look at each pair once (pairs.py); the few others for which the
lanes are only a necessary condition are searched when that is met (correlate.py). Algorithms
are read from tables by hex digit of the condition bits (terms.py).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from scout40.emulator.ugt.bits import lowest_bit
from scout40.emulator.ugt.correlate import C_COLUMNS, MAX_LEGS, Correlations, exact
from scout40.emulator.ugt.lanes import WIDTH, both, either, invert, load, nothing, store
from scout40.emulator.ugt.pairs import MAX_OBJECTS, decide_pairs
from scout40.emulator.ugt.quantities import PAIR_CUTS
from scout40.emulator.ugt.terms import TermTable
from scout40.streams.jit import njit, pointer

COUNTED_LANES = 4
"""Lanes that are counted; a fifth leg and later ones are only required to have an object."""


class Lists(NamedTuple):
    """Object lists of a run of crossings.

    words: uint64, all lists one after the other. offsets: int64 (types, crossings + 1) into it.
    values: int32 (n values, crossings); -1 = not there. ext: uint64 (crossings, 4).
    time: int64 crossing numbers, rising.
    """

    words: Any
    offsets: Any
    values: Any
    ext: Any
    time: Any


class Groups(NamedTuple):
    """Groups of legs on one (object type, bx offset), at most 512 bits each; see groups.py.

    head: int64 (groups, H_COLUMNS), columns H_*. lane: int64 (groups, MAX_LEGS, 2) first word and
    number of words. select: uint64 (groups * 6 * 8,): words of lane 0..3, words with nested
    legs, words that are needed. field: uint64 (fields, 3) shift, mask, place in ``row`` of value
    0. row: uint32, place in ``table`` of the row of each value; table: uint64 rows of 8 words,
    equal ones once, so that they stay in the nearest cache.
    """

    head: Any
    lane: Any
    select: Any
    field: Any
    row: Any
    table: Any


class Pairs(NamedTuple):
    """Pair sets, see pairs.py. table: int64 (sets, P_COLUMNS). members: uint64 bits of each."""

    table: Any
    members: Any


class Singles(NamedTuple):
    """Single-value and external conditions.

    value: int64 (n, 5) row of values, bx offset, threshold, comparison (0 ge, 1 eq, 2 bit set),
    place. ext: int64 (n, 3) bit, bx offset, place. place = position in the condition bits.
    """

    value: Any
    ext: Any


class Sizes(NamedTuple):
    """Lengths that the pointers do not know."""

    first: int
    rows: int
    groups: int
    sets: int
    values: int
    exts: int
    bits: int
    banks: int
    neighbours: int  # 0: rows are independent, other crossings are not looked at


class Scratch(NamedTuple):
    """Memory that one call works in."""

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


(
    H_TYPE, H_SHIFT, H_LANES, H_FIELD0, H_FIELD1, H_SLOT, H_RESULT, H_LOWEST_PT, H_COLUMNS
) = range(9)  # fmt: skip


@njit
def _row_at(time: Any, rows: Any, row: Any, shift: Any) -> Any:
    """Row of the crossing ``shift`` after ``row``; -1 when it has no row (it was empty)."""
    if shift == 0:
        return row
    step = 1 if shift > 0 else -1
    wanted = time[row] + shift
    other = row
    for _ in range(abs(shift)):
        other += step
        if other < 0 or other >= rows:
            return -1
        if time[other] == wanted:
            return other
    return -1


@njit
def _legs_of_objects(
    words: Any, first: Any, count: Any, group: Any, groups: Any, masks: Any, anys: Any
) -> Any:
    """Masks of every object of one group; condition words of the lanes, before they are joined."""
    field0, field1 = (
        groups.head[group * H_COLUMNS + H_FIELD0],
        groups.head[group * H_COLUMNS + H_FIELD1],
    )
    slot = groups.head[group * H_COLUMNS + H_SLOT]
    lowest_pt = np.uint64(groups.head[group * H_COLUMNS + H_LOWEST_PT])
    one, two, three, four = nothing(), nothing(), nothing(), nothing()
    for i in range(count):
        word = words[first + i]
        value = (word >> groups.field[3 * field0]) & groups.field[3 * field0 + 1]
        if value < lowest_pt:  # most objects of most lists are below every threshold
            store(masks, (group * MAX_OBJECTS + i) * WIDTH, nothing())
            continue
        mask = load(groups.table, groups.row[groups.field[3 * field0 + 2] + value])
        for f in range(field0 + 1, field1):
            value = (word >> groups.field[3 * f]) & groups.field[3 * f + 1]
            row = groups.row[groups.field[3 * f + 2] + value]
            mask = both(mask, load(groups.table, row))
        if slot >= 0:
            mask = both(mask, load(groups.table, groups.row[slot + i]))
        store(masks, (group * MAX_OBJECTS + i) * WIDTH, mask)
        four = either(four, both(three, mask))
        three = either(three, both(two, mask))
        two = either(two, both(one, mask))
        one = either(one, mask)
    store(anys, group * WIDTH, one)
    at = group * 6 * WIDTH
    enough = both(one, load(groups.select, at))
    enough = either(enough, both(two, load(groups.select, at + WIDTH)))
    enough = either(enough, both(three, load(groups.select, at + 2 * WIDTH)))
    enough = either(enough, both(four, load(groups.select, at + 3 * WIDTH)))
    nested = load(groups.select, at + 4 * WIDTH)
    needed = load(groups.select, at + 5 * WIDTH)
    return either(both(one, either(enough, invert(nested))), invert(needed))


@njit
def _group(
    words: Any,
    first: Any,
    count: Any,
    group: Any,
    groups: Any,
    masks: Any,
    anys: Any,
    joined: Any,
    bits: Any,
) -> Any:
    """Condition bits of one group: exact for nested legs, necessary for the others."""
    store(joined, 0, _legs_of_objects(words, first, count, group, groups, masks, anys))
    result = groups.head[group * H_COLUMNS + H_RESULT]
    lanes = groups.head[group * H_COLUMNS + H_LANES]
    for j in range(lanes):
        lane = groups.lane[2 * (group * MAX_LEGS + j)]
        for w in range(groups.lane[2 * (group * MAX_LEGS + j) + 1]):
            if j == 0:
                bits[result + w] = joined[lane + w]
            else:
                bits[result + w] &= joined[lane + w]


@njit
def _single_values(lists: Any, singles: Any, sizes: Any, row: Any, bits: Any) -> Any:
    for k in range(sizes.values):
        shift = singles.value[5 * k + 1]
        if shift and not sizes.neighbours:
            continue
        at = _row_at(lists.time, sizes.rows, row, shift)
        value = lists.values[singles.value[5 * k] * sizes.rows + at] if at >= 0 else -1
        limit = singles.value[5 * k + 2]
        kind = singles.value[5 * k + 3]
        if kind == 0:
            passes = value >= limit
        elif kind == 1:
            passes = value == limit
        else:
            passes = (value >> limit) & 1 == 1
        place = singles.value[5 * k + 4]
        bits[place >> 6] |= np.uint64(passes and value >= 0) << np.uint64(place & 63)
    for k in range(sizes.exts):
        shift = singles.ext[3 * k + 1]
        if shift and not sizes.neighbours:
            break  # sorted: those without an offset come first
        at = _row_at(lists.time, sizes.rows, row, shift)
        bit, place = singles.ext[3 * k], singles.ext[3 * k + 2]
        if at >= 0:
            is_on = (lists.ext[4 * at + (bit >> 6)] >> np.uint64(bit & 63)) & np.uint64(1)
            bits[place >> 6] |= is_on << np.uint64(place & 63)


@njit
def _failing_terms(bits: Any, terms: Any, bank: Any) -> Any:
    """Terms of one bank (512 of them) that the condition bits rule out."""
    failing = load(terms.unused, bank * WIDTH)
    for k in range(terms.first[bank], terms.first[bank + 1]):
        digit = terms.digit[k]
        value = bits[digit >> np.uint64(4)] >> ((digit & np.uint64(15)) * np.uint64(4))
        row = terms.place[k] + (value & np.uint64(15)) * np.uint64(WIDTH)
        failing = either(failing, load(terms.fail, row))
    return failing


@njit
def _algorithms(bits: Any, terms: Any, banks: Any, alternatives: Any, out: Any, row: Any) -> Any:
    """Terms 0..511 are algorithm bits already; those of later banks are OR-ed to their owner."""
    store(out, row * WIDTH, invert(_failing_terms(bits, terms, 0)))
    for bank in range(1, banks):
        store(alternatives, 0, invert(_failing_terms(bits, terms, bank)))
        for w in range(WIDTH):
            left = alternatives[w]
            while left:
                index = terms.owner[(bank * WIDTH + w) * 64 + lowest_bit(left)]
                out[row * WIDTH + (index >> 6)] |= np.uint64(1) << np.uint64(index & 63)
                left &= left - np.uint64(1)


def decide(
    lists: Lists,
    groups: Groups,
    pairs: Pairs,
    singles: Singles,
    correlations: Any,
    luts: Any,
    terms: Any,
    first: int,
    neighbours: bool,
    out: Any,
) -> None:
    """Algorithm bits of rows first .. first + len(out) / 8 of ``lists`` into flat ``out``."""
    n_groups = len(groups.head)
    sizes = Sizes(
        first=first,
        rows=len(lists.time),
        groups=n_groups,
        sets=len(pairs.table),
        values=len(singles.value),
        exts=len(singles.ext),
        bits=len(correlations.mask),
        banks=len(terms.first) - 1,
        neighbours=int(neighbours),
    )
    scratch = Scratch(
        masks=np.zeros(n_groups * MAX_OBJECTS * WIDTH, np.uint64),
        anys=np.zeros(n_groups * WIDTH, np.uint64),
        kinds=groups.head[:, H_TYPE].copy(),
        start=np.zeros(n_groups, np.int64),
        number=np.zeros(n_groups, np.int64),
        bits=np.zeros(sizes.bits, np.uint64),
        words=np.zeros(WIDTH, np.uint64),
        legs=np.zeros(2 * MAX_LEGS, np.uint64),
        place=np.zeros(MAX_LEGS, np.int64),
        found=np.zeros(PAIR_CUTS, np.int64),
    )
    _decide(lists, groups, pairs, singles, correlations, luts, terms, scratch, sizes, out)


@njit
def _decide(
    lists: Any,
    groups: Any,
    pairs: Any,
    singles: Any,
    correlations: Any,
    luts: Any,
    terms: Any,
    scratch: Any,
    sizes: Any,
    out: Any,
) -> Any:
    count = len(out) // WIDTH
    _rows(
        Lists(
            pointer(lists.words), pointer(lists.offsets), pointer(lists.values),
            pointer(lists.ext), pointer(lists.time),
        ),
        Groups(
            pointer(groups.head), pointer(groups.lane), pointer(groups.select),
            pointer(groups.field), pointer(groups.row), pointer(groups.table),
        ),
        Pairs(pointer(pairs.table), pointer(pairs.members)),
        Singles(pointer(singles.value), pointer(singles.ext)),
        Correlations(
            pointer(correlations.mask), pointer(correlations.of_bit), pointer(correlations.rows)
        ),
        pointer(luts),
        TermTable(
            pointer(terms.first), pointer(terms.digit), pointer(terms.place),
            pointer(terms.fail), pointer(terms.unused), pointer(terms.owner),
        ),
        Scratch(
            pointer(scratch.masks), pointer(scratch.anys), pointer(scratch.kinds),
            pointer(scratch.start), pointer(scratch.number), pointer(scratch.bits),
            pointer(scratch.words), pointer(scratch.legs), pointer(scratch.place),
            pointer(scratch.found),
        ),
        sizes,
        count,
        pointer(out),
    )  # fmt: skip


@njit
def _rows(
    lists: Any,
    groups: Any,
    pairs: Any,
    singles: Any,
    correlations: Any,
    luts: Any,
    terms: Any,
    s: Any,
    sizes: Any,
    count: Any,
    out: Any,
) -> Any:
    """The loop over crossings; everything is a pointer here."""
    for i in range(count):
        row = sizes.first + i
        for w in range(sizes.bits):
            s.bits[w] = 0
        for g in range(sizes.groups):
            shift = groups.head[g * H_COLUMNS + H_SHIFT]
            if shift and not sizes.neighbours:
                continue  # nothing that depends on it is evaluated
            at = _row_at(lists.time, sizes.rows, row, shift)
            place = s.kinds[g] * (sizes.rows + 1) + at
            s.start[g] = lists.offsets[place] if at >= 0 else 0
            s.number[g] = lists.offsets[place + 1] - s.start[g] if at >= 0 else 0
            if s.number[g]:
                _group(
                    lists.words, s.start[g], s.number[g], g, groups, s.masks, s.anys, s.words,
                    s.bits,
                )  # fmt: skip
        decide_pairs(
            lists.words, s.start, s.number, s.masks, s.anys, s.kinds, sizes.sets, pairs.table,
            pairs.members, correlations.of_bit, correlations.rows, luts, s.bits, s.found,
        )  # fmt: skip
        _single_values(lists, singles, sizes, row, s.bits)
        for w in range(sizes.bits):
            left = s.bits[w] & correlations.mask[w]
            while left:
                low = left & (~left + np.uint64(1))
                left ^= low
                condition = correlations.of_bit[64 * w + lowest_bit(low)] * C_COLUMNS
                if not exact(
                    condition, s.bits, lists.words, s.start, s.number, s.masks, s.kinds,
                    correlations.rows, luts, s.legs, s.place, s.found,
                ):  # fmt: skip
                    s.bits[w] ^= low
        _algorithms(s.bits, terms, sizes.banks, s.words, out, i)
