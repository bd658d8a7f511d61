"""Reasons of crossings against a selection written out crossing by crossing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scout40.emulator.selection import SELECTORS, Selection, Selector, kept
from scout40.emulator.selection.select import ALL, FIRST, MENU, ZERO_BIAS
from scout40.emulator.ugt.model import Algorithm, Leaf, Menu
from scout40.streams.block import Block, Table, offsets_of
from scout40.streams.errors import BadConfig, BadInput
from scout40.streams.formats.bmtf import BmtfStub
from scout40.streams.formats.gmt import ScoutingMuon
from scout40.streams.formats.ugt import UgtJet
from tests.emulator.selection import slow_selection as slow

MENU_OF_THREE = Menu(
    "three",
    tuple(Algorithm(i, f"L1_{i}", "", Leaf(0)) for i in (3, 64, 511)),
    (),
)
WORDS = {"mu": ScoutingMuon, "jet": UgtJet, "stub": BmtfStub}


def muons() -> st.SearchStrategy[dict[str, int]]:
    """Muons around the thresholds."""
    return st.fixed_dictionaries({
        "hw_pt": st.sampled_from([0, 1, 44, 45, 46, 511]),
        "hw_qual": st.sampled_from([0, 7, 8, 11, 12, 15]),
        "tf_muon_index": st.sampled_from([0, 35, 36, 71, 72, 107, 127]),
        "hw_eta": st.integers(-40, 40) | st.just(256),
        "hw_phi": st.integers(0, 40) | st.integers(268, 308) | st.integers(550, 575),
    })  # fmt: skip


def jets() -> st.SearchStrategy[dict[str, int]]:
    """Jets around the thresholds, near those muons."""
    return st.fixed_dictionaries({
        "hw_et": st.sampled_from([0, 39, 40, 59, 60, 2047]),
        "hw_eta": st.integers(-10, 10),
        "hw_phi": st.integers(0, 10) | st.integers(67, 77) | st.integers(137, 143),
    })  # fmt: skip


@st.composite
def events(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Crossings of two orbits in time order, some of them side by side."""
    places = draw(
        st.lists(
            st.tuples(st.integers(8, 9), st.integers(1, 8) | st.integers(3560, 3564)),
            unique=True, max_size=12,
        )
    )  # fmt: skip
    stub = st.fixed_dictionaries({"wheel": st.integers(-2, 2)})
    return [
        {
            "orbit": orbit,
            "bx": bx,
            "mu": draw(st.lists(muons(), max_size=3)),
            "jet": draw(st.lists(jets(), max_size=5)),
            "stub": draw(st.lists(stub, max_size=3)),
            "words": draw(st.sets(st.sampled_from([0, 3, 63, 64, 511]))),
        }
        for orbit, bx in sorted(places)
    ]


def block_of(crossings: list[dict[str, Any]], scouting: bool = True) -> Block:
    """The same as columns; fields not given are 0."""
    tables = {}
    for name, word in WORDS.items():
        objects = [thing for c in crossings for thing in c[name]]
        columns = {
            field: np.array([thing.get(field, 0) for thing in objects], bits.dtype)
            for field, bits in word.fields.items()
        }
        tables[name] = Table(columns, offsets_of(np.array([len(c[name]) for c in crossings], int)))
    return Block(
        8, 10,
        np.array([c["orbit"] for c in crossings], np.uint32),
        np.array([c["bx"] for c in crossings], np.uint16),
        tables, contiguous=True, scouting=scouting,
    )  # fmt: skip


