"""Types against arithmetic with fractions."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scout40.emulator.nn import Fixed, Overflow, Rounding
from scout40.streams.errors import BadConfig, BadInput

ROUND: dict[Rounding, Callable[[Fraction], int]] = {
    Rounding.TRN: floor,
    Rounding.TRN_ZERO: int,
    Rounding.RND: lambda v: floor(v + Fraction(1, 2)),
    Rounding.RND_MIN_INF: lambda v: ceil(v - Fraction(1, 2)),
    Rounding.RND_ZERO: lambda v: _away(v, ceil(abs(v) - Fraction(1, 2))),
    Rounding.RND_INF: lambda v: _away(v, floor(abs(v) + Fraction(1, 2))),
    Rounding.RND_CONV: round,
}


def _away(v: Fraction, size: int) -> int:
    return size if v >= 0 else -size


def slow(value: Fraction, to: Fixed) -> int:
    """Mantissa of an exact value, by the words of docs/networks.md."""
    m = ROUND[to.rounding](value * Fraction(2) ** to.fraction)
    low = -(1 << (to.width - 1)) if to.signed else 0
    high = low + (1 << to.width) - 1
    if to.overflow is Overflow.WRAP:
        return (m - low) % (1 << to.width) + low
    if to.overflow is Overflow.SAT_SYM and to.signed:
        low += 1
    return min(max(m, low), high)


def types(most: int = 62) -> st.SearchStrategy[Fixed]:
    return st.builds(
        Fixed, st.integers(1, most), st.integers(-70, 70), st.booleans(),
        st.sampled_from(Rounding), st.sampled_from(Overflow),
    )  # fmt: skip


@given(types(), st.integers(-(2**63) + 1, 2**63 - 1), st.integers(-70, 140))
@example(Fixed(16, 6, rounding=Rounding.RND_CONV), 0b1011 << 3, 13)
@example(Fixed(8, 8, overflow=Overflow.WRAP), 2**62, -1)
def test_requantise(to: Fixed, mantissa: int, fraction: int) -> None:
    exact = Fraction(mantissa) / Fraction(2) ** fraction
    assert to.requantise(np.array([mantissa]), fraction)[0] == slow(exact, to)


@given(types(), st.integers(-40, 40), st.integers(0, 12), st.integers(0, 140))
def test_requantise_ties(to: Fixed, whole: int, below: int, fraction: int) -> None:
    """Near and at half steps of the result, where the modes differ."""
    mantissa = (2 * whole + 1) * 2**below + (below % 3) - 1
    exact = Fraction(mantissa) / Fraction(2) ** fraction
    assert to.requantise(np.array([mantissa]), fraction)[0] == slow(exact, to)


@given(types(53), st.floats(allow_nan=False, allow_infinity=False, width=32))
@example(Fixed(4, 4, rounding=Rounding.RND), -1e-20)
@example(Fixed(4, 4, rounding=Rounding.RND_CONV), 2.5)
def test_quantise(to: Fixed, value: float) -> None:
    assert to.quantise([value])[0] == slow(Fraction(value), to)


@given(types())
def test_text_and_range(to: Fixed) -> None:
    assert Fixed.parse(str(to)) == to
    ends = np.array([to.low, to.high])
    assert to.holds(ends)
    assert not to.holds(np.array([to.low, to.high + 1]))
    assert not to.holds(np.array([to.low - 1, to.high]))
    assert (to.requantise(ends, to.fraction) == ends).all()


def test_vendor_notation() -> None:
    assert Fixed.parse("ap_fixed<16,6>") == Fixed(16, 6)
    assert Fixed.parse("ap_ufixed<10, 6, AP_RND_CONV, AP_SAT>") == Fixed(
        10, 6, False, Rounding.RND_CONV, Overflow.SAT
    )


@pytest.mark.parametrize(
    "text",
    ["", "fixed<8,3>", "ap_fixed<8>", "ap_fixed<0,3>", "ap_fixed<63,3>", "ap_fixed<8,999>",
     "ap_fixed<8,3,RND>", "ap_fixed<8,3,AP_ROUND>", "ap_fixed<8,3,AP_RND,AP_SAT,2>",
     "ap_fixed<8,3,AP_SAT>", "ap_fixed<8,3> ", "ap_fixed<" + "9" * 5000 + ",1>"],
)  # fmt: skip
def test_no_type(text: str) -> None:
    with pytest.raises(BadConfig):
        Fixed.parse(text)


def test_not_finite() -> None:
    with pytest.raises(BadInput, match="finite"):
        Fixed(16, 6).quantise([1.0, np.nan])
