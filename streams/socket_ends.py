"""The two ends of a connection under the sockets: one that binds, and those that connect."""

from __future__ import annotations

import math
import socket as os_socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import zmq
from zmq.utils.monitor import recv_monitor_message

from scout40.streams.errors import BadConfig
from scout40.streams.security import Security, client_keys, server_keys

if TYPE_CHECKING:
    from zmq.auth.thread import ThreadAuthenticator

BACK_OFF = (0.1, 5.0)
"""Seconds until the first attempt to connect again, and at most; doubled after each."""

_DOMAIN = "scout40"  # of the allow-list; with a name, nobody gets in while no list is in force
_FAILED = int(
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
_COUNTED = int(_FAILED | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
_WATCHED = int(
    _FAILED | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | zmq.EVENT_CONNECT_RETRIED
)

_CLIENT_OPTIONS = (zmq.CURVE_PUBLICKEY, zmq.CURVE_SECRETKEY, zmq.CURVE_SERVERKEY)

Context = zmq.Context[zmq.Socket[bytes]]
Options = Mapping[zmq.SocketOption, int]


class Bound:
    """A socket that binds, in a context of its own but for inproc, and its monitor.

    refused: connections that failed their handshake: wrong, unknown or no key, another protocol.
    peers: connections that stand; on inproc, which has no handshake, always 0.
    """

    def __init__(self, kind: int, endpoint: str, security: Security, options: Options) -> None:
        keys = server_keys(endpoint, security)
        self.refused = self.peers = 0
        self._own = not endpoint.startswith("inproc:")
        self._context = zmq.Context() if self._own else zmq.Context.instance()
        self._guard: ThreadAuthenticator | None = None
        self._monitor: zmq.Socket[bytes] | None = None
        self.socket: zmq.Socket[bytes] = self._context.socket(kind)
        try:
            if keys is not None:
                self._secure(*keys)
            _set(self.socket, endpoint, options)
            if self._own:  # inproc has no handshake
                self._monitor = self.socket.get_monitor_socket(_COUNTED)
            self._bind(endpoint)
        except BaseException:
            self.close(0)
            raise
        self.address = self.socket.get_string(zmq.LAST_ENDPOINT) if self._own else endpoint

    def _secure(self, public: bytes, secret: bytes, folder: Path) -> None:
        """The allow-list is in force before anybody can connect."""
        from zmq.auth.thread import ThreadAuthenticator

        self._guard = ThreadAuthenticator(self._context)
        self._guard.start()
        self._guard.configure_curve(_DOMAIN, str(folder))
        self.socket.setsockopt(zmq.CURVE_SERVER, 1)
        self.socket.setsockopt(zmq.CURVE_PUBLICKEY, public)
        self.socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
        self.socket.setsockopt(zmq.ZAP_DOMAIN, _DOMAIN.encode())
        self.socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)

    def _bind(self, endpoint: str) -> None:
        transport, _, place = endpoint.partition("://")
        if transport == "ipc" and _is_served(place):  # ZeroMQ would take its place
            raise BadConfig(f"endpoint {endpoint}: another program serves it")
        try:
            self.socket.bind(_numeric(endpoint))
        except zmq.ZMQError as error:
            raise BadConfig(f"endpoint {endpoint}: cannot bind: {error.strerror}") from None

    def count(self) -> None:
        """Brings ``refused`` and ``peers`` up to date."""
        monitor = self._monitor
        while monitor is not None and monitor.poll(0):
            event = recv_monitor_message(monitor)["event"]
            self.refused += bool(event & _FAILED)
            self.peers += event == zmq.EVENT_HANDSHAKE_SUCCEEDED
            self.peers -= event == zmq.EVENT_DISCONNECTED
            self.peers = max(0, self.peers)

    def close(self, linger_ms: int) -> None:
        """Waits ``linger_ms`` at most until what was sent has left."""
        if self.socket.closed:
            return
        _close(self.socket, self._monitor, linger_ms)
        if self._guard is not None:
            self._guard.stop()
        if self._own:
            self._context.term()


class Link:
    """One connecting socket, opened anew where ZeroMQ does not connect again by itself.

    ZeroMQ does after a connection was lost. After a frame that is too large or a refused
    handshake it gives up, or tries ten times a second for ever. ``again``: monotonic time of
    opening anew, None while there is no need. ``socket``: None while the link waits for that.
    """

    def __init__(self, kind: int, endpoint: str, security: Security, options: Options) -> None:
        self._keys = client_keys(endpoint, security)
        self.endpoint, self.state = endpoint, "connecting"
        self.again: float | None = None
        self.socket: zmq.Socket[bytes] | None = None
        self.monitor: zmq.Socket[bytes] | None = None
        self._kind, self._options = kind, options
        self._back_off = BACK_OFF[0]

    def open(self, context: Context) -> None:
        """Start to connect; BadConfig when the endpoint cannot be one."""
        self.again = None
        inproc = self.endpoint.startswith("inproc:")
        self.socket = (zmq.Context.instance() if inproc else context).socket(self._kind)
        if self._keys is not None:
            for option, key in zip(_CLIENT_OPTIONS, self._keys, strict=True):
                self.socket.setsockopt(option, key)
        _set(self.socket, self.endpoint, self._options)
        if self._kind == zmq.SUB:
            self.socket.setsockopt(zmq.SUBSCRIBE, b"")
        if inproc:  # has no handshake and no events
            self.state = "connected"
        else:
            self.monitor = self.socket.get_monitor_socket(_WATCHED)
        try:
            self.socket.connect(_numeric(self.endpoint))
        except zmq.ZMQError as error:
            self.close()
            text = f"endpoint {self.endpoint}: cannot connect: {error.strerror}"
            raise BadConfig(text) from None

    def close(self) -> None:
        if self.socket is not None:
            _close(self.socket, self.monitor, 0)
        self.socket = self.monitor = None

    def received(self) -> None:
        """The connection works."""
        self.state = "connected"
        self._back_off = BACK_OFF[0]

    def follow(self) -> None:
        """State of the connection by its events; to be called when there is nothing to read."""
        monitor = self.monitor
        while monitor is not None and monitor.poll(0):
            event = recv_monitor_message(monitor)["event"]
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self.state, self.again = "connected", None
            elif event == zmq.EVENT_CONNECT_RETRIED:
                self.again = None
            else:
                self.state = "refused" if event & _FAILED else "disconnected"
                self.again = time.monotonic() + self._back_off
            if self.state == "refused":
                self._back_off = min(2 * self._back_off, BACK_OFF[1])
                self.close()
                return


class Receiver:
    """Links to several endpoints, served in turn."""

    def __init__(
        self, kind: int, endpoints: Sequence[str], security: Security, options: Options
    ) -> None:
        self.links = [Link(kind, endpoint, security, options) for endpoint in endpoints]
        self._context: Context = zmq.Context()
        self._poller = zmq.Poller()
        try:
            for link in self.links:
                link.open(self._context)
        except BadConfig:
            self.close()
            raise
        self._register()

    def _register(self) -> None:
        self._poller = zmq.Poller()
        for link in self.links:
            for socket in (link.socket, link.monitor):
                if socket is not None:
                    self._poller.register(socket, zmq.POLLIN)

    def wait(self, timeout_ms: int) -> Link | None:
        """The link with a message that was served longest ago; None when the time is over."""
        end = time.monotonic() + timeout_ms / 1000
        while True:
            now = time.monotonic()
            due = min([end, *(link.again for link in self.links if link.again is not None)])
            ready = dict(self._poller.poll(math.ceil(1000 * max(0.0, due - now))))
            for link in self.links:
                if link.socket not in ready and (link.monitor in ready or link.again is not None):
                    self._tend(link)
            for link in self.links:
                if link.socket in ready:
                    self.links.remove(link)
                    self.links.append(link)
                    link.received()
                    return link
            if time.monotonic() >= end:
                return None

    def _tend(self, link: Link) -> None:
        """What a link needs that has nothing to read."""
        before = link.socket
        link.follow()
        if link.again is not None and time.monotonic() >= link.again:
            link.close()
            link.open(self._context)
        if link.socket is not before:
            self._register()

    def let_go(self, endpoint: str) -> None:
        """Disconnect; the endpoint is tried again as after a loss."""
        for link in self.links:
            if link.endpoint == endpoint and not endpoint.startswith("inproc:"):
                link.close()
                link.state, link.again = "disconnected", time.monotonic() + BACK_OFF[0]
        self._register()

    def close(self) -> None:
        for link in self.links:
            link.close()
        self._context.term()


def _close(socket: zmq.Socket[bytes], monitor: zmq.Socket[bytes] | None, linger_ms: int) -> None:
    if monitor is not None:
        socket.disable_monitor()
        monitor.close(0)
    socket.close(linger_ms)


def _set(socket: zmq.Socket[bytes], endpoint: str, options: Options) -> None:
    """Options of every socket, and its own. A stopped peer is waited for, a lost one is not."""
    common: dict[zmq.SocketOption, int] = {
        zmq.LINGER: 0,
        zmq.IPV6: int("[" in endpoint),
        zmq.RECONNECT_IVL: int(1000 * BACK_OFF[0]),
        zmq.RECONNECT_IVL_MAX: int(1000 * BACK_OFF[1]),
        zmq.TCP_KEEPALIVE: 1,
        zmq.TCP_KEEPALIVE_IDLE: 30,
        zmq.TCP_KEEPALIVE_INTVL: 10,
        zmq.TCP_KEEPALIVE_CNT: 3,
    }
    for option, value in {**common, **options}.items():
        socket.setsockopt(option, value)


def _numeric(endpoint: str) -> str:
    """localhost as an address: ZeroMQ binds to no names, and may take the IPv6 one to connect."""
    return endpoint.replace("tcp://localhost:", "tcp://127.0.0.1:")


def _is_served(path: str) -> bool:
    """Does somebody listen at this ipc path?"""
    address = "\0" + path[1:] if path.startswith("@") else path
    with os_socket.socket(os_socket.AF_UNIX, os_socket.SOCK_STREAM) as probe:
        probe.settimeout(0.5)
        try:
            probe.connect(address)
        except OSError:
            return False
    return True
