"""From tracks to words: quantisation, extrapolation, ghosts; and the widths that come out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scout40.emulator.muons.calibration import Calibration, calibrate, calibration
from scout40.emulator.muons.draws import draws, keys_of, seed_key
from scout40.emulator.muons.found import MUON, NOISE, PUNCH_THROUGH, FinderMuons, find
from scout40.emulator.muons.momentum import assigned, estimate, falling
from scout40.emulator.muons.propagate import Tracks, propagate
from scout40.emulator.muons.response import Response, response
from scout40.emulator.muons.sent import Sent, emulator, links_of, send
from scout40.emulator.muons.stations import finder_of, look
from scout40.emulator.ugmt.links import PHI_OFFSET
from scout40.streams.formats.ugt import UgtMuon
from scout40.tools.simulate_check import fwhm, residuals, robust

COUNT = 60_000
KEYS = keys_of(seed_key("sent"), COUNT)


@pytest.fixture(scope="module")
def tracks(paper: Response) -> Tracks:
    return falling(KEYS, paper)


@pytest.fixture(scope="module")
def found(tracks: Tracks, paper: Response, fitted: Calibration) -> FinderMuons:
    return find(tracks, np.full(COUNT, MUON), KEYS, paper, fitted.momentum)


@pytest.fixture(scope="module")
def sent(found: FinderMuons, paper: Response, fitted: Calibration) -> Sent:
    return send(found, np.arange(COUNT), COUNT, emulator(paper, fitted))


def test_quantisation_equals_a_slow_twin(
    tracks: Tracks, found: FinderMuons, paper: Response, fitted: Calibration
) -> None:
    """First copies, whose noise is that of the source's own key."""
    crossings = propagate(tracks, draws(KEYS, 100))
    finder = finder_of(crossings, paper)
    seen = look(crossings, finder, KEYS, paper)
    pt = assigned(seen, np.maximum(finder, 0), KEYS, fitted.momentum, paper)
    source, rows = np.unique(found.source, return_index=True)
    rows = rows[seen.found[source]]  # of the others only the second copy was found
    for row in rows[:3000].tolist():
        k = int(found.source[row])
        step = paper.finder_eta_step[finder[k]]
        assert found.hw_pt[row] == min(511, math.floor(abs(pt[k]) / 0.5) + 1)
        eta = step * round(seen.eta[k] / (step * 0.010875))
        assert found.hw_eta[row] == max(-225, min(225, eta))
        assert found.hw_phi[row] == round(seen.phi[k] * 576 / (2 * math.pi)) % 576
        assert found.hw_sign[row] == int(pt[k] < 0)
        assert found.hw_qual[row] == {2: 4, 3: 8}.get(int(seen.stations[k]), 12)


def test_extrapolation_is_the_emulators(sent: Sent, fitted: Calibration) -> None:
    """The tables' entry at the documented address, in plain Python."""
    columns = {name: values.tolist() for name, values in sent.columns.items()}
    moved = 0
    for k in range(3000):
        pt, eta, finder = columns["hw_pt"][k], columns["hw_eta"][k], int(sent.finder[k])
        dphi = deta = 0
        if pt < 128:
            place = ((abs(eta) >> 3) & 31) << 7 | pt
            dphi, deta = 4 * int(fitted.phi[finder, place]), int(fitted.eta[finder, place])
        sign = -1 if columns["hw_sign"][k] else 1
        moved += dphi != 0
        assert columns["hw_phi_at_vtx"][k] == (columns["hw_phi"][k] + sign * dphi) % 576
        assert columns["hw_eta_at_vtx"][k] == eta + (-deta if eta > 0 else deta)
    assert moved > 2000


def test_words_and_indices(found: FinderMuons, sent: Sent) -> None:
    """Every column fits its field; the index names the sector where the muon is."""
    for name, values in sent.columns.items():
        field = UgtMuon.fields.get(name)
        if field is not None:
            assert values.min() >= field.minimum, name
            assert values.max() <= field.limit, name
    assert not sent.columns["hw_iso"].any()
    link = sent.columns["tf_muon_index"].astype(int) // 3
    barrel = (link >= 12) & (link < 24)
    assert np.array_equal(barrel, sent.finder == 0)
    local = (sent.columns["hw_phi"].astype(int) - PHI_OFFSET[link] + 288) % 576 - 288
    assert local.min() > -20
    assert local[barrel].max() < 48 + 20
    assert local[~barrel].max() < 96 + 20
    assert np.all(np.abs(links_of(found) - 53.5) < 18)


