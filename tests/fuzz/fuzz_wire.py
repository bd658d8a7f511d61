"""Messages between feed and consumers: decoded, then all their events.

An input is header and payload, one after the other. It is tried as it is, and again with the size
and the checksum that go with it: without these hardly a change would get past the checksum.
"""

from __future__ import annotations

import contextlib
import itertools

import numpy as np

from scout40.streams.crc import crc32c
from scout40.streams.formats.wire import HEADER_BYTES
from scout40.streams.sources.events import E_START, E_STOP, events_of
from scout40.streams.wire import DATA, END, HEARTBEAT, REASONS, WireError, decode, encode
from tests.fuzz.harness import Target
from tests.streams.wire_messages import header, message

ODD_FRAMES = {0: (), 1: (79,), 2: (81,), 3: (HEADER_BYTES, 120)}
"""Length of the input modulo 64 -> where it is cut into frames, when not behind the header."""


def seeds() -> list[bytes]:
    """Data of one and of many orbits, with and without checksums of events; heartbeat and end."""
    data = [message(), message(orbits=1, packets=1), message(orbits=64, packets=128)]
    for head, payload in data[:]:
        data.append([head, without_checksums(payload)])
    none = {"orbits": 0, "packets": 0}
    plain = [encode(header(kind=kind, **none))[0] for kind in (HEARTBEAT, END)]
    return [*plain, *(sealed(head, payload) for head, payload in data)]


def without_checksums(payload: bytes) -> bytes:
    """Events whose crc32c is 0."""
    out, place = bytearray(payload), 0
    while place < len(out):
        out[place + 20 : place + 24] = bytes(4)
        place += 24 + int.from_bytes(out[place + 16 : place + 20], "little")
    return bytes(out)


def sealed(head: bytes, payload: bytes) -> bytes:
    """Header and payload, with the size and the checksum of what they hold."""
    out = bytearray(head)
    out[68:72] = len(payload).to_bytes(4, "little")
    out[76:80] = bytes(4)
    out[76:80] = crc32c(bytes(out) + payload).to_bytes(4, "little")
    return bytes(out) + payload


def parse(data: bytes) -> str:
    cuts = [0, *ODD_FRAMES.get(len(data) % 64, (HEADER_BYTES,)), len(data)]
    with contextlib.suppress(WireError):
        walk([data[a:b] for a, b in itertools.pairwise(cuts)])
    if len(data) > HEADER_BYTES:
        data = sealed(data[:HEADER_BYTES], data[HEADER_BYTES:])
    return walk([data[:HEADER_BYTES], data[HEADER_BYTES:]])


def walk(frames: list[bytes]) -> str:
    """Decodes a message, whatever its frames; what was accepted must hold together."""
    try:
        good = decode(frames)
    except WireError as error:
        if error.reason not in REASONS:
            raise AssertionError(f"unknown reason {error.reason}") from error
        raise
    if list(encode(good.header, good.payload)) != frames:
        raise AssertionError("a message that is accepted has two forms")
    if good.header.kind != DATA:
        return "no data"
    found, problems = events_of(good, "feed")
    first, orbits = good.header.first_orbit, good.header.orbits
    if len(found) + sum(problem.packets for problem in problems) != good.header.packets:
        raise AssertionError(f"{len(found)} events of {good.header.packets}")
    if not np.all((first <= found.orbit) & (found.orbit < first + orbits)):
        raise AssertionError(f"an event is outside {first} to {first + orbits - 1}")
    starts, stops = found.table[:, E_START], found.table[:, E_STOP]
    if not np.all((starts <= stops) & (stops <= len(found.words))):
        raise AssertionError("an event is outside the payload")
    return "bad events" if problems else "good"


TARGET = Target("wire", seeds, parse, weight=30)
