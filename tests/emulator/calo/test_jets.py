"""Properties of the jet finder, and its equality with the slow twin."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scout40.emulator.calo.calibration import packaged_calibration
from scout40.emulator.calo.config import CONFIGS, configuration
from scout40.emulator.calo.jets import find_jets
from scout40.streams.block import Block, Table, offsets_of
from scout40.streams.errors import BadConfig, BadInput
from tests.emulator.calo import slow_calo
from tests.emulator.calo.jet_events import (
    IETAS,
    JET,
    Towers,
    block_of,
    jets_of,
    twin_calibration,
    twin_jets,
)

TWIN_PILE_UP = {"none": "none", "phi ring": "phi-ring", "chunky donut": "chunky-donut"}
ENERGIES = {
    "any": st.integers(0, 511),
    "few": st.sampled_from([7, 8, 9, 20]),
    "equal": st.just(40),
    "saturated": st.sampled_from([508, 509, 510, 511]),
}
ETAS = {
    "all": st.sampled_from(IETAS),
    "middle": st.sampled_from([-5, -4, -3, -2, -1, 1, 2, 3, 4, 5]),
    "edge": st.sampled_from([-41, -40, -38, -36, 27, 28, 30, 33, 34, 35, 36, 37, 40, 41]),
    "one ring": st.sampled_from([12]),
}
PHIS = {"all": st.integers(1, 72), "wrap": st.sampled_from([1, 2, 3, 4, 5, 68, 69, 70, 71, 72])}


@st.composite
def events(draw: st.DrawFn) -> Towers:
    """Towers of one crossing: spread or clustered, with many ties or none."""
    et = ENERGIES[draw(st.sampled_from(sorted(ENERGIES)))]
    eta = ETAS[draw(st.sampled_from(sorted(ETAS)))]
    phi = PHIS[draw(st.sampled_from(sorted(PHIS)))]
    return draw(st.dictionaries(st.tuples(eta, phi), et, max_size=60))


@functools.cache
def calibration() -> slow_calo.Calibration:
    return twin_calibration(packaged_calibration())


def crowded_ring(energies: list[int]) -> Towers:
    """A ring with a jet every five towers."""
    return {(12, 1 + 5 * k): et for k, et in enumerate(energies)}


def assert_as_twin(towers: Towers, name: str) -> None:
    config = configuration(name)
    jets = find_jets(block_of([towers]), config)
    constants = calibration() if config.calibrated else None
    twin = slow_calo.jets(towers, TWIN_PILE_UP[config.pile_up], constants)
    assert jets_of(jets.presort) == twin_jets(twin.presort)
    assert jets_of(jets.processor) == twin_jets(twin.processor)
    assert jets_of(jets.demux) == twin_jets(twin.demux)


@pytest.mark.parametrize("name", list(CONFIGS))
@settings(max_examples=60)
@given(towers=events())
@example(towers={})
@example(towers={(35, 26): 22, (41, 20): 100})  # a donut's strip that is half beyond the detector
@example(towers=crowded_ring([30] * 7))
def test_equal_to_the_slow_twin(name: str, towers: Towers) -> None:
    assert_as_twin(towers, name)


@pytest.mark.parametrize("name", list(CONFIGS))
def test_full_crossing_is_equal_to_the_slow_twin(name: str) -> None:
    random = np.random.default_rng(11)
    for highest in (3, 60, 512):
        towers = {
            (ieta, iphi): int(random.integers(1, highest))
            for ieta in IETAS
            for iphi in range(1, 73)
        }
        towers |= {(ieta, 7): 200 for ieta in IETAS[::7]}
        assert_as_twin(towers, name)


@settings(max_examples=30)
@given(st.lists(events(), max_size=6))
def test_crossings_do_not_know_each_other(several: list[Towers]) -> None:
    config = configuration("2024")
    together = find_jets(block_of(several), config)
    for k, towers in enumerate(several):
        alone = find_jets(block_of([towers]), config)
        for name in ("presort", "processor", "demux"):
            assert jets_of(getattr(together, name), k) == jets_of(getattr(alone, name))


@given(events(), st.integers(1, 71), st.sampled_from(["phi-ring", "chunky-donut"]))
def test_rotation_in_phi(towers: Towers, turn: int, name: str) -> None:
    def turned(iphi: int) -> int:
        return (iphi - 1 + turn) % 72 + 1

    rotated = {(ieta, turned(iphi)): et for (ieta, iphi), et in towers.items()}
    before, after = (find_jets(block_of([t]), configuration(name)) for t in (towers, rotated))
    expected = {
        (et, ieta, turned(iphi), *more) for et, ieta, iphi, *more in jets_of(before.presort)
    }
    assert set(jets_of(after.presort)) == expected
    assert after.demux["hw_et"].tolist() == before.demux["hw_et"].tolist()


@given(events(), st.data())
def test_order_of_towers_does_not_matter(towers: Towers, data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(list(towers.items())))
    config = configuration("2024")
    one, other = (find_jets(block_of([t]), config) for t in (towers, dict(shuffled)))
    assert jets_of(one.presort) == jets_of(other.presort)
    assert jets_of(one.demux) == jets_of(other.demux)


@pytest.mark.parametrize("ieta", [-20, 20])
@pytest.mark.parametrize("iphi", [1, 40, 72])
def test_of_two_equal_towers_one_stays(ieta: int, iphi: int) -> None:
    """The window's triangle, not mirrored at negative eta, wrapped in phi."""
    config = configuration("no-subtraction")
    for deta in range(-5, 6):
        for dphi in range(-5, 6):
            if (deta, dphi) == (0, 0):
                continue
            place = ieta + deta, (iphi - 1 + dphi) % 72 + 1
            found = find_jets(block_of([{(ieta, iphi): 30, place: 30}]), config).presort
            seeds = {(int(e), int(p)) for e, p in zip(found["ieta"], found["iphi"], strict=True)}
            if max(abs(deta), abs(dphi)) > 4:
                assert seeds == {(ieta, iphi), place}
            elif deta + dphi > 0 or (deta + dphi == 0 and deta > 0):
                assert seeds == {place}
            else:
                assert seeds == {(ieta, iphi)}


