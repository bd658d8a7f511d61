"""Repaints only what changed: the last frame is kept as a grid of styled cells.

A redraw writes, for each run of cells that differ, one cursor address and the cells; nothing is
cleared, so nothing flickers, and an unchanged frame costs no byte.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style
from rich.text import Text

from scout40.tools.monitor_text import printable

Cell = tuple[str, Style]
PLAIN = Style()
BLANK: Cell = (" ", PLAIN)
NEAR = 6
"""Unchanged cells between two runs that are cheaper to write than another address."""


class Screen:
    """What a terminal of ``width`` by ``height`` shows, and how to make it show something else."""

    def __init__(self, console: Console, width: int, height: int, ascii_only: bool = False) -> None:
        self._console, self._ascii = console, ascii_only
        self._size = (width, height)
        self._colour = console.color_system is not None and not console.no_color
        self._shown: list[list[Cell]] | None = None

    def update(self, lines: Sequence[Text]) -> str:
        """What to write so that ``lines`` are shown; lines beyond the screen are cut."""
        width, height = self._size
        grid = [self.cells(line) for line in lines[:height]]
        grid += [[BLANK] * width for _ in range(height - len(grid))]
        before = self._shown
        out: list[str] = []
        if before is None:
            out.append("\x1b[0m\x1b[2J")
            before = [[BLANK] * width for _ in range(height)]
        for row, (old, new) in enumerate(zip(before, grid, strict=True)):
            for first, last in _runs(old, new):
                out.append(f"\x1b[{row + 1};{first + 1}H")
                out.extend(self._written(new[first:last]))
        self._shown = grid
        return "".join(out)

    def cells(self, line: Text) -> list[Cell]:
        """Exactly ``width`` cells; every character takes one."""
        width, _ = self._size
        made: list[Cell] = []
        # Appended, since rendering leaves out the style of a text as a whole.
        for segment in Text().append_text(line).render(self._console):
            style = segment.style if isinstance(segment.style, Style) else PLAIN
            style = style if self._colour else style.without_color
            made.extend(zip(printable(segment.text, self._ascii), itertools.repeat(style)))
        return made[:width] + [BLANK] * (width - len(made))

    def _written(self, cells: Sequence[Cell]) -> Iterator[str]:
        start = 0
        for k in range(1, len(cells) + 1):
            if k == len(cells) or cells[k][1] != cells[start][1]:
                text = "".join(one for one, _ in cells[start:k])
                yield cells[start][1].render(text, color_system=ColorSystem.STANDARD)
                start = k


def _runs(old: Sequence[Cell], new: Sequence[Cell]) -> Iterator[tuple[int, int]]:
    """[first, last) of the stretches that differ; stretches near each other are one."""
    first = last = -1
    for k, (before, after) in enumerate(zip(old, new, strict=True)):
        if before == after:
            continue
        if first >= 0 and k - last > NEAR:
            yield first, last
            first = k
        elif first < 0:
            first = k
        last = k + 1
    if first >= 0:
        yield first, last
