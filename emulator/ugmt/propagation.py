"""Extrapolation tables of the global muon trigger, from muons propagated through the detector.

A track finder gives azimuth and pseudorapidity at the second muon station. Tables by coarse |eta|
there and by transverse momentum say how far both are from their values at the vertex. They are
computed here in three steps:

1. `crossings` moves muons of both grids below through a detector of cylinders (`REGIONS`): helix
   in the solenoid, return field in the iron, energy loss in calorimeters, coil and iron.
2. Their displacement is read off at the centre of each |eta| bin of the table.
3. A track finder's momentum is not the true one: it is scaled so that 90 % of the muons pass a
   threshold at their momentum, and resolved to `RESOLUTION`. An entry is the mean over true
   momenta that have this result and reach the station. So entries flatten at low momentum, where
   all muons come from just above the threshold of reaching the station.

Azimuth is cut off to the table's unit, as in the firmware's tables, pseudorapidity rounded. Codes
above the table's range saturate.

Only dimensions and fields of the detector and the resolution are parameters, and none was adjusted
bin by bin; RESOLUTION and the choice of rounding follow from the comparison with the official
tables of 5 May 2017, in the bins that a track finder fills and from 3 GeV (hw_pt 7) on:

======  =======  ===========  =======  =====  ========
kind    table    mean |diff|  largest  equal  within 1
======  =======  ===========  =======  =====  ========
bmtf    azimuth  0.17         3        84 %   99 %
bmtf    eta      0.11         6        93 %   98 %
omtf    azimuth  0.47         8        66 %   95 %
omtf    eta      0.42         12       75 %   94 %
emtf    azimuth  0.47         6        75 %   91 %
emtf    eta      0.28         5        74 %   99 %
======  =======  ===========  =======  =====  ========

Differences above 2 lie below 6.5 GeV, and where track finders meet (|eta| 0.9 to 1.4): the official
entries there hold the response of two kinds of chambers, which no propagation gives. The 6-bit
azimuth table of 17 February 2017 agrees too (83 % equal, 98 % within 1). Those of 2016 are about
half as large in the barrel.

Units: metre, GeV, tesla, rad.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from scout40.streams.formats.scales import MUON_ETA, MUON_PHI

Kind = Literal["bmtf", "omtf", "emtf"]
Array = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint8]

PHI_STEP, ETA_STEP = MUON_PHI.lsb, MUON_ETA.lsb
PT_STEP = 0.5

MUON_MASS = 0.10566
CURVATURE = 0.299792458
"""Transverse momentum in GeV over radius in m, in a field of 1 T."""
STEP = 0.05
"""Path length of one step."""
PATH = 12.0
"""Path length at which the propagation ends; the station at z = 8.2 and |eta| 0.95 is at 11.1."""
STOPPED = 0.3
"""Energy below which a muon is given up."""


@dataclass(frozen=True)
class Region:
    """A hollow cylinder, both sides in z; radii and |z| in m, field along z in T, loss in GeV/m."""

    r: tuple[float, float]
    z: tuple[float, float]
    field: float = 0.0
    loss: float = 0.0


REGIONS = (
    Region((0.0, 2.95), (0.0, 6.5), field=3.8),  # the solenoid's bore
    Region((1.29, 2.95), (0.0, 3.0), loss=1.0),  # barrel calorimeters: crystals and brass
    Region((0.0, 2.95), (3.2, 5.6), loss=1.0),  # endcap calorimeters
    Region((2.95, 3.25), (0.0, 6.5), loss=0.7),  # coil and cryostat
    Region((4.55, 4.85), (0.0, 6.6), field=-1.8, loss=1.2),  # inner layer of the barrel yoke
    Region((5.30, 5.95), (0.0, 6.6), field=-1.8, loss=1.2),  # middle layer
    Region((0.0, 2.9), (6.6, 9.0), field=0.6),  # endcap, where the flux spreads
    Region((2.9, 7.5), (6.6, 9.0), field=-0.4),  # and where it returns
    Region((0.0, 7.5), (7.05, 7.65), loss=1.2),  # first iron disc
)
LOSS_RISE = 0.04
"""Growth of the loss with the logarithm of the momentum in GeV."""

BARREL_STATION = 5.0
"""Radius of the second barrel station; its wheels end at |z| = BARREL_END."""
BARREL_END = 6.6
ENDCAP_STATION = 8.2
"""|z| of the second endcap station."""

RESOLUTION = 0.11
"""Standard deviation of the logarithm of a track finder's momentum."""
QUANTILE_90 = 1.2816
"""Standard deviations of a normal distribution above which 10 % lie."""

