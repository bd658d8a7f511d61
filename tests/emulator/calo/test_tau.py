"""Taus: kernels against the slow twin, and the choice of the second cluster."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scout40.emulator.calo.egamma_tau import taus
from tests.emulator.calo import slow_clusters as slow
from tests.emulator.calo.slow_calo import PHIS, ieta_of, stepped


def found(towers: slow.Towers, tables: slow.Tables = slow.NO_TABLES) -> list[slow.Row]:
    """Taus of one event, by the kernels."""
    return slow.rows_of(taus(slow.tower_table([towers]), slow.kernel_tables(tables)))[0]


def words(energies: dict[tuple[int, int], int]) -> slow.Towers:
    """Towers of the given Et."""
    return {where: (et, 0, 0) for where, et in energies.items()}


@given(st.lists(slow.events(), min_size=1, max_size=3), st.none() | st.integers(0, 9))
def test_kernels_equal_the_twin(events: list[slow.Towers], seed: int | None) -> None:
    tables = slow.NO_TABLES if seed is None else slow.random_tables(seed)
    table = taus(slow.tower_table(events), slow.kernel_tables(tables))
    assert slow.rows_of(table) == [slow.taus(event, tables) for event in events]


@st.composite
def pairs(draw: st.DrawFn) -> slow.Towers:
    """One large tower and few small ones at and near the places of second seeds."""
    index = draw(st.sampled_from([-25, -2, -1, 1, 2, 10, 25]))
    iphi = draw(st.sampled_from([1, 2, 3, 30, 70, 72]))
    near = [(deta, dphi) for deta in (-1, 0, 1) for dphi in (-4, -3, -2, -1, 1, 2, 3, 4)]
    small = st.dictionaries(st.sampled_from(slow.PLACES), st.sampled_from([4, 5, 9]), max_size=5)
    members = st.dictionaries(st.sampled_from(near), st.sampled_from([1, 2, 3]), max_size=4)
    energies = draw(members) | draw(small) | {(0, 0): 100}
    return {
        (ieta_of(stepped(index, deta)), (iphi + dphi - 1) % PHIS + 1): (et, 0, 0)
        for (deta, dphi), et in energies.items()
    }


@given(st.lists(pairs(), min_size=1, max_size=20))
def test_second_clusters_equal_the_twin(events: list[slow.Towers]) -> None:
    table = taus(slow.tower_table(events))
    assert slow.rows_of(table) == [slow.taus(event) for event in events]


def test_one_tower_is_a_tau() -> None:
    assert found(words({(25, 1): 40})) == [(40, 52, 1, 0, 40, 0, 25, 1)]
    assert not found(words({(26, 1): 40}))


@pytest.mark.parametrize(
    ("seconds", "merged"),
    [
        ({(5, 13): 8}, 8),  # the tip
        ({(5, 12): 8}, 8),  # the middle
        ({(5, 13): 4, (4, 8): 9}, 9),  # the side with more
        ({(4, 12): 8, (6, 12): 9}, 9),  # the larger of the two others
        ({(5, 13): 5, (4, 12): 40}, 45),  # a tip that is no maximum is but a member
        ({(5, 13): 8, (5, 7): 8}, 8),  # equal sides: one of them, not both
        ({(5, 13): 3}, 0),  # too little for a seed
        ({(7, 10): 50}, 0),  # no place of a second seed
    ],
)
def test_the_second_cluster(seconds: dict[tuple[int, int], int], merged: int) -> None:
    row = next(r for r in found(words({(5, 10): 100} | seconds)) if r[6:] == (5, 10))
    assert row[4] == 100 + merged


def test_two_equal_seconds_on_the_falling_side_stand_in_for_the_rising_one() -> None:
    # Places 4 and 6 equal: taken although the rising side has more.
    row = found(words({(5, 10): 100, (5, 13): 30, (4, 8): 9, (6, 8): 9}))[0]
    assert row[4] == 109


@pytest.mark.parametrize(("side", "raw"), [(1, 112), (-1, 110)])
def test_of_two_equal_seconds_the_one_nearer_to_eta_0_is_taken(side: int, raw: int) -> None:
    # Both have 10; the member of 2 is shared with the one of larger eta.
    row = found(words({(5 * side, 10): 100, (5 * side + 1, 11): 2, (5 * side + 1, 12): 8,
                       (5 * side - 1, 12): 10}))[0]  # fmt: skip
    assert row[4:5] + row[6:] == (raw, 5 * side, 10)


def test_shared_towers_count_once() -> None:
    # (5, 11) is a member of both clusters.
    row = found(words({(5, 10): 100, (5, 11): 6, (5, 13): 0, (6, 12): 20}))[0]
    assert row[4] == 126


def test_empty_and_completely_full_crossings() -> None:
    full = words({(ieta, iphi): 4 for ieta in slow.IETAS for iphi in range(1, 73)})
    lone = full | words({(-3, 20): 9})
    table = taus(slow.tower_table([{}, full, lone]))
    assert table.counts().tolist() == [0, 0, 1]
    assert slow.rows_of(table)[2] == slow.taus(lone)


def test_et_saturates_at_511() -> None:
    assert found(words({(5, 10): 511, (5, 12): 400}))[0][:5:4] == (511, 911)
