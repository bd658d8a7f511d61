"""What one leg (object requirement) of a condition accepts, as tables over raw field values."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.emulator.ugt.model import Requirement, Window
from scout40.emulator.ugt.objects import LISTS, ObjectList
from scout40.emulator.ugt.pairs import MAX_OBJECTS
from scout40.streams.errors import BadConfig
from scout40.streams.layout import Bits

Accept = npt.NDArray[np.bool_]


def accepted(requirement: Requirement) -> dict[str, Accept]:
    """Cut name -> bool table over the raw value of its field; cuts that accept all are absent.

    ``slot`` is the place in the list. Raises BadConfig for a cut that the type has no field for.
    """
    kind = LISTS[requirement.object]
    tables = {"pt": _threshold(requirement, kind)}
    for cut in ("eta", "phi", "index"):
        windows: tuple[Window, ...] = getattr(requirement, cut)
        if windows:
            tables[cut] = _windows(windows, _field(kind, requirement, cut), wraps=cut == "phi")
    if requirement.upt is not None:
        tables["upt"] = _windows((requirement.upt,), _field(kind, requirement, "upt"))
    for cut in ("quality", "isolation", "impact_parameter"):
        mask: int | None = getattr(requirement, cut)
        if mask is not None:
            codes = 1 << _field(kind, requirement, cut).width
            tables[cut] = np.array([bool(mask >> code & 1) for code in range(codes)])
    if requirement.charge is not None:
        _field(kind, requirement, "charge")
        wanted = 0b10 if requirement.charge == "positive" else 0b11
        tables["charge"] = np.arange(4) == wanted
    if requirement.displaced is not None:
        _field(kind, requirement, "displaced")
        tables["displaced"] = np.arange(2) == int(requirement.displaced)
    if requirement.slice is not None:
        slots = np.arange(MAX_OBJECTS)
        low, high = requirement.slice.lower, requirement.slice.upper
        tables["slot"] = (low <= slots) & (slots <= high)
    return {cut: table for cut, table in tables.items() if not table.all()}


def contains(outer: dict[str, Accept], inner: dict[str, Accept]) -> bool:
    """True when every object that ``inner`` accepts is accepted by ``outer``."""
    for cut, table in outer.items():
        if cut not in inner or np.any(inner[cut] & ~table):
            return False
    return True


def nested(legs: list[dict[str, Accept]]) -> list[int] | None:
    """An order in which each leg is contained in the next, or None.

    Then objects can be given to the legs exactly if leg k (from 0) has more than k objects.
    """

    def width(leg: dict[str, Accept]) -> tuple[float, ...]:
        shares: Iterable[float] = (float(table.mean()) for table in leg.values())
        return (float(np.prod(list(shares) or [1.0])),)

    order = sorted(range(len(legs)), key=lambda k: width(legs[k]))
    for first, second in pairwise(order):
        if not contains(legs[second], legs[first]):
            return None
    return order


def _field(kind: ObjectList, requirement: Requirement, cut: str) -> Bits:
    if cut not in kind.fields:
        raise BadConfig(f"{requirement.object} has no field for a cut on {cut}")
    return kind.fields[cut]


def _threshold(requirement: Requirement, kind: ObjectList) -> Accept:
    codes = np.arange(1 << kind.fields["pt"].width)
    exact = requirement.comparison == "eq"
    passes: Accept = codes == requirement.threshold if exact else codes >= requirement.threshold
    if not kind.zero_exists:
        passes[0] = False
    return passes


def _windows(windows: tuple[Window, ...], bits: Bits, wraps: bool = False) -> Accept:
    codes: npt.NDArray[Any] = np.arange(1 << bits.width)
    values = np.where(codes > bits.limit, codes - (1 << bits.width), codes)
    passes = np.zeros(len(codes), bool)
    for window in windows:
        low, high = _signed(window.lower, bits), _signed(window.upper, bits)
        if wraps and low > high:
            passes |= (values >= low) | (values <= high)
        else:
            passes |= (low <= values) & (values <= high)
    return passes


def _signed(value: int, bits: Bits) -> int:
    """Menus print signed limits as raw codes; 0x1b7 in 9 bits is -73."""
    return value - (1 << bits.width) if bits.signed and value > bits.limit else value
