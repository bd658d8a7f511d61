"""Sockets of the live chain: every transport, bounds, keys, and connections that come back."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from scout40.streams import sockets
from scout40.streams.sockets import MAX_SNAPSHOT, Publisher, Subscriber
from scout40.streams.wire import decode
from tests.streams.socket_pairs import LONG, pull_at, push_at
from tests.streams.wire_messages import message
from tests.waiting import wait_for

# -- data ------------------------------------------------------------------------------------


def test_messages_arrive_whole_and_in_order(stack: ExitStack, endpoint: str) -> None:
    push = push_at(stack, endpoint)
    pull = pull_at(stack, push.address)
    for number in range(30):
        assert push.send(message(sequence=number), LONG)
    for number in range(30):
        place, frames = pull.receive(LONG) or ("", [])
        assert place == push.address
        assert decode(frames).header.sequence == number
    assert pull.receive(0) is None
    assert pull.states() == {push.address: "connected"}
    assert push.refused == 0


def test_large_payload_and_arrays(stack: ExitStack, endpoint: str) -> None:
    push = push_at(stack, endpoint)
    pull = pull_at(stack, push.address)
    data = np.arange(20 << 20, dtype=np.uint32).view(np.uint8)
    assert push.send([b"head", data.data], LONG)
    _, frames = pull.receive(LONG) or ("", [])
    assert np.array_equal(np.frombuffer(frames[1], np.uint8), data)


def test_nobody_there_would_block(stack: ExitStack, endpoint: str) -> None:
    push = push_at(stack, endpoint)
    start = time.monotonic()
    assert not push.send(message())
    assert time.monotonic() - start < 1
    assert not push.send(message(), 200)
    assert 0.15 < time.monotonic() - start < 5


def test_high_water_bounds_what_waits(stack: ExitStack, endpoint: str) -> None:
    push = push_at(stack, endpoint, high=4)
    pull = pull_at(stack, push.address, high=4)
    large = bytes(8 << 20)  # more than the buffers of the kernel take
    sent = 0
    assert push.send([b"0", large], LONG)
    sent += 1
    while push.send([b"%d" % sent, large], 300):
        sent += 1
        assert sent < 20
    assert sent >= 4
    got = [(pull.receive(LONG) or ("", []))[1] for _ in range(sent)]
    assert pull.receive(0) is None
    assert [int(bytes(frames[0])) for frames in got] == list(range(sent))
    assert all(len(frames) == 2 and len(frames[1]) == len(large) for frames in got)
    assert push.send([b"again", b""], LONG)


def test_consumers_share_a_feed(stack: ExitStack, endpoint: str) -> None:
    push = push_at(stack, endpoint)
    pulls = [pull_at(stack, push.address) for _ in range(2)]
    counts = [0, 0]
    for _ in range(2000):
        push.send(message())
        for index, pull in enumerate(pulls):
            counts[index] += pull.receive(0) is not None
        if min(counts) >= 10:
            break
        time.sleep(0.001)
    assert min(counts) >= 10


def test_endpoints_are_served_in_turn(stack: ExitStack) -> None:
    pushes = [push_at(stack, f"inproc://turn{number}") for number in range(3)]
    pull = pull_at(stack, *(push.address for push in pushes))
    for push in pushes:
        for _ in range(5):
            assert push.send(message(), LONG)
    order = [(pull.receive(LONG) or ("", []))[0] for _ in range(15)]
    for first in range(0, 15, 3):
        assert set(order[first : first + 3]) == {push.address for push in pushes}


def test_close_delivers_what_was_sent(stack: ExitStack) -> None:
    push = push_at(stack, "tcp://127.0.0.1:*")
    pull = pull_at(stack, push.address)
    for _ in range(10):
        assert push.send([b"", bytes(1 << 20)], LONG)
    closing = threading.Thread(target=push.close, args=(LONG,))
    closing.start()
    assert all(pull.receive(LONG) for _ in range(10))
    closing.join()


def test_many_frames_are_cut_to_three(stack: ExitStack, endpoint: str) -> None:
    push = push_at(stack, endpoint)
    pull = pull_at(stack, push.address)
    assert push.send([b"a"] * 50, LONG)
    assert push.send([b"b", b"c"], LONG)
    assert [len((pull.receive(LONG) or ("", []))[1]) for _ in range(2)] == [3, 2]


# -- connections that break ------------------------------------------------------------------


def test_feed_may_come_late_and_come_back(stack: ExitStack, tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/late"
    pull = pull_at(stack, address)
    assert pull.receive(150) is None
    assert pull.states() == {address: "connecting"}
    for _ in range(2):
        push = push_at(stack, address)
        wait_for(lambda push=push: push.send(message(), 50) and pull.receive(LONG))  # type: ignore[misc]
        assert pull.states() == {address: "connected"}
        push.close(0)
        wait_for(lambda: pull.receive(20) is None and pull.states()[address] == "disconnected")


def test_frame_too_large_ends_the_connection_for_a_moment_only(
    stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ZeroMQ itself would never connect again."""
    monkeypatch.setattr(sockets, "MAX_PAYLOAD", 1000)
    push = push_at(stack, "tcp://127.0.0.1:*")
    pull = pull_at(stack, push.address)
    assert push.send(message(sequence=1), LONG)
    assert push.send([b"head", bytes(1001)], LONG)
    assert pull.receive(LONG) is not None  # what came before is not lost
    wait_for(lambda: pull.receive(20) is None and "disconnected" in pull.states().values())
    wait_for(lambda: pull.receive(20) is None and "connected" in pull.states().values())
    assert push.send(message(sequence=2), LONG)
    _, frames = pull.receive(LONG) or ("", [])
    assert decode(frames).header.sequence == 2


