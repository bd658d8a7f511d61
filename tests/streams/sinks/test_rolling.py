"""RollingSink: closed files are whole and remembered, and every block is in a file or counted."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pyarrow.ipc as ipc
import pytest

from scout40.streams.errors import BadConfig, Scout40Error
from scout40.streams.sinks.arrow import SUFFIXES, ArrowSink
from scout40.streams.sinks.base import LEFTOVER, leftovers
from scout40.streams.sinks.folder import resume
from scout40.streams.sinks.rolling import JOIN_SECONDS, RollingSink
from scout40.streams.sources.arrow import ArrowSource
from tests.streams.sinks.rolling_blocks import (
    FEED,
    block,
    closed,
    decision,
    numbers,
    put,
)
from tests.waiting import wait_for


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_rolls_by_orbits_and_everybody_can_read_it(
    tmp_path: Path, suffix: str, compression: str | None
) -> None:
    with RollingSink(
        tmp_path / "run", file_format=suffix, max_orbits=6, compression=compression
    ) as sink:
        for number in range(10):
            put(sink, number)
        sink.close("interrupted")
    names = [place.name for place in closed(tmp_path / "run")]
    assert names == [
        f"events_7_{first:010d}_{serial:06d}{suffix}" for serial, first in enumerate((0, 6, 12, 18))
    ]
    assert numbers(tmp_path / "run") == list(range(10))
    assert sink.counts["published"][:4] == (10, 20, 200, 4)
    sizes = [place.stat().st_size for place in closed(tmp_path / "run")]
    assert sink.counts["published"].bytes == sum(sizes)
    markers = [ArrowSource([str(p)]).markers[0] for p in closed(tmp_path / "run")]
    assert [marker.status for marker in markers] == ["complete"] * 3 + ["interrupted"]
    assert [marker.serial for marker in markers] == [0, 1, 2, 3]
    assert [marker.positions for marker in markers] == [{FEED: n} for n in (3, 6, 9, 10)]
    assert markers[1].ledger["balanced"]
    assert markers[1].ledger["accounts"]["orbits"]["out"] == 6
    assert markers[3].ledger["accounts"]["rows"]["out"] == 20
    assert markers[1].ledger["facts"] == {
        "serial": 1, "run": 7, "first orbit": 6, "last orbit": 11,
    }  # fmt: skip
    assert leftovers(tmp_path / "run") == []


def test_compression_is_used(tmp_path: Path) -> None:
    sizes = []
    for name in (None, "lz4"):
        with RollingSink(tmp_path / str(name), compression=name) as sink:
            sink.write(block(1, 20000), decision(1, 20000))
            sink.close()
            sizes.append(sink.counts["published"].bytes)
    assert sizes[1] < sizes[0] / 5
    with pytest.raises(BadConfig, match="compression 'gzip'"):
        ArrowSink(tmp_path / "a.arrow", compression="gzip")


def test_rolls_by_bytes_and_by_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RollingSink(tmp_path / "bytes", max_bytes=3_000_000) as sink:
        for number in range(8):
            put(sink, number, rows=20000)
        sink.close()
    assert [ArrowSource([str(p)]).total for p in closed(tmp_path / "bytes")] == [40000] * 4
    clock = [1000.0]
    fake = SimpleNamespace(monotonic=lambda: clock[0])
    monkeypatch.setattr("scout40.streams.sinks.rolling.time", fake)
    with RollingSink(tmp_path / "seconds", max_seconds=5) as sink:
        for number in range(14):
            put(sink, number)
            clock[0] += 1
        assert sink.counts["open"].blocks + sink.counts["published"].blocks == 14
        clock[0] += 10
        sink.poll()  # nothing comes any more, the file is closed nevertheless
        wait_for(lambda: sink.closing == 0)
        sink.poll()
        assert sink.counts["published"].files == 3
        sink.close()
    assert numbers(tmp_path / "seconds") == list(range(14))


def test_small_blocks_are_joined_and_come_back_one_by_one(tmp_path: Path) -> None:
    with RollingSink(tmp_path) as sink:
        for number in range(200):
            put(sink, number)
        sink.close()
    (place,) = closed(tmp_path)
    with ipc.open_file(place) as reader:
        assert reader.num_record_batches < 40  # of 200, and the one with the end marker
    assert numbers(tmp_path) == list(range(200))


def test_blocks_without_rows_keep_their_orbits(tmp_path: Path) -> None:
    with RollingSink(tmp_path) as sink:
        for number in range(3):
            put(sink, number, rows=0)
        put(sink, 3)
        sink.roll()
        put(sink, 4, rows=0)
        sink.close()
    place, _, last = closed(tmp_path)
    assert place.name.startswith("events_0_")  # no row, no run number
    assert last.name.startswith("events_7_")
    marker = ArrowSource([str(place)]).markers[0]
    assert [span.first_orbit for _, span in marker.spans()] == [0, 2, 4]
    assert sink.counts["published"][:3] == (5, 10, 20)


def test_other_columns_another_run_or_a_wish_begin_a_new_file(tmp_path: Path) -> None:
    with RollingSink(tmp_path) as sink:
        put(sink, 0)
        sink.write(block(1), decision(1), run=8)
        sink.write(block(2, tables={}), decision(2), run=8)
        sink.write(block(3, tables={}), run=8)
        sink.roll()
        sink.roll()  # nothing is open
        sink.write(block(4, tables={}), run=8)
        sink.close()
    runs = [place.name.split("_")[1] for place in closed(tmp_path)]
    assert runs == ["7", "8", "8", "8", "8"]
    assert sink.counts["published"].blocks == 5


def test_a_restart_goes_on_after_the_last_closed_file(tmp_path: Path) -> None:
    with RollingSink(tmp_path, max_orbits=4) as sink:
        for number in range(5):
            put(sink, number)
        wait_for(lambda: sink.closing == 0)
        time.sleep(2 * JOIN_SECONDS)
        sink.poll()  # writes block 4, which waited for others
        (growing,) = leftovers(tmp_path)
        saved = growing.read_bytes()
        sink.abort()  # block 4 is in no closed file
    growing.write_bytes(saved)  # as if it had been killed
    (tmp_path / f".other.parquet.1{LEFTOVER}").write_bytes(b"")  # of another program
    (tmp_path / "events_7_0000000000_000009.arrow").write_bytes(b"ARROW1 cut")
    assert resume(tmp_path) == {FEED: 4}
    with RollingSink(tmp_path, max_orbits=4) as sink:
        assert sink.resumed == {FEED: 4}
        assert sink.removed == [growing.name]
        assert len(sink.damaged) == 1
        assert "000009.arrow" in sink.damaged[0]
        for number in range(sink.resumed[FEED], 8):
            put(sink, number)
        sink.close()
    (tmp_path / "events_7_0000000000_000009.arrow").unlink()
    assert numbers(tmp_path) == list(range(8))
    assert [place.name[-12:-6] for place in closed(tmp_path)][-1] == "000011"
    assert resume(tmp_path) == {FEED: 8}
    assert len(leftovers(tmp_path)) == 1


def test_positions_of_several_feeds_and_the_largest_count(tmp_path: Path) -> None:
    with RollingSink(tmp_path, max_orbits=2) as sink:
        sink.write(block(0), None, {"a": 5})
        sink.write(block(1), None, {"b": 2})
        sink.write(block(2), None, {"a": 7, "b": 3})
        sink.close()
    assert resume(tmp_path) == {"a": 7, "b": 3}
    assert ArrowSource([str(closed(tmp_path)[1])]).markers[0].positions == {"a": 5, "b": 2}


def test_one_process_a_folder(tmp_path: Path) -> None:
    with RollingSink(tmp_path):
        with pytest.raises(BadConfig, match=f"process {os.getpid()} writes there"):
            RollingSink(tmp_path)
        code = "import sys\nfrom scout40.streams.sinks.rolling import RollingSink\n"
        other = subprocess.run(
            [sys.executable, "-c", code + "RollingSink(sys.argv[1])", str(tmp_path)],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert f"process {os.getpid()} writes there" in other.stderr
    RollingSink(tmp_path).close()  # released


def test_wrong_settings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for settings, text in (
        ({"file_format": ".root"}, "expected one of"),
        ({"max_orbits": 0}, "max_orbits is 0"),
        ({"prefix": "../x"}, "prefix"),
        ({"compression": "gzip"}, "compression 'gzip'"),
    ):
        with pytest.raises(BadConfig, match=text):
            RollingSink(tmp_path, **settings)
    with pytest.raises(BadConfig, match="cannot be used as output folder"):
        RollingSink(tmp_path / "file")
    sink = RollingSink(tmp_path / "new" / "folder")
    sink.close()
    with pytest.raises(Scout40Error, match="after it was closed"):
        put(sink, 0)
