"""Rates, errors and overlaps of a menu as Arrow tables.

Fractions are of the crossings evaluated; a rate is the fraction times the number of colliding
bunches times the revolution frequency, so the crossings should be the colliding ones. Errors are
half the width of the Wilson score interval at one standard deviation, which tends to
sqrt(p (1 - p) / n) and is not 0 for counts of 0 or n. An algorithm that was not evaluated has
nulls, never zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from scout40.emulator.ugt.bits import N_ALGORITHMS
from scout40.emulator.ugt.model import Menu
from scout40.emulator.ugt.prescaler import FACTOR_ONE, Factors, checked_factors
from scout40.emulator.ugt.rates import RateCounter
from scout40.streams.block import ORBIT_BX, ORBIT_HZ
from scout40.streams.errors import BadConfig

Floats = npt.NDArray[np.float64]

_ERROR = "error of the column before: half the Wilson interval, 1 standard deviation"
_STAGES = {
    "initial": "before mask and prescale",
    "prescaled": "after BX mask and prescale",
    "accepted": "after prescale, in crossings accepted by the trigger rules",
    "pure": "accepted crossings (before rules) in which it alone fired in FinOR",
}


def wilson_error(count: npt.ArrayLike, total: int) -> Floats:
    """Half the width of the Wilson score interval (z = 1) of count / total; NaN for total 0."""
    counts = np.asarray(count, np.float64)
    if total == 0:
        return np.full(counts.shape, np.nan)
    p = counts / total
    return np.asarray(np.sqrt(p * (1 - p) / total + 0.25 / total**2) / (1 + 1 / total))


def rate_table(
    counter: RateCounter, menu: Menu, n_bunches: int, factors: Factors | None = None
) -> pa.Table:
    """One row per algorithm of the menu: counts, fractions and rates with errors.

    n_bunches: colliding bunches per orbit, 1..3564.
    factors: uint32 (512,), 100 times the prescale, when one column was used throughout.
    """
    khz = _khz_per_fraction(n_bunches)
    index = np.array([algorithm.index for algorithm in menu.algorithms], np.int64)
    known = counter.evaluated[index]
    ruled = counter.crossings > 0 and counter.ruled == counter.crossings
    table = _Columns(len(index))
    table.add("index", index.astype(np.uint16), "1", "algorithm bit 0..511")
    table.add("name", [algorithm.name for algorithm in menu.algorithms], "", "algorithm name")
    table.add("evaluated", known, "", "false: needs what the data or scout40 lacks; nulls follow")
    scale = np.zeros(N_ALGORITHMS) if factors is None else checked_factors(factors) / FACTOR_ONE
    table.add("prescale", scale[index], "1", "prescale, 0 = off", known=factors is not None)
    counts = {
        "initial": counter.initial[index],
        "prescaled": counter.prescaled[index],
        "accepted": counter.accepted_bits[index],
        "pure": counter.pure[index],
    }
    there = {stage: known & (ruled or stage != "accepted") for stage in counts}
    for stage, count in counts.items():
        table.add(f"count_{stage}", count, "1", f"crossings, {_STAGES[stage]}", there[stage])
    seen = there if counter.crossings else dict.fromkeys(there, np.zeros_like(known))
    total = max(counter.crossings, 1)
    for unit, factor in (("fraction", 1.0), ("rate", khz)):
        for stage, count in counts.items():
            name = f"fraction_{stage}" if unit == "fraction" else f"rate_{stage}_khz"
            label = "1" if unit == "fraction" else "kHz"
            error = wilson_error(count, total)
            table.add(name, factor * count / total, label, _STAGES[stage], seen[stage])
            table.add(f"{name}_error", factor * error, label, _ERROR, seen[stage])
    share = counter.shared()[index] / total
    spread = np.sqrt(np.maximum(counter.shared(2)[index] / total - share**2, 0) / total)
    described = "each accepted crossing (before rules) shared equally among its FinOR algorithms"
    table.add("rate_proportional_khz", khz * share, "kHz", described, seen["pure"])
    table.add(
        "rate_proportional_khz_error",
        khz * spread,
        "kHz",
        "standard error of the mean share",
        seen["pure"],
    )
    return table.build(_metadata(counter, menu, n_bunches))


def totals_table(counter: RateCounter, menu: Menu, n_bunches: int) -> pa.Table:
    """The whole menu: one row each for FinOR, veto, accepts before and after the rules."""
    khz = _khz_per_fraction(n_bunches)
    ruled = counter.crossings > 0 and counter.ruled == counter.crossings
    count = np.array(
        [counter.finor, counter.vetoed, counter.accepted, counter.ruled_accepted], np.int64
    )
    known = np.array([True, True, True, ruled])
    seen = known & (counter.crossings > 0)
    total = max(counter.crossings, 1)
    error = wilson_error(count, total)
    table = _Columns(len(count))
    table.add("stage", ["finor", "veto", "accepted", "after_rules"], "", "decision")
    table.add("count", count, "1", "crossings", known)
    table.add("fraction", count / total, "1", "of the crossings evaluated", seen)
    table.add("fraction_error", error, "1", _ERROR, seen)
    table.add("rate_khz", khz * count / total, "kHz", "rate", seen)
    table.add("rate_khz_error", khz * error, "kHz", _ERROR, seen)
    return table.build(_metadata(counter, menu, n_bunches))


def overlap_table(counter: RateCounter, menu: Menu) -> pa.Table:
    """One row per pair of algorithms, first <= second by index; the diagonal is the own count."""
    index = np.array([algorithm.index for algorithm in menu.algorithms], np.int64)
    names = np.array([algorithm.name for algorithm in menu.algorithms], object)
    first, second = np.triu_indices(len(index))
    known = counter.evaluated[index[first]] & counter.evaluated[index[second]]
    full = counter.full_overlap()
    both = full[index[first], index[second]]
    own_first, own_second = counter.prescaled[index[first]], counter.prescaled[index[second]]
    table = _Columns(len(first))
    for label, place in (("first", first), ("second", second)):
        table.add(f"{label}_index", index[place].astype(np.uint16), "1", "algorithm bit 0..511")
        coded = pa.DictionaryArray.from_arrays(pa.array(place.astype(np.int16)), list(names))
        table.add(f"{label}_name", coded, "", "algorithm name")
    table.add("count", both, "1", "crossings with both set after prescale", known)
    for label, own in (("first", own_first), ("second", own_second)):
        table.add(
            f"fraction_of_{label}",
            both / np.maximum(own, 1),
            "1",
            f"part of the {label} algorithm's crossings in which both are set",
            known & (own > 0),
        )
    metadata = {"menu": menu.name, "menu_digest": menu.digest, "crossings": str(counter.crossings)}
    return table.build(metadata)


def _khz_per_fraction(n_bunches: int) -> float:
    if not 1 <= n_bunches <= ORBIT_BX:
        raise BadConfig(f"colliding bunches: {n_bunches}, expected 1..{ORBIT_BX}")
    return n_bunches * ORBIT_HZ / 1000


def _metadata(counter: RateCounter, menu: Menu, n_bunches: int) -> dict[str, str]:
    return {
        "menu": menu.name,
        "menu_digest": menu.digest,
        "crossings": str(counter.crossings),
        "n_bunches": str(n_bunches),
        "orbit_hz": str(ORBIT_HZ),
        "trigger_rules": "applied" if counter.ruled == counter.crossings else "not applied",
    }


class _Columns:
    """Collects columns with their unit and description."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._arrays: list[Any] = []
        self._fields: list[Any] = []

    def add(
        self,
        name: str,
        values: Any,
        unit: str,
        description: str,
        known: npt.NDArray[np.bool_] | bool = True,
    ) -> None:
        """One column; rows that are not ``known`` become null."""
        if isinstance(values, np.ndarray):
            mask = ~np.broadcast_to(np.asarray(known, np.bool_), (self._rows,))
            values = pa.array(values, mask=mask)
        else:
            values = values if isinstance(values, pa.Array) else pa.array(values, pa.string())
        metadata = {"description": description} | ({"unit": unit} if unit else {})
        self._arrays.append(values)
        self._fields.append(pa.field(name, values.type, metadata=metadata))

    def build(self, metadata: dict[str, str]) -> pa.Table:
        return pa.Table.from_arrays(self._arrays, schema=pa.schema(self._fields, metadata=metadata))
