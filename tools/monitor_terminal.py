"""The terminal of the monitor: alternate screen, single keys, and everything put back at the end.

It is put back after an exception, Ctrl-C, SIGTERM and SIGHUP as well, and while the program is
suspended by Ctrl-Z.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator, Sequence
from types import FrameType, TracebackType
from typing import Any

from rich.console import Console
from rich.text import Text

from scout40.tools.monitor_screen import Screen

ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"
"""Alternate screen, no cursor, no wrapping at the right edge."""
LEAVE = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
FUNCTION_KEY = re.compile(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|O.|.)?")
"""Arrows and their like send several characters; none of them is a command."""
ENDS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class Terminal:
    """A context manager for the main thread; ``ended`` is true once a signal asked to leave.

    bytes_written: by redraws, for measurements.
    """

    def __init__(self, console: Console, ascii_only: bool = False) -> None:
        self.ended = False
        self.bytes_written = 0
        self._console, self._ascii = console, ascii_only
        self._input, self._output = sys.stdin.fileno(), sys.stdout.fileno()
        self._screen: Screen | None = None
        self._size = (0, 0)
        self._before: dict[int, Any] = {}
        self._mode: list[Any] | None = None

    def __enter__(self) -> Terminal:
        handlers = [(number, self._on_end) for number in ENDS]
        handlers += [(signal.SIGWINCH, self._on_resize), (signal.SIGTSTP, self._on_suspend)]
        for number, handler in handlers:
            self._before[number] = signal.signal(number, handler)
        self._enter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._leave()
        finally:
            for number, handler in self._before.items():
                signal.signal(number, handler)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines, at least one of each."""
        columns, lines = os.get_terminal_size(self._output)
        return max(1, columns), max(1, lines)

    @property
    def fresh(self) -> bool:
        """True when nothing is on the screen: at the start, after a resize or Ctrl-Z."""
        return self._screen is None

    def draw(self, lines: Sequence[Text], size: tuple[int, int]) -> None:
        """Show the frame that was made for this size."""
        screen = self._screen  # a signal may reset it at any moment
        if screen is None or size != self._size:
            self._screen = screen = Screen(self._console, *size, self._ascii)
            self._size = size
        data = screen.update(lines).encode()
        self._write(data)
        self.bytes_written += len(data)

    def pressed(self) -> str:
        """Keys pressed since the last call; never waits."""
        if not select.select([self._input], [], [], 0)[0]:
            return ""
        data = os.read(self._input, 64)
        if not data:
            self.ended = True  # the terminal is gone
        return FUNCTION_KEY.sub("", data.decode("ascii", "ignore"))

    def _enter(self) -> None:
        self._mode = termios.tcgetattr(self._input)
        tty.setcbreak(self._input)
        self._write(ENTER.encode())
        self._screen = None

    def _leave(self) -> None:
        if self._mode is None:
            return
        mode, self._mode = self._mode, None
        with contextlib.suppress(OSError):  # after a hang-up there is no terminal to put back
            self._write(LEAVE.encode())
        with contextlib.suppress(OSError, termios.error):
            termios.tcsetattr(self._input, termios.TCSADRAIN, mode)

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._output, data) :]

    def _on_end(self, number: int, frame: FrameType | None) -> None:
        self.ended = True

    def _on_resize(self, number: int, frame: FrameType | None) -> None:
        self._screen = None

    def _on_suspend(self, number: int, frame: FrameType | None) -> None:
        self._leave()
        os.kill(os.getpid(), signal.SIGSTOP)
        # Here the shell has sent SIGCONT.
        self._enter()


@contextlib.contextmanager
def until_signal() -> Iterator[Callable[[], bool]]:
    """For viewers without a terminal: a function that is true once a signal asked to leave."""
    came: list[int] = []
    before = {one: signal.signal(one, lambda number, frame: came.append(number)) for one in ENDS}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
