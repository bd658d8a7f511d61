"""A consumer for the tests of the feed: takes messages until their end, and counts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from scout40.streams import wire
from scout40.streams.sockets import Pull
from scout40.tools.feed_state import FeedResult, FeedSettings
from scout40.tools.feeder import Feeder


class Stop:
    """Asks to stop when told so."""

    requested = False


@dataclass
class Received:
    """What came from one endpoint."""

    headers: list[wire.Header] = field(default_factory=list)
    payload: bytearray = field(default_factory=bytearray)
    beats: list[wire.Header] = field(default_factory=list)
    end: wire.Header | None = None

    @property
    def packets(self) -> int:
        return sum(header.packets for header in self.headers)

    @property
    def missing(self) -> int:
        """Messages that the sequence numbers, the end included, say were lost."""
        assert self.end is not None
        return self.end.sequence - len(self.headers)

    def add(self, message: wire.Message) -> None:
        header, payload = message
        if header.kind == wire.HEARTBEAT:
            self.beats.append(header)
        elif header.kind == wire.END:
            self.end = header
        else:
            if self.headers and self.headers[-1].feed == header.feed:
                assert header.sequence > self.headers[-1].sequence, "messages in order"
            self.headers.append(header)
            self.payload += payload


def receive(endpoints: Sequence[str], seconds: float = 30, enough: int | None = None) -> Received:
    """One endpoint until its end message, or ``enough`` data messages, or the time is over."""
    return receive_all(endpoints, seconds, enough)[endpoints[0]]


def receive_all(
    endpoints: Sequence[str], seconds: float = 30, enough: int | None = None
) -> dict[str, Received]:
    """Each endpoint until all have ended, or all together gave ``enough`` data messages."""
    found = {endpoint: Received() for endpoint in endpoints}
    pull = Pull(endpoints)
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline and any(one.end is None for one in found.values()):
            got = pull.receive(100)
            if got is not None:
                endpoint, frames = got
                found[endpoint].add(wire.decode(frames, endpoint))
                if enough is not None and sum(len(f.headers) for f in found.values()) >= enough:
                    break
    finally:
        pull.close()
    return found


class Background:
    """A feed on a thread of its own; a context manager that stops it at the end."""

    def __init__(self, source: str | list[str], endpoint: str, settings: FeedSettings) -> None:
        self.stop = Stop()
        self.feeder = Feeder(source, endpoint, settings)
        self.address = self.feeder.state.address
        self._result: FeedResult | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self._result = self.feeder.run(self.stop)
        except BaseException as error:
            self._error = error

    def __enter__(self) -> Background:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.requested = True
        self._thread.join(30)

    def received_while(self, endpoint: str, enough: Callable[[], bool]) -> Received:
        """Everything until the end, when the feed is stopped as soon as there is ``enough``."""

        def watch() -> None:
            while not enough() and not self.stop.requested:
                time.sleep(0.01)
            self.stop.requested = True

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        return receive([endpoint])

    def until(self, phase: str, seconds: float = 30) -> None:
        """Wait until the feed is in this phase."""
        deadline = time.monotonic() + seconds
        while self.feeder.state.phase != phase:
            assert time.monotonic() < deadline, self.feeder.state
            time.sleep(0.005)

    def result(self) -> FeedResult:
        """Wait for the end; raises what the feed raised."""
        self._thread.join(60)
        assert not self._thread.is_alive(), self.feeder.state
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result
