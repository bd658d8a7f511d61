"""The sorting networks and the accumulating sort."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scout40.emulator.calo.sort import (
    ACCUMULATED,
    COMPARATORS,
    MAX_NETWORK,
    NAME_BITS,
    STARTS,
    accumulate,
    network,
    run_network,
    settle_last,
)


def elements(energies: list[int], first_name: int = 1) -> list[int]:
    return [et << NAME_BITS | first_name + k for k, et in enumerate(energies)]


def energies(values: list[int]) -> list[int]:
    return [value >> NAME_BITS for value in values]


def names(values: list[int]) -> list[int]:
    return [value & 0xFFFF for value in values]


def sorted_by_network(values: list[int]) -> list[int]:
    places = np.array(values, np.int64)
    run_network(COMPARATORS, STARTS, len(values), places)
    out: list[int] = places.tolist()
    return out


@pytest.mark.parametrize("size", range(2, 13))
def test_network_sorts_every_pattern_of_two_values(size: int) -> None:
    """Zero-one principle: then it sorts everything."""
    for pattern in itertools.product((1, 2), repeat=size):
        out = sorted_by_network(elements(list(pattern)))
        assert energies(out) == sorted(pattern, reverse=True)


@given(st.lists(st.integers(0, 65535), max_size=MAX_NETWORK))
def test_network_sorts_and_keeps_all(values: list[int]) -> None:
    out = sorted_by_network(elements(values))
    assert energies(out) == sorted(values, reverse=True)
    assert sorted(names(out)) == list(range(1, len(values) + 1))


def test_equal_elements_are_exchanged_in_falling_order_only() -> None:
    assert names(sorted_by_network(elements([5, 5]))) == [2, 1]
    # Three: the first alone, the others exchanged; the merge compares 0 with 2, then 0 with 1.
    assert network(3) == [(1, 2, 1), (0, 2, 1), (0, 1, 1)]
    assert names(sorted_by_network(elements([5, 5, 5]))) == [3, 2, 1]
    assert (0, 1, 0) in network(4)


def merged(best: list[int], ring: list[int]) -> list[int]:
    cells = np.zeros(ACCUMULATED, np.int64)
    cells[: len(best)] = best
    accumulate(np.array(ring, np.int64), len(ring), cells)
    return [value for value in cells.tolist() if value]


def test_earlier_jet_stays_in_front_of_a_new_equal_one() -> None:
    assert names(merged(elements([9, 5]), elements([5, 5], 11))) == [1, 2, 11, 12]


def test_jet_pushed_down_falls_behind_its_equals() -> None:
    """Found in the reference: event 46, setting phi-ring, negative side."""
    assert names(merged(elements([21, 15, 15, 13]), elements([16], 11))) == [1, 11, 3, 2, 4]


@given(
    st.lists(st.integers(1, 9), max_size=ACCUMULATED),
    st.lists(st.integers(1, 9), min_size=1, max_size=6),
)
def test_accumulating_sort_keeps_the_largest(best: list[int], ring: list[int]) -> None:
    best.sort(reverse=True)
    ring.sort(reverse=True)
    out = merged(elements(best), elements(ring, 11))
    assert energies(out) == sorted(best + ring, reverse=True)[:ACCUMULATED]
    assert len(set(names(out))) == len(out)


@pytest.mark.parametrize(
    ("et", "row", "iphi", "winner"),
    [
        ((5, 5), (3, 3), (10, 20), 7),
        ((5, 5), (3, 3), (20, 10), 6),
        ((5, 5), (3, 4), (10, 20), 6),
        ((6, 5), (3, 3), (10, 20), 6),
    ],
)
def test_last_place(
    et: tuple[int, int], row: tuple[int, int], iphi: tuple[int, int], winner: int
) -> None:
    best = np.array(elements([9, 9, 9, 9, 9, *et]), np.int64)
    base = 4
    rows = np.array([0] * (base + 6) + list(row), np.uint8)
    phis = np.array([0] * (base + 6) + list(iphi), np.uint8)
    settle_last(best, rows, phis, base)
    assert names(best.tolist())[5] == winner


def test_last_place_without_a_seventh() -> None:
    best = np.array([*elements([9, 9, 9, 9, 9, 0]), 0], np.int64)
    before = best.copy()
    settle_last(best, np.zeros(8, np.uint8), np.arange(8, dtype=np.uint8), 0)
    np.testing.assert_array_equal(best, before)
