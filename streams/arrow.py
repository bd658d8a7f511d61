"""Blocks as Arrow record batches, and back, without copying the columns.

Nested form: one row per crossing; ``orbit``, ``bx``, the per-crossing columns, then one
``list<struct>`` column per object table, whose offsets and child arrays are the block's own
buffers. Columns of several words (``ext``, ``recorded``, decisions) are fixed-size lists.

Flat form: ``events`` with one row per crossing and the object counts ``n_<table>``, and one
batch per table with ``orbit`` and ``bx`` before its columns.

Field metadata carries description, bits, position, lsb and unit of the declared words; schema
metadata carries the lineage and what a Block is besides its columns.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from scout40.streams.block import Block, Origin, Table, offsets_of
from scout40.streams.errors import BadInput
from scout40.streams.layout import Bits, Word
from scout40.streams.lineage import Lineage, table_words

Array = npt.NDArray[Any]

FORM = b"scout40.form"
"""Schema metadata key: "nested 1", "events 1" or "objects 1"."""
BLOCK = b"scout40.block"
"""Schema metadata key: JSON of what holds for all rows (contiguous, names, tables)."""
SPAN = b"scout40.span"
"""Schema metadata key of a single batch: JSON of its orbit range and origin."""
LINEAGE = b"scout40.lineage"
ROLE = b"role"
"""Field metadata key: crossing, table, result, physical or count; a reader needs no guess."""


@dataclass(frozen=True, slots=True)
class Span:
    """The orbit range and origin of one block: what is neither column nor schema."""

    first_orbit: int
    last_orbit: int
    source: str = ""
    sequence: int = 0

    @classmethod
    def of(cls, block: Block) -> Span:
        return cls(
            block.first_orbit, block.last_orbit, block.origin.source, int(block.origin.sequence)
        )


def to_batch(
    block: Block,
    results: Mapping[str, Array] | None = None,
    *,
    lineage: Lineage | None = None,
    physical: bool = False,
    span: bool = True,
) -> pa.RecordBatch:
    """The nested form of a block; no column is copied when its memory is contiguous.

    results:
        per-crossing columns (n,) or (n, w) that are no part of the block (decisions, ...).
    physical:
        float32 columns beside the hardware ones, for every field that has a scale; in the scales
        of scouting or of the global trigger, as the block says.
    span:
        keep orbit range and origin in the schema. A sink that writes many batches under one
        schema keeps them elsewhere.
    """
    names, arrays = _crossing_columns(block, results or {})
    for name, table in block.tables.items():
        declared = table_words(block.scouting).get(name, ())
        struct = _struct(name, table, declared, physical)
        item = pa.field("item", struct.type, nullable=False)
        offsets = pa.array(np.ascontiguousarray(table.offsets))
        arrays.append(pa.ListArray.from_arrays(offsets, struct, type=pa.list_(item)))
        names.append(pa.field(name, arrays[-1].type, False, {ROLE: b"table"}))
    metadata = schema_metadata(block, "nested 1", lineage)
    if span:
        metadata[SPAN] = json.dumps(vars_of(Span.of(block))).encode()
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(names, metadata))


def to_flat(
    block: Block,
    results: Mapping[str, Array] | None = None,
    *,
    lineage: Lineage | None = None,
    physical: bool = False,
) -> dict[str, pa.RecordBatch]:
    """The flat form: ``events`` and one batch per object table."""
    names, arrays = _crossing_columns(block, results or {})
    for name, table in block.tables.items():
        arrays.append(pa.array(table.counts()))
        facts = {ROLE: b"count", b"description": f"objects in table {name}".encode()}
        names.append(pa.field(f"n_{name}", pa.int32(), False, facts))
    events = pa.schema(names, schema_metadata(block, "events 1", lineage))
    batches = {"events": pa.RecordBatch.from_arrays(arrays, schema=events)}
    for name, table in block.tables.items():
        counts = table.counts()
        declared = table_words(block.scouting).get(name, ())
        struct = _struct(name, table, declared, physical)
        columns = [pa.array(np.repeat(c, counts)) for c in (block.orbit, block.bx)]
        fields = [_place_field("orbit"), _place_field("bx"), *struct.type.fields]
        schema = pa.schema(fields, schema_metadata(block, "objects 1", lineage))
        batches[name] = pa.RecordBatch.from_arrays([*columns, *struct.flatten()], schema=schema)
    return batches


def from_batch(batch: pa.RecordBatch, span: Span | None = None, results: bool = False) -> Block:
    """The block of a nested batch; its columns are views of the batch's buffers.

    span:
        orbit range and origin; from the schema when None, else from the rows.
    results:
        also take the columns that are no part of the block (decisions) into ``crossing``.

    Raises BadInput when the batch is not of the nested form or has nulls.
    """
    facts = block_facts(batch.schema, "nested 1")
    crossing, tables = {}, {}
    for field, column in zip(batch.schema, batch.columns, strict=True):
        role = (field.metadata or {}).get(ROLE, b"").decode()
        if role == "table":
            tables[field.name] = _table(field.name, column)
        elif role in {"crossing", "place"} or (results and role == "result"):
            crossing[field.name] = as_numpy(column, field.name)
    return _block(batch.schema, facts, crossing, tables, span)


def from_flat(
    batches: Mapping[str, pa.RecordBatch], span: Span | None = None, results: bool = False
) -> Block:
    """The block of a flat form; BadInput when rows and counts do not fit each other."""
    events = batches["events"]
    facts = block_facts(events.schema, "events 1")
    crossing, tables = {}, {}
    for field, column in zip(events.schema, events.columns, strict=True):
        role = (field.metadata or {}).get(ROLE, b"").decode()
        if role == "count":
            name = field.name.removeprefix("n_")
            if name not in batches:
                raise BadInput("table is missing", field=name)
            counts = as_numpy(column, field.name)
            if len(counts) and counts.min() < 0:
                raise BadInput("negative count of objects", field=field.name)
            columns = _hardware_columns(batches[name].schema, batches[name].columns)
            tables[name] = Table(columns, offsets_of(counts))
        elif role in {"crossing", "place"} or (results and role == "result"):
            crossing[field.name] = as_numpy(column, field.name)
    return _block(events.schema, facts, crossing, tables, span)


def block_facts(schema: pa.Schema, form: str) -> dict[str, Any]:
    """What holds for all blocks of a schema; BadInput saying what is missing."""
    metadata = schema.metadata or {}
    missing = [key.decode() for key in (FORM, BLOCK) if key not in metadata]
    if missing:
        raise BadInput(
            f"not written by scout40: no {' and no '.join(missing)} in the schema metadata"
        )
    if metadata[FORM].decode(errors="replace") != form:
        raise BadInput(f"form {metadata[FORM]!r}, expected {form!r}", field=FORM.decode())
    facts = json_object(metadata[BLOCK], BLOCK.decode())
    names = facts.get("recorded_names")
    flags = (facts.get("contiguous"), facts.get("scouting"))
    if not isinstance(names, list) or not all(isinstance(flag, bool) for flag in flags):
        raise BadInput(
            "the description of the blocks lacks recorded_names, contiguous or scouting: the file "
            "was written by another version of scout40, write it again with this one",
            field=BLOCK.decode(),
        )
    return facts


def json_object(text: bytes, name: str) -> dict[str, Any]:
    """A JSON object out of metadata; BadInput naming the key when it is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"malformed JSON: {error}", field=name) from None
    if not isinstance(value, dict):
        raise BadInput("malformed: a JSON object expected", field=name)
    return value


