"""Headers of raw data files of the CMS data acquisition (FRD), and scouting source ids.

A file is an optional file header followed by events. For scouting an event is one orbit of one
source: a header of 24 bytes, then the payload, which is a source id of 32 bits and the source's
own words. All numbers are little endian. Source: DAQ source of the CMS scouting and the public
conversion scripts of its developers, as written down in the project's format notes.
"""

from __future__ import annotations

import struct

from scout40.streams.formats import bmtf
from scout40.streams.layout import Bits, Word

MAGIC = int.from_bytes(b"RAW_", "little")
VERSIONS = {
    int.from_bytes(b"0001", "little"): 1,
    int.from_bytes(b"0002", "little"): 2,
}
"""Version word of the file header -> number."""


class FrdFileStart(Word, words=2):
    """The first eight bytes of every file header."""

    magic = Bits(0, 32, "RAW_ in ASCII", word=0)
    version = Bits(0, 32, "0001 or 0002 in ASCII", word=1)


class FrdFileHeader1(FrdFileStart, words=6):
    """File header, version 1: 24 bytes."""

    header_size = Bits(0, 16, "bytes of this header, 24", word=2)
    events = Bits(16, 16, "number of events", word=2)
    lumi = Bits(0, 32, "luminosity section", word=3)
    file_size_low = Bits(0, 32, "bytes of the file, low half", word=4)
    file_size_high = Bits(0, 32, "bytes of the file, high half", word=5)


class FrdFileHeader2(FrdFileStart, words=8):
    """File header, version 2: 32 bytes."""

    header_size = Bits(0, 16, "bytes of this header, 32", word=2)
    data_type = Bits(16, 16, "20 = scouting", word=2)
    events = Bits(0, 32, "number of orbits", word=3)
    run = Bits(0, 32, "run number", word=4)
    lumi = Bits(0, 32, "luminosity section", word=5)
    file_size_low = Bits(0, 32, "bytes of the file, low half", word=6)
    file_size_high = Bits(0, 32, "bytes of the file, high half", word=7)


class FrdEvent5(Word, words=6):
    """Event header, version 5: 24 bytes."""

    version = Bits(0, 32, "5", word=0)
    run = Bits(0, 32, "run number", word=1)
    lumi = Bits(0, 32, "luminosity section", word=2)
    orbit = Bits(0, 32, "event number; for scouting the orbit", word=3)
    size = Bits(0, 32, "bytes of the payload, source id included", word=4)
    crc32c = Bits(0, 32, "CRC-32C of the payload, 0 = none", word=5)


class FrdEvent6(FrdEvent5):
    """Event header, version 6: 24 bytes, as version 5 but for the first four."""

    version = Bits(0, 16, "6", word=0)
    flags = Bits(16, 16, "0", word=0)


EVENT_BYTES = 24
DATA_TYPE = 20
"""``data_type`` of scouting files."""

GMT = 1
CALO = 2
GT = 4
"""Reserved for the global trigger; no public layout exists."""
BMTF = range(bmtf.FIRST_SOURCE, bmtf.FIRST_SOURCE + bmtf.SECTORS)
CALO_TCP = {22: "jet", 23: "eg", 24: "sums", 25: "tau"}
"""Ids 22..29 belong to the calorimeter; 26..29 carry no known object."""
CALO_TOWER = 32

SOURCE_KINDS: dict[int, str] = {
    GMT: "gmt",
    CALO: "calo",
    **dict.fromkeys(BMTF, "bmtf"),
    **{source: f"tcp_{table}" for source, table in CALO_TCP.items()},
    CALO_TOWER: "tower",
}
"""Source id -> the form of its packets."""


def record(word: type[Word]) -> struct.Struct:
    """The little-endian record of a header whose fields are whole bytes, in the order of bits."""
    fields = sorted(word.fields.values(), key=lambda bits: (bits.word, bits.lo))
    return struct.Struct("<" + "".join({8: "B", 16: "H", 32: "I"}[bits.width] for bits in fields))
