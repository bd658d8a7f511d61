"""Conditions on neighbouring crossings across block edges, and plug-ins for networks."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from scout40.emulator.ugt import load_menu
from scout40.emulator.ugt.decide import CompiledMenu, compile_menu
from scout40.emulator.ugt.model import Algorithm, Condition, Leaf, Menu, Operation, Requirement
from scout40.streams.block import ORBIT_BX, Block, Table, offsets_of
from scout40.streams.errors import BadInput

MENU = """
[menu]
name = "neighbours"

[[algorithm]]
name = "L1_MuBefore"
expression = "MU3-1 AND MU3"

[[algorithm]]
name = "L1_Alone"
expression = "MU3 AND (NOT MU0-1) AND (NOT MU0+1)"

[[algorithm]]
name = "L1_EmptyBeforeTrain"
expression = "(NOT MU0) AND MU0+1 AND MU0+2"
"""


@pytest.fixture
def menu(tmp_path: Path) -> CompiledMenu:
    path = tmp_path / "menu.toml"
    path.write_text(MENU)
    return load_menu(path).compile()


def stream(times: list[int], first_orbit: int, last_orbit: int) -> Block:
    """A contiguous block with one 10 GeV muon at each absolute crossing of ``times``."""
    here = [t for t in times if first_orbit <= t // ORBIT_BX < last_orbit]
    ones = np.ones(len(here), np.int64)
    names = ("hw_pt", "hw_eta_at_vtx", "hw_phi_at_vtx", "hw_qual")
    columns = {name: value * ones for name, value in zip(names, (21, 0, 0, 12), strict=True)}
    return Block(
        first_orbit,
        last_orbit,
        np.array([t // ORBIT_BX for t in here], np.uint32),
        np.array([t % ORBIT_BX + 1 for t in here], np.uint16),
        {"mu": Table(columns, offsets_of(ones))},
        contiguous=True,
    ).check()


def fired(menu: CompiledMenu, blocks: list[Block]) -> dict[str, list[int]]:
    """Algorithm -> absolute crossings where it fires, deciding block by block."""
    out: dict[str, list[int]] = {a.name: [] for a in menu.menu.algorithms}
    for n, block in enumerate(blocks):
        before = blocks[n - 1] if n else None
        after = blocks[n + 1] if n + 1 < len(blocks) else None
        decisions = menu.decide(block, before, after)
        assert not decisions.not_evaluated
        for algorithm in menu.menu.algorithms:
            bits = decisions.words[:, 0] >> np.uint64(algorithm.index) & np.uint64(1)
            out[algorithm.name] += block.time()[bits == 1].tolist()
    return out


END = ORBIT_BX - 1  # last crossing of orbit 0
TIMES = [5, 6, 100, END - 1, END, END + 1, END + 2, 2 * ORBIT_BX + 40, 2 * ORBIT_BX + 43]


@pytest.mark.parametrize("cuts", [[0, 3], [0, 1, 3], [0, 1, 2, 3]])
def test_neighbours_are_seen_across_block_edges(menu: CompiledMenu, cuts: list[int]) -> None:
    blocks = [stream(TIMES, a, b).filled() for a, b in pairwise(cuts)]
    expected = set(TIMES)
    got = fired(menu, blocks)
    assert got["L1_MuBefore"] == [t for t in TIMES if t - 1 in expected]
    assert got["L1_Alone"] == [t for t in TIMES if not {t - 1, t + 1} & expected]
    every = range(3 * ORBIT_BX)
    want = [t for t in every if t not in expected and {t + 1, t + 2} <= expected]
    assert got["L1_EmptyBeforeTrain"] == want


def test_a_gap_between_blocks_is_not_a_neighbour(menu: CompiledMenu) -> None:
    """Orbits that do not adjoin: the last crossing before the gap has no known successor."""
    blocks = [stream([END], 0, 1).filled(), stream([2 * ORBIT_BX], 2, 3).filled()]
    assert fired(menu, blocks)["L1_Alone"] == [END, 2 * ORBIT_BX]


def test_a_menu_that_fires_on_empty_crossings_needs_them_all(menu: CompiledMenu) -> None:
    block = stream(TIMES, 0, 3)
    assert menu.needs_every_crossing(block)
    assert not menu.needs_every_crossing(replace(block, contiguous=False))


def network_menu() -> Menu:
    score = Requirement("AXO", network=(("Score", "300"), ("Model", "v4")))
    conditions = (
        Condition("AXO[...]", "single", (score,)),
        Condition("MU3", "single", (Requirement("MU", threshold=7),)),
    )
    both = Operation("AND", (Leaf(0), Leaf(1)))
    return Menu("nets", (Algorithm(7, "L1_AXO_Mu", "AXO[...] AND MU3", both),), conditions)


def test_a_plugin_evaluates_a_network_condition() -> None:
    block = stream([3, 4, 9], 0, 1)
    seen: list[Requirement] = []

    def axo(block: Block, requirement: Requirement) -> npt.NDArray[np.bool_]:
        seen.append(requirement)
        return np.asarray(block.bx % 2 == 1)

    decisions = compile_menu(network_menu(), {"AXO": axo}).decide(block)
    assert decisions.words[:, 0].tolist() == [0, 1 << 7, 0]  # bx 4, 5, 10
    assert not decisions.not_evaluated
    assert dict(seen[0].network)["Score"] == "300"


def test_without_a_plugin_the_algorithm_is_named_and_never_false() -> None:
    decisions = compile_menu(network_menu()).decide(stream([3], 0, 1))
    assert decisions.not_evaluated == {"L1_AXO_Mu": "AXO needs a network"}
    assert not decisions.evaluated.any()


def test_unknown_plugins_are_refused() -> None:
    with pytest.raises(BadInput, match="MU, known: AXO"):
        compile_menu(network_menu(), {"MU": lambda block, requirement: block.bx > 0})


def test_a_plugin_must_return_one_bool_per_crossing() -> None:
    menu = compile_menu(network_menu(), {"AXO": lambda block, requirement: np.ones(1, np.bool_)})
    with pytest.raises(BadInput, match=r"plug-in for AXO: expected bool \(3,\), got bool \(1,\)"):
        menu.decide(stream([3, 4, 9], 0, 1))


def test_a_neighbour_with_other_columns_is_not_used(menu: CompiledMenu) -> None:
    blocks = [stream([END], 0, 1).filled(), stream([END + 1], 1, 2).filled()]
    other = blocks[0].replace(crossing={"run": np.zeros(len(blocks[0]), np.uint32)})
    assert fired(menu, blocks)["L1_MuBefore"] == [END + 1]
    assert fired(menu, [other, blocks[1]])["L1_MuBefore"] == []


def test_objects_of_future_menus_are_not_evaluated_and_the_rest_is() -> None:
    jet, new = Requirement("JET", threshold=40), Requirement("NETETMHF", threshold=80)
    conditions = (
        Condition("dist{JET20, NETETMHF40}", "dist", (jet, new)),
        Condition("MU3", "single", (Requirement("MU", threshold=7),)),
    )
    algorithms = (Algorithm(0, "L1_New", "", Leaf(0)), Algorithm(1, "L1_Mu", "", Leaf(1)))
    decisions = compile_menu(Menu("new", algorithms, conditions)).decide(stream([5], 0, 1))
    assert set(decisions.not_evaluated) == {"L1_New"}
    assert decisions.words[0, 0] == 1 << 1
