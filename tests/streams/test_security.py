"""Which endpoints need keys, and who is let in with them."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from zmq.auth import create_certificates

from scout40.streams.errors import BadConfig
from scout40.streams.security import NO_KEYS, Security
from scout40.streams.sockets import Publisher, Pull, Push, Subscriber, check_endpoint
from scout40.streams.wire import decode
from tests.streams.socket_pairs import LONG, pull_at, push_at
from tests.streams.wire_messages import message
from tests.waiting import wait_for

# -- endpoints -------------------------------------------------------------------------------

ALLOWED = (
    "tcp://127.0.0.1:5540", "tcp://127.3.2.1:*", "tcp://localhost:0", "tcp://[::1]:5540",
    "ipc:///run/feed", "ipc://@abstract", "inproc://a",
)  # fmt: skip
OUTSIDE = (
    "tcp://0.0.0.0:5540", "tcp://*:5540", "tcp://[::]:5540", "tcp://10.0.0.1:5540",
    "tcp://feed.example:5540", "tcp://lo:5540", "tcp://localhost.example:1", "tcp://127.1:5540",
    "tcp://[::ffff:10.0.0.1]:1",
)  # fmt: skip
MALFORMED = (
    "", "tcp", "tcp://", "tcp://127.0.0.1", "tcp://:5540", "tcp://127.0.0.1:", "udp://127.0.0.1:1",
    "tcp://127.0.0.1:65536", "tcp://127.0.0.1:-1", "tcp://127.0.0.1:http", "ipc://", "inproc://",
    "tcp://10.0.0.1;127.0.0.1:5540", "tcp://127.0.0.1:5540\n", "http://127.0.0.1:1", "TCP://lo:1",
    "tcp://127.0.0.1:٣",
)  # fmt: skip


@pytest.mark.parametrize("endpoint", ALLOWED)
def test_inside_needs_no_keys(endpoint: str) -> None:
    check_endpoint(endpoint, NO_KEYS)


@pytest.mark.parametrize("endpoint", OUTSIDE)
def test_outside_needs_keys(endpoint: str) -> None:
    for use in (lambda: check_endpoint(endpoint, NO_KEYS), lambda: Push(endpoint),
                lambda: Pull([endpoint]), lambda: Publisher(endpoint),
                lambda: Subscriber(endpoint)):  # fmt: skip
        with pytest.raises(BadConfig, match="scout40 keys"):
            use()
    check_endpoint(endpoint, Security(keys=Path("own.key_secret")))


@pytest.mark.parametrize("endpoint", MALFORMED)
def test_malformed_endpoints_are_refused(endpoint: str) -> None:
    for security in (NO_KEYS, Security(keys=Path("own.key_secret"))):
        with pytest.raises(BadConfig, match="expected tcp://HOST:PORT"):
            check_endpoint(endpoint, security)


def test_an_endpoint_has_one_owner(stack: ExitStack, endpoint: str) -> None:
    push = push_at(stack, endpoint)
    with pytest.raises(BadConfig, match=r"cannot bind|another program"):
        Push(push.address)
    pull = pull_at(stack, push.address)
    assert push.send(message(), LONG)
    assert pull.receive(LONG) is not None
    with pytest.raises(BadConfig, match="twice"):
        Pull([push.address, push.address])


def test_socket_file_of_a_dead_feed_is_no_obstacle(stack: ExitStack, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "feed"))
    assert (tmp_path / "feed").exists()
    push = push_at(stack, f"ipc://{tmp_path}/feed")
    pull = pull_at(stack, push.address)
    assert push.send(message(), LONG)
    assert pull.receive(LONG) is not None


# -- keys ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with pairs of a server and two clients; only ``good`` is in ``allow``."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("server", "good", "stranger"):
        create_certificates(folder, name)
        (folder / f"{name}.key_secret").chmod(0o600)
    (folder / "allow").mkdir()
    shutil.copy(folder / "good.key", folder / "allow")
    return folder


def server(keys: Path) -> Security:
    return Security(keys=keys / "server.key_secret", allow=keys / "allow")


def client(keys: Path, name: str, of: str = "server") -> Security:
    return Security(keys=keys / f"{name}.key_secret", server_key=keys / f"{of}.key")


@pytest.mark.parametrize("place", ["tcp://127.0.0.1:*", "tcp://0.0.0.0:*", "ipc"])
def test_known_key_is_served(stack: ExitStack, keys: Path, tmp_path: Path, place: str) -> None:
    place = f"ipc://{tmp_path}/s" if place == "ipc" else place
    push = push_at(stack, place, server(keys))
    address = push.address.replace("0.0.0.0", "127.0.0.1")
    pull = pull_at(stack, address, security=client(keys, "good"))
    assert push.send(message(), LONG)
    assert decode((pull.receive(LONG) or ("", []))[1]).header.sequence == 5
    assert pull.states() == {address: "connected"}
    assert push.refused == 0


REFUSED: dict[str, Callable[[Path], Security]] = {
    "not on the list": lambda keys: client(keys, "stranger"),
    "another server": lambda keys: client(keys, "good", of="stranger"),
    "no key": lambda keys: NO_KEYS,
}


@pytest.mark.parametrize("case", REFUSED)
def test_others_are_refused_and_counted(stack: ExitStack, keys: Path, case: str) -> None:
    push = push_at(stack, "tcp://127.0.0.1:*", server(keys))
    pull = pull_at(stack, push.address, security=REFUSED[case](keys))
    wait_for(lambda: pull.receive(20) is None and pull.states()[push.address] == "refused")
    assert wait_for(lambda: push.refused)
    assert not push.send(message(), 300)
    assert pull.receive(0) is None
    known = pull_at(stack, push.address, security=client(keys, "good"))
    assert push.send(message(), LONG)  # whoever is refused keeps nobody else out
    assert known.receive(LONG) is not None
    assert pull.states() == {push.address: "refused"}


def test_refused_client_does_not_hammer(stack: ExitStack, keys: Path) -> None:
    push = push_at(stack, "tcp://127.0.0.1:*", server(keys))
    pull = pull_at(stack, push.address, security=client(keys, "good", of="stranger"))
    end = time.monotonic() + 2
    while time.monotonic() < end:
        pull.receive(50)
    assert 2 <= push.refused <= 6  # at 0, 0.1, 0.3, 0.7 and 1.5 s


def test_client_gets_in_when_the_server_has_the_right_key(stack: ExitStack, keys: Path) -> None:
    """After a refused handshake ZeroMQ would never try again."""
    push = push_at(stack, "tcp://127.0.0.1:*")
    address = push.address
    pull = pull_at(stack, address, security=client(keys, "good"))
    wait_for(lambda: pull.receive(20) is None and pull.states()[address] == "refused")
    push.close(0)
    push = push_at(stack, address, server(keys))
    wait_for(lambda: push.send(message(), 50) or pull.receive(10))
    assert pull.receive(LONG) is not None
    assert pull.states() == {address: "connected"}


def test_snapshots_with_keys(stack: ExitStack, keys: Path) -> None:
    publisher = Publisher("tcp://127.0.0.1:*", security=server(keys))
    stack.callback(publisher.close)
    viewers = [
        Subscriber(publisher.address, security=client(keys, name)) for name in ("good", "stranger")
    ]
    for viewer in viewers:
        stack.callback(viewer.close)

    def seen() -> bytes | None:
        publisher.publish(b"secret")
        assert viewers[1].receive(10) is None
        return viewers[0].receive(10)

    assert wait_for(seen) == b"secret"
    wait_for(lambda: viewers[1].receive(20) is None and viewers[1].state == "refused")


INCOMPLETE: dict[str, tuple[Callable[[Path], object], str]] = {
    "server without list": (
        lambda k: Push("tcp://127.0.0.1:*", security=Security(keys=k / "server.key_secret")),
        "--allow",
    ),
    "list without key": (
        lambda k: Push("tcp://127.0.0.1:*", security=Security(allow=k / "allow")),
        "--keys",
    ),
    "empty list": (
        lambda k: Push(
            "tcp://127.0.0.1:*",
            security=Security(keys=k / "server.key_secret", allow=k / "absent"),
        ),
        "absent",
    ),
    "client without server's key": (
        lambda k: Pull(["tcp://127.0.0.1:1"], security=Security(keys=k / "good.key_secret")),
        "--server-key",
    ),
    "client without own key": (
        lambda k: Pull(["tcp://127.0.0.1:1"], security=Security(server_key=k / "server.key")),
        "--keys",
    ),
    "public key for secret": (
        lambda k: Pull(
            ["tcp://127.0.0.1:1"],
            security=Security(keys=k / "allow" / "good.key", server_key=k / "server.key"),
        ),
        "good.key",
    ),
}


def test_keys_of_the_other_end_do_not_hinder_local_sockets(
    stack: ExitStack, keys: Path, endpoint: str
) -> None:
    """A consumer of a far feed publishes on this machine, or the other way round."""
    own = keys / "good.key_secret"
    push = push_at(stack, endpoint, Security(keys=own, server_key=keys / "server.key"))
    pull = pull_at(stack, push.address, security=Security(keys=own, allow=keys / "allow"))
    assert push.send(message(), LONG)
    assert pull.receive(LONG) is not None
    for outside in ("tcp://0.0.0.0:*", "tcp://10.0.0.1:5540"):
        with pytest.raises(BadConfig, match="--allow"):
            Push(outside, security=Security(keys=own, server_key=keys / "server.key"))
        with pytest.raises(BadConfig, match="--server-key"):
            Pull([outside], security=Security(keys=own, allow=keys / "allow"))


@pytest.mark.parametrize("case", INCOMPLETE)
def test_half_a_set_of_keys_is_refused(keys: Path, case: str) -> None:
    use, match = INCOMPLETE[case]
    with pytest.raises(BadConfig, match=match):
        use(keys)


def test_garbage_in_the_list_is_refused(keys: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.key").write_bytes(b"\xff" * 100)
    security = Security(keys=keys / "server.key_secret", allow=tmp_path)
    with pytest.raises(BadConfig, match=r"bad\.key"):
        Push("tcp://127.0.0.1:*", security=security)
