"""Blocks to Arrow IPC files, Arrow IPC streams and Parquet, by the suffix of the name.

``.arrow`` is IPC, read back without a copy when it is not compressed; ``.arrows`` the same as a
stream; ``.parquet`` has zstd and page checksums. Layout "nested" is one file with a list column per
object table; "tables" is a folder with one file per table. See ``base`` for what makes a file
complete.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq

from scout40.streams.arrow import Span, to_batch, to_flat
from scout40.streams.block import Block
from scout40.streams.errors import BadConfig, BadInput, Scout40Error
from scout40.streams.ledger import Ledger
from scout40.streams.lineage import Lineage
from scout40.streams.sinks.base import END, Marker, Status, Target

SUFFIXES = (".arrow", ".arrows", ".parquet")
COMPRESSIONS = ("lz4", "zstd")
BUFFER = 1 << 18
"""Bytes collected for one write: a batch is a hundred small pieces."""
Layout = Literal["nested", "tables"]


class ArrowSink:
    """Writes blocks, and result columns beside them, to ``path``.

    layout:
        "nested": one file. "tables": a folder with ``events``, ``mu``, ...
    file_format:
        ".arrow", ".arrows" or ".parquet"; from the suffix of ``path`` when None, and Parquet
        for a folder without suffix.
    lineage:
        what the output is made from; a function is called at the first block, when stages have
        chosen what they use.
    overwrite:
        replace an existing output, at the end and in one step; refuse it otherwise.
    physical:
        float32 columns beside the hardware ones, see ``to_batch``.
    rows_per_group, bytes_per_group:
        a Parquet row group is written when it has so many crossings or bytes, whichever comes
        first; this bounds the memory.
    compression:
        "lz4" or "zstd"; when None, IPC is not compressed and Parquet has zstd.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        layout: Layout = "nested",
        file_format: str | None = None,
        lineage: Lineage | Callable[[], Lineage] | None = None,
        overwrite: bool = False,
        physical: bool = False,
        rows_per_group: int = 1 << 17,
        bytes_per_group: int = 64 << 20,
        compression: str | None = None,
    ) -> None:
        self.name = str(path)
        self._suffix = _suffix(Path(path), layout, file_format)
        check_compression(compression)
        self._layout = layout
        self._lineage = lineage
        self._physical = physical
        self._form = _Form(self._suffix, compression, rows_per_group, bytes_per_group)
        self._files: dict[str, _File] = {}
        self._open = True
        self._broken = False
        self._target = Target(Path(path), layout == "tables", overwrite)

    def __enter__(self) -> ArrowSink:
        return self

    def __exit__(self, *_: object) -> None:
        """Abort when it was not closed: what is not known to be whole is not published."""
        self.abort()

    def write(
        self,
        block: Block,
        results: Mapping[str, npt.NDArray[Any]] | None = None,
        parts: Sequence[tuple[int, Span]] | None = None,
    ) -> None:
        """Add a block and its per-crossing result columns.

        parts: rows and span of each of the blocks that were joined to this one, which readers
        give back one by one. Raises BadInput when its columns are not those of the first block.
        """
        if not self._open or self._broken:
            raise Scout40Error(f"{self.name}: written after it was closed or failed")
        self._broken = True
        if callable(self._lineage):
            self._lineage = self._lineage()
        facts: dict[str, Any] = {
            "lineage": self._lineage,
            "physical": self._physical,
        }
        if self._layout == "nested":
            batches = {"events": to_batch(block, results, span=False, **facts)}
        else:
            batches = to_flat(block, results, **facts)
        if self._files and set(batches) != set(self._files):
            raise BadInput(
                f"{self.name}: block has tables {sorted(batches)}, the first block had "
                f"{sorted(self._files)}"
            )
        for name, batch in batches.items():
            if name not in self._files:
                self._files[name] = _File(self._place(name), batch.schema, self._form)
            span = Span.of(block) if name == "events" else None
            joined = parts if parts and name == "events" else [(batch.num_rows, span)]
            self._files[name].write(batch, joined)
        self._broken = False

    @property
    def size(self) -> int:
        """Bytes written so far, with those that wait for their row group as they are in memory."""
        return sum(file.size for file in self._files.values())

    @property
    def present(self) -> bool:
        """Whether the unfinished output is still there, or was removed by somebody."""
        return not self._files or self._target.partial.exists()

    def close(
        self, status: Status, ledger: Ledger | None = None, *,
        serial: int | None = None, positions: Mapping[str, int] | None = None,
    ) -> None:  # fmt: skip
        """Write the end marker, force everything to disk, publish it under its name.

        serial, positions: see ``Marker``.
        Raises Scout40Error, and publishes nothing, when an earlier write failed.
        """
        if not self._open:
            return
        if self._broken:
            self.abort()
            raise Scout40Error(f"{self.name}: a write failed, nothing was published")
        if not self._files:
            self.write(_EMPTY)
        try:
            for file in self._files.values():
                file.marker.status = status
                file.marker.ledger = ledger.as_dict() if ledger else {}
                file.marker.serial, file.marker.positions = serial, dict(positions or {})
                file.close()
            self._target.publish()
        finally:
            self.abort()

    def abort(self) -> None:
        """Remove what was written; nothing when already closed."""
        if self._open:
            self._open = False
            for file in self._files.values():
                file.drop()
            self._target.discard()

    def _place(self, name: str) -> Path:
        partial = self._target.partial
        return partial / f"{name}{self._suffix}" if self._layout == "tables" else partial


