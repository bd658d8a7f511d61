"""Block <-> Arrow: the same buffers, the same values, the declared metadata; and the lineage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scout40.streams.arrow import Span, from_batch, from_flat, to_batch, to_flat
from scout40.streams.block import Block, Origin, Table, offsets_of
from scout40.streams.errors import BadInput
from scout40.streams.formats.track_finder import EMTF_ADDRESS, TFMU, TFMU_DTYPES
from scout40.streams.formats.ugt import UgtMuon
from scout40.streams.lineage import (
    declared_words,
    layout_version,
    lineage_of,
    package_version,
    source_identity,
)


def make(counts: list[int], orbit: int = 5) -> Block:
    """A block with muons per crossing as given, no jets, and word columns."""
    n = len(counts)
    offsets = offsets_of(np.array(counts, np.int64))
    total = int(offsets[-1])
    muons: dict[str, Any] = {
        "hw_pt": np.arange(total, dtype=np.uint16) % 512,
        "hw_eta_at_vtx": (np.arange(total) % 400 - 200).astype(np.int16),
        "charge_code": np.ones(total, np.uint8),
    }
    jets = {"hw_et": np.zeros(0, np.uint16)}
    return Block(
        first_orbit=orbit,
        last_orbit=orbit + 9,
        orbit=np.full(n, orbit, np.uint32),
        bx=np.arange(1, n + 1, dtype=np.uint16),
        tables={"mu": Table(muons, offsets), "jet": Table(jets, np.zeros(n + 1, np.int32))},
        crossing={
            "ext": np.arange(4 * n, dtype=np.uint64).reshape(n, 4),
            "recorded_finor": np.ones(n, np.uint8),
        },
        recorded_names=("L1_A", "L1_B"),
        contiguous=True,
        origin=Origin("file.raw", 12),
    )


def equal(first: Block, second: Block) -> None:
    """Every attribute and every bit of two blocks."""
    for name in ("first_orbit", "last_orbit", "recorded_names", "contiguous", "scouting", "origin"):
        assert getattr(first, name) == getattr(second, name), name
    columns: list[tuple[str, Any, Any]] = [
        ("orbit", first.orbit, second.orbit),
        ("bx", first.bx, second.bx),
    ]
    assert list(first.crossing) == list(second.crossing)
    columns += [(n, first.crossing[n], second.crossing[n]) for n in first.crossing]
    assert list(first.tables) == list(second.tables)
    for name, table in first.tables.items():
        other = second.tables[name]
        columns.append((name, table.offsets, other.offsets))
        assert list(table.columns) == list(other.columns)
        columns += [(f"{name}.{c}", table[c], other[c]) for c in table.columns]
    for name, one, two in columns:
        assert one.dtype == two.dtype, name
        np.testing.assert_array_equal(one, two, err_msg=name)


@given(st.lists(st.integers(0, 8), max_size=50))
def test_round_trip(counts: list[int]) -> None:
    block = make(counts)
    equal(block, from_batch(to_batch(block)))
    equal(block, from_flat(to_flat(block), Span.of(block)))


def addresses(block: Block) -> dict[str, int]:
    """Where the data of every column lies."""
    found: dict[str, Any] = {"orbit": block.orbit, "bx": block.bx, **block.crossing}
    table = block.tables["mu"]
    found |= {"offsets": table.offsets, **{f"mu.{n}": c for n, c in table.columns.items()}}
    return {name: column.ctypes.data for name, column in found.items()}


def test_no_column_is_copied_in_either_direction() -> None:
    block = make([1, 0, 3])
    batch = to_batch(block)
    assert addresses(from_batch(batch)) == addresses(block)
    muons = batch.column("mu")
    assert muons.offsets.buffers()[1].address == block.tables["mu"].offsets.ctypes.data
    child = muons.values.field(0)
    assert child.buffers()[1].address == block.tables["mu"]["hw_pt"].ctypes.data


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20), st.data())
def test_a_slice_of_a_batch_is_that_part_of_the_block(
    counts: list[int], data: st.DataObject
) -> None:
    block = make(counts)
    start = data.draw(st.integers(0, len(counts)))
    length = data.draw(st.integers(0, len(counts) - start))
    part = from_batch(to_batch(block).slice(start, length), Span.of(block))
    equal(block.take(start, start + length), part)


def test_fields_carry_unit_lsb_bits_and_description() -> None:
    schema = to_batch(make([1]), physical=True).schema
    item = schema.field("mu").type.value_type
    pt = item.field("hw_pt")
    expected = {k.encode(): v.encode() for k, v in UgtMuon.fields["hw_pt"].metadata().items()}
    assert pt.metadata == expected
    assert pt.metadata[b"bits"] == b"9"
    assert pt.metadata[b"lsb"] == b"0.5"
    assert pt.metadata[b"lsb_unit"] == b"GeV"
    assert item.field("pt").metadata[b"unit"] == b"GeV"
    assert not item.field("charge_code").metadata
    assert not any(field.nullable for field in schema)


def test_track_finder_muons_carry_what_words_declare() -> None:
    """In a table azimuths and station addresses may need more bits than a link sends."""
    names = [*TFMU, *EMTF_ADDRESS]
    columns = {name: np.array([1], TFMU_DTYPES[name]) for name in names}
    columns["hw_phi"][0] = 200
    offsets = offsets_of(np.array([1], np.int64))
    muons = Table({"stream": np.array([1], np.uint8), "hw_pt": np.array([3], np.uint16)}, offsets)
    tables = {"tfmu": Table(columns, offsets), "mu_intermediate": muons}
    batch = to_batch(make([1]).replace(tables=tables), physical=True)
    item = batch.schema.field("tfmu").type.value_type
    facts = {name: item.field(name).metadata for name in names}
    assert all(facts[name][b"description"] for name in names)
    for name, bits in (TFMU | EMTF_ADDRESS).items():
        wide = b"10" if name == "hw_phi" else str(bits.width).encode()
        assert facts[name][b"bits"] == wide, name
    (row,) = batch.column("tfmu")[0].as_py()
    assert row["phi"] == pytest.approx(200 * 2 * np.pi / 576)
    assert row["pt_unconstrained"] == 0.0
    between = batch.schema.field("mu_intermediate").type.value_type
    assert between.field("hw_pt").metadata[b"lsb"] == b"0.5"
    assert not between.field("stream").metadata


def test_physical_columns_are_float32_and_do_not_come_back() -> None:
    block = make([2, 1])
    batch = to_batch(block, physical=True)
    values = batch.column("mu").values
    index = values.type.get_field_index("pt")
    assert values.field(index).type == pa.float32()
    # hw 0, 1, 2 mean -0.5 (no muon), 0 and 0.5 GeV: (hw - 1) * 0.5.
    assert values.field(index).to_pylist() == [-0.5, 0.0, 0.5]
    equal(block, from_batch(batch))


def test_scouting_blocks_have_the_scouting_azimuth() -> None:
    jets = Table({"hw_phi": np.array([10], np.uint8)}, np.array([0, 1], np.int32))
    block = make([0]).replace(tables={"jet": jets})
    ours = to_batch(block.replace(scouting=True), physical=True)
    assert from_batch(ours).scouting
    global_trigger = to_batch(block, physical=True)
    phi = [b.column("jet").values.field(1)[0].as_py() for b in (ours, global_trigger)]
    assert phi == pytest.approx([0.435, 10 * 2 * np.pi / 144], abs=1e-7)


def test_results_stand_beside_the_block_and_come_back_on_request() -> None:
    block = make([1, 2])
    words = np.array([[1, 2], [3, 4]], np.uint64)
    batch = to_batch(block, {"decision": words, "finor": np.array([0, 1], np.uint8)})
    equal(block, from_batch(batch))
    back = from_batch(batch, results=True)
    np.testing.assert_array_equal(back.crossing["decision"], words)
    with pytest.raises(BadInput, match=r"ext.*this name"):
        to_batch(block, {"ext": words})
    with pytest.raises(BadInput, match="3 rows, expected 2"):
        to_batch(block, {"decision": np.zeros(3)})


def test_flat_form_repeats_the_crossing_of_every_object() -> None:
    tables = to_flat(make([1, 0, 2]))
    assert tables["events"].column("n_mu").to_pylist() == [1, 0, 2]
    assert tables["mu"].column("bx").to_pylist() == [1, 3, 3]
    assert tables["mu"].column("orbit").to_pylist() == [5, 5, 5]
    assert tables["jet"].num_rows == 0


def test_strange_batches_are_refused_with_the_reason() -> None:
    with pytest.raises(BadInput, match=r"no scout40\.form and no scout40\.block"):
        from_batch(pa.RecordBatch.from_pydict({"orbit": [1]}))
    good = to_batch(make([1, 2]))
    orbit = pa.array([1, None], pa.uint32())
    with pytest.raises(BadInput, match=r"orbit.*1 nulls"):
        from_batch(_with(good, 0, orbit))
    with pytest.raises(BadInput, match="orbit is int8"):
        from_batch(_with(good, 0, pa.array([1, 2], pa.int8())))
    with pytest.raises(BadInput, match=r"ext.*no column of a block"):
        from_batch(_with(good, 2, pa.array(["a", "b"])))
    with pytest.raises(BadInput, match=r"mu.*list of structs"):
        from_batch(_with(good, good.schema.get_field_index("mu"), pa.array([1, 2])))


def _with(batch: pa.RecordBatch, index: int, column: pa.Array) -> pa.RecordBatch:
    """The batch with another column of another type in one place."""
    field = batch.schema.field(index)
    schema = batch.schema.set(index, pa.field(field.name, column.type, True, field.metadata))
    columns = [*batch.columns[:index], column, *batch.columns[index + 1 :]]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def test_counts_that_do_not_fit_the_objects_are_refused() -> None:
    tables = to_flat(make([1, 2]))
    tables["mu"] = tables["mu"].slice(1)
    with pytest.raises(BadInput, match=r"mu has 3 objects"):
        from_flat(tables)


# -- lineage -------------------------------------------------------------------------------------


def test_lineage_is_the_same_for_the_same_run_and_names_no_folder(tmp_path: Path) -> None:
    texts = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "run.raw"
        path.write_bytes(b"12345")
        texts.append(lineage_of([path], configuration={"x": 1}, menu="m" * 64).to_json())
    assert texts[0] == texts[1]
    assert str(tmp_path) not in texts[0]
    other = lineage_of([path], configuration={"x": 2}, menu="m" * 64).to_json()
    assert other != texts[0]


def test_identity_of_sources(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    assert source_identity(tmp_path / "f") == ("f", 3)
    assert source_identity(tmp_path) == (tmp_path.name, 3)
    assert source_identity("root://host//store/x.root") == ("x.root", -1)
    assert source_identity(tmp_path / "gone") == ("gone", -1)


def test_layout_version_covers_every_declared_word() -> None:
    names = {word.__name__ for word in declared_words()}
    assert {"UgtMuon", "UgtSums", "GmtMuon", "CaloTower", "BmtfStub", "PuppiCharged"} <= names
    assert len(layout_version()) == 16
    assert package_version() != "unknown"


def test_lineage_travels_in_the_schema() -> None:
    lineage = lineage_of([], menu="abc")
    batch = to_batch(make([1]), lineage=lineage)
    assert batch.schema.metadata[b"scout40.lineage"].decode() == lineage.to_json()