def test_server_that_speaks_something_else_is_refused(stack: ExitStack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        pull = pull_at(stack, address)
        server.settimeout(0.01)
        wait_for(lambda: pull.receive(10) or accepted(server))
        wait_for(lambda: pull.receive(10) is None and pull.states()[address] == "refused")


def accepted(server: socket.socket) -> bool:
    """One client was answered with nonsense."""
    try:
        connection, _ = server.accept()
    except TimeoutError:
        return False
    with connection:
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10)
    return True


def test_nonsense_from_outside_is_counted(stack: ExitStack) -> None:
    push = push_at(stack, "tcp://127.0.0.1:*")
    port = int(push.address.rpartition(":")[2])
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n" + os.urandom(200))
    assert wait_for(lambda: push.refused >= 3)
    pull = pull_at(stack, push.address)
    assert push.send(message(), LONG)
    assert pull.receive(LONG) is not None


# -- snapshots -------------------------------------------------------------------------------


def test_newest_snapshot_wins(stack: ExitStack, endpoint: str) -> None:
    publisher = Publisher(endpoint)
    stack.callback(publisher.close)
    viewer = Subscriber(publisher.address)
    stack.callback(viewer.close)

    def first() -> bytes | None:
        publisher.publish(b"hello")
        return viewer.receive(20)

    assert wait_for(first) == b"hello"
    for number in range(5000):  # much more than anything could hold
        publisher.publish(b"%d" % number + bytes(10_000))
    seen: list[bytes] = []
    while not seen or seen[-1] != b"4999":
        data = viewer.receive(LONG)
        assert data is not None, f"the last one seen is {seen[-1:]}"
        seen.append(data.rstrip(b"\0"))
    assert len(seen) < 1000
    assert viewer.state == "connected"
    assert publisher.refused == 0


def test_publisher_never_waits(stack: ExitStack) -> None:
    publisher = Publisher("tcp://127.0.0.1:*")
    stack.callback(publisher.close)
    port = int(publisher.address.rpartition(":")[2])
    start = time.monotonic()
    with socket.create_connection(("127.0.0.1", port)):  # a viewer that does not even shake hands
        for _ in range(1000):
            publisher.publish(bytes(100_000))
    assert time.monotonic() - start < 10


def test_snapshot_is_bounded(stack: ExitStack, endpoint: str) -> None:
    publisher = Publisher(endpoint)
    stack.callback(publisher.close)
    viewer = Subscriber(publisher.address)
    stack.callback(viewer.close)

    def received(data: bytes) -> Callable[[], bytes | None]:
        def attempt() -> bytes | None:
            publisher.publish(data)
            return viewer.receive(20)

        return attempt

    assert wait_for(received(b"small")) == b"small"
    for _ in range(5):
        publisher.publish(bytes(MAX_SNAPSHOT + 1))
        assert viewer.receive(50) in (None, b"small")
    assert wait_for(received(b"after")) in (b"small", b"after")