def words_of(crossings: list[dict[str, Any]]) -> Any:
    """uint64 (n, 8)."""
    words = np.zeros((len(crossings), 8), np.uint64)
    for row, crossing in enumerate(crossings):
        for index in crossing["words"]:
            words[row, index // 64] |= np.uint64(1 << index % 64)
    return words


@given(
    events(),
    st.sets(st.sampled_from(sorted(SELECTORS))),
    st.sets(st.sampled_from(["L1_3", "L1_64", "L1_511"])),
    st.sampled_from([0, 1, 2, 9, 10]),
    st.booleans(),
    st.booleans(),
)
def test_reasons_equal_the_slow_selection(
    crossings: list[dict[str, Any]], names: set[str], bits: set[str], every: int, all_: bool,
    scouting: bool,
) -> None:  # fmt: skip
    selection = Selection(every, sorted(bits), sorted(names), all=all_)
    selector = Selector(selection, MENU_OF_THREE)
    got = selector.reasons(block_of(crossings, scouting), words_of(crossings))
    assert got.dtype == np.uint32
    wanted_bits = {int(name.removeprefix("L1_")) for name in bits}
    for row, crossing in enumerate(crossings):
        expected = {name for name in names if slow.passes(name, crossings, row, scouting)}
        expected |= {"zero bias"} if every and crossing["orbit"] % every == 0 else set()
        expected |= {"menu"} if crossing["words"] & wanted_bits else set()
        expected |= {"all"} if all_ else set()
        found = {name for bit, name in selector.names.items() if int(got[row]) >> bit & 1}
        assert found == expected
        known = sum(1 << bit for bit in selector.names)
        assert int(got[row]) & ~known == 0


def test_bits_do_not_depend_on_what_else_is_selected() -> None:
    place = list(SELECTORS).index("DijetEt30")
    jet = {"hw_et": 60, "hw_eta": 0, "hw_phi": 0}
    block = block_of([{"orbit": 8, "bx": 1, "mu": [], "jet": [jet, jet], "stub": []}])
    got = Selector(Selection(4, selectors=["DijetEt30"], all=True)).reasons(block)
    assert int(got[0]) == 1 << ZERO_BIAS | 1 << FIRST + place | 1 << ALL
    counts = Selector(Selection(4, selectors=["DijetEt30"])).count(got)
    assert counts == {"zero bias": 1, "DijetEt30": 1}
    assert FIRST + len(SELECTORS) <= ALL
    assert MENU < FIRST


def test_nearness_goes_over_half_a_turn() -> None:
    """Azimuth just below pi and just above -pi: 3.10 and 3.18 rad."""
    jet = {"hw_et": 60, "hw_eta": 0, "hw_phi": 71}
    muon = {"hw_pt": 9, "hw_qual": 8, "hw_eta": 0, "hw_phi": 292}
    block = block_of([{"orbit": 8, "bx": 1, "mu": [muon], "jet": [jet], "stub": []}])
    selector = Selector(Selection(selectors=["MuTagJetEt30Dr0p4"]))
    for scouting in (True, False):
        assert selector.reasons(block.replace(scouting=scouting)).all()
    far = {**muon, "hw_phi": 340}
    block = block_of([{"orbit": 8, "bx": 1, "mu": [far], "jet": [jet], "stub": []}])
    assert not selector.reasons(block).any()


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(BadConfig, match=r"unknown selector Dijet31; known: .*DijetEt30"):
        Selection(selectors=["Dijet31"])
    with pytest.raises(BadConfig, match="unknown algorithm L1_4; known: L1_3, L1_64, L1_511"):
        Selector(Selection(algorithms=["L1_4"]), MENU_OF_THREE)
    with pytest.raises(BadConfig, match="there is no menu"):
        Selector(Selection(algorithms=["L1_3"]))
    with pytest.raises(BadConfig, match=r"0\.\.3563"):
        Selection(window=3564)
    with pytest.raises(BadConfig, match="zero_bias_every"):
        Selection(zero_bias_every=-1)


def test_an_input_without_the_columns_is_said_and_chooses_nothing() -> None:
    muon = {"hw_pt": 1, "hw_qual": 8, "tf_muon_index": 40}
    block = block_of([{"orbit": 8, "bx": 1, "mu": [muon, muon], "jet": [], "stub": []}])
    only = {"mu": Table({"hw_pt": block.tables["mu"]["hw_pt"]}, block.tables["mu"].offsets)}
    selector = Selector(Selection(selectors=list(SELECTORS)))
    missing = selector.missing(block.replace(tables=only))
    assert missing["DijetEt30"] == "input has no jet.hw_et"
    assert missing["DoubleMuPt0Qual8"] == "input has no mu.hw_qual"
    assert set(missing) == set(SELECTORS)
    assert not selector.reasons(block.replace(tables=only)).any()
    assert selector.missing(block) == {}
    independent = selector.missing(block.replace(contiguous=False))
    assert set(independent) == {"BMTFStubs4In3Bx", "BMTFStubs4In3BxWheel"}
    assert selector.reasons(block).any()


def test_decision_words_are_checked() -> None:
    block = block_of([{"orbit": 8, "bx": 1, "mu": [], "jet": [], "stub": []}])
    selector = Selector(Selection(algorithms=["L1_3"]), MENU_OF_THREE)
    with pytest.raises(BadInput, match="no decision words"):
        selector.reasons(block)
    with pytest.raises(BadInput, match="2 decision words for 1"):
        selector.reasons(block, np.zeros((2, 8), np.uint64))


@given(events(), st.data())
def test_kept_rows_carry_their_objects(
    crossings: list[dict[str, Any]], data: st.DataObject
) -> None:
    chosen = np.array([data.draw(st.booleans()) for _ in crossings], bool)
    part = kept(block_of(crossings), np.flatnonzero(chosen))
    left = [c for c, keep in zip(crossings, chosen, strict=True) if keep]
    expected = block_of(left).replace(contiguous=False)
    part.check()
    assert not part.contiguous
    assert np.array_equal(part.time(), expected.time())
    for name, table in expected.tables.items():
        assert np.array_equal(part.tables[name].offsets, table.offsets)
        for column, values in table.columns.items():
            assert np.array_equal(part.tables[name][column], values)