def test_completely_full_crossings_of_equal_towers_have_no_jet() -> None:
    for et in (8, 511):
        full = {(ieta, iphi): et for ieta in IETAS for iphi in range(1, 73)}
        jets = find_jets(block_of([full, {}, full]), configuration("chunky-donut"))
        assert len(jets.presort) == len(jets.demux) == 0


def test_most_jets_that_fit() -> None:
    """14 in a ring, 224 in a crossing; only 6 of each side are sent."""
    towers = {
        (ieta, 1 + 5 * k): 100 + 10 * row + k
        for row, ieta in enumerate(IETAS[::5])
        for k in range(14)
    }
    jets = find_jets(block_of([towers] * 2), configuration("no-subtraction"))
    assert jets.presort.counts().tolist() == [224, 224]
    assert jets.demux.counts().tolist() == [12, 12]
    assert jets_of(jets.demux, 0) == jets_of(jets.demux, 1)


@given(st.lists(st.integers(30, 32), min_size=7, max_size=14))
@example([30] * 7)
def test_crowded_ring(energies: list[int]) -> None:
    """Which six stay is decided by a network of just these jets, their order by one of 18."""
    towers = crowded_ring(energies)
    assert_as_twin(towers, "no-subtraction")
    assert len(find_jets(block_of([towers]), configuration("no-subtraction")).presort) > 6


