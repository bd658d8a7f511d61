"""Random menus of every kind of condition, by Hypothesis or from a seed.

Limits of correlation cuts often equal the value of a pair that can really occur, so that an end
that is exclusive by mistake, or a rounding the other way, changes decisions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Literal, TypeVar

from hypothesis import strategies as st

from scout40.emulator.ugt import model
from tests.emulator.ugt.slow_pair import pair
from tests.emulator.ugt.strategies import SLOTS, Choice, Drawn, an_object

T = TypeVar("T")
Operator = Literal["NOT", "AND", "OR", "XOR"]
LISTS = {"MU": "mu", "EG": "eg", "TAU": "tau", "JET": "jet"}
VECTORS = ("ETM", "HTM", "ETMHF", "HTMHF")
SCALARS = (
    "ETT", "ETTEM", "HTT", "TOWERCOUNT", "ASYMET", "ASYMHT", "ASYMETHF", "ASYMHTHF",
    "MBT0HFP", "MBT0HFM", "MBT1HFP", "MBT1HFM",
)  # fmt: skip
FLAGS = (*(f"CENT{i}" for i in range(8)), "MUS0", "MUS1", "MUS2", "MUSOOT0", "MUSOOT1")
KINDS: tuple[model.Kind, ...] = (
    "single", "comb", "dist", "mass_inv", "mass_inv_3", "mass_inv_upt", "mass_inv_dr",
    "mass_trv", "comb_orm", "dist_orm", "mass_inv_orm", "mass_trv_orm",
)  # fmt: skip


def windows(choice: Choice, low: int, high: int, most: int, wrap: bool = False) -> Any:
    """Up to `most` windows, wide rather than narrow; none in two cases of three."""
    out = []
    for _ in range(choice.integer(1, most) if choice.integer(0, 2) == 0 else 0):
        a, b = choice.integer(low, high), choice.integer(low, high)
        out.append(model.Window(a, b) if wrap else model.Window(min(a, b), max(a, b)))
    return tuple(out)


def a_requirement(choice: Choice, kind: str, bx_offset: int = 0) -> model.Requirement:
    """Cuts that objects often pass; each cut is there in one case of three or less."""
    name = LISTS.get(kind)
    if name is None:
        return model.Requirement(
            object=kind,
            bx_offset=bx_offset,
            threshold=choice.pick((1, 1, 20, 300)),
            phi=windows(choice, 0, 143, 2, wrap=True),
        )

    def rarely(value: Callable[[], T]) -> T | None:
        return value() if choice.integer(0, 4) == 0 else None

    muon, exact = kind == "MU", choice.integer(0, 15) == 0
    slots = windows(choice, 0, SLOTS[name] - 1, 1) if choice.integer(0, 2) == 0 else ()
    upt = windows(choice, 0, 255, 1) if muon else ()
    phi, eta = (575, 225) if muon else (143, 115)
    return model.Requirement(
        object=kind,
        bx_offset=bx_offset,
        threshold=choice.pick((1, 1, 1, 5, 9, 20, 41, 511)),
        comparison="eq" if exact else "ge",
        eta=windows(choice, -eta, eta, 5),
        phi=windows(choice, 0, phi, 2, wrap=True),
        index=windows(choice, 0, 107, 5) if muon else (),
        upt=upt[0] if upt else None,
        slice=slots[0] if slots else None,
        quality=rarely(lambda: choice.pick((0xF000, 0xFF00, 0xFFF0, 0x8001))) if muon else None,
        isolation=None if kind == "JET" else rarely(lambda: choice.pick((0xA, 0xC, 0xE, 1))),
        impact_parameter=rarely(lambda: choice.pick((0x0E, 1))) if muon else None,
        charge=rarely(lambda: choice.pick(("positive", "negative"))) if muon else None,
        displaced=rarely(lambda: True) if kind == "JET" else None,
    )


def a_limit(choice: Choice, cut: str, kinds: Sequence[str], kind: model.Kind) -> model.Limits:
    """Limits of a cut, one or both at the exact value of a random pair of such objects."""
    ends = [exact_value(choice, cut, kinds, kind) for _ in range(2)]
    if choice.integer(0, 1):
        ends[choice.integer(0, 1)] = choice.pick((Decimal(0), Decimal(10) ** 9))
    return model.Limits(min(ends), max(ends))


def exact_value(choice: Choice, cut: str, kinds: Sequence[str], kind: model.Kind) -> Decimal:
    """The decimal value of the cut's quantity for one random pair."""
    things = []
    for name in kinds:
        if name in LISTS:
            thing = an_object(LISTS[name], choice)
        else:
            thing = {"hw_et": choice.integer(0, 300), "hw_phi": choice.integer(0, 143)}
        things.append((name, thing))
    numbers = pair(*things[0], *things[1])
    digits = numbers["digits"] or 3
    quantity, shift = {
        "DETA": ("deta", 3),
        "DPHI": ("dphi", 3),
        "DR": ("dr2", 6),
        "MASS": ("mass", 2 + digits),
        "MASSUPT": ("mass_upt", 2 + digits),
        "MASSDR": ("mass_dr", 7 + digits),
        "TBPT": ("tbpt", 2 + 2 * digits),
    }[cut.removeprefix("ORM")]
    if cut == "MASS" and kind.startswith("mass_trv"):
        quantity = "mass_trv"
    value = Decimal(numbers[quantity] or 0).scaleb(-shift)
    return max(value, Decimal(0)) * (3 if kind == "mass_inv_3" else 1)


