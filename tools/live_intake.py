"""What comes in: a thread that receives and checks, and the order that is made of it."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from scout40.streams.errors import BadInput, Scout40Error
from scout40.streams.merge import Arrival, Batch, Merger
from scout40.streams.sources.base import Run
from scout40.streams.sources.events import Received, received
from scout40.streams.tracker import Position, Tracker
from scout40.streams.wire import END, WireError, decode
from scout40.tools.live_config import InputSettings

Frames = Sequence[bytes | bytearray | memoryview]

FULL = "input queue full"
CONFLICT = "source id of another feed"
MAX_FEEDS = 1024
"""Feeds of one run; more mean that somebody makes them up."""


class Receiver(Protocol):
    """Where messages come from, see ``streams.sockets.Pull``."""

    def receive(self, timeout_ms: int) -> tuple[str, Frames] | None: ...

    def states(self) -> Mapping[str, str]: ...

    def let_go(self, endpoint: str) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Unreadable:
    """A message that is none. arrived: seconds of the consumer's clock."""

    endpoint: str
    reason: str
    error: BadInput
    data: bytes
    arrived: float


class Queue:
    """Between the receiving thread and the one that works: bounded in packets, with a policy."""

    def __init__(self, capacity: int, policy: str) -> None:
        self.capacity, self.policy = capacity, policy
        self.filled = 0
        self.dropped = 0
        self._items: deque[Received | Unreadable] = deque()
        self._change = threading.Condition()
        self._closed = False

    def put(self, item: Received | Unreadable) -> None:
        """Add; when there is no room: wait, or empty this message or the oldest one."""
        size = len(item.events) if isinstance(item, Received) else 0
        with self._change:
            if size and self.filled + size > self.capacity and self.filled:
                item, size = self._without_room(item, size)
            self._items.append(item)
            self.filled += size
            self._change.notify_all()

    def _without_room(
        self, item: Received | Unreadable, size: int
    ) -> tuple[Received | Unreadable, int]:
        assert isinstance(item, Received)
        if self.policy == "block":
            while self.filled and self.filled + size > self.capacity and not self._closed:
                self._change.wait(0.1)
            return item, size
        if self.policy == "drop":
            self.dropped += size
            return item.without_events(FULL), 0
        for place, old in enumerate(self._items):
            if self.filled + size <= self.capacity:
                break
            if isinstance(old, Received) and len(old.events):
                self.filled -= len(old.events)
                self.dropped += len(old.events)
                self._items[place] = old.without_events(FULL)
        return item, size

    def take(self, room: int, timeout_s: float) -> list[Received | Unreadable]:
        """What has come, at most about ``room`` packets; waits for the first."""
        with self._change:
            if not self._items and timeout_s > 0:
                self._change.wait(timeout_s)
            taken: list[Received | Unreadable] = []
            while self._items and room > 0:
                item = self._items.popleft()
                size = len(item.events) if isinstance(item, Received) else 0
                room -= size
                self.filled -= size
                taken.append(item)
            self._change.notify_all()
            return taken

    def oldest_arrival(self) -> float | None:
        """When the first message that waits arrived."""
        with self._change:
            return self._items[0].arrived if self._items else None

    def oldest_sent_ns(self) -> list[int]:
        """Send time of the first message that waits, if one does."""
        with self._change:
            waiting = (item for item in self._items if isinstance(item, Received))
            return [item.header.send_time_ns for item in itertools.islice(waiting, 1)]

    def close(self) -> None:
        """Nobody takes any more: a thread that waits for room goes on."""
        with self._change:
            self._closed = True
            self._change.notify_all()


