"""Prescale counters."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scout40.emulator.ugt.bits import Words, pack_bits, unpack_bits
from scout40.emulator.ugt.prescaler import Prescaler
from scout40.streams.errors import BadConfig


def slow_prescale(
    words: Words, factors: npt.NDArray[np.uint32], start: npt.NDArray[np.bool_]
) -> Words:
    """The rule in words of the specification, one bit after the other, no wrap of registers."""
    flags = unpack_bits(words)
    out = np.zeros_like(flags)
    for algorithm in np.flatnonzero(flags.any(axis=0)):
        factor, counter = int(factors[algorithm]), 0
        for row in range(flags.shape[0]):
            if flags[row, algorithm] and factor:
                if counter + 100 >= factor:
                    out[row, algorithm] = True
                    counter += 100 - factor
                else:
                    counter += 100
            if start[row]:
                counter = 0
    return pack_bits(out)


def test_reference_vectors(reference: Path) -> None:
    with np.load(reference / "cmssw/ugt_prescale.npz") as data:
        factor, fed, start, expected = (
            data[name] for name in ("factor_x100", "algo_in", "start", "algo_out")
        )
    rows = len(factor)
    assert rows == 14
    assert start.any()
    for places in (np.arange(rows), 64 * np.arange(rows) % 511):  # any slot counts alike
        factors = np.full(512, 100, np.uint32)
        factors[places] = factor
        flags = np.zeros((fed.shape[1], 512), np.bool_)
        flags[:, places] = fed.T
        prescaler = Prescaler(factors)
        cut = 1234
        passed = np.vstack(
            [
                prescaler.apply(pack_bits(flags[:cut]), start[:cut]),
                prescaler.apply(pack_bits(flags[cut:]), start[cut:]),
            ]
        )
        assert np.array_equal(unpack_bits(passed)[:, places].T, expected)
        assert np.array_equal(passed, slow_prescale(pack_bits(flags), factors, start))


FACTOR_VALUES = st.sampled_from([0, 1, 50, 99, 100, 101, 150, 200, 233, 250, 1000, 4294967295])


@given(st.data(), st.integers(0, 60), st.integers(0, 2**32 - 1))
def test_any_factors_and_any_split_equal_the_slow_rule(
    data: st.DataObject, rows: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    flags = np.zeros((rows, 512), np.bool_)
    columns = np.array([0, 1, 63, 64, 127, 200, 510, 511])
    flags[:, columns] = rng.random((rows, len(columns))) < 0.7
    factors = np.full(512, 100, np.uint32)
    factors[columns] = data.draw(st.lists(FACTOR_VALUES, min_size=8, max_size=8))
    start = rng.random(rows) < 0.05
    cuts = sorted(data.draw(st.lists(st.integers(0, rows), max_size=4)))
    words = pack_bits(flags)
    prescaler = Prescaler(factors)
    edges = [0, *cuts, rows]
    parts = [
        prescaler.apply(words[low:high], start[low:high]) for low, high in itertools.pairwise(edges)
    ]
    assert np.array_equal(np.vstack(parts), slow_prescale(words, factors, start))


@pytest.mark.parametrize("factor", [100, 123, 150, 665, 5010, 200000])
def test_long_run_passes_the_exact_fraction(factor: int) -> None:
    n = 40000
    factors = np.zeros(512, np.uint32)
    factors[77] = factor
    flags = np.zeros((n, 512), np.bool_)
    flags[:, 77] = True
    passed = unpack_bits(Prescaler(factors).apply(pack_bits(flags)))[:, 77]
    assert int(passed.sum()) == int(Fraction(100 * n, factor))
    assert bool(passed[0]) == (factor == 100)  # not the first, but the Nth


def test_new_factor_keeps_the_counter_and_zero_clears_it() -> None:
    def factors(value: int) -> npt.NDArray[np.uint32]:
        return np.full(512, value, np.uint32)

    one = np.full((1, 8), 2**64 - 1, np.uint64)
    prescaler = Prescaler(factors(500))
    for _ in range(3):
        assert not prescaler.apply(one).any()
    prescaler.set_factors(factors(400))  # counter 300: the next request passes
    assert prescaler.counters.tolist() == [300] * 512
    assert np.array_equal(prescaler.apply(one), one)
    resumed = Prescaler(factors(200), np.full(512, 100, np.uint32))
    assert np.array_equal(resumed.apply(one), one)
    prescaler.set_factors(factors(300))
    prescaler.apply(one)
    prescaler.set_factors(factors(100))
    assert np.array_equal(prescaler.apply(one), one)
    assert prescaler.counters.tolist() == [100] * 512
    prescaler.set_factors(factors(0))
    assert not prescaler.apply(one).any()
    assert not prescaler.counters.any()


def test_counter_wraps_at_32_bits() -> None:
    # Factor 1 adds 99 each time; at 2**32 - 50 adding 100 wraps to 50, which is still >= 1.
    one = np.full((1, 8), 2**64 - 1, np.uint64)
    state = np.full(512, 2**32 - 50, np.uint32)
    prescaler = Prescaler(np.full(512, 1, np.uint32), state)
    assert prescaler.apply(one).all()
    assert prescaler.counters.tolist() == [49] * 512
    # Prescale 1 after such growth: 50 < 100 blocks once, as the comparison does in 32 bits.
    prescaler = Prescaler(np.full(512, 100, np.uint32), state)
    assert not prescaler.apply(one).any()
    assert prescaler.counters.tolist() == [50] * 512
    assert np.array_equal(prescaler.apply(one), one)


def test_wrong_arrays_are_refused() -> None:
    prescaler = Prescaler(np.zeros(512, np.uint32))
    words = np.zeros((3, 8), np.uint64)
    with pytest.raises(BadConfig, match="uint64"):
        prescaler.apply(words.astype(np.int64))
    with pytest.raises(BadConfig, match="start"):
        prescaler.apply(words, np.zeros(2, np.bool_))
    with pytest.raises(BadConfig, match="uint32"):
        Prescaler(np.zeros(511, np.uint32))
    with pytest.raises(BadConfig, match="512 flags"):
        pack_bits(np.zeros(8, np.bool_))


@given(st.integers(0, 2**32 - 1))
def test_bits_round_trip(seed: int) -> None:
    flags = np.random.default_rng(seed).random((5, 512)) < 0.3
    words = pack_bits(flags)
    assert words.shape == (5, 8)
    assert np.array_equal(unpack_bits(words), flags)
    row, algorithm = np.argwhere(flags)[-1]
    assert int(words[row, algorithm // 64]) >> int(algorithm % 64) & 1
