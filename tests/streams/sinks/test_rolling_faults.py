"""RollingSink on full, slow and missing disks, and killed: nothing is lost uncounted."""

from __future__ import annotations

import contextlib
import errno
import functools
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from scout40.streams.sinks.account import Counts, SinkError
from scout40.streams.sinks.arrow import SUFFIXES
from scout40.streams.sinks.base import leftovers
from scout40.streams.sinks.folder import resume
from scout40.streams.sinks.rolling import JOIN_ROWS, MAX_CLOSING, RollingSink
from tests.streams.sinks.rolling_blocks import (
    FEED,
    balanced,
    block,
    closed,
    decision,
    numbers,
    put,
)
from tests.waiting import wait_for


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
import rolling_blocks as t
from scout40.streams.sinks.rolling import RollingSink
sink = RollingSink(sys.argv[1], file_format=sys.argv[2], max_orbits=10)
print("ready", flush=True)
for number in range(sink.resumed.get(t.FEED, 0), 10**7):
    t.put(sink, number)
"""


def more_closed(folder: Path, files: int) -> bool:
    return len(closed(folder)) > files


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
            wait_for(functools.partial(more_closed, tmp_path, len(closed(tmp_path)) + 1))
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