def test_ghosts(found: FinderMuons, sent: Sent) -> None:
    """Some muons are found twice; the cancel-out leaves 1 to 3 % at most, near borders."""
    twice = 1 - len(np.unique(found.source)) / len(found.source)
    assert 0.03 < twice < 0.08
    assert 0.005 < sent.ghost.mean() < 0.03
    rows = np.flatnonzero(sent.ghost)
    assert np.array_equal(sent.source[rows], sent.source[rows - 1])


def test_same_alone_and_in_a_set(
    tracks: Tracks, found: FinderMuons, paper: Response, fitted: Calibration
) -> None:
    rows = np.arange(1000, 1100)
    alone = find(tracks.take(rows), np.full(100, MUON), KEYS[rows], paper, fitted.momentum)

    def lines(muons: FinderMuons, shift: int) -> list[Any]:
        table = np.stack(muons).T
        table[:, 0] += shift
        return sorted(table[(table[:, 0] >= 1000) & (table[:, 0] < 1100)].tolist())

    assert lines(alone, 1000) == lines(found, 0)
    assert len(lines(alone, 1000)) > 50


def test_fit_has_the_same_bits(paper: Response, fitted: Calibration) -> None:
    again = calibrate(paper)
    assert np.array_equal(again.phi, fitted.phi)
    for ours, theirs in zip(again.momentum, fitted.momentum, strict=True):
        assert np.array_equal(ours, theirs)


def test_punch_through_and_noise_have_low_quality(
    tracks: Tracks, paper: Response, fitted: Calibration
) -> None:
    hard = Tracks(*(getattr(tracks, name).copy() for name in tracks.__dataclass_fields__))
    hard.pt[:] = 15.0
    punched = find(hard, np.full(COUNT, PUNCH_THROUGH), KEYS, paper, fitted.momentum)
    assert np.mean(punched.hw_qual == 4) > 0.4
    noise = find(hard, np.full(COUNT, NOISE), KEYS, paper, fitted.momentum)
    assert len(noise.source) == COUNT
    assert set(noise.hw_qual.tolist()) == {paper.noise_quality}
    assert np.mean(noise.finder == 2) > 0.7


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "phi", "pt", "sigma", "scale"),
    [
        ("paper", 0.160, 0.43, (0.125, 0.177, 0.223), (1.13, 1.20, 1.30)),
        ("2018", 0.21, 0.60, (0.154, 0.235, 0.317), (1.19, 1.30, 1.46)),
    ],
)
def test_widths_of_the_study(
    preset: str, phi: float, pt: float, sigma: tuple[float, ...], scale: tuple[float, ...],
    tables_folder: Path,
) -> None:  # fmt: skip
    """Those of the study that chose the presets; its numbers have errors of 0.01, 0.004, 0.03.

    The phi of "2018" is narrower than there by two of them and eta is wider by one or two; the
    numbers of both are in docs/simulation.md.
    """
    rules = response(preset)
    fitted = calibration(rules, tables_folder)
    found = residuals(rules, tables_folder, 150_000)
    assert fwhm(found["phi"], -0.5, 0.5) == pytest.approx(phi, abs=0.01 if phi < 0.2 else 0.025)
    # Ours is 0.070 and 0.075: scattering in front of the stations, which the study left out.
    assert fwhm(found["eta"], -0.2, 0.2) == pytest.approx(0.071, abs=0.007)
    assert fwhm(found["pt"], -1.5, 2.5) == pytest.approx(pt, abs=0.035)
    assert fitted.momentum.scale == pytest.approx(scale, abs=0.04)
    tracks = falling(KEYS, rules)
    crossings = propagate(tracks, draws(KEYS, 100))
    finder = finder_of(crossings, rules)
    seen = look(crossings, finder, KEYS, rules)
    rows = np.flatnonzero(seen.found & (tracks.pt > 6) & (tracks.pt < 12))
    given = assigned(seen.take(rows), finder[rows], KEYS[rows], fitted.momentum, rules)
    ratio = np.log(np.abs(given) / tracks.pt[rows])
    for kind in range(3):
        assert robust(ratio[finder[rows] == kind]) == pytest.approx(sigma[kind], rel=0.1)
    wrong = np.sign(estimate(seen.take(rows), finder[rows], fitted.momentum)) != tracks.charge[rows]
    assert wrong.mean() < 0.01
