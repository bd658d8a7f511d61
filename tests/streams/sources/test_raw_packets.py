"""Ranges of raw events: the bytes of the files, cut and numbered as promised."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scout40.streams.crc import crc32c
from scout40.streams.errors import BadConfig, BadInput
from scout40.streams.formats import frd
from scout40.streams.sinks.raw import Payload, event_bytes
from scout40.streams.sources import raw_packets
from scout40.streams.sources.base import Run
from scout40.streams.sources.raw import RawSource
from scout40.streams.sources.raw_packets import EventRange, RawPackets

RUN = 7


def event(orbit: int, source: int = frd.GMT, run: int = RUN, size: int = 3) -> bytes:
    """An event whose words are made of its numbers; they mean nothing."""
    words = np.full(size, orbit * 100 + source, np.uint32)
    return event_bytes(Payload(orbit, source, words), run, 1)


def write(path: Path, events: Sequence[bytes]) -> str:
    path.write_bytes(b"".join(events))  # a raw file needs no file header
    return str(path)


def ranges(packets: RawPackets, run: Run | None = None) -> list[EventRange]:
    return list(packets.ranges(run or Run()))


def spans(found: Sequence[EventRange]) -> list[tuple[int, int, int]]:
    return [(part.run, part.first_orbit, part.end_orbit) for part in found]


def joined(found: Sequence[EventRange]) -> bytes:
    return b"".join(bytes(part.payload) for part in found)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    orbits=st.sets(st.integers(0, 60), min_size=1),
    sources=st.sets(st.sampled_from([1, 2, 10, 22, 32]), min_size=1),
    packet_orbits=st.integers(1, 20),
)
def test_bytes_as_in_the_file(
    tmp_path: Path, orbits: set[int], sources: set[int], packet_orbits: int
) -> None:
    events = {(o, s): event(o, s, size=1 + o % 4) for o in sorted(orbits) for s in sorted(sources)}
    path = write(tmp_path / "a.raw", list(events.values()))
    run = Run()
    found = ranges(RawPackets([path], packet_orbits=packet_orbits), run)
    assert joined(found) == (tmp_path / "a.raw").read_bytes()
    assert sum(part.packets for part in found) == len(events) == run.ledger["packets"].pending
    covered = [orbit for part in found for orbit in range(part.first_orbit, part.end_orbit)]
    assert covered == sorted(orbits), "ranges cover the orbits that exist, once each"
    assert all(part.orbits <= packet_orbits for part in found)
    assert all(part.source == min(sources) for part in found)
    for before, after in itertools.pairwise(found):
        assert before.orbits == packet_orbits or before.end_orbit < after.first_orbit


def test_files_are_merged_by_orbit(tmp_path: Path) -> None:
    muons = write(tmp_path / "mu.raw", [event(k) for k in range(5)])
    calo = write(tmp_path / "calo.raw", [event(k, frd.CALO) for k in range(2, 7)])
    found = ranges(RawPackets([calo, muons], packet_orbits=4))
    expected = [
        event(orbit, source)
        for orbit in range(7)
        for source, there in ((1, orbit < 5), (2, orbit >= 2))
        if there
    ]
    assert joined(found) == b"".join(expected)
    assert [part.packets for part in found] == [6, 4]


def test_a_new_run_begins_a_range(tmp_path: Path) -> None:
    path = write(tmp_path / "a.raw", [event(3), event(4), event(5, run=RUN + 1)])
    assert spans(ranges(RawPackets([path]))) == [(RUN, 3, 5), (RUN + 1, 5, 6)]


def test_version_5_and_flags_stay(tmp_path: Path) -> None:
    old = bytearray(event(3))
    old[:4] = struct.pack("<I", 5)
    new = bytearray(event(4))
    new[2:4] = struct.pack("<H", 0xBEEF)
    none = bytearray(event(5))
    none[20:24] = bytes(4)  # no checksum
    path = write(tmp_path / "a.raw", [bytes(one) for one in (old, new, none)])
    assert joined(ranges(RawPackets([path]))) == old + new + none


def test_other_numbers(tmp_path: Path, sample_raw: Path) -> None:
    """Only run and orbit in the headers change; the result reads as a raw file."""
    found = ranges(RawPackets([str(sample_raw)], first_orbit=5, run=9))
    assert found[0].run == 9
    assert found[0].first_orbit == 5
    (before,) = RawSource([str(sample_raw)]).blocks(Run())
    path = write(tmp_path / "b.raw", [joined(found)])
    (after,) = RawSource([path]).blocks(Run())
    assert (after.first_orbit, set(after.crossing["run"])) == (5, {9})
    np.testing.assert_array_equal(after.tables["mu"]["hw_pt"], before.tables["mu"]["hw_pt"])
    np.testing.assert_array_equal(after.crossing["lumi"], before.crossing["lumi"])


def test_repeat_goes_on_without_a_gap(tmp_path: Path) -> None:
    path = write(tmp_path / "a.raw", [event(10), event(11), event(14)])
    packets = RawPackets([path], packet_orbits=2, repeat=True, orbits=9)
    found = ranges(packets)
    assert spans(found) == [
        (RUN, 10, 12), (RUN, 14, 15), (RUN, 15, 17), (RUN, 19, 20), (RUN, 20, 22), (RUN, 24, 25),
    ]  # fmt: skip
    assert packets.rounds == 2
    repeated = bytearray(event(10))
    repeated[12:16] = struct.pack("<I", 15)
    body = bytes(found[2].payload)
    assert body[: len(repeated)] == repeated, "one number differs, the checksum does not"
    assert crc32c(body[24 : len(repeated)]) == struct.unpack_from("<I", body, 20)[0]


def test_orbits_is_an_exact_limit(tmp_path: Path) -> None:
    path = write(tmp_path / "a.raw", [event(k) for k in range(20)])
    run = Run()
    found = ranges(RawPackets([path], packet_orbits=4, orbits=10), run)
    assert spans(found) == [(RUN, 0, 4), (RUN, 4, 8), (RUN, 8, 10)]
    account = run.ledger["packets"]
    assert account.missing == 0
    assert account.pending >= 10, "those read ahead are pending too"


def test_bad_events_are_counted_and_left_out(tmp_path: Path) -> None:
    events = [event(k) for k in range(6)]
    broken = bytearray(events[2])
    broken[-1] ^= 1
    path = write(tmp_path / "a.raw", [*events[:2], bytes(broken), *events[3:]])
    run = Run()
    found = ranges(RawPackets([path]), run)
    assert spans(found) == [(RUN, 0, 2), (RUN, 3, 6)]
    account = run.ledger["packets"]
    assert dict(account.bad) == {"crc mismatch": 1}
    assert (account.received, account.pending, account.missing) == (6, 5, 0)


def test_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    """The reader has the old bytes in its window; what no longer stands there is not sent."""
    place = tmp_path / "a.raw"
    run = Run()
    stream = RawPackets(
        [write(place, [event(k) for k in range(8)])], packet_orbits=2
    ).ranges(run)  # fmt: skip
    assert next(stream).end_orbit == 2  # and event 2 was read, which ended the range
    with place.open("r+b") as file:
        file.write(bytes(place.stat().st_size))
    assert spans(list(stream)) == [(RUN, 2, 3)]
    account = run.ledger["packets"]
    assert dict(account.bad) == {"file changed while it was read": 5}
    assert account.missing == 0


@pytest.mark.parametrize("option", ["loop", "run", "first orbit"])
def test_two_runs_cannot_be_renumbered(tmp_path: Path, option: str) -> None:
    path = write(tmp_path / "a.raw", [event(3), event(4), event(5, run=8)])
    packets = {
        "loop": lambda: RawPackets([path], repeat=True),
        "run": lambda: RawPackets([path], run=3),
        "first orbit": lambda: RawPackets([path], first_orbit=3),
    }[option]()
    found: list[EventRange] = []
    with pytest.raises(BadInput, match=r"orbit 5.*second run 8: only one run can be"):
        found.extend(packets.ranges(Run()))
    assert [part.first_orbit for part in found] == [3], "what was good before came out"


def test_orbit_numbers_end_at_32_bits(tmp_path: Path) -> None:
    path = write(tmp_path / "a.raw", [event(k) for k in range(4)])
    packets = RawPackets([path], repeat=True, first_orbit=(1 << 32) - 6)
    found: list[EventRange] = []
    with pytest.raises(BadInput, match="orbit number 4294967296 does not fit 32 bits"):
        found.extend(packets.ranges(Run()))
    assert found[-1].end_orbit == 1 << 32


def test_an_orbit_too_large_for_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_packets, "MAX_RANGE", 100)
    events = [event(0), event(1), event(1, frd.CALO, size=30), event(2)]
    path = write(tmp_path / "a.raw", events)
    run = Run()
    found = ranges(RawPackets([path], packet_orbits=1), run)
    assert joined(found) == events[0] + events[1] + events[3]
    assert dict(run.ledger["packets"].bad) == {"orbit too large for a message": 1}
    assert run.ledger["packets"].missing == 0


def test_large_orbits_end_a_range_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_packets, "MAX_STAGED", 70)
    path = write(tmp_path / "a.raw", [event(k, s) for k in range(4) for s in (1, 2)])
    assert spans(ranges(RawPackets([path]))) == [(RUN, k, k + 1) for k in range(4)]


def test_nothing_to_read(tmp_path: Path) -> None:
    empty = write(tmp_path / "empty.raw", [])
    with pytest.raises(BadInput, match="no orbit could be read: 1 x empty file"):
        ranges(RawPackets([empty]))
    broken = bytearray(event(1))
    broken[-1] ^= 1
    with pytest.raises(BadInput, match="no orbit could be read: 1 x crc mismatch"):
        ranges(RawPackets([write(tmp_path / "bad.raw", [bytes(broken)])], repeat=True))
    with pytest.raises(BadInput, match=r"missing\.raw: cannot be opened"):
        RawPackets([str(tmp_path / "missing.raw")])
    with pytest.raises(BadConfig, match="0 orbits in a packet"):
        RawPackets([empty], packet_orbits=0)


def test_one_empty_file_among_good_ones(tmp_path: Path) -> None:
    good = write(tmp_path / "a.raw", [event(k) for k in range(3)])
    run = Run()
    found = ranges(RawPackets([write(tmp_path / "b.raw", []), good]), run)
    assert joined(found) == Path(good).read_bytes()
    assert dict(run.ledger["packets"].bad) == {"empty file": 1}


def test_more_files_than_are_held_open(tmp_path: Path) -> None:
    number = raw_packets.OPEN_FILES + 5
    paths = [write(tmp_path / f"{k:03d}.raw", [event(2 * k), event(2 * k + 1)]) for k in
             range(number)]  # fmt: skip
    found = ranges(RawPackets(paths))
    assert joined(found) == b"".join(event(k) for k in range(2 * number))


@pytest.fixture(scope="module")
def sample_raw() -> Path:
    from importlib import resources

    return Path(str(resources.files("scout40.configs").joinpath("samples", "demo.raw")))
