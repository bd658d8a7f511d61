"""Conditions on one number per crossing: energy sums, counts, showers, external signals.

All conditions on one number are read from a table by its value. External signals change rarely
from crossing to crossing, so their bits are kept until they do.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from scout40.emulator.ugt.model import Condition, Requirement
from scout40.emulator.ugt.objects import NETWORKS, SHOWER_SLOT, VALUES
from scout40.streams.formats.ugt import UgtSums
from scout40.streams.jit import njit


class Singles(NamedTuple):
    """Single-value and external conditions.

    value: int64 (n, 4) row of values, bx offset, condition word, place in ``level`` of value 0.
    level: uint16 by value, place in ``passed``: uint64 condition bits. signal: int64 (n, 2) bit,
    place of signals of the same crossing, later: int64 (n, 3) bit, bx offset, place of others.
    A place is a position in the condition bits.
    """

    value: Any
    level: Any
    passed: Any
    signal: Any
    later: Any


M_KNOWN, M_EXT, M_BITS = 0, 1, 5
"""Parts of the memory: whether it is filled, external words of the last row, its bits."""


@njit
def row_at(time: Any, rows: Any, row: Any, shift: Any) -> Any:
    """Row of the crossing ``shift`` after ``row``; -1 when it has no row (it was empty)."""
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
def single_values(lists: Any, singles: Any, sizes: Any, row: Any, bits: Any) -> Any:
    """Set the bits of all conditions on energy sums, counts, showers and networks."""
    for k in range(sizes.values):
        shift, at = singles.value[4 * k + 1], row
        if shift:
            at = row_at(lists.time, sizes.rows, row, shift) if sizes.neighbours else -1
            if at < 0:
                continue
        value = lists.values[at * sizes.value_rows + singles.value[4 * k]]
        if value >= 0:
            level = singles.level[singles.value[4 * k + 3] + value]
            bits[singles.value[4 * k + 2]] |= singles.passed[level]


@njit
def signals(lists: Any, singles: Any, sizes: Any, row: Any, bits: Any, memory: Any) -> Any:
    """Start the condition bits of a crossing: those of external signals, all others 0."""
    if not sizes.signals + sizes.later:
        for w in range(sizes.bits):
            bits[w] = 0
        return
    ext = 4 * row
    same = memory[M_KNOWN] == 1
    for w in range(4):
        same &= lists.ext[ext + w] == memory[M_EXT + w]
    if not same:
        memory[M_KNOWN] = 1
        for w in range(4):
            memory[M_EXT + w] = lists.ext[ext + w]
        for w in range(sizes.bits):
            memory[M_BITS + w] = 0
        for k in range(sizes.signals):
            bit, place = singles.signal[2 * k], singles.signal[2 * k + 1]
            is_on = (lists.ext[ext + (bit >> 6)] >> np.uint64(bit & 63)) & np.uint64(1)
            memory[M_BITS + (place >> 6)] |= is_on << np.uint64(place & 63)
    for w in range(sizes.bits):
        bits[w] = memory[M_BITS + w]
    for k in range(sizes.later if sizes.neighbours else 0):
        at = row_at(lists.time, sizes.rows, row, singles.later[3 * k + 1])
        bit, place = singles.later[3 * k], singles.later[3 * k + 2]
        if at >= 0:
            is_on = (lists.ext[4 * at + (bit >> 6)] >> np.uint64(bit & 63)) & np.uint64(1)
            bits[place >> 6] |= is_on << np.uint64(place & 63)


def single_tables(
    conditions: Sequence[Condition],
    bit_of: dict[int, int],
    words: int,
    plugins: Collection[str],
) -> tuple[Singles, list[tuple[str, Requirement]], int]:
    """(tables, rows of values as (object, requirement), condition words used with these).

    The conditions get the bits after ``words`` condition words, written into ``bit_of``.
    """
    signal, later = [], []
    members: dict[Any, tuple[str, Requirement]] = {}
    by_word: dict[tuple[Any, int, int], list[tuple[int, Requirement]]] = {}
    used = 0
    for n, condition in enumerate(conditions):
        requirement = condition.requirements[0]
        name, shift = requirement.object, requirement.bx_offset
        place = 64 * words + used
        if name == "EXT" and requirement.signal_bit is not None:
            if shift:
                later.append((requirement.signal_bit, shift, place))
            else:
                signal.append((requirement.signal_bit, place))
        elif name in VALUES or name in SHOWER_SLOT or (name in NETWORKS and name in plugins):
            key = requirement if name in NETWORKS else name
            members.setdefault(key, (name, requirement))
            by_word.setdefault((key, shift, place >> 6), []).append((place & 63, requirement))
        else:
            continue
        bit_of[n] = place
        used += 1
    value: list[tuple[int, int, int, int]] = []
    level: list[npt.NDArray[np.uint16]] = []
    passed: list[npt.NDArray[np.uint64]] = []
    rows = {key: row for row, key in enumerate(members)}
    for (key, shift, word), legs in by_word.items():
        distinct, which = np.unique(_passed(legs), return_inverse=True)
        value.append((rows[key], shift, word, sum(len(part) for part in level)))
        level.append((sum(len(part) for part in passed) + which.ravel()).astype(np.uint16))
        passed.append(distinct)
    singles = Singles(
        np.array(value, np.int64).reshape(-1, 4),
        np.concatenate(level) if level else np.zeros(1, np.uint16),
        np.concatenate(passed) if passed else np.zeros(1, np.uint64),
        np.array(signal, np.int64).reshape(-1, 2),
        np.array(later, np.int64).reshape(-1, 3),
    )
    return singles, list(members.values()), words + -(-used // 64)


def value_width(name: str) -> int:
    """Bits of a single value."""
    if name in VALUES:
        return UgtSums.fields[VALUES[name][0]].width
    return 8 if name in SHOWER_SLOT else 1


def _passed(legs: Sequence[tuple[int, Requirement]]) -> npt.NDArray[np.uint64]:
    """uint64 by value: bits of the requirements that the value passes."""
    values = np.arange(1 << value_width(legs[0][1].object))
    out = np.zeros(len(values), np.uint64)
    for bit, requirement in legs:
        out |= _passes(requirement, values).astype(np.uint64) << np.uint64(bit)
    return out


def _passes(requirement: Requirement, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    name = requirement.object
    if name.startswith("CENT"):
        return np.asarray((values >> (int(name[-1]) % 4)) & 1)
    if name in SHOWER_SLOT:
        return np.asarray((values >> SHOWER_SLOT[name]) & 1)
    if name in NETWORKS:
        return np.asarray(values == 1)
    if requirement.comparison == "eq":
        return np.asarray(values == requirement.threshold)
    return np.asarray(values >= requirement.threshold)
