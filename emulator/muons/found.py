"""Muons as the track finders send them: rows of the links of the uGMT, ghosts and noise included.

A muon near a border of two finders, or of two sectors of one finder, may be found by both. The
second copy comes from the same crossings with its own noise; the cancel-out of the uGMT then
takes most of them away.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from scout40.emulator.muons.draws import Keys, draws, uniform
from scout40.emulator.muons.momentum import Momentum, assigned
from scout40.emulator.muons.propagate import Crossings, Tracks, propagate
from scout40.emulator.muons.response import Response
from scout40.emulator.muons.stations import Ints, finder_of, look
from scout40.emulator.ugmt.links import BMTF, PHI_TURN
from scout40.streams.formats.scales import MUON_ETA, MUON_PHI
from scout40.streams.formats.ugt import UgtMuon

Array = npt.NDArray[np.float64]

MUON, PUNCH_THROUGH, NOISE = 0, 1, 2
"""Kinds of sources."""

MOST_PT = UgtMuon.fields["hw_pt"].limit
NO_SEGMENT, OWN, NEXT, PREVIOUS = 15, 0, 2, 4
"""Address of a segment of the barrel: seen in no, the own, the next, the previous wedge."""

_BEYOND = 12
"""Units from near a border to well inside the neighbour."""

# Draws of the keys of sources. 0..63 belong to ``stations.look``.
_CRACK, _GHOST, _SHARED, _PUNCH, _NOISE = 64, 65, 66, 68, 80
_PATH, _SECOND = 100, 101


class FinderMuons(NamedTuple):
    """(n,) int64 each, in no order. source: row of the source.

    turned: a copy that the next (+1) or previous (-1) sector found, else 0. stat1: address of the
    segment in barrel station 1.
    """

    source: Ints
    finder: Ints
    hw_pt: Ints
    hw_eta: Ints
    hw_phi: Ints
    hw_sign: Ints
    hw_qual: Ints
    sector_phi: Ints
    stat1: Ints

    def take(self, where: Any) -> FinderMuons:
        """Some of them, by index or mask."""
        return FinderMuons(*(values[where] for values in self))


def find(
    sources: Tracks, kind: Ints, keys: Keys, response: Response, tables: Momentum
) -> FinderMuons:
    """All that the track finders send of the sources (of noise the track is not looked at)."""
    rows = np.flatnonzero(kind != NOISE)
    tracks, used = sources.take(rows), keys[rows]
    punch = kind[rows] == PUNCH_THROUGH
    tracks = _after_shower(tracks, punch, used, response)
    crossings = propagate(tracks, draws(used, _PATH))
    use = _stations(punch, used, response)
    finder = finder_of(crossings, response)
    finder = np.where(_passes(tracks, crossings, finder, used, response), finder, -1)
    parts = [
        _sent(rows, crossings, finder, used, use, response, tables),
        _ghosts(rows, crossings, finder, used, use, response, tables),
        _noise(np.flatnonzero(kind == NOISE), keys, response),
    ]
    return FinderMuons(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _passes(
    tracks: Tracks, crossings: Crossings, finder: Ints, keys: Keys, response: Response
) -> npt.NDArray[np.bool_]:
    """Whether the finder gives the muon at all."""
    soft = tracks.pt < np.asarray(response.finder_least_pt)[finder]
    soft |= tracks.pt * np.cosh(tracks.eta) < np.asarray(response.finder_least_p)[finder]
    eta = np.abs(_first_eta(crossings))
    chance = np.asarray(response.finder_efficiency)[np.maximum(finder, 0)]
    for crack in response.finder_cracks:
        near = np.abs(eta - crack) < response.finder_crack_width
        chance = np.where(near, response.finder_crack_efficiency, chance)
    passes: npt.NDArray[np.bool_] = (finder >= 0) & ~soft & (uniform(keys, _CRACK) < chance)
    return passes


def _first_eta(crossings: Crossings) -> Array:
    """At the second station, barrel before endcap; NaN where neither is crossed."""
    barrel, endcap = crossings.eta[:, 1], crossings.eta[:, 5]
    return np.where(np.isnan(barrel), endcap, barrel)


def _sent(
    rows: Ints, crossings: Crossings, finder: Ints, keys: Keys,
    use: npt.NDArray[np.bool_], response: Response, tables: Momentum,
    shift: Ints | None = None,
) -> FinderMuons:  # fmt: skip
    """Muons of finders 0, 1, 2 in hardware integers; none where the finder is -1.

    shift: of the azimuth, in units, that makes it that of the sector which finds the muon.
    """
    seen = look(crossings, finder, keys, response, use)
    good = np.flatnonzero(seen.found & (finder >= 0))
    seen, finder, keys = seen.take(good), finder[good], keys[good]
    pt = assigned(seen, finder, keys, tables, response)
    code = np.minimum(np.floor(2 * np.abs(pt)).astype(np.int64) + 1, MOST_PT)
    step = np.asarray(response.finder_eta_step, np.int64)[finder]
    eta = np.rint(seen.eta / (step * MUON_ETA.lsb)).astype(np.int64) * step
    last = int(response.finder_end / MUON_ETA.lsb)
    phi = np.rint(seen.phi / MUON_PHI.lsb).astype(np.int64) % PHI_TURN
    true = _first_phi(crossings)[good]
    inside = np.rint(np.where(np.isnan(true), seen.phi, true) / MUON_PHI.lsb).astype(np.int64)
    return FinderMuons(
        source=rows[good],
        finder=finder,
        hw_pt=code,
        hw_eta=np.clip(eta, -last, last),
        hw_phi=phi,
        hw_sign=(pt < 0).astype(np.int64),
        hw_qual=np.asarray(response.finder_quality)[np.minimum(seen.stations, 4) - 2],
        sector_phi=(inside if shift is None else inside + shift[good]) % PHI_TURN,
        stat1=np.where(finder == BMTF, OWN, NO_SEGMENT),
    )


def _ghosts(
    rows: Ints, crossings: Crossings, finder: Ints, keys: Keys,
    use: npt.NDArray[np.bool_], response: Response, tables: Momentum,
) -> FinderMuons:  # fmt: skip
    """Second copies of muons near borders."""
    eta, phi = np.abs(_first_eta(crossings)), _first_phi(crossings)
    other = np.full(len(rows), -1)
    for lower, border in enumerate(response.finder_borders):
        near = np.abs(eta - border) < response.ghosts_eta_reach
        other = np.where(near & (finder == lower), lower + 1, other)
        other = np.where(near & (finder == lower + 1), lower, other)
    turned = _neighbour(finder, phi, response.ghosts_phi_reach)
    turned = np.where(other >= 0, 0, turned)
    twice = (finder >= 0) & (uniform(keys, _GHOST) < response.ghosts_probability)
    again = np.where(twice & (other >= 0), other, np.where(twice & (turned != 0), finder, -1))
    second = draws(keys, _SECOND)
    copies = _sent(rows, crossings, again, second, use, response, tables, turned * _BEYOND)
    place = np.searchsorted(rows, copies.source)
    shared = uniform(keys, _SHARED)[place] < response.ghosts_shared_segment
    to = turned[place]
    address = np.where(to > 0, PREVIOUS, np.where(to < 0, NEXT, NO_SEGMENT))
    stat1 = np.where(shared & (copies.finder == BMTF), address, NO_SEGMENT)
    return copies._replace(stat1=stat1)


def _first_phi(crossings: Crossings) -> Array:
    barrel, endcap = crossings.phi[:, 1], crossings.phi[:, 5]
    return np.where(np.isnan(barrel), endcap, barrel)


def _neighbour(finder: Ints, phi: Array, reach: float) -> Ints:
    """+1, -1: the next or previous wedge or sector begins within reach (rad); else 0."""
    width = np.where(finder == BMTF, PHI_TURN // 12, PHI_TURN // 6) * MUON_PHI.lsb
    begin = np.where(finder == BMTF, -24, 24) * MUON_PHI.lsb
    inside = (phi - begin) % width
    near = np.where(inside > width - reach, 1, np.where(inside < reach, -1, 0))
    return np.where(np.isnan(phi), 0, near)


def _after_shower(
    tracks: Tracks, punch: npt.NDArray[np.bool_], keys: Keys, response: Response
) -> Tracks:
    """Tracks; of hadrons what leaves the calorimeter, as if it were a muon from the vertex."""
    low, high = response.punch_through_energy
    part = np.where(punch, low + (high - low) * uniform(keys, _PUNCH), 1.0)
    wide = np.where(punch, response.punch_through_angle, 0.0)
    angle = 2 * np.pi * uniform(keys, _PUNCH + 1)
    size = wide * np.sqrt(-2 * np.log(uniform(keys, _PUNCH + 2)))
    return Tracks(
        tracks.pt * part, tracks.eta + size * np.cos(angle), tracks.phi + size * np.sin(angle),
        tracks.charge, tracks.x, tracks.y, tracks.z,
    )  # fmt: skip


def _stations(
    punch: npt.NDArray[np.bool_], keys: Keys, response: Response
) -> npt.NDArray[np.bool_]:
    """(n, 8): stations that the source can reach; of hadrons the third and fourth by chance."""
    use = np.ones((len(keys), 8), np.bool_)
    chance = response.punch_through_next_station
    third = ~punch | (uniform(keys, _PUNCH + 3) < chance)
    fourth = third & (~punch | (uniform(keys, _PUNCH + 4) < chance))
    use[:, [2, 6]], use[:, [3, 7]] = third[:, None], fourth[:, None]
    return use


def _noise(rows: Ints, keys: Keys, response: Response) -> FinderMuons:
    """Muons that are none."""
    key = keys[rows]
    end, (_, border) = response.finder_end, response.finder_borders
    flat = uniform(key, _NOISE + 1)
    inner = np.where(uniform(key, _NOISE) < response.noise_endcap, border, 0.0)
    eta = np.where(uniform(key, _NOISE + 2) < 0.5, -1, 1) * (inner + (end - inner) * flat)
    low, power = response.noise_pt
    pt = low * uniform(key, _NOISE + 3) ** (-1 / power)
    finder = np.digitize(np.abs(eta), response.finder_borders)
    step = np.asarray(response.finder_eta_step, np.int64)[finder]
    phi = (uniform(key, _NOISE + 4) * PHI_TURN).astype(np.int64)
    return FinderMuons(
        source=rows,
        finder=finder,
        hw_pt=np.minimum(np.floor(2 * pt).astype(np.int64) + 1, MOST_PT),
        hw_eta=np.rint(eta / (step * MUON_ETA.lsb)).astype(np.int64) * step,
        hw_phi=phi,
        hw_sign=(uniform(key, _NOISE + 5) < 0.5).astype(np.int64),
        hw_qual=np.full(len(rows), response.noise_quality),
        sector_phi=phi,
        stat1=np.full(len(rows), NO_SEGMENT),
    )
