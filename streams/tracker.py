"""What became of every packet of one feed: accepted, lost on the way, dropped by the feed, late.

Each message says how much its feed had sent and dropped before it, so what a gap in the sequence
numbers held is known exactly. Nothing here knows of sockets or clocks: times are given.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from scout40.streams.ledger import Ledger
from scout40.streams.sources.events import Received
from scout40.streams.wire import DATA, END, Header

LOST, BY_FEED, LATE = "lost on the way", "dropped by the feed", "late"
TWICE = "sent twice"
BEFORE = "lost with the run before"
MAX_HELD = 64
"""Messages that wait for one that is missing."""
MAX_GAPS = 4096
"""Gaps that are remembered to tell a late message from one that came twice."""


class Position(NamedTuple):
    """How far a feed was accounted for: sequence number and packets before it."""

    sequence: int
    sent: int
    dropped: int


class Gap(NamedTuple):
    """Sequence numbers [first, stop) that were given up."""

    first: int
    stop: int


@dataclass
class Tracker:
    """One feed, one process that sends.

    shared: other consumers take part of the messages; gaps and drops of the feed are then facts,
        not losses of this consumer, and ``scout40 collect`` adds up.
    window_s: how long a message waits for an earlier one.
    start: where an earlier run of this consumer stopped; else counting begins with the first
        message, and what was before it is only a fact.
    """

    feed: int
    source: int
    endpoint: str
    ledger: Ledger
    shared: bool = False
    window_s: float = 0.05
    start: Position | None = None
    position: Position | None = None
    packets: int = 0
    gaps: int = 0
    lost: int = 0
    by_feed: int = 0
    late: int = 0
    duplicates: int = 0
    reordered: int = 0
    before: int = 0
    elsewhere: int = 0
    ended: bool = False
    _held: dict[int, tuple[Received, float]] = field(default_factory=dict)
    _told: tuple[Position, float, bool] | None = None
    _given_up: list[Gap] = field(default_factory=list)

    def take(self, message: Received, now: float) -> list[Received]:
        """Data messages that are next in order now that this one came; maybe none, maybe several.

        ``now`` and the window are in seconds of one clock.
        """
        header = message.header
        if self.position is None:
            self._begin(header)
        assert self.position is not None
        if header.sequence < self.position.sequence:
            if header.kind == DATA:
                self._again(header)
            return []
        if header.sequence in self._held:
            self._count_twice(header)
            return []
        if header.sequence > self.position.sequence and self._waits_for_earlier(header):
            if header.kind == DATA:
                self._held[header.sequence] = message, now
            elif self._told is None or header.kind == END:
                self._told = _before(header), now, header.kind == END
            return self.overdue(now) if len(self._held) > MAX_HELD else []
        return [*self._accept(message), *self._follow(now)]

    def overdue(self, now: float) -> list[Received]:
        """Gives up gaps that are older than the window; what waited behind them comes out."""
        ready: list[Received] = []
        while self._held:
            sequence = min(self._held)
            message, since = self._held[sequence]
            if now - since < self.window_s and len(self._held) <= MAX_HELD:
                break
            del self._held[sequence]
            ready += self._accept(message)
            ready += self._follow(now)
        if self._told is not None and not self._held:
            totals, since, ended = self._told
            assert self.position is not None
            if now - since >= self.window_s or totals.sequence <= self.position.sequence:
                self._close_gap(totals)
                self.ended |= ended
                self._told = None
        return ready

    @property
    def waiting(self) -> int:
        """Packets held back; they are pending in the ledger."""
        return sum(message.header.packets for message, _ in self._held.values())

    def give_up(self) -> list[Received]:
        """The stream ends: everything that waits, in order."""
        return self.overdue(float("inf"))

    def _begin(self, header: Header) -> None:
        before = _before(header)
        self.position = before
        if self.start is None or self.shared:
            self.before = before.sent
            if before.sent:
                self.ledger.add("packets sent before this consumer came", before.sent)
        else:  # what comes from before the start is in files already
            self.position = self.start
            self._close_gap(before, BEFORE)

    def _waits_for_earlier(self, header: Header) -> bool:
        """Can something before this message still come? Not when the feed dropped all of it."""
        assert self.position is not None
        return not self.shared and header.sent_packets != self.position.sent

    def _accept(self, message: Received) -> list[Received]:
        """This message after whatever is missing before it."""
        header = message.header
        self._close_gap(_before(header))
        if header.kind == END:
            self.ended = True
        if header.kind != DATA:
            return []
        self.position = Position(
            header.sequence + 1, header.sent_packets + header.packets, header.dropped_packets
        )
        self.ledger["packets"].received += header.packets
        self.packets += header.packets
        return [message]

    def _follow(self, now: float) -> list[Received]:
        """Messages that waited and are next now."""
        ready = []
        assert self.position is not None
        while self.position.sequence in self._held:
            message, _ = self._held.pop(self.position.sequence)
            self.reordered += 1
            ready += self._accept(message)
        return ready

    def _close_gap(self, to: Position, reason: str = LOST) -> None:
        """Accounts for everything before ``to``; nothing when nothing is missing."""
        here = self.position
        assert here is not None
        if to.sequence <= here.sequence and to.dropped <= here.dropped:
            return
        lost, by_feed = max(0, to.sent - here.sent), max(0, to.dropped - here.dropped)
        self.position = Position(
            max(to.sequence, here.sequence), here.sent + lost, here.dropped + by_feed
        )
        self.by_feed += by_feed
        if self.shared:
            self.elsewhere += lost
            self.ledger.add("packets taken by other consumers or lost", lost)
            return
        account = self.ledger["packets"]
        account.received += lost + by_feed
        if by_feed:
            account.dropped[BY_FEED] += by_feed
        if lost:
            account.dropped[reason] += lost
            self.lost += lost
            self.gaps += 1
            self._given_up = [*self._given_up, Gap(here.sequence, to.sequence)][-MAX_GAPS:]

    def _again(self, header: Header) -> None:
        """A message from before: late when it was given up, else one that came twice."""
        account = self.ledger["packets"]
        sequence = header.sequence
        for k, gap in enumerate(self._given_up):
            if not gap.first <= sequence < gap.stop:
                continue
            # It was counted as lost; it is not accepted now, but it is not lost on the way.
            rest = Gap(gap.first, sequence), Gap(sequence + 1, gap.stop)
            self._given_up[k : k + 1] = [part for part in rest if part.first < part.stop]
            moved = min(header.packets, account.dropped[LOST])
            account.dropped[LOST] -= moved
            account.dropped[LATE] += moved
            self.lost -= moved
            self.late += moved
            return
        self._count_twice(header)

    def _count_twice(self, header: Header) -> None:
        account = self.ledger["packets"]
        account.received += header.packets
        account.dropped[TWICE] += header.packets
        self.duplicates += header.packets


def _before(header: Header) -> Position:
    return Position(header.sequence, header.sent_packets, header.dropped_packets)