TRACK_PT = np.geomspace(1.2, 150.0, 60)
TRACK_ETA = np.arange(0.0, 2.7, 0.05)

SURFACES: dict[Kind, tuple[str, ...]] = {
    "bmtf": ("barrel",),
    "omtf": ("barrel", "endcap"),
    "emtf": ("endcap",),
}
"""Stations of a track finder; of two the first that a muon reaches counts."""
COVERAGE: dict[Kind, tuple[int, int]] = {"bmtf": (0, 88), "omtf": (72, 128), "emtf": (88, 232)}
"""First and end of |hw_eta| that a track finder reports; entries outside are 0."""
OUTPUT_BITS = {2: 4, 3: 3}
"""Width of the azimuth output by its shift."""
ETA_OUTPUT_BITS = 4


def extrapolation_tables(
    kind: Kind, eta_bits: int, pt_bits: int, phi_shift: int
) -> tuple[Codes, Codes]:
    """(azimuth, pseudorapidity) tables of a track finder, uint8 (2**(eta_bits + pt_bits),) each.

    Address: top ``eta_bits`` of the 8-bit |hw_eta| above the low ``pt_bits`` of hw_pt, that is
    ((|eta| >> 3) & 31) << 7 | pt for 5 and 7 bits, ((|eta| >> 2) & 63) << 6 | pt for 6 and 6.
    Azimuth entries count 2**phi_shift hw_phi, in 4 bits for shift 2 (from 2017) and 3 bits for
    shift 3 (before). The firmware with shift 3 does not extrapolate pseudorapidity: all 0.
    Signs are the firmware's: azimuth grows for positive muons, |eta| shrinks.
    """
    width = 1 << (8 - eta_bits)
    low = np.arange(1 << eta_bits) * width
    centre = (low.astype(np.float64) + (width - 1) / 2) * ETA_STEP
    moved = _displacements(SURFACES[kind], centre)
    dphi, deta = _mean(moved, _likelihood(1 << pt_bits))
    first, end = COVERAGE[kind]
    empty = (low < first) | (low >= end)
    phi = np.floor(dphi / PHI_STEP / (1 << phi_shift))
    eta = np.floor(deta / ETA_STEP + 0.5) if phi_shift == 2 else np.zeros_like(deta)
    return _codes(phi, OUTPUT_BITS[phi_shift], empty), _codes(eta, ETA_OUTPUT_BITS, empty)


def _codes(values: Array, bits: int, empty: npt.NDArray[np.bool_]) -> Codes:
    codes = np.clip(values, 0, (1 << bits) - 1).astype(np.uint8)
    codes[empty] = 0
    codes[:, 0] = 0  # hw_pt 0 is no muon
    return codes.ravel()


def _likelihood(codes: int) -> Array:
    """(true pt, hw_pt): logarithm of how likely the track finder gives hw_pt to TRACK_PT."""
    given = np.maximum(np.arange(codes) - 0.5, 0.25) * PT_STEP  # bin centre; hw 1 begins at 0
    typical = np.log(given) - QUANTILE_90 * RESOLUTION
    result: Array = -0.5 * ((np.log(TRACK_PT)[:, None] - typical) / RESOLUTION) ** 2
    return result


def _mean(moved: tuple[Array, Array], likelihood: Array) -> tuple[Array, Array]:
    """Means of (bin, true pt) over the true momenta that reach the station, as (bin, hw_pt)."""
    out = np.zeros((2, len(moved[0]), likelihood.shape[1]))
    for row, reach in enumerate(np.isfinite(moved[0])):
        if reach.any():
            share = likelihood[reach] - likelihood[reach].max(axis=0)
            weight = np.exp(share)
            weight /= weight.sum(axis=0)
            out[:, row] = [values[row, reach] @ weight for values in moved]
    return out[0], out[1]


