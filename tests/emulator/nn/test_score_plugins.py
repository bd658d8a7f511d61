"""Networks as plug-ins of a menu: conditions on their scores."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from scout40.emulator.nn import (
    save_network,
)
from scout40.emulator.nn.crossing_inputs import CrossingNetwork
from scout40.emulator.nn.plugins import Scores, load_plugins
from scout40.emulator.ugt.decide import compile_menu
from scout40.emulator.ugt.model import Algorithm, Condition, Leaf, Menu, Requirement
from scout40.streams.block import Block, Table
from scout40.streams.errors import BadConfig
from tests.emulator.nn.crossings import BLOCK, block_of, menu_of, summing


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Model pt: the first muon's pt, as a pair of files; model eta: the first eta, in a folder."""
    save_network(summing(["mu0.hw_pt"], [1]), tmp_path / "pt.json")
    save_network(summing(["mu0.hw_eta_at_vtx"], [1]), tmp_path / "eta")
    (tmp_path / "notes.txt").write_text("not a network")
    (tmp_path / "other.json").write_text("neither, but no menu asks for it")
    return tmp_path


def test_scores_in_a_menu(folder: Path) -> None:
    """The score is taken at its threshold; a model without a file is named, and never false."""
    menu = menu_of([("pt", 7), ("pt", 8), ("pt", 1), ("eta", 1), ("v9", 0), ("../x", 0)])
    decisions = compile_menu(menu, load_plugins(menu, folder)).decide(BLOCK)
    assert [int(word) & 0x3F for word in decisions.words[:, 0]] == [0b101, 0, 0, 0b1100]
    assert decisions.not_evaluated == {
        "L1_4": "AXO needs network v9", "L1_5": "AXO needs network ../x",
    }  # fmt: skip


def test_columns_that_the_input_lacks_are_named(folder: Path) -> None:
    menu = menu_of([("pt", 1), ("eta", 1)])
    mu = BLOCK.tables["mu"]
    block = BLOCK.replace(tables={"mu": Table({"hw_pt": mu["hw_pt"]}, mu.offsets)})
    decisions = compile_menu(menu, load_plugins(menu, folder)).decide(block)
    assert decisions.not_evaluated == {"L1_1": "input has no mu.hw_eta_at_vtx"}
    assert decisions.words[:, 0].tolist() == [1, 0, 0, 1]


