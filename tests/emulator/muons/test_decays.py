"""Decays in flight: probabilities, kinematics, and the direction that is called true."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scout40.emulator.muons.decays import KAON, MASS, PION, in_flight, nearest_azimuth
from scout40.emulator.muons.draws import draws, keys_of, seed_key
from scout40.emulator.muons.momentum import prompt
from scout40.emulator.muons.propagate import Tracks
from scout40.emulator.muons.stations import wrap
from scout40.emulator.ugmt.propagation import MUON_MASS

COUNT = 50_000
KEYS = keys_of(seed_key("decays"), COUNT)


def hadrons(pt: float, eta: float) -> Tracks:
    one = np.ones(COUNT)
    return prompt(pt * one, eta * one, draws(KEYS, 0))


@pytest.mark.parametrize(("kind", "c_tau", "part"), [(PION, 7.8045, 1.0), (KAON, 3.711, 0.6356)])
def test_probability(kind: int, c_tau: float, part: float) -> None:
    """At high momentum: length to the calorimeter over the decay length."""
    found = in_flight(hadrons(50.0, 0.0), np.full(COUNT, kind), draws(KEYS, 1))
    expected = part * -math.expm1(-1.3 * MASS[kind] / 50.0 / c_tau)
    assert found.probability == pytest.approx(expected, rel=1e-3)
    assert np.hypot(found.muons.x, found.muons.y).max() <= 1.3 + 1e-3


@pytest.mark.parametrize("kind", [PION, KAON])
def test_momentum_of_the_muon(kind: int) -> None:
    """At high momentum it is even between (m_mu / M)^2 and 1, and so is its mean."""
    source = hadrons(200.0, 1.0)
    found = in_flight(source, np.full(COUNT, kind), draws(KEYS, 1)).muons
    part = found.pt * np.cosh(found.eta) / (source.pt * np.cosh(source.eta))
    low = (MUON_MASS / MASS[kind]) ** 2
    assert part.min() >= low - 1e-3
    assert part.max() <= 1 + 1e-3
    assert part.mean() == pytest.approx((1 + low) / 2, abs=0.005)


def test_missing_mass_is_that_of_the_neutrino() -> None:
    source = hadrons(4.0, 0.6)
    muons = in_flight(source, np.full(COUNT, KAON), draws(KEYS, 1)).muons
    # Direction of the kaon where it decays: its track turns as much as the path says.
    path = (muons.z - source.z) / np.sinh(source.eta)
    phi = source.phi - 0.299792458 * 3.8 * source.charge / source.pt * path
    energy = np.sqrt((4 * math.cosh(0.6)) ** 2 + MASS[KAON] ** 2)
    energy -= np.sqrt((muons.pt * np.cosh(muons.eta)) ** 2 + MUON_MASS**2)
    px = source.pt * np.cos(phi) - muons.pt * np.cos(muons.phi)
    py = source.pt * np.sin(phi) - muons.pt * np.sin(muons.phi)
    pz = source.pt * np.sinh(source.eta) - muons.pt * np.sinh(muons.eta)
    assert np.abs(energy**2 - px**2 - py**2 - pz**2).max() < 1e-6


def test_true_direction() -> None:
    """Of a prompt track its own; of a displaced one that of the same helix near the beam."""
    source = hadrons(5.0, 0.2)
    assert np.abs(wrap(nearest_azimuth(source) - source.phi)).max() < 1e-3
    muons = in_flight(source, np.full(COUNT, PION), draws(KEYS, 1)).muons
    ours = np.median(np.abs(wrap(nearest_azimuth(muons) - source.phi)))
    assert ours < 0.04  # the kink of the decay
    assert np.median(np.abs(wrap(muons.phi - source.phi))) > 3 * ours
