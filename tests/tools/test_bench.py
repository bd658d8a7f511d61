"""Benchmarks check their answers first; what they print can be read by machines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from scout40.emulator.ugt import load_menu
from scout40.streams.block import Block, concatenate
from scout40.streams.errors import BadConfig, Scout40Error
from scout40.streams.sources import open_source
from scout40.streams.sources.base import Run
from scout40.streams.sources.raw_tables import unpack_gmt
from scout40.streams.sources.raw_unpack import Packets
from scout40.tools import bench_menu, bench_unpack
from scout40.tools.bench import command
from scout40.tools.bench_numpy import NumpyMenu
from scout40.tools.measure import Measure, interleaved


def test_json_is_a_list_with_the_promised_keys() -> None:
    done = CliRunner().invoke(command, ["unpack", "--quick", "--json"])
    assert done.exit_code == 0, done.output
    measures = json.loads(done.stdout)
    assert [one["name"] for one in measures] == ["unpack_vs_numpy", "unpack_vs_memcpy"]
    for one in measures:
        assert {"name", "value", "unit", "peer", "ratio", "limit"} <= set(one)
        assert one["value"] > 0
        assert one["peer"] > 0
    assert measures[0]["ratio"] == pytest.approx(measures[0]["value"] / measures[0]["peer"])
    assert measures[1]["ratio"] == pytest.approx(measures[1]["peer"] / measures[1]["value"])


def test_remarks_do_not_end_in_blanks() -> None:
    done = CliRunner().invoke(command, ["unpack", "--quick"])
    remarks = [line for line in done.stdout.splitlines() if line.startswith("  ")]
    assert remarks
    assert remarks == [line.rstrip() for line in remarks]


def test_unknown_name_lists_the_known() -> None:
    done = CliRunner().invoke(command, ["unpak"])
    assert done.exit_code == 2
    assert "unpack" in done.output
    assert "menu" in done.output


@pytest.mark.parametrize(
    ("bound", "ratio", "holds"),
    [("at least", 10.0, True), ("at least", 9.9, False), ("at most", 10.0, True),
     ("at most", 10.1, False)],
)  # fmt: skip
def test_limits(bound: str, ratio: float, holds: bool) -> None:
    one = Measure("x", 1.0, "GB/s", 1.0, "peer", ratio, 10.0, bound)  # type: ignore[arg-type]
    assert one.holds is holds
    assert Measure("x", 1.0, "GB/s").holds is None


def test_limit_on_the_value() -> None:
    assert Measure("m", 2e6, "BX/s", ratio=0.1, limit=1e6, limit_on="value").holds
    assert not Measure("m", 9e5, "BX/s", ratio=99.0, limit=1e6, limit_on="value").holds


def test_contenders_take_turns() -> None:
    calls: list[str] = []
    interleaved([lambda: calls.append("a"), lambda: calls.append("b")], rounds=3)
    assert calls == ["a", "b"] * 4


def test_synthetic_packets_are_regular() -> None:
    packets = bench_unpack.synthetic(0.3)
    muons, bad = unpack_gmt(packets)
    assert bad == []
    assert len(muons.bx) == len(packets.starts) * bench_unpack.CROSSINGS
    per_orbit = len(muons.columns["hw_pt"]) / len(packets.starts)
    assert per_orbit == pytest.approx(289, abs=5)


def test_numpy_unpack_finds_a_wrong_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    packets = bench_unpack.synthetic(0.1)
    bench_unpack._check_equal(packets)
    true = bench_unpack.numpy_unpack

    def wrong(given: Packets) -> tuple[Any, Any, dict[str, Any]]:
        key, number, columns = true(given)
        columns["hw_qual"][3] ^= 1
        return key, number, columns

    monkeypatch.setattr(bench_unpack, "numpy_unpack", wrong)
    with pytest.raises(Scout40Error, match="differ"):
        bench_unpack._check_equal(packets)


def test_numpy_menu_equals_compiled(sample_block: Block, demo_menu_file: Path) -> None:
    menu = load_menu(demo_menu_file)
    peer = NumpyMenu(menu)
    assert len(peer.names) == len(menu.algorithms)
    compared = bench_menu.check_equal(menu.compile(), peer, sample_block)
    assert len(compared) == len(menu.algorithms) - 1


def test_numpy_menu_finds_a_wrong_answer(sample_block: Block, demo_menu_file: Path) -> None:
    menu = load_menu(demo_menu_file)
    peer = NumpyMenu(menu)
    true = peer.decide

    def wrong(*given: object) -> object:
        words = true(*given)  # type: ignore[arg-type]
        words[7, 0] ^= np.uint64(1 << menu.algorithms[2].index)
        return words

    peer.decide = wrong  # type: ignore[method-assign,assignment]
    with pytest.raises(Scout40Error, match=menu.algorithms[2].name):
        bench_menu.check_equal(menu.compile(), peer, sample_block)


def test_numpy_menu_equals_the_recorded_bits(reference: Path) -> None:
    """The NumPy evaluation is right by itself: 385 algorithms in the public ttBar vector."""
    menu = load_menu(reference / bench_menu.MENU_2024)
    path = reference / "testvectors/ugt/L1menu_2024_v1_3_0_ttBar_TestVector_003.txt"
    block = concatenate(open_source([str(path)]).blocks(Run())).take(0, 1500)
    peer = NumpyMenu(menu)
    words = peer.decide(block)
    mask = np.zeros(8, np.uint64)
    for algorithm in peer.algorithms:
        mask[algorithm.index // 64] |= np.uint64(1) << np.uint64(algorithm.index % 64)
    assert len(peer.algorithms) == 385
    np.testing.assert_array_equal(words, block.crossing["recorded"] & mask)


def test_reference_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SCOUT40_REFERENCE", str(tmp_path))
    with pytest.raises(BadConfig, match="SCOUT40_REFERENCE"):
        bench_menu.reference_folder()
    monkeypatch.delenv("SCOUT40_REFERENCE")
    monkeypatch.chdir(tmp_path)
    assert bench_menu.reference_folder() is None


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux only")
def test_peak_memory_can_be_reset() -> None:
    ballast = np.ones(60_000_000, np.uint8)
    high = bench_menu.peak_megabytes()
    del ballast
    bench_menu.reset_peak()
    low = bench_menu.peak_megabytes()
    assert high - low > 50
    grown = np.ones(60_000_000, np.uint8)
    assert bench_menu.peak_megabytes() - low > 50
    assert grown[0] == 1