def test_each_network_runs_once_per_block(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    before = CrossingNetwork.scores

    def counted(self: CrossingNetwork, block: Block) -> npt.NDArray[np.int64]:
        ran.append(str(min(self.needs)))
        return before(self, block)

    menu = menu_of([("pt", 7), ("eta", 1), ("pt", 8), ("pt", 9)])
    compiled = compile_menu(menu, load_plugins(menu, folder))
    monkeypatch.setattr(CrossingNetwork, "scores", counted)
    compiled.decide(BLOCK)
    assert sorted(ran) == ["mu.hw_eta_at_vtx", "mu.hw_pt"]
    other = block_of([[(8, 0)]] * 4, [0] * 4)
    assert compiled.decide(other).words[:, 0].tolist() == [0b101] * 4


def test_threads_do_not_mix_blocks(folder: Path) -> None:
    menu = menu_of([("pt", 100)])
    plugin = load_plugins(menu, folder)["AXO"]
    need = menu.conditions[0].requirements[0]
    blocks = [block_of([[(100 * (n % 2), 0)]] * 500, [0] * 500) for n in range(4)]
    wrong: list[int] = []

    def ask(n: int) -> None:
        for _ in range(50):
            if not (plugin(blocks[n], need) == bool(n % 2)).all():
                wrong.append(n)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(
    ("threshold", "negated", "needed"),
    [(1, False, False), (0, False, True), (1, True, True)],
)
def test_empty_crossings_are_needed_when_nothing_scores_enough(
    folder: Path, threshold: int, negated: bool, needed: bool
) -> None:
    """The score of nothing is 0 here: at threshold 0 an empty crossing fires."""
    menu = menu_of([("pt", threshold)], negated=negated)
    compiled = compile_menu(menu, load_plugins(menu, folder))
    assert compiled.needs_every_crossing(BLOCK.replace(contiguous=True)) == needed


def test_a_score_of_the_crossing_before(folder: Path) -> None:
    menu = menu_of([("pt", 7)], bx=-1)
    compiled = compile_menu(menu, load_plugins(menu, folder))
    words = compiled.decide(BLOCK.replace(contiguous=True)).words
    assert words[:, 0].tolist() == [0, 1, 0, 0]


def test_folders_that_cannot_be_used(folder: Path) -> None:
    with pytest.raises(BadConfig, match="no folder of networks"):
        load_plugins(menu_of([]), folder / "absent")
    with pytest.raises(BadConfig, match=r"other\.json: not JSON"):
        load_plugins(menu_of([("other", 1)]), folder)
    with pytest.raises(BadConfig, match="a condition without a score"):
        load_plugins(Menu("m", (), (Condition("AXO", "single", (Requirement("AXO"),)),)), folder)
    save_network(summing(["mu0.hw_pt"], [1]), folder / "pt")
    with pytest.raises(BadConfig, match="network pt is also in"):
        load_plugins(menu_of([("pt", 1)]), folder)


def test_a_condition_that_names_no_model(folder: Path) -> None:
    need = Requirement("AXO", network=(("SCORE", "3"),))
    menu = Menu("m", (Algorithm(0, "L1_A", "", Leaf(0)),), (Condition("AXO", "single", (need,)),))
    decisions = compile_menu(menu, load_plugins(menu, folder)).decide(BLOCK)
    assert decisions.not_evaluated == {"L1_A": "AXO names no model"}


def test_a_later_version_by_data_alone(tmp_path: Path) -> None:
    """An autoencoder written by hand: score = squared distance of input and output, other types."""
    fixed = "ap_fixed<12,8,AP_RND,AP_SAT>"
    dense = {"kind": "dense", "weight_type": "ap_fixed<5,2>", "bias_type": "ap_fixed<8,4>",
             "accumulator": "exact", "type": fixed}  # fmt: skip
    mu = ["hw_pt", "hw_eta_at_vtx"]
    names = [f"mu{place}.{name}" for place in range(2) for name in mu]
    document = {
        "format": "scout40 network 1",
        "name": "autoencoder",
        "inputs": [{"name": "codes", "shape": [4], "type": "ap_fixed<14,10>",
                    "features": [{"name": name} for name in names]}],
        "nodes": [
            {"kind": "cast", "name": "x", "input": "codes", "type": fixed},
            {**dense, "name": "latent", "input": "x", "weights": "w1", "bias": "b1"},
            {"kind": "relu", "name": "active", "input": "latent", "type": fixed},
            {**dense, "name": "back", "input": "active", "weights": "w2", "bias": "b2"},
            {"kind": "subtract", "name": "d", "left": "x", "right": "back",
             "type": "ap_fixed<13,9>"},
            {"kind": "multiply", "name": "d2", "left": "d", "right": "d",
             "type": "ap_ufixed<20,16>"},
            {"kind": "sum", "name": "score", "input": "d2", "axis": 0,
             "accumulator": "ap_ufixed<20,16>", "type": "ap_ufixed<20,16>"},
        ],
        "outputs": [{"name": "score"}],
    }  # fmt: skip
    (tmp_path / "v5.json").write_text(json.dumps(document))
    rng = np.random.default_rng(5)
    arrays = {"w1": rng.integers(-16, 16, (4, 2)), "b1": rng.integers(-99, 99, 2),
              "w2": rng.integers(-16, 16, (2, 4)), "b2": rng.integers(-99, 99, 4)}  # fmt: skip
    np.savez(tmp_path / "v5.npz", **arrays)  # type: ignore[arg-type]
    muons = [[(int(pt), int(eta)) for pt, eta in rng.integers((1, -120), (120, 120), (2, 2))]
             for _ in range(300)]  # fmt: skip

    def rounded(value: int, bits: int) -> int:
        return max(-2048, min(2047, (value + (1 << bits >> 1)) >> bits))

    def score(crossing: list[tuple[int, int]]) -> int:
        x = [rounded(16 * value, 0) for both in crossing for value in both]
        sums = [sum(a * int(w) for a, w in zip(x, arrays["w1"][:, j], strict=True)) for j in (0, 1)]
        active = [
            max(0, rounded(s + 8 * int(b), 3)) for s, b in zip(sums, arrays["b1"], strict=True)
        ]
        total = 0
        for j in range(4):
            back = sum(a * int(w) for a, w in zip(active, arrays["w2"][:, j], strict=True))
            total += (x[j] - rounded(back + 8 * int(arrays["b2"][j]), 3)) ** 2 >> 4
        return total % (1 << 20)

    scores = [score(one) for one in muons]
    middle = int(np.median(scores))
    menu = menu_of([("v5", middle), ("v5", middle + 1)])
    plugins = load_plugins(menu, tmp_path)
    plugin = plugins["AXO"]
    assert isinstance(plugin, Scores)
    block = block_of(muons, [None] * 300)
    assert plugin.networks["v5"].scores(block).tolist() == scores
    words = compile_menu(menu, plugins).decide(block).words[:, 0]
    assert words.tolist() == [(s >= middle) + 2 * (s > middle) for s in scores]
