"""The detector that muons cross: field, energy loss, scattering, and where the stations stand.

Field and loss up to the second station are those of ``emulator.ugmt.propagation``, from which the
extrapolation tables of the uGMT are computed; what lies behind is added here. It is a model of
cylinders of the size of CMS, not the CMS geometry. Units: metre, GeV, tesla.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from scout40.emulator.ugmt.propagation import BARREL_STATION, ENDCAP_STATION, REGIONS, Region

BARREL_RADII = (4.2, BARREL_STATION, 6.0, 7.1)
ENDCAP_PLANES = (6.9, ENDCAP_STATION, 9.3, 10.2)
STATIONS = len(BARREL_RADII) + len(ENDCAP_PLANES)
"""Barrel stations 1 to 4, then endcap stations 1 to 4."""
ENDCAP_REACH = (1.0, 7.0)
"""Radii between which endcap stations have chambers."""
END_R, END_Z = 7.4, 10.6
"""Where a muon has left the last station behind."""
CELL = 0.05

BEHIND = (
    Region((6.2, 6.85), (0.0, 6.6), field=-1.8, loss=1.2),  # outer layer of the barrel yoke
    Region((0.0, 2.9), (9.0, 10.6), field=0.6),
    Region((2.9, 7.5), (9.0, 10.6), field=-0.4),
    Region((0.0, 7.5), (8.45, 9.05), loss=1.2),  # second iron disc
    Region((0.0, 7.5), (9.5, 9.75), loss=1.2),  # third
)


@dataclass(frozen=True)
class Scatterer:
    """A hollow cylinder, both sides in z, and its radiation length in m."""

    r: tuple[float, float]
    z: tuple[float, float]
    length: float


CRYSTAL, BRASS, COIL, IRON = 0.0089, 0.0165, 0.05, 0.0176
SCATTERERS = (
    Scatterer((1.30, 1.50), (0.0, 3.0), CRYSTAL),
    Scatterer((1.80, 2.95), (0.0, 4.3), BRASS),
    Scatterer((0.0, 1.7), (3.2, 3.45), CRYSTAL),
    Scatterer((0.0, 1.8), (4.0, 5.6), BRASS),
    Scatterer((1.8, 2.9), (4.3, 5.6), BRASS),
    Scatterer((2.95, 3.25), (0.0, 6.5), COIL),
    *(Scatterer(r, (0.0, 6.6), IRON) for r in ((4.55, 4.85), (5.30, 5.95), (6.2, 6.85))),
    *(Scatterer((0.0, 7.5), z, IRON) for z in ((7.05, 7.65), (8.45, 9.05), (9.5, 9.75))),
)


class Grid(NamedTuple):
    """float32 (151, 214) by r and |z| in cells of 5 cm, flat: field, loss, 1 / radiation length."""

    field: npt.NDArray[np.float32]
    loss: npt.NDArray[np.float32]
    scatter: npt.NDArray[np.float32]


ROWS, COLUMNS = round(END_R / CELL) + 3, round(END_Z / CELL) + 2


@functools.cache
def grid() -> Grid:
    """Medium at the centre of every cell."""
    r = (np.arange(ROWS)[:, None] + 0.5) * CELL
    z = (np.arange(COLUMNS)[None, :] + 0.5) * CELL
    field, loss, scatter = np.zeros((3, ROWS, COLUMNS), np.float32)
    for region in (*REGIONS, *BEHIND):
        inside = _inside(region.r, region.z, r, z)
        field[inside] += np.float32(region.field)
        loss[inside] += np.float32(region.loss)
    for scatterer in SCATTERERS:
        scatter[_inside(scatterer.r, scatterer.z, r, z)] += np.float32(1 / scatterer.length)
    return Grid(field.ravel(), loss.ravel(), scatter.ravel())


def _inside(
    at_r: tuple[float, float],
    at_z: tuple[float, float],
    r: npt.NDArray[Any],
    z: npt.NDArray[Any],
) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = (r >= at_r[0]) & (r < at_r[1]) & (z >= at_z[0]) & (z < at_z[1])
    return found
