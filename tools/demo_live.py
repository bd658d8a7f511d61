"""``scout40 demo --live``: a feed, a consumer and the monitor, each a process as in real use."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scout40.streams.block import ORBIT_HZ
from scout40.streams.errors import Scout40Error
from scout40.tools.command import Stop, print_json

SECONDS = 20.0
STOP_SECONDS = 30.0
"""Longest wait for a process that was asked to end."""


def run(seconds: float, out: str | None, json_output: bool) -> int:
    """The synthetic muon stream at LHC rate for a while, watched; exit code of the consumer.

    out: folder that keeps the selected rows; without it they are thrown away at the end.
    """
    with tempfile.TemporaryDirectory(prefix="scout40-live-") as name, Stop() as stop:
        folder = Path(name)
        orbits = max(1, round(seconds * ORBIT_HZ))
        where = f"ipc://{folder}/monitor"
        consume = ["live", f"ipc://{folder}/feed", "--out", out or str(folder / "out")]
        consume += ["--monitor", where, "--until-end", "--json"]
        feed = ["feed", "synthetic:gmt", "--to", f"ipc://{folder}/feed", "--orbits", str(orbits)]
        with (
            _program(consume, folder / "live.json") as consumer,
            _program(feed, folder / "feed.log") as source,
        ):
            if json_output:
                _wait(consumer, stop)
            else:
                _watch(where, consumer, stop)
            _end(source)
            code = _end(consumer)
        return _report(folder, code, json_output)


def _watch(where: str, consumer: subprocess.Popen[bytes], stop: Stop) -> None:
    """The monitor until the consumer has ended, or until somebody asks to stop."""
    from scout40.tools.monitor import PANEL_NAMES, view
    from scout40.tools.monitor_inlet import SocketInlet
    from scout40.tools.monitor_layout import Choice

    inlet = SocketInlet(where)
    try:
        view(inlet, where, Choice(PANEL_NAMES),
             ended=lambda: stop.requested or consumer.poll() is not None)  # fmt: skip
    finally:
        inlet.close()


def _wait(consumer: subprocess.Popen[bytes], stop: Stop) -> None:
    while consumer.poll() is None and not stop.requested:
        time.sleep(0.1)


def _report(folder: Path, code: int, json_output: bool) -> int:
    """What the consumer left behind."""
    text = (folder / "live.json").read_text()
    try:
        found: dict[str, Any] = json.loads(text.splitlines()[-1])
    except (IndexError, ValueError):
        why = (folder / "live.json.err").read_text().strip()
        raise Scout40Error(f"the consumer ended with code {code}: {why or text}") from None
    if json_output:
        print_json(found)
    else:
        from scout40.tools.live_show import printed

        printed(found)
    return code


@contextlib.contextmanager
def _program(arguments: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """One scout40 process, which does not outlive this one."""
    with log.open("wb") as out, log.with_name(log.name + ".err").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "scout40.tools", *arguments],
            stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def _end(process: subprocess.Popen[bytes]) -> int:
    """Ask a process to end in good order; its exit code."""
    if process.poll() is None:
        process.terminate()
    try:
        return process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
