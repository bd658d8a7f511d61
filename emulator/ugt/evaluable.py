"""What an input allows to evaluate, and whether an empty crossing of it could fire."""

from __future__ import annotations

import math
import operator
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.emulator.ugt import kernel
from scout40.emulator.ugt.compile import Informed, Plugin, Tables, tables_of
from scout40.emulator.ugt.legs import accepted
from scout40.emulator.ugt.model import Condition, Leaf, Menu, Operation, Requirement
from scout40.emulator.ugt.objects import COLUMNS_OF_CUT, LISTS, NETWORKS, SHOWER_SLOT, VALUES
from scout40.streams.block import Block

ALGORITHM_WORDS = 8


class Memory(threading.local):
    """Arrays of each thread that are used again: fresh ones cost more than what is done in them."""

    def __init__(self) -> None:
        self._held: dict[str, npt.NDArray[Any]] = {}
        self._scratch: kernel.Scratch | None = None

    def scratch(self, tables: Tables) -> kernel.Scratch:
        """The kernel's own memory, always for the same ``tables``."""
        if self._scratch is None:
            self._scratch = kernel.scratch_for(tables)
        return self._scratch

    def array(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """An array of any content; the one that had this name before is given up."""
        size = math.prod(shape)
        held = self._held.get(name)
        if held is None or len(held) < size:
            held = self._held[name] = np.empty(size, dtype)
        return held[:size].reshape(shape)


@dataclass(frozen=True)
class Evaluable:
    """The part of a menu that an input suffices for.

    mask:
        uint64 (8,), bits of its algorithms. missing: name of every other algorithm -> reason.
    tables:
        what the kernel reads, of these algorithms and their conditions alone.
    reach, ahead:
        how many crossings away the farthest condition looks, on either side and ahead in time.
    on_empty:
        whether an algorithm could fire in a crossing without any row.
    """

    mask: npt.NDArray[np.uint64]
    missing: Mapping[str, str]
    tables: Tables
    reach: int
    ahead: int
    on_empty: bool
    memory: Memory = field(default_factory=Memory)


def evaluable(
    menu: Menu, whole: Tables, plugins: Mapping[str, Plugin], inputs: frozenset[str]
) -> Evaluable:
    """What ``inputs`` (see ``inputs_of``) suffice for; ``whole``: tables of the complete menu."""
    lacking = [missing(condition, inputs, plugins) for condition in menu.conditions]
    mask = np.zeros(ALGORITHM_WORDS, np.uint64)
    reasons: dict[str, str] = {}
    chosen = []
    for algorithm in menu.algorithms:
        why = {lacking[n] for n in leaves(algorithm.tree)} - {""}
        if why:
            reasons[algorithm.name] = "; ".join(sorted(why))
        else:
            mask[algorithm.index // 64] |= np.uint64(1) << np.uint64(algorithm.index % 64)
            chosen.append(algorithm)
    used = sorted({n for algorithm in chosen for n in leaves(algorithm.tree)})
    place = {n: Leaf(k) for k, n in enumerate(used)}
    part = replace(
        menu,
        algorithms=tuple(replace(a, tree=_renumbered(a.tree, place)) for a in chosen),
        conditions=tuple(menu.conditions[n] for n in used),
    )
    offsets = [r.bx_offset for c in part.conditions for r in c.requirements]
    return Evaluable(
        mask,
        reasons,
        whole if len(used) == len(menu.conditions) and not reasons else tables_of(part, plugins),
        max(map(abs, offsets), default=0),
        max([0, *offsets]),
        any(True in on_empty(a.tree, part.conditions, plugins) for a in part.algorithms),
    )


def _renumbered(node: Leaf | Operation, place: Mapping[int, Leaf]) -> Leaf | Operation:
    if isinstance(node, Leaf):
        return place[node.condition]
    return replace(node, operands=tuple(_renumbered(operand, place) for operand in node.operands))


def leaves(node: Leaf | Operation) -> Iterator[int]:
    """Conditions of an expression."""
    if isinstance(node, Leaf):
        yield node.condition
    else:
        for operand in node.operands:
            yield from leaves(operand)


def on_empty(
    node: Leaf | Operation, conditions: Sequence[Condition], plugins: Mapping[str, Plugin]
) -> frozenset[bool]:
    """Values that an expression may have in a crossing without any row.

    Every condition is an AND of its requirements, so one on the crossing itself makes it false.
    One that looks only at other crossings, or asks a plug-in, may be either; such conditions are
    taken as independent of each other, which can only add values.
    """
    if isinstance(node, Leaf):
        needs = conditions[node.condition].requirements
        free = all(need.bx_offset or _plugin_fires(need, plugins) for need in needs)
        return frozenset((False, True)) if free else frozenset((False,))
    first, *others = [on_empty(operand, conditions, plugins) for operand in node.operands]
    if node.operator == "NOT":
        return frozenset(not value for value in first)
    gate = {"AND": operator.and_, "OR": operator.or_, "XOR": operator.xor}[node.operator]
    for other in others:
        first = frozenset(gate(a, b) for a in first for b in other)
    return first


def _plugin_fires(requirement: Requirement, plugins: Mapping[str, Plugin]) -> bool:
    """Whether a plug-in evaluates it, and could let a crossing without any row pass."""
    plugin = plugins.get(requirement.object)
    return plugin is not None and not (
        isinstance(plugin, Informed) and not plugin.on_empty(requirement)
    )


def inputs_of(block: Block) -> frozenset[str]:
    """Names of everything the block carries: ``mu.hw_pt``, ``ext``, ``shower``, ``neighbours``."""
    names = {f"{table}.{column}" for table, held in block.tables.items() for column in held.columns}
    names |= {name for name in ("ext", "shower") if name in block.crossing}
    if block.contiguous:
        names.add("neighbours")
    return frozenset(names)


def missing(condition: Condition, inputs: frozenset[str], plugins: Mapping[str, Plugin]) -> str:
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
    plugin = plugins.get(name)
    if isinstance(plugin, Informed) and (reason := plugin.missing(requirement, inputs)):
        return reason
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
