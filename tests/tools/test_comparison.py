"""Recorded against emulated: what agrees, what differs first and where, what cannot be said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from scout40.emulator.ugt import Menu, load_menu
from scout40.streams.block import Block
from scout40.streams.errors import BadInput
from scout40.tools.comparison import compare
from tests.tools.memory import Memory


@pytest.fixture(scope="module")
def menu(demo_menu_file: Path) -> Menu:
    return load_menu(demo_menu_file)


@pytest.fixture(scope="module")
def recorded(sample_block: Block, menu: Menu) -> Block:
    """The sample with its own decisions as recorded bits."""
    words = menu.compile().decide(sample_block).words
    return sample_block.replace(crossing={**sample_block.crossing, "recorded": words})


def with_words(block: Block, words: object, names: tuple[str, ...] = ()) -> Memory:
    crossing = {**block.crossing, "recorded": words}
    return Memory([block.replace(crossing=crossing, recorded_names=names)], contiguous=True)


def test_equal(recorded: Block, menu: Menu) -> None:
    result = compare(Memory([recorded], contiguous=True), menu)
    assert result.different == []
    assert result.not_evaluated == {"L1_ZeroBias": "input has no ext"}
    assert len(result.equal) == len(menu.algorithms) - 1
    assert result.crossings == len(recorded)
    assert result.not_recorded == result.not_in_menu == []


@pytest.mark.parametrize("row", [0, 17, 639])
def test_one_flipped_bit_is_found(recorded: Block, menu: Menu, row: int) -> None:
    algorithm = next(a for a in menu.algorithms if a.name == "L1_SingleJet180")
    words = recorded.crossing["recorded"].copy()
    words[row, algorithm.index // 64] ^= np.uint64(1 << algorithm.index % 64)
    result = compare(with_words(recorded, words), menu)
    assert result.different == [algorithm.name]
    assert result.tallies[algorithm.name].differing == 1
    first = result.first[algorithm.name]
    place = (int(recorded.orbit[row]), int(recorded.bx[row]))
    assert (first.orbit, first.bx, first.row) == (*place, row)
    assert first.recorded != first.emulated
    assert first.expression == algorithm.expression
    jets = recorded.tables["jet"].take_crossings(row, row + 1)
    assert [jet["hw_et"] for jet in first.objects["jet"]] == jets["hw_et"].tolist()
    assert [jet["et"] for jet in first.objects["jet"]] == (jets["hw_et"] / 2).tolist()
    assert set(first.objects) == {"jet"}
    json.dumps(result.as_dict(), allow_nan=False)


def test_first_difference_of_a_later_block(recorded: Block, menu: Menu) -> None:
    algorithm = menu.algorithms[1]
    words = recorded.crossing["recorded"].copy()
    words[[400, 500], algorithm.index // 64] ^= np.uint64(1 << algorithm.index % 64)
    changed = recorded.replace(crossing={**recorded.crossing, "recorded": words})
    parts = [changed.take(0, 320), changed.take(320, 640)]
    parts = [p.replace(contiguous=False) for p in parts]
    result = compare(Memory(parts), menu)
    assert result.first[algorithm.name].row == 400
    assert result.tallies[algorithm.name].differing == 2


def test_names(recorded: Block, menu: Menu) -> None:
    """Bits with names: matched by name, strangers and absentees named."""
    bits = {a.name: a.index for a in menu.algorithms if a.name != "L1_SingleMu22"}
    words = np.zeros((len(recorded), 1), np.uint64)
    source = recorded.crossing["recorded"]
    for place, (_, index) in enumerate(bits.items(), 1):
        value = (source[:, index // 64] >> np.uint64(index % 64)) & np.uint64(1)
        words[:, 0] |= value << np.uint64(place)
    result = compare(with_words(recorded, words, ("L1_Unheard", *bits)), menu)
    assert result.different == []
    assert result.not_in_menu == ["L1_Unheard"]
    assert result.not_recorded == ["L1_SingleMu22"]
    assert "L1_SingleMu22" not in result.equal


def test_unnamed_stranger_bit(recorded: Block, menu: Menu) -> None:
    words = recorded.crossing["recorded"].copy()
    words[5, 7] |= np.uint64(1) << np.uint64(63)
    assert compare(with_words(recorded, words), menu).not_in_menu == ["bit 511"]


def test_nothing_recorded(sample_block: Block, menu: Menu) -> None:
    with pytest.raises(BadInput, match="no recorded decision bits"):
        compare(Memory([sample_block], contiguous=True), menu)


MENU_2024 = "menus/2024/L1Menu_Collisions2024_v1_3_0-d1.extract.json"


@pytest.mark.parametrize("vector", ["data_TestVector_000", "ttBar_TestVector_003"])
def test_vectors_of_2024(reference: Path, vector: str) -> None:
    """All evaluated algorithms equal the bits in the public vectors, names as the issue says."""
    path = reference / f"testvectors/ugt/L1menu_2024_v1_3_0_{vector}.txt"
    result = compare(path, reference / MENU_2024)
    assert result.different == []
    assert result.crossings == 3564
    assert sum(name.startswith("L1_AXO") for name in result.not_evaluated) == 5
    assert "rows are independent" in result.not_evaluated[
        "L1_CDC_SingleMu_3_er1p2_TOP120_DPHI2p618_3p142"
    ]  # fmt: skip
    assert len(result.equal) + len(result.not_evaluated) == 408


def test_vector_of_2016(reference: Path) -> None:
    """The two algorithms that the 2016 emulator lost at large masses, 4 crossings each."""
    path = reference / "testvectors/ugt/TestVector_L1Menu_Collisions2016_v8.txt"
    result = compare(path, reference / "menus/2016/L1Menu_Collisions2016_v8_m2.xml")
    assert result.different == [
        "L1_DoubleJet_90_30_Mj30j30_620",
        "L1_DoubleJet_100_30_Mj30j30_620",
    ]
    assert {result.tallies[name].differing for name in result.different} == {4}
