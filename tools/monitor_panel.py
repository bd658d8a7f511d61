"""What a panel of the monitor is: a title, the fewest and the wanted lines, and how to draw it.

Tables show one entry a line; columns are left out by rank until the rest fits the width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rich.text import Text

from scout40.streams.snapshot import Snapshot
from scout40.tools.monitor_verdict import Level, Verdict
from scout40.tools.monitor_watch import Watch

STYLES = {Level.GOOD: "green", Level.WARN: "yellow", Level.BAD: "bold red"}
BADGES = {
    Level.GOOD: "bold black on green",
    Level.WARN: "bold black on yellow",
    Level.BAD: "bold white on red",
}
GAP = 2
"""Columns between those of a table."""
LEAST_TEXT = 6
"""Columns that a text column keeps when a table is squeezed."""


@dataclass(frozen=True)
class View:
    """What panels draw from; ``age`` is that of the snapshot in seconds."""

    watch: Watch
    snapshot: Snapshot
    verdict: Verdict
    age: float
    ascii_only: bool = False

    def style(self, level: Level) -> str:
        """Colour of a value; nothing old is ever green, yellow or red."""
        return "dim" if self.verdict.stale else STYLES[level]

    def word(self, text: str) -> str:
        """A state; once the picture is old, what it was."""
        return f"was {text}" if self.verdict.stale else text


@dataclass(frozen=True)
class Panel:
    """One panel of known width.

    name: as in ``--panels``. note: stands in the title line.
    least, wanted: lines without the title. rows: entries, one a line, below ``heads`` lines.
    draw: (lines, first entry) -> at most that many lines.
    """

    name: str
    note: str
    least: int
    wanted: int
    draw: Callable[[int, int], list[Text]]
    rows: int = 0
    heads: int = 0

    @property
    def empty(self) -> bool:
        """Only a line that says that there is nothing."""
        return self.wanted == 1


@dataclass
class Column:
    """One column; rank 0 is never left out, the highest goes first. Only texts are cut."""

    head: str
    rank: int = 0
    number: bool = True
    cells: list[Text] = field(default_factory=list)

    @property
    def width(self) -> int:
        return max(len(self.head), *(len(cell) for cell in self.cells), 0)


@dataclass
class Table:
    """Columns of equal length that fit themselves into a width."""

    columns: Sequence[Column]

    def add(self, *cells: Text | str) -> None:
        """One row."""
        for column, cell in zip(self.columns, cells, strict=True):
            column.cells.append(cell if isinstance(cell, Text) else Text(cell))

    def panel(
        self, name: str, width: int, note: str = "", empty: str = "none", least: int = 1
    ) -> Panel:
        """The table as a panel of at least ``least`` rows; ``empty`` stands for no rows."""
        rows = len(self.columns[0].cells)
        if not rows:
            return Panel(name, note, 1, 1, lambda lines, first: [Text(empty, "dim")])
        lines = self.lines(width)

        def draw(height: int, first: int) -> list[Text]:
            return [lines[0], *lines[1 + first : first + height]]

        return Panel(name, note, 1 + min(rows, least), 1 + rows, draw, rows, heads=1)

    def lines(self, width: int) -> list[Text]:
        """Head and rows, each at most ``width`` wide unless numbers alone need more."""
        shown = [one for one in self.columns if not one.rank or any(map(len, one.cells))]
        while _natural(shown) > width and any(column.rank for column in shown):
            shown.remove(max(shown, key=lambda column: column.rank))
        wide = [column.width for column in shown]
        over = _natural(shown) - width
        for k, column in enumerate(shown):
            if over > 0 and not column.number:
                cut = min(over, max(0, wide[k] - LEAST_TEXT))
                wide[k] -= cut
                over -= cut
        made = [_line([Text(c.head, "bold") for c in shown], shown, wide)]
        for row in range(len(shown[0].cells)):
            made.append(_line([column.cells[row] for column in shown], shown, wide))
        return made


def _natural(columns: Sequence[Column]) -> int:
    return sum(column.width for column in columns) + GAP * (len(columns) - 1)


def _line(cells: Sequence[Text], columns: Sequence[Column], wide: Sequence[int]) -> Text:
    line = Text()
    for k, (cell, column, width) in enumerate(zip(cells, columns, wide, strict=True)):
        line.append(" " * GAP if k else "")
        space = " " * (width - len(cell))
        if len(cell) > width:
            line.append_text(cell[: width - 1])
            line.append("…")
        elif column.number:
            line.append(space)
            line.append_text(cell)
        else:
            line.append_text(cell)
            line.append(space)
    return line


def fixed(name: str, note: str, lines: Sequence[Text], least: int) -> Panel:
    """A panel of given lines, the most important first."""
    return Panel(name, note, least, len(lines), lambda height, first: list(lines[:height]))


def beside(left: list[Text], right: list[Text], width: int, gap: int = 2) -> list[Text]:
    """Two blocks of lines next to each other; the left one gets ``width`` columns."""
    made = []
    for k in range(max(len(left), len(right))):
        line = left[k].copy() if k < len(left) else Text()
        line.truncate(width, pad=True)
        line.append(" " * gap)
        made.append(line.append_text(right[k]) if k < len(right) else line)
    return made


def rule(left: str, right: str, width: int, style: str) -> Text:
    """``left ────── right`` over the whole width, the right end in its own style."""
    dashes = max(1, width - len(left) - len(right) - 1 - bool(right))
    line = Text.assemble((left, "bold cyan"), (f" {'─' * dashes}", "dim cyan"))
    if right:
        line.append(" ").append(right, style)
    line.truncate(width)
    return line