def schema_metadata(block: Block, form: str, lineage: Lineage | None) -> dict[bytes, bytes]:
    """Schema metadata that blocks of one run share."""
    facts = {
        "contiguous": block.contiguous,
        "recorded_names": list(block.recorded_names),
        "scouting": block.scouting,
        "tables": list(block.tables),
    }
    metadata = {FORM: form.encode(), BLOCK: json.dumps(facts).encode()}
    if lineage is not None:
        metadata[LINEAGE] = lineage.to_json().encode()
    return metadata


def as_numpy(column: pa.Array, name: str) -> Array:
    """NumPy view of a column: (n,), or (n, w) of fixed-size lists; BadInput on nulls."""
    kind = column.type
    if column.null_count:
        raise BadInput(f"{column.null_count} nulls", field=name)
    try:
        if pa.types.is_fixed_size_list(kind):
            if kind.list_size < 1:
                raise BadInput("lists of no elements", field=name)
            flat = as_numpy(column.flatten(), name)
            return flat.reshape(len(column), kind.list_size)
        return np.asarray(column.to_numpy(zero_copy_only=True))
    except (pa.ArrowException, ValueError, NotImplementedError, KeyError) as error:
        raise BadInput(f"type {kind} is no column of a block: {error}", field=name) from None


def vars_of(span: Span) -> dict[str, int | str]:
    """JSON values of a Span."""
    return {
        "first_orbit": int(span.first_orbit),
        "last_orbit": int(span.last_orbit),
        "source": span.source,
        "sequence": span.sequence,
    }


# -- Block to Arrow ------------------------------------------------------------------------------


def _place_field(name: str) -> pa.Field:
    kind, text = {
        "orbit": (pa.uint32(), "LHC orbit"),
        "bx": (pa.uint16(), "bunch crossing in the orbit, 1..3564"),
    }[name]
    return pa.field(name, kind, False, {ROLE: b"place", b"description": text.encode()})


def _crossing_columns(
    block: Block, results: Mapping[str, Array]
) -> tuple[list[pa.Field], list[pa.Array]]:
    fields = [_place_field("orbit"), _place_field("bx")]
    arrays = [pa.array(np.ascontiguousarray(c)) for c in (block.orbit, block.bx)]
    taken = {"orbit", "bx", *block.tables}
    for role, columns in ((b"crossing", block.crossing), (b"result", results)):
        for name, values in columns.items():
            if name in taken:
                raise BadInput("two columns have this name", field=name)
            if len(values) != len(block):
                raise BadInput(f"{len(values)} rows, expected {len(block)}", field=name)
            taken.add(name)
            array = _array(values, name)
            arrays.append(array)
            fields.append(pa.field(name, array.type, False, {ROLE: role}))
    return fields, arrays


