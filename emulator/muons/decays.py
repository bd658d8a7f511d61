"""Charged pions and kaons that decay to a muon before they reach the calorimeters.

Every hadron is made to decay, at a length drawn from the exponential that ends at the calorimeter
(radius 1.3 m, or |z| 3.2 m), and its probability to do so is given with it. Only the decay to muon
and neutrino is taken. Masses (GeV), c tau (m) and branching fractions: Particle Data Group 2024.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from scout40.emulator.muons.draws import Keys, uniform
from scout40.emulator.muons.propagate import Tracks
from scout40.emulator.ugmt.propagation import CURVATURE, MUON_MASS

Array = npt.NDArray[np.float64]

PION, KAON = 0, 1
MASS = np.array([0.13957, 0.49368])
C_TAU = np.array([7.8045, 3.711])
FRACTION = np.array([0.99988, 0.6356])
FIELD = 3.8
"""Tesla, in the tracker."""
END_R, END_Z = 1.3, 3.2


class Decays(NamedTuple):
    """muons: where and how they are made. probability: of this hadron to make one, (n,)."""

    muons: Tracks
    probability: Array


def in_flight(hadrons: Tracks, kind: npt.NDArray[np.int64], keys: Keys) -> Decays:
    """The muon of each hadron. kind: PION or KAON, (n,). Uses draws 0 to 2 of the keys."""
    momentum = hadrons.pt * np.cosh(hadrons.eta)
    scale = momentum / MASS[kind] * C_TAU[kind]
    longest = _way_out(hadrons) * np.cosh(hadrons.eta)
    decays = -np.expm1(-longest / scale)
    length = -scale * np.log1p(-uniform(keys, 0) * decays)
    muons = _muons(_moved(hadrons, length / np.cosh(hadrons.eta)), momentum, kind, keys)
    return Decays(muons, decays * FRACTION[kind])


def nearest_azimuth(tracks: Tracks) -> Array:
    """Azimuth of the direction at the point of the track nearest to the beam, rad, -pi..pi.

    The track is followed back in the field of the tracker, without material.
    """
    turn = _turn(tracks)
    x, y = tracks.x - np.sin(tracks.phi) / turn, tracks.y + np.cos(tracks.phi) / turn
    side = np.sign(turn)
    return np.arctan2(-side * x, side * y)


def _turn(tracks: Tracks) -> Array:
    """Change of the azimuth of the direction with the path across the beam, rad / m."""
    result: Array = -CURVATURE * FIELD * tracks.charge / tracks.pt
    return result


def _way_out(tracks: Tracks) -> Array:
    """Path across the beam, from its begin near the beam, to the calorimeter, m."""
    radius = 1 / np.abs(_turn(tracks))
    sine = np.minimum(END_R / (2 * radius), 1.0)
    across = 2 * radius * np.arcsin(sine)
    along = np.sinh(tracks.eta)
    to_end = (END_Z - np.sign(along) * tracks.z) / np.maximum(np.abs(along), 1e-9)
    return np.minimum(np.where(sine < 1, across, np.inf), to_end)


def _moved(tracks: Tracks, path: Array) -> Tracks:
    """The tracks after a path across the beam."""
    turn = _turn(tracks)
    after = tracks.phi + turn * path
    return Tracks(
        tracks.pt, tracks.eta, after, tracks.charge,
        tracks.x + (np.sin(after) - np.sin(tracks.phi)) / turn,
        tracks.y - (np.cos(after) - np.cos(tracks.phi)) / turn,
        tracks.z + np.sinh(tracks.eta) * path,
    )  # fmt: skip


def _muons(at: Tracks, momentum: Array, kind: npt.NDArray[np.int64], keys: Keys) -> Tracks:
    """Isotropic two-body decays at these places."""
    mass = MASS[kind]
    rest = (mass**2 - MUON_MASS**2) / (2 * mass)
    rest_energy = np.sqrt(rest**2 + MUON_MASS**2)
    energy = np.sqrt(momentum**2 + mass**2)
    cosine, angle = 2 * uniform(keys, 1) - 1, 2 * np.pi * uniform(keys, 2)
    forward = (energy * rest * cosine + momentum * rest_energy) / mass
    side = rest * np.sqrt(1 - cosine**2)
    a, b = side * np.cos(angle), side * np.sin(angle)
    along, across = np.tanh(at.eta), 1 / np.cosh(at.eta)
    radial = forward * across - b * along  # in the plane of hadron and beam
    pt = np.hypot(radial, a)
    phi = at.phi + np.arctan2(a, radial)
    eta = np.arcsinh((forward * along + b * across) / pt)
    return Tracks(pt, eta, phi, at.charge, at.x, at.y, at.z)
