"""Messages of several feeds merged by orbit, within a window of time.

A feed that lags holds the others back for at most the window; what it then still brings for
orbits that have gone on is late. Memory is bounded by the capacity in packets.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from scout40.streams.ledger import Ledger
from scout40.streams.sources.events import Events
from scout40.streams.tracker import LATE, Position


class Arrival(NamedTuple):
    """Good events of one message, with what the clocks said.

    first, last: orbits [first, last) that the message covers. sent_ns: Unix time at the feed,
    arrived: seconds of the consumer's own clock. after: the feed's position behind the message;
    None for the first part of one that was cut.
    """

    feed: int
    events: Events
    first: int
    last: int
    sent_ns: int
    arrived: float
    after: Position | None


Key = tuple[int, int, int]
"""(epoch, run, orbit): a feed that starts again with earlier orbits begins an epoch."""

_START: Key = (-1, -1, -1)
_FAR = 1 << 62


@dataclass
class Lane:
    """One feed: what waits, and the orbit that follows what it has brought."""

    epoch: int = 0
    waiting: deque[Arrival] = field(default_factory=deque)
    frontier: Key = _START
    live: bool = True

    def key(self) -> Key:
        """Of the first that waits."""
        head = self.waiting[0]
        return self.epoch, head.events.run, head.first


class Batch(NamedTuple):
    """Arrivals whose orbits go on together; all of one run."""

    run: int
    arrivals: list[Arrival]

    @property
    def packets(self) -> int:
        return sum(len(arrival.events) for arrival in self.arrivals)


@dataclass
class Merger:
    """Lanes by feed; ``passed`` is the place before which nothing may come any more."""

    ledger: Ledger
    window_s: float
    lanes: dict[int, Lane] = field(default_factory=dict)
    passed: Key = _START
    epoch: int = 0
    packets: int = 0
    late: dict[int, int] = field(default_factory=dict)

    def begin(self, feed: int) -> None:
        """A feed appears."""
        self.lanes[feed] = Lane(self.epoch)

    def end(self, feed: int) -> None:
        """The feed brings nothing more: nobody waits for it, what it brought stays."""
        if feed in self.lanes:
            self.lanes[feed].live = False

    def revive(self, feed: int) -> None:
        """A feed that was silent brings something again."""
        if feed in self.lanes:
            self.lanes[feed].live = True
        else:
            self.begin(feed)

    def reached(self, feed: int, run: int, orbit: int) -> None:
        """A heartbeat: the feed has nothing before this orbit."""
        lane = self.lanes.get(feed)
        if lane is not None and lane.frontier != _START:
            lane.frontier = max(lane.frontier, (lane.epoch, run, orbit))

    def put(self, arrival: Arrival) -> None:
        """The next message of a feed; its good events become pending."""
        lane, run = self.lanes[arrival.feed], arrival.events.run
        start = lane.epoch, run, arrival.first
        if lane.frontier == _START and start < self._alone_after(lane):
            self.epoch += 1
            lane.epoch = self.epoch
        elif start < self.passed:
            arrival = self._without_late(arrival)
        lane.frontier = (lane.epoch, run, arrival.last)
        if len(arrival.events):
            lane.waiting.append(arrival)
            self.packets += len(arrival.events)
            self.ledger["packets"].pending += len(arrival.events)

    def oldest(self) -> float | None:
        """When the first of what waits arrived."""
        return min((lane.waiting[0].arrived for lane in self.lanes.values() if lane.waiting),
                   default=None)  # fmt: skip

    def take(self, now: float, most_orbits: int, *, force: bool = False) -> Batch | None:
        """The next orbits that all live feeds have brought, or that have waited long enough.

        force: wait for nobody. The caller settles the packets of the batch in the ledger.
        """
        self.lanes = {f: lane for f, lane in self.lanes.items() if lane.live or lane.waiting}
        filled = [lane for lane in self.lanes.values() if lane.waiting]
        if not filled:
            return None
        lane = min(filled, key=Lane.key)
        head, start = lane.waiting[0], lane.key()
        stop = self._frontier(start)
        if stop <= head.first:
            if not force and now - head.arrived < self.window_s:
                return None
            stop = head.last
        stop = min(stop, max(head.first + most_orbits, head.first + 1))
        same = [one for one in filled if one.key()[:2] == start[:2]]
        arrivals = [piece for one in same for piece in _before(one.waiting, start[1], stop)]
        batch = Batch(start[1], arrivals)
        end = max(min(arrival.last, stop) for arrival in arrivals)
        self.passed = max(self.passed, (*start[:2], end))
        self.packets -= batch.packets
        return batch

    def _frontier(self, start: Key) -> int:
        """Orbit of this epoch and run up to which every live feed has brought what it has."""
        least = min((one.frontier for one in self.lanes.values() if one.live), default=None)
        if least is None or least[:2] > start[:2]:
            return _FAR
        return least[2] if least[:2] == start[:2] else -1

    def drop_oldest(self) -> int:
        """Throws the oldest waiting message away; its packets."""
        filled = [lane for lane in self.lanes.values() if lane.waiting]
        if not filled:
            return 0
        lane = min(filled, key=lambda lane: lane.waiting[0].arrived)
        number = len(lane.waiting.popleft().events)
        self.packets -= number
        return number

    def _alone_after(self, lane: Lane) -> Key:
        """How far the feeds before this one came, when it is the only live one; else _START."""
        others = [one for one in self.lanes.values() if one is not lane]
        if any(one.live for one in others):
            return _START
        return max([self.passed, *(one.frontier for one in others if one.waiting)])

    def _without_late(self, arrival: Arrival) -> Arrival:
        events = arrival.events
        _, run, orbit = self.passed
        keep = np.zeros(len(events), bool) if events.run < run else events.orbit >= orbit
        late = int((~keep).sum())
        self.ledger["packets"].dropped[LATE] += late
        self.late[arrival.feed] = self.late.get(arrival.feed, 0) + late
        first = arrival.last if events.run < run else max(arrival.first, orbit)
        return arrival._replace(events=events.take(keep), first=first)


def _before(waiting: deque[Arrival], run: int, stop: int) -> list[Arrival]:
    """Takes what is before orbit ``stop``; a message that goes beyond is cut in two."""
    taken = []
    while waiting and waiting[0].events.run == run and waiting[0].first < stop:
        arrival = waiting.popleft()
        if arrival.last > stop:
            cut = int(np.searchsorted(arrival.events.orbit, stop))
            rest = arrival.events.take(slice(cut, None))
            waiting.appendleft(arrival._replace(events=rest, first=stop))
            arrival = arrival._replace(
                events=arrival.events.take(slice(0, cut)), last=stop, after=None
            )
            taken.append(arrival)
            break
        taken.append(arrival)
    return taken
