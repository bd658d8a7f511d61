"""A receiver whose messages come from memory, and runs of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc as ipc

from scout40.streams.snapshot import Snapshot
from scout40.streams.wire import Header, encode
from scout40.tools.live_config import Configured, load_pipeline
from scout40.tools.live_engine import LiveOptions, LiveResult, live
from scout40.tools.live_intake import Frames

Sent = tuple[str, Frames] | float


class Memory:
    """Hands out frames; a number instead of a message is a pause in seconds."""

    def __init__(self, items: Iterable[Sent], stop: threading.Event | None = None) -> None:
        self._items = iter(items)
        self.done = stop or threading.Event()

    def receive(self, timeout_ms: int) -> tuple[str, Frames] | None:
        item = next(self._items, None)
        if item is None:
            self.done.set()
            time.sleep(timeout_ms / 1000)
            return None
        if isinstance(item, float):
            time.sleep(item)
            return None
        return item

    def states(self) -> Mapping[str, str]:
        return {"memory": "connected"}

    def let_go(self, endpoint: str) -> None:
        return

    def close(self) -> None:
        return


class WhenDone:
    """Asks to stop when the memory is empty."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    @property
    def requested(self) -> bool:
        return self._memory.done.is_set()


def frames(messages: Iterable[tuple[Header, bytes]], endpoint: str = "memory") -> list[Sent]:
    """Messages as a receiver gets them."""
    return [(endpoint, encode(head, data)) for head, data in messages]


def run_live(
    items: Iterable[Sent], out: Path, pipeline: str | Configured = "everything", **options: Any
) -> LiveResult:
    """A live run over items, until they are at their end; the ledger must always balance."""
    memory = Memory(items)
    configured = load_pipeline(pipeline) if isinstance(pipeline, str) else pipeline
    return live(
        ["memory"], configured, out, LiveOptions(**options), stop=WhenDone(memory),
        told=always_balanced, connect=lambda: memory,
    )  # fmt: skip


def always_balanced(snapshot: Snapshot) -> None:
    """Fails the run when a snapshot shows a ledger that does not balance."""
    assert snapshot.balanced, snapshot.accounts


def closed_files(folder: Path) -> list[Path]:
    """Closed output files in the order in which they were begun."""
    return sorted(folder.glob("events_*.arrow"), key=lambda path: path.stem.rsplit("_", 1)[1])


def table_of(folder: Path) -> pa.Table:
    """All rows of all closed files, read with plain pyarrow."""
    tables = [ipc.open_file(pa.memory_map(str(path))).read_all() for path in closed_files(folder)]
    return pa.concat_tables(tables) if tables else pa.table({})
