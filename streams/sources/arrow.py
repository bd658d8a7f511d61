"""Blocks out of the Arrow and Parquet files that scout40 wrote itself.

A file counts only with its end marker: one that a killed run left, that was cut, or that another
program wrote is refused with the reason. Blocks come back as they were written, each with its
own orbit range and origin. IPC files are mapped: their columns are views of the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq

from scout40.streams.arrow import Span, as_numpy, block_facts, from_batch, from_flat
from scout40.streams.block import Block
from scout40.streams.errors import BadInput
from scout40.streams.sinks.arrow import SUFFIXES
from scout40.streams.sinks.base import END, LEFTOVER, Marker
from scout40.streams.sources.base import Run

PARQUET_MAGIC = b"PAR1"
FILE_MAGIC = b"ARROW1"
STREAM_MAGIC = b"\xff\xff\xff\xff"
MAX_GROUP_BYTES = 1 << 30
"""Most uncompressed bytes of one Parquet row group; ours have 64 MiB."""
MAX_METADATA = 1 << 28
"""Most bytes of one string of a Parquet footer, which holds the end marker."""


def recognise(head: bytes, path: str) -> bool:
    """True for Parquet, Arrow IPC, and a folder with ``events`` in one of these formats.

    A stream begins with a continuation marker and the length of the schema message, which is
    neither 0 nor longer than a few MB.
    """
    if not head and _events_file(Path(path)) is not None:
        return True
    length = int.from_bytes(head[4:8], "little")
    stream = head.startswith(STREAM_MAGIC) and 0 < length < 1 << 24
    return head.startswith((PARQUET_MAGIC, FILE_MAGIC)) or stream


class ArrowSource:
    """Blocks of files (nested form) or folders (one file per table) that ``ArrowSink`` wrote.

    results:
        also give the result columns (decisions) of the file, among the crossing columns.

    Raises BadInput when a file is not complete, not ours, or malformed.
    """

    def __init__(self, paths: Sequence[str], *, results: bool = False) -> None:
        self._results = results
        self._inputs = [_open(Path(path)) for path in paths]
        if not self._inputs:
            raise BadInput("no Arrow file given")
        states = [i.marker.status for i in self._inputs]
        notes = [", interrupted run" if s == "interrupted" else "" for s in states]
        names = [f"{path}{note}" for path, note in zip(paths, notes, strict=True)]
        self.name = f"scout40 Arrow: {', '.join(names)}"
        self.contiguous = all(i.contiguous for i in self._inputs)
        self.total: int | None = sum(i.marker.rows for i in self._inputs)

    @property
    def markers(self) -> list[Marker]:
        """The end marker of each input: its status and its ledger."""
        return [i.marker for i in self._inputs]

    def blocks(self, run: Run) -> Iterator[Block]:
        """Blocks as they were written; packets are crossings.

        The rest of a file behind an unreadable block is counted as bad. Raises BadInput when
        not one block could be read.
        """
        account = run.ledger["packets"]
        given = 0
        failure: BadInput | None = None
        for source in self._inputs:
            left = source.marker.rows
            account.received += left
            try:
                for block in source.blocks(self._results):
                    left -= len(block)
                    account.out += len(block)
                    given += 1
                    yield block
            except BadInput as error:
                failure = error
                account.bad["unreadable"] += left
                run.quarantine.put(error, b"")
        if failure is not None and not given:
            raise failure


class _Rows:
    """One file as a sequence of rows, in pieces of any length."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with _errors(path):
            with path.open("rb") as stream:
                head = stream.read(8)
            if head.startswith(PARQUET_MAGIC):
                self.schema, end = _open_parquet(path)
                self._pieces = _parquet_batches(path)
            elif head.startswith(FILE_MAGIC):
                self.schema, end = _open_file(path)
                self._pieces = _file_batches(path)
            elif head.startswith(STREAM_MAGIC):
                self.schema, end = _open_stream(path)
                self._pieces = _stream_batches(path)
            else:
                raise BadInput("neither Parquet nor Arrow IPC")
            if end is None:
                raise BadInput(
                    "not complete: it has no scout40 end marker, so the run that wrote it was "
                    "killed or another program wrote it; run again"
                )
            self.marker = Marker.from_json(end)
        self._waiting: list[pa.RecordBatch] = []

    def take(self, rows: int) -> pa.RecordBatch:
        """The next rows; without a copy when one batch has them all."""
        parts: list[pa.RecordBatch] = []
        with _errors(self.path):
            while rows:
                batch = self._waiting.pop() if self._waiting else next(self._pieces, None)
                if batch is None:
                    raise BadInput(f"ends {rows} rows before its end marker says")
                if batch.num_rows > rows:
                    self._waiting.append(batch.slice(rows))
                    batch = batch.slice(0, rows)
                rows -= batch.num_rows
                parts.append(batch)
            if len(parts) == 1:
                return parts[0]
            merged = pa.Table.from_batches(parts, self.schema).combine_chunks().to_batches()
            return merged[0] if merged else _nothing(self.schema)