_EMPTY = Block(0, 0, np.zeros(0, np.uint32), np.zeros(0, np.uint16))


def check_compression(name: str | None) -> None:
    """Raise BadConfig unless it is one of ``COMPRESSIONS`` or None."""
    if name not in (None, *COMPRESSIONS):
        raise BadConfig(f"compression {name!r}, expected {' or '.join(COMPRESSIONS)}")


def _suffix(path: Path, layout: Layout, file_format: str | None) -> str:
    suffix = file_format or path.suffix
    if layout == "tables" and not suffix:
        suffix = ".parquet"
    if suffix not in SUFFIXES:
        raise BadConfig(f"{path}: suffix {suffix!r}, expected one of {', '.join(SUFFIXES)}")
    return suffix


class _Writer(Protocol):
    """One file format; ``waiting``: bytes that are not yet with the stream."""

    waiting: int

    def write(self, batch: pa.RecordBatch) -> None: ...

    def finish(self, marker: bytes) -> None: ...

    def drop(self) -> None:
        """Let go of the stream without caring for the content."""


class _Form(NamedTuple):
    """How files are written: suffix, compression, limits of a Parquet row group."""

    suffix: str
    compression: str | None
    rows: int
    bytes: int


class _IpcWriter:
    """IPC file or stream: a batch per block, and one without rows that carries the marker."""

    waiting = 0

    def __init__(self, stream: pa.NativeFile, schema: pa.Schema, form: _Form) -> None:
        self._schema = schema
        options = ipc.IpcWriteOptions(compression=form.compression)
        make = ipc.new_file if form.suffix == ".arrow" else ipc.new_stream
        self._writer = make(stream, schema, options=options)

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)

    def finish(self, marker: bytes) -> None:
        nothing = pa.RecordBatch.from_arrays(
            [pa.array([], field.type) for field in self._schema], schema=self._schema
        )
        self._writer.write_batch(nothing, custom_metadata={END: marker})
        self._writer.close()

    def drop(self) -> None:
        with contextlib.suppress(OSError, pa.ArrowException):
            self._writer.close()


class _ParquetWriter:
    """Parquet: several blocks per row group, the marker in the footer."""

    def __init__(self, stream: pa.NativeFile, schema: pa.Schema, form: _Form) -> None:
        self._form = form
        self._schema = schema
        self._waiting: list[pa.RecordBatch] = []
        self._rows = self.waiting = 0
        self._writer = pq.ParquetWriter(
            stream, schema, compression=form.compression or "zstd", write_page_checksum=True
        )

    def write(self, batch: pa.RecordBatch) -> None:
        self._waiting.append(batch)
        self._rows += batch.num_rows
        self.waiting += batch.nbytes
        if self._rows >= self._form.rows or self.waiting >= self._form.bytes:
            self._flush()

    def finish(self, marker: bytes) -> None:
        self._flush()
        self._writer.add_key_value_metadata({END: marker})
        self._writer.close()

    def drop(self) -> None:
        with contextlib.suppress(OSError, pa.ArrowException):
            self._writer.close()
        self._writer.is_open = False  # else its destructor tries once more

    def _flush(self) -> None:
        if self._rows:
            table = pa.Table.from_batches(self._waiting, self._schema)
            self._writer.write_table(table, row_group_size=self._rows)
        self._waiting, self._rows, self.waiting = [], 0, 0


class _File:
    """One growing file: its bytes, its writer, its end marker."""

    def __init__(self, path: Path, schema: pa.Schema, form: _Form) -> None:
        self._schema = schema
        self.marker = Marker()
        # Written by Arrow itself: a Python file in between costs twice as much and more.
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        self._stream = pa.output_stream(str(path), buffer_size=BUFFER)
        self._writer: _Writer
        if form.suffix == ".parquet":
            self._writer = _ParquetWriter(self._stream, schema, form)
        else:
            self._writer = _IpcWriter(self._stream, schema, form)

    @property
    def size(self) -> int:
        return int(self._stream.tell()) + self._writer.waiting

    def write(self, batch: pa.RecordBatch, parts: Sequence[tuple[int, Span | None]]) -> None:
        if not batch.schema.equals(self._schema, check_metadata=True):
            raise BadInput(
                "this block's columns are not those of the first block of the output: "
                + _difference(self._schema, batch.schema)
            )
        for rows, span in parts:
            self.marker.add(rows, span)
        self._writer.write(batch)

    def close(self) -> None:
        self._writer.finish(self.marker.to_json())
        self._stream.close()
        os.fsync(self._handle)
        self.drop()

    def drop(self) -> None:
        """Let go of the file, whatever its state; nothing when that was done."""
        if self._handle < 0:
            return
        if not self._stream.closed:
            self._writer.drop()
            with contextlib.suppress(OSError):
                self._stream.close()
        os.close(self._handle)
        self._handle = -1


def _difference(first: pa.Schema, other: pa.Schema) -> str:
    """The first thing in which two schemas differ, in words."""
    for name in dict.fromkeys([*first.names, *other.names]):
        if name not in first.names or name not in other.names:
            return f"column {name} is {'new' if name in other.names else 'missing'}"
        before, after = first.field(name), other.field(name)
        if not before.equals(after, check_metadata=True):
            return f"column {name} was {before.type}, is {after.type}"
    if first.names != other.names:
        return "the columns have another order"
    return f"schema metadata was {first.metadata}, is {other.metadata}"
