"""A live run writes what an offline run over the same packets writes, and its ledger balances."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from scout40.streams.sinks.raw import write_frd
from scout40.tools.job import emulate
from scout40.tools.live_config import load_pipeline
from scout40.tools.sample import demo_menu
from tests.streams.live_messages import RUN, muon_block, stream
from tests.tools.live_memory import frames, run_live, table_of


def offline(folder: Path, orbits: int, first: int = 0) -> pa.Table:
    """Decisions of the offline job on the packets of ``stream``."""
    raw, out = folder / "offline.raw", folder / "offline.parquet"
    write_frd(raw, [muon_block(k, 4) for k in range(first, first + orbits, 4)], run=RUN)
    emulate([raw], demo_menu(), out=out, overwrite=True)
    return pq.read_table(out)


def same_rows(live: pa.Table, expected: pa.Table) -> None:
    """Equal values in all columns that both have; physical ones only offline has."""
    names = [name for name in live.column_names if name in expected.column_names]
    assert {"orbit", "bx", "initial", "prescaled", "accept_after_rules"} <= set(names)
    order = [("orbit", "ascending"), ("bx", "ascending")]
    mine, other = (t.select(names).sort_by(order) for t in (live, expected))
    for name in names:
        assert mine[name].to_pylist() == other[name].to_pylist(), name


def test_the_ledger_balances_while_blocks_are_in_work(tmp_path: Path) -> None:
    pipeline = tmp_path / "often.toml"
    pipeline.write_text(
        "[input]\nblock_orbits = 4\ngather_ms = 0\n[selection]\nall = true\n"
        "[monitor]\ninterval_s = 0.1\n"
    )
    items = [one for item in frames(stream(30)) for one in (item, 0.05)]
    result = run_live(items, tmp_path / "out", load_pipeline(pipeline), until_end=True)
    assert result.snapshot.sequence > 3
    assert result.receipt.ledger["packets"].out == 120


def test_decisions_are_those_of_the_offline_run(tmp_path: Path) -> None:
    result = run_live(frames(stream(20)), tmp_path / "out", until_end=True)
    same_rows(table_of(tmp_path / "out"), offline(tmp_path, 80))
    accounts = result.receipt.ledger.accounts
    assert result.receipt.ledger.balanced
    assert accounts["packets"].out == 80
    assert accounts["rows"].out == table_of(tmp_path / "out").num_rows > 0
    assert result.snapshot.state == "stopped"
    assert result.snapshot.latency["total"].count == 20
