"""From physical values to the hardware integers and limits the global trigger compares with.

A scale is a list of bins, each with a hardware number and two edges in physical units; XML menus
carry their own, `run3_scales` makes those of Run 3. A threshold is the number of the bin that
starts there; a window runs from the bin whose lower edge is nearest to its minimum to the bin
whose upper edge is nearest to its maximum, both inclusive.

Limits of correlation cuts are rounded outwards with the number of decimals the scale set calls
the precision of that pair of objects, in double arithmetic as the public CMS tm-eventsetup does
it: floor(x*x*10**p)/10**p below and ceil above for squared distances and pt, x*x/2 for masses,
plain x for differences. Of the 74 limits of the 37 correlation cuts of the 2024 menu this
reproduces 71; the other three (dR below 0.6, 1.2, 1.4 -> 0.361, 1.441, 1.961) come out as well
when 1.4 is 14 * 0.1 = 1.4000000000000001, as the official editor's stepped box leaves it. An XML
menu stores that value; for human-written menus `stepped` makes it, and then all 74 agree.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

import numpy as np
from numpy.typing import NDArray

from scout40.emulator.ugt.grammar import PARTICLES, VECTORS
from scout40.emulator.ugt.model import CutKind, Limits, Window
from scout40.streams.errors import BadConfig

MAX_BINS = 1 << 18  # per scale; as many codes as the widest score has
MAX_VALUE = 1e9  # largest physical value of a cut; keeps every limit far inside 64 bits

# What "no upper limit" means: two-body pt cannot reach 8192 GeV, and its square times the
# largest LUT scale still fits a signed 64-bit integer.
UNLIMITED = Decimal(8192**2)

ETA_BITS: Mapping[str, int] = {"MU": 9, "EG": 8, "TAU": 8, "JET": 8}

_SUFFIXES: Mapping[CutKind, tuple[str, ...]] = {
    "DETA": ("Delta",),
    "DPHI": ("Delta",),
    "DR": ("Delta",),
    "MASS": ("Mass",),
    "MASSUPT": ("MassUpt", "Mass"),
    "MASSDR": ("MassDeltaR", "Mass"),
    "TBPT": ("TwoBodyPt",),
    "ORMDETA": ("DeltaOverlapRemoval", "Delta"),
    "ORMDPHI": ("DeltaOverlapRemoval", "Delta"),
    "ORMDR": ("DeltaOverlapRemoval", "Delta"),
}


@dataclass(frozen=True, slots=True)
class Bin:
    """One bin: hardware number (signed for eta) and edges in GeV, rad or counts."""

    number: int
    minimum: float
    maximum: float


class Scale:
    """Bins of one quantity of one object type, looked up by edge.

    ``period`` is the full turn for phi, where windows may wrap around, else None.
    """

    def __init__(self, bins: Iterable[Bin], *, period: float | None = None) -> None:
        rows = sorted(bins, key=lambda b: b.minimum)
        if not rows or len(rows) > MAX_BINS:
            raise BadConfig(f"a scale has 1 to {MAX_BINS} bins, not {len(rows)}")
        self.numbers: NDArray[np.int64] = np.array([b.number for b in rows], np.int64)
        self.lower: NDArray[np.float64] = np.array([b.minimum for b in rows], np.float64)
        self.upper: NDArray[np.float64] = np.array([b.maximum for b in rows], np.float64)
        self.period = period
        span = float(self.lower[-1] - self.lower[0])
        self.step = span / (len(rows) - 1) if len(rows) > 1 else 1.0

    def threshold(self, value: float) -> int:
        """Number of the bin that starts at ``value``; `BadConfig` names the neighbours."""
        at = _closest(self.lower, value)
        edge = float(self.lower[at])
        if abs(edge - value) > 1e-3 * self.step:
            near = ", ".join(f"{x:g}" for x in self.lower[max(0, at - 1) : at + 2])
            raise BadConfig(f"{value:g} is no bin edge of the scale; near it: {near}")
        return int(self.numbers[at])

    def window(self, minimum: float, maximum: float) -> Window:
        """Inclusive window of numbers; `BadConfig` when outside the scale or empty."""
        low, high = float(self.lower[0]), float(self.upper[-1])
        for value in (minimum, maximum):
            if not low - self.step <= value <= high + self.step:
                raise BadConfig(f"{value:g} is outside the scale {low:g} to {high:g}")
        if self.period is not None and maximum < 0.5 * self.step:
            maximum = self.period  # the upper edge of the last bin, not the lower of the first
        first, last = _closest(self.lower, minimum), _closest(self.upper, maximum)
        if first > last and self.period is None:
            raise BadConfig(f"the window {minimum:g} to {maximum:g} is empty")
        return Window(int(self.numbers[first]), int(self.numbers[last]))


@dataclass(frozen=True, slots=True)
class ScaleSet:
    """Scales by (object, type), types ET, COUNT, ETA, PHI, UPT, and decimals by pair name."""

    name: str
    scales: Mapping[tuple[str, str], Scale]
    precisions: Mapping[str, int]

    def threshold(self, kind: str, value: float) -> int:
        """Hardware threshold of object type ``kind`` for GeV or counts."""
        for quantity in ("ET", "COUNT"):
            if (kind, quantity) in self.scales:
                return self.scales[kind, quantity].threshold(value)
        raise BadConfig(self._missing(kind, "ET or COUNT"))

    def window(self, kind: str, quantity: str, minimum: float, maximum: float) -> Window:
        """Hardware window of ``quantity`` (ETA, PHI, UPT) of object type ``kind``."""
        scale = self.scales.get((kind, quantity))
        if scale is None:
            raise BadConfig(self._missing(kind, quantity))
        return scale.window(minimum, maximum)

    def precision(self, cut: CutKind, first: str, second: str) -> int:
        """Decimals of the limits of ``cut`` between two object types.

        A set that lacks the pair uses what all its other pairs agree on, else 3 decimals for
        distances and 1 for masses and pt, the values of every public scale set.
        """
        for suffix in _SUFFIXES[cut]:
            for pair in (f"{first}-{second}-{suffix}", f"{second}-{first}-{suffix}"):
                if pair in self.precisions:
                    return self.precisions[pair]
        for suffix in _SUFFIXES[cut]:
            others = {n for key, n in self.precisions.items() if key.endswith("-" + suffix)}
            if len(others) == 1:
                return others.pop()
        return 3 if "Delta" in _SUFFIXES[cut] else 1

    def _missing(self, kind: str, quantity: str) -> str:
        known = sorted({o for o, q in self.scales if q in quantity.split()})
        others = f"only for {', '.join(known)[:300]}" if known else "not for any object"
        return f"the scale set {self.name!r} has no {quantity} scale for {kind}, {others}"


def limits(cut: CutKind, minimum: float, maximum: float, precision: int) -> Limits:
    """Inclusive limits of a correlation cut given in physical units (GeV, rad, eta).

    A maximum below the minimum means none for TBPT and MASSDR, where the hardware compares
    with a minimum only, and is an error elsewhere.
    """
    if not (0 <= minimum <= MAX_VALUE and 0 <= maximum <= MAX_VALUE):
        raise BadConfig(f"limits {minimum:g} to {maximum:g} outside 0 to {MAX_VALUE:g}")
    if not 0 <= precision <= 6:
        raise BadConfig(f"a precision of {precision} decimals; 0 to 6 are possible")
    scale = 10.0**precision
    low = math.floor(_defined(cut, minimum) * scale)
    high = math.ceil(_defined(cut, maximum) * scale)
    below = Decimal(low).scaleb(-precision)
    if maximum < minimum:
        if cut not in ("TBPT", "MASSDR"):
            raise BadConfig(f"the range {minimum:g} to {maximum:g} is empty")
        return Limits(below, UNLIMITED)
    return Limits(below, Decimal(high).scaleb(-precision))


def stepped(value: float, step: Decimal = Decimal("0.1")) -> float:
    """``value`` as a box that counts steps holds it: 1.4 -> 14 * 0.1 = 1.4000000000000001.

    Values that are no multiple of the step stay as they are. See the top of this file.
    """
    count = Decimal(repr(value)) / step
    return int(count) * float(step) if count == int(count) else value


@cache
def run3_scales() -> ScaleSet:
    """The scales of Run 3 (2022 on), declared once; bits and edges as in the public sets."""
    calo, muon = 0.0435, 0.010875
    turn = 2 * math.pi
    scales: dict[tuple[str, str], Scale] = {
        ("MU", "ET"): _uniform(range(512), 0.5, -0.5),
        ("MU", "UPT"): _uniform(range(256), 1.0, -1.0),
        ("MU", "ETA"): _uniform(range(-225, 226), muon, -muon / 2),
        ("MU", "PHI"): _uniform(range(576), turn / 576, period=turn),
    }
    for kind, codes in (("EG", 512), ("TAU", 512), ("JET", 2048)):
        scales[kind, "ET"] = _uniform(range(codes), 0.5)
        scales[kind, "ETA"] = _uniform(range(-115, 115), calo)
        scales[kind, "PHI"] = _uniform(range(144), turn / 144, period=turn)
    for kind in (*VECTORS, "ETT", "ETTEM", "HTT"):
        scales[kind, "ET"] = _uniform(range(4096), 0.5)
        if kind in VECTORS:
            scales[kind, "PHI"] = _uniform(range(144), turn / 144, period=turn)
    for kind, codes in _COUNT_CODES.items():
        scales[kind, "ET" if kind.startswith("ZDC") else "COUNT"] = _uniform(range(codes), 1.0)
    precisions = {
        f"{a}-{b}-{suffix}": decimals
        for a in PARTICLES
        for b in (*PARTICLES, *VECTORS)
        for suffix, decimals in (("Delta", 3), ("DeltaOverlapRemoval", 3), ("Mass", 1))
    }
    return ScaleSet("run3", scales, precisions)


_COUNT_CODES: Mapping[str, int] = {
    **dict.fromkeys(("MBT0HFP", "MBT0HFM", "MBT1HFP", "MBT1HFM"), 16),
    **dict.fromkeys(("ASYMET", "ASYMHT", "ASYMETHF", "ASYMHTHF"), 256),
    **dict.fromkeys(("ZDCP", "ZDCM"), 1024),
    "TOWERCOUNT": 8192,
}


def _uniform(
    numbers: Sequence[int], step: float, offset: float = 0.0, *, period: float | None = None
) -> Scale:
    bins = (Bin(n, offset + n * step, offset + (n + 1) * step) for n in numbers)
    return Scale(bins, period=period)


def _defined(cut: CutKind, value: float) -> float:
    if cut in ("MASS", "MASSUPT", "MASSDR"):
        return value * value * 0.5
    return value * value if cut in ("DR", "ORMDR", "TBPT") else value


def _closest(edges: NDArray[np.float64], value: float) -> int:
    at = int(np.searchsorted(edges, value))
    if at == len(edges):
        return at - 1
    return at - 1 if at > 0 and value - edges[at - 1] < edges[at] - value else at
