"""Where a viewer gets snapshots from: a consumer's socket, or its ``status.json``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol

from scout40.streams.snapshot import MAX_BYTES
from scout40.streams.sockets import Security, Subscriber

POLL_S = 0.05


class Inlet(Protocol):
    """A source of snapshots for one viewer."""

    @property
    def state(self) -> str:
        """Of the way there, in a word or two."""

    def receive(self, timeout_ms: int) -> tuple[bytes, float] | None:
        """The newest message and its age in seconds; None when nothing new came in time."""

    def close(self) -> None:
        """Give back what it holds."""


class SocketInlet:
    """Snapshots as a consumer publishes them; what comes is new."""

    def __init__(self, endpoint: str, security: Security | None = None) -> None:
        self._socket = Subscriber(endpoint, security=security or Security())

    @property
    def state(self) -> str:
        return self._socket.state

    def receive(self, timeout_ms: int) -> tuple[bytes, float] | None:
        data = self._socket.receive(timeout_ms)
        return None if data is None else (data, 0.0)

    def close(self) -> None:
        self._socket.close()


class FileInlet:
    """``status.json``, read whenever it was replaced; its age is that of the file."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._seen: tuple[int, int] | None = None

    @property
    def state(self) -> str:
        return "there" if self._path.is_file() else "no such file"

    def receive(self, timeout_ms: int) -> tuple[bytes, float] | None:
        end = time.monotonic() + timeout_ms / 1e3
        while (found := self._look()) is None and (left := end - time.monotonic()) > 0:
            time.sleep(min(POLL_S, left))
        return found

    def close(self) -> None:
        return

    def _look(self) -> tuple[bytes, float] | None:
        try:
            with self._path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
            about = self._path.stat()
        except FileNotFoundError:
            return None
        stamp = (about.st_mtime_ns, about.st_ino)
        if stamp == self._seen:
            return None
        self._seen = stamp
        return data, max(0.0, time.time() - about.st_mtime)
