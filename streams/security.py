"""Who may connect: the rule for endpoints, and files of CURVE keys."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from scout40.streams.errors import BadConfig

MAX_CERTIFICATE = 1 << 16
"""Bytes of a key file."""

_KEY = re.compile(rb"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")  # Z85, 32 bytes


@dataclass(frozen=True)
class Security:
    """Files of CURVE keys, as ``scout40 keys`` makes them; without any, no encryption.

    keys:
        own certificate, ``NAME.key_secret``; nobody else may read it.
    allow:
        folder of the public keys (``*.key``) of allowed clients: needed by a side that binds.
    server_key:
        public key of the server: needed by a side that connects.
    """

    keys: Path | None = None
    allow: Path | None = None
    server_key: Path | None = None


NO_KEYS = Security()


def check_endpoint(endpoint: str, security: Security) -> None:
    """BadConfig unless the endpoint is ipc, inproc, tcp on loopback, or there are keys."""
    transport, separator, place = endpoint.partition("://")
    if not separator or transport not in ("tcp", "ipc", "inproc") or not place:
        raise BadConfig(
            f"endpoint {endpoint!r}: expected tcp://HOST:PORT, ipc://PATH or inproc://NAME"
        )
    if transport != "tcp":
        return
    host, _, port = place.rpartition(":")
    number = int(port) if re.fullmatch("[0-9]{1,5}", port) else -1
    if not host or ";" in place or not (port == "*" or 0 <= number < 1 << 16):
        raise BadConfig(f"endpoint {endpoint!r}: expected tcp://HOST:PORT, port 1 to 65535 or *")
    if security.keys is None and not _is_local(endpoint):
        raise BadConfig(
            f"endpoint {endpoint!r} can be reached from other machines, which needs keys: make "
            "them with 'scout40 keys', or use tcp://127.0.0.1:PORT or ipc://PATH"
        )


def server_keys(endpoint: str, security: Security) -> tuple[bytes, bytes, Path] | None:
    """(public key, secret key, folder of clients) of a side that binds; None without encryption.

    BadConfig when the endpoint is not allowed, a part is missing or a file cannot be used. A
    program with both kinds of sockets has one Security: keys that are complete for its other kind
    only are not used on this machine.
    """
    what = "--allow, the folder with the public keys of the clients"
    folder = _counterpart(endpoint, security, security.allow, security.server_key, what)
    if folder is None or security.keys is None:
        return None
    files = sorted(folder.glob("*.key"))
    if not files:
        raise BadConfig(f"{folder}: no folder with a file *.key of a client")
    for path in files:
        certificate(path)
    return *certificate(security.keys, secret=True), folder


def client_keys(endpoint: str, security: Security) -> tuple[bytes, bytes, bytes] | None:
    """(public key, secret key, key of the server) of a side that connects; else as server_keys."""
    what = "--server-key, the public key of the server"
    server = _counterpart(endpoint, security, security.server_key, security.allow, what)
    if server is None or security.keys is None:
        return None
    return *certificate(security.keys, secret=True), certificate(server)[0]


def _counterpart(
    endpoint: str, security: Security, mine: Path | None, other: Path | None, what: str
) -> Path | None:
    """``mine`` where keys are to be used, None where they are not."""
    check_endpoint(endpoint, security)
    if mine is not None and security.keys is None:
        raise BadConfig(f"{what} is of no use without an own key file (--keys)")
    if security.keys is None or endpoint.startswith("inproc:"):
        return None
    if mine is None and (other is None or not _is_local(endpoint)):
        raise BadConfig(f"endpoint {endpoint}: keys need {what}")
    return mine


def _is_local(endpoint: str) -> bool:
    """Out of reach for other machines?"""
    transport, _, place = endpoint.partition("://")
    host = place.rpartition(":")[0]
    if transport != "tcp" or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:  # a name, an interface or *
        return False


def certificate(path: Path, *, secret: bool = False) -> tuple[bytes, bytes]:
    """(public key, secret key or nothing) of a key file; BadConfig when it cannot be used."""
    from zmq.auth import load_certificate

    try:
        status = path.stat()
        if secret and status.st_mode & 0o077:
            raise BadConfig(f"{path}: others have access to this secret key; chmod 600 {path}")
        if status.st_size > MAX_CERTIFICATE:
            raise BadConfig(f"{path}: {status.st_size} bytes are no key file")
        public, private = load_certificate(path)
    except OSError as error:
        raise BadConfig(f"{path}: {error.strerror}") from None
    except (ValueError, IndexError):
        raise BadConfig(f"{path}: no key file; make one with 'scout40 keys'") from None
    if secret and private is None:
        raise BadConfig(f"{path}: holds no secret key; give the file NAME.key_secret")
    if not all(_KEY.fullmatch(key) for key in (public, private or public)):
        raise BadConfig(f"{path}: a key is not 40 characters of Z85")
    return public, private or b""
