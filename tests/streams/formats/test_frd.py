"""File and event headers: the declared words against records written down by hand."""

from __future__ import annotations

import struct

import numpy as np

from scout40.streams.formats import frd


def test_file_header_version_1() -> None:
    data = struct.pack("<4s4sHHIQ", b"RAW_", b"0001", 24, 7, 99, 0x1_0000_0002)
    (row,) = frd.FrdFileHeader1.rows(np.frombuffer(data, "<u4"))
    columns = frd.FrdFileHeader1.unpack(row)
    assert len(data) == 4 * frd.FrdFileHeader1.words
    assert columns["magic"] == frd.MAGIC
    assert frd.VERSIONS[int(columns["version"][0])] == 1
    values = [int(columns[n][0]) for n in ("header_size", "events", "lumi")]
    assert values == [24, 7, 99]
    assert [int(columns[f"file_size_{half}"][0]) for half in ("low", "high")] == [2, 1]


def test_file_header_version_2() -> None:
    data = struct.pack("<4s4sHHIIIQ", b"RAW_", b"0002", 32, 20, 3, 400000, 12, 2**33 + 5)
    columns = frd.FrdFileHeader2.unpack(np.frombuffer(data, "<u4"))
    assert len(data) == 4 * frd.FrdFileHeader2.words
    assert frd.VERSIONS[int(columns["version"][0])] == 2
    names = ("header_size", "data_type", "events", "run", "lumi", "file_size_low")
    assert [int(columns[n][0]) for n in names] == [32, 20, 3, 400000, 12, 5]
    assert columns["file_size_high"] == 2


def test_event_headers() -> None:
    data = struct.pack("<HHIIIII", 6, 0, 1, 2, 3, 4, 2**32 - 1)
    columns = frd.FrdEvent6.unpack(np.frombuffer(data, "<u4"))
    names = ("version", "flags", "run", "lumi", "orbit", "size", "crc32c")
    assert [int(columns[n][0]) for n in names] == [6, 0, 1, 2, 3, 4, 2**32 - 1]
    assert frd.record(frd.FrdEvent6).unpack(data) == (6, 0, 1, 2, 3, 4, 2**32 - 1)
    assert len(data) == frd.EVENT_BYTES == frd.record(frd.FrdEvent5).size


def test_versions_5_and_6_share_all_but_the_first_word() -> None:
    for name in ("run", "lumi", "orbit", "size", "crc32c"):
        assert frd.FrdEvent5.fields[name] == frd.FrdEvent6.fields[name]


def test_source_ids() -> None:
    kinds = frd.SOURCE_KINDS
    assert [kinds[source] for source in (1, 2, 10, 21, 22, 23, 24, 25, 32)] == [
        "gmt", "calo", "bmtf", "bmtf", "tcp_jet", "tcp_eg", "tcp_sums", "tcp_tau", "tower",
    ]  # fmt: skip
    assert not {frd.GT, 9, 26, 29} & set(kinds)
