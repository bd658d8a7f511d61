"""Disk full, slow or gone, with messages from memory.

After each: the ledger balances, closed files are readable and equal to what an offline run over
the same packets writes, and every row is in a file or counted.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scout40.streams.errors import Scout40Error
from scout40.streams.sinks import rolling
from scout40.streams.sinks.arrow import ArrowSink
from scout40.tools import live_output
from scout40.tools.live_output import REFUSED
from tests.streams.live_messages import stream
from tests.tools.live_faults import (
    ORBITS,
    SMALL,
    closed,
    configured,
    errors,
    judge,
    orbits,
    read,
    settled,
    truth,
)
from tests.tools.live_memory import Sent, frames, run_live
from tests.waiting import wait_for

# -- disk ------------------------------------------------------------------------------------


class Disk:
    """Refuses to write as long as it is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full, self.refused = False, 0
        write = ArrowSink.write

        def checked(sink: ArrowSink, *arguments: Any) -> None:
            if self.full:
                self.refused += 1
                raise OSError(errno.ENOSPC, "No space left on device")
            write(sink, *arguments)

        monkeypatch.setattr(ArrowSink, "write", checked)
        monkeypatch.setattr(live_output, "RETRY_S", 0.05)

    def trouble(self, out: Path, refused: int = 2) -> Iterator[Sent]:
        """A third of the messages before, while and after the disk is full."""
        messages = frames(stream(24, ORBITS))
        yield from messages[:8]
        wait_for(lambda: len(closed(out)) >= 3)
        self.full = True
        for message in messages[8:16]:
            yield message
            yield 0.1  # so that it is tried again in between
        wait_for(lambda: self.refused >= refused)
        self.full = False
        yield 0.1
        yield from messages[16:]


def test_disk_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, disk = tmp_path / "out", Disk(monkeypatch)
    result = run_live(disk.trouble(out), out, SMALL, until_end=True)
    settled(result, out)
    ledger = result.receipt.ledger
    assert ledger["packets"].out == 24 * ORBITS
    assert ledger["rows"].dropped["lost with a file"] > 0
    covered = judge(closed(out), truth(tmp_path, 24 * ORBITS))
    assert covered[0][0] == 0
    assert covered[-1][1] == 24 * ORBITS, "written again when there was room"
    assert orbits(covered) < 24 * ORBITS
    assert "No space left" in errors(result.snapshot)
    assert not list(out.glob(".*partial"))


def test_disk_full_with_the_policy_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, disk = tmp_path / "out", Disk(monkeypatch)
    stop = configured(block_orbits=ORBITS, output={"max_orbits": 2 * ORBITS, "policy": "stop"})
    with pytest.raises(Scout40Error, match=r"No space left.*the pipeline says stop"):
        run_live(disk.trouble(out, 1), out, stop, until_end=True)
    disk.full = False
    covered = judge(closed(out), truth(tmp_path, 24 * ORBITS))
    assert covered[0][0] == 0
    assert 3 * 2 * ORBITS <= covered[0][1] <= 8 * ORBITS


def fill(place: Path) -> None:
    """A file that takes all the room there is."""
    with contextlib.suppress(OSError), place.open("wb", buffering=0) as full:
        while True:
            full.write(bytes(4096))


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a small file system")
def test_disk_really_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = tmp_path / "small"
    small.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(small)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("may not mount a small file system")
    monkeypatch.setattr(live_output, "RETRY_S", 0.05)
    out, filler = small / "out", small / "filler"

    def trouble() -> Iterator[Sent]:
        messages = frames(stream(24, ORBITS))
        yield from messages[:8]
        wait_for(lambda: len(closed(out)) >= 3)
        fill(filler)
        before = len(closed(out))
        yield from messages[8:16]
        yield 0.5
        assert len(closed(out)) <= before + 1, "more files than fit"
        filler.unlink()
        yield 0.1
        yield from messages[16:]

    try:
        result = run_live(trouble(), out, SMALL, until_end=True)
        settled(result, out)
        covered = judge(closed(out), truth(tmp_path, 24 * ORBITS))
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert covered[0][0] == 0
    assert covered[-1][1] == 24 * ORBITS
    assert orbits(covered) < 24 * ORBITS
    assert "No space left" in errors(result.snapshot)


def test_output_folder_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_output, "RETRY_S", 0.05)
    out, kept = tmp_path / "out", tmp_path / "kept"

    def trouble() -> Iterator[Sent]:
        messages = frames(stream(24, ORBITS))
        yield from messages[:8]
        wait_for(lambda: len(closed(out)) >= 3)
        # A file that is closed meanwhile loses its hidden name under the copy's hands.
        shutil.copytree(out, kept, ignore=shutil.ignore_patterns(".*"))
        shutil.rmtree(out, ignore_errors=True)
        yield from messages[8:16]
        yield 0.3
        yield from messages[16:]

    result = run_live(trouble(), out, SMALL, until_end=True)
    settled(result)
    ledger = result.receipt.ledger
    assert ledger["packets"].out == 24 * ORBITS
    expected = truth(tmp_path, 24 * ORBITS)
    assert judge(closed(kept), expected)[0][0] == 0
    after = judge(closed(out), expected)
    assert after[-1][1] == 24 * ORBITS, "the folder was made again"
    assert (out / "status.json").exists()
    ours = {path.name for path in closed(out)} & {path.name for path in closed(kept)}
    assert not ours, "a name came twice"


def test_slow_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every write and every closing takes much longer than the data: nothing is lost."""
    write, finish = ArrowSink.write, rolling._finish

    def slow_write(sink: ArrowSink, *arguments: Any) -> None:
        time.sleep(0.02)
        write(sink, *arguments)

    def slow_finish(*arguments: Any) -> int:
        time.sleep(0.05)
        return finish(*arguments)

    monkeypatch.setattr(ArrowSink, "write", slow_write)
    monkeypatch.setattr(rolling, "_finish", slow_finish)
    out = tmp_path / "out"
    tight = configured(block_orbits=ORBITS, queue_packets=256, output={"max_orbits": 2 * ORBITS})
    result = run_live(frames(stream(40, ORBITS)), out, tight, until_end=True)
    settled(result, out)
    assert not result.receipt.ledger["packets"].dropped
    assert judge(closed(out), truth(tmp_path, 40 * ORBITS)) == [(0, 40 * ORBITS)]


def test_rows_of_an_account_are_rows_of_files(tmp_path: Path) -> None:
    """While the disk refuses for ever every row is counted as dropped, and the run ends well."""
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch)
        disk.full = True
        result = run_live(frames(stream(12, ORBITS)), tmp_path / "out", SMALL, until_end=True)
    settled(result)
    rows = result.receipt.ledger["rows"]
    assert rows.out == 0
    assert rows.received == sum(rows.dropped.values()) > 0
    assert set(rows.dropped) <= {REFUSED, "lost with a file"}
    assert closed(tmp_path / "out") == []
    assert rows.received == read_rows(tmp_path)


def read_rows(folder: Path) -> int:
    """Rows of the offline run."""
    expected = truth(folder, 12 * ORBITS)
    assert expected.num_rows == read(folder / "truth" / "offline.arrow").num_rows
    return int(expected.num_rows)
