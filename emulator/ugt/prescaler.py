"""Prescale counters of the final decision logic.

Every algorithm owns a counter that starts at 0 and a factor, 100 times the prescale. A request
passes when counter + 100 >= factor, which then takes the factor off; otherwise 100 is added. So
prescale 3 passes the 3rd, 6th ... request, and 1.5 passes in the pattern block, pass, pass.
Registers have 32 bits and wrap. Rules: CMS uGT firmware documentation (fdl.tex of
mp7_ugt_legacy) and its fractional prescaler.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.emulator.ugt.bits import (
    N_ALGORITHMS,
    N_WORDS,
    Words,
    checked_words,
    lowest_bit,
    pack_bits,
)
from scout40.streams.errors import BadConfig
from scout40.streams.jit import njit

FACTOR_ONE = 100
"""Factor of prescale 1: two decimals."""

_REGISTER = 0xFFFFFFFF  # both the counter and the factor are 32-bit registers

Factors = npt.NDArray[np.uint32]


class Prescaler:
    """The 512 prescale counters; their state goes on from one block to the next."""

    def __init__(self, factors: Factors, counters: npt.NDArray[np.uint32] | None = None) -> None:
        """factors, counters: uint32 (512,); counters continue a run (default: all 0)."""
        self.set_factors(factors)
        start = np.zeros(N_ALGORITHMS, np.uint32) if counters is None else counters
        self._counters = checked_factors(start).astype(np.int64)

    @property
    def factors(self) -> Factors:
        """Factors in use, uint32 (512,), a copy."""
        return self._factors.copy()

    @property
    def counters(self) -> npt.NDArray[np.uint32]:
        """Counters after the last crossing seen, uint32 (512,), a copy."""
        return self._counters.astype(np.uint32)

    def set_factors(self, factors: Factors) -> None:
        """New prescale column at a luminosity-section boundary; counters are not reset."""
        self._factors = checked_factors(factors)
        self._uncounted: Words | None = None

    def reset(self) -> None:
        """What the start signal of a run does between two crossings: all counters 0."""
        self._counters[:] = 0

    def uncounted(self) -> Words | None:
        """uint64 (8,) whose AND with the requests is what passes; None while a counter is at work.

        Without counters at work ``apply`` changes nothing, so this holds until the factors change.
        """
        if self._uncounted is None:
            passing, counted = self._split()
            self._uncounted = None if counted.any() else passing
        return self._uncounted

    def _split(self) -> tuple[Words, Words]:
        """Bits that pass as they are, and bits whose counter decides.

        A factor of 0 holds the counter at 0; prescale 1 passes all and leaves the counter alone,
        unless an earlier factor below 100 let it grow so far that adding 100 wraps.
        """
        self._counters[self._factors == 0] = 0
        plain = (self._factors == FACTOR_ONE) & (self._counters + FACTOR_ONE <= _REGISTER)
        return pack_bits(plain), pack_bits((self._factors != 0) & ~plain)

    def apply(self, words: Words, start: npt.NDArray[np.bool_] | None = None) -> Words:
        """Requests, uint64 (n, 8) -> those that pass, uint64 (n, 8), in time order.

        start:
            bool (n,): crossings of a start signal. Their requests are judged with the counters as
            they stand, but not counted: the counters are 0 after them.
        """
        words = checked_words(words, "prescaler input")
        pulses = np.zeros(0, np.bool_) if start is None else np.ascontiguousarray(start, np.bool_)
        if start is not None and pulses.shape != words.shape[:1]:
            raise BadConfig(f"start: shape {pulses.shape} for {words.shape[0]} crossings")
        if words.shape[0] == 0:
            return words.copy()
        passing, counted = self._split()
        out = np.empty_like(words)
        factors = self._factors.astype(np.int64)
        _prescale(words, pulses, factors, passing, counted, self._counters, out)
        return out


def checked_factors(factors: npt.NDArray[Any]) -> Factors:
    """A copy of a uint32 (512,) array."""
    if factors.dtype != np.uint32 or factors.shape != (N_ALGORITHMS,):
        raise BadConfig(
            f"prescale factors: expected uint32 ({N_ALGORITHMS},), "
            f"got {factors.dtype} {factors.shape}"
        )
    return factors.copy()


@njit
def _prescale(
    words: Words,
    pulses: npt.NDArray[np.bool_],
    factors: npt.NDArray[np.int64],
    passing: Words,
    counted: Words,
    counters: npt.NDArray[np.int64],
    out: Words,
) -> None:
    """Whole words for ``passing`` bits; one counter step for each set ``counted`` bit."""
    has_pulses = pulses.shape[0] > 0
    for row in range(words.shape[0]):
        for word in range(N_WORDS):
            requests = words[row, word]
            kept = requests & passing[word]
            left = requests & counted[word]
            while left != np.uint64(0):
                index = lowest_bit(left)
                rest = left & (left - np.uint64(1))
                algorithm = word * 64 + index
                value = np.int64((counters[algorithm] + FACTOR_ONE) & _REGISTER)
                if value >= factors[algorithm]:
                    kept |= left ^ rest
                    value -= factors[algorithm]
                counters[algorithm] = value
                left = rest
            out[row, word] = kept
        if has_pulses and pulses[row]:
            for place in range(counters.shape[0]):
                counters[place] = 0