def _array(values: Array, name: str) -> pa.Array:
    if values.ndim == 1:
        return pa.array(np.ascontiguousarray(values))
    if values.ndim != 2 or not values.shape[1]:
        raise BadInput(f"shape {values.shape}, expected (n,) or (n, w)", field=name)
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    item = pa.field("item", flat.type, nullable=False)
    return pa.FixedSizeListArray.from_arrays(flat, type=pa.list_(item, values.shape[1]))


def _struct(
    name: str, table: Table, declared: tuple[type[Word], ...], physical: bool
) -> pa.StructArray:
    """The columns of a table as one struct array, physical columns after hardware ones."""
    if not table.columns:
        raise BadInput("a table needs at least one column", field=name)
    known: dict[str, Bits] = {}
    for word in reversed(declared):
        known |= word.fields
    fields, arrays = [], []
    for column, values in table.columns.items():
        facts = known[column].metadata() if column in known else {}
        arrays.append(_array(values, f"{name}.{column}"))
        fields.append(pa.field(column, arrays[-1].type, False, facts))
    if physical:
        for column, values in _physical(table, declared).items():
            bits = known[f"hw_{column}"] if f"hw_{column}" in known else known[column]
            unit = bits.scale.unit if bits.scale else ""
            facts = {ROLE.decode(): "physical", "unit": unit, "description": bits.doc}
            arrays.append(pa.array(values))
            fields.append(pa.field(column, pa.float32(), False, facts))
    return pa.StructArray.from_arrays(arrays, fields=fields)


def _physical(table: Table, declared: tuple[type[Word], ...]) -> dict[str, Array]:
    """float32 columns of every declared field with a scale, but for names the table has."""
    found: dict[str, Array] = {}
    for word in declared:
        for name, values in word.physical(table.columns).items():
            if name not in table.columns:
                found.setdefault(name, values)
    return found


# -- Arrow to Block ------------------------------------------------------------------------------


def _block(
    schema: pa.Schema,
    facts: dict[str, Any],
    crossing: dict[str, Array],
    tables: dict[str, Table],
    span: Span | None,
) -> Block:
    try:
        orbit, bx = crossing.pop("orbit"), crossing.pop("bx")
    except KeyError as error:
        raise BadInput(f"no column {error}") from None
    if orbit.dtype != np.uint32 or bx.dtype != np.uint16 or orbit.ndim != 1 or bx.ndim != 1:
        raise BadInput(f"orbit is {orbit.dtype}, bx {bx.dtype}; expected uint32 and uint16")
    if span is None:
        span = _span_of_schema(schema, orbit)
    return Block(
        first_orbit=span.first_orbit,
        last_orbit=span.last_orbit,
        orbit=orbit,
        bx=bx,
        tables=tables,
        crossing=crossing,
        recorded_names=tuple(str(name) for name in facts["recorded_names"]),
        contiguous=facts["contiguous"],
        scouting=facts["scouting"],
        origin=Origin(span.source, span.sequence),
    ).check()


def _span_of_schema(schema: pa.Schema, orbit: Array) -> Span:
    if SPAN not in schema.metadata:
        return Span(int(orbit.min()), int(orbit.max()) + 1) if len(orbit) else Span(0, 0)
    facts = json_object(schema.metadata[SPAN], SPAN.decode())
    try:
        first, last = int(facts["first_orbit"]), int(facts["last_orbit"])
        return Span(first, last, str(facts["source"]), int(facts["sequence"]))
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"malformed orbit range: {error}", field=SPAN.decode()) from None


def _table(name: str, column: pa.Array) -> Table:
    """A table out of list<struct>; the columns are views, of a slice too."""
    if not pa.types.is_list(column.type) or not pa.types.is_struct(column.type.value_type):
        raise BadInput(f"type {column.type}, expected a list of structs", field=name)
    if column.null_count:
        raise BadInput(f"{column.null_count} nulls", field=name)
    if not len(column):
        values, offsets = column.values[:0], np.zeros(1, np.int32)
    else:
        offsets = as_numpy(column.offsets, name)
        low, high = int(offsets[0]), int(offsets[-1])
        if not 0 <= low <= high <= len(column.values):
            raise BadInput(f"offsets {low}..{high} of {len(column.values)} objects", field=name)
        values = column.values[low:high]
        offsets = offsets - np.int32(low) if low else offsets
    if values.null_count:
        raise BadInput(f"{values.null_count} nulls", field=name)
    children = [values.field(i) for i in range(column.type.value_type.num_fields)]
    return Table(_hardware_columns(column.type.value_type.fields, children), offsets)


def _hardware_columns(fields: Any, columns: list[pa.Array]) -> dict[str, Array]:
    pairs: Iterator[tuple[pa.Field, pa.Array]] = zip(fields, columns, strict=True)
    return {
        field.name: as_numpy(column, field.name)
        for field, column in pairs
        if (field.metadata or {}).get(ROLE) not in {b"physical", b"place"}
    }
