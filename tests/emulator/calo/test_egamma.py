"""e/gammas: kernels against the slow twin, and what the rules say of single clusters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scout40.emulator.calo.egamma_tau import egamma
from scout40.streams.block import Table, offsets_of
from scout40.streams.errors import BadInput
from tests.emulator.calo import slow_clusters as slow

ELECTRON = 3  # misc_bits: no hadronic energy, E >= H


def found(towers: slow.Towers, tables: slow.Tables = slow.NO_TABLES) -> list[slow.Row]:
    """e/gammas of one event, by the kernels."""
    table = egamma(slow.tower_table([towers]), slow.kernel_tables(tables))
    return slow.rows_of(table)[0]


@given(st.lists(slow.events(), min_size=1, max_size=3), st.none() | st.integers(0, 9))
def test_kernels_equal_the_twin(events: list[slow.Towers], seed: int | None) -> None:
    tables = slow.NO_TABLES if seed is None else slow.random_tables(seed)
    table = egamma(slow.tower_table(events), slow.kernel_tables(tables))
    assert slow.rows_of(table) == [slow.egammas(event, tables) for event in events]


def test_the_candidate_of_one_tower() -> None:
    assert found({(5, 72): (40, 0, ELECTRON)}) == [(40, 9, 143, 0, 40, 0, 5, 72)]


def test_fine_position_wraps_in_phi_and_keeps_one_side() -> None:
    towers = {(-1, 72): (40, 0, ELECTRON), (-1, 1): (6, 0, ELECTRON), (1, 72): (5, 0, ELECTRON)}
    # South of the seed has more, and the east side: towards eta 0.
    assert found(towers)[0] == (51, 0, 0, 0, 51, 0, -1, 72)


@pytest.mark.parametrize(
    ("ieta", "ratio", "misc", "sent"),
    [
        (15, 3, 2, True), (15, 2, 2, False), (16, 4, 2, True), (16, 3, 2, False),
        (5, 7, 0, False), (5, 0, 3, True), (5, 0, 1, False), (5, 7, 10, False),
    ],
)  # fmt: skip
def test_the_seed_must_look_like_an_electron(ieta: int, ratio: int, misc: int, sent: bool) -> None:
    assert bool(found({(ieta, 10): (100, ratio, misc)})) is sent


def test_from_128_gev_on_everything_passes() -> None:
    assert not found({(5, 10): (255, 0, 1)})
    assert found({(5, 10): (256, 0, 1)})[0][0] == 256


def test_et_saturates_at_511() -> None:
    towers = {(5, 10): (511, 0, 3), (5, 11): (500, 0, 3), (5, 30): (511, 0, 3)}
    assert [row[:1] + row[4:5] for row in found(towers)] == [(511, 511), (511, 1011)]


def test_forward_seeds_are_no_egammas() -> None:
    assert found({(28, 10): (50, 0, 3)})
    assert not found({(30, 10): (50, 0, 3)})


def test_empty_and_completely_full_crossings() -> None:
    full = {(ieta, iphi): (4, 0, 3) for ieta in slow.IETAS for iphi in range(1, 73)}
    lone = full | {(3, 20): (9, 0, 3)}
    table = egamma(slow.tower_table([{}, full, lone]))
    assert table.counts().tolist() == [0, 0, 1]
    assert slow.rows_of(table)[2] == slow.egammas(lone)


def test_turning_the_detector_turns_the_answer() -> None:
    rng = np.random.default_rng(4)
    # Distinct energies: the sorters of a ring know the place in phi, ties would show it.
    energies = rng.permutation(400)[:60] + 4
    towers = {
        (int(rng.integers(1, 29)), int(rng.integers(1, 73))): (int(e), 0, 3) for e in energies
    }
    turned = {(ieta, (iphi + 16) % 72 + 1): word for (ieta, iphi), word in towers.items()}
    plain, other = found(towers), found(turned)
    assert len(plain) == 6
    moved = [(*r[:2], (r[2] + 34) % 144, *r[3:7], (r[7] + 16) % 72 + 1) for r in plain]
    assert other == moved


def test_towers_that_cannot_be_are_named() -> None:
    table = slow.tower_table([{(5, 10): (50, 0, 3)}])
    doubled = Table(
        {k: np.repeat(v, 2) for k, v in table.columns.items()}, offsets_of(np.array([2]))
    )
    with pytest.raises(BadInput, match="tower 1 comes twice"):
        egamma(doubled)
    for name, value in (("hw_et", 512), ("hw_eta", 29), ("hw_phi", 73), ("misc_bits", 16)):
        columns = dict(table.columns) | {name: np.array([value], np.int64)}
        with pytest.raises(BadInput, match=f"{name}: tower 0: {value}") as failure:
            egamma(Table(columns, table.offsets))
        assert "field" in str(failure.value)
