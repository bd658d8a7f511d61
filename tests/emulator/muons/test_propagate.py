"""Propagation: against the emulator's, against what is known of CMS, and its independence."""

from __future__ import annotations

import numpy as np
import pytest

from scout40.emulator.muons.draws import draws, keys_of, seed_key, uniform
from scout40.emulator.muons.momentum import prompt
from scout40.emulator.muons.propagate import Tracks, propagate
from scout40.emulator.muons.stations import wrap
from scout40.emulator.ugmt.propagation import crossings

KEYS = keys_of(seed_key("propagation"), 20_000)


@pytest.fixture(scope="module")
def gun() -> Tracks:
    pt = 1 / (1 / 60 + uniform(KEYS, 10) * (1 / 2.5 - 1 / 60))
    return prompt(pt, 4.8 * uniform(KEYS, 11) - 2.4, draws(KEYS, 0))


@pytest.mark.parametrize(("name", "station", "eta"), [("barrel", 1, 0.4), ("endcap", 5, 1.7)])
@pytest.mark.parametrize("pt", [5.0, 10.0, 40.0])
def test_means_are_those_of_the_emulator(name: str, station: int, eta: float, pt: float) -> None:
    """Same field and mean loss: the second stations agree, but for scattering and straggling."""
    one, keys = np.ones(4000), keys_of(seed_key("mean"), 4000)
    found = propagate(Tracks(pt * one, eta * one, 0 * one, one, 0 * one, 0 * one, 0 * one), keys)
    phi, at = (values[0] for values in crossings(np.array([pt]), np.array([eta]))[name])
    assert found.phi[:, station].mean() == pytest.approx(phi, rel=0.03)
    assert found.eta[:, station].mean() == pytest.approx(at, abs=0.01)


def test_reach_and_bending(gun: Tracks) -> None:
    """Barrel from 3.0 to 3.5 GeV on; azimuth moves by 2.4 to 3.2 and by 1.5 to 1.6 rad GeV."""
    found = propagate(gun, KEYS)
    barrel, endcap = np.abs(gun.eta) < 0.8, np.abs(gun.eta) > 1.24
    hit = np.isfinite(found.phi)
    assert hit[barrel & (gun.pt < 2.9), 1].mean() < 0.02
    assert hit[barrel & (gun.pt > 3.7), 1].mean() > 0.98
    assert hit[endcap & (gun.pt > 3.5), 5].mean() > 0.98
    moved = -gun.charge[:, None] * gun.pt[:, None] * wrap(found.phi - gun.phi[:, None])
    hard = gun.pt > 10
    assert np.median(moved[barrel & hard & hit[:, 1], 1]) == pytest.approx(2.45, abs=0.1)
    soft = (gun.pt > 3.5) & (gun.pt < 10)
    assert np.median(moved[endcap & soft & hit[:, 5], 5]) == pytest.approx(1.56, abs=0.05)


def test_alone_or_in_a_set(gun: Tracks) -> None:
    rows = np.array([5, 17, 4000])
    together = propagate(gun, KEYS)
    for part in (rows, rows[::-1], rows[:1]):
        alone = propagate(gun.take(part), KEYS[part])
        for ours, theirs in zip(alone, together.take(part), strict=True):
            assert np.array_equal(ours, theirs, equal_nan=True)


def test_turned_tracks_turn_everything(gun: Tracks) -> None:
    """Scattering is relative to the direction: a turn around the beam is a turn of the result."""
    few = gun.take(slice(0, 500))
    angle = 1.234
    c, s = np.cos(angle), np.sin(angle)
    turned = Tracks(
        few.pt, few.eta, few.phi + angle, few.charge,
        c * few.x - s * few.y, s * few.x + c * few.y, few.z,
    )  # fmt: skip
    first, second = propagate(few, KEYS[:500]), propagate(turned, KEYS[:500])
    both = np.isfinite(first.phi) & np.isfinite(second.phi)
    assert both.sum() > 1000
    assert np.abs(wrap(second.phi - first.phi - angle)[both]).max() < 1e-6
    assert np.abs(second.bend - first.bend)[both].max() < 1e-6
