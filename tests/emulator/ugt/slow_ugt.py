"""A slow global trigger: one crossing, one object, one Python integer at a time.

It exists to disagree with the production code. It shares nothing with it but the menu's values
(model.py): no table, no kernel, no mask. Written from the description of the trigger logic,
not from the code it checks.

A crossing is a dict: "mu", "eg", "tau", "jet" -> list of objects in slot order, each a dict of
ints named as the columns of the tables; "sums" -> dict of ints; "ext" -> int of 256 bits;
"shower" -> int, bit k = bit 61 of muon slot k. A missing key means that the input has no such data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from scout40.emulator.ugt import model
from scout40.streams.block import ORBIT_BX, Block
from tests.emulator.ugt.slow_pair import Object, pair

Crossing = Mapping[str, Any]
Neighbours = Callable[[int], Crossing]

LISTS = {"MU": "mu", "EG": "eg", "TAU": "tau", "JET": "jet"}
VECTORS = {"ETM": "hw_etm", "HTM": "hw_htm", "ETMHF": "hw_etmhf", "HTMHF": "hw_htmhf"}
SCALARS = {
    "ETT": "hw_ett",
    "ETTEM": "hw_ettem",
    "HTT": "hw_htt",
    "TOWERCOUNT": "hw_tower_count",
    "ASYMET": "hw_asymet",
    "ASYMHT": "hw_asymht",
    "ASYMETHF": "hw_asymethf",
    "ASYMHTHF": "hw_asymhthf",
    "MBT0HFP": "hw_mbt0hfp",
    "MBT0HFM": "hw_mbt0hfm",
    "MBT1HFP": "hw_mbt1hfp",
    "MBT1HFM": "hw_mbt1hfm",
}
SHOWER_SLOT = {"MUS0": 0, "MUS1": 2, "MUS2": 3, "MUSOOT0": 4, "MUSOOT1": 6}
NO_DATA = {"AXO", "TOPO", "CICADA", "ADT", "ZDCP", "ZDCM"}
OVERLAP = {"ORMDETA": "deta", "ORMDPHI": "dphi", "ORMDR": "dr2"}

QUANTITY: dict[str, tuple[str, Callable[[int], int]]] = {
    # cut -> (integer of `pair`, decimal digits of its unit)
    "DETA": ("deta", lambda digits: 3),
    "DPHI": ("dphi", lambda digits: 3),
    "DR": ("dr2", lambda digits: 6),
    "MASSUPT": ("mass_upt", lambda digits: 2 + digits),
    "MASSDR": ("mass_dr", lambda digits: 2 + digits + 5),
    "TBPT": ("tbpt", lambda digits: 2 + 2 * digits),
    "ORMDETA": ("deta", lambda digits: 3),
    "ORMDPHI": ("dphi", lambda digits: 3),
    "ORMDR": ("dr2", lambda digits: 6),
}


def inside(value: int | None, limits: model.Limits, digits: int) -> bool:
    """Both ends inclusive, exact decimals."""
    if value is None:
        return False
    exact = Decimal(value).scaleb(-digits)
    return limits.minimum <= exact <= limits.maximum


def cut_passes(condition: model.Condition, cut: str, limits: model.Limits, numbers: Any) -> bool:
    """One correlation cut on the integers of one pair."""
    if cut == "MASS":
        name = "mass_trv" if condition.kind.startswith("mass_trv") else "mass"
        return inside(numbers[name], limits, 2 + numbers["digits"])
    name, digits = QUANTITY[cut]
    if cut == "MASSDR":
        # A threshold only; the firmware puts the largest number when it cannot divide.
        exact = Decimal(numbers["mass_dr"]).scaleb(-7 - numbers["digits"])
        return numbers["inverse_dr2"] == 0 or exact >= limits.minimum
    return inside(numbers[name], limits, digits(numbers["digits"]))


# Objects ---------------------------------------------------------------------------------------


def objects_of(kind: str, crossing: Crossing) -> list[tuple[int, Object]]:
    """(slot, object) of the type; empty slots are no objects, a sum is always there."""
    if kind in LISTS:
        pt = "hw_pt" if kind == "MU" else "hw_et"
        return [(slot, o) for slot, o in enumerate(crossing[LISTS[kind]]) if o[pt]]
    name, sums = VECTORS[kind], crossing["sums"]
    return [(0, {"hw_et": sums.get(name, 0), "hw_phi": sums.get(name + "_phi", 0)})]


def in_windows(value: int, windows: Sequence[model.Window], wrap: bool = False) -> bool:
    """Inside any window; no window, no cut."""
    if not windows:
        return True
    return any(
        (value >= w.lower or value <= w.upper)
        if wrap and w.lower > w.upper
        else w.lower <= value <= w.upper
        for w in windows
    )


def bit_set(mask: int | None, value: int) -> bool:
    """Bit `value` of the mask; no mask, no cut."""
    return mask is None or bool(mask >> value & 1)


def object_passes(need: model.Requirement, slot: int, thing: Object) -> bool:
    """All cuts of one requirement on one object."""
    muon = need.object == "MU"
    pt = thing["hw_pt" if muon else "hw_et"]
    if pt != need.threshold if need.comparison == "eq" else pt < need.threshold:
        return False
    if need.slice and not need.slice.lower <= slot <= need.slice.upper:
        return False
    if not in_windows(thing["hw_phi_at_vtx" if muon else "hw_phi"], need.phi, wrap=True):
        return False
    if need.eta and not in_windows(thing["hw_eta_at_vtx" if muon else "hw_eta"], need.eta):
        return False
    if need.isolation is not None and not bit_set(need.isolation, thing["hw_iso"]):
        return False
    if need.displaced is not None and bool(thing["hw_displaced"]) != need.displaced:
        return False
    return not muon or muon_passes(need, thing)


def muon_passes(need: model.Requirement, muon: Object) -> bool:
    """The cuts that only muons know."""
    if need.upt and not need.upt.lower <= muon["hw_pt_unconstrained"] <= need.upt.upper:
        return False
    if not in_windows(muon["tf_muon_index"], need.index):
        return False
    if not bit_set(need.quality, muon["hw_qual"]):
        return False
    if not bit_set(need.impact_parameter, muon["hw_dxy"]):
        return False
    if need.charge is None:
        return True
    return bool(muon["hw_charge_valid"]) and bool(muon["hw_sign"]) == (need.charge == "negative")


def charges_pass(wanted: str | None, muons: Iterable[Object]) -> bool:
    """All charges valid; like sign: all equal; opposite sign: not all equal."""
    if wanted is None:
        return True
    charges = [(m["hw_charge_valid"], m["hw_sign"]) for m in muons]
    if not all(valid for valid, _ in charges):
        return False
    equal = len({sign for _, sign in charges}) == 1
    return equal == (wanted == "ls")


# Conditions ------------------------------------------------------------------------------------


def assignments(
    needs: Sequence[model.Requirement], at: Neighbours
) -> Iterator[list[tuple[str, int, int, Object]]]:
    """Every choice of one passing object per requirement: (type, offset, slot, object).

    Objects of one type in one crossing are taken only once.
    """
    candidates = [
        [
            (need.object, need.bx_offset, slot, thing)
            for slot, thing in objects_of(need.object, at(need.bx_offset))
            if object_passes(need, slot, thing)
        ]
        for need in needs
    ]

    def extend(
        taken: list[tuple[str, int, int, Object]],
    ) -> Iterator[list[tuple[str, int, int, Object]]]:
        if len(taken) == len(candidates):
            yield taken
            return
        for candidate in candidates[len(taken)]:
            if all(candidate[:3] != other[:3] for other in taken):
                yield from extend([*taken, candidate])

    yield from extend([])


def numbers_of(choice: Sequence[tuple[str, int, int, Object]], i: int, j: int) -> Any:
    """Integers of the pair (i, j) of a choice."""
    return pair(choice[i][0], choice[i][3], choice[j][0], choice[j][3])


def correlated(condition: model.Condition, choice: list[tuple[str, int, int, Object]]) -> bool:
    """Charge correlation and correlation cuts of the choice, overlap cuts apart."""
    if not charges_pass(condition.charge_correlation, (c[3] for c in choice)):
        return False
    cuts = [(name, limits) for name, limits in condition.cuts if name not in OVERLAP]
    if not cuts:
        return True
    if condition.kind == "mass_inv_3":
        three = [numbers_of(choice, i, j) for i, j in ((0, 1), (0, 2), (1, 2))]
        total = sum(n["mass"] for n in three)
        return all(inside(total, limits, 2 + three[0]["digits"]) for _, limits in cuts)
    numbers = numbers_of(choice, 0, 1)
    return all(cut_passes(condition, name, limits, numbers) for name, limits in cuts)


def overlaps(condition: model.Condition, lead: Any, reference: Any) -> bool:
    """Any overlap cut holds between the two objects."""
    numbers = pair(lead[0], lead[3], reference[0], reference[3])
    return any(
        cut_passes(condition, name, limits, numbers)
        for name, limits in condition.cuts
        if name in OVERLAP
    )


def evaluate_list(condition: model.Condition, at: Neighbours) -> bool:
    """Conditions on objects: single, comb, dist, mass_*, with or without overlap removal."""
    needs = condition.requirements
    if not condition.kind.endswith("_orm"):
        return any(correlated(condition, choice) for choice in assignments(needs, at))
    for references in assignments(needs[-1:], at):
        for leads in assignments(needs[:-1], at):
            # With a single leading object the reference is the partner in the other cuts.
            partners = leads if len(leads) > 1 else leads + references
            if correlated(condition, partners) and not any(
                overlaps(condition, lead, references[0]) for lead in leads
            ):
                return True
    return False


def evaluate_condition(condition: model.Condition, at: Neighbours) -> bool:
    """One condition; `at(offset)` gives the crossing at that distance."""
    need = condition.requirements[0]
    crossing = at(need.bx_offset)
    if need.object in SCALARS:
        value: int = crossing["sums"].get(SCALARS[need.object], 0)
        return value == need.threshold if need.comparison == "eq" else value >= need.threshold
    if need.object.startswith("CENT"):
        bit, sums = int(need.object[4:]), crossing["sums"]
        nibble = sums.get("hw_cent_low" if bit < 4 else "hw_cent_high", 0)
        return bool(nibble >> (bit % 4) & 1)
    if need.object in SHOWER_SLOT:
        return bool(crossing["shower"] >> SHOWER_SLOT[need.object] & 1)
    if need.object == "EXT":
        return bool(crossing["ext"] >> (need.signal_bit or 0) & 1)
    return evaluate_list(condition, at)


def evaluate_tree(tree: model.Leaf | model.Operation, results: Sequence[bool]) -> bool:
    """Boolean expression over the results of the menu's conditions."""
    if isinstance(tree, model.Leaf):
        return results[tree.condition]
    values = [evaluate_tree(operand, results) for operand in tree.operands]
    if tree.operator == "NOT":
        return not values[0]
    if tree.operator == "XOR":
        return sum(values) % 2 == 1
    return all(values) if tree.operator == "AND" else any(values)