def a_condition(choice: Choice, kind: model.Kind, number: int, offsets: bool) -> model.Condition:
    """One condition of the given kind."""
    if kind == "single":
        return model.Condition(f"c{number}", kind, (a_single(choice, offsets),))
    objects, base = objects_for(choice, kind), kind.removesuffix("_orm")
    shift = choice.integer(-2, 2) if offsets and choice.integer(0, 3) == 0 else 0
    apart = shift and base in ("dist", "mass_inv", "mass_trv") and kind == base
    needs = tuple(
        a_requirement(choice, name, 0 if apart and i == 0 else shift)
        for i, name in enumerate(objects)
    )
    lead = objects[:-1] if kind.endswith("_orm") else objects
    partners = objects if len(lead) == 1 else lead
    charge: Any = None
    if set(objects) == {"MU"} and choice.integer(0, 1):
        charge = choice.pick(("os", "ls"))
    return model.Condition(
        f"c{number}", kind, needs, tuple(cuts_for(choice, kind, lead, partners, objects)), charge
    )


def objects_for(choice: Choice, kind: model.Kind) -> list[str]:
    """Object types of a condition; the reference of overlap removal is of another type."""
    first = choice.pick(("MU", "MU", "EG", "TAU", "JET"))
    base = kind.removesuffix("_orm")
    if base == "mass_inv_upt":
        first = "MU"
    if base == "comb":
        count = choice.pick((1, 2, 2, 3) if kind != base else (2, 2, 3, 4, 5, 6))
        leads = [first] * count
    elif base in ("mass_inv_3", "mass_inv_upt", "mass_inv_dr"):
        leads = [first] * (3 if base == "mass_inv_3" else 2)
    elif kind != base:
        leads = [first] * choice.integer(1, 2)
    else:
        others = ("MU", "EG", "TAU", "JET", *(VECTORS if base != "mass_inv" else ()))
        leads = [first, choice.pick((first, *others))]
    if kind != base:
        leads.append(choice.pick([name for name in LISTS if name != first]))
    return leads


