"""The menu in plain vectorised NumPy: the peer that the compiled menu is measured against.

Written from the same model as the compiled menu but sharing no evaluation code with it, so that
equal decisions also check both. Objects become rectangular arrays (crossing, slot); a requirement
is a bit set of slots per crossing; assignments of different objects are decided by Hall's
theorem on those bit sets; pairs are (crossing, slot, slot) arrays of the crossings that are left.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from scout40.emulator.ugt.model import (
    Algorithm,
    Condition,
    Leaf,
    Limits,
    Menu,
    Operation,
    Requirement,
)
from scout40.emulator.ugt.objects import LISTS, SHOWER_SLOT, VALUES
from scout40.streams.block import Block
from scout40.tools.numpy_objects import SLOTS, Array, Bool, Pair, View, between

_POPCOUNT = np.array([bin(value).count("1") for value in range(1 << SLOTS)], np.uint8)
_CUTS = {"DETA", "DPHI", "DR", "MASS", "MASSUPT", "ORMDETA", "ORMDPHI", "ORMDR"}


class NumpyMenu:
    """Evaluates the algorithms it can express; ``names`` says which."""

    def __init__(self, menu: Menu) -> None:
        self._menu = menu
        self._can = [_expressible(condition) for condition in menu.conditions]
        self.algorithms = [a for a in menu.algorithms if self._covers(a.tree)]
        self.names = [algorithm.name for algorithm in self.algorithms]

    def _covers(self, node: Leaf | Operation) -> bool:
        if isinstance(node, Leaf):
            return self._can[node.condition]
        return all(self._covers(operand) for operand in node.operands)

    def decide(self, block: Block, algorithms: Sequence[Algorithm] | None = None) -> Array:
        """Decision words uint64 (n, 8), bits of ``algorithms`` (default: all it can)."""
        view = View(block)
        truth: dict[int, Bool] = {}

        def value(node: Leaf | Operation) -> Bool:
            if isinstance(node, Leaf):
                if node.condition not in truth:
                    condition = self._menu.conditions[node.condition]
                    truth[node.condition] = _condition(view, condition)
                return truth[node.condition]
            parts = [value(operand) for operand in node.operands]
            if node.operator == "NOT":
                return ~parts[0]
            join = {"AND": np.logical_and, "OR": np.logical_or, "XOR": np.logical_xor}
            out: Bool = join[node.operator].reduce(parts)
            return out

        words = np.zeros((len(block), 8), np.uint64)
        for algorithm in self.algorithms if algorithms is None else algorithms:
            word, bit = divmod(algorithm.index, 64)
            words[:, word] |= value(algorithm.tree).astype(np.uint64) << np.uint64(bit)
        return words


def _expressible(condition: Condition) -> bool:
    objects = [requirement.object for requirement in condition.requirements]
    known = all(n in LISTS or n in VALUES or n in SHOWER_SLOT or n == "EXT" for n in objects)
    near = all(requirement.bx_offset == 0 for requirement in condition.requirements)
    placed = all(r.object != "EXT" or r.signal_bit is not None for r in condition.requirements)
    return known and near and placed and {kind for kind, _ in condition.cuts} <= _CUTS


def _condition(view: View, condition: Condition) -> Bool:
    needs = condition.requirements
    first = needs[0]
    if first.object not in LISTS:
        return _single_value(view.block, first)
    if len({LISTS[need.object].table for need in needs}) and all(
        not len(view.block.tables[LISTS[need.object].table]) for need in needs
    ):
        return np.zeros(len(view.block), bool)
    sets = [view.passing(need) for need in needs]
    plain = not condition.cuts and condition.charge_correlation is None
    alive = _assignable(sets, needs)
    if plain:
        return alive
    out = np.zeros(len(view.block), bool)
    rows = np.flatnonzero(alive)
    if len(rows):
        out[rows] = _correlated(view, condition, rows, [found[rows] for found in sets])
    return out


def _single_value(block: Block, need: Requirement) -> Bool:
    n = len(block)
    if need.object == "EXT":
        word, bit = divmod(need.signal_bit or 0, 64)
        is_on: Bool = (block.crossing["ext"][:, word] >> np.uint64(bit)) & np.uint64(1) == 1
        return is_on
    if need.object in SHOWER_SLOT:
        showers: Bool = (block.crossing["shower"] >> SHOWER_SLOT[need.object]) & 1 == 1
        return showers
    sums = block.tables["sums"]
    values = np.full(n, -1, np.int64)
    values[np.flatnonzero(sums.counts())] = sums[VALUES[need.object][0]]
    if need.object.startswith("CENT"):
        cent: Bool = (values >= 0) & ((values >> int(need.object[4:]) % 4) & 1 == 1)
        return cent
    passes: Bool = values == need.threshold if need.comparison == "eq" else (
        values >= need.threshold
    )  # fmt: skip
    return passes & (values >= 0)


def _assignable(sets: list[Array], needs: Sequence[Requirement]) -> Bool:
    """Hall's theorem, for each object type: any k legs together have at least k objects."""
    alive = np.ones(len(sets[0]), bool)
    for _, members in _by_type(needs).items():
        for size in range(1, len(members) + 1):
            for chosen in itertools.combinations(members, size):
                union = np.bitwise_or.reduce([sets[k] for k in chosen])
                alive &= _POPCOUNT[union] >= size
    return alive


