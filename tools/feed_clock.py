"""The clock of a feed: when an orbit is due, how late it is, and whether the process stood still.

Orbit k ends (k + 1 - base) / rate after the start. Every due time is computed from the start, so
errors of single sleeps never add up. The monotonic clock is used: setting the time of day changes
nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from scout40.streams.block import ORBIT_HZ
from scout40.streams.errors import BadConfig

PAUSE = 1.0
"""Seconds. A step longer than this between two looks at the clock, which are 0.1 s apart, means
that the process was stopped; a feed that is later than this does not catch up any more."""

WAIT = 0.1
"""Longest single wait of a feed, in seconds."""

CATCH_UP = 1.5
"""A feed that is late sends at most at this multiple of its rate, after a burst: what delayed it
has often delayed its consumer too."""


def parse_rate(text: str) -> float | None:
    """Orbits per second of ``1x``, ``2.5x`` (times the LHC's) or ``100``; None for ``max``.

    Raises BadConfig for anything else.
    """
    if text == "max":
        return None
    try:
        rate = float(text.removesuffix("x")) * (ORBIT_HZ if text.endswith("x") else 1.0)
    except ValueError:
        rate = math.nan
    if not 0 < rate < math.inf:
        raise BadConfig(f"rate {text!r}: expected 1x, 2.5x, max or orbits per second")
    return rate


class FeedClock:
    """Due times of orbits.

    rate:
        orbits per second; None: everything is due at once.
    burst:
        messages that may follow each other without a wait when the feed is late.
    now:
        seconds, never going back.
    """

    def __init__(
        self, rate: float | None, burst: int, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.rate = rate
        self.pauses = 0
        self.paused_seconds = 0.0
        self.slips = 0
        """Times that due times were put off, but not for a pause."""
        self.slipped_seconds = 0.0
        self.paused = False
        """Was there a pause since the feed was last on time?"""
        self._now = now
        self._burst = burst
        self._last = now()
        self._anchor, self._base = self._last, 0
        self._earliest = -math.inf

    def start(self, orbit: int) -> None:
        """``orbit`` begins now."""
        self._last = self._anchor = self._now()
        self._base = orbit
        self.paused = False

    def go_on(self, end: int, orbit: int) -> None:
        """``orbit``, of another run, begins when the orbit before ``end`` has ended."""
        self._anchor, self._base = self.due(end), orbit

    def tick(self) -> float:
        """The time; to be called at least every WAIT seconds, for pauses are found here."""
        now = self._now()
        if now - self._last > PAUSE:
            self.pauses += 1
            self.paused_seconds += now - self._last
            self.paused = True
        self._last = now
        return now

    def due(self, end: int) -> float:
        """When the orbit before ``end`` is over, on the clock of ``tick``."""
        return self._anchor if self.rate is None else self._anchor + (end - self._base) / self.rate

    def wait(self, end: int) -> float:
        """Seconds until a message that ends before the orbit ``end`` may go; 0: now."""
        if self.rate is None:
            return 0.0
        return max(self.due(end), self._earliest) - self.tick()

    def lag(self, end: int) -> float:
        """Seconds by which the orbit before ``end`` is late."""
        lag = 0.0 if self.rate is None else max(0.0, self.tick() - self.due(end))
        self.paused = self.paused and lag > PAUSE
        return lag

    def sent(self, orbits: int) -> None:
        """A message of ``orbits`` went out or was dropped."""
        if self.rate is not None:
            # Each message pushes a mark forward by its share; it may run ahead by the burst.
            share = orbits / self.rate / CATCH_UP
            ahead = self._burst * share
            self._earliest = max(self._earliest + ahead, self._last) + share - ahead

    def put_off(self, seconds: float) -> None:
        """All due times are later by ``seconds``: the feed gives up catching up."""
        self._anchor += seconds
        if not self.paused:
            self.slips += 1
            self.slipped_seconds += seconds
