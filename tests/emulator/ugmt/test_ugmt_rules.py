"""Rules of the uGMT one by one: ties, order, the turn in azimuth, saturation, extreme crossings."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scout40.emulator.ugmt import Ugmt, computed_tables, firmware
from scout40.emulator.ugmt.links import global_phi
from scout40.streams.block import Block, concatenate
from scout40.streams.errors import BadInput
from tests.emulator.ugmt import muons as inputs
from tests.emulator.ugmt.muons import muon

V2024 = firmware("2024")
UGMT = Ugmt(V2024, computed_tables(V2024))


def details(*crossings: inputs.Crossing, ugmt: Ugmt = UGMT) -> list[dict[str, Any]]:
    """Columns of the input muons of each crossing."""
    table = ugmt.run(inputs.block(crossings), details=True).tables["tfmu"]
    parts = [table.take_crossings(k, k + 1) for k in range(len(crossings))]
    return [{name: values.tolist() for name, values in part.columns.items()} for part in parts]


def cancelled(*crossing: inputs.Muon, ugmt: Ugmt = UGMT) -> list[int]:
    """Cancel bits of one crossing, given in any order, in the order given."""
    ordered = sorted(crossing, key=lambda m: (m["link"], m["slot"]))
    bits = details(ordered, ugmt=ugmt)[0]["cancel"]
    return [bits[next(k for k, m in enumerate(ordered) if m is one)] for one in crossing]


def indices(block: Block, table: str = "mu") -> list[int]:
    return list(UGMT.run(block).tables[table]["tf_muon_index"])


# Cancel-out ------------------------------------------------------------------------------------

BARREL = {"stat1": 0}
BARREL_NEXT = {"stat1": 4}  # the segment of code 0 of the wedge before
OVERLAP, ENDCAP = 42, 36


@pytest.mark.parametrize(("first", "second"), [(48, 49), (58, 59), (59, 48)])
def test_a_tie_in_the_barrel_goes_against_the_next_wedge(first: int, second: int) -> None:
    a, b = muon(first, **BARREL, hw_eta=3), muon(second, **BARREL_NEXT, hw_eta=3)
    assert cancelled(a, b) == [0, 1]
    assert cancelled({**a, "hw_qual": 11}, b) == [1, 0]
    assert cancelled({**a, "hw_pt": 1}, {**b, "hw_pt": 511}) == [0, 1]


def test_barrel_addresses_need_the_right_order_wheel_and_side() -> None:
    a, b = muon(48, **BARREL, hw_eta=3), muon(49, **BARREL_NEXT, hw_eta=3)
    assert cancelled(muon(48, **BARREL_NEXT), muon(49, **BARREL)) == [0, 0]
    assert cancelled(a, {**b, "link": 50}) == [0, 0]
    assert cancelled(a, {**b, "wheel_num": 1}) == [0, 0]
    assert cancelled(a, {**b, "wheel_side": 1}) == [0, 0]
    across = {"stat1": 10, "wheel_num": 0}, {"stat1": 0, "wheel_num": 1, "wheel_side": 1}
    assert cancelled(muon(48, **across[0]), muon(49, **across[1])) == [0, 1]


@pytest.mark.parametrize(
    ("first", "second"), [(42, 43), (47, 42), (60, 61), (65, 60), (36, 37), (41, 36), (71, 66)]
)
def test_a_tie_by_coordinates_goes_against_the_next_sector(first: int, second: int) -> None:
    a, b = muon(first, hw_phi=48), muon(second, hw_phi=-48)
    assert cancelled(a, b) == [0, 1]
    assert cancelled({**a, "hw_qual": 4}, b) == [1, 0]


@pytest.mark.parametrize("other", [muon(48, hw_phi=72, hw_eta=40), muon(36, hw_phi=24)])
def test_a_tie_goes_against_the_overlap(other: inputs.Muon) -> None:
    overlap = muon(42, hw_phi=24)  # azimuth 48, as the others
    assert cancelled(overlap, other) == [1, 0]
    assert cancelled({**overlap, "hw_qual": 13}, other) == [0, 1]


@pytest.mark.parametrize("sector", range(6))
def test_neighbours_of_an_overlap_sector(sector: int) -> None:
    found = []
    for link in (*range(36, 42), *range(48, 60)):
        partner = muon(link, hw_eta=40)
        phi = global_phi(np.array([link]), np.array([0]))[0]
        local = int(phi - global_phi(np.array([42 + sector]), np.array([0]))[0] + 288) % 576 - 288
        if -128 <= local <= 127 and cancelled(muon(42 + sector, hw_phi=local), partner)[0]:
            found.append(link)
    endcaps = {36 + (sector + step) % 6 for step in (-1, 0, 1)}
    barrel = {48 + (2 * sector + step) % 12 for step in range(4)}
    assert set(found) == endcaps | barrel


def test_no_comparison_in_one_wedge_nor_of_barrel_with_endcap() -> None:
    for link in (36, 42, 48, 60, 66):
        same = {"hw_phi": 0, "stat1": 0}
        assert cancelled(muon(link, 0, **same), muon(link, 1, **same)) == [0, 0]
    assert cancelled(muon(48, hw_phi=72), muon(36, hw_phi=24)) == [0, 0]


def test_a_cancelled_muon_still_cancels() -> None:
    chain = [
        muon(42, hw_phi=48, hw_qual=12),
        muon(43, hw_phi=-48, hw_qual=8),
        muon(37, hw_phi=-48, hw_qual=4),
    ]
    # The overlap muons match, and the worse of them is better than the endcap muon.
    assert cancelled(*chain) == [0, 1, 1]


@pytest.mark.parametrize("turn", [0, 575])
def test_the_match_goes_round_the_turn(turn: int) -> None:
    # Overlap sector 5 ends and sector 0 begins at the edge; both reach beyond it.
    phi = {575: (71, -25), 0: (72, -24)}[turn]
    last, first = muon(47, hw_phi=phi[0]), muon(42, hw_phi=phi[1])
    assert details([first, last])[0]["global_phi"] == [turn, turn]
    assert cancelled(last, first) == [0, 1]
    # One unit beyond the edge on the other side matches too: a difference of 1, not of 575.
    assert cancelled(last, {**first, "hw_phi": -25 if turn == 0 else -24}) == [0, 1]


@given(crossing=inputs.crossings(largest=7))
def test_cancel_out_is_the_sum_of_its_pairs(crossing: inputs.Crossing) -> None:
    """Who is cancelled does not depend on the order of comparisons, nor on who else is there."""
    together = details(crossing)[0]
    alone = [0] * len(crossing)
    for one, other in combinations(range(len(crossing)), 2):
        if crossing[one]["hw_pt"] and crossing[other]["hw_pt"]:
            bits = details([crossing[one], crossing[other]])[0]["cancel"]
            alone[one] |= bits[0]
            alone[other] |= bits[1]
    expected = [bit if m["hw_pt"] else -999 for bit, m in zip(alone, crossing, strict=True)]
    assert together["cancel"] == expected


@given(crossing=inputs.crossings(), order=st.permutations(range(3)))
def test_slots_of_a_link_are_equal_before_cancel_out(
    crossing: inputs.Crossing, order: list[int]
) -> None:
    moved = sorted(
        ({**m, "slot": order[m["slot"]]} for m in crossing), key=lambda m: (m["link"], m["slot"])
    )
    before, after = details(crossing, moved)
    rows = [
        sorted(zip(one["link"], one["hw_eta"], one["hw_pt"], one["cancel"], strict=True))
        for one in (before, after)
    ]
    assert rows[0] == rows[1]


# Sorting ---------------------------------------------------------------------------------------


def test_equal_ranks_keep_the_order_of_inputs() -> None:
    links = (36, 38, 42, 44, 48, 51, 60, 62, 66, 68)
    crossing = [
        muon(link, hw_eta=(1 if link < 54 else -1) * (20 + 22 * k)) for k, link in enumerate(links)
    ]
    expected = [3 * (link - 36) for link in links][:8]
    assert indices(inputs.block([crossing])) == expected


def test_rank_is_the_sum_of_pt_and_quality() -> None:
    pairs = ((100, 3), (90, 15), (104, 0))
    crossing = [
        muon(link, hw_pt=pt, hw_qual=qual)
        for link, (pt, qual) in zip((36, 48, 66), pairs, strict=True)
    ]
    table = UGMT.run(inputs.block([crossing])).tables["mu"]
    assert table["hw_rank"].tolist() == [105, 104, 103]
    assert table["tf_muon_index"].tolist() == [36, 90, 0]


def test_a_full_stream_drops_the_lowest() -> None:
    barrel = [muon(48 + k // 2, k % 2, hw_pt=10 + k % 7, hw_phi=3 * k - 30) for k in range(20)]
    kept = UGMT.run(inputs.block([barrel])).tables["mu_intermediate"]
    ranks = sorted((m["hw_pt"] + 12 for m in barrel), reverse=True)[:8]
    assert kept["hw_rank"].tolist() == ranks
    assert kept["stream"].tolist() == [2] * 8
    assert kept["pos"].tolist() == list(range(8))


# Extrapolation, output -------------------------------------------------------------------------


@given(local=st.integers(-128, 127), sign=st.integers(0, 1), pt=st.integers(1, 511))
def test_vertex_azimuth_stays_on_the_turn(local: int, sign: int, pt: int) -> None:
    for link in (36, 47, 48, 59, 60, 71):
        one = muon(link, hw_phi=local, hw_sign=sign, hw_pt=pt)
        table = UGMT.run(inputs.block([[one]])).tables["mu"]
        phi, vertex = int(table["hw_phi"][0]), int(table["hw_phi_at_vtx"][0])
        step = int(table["dphi_extra"][0])
        assert 0 <= vertex < 576
        assert vertex == (phi + step) % 576
        assert phi == global_phi(np.array([link]), np.array([local]))[0]
        assert step == 0 if pt > 127 else step * (1 - 2 * sign) >= 0


def test_extremes_do_not_overflow() -> None:
    highest = muon(36, hw_pt=511, hw_qual=15, hw_eta=255, hw_phi=127, hw_pt_unconstrained=255)
    lowest = muon(71, hw_pt=1, hw_qual=0, hw_eta=-256, hw_phi=-128)
    table = UGMT.run(inputs.block([[highest, lowest]])).tables["mu"]
    assert table["hw_rank"].tolist() == [526, 1]
    assert table["hw_eta"].tolist() == [255, -256]
    assert table["hw_eta_at_vtx"].min() >= -256
    assert table["hw_pt_unconstrained"].tolist() == [255, 0]
    assert table["hw_iso"].tolist() == [3, 3]


def test_old_quality_has_two_bits_and_the_halo() -> None:
    old = Ugmt(firmware("2022"), computed_tables(firmware("2022")))
    crossing = [
        muon(36, hw_qual=7, hw_hf=1),
        muon(38, hw_qual=7),
        muon(48, hw_qual=15, hw_hf=1),
    ]
    block = inputs.block([crossing])
    assert sorted(old.run(block).tables["mu"]["hw_qual"].tolist()) == [4, 12, 15]
    assert sorted(UGMT.run(block).tables["mu"]["hw_qual"].tolist()) == [7, 7, 15]


def test_firmware_of_2016_sends_station_coordinates() -> None:
    fw = firmware("2016")
    table = (
        Ugmt(fw, computed_tables(fw))
        .run(inputs.block([[muon(42, hw_pt=8, hw_eta=85)]]))
        .tables["mu"]
    )
    assert table["dphi_extra"][0] != 0
    assert table["hw_phi_at_vtx"][0] == table["hw_phi"][0]


# Crossings -------------------------------------------------------------------------------------


def test_no_muons_at_all() -> None:
    some: list[list[inputs.Crossing]] = [[], [[]], [[], [muon(40, hw_pt=0)], []]]
    for crossings in some:
        result = UGMT.run(inputs.block(crossings), details=True)
        assert len(result.tables["mu"]) == len(result.tables["mu_intermediate"]) == 0
        assert set(result.tables["tfmu"]["rank"]) <= {-999}


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1))
def test_full_crossings_fill_the_output(seed: int) -> None:
    block = inputs.block(inputs.full_crossings(2, seed))
    result = UGMT.run(block, details=True)
    assert result.tables["mu"].counts().tolist() == [8, 8]
    assert (result.tables["mu_intermediate"].counts() <= 24).all()
    assert {0, 1} == set(result.tables["tfmu"]["cancel"])


@settings(max_examples=30)
@given(crossings=st.lists(inputs.crossings(largest=4), min_size=2, max_size=5), cut=st.data())
def test_crossings_do_not_see_each_other(
    crossings: list[inputs.Crossing], cut: st.DataObject
) -> None:
    block = inputs.block(crossings)
    at = cut.draw(st.integers(1, len(crossings) - 1))
    whole = UGMT.run(block)
    parts = concatenate([UGMT.run(block.take(0, at)), UGMT.run(block.take(at, len(block)))])
    for name in ("mu", "mu_intermediate"):
        assert (whole.tables[name].offsets == parts.tables[name].offsets).all()
        for column, values in whole.tables[name].columns.items():
            assert (values == parts.tables[name][column]).all()


def test_null_muons_may_hold_anything() -> None:
    junk = {**muon(48, hw_pt=0, hw_qual=255), "stat1": 99, "wheel_num": 200}
    assert indices(inputs.block([[junk, muon(49)]])) == [39]


# Errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("crossing", "text"),
    [
        ([muon(49), muon(48)], "orbit 0, bx 2, field link: muons must be ordered"),
        ([muon(49), muon(49)], "orbit 0, bx 2, field link: muons must be ordered"),
        ([muon(72)], "bx 2, field link: 72, expected 36..71"),
        ([muon(48, hw_qual=16)], "bx 2, field hw_qual: 16, expected 0..15"),
        ([muon(48, wheel_num=4)], "bx 2, field wheel_num: 4, expected 0..3"),
        ([muon(48, hw_pt=512)], "bx 2, field hw_pt: 512, expected 0..511"),
    ],
)
def test_wrong_muons_are_named(crossing: inputs.Crossing, text: str) -> None:
    with pytest.raises(BadInput, match=text):
        UGMT.run(inputs.block([[], crossing]))


def test_wrong_tables_are_named() -> None:
    block = inputs.block([[muon(48)]])
    with pytest.raises(BadInput, match="no table tfmu"):
        UGMT.run(block.replace(tables={}))
    table = block.tables["tfmu"]
    short = {name: values for name, values in table.columns.items() if name != "stat2"}
    with pytest.raises(BadInput, match="stat2: table tfmu has no such column"):
        UGMT.run(block.replace(tables={"tfmu": type(table)(short, table.offsets)}))
    twice = [{"ieta": 1, "iphi": 2, "et": 0}, {"ieta": 1, "iphi": 2, "et": 3}]
    with pytest.raises(BadInput, match="bx 1, field ieta: a calorimeter sum occurs twice"):
        UGMT.run(inputs.block([[muon(48)]], [twice]))
    with pytest.raises(BadInput, match=r"field iphi: 36, expected 0\.\.35"):
        UGMT.run(inputs.block([[muon(48)]], [[{"ieta": 1, "iphi": 36, "et": 0}]]))


def test_the_input_is_left_alone() -> None:
    block = inputs.block(inputs.full_crossings(1, 3))
    before = {name: values.copy() for name, values in block.tables["tfmu"].columns.items()}
    UGMT.run(block, details=True)
    assert set(block.tables) == {"tfmu"}
    assert set(block.tables["tfmu"].columns) == set(before)
    for name, values in before.items():
        assert (block.tables["tfmu"][name] == values).all()
