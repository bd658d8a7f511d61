"""Sparse streams: remembered decisions of lone objects, reduced menus, crossings left out.

The decisions must be those of the slow reference whatever was decided before, so all blocks here
repeat a few objects many times, and are decided twice.
"""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scout40.emulator.ugt import load_menu, lone
from scout40.emulator.ugt.decide import CompiledMenu, compile_menu
from scout40.emulator.ugt.model import (
    Algorithm,
    Condition,
    Leaf,
    Menu,
    Operation,
    Requirement,
    Window,
)
from scout40.streams.block import ORBIT_BX, Block
from tests.emulator.ugt.menu_strategies import a_menu
from tests.emulator.ugt.strategies import Choice, Seeded, a_block, an_object, table
from tests.emulator.ugt.test_decide_ladder import MENU_2024, OTHER_BX_2024, differences


def sparse_block(
    choice: Choice, crossings: int, names: tuple[str, ...] = ("mu",), contiguous: bool = True
) -> Block:
    """Mostly one object in a crossing, sometimes none or several, of a pool of five a type."""
    pools = {name: [an_object(name, choice) for _ in range(5)] for name in names}
    lists: dict[str, list[list[dict[str, int]]]] = {name: [] for name in names}
    for _ in range(crossings):
        where = choice.pick(names)
        count = choice.pick((0, 1, 1, 1, 1, 1, 1, 2, 3))
        both = choice.integer(0, 9) == 0
        for name in names:
            here = count if name == where or both else 0
            lists[name].append([dict(choice.pick(pools[name])) for _ in range(here)])
    time = np.cumsum([choice.pick((1, 1, 2, 3, 9)) for _ in range(crossings)])
    time += ORBIT_BX - crossings
    orbit = (time // ORBIT_BX).astype(np.uint32)
    return Block(
        0,
        int(orbit[-1]) + 1,
        orbit,
        (time % ORBIT_BX + 1).astype(np.uint16),
        {name: table(name, things) for name, things in lists.items()},
        contiguous=contiguous,
    ).check()


def remembers(compiled: CompiledMenu, block: Block) -> bool:
    """Whether decisions of lone objects are kept for such blocks."""
    return lone.places_of(compiled._evaluable(block).tables) > 0


@pytest.mark.parametrize("room", [1, 4, lone.KNOWN])
@pytest.mark.parametrize("seed", range(12))
def test_repeated_objects(seed: int, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has no room in a small memo is decided again and again."""
    monkeypatch.setattr(lone, "KNOWN", room)
    monkeypatch.setattr(lone, "OTHERS", room)
    choice = Seeded(seed)
    names = choice.pick((("mu",), ("mu", "jet"), ("eg", "tau", "jet"), ("mu", "eg")))
    compiled = a_menu(choice, 12, offsets=seed % 3 > 0).compile()
    block = sparse_block(choice, 100, names, contiguous=seed % 4 > 0)
    assert remembers(compiled, block)
    assert differences(compiled.menu, block, compiled.decide(block)) == []
    other = sparse_block(choice, 60, names, contiguous=block.contiguous)
    assert differences(compiled.menu, other, compiled.decide(other)) == []
    assert differences(compiled.menu, block, compiled.decide(block)) == []


@pytest.mark.parametrize("seed", range(8))
def test_filled_blocks_remember_the_empty_crossing(seed: int) -> None:
    choice = Seeded(100 + seed)
    compiled = a_menu(choice, 24, offsets=True).compile()
    block = sparse_block(choice, 40, ("mu", "jet"))
    whole = block.filled().take(ORBIT_BX - 45, ORBIT_BX + 20)
    for _ in range(2):
        assert differences(compiled.menu, whole, compiled.decide(whole)) == []


def test_threads_do_not_share_what_they_remember() -> None:
    choice = Seeded(7)
    compiled = a_menu(choice, 24, offsets=True).compile()
    blocks = [sparse_block(choice, 200) for _ in range(4)]
    expected = [compiled.decide(block).words for block in blocks]
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(compiled.decide, blocks * 20))
    for decided, words in zip(got, itertools.cycle(expected), strict=False):
        np.testing.assert_array_equal(decided.words, words)


# One condition each, where a mask alone does not say all ---------------------------------------

MU = Requirement("MU", threshold=7)
BEFORE = Requirement("MU", bx_offset=-1, threshold=7)


def menu_of(*conditions: Condition) -> CompiledMenu:
    """One algorithm for each condition, with its number as index."""
    algorithms = [Algorithm(i, f"L1_A{i}", "", Leaf(i)) for i in range(len(conditions))]
    return compile_menu(Menu("test", tuple(algorithms), conditions))


def muons(*crossings: list[dict[str, int]], bx: list[int] | None = None, **more: Any) -> Block:
    """Rows with these muons, far apart unless bx says where."""
    base = {"hw_pt": 20, "hw_qual": 12, "hw_eta_at_vtx": 0, "hw_phi_at_vtx": 0, "tf_muon_index": 0}
    zero = dict.fromkeys(
        ("hw_iso", "hw_sign", "hw_charge_valid", "hw_phi", "hw_pt_unconstrained", "hw_shower",
         "hw_dxy"), 0,
    )  # fmt: skip
    lists = [[zero | base | one for one in here] for here in crossings]
    places = bx or [10 * (row + 1) for row in range(len(lists))]
    block = Block(
        0, 1, np.zeros(len(lists), np.uint32), np.array(places, np.uint16),
        {"mu": table("mu", lists)}, contiguous=True,
    )  # fmt: skip
    return block.replace(**more).check()


def bits_of(compiled: CompiledMenu, block: Block) -> list[int]:
    """First decision word of each row, the same at the second time."""
    words = compiled.decide(block).words[:, 0].tolist()
    assert compiled.decide(block).words[:, 0].tolist() == words
    assert differences(compiled.menu, block, compiled.decide(block)) == []
    return list(words)


def test_two_equal_muons_are_not_one() -> None:
    compiled = menu_of(Condition("a", "single", (MU,)), Condition("b", "comb", (MU, MU)))
    block = muons([{}], [{}, {}], [{}], [{}, {}, {}], [], [{}])
    assert remembers(compiled, block)
    assert bits_of(compiled, block) == [1, 3, 1, 3, 0, 1]


def test_the_place_in_the_list_counts_empty_slots() -> None:
    second = Requirement("MU", threshold=7, slice=Window(1, 1))
    first = Requirement("MU", threshold=7, slice=Window(0, 0))
    compiled = menu_of(Condition("a", "single", (first,)), Condition("b", "single", (second,)))
    block = muons([{}], [{"hw_pt": 0}, {}], [{}], [{"hw_pt": 0}, {}])
    assert remembers(compiled, block)
    assert bits_of(compiled, block) == [1, 2, 1, 2]


def test_equal_masks_of_two_types_are_two_things() -> None:
    jet = Requirement("JET", threshold=9)
    compiled = menu_of(Condition("a", "single", (MU,)), Condition("b", "single", (jet,)))
    block = muons([{}], [], [{}], [], [], [{}])
    jets = [[], [an_object("jet", Seeded(1)) | {"hw_et": 40}]] * 2 + [[], []]
    block = block.replace(tables={**block.tables, "jet": table("jet", jets)}).check()
    assert remembers(compiled, block)
    assert bits_of(compiled, block) == [1, 2, 1, 2, 0, 1]


def test_an_object_of_the_crossing_before_counts_where_a_leg_goes_with_it() -> None:
    high = Requirement("MU", threshold=30)
    both = Condition("c", "comb", (BEFORE, high))
    compiled = menu_of(Condition("a", "single", (MU,)), both)
    hard = {"hw_pt": 40}
    block = muons(
        [{}], [{}], [hard], [hard], [hard], [hard], [], [hard],
        bx=[10, 11, 20, 21, 22, 30, 40, 41],
    )  # fmt: skip
    assert remembers(compiled, block)
    assert bits_of(compiled, block) == [1, 1, 1, 3, 3, 1, 0, 1]


def test_conditions_on_other_crossings_alone() -> None:
    compiled = menu_of(Condition("a", "single", (BEFORE,)), Condition("b", "single", (MU,)))
    below = {"hw_pt": 1}
    block = muons([{}], [{}], [below], [], [below], bx=[10, 11, 12, 13, 20])
    assert remembers(compiled, block)
    assert bits_of(compiled, block) == [2, 3, 1, 0, 0]


def test_numbers_and_signals_are_no_part_of_a_mask() -> None:
    signal = Requirement("EXT", signal="s", signal_bit=3)
    compiled = menu_of(Condition("a", "single", (MU,)), Condition("b", "single", (signal,)))
    ext = np.zeros((4, 4), np.uint64)
    ext[1, 0] = 8
    block = muons([{}], [{}], [{}], [], crossing={"ext": ext})
    assert not remembers(compiled, block)
    assert bits_of(compiled, block) == [1, 3, 1, 0]
    compiled = menu_of(
        Condition("a", "single", (MU,)), Condition("b", "single", (Requirement("MUS0"),))
    )
    block = muons([{}], [{}], [{}], crossing={"shower": np.array([0, 1, 0], np.uint8)})
    assert bits_of(compiled, block) == [1, 3, 1]


def test_a_charge_that_is_valid_is_no_part_of_a_mask() -> None:
    like = Condition("c", "comb", (MU, MU), charge_correlation="ls")
    compiled = menu_of(Condition("a", "single", (MU,)), like)
    valid, bad = {"hw_charge_valid": 1}, {"hw_charge_valid": 0}
    block = muons([valid, valid], [valid, bad], [valid], [bad], [valid, valid])
    assert bits_of(compiled, block) == [3, 1, 1, 1, 3]


def test_a_plugin_may_decide_a_lone_object_otherwise() -> None:
    conditions = (
        Condition("a", "single", (MU,)),
        Condition("b", "single", (Requirement("AXO", network=(("Score", "1"),)),)),
    )
    algorithms = tuple(Algorithm(i, f"L1_A{i}", "", Leaf(i)) for i in range(2))
    odd = {"AXO": lambda block, requirement: block.bx % 20 == 10}
    compiled = compile_menu(Menu("test", algorithms, conditions), odd)
    words = compiled.decide(muons([{}], [{}], [{}], [{}])).words[:, 0]
    assert words.tolist() == [3, 1, 3, 1]


# Reduced menus -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_a_menu_decides_of_less_input_what_it_can(seed: int) -> None:
    """The same bits with fewer tables, from one compiled menu, whichever was decided first."""
    choice = Seeded(300 + seed)
    compiled = a_menu(choice, 24, offsets=True).compile()
    full = a_block(choice, 24, contiguous=True)
    less = full.replace(tables={n: t for n, t in full.tables.items() if n == "mu"}, crossing={})
    rows = [less, full, less.replace(contiguous=False), full]
    decided = [compiled.decide(block) for block in rows]
    for block, decisions in zip(rows, decided, strict=True):
        assert differences(compiled.menu, block, decisions) == []
        assert not (decisions.words & ~decisions.evaluated).any()
    both = decided[0].evaluated & decided[1].evaluated
    np.testing.assert_array_equal(decided[0].evaluated, both)
    np.testing.assert_array_equal(decided[0].words, decided[1].words & both)


# Crossings that are left out ---------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(60))
def test_sparse_rows_decide_as_filled_ones(seed: int) -> None:
    """Orbit by orbit with neighbours; an empty crossing fires only where the menu says it may."""
    choice = Seeded(500 + seed)
    compiled = a_menu(choice, 3 if seed % 2 else 12, offsets=True).compile()
    block = sparse_block(choice, 60, ("mu", "jet")) if seed % 3 else a_block(choice, 20, 4, True)
    orbits = [orbit_of(block, n) for n in range(block.last_orbit)]
    around = [None, *orbits, None]
    wide = [None, *(orbit.filled() for orbit in orbits), None]
    for n, orbit in enumerate(orbits):
        sparse = compiled.decide(orbit, around[n], around[n + 2]).words
        filled = compiled.decide(orbit.filled(), wide[n], wide[n + 2]).words
        place = orbit.time() - n * ORBIT_BX
        np.testing.assert_array_equal(filled[place], sparse)
        empty = np.delete(filled, place, axis=0)
        assert compiled.needs_every_crossing(orbit) or not empty.any()


def orbit_of(block: Block, n: int) -> Block:
    low, high = np.searchsorted(block.orbit, [n, n + 1])
    return block.take(int(low), int(high)).replace(first_orbit=n, last_orbit=n + 1)


HERE, THERE = Leaf(0), Leaf(1)
BOTH, NETWORK = Leaf(2), Leaf(3)


@pytest.mark.parametrize(
    ("tree", "fires"),
    [
        (HERE, False),
        (THERE, True),
        (BOTH, False),
        (NETWORK, True),
        (Operation("NOT", (HERE,)), True),
        (Operation("NOT", (BOTH,)), True),
        (Operation("AND", (HERE, THERE)), False),
        (Operation("OR", (HERE, BOTH)), False),
        (Operation("OR", (HERE, THERE)), True),
        (Operation("XOR", (HERE, HERE)), False),
        (Operation("XOR", (HERE, THERE)), True),
        (Operation("AND", (Operation("NOT", (HERE,)), THERE)), True),
        (Operation("AND", (Operation("NOT", (HERE,)), BOTH)), False),
        (Operation("NOT", (Operation("OR", (HERE, BOTH)),)), True),
        (Operation("AND", (NETWORK, HERE)), False),
    ],
)
def test_which_algorithms_could_fire_on_an_empty_crossing(tree: Any, fires: bool) -> None:
    conditions = (
        Condition("a", "single", (MU,)),
        Condition("b", "single", (BEFORE,)),
        Condition("c", "comb", (BEFORE, MU)),
        Condition("d", "single", (Requirement("AXO", network=(("Score", "1"),)),)),
    )
    menu = Menu("test", (Algorithm(9, "L1_A", "", tree),), conditions)
    compiled = compile_menu(menu, {"AXO": lambda block, requirement: block.bx % 2 == 1})
    block = muons([{}], [{}], bx=[3, 8])
    assert compiled.needs_every_crossing(block) == fires
    assert not compiled.needs_every_crossing(block.replace(contiguous=False))


def test_what_cannot_be_evaluated_needs_no_crossing() -> None:
    compiled = menu_of(Condition("a", "single", (Requirement("JET", bx_offset=1, threshold=9),)))
    assert not compiled.needs_every_crossing(muons([{}]))


def test_the_2024_menu_needs_no_empty_crossing_of_a_muon_stream(reference: Path) -> None:
    """Its one algorithm that looks back needs a muon in the crossing itself."""
    menu = load_menu(reference / MENU_2024)
    compiled = menu.compile()
    block = sparse_block(Seeded(1), 300)
    assert OTHER_BX_2024 not in compiled.decide(block).not_evaluated
    assert not compiled.needs_every_crossing(block)
    assert remembers(compiled, block)
    part = block.take(0, 60)
    assert differences(menu, part, compiled.decide(part)) == []
