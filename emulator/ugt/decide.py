"""Initial decisions of a menu for a block of crossings."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.emulator.ugt import kernel
from scout40.emulator.ugt.compile import Plugin, Tables, tables_of
from scout40.emulator.ugt.evaluable import ALGORITHM_WORDS, Evaluable, evaluable, inputs_of
from scout40.emulator.ugt.lone import begin_block
from scout40.emulator.ugt.model import Menu, Requirement
from scout40.emulator.ugt.objects import (
    LISTS,
    NETWORKS,
    SHOWER_SLOT,
    VALUES,
    ObjectList,
)
from scout40.emulator.ugt.pairs import MAX_OBJECTS
from scout40.emulator.ugt.singles import value_width
from scout40.streams.block import ORBIT_BX, Block, Table, concatenate
from scout40.streams.errors import BadInput

_NO_EXT = np.zeros((1, 4), np.uint64)
CHUNK = 32768
"""Crossings that go through the kernel together: what they need stays in the cache."""


@dataclass(frozen=True)
class Decisions:
    """Initial decisions of one block.

    table, codes:
        uint64 (k, 8) and int32 (crossings,): the decisions of crossing r are row codes[r] of the
        table. codes None: row r.
    evaluated:
        uint64 (8,); algorithms that this input allows to evaluate. The others read 0.
    not_evaluated:
        algorithm name -> reason.
    """

    table: npt.NDArray[np.uint64]
    evaluated: npt.NDArray[np.uint64]
    not_evaluated: Mapping[str, str]
    codes: npt.NDArray[np.int32] | None = None

    @functools.cached_property
    def words(self) -> npt.NDArray[np.uint64]:
        """uint64 (crossings, 8); algorithm index i is bit i % 64 of word i // 64."""
        return self.table if self.codes is None else self.table[self.codes]


@dataclass(frozen=True)
class CompiledMenu:
    """A menu ready to decide; make it with :func:`compile_menu`, share it between threads."""

    menu: Menu
    tables: Tables
    plugins: Mapping[str, Plugin] = field(default_factory=dict)

    def decide(
        self, block: Block, before: Block | None = None, after: Block | None = None
    ) -> Decisions:
        """Decisions of every crossing of ``block``.

        before, after:
            the blocks next to it in time, for conditions that look at neighbouring crossings.
            They are used only when the block is contiguous and their orbits adjoin.
        """
        part = self._evaluable(block)
        reach = part.reach
        if reach and len(block) > 4 * reach and (before is not None or after is not None):
            # Only rows at the edges see other blocks: no need to join the whole block to them.
            found = self._decide(block, part)
            head, tail = block.take(0, 2 * reach), block.take(len(block) - 2 * reach, len(block))
            first = self._decide(head, part, before, None).words[:reach]
            last = self._decide(tail, part, None, after).words[-reach:]
            return _with_edges(found, first, last)
        return self._decide(block, part, before, after)

    def _decide(
        self, block: Block, part: Evaluable, before: Block | None = None, after: Block | None = None
    ) -> Decisions:
        first, whole = _with_neighbours(block, before, after, part.reach)
        scratch, codes = part.memory.scratch(part.tables), np.empty(len(block), np.int32)
        known = scratch.memo.words.reshape(-1, ALGORITHM_WORDS)
        out = np.empty((len(known) + len(block), ALGORITHM_WORDS), np.uint64)
        begin_block(scratch.memo)
        done = 0
        for start in range(0, len(block), CHUNK):
            stop = min(start + CHUNK, len(block))
            low, high = first + start, first + stop
            begin, end = max(0, low - part.reach), min(len(whole), high + part.reach)
            rows = whole if end - begin == len(whole) else whole.take(begin, end)
            listed = _lists(rows, part, self.plugins)
            done = kernel.decide(
                listed, part.tables, scratch, low - begin, block.contiguous, codes[start:stop],
                out[len(known) :].reshape(-1), done,
            )  # fmt: skip
        if not len(known):
            return Decisions(out, part.mask, part.missing)
        out[: len(known)] = known
        return Decisions(out[: len(known) + done], part.mask, part.missing, codes)

    def needs_every_crossing(self, block: Block) -> bool:
        """Whether an empty crossing of this input could fire, so that none may be left out.

        It depends on what the block carries, not on its values: True when in doubt.
        """
        return block.contiguous and self._evaluable(block).on_empty

    def looks_ahead(self, block: Block) -> bool:
        """Whether decisions of this input depend on later crossings, so on the block after it."""
        return block.contiguous and self._evaluable(block).ahead > 0

    @functools.cached_property
    def _cache(self) -> dict[Hashable, Evaluable]:
        return {}

    def _evaluable(self, block: Block) -> Evaluable:
        """What the columns of ``block`` suffice for."""
        columns = [(name, *table.columns) for name, table in block.tables.items()]
        key = (block.contiguous, *block.crossing, *columns)
        found = self._cache.get(key)
        if found is None:
            found = evaluable(self.menu, self.tables, self.plugins, inputs_of(block))
            self._cache[key] = found
        return found


def compile_menu(menu: Menu, plugins: Mapping[str, Plugin] | None = None) -> CompiledMenu:
    """Compile ``menu``.

    plugins:
        object name (AXO, TOPO, CICADA, ADT) -> function (block, requirement) -> bool (crossings,).
        Conditions on names without a plug-in are reported as not evaluated.
    """
    plugins = dict(plugins or {})
    unknown = sorted(set(plugins) - set(NETWORKS))
    if unknown:
        raise BadInput(f"plug-ins for {', '.join(unknown)}, known: {', '.join(NETWORKS)}")
    return CompiledMenu(menu, tables_of(menu, plugins), plugins)