def cuts_for(
    choice: Choice, kind: model.Kind, lead: Any, partners: Any, objects: Any
) -> list[tuple[model.CutKind, model.Limits]]:
    """The cuts that the kind needs, and sometimes another."""
    base = kind.removesuffix("_orm")
    own: dict[str, tuple[model.CutKind, ...]] = {
        "comb": ("TBPT",) if len(partners) == 2 and choice.integer(0, 1) else (),
        "dist": ("DETA", "DPHI", "DR"),
        "mass_inv": ("MASS", "DETA", "DPHI", "DR", "TBPT"),
        "mass_inv_3": ("MASS",),
        "mass_inv_upt": ("MASSUPT", "DR"),
        "mass_inv_dr": ("MASSDR", "DETA"),
        "mass_trv": ("MASS", "DPHI", "TBPT"),
    }
    mass = ("MASS", "MASSUPT", "MASSDR")
    names: list[model.CutKind] = [name for name in own[base] if name in mass]
    names += [name for name in own[base] if name not in names and choice.integer(0, 1)]
    if any(name in VECTORS for name in partners):
        names = [name for name in names if name not in ("DETA", "DR")] or ["DPHI"]
    if base == "dist" and not names:
        names = ["DPHI"]
    out = [(name, a_limit(choice, name, partners[:2], kind)) for name in names]
    if kind != base:
        orm: list[model.CutKind] = [choice.pick(("ORMDR", "ORMDR", "ORMDETA", "ORMDPHI"))]
        if choice.integer(0, 3) == 0:
            orm.append("ORMDETA" if orm[0] != "ORMDETA" else "ORMDPHI")
        out += [(name, a_limit(choice, name, (lead[0], objects[-1]), kind)) for name in orm]
    return out


def a_single(choice: Choice, offsets: bool) -> model.Requirement:
    """One object, sum, count, flag or external signal; rarely one that needs a network."""
    shift = choice.integer(-2, 2) if offsets and choice.integer(0, 2) == 0 else 0
    which = choice.integer(0, 15)
    if which < 7:
        return a_requirement(choice, choice.pick((*LISTS, *VECTORS)), shift)
    if which < 10:
        threshold, exact = choice.pick((1, 3, 15, 100, 255, 4095)), choice.integer(0, 2) == 2
        kind = choice.pick(SCALARS)
        return model.Requirement(kind, shift, threshold, "eq" if exact else "ge")
    if which < 13:
        return model.Requirement(choice.pick(FLAGS), shift)
    if which < 15:
        bit = choice.pick((0, 63, 64, 127, 128, 255, choice.integer(0, 255), None))
        return model.Requirement("EXT", shift, signal=f"signal_{bit}", signal_bit=bit)
    return model.Requirement(choice.pick(("AXO", "TOPO", "CICADA", "ADT", "ZDCP", "ZDCM")), shift)


def a_tree(choice: Choice, conditions: int, depth: int = 2) -> model.Leaf | model.Operation:
    """A boolean expression over the conditions."""
    if depth == 0 or choice.integer(0, 2) == 0:
        return model.Leaf(choice.integer(0, conditions - 1))
    operators: tuple[Operator, ...] = ("NOT", "AND", "OR", "XOR")
    operator = choice.pick(operators)
    count = 1 if operator == "NOT" else choice.integer(2, 3)
    return model.Operation(
        operator, tuple(a_tree(choice, conditions, depth - 1) for _ in range(count))
    )


def a_menu(choice: Choice, conditions: int, offsets: bool = False) -> model.Menu:
    """Every condition alone as an algorithm, and half as many expressions of several."""
    drawn = [a_condition(choice, choice.pick(KINDS), i, offsets) for i in range(conditions)]
    trees: list[model.Leaf | model.Operation] = [model.Leaf(i) for i in range(conditions)]
    trees += [a_tree(choice, conditions) for _ in range((conditions + 1) // 2)]
    indices = sorted({choice.integer(0, 511) for _ in trees})
    algorithms = tuple(
        model.Algorithm(index, f"L1_A{index}", "", tree)
        for index, tree in zip(indices, trees, strict=False)
    )
    return model.Menu("random", algorithms, tuple(drawn))


@st.composite
def menus(draw: Callable[..., Any], conditions: int = 4, offsets: bool = False) -> model.Menu:
    """Small menus that shrink."""
    return a_menu(Drawn(draw), draw(st.integers(1, conditions)), offsets)