class Listener:
    """The receiving thread: frames to checked messages in the queue. It looks at nothing else."""

    def __init__(self, connect: Callable[[], Receiver], queue: Queue) -> None:
        self._connect, self._queue = connect, queue
        self._stop = threading.Event()
        self._ready = threading.Event()
        self.states: Mapping[str, str] = {}
        self.busy_s = 0.0
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="receive", daemon=True)

    def start(self) -> None:
        """Connect; raises what is wrong with endpoints or keys."""
        self._thread.start()
        self._ready.wait()
        if isinstance(self.failure, Scout40Error):
            raise self.failure

    def stop(self) -> None:
        """Receive nothing more."""
        self._stop.set()
        self._queue.close()
        self._thread.join()

    def _run(self) -> None:
        receiver: Receiver | None = None
        try:
            receiver = self._connect()
            self.states = dict(receiver.states())
            self._ready.set()
            self._receive(receiver)
        except BaseException as failure:  # goes to the thread that works, which ends the run
            self.failure = failure
        finally:
            self._ready.set()
            if receiver is not None:
                receiver.close()

    def _receive(self, receiver: Receiver) -> None:
        looked = 0.0
        while not self._stop.is_set():
            found = receiver.receive(100)
            arrived = time.monotonic()
            if arrived - looked > 0.1:
                self.states, looked = dict(receiver.states()), arrived
            if found is None:
                continue
            item = looked_at(*found, arrived)
            self._queue.put(item)
            if isinstance(item, Received) and item.header.kind == END:
                receiver.let_go(item.endpoint)
            self.busy_s = time.thread_time()


def looked_at(endpoint: str, frames: Frames, arrived: float) -> Received | Unreadable:
    """A message with its events, or what is wrong with it."""
    try:
        return received(decode(frames, endpoint), endpoint, arrived)
    except WireError as error:
        data = b"".join(bytes(memoryview(frame)[: 1 << 16]) for frame in frames[:3])
        return Unreadable(endpoint, error.reason, error, data, arrived)


@dataclass
class Feed:
    """What is known of one feed beside its tracker. heard: seconds of the consumer's clock."""

    tracker: Tracker
    heard: float
    state: str = "running"
    orbit: int = -1
    orbits: int = 0
    bad: int = 0
    sent_ns: int = 0


