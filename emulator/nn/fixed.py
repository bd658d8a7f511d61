"""Fixed-point numbers as high-level synthesis defines them (``ap_fixed``, ``ap_ufixed``).

A value is mantissa * 2**-fraction with fraction = width - integer. Arrays hold mantissas as int64;
types hold the rest. What does not fit is first rounded, then brought into range, exactly as the
``ap_fixed`` constructor does it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.streams.errors import BadConfig, BadInput

Mantissas = npt.NDArray[np.int64]

MAX_WIDTH = 62
"""Bits: both a signed and an unsigned mantissa, and their double, fit int64."""

MAX_INTEGER = 128
"""Of the place of the binary point, in both directions."""


class Rounding(Enum):
    """What becomes of dropped bits; ties are values half way between two neighbours."""

    TRN = "TRN"  # floor
    TRN_ZERO = "TRN_ZERO"  # toward zero
    RND = "RND"  # nearest, ties up
    RND_ZERO = "RND_ZERO"  # nearest, ties toward zero
    RND_INF = "RND_INF"  # nearest, ties away from zero
    RND_MIN_INF = "RND_MIN_INF"  # nearest, ties down
    RND_CONV = "RND_CONV"  # nearest, ties to even


class Overflow(Enum):
    """What becomes of values out of range."""

    WRAP = "WRAP"  # modulo 2**width
    SAT = "SAT"  # nearest end of the range
    SAT_SYM = "SAT_SYM"  # the same, and the range of a signed type is symmetric


@dataclass(frozen=True)
class Fixed:
    """``ap_fixed<width, integer, rounding, overflow>``, or ``ap_ufixed`` when not signed.

    integer: bits before the binary point, the sign included; may be negative or above ``width``.

    Raises BadConfig for widths outside 1..MAX_WIDTH or |integer| > MAX_INTEGER.
    """

    width: int
    integer: int
    signed: bool = True
    rounding: Rounding = Rounding.TRN
    overflow: Overflow = Overflow.WRAP

    def __post_init__(self) -> None:
        if not 1 <= self.width <= MAX_WIDTH:
            raise BadConfig(f"{self}: width {self.width}, expected 1 to {MAX_WIDTH}")
        if abs(self.integer) > MAX_INTEGER:
            raise BadConfig(f"{self}: integer bits beyond {MAX_INTEGER} either way")

    @classmethod
    def parse(cls, text: str) -> Fixed:
        """From ``ap_fixed<16,6,AP_RND,AP_SAT>``; modes may be left out (AP_TRN, AP_WRAP)."""
        found = _TYPE.fullmatch(text) if len(text) <= _LONGEST else None
        if found is None:
            raise BadConfig(
                f"{text[:_LONGEST]!r} is no type; expected 'ap_fixed<W,I,AP_<rounding>,"
                "AP_<overflow>>' or 'ap_ufixed<...>'"
            )
        unsigned, width, integer, rounding, overflow = found.groups()
        if rounding and rounding not in Rounding.__members__:
            raise BadConfig(f"{text!r}: rounding is none of {', '.join(Rounding.__members__)}")
        if overflow and overflow not in Overflow.__members__:
            raise BadConfig(f"{text!r}: overflow is none of {', '.join(Overflow.__members__)}")
        return cls(
            int(width), int(integer), not unsigned, Rounding(rounding or "TRN"),
            Overflow(overflow or "WRAP"),
        )  # fmt: skip

    def __str__(self) -> str:
        kind = "ap_fixed" if self.signed else "ap_ufixed"
        modes = f"AP_{self.rounding.value},AP_{self.overflow.value}"
        return f"{kind}<{self.width},{self.integer},{modes}>"

    @property
    def fraction(self) -> int:
        """Bits after the binary point; the value of a mantissa m is m * 2**-fraction."""
        return self.width - self.integer

    @property
    def low(self) -> int:
        """Smallest mantissa that the type can hold."""
        if not self.signed:
            return 0
        return -(1 << (self.width - 1)) + (self.overflow is Overflow.SAT_SYM)

    @property
    def high(self) -> int:
        """Largest mantissa."""
        return (1 << (self.width - self.signed)) - 1

    def holds(self, mantissas: npt.NDArray[Any]) -> bool:
        """Whether all integers are mantissas of this type."""
        return bool(
            mantissas.size == 0
            or (int(mantissas.min()) >= self.low and int(mantissas.max()) <= self.high)
        )

    def requantise(self, mantissas: Mantissas, fraction: int) -> Mantissas:
        """Mantissas with ``fraction`` bits after the point, as mantissas of this type. Exact."""
        shift = fraction - self.fraction
        if shift > 0:
            mantissas = rounded(mantissas, shift, self.rounding)
        elif shift < 0 and self.overflow is Overflow.WRAP:
            # int64 drops the same high bits that the wrap would drop.
            mantissas = mantissas << -shift if shift > -64 else np.zeros_like(mantissas)
        elif shift < 0:
            # Beyond these ends all is clipped anyway; the shift stays within int64.
            up = min(-shift, MAX_WIDTH)
            ends = (self.low >> up) - 1, (self.high >> up) + 1
            mantissas = np.clip(mantissas, *ends) << up
        return self.overflowed(mantissas)

    def overflowed(self, mantissas: Mantissas) -> Mantissas:
        """The same mantissas brought into range."""
        if self.overflow is not Overflow.WRAP:
            return np.clip(mantissas, self.low, self.high)
        if not self.signed:
            return mantissas & self.high
        half = 1 << (self.width - 1)
        return ((mantissas & (2 * half - 1)) ^ half) - half

    def quantise(self, values: npt.ArrayLike) -> Mantissas:
        """Mantissas of floating-point values, which must be finite (BadInput)."""
        scaled = np.ldexp(np.asarray(values, np.float64), self.fraction)
        if not np.isfinite(scaled).all():
            raise BadInput(f"not a finite number, or too large for {self}")
        whole = np.trunc(scaled)
        rest = np.abs(scaled - whole)  # exact, unlike the distance to the floor
        sign = np.where(scaled < 0, -1.0, 1.0)
        ties = {
            Rounding.RND: sign > 0,
            Rounding.RND_ZERO: np.zeros(whole.shape, bool),
            Rounding.RND_INF: np.ones(whole.shape, bool),
            Rounding.RND_MIN_INF: sign < 0,
            Rounding.RND_CONV: np.fmod(whole, 2.0) != 0,
        }
        if self.rounding is Rounding.TRN:
            away = (rest > 0) & (sign < 0)
        elif self.rounding is Rounding.TRN_ZERO:
            away = np.zeros(whole.shape, bool)
        else:
            away = (rest > 0.5) | ((rest == 0.5) & ties[self.rounding])
        whole = whole + np.where(away, sign, 0.0)
        if self.overflow is Overflow.WRAP:
            return self.overflowed(np.fmod(whole, 2.0**self.width).astype(np.int64))
        end = 2.0**self.width
        return self.overflowed(np.clip(whole, -end, end).astype(np.int64))

    def values(self, mantissas: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Floating-point values of mantissas; exact up to 53 bits."""
        return np.ldexp(mantissas.astype(np.float64), -self.fraction)


