"""Messages of the wire: every change to one is seen, and says what is wrong."""

from __future__ import annotations

import re
import struct
from dataclasses import astuple, fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scout40.streams.crc import crc32c
from scout40.streams.errors import BadInput
from scout40.streams.formats import wire
from scout40.streams.formats.wire import WireHeader
from scout40.streams.wire import (
    DATA,
    END,
    HEARTBEAT,
    MAX_ORBITS,
    MAX_PAYLOAD,
    NAMES,
    REASONS,
    Buffer,
    Header,
    Message,
    WireError,
    decode,
    encode,
)
from tests.streams.wire_messages import GOOD, RUN, header, message, payload_of

U64 = st.integers(0, (1 << 64) - 1)
U32 = st.integers(0, (1 << 32) - 1)
FIRST = st.integers(0, (1 << 32) - MAX_ORBITS)


@st.composite
def headers(draw: st.DrawFn) -> Header:
    """Data, heartbeat or end, with any numbers that go together."""
    kind = draw(st.sampled_from((DATA, HEARTBEAT, END)))
    orbits = draw(st.integers(1, MAX_ORBITS)) if kind == DATA else 0
    packets = draw(st.integers(1, 4)) if kind == DATA else 0
    return Header(
        kind=kind,
        feed=draw(U64),
        sequence=draw(U64),
        sent_packets=draw(U64),
        dropped_packets=draw(U64),
        send_time_ns=draw(U64),
        run=draw(U32),
        source=draw(U32),
        first_orbit=draw(FIRST),
        orbits=orbits,
        packets=packets,
    )


@given(headers(), st.binary(max_size=64))
def test_round_trip(good: Header, rest: bytes) -> None:
    payload = bytes(28 * good.packets) + rest if good.packets else b""
    head, body = encode(good, payload)
    assert len(head) == wire.HEADER_BYTES
    assert decode([head, body]) == Message(good, memoryview(payload))


@given(headers())
def test_the_bytes_are_those_of_the_declared_word(good: Header) -> None:
    payload = bytes(28 * good.packets)
    head, _ = encode(good, payload)
    columns = WireHeader.unpack(np.frombuffer(head, "<u4"))
    values = {name: int(column[0]) for name, column in columns.items()}

    def of(name: str) -> int:
        if name in values:
            return values[name]
        return values[f"{name}_low"] | values[f"{name}_high"] << 32

    assert [of(field.name) for field in fields(Header)] == list(astuple(good))
    assert values["magic"].to_bytes(4, "little") == b"S40W"
    assert (values["version"], values["size"], values["flags"]) == (1, len(payload), 0)
    assert values["crc32c"] == crc32c(head[:76] + bytes(4) + payload)


def test_names_of_the_two_declarations_agree() -> None:
    computed = {"magic", "version", "size", "flags", "crc32c"}
    assert [n for n in NAMES if n not in computed] == [field.name for field in fields(Header)]


def test_a_header_known_by_heart() -> None:
    """Written down by hand from the table of fields."""
    head, _ = encode(header(kind=END, first_orbit=1002, orbits=0, packets=0))
    numbers = struct.pack(
        "<4sHHQQQQQIIIIIIII", b"S40W", 1, 3, 0x0123456789ABCDEF, 5, 40, 8,
        1_700_000_000_000_000_000, RUN, 1, 1002, 0, 0, 0, 0, 0,
    )  # fmt: skip
    assert head == numbers[:76] + crc32c(numbers).to_bytes(4, "little")


def test_example_of_the_documentation(repository: Path) -> None:
    page = (repository / "docs" / "wire.md").read_text()
    rows = re.findall(r"^[0-9a-f]{4}  ([0-9a-f ]+)$", page, re.MULTILINE)
    data = bytes.fromhex("".join(rows))
    assert [data[:80], data[80:]] == message(orbits=1, packets=1)
    for number in (crc32c(data[:76] + bytes(4)), crc32c(data[:76] + bytes(4) + data[80:])):
        assert f"{number:#010x}" in page
    assert crc32c(b"123456789") == 0xE3069283
    assert str(MAX_PAYLOAD) in page


@pytest.mark.parametrize("form", [bytes, bytearray, memoryview, lambda b: np.frombuffer(b, "u1")])
def test_any_buffer_is_taken(form: type[bytes]) -> None:
    head, body = encode(GOOD, form(payload_of(GOOD)))
    found = decode([form(head), form(bytes(body))])
    assert found.header == GOOD
    assert found.payload == payload_of(GOOD)
    none = np.empty(0, np.uint8)
    assert len(encode(header(kind=HEARTBEAT, orbits=0, packets=0), none)[1]) == 0


