"""The live run: messages in, decisions and files out, a snapshot now and then.

One thread receives and checks (:mod:`live_intake`), one or more unpack and decide (kernels release
the GIL), and the main thread keeps the order, the ledger and the files. Threads, not
processes: blocks are handed on without a copy, and what holds the GIL is a few calls a block.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import ParamSpec, TypeVar

from scout40.emulator.ugt.decide import Decisions
from scout40.streams.block import Block, Origin
from scout40.streams.merge import Batch
from scout40.streams.sources.base import Run
from scout40.streams.sources.events import E_SOURCE
from scout40.streams.sources.live_block import Unpacked, blocks_of, kinds_of
from scout40.streams.tracker import Position
from scout40.tools.live_config import Configured
from scout40.tools.live_intake import Intake, Listener, Queue
from scout40.tools.live_latency import Latencies
from scout40.tools.live_output import LiveOutput
from scout40.tools.live_stage import LiveStage, Rows
from scout40.tools.pipeline import crossings_of

P = ParamSpec("P")
T = TypeVar("T")

AHEAD = 2
"""Blocks that are unpacked or wait to be decided beside those that are."""
STAGES = ("receive", "order", "unpack", "decide", "finish", "write")


@dataclass(frozen=True)
class Ticket:
    """What travels beside a block: its packets, send times of its messages, positions after it."""

    packets: int = 0
    sent_ns: tuple[int, ...] = ()
    positions: Mapping[int, Position] = field(default_factory=dict)
    decided_ns: int = 0


@dataclass
class Unpacking:
    """A batch that is being unpacked; the ticket belongs to its last block."""

    ticket: Ticket
    future: Future[tuple[Unpacked, float]]


@dataclass
class Waiting:
    """A block that is being decided."""

    block: Block
    ticket: Ticket
    stage: LiveStage
    future: Future[tuple[Decisions, float]]


@dataclass
class LiveRun:
    """Everything that one run holds. ``turn`` does what there is to do now.

    queue: between the receiving thread and this one; as much again may wait for other feeds.
    """

    configured: Configured
    queue: Queue
    intake: Intake
    stage: LiveStage
    output: LiveOutput
    run: Run
    threads: int
    listener: Listener | None = None
    latencies: Latencies = field(default_factory=Latencies)
    busy: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    kinds: list[str] = field(default_factory=list)
    orbits: int = 0
    positions: dict[int, Position] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.kinds = list(self.configured.pipeline.input.sources)
        self._pool = ThreadPoolExecutor(self.threads, "decide")
        self._unpacking: deque[Unpacking] = deque()
        self._waiting: deque[Waiting] = deque()
        self._before: Block | None = None
        self._held: tuple[Block, Ticket] | None = None
        self._sequence = 0
        self._sources: set[int] = set()
        self._unwritten: deque[Ticket] = deque()

    def turn(self, timeout_s: float, *, force: bool = False) -> bool:
        """Take in, unpack, decide, write what is ready; True when something was done.

        force: the stream ends, wait for nobody.
        """
        room = self.queue.capacity - self.intake.merger.packets
        busy = bool(self._unpacking or self._waiting)  # what is held waits for messages too
        items = self.queue.take(room, 0.0 if busy or force else timeout_s)
        start = time.thread_time()
        for item in items:
            self.intake.put(item)
        # While messages wait here it is their time that counts: nobody is late or silent yet.
        now = self.queue.oldest_arrival() or time.monotonic()
        self.intake.tick(now)
        self.busy["order"] += time.thread_time() - start
        full = self.intake.merger.packets >= self.queue.capacity
        worked = bool(items)
        while len(self._unpacking) + len(self._waiting) <= self.threads + AHEAD:
            batch = self.intake.take(now, force=force or full)
            if batch is None:
                break
            self._unpack(batch)
            worked = True
        self._advance(wait=False)
        if not worked and not self._unpacking and not self.intake.running:
            self._let_go(None)  # nothing follows for now
        wait = not worked or len(self._unpacking) + len(self._waiting) > self.threads + AHEAD
        if self._waiting:
            self._collect(wait=wait)
        elif wait:
            self._advance(wait=True)
        return worked

    def swap(self, stage: LiveStage) -> None:
        """Another menu from the next block on; the file of the old one is closed."""
        while self._unpacking:
            self._advance(wait=True)
        self._let_go(None)
        while self._waiting:  # not drained: nothing is forced past a feed that is behind
            self._collect(wait=True)
        self._write(self.stage.flush())
        self.stage = stage
        self.output.new_file(stage)

    def drain(self) -> None:
        """Decide and write everything that was taken in."""
        while self.turn(0.0, force=True) or self.pending:
            if not self._unpacking and not self.intake.merger.packets:
                self._let_go(None)
        self._write(self.stage.flush())

    def close(self) -> None:
        """Let the threads go."""
        self._pool.shutdown(cancel_futures=True)

    @property
    def pending(self) -> int:
        """Blocks that are not written yet."""
        return len(self._unpacking) + len(self._waiting) + (self._held is not None)

    def lag_s(self, feed: int) -> float:
        """Age of the oldest message of a feed that is not decided; 0 when all are."""
        tickets = [w.ticket for w in self._waiting] + [u.ticket for u in self._unpacking]
        sent = [ticket.sent_ns[0] for ticket in tickets if ticket.sent_ns]
        lane = self.intake.merger.lanes.get(feed)
        if lane is not None and lane.waiting:
            sent.append(lane.waiting[0].sent_ns)
        sent += self.queue.oldest_sent_ns()
        return max(0.0, (time.time_ns() - min(sent)) / 1e9) if sent else 0.0

    def receive_s(self) -> float:
        """Busy seconds of the receiving thread."""
        return self.listener.busy_s if self.listener else 0.0

    def endpoint_states(self) -> Mapping[str, str]:
        """State of the connection to every endpoint."""
        return self.listener.states if self.listener else {}

    def _unpack(self, batch: Batch) -> None:
        if not self.configured.pipeline.input.sources:
            self._add_kinds(batch)
        positions = {a.feed: a.after for a in batch.arrivals if a.after is not None}
        sent = tuple(arrival.sent_ns for arrival in batch.arrivals if arrival.after is not None)
        future = self._pool.submit(_timed, blocks_of, batch, list(self.kinds))
        self._unpacking.append(Unpacking(Ticket(0, sent, positions), future))

    def _advance(self, *, wait: bool) -> None:
        """Unpacked blocks go on to be decided; ``wait`` for the first."""
        while self._unpacking and (wait or self._unpacking[0].future.done()):
            one, wait = self._unpacking.popleft(), False
            unpacked, seconds = one.future.result()
            self.busy["unpack"] += seconds
            parts = unpacked.settle(self.run)
            for part in parts:
                block = part.block.replace(origin=Origin(part.block.origin.source, self._sequence))
                self._sequence += 1
                ticket = one.ticket if part is parts[-1] else Ticket()
                self._next(block, replace(ticket, packets=part.packets))
            if not parts:
                self.positions.update(one.ticket.positions)

    def _add_kinds(self, batch: Batch) -> None:
        for arrival in batch.arrivals:
            self._sources.update(arrival.events.table[:, E_SOURCE].tolist())
        kinds = kinds_of(self._sources)
        if kinds != self.kinds:
            self.kinds = kinds
            self.output.new_file()  # with other columns

    def _next(self, block: Block, ticket: Ticket) -> None:
        """The next block in order; it waits for its successor when conditions look ahead."""
        block = self.stage.filled(block)
        crossings = self.run.ledger["crossings"]
        crossings.received += crossings_of(block)
        crossings.pending += crossings_of(block)
        self._let_go(block)
        if self.stage.looks_ahead(block):
            self._held = block, ticket
        else:
            self._decide(block, ticket, None)

    def _let_go(self, after: Block | None) -> None:
        if self._held is not None:
            (block, ticket), self._held = self._held, None
            self._decide(block, ticket, after)

    def _decide(self, block: Block, ticket: Ticket, after: Block | None) -> None:
        stage, before = self.stage, self._before
        self._before = block
        future = self._pool.submit(_timed, stage.decide, block, before, after)
        self._waiting.append(Waiting(block, ticket, stage, future))

    def _collect(self, *, wait: bool) -> None:
        """Finish the first block, if it is decided or ``wait`` says so.

        Only one, so that the threads that decide soon have another one.
        """
        if self._waiting and (wait or self._waiting[0].future.done()):
            one = self._waiting.popleft()
            if not one.future.done():  # there is time to write
                self.output.tick()
                self.look_at_output()
            decisions, seconds = one.future.result()
            self.busy["decide"] += seconds
            self._advance(wait=False)  # decided while this one is finished
            self._finish(one, decisions)

    def _finish(self, one: Waiting, decisions: Decisions) -> None:
        start = time.thread_time()
        ticket = Ticket(
            one.ticket.packets, one.ticket.sent_ns, one.ticket.positions, time.time_ns()
        )
        rows = one.stage.finish(one.block, decisions, ticket)
        decided = time.time_ns()
        self.latencies.record("feed_to_decision", [decided - s for s in ticket.sent_ns])
        packets = self.run.ledger["packets"]
        packets.pending -= ticket.packets
        packets.out += ticket.packets
        crossings = self.run.ledger["crossings"]
        crossings.pending -= crossings_of(one.block)
        crossings.out += crossings_of(one.block)
        self.orbits += one.block.last_orbit - one.block.first_orbit
        self.busy["finish"] += time.thread_time() - start
        self._write(rows)

    def _write(self, rows: Sequence[Rows]) -> None:
        start = time.thread_time()
        for one in rows:
            ticket: Ticket = one.item
            self.positions.update(ticket.positions)
            if self.output.write(one, self.positions):
                self._unwritten.append(ticket)
        self.look_at_output()
        self.busy["write"] += time.thread_time() - start

    def look_at_output(self) -> None:
        """Latencies of the messages whose rows the operating system has by now."""
        now, left = time.time_ns(), self.output.unwritten
        while len(self._unwritten) > left:
            ticket = self._unwritten.popleft()
            taken = now - ticket.decided_ns
            self.latencies.record("decision_to_disk", [taken] * len(ticket.sent_ns))
            self.latencies.record("total", [now - sent for sent in ticket.sent_ns])


def _timed(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> tuple[T, float]:
    """What ``work`` returns, and the processor time that it took."""
    start = time.thread_time()
    return work(*args, **kwargs), time.thread_time() - start
