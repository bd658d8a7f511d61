"""ArrowSink: what appears under the final name is whole, whatever happens."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq
import pytest

from scout40.streams.arrow import Span
from scout40.streams.block import Block, Origin, Table, offsets_of
from scout40.streams.errors import BadConfig, BadInput, Scout40Error
from scout40.streams.ledger import Ledger
from scout40.streams.lineage import lineage_of
from scout40.streams.sinks.arrow import SUFFIXES, ArrowSink
from scout40.streams.sinks.base import END, LEFTOVER, Marker, leftovers
from scout40.streams.sources.arrow import ArrowSource
from scout40.streams.sources.base import Run

Layout = Literal["nested", "tables"]
LAYOUTS: tuple[Layout, ...] = ("nested", "tables")


def block(sequence: int, rows: int = 50) -> Block:
    """One orbit with muons, its number in every value."""
    offsets = offsets_of(np.arange(rows) % 4)
    pt = np.full(offsets[-1], sequence % 500, np.uint16)
    return Block(
        first_orbit=sequence,
        last_orbit=sequence + 1,
        orbit=np.full(rows, sequence, np.uint32),
        bx=np.arange(1, rows + 1, dtype=np.uint16),
        tables={"mu": Table({"hw_pt": pt}, offsets)},
        crossing={"ext": np.full((rows, 4), sequence, np.uint64)},
        contiguous=True,
        origin=Origin("feed", sequence),
    )


def decisions(rows: int = 50) -> dict[str, Any]:
    """A result column."""
    return {"decision": np.arange(8 * rows, dtype=np.uint64).reshape(rows, 8)}


def ledger(rows: int) -> Ledger:
    """A ledger that balances."""
    made = Ledger()
    made["packets"].received = made["packets"].out = rows
    return made


def write(path: Path, layout: Layout = "nested", blocks: int = 3) -> None:
    """A complete output of a few blocks."""
    sink = ArrowSink(path, layout=layout, rows_per_group=70, lineage=lineage_of([]))
    for sequence in range(blocks):
        sink.write(block(sequence), decisions())
    sink.close("complete", ledger(50 * blocks))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_nothing_is_under_the_name_before_close(
    tmp_path: Path, suffix: str, layout: Layout
) -> None:
    path = tmp_path / f"out{suffix}"
    sink = ArrowSink(path, layout=layout)
    sink.write(block(0), decisions())
    assert not path.exists()
    (growing,) = leftovers(tmp_path)
    assert growing.name.startswith(".out")
    with pytest.raises(BadInput, match="not complete"):
        ArrowSource([str(growing)])
    sink.close("complete", ledger(50))
    assert path.exists()
    assert leftovers(tmp_path) == []
    assert ArrowSource([str(path)]).markers[0].status == "complete"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_interrupted_run_leaves_a_valid_output_that_says_so(
    tmp_path: Path, suffix: str, layout: Layout
) -> None:
    path = tmp_path / f"out{suffix}"
    sink = ArrowSink(path, layout=layout)
    sink.write(block(0), decisions())
    sink.close("interrupted", ledger(50))
    source = ArrowSource([str(path)])
    assert source.markers[0].status == "interrupted"
    assert source.markers[0].ledger["accounts"]["packets"]["out"] == 50
    assert source.markers[0].ledger["balanced"] is True
    assert "interrupted" in source.name
    assert sum(len(b) for b in source.blocks(Run())) == 50


def test_the_marker_is_where_other_programs_find_it(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        write(tmp_path / f"out{suffix}")
    footer = pq.read_metadata(tmp_path / "out.parquet").metadata
    assert Marker.from_json(footer[END]).rows == 150
    with ipc.open_file(tmp_path / "out.arrow") as reader:
        last = reader.get_batch_with_custom_metadata(reader.num_record_batches - 1)
    assert last.batch.num_rows == 0
    assert Marker.from_json(last.custom_metadata[END]).status == "complete"
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.num_rows == 150
    assert table.column("mu").type.value_type.field("hw_pt").metadata[b"lsb"] == b"0.5"


def test_identical_runs_write_identical_files(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        write(tmp_path / f"a{suffix}")
        write(tmp_path / f"b{suffix}")
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_parquet_row_groups_stay_small(tmp_path: Path) -> None:
    sink = ArrowSink(tmp_path / "out.parquet", rows_per_group=100)
    for sequence in range(20):
        sink.write(block(sequence), decisions())
    sink.close("complete")
    metadata = pq.read_metadata(tmp_path / "out.parquet")
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [100] * 10


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_existing_output_is_refused_or_replaced_whole(tmp_path: Path, layout: Layout) -> None:
    path = tmp_path / "out.parquet"
    write(path, layout)
    with pytest.raises(BadConfig, match="exists"):
        ArrowSink(path, layout=layout)
    sink = ArrowSink(path, layout=layout, overwrite=True)
    sink.write(block(7), decisions())
    assert ArrowSource([str(path)]).total == 150
    sink.close("complete")
    assert ArrowSource([str(path)]).total == 50
    assert leftovers(tmp_path) == []


def test_what_another_run_published_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "out.arrow"
    sink = ArrowSink(path)
    sink.write(block(0), decisions())
    path.write_text("theirs")
    with pytest.raises(BadConfig, match="appeared meanwhile"):
        sink.close("complete")
    assert path.read_text() == "theirs"
    assert leftovers(tmp_path) == []


def test_foreign_folders_files_and_names_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(BadConfig, match="did not write"):
        ArrowSink(tmp_path / "mine", layout="tables", overwrite=True)
    (tmp_path / "f.parquet").mkdir()
    with pytest.raises(BadConfig, match="is a folder"):
        ArrowSink(tmp_path / "f.parquet", overwrite=True)
    with pytest.raises(BadConfig, match=r"suffix '\.txt'"):
        ArrowSink(tmp_path / "out.txt")
    with pytest.raises(BadConfig, match="does not exist"):
        ArrowSink(tmp_path / "no" / "out.arrow")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_output_that_was_not_closed_leaves_nothing(
    tmp_path: Path, suffix: str, layout: Layout
) -> None:
    with ArrowSink(tmp_path / f"out{suffix}", layout=layout) as sink:
        sink.write(block(0), decisions())
        assert len(leftovers(tmp_path)) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_is_never_published(tmp_path: Path) -> None:
    sink = ArrowSink(tmp_path / "out.arrow")
    sink.write(block(0), decisions())
    with pytest.raises(BadInput, match=r"column recorded is new"):
        sink.write(block(1).replace(crossing={"ext": np.zeros((50, 4), np.uint64),
                   "recorded": np.zeros((50, 1), np.uint64)}), decisions())  # fmt: skip
    with pytest.raises(Scout40Error, match="nothing was published"):
        sink.close("complete")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"contiguous": False}, "schema metadata"),
        ({"tables": {}}, "column mu is missing"),
        ({"crossing": {"ext": np.zeros((50, 2), np.uint64)}}, "column ext was"),
    ],
)
def test_blocks_of_another_shape_are_refused(
    tmp_path: Path, changes: dict[str, object], text: str
) -> None:
    sink = ArrowSink(tmp_path / "out.parquet")
    sink.write(block(0), decisions())
    with pytest.raises(BadInput, match=text):
        sink.write(block(1).replace(**changes), decisions())
    sink.abort()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_run_without_events_is_complete(tmp_path: Path, suffix: str, layout: Layout) -> None:
    path = tmp_path / f"out{suffix}"
    ArrowSink(path, layout=layout).close("complete", ledger(0))
    source = ArrowSource([str(path)])
    assert source.total == 0
    assert sum(len(b) for b in source.blocks(Run())) == 0


def test_a_marker_survives_json_and_contradictions_do_not() -> None:
    marker = Marker("interrupted", ledger={"balanced": True})
    for sequence in range(1000):
        part = block(sequence, rows=2 + sequence % 3)
        marker.add(len(part), Span.of(part))
    text = marker.to_json()
    assert len(text) < 4000  # the spans of regular blocks shrink to almost nothing
    back = Marker.from_json(text)
    assert list(back.spans()) == list(marker.spans())
    assert (back.status, back.rows, back.ledger) == ("interrupted", marker.rows, marker.ledger)
    for wrong in (
        text.replace(b'"rows": ', b'"rows": 1'),
        text.replace(b'"blocks": 1000', b'"blocks": 999'),
        text.replace(b'"blocks": 1000', b'"blocks": 999999999999'),
        text.replace(b"interrupted", b"fine"),
        text.replace(b'["feed"]', b"[]"),
        text[:-1],
        b"[]",
    ):
        with pytest.raises(BadInput, match=r"scout40\.end"):
            Marker.from_json(wrong)


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, {folder!r})
import test_arrow as t
print("ready", flush=True)
for number in range(10**6):
    suffix, layout = t.SUFFIXES[number % 3], t.LAYOUTS[number // 3 % 2]
    sink = t.ArrowSink(Path(sys.argv[1], f"{{number}}{{suffix}}"), layout=layout, rows_per_group=80)
    for sequence in range(12):
        sink.write(t.block(sequence), t.decisions())
    sink.close("complete", t.ledger(600))
"""


