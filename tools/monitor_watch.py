"""What a viewer knows of a live run: the newest snapshot, when it came, and what came before.

The producer keeps no history for viewers: sparklines, recent losses and trends come from the
snapshots that this viewer has seen.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar, cast

from scout40.streams.errors import BadInput
from scout40.streams.snapshot import Snapshot, from_json
from scout40.tools.monitor_text import printable

T = TypeVar("T")

KEPT = 240
"""Snapshots whose rates are kept."""
RECENT_S = 10.0
"""What counts as now: losses are shown as going on for this long."""


@dataclass(frozen=True)
class Point:
    """What is kept of one snapshot; ``at``: seconds of its producer's clock."""

    at: float
    losses: Counter[str]
    lag_s: float
    orbits_per_s: float
    rows_per_s: float
    rates: dict[str, float]
    stages: dict[str, float]


@dataclass
class Watch:
    """The state of one viewer; ``where`` is what it looks at, ``began`` when it began to.

    Times are monotonic seconds of this process. ``unreadable`` counts messages that were no
    snapshot, ``problem`` says what was wrong with the newest message, if anything, and ``link``
    how the way to the run does.
    """

    where: str
    began: float
    newest: Snapshot | None = None
    arrived: float = 0.0
    unreadable: int = 0
    problem: str = ""
    link: str = ""
    points: deque[Point] = field(default_factory=lambda: deque(maxlen=KEPT))

    def add(self, data: bytes, now: float, age: float = 0.0) -> bool:
        """Take one message that was made ``age`` seconds ago; False when it was no news."""
        try:
            snapshot = _clean(from_json(data))
        except BadInput as error:
            self.unreadable += 1
            self.problem = str(error)
            return False
        self.problem = ""
        if self.newest is not None:
            before = self.newest
            if (before.host, before.pid, before.started_ns) != (
                snapshot.host, snapshot.pid, snapshot.started_ns,
            ):  # fmt: skip
                self.points.clear()  # another run: its counters begin anew
            elif snapshot.sequence <= before.sequence:
                return False
        self.newest, self.arrived = snapshot, now - max(0.0, age)
        self.points.append(_point(snapshot))
        return True

    def age(self, now: float) -> float:
        """Seconds since the newest snapshot, or since the viewer began."""
        return max(0.0, now - (self.began if self.newest is None else self.arrived))

    def recent(self) -> list[Point]:
        """The points of the last RECENT_S seconds and the one before them, oldest first."""
        if not self.points:
            return []
        limit = self.points[-1].at - RECENT_S
        first = max((k for k, point in enumerate(self.points) if point.at <= limit), default=0)
        return list(self.points)[first:]

    def lost_lately(self) -> Counter[str]:
        """Losses by reason within the last RECENT_S seconds; empty with fewer than two points."""
        points = self.recent()
        if len(points) < 2:
            return Counter()
        return points[-1].losses - points[0].losses


def losses(snapshot: Snapshot) -> Counter[str]:
    """Packets that are gone for good, by reason, since the run began.

    A queue that keeps the last entry only feeds displays: what it skips is not lost.
    """
    found: Counter[str] = Counter()
    for source in snapshot.sources:
        found["lost on the way"] += source.lost
        found["dropped by the feed"] += source.dropped_by_feed
        found["late"] += source.late
        found["bad"] += source.bad
    for name, queue in snapshot.queues.items():
        if queue.policy != "keep-last":
            found[f"dropped at {name}"] += queue.dropped
    return +found


def lag(snapshot: Snapshot) -> float:
    """Seconds that the slowest source is behind."""
    behind = [one.lag_s for one in snapshot.sources if one.state in ("running", "conflict")]
    # What a silent source has not sent is at least as old as its silence.
    behind += [max(one.lag_s, one.age_s) for one in snapshot.sources if one.state == "stale"]
    return max(behind, default=0.0)


def _clean(value: T) -> T:
    """The same value whose texts cannot steer a terminal and have one cell a character."""
    found: object = value
    if isinstance(value, str):
        found = printable(value)
    elif isinstance(value, tuple):
        plain = value and isinstance(value[0], int | float)  # histograms are long
        found = value if plain else tuple(map(_clean, value))
    elif isinstance(value, Mapping):
        found = {_clean(name): _clean(inner) for name, inner in value.items()}
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        found = dataclasses.replace(value, **{name: _clean(getattr(value, name)) for name in names})
    return cast(T, found)


def _point(snapshot: Snapshot) -> Point:
    return Point(
        at=snapshot.time_ns / 1e9,
        losses=losses(snapshot),
        lag_s=lag(snapshot),
        orbits_per_s=snapshot.orbits_per_s,
        rows_per_s=snapshot.written_rows_per_s,
        rates={rate.name: rate.hz for rate in snapshot.rates},
        stages=dict(snapshot.stages),
    )
