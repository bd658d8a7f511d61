"""What a sink is, how a finished file is told from an unfinished one, how a file is published.

An output grows under a hidden name in its own folder and gets its real name when it is complete
on disk. It ends with an end marker; our readers refuse a file without one. So a file under its
real name is whole, and a run that was killed leaves nothing but a hidden leftover.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import zlib
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from scout40.streams.arrow import Span, json_object
from scout40.streams.block import Block
from scout40.streams.errors import BadConfig, BadInput
from scout40.streams.ledger import Ledger

Status = Literal["complete", "interrupted"]

END = b"scout40.end"
"""Metadata key of the end marker."""
LEFTOVER = ".scout40-partial"
"""Suffix of an output that is not finished; readers ignore such files."""
MAX_BLOCKS = 1 << 24


class Sink(Protocol):
    """Where blocks go.

    A program that is asked to stop finishes the block in hand, then closes with the status
    "interrupted": the output is as valid as a complete one and says so. A sink whose ``write``
    was left by an exception cannot be closed, only aborted.
    """

    name: str
    """What a receipt prints."""

    def write(self, block: Block, results: Mapping[str, npt.NDArray[Any]]) -> None:
        """Add a block and its per-crossing result columns, (n,) or (n, w)."""

    def close(self, status: Status, ledger: Ledger | None = None) -> None:
        """Write the end marker and publish the output."""

    def abort(self) -> None:
        """Remove what was written; nothing when already closed."""


@dataclass
class Marker:
    """The end marker: how the run ended, what the file holds, the ledger.

    rows:
        rows of the file. ``spans`` gives, per block, its rows, orbit range and origin.
    serial, positions:
        of a file of a rolling output: its number, and for each feed (identity in hex) the
        sequence number of the next message, so that a restart knows what it has.
    """

    status: Status = "complete"
    rows: int = 0
    ledger: dict[str, Any] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)
    serial: int | None = None
    positions: dict[str, int] = field(default_factory=dict)
    _spans: array[int] = field(default_factory=lambda: array("q"))

    def add(self, rows: int, span: Span | None = None) -> None:
        """Count the rows of one block; without a span only the rows (tables of objects)."""
        self.rows += rows
        if span is None:
            return
        if not self.sources or self.sources[-1] != span.source:
            self.sources.append(span.source)
        source = len(self.sources) - 1
        self._spans.extend([rows, span.first_orbit, span.last_orbit, span.sequence, source])

    def spans(self) -> Iterator[tuple[int, Span]]:
        """(rows, span) of every block, in the order of the file."""
        for rows, first, last, sequence, source in self._matrix().tolist():
            yield rows, Span(first, last, self.sources[source], sequence)

    def to_json(self) -> bytes:
        steps = np.diff(self._matrix(), axis=0, prepend=0)
        packed = base64.b64encode(zlib.compress(steps.astype("<i8").tobytes(), 6))
        facts: dict[str, Any] = {
            "status": self.status,
            "rows": self.rows,
            "blocks": len(steps),
            "spans": packed.decode(),
            "sources": self.sources,
            "ledger": self.ledger,
        }
        if self.serial is not None:
            facts |= {"serial": self.serial, "positions": self.positions}
        return json.dumps(facts, sort_keys=True).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Marker:
        """The marker of ``to_json``; BadInput when it is malformed or contradicts itself."""
        facts = json_object(text, END.decode())
        try:
            blocks, rows = int(facts["blocks"]), int(facts["rows"])
            packed = base64.b64decode(facts["spans"], validate=True)
            sources = [str(name) for name in facts["sources"]]
            ledger, status = dict(facts["ledger"]), facts["status"]
            serial = int(facts["serial"]) if "serial" in facts else None
            positions = {str(k): int(v) for k, v in dict(facts.get("positions", {})).items()}
        except (KeyError, TypeError, ValueError) as error:
            raise BadInput(f"malformed end marker: {error!r}", field=END.decode()) from None
        if status not in ("complete", "interrupted") or not 0 <= blocks <= MAX_BLOCKS:
            raise BadInput(f"end marker: {status!r}, {blocks} blocks", field=END.decode())
        matrix = _unpack_spans(packed, blocks)
        of_rows, source = matrix[:, 0], matrix[:, 4]
        fits = not blocks or (of_rows.min() >= 0 and of_rows.sum() == rows)
        if not fits or (blocks and not 0 <= source.min() <= source.max() < len(sources)):
            raise BadInput("end marker: its blocks contradict its rows", field=END.decode())
        spans = array("q", matrix.reshape(-1).astype("=i8").tobytes())
        return cls(status, rows, ledger, sources, serial, positions, spans)

    def _matrix(self) -> npt.NDArray[np.int64]:
        return np.frombuffer(self._spans, np.int64).reshape(-1, 5)


def _unpack_spans(packed: bytes, blocks: int) -> npt.NDArray[np.int64]:
    size = blocks * 5 * 8
    try:
        data = zlib.decompressobj().decompress(packed, size + 1)
    except zlib.error as error:
        raise BadInput(f"end marker: {error}", field=END.decode()) from None
    if len(data) != size:
        raise BadInput(f"end marker: {blocks} blocks expected", field=END.decode())
    return np.cumsum(np.frombuffer(data, "<i8").reshape(-1, 5), axis=0, dtype=np.int64)


@dataclass
class Target:
    """An output that appears under ``path`` only when it is whole.

    Raises BadConfig at once when ``path`` exists (and ``overwrite`` is False), or when its
    folder does not exist.
    """

    path: Path
    folder: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not self.path.parent.is_dir():
            raise BadConfig(f"{self.path}: folder {self.path.parent} does not exist")
        if self.path.exists() and not self.overwrite:
            raise BadConfig(f"{self.path} exists; choose another name or allow overwriting")
        if self.path.exists() and self.path.is_dir() != self.folder:
            kind = "a folder" if self.path.is_dir() else "a file"
            raise BadConfig(f"{self.path} is {kind}; it is not overwritten")
        if self.folder and self.path.exists():
            self._check_ours()
        self.discard()  # of a killed process that had our process number
        if self.folder:
            self.partial.mkdir()

    @property
    def partial(self) -> Path:
        """The hidden name while it grows, one per process."""
        return self.path.parent / f".{self.path.name}.{os.getpid()}{LEFTOVER}"

    def publish(self) -> None:
        """Give it its real name; on disk before this returns."""
        _sync(self.partial)  # a file as much as a folder
        try:
            self._rename()
        except FileExistsError:
            raise BadConfig(f"{self.path} appeared meanwhile; the output was dropped") from None
        finally:
            self.discard()
        _sync(self.path.parent)

    def discard(self) -> None:
        """Remove the unfinished output, if any."""
        if self.folder:
            _remove_folder(self.partial)
        else:
            self.partial.unlink(missing_ok=True)

    def _rename(self) -> None:
        if self.folder:
            old = self.path.parent / f".{self.path.name}.{os.getpid()}.old{LEFTOVER}"
            if self.overwrite and self.path.exists():
                self.path.rename(old)
            self.partial.rename(self.path)
            _remove_folder(old)
        elif self.overwrite:
            self.partial.replace(self.path)
        else:
            self._link()

    def _link(self) -> None:
        # A link fails when the name exists, which a rename does not.
        try:
            self.path.hardlink_to(self.partial)
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            if self.path.exists():
                raise FileExistsError(str(self.path)) from None
            self.partial.rename(self.path)

    def _check_ours(self) -> None:
        names = [place.name for place in self.path.iterdir()]
        if names and not any(name.startswith("events.") for name in names):
            raise BadConfig(f"{self.path} is a folder that scout40 did not write; not overwritten")


def leftovers(folder: Path) -> list[Path]:
    """Outputs in ``folder`` that a killed run did not finish."""
    return sorted(place for place in folder.iterdir() if place.name.endswith(LEFTOVER))


def _remove_folder(folder: Path) -> None:
    if not folder.is_dir():
        return
    for place in folder.iterdir():
        place.unlink()
    folder.rmdir()


def _sync(place: Path) -> None:
    handle = os.open(place, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems cannot sync a folder
            os.fsync(handle)
    finally:
        os.close(handle)
