"""CORDIC against floating point and against itself written as angles and vectors."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scout40.emulator.calo.cordic import FACTOR, ROTATIONS, TURN, cordic, cosines, sines

COMPONENT = st.integers(-(2**31), 2**31 - 1)


def slow_cordic(x: int, y: int) -> tuple[int, int]:
    """Magnitude and azimuth of (-x, -y), with turns about quarter axes written out."""
    u, v, angle = abs(x), abs(y), 0
    for step, rotation in enumerate((288, 170, 90, 46, 23, 11, 6, 3)):
        sign = 1 if v >= 0 else -1
        u, v = u + sign * (v >> step), v - sign * (u >> step)
        angle += sign * rotation
    turned = {
        (True, True): 1152 + angle, (False, True): 2304 - angle,
        (False, False): angle, (True, False): 1152 - angle,
    }  # fmt: skip
    return u * 79595 // 2**17, turned[x >= 0, y >= 0]


def test_constants() -> None:
    assert ROTATIONS.tolist() == [288, 170, 90, 46, 23, 11, 6, 3]
    assert FACTOR == 79595


def test_tables_of_the_hardware() -> None:
    cos, sin = cosines(), sines()
    assert cos[[0, 1, 6, 12, 18, 36, 54, 60, 71]].tolist() == [
        1023, 1019, 886, 512, 0, -1023, 0, 511, 1019,
    ]  # fmt: skip
    assert sin[[0, 6, 30, 42, 54, 66]].tolist() == [0, 512, 512, -512, -1023, -512]
    # One entry is not what symmetry asks for.
    assert [k for k in range(72) if cos[k] != cos[-k % 72]] == [12, 60]
    assert [k for k in range(72) if sin[k] != cos[(k - 18) % 72]] == [6]


@given(COMPONENT, COMPONENT)
@example(-1, 0)
@example(0, 0)
def test_kernel_equals_the_twin(x: int, y: int) -> None:
    assert cordic(x, y, ROTATIONS) == slow_cordic(x, y)


@pytest.mark.parametrize(
    ("x", "y", "magnitude", "phi"),
    [(0, 0, 0, 111), (-1, 0, 4, 147), (6400, 0, 6399, 72), (0, -6400, 6397, 36)],
)
def test_words(x: int, y: int, magnitude: int, phi: int) -> None:
    size, phase = cordic(x, y, ROTATIONS)
    assert abs(size - magnitude) <= 4
    assert phase >> 4 in (phi, phi - 1)


@given(st.integers(5000, 10**7), st.floats(0, math.tau))
def test_close_to_the_true_vector(size: int, angle: float) -> None:
    x, y = round(size * math.cos(angle)), round(size * math.sin(angle))
    magnitude, phase = cordic(x, y, ROTATIONS)
    assert magnitude == pytest.approx(math.hypot(x, y), rel=2e-3)
    turn = (phase - (math.atan2(y, x) + math.pi) * TURN / math.tau) % TURN
    assert min(turn, TURN - turn) < 7
    assert 0 <= phase >> 4 <= 147