def _by_type(needs: Sequence[Requirement]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for k, need in enumerate(needs):
        groups.setdefault(need.object, []).append(k)
    return groups


def _correlated(view: View, condition: Condition, rows: Array, sets: list[Array]) -> Bool:
    """Conditions with cuts between objects, for the crossings ``rows``."""
    needs = condition.requirements
    good = [((found[:, None] >> np.arange(SLOTS)) & 1).astype(bool) for found in sets]
    if not condition.kind.endswith("_orm"):
        return _combination(view, condition, rows, good, needs)
    reference = len(needs) - 1
    windows = {kind: limits for kind, limits in condition.cuts if kind.startswith("ORM")}
    near = {
        need.object: _near(view, rows, need.object, needs[reference].object, windows)
        for need in needs[:reference]
    }
    out = np.zeros(len(rows), bool)
    for slot in range(SLOTS):
        here = good[reference][:, slot] & ~out
        if not here.any():
            continue
        free = [g & ~near[n.object][:, :, slot] for g, n in zip(good, needs, strict=True)
                if n is not needs[reference]]  # fmt: skip
        for mask, need in zip(free, needs, strict=False):
            if need.object == needs[reference].object:
                mask[:, slot] = False
        leading = needs[:reference]
        if reference == 1 and condition.kind != "comb_orm":
            only = np.zeros_like(good[reference])
            only[:, slot] = True
            free.append(only)
            leading = needs
        at = np.flatnonzero(here)
        masks = [mask[at] for mask in free]
        out[at] = _combination(view, condition, rows[at], masks, leading)
    return out


def _near(view: View, rows: Array, first: str, second: str, windows: dict[Any, Limits]) -> Bool:
    """(rows, SLOTS, SLOTS): inside all overlap windows."""
    pair = Pair(view, rows, first, second)
    out = np.ones(pair.dphi.shape, bool)
    for kind, limits in windows.items():
        out &= pair.inside(kind.removeprefix("ORM"), limits)
    return out


def _combination(
    view: View, condition: Condition, rows: Array, good: list[Bool], needs: Sequence[Requirement]
) -> Bool:
    """Some choice of different objects passes charge and correlation cuts."""
    cuts = [(kind, limits) for kind, limits in condition.cuts if not kind.startswith("ORM")]
    kind = condition.kind.removesuffix("_orm")
    if kind in ("single", "comb"):
        if condition.charge_correlation is None:
            weights = (1 << np.arange(SLOTS)).astype(np.uint16)
            return _assignable([(g * weights).sum(1, dtype=np.uint16) for g in good], needs)
        return _charged(view, condition, rows, good)
    if kind == "mass_inv_3":
        return _triple(view, condition, rows, good, needs)
    pair = Pair(view, rows, needs[0].object, needs[1].object)
    passes = good[0][:, :, None] & good[1][:, None, :]
    if needs[0].object == needs[1].object:
        passes = passes & (~np.eye(SLOTS, dtype=bool))
    for name, limits in cuts:
        passes = passes & pair.inside(name, limits, transverse=kind == "mass_trv")
    if condition.charge_correlation is not None:
        valid = view.field("MU", "hw_charge_valid")[rows] == 1
        sign = view.field("MU", "hw_sign")[rows]
        like = sign[:, :, None] == sign[:, None, :]
        passes = passes & (valid[:, :, None] & valid[:, None, :])
        passes = passes & (like if condition.charge_correlation == "ls" else ~like)
    result: Bool = np.asarray(passes.any(axis=(1, 2)), bool)
    return result


def _choices(legs: int, slots: int) -> Array:
    """(choices, legs): every ordered choice of different slots."""
    return np.array(list(itertools.permutations(range(slots), legs)))


def _chosen(good: list[Bool], choices: Array) -> Bool:
    out = good[0][:, choices[:, 0]]
    for leg in range(1, len(good)):
        out = out & good[leg][:, choices[:, leg]]
    return out


def _charged(view: View, condition: Condition, rows: Array, good: list[Bool]) -> Bool:
    choices = _choices(len(good), 8)
    passes = _chosen(good, choices) & _charge(view, condition, rows, choices)
    result: Bool = np.asarray(passes.any(axis=1), bool)
    return result


def _charge(view: View, condition: Condition, rows: Array, choices: Array) -> Bool:
    valid = (view.field("MU", "hw_charge_valid")[rows] == 1)[:, choices].all(axis=2)
    negative = view.field("MU", "hw_sign")[rows][:, choices].sum(axis=2)
    equal = (negative == 0) | (negative == choices.shape[1])
    result: Bool = valid & (equal if condition.charge_correlation == "ls" else ~equal)
    return result


def _triple(
    view: View, condition: Condition, rows: Array, good: list[Bool], needs: Sequence[Requirement]
) -> Bool:
    """Three objects of one type; the three masses are added."""
    choices = _choices(3, 8 if needs[0].object == "MU" else SLOTS)
    pair = Pair(view, rows, needs[0].object, needs[0].object)
    mass = pair.mass()
    a, b, c = choices.T
    total = mass[:, a, b] + mass[:, a, c] + mass[:, b, c]
    passes = _chosen(good, choices)
    for _, limits in condition.cuts:
        passes = passes & (between(total, limits, 2 + pair.digits))
    if condition.charge_correlation is not None:
        passes = passes & (_charge(view, condition, rows, choices))
    result: Bool = np.asarray(passes.any(axis=1), bool)
    return result
