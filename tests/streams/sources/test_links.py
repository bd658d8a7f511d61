"""Tables of track-finder links and calorimeter sums: crossings, refusals, bad rows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.ipc as ipc
import pyarrow.parquet as pq
import pytest

from scout40.streams.block import Block, concatenate
from scout40.streams.errors import BadInput
from scout40.streams.formats.track_finder import EMTF_ADDRESS, TFMU, TFMU_DTYPES
from scout40.streams.sources import open_source
from scout40.streams.sources.base import Quarantine, Run
from scout40.streams.sources.links import LinksSource
from scout40.streams.sources.links_join import GAP
from tests.tables import write_columns as write

Columns = dict[str, Any]


def muons(rows: list[tuple[int, int, int]], **others: Any) -> Columns:
    """Columns of muons of (bx, link, slot); the others are 5 where nothing else is given."""
    columns: Columns = {name: np.full(len(rows), 1) for name in TFMU}
    columns["hw_pt"] = np.arange(len(rows)) + 10
    for k, name in enumerate(("bx", "link", "slot")):
        columns[name] = np.array([row[k] for row in rows], np.int64)
    return columns | others


def read(paths: list[str], **settings: int) -> tuple[list[Block], Run]:
    run = Run(**settings)  # type: ignore[arg-type]
    source = LinksSource(paths)
    blocks = [b.check() if b.contiguous else b for b in source.blocks(run)]
    run.ledger.check()
    assert run.ledger["packets"].pending == 0
    return blocks, run


def test_counts_are_folded_and_kept(tmp_path: Path) -> None:
    rows = [(0, 36, 0), (3563, 36, 1), (3564, 71, 2), (3 * 3564 + 7, 48, 0)]
    blocks, run = read([write(tmp_path / "a.parquet", muons(rows))], rows_per_block=4000)
    block = blocks[0]
    assert not block.contiguous
    assert max(map(len, blocks)) == 4000
    event = np.concatenate([b.crossing["event"] for b in blocks])
    assert event.tolist() == list(range(3 * 3564 + 8))
    orbit = np.concatenate([b.orbit for b in blocks])
    bx = np.concatenate([b.bx for b in blocks])
    assert (orbit[3563], bx[3563], orbit[3564], bx[3564]) == (0, 3564, 1, 1)
    assert (orbit[-1], bx[-1]) == (3, 8)
    counts = np.concatenate([b.tables["tfmu"].counts() for b in blocks])
    assert np.flatnonzero(counts).tolist() == [row[0] for row in rows]
    assert block.tables["tfmu"]["link"].tolist() == [36, 36, 71]
    assert {n: v.dtype for n, v in block.tables["tfmu"].columns.items()} == {
        name: TFMU_DTYPES[name] for name in TFMU
    }
    assert run.ledger["packets"].out == 4


def test_a_long_gap_is_not_filled(tmp_path: Path) -> None:
    rows = [(5, 36, 0), (5 + GAP + 1, 36, 0), (5 + GAP + 3, 36, 0)]
    blocks, _ = read([write(tmp_path / "a.parquet", muons(rows))])
    assert blocks[0].crossing["event"].tolist() == [5, 6 + GAP, 7 + GAP, 8 + GAP]


def test_with_orbits_the_rows_are_time(tmp_path: Path) -> None:
    rows = [(1, 36, 0), (3564, 36, 0), (7, 36, 0), (9, 40, 1)]
    columns = muons(rows, orbit=np.array([7, 7, 8, 11]))
    blocks, _ = read([write(tmp_path / "a.parquet", columns)])
    assert [b.contiguous for b in blocks] == [True, True]
    assert [(b.first_orbit, b.last_orbit) for b in blocks] == [(7, 9), (11, 12)]
    assert blocks[0].bx.tolist() == [1, 3564, 7]
    assert blocks[0].crossing == {}
    one, _ = read([write(tmp_path / "a.parquet", columns)], orbits_per_block=1)
    assert [(b.first_orbit, b.last_orbit) for b in one] == [(7, 8), (8, 9), (11, 12)]


def test_muons_are_put_in_order_of_link_and_slot(tmp_path: Path) -> None:
    rows = [(2, 60, 1), (2, 36, 2), (2, 36, 0), (4, 71, 0)]
    blocks, _ = read([write(tmp_path / "a.parquet", muons(rows))])
    table = blocks[0].tables["tfmu"]
    assert table["link"].tolist() == [36, 36, 60, 71]
    assert table["slot"].tolist() == [0, 2, 1, 0]
    assert table["hw_pt"].tolist() == [12, 11, 10, 13]


def test_sums_stand_beside_the_muons(tmp_path: Path) -> None:
    first = write(tmp_path / "a.parquet", muons([(1, 36, 0), (4, 36, 0)]))
    sums = {"bx": [0, 1, 1, 5], "ieta": [27, 3, 2, 0], "iphi": [0, 0, 35, 1], "et": [31, 1, 2, 3]}
    second = write(tmp_path / "b.parquet", sums)
    source = open_source([second, first])
    assert isinstance(source, LinksSource)
    blocks, run = read([second, first])
    assert blocks[0].crossing["event"].tolist() == [0, 1, 2, 3, 4, 5]
    assert blocks[0].tables["calosum"].counts().tolist() == [1, 2, 0, 0, 0, 1]
    assert blocks[0].tables["tfmu"].counts().tolist() == [0, 1, 0, 0, 1, 0]
    assert blocks[0].tables["calosum"]["ieta"].tolist() == [27, 2, 3, 0]
    assert run.ledger["packets"].out == 6
    with pytest.raises(BadInput, match="1 tables of links and 2 tables of calorimeter sums"):
        LinksSource([first, second, second])
    with pytest.raises(BadInput, match="0 tables of links"):
        LinksSource([second])


def test_missing_columns_are_named_with_near_ones(tmp_path: Path) -> None:
    columns = muons([(1, 36, 0)])
    columns["HwPt"] = columns.pop("hw_pt")
    del columns["stat2"]
    path = write(tmp_path / "a.parquet", columns)
    with pytest.raises(BadInput, match=r"columns missing: hw_pt \(near: HwPt.*stat2") as caught:
        open_source([path])
    assert path in str(caught.value)
    columns = muons([(1, 36, 0)], me1_seg=[0])
    with pytest.raises(BadInput, match=r"columns missing: me1_ch"):
        LinksSource([write(tmp_path / "a.parquet", columns)])


def test_endcap_addresses_and_extra_columns(tmp_path: Path) -> None:
    columns = muons([(1, 36, 0)], exp_rank=[3], **{name: [1] for name in EMTF_ADDRESS})
    blocks, _ = read([write(tmp_path / "a.parquet", columns)])
    assert list(blocks[0].tables["tfmu"].columns) == [*TFMU, *EMTF_ADDRESS]


def test_a_bad_value_costs_its_crossing_and_is_named(tmp_path: Path) -> None:
    rows = [(1, 36, 0), (2, 36, 0), (2, 36, 1), (3, 36, 0)]
    columns = muons(rows, hw_eta=np.array([0, 255, 256, -256]))
    path = write(tmp_path / "a.parquet", columns)
    blocks, run = read([path])
    assert blocks[0].crossing["event"].tolist() == [1, 3]
    assert blocks[0].tables["tfmu"]["hw_eta"].tolist() == [0, -256]
    account = run.ledger["packets"]
    assert (account.received, account.out) == (4, 2)
    assert dict(account.bad) == {"value outside its range": 1, "crossing with a bad row": 1}
    [reason] = run.quarantine.reasons
    assert reason == (
        f"file {path}, bx 2, field hw_eta: row 2: value outside its range (256, expected -256..255)"
    )


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"link": [35, 36]}, r"field link: row 0: .*\(35, expected 36\.\.71\)"),
        ({"slot": [0, 3]}, r"field slot: row 1"),
        ({"bx": [-1, 2]}, r"field bx: row 0"),
        ({"bx": [2, 1]}, "row 1: crossing going backwards"),
        ({"bx": [1, 3564 << 32]}, r"field bx: row 1"),
        ({"bx": [0, 2], "orbit": [1, 1]}, r"field bx: row 0: .*\(0, expected 1\.\.3564\)"),
        ({"bx": [1, 1], "orbit": [1, 1 << 32]}, r"field orbit: row 1"),
        ({"bx": [1, 1]}, "bx 1: place used twice in a crossing: link 36, slot 0"),
        ({"hw_qual": [16, 1]}, "field hw_qual: row 0"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, change: Columns, text: str) -> None:
    columns = muons([(1, 36, 0), (2, 36, 0), (9, 40, 0)])
    for name, values in change.items():
        columns[name] = np.array([*values, values[1] if name == "orbit" else columns[name][2]])
    if "orbit" in change:
        columns["orbit"][2] = 5
    run = Run(quarantine=Quarantine())
    blocks = list(LinksSource([write(tmp_path / "a.parquet", columns)]).blocks(run))
    run.ledger.check()
    assert sum(len(b.tables["tfmu"]) for b in blocks) == run.ledger["packets"].out > 0
    assert len(run.quarantine.reasons) == 1
    assert re.search(text, run.quarantine.reasons[0]), run.quarantine.reasons


def test_null_muons_may_hold_anything(tmp_path: Path) -> None:
    columns = muons([(1, 36, 0), (1, 36, 1)], hw_pt=[0, 4], hw_eta=[999, 5])
    blocks, run = read([write(tmp_path / "a.parquet", columns)])
    assert blocks[0].tables["tfmu"]["hw_eta"].tolist() == [0, 5]
    assert not run.ledger["packets"].bad


def test_nothing_usable_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", muons([(1, 36, 0)], hw_qual=[99]))
    with pytest.raises(BadInput, match=r"no usable row.*field hw_qual"):
        read([path])
    path = write(tmp_path / "a.parquet", muons([]))
    with pytest.raises(BadInput, match="no rows"):
        read([path])


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (pa.array([1.5]), "field hw_pt: not integers"),
        (pa.array([None], pa.int16()), "field hw_pt: 1 nulls"),
        (pa.array(["3"]), "field hw_pt: type string, integers expected"),
        (pa.array([1 << 63], pa.uint64()), "field hw_pt: not integers"),
    ],
)
def test_columns_that_are_no_integers(tmp_path: Path, values: pa.Array, text: str) -> None:
    path = write(tmp_path / "a.parquet", muons([(1, 36, 0)], hw_pt=values))
    with pytest.raises(BadInput, match=text):
        read([path])


@pytest.mark.parametrize("form", ["file", "stream", "feather"])
def test_arrow_and_feather(tmp_path: Path, form: str) -> None:
    table = pa.table(muons([(1, 36, 0), (2, 37, 1)], hw_sign=[True, False], hw_qual=[4.0, 5.0]))
    path = tmp_path / "t.any"
    if form == "feather":
        feather.write_feather(table, path)
    else:
        make = ipc.new_file if form == "file" else ipc.new_stream
        with path.open("wb") as stream, make(stream, table.schema) as writer:
            writer.write_table(table)
    source = open_source([str(path)])
    assert isinstance(source, LinksSource)
    [block] = source.blocks(Run())
    assert block.tables["tfmu"]["hw_sign"].tolist() == [1, 0]
    assert block.tables["tfmu"]["hw_qual"].tolist() == [4, 5]


def test_crossings_over_the_ends_of_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scout40.streams.sources.links_rows.ROWS", 3)
    rng = np.random.default_rng(1)
    rows = [
        (bx, 36 + int(place) // 3, int(place) % 3)
        for bx in range(20)
        for place in np.sort(rng.choice(108, int(rng.integers(0, 12)), replace=False))
    ]
    places = [(bx, int(p)) for bx in range(20) for p in np.sort(rng.choice(1008, 5, replace=False))]
    sums = {
        "bx": [bx for bx, _ in places],
        "ieta": [p // 36 for _, p in places],
        "iphi": [p % 36 for _, p in places],
        "et": [p % 31 + 1 for _, p in places],
    }
    paths = [write(tmp_path / "a.parquet", muons(rows, hw_pt=np.arange(len(rows)) % 500 + 1))]
    paths.append(write(tmp_path / "b.parquet", sums))
    blocks, _ = read(paths, rows_per_block=7)
    found = [
        (int(event), int(link), int(slot))
        for block in blocks
        for event, link, slot in zip(
            np.repeat(block.crossing["event"], block.tables["tfmu"].counts()),
            block.tables["tfmu"]["link"],
            block.tables["tfmu"]["slot"],
            strict=True,
        )
    ]
    assert found == rows
    energies = np.concatenate([block.tables["calosum"]["et"] for block in blocks])
    assert energies.tolist() == sums["et"]
    assert np.concatenate([b.crossing["event"] for b in blocks]).tolist() == list(range(20))


def test_a_second_file_of_orbits_goes_on(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / f"{k}.parquet", muons([(1, 36, 0), (2, 36, 0)], orbit=orbits))
        for k, orbits in enumerate(([3, 4], [4, 6]))
    ]
    blocks, run = read(paths)
    assert [(b.first_orbit, b.last_orbit) for b in blocks] == [(3, 5), (6, 7)]
    assert dict(run.ledger["packets"].bad) == {"crossing going backwards": 1}
    with pytest.raises(BadInput, match=r"has a column orbit, .* has none"):
        LinksSource([paths[0], write(tmp_path / "c.parquet", muons([(1, 36, 0)]))])


def test_a_cut_file_costs_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "a.arrow"
    table = pa.table(muons([(bx, 36, 0) for bx in range(100)]))
    with path.open("wb") as stream, ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table, max_chunksize=10)
    path.write_bytes(path.read_bytes()[: -path.stat().st_size // 2])
    blocks, run = read([str(path)])
    account = run.ledger["packets"]
    assert 0 < sum(map(len, blocks)) == account.out < 100
    assert account.bad["rows not readable"] == 1


@pytest.mark.parametrize("name", ["realistic", "dense", "iso", "legacy_cancel"])
def test_reference_tables_come_out_as_they_are(reference: Path, name: str) -> None:
    folder = reference / "cmssw"
    paths = [str(folder / f"ugmt_{name}_inputs.parquet")]
    if name == "iso":
        paths.append(str(folder / "ugmt_iso_calosums.parquet"))
    assert isinstance(open_source(paths), LinksSource)
    blocks, run = read(paths, rows_per_block=777)
    assert not run.ledger["packets"].bad
    table = pq.read_table(paths[0])
    for column in blocks[0].tables["tfmu"].columns:
        found = np.concatenate([block.tables["tfmu"][column] for block in blocks])
        np.testing.assert_array_equal(found, table[column].to_numpy(), err_msg=column)
    assert ("me1_ch" in blocks[0].tables["tfmu"].columns) == (name == "legacy_cancel")
    event = np.concatenate(
        [np.repeat(b.crossing["event"], b.tables["tfmu"].counts()) for b in blocks]
    )
    np.testing.assert_array_equal(event, table["bx"].to_numpy())


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("pieces", [1 << 16, 7])
def test_order_in_the_file_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, timed: bool, pieces: int
) -> None:
    """Rows in order, which are taken as they are, and the same ones that have to be sorted."""
    monkeypatch.setattr("scout40.streams.sources.links_rows.ROWS", pieces)
    rows = [(bx, link, slot) for bx in (1, 2, 5, 9) for link in (36, 50, 71) for slot in (0, 2)]
    mixed = [row for bx in (1, 2, 5, 9) for row in reversed([r for r in rows if r[0] == bx])]
    found = []
    for name, order in (("rising", rows), ("mixed", mixed)):
        pt = [1 + rows.index(row) for row in order]
        columns = muons(order, hw_pt=pt, **({"orbit": [7] * len(rows)} if timed else {}))
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
        found.append(read([str(tmp_path / f"{name}.parquet")]))
    for blocks, run in found:
        assert run.ledger.balanced
        table = concatenate(blocks).tables["tfmu"]
        assert table["hw_pt"].tolist() == list(range(1, 1 + len(rows)))
        assert table.offsets.dtype == np.int32
        filled = table.counts()[table.counts() > 0]
        assert filled.tolist() == [6, 6, 6, 6]
