"""The stage: block in, block with jets and sums out; and the NumPy version of the benchmark."""

from __future__ import annotations

import numpy as np
import pytest

from scout40.emulator.calo.config import CONFIGS, configuration
from scout40.emulator.calo.emulate import CaloLayer2
from scout40.emulator.calo.jets import find_jets
from scout40.streams.block import Block, Table
from scout40.streams.errors import Scout40Error
from scout40.tools import bench_jets
from tests.emulator.calo.jet_events import IETAS, block_of, jets_of


@pytest.fixture(scope="module")
def block() -> Block:
    random = np.random.default_rng(2)
    return block_of(
        [
            {(int(random.choice(IETAS)), int(random.integers(1, 73))): 90 for _ in range(20)}
            for _ in range(5)
        ]
    )


def test_stage_adds_tables_and_changes_nothing(block: Block) -> None:
    before = {name: values.copy() for name, values in block.tables["tower"].columns.items()}
    config = configuration("2024")
    out = CaloLayer2(config).run(block).check()
    jets = find_jets(block, config)
    assert set(block.tables) == {"tower"}
    assert set(out.tables) == {"tower", "jet", "sums"}
    for crossing in range(len(block)):
        assert jets_of(out.tables["jet"], crossing) == jets_of(jets.demux, crossing)
    assert out.tables["sums"].counts().tolist() == [1] * len(block)
    for name, values in before.items():
        np.testing.assert_array_equal(block.tables["tower"][name], values)


def test_htt_is_made_of_all_candidates(block: Block) -> None:
    config = configuration("2024")
    jets = find_jets(block, config).presort
    counted = (jets["hw_et"] > 60) & (np.abs(jets["ieta"]) <= 26)
    event = np.repeat(np.arange(len(block)), jets.counts())
    expected = np.bincount(event, np.where(counted, jets["hw_et"], 0), minlength=len(block))
    sums = CaloLayer2(config).run(block).tables["sums"]
    assert (jets.counts() > 12).any()
    np.testing.assert_array_equal(sums["hw_htt"], np.minimum(expected, 4095))


def test_details(block: Block) -> None:
    out = CaloLayer2(configuration("2024")).run(block, details=True).check()
    jets = find_jets(block, configuration("2024"))
    assert jets_of(out.tables["jet_presort"]) == jets_of(jets.presort)
    assert jets_of(out.tables["jet_processor"]) == jets_of(jets.processor)


def test_flags_of_towers_give_egammas_and_taus(block: Block) -> None:
    table = block.tables["tower"]
    zeros = np.zeros(len(table), np.uint8)
    columns = {**table.columns, "er_bits": zeros, "misc_bits": zeros}
    flagged = block.replace(tables={"tower": Table(columns, table.offsets)})
    out = CaloLayer2(configuration("2024")).run(flagged).check()
    assert {"eg", "tau"} <= set(out.tables)


@pytest.mark.parametrize("name", list(CONFIGS))
def test_numpy_version_is_equal(name: str, calo_block: Block) -> None:
    config = configuration(name)
    assert bench_jets.check_equal(calo_block, config) > 5000
    assert bench_jets.check_equal(bench_jets.full_crossings(30, seed=4), config) == 360


def test_numpy_version_keeps_six_of_a_crowded_ring() -> None:
    rings = block_of([{(12, 1 + 5 * k): 30 for k in range(n)} for n in range(15)])
    assert bench_jets.check_equal(rings, configuration("no-subtraction")) == 77 - 8


def test_difference_is_found(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configuration("phi-ring")
    monkeypatch.setattr(bench_jets, "numpy_jets", lambda *_: bench_jets_of_other(block))
    with pytest.raises(Scout40Error, match="differ"):
        bench_jets.check_equal(block, config)


def bench_jets_of_other(block: Block) -> dict[str, np.ndarray]:
    from scout40.tools.numpy_jets import numpy_jets

    return numpy_jets(block, configuration("chunky-donut"))
