"""Messages of several feeds come out by orbit, each event once, and nobody is waited for long."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scout40.streams.ledger import Ledger
from scout40.streams.merge import Arrival, Batch, Merger
from scout40.streams.sources.events import Events
from scout40.streams.tracker import LATE, Position

RUN = 5


def arrival(
    feed: int, first: int, orbits: int = 4, at: float = 0.0, run: int = RUN, sequence: int = 0
) -> Arrival:
    orbit = np.arange(first, first + orbits)
    zero = np.zeros(orbits, np.int64)
    table = np.stack([zero, zero, zero, orbit, zero + feed], 1)
    events = Events(np.zeros(0, np.uint32), table, run, "here")
    after = Position(sequence + 1, 0, 0)
    return Arrival(feed, events, first, first + orbits, 0, at, after)


def merger(*feeds: int, ledger: Ledger | None = None) -> Merger:
    found = Merger(ledger or Ledger(), window_s=1.0)
    for feed in feeds:
        found.begin(feed)
    return found


def orbits_of(batch: Batch | None) -> list[tuple[int, int]]:
    """(orbit, feed) of the events of a batch, in its order."""
    assert batch is not None
    return [(int(o), one.feed) for one in batch.arrivals for o in one.events.orbit]


def test_one_feed_goes_straight_through() -> None:
    one = merger(1)
    one.put(arrival(1, 0))
    one.put(arrival(1, 4))
    assert orbits_of(one.take(0.0, 256)) == [(k, 1) for k in range(8)]
    assert one.take(0.0, 256) is None
    assert one.packets == 0


def test_orbits_wait_for_the_other_feed() -> None:
    one = merger(1, 2)
    one.put(arrival(1, 0, 8))
    assert one.take(0.5, 256) is None
    one.put(arrival(2, 0, 4))
    assert sorted(orbits_of(one.take(0.5, 256))) == [(k, f) for k in range(4) for f in (1, 2)]
    assert one.take(0.5, 256) is None


def test_a_feed_that_lags_is_late_after_the_window() -> None:
    ledger = Ledger()
    one = merger(1, 2, ledger=ledger)
    one.put(arrival(2, 0, 2))
    one.put(arrival(1, 0, 8))
    assert sorted(orbits_of(one.take(0.0, 256))) == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert orbits_of(one.take(1.0, 256)) == [(k, 1) for k in range(2, 8)]
    one.put(arrival(2, 2, 8, at=1.5))
    assert ledger["packets"].dropped == {LATE: 6}
    assert orbits_of(one.take(3.0, 256)) == [(8, 2), (9, 2)]


def test_a_feed_that_ended_is_not_waited_for() -> None:
    one = merger(1, 2)
    one.put(arrival(1, 0))
    one.end(2)
    assert len(orbits_of(one.take(0.0, 256))) == 4


def test_a_heartbeat_says_how_far_a_feed_is() -> None:
    one = merger(1, 2)
    one.put(arrival(2, 0))
    one.put(arrival(1, 0, 12))
    assert len(orbits_of(one.take(0.0, 256))) == 8
    one.reached(2, RUN, 8)
    assert orbits_of(one.take(0.0, 256)) == [(k, 1) for k in range(4, 8)]


def test_a_batch_has_at_most_so_many_orbits_and_one_run() -> None:
    one = merger(1)
    for place in range(0, 12, 4):
        one.put(arrival(1, place, sequence=place // 4))
    one.put(arrival(1, 0, run=RUN + 1, sequence=3))
    first = one.take(0.0, 6)
    assert first is not None
    assert [o for o, _ in orbits_of(first)] == list(range(6))
    assert [a.after for a in first.arrivals] == [Position(1, 0, 0), None]
    assert [o for o, _ in orbits_of(one.take(0.0, 256))] == list(range(6, 12))
    last = one.take(0.0, 256)
    assert last is not None
    assert last.run == RUN + 1


def test_a_single_feed_that_starts_again_is_not_late() -> None:
    ledger = Ledger()
    one = merger(1, ledger=ledger)
    one.put(arrival(1, 1000))
    one.end(1)
    one.begin(2)
    one.put(arrival(2, 0))
    assert orbits_of(one.take(0.0, 256)) == [(k, 1) for k in range(1000, 1004)]
    assert orbits_of(one.take(0.0, 256)) == [(k, 2) for k in range(4)]
    assert not ledger["packets"].dropped


@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(0, 2), st.booleans()),
        max_size=30,
    ),
    st.integers(1, 9),
)
def test_every_event_comes_out_once_in_order_or_is_late(
    steps: list[tuple[int, int, int, bool]], most: int
) -> None:
    ledger = Ledger()
    one = merger(1, 2, 3, ledger=ledger)
    places = {1: 0, 2: 0, 3: 0}
    put, now = 0, 0.0
    came: list[list[tuple[int, int]]] = []
    for feed, orbits, skip, take in steps:
        first = places[feed] + skip
        places[feed] = first + orbits
        one.put(arrival(feed, first, orbits, now))
        put += orbits
        now += 0.3
        if take:
            batch = one.take(now, most)
            came += [orbits_of(batch)] if batch else []
    while (batch := one.take(now, most, force=True)) is not None:
        came.append(orbits_of(batch))
    late = ledger["packets"].dropped[LATE]
    events = [event for batch in came for event in batch]
    assert len(events) == len(set(events)) == put - late
    assert ledger["packets"].pending == put - late
    ranges = [(min(b)[0], max(b)[0]) for b in came if b]
    assert all(before[1] < after[0] for before, after in itertools.pairwise(ranges))
    assert all(high - low < max(most, 1) for low, high in ranges)
