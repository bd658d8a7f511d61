"""The compiled menu equals the slow scalar reference, and the recorded firmware decisions.

Each rung compares every decision bit of every crossing: random menus of every kind of condition
on random objects, then neighbouring crossings across block ends, then recorded test vectors.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from scout40.emulator.ugt import load_menu, model
from scout40.streams.block import Block, concatenate
from scout40.streams.sources.base import Run
from scout40.streams.sources.testvector import TestVectorSource
from tests.emulator.ugt import slow_ugt
from tests.emulator.ugt.menu_strategies import KINDS, a_condition, a_menu, menus
from tests.emulator.ugt.strategies import Seeded, a_block, blocks

MENU_2024 = "menus/2024/L1Menu_Collisions2024_v1_3_0-d1.extract.json"
MENU_2016 = "menus/2016/L1Menu_Collisions2016_v8_m2.xml"
OTHER_BX_2024 = "L1_CDC_SingleMu_3_er1p2_TOP120_DPHI2p618_3p142"
LOST_BY_2016 = {"L1_DoubleJet_90_30_Mj30j30_620", "L1_DoubleJet_100_30_Mj30j30_620"}


def bits(words: Any, index: int) -> list[bool]:
    """Column `index` of decision words."""
    column = words[:, index // 64] >> np.uint64(index % 64) & np.uint64(1)
    return list(column.astype(bool).tolist())


def differences(menu: model.Menu, block: Block, decided: Any) -> list[str]:
    """What the compiled decisions and the slow reference disagree about."""
    fired, dark = slow_ugt.decide(menu, block)
    out = []
    for algorithm in menu.algorithms:
        i = algorithm.index
        evaluated = bool(int(decided.evaluated[i // 64]) >> (i % 64) & 1)
        if evaluated == (i in dark) or evaluated == (algorithm.name in decided.not_evaluated):
            out.append(f"{algorithm.name}: evaluated {evaluated}")
            continue
        got, wanted = bits(decided.words, i), [i in indices for indices in fired]
        rows = [row for row in range(len(block)) if got[row] != wanted[row]]
        used = [menu.conditions[leaf] for leaf in sorted(slow_ugt.leaves(algorithm.tree))]
        out += [f"{algorithm.name} row {row}: {got[row]}, {used}" for row in rows[:1]]
    return out


@given(menus(), blocks())
def test_small_random_menus(menu: model.Menu, block: Block) -> None:
    assert differences(menu, block, menu.compile().decide(block)) == []


@given(menus(offsets=True), blocks(contiguous=True))
def test_small_random_menus_with_neighbours(menu: model.Menu, block: Block) -> None:
    assert differences(menu, block, menu.compile().decide(block)) == []


@pytest.mark.parametrize("seed", range(24))
def test_bulk_random_menus(seed: int) -> None:
    choice = Seeded(seed)
    neighbours = seed % 2 == 1
    menu = a_menu(choice, 16, offsets=neighbours)
    block = a_block(choice, 24, contiguous=neighbours)
    assert differences(menu, block, menu.compile().decide(block)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_fires_and_does_not(kind: model.Kind) -> None:
    """Were a kind always true or always false here, the rungs above would not test it."""
    choice = Seeded(40)
    conditions = tuple(a_condition(choice, kind, i, False) for i in range(24))
    algorithms = tuple(
        model.Algorithm(i, f"L1_A{i}", "", model.Leaf(i)) for i in range(len(conditions))
    )
    menu = model.Menu("one kind", algorithms, conditions)
    block = a_block(choice, 24)
    while len(block.tables) < 5:
        block = a_block(choice, 24)
    decided = menu.compile().decide(block)
    assert differences(menu, block, decided) == []
    shares = [sum(bits(decided.words, i)) for i in range(len(conditions))]
    assert sum(0 < share < len(block) for share in shares) >= 3


@pytest.mark.slow
@pytest.mark.parametrize(
    "part", [pytest.param(k, marks=pytest.mark.long) if k > 3 else k for k in range(20)]
)
def test_ten_thousand_random_menus(part: int) -> None:
    for seed in range(1000 + 500 * part, 1500 + 500 * part):
        choice = Seeded(seed)
        neighbours = seed % 2 == 1
        menu = a_menu(choice, 6, offsets=neighbours)
        block = a_block(choice, 6, contiguous=neighbours)
        assert differences(menu, block, menu.compile().decide(block)) == [], f"seed {seed}"


@pytest.mark.parametrize("seed", range(6))
def test_neighbours_across_blocks(seed: int) -> None:
    """Orbit by orbit with its neighbours given, as a stream does, equals all at once."""
    choice = Seeded(seed)
    menu = a_menu(choice, 12, offsets=True)
    parts = [a_block(choice, 12, contiguous=True) for _ in range(3)]
    names = set.intersection(*(set(part.tables) for part in parts))
    columns = set.intersection(*(set(part.crossing) for part in parts))
    parts = [
        part.replace(
            first_orbit=i,
            last_orbit=i + 1,
            orbit=np.full(12, i, np.uint32),
            bx=np.array([1, 2, 3, 4, 5, 6, 3559, 3560, 3561, 3562, 3563, 3564], np.uint16),
            tables={name: part.tables[name] for name in names},
            crossing={name: part.crossing[name] for name in columns},
        )
        for i, part in enumerate(parts)
    ]
    compiled = menu.compile()
    whole = compiled.decide(concatenate(parts))
    assert differences(menu, concatenate(parts), whole) == []
    around = [None, *parts, None]
    pieces = [compiled.decide(part, around[i], around[i + 2]) for i, part in enumerate(parts)]
    np.testing.assert_array_equal(np.vstack([piece.words for piece in pieces]), whole.words)


@pytest.mark.parametrize("seed", range(8))
def test_any_bits_are_decided_the_same_alone(seed: int) -> None:
    """Words that no scale foresees: no crash, and no crossing leaks into another."""
    choice = Seeded(seed)
    compiled = a_menu(choice, 16).compile()
    block = a_block(choice, 16, wild=True)
    words = compiled.decide(block).words
    alone = [compiled.decide(block.take(row, row + 1)).words for row in range(len(block))]
    np.testing.assert_array_equal(np.vstack(alone), words)


# Recorded decisions ----------------------------------------------------------------------------


def compare(reference: Path, menu_file: str, vector: str) -> tuple[Block, Any, Counter[str]]:
    """(vector, decisions, algorithm -> crossings that differ from the recorded bit)."""
    menu = load_menu(reference / menu_file)
    source = TestVectorSource([str(reference / "testvectors" / "ugt" / vector)])
    block = concatenate(list(source.blocks(Run())))
    decided = menu.compile().decide(block)
    recorded = block.crossing["recorded"]
    wrong: Counter[str] = Counter()
    for algorithm in menu.algorithms:
        if algorithm.name not in decided.not_evaluated:
            pairs = zip(
                bits(decided.words, algorithm.index), bits(recorded, algorithm.index), strict=True
            )
            wrong[algorithm.name] = sum(ours != theirs for ours, theirs in pairs)
    return block, decided, +wrong


@pytest.mark.parametrize(
    "vector",
    ["L1menu_2024_v1_3_0_ttBar_TestVector_003.txt", "L1menu_2024_v1_3_0_data_TestVector_000.txt"],
)
def test_vectors_of_2024(reference: Path, vector: str) -> None:
    """3564 crossings of the public vectors: nothing differs of what the rows can decide."""
    block, decided, wrong = compare(reference, MENU_2024, vector)
    assert len(block) == 3564
    assert wrong == Counter()
    reasons = decided.not_evaluated
    assert {name for name in reasons if "AXO" in name} == {
        f"L1_AXO_{point}" for point in ("VLoose", "Loose", "Nominal", "Tight", "VTight")
    }
    assert "bx -1" in reasons[OTHER_BX_2024]
    assert all("network" in why or "bx" in why for why in reasons.values())


def test_vector_of_2016(reference: Path) -> None:
    """The emulator of 2016 lost two dijet masses above 1.05e6 GeV^2, in four crossings each."""
    block, decided, wrong = compare(reference, MENU_2016, "TestVector_L1Menu_Collisions2016_v8.txt")
    assert len(block) == 3564
    assert wrong == dict.fromkeys(LOST_BY_2016, 4)
    assert all("bx" in why for why in decided.not_evaluated.values())


@pytest.mark.parametrize("rows", [(0, 40), (1700, 1740)])
def test_slow_reference_on_the_real_menu(reference: Path, rows: tuple[int, int]) -> None:
    """All 448 conditions of the 2024 menu on collision data, one scalar at a time."""
    menu = load_menu(reference / MENU_2024)
    name = "L1menu_2024_v1_3_0_data_TestVector_000.txt"
    source = TestVectorSource([str(reference / "testvectors" / "ugt" / name)])
    block = concatenate(list(source.blocks(Run()))).take(*rows)
    assert differences(menu, block, menu.compile().decide(block)) == []
