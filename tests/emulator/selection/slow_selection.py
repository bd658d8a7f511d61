"""The selection crossing by crossing, in physical units, without any table of the production code.

A crossing is a dictionary: orbit, bx, words (set algorithm indices), and lists of objects.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Crossing = Mapping[str, Any]
Object = Mapping[str, int]


def mu_pt(code: int) -> float:
    return 0.5 * (code - 1)


def wrapped(angle: float) -> float:
    """As the unpackers do: float32, less 2 pi when not below pi."""
    return float(np.float32(angle - 2 * math.pi if angle >= math.pi else angle))


def float32(lsb: float, code: int) -> float:
    return float(np.float32(lsb) * np.float32(code))


def distance(jet: Mapping[str, int], mu: Mapping[str, int], scouting: bool) -> float:
    eta = float32(0.0435, jet["hw_eta"]) - float32(0.0870 / 8, mu["hw_eta"])
    jet_phi = wrapped(float32(0.0435 if scouting else 2 * math.pi / 144, jet["hw_phi"]))
    phi = jet_phi - wrapped(float32(2 * math.pi / 576, mu["hw_phi"]))
    while phi > math.pi:
        phi -= 2 * math.pi
    while phi <= -math.pi:
        phi += 2 * math.pi
    return float(np.float32(math.hypot(eta, phi)))


def passes(name: str, crossings: Sequence[Crossing], row: int, scouting: bool) -> bool:
    """Whether one crossing passes the selector; the others are there for windows."""
    here = crossings[row]
    muons: list[Object] = [m for m in here["mu"] if m["hw_pt"] > 0]
    jets: list[float] = [0.5 * j["hw_et"] for j in here["jet"]]
    if name == "SingleMuPt0BMTF":
        return any(36 <= m["tf_muon_index"] <= 71 for m in muons)
    if name == "DoubleMuPt0Qual8":
        return sum(m["hw_qual"] >= 8 and m["tf_muon_index"] <= 107 for m in muons) >= 2
    if name == "SingleMuPt22Qual12":
        return any(
            mu_pt(m["hw_pt"]) >= 22 and m["hw_qual"] >= 12 and m["tf_muon_index"] <= 107
            for m in muons
        )
    if name == "DijetEt30":
        return sum(et >= 30 for et in jets) >= 2
    if name == "HMJetMult4Et20":
        return sum(et >= 20 for et in jets) >= 4
    if name == "MuTagJetEt30Dr0p4":
        return any(
            0.5 * j["hw_et"] >= 30 and m["hw_qual"] >= 8 and distance(j, m, scouting) < 0.4
            for j in here["jet"]
            for m in here["mu"]
        )
    return any(window_passes(name, crossings, here, last) for last in range(3565))


def window_passes(name: str, crossings: Sequence[Crossing], here: Crossing, last: int) -> bool:
    """Whether ``here`` is in the window that ends at bx ``last`` and this window passes."""
    if last < 3 or not last - 3 < here["bx"] <= last:
        return False
    stubs = {
        c["bx"]: c["stub"]
        for c in crossings
        if c["orbit"] == here["orbit"] and last - 3 < c["bx"] <= last
    }
    if not stubs.get(last) or sum(map(len, stubs.values())) < 4:
        return False
    near = any(
        abs(s["wheel"] - t["wheel"]) <= 1
        for a in stubs
        for b in stubs
        if a < b
        for s in stubs[a]
        for t in stubs[b]
    )
    return near or not name.endswith("Wheel")


def neighbours(
    times: Sequence[int], chosen: Sequence[bool], groups: Sequence[int], window: int
) -> list[bool]:
    """Crossings not chosen, with a chosen one of the same group at most ``window`` away."""
    marked = []
    for time, own, group in zip(times, chosen, groups, strict=True):
        near = any(
            c and g == group and abs(t - time) <= window
            for t, c, g in zip(times, chosen, groups, strict=True)
        )
        marked.append(near and not own)
    return marked
