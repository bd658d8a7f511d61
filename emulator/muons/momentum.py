"""The momentum that a track finder assigns: tables fitted to muons of the detector model.

A finder's table says, for the pattern of hit stations, how differences of azimuth and bending
angles (and their products with |eta| and its square) add up to charge / pt. It is fitted in two
steps: over all momenta, then in bins of the first result. Muons are flat in 1 / pt, weighted with
pt. The momentum is smeared, as the preset says, and scaled so that a given part passes a threshold
at its momentum.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from scout40.emulator.muons.draws import Keys, draws, keys_of, normal, seed_key, uniform
from scout40.emulator.muons.fit import fit_groups
from scout40.emulator.muons.propagate import Tracks, propagate
from scout40.emulator.muons.response import Response
from scout40.emulator.muons.stations import PATTERNS, SMEAR, Seen, finder_of, look

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FINDERS = 3
CENTRE = np.array([0.42, 1.03, 1.8])
"""|eta| around which the products with |eta| are taken."""
EDGES = 1 / np.array([40.0, 20.0, 12.0, 8.0, 6.0, 4.5, 3.5])
"""Borders in |charge / pt| of the second step, 1 / GeV."""
LEAST_MUONS = 400
"""Muons in a bin of the second step, below which it only scales the first step's result."""
LEAST_PT, MOST_PT = 1.5, 255.0
BEAM_XY, BEAM_Z = 12.5e-6, 0.045
"""Standard deviations of the place of collisions, m."""


class Momentum(NamedTuple):
    """Tables: first (3 * 64, 24), second (3 * 64 * 8, 24), scale (3,)."""

    first: Array
    second: Array
    scale: Array


def assigned(seen: Seen, finder: Ints, keys: Keys, tables: Momentum, response: Response) -> Array:
    """charge * pt in GeV as a finder gives it, before it is cut to hardware steps."""
    kappa = estimate(seen, finder, tables)
    pt = np.clip(1 / np.maximum(np.abs(kappa), 1e-3), LEAST_PT, MOST_PT)
    smear = np.asarray(response.smear)[finder] * normal(keys, SMEAR)
    result: Array = np.where(kappa < 0, -1.0, 1.0) * pt * np.exp(smear) * tables.scale[finder]
    return result


def estimate(seen: Seen, finder: Ints, tables: Momentum) -> Array:
    """charge / pt, 1 / GeV."""
    inputs, group = _inputs(seen, finder), finder * PATTERNS + seen.pattern
    first = _applied(inputs, tables.first, group)
    return _applied(inputs, tables.second, _bins(group, first))


def _inputs(seen: Seen, finder: Ints) -> Array:
    shift = np.abs(seen.eta) - CENTRE[finder]
    once = seen.features * shift[:, None]
    return np.concatenate([seen.features, once, once * shift[:, None]], axis=1)


def _bins(group: Ints, kappa: Array) -> Ints:
    return group * (len(EDGES) + 1) + np.digitize(np.abs(kappa), EDGES)


def _applied(inputs: Array, table: Array, group: Ints) -> Array:
    total = np.zeros(len(inputs))
    for column in range(inputs.shape[1]):  # in this order, so that the bits are always the same
        total += inputs[:, column] * table[group, column]
    return total


def prompt(pt: Array, eta: Array, keys: Keys) -> Tracks:
    """Muons of these momenta from collisions, with any charge and azimuth; uses draws 0 to 9."""
    azimuth = 2 * np.pi * uniform(keys, 8) - np.pi
    charge = np.where(uniform(keys, 9) < 0.5, -1.0, 1.0)
    x, y, z = (size * normal(keys, k) for k, size in enumerate((BEAM_XY, BEAM_XY, BEAM_Z)))
    return Tracks(pt, eta, azimuth, charge, x, y, z)


def fit_momentum(response: Response) -> Momentum:
    """Tables of a response, computed; the same on any number of threads."""
    keys = keys_of(seed_key("calibration", response.calibration_seed), response.calibration_fit)
    low, high = response.calibration_fit_pt
    pt = 1 / (1 / high + uniform(keys, 10) * (1 / low - 1 / high))
    seen, finder, tracks, _ = _gun(prompt(pt, _even(keys), draws(keys, 0)), keys, response)
    inputs, kappa = _inputs(seen, finder), tracks.charge / tracks.pt
    group, count = finder * PATTERNS + seen.pattern, FINDERS * PATTERNS
    first = fit_groups(inputs, kappa, tracks.pt, group, count)
    bins = len(EDGES) + 1
    once = _applied(inputs, first, group)
    place = _bins(group, once)
    second = fit_groups(inputs, kappa, tracks.pt, place, count * bins)
    factor = fit_groups(once[:, None], kappa, tracks.pt, place, count * bins)
    few = np.bincount(place, minlength=count * bins) < LEAST_MUONS
    second[few] = (factor * np.repeat(first, bins, axis=0))[few]
    tables = Momentum(first, second, np.ones(FINDERS))
    return tables._replace(scale=_scale(tables, response))


def _scale(tables: Momentum, response: Response) -> Array:
    """Factors with which the wanted part of the muons passes a threshold at its momentum."""
    keys = keys_of(seed_key("scale", response.calibration_seed), response.calibration_scale)
    seen, finder, tracks, used = _gun(falling(keys, response), keys, response)
    ratio = np.abs(assigned(seen, finder, used, tables, response)) / tracks.pt
    below = 1 - response.calibration_pass
    return np.array([1 / np.quantile(ratio[finder == kind], below) for kind in range(FINDERS)])


def falling(keys: Keys, response: Response) -> Tracks:
    """Muons of the falling spectrum of the calibration, even in eta."""
    low, power = response.calibration_scale_pt
    pt = np.minimum(low * uniform(keys, 10) ** (-1 / power), MOST_PT)
    return prompt(pt, _even(keys), draws(keys, 0))


def _even(keys: Keys) -> Array:
    return 5.0 * uniform(keys, 11) - 2.5


def _gun(tracks: Tracks, keys: Keys, response: Response) -> tuple[Seen, Ints, Tracks, Keys]:
    """What the finders see of these muons."""
    crossings = propagate(tracks, draws(keys, 1))
    noise = draws(keys, 2)
    finder = finder_of(crossings, response)
    seen = look(crossings, finder, noise, response)
    rows = np.flatnonzero(seen.found)
    return seen.take(rows), finder[rows], tracks.take(rows), noise[rows]
