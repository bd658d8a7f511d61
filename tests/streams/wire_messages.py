"""Small messages for the tests of the wire."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Sequence

from scout40.streams.crc import crc32c
from scout40.streams.wire import DATA, Header, encode

RUN = 400_000
GOOD = Header(
    kind=DATA,
    feed=0x0123456789ABCDEF,
    sequence=5,
    sent_packets=40,
    dropped_packets=8,
    send_time_ns=1_700_000_000_000_000_000,
    run=RUN,
    source=1,
    first_orbit=1000,
    orbits=2,
    packets=2,
)
"""Of a data message with one packet in each of its two orbits."""


def event(
    orbit: int, words: Sequence[int] = (1, 2, 3), *, source: int = 1, run: int = RUN
) -> bytes:
    """One FRD event of version 6 with checksum."""
    payload = struct.pack(f"<{1 + len(words)}I", source, *words)
    return struct.pack("<HHIIIII", 6, 0, run, 9, orbit, len(payload), crc32c(payload)) + payload


def header(**changes: int) -> Header:
    """GOOD with changes."""
    return dataclasses.replace(GOOD, **changes)


def payload_of(good: Header) -> bytes:
    """Packets for a header: ``packets / orbits`` sources in every orbit."""
    orbits = range(good.first_orbit, good.first_orbit + good.orbits)
    sources = range(1, 1 + good.packets // good.orbits)
    return b"".join(event(orbit, source=source) for orbit in orbits for source in sources)


def message(**changes: int) -> list[bytes]:
    """Frames of a data message that is right in every way."""
    made = header(**changes)
    head, payload = encode(made, payload_of(made))
    return [head, bytes(payload)]
