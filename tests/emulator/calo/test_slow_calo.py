"""The slow jets against the reference: without a right twin the kernels' tests say nothing.

Expected: `reference/cmssw/calol2_*`, made by running the layer-2 jet algorithm of CMS software on
synthetic towers: candidates, main processor and demux output, equal jets in their order.
"""

from __future__ import annotations

import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.emulator.calo import slow_calo

CONFIGS = {0: "phi-ring", 1: "phi-ring", 2: "chunky-donut"}
CALIBRATED = 1
PLACES = ("event", "hw_pt", "ieta", "iphi", "raw_et", "seed_et", "pu_et")
EVERY = 5
"""Of the 700 events each fifth is looked at, and all in the slow tests."""

Rows = dict[int, list[tuple[int, ...]]]


def rows_of(path: Path, **fixed: int) -> Rows:
    """event -> rows of PLACES without the event, in file order."""
    table = pq.read_table(path, filters=[(k, "=", v) for k, v in fixed.items()] or None)
    names = [name for name in PLACES if name in table.column_names]
    out: Rows = defaultdict(list)
    for event, *rest in zip(*(table[name].to_pylist() for name in names), strict=True):
        out[event].append(tuple(rest))
    return out


def calibration(repository: Path) -> slow_calo.Calibration:
    """The packaged constants of 2024 as the tables of the hardware."""
    text = (repository / "configs" / "calo" / "jets_2024.toml").read_text(encoding="utf-8")
    data: dict[str, Any] = tomllib.loads(text)

    def bins(edges: list[int], length: int) -> list[int]:
        return [sum(edge <= value for edge in edges) - 1 for value in range(length)]

    words = [
        (addend & 255) << 10 | multiplier
        for factors, addends in zip(data["multiplier"], data["addend"], strict=True)
        for multiplier, addend in zip(factors, addends, strict=True)
    ]
    return slow_calo.Calibration(
        bins(data["pt_bin_edges"], 256), bins(data["eta_bin_edges"], 64), words
    )


def compare(reference: Path, repository: Path, config: int, every: int) -> tuple[int, int]:
    """(events, jets sent) compared; fails at the first difference."""
    folder = reference / "cmssw"
    towers = rows_of(folder / "calol2_towers.parquet")
    presort = rows_of(folder / "calol2_jets_presort.parquet", config=config)
    stages = [rows_of(folder / "calol2_jets.parquet", config=config, stage=k) for k in (0, 1)]
    table = calibration(repository) if config == CALIBRATED else None
    events = pq.read_table(folder / "calol2_events.parquet")["event"].to_pylist()[::every]
    jets = 0
    for event in events:
        # rows of towers are (hw_pt, ieta, iphi)
        inputs = {(ieta, iphi): et for et, ieta, iphi in towers[event]}
        lists = slow_calo.jets(inputs, CONFIGS[config], table)
        for found, expected in (
            (lists.presort, presort), (lists.processor, stages[0]), (lists.demux, stages[1])
        ):  # fmt: skip
            got = [(j.et, j.ieta, j.iphi, j.raw_et, j.seed_et, j.pu_et) for j in found]
            assert got == expected[event], f"event {event}"
        jets += len(lists.demux)
    return len(events), jets


@pytest.mark.parametrize("config", CONFIGS)
def test_jets_of_the_reference(reference: Path, repository: Path, config: int) -> None:
    events, jets = compare(reference, repository, config, EVERY)
    assert events == 140
    assert jets > 900


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS)
def test_all_jets_of_the_reference(reference: Path, repository: Path, config: int) -> None:
    assert compare(reference, repository, config, 1)[0] == 700


def test_a_jet_by_hand() -> None:
    towers = {(-28, 72): 20, (-30, 1): 6, (-24, 4): 1, (-23, 72): 50}
    lists = slow_calo.jets(towers, "none")
    # -30 follows -28; -23 is five rings away; -24 and iphi 4 are the corner of the window.
    assert [(j.et, j.ieta, j.iphi) for j in lists.demux] == [(51, -23, 72), (27, -28, 72)]


def test_the_network_sorts_every_size() -> None:
    for size in range(19):
        items = [slow_calo.Jet(et=7 * k % size) for k in range(size)]
        falling = sorted((jet.et for jet in items), reverse=True)
        assert [jet.et for jet in slow_calo.bitonic(items)] == falling


def test_pushed_down_equals_turn_their_order() -> None:
    a, b = slow_calo.Jet(5, 1), slow_calo.Jet(5, 2)
    assert slow_calo._accumulated([a], [b]) == [a, b]
    big = slow_calo.Jet(9, 3)
    assert slow_calo._accumulated([a, b], [big]) == [big, b, a]
    assert slow_calo._accumulated([big, a, b], [slow_calo.Jet(8, 4)])[2:] == [b, a]
    two = [slow_calo.Jet(8, 5), slow_calo.Jet(7, 5)]
    assert slow_calo._accumulated([a, b], two)[2:] == [b, a]
