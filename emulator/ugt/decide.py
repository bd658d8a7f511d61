"""Initial decisions of a menu for a block of crossings."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.emulator.ugt import kernel
from scout40.emulator.ugt.compile import Plugin, Tables, tables_of
from scout40.emulator.ugt.legs import accepted
from scout40.emulator.ugt.model import Condition, Menu, Requirement
from scout40.emulator.ugt.objects import (
    COLUMNS_OF_CUT,
    LISTS,
    NETWORKS,
    SHOWER_SLOT,
    VALUES,
    ObjectList,
)
from scout40.emulator.ugt.pairs import MAX_OBJECTS
from scout40.emulator.ugt.singles import value_width
from scout40.streams.block import Block, Table, concatenate
from scout40.streams.errors import BadInput
from scout40.streams.formats.ugt import UgtSums

ALGORITHM_WORDS = 8
CHUNK = 32768
"""Crossings that go through the kernel together: what they need stays in the cache."""


@dataclass(frozen=True)
class Decisions:
    """Initial decisions of one block.

    words:
        uint64 (crossings, 8); algorithm index i is bit i % 64 of word i // 64.
    evaluated:
        uint64 (8,); algorithms that this input allows to evaluate. The others read 0 in ``words``.
    not_evaluated:
        algorithm name -> reason.
    """

    words: npt.NDArray[np.uint64]
    evaluated: npt.NDArray[np.uint64]
    not_evaluated: Mapping[str, str]


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
        evaluated, reasons = self._evaluable(_inputs_of(block))
        first, whole = _with_neighbours(block, before, after, self.reach)
        out = np.zeros((len(block), ALGORITHM_WORDS), np.uint64)
        for start in range(0, len(block), CHUNK):
            stop = min(start + CHUNK, len(block))
            low, high = first + start, first + stop
            begin, end = max(0, low - self.reach), min(len(whole), high + self.reach)
            self._decide_rows(whole.take(begin, end), low - begin, out[start:stop])
        out &= evaluated
        return Decisions(out, evaluated, reasons)

    def _decide_rows(self, block: Block, first: int, out: npt.NDArray[np.uint64]) -> None:
        """Rows first .. first + len(out) of ``block`` into ``out``; the others are neighbours."""
        tables = self.tables
        kernel.decide(
            _lists(block, tables, self.plugins, self._memory),
            tables.groups,
            tables.pairs,
            tables.singles,
            tables.correlations,
            tables.luts,
            tables.logic,
            first,
            block.contiguous,
            out.reshape(-1),
        )

    @functools.cached_property
    def reach(self) -> int:
        """How many crossings away the farthest condition looks."""
        return max(
            (abs(r.bx_offset) for condition in self.menu.conditions
             for r in condition.requirements), default=0,
        )  # fmt: skip

    def needs_every_crossing(self, block: Block) -> bool:
        """Whether an empty crossing of this input could fire, so that none may be left out."""
        if not block.contiguous:
            return False
        empty = block.take(0, 0).replace(
            orbit=np.zeros(1, np.uint32),
            bx=np.ones(1, np.uint16),
            tables={n: t.take_crossings(0, 0) for n, t in block.tables.items()},
            crossing={n: np.zeros((1, *v.shape[1:]), v.dtype) for n, v in block.crossing.items()},
        )
        tables = {n: type(t)(t.columns, np.zeros(2, np.int32)) for n, t in empty.tables.items()}
        decisions = self.decide(empty.replace(tables=tables))
        if decisions.words.any():
            return True
        evaluated = {a.name for a in self.menu.algorithms} - set(decisions.not_evaluated)
        return any(
            requirement.bx_offset
            for algorithm in self.menu.algorithms
            if algorithm.name in evaluated
            for n in _leaves(algorithm.tree)
            for requirement in self.menu.conditions[n].requirements
        )

    @functools.cached_property
    def _memory(self) -> _Memory:
        return _Memory()

    @functools.cached_property
    def _cache(self) -> dict[frozenset[str], tuple[npt.NDArray[np.uint64], dict[str, str]]]:
        return {}

    def _evaluable(self, inputs: frozenset[str]) -> tuple[npt.NDArray[np.uint64], dict[str, str]]:
        """Mask of the algorithms that ``inputs`` suffice for, and why the others cannot be."""
        if inputs not in self._cache:
            conditions = [
                _missing(condition, inputs, self.plugins) for condition in self.menu.conditions
            ]
            mask = np.zeros(ALGORITHM_WORDS, np.uint64)
            reasons: dict[str, str] = {}
            for algorithm in self.menu.algorithms:
                lacking = {conditions[n] for n in _leaves(algorithm.tree)} - {""}
                if lacking:
                    reasons[algorithm.name] = "; ".join(sorted(lacking))
                else:
                    bit = np.uint64(1) << np.uint64(algorithm.index % 64)
                    mask[algorithm.index // 64] |= bit
            self._cache[inputs] = mask, reasons
        return self._cache[inputs]


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


# -- what an input allows to evaluate --------------------------------------------------------


def _leaves(node: Any) -> list[int]:
    if hasattr(node, "condition"):
        return [node.condition]
    return [leaf for operand in node.operands for leaf in _leaves(operand)]


def _inputs_of(block: Block) -> frozenset[str]:
    """Names of everything the block carries: ``mu.hw_pt``, ``ext``, ``shower``, ``neighbours``."""
    names = {f"{table}.{column}" for table, held in block.tables.items() for column in held.columns}
    names |= {name for name in ("ext", "shower") if name in block.crossing}
    if block.contiguous:
        names.add("neighbours")
    return frozenset(names)


def _missing(condition: Condition, inputs: frozenset[str], plugins: Mapping[str, Plugin]) -> str:
    """Why the condition cannot be evaluated from ``inputs``; empty when it can."""
    for requirement in condition.requirements:
        reason = _missing_for(requirement, inputs, plugins)
        if reason:
            return reason
    columns = {f"mu.{name}" for name in COLUMNS_OF_CUT["charge"]}
    if condition.charge_correlation is not None and not columns <= inputs:
        return "input has no " + ", ".join(sorted(columns - inputs))
    cuts = {name for name, _ in condition.cuts}
    needed = set()
    for requirement in condition.requirements if cuts else ():
        listed = LISTS[requirement.object]
        wanted = ["pt", "phi", *(["eta"] if "eta" in listed.fields else [])]
        wanted += ["upt"] if "MASSUPT" in cuts else []
        needed |= {f"{listed.table}.{listed.fields[cut].name}" for cut in wanted}
    return "input has no " + ", ".join(sorted(needed - inputs)) if needed - inputs else ""


def _missing_for(
    requirement: Requirement, inputs: frozenset[str], plugins: Mapping[str, Plugin]
) -> str:
    name = requirement.object
    if name in NETWORKS and name not in plugins:
        return f"{name} needs a network"
    if requirement.bx_offset and "neighbours" not in inputs:
        return f"looks at bx {requirement.bx_offset:+d}, rows are independent"
    if name == "EXT" and requirement.signal_bit is None:
        return f"bit of external signal {requirement.signal} is not known"
    needed: set[str] = set()
    if name in LISTS:
        listed = LISTS[name]
        for cut in {"pt", *accepted(requirement)} - {"slot"}:
            names = COLUMNS_OF_CUT.get(cut) or (listed.fields[cut].name,)
            needed |= {f"{listed.table}.{column}" for column in names}
    elif name in VALUES:
        needed |= {f"sums.{column}" for column in VALUES[name]}
    elif name in SHOWER_SLOT:
        needed.add("shower")
    elif name == "EXT":
        needed.add("ext")
    elif name not in NETWORKS:
        return f"{name} is in no supported input"
    lacking = sorted(needed - inputs)
    return "input has no " + ", ".join(lacking) if lacking else ""


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


class _Memory(threading.local):
    """Arrays of each thread that are used again: fresh ones cost more than what is done in them."""

    def __init__(self) -> None:
        self._held: dict[str, npt.NDArray[Any]] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """An array of any content; the one that had this name before is given up."""
        size = math.prod(shape)
        held = self._held.get(name)
        if held is None or len(held) < size:
            held = self._held[name] = np.empty(size, dtype)
        return held[:size].reshape(shape)


def _lists(
    block: Block, tables: Tables, plugins: Mapping[str, Plugin], memory: _Memory
) -> kernel.Lists:
    """Packed words, offsets and single values of the types that the menu uses."""
    crossings = len(block)
    chosen = {
        row: (listed, block.tables[listed.table])
        for row, (name, listed) in enumerate(LISTS.items())
        if name in tables.lists and listed.table in block.tables
    }
    words = memory.array("words", (1 + sum(len(t) for _, t in chosen.values()),), np.uint64)
    offsets, base = memory.array("offsets", (crossings + 1, len(LISTS)), np.int32), 0
    offsets[:, [row for row in range(len(LISTS)) if row not in chosen]] = 0
    for name in {listed.table for listed, _ in chosen.values()}:
        _check_counts(name, block.tables[name])
    for row, (listed, table) in chosen.items():
        _pack(listed, table, words[base : base + len(table)])
        np.add(table.offsets, base, out=offsets[:, row])
        base += len(table)
    values = memory.array("values", (crossings, max(1, len(tables.value_rows))), np.int32)
    for row, (name, requirement) in enumerate(tables.value_rows):
        _value(name, requirement, block, plugins, values[:, row])
    ext = block.crossing.get("ext")
    return kernel.Lists(
        words,
        offsets,
        values,
        np.ascontiguousarray(ext) if ext is not None else np.zeros((crossings, 4), np.uint64),
        block.time(),
    )


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
    most = 1 if table.columns.keys() <= UgtSums.fields.keys() else MAX_OBJECTS
    counts = table.counts()
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
