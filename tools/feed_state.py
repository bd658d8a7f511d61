"""What a feed is told, where it is, and what it did."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from scout40.streams import wire
from scout40.streams.block import ORBIT_HZ
from scout40.streams.errors import BadConfig
from scout40.streams.ledger import Ledger
from scout40.streams.sockets import HIGH_WATER, Security
from scout40.streams.sources.raw_packets import LAST_ORBIT
from scout40.tools.receipt import Receipt


@dataclass(frozen=True)
class FeedSettings:
    """How a stream is sent.

    rate: orbits per second; None: as fast as the socket takes.
    policy: when the socket is full, ``drop`` and count, or ``block``. None: drop at a rate, block
        without one.
    loop: repeat raw files, orbit numbers going on. orbits: end after this many.
    packet_orbits: orbits of a message, 1 to 256. high_water: messages the socket holds.
    run, first_orbit: numbers of the stream; raw files keep their own when None.
    source_id: id of the stream; None: source id of the first event of each message.
    heartbeat: seconds without a message after which one is sent.
    wait: the clock starts when the first consumer has connected.
    linger: seconds to deliver what is queued, after the end.
    quarantine: folder for bad events of raw files.
    """

    rate: float | None = ORBIT_HZ
    policy: Literal["block", "drop"] | None = None
    loop: bool = False
    orbits: int | None = None
    packet_orbits: int = 16
    high_water: int = HIGH_WATER
    run: int | None = None
    first_orbit: int | None = None
    source_id: int | None = None
    heartbeat: float = 1.0
    wait: bool = True
    linger: float = 5.0
    quarantine: Path | None = None
    security: Security = field(default_factory=Security)

    def __post_init__(self) -> None:
        limits: dict[str, tuple[float | None, float, float]] = {
            "rate": (self.rate, 1e-3, math.inf),
            "orbits": (self.orbits, 1, LAST_ORBIT + 1),
            "packet_orbits": (self.packet_orbits, 1, wire.MAX_ORBITS),
            "high_water": (self.high_water, 1, 1 << 20),
            "run": (self.run, 0, LAST_ORBIT),
            "first_orbit": (self.first_orbit, 0, LAST_ORBIT),
            "source_id": (self.source_id, 0, LAST_ORBIT),
            "heartbeat": (self.heartbeat, 0.01, 3600),
            "linger": (self.linger, 0, 3600),
        }
        for name, (value, low, high) in limits.items():
            if value is not None and not low <= value <= high:
                raise BadConfig(f"feed: {name} = {value}, expected {low} to {high}")

    @property
    def drops(self) -> bool:
        """Is a message dropped when the socket is full?"""
        return self.policy == "drop" or (self.policy is None and self.rate is not None)


@dataclass
class FeedState:
    """Where a feed is. One thread writes it; others may read single numbers at any time.

    messages: made so far, dropped ones included. sent_packets: of sent_messages.
    next_orbit: the one after the last that was sent or dropped. lag: seconds behind the clock.
    """

    address: str
    source: str
    feed: int
    phase: Literal["preparing", "waiting for a consumer", "running", "draining", "ended"] = (
        "preparing"
    )
    messages: int = 0
    sent_messages: int = 0
    sent_packets: int = 0
    sent_orbits: int = 0
    sent_bytes: int = 0
    dropped_messages: Counter[str] = field(default_factory=Counter)
    dropped_packets: Counter[str] = field(default_factory=Counter)
    heartbeats: int = 0
    run: int = 0
    stream: int = 0
    next_orbit: int = 0
    lag: float = 0.0
    lag_max: float = 0.0
    blocked_seconds: float = 0.0
    started: float = 0.0
    seconds: float = 0.0
    pauses: int = 0
    paused_seconds: float = 0.0
    slips: int = 0
    slipped_seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Orbits per second that were sent, from the start of the clock to the last message."""
        return self.sent_orbits / self.seconds if self.seconds > 0 else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        del plain["started"]
        return {
            **plain,
            "feed": f"{self.feed:016x}",
            "dropped_messages": dict(self.dropped_messages),
            "dropped_packets": dict(self.dropped_packets),
            "orbits_per_s": self.rate,
        }


@dataclass(frozen=True)
class FeedResult:
    """What one feed, or several in one process, did."""

    receipt: Receipt
    feeds: tuple[FeedState, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**self.receipt.as_dict(), "feeds": [one.as_dict() for one in self.feeds]}


def joined(results: Sequence[FeedResult]) -> FeedResult:
    """The feeds of one process as one result: accounts and facts added up."""
    if len(results) == 1:
        return results[0]
    ledger = Ledger()
    receipts = [result.receipt for result in results]
    for receipt in receipts:
        for unit, part in receipt.ledger.accounts.items():
            whole = ledger[unit]
            whole.received += part.received
            whole.out += part.out
            whole.pending += part.pending
            whole.dropped += part.dropped
            whole.bad += part.bad
        for name, amount in receipt.ledger.facts.items():
            ledger.add(name, amount)
    whole_receipt = Receipt(
        command="feed",
        ledger=ledger,
        seconds=max(receipt.seconds for receipt in receipts),
        source=f"{len(receipts)} feeds",
        status="complete" if all(r.status == "complete" for r in receipts) else "interrupted",
        lhc_seconds=max(receipt.lhc_seconds or 0.0 for receipt in receipts),
        bad=tuple(text for receipt in receipts for text in receipt.bad),
    )
    return FeedResult(whole_receipt, tuple(feed for result in results for feed in result.feeds))
