"""Physical scales of Level-1 integers, each declared once.

The order of operations is that of the CMS scouting unit conversion: constants and products are
float32; angles are float32 first and, when not below pi, reduced by 2 pi in double.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from scout40.streams.layout import Scale, linear


def wrapped(angle: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Angles of [0, 4 pi) rad into [-pi, pi) by one subtraction, done in double."""
    wide = angle.astype(np.float64)
    return np.where(wide >= math.pi, wide - 2 * math.pi, wide).astype(np.float32)


def wrapped_angle(lsb: float) -> Scale:
    """code * lsb in radians, wrapped into [-pi, pi)."""

    def convert(codes: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        return wrapped(np.float32(lsb) * codes.astype(np.float32))

    return Scale("rad", lsb, convert)


MUON_PT = linear("GeV", 0.5, offset=-1)
MUON_PT_UNCONSTRAINED = linear("GeV", 1.0, offset=-1)
MUON_ETA = linear("", 0.0870 / 8)
MUON_PHI = wrapped_angle(2 * math.pi / 576)
CALO_ET = linear("GeV", 0.5)
CALO_ETA = linear("", 0.0435)
CALO_PHI = wrapped_angle(2 * math.pi / 144)
SCOUTING_CALO_PHI = wrapped_angle(0.0435)
"""The scouting conversion multiplies calorimeter phi by 0.0435, not by 2 pi / 144."""
