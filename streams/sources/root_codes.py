"""Physical values of ROOT branches back to hardware integers, and flat columns to tables.

Two rules, by what the values are:

nearest
    values that were made from hardware integers (NanoAOD): the code whose physical value, as
    declared by the word, lies nearest. Exact for full floats, and for floats cut to the 12
    mantissa bits that NanoAOD keeps.
floor
    true physical values (offline or generated objects): the bin of the hardware scale that the
    value lies in. Momenta, energies, azimuth and calorimeter eta: the bin starts at code * lsb
    (muon momenta at (code - 1) * lsb); muon eta bins are centred on code * lsb.

Both: above the scale of a momentum or energy the code is the highest one (overflow); NaN,
infinite or negative momenta, azimuth beyond +-2 pi, and integers outside their bits are bad
objects, which are counted and left out. Eta outside the scale: bad under ``nearest``; under
``floor`` such an object is out of the trigger's acceptance and is dropped, which is also counted.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from scout40.streams.block import Table, offsets_of
from scout40.streams.errors import BadInput
from scout40.streams.layout import Bits
from scout40.streams.ledger import Ledger
from scout40.streams.sources.root_file import Column, Ragged

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int64]
Rule = Literal["hardware", "nearest", "floor"]

ACCOUNT = "root_objects"
"""Account of the ledger: objects of all tables that were found in ROOT files."""

MUON_ETA_CODES = 225
CALO_ETA_CODES = (-115, 114)
"""Ends of the uGT eta scales, used under ``floor``: 451 muon bins, 230 calorimeter bins."""


@dataclass
class Tally:
    """Objects of one block: found, kept, and why the others were not."""

    received: int = 0
    out: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)

    def add_to(self, ledger: Ledger) -> None:
        account = ledger[ACCOUNT]
        account.received += self.received
        account.out += self.out
        account.bad.update(self.bad)
        account.dropped.update(self.dropped)


@dataclass(frozen=True)
class Plan:
    """One column of a table: which branch it comes from, and how.

    bits: the declared field, which gives the column's name, range, dtype and scale.
    first: lowest code of an azimuth (trigger towers are counted from 1).
    """

    bits: Bits
    branch: str
    rule: Rule
    first: int = 0

    def codes(self, values: Array) -> tuple[Codes, Mask, Mask]:
        """(codes, bad, outside the acceptance) of the values."""
        if self.rule == "hardware":
            return _integers(self.bits, values)
        kind = self.bits.scale.unit if self.bits.scale is not None else None
        if kind == "rad":
            return _azimuth(self.bits, values, self.rule, self.first)
        if kind == "GeV":
            return _energy(self.bits, values, self.rule)
        if kind == "":
            return _eta(self.bits, values, self.rule)
        raise BadInput(f"field {self.bits.name} has no physical scale", field=self.branch)


def _integers(bits: Bits, values: Array) -> tuple[Codes, Mask, Mask]:
    """Integers of a branch, which may be stored as whole floats."""
    outside = np.zeros(len(values), np.bool_)
    if values.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            bad = ~(np.abs(values) < 2**31) | (np.floor(values) != values)
        codes = np.where(bad, 0, values).astype(np.int64)
    else:
        bad = np.zeros(len(values), np.bool_)
        if values.dtype == np.uint64:
            bad |= values > np.uint64(2**62)
        codes = values.astype(np.int64)
    bad |= (codes < bits.minimum) | (codes > bits.limit)
    return codes, bad, outside


@functools.lru_cache(maxsize=64)
def _scale_of(bits: Bits, first: int = 0) -> tuple[npt.NDArray[np.float64], Codes]:
    """Physical values in rising order and the code of each; azimuth in [0, 2 pi)."""
    codes = np.arange(bits.minimum, bits.limit + 1, dtype=np.int64)
    values = bits.table[codes & bits.mask].astype(np.float64)
    if bits.scale is not None and bits.scale.unit == "rad":
        turn = round(2 * math.pi / bits.scale.lsb)
        inside = (codes >= first) & (codes < first + turn)
        codes, values = codes[inside], values[inside] % (2 * math.pi)
    order = np.argsort(values, kind="stable")
    return values[order], codes[order]


def _nearest(values: npt.NDArray[np.float64], bits: Bits, first: int = 0) -> Codes:
    places, codes = _scale_of(bits, first)
    right = np.clip(np.searchsorted(places, values), 1, len(places) - 1)
    left = right - 1
    closer = np.abs(values - places[left]) <= np.abs(places[right] - values)
    return codes[np.where(closer, left, right)]


def _finite(values: Array) -> tuple[npt.NDArray[np.float64], Mask]:
    wide = values.astype(np.float64)
    bad = ~np.isfinite(wide)
    wide[bad] = 0.0
    return wide, bad


def _energy(bits: Bits, values: Array, rule: Rule) -> tuple[Codes, Mask, Mask]:
    wide, bad = _finite(values)
    lsb = bits.scale.lsb if bits.scale is not None else 1.0
    lowest = float(bits.table[0])
    outside = np.zeros(len(wide), np.bool_)
    if rule == "nearest":
        bad |= wide < lowest - lsb / 2
        return _nearest(wide, bits), bad, outside
    bad |= wide < 0
    highest = float(bits.table[bits.limit])
    codes = np.floor(np.clip(wide, 0.0, highest) / lsb).astype(np.int64) - round(lowest / lsb)
    # A momentum of exactly 0 is the filler of a tree with a fixed number of objects.
    codes[wide == 0] = 0
    return np.minimum(codes, bits.limit), bad, outside


def _azimuth(bits: Bits, values: Array, rule: Rule, first: int) -> tuple[Codes, Mask, Mask]:
    wide, bad = _finite(values)
    bad |= np.abs(wide) > 2 * math.pi + 1e-3
    turned = wide % (2 * math.pi)
    outside = np.zeros(len(wide), np.bool_)
    lsb = bits.scale.lsb if bits.scale is not None else 1.0
    turn = round(2 * math.pi / lsb)
    if rule == "floor":
        codes = np.floor(turned * (turn / (2 * math.pi))).astype(np.int64) % turn
        return codes, bad, outside
    # Just below 2 pi the nearest value may be the first one, at 0.
    places, ordered = _scale_of(bits, first)
    codes = _nearest(turned, bits, first)
    wraps = 2 * math.pi + places[0] - turned < np.abs(turned - places[-1])
    codes[wraps] = ordered[0]
    return codes, bad, outside


def _eta(bits: Bits, values: Array, rule: Rule) -> tuple[Codes, Mask, Mask]:
    wide, bad = _finite(values)
    outside = np.zeros(len(wide), np.bool_)
    lsb = bits.scale.lsb if bits.scale is not None else 1.0
    if rule == "nearest":
        places, _ = _scale_of(bits)
        bad |= (wide < places[0] - lsb / 2) | (wide > places[-1] + lsb / 2)
        return _nearest(wide, bits), bad, outside
    steps = np.clip(wide / lsb, -1e6, 1e6)
    if bits.width == 9:  # muons
        codes = np.floor(steps + 0.5).astype(np.int64)
        outside = np.abs(codes) > MUON_ETA_CODES
    else:
        codes = np.floor(steps).astype(np.int64)
        outside = (codes < CALO_ETA_CODES[0]) | (codes > CALO_ETA_CODES[1])
    return np.clip(codes, bits.minimum, bits.limit), bad, outside


def ragged(column: Column) -> Ragged:
    """A branch with one value per entry as lists of one."""
    if isinstance(column, Ragged):
        return column
    return Ragged(column, np.arange(len(column) + 1, dtype=np.int64))


def same_offsets(columns: Mapping[str, Ragged], file: str) -> npt.NDArray[np.int64]:
    """The offsets that all branches of a table share; BadInput naming one that differs."""
    names = list(columns)
    offsets = columns[names[0]].offsets
    for name in names[1:]:
        if not np.array_equal(columns[name].offsets, offsets):
            entry = int(np.flatnonzero(np.diff(columns[name].offsets) != np.diff(offsets))[0])
            raise BadInput(
                f"another number of objects than {names[0]} (first in row {entry} of the chunk)",
                file=file, field=name,
            )  # fmt: skip
    return offsets


def selected(offsets: npt.NDArray[np.int64], keep: Mask) -> npt.NDArray[np.int32]:
    """Offsets after only the objects of ``keep`` are left."""
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(keep)])
    return offsets_of(np.diff(before[offsets]))


def table_of(
    name: str,
    plans: Sequence[Plan],
    columns: Mapping[str, Column],
    tally: Tally,
    file: str,
    keep: Mask | None = None,
) -> Table:
    """The table of one object type: bad and empty objects left out and counted.

    keep: objects that belong to this table at all; the others are not counted.
    """
    branches = {plan.branch: ragged(columns[plan.branch]) for plan in plans}
    offsets = same_offsets(branches, file)
    total = int(offsets[-1])
    left = np.ones(total, np.bool_) if keep is None else keep.copy()
    tally.received += int(left.sum())
    out = {}
    for plan in plans:
        codes, bad, outside = plan.codes(branches[plan.branch].values)
        _count(tally.bad, f"{name} {plan.bits.name} not usable", left & bad)
        left &= ~bad
        _count(tally.dropped, f"{name} {plan.bits.name} outside the scale", left & outside)
        left &= ~outside
        if plan.bits.name in {"hw_pt", "hw_et"} and name != "tower":
            _count(tally.dropped, f"{name} empty", left & (codes == 0))
            left &= codes != 0
        out[plan.bits.name] = codes
    tally.out += int(left.sum())
    types = {plan.bits.name: plan.bits.dtype for plan in plans}
    kept = {key: codes[left].astype(types[key]) for key, codes in out.items()}
    return Table(kept, selected(offsets, left))


def _count(counter: Counter[str], reason: str, mask: Mask) -> None:
    amount = int(np.count_nonzero(mask))
    if amount:
        counter[reason] += amount


def in_momentum_order(table: Table, key: str, most: int, name: str, tally: Tally) -> Table:
    """Objects of every crossing in falling order of ``key``, at most ``most`` of them.

    The hardware sends its objects so; a stable sort keeps the order of equal ones.
    """
    counts = table.counts()
    rows = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((-table[key].astype(np.int64), rows))
    rank = np.arange(len(rows)) - table.offsets[rows]
    keep = rank < most
    lost = int(len(rows) - keep.sum())
    if lost:
        tally.out -= lost
        tally.dropped[f"{name} beyond the {most} that the hardware sends"] += lost
    columns = {column: values[order][keep] for column, values in table.columns.items()}
    return Table(columns, offsets_of(np.minimum(counts, most)))
