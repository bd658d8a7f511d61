"""kill -9 at random moments: no reader takes a file for complete that is not.

After every kill: an output under its real name is whole; everything else that was left is hidden,
marked as unfinished and refused, and is refused even under a harmless name unless it is whole.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from scout40.streams.errors import BadInput
from scout40.streams.sinks.base import LEFTOVER
from scout40.streams.sinks.raw import write_frd
from scout40.streams.sources import open_source
from scout40.streams.sources.arrow import ArrowSource
from scout40.streams.sources.base import Run
from scout40.tools.deciding import TABLES
from scout40.tools.sample import Repeated

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

FORMS = {
    "out.parquet": ["emulate", "-j1"],
    "out.arrow": ["emulate", "-j1"],
    "out.arrows": ["emulate", "-j1"],
    "flat": ["unpack", "--tables"],
}
"""Output name -> the command that writes it; the last is a folder with one file per table."""


@dataclass(frozen=True)
class Job:
    """One kind of run. lasts: seconds from the first byte of its output to its end."""

    out: str
    command: list[str]
    lasts: float = 0.0
    rows: int = 0

    def start(self, folder: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "scout40.tools", *self.command]
        return subprocess.Popen(
            [*command, "--out", str(folder / self.out)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip


def measured(out: str, raw: Path, menu: Path, folder: Path) -> Job:
    """The job and what a run that nobody disturbs takes and gives."""
    verb, *options = FORMS[out]
    menu_options = ["--menu", str(menu)] if verb == "emulate" else []
    job = Job(out, [verb, str(raw), *options, *menu_options])
    process = job.start(folder)
    begins = until_growing(process, folder)
    assert process.wait(240) == 0
    job = Job(out, job.command, time.monotonic() - begins, rows_of(folder / out))
    emptied(folder)
    return job


def until_growing(process: subprocess.Popen[bytes], folder: Path) -> float:
    """Wait for the first sign of an output; the time of it."""
    while process.poll() is None and not list(folder.iterdir()):
        time.sleep(0.002)
    return time.monotonic()


def emptied(folder: Path) -> None:
    for place in folder.iterdir():
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink()


def rows_of(path: Path) -> int:
    """Rows of an output; fails unless it is accepted as complete and can be read to the end."""
    source = ArrowSource([str(path)])
    assert [marker.status for marker in source.markers] == ["complete"]
    run = Run()
    rows = sum(len(block) for block in source.blocks(run))
    assert run.ledger.balanced
    assert not run.ledger["packets"].bad
    return rows


def kill(job: Job, moment: float, folder: Path) -> str:
    """Kill the job, judge what is left, say how far it was.

    moment: seconds after its output appears; before that when negative.
    """
    process = job.start(folder)
    if moment >= 0:
        until_growing(process, folder)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(abs(moment))
    process.kill()
    process.wait(60)
    out = folder / job.out
    left = [place for place in folder.iterdir() if place.name.endswith(LEFTOVER)]
    summaries = {folder / f"{out.stem}.{table}.parquet" for table in TABLES}
    assert set(folder.iterdir()) <= {out, *left, *summaries}, "a leftover nobody recognises"
    for place in left:
        assert place.name.startswith(".")
        with pytest.raises(BadInput, match="never finished"):
            open_source([str(place)])
        check_renamed(place, folder / f"renamed{out.suffix}", job)
    for path in summaries:
        if path.exists():
            assert out.exists(), "rates without decisions"
            assert pq.read_table(path).num_rows > 0
    if out.exists():
        assert rows_of(out) == job.rows
    state = "published" if out.exists() else "growing" if left else "not begun"
    emptied(folder)
    return state


def check_renamed(place: Path, renamed: Path, job: Job) -> None:
    """Refused also when somebody gives it a name, unless only the renaming was left to do."""
    if not place.name.startswith(f".{job.out}."):
        return  # a rate table
    place.rename(renamed)
    try:
        rows = rows_of(renamed)
    except BadInput:
        return
    assert rows == job.rows, "accepted as complete, and is not"


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "kills", [pytest.param(3, id="3"), pytest.param(50, id="50", marks=pytest.mark.long)]
)
def test_no_kill_leaves_a_false_file(
    kills: int, sample_file: Path, demo_menu_file: Path, tmp_path: Path
) -> None:
    raw, folder = tmp_path / "long.raw", tmp_path / "out"
    folder.mkdir()
    write_frd(raw, Repeated(sample_file, 50).blocks(Run()))
    names = list(FORMS) if kills > 3 else ["out.parquet"]
    jobs = [measured(name, raw, demo_menu_file, folder) for name in names]
    dice = random.Random(40)
    states: Counter[str] = Counter()
    for turn in range(kills):
        job = jobs[turn % len(jobs)]
        # Mostly while the output grows; sometimes before, and around the publishing.
        moment = dice.uniform(-0.1, 1.05) * job.lasts
        if turn % 5 == 4:
            moment = dice.uniform(0.9, 1.0) * job.lasts
        if turn == 0:
            moment = 0.0  # as soon as it grows
        states[kill(job, moment, folder)] += 1
    assert states["growing"] > 0, states