def _with_edges(
    found: Decisions, first: npt.NDArray[np.uint64], last: npt.NDArray[np.uint64]
) -> Decisions:
    """Decisions whose first and last rows are replaced."""
    if found.codes is None:
        found.table[: len(first)], found.table[-len(last) :] = first, last
        return found
    base = len(found.table)
    found.codes[: len(first)] = np.arange(base, base + len(first))
    found.codes[-len(last) :] = np.arange(base + len(first), base + len(first) + len(last))
    return replace(found, table=np.concatenate([found.table, first, last]))


# -- the kernel's input ----------------------------------------------------------------------


def _with_neighbours(
    block: Block, before: Block | None, after: Block | None, reach: int
) -> tuple[int, Block]:
    """(rows added in front, block with up to ``reach`` crossings of its neighbours around it)."""
    if not block.contiguous or not reach:
        return 0, block
    parts = [block]
    first = 0
    if before is not None and before.last_orbit == block.first_orbit and _alike(before, block):
        parts.insert(0, before.take(max(0, len(before) - reach), len(before)))
        first = len(parts[0])
    if after is not None and after.first_orbit == block.last_orbit and _alike(after, block):
        parts.append(after.take(0, min(reach, len(after))))
    return first, concatenate(parts) if len(parts) > 1 else block


def _alike(neighbour: Block, block: Block) -> bool:
    """Both carry the same columns, so that one can stand beside the other."""
    return (
        len(neighbour) > 0
        and neighbour.crossing.keys() == block.crossing.keys()
        and neighbour.tables.keys() == block.tables.keys()
        and all(
            t.columns.keys() == block.tables[n].columns.keys() for n, t in neighbour.tables.items()
        )
    )


def _lists(block: Block, part: Evaluable, plugins: Mapping[str, Plugin]) -> kernel.Lists:
    """Packed words, offsets and single values of the types that the menu uses."""
    crossings, tables, memory = len(block), part.tables, part.memory
    chosen = [
        (row, listed, block.tables[listed.table])
        for row, (name, listed) in enumerate(LISTS.items())
        if name in tables.lists
    ]
    for name in {listed.table for _, listed, _ in chosen}:
        _check_counts(name, block.tables[name])
    words = memory.array("words", (1 + sum(len(table) for _, _, table in chosen),), np.uint64)
    offsets, base = memory.array("offsets", (len(LISTS), crossings + 1), np.int32), 0
    for row, listed, table in chosen:
        _pack(listed, table, words[base : base + len(table)])
        np.add(table.offsets, base, out=offsets[row])
        base += len(table)
    values = memory.array("values", (crossings, max(1, len(tables.value_rows))), np.int32)
    for row, (name, requirement) in enumerate(tables.value_rows):
        _value(name, requirement, block, plugins, values[:, row])
    ext = block.crossing["ext"] if tables.uses_ext else _NO_EXT
    time = memory.array("time", (crossings,), np.int64)
    np.multiply(block.orbit, ORBIT_BX, out=time, dtype=np.int64)
    np.add(time, block.bx, out=time)
    return kernel.Lists(words, offsets, values, np.ascontiguousarray(ext), time)


def _pack(listed: ObjectList, table: Table, out: npt.NDArray[np.uint64]) -> None:
    """One packed word per object; of the sums only the fields that legs look at."""
    if listed.word.words == 1:
        listed.word.pack(table.columns, out.reshape(-1, 1))
        return
    out[:] = 0
    for bits in listed.fields.values():
        if bits.name in table.columns:
            out |= table[bits.name].astype(np.uint64) << np.uint64(bits.lo)


def _check_counts(name: str, table: Table) -> None:
    """BadInput when a crossing has more objects than the kernel takes; one row of sums only."""
    most = 1 if name == "sums" else MAX_OBJECTS
    counts = table.offsets[1:] - table.offsets[:-1]
    if len(counts) and counts.max() > most:
        row = int(counts.argmax())
        raise BadInput(f"{name}: row {row} has {counts[row]} objects, at most {most}")


def _value(
    name: str,
    requirement: Requirement,
    block: Block,
    plugins: Mapping[str, Plugin],
    out: npt.NDArray[np.int32],
) -> None:
    """Fill one row of single values; what the input does not carry stays -1."""
    if name in plugins:
        fired = np.asarray(plugins[name](block, requirement))
        if fired.shape != out.shape or fired.dtype != np.bool_:
            got = f"{fired.dtype} {fired.shape}"
            raise BadInput(f"plug-in for {name}: expected bool {out.shape}, got {got}")
        out[:] = fired
    elif name in SHOWER_SLOT:
        column = block.crossing.get("shower")
        out[:] = -1 if column is None else _checked(name, column)
    elif "sums" in block.tables and VALUES[name][0] in block.tables["sums"].columns:
        sums = block.tables["sums"]
        _check_counts("sums", sums)
        column = _checked(name, sums[VALUES[name][0]])
        if len(column) == len(out):
            out[:] = column
        else:
            out[:] = -1
            out[sums.counts() == 1] = column
    else:
        out[:] = -1


def _checked(name: str, column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Itself; BadInput when a value has more bits than the hardware gives it."""
    if len(column) and not 0 <= column.min() <= column.max() < 1 << value_width(name):
        raise BadInput(f"{name}: values {column.min()}..{column.max()}", field=name)
    return column