def test_saturated_seed() -> None:
    full = {(ieta, iphi): 5 for ieta in IETAS for iphi in range(1, 73)}
    jets = find_jets(
        block_of([full | {(10, 10): 509}, full | {(10, 10): 508}]), configuration("phi-ring")
    )
    assert jets_of(jets.processor)[0] == (65535, 10, 10, 80 * 5 + 509, 509, 0)
    assert jets_of(jets.demux)[0][0] == 2047
    pu = (9 * 72 * 5 + 503) * 9 // 72
    assert jets_of(jets.presort, 1) == [(80 * 5 + 508 - pu, 10, 10, 80 * 5 + 508, 508, pu)]


def test_threshold_and_empty_crossings() -> None:
    block = block_of([{}, {(1, 1): 7}, {(1, 1): 8}, {}])
    jets = find_jets(block, configuration("no-subtraction"))
    assert jets.demux.offsets.tolist() == [0, 0, 0, 1, 1]
    assert jets_of(jets.demux, 2) == [(8, 1, 1, 8, 8, 0)]
    nothing = find_jets(block_of([]), configuration("2024"))
    assert nothing.demux.offsets.tolist() == nothing.presort.offsets.tolist() == [0]


def with_tower(hw_et: object, hw_eta: object, hw_phi: object) -> Block:
    columns = {"hw_et": np.array(hw_et), "hw_eta": np.array(hw_eta), "hw_phi": np.array(hw_phi)}
    block = block_of([{}, {(1, 1): 9}])
    return block.replace(
        tables={"tower": Table(columns, offsets_of(np.array([0, len(columns["hw_et"])])))}
    )


@pytest.mark.parametrize(
    ("towers", "field"),
    [
        (([9, 512], [1, 2], [1, 1]), "hw_et"),
        (([9, 9], [1, 29], [1, 1]), "hw_eta"),
        (([9, 9], [1, 0], [1, 1]), "hw_eta"),
        (([9, 9], [1, -42], [1, 1]), "hw_eta"),
        (([9, 9], [1, 2], [1, 0]), "hw_phi"),
        (([9, 9], [1, 2], [1, 73]), "hw_phi"),
        (([9, 9], [41, 41], [1, 255]), "hw_phi"),
        (([9, 9], [1, 1], [5, 5]), "hw_eta"),
    ],
)
def test_tower_that_cannot_be_used(towers: tuple[list[int], ...], field: str) -> None:
    with pytest.raises(BadInput, match=rf"orbit 7, bx 2, field {field}: tower"):
        find_jets(with_tower(*towers), configuration("2024"))


@pytest.mark.parametrize(
    ("towers", "message"),
    [
        (([70000], [1], [1]), "field hw_et: tower: values 70000"),
        (([-1], [1], [1]), "field hw_et: tower: values -1"),
        (([9], [200], [1]), "field hw_eta: tower: values 200"),
        (([9.0], [1], [1]), "field hw_et: tower: float64 values"),
    ],
)
def test_column_that_cannot_be_used(towers: tuple[list[float], ...], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        find_jets(with_tower(*towers), configuration("2024"))


def test_missing_table_or_column() -> None:
    block = block_of([{(1, 1): 9}])
    with pytest.raises(BadInput, match="table tower"):
        find_jets(block.replace(tables={}), configuration("2024"))
    table = block.tables["tower"]
    short = Table({"hw_et": table["hw_et"], "hw_eta": table["hw_eta"]}, table.offsets)
    with pytest.raises(BadInput, match="hw_phi"):
        find_jets(block.replace(tables={"tower": short}), configuration("2024"))


def test_towers_without_energy_are_ignored_wherever_they_are() -> None:
    block = with_tower([30, 0, 0, 0, 0, 31], [5, 5, 29, 0, -128, 5], [9, 9, 1, 255, 0, 30])
    jets = find_jets(block, configuration("no-subtraction"))
    assert [jet[:3] for jet in jets_of(jets.demux, 1)] == [(31, 5, 30), (30, 5, 9)]
    assert set(JET) <= set(jets.demux.columns)


def test_unknown_configuration() -> None:
    with pytest.raises(BadConfig, match="phi-ring, 2024, chunky-donut"):
        configuration("2042")
