"""RollingSink: closed files are whole and remembered, and every block is in a file or counted."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq
import pytest

from scout40.streams.block import Block, Origin, Table, offsets_of
from scout40.streams.errors import BadConfig, Scout40Error
from scout40.streams.sinks.account import Counts, SinkError
from scout40.streams.sinks.arrow import SUFFIXES, ArrowSink
from scout40.streams.sinks.base import LEFTOVER, leftovers
from scout40.streams.sinks.folder import resume
from scout40.streams.sinks.rolling import JOIN_ROWS, JOIN_SECONDS, MAX_CLOSING, RollingSink
from scout40.streams.sources.arrow import ArrowSource
from scout40.streams.sources.base import Run

FEED = "00000000000000ab"


def block(number: int, rows: int = 20, orbits: int = 2, **changes: Any) -> Block:
    """Two orbits with muons; the number in every value."""
    offsets = offsets_of(np.arange(rows) % 3)
    first = number * orbits
    made = Block(
        first_orbit=first,
        last_orbit=first + orbits,
        orbit=np.full(rows, first, np.uint32),
        bx=np.arange(1, rows + 1, dtype=np.uint16),
        tables={"mu": Table({"hw_pt": np.full(offsets[-1], number, np.uint16)}, offsets)},
        crossing={"run": np.full(rows, 7, np.uint32)},
        contiguous=True,
        origin=Origin("feed", number),
    )
    return made.replace(**changes)


def decision(number: int, rows: int = 20) -> dict[str, Any]:
    return {"decision": np.full((rows, 8), number, np.uint64)}


def put(sink: RollingSink, number: int, rows: int = 20) -> None:
    sink.write(block(number, rows), decision(number, rows), {FEED: number + 1})


def closed(folder: Path) -> list[Path]:
    return sorted(place for place in folder.iterdir() if not place.name.startswith("."))


def rows_by_pyarrow(place: Path) -> pa.Table:
    """As anybody reads it, without scout40."""
    if place.suffix == ".parquet":
        return pq.read_table(place)
    with ipc.open_file(place) if place.suffix == ".arrow" else ipc.open_stream(place) as reader:
        return reader.read_all()


def numbers(folder: Path) -> list[int]:
    """Sequence numbers of all blocks of all closed files; every value checked on the way."""
    found = []
    for place in closed(folder):
        assert rows_by_pyarrow(place).num_rows == ArrowSource([str(place)]).total
        for part in ArrowSource([str(place)], results=True).blocks(Run()):
            found.append(part.origin.sequence)
            assert part.first_orbit == 2 * found[-1]
            assert len(part.orbit) == 20
            assert (part.tables["mu"]["hw_pt"] == found[-1]).all()
            assert (part.crossing["decision"] == found[-1]).all()
    return found


def balanced(sink: RollingSink, given: int, rows: int = 20) -> bool:
    """Everything handed over is in exactly one state."""
    total = Counts()
    for part in sink.counts.values():
        total = total.plus(part)
    return total[:3] == (given, 2 * given, rows * given)


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


def wait_for(condition: Any, seconds: float = 20) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.005)


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


# -- what goes wrong -------------------------------------------------------------------------------


@pytest.fixture
def small_files() -> Iterator[int]:
    """Files of this process cannot grow beyond 300 kB: a real error of a write."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limits[1]))
    yield 300_000
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("suffix", [".arrow", ".arrows"])
def test_a_failed_write_is_said_and_counted_and_the_stream_goes_on(
    tmp_path: Path, suffix: str, small_files: int
) -> None:
    lost = Counts()
    with RollingSink(tmp_path, file_format=suffix, max_orbits=6) as sink:
        for number in range(3):
            put(sink, number)
        sink.write(block(3), decision(3))
        rows = max(small_files // 64, JOIN_ROWS) + 100  # decisions alone are too much
        with pytest.raises(SinkError, match="File too large; lost 2 blocks") as error:
            sink.write(block(4, rows), decision(4, rows))
        lost = lost.plus(error.value.lost)
        assert sink.failed
        with pytest.raises(SinkError, match="reopen first; lost 1 blocks") as error:
            put(sink, 5)
        lost = lost.plus(error.value.lost)
        sink.reopen()
        for number in range(6, 9):
            put(sink, number)
        sink.close()
    assert numbers(tmp_path) == [0, 1, 2, 6, 7, 8]
    assert sink.counts["lost"] == lost == Counts(3, 6, 20 + rows + 20)
    assert sink.counts["open"] == Counts()
    assert leftovers(tmp_path) == []


def fill(place: Path) -> None:
    """A file that takes all the room there is."""
    with contextlib.suppress(OSError), place.open("wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(1 << 12))


def test_disk_full_and_free_again(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here (needs root)")
    try:
        lost, texts = 0, []
        with RollingSink(disk, max_orbits=20) as sink:
            for number in range(400):
                if number == 300:
                    (disk / "ballast").unlink()
                if number == 30:
                    fill(disk / "ballast")
                if sink.failed:
                    sink.reopen()
                try:
                    put(sink, number)
                except SinkError as error:
                    texts.append(str(error))
                    lost += error.lost.blocks
                assert balanced(sink, number + 1)
                if number % 50 == 49:
                    time.sleep(0.05)
            try:
                sink.close()
            except SinkError as error:
                lost += error.lost.blocks
        kept = numbers(disk)
        assert lost > 0
        assert all("No space left" in text for text in texts)
        assert len(kept) == 400 - lost
        assert sink.counts["lost"].blocks == lost
        assert set(range(20)) <= set(kept)
        assert set(range(330, 400)) <= set(kept)
        assert leftovers(disk) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_removed_folder_is_noticed_and_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with RollingSink(folder, max_orbits=8) as sink:
        for number in range(5):
            put(sink, number)
        wait_for(lambda: sink.closing == 0)
        shutil.rmtree(folder)
        handed, text = 5, ""
        while not text:
            handed += 1
            try:
                put(sink, handed - 1)
            except SinkError as error:
                text = str(error)
        assert "removed" in text or "does not exist" in text
        assert handed <= 9
        assert balanced(sink, handed)
        # What was closed is gone too, but that was somebody else's wish.
        assert sink.counts["lost"].blocks == handed - 4
        assert sink.failed
        sink.reopen()
        for number in range(handed, handed + 3):
            put(sink, number)
        sink.close()
    assert numbers(folder) == list(range(handed, handed + 3))


def test_a_file_that_cannot_be_closed_is_reported_by_the_next_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    sink = RollingSink(tmp_path, max_orbits=4)
    with monkeypatch.context() as patched:
        patched.setattr("scout40.streams.sinks.arrow.os.fsync", full)
        put(sink, 0)
        put(sink, 1)
        wait_for(lambda: sink.closing == 0)
    with pytest.raises(SinkError, match=r"could not be closed: .*No space left.*lost 2 blocks"):
        put(sink, 2)
    assert not sink.failed  # the file that is open is a good one, block 2 is in it
    put(sink, 3)
    sink.close()
    assert numbers(tmp_path) == [2, 3]
    assert balanced(sink, 4)
    assert sink.counts["lost"].blocks == 2
    assert leftovers(tmp_path) == []


def test_a_slow_disk_stops_the_stream_only_when_two_files_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    waited = []

    def slow(handle: int) -> None:
        assert gate.wait(60)

    def finish(sink: RollingSink) -> None:
        put(sink, 2)
        waited.append(time.monotonic())

    monkeypatch.setattr("scout40.streams.sinks.arrow.os.fsync", slow)
    sink = RollingSink(tmp_path, max_orbits=2)
    start = time.monotonic()
    put(sink, 0)
    put(sink, 1)
    assert time.monotonic() - start < 5
    assert sink.closing == MAX_CLOSING == 2
    third = threading.Thread(target=finish, args=(sink,))
    third.start()
    third.join(0.3)
    assert third.is_alive()  # the third waits
    assert closed(tmp_path) == []
    opened = time.monotonic()
    gate.set()
    third.join(60)
    assert waited[0] >= opened
    sink.close()
    assert numbers(tmp_path) == [0, 1, 2]


WRITER = """
import sys
sys.path.insert(0, {folder!r})
import test_rolling as t
sink = t.RollingSink(sys.argv[1], file_format=sys.argv[2], max_orbits=10)
print("ready", flush=True)
for number in range(sink.resumed.get(t.FEED, 0), 10**7):
    t.put(sink, number)
"""


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_kill_at_random_moments_leaves_whole_files_and_no_gap(tmp_path: Path, suffix: str) -> None:
    """Every restart goes on where the closed files end: no block twice, none missing."""
    rng = np.random.default_rng(40)
    script = WRITER.format(folder=str(Path(__file__).parent))
    unfinished = 0
    for _ in range(4):
        command = [sys.executable, "-c", script, str(tmp_path), suffix]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            before = len(closed(tmp_path))
            wait_for(lambda before=before: len(closed(tmp_path)) > before + 1)
            time.sleep(rng.uniform(0, 0.02))
            process.send_signal(signal.SIGKILL)
        unfinished += len(leftovers(tmp_path))
    found = numbers(tmp_path)
    assert found == list(range(len(found)))
    assert resume(tmp_path) == {FEED: len(found)}
    assert unfinished > 0
    with RollingSink(tmp_path) as sink:
        assert sink.damaged == []
    assert leftovers(tmp_path) == []