_TYPE = re.compile(
    r"ap_(u?)fixed<\s*(\d{1,3})\s*,\s*(-?\d{1,3})\s*(?:,\s*AP_(\w+)\s*)?(?:,\s*AP_(\w+)\s*)?>"
)
_LONGEST = 64


def rounded(mantissas: Mantissas, shift: int, rounding: Rounding) -> Mantissas:
    """mantissas / 2**shift as whole numbers, shift > 0; exact for every int64."""
    negative = mantissas < 0
    if shift > 63:  # less than half a unit, whatever the mantissa
        away = negative if rounding is Rounding.TRN else np.zeros_like(negative)
        return np.where(away, np.int64(-1), np.int64(0))
    floor = mantissas >> shift
    if rounding is Rounding.TRN:
        return floor
    half = mantissas >> (shift - 1) & 1
    below = mantissas & ((1 << (shift - 1)) - 1)  # bits under the one that is worth a half
    up: npt.NDArray[Any]
    if rounding is Rounding.TRN_ZERO:
        up = negative & ((half | below) != 0)
    elif rounding is Rounding.RND:
        up = half != 0
    else:
        tie = {
            Rounding.RND_ZERO: negative,
            Rounding.RND_INF: ~negative,
            Rounding.RND_MIN_INF: np.zeros_like(negative),
            Rounding.RND_CONV: (floor & 1) != 0,
        }[rounding]
        up = (half != 0) & ((below != 0) | tie)
    result: Mantissas = floor + up
    return result
