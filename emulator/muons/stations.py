"""What a track finder sees of a track: hit stations, the reference station, and its features."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from scout40.emulator.muons.detector import BARREL_RADII, ENDCAP_PLANES, STATIONS
from scout40.emulator.muons.draws import Keys, normal, uniform
from scout40.emulator.muons.propagate import Crossings
from scout40.emulator.muons.response import Response

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BARREL = len(BARREL_RADII)
LOOKED_AT = ((0, 1, 2, 3), (0, 1, 2, 4, 5, 6), (4, 5, 6, 7))
"""Stations of barrel, overlap and endcap finder; differences of azimuth follow this order."""
REFERENCE = ((1, 0, 2, 3), (1, 5, 0, 2, 4, 6), (5, 4, 6, 7))
"""The first of these that was hit gives azimuth and eta."""
BENDS = (3, 3, 0)
"""Bending angles that the finder uses, of its first stations."""
LEAST_STATIONS = 2
FEATURES = 8
"""The overlap's: five differences and three bending angles."""
PATTERNS = 64

# Numbers of the draws of a muon's key (``normal`` n takes the draws 2 n and 2 n + 1).
_HIT, _PHI, _BEND, _ETA = 0, 8, 16, 24
SMEAR = 25
LAST_DRAW = 64
"""Draws from here on are free for the users of this module."""

# Azimuth of a straight line: phi + bend is constant and the bending angle falls as 1 / distance.
_LEVER = np.array(
    [1 - r / BARREL_RADII[1] for r in BARREL_RADII]
    + [1 - z / ENDCAP_PLANES[1] for z in ENDCAP_PLANES]
)


class Seen(NamedTuple):
    """One finder's view of tracks, (n,) each.

    found: at least two stations were hit. stations: their number. pattern: which of the finder's,
    bit k for its k-th. phi: at the second station, rad. eta: there, with the finder's noise.
    features: (n, 8) differences of azimuth from each hit station to the next hit one behind, then
    bending angles; 0 where a station is missing.
    """

    found: npt.NDArray[np.bool_]
    stations: Ints
    pattern: Ints
    phi: Array
    eta: Array
    features: Array

    def take(self, where: Any) -> Seen:
        """Some of them, by index or mask."""
        return Seen(*(values[where] for values in self))


def wrap(angle: Array) -> Array:
    """Into [-pi, pi)."""
    result: Array = (angle + np.pi) % (2 * np.pi) - np.pi
    return result


def finder_of(crossings: Crossings, response: Response) -> Ints:
    """0, 1, 2 by |eta| at the second station, else the first crossed one; -1: out of reach."""
    eta = np.full(len(crossings.eta), np.nan)
    for station in (1, 5, 0, 4, 2, 6, 3, 7):
        eta = np.where(np.isnan(eta), crossings.eta[:, station], eta)
    outside = np.isnan(eta) | (np.abs(eta) > response.finder_end)
    return np.where(outside, -1, np.digitize(np.abs(eta), response.finder_borders))


def look(
    crossings: Crossings,
    finder: Ints,
    keys: Keys,
    response: Response,
    use: npt.NDArray[np.bool_] | None = None,
) -> Seen:
    """What the finder (0, 1, 2) of each track measures, noise and inefficiency included.

    use: bool (n, 8), stations that can have a hit besides; all by default.
    """
    count = len(keys)
    phi, bend = crossings.phi.copy(), crossings.bend.copy()
    hit = np.isfinite(phi)
    if use is not None:
        hit &= use
    for station in range(STATIONS):
        kind = int(station >= BARREL)
        hit[:, station] &= uniform(keys, _HIT + station) > response.stations_inefficiency
        phi[:, station] += response.stations_phi_noise[kind] * normal(keys, _PHI + station)
        bend[:, station] += response.stations_bend_noise[kind] * normal(keys, _BEND + station)
    seen = Seen(
        np.zeros(count, np.bool_), np.zeros(count, np.int64), np.zeros(count, np.int64),
        np.zeros(count), np.zeros(count), np.zeros((count, FEATURES)),
    )  # fmt: skip
    noise = np.asarray(response.finder_eta_noise)[np.maximum(finder, 0)] * normal(keys, _ETA)
    for kind in range(len(LOOKED_AT)):
        rows = np.flatnonzero(finder == kind)
        _fill(seen, rows, kind, phi[rows], bend[rows], crossings.eta[rows], hit[rows])
    seen.eta[:] += noise
    return seen


def _fill(
    seen: Seen, rows: Ints, kind: int, phi: Array, bend: Array, eta: Array,
    hit: npt.NDArray[np.bool_],
) -> None:  # fmt: skip
    """Rows of one finder."""
    looked = list(LOOKED_AT[kind])
    seen.stations[rows] = hit[:, looked].sum(axis=1)
    seen.found[rows] = seen.stations[rows] >= LEAST_STATIONS
    seen.pattern[rows] = hit[:, looked] @ (1 << np.arange(len(looked)))
    place = np.full(len(rows), REFERENCE[kind][0])
    for station in reversed(REFERENCE[kind]):
        place = np.where(hit[:, station], station, place)
    at = np.arange(len(rows))
    seen.phi[rows] = phi[at, place] + bend[at, place] * _LEVER[place]
    seen.eta[rows] = eta[at, place]
    after = np.full(len(rows), np.nan)  # azimuth of the next hit station behind
    for k, station in reversed(list(enumerate(looked))):
        here, known = hit[:, station], np.isfinite(after)
        if k < len(looked) - 1:
            step = np.where(known & here, after - phi[:, station], 0.0)
            seen.features[rows, k] = wrap(step)
        after = np.where(here, phi[:, station], after)
    for k, station in enumerate(looked[: BENDS[kind]]):
        column = len(looked) - 1 + k
        seen.features[rows, column] = np.where(hit[:, station], wrap(bend[:, station]), 0.0)