def _displacements(surfaces: tuple[str, ...], at: Array) -> tuple[Array, Array]:
    """(vertex - station azimuth, station - vertex eta) at station eta ``at``: (bin, TRACK_PT).

    NaN where no muon of this momentum arrives.
    """
    tracks = _grid()
    phi, eta = tracks[surfaces[0]]
    for surface in surfaces[1:]:
        missed = np.isnan(phi)
        phi, eta = (np.where(missed, b, a) for a, b in zip((phi, eta), tracks[surface],
                                                           strict=True))  # fmt: skip
    dphi, deta = np.full((2, len(at), len(TRACK_PT)), np.nan)
    for column in range(len(TRACK_PT)):
        arrived = np.flatnonzero(np.isfinite(phi[:, column]))
        if len(arrived) > 1:
            arrived = arrived[np.argsort(eta[arrived, column], kind="stable")]
            here = eta[arrived, column]
            off = {"left": np.nan, "right": np.nan}
            dphi[:, column] = np.interp(at, here, -phi[arrived, column], **off)
            deta[:, column] = np.interp(at, here, here - TRACK_ETA[arrived], **off)
    return dphi, deta


@functools.cache
def _grid() -> dict[str, tuple[Array, Array]]:
    """`crossings` of all pairs of TRACK_ETA and TRACK_PT, as (eta, pt) arrays."""
    eta, pt = np.meshgrid(TRACK_ETA, TRACK_PT, indexing="ij")
    found = crossings(pt.ravel(), eta.ravel())
    return {
        name: (phi.reshape(eta.shape), at.reshape(eta.shape)) for name, (phi, at) in found.items()
    }


def crossings(pt: Array, eta: Array) -> dict[str, tuple[Array, Array]]:
    """Azimuth and eta of positive muons at the second stations; NaN where they do not arrive.

    pt, eta: (n,), eta >= 0; muons start at the origin with azimuth 0. Result: ``barrel`` and
    ``endcap`` -> two arrays (n,). Mirror images give the other charge and side.
    """
    p = pt * np.cosh(eta)
    transverse, along = 1 / np.cosh(eta), np.tanh(eta)
    x, y, z, direction, r = (np.zeros_like(p) for _ in range(5))
    found = {name: np.full((2, len(p)), np.nan) for name in ("barrel", "endcap")}
    for _ in range(round(PATH / STEP)):
        field, loss = _medium(r, z)
        turn = -CURVATURE * field * STEP / p
        middle = direction + turn / 2
        step = np.where(p > STOPPED, STEP, 0.0)
        nx = x + step * transverse * np.cos(middle)
        ny = y + step * transverse * np.sin(middle)
        nz = z + step * along
        nr = np.hypot(nx, ny)
        for name, before, after, limit in (
            ("barrel", r, nr, BARREL_STATION), ("endcap", z, nz, ENDCAP_STATION),
        ):  # fmt: skip
            hit = np.flatnonzero((before < limit) & (after >= limit) & np.isnan(found[name][0]))
            part = (limit - before[hit]) / (after[hit] - before[hit])
            hx, hy, hz = (a[hit] + part * (b[hit] - a[hit]) for a, b in ((x, nx), (y, ny), (z, nz)))
            found[name][:, hit] = np.arctan2(hy, hx), np.arcsinh(hz / np.hypot(hx, hy))
        direction += turn
        energy = np.sqrt(p * p + MUON_MASS**2) - loss * step * (1 + LOSS_RISE * np.log(p))
        p = np.sqrt(np.maximum(energy, STOPPED) ** 2 - MUON_MASS**2)
        x, y, z, r = nx, ny, nz, nr
    outside = np.sinh(found["barrel"][1]) * BARREL_STATION > BARREL_END
    found["barrel"][:, outside] = np.nan
    return {name: (values[0], values[1]) for name, values in found.items()}


def _medium(r: Array, z: Array) -> tuple[Array, Array]:
    """Field and loss at these places."""
    field, loss = np.zeros_like(r), np.zeros_like(r)
    for region in REGIONS:
        inside = (r >= region.r[0]) & (r < region.r[1]) & (z >= region.z[0]) & (z < region.z[1])
        if region.field:
            field += region.field * inside
        if region.loss:
            loss += region.loss * inside
    return field, loss
