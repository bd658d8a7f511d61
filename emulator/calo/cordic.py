"""Magnitude and azimuth of a missing sum from its two components, in integers.

The demultiplexer card of calorimeter layer 2 turns (x, y) onto the x axis in eight steps. Units of
angle are 1/2304 of a turn, that is 16 to a bin of the global trigger's azimuth. The answer points
against the vector, as missing energy does.

Source: public description of the CMS calorimeter layer 2 (Cordic with scale 144 * 16, 17 bits of
magnitude, 8 steps). Confirmed bit by bit on HTM and HTMHF of the 2024 data test vector.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.streams.jit import njit

STEPS = 8
TURN = 144 * 16
MAGNITUDE_BITS = 17


def cosines() -> npt.NDArray[np.int64]:
    """1023 cos of (iphi - 1) * 5 degrees, int64 (72,), halves away from zero.

    Entry 60 is 511 in the hardware, though the rounded value would be 512.
    """
    table = _rounded([1023 * math.cos(math.tau * k / 72) for k in range(72)])
    table[60] = 511
    return table


def sines() -> npt.NDArray[np.int64]:
    """1023 sin of (iphi - 1) * 5 degrees, int64 (72,), halves away from zero."""
    return _rounded([1023 * math.sin(math.tau * k / 72) for k in range(72)])


def _rounded(values: list[float]) -> npt.NDArray[np.int64]:
    # 1023 * 0.5 is a half that floating-point noise moves: look at nine digits only.
    magnitudes = [math.floor(round(abs(v), 9) + 0.5) for v in values]
    return np.array([int(math.copysign(m, v)) for m, v in zip(magnitudes, values, strict=True)])


def rotations() -> npt.NDArray[np.int64]:
    """Angle of each step, int64 (8,), in 1/2304 turn: 288, 170, 90, 46, 23, 11, 6, 3."""
    angles = [math.atan(2.0**-step) * TURN / math.tau for step in range(STEPS)]
    return np.array([round(angle) for angle in angles], np.int64)


def magnitude_factor() -> int:
    """2^17 over the lengthening of a vector by the eight steps: 79595."""
    gain = math.prod(math.sqrt(1 + 4.0**-step) for step in range(STEPS))
    return round((1 << MAGNITUDE_BITS) / gain)


ROTATIONS = rotations()
FACTOR = magnitude_factor()
_HALF = TURN // 2


@njit
def cordic(x: int, y: int, angles: Any) -> Any:
    """(magnitude, azimuth of the negated vector in 1/2304 turn) of int64 components.

    ``angles`` is ROTATIONS. The azimuth is not reduced to one turn: small vectors may come out a
    little below 0 or above 2304, up to 2365 for (-1, 0).
    """
    u, v = abs(x), abs(y)
    angle = 0
    for step in range(STEPS):
        if v < 0:
            u, v = u - (v >> step), v + (u >> step)
            angle -= angles[step]
        else:
            u, v = u + (v >> step), v - (u >> step)
            angle += angles[step]
    if x >= 0:
        phase = _HALF + angle if y >= 0 else _HALF - angle
    else:
        phase = TURN - angle if y >= 0 else angle
    return (u * FACTOR) >> MAGNITUDE_BITS, phase
