"""Bad raw files: what is wrong is counted by reason, and does not stop the rest."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scout40.streams.block import concatenate
from scout40.streams.crc import crc32c
from scout40.streams.errors import BadInput
from scout40.streams.sinks.raw import write_frd
from scout40.streams.sources.base import Quarantine, Run
from scout40.streams.sources.raw import RawSource, recognise

RUN, LUMI = 400_001, 17


Change = Callable[[list[bytes]], list[bytes]]


def changed(index: int, offset: int, data: bytes, crc: bool = False) -> Change:
    """Overwrite bytes of one event; ``crc`` makes the checksum right again."""

    def change(events: list[bytes]) -> list[bytes]:
        event = bytearray(events[index])
        event[offset : offset + len(data)] = data
        if crc:
            event[20:24] = struct.pack("<I", crc32c(bytes(event[24:])))
        return [*events[:index], bytes(event), *events[index + 1 :]]

    return change


def u4(value: int) -> bytes:
    return struct.pack("<I", value)


FIRST_BX = 24 + 4 + 4
"""Place of the first crossing number in an event."""
PROBLEMS: dict[str, tuple[Change, str, list[int], str]] = {
    "wrong version": (changed(1, 0, u4(9)), "wrong magic", [100, 102], "field version"),
    "crc": (changed(1, 40, b"\x55"), "crc mismatch", [100, 102], "field crc32c"),
    "source": (changed(1, 24, u4(77), True), "unknown source id", [100, 102], "source id 77"),
    "reserved source": (changed(1, 24, u4(4), True), "unknown source id", [100, 102], "id 4"),
    "bx 0": (changed(1, FIRST_BX, u4(0), True), "BX 0 or above 3564", [100, 102], "bx 0"),
    "bx 3565": (changed(1, FIRST_BX, u4(3565), True), "BX 0 or above 3564", [100, 102], "bx 3565"),
    "count": (
        lambda events: [events[0], cut(events[1]), events[2]],
        "count beyond the data", [100, 102], "field count",
    ),
    "header": (
        lambda events: [events[0], cut(events[1], 1, u4(0) * 2), events[2]],
        "block header cut off", [100, 102], "field count",
    ),
    "backwards": (changed(2, 12, u4(50)), "orbit going backwards", [100, 101], "orbit 50"),
    "ahead": (changed(1, 12, u4(9000)), "orbit going backwards", [100, 102], "orbit 9000"),
    "duplicated": (changed(1, 12, u4(100)), "orbit duplicated", [100, 102], "orbit 100"),
    "other run": (changed(1, 4, u4(1)), "orbit going backwards", [100, 102], "orbit 101"),
    "size beyond": (changed(1, 16, u4(2**31)), "size beyond file", [100], "field size"),
    "size small": (
        lambda events: [events[0], events[1][:16] + u4(2) + u4(0) + b"ab", events[2]],
        "payload not in 4-byte words", [100, 102], "field size",
    ),
    "size odd": (changed(1, 16, u4(45)), "payload not in 4-byte words", [100], "field size"),
    "cut in event": (lambda e: [*e[:2], e[2][:-8]], "truncated file", [100, 101], "field size"),
    "cut in header": (lambda e: [*e[:2], e[2][:20]], "truncated file", [100, 101], "offset"),
}  # fmt: skip


def cut(event: bytes, drop: int = 1, more: bytes = b"") -> bytes:
    """The event with its last words replaced, size and checksum right."""
    body = event[24 : len(event) - 4 * drop] if not more else event[24:] + more
    return event[:16] + u4(len(body)) + u4(crc32c(body)) + body


@pytest.mark.parametrize("name", PROBLEMS)
def test_one_bad_packet(kit: Any, tmp_path: Path, name: str) -> None:
    """Counted by reason, quarantined with its place; the other orbits are there, unchanged."""
    change, reason, left, text = PROBLEMS[name]
    block = kit.random_block(9, ("mu",), rows=20)
    path = tmp_path / "bad.raw"
    path.write_bytes(b"".join(change(kit.bare(block))))
    run = Run(quarantine=Quarantine(tmp_path / "quarantine"))
    blocks, _ = kit.read([path], run)
    assert run.ledger["packets"].bad == {reason: 1}
    assert run.ledger["packets"].out == len(left)
    assert kit.orbits_of(blocks) == left
    (message,) = run.quarantine.reasons
    assert message.startswith(f"file {path}, offset ")
    assert text in message
    assert (tmp_path / "quarantine" / "000001.bin").is_file()
    pt = np.concatenate([b.tables["mu"]["hw_pt"] for b in blocks])
    rows = np.isin(block.orbit, left)
    owner = np.repeat(rows, block.tables["mu"].counts())
    np.testing.assert_array_equal(pt, block.tables["mu"]["hw_pt"][owner])


def test_offset_of_a_bad_block_is_its_place_in_the_file(kit: Any, tmp_path: Path) -> None:
    events = kit.bare(kit.random_block(9, ("mu",), rows=20))
    events = changed(1, FIRST_BX, u4(3600), True)(events)
    (tmp_path / "a.raw").write_bytes(b"".join(events))
    _, run = kit.read([tmp_path / "a.raw"])
    place = len(events[0]) + 28
    assert f"offset {place}, orbit 101, bx 3600, field bx" in run.quarantine.reasons[0]


def file_of(events: list[bytes], count: int, size: int | None = None) -> bytes:
    total = 32 + sum(map(len, events)) if size is None else size
    head = struct.pack("<4s4sHHIIIQ", b"RAW_", b"0002", 32, 20, count, RUN, LUMI, total)
    return head + b"".join(events)


@pytest.mark.parametrize(
    ("make", "reason", "orbits"),
    [
        (lambda e: file_of(e, 4), "header count beyond the data", 3),
        (lambda e: file_of(e, 3, 10**9), "truncated file", 3),
        (lambda e: file_of(e, 3)[:-4], "truncated file", 2),
        (lambda e: file_of(changed(2, 16, u4(2**20))(e), 3), "size beyond file", 2),
    ],
)
def test_file_header_and_content_disagree(
    kit: Any, tmp_path: Path, make: Callable[[list[bytes]], bytes], reason: str, orbits: int
) -> None:
    (tmp_path / "a.raw").write_bytes(make(kit.bare(kit.random_block(9, ("mu",)))))
    blocks, run = kit.read([tmp_path / "a.raw"])
    assert run.ledger["packets"].bad == {reason: 1}
    assert len(kit.orbits_of(blocks)) == orbits


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"RAW_", "wrong magic"),
        (b"RAW_0003" + bytes(40), "wrong magic"),
        (b"RAW_0002" + bytes(40), "wrong magic"),
        (b"ROOT" * 40, "wrong magic"),
        (b"\x05", "truncated file"),
    ],
)
def test_a_file_without_an_orbit_is_a_clear_error(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "a.raw").write_bytes(data)
    run = Run()
    with pytest.raises(BadInput, match=f"a.raw.*no orbit could be read: 1 x {reason}"):
        list(RawSource([str(tmp_path / "a.raw")]).blocks(run))
    run.ledger.check()
    assert run.ledger["packets"].bad == {reason: 1}


def test_a_header_and_no_events(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(file_of([], 0))
    with pytest.raises(BadInput, match="no orbit could be read"):
        list(RawSource([str(tmp_path / "a.raw")]).blocks(Run()))


def test_a_bad_file_does_not_stop_the_others(kit: Any, tmp_path: Path) -> None:
    block = kit.random_block(1)
    write_frd(tmp_path / "a.raw", [block], run=RUN, lumi=LUMI)
    (tmp_path / "b.raw").write_bytes(b"nonsense, not raw data at all")
    write_frd(tmp_path / "c.raw", [block], run=RUN, lumi=LUMI)
    blocks, run = kit.read([tmp_path / n for n in ("a.raw", "b.raw", "c.raw")])
    kit.same(concatenate(blocks), block)
    assert run.ledger["packets"].bad == {"wrong magic": 1, "orbit duplicated": 6}


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"none\.raw: cannot be opened"):
        RawSource([str(tmp_path / "none.raw")])
    with pytest.raises(BadInput, match="no raw file given"):
        RawSource([])


def test_memory_does_not_grow_with_the_claimed_size(tmp_path: Path) -> None:
    """A sparse file of 8 GiB whose first event claims 4 GiB."""
    path = tmp_path / "huge.raw"
    with path.open("wb") as stream:
        stream.write(struct.pack("<IIIIIII", 6, 1, 1, 1, 2**32 - 4, 0, 1))
        stream.truncate(8 << 30)
    source = RawSource([str(path)])
    run = Run()
    with pytest.raises(BadInput, match="size beyond file"):
        list(source.blocks(run))
    assert run.ledger["packets"].bad == {"size beyond file": 1}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(data=st.data())
def test_any_bytes_give_blocks_or_a_clear_error(
    kit: Any, tmp_path: Path, data: st.DataObject
) -> None:
    """Bytes of a good file with pieces replaced, cut and doubled (tests/fuzz goes on with this)."""
    good = b"".join(kit.bare(kit.random_block(11, rows=4), crc=data.draw(st.booleans())))
    good = file_of([good], 6) if data.draw(st.booleans()) else good
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(good)))
        piece = data.draw(st.binary(max_size=12))
        after = data.draw(st.sampled_from([at, at + len(piece), len(good)]))
        good = good[:at] + piece + good[after:]
    (tmp_path / "a.raw").write_bytes(good)
    recognise(good[:4096], "a.raw")
    run = Run(orbits_per_block=2)
    try:
        for block in RawSource([str(tmp_path / "a.raw")]).blocks(run):
            block.check()
    except BadInput:
        assert not run.ledger["packets"].out
    run.ledger.check()
    assert run.ledger["packets"].pending == 0
    assert run.quarantine.count == run.ledger["packets"].bad.total()