# Menus over blocks -----------------------------------------------------------------------------


def missing(condition: model.Condition, block: Block) -> bool:
    """True when the block's data cannot decide the condition."""
    for need in condition.requirements:
        if need.object in NO_DATA or (need.bx_offset and not block.contiguous):
            return True
        if need.object == "EXT":
            if need.signal_bit is None or "ext" not in block.crossing:
                return True
        elif need.object in SHOWER_SLOT:
            if "shower" not in block.crossing:
                return True
        elif LISTS.get(need.object, "sums") not in block.tables:
            return True
    return False


def leaves(tree: model.Leaf | model.Operation) -> set[int]:
    """Condition numbers of an expression."""
    if isinstance(tree, model.Leaf):
        return {tree.condition}
    return set().union(*(leaves(operand) for operand in tree.operands))


def crossings_of(block: Block) -> list[dict[str, Any]]:
    """The rows of a block as dicts of Python ints."""
    rows: list[dict[str, Any]] = [{} for _ in range(len(block))]
    for name, table in block.tables.items():
        columns = {key: values.tolist() for key, values in table.columns.items()}
        offsets = table.offsets.tolist()
        for row, out in enumerate(rows):
            things = [
                {key: values[i] for key, values in columns.items()}
                for i in range(offsets[row], offsets[row + 1])
            ]
            out[name] = (things[0] if things else {}) if name == "sums" else things
    for row, out in enumerate(rows):
        if "ext" in block.crossing:
            words = block.crossing["ext"][row].tolist()
            out["ext"] = sum(word << 64 * i for i, word in enumerate(words))
        if "shower" in block.crossing:
            out["shower"] = int(block.crossing["shower"][row])
    return rows


