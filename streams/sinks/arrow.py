"""Blocks to Arrow IPC files, Arrow IPC streams and Parquet, by the suffix of the name.

``.arrow`` is uncompressed IPC, read back without a copy; ``.arrows`` the same as a stream;
``.parquet`` has zstd and page checksums. Layout "nested" is one file with a list column per
object table; "tables" is a folder with one file per table. See ``base`` for what makes a file
complete.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol

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
    ) -> None:
        self.name = str(path)
        self._suffix = _suffix(Path(path), layout, file_format)
        self._layout = layout
        self._lineage = lineage
        self._physical = physical
        self._group = (rows_per_group, bytes_per_group)
        self._files: dict[str, _File] = {}
        self._open = True
        self._broken = False
        self._target = Target(Path(path), layout == "tables", overwrite)

    def __enter__(self) -> ArrowSink:
        return self

    def __exit__(self, *_: object) -> None:
        """Abort when it was not closed: what is not known to be whole is not published."""
        self.abort()

    def write(self, block: Block, results: Mapping[str, npt.NDArray[Any]] | None = None) -> None:
        """Add a block and its per-crossing result columns.

        Raises BadInput when its columns are not those of the first block.
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
                place = self._place(name)
                self._files[name] = _File(place, self._suffix, batch.schema, self._group)
            self._files[name].write(batch, Span.of(block) if name == "events" else None)
        self._broken = False

    def close(self, status: Status, ledger: Ledger | None = None) -> None:
        """Write the end marker, force everything to disk, publish it under its name.

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
                file.close(status, ledger.as_dict() if ledger else {})
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


def _suffix(path: Path, layout: Layout, file_format: str | None) -> str:
    suffix = file_format or path.suffix
    if layout == "tables" and not suffix:
        suffix = ".parquet"
    if suffix not in SUFFIXES:
        raise BadConfig(f"{path}: suffix {suffix!r}, expected one of {', '.join(SUFFIXES)}")
    return suffix


class _Writer(Protocol):
    """One file format."""

    def write(self, batch: pa.RecordBatch) -> None: ...

    def finish(self, marker: bytes) -> None: ...

    def drop(self) -> None:
        """Let go of the stream without caring for the content."""


class _IpcWriter:
    """IPC file or stream: a batch per block, and one without rows that carries the marker."""

    def __init__(self, stream: BinaryIO, schema: pa.Schema, suffix: str) -> None:
        self._schema = schema
        self._writer = (ipc.new_file if suffix == ".arrow" else ipc.new_stream)(stream, schema)

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

    def __init__(self, stream: BinaryIO, schema: pa.Schema, group: tuple[int, int]) -> None:
        self._max_rows, self._max_bytes = group
        self._schema = schema
        self._waiting: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0
        self._writer = pq.ParquetWriter(
            stream, schema, compression="zstd", write_page_checksum=True
        )

    def write(self, batch: pa.RecordBatch) -> None:
        self._waiting.append(batch)
        self._rows += batch.num_rows
        self._bytes += batch.nbytes
        if self._rows >= self._max_rows or self._bytes >= self._max_bytes:
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
        self._waiting, self._rows, self._bytes = [], 0, 0


class _File:
    """One growing file: its bytes, its writer, its end marker."""

    def __init__(self, path: Path, suffix: str, schema: pa.Schema, group: tuple[int, int]) -> None:
        self._schema = schema
        self._marker = Marker()
        self._stream = path.open("xb")
        self._writer: _Writer
        if suffix == ".parquet":
            self._writer = _ParquetWriter(self._stream, schema, group)
        else:
            self._writer = _IpcWriter(self._stream, schema, suffix)

    def write(self, batch: pa.RecordBatch, span: Span | None) -> None:
        if not batch.schema.equals(self._schema, check_metadata=True):
            raise BadInput(
                "this block's columns are not those of the first block of the output: "
                + _difference(self._schema, batch.schema)
            )
        self._marker.add(batch.num_rows, span)
        self._writer.write(batch)

    def close(self, status: Status, ledger: dict[str, Any]) -> None:
        self._marker.status = status
        self._marker.ledger = ledger
        self._writer.finish(self._marker.to_json())
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()

    def drop(self) -> None:
        if not self._stream.closed:
            self._writer.drop()
            self._stream.close()


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
