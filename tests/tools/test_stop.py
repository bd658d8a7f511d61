"""Signals: the first lets the block in hand finish, the second and kill -9 leave no whole file."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scout40.streams.errors import BadInput
from scout40.streams.sources import open_source
from scout40.streams.sources.base import Run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


def start(out: Path) -> subprocess.Popen[str]:
    """A demo that would run for minutes; returns when its output has begun to grow."""
    command = [sys.executable, "-m", "scout40.tools", "demo", "--orbits", "5000000", "--json"]
    process = subprocess.Popen(
        [*command, "--out", str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for _ in range(2400):
        if any(part.stat().st_size for part in out.parent.glob(f".{out.name}.*")):
            return process
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    raise AssertionError("no output after 240 s")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_drains(tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "out.arrow"
    process = start(out)
    time.sleep(0.5)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    result = json.loads(stdout)
    assert result["status"] == "interrupted"
    assert result["ledger"]["balanced"]
    crossings = result["ledger"]["accounts"]["crossings"]
    assert crossings["in"] == crossings["out"] > 0
    rows = sum(len(block) for block in open_source([str(out)]).blocks(Run()))
    assert rows == result["ledger"]["facts"]["rows_written"]
    assert "once more to abort" in stderr
    assert not list(tmp_path.glob(".*"))


def test_kill_leaves_no_whole_file(tmp_path: Path) -> None:
    out = tmp_path / "out.arrow"
    process = start(out)
    process.kill()
    process.communicate(timeout=60)
    assert not out.exists()
    (left,) = tmp_path.glob(".*")
    with pytest.raises(BadInput, match="never finished"):
        open_source([str(left)])


def test_second_signal_aborts() -> None:
    """Work that never looks at ``requested`` is ended by the second signal."""
    code = (
        "import time; from scout40.tools.command import Stop\n"
        "with Stop() as stop:\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(0.2)\n"
        "    while True: time.sleep(0.05)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.7)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130
    process.communicate()


def test_interrupt_before_the_run_begins() -> None:
    """While modules load there is nothing to finish: exit code 130, and never 1, a difference."""
    code = (
        "import click; from scout40.tools.command import Task\n"
        "@click.command(cls=Task, name='compare')\n"
        "def command():\n"
        "    raise KeyboardInterrupt\n"
        "command()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 130
    assert done.stderr == "scout40 compare: aborted before the run began\n"


def test_handlers_are_restored() -> None:
    from scout40.tools.command import Stop

    before = signal.getsignal(signal.SIGINT)
    with Stop() as stop:
        assert signal.getsignal(signal.SIGINT) != before
        assert not stop.requested
    assert signal.getsignal(signal.SIGINT) == before
