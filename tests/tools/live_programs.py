"""``scout40 feed`` and ``scout40 live`` as processes, for tests that kill, stop and slow them."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.waiting import wait_for

PIPELINE = """
[input]
sources = ["gmt"]
block_orbits = 64
stale_s = 0.7

[selection]
all = true

[output]
physical = true
max_orbits = {orbits}

[monitor]
interval_s = 0.1
"""


def pipeline(folder: Path, orbits: int = 256) -> Path:
    """A pipeline file: all rows, files of about so many orbits."""
    path = folder / "pipeline.toml"
    path.write_text(PIPELINE.format(orbits=orbits))
    return path


class Program:
    """One command in a process of its own; its output goes to files in ``folder``."""

    def __init__(self, folder: Path, *arguments: object) -> None:
        folder.mkdir(exist_ok=True)
        self._out, self._err = folder / "stdout", folder / "stderr"
        command = [sys.executable, "-m", "scout40.tools", *map(str, arguments)]
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(command, stdout=out, stderr=err)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self.process.kill()
        self.process.wait(60)

    def running(self) -> None:
        """Fails when the program has ended."""
        assert self.process.poll() is None, self._err.read_text()

    def result(self, seconds: float = 240) -> dict[str, Any]:
        """What it prints at its end, which must be a good one."""
        self.process.wait(seconds)
        assert self.process.returncode == 0, self._err.read_text() + self._out.read_text()
        found: dict[str, Any] = json.loads(self._out.read_text())
        return found

    def stopped(self) -> dict[str, Any]:
        """The same after a signal to end."""
        self.running()
        self.signal(signal.SIGTERM)
        return self.result()

    def memory(self) -> float:
        """Resident memory in MB, now; ProcessLookupError when it has ended."""
        try:
            text = Path(f"/proc/{self.process.pid}/status").read_text()
        except FileNotFoundError:
            raise ProcessLookupError from None
        lines = [line for line in text.splitlines() if line.startswith("VmRSS")]
        if not lines:  # ended, and nobody has waited for it
            raise ProcessLookupError
        return int(lines[0].split()[1]) / 1024


class Consumer(Program):
    """``scout40 live``; ``status`` is its newest snapshot."""

    def __init__(self, folder: Path, out: Path, *arguments: object) -> None:
        self.out = out
        self.begun = time.time_ns()
        super().__init__(folder, "live", *arguments, "--out", out, "--monitor", "none", "--json")

    def status(self) -> dict[str, Any]:
        """Of this process, not of one before it; empty when there is none yet."""
        with contextlib.suppress(FileNotFoundError):
            found: dict[str, Any] = json.loads((self.out / "status.json").read_text())
            if found["pid"] == self.process.pid:
                return found
        return {}

    def until(self, orbits: int) -> None:
        """Until it has decided so many orbits."""

        def there() -> bool:
            self.running()
            return bool(self.status().get("orbits", 0) >= orbits)

        wait_for(there)

    def until_state(self, state: str) -> None:
        """Until a source is in this state."""
        wait_for(lambda: state in {one["state"] for one in self.status().get("sources", [])})


def feed(folder: Path, source: str, endpoint: str, *arguments: object) -> Program:
    return Program(folder, "feed", source, "--to", endpoint, *arguments, "--json")


@contextlib.contextmanager
def ended(*programs: Program) -> Iterator[None]:
    """No process outlives its test."""
    try:
        yield
    finally:
        for program in programs:
            if program.process.poll() is None:
                program.kill()
