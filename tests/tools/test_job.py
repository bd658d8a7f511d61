"""The offline job: same answer however it is run, every crossing accounted for, output readable."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from scout40.emulator.ugt import load_menu
from scout40.streams.block import ORBIT_BX, Block
from scout40.streams.errors import BadConfig, BadInput
from scout40.streams.sources.arrow import ArrowSource
from scout40.streams.sources.base import Run
from scout40.tools.deciding import Settings
from scout40.tools.job import DEFAULT_BUNCHES, emulate
from scout40.tools.sample import Repeated
from tests.tools.memory import Memory


class StopAfter:
    """Asks to stop once it was asked ``polls`` times."""

    def __init__(self, polls: int) -> None:
        self._left = polls

    @property
    def requested(self) -> bool:
        self._left -= 1
        return self._left < 0


def orbits(block: Block, each: int) -> list[Block]:
    """The block cut into blocks of ``each`` orbits."""
    parts = []
    for first in range(block.first_orbit, block.last_orbit, each):
        last = min(first + each, block.last_orbit)
        start, stop = np.searchsorted(block.orbit, [first, last])
        parts.append(block.take(int(start), int(stop)).replace(first_orbit=first, last_orbit=last))
    return parts


def test_ledger_counts_every_crossing(sample_file: Path, demo_menu_file: Path) -> None:
    result = emulate(sample_file, demo_menu_file)
    crossings = result.receipt.ledger["crossings"]
    assert crossings.received == crossings.out == 16 * ORBIT_BX == result.counter.crossings
    assert result.receipt.ledger.balanced
    assert result.receipt.exit_code == 0
    assert result.receipt.status == "complete"
    assert result.bunches == ORBIT_BX
    assert result.rules.applied
    assert result.receipt.lhc_seconds == pytest.approx(16 / 11245.5)


def test_threads_and_block_size_change_nothing(sample_block: Block, demo_menu_file: Path) -> None:
    menu = load_menu(demo_menu_file)
    runs = [
        emulate(Memory(orbits(sample_block, each), contiguous=True), menu, threads=threads)
        for each, threads in ((16, 1), (3, 1), (1, 2), (5, 4))
    ]
    for other in runs[1:]:
        assert other.rates.equals(runs[0].rates)
        assert other.totals.equals(runs[0].totals)
        assert other.overlap.equals(runs[0].overlap)
        assert other.rules == runs[0].rules
    assert runs[0].counter.finor > 0


def test_output_holds_objects_and_decisions(
    sample_block: Block, demo_menu_file: Path, tmp_path: Path
) -> None:
    menu = load_menu(demo_menu_file)
    out = tmp_path / "out.parquet"
    result = emulate(Memory([sample_block], contiguous=True), menu, out=out)
    assert set(result.receipt.outputs) == {
        str(tmp_path / name)
        for name in (
            "out.parquet",
            "out.rates.parquet",
            "out.totals.parquet",
            "out.overlap.parquet",
        )
    }
    (back,) = ArrowSource([str(out)], results=True).blocks(Run())
    np.testing.assert_array_equal(back.tables["jet"]["hw_et"], sample_block.tables["jet"]["hw_et"])
    expected = menu.compile().decide(sample_block).words
    np.testing.assert_array_equal(back.crossing["initial"], expected)
    assert int(back.crossing["accept_after_rules"].sum()) == result.rules.accepted
    assert 0 < result.rules.accepted <= int(back.crossing["accept"].sum())
    rates = pq.read_table(tmp_path / "out.rates.parquet")
    assert rates.equals(result.rates)


def test_crossings_without_a_row_can_fire(sample_block: Block, tmp_path: Path) -> None:
    """NOT fires in empty crossings: they are counted, decided and written."""
    menu = tmp_path / "menu.toml"
    menu.write_text(
        '[menu]\nname = "empty"\n[[algorithm]]\nname = "L1_NoJet"\nexpression = "NOT JET10"\n'
    )
    out = tmp_path / "out.parquet"
    result = emulate(Memory([sample_block], contiguous=True), menu, out=out)
    with_jet = np.zeros(len(sample_block), bool)
    jets = sample_block.tables["jet"]
    rows = np.repeat(np.arange(len(sample_block)), jets.counts())
    with_jet[rows[jets["hw_et"] >= 20]] = True
    expected = 16 * ORBIT_BX - int(with_jet.sum())
    assert result.rates["count_initial"].to_pylist() == [expected]
    (back,) = ArrowSource([str(out)], results=True).blocks(Run())
    assert int(back.crossing["initial"].astype(bool).any(axis=1).sum()) == expected
    assert set(back.crossing["run"].tolist()) == set(sample_block.crossing["run"].tolist())


def test_independent_rows(sample_block: Block, demo_menu_file: Path) -> None:
    alone = sample_block.replace(contiguous=False)
    result = emulate(Memory([alone]), demo_menu_file)
    assert result.counter.crossings == len(alone)
    assert result.bunches == DEFAULT_BUNCHES
    assert not result.rules.applied
    stated = emulate(Memory([alone]), demo_menu_file, Settings(bunches=100))
    ratio = np.array(stated.rates["rate_initial_khz"].to_pylist()[1:], float)
    whole = np.array(result.rates["rate_initial_khz"].to_pylist()[1:], float)
    np.testing.assert_allclose(ratio * DEFAULT_BUNCHES, whole * 100)


def test_prescale_column(sample_block: Block, demo_menu_file: Path, tmp_path: Path) -> None:
    menu = load_menu(demo_menu_file)
    table = tmp_path / "prescales.csv"
    rows = [f"{a.index},{a.name},1,2" for a in menu.algorithms]
    table.write_text("Index,Name,all,half\n" + "\n".join(rows) + "\n")
    source = Memory([sample_block], contiguous=True)
    whole = emulate(source, menu, Settings(prescales=str(table), column="all"))
    assert whole.column == "all"
    assert emulate(source, menu, Settings(prescales=str(table), column="1")).column == "1 (half)"
    half = emulate(source, menu, Settings(prescales=str(table), column="half"))
    for row, other in zip(whole.rates.to_pylist(), half.rates.to_pylist(), strict=True):
        assert row["count_prescaled"] == row["count_initial"]
        if row["evaluated"]:
            assert other["count_prescaled"] == row["count_initial"] // 2
    with pytest.raises(BadConfig, match="all, half"):
        emulate(source, menu, Settings(prescales=str(table)))
    with pytest.raises(BadConfig, match="prescale table"):
        emulate(source, menu, Settings(column="all"))


def test_stop_leaves_whole_output(sample_file: Path, demo_menu_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.arrow"
    source = Repeated(sample_file, 50)
    result = emulate(source, demo_menu_file, out=out, stop=StopAfter(7), threads=2)
    assert result.receipt.status == "interrupted"
    assert result.receipt.ledger.balanced
    done = result.receipt.ledger["crossings"].out
    assert 0 < done < 50 * 16 * ORBIT_BX
    source_back = ArrowSource([str(out)])
    assert "interrupted" in source_back.name
    blocks = list(source_back.blocks(Run()))
    assert sum(b.last_orbit - b.first_orbit for b in blocks) * ORBIT_BX == done
    assert not list(tmp_path.glob(".*"))


def test_stop_after_the_end_is_no_interruption(sample_block: Block, demo_menu_file: Path) -> None:
    """Asked when the source has already ended: nothing was cut off."""
    stop = StopAfter(2)  # before the block, and before finding the end
    result = emulate(Memory([sample_block], contiguous=True), demo_menu_file, stop=stop)
    assert stop.requested
    assert result.receipt.status == "complete"


def test_failure_leaves_nothing(sample_block: Block, demo_menu_file: Path, tmp_path: Path) -> None:
    class Broken(Memory):
        def blocks(self, run: Run):  # type: ignore[no-untyped-def]
            yield from super().blocks(run)
            raise BadInput("cable cut", orbit=1016)

    out = tmp_path / "out.parquet"
    with pytest.raises(BadInput, match="cable cut"):
        emulate(Broken([sample_block], contiguous=True), demo_menu_file, out=out)
    assert list(tmp_path.iterdir()) == []


def test_existing_output_is_kept(sample_block: Block, demo_menu_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    source = Memory([sample_block], contiguous=True)
    emulate(source, demo_menu_file, out=out)
    before = out.read_bytes()
    with pytest.raises(BadConfig, match="exists"):
        emulate(source, demo_menu_file, out=out)
    emulate(source, demo_menu_file, out=out, overwrite=True)
    assert out.read_bytes() == before


def test_input_without_anything_to_evaluate(sample_block: Block, demo_menu_file: Path) -> None:
    bare = sample_block.replace(tables={})
    with pytest.raises(BadInput, match=r"no algorithm .* input has no jet.hw_et \("):
        emulate(Memory([bare], contiguous=True), demo_menu_file)


def test_no_crossing_at_all(demo_menu_file: Path) -> None:
    result = emulate(Memory([]), demo_menu_file)
    assert result.counter.crossings == 0
    assert result.receipt.exit_code == 0
    assert set(result.rates["rate_initial_khz"].to_pylist()) == {None}


def test_recorded_bits_are_counted(sample_block: Block, demo_menu_file: Path) -> None:
    menu = load_menu(demo_menu_file)
    words = menu.compile().decide(sample_block).words
    block = sample_block.replace(crossing={**sample_block.crossing, "recorded": words})
    result = emulate(Memory([block], contiguous=True), menu)
    counts = result.rates["count_initial"].to_pylist()
    for algorithm, count in zip(menu.algorithms, counts, strict=True):
        if algorithm.name not in result.not_evaluated:
            assert result.recorded[algorithm.name] == count


def test_lineage_names_the_files_of_a_glob(
    tmp_path: Path, sample_file: Path, demo_menu_file: Path
) -> None:
    data = sample_file.read_bytes()
    (tmp_path / "one.raw").write_bytes(data)
    out = tmp_path / "out.parquet"
    emulate([str(tmp_path / "*.raw")], demo_menu_file, out=out)
    lineage = json.loads(pq.read_schema(out).metadata[b"scout40.lineage"])
    assert lineage["sources"] == [["one.raw", len(data)]]


def test_output_tells_unknown_from_false(
    sample_block: Block, demo_menu_file: Path, tmp_path: Path
) -> None:
    """Without calorimeter tables their algorithms read 0 and are marked as not evaluated."""
    muons = sample_block.replace(tables={"mu": sample_block.tables["mu"]})
    out = tmp_path / "muons.parquet"
    result = emulate(Memory([muons], contiguous=True), demo_menu_file, out=out)
    table = pq.read_table(out)
    evaluated = np.array(table["evaluated"].to_pylist(), np.uint64)
    lineage = json.loads(table.schema.metadata[b"scout40.lineage"])
    assert {name for _, name in lineage["algorithms"]} == {
        algorithm.name for algorithm in load_menu(demo_menu_file).algorithms
    }
    for index, name in lineage["algorithms"]:
        known = (evaluated[:, index // 64] >> np.uint64(index % 64)) & np.uint64(1)
        assert set(known.tolist()) == {int(name not in result.not_evaluated)}
    assert result.not_evaluated
