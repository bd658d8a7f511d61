"""Muons from where they are made to the muon stations: bending, energy loss, scattering.

Steps of 5 cm: the direction turns in the field along the beam, energy is lost (more
with the logarithm of the momentum, and up to 24 % more by straggling), and the direction scatters
by Highland's angle without its logarithm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from scout40.emulator.muons.detector import (
    BARREL_RADII,
    COLUMNS,
    END_R,
    END_Z,
    ENDCAP_PLANES,
    ENDCAP_REACH,
    STATIONS,
    Grid,
    grid,
)
from scout40.emulator.muons.draws import Keys, draw, unit
from scout40.emulator.ugmt.propagation import (
    BARREL_END,
    CURVATURE,
    LOSS_RISE,
    MUON_MASS,
    STEP,
    STOPPED,
)
from scout40.streams.jit import njit, pointer

Array = npt.NDArray[np.float64]

_STEP, _BEND, _RISE, _MASS, _STOPPED = STEP, CURVATURE, LOSS_RISE, MUON_MASS, STOPPED
_END_R, _END_Z, _COLUMNS, _CELLS = END_R, END_Z, COLUMNS, 1 / STEP
_BARREL_END, _NEAR, _FAR = BARREL_END, ENDCAP_REACH[0], ENDCAP_REACH[1]
_BARREL, _ENDCAP = len(BARREL_RADII), len(ENDCAP_PLANES)
_MOST_STEPS = 400
_STRAGGLING = 0.24
_HIGHLAND = 0.0136


@dataclass(frozen=True)
class Tracks:
    """Charged particles where they are made, (n,) each.

    pt in GeV, pseudorapidity and azimuth (rad) of the momentum; charge +1 or -1; x, y, z in m.
    """

    pt: Array
    eta: Array
    phi: Array
    charge: Array
    x: Array
    y: Array
    z: Array

    def take(self, where: Any) -> Tracks:
        """Some of them, by index or mask."""
        return Tracks(*(getattr(self, name)[where] for name in self.__dataclass_fields__))

    def __len__(self) -> int:
        return len(self.pt)


class Crossings(NamedTuple):
    """float64 (n, 8) at barrel stations 1..4 and endcap stations 1..4; NaN where not crossed.

    phi: azimuth of the place, rad. bend: azimuth of the direction minus ``phi``, -pi..pi. eta:
    pseudorapidity of the place as seen from the origin.
    """

    phi: Array
    bend: Array
    eta: Array

    def take(self, where: Any) -> Crossings:
        """Those of some tracks, by index or mask."""
        return Crossings(self.phi[where], self.bend[where], self.eta[where])


def propagate(tracks: Tracks, keys: Keys) -> Crossings:
    """Where the tracks cross the stations; ``keys``: one for each, for losses and scattering."""
    out = np.full((3, len(tracks), STATIONS), np.nan)
    _propagate(
        tracks.pt, tracks.eta, tracks.phi, tracks.charge, tracks.x, tracks.y, tracks.z, keys,
        grid(), np.array(BARREL_RADII), np.array(ENDCAP_PLANES), out,
    )  # fmt: skip
    return Crossings(out[0], out[1], out[2])


@njit
def _propagate(
    pt: Any, eta: Any, phi: Any, charge: Any, x: Any, y: Any, z: Any, keys: Any,
    medium: Grid, radii: Any, planes: Any, out: Any,
) -> None:  # fmt: skip
    inside = Grid(pointer(medium.field), pointer(medium.loss), pointer(medium.scatter))
    station_r, station_z = pointer(radii), pointer(planes)
    for k in range(len(pt)):
        along = math.tanh(eta[k])
        across = math.sqrt(1.0 - along * along)
        _one(
            pt[k] / across, charge[k], x[k], y[k], z[k],
            across * math.cos(phi[k]), across * math.sin(phi[k]), along,
            keys[k], inside, station_r, station_z, out, k,
        )  # fmt: skip


@njit
def _one(
    p: float, charge: float, x: float, y: float, z: float, dx: float, dy: float, dz: float,
    key: Any, medium: Grid, radii: Any, planes: Any, out: Any, k: int,
) -> None:  # fmt: skip
    r = math.hypot(x, y)
    for number in range(_MOST_STEPS):
        cell = int(r * _CELLS) * _COLUMNS + int(abs(z) * _CELLS)
        half = -0.5 * _BEND * charge * medium.field[cell] * _STEP / p
        if half != 0.0:
            dx, dy = _turned(dx, dy, half)
        nx, ny, nz = x + dx * _STEP, y + dy * _STEP, z + dz * _STEP
        if half != 0.0:
            dx, dy = _turned(dx, dy, half)
        nr = math.hypot(nx, ny)
        for station in range(_BARREL):
            if r < radii[station] <= nr and math.isnan(out[0, k, station]):
                part = (radii[station] - r) / (nr - r)
                if abs(z + part * (nz - z)) < _BARREL_END:
                    _cross(x, y, z, nx, ny, nz, part, dx, dy, out, k, station)
        for station in range(_ENDCAP):
            place = _BARREL + station
            if abs(z) < planes[station] <= abs(nz) and math.isnan(out[0, k, place]):
                part = (planes[station] - abs(z)) / (abs(nz) - abs(z))
                if _NEAR < r + part * (nr - r) < _FAR:
                    _cross(x, y, z, nx, ny, nz, part, dx, dy, out, k, place)
        x, y, z, r = nx, ny, nz, nr
        if r > _END_R or abs(z) > _END_Z:
            return
        if medium.loss[cell] > 0.0:
            more = _STRAGGLING * unit(draw(key, 3 * number))
            lost = medium.loss[cell] * _STEP * (1.0 + _RISE * math.log(p))
            energy = math.sqrt(p * p + _MASS * _MASS) - lost * (1.0 + more)
            if energy < _STOPPED:
                return
            p = math.sqrt(energy * energy - _MASS * _MASS)
        if medium.scatter[cell] > 0.0:
            angle = _HIGHLAND / p * math.sqrt(_STEP * medium.scatter[cell])
            sideways, upwards = _pair(key, number, angle)
            dx, dy, dz = _scattered(dx, dy, dz, sideways, upwards)


@njit
def _pair(key: Any, number: int, size: float) -> tuple[float, float]:
    """Two normal numbers of this size, from the draws 3 number + 1 and 3 number + 2."""
    radius = size * math.sqrt(-2.0 * math.log(unit(draw(key, 3 * number + 1))))
    angle = 2.0 * math.pi * unit(draw(key, 3 * number + 2))
    return radius * math.cos(angle), radius * math.sin(angle)


@njit
def _turned(dx: float, dy: float, angle: float) -> tuple[float, float]:
    c, s = math.cos(angle), math.sin(angle)
    return dx * c - dy * s, dx * s + dy * c


@njit
def _scattered(
    dx: float, dy: float, dz: float, sideways: float, upwards: float
) -> tuple[float, float, float]:
    """The direction after two small angles, around the beam and away from it."""
    across = math.hypot(dx, dy)
    if across < 1e-9:
        return dx, dy, dz
    ux, uy = -dy / across, dx / across
    nx = dx + sideways * ux - upwards * dz * dx / across
    ny = dy + sideways * uy - upwards * dz * dy / across
    nz = dz + upwards * across
    size = math.sqrt(nx * nx + ny * ny + nz * nz)
    return nx / size, ny / size, nz / size


@njit
def _cross(
    x: float, y: float, z: float, nx: float, ny: float, nz: float, part: float,
    dx: float, dy: float, out: Any, k: int, station: int,
) -> None:  # fmt: skip
    hx, hy, hz = x + part * (nx - x), y + part * (ny - y), z + part * (nz - z)
    phi = math.atan2(hy, hx)
    bend = math.atan2(dy, dx) - phi
    out[0, k, station] = phi
    out[1, k, station] = (bend + math.pi) % (2.0 * math.pi) - math.pi
    out[2, k, station] = math.asinh(hz / math.hypot(hx, hy))
