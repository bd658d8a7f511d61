"""ZeroMQ sockets of the live chain: data by PUSH and PULL, snapshots by PUB and SUB.

A feed or a producer binds, consumers and viewers connect. Everything is bounded: the messages
that wait at either end, the bytes of one frame, the time of every call. Without keys only ipc,
inproc and tcp on loopback are allowed; with keys (CURVE) both ends prove who they are, and the
binding side serves the clients of its allow-list only.

A socket belongs to the thread that made it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import zmq

from scout40.streams.errors import BadConfig
from scout40.streams.security import NO_KEYS, Security, check_endpoint
from scout40.streams.socket_ends import Bound, Receiver
from scout40.streams.wire import MAX_PAYLOAD

__all__ = [
    "HIGH_WATER", "MAX_SNAPSHOT", "NO_KEYS",
    "Publisher", "Pull", "Push", "Security", "Subscriber", "check_endpoint",
]  # fmt: skip

HIGH_WATER = 256
"""Messages that wait at one end of a connection."""
MAX_SNAPSHOT = 4 << 20
"""Bytes of one published message."""
MAX_FRAMES = 3
"""Frames of a message that are handed on: one more than a good one has."""


class Push:
    """The data socket of a feed: binds, and deals messages out to the consumers.

    high_water:
        messages that wait for one consumer before ``send`` refuses more.
    """

    def __init__(
        self, endpoint: str, *, high_water: int = HIGH_WATER, security: Security = NO_KEYS
    ) -> None:
        self._bound = Bound(zmq.PUSH, endpoint, security, {zmq.SNDHWM: high_water})
        self.address = self._bound.address
        """The endpoint with its real port."""

    @property
    def refused(self) -> int:
        """Connections whose handshake failed."""
        self._bound.count()
        return self._bound.refused

    def send(self, frames: Sequence[bytes | bytearray | memoryview], timeout_ms: int = 0) -> bool:
        """Hand over a whole message; False, and nothing sent, when no consumer has room."""
        self._bound.count()  # its queue must not fill
        socket = self._bound.socket
        end = time.monotonic() + timeout_ms / 1000
        while True:
            try:
                socket.send_multipart(frames, zmq.NOBLOCK)
            except zmq.Again:
                left = end - time.monotonic()
                if left <= 0 or not socket.poll(max(1, int(1000 * left)), zmq.POLLOUT):
                    return False
            else:
                return True

    def wait_for_peers_to_go(self, timeout_s: float) -> None:
        """Until no consumer is connected, or the time is over.

        When a sender closes, ZeroMQ throws away what a consumer with a full queue has not taken
        from the wire. A consumer that has had the end goes away by itself.
        """
        end = time.monotonic() + timeout_s
        self._bound.count()
        while self._bound.peers and time.monotonic() < end:
            time.sleep(0.01)
            self._bound.count()

    def close(self, linger_ms: int) -> None:
        """Waits ``linger_ms`` at most until the consumers have what was sent."""
        self._bound.close(linger_ms)


class Publisher:
    """Publishes snapshots to any number of viewers and never waits for one."""

    def __init__(self, endpoint: str, *, security: Security = NO_KEYS) -> None:
        self._bound = Bound(zmq.PUB, endpoint, security, {zmq.CONFLATE: 1})
        self.address = self._bound.address

    @property
    def refused(self) -> int:
        """Connections whose handshake failed."""
        self._bound.count()
        return self._bound.refused

    def publish(self, data: bytes) -> None:
        """Replaces what a slow viewer has not taken yet."""
        self._bound.count()
        self._bound.socket.send(data, zmq.NOBLOCK)

    def close(self) -> None:
        self._bound.close(0)


class Pull:
    """The data sockets of a consumer, one for each feed."""

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        high_water: int = HIGH_WATER,
        security: Security = NO_KEYS,
    ) -> None:
        if len(set(endpoints)) < len(endpoints):
            raise BadConfig(f"an endpoint is named twice: {', '.join(endpoints)}")
        options = {zmq.RCVHWM: high_water, zmq.MAXMSGSIZE: MAX_PAYLOAD}
        self._receiver = Receiver(zmq.PULL, endpoints, security, options)

    def receive(self, timeout_ms: int) -> tuple[str, list[memoryview]] | None:
        """(endpoint, frames of one message), endpoints in turn; None when the time is over.

        The frames are not copied. Of a message of more than three frames the first three come.
        """
        link = self._receiver.wait(timeout_ms)
        if link is None or link.socket is None:
            return None
        frames: list[memoryview] = []
        more = True
        while more:
            frame = link.socket.recv(zmq.NOBLOCK, copy=False)
            more = frame.more
            if len(frames) < MAX_FRAMES:
                frames.append(frame.buffer)
        return link.endpoint, frames

    def let_go(self, endpoint: str) -> None:
        """The feed there has ended: disconnect, so that it need not wait, and look for the next."""
        self._receiver.let_go(endpoint)

    def states(self) -> dict[str, str]:
        """endpoint -> "connecting", "connected", "refused" or "disconnected".

        As the latest call of ``receive`` saw them; any thread may ask. "connecting" is a feed
        that was never there, "refused" one with which no handshake succeeds (keys), also while
        the next attempt waits. An inproc endpoint always counts as connected.
        """
        return {link.endpoint: link.state for link in tuple(self._receiver.links)}

    def close(self) -> None:
        self._receiver.close()


class Subscriber:
    """Takes the newest message of a Publisher."""

    def __init__(self, endpoint: str, *, security: Security = NO_KEYS) -> None:
        options = {zmq.CONFLATE: 1, zmq.MAXMSGSIZE: MAX_SNAPSHOT}
        self._receiver = Receiver(zmq.SUB, [endpoint], security, options)

    def receive(self, timeout_ms: int) -> bytes | None:
        """The newest message that was not taken yet; None when the time is over."""
        link = self._receiver.wait(timeout_ms)
        if link is None or link.socket is None:
            return None
        data = link.socket.recv(zmq.NOBLOCK)
        return data if len(data) <= MAX_SNAPSHOT else None  # inproc knows no limit

    @property
    def state(self) -> str:
        """Of the connection, as :meth:`Pull.states`."""
        return self._receiver.links[0].state

    def close(self) -> None:
        self._receiver.close()
