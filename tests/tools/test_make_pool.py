"""The packaged pool: made by its program, and what its words say about muons and pairs."""

from __future__ import annotations

from importlib import resources
from typing import Any

import numpy as np
import pytest

from scout40.streams.formats.gmt import GmtMuon
from scout40.streams.sources.raw_tables import unpack
from scout40.streams.sources.raw_unpack import packets_of
from scout40.streams.sources.synthetic_pool import POOL, Pool, pool
from scout40.tools.make_pool import BARREL_END, OVERLAP_END, make_pool

TURN = 576


@pytest.fixture(scope="module")
def drawn() -> dict[str, Any]:
    muons = pool().muons
    return GmtMuon.unpack(muons.rows[: muons.drawn])


def pairs_of(process: int) -> dict[str, Any]:
    muons = pool().muons
    first = int(muons.starts[process])
    return GmtMuon.unpack(muons.rows[first : first + 2 * int(muons.entries[process])])


def test_the_program_makes_the_packaged_pool() -> None:
    """Other versions of NumPy may round a few values differently."""
    made = make_pool()
    place = resources.files("scout40.configs").joinpath("samples", POOL)
    assert len(place.read_bytes()) < 1_000_000
    with place.open("rb") as file, np.load(file, allow_pickle=False) as packaged:
        assert set(packaged.files) == set(made)
        for name in packaged.files:
            assert packaged[name].shape == made[name].shape
            assert np.isclose(packaged[name], made[name], rtol=1e-9).mean() > 0.999, name


def test_sizes() -> None:
    found: Pool = pool()
    assert found.muons.ghosts / found.muons.drawn == pytest.approx(0.02, abs=0.001)
    assert found.muons.entries.tolist() == [2048, 2048, 256]
    assert len(found.muons.rows) == found.muons.drawn + found.muons.ghosts + 2 * (2048 * 2 + 256)
    assert found.cross_sections[0] > found.cross_sections[1] > 0.5
    assert found.calos.sizes.tolist() == [0, 5, 18, 144]
    assert found.calos.starts.tolist() == [-1, -1, 18 * 144]


def test_spectrum_of_muons(drawn: dict[str, Any]) -> None:
    """Steeply falling, of a rate that is right to a factor of two at 22 GeV (10 kHz)."""
    pt = (drawn["hw_pt"].astype(int) - 1) / 2
    assert pt.min() >= 0.5
    assert np.median(pt) == pytest.approx(5, abs=0.5)
    kilohertz = 3250 * np.array([(pt >= cut).mean() for cut in (5, 10, 22)])
    assert np.all(kilohertz > [1200, 150, 5])
    assert np.all(kilohertz < [2200, 400, 20])


def test_track_finder_index_agrees_with_eta_and_phi(drawn: dict[str, Any]) -> None:
    link = drawn["tf_muon_index"].astype(int) // 3
    eta = np.abs(drawn["hw_eta_at_vtx"] * 0.010875)
    assert link.max() == 35
    barrel, endcap = (link >= 12) & (link < 24), (link < 6) | (link >= 30)
    assert np.percentile(eta[barrel], 99) < BARREL_END + 0.15
    assert np.percentile(eta[endcap], 1) > OVERLAP_END - 0.1
    side = np.sign(drawn["hw_eta_at_vtx"].astype(int))
    assert np.all(side[link < 12] >= 0)
    assert np.all(side[link >= 24] <= 0)
    wedge = (drawn["hw_phi"].astype(int) + 24) % TURN // 48
    np.testing.assert_array_equal(link[barrel] - 12, wedge[barrel])


def test_extrapolation_moves_by_charge_and_momentum(drawn: dict[str, Any]) -> None:
    moved = drawn["hw_phi_at_vtx"].astype(int) - drawn["hw_phi"]
    moved = (moved + TURN // 2) % TURN - TURN // 2
    low = drawn["hw_pt"] < 64
    assert not moved[~low].any()
    assert np.all(moved % 4 == 0)
    assert np.all(moved[low & (drawn["hw_sign"] == 0)] >= 0)
    assert np.all(moved[low & (drawn["hw_sign"] == 1)] <= 0)
    soft, hard = drawn["hw_pt"] < 14, low & (drawn["hw_pt"] > 40)
    assert np.abs(moved[soft]).mean() > 3 * np.abs(moved[hard]).mean()


@pytest.mark.parametrize(("process", "mass", "width"), [(0, 3.1, 3.0), (1, 91.2, 60.0)])
def test_members_of_a_pair_belong_together(process: int, mass: float, width: float) -> None:
    """The invariant mass, on the scale of the trigger, stands where that of the particle does."""
    mu = pairs_of(process)
    pt = (mu["hw_pt"].astype(float) - 1) / 2
    eta, phi = mu["hw_eta_at_vtx"] * 0.010875, mu["hw_phi_at_vtx"] * (2 * np.pi / TURN)
    angle = np.cosh(eta[::2] - eta[1::2]) - np.cos(phi[::2] - phi[1::2])
    found = np.sqrt(2 * pt[::2] * pt[1::2] * angle)
    assert np.median(found) == pytest.approx(1.3 * mass, rel=0.12)  # pt is scaled up
    low, high = np.percentile(found, [16, 84])
    assert high - low < width
    shuffled = np.cosh(eta[::2] - np.roll(eta[1::2], 1)) - np.cos(phi[::2] - np.roll(phi[1::2], 1))
    wrong = np.sqrt(2 * pt[::2] * np.roll(pt[1::2], 1) * shuffled)
    wide = np.subtract(*np.percentile(wrong, [84, 16]))
    assert wide > 1.2 * (high - low)
    assert (mu["hw_sign"][::2] != mu["hw_sign"][1::2]).mean() > 0.85


def test_ghosts_are_near_duplicates() -> None:
    muons = pool().muons
    both = GmtMuon.unpack(muons.rows[muons.drawn - muons.ghosts : muons.drawn + muons.ghosts])
    half = muons.ghosts
    turn = (both["hw_phi"][:half].astype(int) - both["hw_phi"][half:] + 288) % TURN - 288
    assert np.median(np.abs(turn)) < 20
    eta = both["hw_eta_at_vtx"].astype(int)
    assert np.median(np.abs(eta[:half] - eta[half:])) < 8
    assert np.all(both["tf_muon_index"][:half] // 3 != both["tf_muon_index"][half:] // 3)


def test_calorimeter_crossings() -> None:
    """Every body is a good DMA block; more collisions, more objects."""
    calos = pool().calos
    count = calos.sizes[2] * calos.sizes[3]
    heads = np.array([[0, i % 3564 + 1, 0] for i in range(count)], np.uint32)
    words = np.concatenate([heads, calos.bodies[:count]], axis=1)
    found, bad = unpack("calo", packets_of([words.ravel()], [0], [2]))
    assert not bad
    for table, name in enumerate(("jet", "eg", "sums", "tau")):
        if name == "sums":
            continue
        counts = np.zeros(count, np.int64)
        counts[found[name].bx.astype(int) - 1] = found[name].counts
        np.testing.assert_array_equal(counts, calos.numbers[:count, table])
        strata = counts.reshape(calos.sizes[2], -1).mean(axis=1)
        assert strata[12] > 1.5 * strata[6] > 0
    et = found["sums"].columns["hw_ett"].reshape(calos.sizes[2], -1).mean(axis=1)
    assert np.all(np.diff(et) > 0)
