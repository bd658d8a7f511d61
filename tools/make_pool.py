"""Makes the packaged pool of the synthetic stream: muons, pairs of rare processes, crossings.

    python -m scout40.tools.make_pool OUTPUT.npz

Nothing here is simulated or recorded: kinematics come from parametrised spectra and two-body
decays, the Level-1 response from resolutions. docs/stream.md says what each stands for. The same
seed gives the same pool.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.streams.formats.gmt import GmtMuon
from scout40.tools.make_pool_calo import (
    CROSSINGS,
    N_PU_FIRST,
    N_PU_STEP,
    N_PU_STRATA,
    crossings,
    ttbar_crossings,
)

Array = npt.NDArray[Any]
Rng = np.random.Generator

SEED = 4040
SINGLES = 30_000
GHOSTS = 630  # 2 % of what is drawn
FAKES = 470  # 1.5 %
PAIRS = 2048
TTBAR = 256
MUON_MASS = 0.10566

BARREL_END, OVERLAP_END, ETA_END = 0.83, 1.24, 2.4
SMEAR = np.array([0.154, 0.235, 0.317])
"""Width of ln(pt of Level-1 / true pt): barrel, overlap, endcap; of the order of 2018 data."""
SCALE = np.array([1.19, 1.30, 1.46])
"""Level-1 pt is scaled up so that 90 % of the muons pass a threshold at their pt."""
BEND = np.array([2.5, 2.0, 1.55])
"""rad GeV: azimuth at the vertex minus that at the station, times charge and pt."""
ETA_SMEAR = np.array([0.042, 0.042, 0.022])
TURN, ETA_LSB, COARSE = 576, 0.010875, 8
SPECTRUM_PT, SPECTRUM_POWER = 3.0, 5.0
"""Muons above pt: (1 + pt / 3 GeV)^-5."""

JPSI_NB, Z_NB, TTBAR_NB = 2500.0, 2.0, 0.92
"""Cross section times branching fraction in |y| < 2.6 (J/psi), else everywhere; 13.6 TeV, rounded
values of the order of published ones."""


@dataclass(frozen=True)
class Muons:
    """True kinematics: GeV, pseudorapidity, radians, charge +1 or -1; equal shapes."""

    pt: Array
    eta: Array
    phi: Array
    charge: Array

    def take(self, where: Array) -> Muons:
        return Muons(self.pt[where], self.eta[where], self.phi[where], self.charge[where])


def region_of(eta: Array) -> npt.NDArray[np.int64]:
    """0 barrel, 1 overlap, 2 endcap."""
    return np.digitize(np.abs(eta), [BARREL_END, OVERLAP_END])


def reach(eta: Array) -> Array:
    """Lowest pt that gets to the second muon station, GeV."""
    endcap = np.maximum(1.8, 6.0 / np.cosh(eta))
    return np.select([np.abs(eta) < BARREL_END, np.abs(eta) < OVERLAP_END], [3.4, 3.0], endcap)


def response(rng: Rng, muons: Muons, region: Array | None = None) -> dict[str, Array]:
    """Columns of GmtMuon as the trigger would measure these muons; region: who finds them."""
    count = len(muons.pt)
    region = region_of(muons.eta) if region is None else region
    measured = muons.pt * SCALE[region] * np.exp(SMEAR[region] * rng.standard_normal(count))
    hw_pt = np.clip(np.rint(2 * measured).astype(np.int64) + 1, 2, 511)
    charge = np.where(rng.random(count) < 0.04, -muons.charge, muons.charge)
    scatter = np.hypot(0.002, 0.03 / muons.pt) * rng.standard_normal(count)
    at_station = muons.phi - muons.charge * BEND[region] / muons.pt + scatter
    hw_phi = np.floor(at_station / (2 * np.pi) * TURN).astype(np.int64) % TURN
    # The extrapolation table works in steps of four codes, up to six bits of pt.
    moved = 4 * np.rint(BEND[region] * SCALE[region] / measured / (2 * np.pi) * TURN / 4)
    moved = np.where(hw_pt < 64, moved, 0).astype(np.int64)
    eta = muons.eta + ETA_SMEAR[region] * rng.standard_normal(count)
    code = np.rint(eta / ETA_LSB).astype(np.int64)
    coarse = (region < 2) & (rng.random(count) < 0.2)
    code = np.where(coarse, COARSE * np.rint(code / COARSE).astype(np.int64), code)
    code = np.clip(code, -225, 225)
    inward = np.clip(np.rint(6 / measured), 0, 3).astype(np.int64)
    wide = muons.pt * np.exp(0.4 * rng.standard_normal(count))
    return {
        "hw_pt": hw_pt,
        "hw_phi": hw_phi,
        "hw_phi_at_vtx": (hw_phi + charge.astype(np.int64) * moved) % TURN,
        "hw_eta_at_vtx": code,
        "hw_eta_first": code + np.sign(code) * inward,
        "hw_qual": rng.choice([12, 8, 4], count, p=(0.8, 0.14, 0.06)),
        "hw_iso": rng.choice(4, count, p=(0.55, 0.1, 0.15, 0.2)),
        "hw_sign": (charge < 0).astype(np.int64),
        "hw_charge_valid": (rng.random(count) < 0.97).astype(np.int64),
        "tf_muon_index": 3 * link_of(region, code, hw_phi) + rng.integers(0, 3, count),
        "hw_pt_unconstrained": np.clip(np.rint(wide).astype(np.int64) + 1, 1, 255),
        "hw_dxy": rng.choice(4, count, p=(0.88, 0.08, 0.03, 0.01)),
    }


def link_of(region: Array, hw_eta: Array, hw_phi: Array) -> npt.NDArray[np.int64]:
    """Input 0..35 of the track finder that sees this direction.

    Endcap + 0..5, overlap + 6..11, barrel 12..23, overlap - 24..29, endcap - 30..35; the first
    barrel wedge is centred at azimuth 0, the first 60 degrees of the others begin at 15.
    """
    wedge = (hw_phi + 24) % TURN // 48
    sixth = (hw_phi - 24) % TURN // 96
    above = hw_eta >= 0
    overlap, endcap = np.where(above, 6, 24), np.where(above, 0, 30)
    return np.where(region == 0, 12 + wedge, sixth + np.where(region == 1, overlap, endcap))


def rows(columns: dict[str, Array]) -> npt.NDArray[np.uint32]:
    """Hardware words, shape (n, 3), as first muon of a pair of words."""
    return GmtMuon.pack(columns).astype(np.uint32)


def single_muons(rng: Rng, count: int, near: Array | None = None) -> Muons:
    """Muons of decays in flight and heavy flavour; near: |eta| around which they lie.

    The rate in eta is the length of the decay path times what is above the reach.
    """
    grid = np.linspace(0, ETA_END, 481)
    middle = (grid[1:] + grid[:-1]) / 2
    path = np.minimum(1.3, 3.2 / np.sinh(middle))  # metres: radius of the calorimeters, or length
    rate = path * (1 + reach(middle) / SPECTRUM_PT) ** -SPECTRUM_POWER
    if near is None:
        total = np.concatenate([[0], np.cumsum(rate)])
        eta = np.interp(_even(rng, count) * total[-1], total, grid)
    else:
        eta = near + rng.uniform(-0.04, 0.04, count)
    above = _even(rng, count) ** (-1 / SPECTRUM_POWER)
    pt = SPECTRUM_PT * ((1 + reach(eta) / SPECTRUM_PT) * above - 1)
    return Muons(pt, eta * _sign(rng, count), rng.uniform(0, 2 * np.pi, count), _sign(rng, count))


def _even(rng: Rng, count: int) -> Array:
    """Quantiles of the uniform distribution in random order: spectra without outliers."""
    return rng.permutation((np.arange(count) + 0.5) / count)


def _sign(rng: Rng, count: int) -> Array:
    return rng.choice([-1.0, 1.0], count)


def background(rng: Rng) -> dict[str, Array]:
    """Rows that are drawn alone, those that have a ghost, and the ghosts in the same order."""
    alone = rows(response(rng, single_muons(rng, SINGLES)))
    fake = response(rng, single_muons(rng, FAKES))
    fake["hw_qual"] = rng.choice([0, 4], FAKES, p=(0.3, 0.7))
    fake["hw_charge_valid"] = rng.integers(0, 2, FAKES)
    border = rng.choice([BARREL_END, OVERLAP_END], GHOSTS)
    seen = single_muons(rng, GHOSTS, near=border)
    inner = np.where(border == BARREL_END, 0, 1)  # found on both sides of the border
    return {
        "mu": np.concatenate([alone, rows(fake), rows(response(rng, seen, inner))]),
        "mu_ghost": rows(response(rng, seen, inner + 1)),
    }


def two_muons(rng: Rng, mass: Array, pt: Array, rapidity: Array) -> tuple[Muons, Muons]:
    """Isotropic decays of particles of these masses, transverse momenta and rapidities."""
    count = len(mass)
    cosine, angle = rng.uniform(-1, 1, count), rng.uniform(0, 2 * np.pi, count)
    sine, momentum = np.sqrt(1 - cosine**2), np.sqrt(mass**2 / 4 - MUON_MASS**2)
    rest = momentum * np.array([sine * np.cos(angle), sine * np.sin(angle), cosine])
    azimuth = rng.uniform(0, 2 * np.pi, count)
    transverse = np.hypot(mass, pt)
    parent = np.array([pt * np.cos(azimuth), pt * np.sin(azimuth), transverse * np.sinh(rapidity)])
    energy = transverse * np.cosh(rapidity)
    found = []
    for sign in (1.0, -1.0):
        along = sign * (rest * parent).sum(axis=0)
        p = sign * rest + parent * (along / (energy + mass) + mass / 2) / mass
        found.append(
            Muons(
                np.hypot(p[0], p[1]), np.arctanh(p[2] / np.sqrt((p**2).sum(axis=0))),
                np.arctan2(p[1], p[0]) % (2 * np.pi), np.full(count, sign),
            )
        )  # fmt: skip
    return found[0], found[1]


def pairs(
    rng: Rng, name: str, mass: Array, pt: Array, rapidity: Array, cross_section: float
) -> dict[str, Array]:
    """PAIRS pairs whose muons both reach the stations, and their cross section in nb."""
    first, second = two_muons(rng, mass, pt, rapidity)
    good = np.ones(len(mass), bool)
    for muons in (first, second):
        good &= (muons.pt > reach(muons.eta)) & (np.abs(muons.eta) < ETA_END)
        good &= rng.random(len(mass)) < 0.93
    chosen = np.flatnonzero(good)[:PAIRS]
    if len(chosen) < PAIRS:
        raise ValueError(f"{name}: only {len(chosen)} of {len(mass)} pairs are seen")
    both = [rows(response(rng, muons.take(chosen))) for muons in (first, second)]
    made = np.stack(both, axis=1).reshape(-1, GmtMuon.words)
    return {name: made, f"{name}_nb": np.array(cross_section * good.mean())}


def jpsi(rng: Rng, count: int = 600_000) -> dict[str, Array]:
    """Spectrum of pt: pt / (1 + (pt / 4.2 GeV)^2)^3.3; flat in rapidity."""
    pt = 4.2 * np.sqrt(rng.random(count) ** (-1 / 2.3) - 1)
    mass = np.full(count, 3.0969)
    return pairs(rng, "jpsi", mass, pt, rng.uniform(-2.6, 2.6, count), JPSI_NB)


def drell_yan(rng: Rng, count: int = 40_000) -> dict[str, Array]:
    """The Z peak between 60 and 120 GeV."""
    low, high = (np.arctan((edge - 91.19) / (2.495 / 2)) for edge in (60.0, 120.0))
    mass = 91.19 + 2.495 / 2 * np.tan(rng.uniform(low, high, count))
    pt = 12.0 * np.sqrt(rng.random(count) ** (-1 / 1.3) - 1)
    return pairs(rng, "dy", mass, pt, np.clip(rng.normal(0, 1.9, count), -4, 4), Z_NB)


def ttbar(rng: Rng) -> dict[str, Array]:
    """Up to two muons of W and b decays an event, and crossings with its jets."""
    seen = np.arange(2) < rng.choice(3, TTBAR, p=(0.62, 0.33, 0.05))[:, None]
    count = 2 * TTBAR
    eta = np.clip(rng.normal(0, 1.2, count), -ETA_END, ETA_END)
    pt = reach(eta) + rng.exponential(25.0, count)
    muons = Muons(pt, eta, rng.uniform(0, 2 * np.pi, count), _sign(rng, count))
    made = np.where(seen.reshape(-1, 1), rows(response(rng, muons)), np.uint32(0))
    crossing = ttbar_crossings(rng, TTBAR)
    return {"ttbar": made, "ttbar_nb": np.array(TTBAR_NB), "ttbar_calo": crossing}


def make_pool(seed: int = SEED) -> dict[str, Array]:
    """All arrays of the pool by name; streams/sources/synthetic_pool.py says what they are."""
    rng = np.random.default_rng(seed)
    pool = background(rng) | jpsi(rng) | drell_yan(rng) | ttbar(rng)
    pool["calo"] = crossings(rng)
    pool["calo_sizes"] = np.array([N_PU_FIRST, N_PU_STEP, N_PU_STRATA, CROSSINGS])
    return pool


if __name__ == "__main__":
    arrays: dict[str, Any] = dict(make_pool())
    np.savez_compressed(sys.argv[1], **arrays)
