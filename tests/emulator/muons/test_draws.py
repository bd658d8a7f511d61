"""Random numbers by key: against integers of Python, and their distributions."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scout40.emulator.muons.draws import draws, keys_of, normal, seed_key, uniform

ROUND = 1 << 64


def twin(key: int, number: int) -> int:
    """SplitMix64 in plain integers."""
    x = (key + (number + 1) * 0x9E3779B97F4A7C15) % ROUND
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) % ROUND
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) % ROUND
    return x ^ x >> 31


@given(st.integers(0, ROUND - 1), st.integers(0, 1 << 40))
def test_draws_equal_plain_integers(key: int, number: int) -> None:
    assert int(draws(np.array([key], np.uint64), number)[0]) == twin(key, number)


def test_keys_do_not_depend_on_their_number() -> None:
    seed = seed_key("a", 1)
    assert seed != seed_key("a", 2) != seed_key("a1")
    assert np.array_equal(keys_of(seed, 10), keys_of(seed, 1000)[:10])
    assert int(keys_of(seed, 3)[2]) == twin(seed, 2)


def test_distributions() -> None:
    keys = keys_of(seed_key("test"), 200_000)
    flat, bell = uniform(keys, 3), normal(keys, 7)
    assert 0 < flat.min() < 1e-4
    assert 1 - 1e-4 < flat.max() < 1
    assert abs(flat.mean() - 0.5) < 0.003
    assert abs(bell.mean()) < 0.01
    assert abs(bell.std() - 1) < 0.01
    assert abs(np.corrcoef(bell, normal(keys, 8))[0, 1]) < 0.01
