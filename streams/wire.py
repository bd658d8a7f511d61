"""Messages between a feed and its consumers: encode and decode. Format: docs/wire.md.

Nothing in a message is believed: sizes are checked before anything else is looked at, then the
checksum, then what the numbers mean. What is wrong raises WireError, whose ``reason`` is a key of
``REASONS``, for counting.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from crc32c import crc32c

from scout40.streams.errors import BadInput
from scout40.streams.formats import frd, wire
from scout40.streams.formats.wire import (
    DATA,
    END,
    HEADER_BYTES,
    HEARTBEAT,
    MAX_ORBITS,
    MAX_PAYLOAD,
)

__all__ = [
    "DATA", "END", "HEARTBEAT", "MAX_ORBITS", "MAX_PAYLOAD", "REASONS",
    "Buffer", "Header", "Message", "WireError", "decode", "encode",
]  # fmt: skip

Buffer = bytes | bytearray | memoryview | npt.NDArray[np.uint8]

REASONS: dict[str, str] = {
    "number of frames": "not two frames",
    "truncated message": "the header has less than 80 bytes, or the payload less than it says",
    "oversized message": "the header has more than 80 bytes, the payload more than it says or "
    "than the limit",
    "wrong magic": "the first four bytes are not S40W",
    "wrong version": "a version that this program does not know",
    "crc mismatch": "header or payload changed on the way",
    "unknown kind": "neither data nor heartbeat nor end",
    "unknown flags": "a flag is set, and version 1 has none",
    "orbit count": "data of no or of more than 256 orbits, or beyond orbit 4294967295; orbits in "
    "a heartbeat or end",
    "packet count": "data without packets or with more than fit; packets in a heartbeat or end",
    "field out of range": "only when encoding: a number does not fit its field",
}
"""Every ``reason`` of a WireError and what it means."""


class WireError(BadInput):
    """A message that cannot be used; ``reason`` is a key of REASONS, ``where`` the endpoint."""

    def __init__(
        self,
        reason: str,
        text: str,
        where: str = "",
        *,
        orbit: int | None = None,
        field: str | None = None,
    ) -> None:
        source = f" (from {where})" if where else ""
        super().__init__(f"{reason}: {text}{source}", orbit=orbit, field=field)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Header:
    """What a header says, see :class:`~scout40.streams.formats.wire.WireHeader`.

    Magic, version, size, flags and crc are computed. ``feed``, ``sequence``, ``sent_packets``,
    ``dropped_packets`` and ``send_time_ns`` have 64 bits, ``kind`` 16 and the others 32.
    """

    kind: int
    feed: int
    sequence: int
    sent_packets: int
    dropped_packets: int
    send_time_ns: int
    run: int
    source: int
    first_orbit: int
    orbits: int
    packets: int


_values = attrgetter(*Header.__annotations__)  # dataclasses.astuple copies, and is slow


class Message(NamedTuple):
    """A header and the FRD events behind it; ``payload`` is a view of the received frame."""

    header: Header
    payload: memoryview


def encode(header: Header, payload: Buffer = b"") -> tuple[bytes, memoryview]:
    """The two frames of a message; the payload is passed on, not copied.

    Raises WireError when header and payload contradict the format.
    """
    view = _as_bytes(payload)
    _check_sizes(len(view), "")
    _check_meaning(header, len(view), "")
    try:
        head = _RECORD.pack(wire.MAGIC, wire.VERSION, *_values(header), len(view), 0, 0)
    except struct.error:
        raise _out_of_range(header) from None
    checksum = crc32c(view, crc32c(head))
    return head[:-4] + checksum.to_bytes(4, "little"), view


def decode(frames: Sequence[Buffer], where: str = "") -> Message:
    """The message in ``frames``; ``where``: endpoint for the text of errors.

    Raises WireError. The events of the payload are not looked at: see streams/sources/events.py.
    """
    if len(frames) != 2:
        raise WireError("number of frames", f"{len(frames)}, expected 2", where)
    head, payload = _as_bytes(frames[0]), _as_bytes(frames[1])
    if len(head) < HEADER_BYTES:
        text = f"header of {len(head)} bytes, expected {HEADER_BYTES}"
        raise WireError("truncated message", text, where)
    _check_sizes(len(payload), where)
    magic, version, *values, size, flags, checksum = _RECORD.unpack_from(head)
    if magic != wire.MAGIC:
        raise WireError("wrong magic", f"{magic:#010x}, expected S40W", where, field="magic")
    if version != wire.VERSION:
        text = f"{version}, this program knows {wire.VERSION}"
        raise WireError("wrong version", text, where, field="version")
    if len(head) > HEADER_BYTES:
        text = f"header of {len(head)} bytes, expected {HEADER_BYTES}"
        raise WireError("oversized message", text, where)
    if size != len(payload):
        reason = "truncated message" if len(payload) < size else "oversized message"
        text = f"payload of {len(payload)} bytes, header says {size}"
        raise WireError(reason, text, where, field="size")
    found = crc32c(payload, crc32c(bytes(head[:-4]) + bytes(4)))
    if found != checksum:
        text = f"found {found:#010x}, header says {checksum:#010x}"
        raise WireError("crc mismatch", text, where, field="crc32c")
    if flags:
        raise WireError("unknown flags", f"{flags:#x}, expected 0", where, field="flags")
    header = Header(*values)
    _check_meaning(header, size, where)
    return Message(header, payload)


def _layout() -> tuple[struct.Struct, list[str]]:
    """Record and names of the header; the two halves of a 64-bit number are one field."""
    words = sorted(wire.WireHeader.fields.values(), key=lambda bits: (bits.word, bits.lo))
    halves = [bits for bits in words if not bits.name.endswith("_high")]
    letters = [
        "Q" if bits.name.endswith("_low") else {16: "H", 32: "I"}[bits.width] for bits in halves
    ]
    names = [bits.name.removesuffix("_low") for bits in halves]
    return struct.Struct("<" + "".join(letters)), names


_RECORD, NAMES = _layout()
"""The header as a record, and the names of its fields."""


def _as_bytes(buffer: Buffer) -> memoryview:
    view = buffer.data if isinstance(buffer, np.ndarray) else memoryview(buffer)
    if view.nbytes == 0:  # an empty array cannot be cast
        return memoryview(b"")
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")


def _check_sizes(size: int, where: str) -> None:
    if size > MAX_PAYLOAD:
        text = f"payload of {size} bytes, at most {MAX_PAYLOAD}"
        raise WireError("oversized message", text, where, field="size")


def _check_meaning(header: Header, size: int, where: str) -> None:
    """What every good message has, besides its checksum."""
    kind, first, orbits, packets = header.kind, header.first_orbit, header.orbits, header.packets
    if kind not in (DATA, HEARTBEAT, END):
        raise WireError("unknown kind", f"{kind}, known are 1, 2, 3", where, field="kind")
    low, high = (1, MAX_ORBITS) if kind == DATA else (0, 0)
    if not low <= orbits <= high:
        text = f"{orbits}, a message of kind {kind} has {low} to {high}"
        raise WireError("orbit count", text, where, orbit=first, field="orbits")
    if first + orbits > 1 << 32:
        text = f"{orbits} from {first} on go beyond 32 bits"
        raise WireError("orbit count", text, where, orbit=first, field="orbits")
    smallest = frd.EVENT_BYTES + 4  # and a source id
    if kind == DATA and not 1 <= packets <= size // smallest:
        text = f"{packets}, a payload of {size} bytes has 1 to {size // smallest}"
        raise WireError("packet count", text, where, orbit=first, field="packets")
    if kind != DATA and (packets or size):
        text = f"{packets} packets in {size} bytes, a message of kind {kind} has none"
        raise WireError("packet count", text, where, orbit=first, field="packets")


def _out_of_range(header: Header) -> WireError:
    """The error of the first value that does not fit its field."""
    widths = {"kind": 16, "run": 32, "source": 32, "first_orbit": 32, "orbits": 32, "packets": 32}
    for name, value in zip(NAMES[2:], _values(header), strict=False):
        if not 0 <= value < 1 << widths.get(name, 64):
            break
    return WireError("field out of range", f"{value}, at least 0 and {widths.get(name, 64)} bits",
                     field=name)  # fmt: skip
