"""Rows of plain Parquet, Arrow IPC and Feather tables as integers, checked, in rising crossings.

Shared by the sources ``links`` and ``towers``: their tables have a column that numbers crossings
(or events) and one row an object. A table is read in pieces, so memory does not grow with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq

from scout40.streams.arrow import FORM
from scout40.streams.block import ORBIT_BX
from scout40.streams.errors import BadInput
from scout40.streams.sources.arrow import (
    FILE_MAGIC,
    MAX_GROUP_BYTES,
    MAX_METADATA,
    PARQUET_MAGIC,
    STREAM_MAGIC,
)
from scout40.streams.sources.base import Run
from scout40.streams.sources.root_layout import missing_text

Array = npt.NDArray[Any]
Codes = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

ROWS = 1 << 16
"""Rows read at a time."""

MAX_NUMBER = ORBIT_BX << 32
"""Crossings that 32-bit orbit numbers can count."""

BACKWARDS = "crossing going backwards"
OUTSIDE = "value outside its range"
TOO_MANY = "more rows in a crossing than the hardware has places"


@dataclass(frozen=True)
class Field:
    """One column of a table.

    sources: names that the input may give it, the first is the usual one. holes: values between
    low and high that do not exist.
    """

    name: str
    sources: tuple[str, ...]
    dtype: np.dtype[Any]
    low: int
    high: int
    holes: tuple[int, ...] = ()

    def bad(self, values: Codes) -> Mask | None:
        """Which values are none of this field; None when all are good, as is usual."""
        inside = not len(values) or self.low <= values.min() <= values.max() <= self.high
        if inside and not self.holes:
            return None
        wrong: Mask = (values < self.low) | (values > self.high)
        for hole in self.holes:
            wrong |= values == hole
        return wrong

    @property
    def expected(self) -> str:
        holes = f" without {', '.join(map(str, self.holes))}" if self.holes else ""
        return f"expected {self.low}..{self.high}{holes}"


@dataclass(frozen=True)
class Kind:
    """A sort of table.

    title: what messages call such tables.
    name: table of the block, "" when the rows only say which crossings there are.
    fields: columns that it must have. more: columns that it may have, all of them or none.
    place: of the fields, those that differ between rows of one crossing; most: rows that one
    crossing can have. null: field whose 0 means that the other ones say nothing.
    numbers: names of the column that numbers crossings; ``orbit`` may stand beside ``bx``.
    """

    title: str
    name: str
    fields: tuple[Field, ...]
    place: tuple[str, ...]
    most: int
    numbers: tuple[str, ...]
    more: tuple[Field, ...] = ()
    null: str | None = None


@dataclass(frozen=True)
class Piece:
    """Consecutive rows: number of their crossing (rising), their columns, and which are bad."""

    number: Codes
    columns: Mapping[str, Array]
    bad: Mask

    def __len__(self) -> int:
        return len(self.number)

    def part(self, start: int, stop: int) -> Piece:
        columns = {name: values[start:stop] for name, values in self.columns.items()}
        return Piece(self.number[start:stop], columns, self.bad[start:stop])

    def where(self, chosen: Codes) -> Piece:
        """The rows of these indices."""
        columns = {name: values[chosen] for name, values in self.columns.items()}
        return Piece(self.number[chosen], columns, self.bad[chosen])

    def joined(self, other: Piece) -> Piece:
        if not len(self):
            return other
        columns = {n: np.concatenate([v, other.columns[n]]) for n, v in self.columns.items()}
        number = np.concatenate([self.number, other.number])
        return Piece(number, columns, np.concatenate([self.bad, other.bad]))


def schema_of(path: str) -> pa.Schema | None:
    """Schema of a table that another program wrote; None when it is no such thing."""
    try:
        with _errors(path), Path(path).open("rb") as stream:
            head = stream.read(8)
        if not head.startswith((PARQUET_MAGIC, FILE_MAGIC, STREAM_MAGIC)):
            return None
        schema = _schema(path)
    except BadInput:
        return None
    return None if FORM in (schema.metadata or {}) else schema


class Reader:
    """One file of one kind. Raises BadInput when columns are missing."""

    def __init__(self, path: str, kind: Kind) -> None:
        self.path, self.kind = path, kind
        schema = _schema(path)
        names = schema.names
        number = next((name for name in kind.numbers if name in names), None)
        wanted = {f.name: next((s for s in f.sources if s in names), None) for f in kind.fields}
        missing = [f.sources[0] for f in kind.fields if wanted[f.name] is None]
        if number is None:
            missing.insert(0, " or ".join(kind.numbers))
        self.fields = kind.fields
        if any(f.sources[0] in names for f in kind.more):
            self.fields += kind.more
            wanted |= {f.name: f.sources[0] for f in kind.more}
            missing += [f.sources[0] for f in kind.more if f.sources[0] not in names]
        if missing:
            raise BadInput(f"columns missing: {missing_text(missing, names)}", file=path)
        self.number = str(number)
        self.timed = number == "bx" and "orbit" in names
        """Rows have orbit and bx; else a number that counts from 0."""
        self._columns = {name: str(source) for name, source in wanted.items()}
        self.rows = _row_count(path)
        self.begin(0)

    def begin(self, number: int) -> None:
        """Start before the first row; rows of crossings before ``number`` go backwards."""
        self._last, self._repeats, self._first_row = number, 0, 0

    def nothing(self) -> Piece:
        """A piece without rows."""
        columns = {field.name: np.zeros(0, field.dtype) for field in self.fields}
        return Piece(np.zeros(0, np.int64), columns, np.zeros(0, np.bool_))

    def pieces(self, run: Run) -> Iterator[Piece]:
        """The rows, those that cannot be placed left out and counted; BadInput when unreadable."""
        names = [self.number, *self._columns.values(), *(["orbit"] if self.timed else [])]
        for batch in _batches(self.path, list(dict.fromkeys(names))):
            for start in range(0, batch.num_rows, ROWS):
                part = batch.slice(start, ROWS)
                with _errors(self.path):
                    found = {n: _integers(part.column(n), n) for n in part.schema.names}
                run.ledger["packets"].received += part.num_rows
                yield self._checked(found, run)
                self._first_row += part.num_rows

    def _checked(self, found: Mapping[str, Codes], run: Run) -> Piece:
        number, placed = self._numbers(found, run)
        values = {f.name: found[self._columns[f.name]] for f in self.fields}
        bad = np.zeros(len(number), np.bool_)
        empty = np.zeros(len(number), np.bool_)
        if self.kind.null is not None:
            empty = values[self.kind.null] == 0
        for field in self.fields:
            wrong = field.bad(values[field.name])
            if wrong is None:
                continue
            if field.name not in self.kind.place:
                values[field.name] = np.where(empty & wrong, 0, values[field.name])
                wrong &= ~empty
            wrong &= placed & ~bad
            self._report(OUTSIDE, wrong, found, run, field, values[field.name])
            bad |= wrong
        # A bad row is never emitted; 0 fits the type of the column.
        spoiled, whole = bool(bad.any()), bool(placed.all())
        columns = {}
        for field in self.fields:
            kept = values[field.name] if whole else values[field.name][placed]
            kept = np.where(bad[placed], 0, kept) if spoiled else kept
            columns[field.name] = kept.astype(field.dtype)
        return Piece(number[placed], columns, bad[placed])

    def _numbers(self, found: Mapping[str, Codes], run: Run) -> tuple[Codes, Mask]:
        """Number of the crossing of every row, and which rows can be placed."""
        number = found[self.number]
        low, high = (1, ORBIT_BX) if self.timed else (0, MAX_NUMBER - 1)
        wrong = (number < low) | (number > high)
        field = Field(self.number, (self.number,), np.dtype(np.int64), low, high)
        self._report(OUTSIDE, wrong, found, run, field, number)
        if self.timed:
            orbit = found["orbit"]
            field = Field("orbit", ("orbit",), np.dtype(np.uint32), 0, (1 << 32) - 1)
            beyond = field.bad(orbit)
            far = np.zeros_like(wrong) if beyond is None else beyond & ~wrong
            self._report(OUTSIDE, far, found, run, field, orbit)
            wrong |= far
            number = np.where(wrong, 0, orbit) * ORBIT_BX + number - 1
        number = np.where(wrong, -1, number)
        highest = np.maximum.accumulate(np.concatenate([[self._last], number]))
        stale = (number < highest[:-1]) & ~wrong
        self._report(BACKWARDS, stale, found, run)
        placed = ~(wrong | stale)
        rank = self._ranks(number[placed])
        surplus = np.zeros(len(number), np.bool_)
        surplus[placed] = rank >= self.kind.most
        self._report(TOO_MANY, surplus, found, run)
        if placed.any():
            self._last = int(highest[-1])
        return number, placed & ~surplus

    def _ranks(self, number: Codes) -> Codes:
        """Place of every row among those of its crossing, over the ends of pieces."""
        if not len(number):
            return number
        first = np.flatnonzero(np.diff(number, prepend=number[0] - 1) != 0)
        rank = np.arange(len(number)) - np.repeat(first, np.diff(first, append=len(number)))
        if int(number[0]) == self._last:
            rank[number == number[0]] += self._repeats
        self._repeats = int(rank[-1]) + 1
        return rank

    def _report(
        self,
        reason: str,
        wrong: Mask,
        found: Mapping[str, Codes],
        run: Run,
        field: Field | None = None,
        values: Codes | None = None,
    ) -> None:
        """Counts bad rows under one reason; the first one is described."""
        rows = np.flatnonzero(wrong)
        if not len(rows):
            return
        at = int(rows[0])
        text = f"row {self._first_row + at}: {reason}"
        if field is not None and values is not None:
            text += f" ({int(values[at])}, {field.expected})"
        if len(rows) > 1:
            text += f", and {len(rows) - 1} more rows"
        orbit = int(found["orbit"][at]) if self.timed else None
        name = self._columns.get(field.name, field.name) if field is not None else None
        where: dict[str, Any] = {"orbit": orbit, "bx": int(found[self.number][at]), "field": name}
        run.ledger["packets"].bad[reason] += len(rows)
        run.quarantine.put(BadInput(text, file=self.path, **where), b"")


def place_of(kind: Kind, piece: Piece) -> Codes:
    """One integer a row that differs between the places of a crossing."""
    by_name = {field.name: field for field in kind.fields}
    code = np.zeros(len(piece), np.int64)
    for name in kind.place:
        field = by_name[name]
        code = code * (field.high - field.low + 1) + piece.columns[name] - field.low
    return code


# -- files ---------------------------------------------------------------------------------------


@contextmanager
def _errors(path: str) -> Iterator[None]:
    """Every way in which reading fails, as BadInput that names the file."""
    try:
        yield
    except BadInput as error:
        if str(error).startswith("file "):
            raise
        raise BadInput(str(error), file=path) from None
    except (pa.ArrowException, OSError, MemoryError, ValueError, KeyError, IndexError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInput(f"cannot be read: {text}", file=path) from None


def _parquet(path: str) -> pq.ParquetFile:
    return pq.ParquetFile(
        path,
        thrift_string_size_limit=MAX_METADATA,
        thrift_container_size_limit=MAX_METADATA >> 4,
        page_checksum_verification=True,
    )


def _is_parquet(path: str) -> bool:
    with Path(path).open("rb") as stream:
        return stream.read(4) == PARQUET_MAGIC


@contextmanager
def _ipc(path: str) -> Iterator[ipc.RecordBatchFileReader | ipc.RecordBatchStreamReader]:
    with pa.memory_map(path) as memory:
        file = memory.read(len(FILE_MAGIC)) == FILE_MAGIC
        memory.seek(0)
        with (ipc.open_file if file else ipc.open_stream)(memory) as reader:
            yield reader


def _schema(path: str) -> pa.Schema:
    with _errors(path):
        if _is_parquet(path):
            with _parquet(path) as file:
                schema = file.schema_arrow
        else:
            with _ipc(path) as reader:
                schema = reader.schema
        if len(set(schema.names)) != len(schema.names):  # names that are no text fail here too
            raise BadInput("two columns have the same name")
        return schema


def _row_count(path: str) -> int | None:
    """Rows of a Parquet file; of Arrow IPC it is not written down."""
    with _errors(path):
        if not _is_parquet(path):
            return None
        with _parquet(path) as file:
            for index in range(file.metadata.num_row_groups):
                size = file.metadata.row_group(index).total_byte_size
                if not 0 <= size <= MAX_GROUP_BYTES:
                    raise BadInput(f"row group {index} claims {size} bytes")
            return int(file.metadata.num_rows)


def _batches(path: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Validated batches of the columns; what the consumer raises is not touched."""
    with _errors(path):
        source = _parquet_batches(path, columns) if _is_parquet(path) else _ipc_batches(path)
    while True:
        with _errors(path):
            batch = next(source, None)
            if batch is None:
                return
            batch = batch.select(list(columns))
            batch.validate(full=True)
        yield batch


def _parquet_batches(path: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with _parquet(path) as file:
        yield from file.iter_batches(batch_size=ROWS, columns=list(columns))


def _ipc_batches(path: str) -> Iterator[pa.RecordBatch]:
    with _ipc(path) as reader:
        if isinstance(reader, ipc.RecordBatchFileReader):
            yield from (reader.get_batch(k) for k in range(reader.num_record_batches))
        else:
            yield from reader


def _integers(column: pa.Array, name: str) -> Codes:
    """int64 values of a column of integers, truth values or whole numbers."""
    kind = column.type
    number = pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_floating(kind)
    if not number:
        raise BadInput(f"type {kind}, integers expected", field=name)
    if column.null_count:
        raise BadInput(f"{column.null_count} nulls", field=name)
    if pa.types.is_float16(kind):
        raise BadInput("type float16, integers expected", field=name)
    try:
        return np.asarray(column.cast(pa.int64()).to_numpy(zero_copy_only=False), np.int64)
    except pa.ArrowException as error:
        raise BadInput(f"not integers: {error}", field=name) from None
