"""Header of the messages between a feed and its consumers.

A message is two ZeroMQ frames: this header of 80 bytes, then the payload, which is a run of FRD
events of version 6 exactly as in a raw file. All numbers are little endian; a number of 64 bits
is two words, low half first. The format is scout40's own.
"""

from __future__ import annotations

from scout40.streams.layout import Bits, Word

MAGIC = int.from_bytes(b"S40W", "little")
VERSION = 1

DATA = 1
HEARTBEAT = 2
END = 3

HEADER_BYTES = 80
MAX_ORBITS = 256
MAX_PAYLOAD = 256 << 20
"""Bytes; 256 orbits of the calorimeter stream without zero suppression have 216 MB."""


class WireHeader(Word, words=20):
    """First frame of a message: 80 bytes."""

    magic = Bits(0, 32, "S40W in ASCII", word=0)
    version = Bits(0, 16, "1", word=1)
    kind = Bits(16, 16, "1 data, 2 heartbeat, 3 end", word=1)
    feed_low = Bits(0, 32, "identity of the feed process, random at its start, low half", word=2)
    feed_high = Bits(0, 32, "the same, high half", word=3)
    sequence_low = Bits(
        0, 32, "data messages that this feed made before this one, dropped ones too, low half",
        word=4,
    )  # fmt: skip
    sequence_high = Bits(0, 32, "the same, high half", word=5)
    sent_packets_low = Bits(
        0, 32, "packets that this feed sent before this message, low half", word=6
    )
    sent_packets_high = Bits(0, 32, "the same, high half", word=7)
    dropped_packets_low = Bits(
        0, 32, "packets that this feed dropped before this message, low half", word=8
    )
    dropped_packets_high = Bits(0, 32, "the same, high half", word=9)
    send_time_ns_low = Bits(
        0, 32, "time of sending, nanoseconds since 1970-01-01 UTC, low half", word=10
    )
    send_time_ns_high = Bits(0, 32, "the same, high half", word=11)
    run = Bits(0, 32, "run number", word=12)
    source = Bits(0, 32, "id of the stream; by default the source id of its first event", word=13)
    first_orbit = Bits(
        0, 32, "data: first orbit of the message; else the orbit that comes next", word=14
    )
    orbits = Bits(0, 32, "data: consecutive orbits that the message covers, 1 to 256; else 0",
                  word=15)  # fmt: skip
    packets = Bits(0, 32, "data: events in the payload; else 0", word=16)
    size = Bits(0, 32, "bytes of the payload", word=17)
    flags = Bits(0, 32, "0", word=18)
    crc32c = Bits(0, 32, "CRC-32C of header (with 0 here) and payload", word=19)