@pytest.mark.slow
def test_kill_at_50_random_moments_never_leaves_a_false_file(tmp_path: Path) -> None:
    rng = random.Random(40)
    seen = unfinished = 0
    for attempt in range(50):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        script = WRITER.format(folder=str(Path(__file__).parent))
        command = [sys.executable, "-c", script, str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(rng.uniform(0, 0.25))
            process.send_signal(signal.SIGKILL)
        for place in folder.iterdir():
            if place.name.endswith(LEFTOVER):
                unfinished += 1
                with pytest.raises(BadInput, match="not complete"):
                    ArrowSource([str(place)])
                continue
            # Read it under the final name as any user would: whole, and every block right.
            blocks = list(ArrowSource([str(place)]).blocks(Run()))
            assert [b.origin.sequence for b in blocks] == list(range(12))
            assert all((b.tables["mu"]["hw_pt"] == b.first_orbit).all() for b in blocks)
            seen += 1
    assert seen > 50
    assert unfinished > 10


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_cut_anywhere_is_not_complete(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / f"out{suffix}")
    data = (tmp_path / f"out{suffix}").read_bytes()
    cut = tmp_path / f"cut{suffix}"
    sizes = [*range(1, len(data), max(1, len(data) // 150)), *range(len(data) - 30, len(data) - 8)]
    for size in sizes:
        cut.write_bytes(data[:size])
        with pytest.raises(BadInput):
            ArrowSource([str(cut)])


def test_memory_of_a_long_run_is_bounded(tmp_path: Path) -> None:
    sink = ArrowSink(tmp_path / "out.parquet", rows_per_group=5000)
    held = []
    for sequence in range(400):
        sink.write(block(sequence, rows=500), decisions(500))
        held.append(pa.total_allocated_bytes())
    sink.close("complete")
    assert max(held[200:]) < 2 * max(held[:100]) + (8 << 20)
