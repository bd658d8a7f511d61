"""Groups: all legs of the menu on one object type at one bx offset, as bit masks and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from scout40.emulator.ugt import group_masks as m
from scout40.emulator.ugt import kernel as k
from scout40.emulator.ugt.lanes import WIDTH
from scout40.emulator.ugt.legs import Accept, accepted, nested
from scout40.emulator.ugt.model import Condition
from scout40.emulator.ugt.objects import LISTS
from scout40.emulator.ugt.pairs import (
    MAX_OBJECTS,
    P_COLUMNS,
    P_GROUP_A,
    P_MEMBERS,
    P_RESULT,
    P_SHIFT,
    GroupKey,
    PairSet,
)

Placed = tuple[int, int, dict[str, Accept]]  # word and bit in the group's mask, accepted values


@dataclass
class Local:
    """The legs of one condition that belong to one group, in lane order."""

    condition: int
    legs: list[int]  # indices into Condition.requirements
    tables: list[dict[str, Accept]]
    nested: bool


@dataclass
class Group:
    """Legs on one object type at one bx offset, as many as fit a mask of 8 words.

    The mask of an object has the words of the lanes (lane j: leg j of the conditions with more
    than j legs here), then the words of the pair sets, first legs and second legs apart.
    """

    key: GroupKey
    locals: list[Local] = field(default_factory=list)
    pair_words: dict[tuple[int, int], int] = field(default_factory=dict)  # (word, side) -> index
    pair_legs: list[Placed] = field(default_factory=list)  # word: index into pair_words
    result: int = 0  # first condition word

    @property
    def lanes(self) -> list[int]:
        """Words of each lane."""
        most = max((len(one.legs) for one in self.locals), default=0)
        counts = [sum(len(one.legs) > j for one in self.locals) for j in range(most)]
        return [-(-count // 64) for count in counts]

    @property
    def first(self) -> list[int]:
        """First word of each lane, then of the pair sets."""
        return [sum(self.lanes[:j]) for j in range(len(self.lanes) + 1)]

    def fits(self) -> bool:
        return sum(self.lanes) + len(self.pair_words) <= WIDTH

    def placed(self) -> list[Placed]:
        """Every leg with its place in the mask."""
        first = self.first
        legs = [
            (first[j] + slot // 64, slot % 64, tables)
            for slot, one in enumerate(self.locals)
            for j, tables in enumerate(one.tables)
        ]
        return legs + [(first[-1] + word, bit, tables) for word, bit, tables in self.pair_legs]


def group_legs(
    conditions: Sequence[Condition], in_pairs: set[int], sets: Sequence[PairSet]
) -> list[Group]:
    """Groups with all legs placed; a type with more than 512 bits of them has several groups."""
    found: list[Group] = []

    def open_group(key: GroupKey) -> Group:
        here = [group for group in found if group.key == key]
        if not here:
            found.append(Group(key))
        return here[-1] if here else found[-1]

    for one in sets:
        for side, key in enumerate((one.first, one.second)):
            group = open_group(key)
            if (one.word, side) not in group.pair_words:
                group.pair_words[one.word, side] = len(group.pair_words)
                if not group.fits():
                    group.pair_words.pop((one.word, side))
                    found.append(Group(key, pair_words={(one.word, side): 0}))
    for local, key in sorted(_locals(conditions, in_pairs), key=lambda item: -len(item[0].legs)):
        group = open_group(key)
        group.locals.append(local)
        if not group.fits():
            group.locals.pop()
            found.append(Group(key, [local]))
    words = 0
    for group in found:
        group.result = words
        words += sum(group.lanes[:1])
    return found


def _locals(conditions: Sequence[Condition], in_pairs: set[int]) -> list[tuple[Local, GroupKey]]:
    out = []
    for n, condition in enumerate(conditions):
        members: dict[GroupKey, list[int]] = {}
        for leg, requirement in enumerate(condition.requirements):
            # Leading pairs stand in the pair sets; a third leg is the reference of a removal.
            if requirement.object in LISTS and not (n in in_pairs and leg < 2):
                members.setdefault((requirement.object, requirement.bx_offset), []).append(leg)
        out += [(_local(n, condition, legs), key) for key, legs in members.items()]
    return out


def _local(n: int, condition: Condition, legs: list[int]) -> Local:
    tables = [accepted(condition.requirements[leg]) for leg in legs]
    # The reference of an overlap removal may be any object: it takes no place in the count.
    reference = condition.kind.endswith("_orm") and len(condition.requirements) - 1 in legs
    order = None if reference and len(legs) > 1 else counted_order(tables)
    is_nested = order is not None
    order = order if order is not None else list(range(len(legs)))
    return Local(n, [legs[i] for i in order], [tables[i] for i in order], is_nested)


def counted_order(tables: list[dict[str, Accept]]) -> list[int] | None:
    """An order in which counting objects per leg is exact, or None."""
    return nested(tables) if len(tables) <= k.COUNTED_LANES else None


def places_of_conditions(
    conditions: Sequence[Condition], groups: Sequence[Group]
) -> tuple[dict[int, int], int]:
    """Condition -> place of its bit (in its first leg's group), and condition words used."""
    bit_of = {}
    for group in groups:
        for slot, one in enumerate(group.locals):
            first = conditions[one.condition].requirements[0]
            if (first.object, first.bx_offset) == group.key:
                bit_of[one.condition] = 64 * group.result + slot
    return bit_of, sum(sum(group.lanes[:1]) for group in groups)


def places_of_legs(groups: Sequence[Group]) -> dict[tuple[int, int], tuple[int, int, int, int]]:
    """(condition, leg) -> group, word and bit in the group's masks, place of the group's bit."""
    places = {}
    for g, group in enumerate(groups):
        for slot, one in enumerate(group.locals):
            for lane, leg in enumerate(one.legs):
                word = group.first[lane] + slot // 64
                places[one.condition, leg] = (g, word, slot % 64, 64 * group.result + slot)
    return places


def places_of_pair_legs(
    sets: Sequence[PairSet], groups: Sequence[Group], pairs: k.Pairs
) -> dict[tuple[int, int], tuple[int, int, int, int]]:
    """The same for the legs of pair sets."""
    places = {}
    for row, one in zip(pairs.table, sets, strict=True):
        for bit, (n, *legs) in enumerate(one.members):
            for side, leg in enumerate(legs):
                g, word = row[P_GROUP_A + 2 * side : P_GROUP_A + 2 * side + 2]
                result = 64 * int(row[P_RESULT]) + one.shift + bit
                places[n, leg] = (int(g), int(word), one.shift + bit, result)
    return places


def add_pairs(
    conditions: Sequence[Condition],
    sets: Sequence[PairSet],
    groups: Sequence[Group],
    bit_of: dict[int, int],
    words: int,
) -> tuple[k.Pairs, int]:
    """Give the legs of the pair sets places in the masks, and their conditions bits."""
    table = np.zeros((len(sets), P_COLUMNS), np.int64)
    members = np.zeros(len(sets), np.uint64)
    for p, one in enumerate(sets):
        for side, key in enumerate((one.first, one.second)):
            g, group = next(
                (g, group)
                for g, group in enumerate(groups)
                if group.key == key and (one.word, side) in group.pair_words
            )
            word = group.pair_words[one.word, side]
            for bit, member in enumerate(one.members):
                tables = accepted(conditions[member[0]].requirements[member[1 + side]])
                group.pair_legs.append((word, one.shift + bit, tables))
            at = P_GROUP_A + 2 * side
            table[p, at : at + 2] = g, group.first[-1] + word
        table[p, P_RESULT] = words + one.word
        table[p, P_SHIFT], table[p, P_MEMBERS] = one.shift, len(one.members)
        for bit, (n, _, _) in enumerate(one.members):
            bit_of[n] = 64 * (words + one.word) + one.shift + bit
            members[p] |= _bit(one.shift + bit)
    return k.Pairs(table, members, np.zeros(1, np.int64)), words + 1 + max(
        (one.word for one in sets), default=-1
    )


def group_tables(groups: Sequence[Group]) -> m.Groups:
    """What the kernel reads of the groups."""
    head = np.zeros((len(groups), m.H_COLUMNS), np.int64)
    join: list[tuple[int, int]] = []
    select = np.zeros((len(groups), 6, WIDTH), np.uint64)
    fields: list[tuple[int, int, int]] = []
    row: list[int] = []
    table: list[npt.NDArray[np.uint64]] = []
    for g, group in enumerate(groups):
        lanes, first = group.lanes, group.first
        head[g, m.H_WORDS], head[g, m.H_JOIN0] = sum(lanes[:1]), len(join)
        for begin, words in zip(first[1:-1], lanes[1:], strict=True):
            join += [(group.result + w, begin + w) for w in range(words)]
        head[g, m.H_JOIN1] = len(join)
        head[g, m.H_TYPE], head[g, m.H_SHIFT] = list(LISTS).index(group.key[0]), group.key[1]
        head[g, m.H_LANES], head[g, m.H_RESULT] = len(lanes), group.result
        keys = [other.key for other in groups]
        head[g, m.H_SAME_LIST] = keys.index(group.key)
        head[g, m.H_FIELD0], head[g, m.H_SLOT] = len(fields), -1
        for j in range(len(lanes)):
            level = min(j, k.COUNTED_LANES - 1)
            select[g, level, first[j] : first[j + 1]] = ~np.uint64(0)
        for slot, one in enumerate(group.locals):
            for j in range(len(one.legs)):
                word = first[j] + slot // 64
                select[g, 5, word] |= _bit(slot)
                select[g, 4, word] |= _bit(slot) if one.nested else np.uint64(0)
        for cut, rows in _field_tables(group).items():
            if cut == "pt":
                lowest = np.flatnonzero(rows.any(axis=1))[:1].sum()
                same = head[g, m.H_SAME_LIST]
                head[same, m.H_LOWEST_PT] = (
                    lowest if same == g else min(lowest, head[same, m.H_LOWEST_PT])
                )
            if cut == "slot":
                head[g, m.H_SLOT] = len(row)
            else:
                fields.append((LISTS[group.key[0]].fields[cut].lo, len(rows) - 1, len(row)))
            distinct, which = np.unique(rows, axis=0, return_inverse=True)
            row += (WIDTH * (len(table) + which.ravel())).tolist()
            table += list(distinct)
        head[g, m.H_FIELD1] = len(fields)
    return m.Groups(
        head,
        np.array(join, np.int64).reshape(-1, 2),
        select.ravel(),
        np.array(fields, np.uint64).reshape(-1, 3),
        np.array(row, np.uint32),
        np.concatenate(table) if table else np.zeros(WIDTH, np.uint64),
        np.zeros(0, np.uint64),
    )


def _bit(slot: int) -> np.uint64:
    return np.uint64(1) << np.uint64(slot % 64)


def _field_tables(group: Group) -> dict[str, npt.NDArray[np.uint64]]:
    """Cut -> uint64 (codes, 8): legs that accept each value, for fields that some leg restricts."""
    kind = LISTS[group.key[0]]
    legs = group.placed()
    used = np.zeros(WIDTH, np.uint64)
    for word, bit, _ in legs:
        used[word] |= _bit(bit)
    out = {}
    for cut in ("pt", *(name for name in kind.fields if name != "pt"), "slot"):
        users = [(word, bit, tables[cut]) for word, bit, tables in legs if cut in tables]
        if not users and cut != "pt":
            continue
        codes = MAX_OBJECTS if cut == "slot" else 1 << kind.fields[cut].width
        rows = np.tile(used, (codes, 1))
        for word, bit, table in users:
            rows[~table, word] &= ~_bit(bit)
        out[cut] = rows
    return out