def test_every_flipped_bit_is_seen() -> None:
    """No exception: also in numbers whose other values would be possible ones."""
    frames = message()
    for index, frame in enumerate(frames):
        for bit in range(8 * len(frame)):
            wrong = bytearray(frame)
            wrong[bit // 8] ^= 1 << bit % 8
            changed: list[Buffer] = list(frames)
            changed[index] = wrong
            with pytest.raises(WireError):
                decode(changed)


def reseal(head: bytes, payload: bytes, place: int, value: int, width: int) -> list[bytes]:
    """A message with another number in its header and the checksum that goes with it."""
    out = bytearray(head)
    out[place : place + width] = value.to_bytes(width, "little")
    out[76:] = bytes(4)
    out[76:] = crc32c(bytes(out) + payload).to_bytes(4, "little")
    return [bytes(out), payload]


HEAD, BODY = message()
WRONG: dict[str, tuple[str, list[bytes]]] = {
    "no frame": ("number of frames", []),
    "one frame": ("number of frames", [HEAD + BODY]),
    "three frames": ("number of frames", [HEAD, BODY, b""]),
    "short header": ("truncated message", [HEAD[:79], BODY]),
    "empty frames": ("truncated message", [b"", b""]),
    "short payload": ("truncated message", [HEAD, BODY[:-1]]),
    "no payload": ("truncated message", [HEAD, b""]),
    "long header": ("oversized message", [HEAD + b"\0", BODY]),
    "long payload": ("oversized message", [HEAD, BODY + b"\0"]),
    "magic": ("wrong magic", reseal(HEAD, BODY, 0, 0x12345678, 4)),
    "version": ("wrong version", reseal(HEAD, BODY, 4, 2, 2)),
    "checksum": ("crc mismatch", [HEAD[:76] + bytes(4), BODY]),
    "payload changed": ("crc mismatch", [HEAD, BODY[:-1] + b"\x77"]),
    "kind 0": ("unknown kind", reseal(HEAD, BODY, 6, 0, 2)),
    "kind 4": ("unknown kind", reseal(HEAD, BODY, 6, 4, 2)),
    "flags": ("unknown flags", reseal(HEAD, BODY, 72, 1, 4)),
    "no orbits": ("orbit count", reseal(HEAD, BODY, 60, 0, 4)),
    "257 orbits": ("orbit count", reseal(HEAD, BODY, 60, 257, 4)),
    "orbits beyond the end": ("orbit count", reseal(HEAD, BODY, 56, (1 << 32) - 1, 4)),
    "no packets": ("packet count", reseal(HEAD, BODY, 64, 0, 4)),
    "more packets than fit": ("packet count", reseal(HEAD, BODY, 64, 3, 4)),
    "heartbeat with orbits": ("orbit count", reseal(HEAD, BODY, 6, HEARTBEAT, 2)),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named(case: str) -> None:
    reason, frames = WRONG[case]
    with pytest.raises(WireError, match=r"\(from tcp://feed:1\)") as caught:
        decode(frames, "tcp://feed:1")
    assert caught.value.reason == reason
    assert reason in REASONS
    assert isinstance(caught.value, BadInput)


def test_too_large_is_seen_before_anything_is_read() -> None:
    huge = np.lib.stride_tricks.as_strided(np.zeros(1, np.uint8), (MAX_PAYLOAD + 1,), (0,))
    with pytest.raises(WireError) as caught:
        decode([bytes(80), np.ascontiguousarray(huge)])
    assert caught.value.reason == "oversized message"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kind": 7}, "unknown kind"),
        ({"orbits": 257}, "orbit count"),
        ({"orbits": 0}, "orbit count"),
        ({"packets": 0}, "packet count"),
        ({"kind": END, "orbits": 0}, "packet count"),
        ({"feed": 1 << 64}, "field out of range"),
        ({"run": 1 << 32}, "field out of range"),
        ({"sequence": -1}, "field out of range"),
    ],
)
def test_nothing_wrong_is_made(changes: dict[str, int], reason: str) -> None:
    with pytest.raises(WireError) as caught:
        encode(header(**changes), payload_of(GOOD))
    assert caught.value.reason == reason
