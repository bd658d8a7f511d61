"""A menu as the tables that the kernel reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from scout40.emulator.ugt import kernel as k
from scout40.emulator.ugt.correlate import Correlations
from scout40.emulator.ugt.correlations import (
    check_correlation,
    correlation_tables,
    lut_tables,
    pair_limits,
)
from scout40.emulator.ugt.group_masks import Groups
from scout40.emulator.ugt.groups import (
    add_pairs,
    counted_order,
    group_legs,
    group_tables,
    places_of_conditions,
    places_of_legs,
    places_of_pair_legs,
)
from scout40.emulator.ugt.legs import accepted
from scout40.emulator.ugt.logic import Logic, logic_of
from scout40.emulator.ugt.lone import beside
from scout40.emulator.ugt.model import Condition, Menu, Requirement
from scout40.emulator.ugt.objects import LISTS, NETWORKS, SHOWER_SLOT, VALUES
from scout40.emulator.ugt.pairs import pair_sets
from scout40.emulator.ugt.singles import Singles, single_tables
from scout40.streams.block import Block

Plugin = Callable[[Block, Requirement], npt.NDArray[np.bool_]]
"""Evaluates a requirement on a network's score (AXO, TOPO, CICADA, ADT): bool per crossing."""


@runtime_checkable
class Informed(Protocol):
    """What a plug-in may also say; one that does not takes any block and may fire on nothing."""

    def missing(self, requirement: Requirement, inputs: frozenset[str]) -> str:
        """Why ``requirement`` cannot be evaluated from ``inputs`` (evaluable.inputs_of), or ""."""

    def on_empty(self, requirement: Requirement) -> bool:
        """Whether a crossing without any object passes; asked only when nothing is missing."""


@dataclass(frozen=True)
class Tables:
    """Everything the kernel reads that depends on the menu alone."""

    groups: Groups
    lists: frozenset[str]  # object types that some leg looks at
    pairs: k.Pairs
    singles: Singles
    value_rows: tuple[tuple[str, Requirement], ...]  # row of values -> (object name, requirement)
    uses_ext: bool
    correlations: Correlations
    luts: npt.NDArray[np.int64]
    logic: Logic


def tables_of(menu: Menu, plugins: Mapping[str, Plugin]) -> Tables:
    """Compile ``menu``; BadConfig for what no hardware rule covers."""
    conditions = menu.conditions
    exact = []
    for n, condition in enumerate(conditions):
        if condition.kind != "single" and not _unknown_objects(condition):
            check_correlation(condition)
            if _needs_exact(condition):
                exact.append(n)
    overlap = [n for n in exact if conditions[n].kind.endswith("_orm")]
    # Two leading objects and a reference: their pair set says whether a search is worth while.
    in_pairs = [n for n in exact if len(conditions[n].requirements) == 2 + (n in overlap)]
    sets = pair_sets(conditions, in_pairs)
    groups = group_legs(conditions, set(in_pairs), sets)
    bit_of, words = places_of_conditions(conditions, groups)
    pairs, words = add_pairs(conditions, sets, groups, bit_of, words)
    singles, values, words = single_tables(conditions, bit_of, words, plugins)
    # Conditions that nothing can evaluate still need a bit; it stays 0.
    missing = [n for n in range(len(conditions)) if n not in bit_of]
    bit_of |= {n: 64 * words + i for i, n in enumerate(missing)}
    words = max(1, words + -(-len(missing) // 64))
    searched = [n for n in exact if n not in in_pairs or n in overlap]
    where = places_of_legs(groups) | places_of_pair_legs(sets, groups, pairs)
    correlations = correlation_tables(conditions, exact, searched, where, bit_of, words)
    rows = [correlations.rows[[exact.index(n) for n, _, _ in one.members]] for one in sets]
    pairs = pairs._replace(limits=pair_limits(pairs.table, rows))
    return Tables(
        groups=group_tables(groups)._replace(beside=beside(conditions, where, len(groups))),
        lists=frozenset(group.key[0] for group in groups),
        pairs=pairs,
        singles=singles,
        value_rows=tuple(values),
        uses_ext=len(singles.signal) + len(singles.later) > 0,
        correlations=correlations,
        luts=lut_tables(),
        logic=logic_of(menu.algorithms, bit_of, words),
    )


def _unknown_objects(condition: Condition) -> bool:
    """Objects that no input carries (ZDC, names of future menus): reported as not evaluated."""
    known = (*LISTS, *VALUES, *SHOWER_SLOT, *NETWORKS, "EXT")
    return any(requirement.object not in known for requirement in condition.requirements)


def _needs_exact(condition: Condition) -> bool:
    """Whether counting nested legs does not settle the condition."""
    if condition.kind != "comb" or condition.cuts or condition.charge_correlation is not None:
        return True
    keys = {(r.object, r.bx_offset) for r in condition.requirements}
    return len(keys) > 1 or counted_order([accepted(r) for r in condition.requirements]) is None
