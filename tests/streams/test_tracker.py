"""Every packet of a feed is accounted for, whatever the way does to its messages."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from scout40.streams.ledger import Ledger
from scout40.streams.sources.events import Received
from scout40.streams.tracker import BEFORE, BY_FEED, LATE, LOST, TWICE, Position, Tracker
from scout40.streams.wire import END
from tests.streams.live_messages import as_received, header, heartbeat, stream

ORBITS = 4


def tracker(ledger: Ledger, *, shared: bool = False, start: Position | None = None) -> Tracker:
    return Tracker(1, 1, "inproc://feed", ledger, shared=shared, window_s=1.0, start=start)


def settle(ledger: Ledger, accepted: list[Received]) -> None:
    """What the consumer does with what came through: out."""
    ledger["packets"].out += sum(one.header.packets for one in accepted)


@st.composite
def ways(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """(sequence numbers that the feed drops, messages as they arrive: lost, twice, moved)."""
    number = 8
    dropped = draw(st.lists(st.integers(1, number - 1), unique=True, max_size=3))
    sent = [k for k in range(number) if k not in dropped]
    arriving = draw(st.lists(st.sampled_from(sent), max_size=12))
    return sorted(dropped), arriving


@given(ways(), st.booleans())
@example(([], [0, 2, 1, 3, 4, 5, 6, 7]), False)
@example(([3], [0, 1, 1, 4, 2, 7]), True)
def test_every_packet_is_accounted_for_once(way: tuple[list[int], list[int]], end: bool) -> None:
    dropped, arriving = way
    messages = {head.sequence: (head, data) for head, data in stream(8, ORBITS, dropped=dropped)}
    ledger = Ledger()
    one = tracker(ledger)
    accepted: list[Received] = []
    for place, sequence in enumerate([0, *arriving]):
        accepted += one.take(as_received(*messages[sequence]), float(place))
    if end:
        accepted += one.take(as_received(*messages[8]), 100.0)
    accepted += one.give_up()
    settle(ledger, accepted)
    ledger.check()
    order = [item.header.sequence for item in accepted]
    assert order == sorted(set(order))
    account = ledger["packets"]
    if end:  # everything is known: what was sent arrived, is late or is lost
        assert one.ended
        twice = account.dropped[TWICE]
        assert account.received == 8 * ORBITS + twice
        assert account.dropped[BY_FEED] == len(dropped) * ORBITS
        came = {0, *arriving}
        never = 8 - len(dropped) - len(came)
        assert account.dropped[LOST] == never * ORBITS
        assert len(order) * ORBITS + account.dropped[LATE] == len(came) * ORBITS
        assert twice == (len(arriving) + 1 - len(came)) * ORBITS


def test_order_is_restored_within_the_window() -> None:
    messages = stream(4, ORBITS, end=False)
    ledger, now = Ledger(), 0.0
    one = tracker(ledger)
    found = [[m.header.sequence for m in one.take(as_received(*messages[k]), now)]
             for k in (0, 2, 3, 1)]  # fmt: skip
    assert found == [[0], [], [], [1, 2, 3]]
    assert (one.reordered, one.gaps, one.lost) == (2, 0, 0)


def test_a_gap_is_given_up_after_the_window_and_what_then_comes_is_late() -> None:
    messages = stream(4, ORBITS, end=False)
    ledger = Ledger()
    one = tracker(ledger)
    accepted = one.take(as_received(*messages[0]), 0.0)
    accepted += one.take(as_received(*messages[2]), 1.0)
    assert one.overdue(1.5) == []
    accepted += one.overdue(2.0)
    assert [item.header.sequence for item in accepted] == [0, 2]
    assert (one.gaps, one.lost) == (1, ORBITS)
    assert one.take(as_received(*messages[1]), 2.1) == []
    assert (one.lost, one.late) == (0, ORBITS)
    assert one.take(as_received(*messages[1]), 2.2) == []
    assert (one.late, one.duplicates) == (ORBITS, ORBITS)
    settle(ledger, accepted)
    ledger.check()


def test_what_the_feed_dropped_is_not_waited_for() -> None:
    messages = stream(4, ORBITS, dropped=[1, 2], end=False)
    ledger = Ledger()
    one = tracker(ledger)
    order = [m.header.sequence for item in messages for m in one.take(as_received(*item), 0.0)]
    assert order == [0, 3]
    assert (one.by_feed, one.lost, one.gaps) == (2 * ORBITS, 0, 0)
    assert ledger["packets"].dropped == {BY_FEED: 2 * ORBITS}


def test_a_heartbeat_tells_of_a_lost_tail() -> None:
    messages = stream(3, ORBITS, end=False)
    ledger = Ledger()
    one = tracker(ledger)
    one.take(as_received(*messages[0]), 0.0)
    totals = header(3, 3 * ORBITS, 0, first=12, kind=END)
    one.take(as_received(heartbeat(totals), b""), 1.0)
    assert one.lost == 0, "it may still come"
    one.overdue(2.0)
    assert one.lost == 2 * ORBITS


def test_counting_begins_with_the_first_message_that_comes() -> None:
    messages = stream(6, ORBITS, dropped=[1], end=False)
    ledger = Ledger()
    one = tracker(ledger)
    for item in messages[2:]:  # sequence 3 on
        settle(ledger, one.take(as_received(*item), 0.0))
    assert ledger["packets"].received == 3 * ORBITS
    assert ledger.facts == {"packets sent before this consumer came": 2 * ORBITS}
    ledger.check()


def test_a_consumer_that_comes_back_knows_what_it_missed() -> None:
    messages = stream(6, ORBITS, end=False)
    ledger = Ledger()
    one = tracker(ledger, start=Position(2, 2 * ORBITS, 0))
    for item in messages[4:]:
        settle(ledger, one.take(as_received(*item), 0.0))
    assert ledger["packets"].dropped == {BEFORE: 2 * ORBITS}
    assert ledger["packets"].received == 4 * ORBITS
    ledger.check()


def test_shared_feeds_have_no_gaps() -> None:
    messages = stream(6, ORBITS, dropped=[2])
    ledger = Ledger()
    one = tracker(ledger, shared=True)
    order = [m.header.sequence for item in messages[::2]
             for m in one.take(as_received(*item), 0.0)]  # fmt: skip
    assert order == [0, 3, 5]
    account = ledger["packets"]
    assert (account.received, account.dropped.total(), one.gaps) == (3 * ORBITS, 0, 0)
