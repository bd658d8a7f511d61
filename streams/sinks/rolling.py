"""Blocks to a folder of Arrow or Parquet files that are closed one after the other, for live runs.

Files are named ``<prefix>_<run>_<first orbit>_<serial>.<suffix>``. Each appears under its name when
it is whole and on disk; its end marker holds what the file has (rows, blocks, orbits), its serial
number and, for every feed, the message to go on with. Small blocks are joined before they are
written; readers give them back one by one. Files are finished on a thread of their own, so a slow
disk does not stop the stream before two files wait for it.

What was handed to ``write`` is published, open or lost, and ``counts`` says how much of each.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from scout40.streams.arrow import Span
from scout40.streams.block import Block, concatenate
from scout40.streams.errors import BadConfig, Scout40Error
from scout40.streams.ledger import Ledger
from scout40.streams.lineage import Lineage
from scout40.streams.sinks.account import Counts, SinkError, State
from scout40.streams.sinks.arrow import SUFFIXES, ArrowSink, check_compression
from scout40.streams.sinks.base import Status
from scout40.streams.sinks.folder import Lock, file_name, found, remove_unfinished

Results = Mapping[str, npt.NDArray[Any]]

MAX_CLOSING = 2
"""Files that may be on their way to the disk while the next one is written."""
JOIN_ROWS, JOIN_SECONDS = 1 << 14, 0.005
"""Blocks wait until they have so many rows, or the oldest is so old, and are written as one."""


@dataclass(frozen=True)
class Limits:
    """When a file is closed: after so many orbits, bytes or seconds; None: never for that."""

    max_orbits: int | None = None
    max_bytes: int | None = None
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not value > 0:
                raise BadConfig(f"{name} is {value}, expected a positive number")


@dataclass
class _Open:
    """The file that grows, and blocks that wait to be written to it."""

    sink: ArrowSink
    kind: object
    run: int
    serial: int
    positions: dict[str, int]
    started: float
    orbits: tuple[int, int]
    counts: Counts = field(default_factory=Counts)
    waiting: list[tuple[Block, Results]] = field(default_factory=list)
    rows: int = 0
    oldest: float = 0.0


class RollingSink:
    """Writes blocks to files in ``folder`` and publishes them one by one; one thread.

    file_format: ".arrow", ".arrows" or ".parquet". max_orbits, max_bytes, max_seconds: see
    ``Limits``; a file holds whole blocks, so it may be larger by one. compression, lineage,
    physical: see ``ArrowSink``.

    At the start it reads the end markers that are in the folder: ``resumed`` gives the next
    sequence number of each feed (hex), ``removed`` the names of the unfinished files of a killed
    process, which are removed, ``damaged`` what cannot be read of files with such names.

    Raises BadConfig when another process writes to the folder.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        file_format: str = ".arrow",
        max_orbits: int | None = None,
        max_bytes: int | None = None,
        max_seconds: float | None = None,
        prefix: str = "events",
        lineage: Lineage | Callable[[], Lineage] | None = None,
        physical: bool = False,
        compression: str | None = None,
    ) -> None:
        if file_format not in SUFFIXES:
            raise BadConfig(f"file format {file_format!r}, expected one of {', '.join(SUFFIXES)}")
        if not re.fullmatch(r"[\w-][\w.-]*", prefix):
            raise BadConfig(f"prefix {prefix!r}: letters, digits, '_', '-' and '.' only")
        check_compression(compression)
        self.name = str(folder)
        self._limits = Limits(max_orbits, max_bytes, max_seconds)
        self._folder, self._prefix, self._suffix = Path(folder), prefix, file_format
        self._options: dict[str, Any] = {
            "lineage": lineage, "physical": physical, "compression": compression,
        }  # fmt: skip
        self._counts: dict[State, Counts] = {s: Counts() for s in ("published", "open", "lost")}
        self.failed = False
        """True after a write failed: nothing is written until ``reopen``."""
        self._current: _Open | None = None
        self._closing: deque[tuple[Counts, Future[int]]] = deque()
        self._positions: dict[str, int] = {}
        self._run = 0
        self._closed = False
        self._lock = Lock(self._folder)
        try:
            self.removed = remove_unfinished(self._folder)
            there = found(self._folder)
        except BaseException:
            self._lock.release()
            raise
        self.resumed, self.damaged, self._serial = there.positions, there.damaged, there.serial
        self._pool = ThreadPoolExecutor(1, "close files")

    def __enter__(self) -> RollingSink:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()

    @property
    def counts(self) -> dict[State, Counts]:
        """What became of everything that was handed to ``write``; nothing is in two states."""
        return dict(self._counts)

    @property
    def waiting(self) -> int:
        """The last so many blocks that were taken are not written yet."""
        return len(self._current.waiting) if self._current else 0

    @property
    def closing(self) -> int:
        """Files on their way to the disk, at most ``MAX_CLOSING``."""
        return sum(not future.done() for _, future in self._closing)

    def write(
        self,
        block: Block,
        results: Results | None = None,
        progress: Mapping[str, int] | None = None,
        run: int | None = None,
    ) -> None:
        """Take a block and its per-crossing result columns.

        progress: for each feed (hex) the sequence number of the first message that is not in this
        block or an earlier one. run: for the file's name; else the block's column ``run``, else
        that of the block before. A new run and a block of other columns begin a new file.

        Raises SinkError when something was lost, once for each loss: what failed to be written
        with all that its file had, or this block because an earlier write failed; else the block
        was taken. An error of a file that was being closed comes out of the next call.
        """
        self._check_open()
        size = Counts(1, block.last_orbit - block.first_orbit, len(block))
        if self.failed:
            self._add("lost", size)
            raise SinkError(f"{self.name}: not written since a write failed, reopen first", size)
        self._add("open", size)
        with self._failing():
            self._take(block, results or {}, progress or {}, run, size)
        self._collect()

    def poll(self) -> None:
        """For quiet times: write what waits, close the file when its time is over, report errors.

        Raises SinkError like ``write``.
        """
        self._check_open()
        if self._current is not None:
            with self._failing():
                self._write_waiting(self._current)
                if self._full(self._current):
                    self._roll("complete")
        self._collect()

    def roll(self) -> None:
        """Close the file, at a block boundary that shall be one between files."""
        self._check_open()
        with self._failing():
            self._roll("complete")
        self._collect()

    def reopen(self) -> None:
        """Try again after a failure, with a new file; makes the folder when it was removed.

        Raises BadConfig when that is not possible.
        """
        self._check_open()
        self._lock.release()
        self._lock = Lock(self._folder)
        self.failed = False

    def close(self, status: Status = "complete") -> None:
        """Close the last file with this status and wait until all files are published.

        Raises SinkError when something was lost.
        """
        if self._closed:
            return
        try:
            with self._failing():
                self._roll(status)
            wait([future for _, future in self._closing])
            self._collect()
        finally:
            self.abort()

    def abort(self) -> None:
        """Remove the open file; files that are being closed are still published."""
        if self._closed:
            return
        self._closed = True
        self._drop_current()
        self._pool.shutdown(wait=True)
        with contextlib.suppress(SinkError):
            self._collect()
        self._lock.release()

    # -- one file ----------------------------------------------------------------------------

    def _take(
        self, block: Block, results: Results, progress: Mapping[str, int], run: int | None,
        size: Counts,
    ) -> None:  # fmt: skip
        kind = _kind(block, results)
        run = self._run = _run(block, self._run) if run is None else run
        if self._current and (self._current.kind, self._current.run) != (kind, run):
            self._roll("complete")
        current = self._current = self._current or self._begin(block, kind, run)
        current.counts = current.counts.plus(size)
        current.orbits = (current.orbits[0], block.last_orbit)
        current.positions.update(progress)
        if not current.waiting:
            current.oldest = time.monotonic()
        current.waiting.append((block, results))
        current.rows += len(block)
        self._write_waiting(current)
        if self._full(current):
            self._roll("complete")

    def _begin(self, block: Block, kind: object, run: int) -> _Open:
        serial = self._serial
        name = file_name(self._prefix, run, block.first_orbit, serial, self._suffix)
        sink = ArrowSink(self._folder / name, **self._options)
        self._serial += 1
        orbits = (block.first_orbit, block.last_orbit)
        return _Open(sink, kind, run, serial, dict(self._positions), time.monotonic(), orbits)

    def _write_waiting(self, current: _Open, force: bool = False) -> None:
        """Join the waiting blocks and write them when there is enough of them."""
        old = time.monotonic() - current.oldest > JOIN_SECONDS
        if not current.waiting or not (force or old or current.rows >= JOIN_ROWS):
            return
        blocks = [block for block, _ in current.waiting]
        parts = [(len(block), Span.of(block)) for block in blocks]
        results = current.waiting[0][1]
        block = blocks[0]
        if len(blocks) > 1:
            results = {
                name: np.concatenate([held[name] for _, held in current.waiting])
                for name in results
            }
            block = concatenate(blocks)
        current.waiting, current.rows = [], 0
        current.sink.write(block, results, parts)
        if not current.sink.present:
            raise FileNotFoundError("the unfinished file was removed, perhaps with its folder")

    def _full(self, current: _Open) -> bool:
        limits = self._limits
        reached = (
            (limits.max_orbits, current.counts.orbits),
            (limits.max_bytes, current.sink.size),
            (limits.max_seconds, time.monotonic() - current.started),
        )
        return any(limit is not None and value >= limit for limit, value in reached)

    def _roll(self, status: Status) -> None:
        """Hand the open file to the closing thread; waits when too many are there already."""
        current = self._current
        if current is None:
            return
        self._write_waiting(current, force=True)
        busy = [future for _, future in self._closing if not future.done()]
        wait(busy[: max(0, len(busy) - MAX_CLOSING + 1)])
        self._current = None
        self._positions = current.positions
        self._closing.append((current.counts, self._pool.submit(_finish, current, status)))

    # -- what became of it -------------------------------------------------------------------

    def _add(self, state: State, counts: Counts, sign: int = 1) -> None:
        self._counts[state] = self._counts[state].plus(counts, sign)

    def _collect(self) -> None:
        """Count the files that are closed by now; SinkError for those that could not be."""
        lost, reasons = Counts(), []
        while self._closing and self._closing[0][1].done():
            counts, future = self._closing.popleft()
            self._add("open", counts, -1)
            error = future.exception()
            if error is None:
                self._add("published", counts._replace(files=1, bytes=future.result()))
            else:
                lost = lost.plus(counts)
                reasons.append(_text(error))
        if reasons:
            self._add("lost", lost)
            raise SinkError(f"{self.name}: a file could not be closed: {'; '.join(reasons)}", lost)

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        """When something goes wrong inside, everything that is not being closed is lost."""
        try:
            yield
        except (OSError, MemoryError, pa.ArrowException, Scout40Error) as error:
            self.failed = True
            raise SinkError(f"{self.name}: {_text(error)}", self._drop_current()) from error

    def _drop_current(self) -> Counts:
        """Remove the open file; what is lost thereby."""
        lost = self._counts["open"]
        for counts, _ in self._closing:
            lost = lost.plus(counts, -1)
        self._add("open", lost, -1)
        self._add("lost", lost)
        current, self._current = self._current, None
        if current is not None:
            with contextlib.suppress(OSError):
                current.sink.abort()
        return lost

    def _check_open(self) -> None:
        if self._closed:
            raise Scout40Error(f"{self.name}: written after it was closed")


