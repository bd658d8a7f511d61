"""What comes in: queue policies, feeds that come, go, come back and get in each other's way."""

from __future__ import annotations

import threading
import time

import pytest

from scout40.streams.errors import BadInput
from scout40.streams.sources.base import Run
from scout40.streams.sources.events import Received
from scout40.streams.wire import END, HEARTBEAT
from scout40.tools.live_config import InputSettings
from scout40.tools.live_intake import CONFLICT, FULL, Intake, Queue, Unreadable, looked_at
from tests.streams.live_messages import as_received, header, stream
from tests.tools.live_memory import frames

PACKETS = 4


def items(messages: int, *, feed: int = 1, endpoint: str = "a", first: int = 0,
          source: int = 1, end: bool = True, arrived: float = 0.0) -> list[Received]:  # fmt: skip
    return [
        as_received(head, data, endpoint, arrived)
        for head, data in stream(messages, PACKETS, feed=feed, first=first, source=source, end=end)
    ]


def intake(**settings: object) -> Intake:
    return Intake(InputSettings(**settings), Run())  # type: ignore[arg-type]


def decided(one: Intake, now: float = 0.0) -> list[tuple[int, int]]:
    """(feed, orbit) of everything that may go on, settled in the ledger."""
    found = []
    account = one.run.ledger["packets"]
    while (batch := one.take(now, force=True)) is not None:
        found += [(a.feed, int(orbit)) for a in batch.arrivals for orbit in a.events.orbit]
        account.pending -= batch.packets
        account.out += batch.packets
    one.run.ledger.check()
    return found


def test_a_feed_from_beginning_to_end() -> None:
    one = intake()
    for item in items(3):
        one.put(item)
    assert decided(one) == [(1, k) for k in range(12)]
    assert one.ended
    assert one.feeds[1].state == "ended"
    assert one.run.ledger["messages"].out == 4


def test_a_restarted_feed_replaces_the_old_one_at_its_endpoint() -> None:
    one = intake()
    for item in items(2, end=False, first=1000):
        one.put(item)
    for item in items(2, feed=2):
        one.put(item)
    assert decided(one) == [(1, 1000 + k) for k in range(8)] + [(2, k) for k in range(8)]
    assert one.feeds[1].state == "replaced"
    assert one.run.ledger.facts["feeds that went away without an end"] == 1
    assert one.ended


def test_a_second_feed_with_the_same_source_id_is_refused_and_counted() -> None:
    one = intake()
    first, second = items(2, end=False), items(2, feed=2, endpoint="b", first=100, end=False)
    for mine, other in zip(first, second, strict=True):
        one.put(mine)
        one.put(other)
    assert decided(one) == [(1, k) for k in range(8)]
    assert one.feeds[2].state == "conflict"
    assert one.run.ledger["packets"].dropped == {CONFLICT: 8}
    assert one.run.ledger["messages"].dropped == {CONFLICT: 2}


def test_it_is_taken_when_the_first_has_gone() -> None:
    one = intake(stale_s=1.0)
    one.put(items(1, end=False)[0])
    first, second = items(2, feed=2, endpoint="b", first=100, end=False)
    one.put(first)
    one.tick(5.0)
    assert one.feeds[1].state == "stale"
    one.put(second._replace(arrived=5.0))
    assert decided(one) == [(1, k) for k in range(4)] + [(2, k) for k in range(104, 108)]
    assert one.feeds[2].state == "running"


def test_a_silent_feed_is_stale_and_runs_again_when_it_speaks() -> None:
    one = intake(stale_s=1.0)
    first, second = items(2, end=False)
    one.put(first)
    one.tick(2.0)
    assert one.feeds[1].state == "stale"
    assert not one.running
    one.put(second._replace(arrived=3.0))
    assert one.feeds[1].state == "running"
    assert decided(one) == [(1, k) for k in range(8)]


def test_heartbeats_keep_a_feed_alive() -> None:
    one = intake(stale_s=1.0)
    one.put(items(1, end=False)[0])
    beat = header(1, PACKETS, 0, first=4, kind=HEARTBEAT)
    for now in (0.9, 1.8, 2.7):
        one.put(as_received(beat, b"", "a", now))
        one.tick(now)
    assert one.feeds[1].state == "running"


def test_what_cannot_be_read_is_counted_and_its_packets_are_lost_in_a_gap() -> None:
    one = intake()
    first, second, third, last = frames(stream(3, PACKETS))
    assert not isinstance(second, float)
    _, (head, payload) = second
    broken = bytearray(memoryview(payload))
    broken[40] ^= 1
    for item in (first, ("memory", (head, bytes(broken))), third, last):
        assert not isinstance(item, float)
        one.put(looked_at(*item, 0.0))
    one.tick(1.0)
    assert [orbit for _, orbit in decided(one, 1.0)] == [0, 1, 2, 3, 8, 9, 10, 11]
    assert one.run.ledger["messages"].bad == {"crc mismatch": 1}
    assert one.run.ledger["packets"].dropped == {"lost on the way": 4}
    assert one.run.quarantine.count == 1


def test_a_feed_that_says_end_and_lost_its_tail() -> None:
    one = intake()
    one.put(items(3)[0])
    one.put(as_received(header(3, 12, 0, first=12, kind=END), b"", "a", 0.0))
    one.tick(1.0)
    assert one.ended
    assert decided(one) == [(1, k) for k in range(4)]
    assert one.run.ledger["packets"].dropped == {"lost on the way": 8}


def test_a_full_queue_that_blocks_waits() -> None:
    queue = Queue(8, "block")
    messages = items(3, end=False)

    def put() -> None:
        for message in messages:
            queue.put(message)

    thread = threading.Thread(target=put)
    thread.start()
    time.sleep(0.1)
    assert queue.filled == 8
    taken = queue.take(8, 1.0)
    thread.join(5)
    assert not thread.is_alive()
    assert len(taken) == 2
    assert len(queue.take(8, 1.0)) == 1


@pytest.mark.parametrize(("policy", "kept"), [("drop", [0, 1, 2, 3]), ("keep-last", [4, 5, 6, 7])])
def test_a_full_queue_that_drops_counts(policy: str, kept: list[int]) -> None:
    queue = Queue(4, policy)
    for item in items(2):
        queue.put(item)
    one = intake()
    for taken in queue.take(1 << 20, 0.0):
        one.put(taken)
    assert [orbit for _, orbit in decided(one)] == kept
    assert one.run.ledger["packets"].dropped == {FULL: 4}
    assert queue.dropped == 4
    assert one.ended


def test_a_closed_queue_lets_the_receiving_thread_go() -> None:
    queue = Queue(4, "block")
    first, second, *_ = items(2)
    queue.put(first)
    thread = threading.Thread(target=queue.put, args=(second,))
    thread.start()
    queue.close()
    thread.join(5)
    assert not thread.is_alive()


def test_unreadable_messages_have_no_size() -> None:
    queue = Queue(4, "block")
    for _ in range(10):
        queue.put(Unreadable("a", "wrong magic", BadInput("wrong magic"), b"", 0.0))
    assert len(queue.take(1, 0.0)) == 10
