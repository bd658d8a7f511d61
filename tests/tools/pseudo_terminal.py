"""The program on a pseudo terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Sequence

ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"
"""To the alternate screen and back."""


class Seen:
    """The program on a pseudo terminal, and every byte that it wrote."""

    def __init__(self, program: Sequence[str], columns: int = 80, lines: int = 24) -> None:
        self.master, self.slave = pty.openpty()
        self.data = b""
        self.resize(columns, lines)
        self.before = termios.tcgetattr(self.slave)
        environment = {**os.environ, "TERM": "xterm"}
        for name in ("NO_COLOR", "COLUMNS", "LINES"):
            environment.pop(name, None)
        self.program = subprocess.Popen(
            list(program), stdin=self.slave, stdout=self.slave, env=environment,
            start_new_session=True, stderr=subprocess.PIPE,
        )  # fmt: skip

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def until(self, text: str, timeout: float = 30.0) -> None:
        """Read until ``text`` has been written after the last call."""
        start, end = len(self.data), time.monotonic() + timeout
        while text.encode() not in self.data[start:]:
            assert time.monotonic() < end, f"{text!r} did not come: {self.data[start:][-2000:]!r}"
            self.read(0.1)

    def read(self, timeout: float) -> None:
        if select.select([self.master], [], [], timeout)[0]:
            self.data += os.read(self.master, 65536)

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def end(self) -> int:
        """Wait for the end; its exit code."""
        end = time.monotonic() + 30
        while self.program.poll() is None and time.monotonic() < end:
            self.read(0.05)
        code = self.program.wait(1)
        while select.select([self.master], [], [], 0.2)[0]:
            self.read(0)
        return code

    def close(self) -> None:
        if self.program.poll() is None:
            self.program.kill()
            self.program.wait()
        assert self.program.stderr is not None
        self.program.stderr.close()
        os.close(self.master)
        os.close(self.slave)

    def check_put_back(self) -> None:
        """The terminal is as it was: screen, cursor, wrapping, echo."""
        assert self.data.count(ENTER) == self.data.count(LEAVE) == 1
        assert self.data.rindex(LEAVE) > self.data.rindex(b"\x1b[?25h") > self.data.rindex(ENTER)
        assert b"\x1b[?7h" in self.data[self.data.rindex(ENTER) :]
        assert self.data.endswith(LEAVE)
        assert termios.tcgetattr(self.slave) == self.before
