"""ArrowSource: our own files come back as they were, everything else is refused with a reason."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq
import pytest

from scout40.streams.block import Block, Origin, Table, offsets_of
from scout40.streams.errors import BadInput
from scout40.streams.sinks.arrow import SUFFIXES, ArrowSink
from scout40.streams.sources.arrow import ArrowSource, recognise
from scout40.streams.sources.base import Run

Layout = Literal["nested", "tables"]
LAYOUTS: tuple[Layout, ...] = ("nested", "tables")


def blocks() -> list[Block]:
    """Blocks of unlike sizes, one of them without rows, from two sources."""
    made = []
    for sequence, rows in enumerate((30, 0, 1, 75, 12)):
        counts = np.arange(rows) % 3
        offsets = offsets_of(counts)
        values = np.arange(offsets[-1]) + 7 * sequence
        muons = {"hw_pt": values.astype(np.uint16), "hw_eta_at_vtx": (-values).astype(np.int16)}
        stubs = {"hw_phi": np.zeros(0, np.int16)}
        crossing = {
            "ext": np.arange(4 * rows, dtype=np.uint64).reshape(rows, 4) << np.uint64(50),
            "recorded": np.full((rows, 1), 2**63 + sequence, np.uint64),
            "recorded_finor": np.ones(rows, np.uint8),
            "run": np.full(rows, 380001, np.uint32),
            "event": np.arange(rows, dtype=np.uint64),
        }
        block = Block(
            first_orbit=100 * sequence,
            last_orbit=100 * sequence + 64,
            orbit=np.full(rows, 100 * sequence + 3, np.uint32),
            bx=np.arange(1, rows + 1, dtype=np.uint16),
            tables={
                "mu": Table(muons, offsets),
                "stub": Table(stubs, np.zeros(rows + 1, np.int32)),
            },
            crossing=crossing,
            recorded_names=("L1_A", "L1_B"),
            contiguous=True,
            origin=Origin("first" if sequence < 3 else "second", sequence),
        )
        made.append(block.check())
    return made


def write(path: Path, layout: Layout = "nested", physical: bool = False) -> None:
    sink = ArrowSink(path, layout=layout, physical=physical, rows_per_group=40)
    for block in blocks():
        sink.write(block, {"decision": np.full((len(block), 8), 5, np.uint64)})
    sink.close("complete")


def equal(first: Block, second: Block) -> None:
    for name in ("first_orbit", "last_orbit", "recorded_names", "contiguous", "scouting", "origin"):
        assert getattr(first, name) == getattr(second, name), name
    pairs: list[tuple[Any, Any]] = [(first.orbit, second.orbit), (first.bx, second.bx)]
    assert list(first.crossing) == list(second.crossing)
    assert list(first.tables) == list(second.tables)
    pairs += [(first.crossing[n], second.crossing[n]) for n in first.crossing]
    for name, table in first.tables.items():
        other = second.tables[name]
        assert list(table.columns) == list(other.columns)
        pairs += [(table.offsets, other.offsets), *((table[c], other[c]) for c in table.columns)]
    for one, two in pairs:
        assert one.dtype == two.dtype
        assert one.shape == two.shape
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("physical", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_blocks_come_back_as_they_were(
    tmp_path: Path, suffix: str, layout: Layout, physical: bool
) -> None:
    path = tmp_path / f"out{suffix}"
    write(path, layout, physical)
    head = path.read_bytes()[:4096] if path.is_file() else b""
    assert recognise(head, str(path))
    source = ArrowSource([str(path)])
    assert source.contiguous
    assert source.total == 118
    run = Run()
    for before, after in zip(blocks(), source.blocks(run), strict=True):
        equal(before, after)
    account = run.ledger["packets"]
    assert (account.received, account.out, account.bad.total()) == (118, 118, 0)


def test_results_come_back_on_request(tmp_path: Path) -> None:
    write(tmp_path / "out.parquet")
    (first, *_) = ArrowSource([str(tmp_path / "out.parquet")], results=True).blocks(Run())
    assert (first.crossing["decision"] == 5).all()


def test_columns_of_an_ipc_file_are_views_of_the_mapped_file(tmp_path: Path) -> None:
    rows = 50_000
    table = Table({"hw_pt": np.ones(rows, np.uint16)}, np.arange(rows + 1, dtype=np.int32))
    bx = np.ones(rows, np.uint16)
    big = Block(0, 1, np.zeros(rows, np.uint32), bx, {"mu": table}, {"ext": np.ones((rows, 4))})
    sink = ArrowSink(tmp_path / "out.arrow")
    sink.write(big)
    sink.close("complete")
    before = pa.total_allocated_bytes()
    (block,) = ArrowSource([str(tmp_path / "out.arrow")]).blocks(Run())
    assert len(block) == rows
    assert pa.total_allocated_bytes() - before < 4096  # of 2.2 MB: messages, no columns
    for column in (block.bx, block.crossing["ext"], block.tables["mu"]["hw_pt"]):
        assert not column.flags.owndata
        assert not column.flags.writeable


def test_several_files_follow_each_other(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet")
    write(tmp_path / "b.arrow", "tables")
    source = ArrowSource([str(tmp_path / "a.parquet"), str(tmp_path / "b.arrow")])
    assert source.total == 236
    assert sum(len(block) for block in source.blocks(Run())) == 236


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_without_end_marker_is_not_complete(tmp_path: Path, suffix: str) -> None:
    """The same columns and schema, but written by a run that never closed its sink."""
    write(tmp_path / "good.parquet")
    table = pq.read_table(tmp_path / "good.parquet")
    path = tmp_path / f"open{suffix}"
    if suffix == ".parquet":
        pq.write_table(table, path)
    else:
        with (ipc.new_file if suffix == ".arrow" else ipc.new_stream)(path, table.schema) as out:
            out.write_table(table)
    with pytest.raises(BadInput, match=r"open.*not complete.*no scout40 end marker"):
        ArrowSource([str(path)])


def test_files_of_others_are_refused_saying_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "theirs.parquet"
    pq.write_table(pa.table({"pt": [1.0]}), path)
    assert recognise(path.read_bytes(), str(path))
    with pytest.raises(BadInput, match=r"theirs\.parquet.*end marker"):
        ArrowSource([str(path)])
    with pq.ParquetWriter(path, pa.schema([("pt", pa.float64())])) as writer:
        good = tmp_path / "good.parquet"
        write(good)
        marker = pq.read_metadata(good).metadata[b"scout40.end"]
        writer.add_key_value_metadata({"scout40.end": marker})
    with pytest.raises(BadInput, match=r"not written by scout40: no scout40\.form"):
        ArrowSource([str(path)])


def test_blocks_described_by_another_version_say_so(tmp_path: Path) -> None:
    good = tmp_path / "good.parquet"
    write(good)
    table = pq.read_table(good)
    metadata = {**table.schema.metadata, b"scout40.block": b'{"contiguous": true}'}
    with pq.ParquetWriter(tmp_path / "old.parquet", table.schema.with_metadata(metadata)) as out:
        out.write_table(table)
        out.add_key_value_metadata({"scout40.end": pq.read_metadata(good).metadata[b"scout40.end"]})
    with pytest.raises(BadInput, match=r"old\.parquet.*written by another version of scout40"):
        ArrowSource([str(tmp_path / "old.parquet")])


def test_a_folder_without_one_of_its_tables_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    write(folder, "tables")
    assert sorted(p.name for p in folder.iterdir()) == [
        "events.parquet", "mu.parquet", "stub.parquet",
    ]  # fmt: skip
    (folder / "mu.parquet").unlink()
    with pytest.raises(BadInput, match=r"table 'mu' has no file mu\.parquet"):
        ArrowSource([str(folder)])
    shutil.rmtree(folder)
    folder.mkdir()
    with pytest.raises(BadInput, match="folder without a file events"):
        ArrowSource([str(folder)])


def test_tables_of_two_runs_mixed_in_a_folder_are_noticed(tmp_path: Path) -> None:
    write(tmp_path / "a", "tables")
    sink = ArrowSink(tmp_path / "b", layout="tables")
    sink.write(blocks()[0])
    sink.close("complete")
    shutil.copy(tmp_path / "b" / "mu.parquet", tmp_path / "a" / "mu.parquet")
    run = Run()
    assert len(list(ArrowSource([str(tmp_path / "a")]).blocks(run))) < 5
    assert run.ledger["packets"].bad["unreadable"] > 0
    assert run.ledger.balanced


def test_a_damaged_page_costs_the_rest_of_the_file_and_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    write(path)
    data = bytearray(path.read_bytes())
    metadata = pq.read_metadata(path)
    last = metadata.row_group(metadata.num_row_groups - 1)
    ext = last.column(2)
    data[ext.data_page_offset + ext.total_compressed_size // 2] ^= 0xFF
    path.write_bytes(data)
    run = Run()
    got = list(ArrowSource([str(path)]).blocks(run))
    assert len(got) == 4  # row groups are closed at 40 rows: 30 + 0 + 1 + 75, then 12
    account = run.ledger["packets"]
    assert (account.out, account.bad["unreadable"]) == (106, 12)
    assert run.ledger.balanced
    assert str(path) in run.quarantine.reasons[0]


def test_nothing_readable_at_all_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    write(path)
    data = bytearray(path.read_bytes())
    data[pq.read_metadata(path).row_group(0).column(0).data_page_offset + 20] ^= 0xFF
    path.write_bytes(data)
    run = Run()
    with pytest.raises(BadInput, match=r"out\.parquet"):
        list(ArrowSource([str(path)]).blocks(run))
    assert run.ledger.balanced


@pytest.mark.parametrize(
    "head", [b"", b"PAR", b"RAW_0002", b"\xff\xff\xff\xff\0\0\0\0", b"0000 0000000000000000"]
)
def test_other_content_is_not_recognised(tmp_path: Path, head: bytes) -> None:
    assert not recognise(head, str(tmp_path / "x"))


def test_no_file_is_an_error() -> None:
    with pytest.raises(BadInput, match="no Arrow file"):
        ArrowSource([])
