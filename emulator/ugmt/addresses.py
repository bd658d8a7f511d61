"""Cancel-out by track address: muons that were found with the same segments.

Barrel. A track address is the half of the detector, the wheel, and per station a code that tells
which segment was used, as seen from the muon's own wedge. Our reading of the codes of the Kalman
track finder: 0, 1 own wedge; 2, 3 next wedge; 4, 5 previous wedge; 8 to D the same in the
neighbouring wheel; F none. So one segment has different codes in two wedges, and the tables list
which codes of wedge n and of wedge n + 1 mean the same one. One station in common is enough. The
Kalman track finder (Run 3) is compared in stations 1 to 3; the original one, which counts next
and previous wedge the other way round, in stations 2 to 4.

Endcap. A segment is named by chamber and segment number. The same chamber is numbered 3 higher
in the first station and 2 higher in the others, seen from sector n instead of n + 1.

Source: CMS software, MicroGMTCancelOutUnit (b4000746).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from scout40.emulator.ugmt.firmware import Firmware
from scout40.streams.jit import njit

_CODES = 16
_KALMAN = {
    "same": ("20", "31", "04", "15", "A8", "B9", "8C", "9D"),
    "up": ("A0", "B1", "84", "95"),
    "down": ("28", "39", "0C", "1D"),
}
_ORIGINAL = {
    "same": ("02", "13", "40", "51", "8A", "9B", "C8", "D9"),
    "up": ("0A", "1B", "48", "59"),
    "down": ("82", "93", "C0", "D1"),
    "across": ("8A", "9B", "C8", "D9"),
}
_RELATIONS = ("never", "same", "up", "down", "across")
"""Wheels of first and second muon; "up": the second is one further out. "never" has no codes."""


class AddressRules(NamedTuple):
    """Barrel address tables.

    relation: int64 (64,) number of the relation, at side << 5 | wheel << 3 | side << 2 | wheel.
    codes: int8 (5 * 256,) 1 where codes match, at relation << 8 | first code << 4 | second code.
    """

    relation: Any
    codes: Any


def address_rules(fw: Firmware) -> AddressRules:
    """Tables of the address mode of a firmware; of "kalman" when it is off."""
    kalman = fw.bmtf != "original"
    pairs = _KALMAN if kalman else _ORIGINAL
    codes = np.zeros((len(_RELATIONS), _CODES, _CODES), np.int8)
    for name, members in pairs.items():
        for pair in members:
            codes[_RELATIONS.index(name), int(pair[0], 16), int(pair[1], 16)] = 1
    relation = np.zeros((2, 4, 2, 4), np.int64)
    for side, wheel, other_side, other_wheel in np.ndindex(relation.shape):
        name = _relation(kalman, side != other_side, wheel, other_wheel)
        relation[side, wheel, other_side, other_wheel] = _RELATIONS.index(name)
    return AddressRules(relation.ravel(), codes.ravel())


def _relation(kalman: bool, across: bool, first: int, second: int) -> str:
    if across and kalman:
        return {(0, 1): "up", (1, 0): "down"}.get((first, second), "never")
    if across:
        return "across" if (first, second) == (0, 0) else "never"
    return {0: "same", 1: "up", -1: "down"}.get(second - first, "never")


class BarrelAddresses(NamedTuple):
    """int8 by input muon: half, wheel, and the codes of the three stations looked at."""

    side: Any
    wheel: Any
    inner: Any
    middle: Any
    outer: Any


class EndcapAddresses(NamedTuple):
    """int8 by input muon: segment and chamber of the four stations; empty where not needed."""

    segment1: Any
    chamber1: Any
    segment2: Any
    chamber2: Any
    segment3: Any
    chamber3: Any
    segment4: Any
    chamber4: Any


def barrel_stations(fw: Firmware) -> tuple[int, int, int]:
    """Stations that a firmware looks at."""
    return (2, 3, 4) if fw.bmtf == "original" else (1, 2, 3)


@njit
def same_barrel_segment(a: int, b: int, muons: BarrelAddresses, rules: AddressRules) -> bool:
    """Whether the muons of input rows a (wedge n) and b (wedge n + 1) share a segment."""
    wheels = muons.side[a] << 5 | muons.wheel[a] << 3 | muons.side[b] << 2 | muons.wheel[b]
    table = rules.relation[wheels] << 8  # 0, "never", has no codes: cheaper than a branch
    inner = rules.codes[table | muons.inner[a] << 4 | muons.inner[b]]
    middle = rules.codes[table | muons.middle[a] << 4 | muons.middle[b]]
    outer = rules.codes[table | muons.outer[a] << 4 | muons.outer[b]]
    return bool(inner | middle | outer)


@njit
def same_endcap_segment(a: int, b: int, muons: EndcapAddresses) -> bool:
    """Whether the muons of input rows a (sector n) and b (sector n + 1) share a segment."""
    return (
        _one_segment(a, b, muons.segment1, muons.chamber1, 3)
        or _one_segment(a, b, muons.segment2, muons.chamber2, 2)
        or _one_segment(a, b, muons.segment3, muons.chamber3, 2)
        or _one_segment(a, b, muons.segment4, muons.chamber4, 2)
    )


@njit
def _one_segment(a: int, b: int, segment: Any, chamber: Any, shift: int) -> bool:
    if chamber[b] == 0 or chamber[a] != chamber[b] + shift:
        return False
    return bool(segment[a] == segment[b])
