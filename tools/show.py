"""How results look on a terminal. Tables fit the width; long lists end with what was left out."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from scout40.tools.receipt import Receipt

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

PREPARING = "preparing (a first run compiles)"

LINE_SECONDS = 5.0
"""Time between two progress lines when there is no terminal."""


NARROW = 72
"""Columns of a terminal below which gaps shrink."""

TALL = 30
"""Lines of a terminal from which parts are set apart by an empty line."""

MANY = 12
"""Names of a list on a page without a terminal."""

PLAIN_WIDTH = 120
"""Columns of a page when there is no terminal to ask."""


def console() -> Console:
    """Standard output, with colour and width of the terminal when there is one."""
    screen = Console(highlight=False)
    if not screen.is_terminal and "COLUMNS" not in os.environ:
        screen.width = PLAIN_WIDTH
    return screen


def room(screen: Console, taken: int, least: int = 8) -> int:
    """Rows of a list that fit one screen beside ``taken`` other lines; 20 without a terminal."""
    return max(least, screen.height - taken) if screen.is_terminal else 20


@dataclass
class Grid:
    """Rows under heads; on a narrow screen text is cut short, numbers never are.

    columns: (head, "left" or "right"); right means numbers.
    wrap_last: the last column goes on in the next line instead of being cut.
    """

    columns: Sequence[tuple[str, str]]
    wrap_last: bool = False
    rows: list[Sequence[str | Text]] = field(default_factory=list)

    def add(self, *cells: str | Text) -> None:
        self.rows.append(cells)

    def table(self, width: int) -> Table:
        """The rich table for a screen of this width."""
        gap = 2 if width >= NARROW else 1
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, gap, 0, 0))
        for place, wide in enumerate(self._widths(width, gap)):
            head, side = self.columns[place]
            wraps = self.wrap_last and place == len(self.columns) - 1
            table.add_column(
                head, justify="right" if side == "right" else "left", no_wrap=not wraps,
                overflow="fold" if wraps else "ellipsis", width=wide,
            )  # fmt: skip
        for row in self.rows:
            table.add_row(*row)
        return table

    def _widths(self, width: int, gap: int) -> list[int]:
        """Natural widths; texts, the widest first, give what is too much."""
        cells = [[head, *(str(row[k]) for row in self.rows)] for k, (head, _) in
                 enumerate(self.columns)]  # fmt: skip
        wide = [max(map(cell_len, column)) for column in cells]
        texts = [k for k, (_, side) in enumerate(self.columns) if side != "right"]
        over = sum(wide) + (gap + 1) * (len(wide) - 1) - width  # rich adds one for the divider
        while over > 0 and texts:
            most = max(texts, key=lambda k: wide[k])
            if wide[most] <= 1:
                break
            wide[most] -= 1
            over -= 1
        return wide


def gap(screen: Console) -> None:
    """An empty line between parts, where the screen has room for it."""
    if not screen.is_terminal or screen.height >= TALL:
        screen.print()


def names_line(screen: Console, label: str, names: Sequence[str]) -> None:
    """``label (n): a, b, c``: one line on a terminal, at most MANY names without one."""
    shown = ", ".join(names if screen.is_terminal else names[:MANY])
    if len(names) > MANY and not screen.is_terminal:
        shown += f" and {len(names) - MANY} more (all with --json)"
    text = Text.assemble((f"{label} ({len(names)})", "bold"), ": " + shown)
    if screen.is_terminal:
        screen.print(text, no_wrap=True, overflow="ellipsis")
    else:
        screen.print(text, soft_wrap=True)


def reasons(screen: Console, label: str, why: dict[str, str]) -> None:
    """What is missing and the names it keeps from evaluation, most first.

    A name stands under everything that it lacks. A terminal gets as many lines as leave room.
    """
    groups: dict[str, list[str]] = {}
    for name, reason in why.items():
        for item in dict.fromkeys(lacking(reason)):
            groups.setdefault(item, []).append(name)
    if why:
        screen.print(Text(f"{label}: {len(why)} algorithms", style="bold yellow"))
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    limit = max(6, screen.height // 4) if screen.is_terminal else len(ordered)
    for item, names in ordered[:limit]:
        names_line(screen, f"  {item}", names)
    if len(ordered) > limit:
        screen.print(Text(f"  and {len(ordered) - limit} more reasons (all with --json)", "dim"))


def lacking(reason: str) -> list[str]:
    """The single things that a reason of the compiled menu names."""
    items = []
    for part in reason.split("; "):
        missing = part.removeprefix("input has no ")
        if missing != part:
            items += [f"input has no {item}" for item in missing.split(", ")]
        elif part.startswith("looks at bx "):
            items.append("looks at neighbouring crossings, rows are independent")
        else:
            items.append(part)
    return items


def number(value: int | float) -> str:
    """Digits in groups of three, separated by a thin gap that also works in ASCII."""
    return f"{value:,}".replace(",", " ")


def seconds(value: float) -> str:
    """A duration with a unit that fits: 88.9 us, 1.2 ms, 3.4 s."""
    for limit, factor, unit in ((1e-3, 1e6, "us"), (1.0, 1e3, "ms"), (120.0, 1.0, "s")):
        if value < limit:
            return f"{value * factor:.3g} {unit}"
    return f"{int(value // 60)} min {value % 60:.0f} s"


def receipt(screen: Console, paper: Receipt) -> None:
    """The ledger as a table, then time, real-time factor, outputs and first bad packets."""
    gap(screen)
    colour = {"complete": "green", "interrupted": "yellow"}[paper.status]
    head = Text.assemble((paper.command, "bold"), " ", (paper.status, f"bold {colour}"))
    if paper.source:
        head.append(f"  {paper.source}", style="dim")
    screen.print(head, overflow="ellipsis", no_wrap=True)
    heads = ("in", "out", "dropped", "bad", "pending")
    grid = Grid([("", "left"), *((name, "right") for name in heads), ("", "right")])
    for unit, account in paper.ledger.accounts.items():
        lost, bad = account.dropped.total(), account.bad.total()
        values = (account.received, account.out, lost, bad, account.pending)
        verdict = Text("balanced" if screen.width >= NARROW else "ok", "green")
        if account.missing:
            verdict = Text(f"{number(account.missing)} MISSING", "bold red")
        grid.add(unit, *(number(value) for value in values), verdict)
    screen.print(grid.table(screen.width))
    for kind in ("bad", "dropped"):
        for unit, account in paper.ledger.accounts.items():
            for reason, count in getattr(account, kind).items():
                screen.print(Text(f"{kind} {unit}: {number(count)} x {reason}", "yellow"))
    for message in paper.bad[:3]:
        screen.print(Text(f"  {message}", "yellow"))
    facts = [seconds(paper.seconds)]
    if paper.lhc_seconds is not None and paper.real_time_factor is not None:
        facts.append(f"{seconds(paper.lhc_seconds)} of LHC time")
        facts.append(f"real-time factor {paper.real_time_factor:.3g}")
    screen.print(Text("time  " + ", ".join(facts)))
    for note in paper.notes:
        screen.print(Text(note))
    for path in paper.outputs:
        screen.print(Text.assemble(("wrote ", "green"), path), soft_wrap=True)


class Progress(Protocol):
    """Told by a run how far it is, between blocks."""

    def set_total(self, total: int | None) -> None: ...

    def update(self, packets: int, crossings: int) -> None: ...


class Silent:
    """A progress report that nobody reads."""

    def set_total(self, total: int | None) -> None:
        return

    def update(self, packets: int, crossings: int) -> None:
        return


class Live:
    """A context manager: a bar on a terminal, else a plain line every few seconds (on stderr)."""

    def __init__(self, label: str, total: int | None = None) -> None:
        self._label, self._total = label, total
        self._start = self._last = time.monotonic()
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Live:
        screen = Console(stderr=True)
        if screen.is_terminal:
            from rich import progress as parts

            columns: Iterable[parts.ProgressColumn] = (
                parts.TextColumn("[bold]{task.description}"),
                parts.BarColumn(bar_width=None),
                parts.TaskProgressColumn(show_speed=False),
                parts.TextColumn("{task.fields[speed]}"),
                parts.TimeElapsedColumn(),
            )
            self._bar = parts.Progress(
                *columns, console=screen, transient=True, refresh_per_second=8, expand=True
            )
            self._task = self._bar.add_task(PREPARING, total=self._total, speed="")
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def set_total(self, total: int | None) -> None:
        """Packets expected, when the source knows."""
        self._total = total
        self._start = time.monotonic()  # the run begins; opening and compiling are over
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, total=total)

    def update(self, packets: int, crossings: int) -> None:
        """``packets`` of the total are done, ``crossings`` decided."""
        now = time.monotonic()
        rate = crossings / max(now - self._start, 1e-9) / 1e6
        if self._bar is not None and self._task is not None:
            self._bar.update(
                self._task, description=self._label, completed=packets, speed=f"{rate:.2f} MBX/s"
            )
        elif now - self._last >= LINE_SECONDS:
            self._last = now
            of = f" of {self._total}" if self._total is not None else ""
            print(
                f"{self._label}: {packets}{of} packets, {crossings} crossings, {rate:.2f} MBX/s",
                file=sys.stderr,
                flush=True,
            )