@dataclass
class Intake:
    """Messages to batches of orbits in order, every packet accounted for."""

    settings: InputSettings
    run: Run
    start: Mapping[int, Position] = field(default_factory=dict)
    feeds: dict[int, Feed] = field(default_factory=dict)
    unreadable: Counter[str] = field(default_factory=Counter)
    newest_run: int = 0

    def __post_init__(self) -> None:
        self.merger = Merger(self.run.ledger, self.settings.window_ms / 1000)

    def put(self, item: Received | Unreadable) -> None:
        """The next thing that was received."""
        messages = self.run.ledger["messages"]
        messages.received += 1
        if isinstance(item, Unreadable):
            messages.bad[item.reason] += 1
            self.unreadable[item.endpoint] += 1
            self.run.quarantine.put(item.error, item.data)
            return
        feed = self._feed(item)
        if feed is None:
            return
        feed.heard = item.arrived
        if feed.state == "stale":
            feed.state = "running"
            self.merger.revive(item.header.feed)
        tracker = feed.tracker
        before = tracker.duplicates, tracker.late
        ready = tracker.take(item, item.arrived)
        if (tracker.duplicates, tracker.late) != before:
            messages.dropped["late or twice"] += 1
        else:
            messages.out += 1
        for one in ready:
            self._accept(feed, one)
        if not len(item.events) and tracker.position is not None:
            header = item.header
            if header.sequence == tracker.position.sequence:
                self.merger.reached(header.feed, header.run, header.first_orbit)
        if tracker.ended and feed.state != "ended":
            self._end(item.header.feed, "ended")

    def tick(self, now: float) -> None:
        """Time passes: gaps that are old enough are given up, silent feeds are stale."""
        for number, feed in self.feeds.items():
            if feed.state not in ("running", "stale"):
                continue
            for one in feed.tracker.overdue(now):
                self._accept(feed, one)
            if feed.tracker.ended:
                self._end(number, "ended")
            elif feed.state == "running" and now - feed.heard > self.settings.stale_s:
                self._end(number, "stale")

    def take(self, now: float, *, force: bool = False) -> Batch | None:
        """Orbits that may go on now."""
        oldest, few = self.merger.oldest(), self.merger.packets < self.settings.block_orbits
        if oldest is None:
            return None
        if few and not force and now - oldest < self.settings.gather_ms / 1000:
            return None
        return self.merger.take(now, self.settings.block_orbits, force=force)

    def finish(self) -> None:
        """The run ends: what waits for an earlier message goes on without it."""
        for feed in self.feeds.values():
            if feed.state in ("running", "stale"):
                for one in feed.tracker.give_up():
                    self._accept(feed, one)

    @property
    def running(self) -> bool:
        """A feed is there that brings or may bring more."""
        return any(feed.state == "running" for feed in self.feeds.values())

    @property
    def ended(self) -> bool:
        """There were feeds, and all have said that they ended."""
        states = [f.state for f in self.feeds.values() if f.state not in ("conflict", "replaced")]
        return bool(states) and all(state == "ended" for state in states)

    def _feed(self, item: Received) -> Feed | None:
        """The feed of a message; None when the message was refused."""
        header = item.header
        feed = self.feeds.get(header.feed)
        if feed is not None and feed.state not in ("conflict", "replaced"):
            return feed
        rival = self._rival(item)
        if rival is None and feed is None and len(self.feeds) < MAX_FEEDS:
            tracker = Tracker(
                header.feed, header.source, item.endpoint, self.run.ledger,
                self.settings.shared, self.settings.window_ms / 1000,
                self.start.get(header.feed),
            )  # fmt: skip
            feed = self.feeds[header.feed] = Feed(tracker, item.arrived)
            self.merger.begin(header.feed)
            return feed
        if rival is None and feed is not None:
            feed.state = "running"
            self.merger.begin(header.feed)
            return feed
        self._refuse(item, feed)
        return None

    def _rival(self, item: Received) -> int | None:
        """A feed that has this source id and is alive elsewhere; one at the same place is gone."""
        for number, feed in self.feeds.items():
            same = feed.tracker.source == item.header.source and number != item.header.feed
            if not same or feed.state not in ("running", "stale"):
                continue
            if feed.tracker.endpoint == item.endpoint:
                self._replace(number)
            elif feed.state == "running":
                return number
        return None

    def _replace(self, number: int) -> None:
        """A new feed serves the endpoint: the old one was killed, what it lost is not known."""
        feed = self.feeds[number]
        for one in feed.tracker.give_up():
            self._accept(feed, one)
        self.run.ledger.add("feeds that went away without an end", 1)
        self._end(number, "replaced")

    def _refuse(self, item: Received, feed: Feed | None) -> None:
        """A second feed with the same source id: counted, not used."""
        header = item.header
        self.run.ledger["messages"].dropped[CONFLICT] += 1
        account = self.run.ledger["packets"]
        account.received += header.packets
        account.dropped[CONFLICT] += header.packets
        if feed is None and len(self.feeds) < MAX_FEEDS:
            tracker = Tracker(header.feed, header.source, item.endpoint, self.run.ledger)
            self.feeds[header.feed] = Feed(tracker, item.arrived, "conflict")
        elif feed is not None:
            feed.heard = item.arrived

    def _end(self, number: int, state: str) -> None:
        self.feeds[number].state = state
        self.merger.end(number)

    def _accept(self, feed: Feed, item: Received) -> None:
        """A message in its turn: bad events to quarantine, good ones to the merger."""
        header = item.header
        account = self.run.ledger["packets"]
        if item.refused:
            account.dropped[item.refused] += header.packets
        for problem in item.problems:
            account.bad[problem.reason] += problem.packets
            feed.bad += problem.packets
            self.run.quarantine.put(problem.error, problem.data)
        feed.orbit = header.first_orbit + header.orbits - 1
        feed.orbits += header.orbits
        feed.sent_ns = header.send_time_ns
        self.newest_run = header.run
        after = Position(
            header.sequence + 1, header.sent_packets + header.packets, header.dropped_packets
        )
        self.merger.put(
            Arrival(
                header.feed, item.events, header.first_orbit, header.first_orbit + header.orbits,
                header.send_time_ns, item.arrived, after,
            )
        )  # fmt: skip
