"""The engine of the feed: exact bytes, pace, and counts that agree at both ends."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import pytest

from scout40.streams import wire
from scout40.streams.block import ORBIT_HZ
from scout40.streams.errors import BadConfig, BadInput
from scout40.streams.formats import frd
from scout40.streams.ledger import Ledger
from scout40.streams.sockets import Pull
from scout40.streams.sources.synthetic import Synthetic
from scout40.tools import feeder
from scout40.tools.feeder import Feeder, FeedResult, FeedSettings, feed
from tests.tools.feed_consumer import Background, Received, Stop, receive

SYNTHETIC = "synthetic:gmt?pileup=5"
MAX = FeedSettings(rate=None)


@pytest.fixture
def ipc(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/feed"


def check_ends_agree(result: FeedResult, received: Received) -> Ledger:
    """What the feed says it sent and dropped, what its end message says, and what arrived."""
    (state,), ledger = result.feeds, result.receipt.ledger
    ledger.check()
    packets, messages = ledger["packets"], ledger["messages"]
    assert received.end is not None
    assert received.end.sent_packets == packets.out == received.packets
    assert received.end.dropped_packets == packets.dropped.total()
    assert received.end.sequence == messages.received
    assert len(received.headers) == messages.out
    assert received.missing == messages.dropped.total()
    assert received.end.first_orbit == state.next_orbit
    sent = 0
    for header in received.headers:
        assert header.sent_packets == sent, "packets sent before this message"
        assert header.feed == state.feed
        sent += header.packets
    return ledger


def test_replays_the_bytes_of_a_file(sample_file: Path, ipc: str) -> None:
    with Background(str(sample_file), ipc, FeedSettings(rate=None, packet_orbits=5)) as running:
        received = receive([ipc])
        result = running.result()
    assert bytes(received.payload) == sample_file.read_bytes()[32:], "all behind the file header"
    ledger = check_ends_agree(result, received)
    assert ledger["packets"].out == ledger["packets"].received == 32
    assert [(h.first_orbit, h.orbits, h.packets) for h in received.headers] == [
        (1000, 5, 10), (1005, 5, 10), (1010, 5, 10), (1015, 1, 2),
    ]  # fmt: skip
    assert {(h.run, h.source) for h in received.headers} == {(400040, frd.GMT)}
    assert result.receipt.status == "complete"


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:*", "inproc://feeder-test"])
def test_other_transports(sample_file: Path, endpoint: str) -> None:
    with Background(str(sample_file), endpoint, MAX) as running:
        received = receive([running.address])
        check_ends_agree(running.result(), received)
    assert bytes(received.payload) == sample_file.read_bytes()[32:]


def test_the_synthetic_stream(ipc: str) -> None:
    """Every orbit once, the same bytes as the generator makes alone."""
    chosen = FeedSettings(rate=None, packet_orbits=24, first_orbit=100, orbits=300, run=77)
    with Background(SYNTHETIC, ipc, chosen) as running:
        received = receive([ipc])
        check_ends_agree(running.result(), received)
    expected, packets = Synthetic(pileup=5, run=77).payload(100, 300)
    assert bytes(received.payload) == expected.tobytes()
    assert packets == received.packets
    assert [h.orbits for h in received.headers] == [24] * 12 + [12]


def test_loop_goes_on_with_orbit_numbers(sample_file: Path, ipc: str) -> None:
    chosen = FeedSettings(rate=None, loop=True, orbits=40, source_id=5)
    with Background(str(sample_file), ipc, chosen) as running:
        received = receive([ipc])
        check_ends_agree(running.result(), received)
    assert [(h.first_orbit, h.orbits) for h in received.headers] == [
        (1000, 16), (1016, 16), (1032, 8),
    ]  # fmt: skip
    assert {h.source for h in received.headers} == {5}
    events = sample_file.read_bytes()[32:]
    second = bytes(received.payload[len(events) : 2 * len(events)])
    assert struct.unpack_from("<I", second, 12)[0] == 1016, "the orbit of the event header"
    assert (second[:12], second[16:100]) == (events[:12], events[16:100])


def test_slow_consumer_drops_are_counted_equally(ipc: str) -> None:
    chosen = FeedSettings(rate=None, policy="drop", high_water=4, orbits=64_000)
    with Background("synthetic:gmt", ipc, chosen) as running:
        first = receive([ipc], enough=1)  # connects, takes some, and goes
        running.until("draining")
        rest = receive([ipc])
        result = running.result()
    assert rest.end is not None
    assert rest.end.dropped_packets > 0
    assert rest.end.sequence == 4000
    ledger = result.receipt.ledger
    ledger.check()
    assert ledger["messages"].received == 4000
    assert rest.end.dropped_packets == ledger["packets"].dropped.total()
    assert rest.end.sent_packets == ledger["packets"].out
    assert set(ledger["packets"].dropped) == {feeder.SLOW_CONSUMER}
    assert first.headers[0].sequence == 0


def test_slow_consumer_that_stays(ipc: str) -> None:
    """It loses what the feed says it dropped, to the message."""
    chosen = FeedSettings(rate=None, policy="drop", high_water=2, orbits=32_000)
    with Background("synthetic:gmt", ipc, chosen) as running:
        received = Received()
        pull = Pull([ipc], high_water=2)
        try:
            while received.end is None:
                got = pull.receive(5000)
                assert got is not None, running.feeder.state
                received.add(wire.decode(got[1]))
                time.sleep(0.002)
        finally:
            pull.close()
        ledger = check_ends_agree(running.result(), received)
    assert received.missing > 100
    assert ledger["messages"].received == 2000


def test_a_rate_that_cannot_be_reached(ipc: str) -> None:
    """What could not be made in time was never made, and is counted as dropped all the same."""
    orbits = 11_245_500 * 3 // 2
    chosen = FeedSettings(rate=1000 * ORBIT_HZ, orbits=orbits, packet_orbits=256)
    with Background(SYNTHETIC, ipc, chosen) as running:
        received = receive([ipc])
        result = running.result()
        ledger = check_ends_agree(result, received)
    assert ledger["packets"].received == orbits
    assert ledger["packets"].dropped[feeder.SLOW_FEED] > orbits // 2
    assert ledger["packets"].dropped[feeder.PAUSED] == 0
    assert received.end is not None
    assert received.end.first_orbit == orbits


def test_blocking_loses_nothing(ipc: str) -> None:
    chosen = FeedSettings(rate=None, high_water=1, orbits=3200)
    with Background("synthetic:gmt", ipc, chosen) as running:
        received = Received()
        pull = Pull([ipc], high_water=1)
        try:
            time.sleep(0.5)
            while received.end is None:
                got = pull.receive(5000)
                assert got is not None, running.feeder.state
                received.add(wire.decode(got[1]))
        finally:
            pull.close()
        result = running.result()
        check_ends_agree(result, received)
    assert received.missing == 0
    assert received.packets == 3200
    assert result.feeds[0].blocked_seconds > 0


def test_pace_of_the_lhc(ipc: str) -> None:
    """Two seconds: never ahead of the clock; a busy machine may be late, but not lose time."""
    chosen = FeedSettings(packet_orbits=64, orbits=22_528, policy="block")
    with Background(SYNTHETIC, ipc, chosen) as running:
        running.until("waiting for a consumer")
        received = receive([ipc])
        result = running.result()
    state = result.feeds[0]
    ideal = 22_528 / ORBIT_HZ
    assert ideal <= state.seconds < ideal + 1.0
    assert state.rate <= ORBIT_HZ
    begin = received.headers[0].send_time_ns / 1e9 - 64 / ORBIT_HZ
    ahead = [
        (h.first_orbit + h.orbits) / ORBIT_HZ - (h.send_time_ns / 1e9 - begin)
        for h in received.headers
    ]
    assert max(ahead) < 0.05, "against the first message, which may itself be late"
    assert len(received.headers) == 352


def test_a_number_is_orbits_per_second(ipc: str) -> None:
    with Background(SYNTHETIC, ipc, FeedSettings(rate=3200, orbits=1600)) as running:
        received = receive([ipc])
        result = running.result()
    check_ends_agree(result, received)
    assert 0.5 <= result.feeds[0].seconds < 1.5


def test_heartbeats_when_nothing_is_sent(ipc: str) -> None:
    chosen = FeedSettings(rate=32, heartbeat=0.1, orbits=48)
    with Background(SYNTHETIC, ipc, chosen) as running:
        received = receive([ipc])
        result = running.result()
    check_ends_agree(result, received)
    assert len(received.headers) == 3  # half a second apart
    assert 5 <= len(received.beats) <= 16
    assert received.beats[0].sequence == 0
    assert received.beats[0].first_orbit == 0
    assert {(h.orbits, h.packets) for h in received.beats} == {(0, 0)}
    between = [h for h in received.beats if h.sequence == 2]
    assert between
    assert {(h.first_orbit, h.sent_packets) for h in between} == {(32, 32)}
    assert result.feeds[0].heartbeats == len(received.beats)


def test_end_when_stopped(ipc: str) -> None:
    with Background(SYNTHETIC, ipc, FeedSettings(rate=3200)) as running:
        running.until("waiting for a consumer")
        received = running.received_while(ipc, lambda: len_of(running) >= 20)
        result = running.result()
    check_ends_agree(result, received)
    assert result.receipt.status == "interrupted"
    assert len(received.headers) >= 20


def len_of(running: Background) -> int:
    return running.feeder.state.sent_messages


def test_stop_of_a_file_leaves_the_rest_pending(sample_file: Path, ipc: str) -> None:
    chosen = FeedSettings(rate=20, packet_orbits=2)
    with Background(str(sample_file), ipc, chosen) as running:
        received = running.received_while(ipc, lambda: len_of(running) >= 2)
        result = running.result()
    ledger = check_ends_agree(result, received)
    account = ledger["packets"]
    assert (account.received, account.bad.total()) == (32, 0)
    assert account.pending == 32 - account.out > 0


def test_stop_while_blocked(ipc: str) -> None:
    chosen = FeedSettings(rate=None, high_water=1, linger=0.3)
    with Background("synthetic:gmt", ipc, chosen) as running:
        pull = Pull([ipc], high_water=1)
        try:
            running.until("running")
            sent = -1
            while sent != len_of(running):  # until the socket is full
                sent = len_of(running)
                time.sleep(0.3)
            running.stop.requested = True
            begin = time.monotonic()
            result = running.result()
        finally:
            pull.close()
    assert time.monotonic() - begin < 5
    result.receipt.ledger.check()
    assert dict(result.receipt.ledger["messages"].dropped) == {feeder.STOPPED: 1}


def test_nobody_ever_comes(ipc: str) -> None:
    """With ``wait`` nothing is lost, without it everything is."""
    with Background(SYNTHETIC, ipc, FeedSettings(orbits=160)) as running:
        running.until("waiting for a consumer")
        time.sleep(0.2)
        running.stop.requested = True
        result = running.result()
    assert result.receipt.ledger["packets"].received == 0
    result = feed(SYNTHETIC, ipc, FeedSettings(rate=16_000, orbits=160, wait=False))
    account = result.receipt.ledger["packets"]
    assert (account.received, account.out) == (160, 0)
    assert dict(account.dropped) == {feeder.SLOW_CONSUMER: 160}
    assert result.receipt.status == "complete"


def test_bad_events_do_not_stop_the_feed(sample_file: Path, tmp_path: Path, ipc: str) -> None:
    data = bytearray(sample_file.read_bytes())
    size = struct.unpack_from("<I", data, 32 + 16)[0]
    data[32 + 24 + size - 1] ^= 1  # the last byte of the first event
    path = tmp_path / "bad.raw"
    path.write_bytes(data)
    chosen = FeedSettings(rate=None, quarantine=tmp_path / "kept")
    with Background(str(path), ipc, chosen) as running:
        received = receive([ipc])
        result = running.result()
    ledger = check_ends_agree(result, received)
    assert bytes(received.payload) == bytes(data[32 + 24 + size :])
    account = ledger["packets"]
    assert (account.received, account.out) == (32, 31)
    assert dict(account.bad) == {"crc mismatch": 1}
    assert len(list((tmp_path / "kept").glob("*.bin"))) == 1
    assert "crc32c" in result.receipt.bad[0]


def test_an_error_in_the_middle_still_ends_the_stream(
    sample_file: Path, tmp_path: Path, ipc: str
) -> None:
    two = tmp_path / "two.raw"
    other = bytearray(sample_file.read_bytes()[32:])
    place = 0
    while place < len(other):
        struct.pack_into("<I", other, place + 4, 500_000)
        place += 24 + struct.unpack_from("<I", other, place + 16)[0]
    two.write_bytes(sample_file.read_bytes()[32:] + other)
    with Background(str(two), ipc, FeedSettings(rate=None, loop=True)) as running:
        received = receive([ipc])
        with pytest.raises(BadInput, match="second run 500000"):
            running.result()
    assert received.end is not None
    assert received.packets == received.end.sent_packets == 32


def test_nothing_in_the_file(tmp_path: Path, ipc: str) -> None:
    empty = tmp_path / "empty.raw"
    empty.touch()
    with pytest.raises(BadInput, match="empty file"):
        feed(str(empty), ipc, MAX)
    broken = tmp_path / "broken.raw"
    broken.write_bytes(b"RAW_0002" + bytes(40))
    with pytest.raises(BadInput, match="no orbit could be read"):
        feed(str(broken), ipc, MAX)


@pytest.mark.parametrize(
    ("source", "settings", "text"),
    [
        ("synthetic:gmt?colour=red", {}, "'colour' is unknown"),
        ("synthetic:gmt?first=5", {}, "--first-orbit"),
        ("synthetic:gmt?run=5", {"run": 6}, "given twice"),
        (["synthetic:gmt", "synthetic:gmt"], {}, "cannot be merged"),
        ("synthetic:gmt", {"loop": True}, "nothing to loop"),
        ("synthetic:gmt", {"first_orbit": (1 << 32) - 1}, "the synthetic stream ends at"),
    ],
)
def test_sources_that_make_no_sense(
    source: str | list[str], settings: dict[str, int], text: str, ipc: str
) -> None:
    with pytest.raises(BadConfig, match=text):
        Feeder(source, ipc, FeedSettings(**settings))  # type: ignore[arg-type]


def test_only_raw_files(demo_menu_file: Path, links: Path, ipc: str) -> None:
    with pytest.raises(BadInput, match="a feed replays raw scouting files"):
        Feeder(str(links), ipc)
    with pytest.raises(BadInput, match="not recognised"):
        Feeder(str(demo_menu_file), ipc)


@pytest.mark.parametrize(
    "settings",
    [
        {"packet_orbits": 257}, {"packet_orbits": 0}, {"rate": 0.0}, {"rate": float("nan")},
        {"heartbeat": 0.0}, {"high_water": 0}, {"run": 1 << 32}, {"linger": -1.0},
    ],
)  # fmt: skip
def test_settings_are_checked(settings: dict[str, float]) -> None:
    (name,) = settings
    with pytest.raises(BadConfig, match=name):
        FeedSettings(**settings)  # type: ignore[arg-type]


def test_endpoints_are_checked(ipc: str) -> None:
    with pytest.raises(BadConfig, match="nonsense"):
        Feeder(SYNTHETIC, "nonsense")
    taken = Feeder(SYNTHETIC, "tcp://127.0.0.1:*")
    with pytest.raises(BadConfig, match="in use"):
        Feeder(SYNTHETIC, taken.state.address)
    taken.abandon()
    again = Feeder(SYNTHETIC, taken.state.address)
    again.abandon()
    stop = Stop()
    stop.requested = True
    result = feed(SYNTHETIC, ipc, stop=stop)
    assert result.receipt.status == "interrupted"
