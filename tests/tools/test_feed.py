"""``scout40 feed`` as a program: signals, a pause, kill -9, several feeds, what it prints."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from scout40.streams.block import ORBIT_HZ
from scout40.streams.errors import BadConfig, BadInput
from scout40.streams.sockets import Pull, Security
from scout40.tools.feed import open_feeds, run_feeds
from scout40.tools.feed_state import FeedSettings
from scout40.tools.pipeline import Never
from tests.tools.feed_consumer import Received, receive, receive_all
from tests.tools.program import run

SYNTHETIC = "synthetic:gmt?pileup=5"


@pytest.fixture
def ipc(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/feed"


@contextmanager
def program(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """The program in a process of its own, which is killed when it is left running."""
    command = [sys.executable, "-m", "scout40.tools", "feed", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@contextmanager
def consumer(endpoint: str, seconds: float = 120) -> Iterator[Future[Received]]:
    """A consumer on a thread of its own."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(receive, [endpoint], seconds)


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What a feed that is told to stop prints."""
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    found: dict[str, Any] = json.loads(stdout)
    assert found["ledger"]["balanced"]
    return found


def test_replay_from_the_command_line(sample_file: Path, ipc: str) -> None:
    with consumer(ipc) as future:
        done = run("feed", sample_file, "--to", ipc, "--rate", "max", "--json")
        received = future.result()
    assert done.exit_code == 0
    assert bytes(received.payload) == sample_file.read_bytes()[32:]
    found = json.loads(done.stdout)
    assert found["command"] == "feed"
    assert found["ledger"]["accounts"]["packets"]["out"] == 32
    assert found["feeds"][0]["address"] == ipc
    assert received.end is not None
    assert found["feeds"][0]["feed"] == f"{received.end.feed:016x}"


def test_what_a_person_sees(sample_file: Path, ipc: str) -> None:
    done = run("feed", sample_file, "--to", ipc, "--rate", "max", "--policy", "drop", "--no-wait")
    assert done.exit_code == 0
    assert ipc in done.stdout
    assert "feed complete" in done.stdout
    assert "dropped packets: 32 x consumer slower than the feed, or gone" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nosuch.raw", "--to", "ipc:///tmp/x"], "no such file"),
        ([SYNTHETIC, "--to", "nonsense"], "expected tcp://HOST:PORT"),
        ([SYNTHETIC, "--to", "tcp://0.0.0.0:5555"], "scout40 keys"),
        ([SYNTHETIC, "--to", "tcp://127.0.0.1:*", "--rate", "0x"], "expected 1x"),
        ([SYNTHETIC, "--to", "inproc://a", "--to", "inproc://b"], "1 sources and 2 endpoints"),
        ([SYNTHETIC, "--to", "tcp://127.0.0.1:*", "--loop"], "nothing to loop"),
    ],
)
def test_clear_errors(arguments: list[str], text: str) -> None:
    done = run("feed", *arguments)
    assert done.exit_code == 2
    assert text in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_drains(ipc: str, number: signal.Signals) -> None:
    with program(SYNTHETIC, "--to", ipc, "--rate", 3200, "--json") as process:
        assert len(receive([ipc], 200, enough=10).headers) == 10
        with consumer(ipc) as future:
            time.sleep(0.5)
            process.send_signal(number)
            received = future.result()
            found = ended(process)
    assert received.end is not None
    account = found["ledger"]["accounts"]["packets"]
    assert received.end.sent_packets == account["out"]
    assert received.end.dropped_packets == sum(account["dropped"].values())
    assert found["status"] == "interrupted"


def test_second_signal_aborts(ipc: str) -> None:
    """Nobody takes what is queued: the first signal lingers, the second does not."""
    with program(
        "synthetic:gmt", "--to", ipc, "--rate", "max", "--high-water", 1, "--linger", 100
    ) as process:
        pull = Pull([ipc], high_water=1)
        try:
            assert pull.receive(200_000) is not None
            time.sleep(1)
            process.send_signal(signal.SIGINT)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(1)
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 130
        finally:
            pull.close()


def stopped_for_2_s(ipc: str, *arguments: object) -> tuple[Any, dict[str, Any]]:
    """(what a consumer received, state of the feed) of a feed that stands still for a while."""
    with program(*arguments, "--to", ipc, "--json") as process, consumer(ipc, 200) as future:
        until_sending(process, ipc)
        process.send_signal(signal.SIGSTOP)
        time.sleep(2.0)
        process.send_signal(signal.SIGCONT)
        time.sleep(0.7)
        process.send_signal(signal.SIGINT)
        received = future.result()
        (state,) = ended(process)["feeds"]
    assert state["pauses"] == 1
    return received, state


def test_stopped_process_skips_what_a_detector_would_lose(ipc: str) -> None:
    received, state = stopped_for_2_s(ipc, SYNTHETIC)
    assert state["paused_seconds"] == pytest.approx(2.0, abs=0.5)
    assert "feed paused" in state["dropped_packets"], state
    lost = state["dropped_packets"]["feed paused"]
    assert lost == pytest.approx(state["paused_seconds"] * ORBIT_HZ, abs=0.2 * ORBIT_HZ)
    headers = received.headers
    jumps = [
        (k, after.first_orbit - before.first_orbit - before.orbits)
        for k, (before, after) in enumerate(itertools.pairwise(headers), 1)
        if after.first_orbit != before.first_orbit + before.orbits
    ]
    place, orbits = max(jumps, key=lambda jump: jump[1])
    assert orbits == lost
    assert headers[place].dropped_packets - headers[place - 1].dropped_packets == lost
    assert headers[place].sequence - headers[place - 1].sequence - 1 == lost // 16
    # The orbits after the pause are those of the clock, as if nothing had happened.
    clock = [h.first_orbit / ORBIT_HZ - h.send_time_ns / 1e9 for h in headers]
    assert clock[-1] == pytest.approx(clock[place - 10], abs=0.3)


def test_stopped_process_goes_on_with_a_file(sample_file: Path, ipc: str) -> None:
    received, state = stopped_for_2_s(ipc, sample_file, "--loop", "--rate", "3200")
    assert state["dropped_packets"] == {}
    assert received.missing == 0
    orbits = [h.first_orbit for h in received.headers]
    assert orbits == list(range(orbits[0], orbits[-1] + 1, 16)), "no orbit was left out"
    after = [
        h for h in received.headers if h.send_time_ns > received.headers[-1].send_time_ns - 3e8
    ]
    assert len(after) < 0.3 * 3200 / 16 * 1.5, "no burst behind the pause"


def until_sending(process: subprocess.Popen[str], ipc: str) -> None:
    """The feed prints its phase to stderr when it changes."""
    assert process.stderr is not None
    for line in process.stderr:
        if f"{ipc} running" in line:
            time.sleep(0.7)
            return
    raise AssertionError("the feed ended")


def test_kill_leaves_nothing_that_hangs(ipc: str) -> None:
    """The consumer waits on; a new feed takes the endpoint, with another identity."""
    with consumer(ipc, 200) as future:
        with program(SYNTHETIC, "--to", ipc, "--rate", 3200) as process:
            until_sending(process, ipc)
            process.kill()
            process.wait(10)
        with program(SYNTHETIC, "--to", ipc, "--rate", "max", "--orbits", 160, "--json") as again:
            ended(again)
        received = future.result()
    assert received.end is not None
    second = [header for header in received.headers if header.feed == received.end.feed]
    assert len(second) == received.end.sequence == 10
    assert len(received.headers) > 10
    assert received.headers[0].feed != received.end.feed


def test_two_sources_to_two_endpoints(sample_file: Path, tmp_path: Path) -> None:
    endpoints = [f"ipc://{tmp_path}/a", f"ipc://{tmp_path}/b"]
    settings = FeedSettings(rate=None, orbits=10)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(receive_all, endpoints)
        feeders = open_feeds([str(sample_file), SYNTHETIC], endpoints, settings)
        result = run_feeds(feeders, Never())
        received = future.result()
    first, second = (received[endpoint] for endpoint in endpoints)
    assert (first.packets, second.packets) == (20, 10)
    assert first.headers[0].feed != second.headers[0].feed
    ledger = result.receipt.ledger
    ledger.check()
    assert ledger["packets"].out == 30
    assert ledger["messages"].out == 2
    assert [state.sent_packets for state in result.feeds] == [20, 10]
    assert result.as_dict()["feeds"][1]["address"] == endpoints[1]


def test_consumers_that_share_a_feed(ipc: str) -> None:
    """Each gets a part of the messages, and the end."""
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(receive, [ipc]) for _ in range(2)]
        (feeder,) = open_feeds([SYNTHETIC], [ipc], FeedSettings(rate=3200, orbits=3200))
        result = feeder.run()
        first, second = (future.result() for future in both)
    assert first.end == second.end is not None
    assert first.packets > 0
    assert second.packets > 0
    assert first.packets + second.packets == result.receipt.ledger["packets"].out
    sequences = {h.sequence for one in (first, second) for h in one.headers}
    assert len(sequences) == len(first.headers) + len(second.headers)


def test_keys(tmp_path: Path) -> None:
    """A consumer on the list of allowed keys is served, one without keys is not."""
    for name in ("feed", "shifter"):
        assert run("keys", tmp_path / name, "--name", name).exit_code == 0
    allow = tmp_path / "allow"
    allow.mkdir()
    (allow / "shifter.key").write_bytes((tmp_path / "shifter" / "shifter.key").read_bytes())
    security = Security(keys=tmp_path / "feed" / "feed.key_secret", allow=allow)
    settings = FeedSettings(rate=None, orbits=160, security=security)
    (feeder,) = open_feeds([SYNTHETIC], ["tcp://127.0.0.1:*"], settings)
    stranger = Pull([feeder.state.address])
    known = Security(
        keys=tmp_path / "shifter" / "shifter.key_secret",
        server_key=tmp_path / "feed" / "feed.key",
    )
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(feeder.run)
        try:
            assert stranger.receive(500) is None
            assert feeder.state.phase == "waiting for a consumer"
            friend = Pull([feeder.state.address], security=known)
            try:
                assert friend.receive(10_000) is not None
                assert running.result(30).receipt.ledger["packets"].out == 160
            finally:
                friend.close()
        finally:
            stranger.close()


def test_one_endpoint_for_several_files(tmp_path: Path, sample_file: Path, ipc: str) -> None:
    data = sample_file.read_bytes()[32:]
    cut = 0
    for _ in range(16):
        cut += 24 + int.from_bytes(data[cut + 16 : cut + 20], "little")
    parts = [tmp_path / "2.raw", tmp_path / "1.raw"]
    parts[0].write_bytes(data[cut:])
    parts[1].write_bytes(data[:cut])
    with consumer(ipc) as future:
        (feeder,) = open_feeds([str(p) for p in parts], [ipc], FeedSettings(rate=None))
        feeder.run()
        assert bytes(future.result().payload) == data


def test_all_endpoints_are_bound_or_none(tmp_path: Path) -> None:
    first = f"ipc://{tmp_path}/a"
    with pytest.raises(BadConfig, match="expected tcp"):
        open_feeds([SYNTHETIC, SYNTHETIC], [first, "wrong"], FeedSettings())
    (feeder,) = open_feeds([SYNTHETIC], [first], FeedSettings())
    feeder.abandon()


def test_an_error_of_one_feed_ends_the_others(tmp_path: Path) -> None:
    broken = tmp_path / "broken.raw"
    broken.write_bytes(b"RAW_0002" + bytes(40))
    endpoints = [f"ipc://{tmp_path}/a", f"ipc://{tmp_path}/b"]
    feeders = open_feeds([SYNTHETIC, str(broken)], endpoints, FeedSettings())
    begin = time.monotonic()
    with pytest.raises(BadInput, match="no orbit could be read"):
        run_feeds(feeders, Never())
    assert time.monotonic() - begin < 60
    assert feeders[0].state.phase == "ended"
