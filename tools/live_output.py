"""The files of a live run: rows to a rolling sink, and what becomes of them when it fails."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from scout40.streams.errors import BadConfig, Scout40Error
from scout40.streams.ledger import Ledger
from scout40.streams.lineage import Lineage
from scout40.streams.sinks.account import SinkError
from scout40.streams.sinks.base import Status
from scout40.streams.sinks.rolling import RollingSink
from scout40.streams.tracker import Position
from scout40.tools.live_config import Configured
from scout40.tools.live_stage import LiveStage, Rows, settings_digest

RETRY_S = 1.0
"""Time between two attempts to write again after a failure."""
REFUSED = "output failed"


class LiveOutput:
    """Rows to files in ``folder``; the account ``rows`` of the ledger says what became of each.

    In = rows that were selected; out = those in published files; pending = those in the open file.
    When the disk refuses, the rows of the open file and the following ones are dropped and
    counted, and another file is tried every second; with the policy "stop" the run ends.
    """

    def __init__(self, folder: Path, configured: Configured, stage: LiveStage, ledger: Ledger):
        settings = configured.pipeline.output
        self.folder = folder
        self.rows = 0
        self._ledger, self._stop = ledger, settings.policy == "stop"
        self._configured, self._stage = configured, stage
        self._errors: list[str] = []
        self._retry = 0.0
        self._sink = RollingSink(
            folder,
            file_format=f".{settings.format}",
            max_orbits=settings.max_orbits or None,
            max_bytes=settings.max_megabytes << 20 or None,
            max_seconds=settings.max_seconds or None,
            lineage=self._lineage,
            physical=settings.physical,
            compression=None if settings.compression == "none" else settings.compression,
        )
        self._errors += [f"unfinished file removed: {name}" for name in self._sink.removed]
        self._errors += self._sink.damaged

    @property
    def positions(self) -> dict[int, Position]:
        """How far each feed was accounted for by the files that were there before."""
        return parse_positions(self._sink.resumed)

    @property
    def unwritten(self) -> int:
        """The last so many blocks that were taken are not written yet."""
        return self._sink.waiting

    @property
    def files_closed(self) -> int:
        return self._sink.counts["published"].files

    @property
    def written_bytes(self) -> int:
        """Bytes of closed files."""
        return self._sink.counts["published"].bytes

    def write(self, rows: Rows, positions: Mapping[int, Position]) -> bool:
        """Take the rows of one block; False when they were dropped."""
        self._ledger["rows"].received += len(rows.block)
        self.rows += len(rows.block)
        if self._sink.failed and not self._reopened():
            self._ledger["rows"].dropped[REFUSED] += len(rows.block)
            return False
        try:
            self._sink.write(rows.block, rows.results, flat_positions(positions))
        except SinkError as error:
            self._failed(error)
        self._settle()
        return not self._sink.failed

    def tick(self) -> None:
        """For quiet times: what waits is written, a file is closed when its time is over."""
        if self._sink.failed:
            self._reopened()
            return
        try:
            self._sink.poll()
        except SinkError as error:
            self._failed(error)
        self._settle()

    def new_file(self, stage: LiveStage | None = None) -> None:
        """The next block begins a file: other columns or, with a stage, another menu."""
        try:
            if not self._sink.failed:
                self._sink.roll()
        except SinkError as error:
            self._failed(error)
        self._stage = stage or self._stage
        self._settle()

    def close(self, status: Status) -> None:
        """Close the last file; what could not be written is counted."""
        try:
            self._sink.close(status)
        except SinkError as error:
            self._errors.append(str(error))
        self._settle()

    def abort(self) -> None:
        """Remove the open file; nothing when already closed."""
        self._sink.abort()

    def take_errors(self) -> list[str]:
        """What went wrong since the last call."""
        errors, self._errors = self._errors, []
        return errors

    def written(self) -> tuple[str, ...]:
        """For the receipt: the folder and what it holds."""
        counts = self._sink.counts["published"]
        return (f"{self.folder}: {counts.files} files, {counts.bytes} bytes",)

    def _lineage(self) -> Lineage:
        return self._stage.lineage([], settings_digest(self._configured))

    def _failed(self, error: SinkError) -> None:
        self._errors.append(str(error))
        self._retry = time.monotonic() + RETRY_S
        self._settle()
        if self._stop:
            raise Scout40Error(f"{error}; the pipeline says stop")

    def _reopened(self) -> bool:
        if time.monotonic() < self._retry:
            return False
        try:
            self._sink.reopen()
        except BadConfig as error:
            self._errors.append(str(error))
            self._retry = time.monotonic() + RETRY_S
            return False
        return True

    def _settle(self) -> None:
        """The account ``rows`` as the sink counts."""
        counts, account = self._sink.counts, self._ledger["rows"]
        account.out, account.pending = counts["published"].rows, counts["open"].rows
        account.dropped["lost with a file"] = counts["lost"].rows
        if not account.dropped["lost with a file"]:
            del account.dropped["lost with a file"]


def parse_positions(facts: Mapping[str, int]) -> dict[int, Position]:
    """Positions by feed from the flat numbers that end markers keep; others are left out."""
    found: dict[int, Position] = {}
    for name, value in facts.items():
        feed, _, part = name.partition(".")
        try:
            number = int(feed, 16)
        except ValueError:
            continue
        if part in Position._fields:
            found[number] = found.get(number, Position(0, 0, 0))._replace(**{part: value})
    return found


def flat_positions(positions: Mapping[int, Position]) -> dict[str, int]:
    """What :func:`parse_positions` reads."""
    return {
        f"{feed:016x}.{part}": value
        for feed, position in positions.items()
        for part, value in position._asdict().items()
    }