def _finish(current: _Open, status: Status) -> int:
    """Close and publish a file; its size in bytes."""
    ledger = Ledger()
    for unit in ("blocks", "orbits", "rows"):
        ledger[unit].received = ledger[unit].out = getattr(current.counts, unit)
    ledger.facts = {
        "serial": current.serial,
        "run": current.run,
        "first orbit": current.orbits[0],
        "last orbit": current.orbits[1] - 1,
    }
    sink = current.sink
    sink.close(status, ledger, serial=current.serial, positions=current.positions)
    return Path(sink.name).stat().st_size


def _kind(block: Block, results: Results) -> object:
    """Two blocks with the same one have the same columns."""
    columns = [
        (name, v.dtype, v.shape[1:]) for name, v in (*block.crossing.items(), *results.items())
    ]
    tables = [
        (name, *((column, values.dtype) for column, values in table.columns.items()))
        for name, table in block.tables.items()
    ]
    facts = (block.contiguous, block.scouting, block.recorded_names)
    return facts, len(block.crossing), columns, tables


def _run(block: Block, otherwise: int) -> int:
    runs = block.crossing.get("run")
    return int(runs[0]) if runs is not None and len(runs) else otherwise


def _text(error: BaseException) -> str:
    """What went wrong in one line."""
    return (str(error) or type(error).__name__).splitlines()[0]