class _Nested:
    """One file of the nested form."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with _errors(path):
            self._rows = _Rows(path)
            self.contiguous = bool(block_facts(self._rows.schema, "nested 1")["contiguous"])
        self.marker = self._rows.marker

    def blocks(self, results: bool) -> Iterator[Block]:
        for rows, span in self.marker.spans():
            batch = self._rows.take(rows)
            with _errors(self._path):
                yield from_batch(batch, span, results)


class _Flat:
    """A folder of the flat form."""

    def __init__(self, folder: Path, events: Path) -> None:
        self._folder = folder
        with _errors(folder):
            self._events = _Rows(events)
            facts = block_facts(self._events.schema, "events 1")
            self.contiguous = bool(facts["contiguous"])
            self._tables: dict[str, _Rows] = {}
            for name in facts.get("tables", []):
                place = folder / f"{name}{events.suffix}"
                if not isinstance(name, str) or place.parent != folder or not place.is_file():
                    raise BadInput(f"table {name!r} has no file {place.name}")
                self._tables[name] = _Rows(place)
                block_facts(self._tables[name].schema, "objects 1")
        self.marker = self._events.marker

    def blocks(self, results: bool) -> Iterator[Block]:
        for rows, span in self.marker.spans():
            yield self._block(rows, span, results)

    def _block(self, rows: int, span: Span, results: bool) -> Block:
        batches = {"events": self._events.take(rows)}
        with _errors(self._folder):
            for name, reader in self._tables.items():
                counts = as_numpy(batches["events"].column(f"n_{name}"), f"n_{name}")
                total = int(counts.sum(dtype="i8"))
                if not 0 <= total <= reader.marker.rows:
                    raise BadInput(f"{total} objects in one block", field=name)
                batches[name] = reader.take(total)
            return from_flat(batches, span, results)


def _open(path: Path) -> _Nested | _Flat:
    if path.name.endswith(LEFTOVER):
        raise BadInput("not complete: left by a run that was killed", file=str(path))
    if path.is_dir():
        events = _events_file(path)
        if events is None:
            raise BadInput("folder without a file events.arrow/.arrows/.parquet", file=str(path))
        return _Flat(path, events)
    return _Nested(path)


def _events_file(folder: Path) -> Path | None:
    places = (folder / f"events{suffix}" for suffix in SUFFIXES)
    return next((place for place in places if place.is_file()), None)


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    """Every way in which reading fails, as BadInput that names the file once."""
    try:
        yield
    except BadInput as error:
        if str(error).startswith("file "):
            raise
        raise BadInput(str(error), file=str(path)) from None
    except (pa.ArrowException, OSError, MemoryError, ValueError, KeyError, IndexError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInput(f"cannot be read: {text}", file=str(path)) from None


# -- the three formats ---------------------------------------------------------------------------


def _parquet(path: Path) -> pq.ParquetFile:
    return pq.ParquetFile(
        path,
        thrift_string_size_limit=MAX_METADATA,
        thrift_container_size_limit=MAX_METADATA >> 4,
        page_checksum_verification=True,
    )


def _open_parquet(path: Path) -> tuple[pa.Schema, bytes | None]:
    with _parquet(path) as file:
        for index in range(file.metadata.num_row_groups):
            size = file.metadata.row_group(index).total_byte_size
            if not 0 <= size <= MAX_GROUP_BYTES:
                raise BadInput(f"row group {index} claims {size} bytes")
        metadata: Mapping[bytes, bytes] = file.metadata.metadata or {}
        return file.schema_arrow, metadata.get(END)


def _parquet_batches(path: Path) -> Iterator[pa.RecordBatch]:
    with _parquet(path) as file:
        for index in range(file.num_row_groups):  # a damaged one costs no earlier rows
            for batch in file.iter_batches(batch_size=1 << 16, row_groups=[index]):
                batch.validate(full=True)
                yield batch


def _open_file(path: Path) -> tuple[pa.Schema, bytes | None]:
    with pa.memory_map(str(path)) as memory, ipc.open_file(memory) as reader:
        count = reader.num_record_batches
        if not count:
            return reader.schema, None
        last = reader.get_batch_with_custom_metadata(count - 1)
        return reader.schema, _end_of(last)


def _file_batches(path: Path) -> Iterator[pa.RecordBatch]:
    with pa.memory_map(str(path)) as memory, ipc.open_file(memory) as reader:
        for index in range(reader.num_record_batches - 1):
            batch = reader.get_batch(index)
            batch.validate(full=True)
            yield batch


def _open_stream(path: Path) -> tuple[pa.Schema, bytes | None]:
    """Goes over the messages of the stream; their bodies stay on disk."""
    with pa.memory_map(str(path)) as memory, ipc.open_stream(memory) as reader:
        end = None
        while True:
            try:
                end = _end_of(reader.read_next_batch_with_custom_metadata())
            except StopIteration:
                return reader.schema, end


def _stream_batches(path: Path) -> Iterator[pa.RecordBatch]:
    with pa.memory_map(str(path)) as memory, ipc.open_stream(memory) as reader:
        while True:
            try:
                item = reader.read_next_batch_with_custom_metadata()
            except StopIteration:
                return
            if _end_of(item) is not None:
                return
            item.batch.validate(full=True)
            yield item.batch


def _end_of(item: ipc.RecordBatchWithMetadata) -> bytes | None:
    """The marker of a batch without rows."""
    metadata: Mapping[bytes, bytes] = item.custom_metadata or {}
    return metadata.get(END) if not item.batch.num_rows else None


def _nothing(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in schema], schema=schema)