def empty_like(block: Block) -> dict[str, Any]:
    """A crossing without objects, with the tables that the block has."""
    out: dict[str, Any] = {name: [] for name in block.tables if name != "sums"}
    return out | {"sums": {}, "ext": 0, "shower": 0}


def decide(menu: model.Menu, block: Block) -> tuple[list[set[int]], set[int]]:
    """(fired algorithm indices per crossing, indices that cannot be evaluated)."""
    absent = {i for i, condition in enumerate(menu.conditions) if missing(condition, block)}
    dark = {a.index for a in menu.algorithms if leaves(a.tree) & absent}
    rows = crossings_of(block)
    times = [o * ORBIT_BX + b for o, b in zip(block.orbit.tolist(), block.bx.tolist(), strict=True)]
    row_at = {time: row for time, row in zip(times, rows, strict=True)}
    nothing = empty_like(block)
    fired = []
    for time, row in zip(times, rows, strict=True):

        def at(offset: int, time: int = time, row: Crossing = row) -> Crossing:
            return row_at.get(time + offset, nothing) if offset else row

        results = [
            i not in absent and evaluate_condition(condition, at)
            for i, condition in enumerate(menu.conditions)
        ]
        fired.append(
            {
                a.index
                for a in menu.algorithms
                if a.index not in dark and evaluate_tree(a.tree, results)
            }
        )
    return fired, dark
