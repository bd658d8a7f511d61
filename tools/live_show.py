"""What ``scout40 live`` prints: a line now and then, at the end the sources and the receipt."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from scout40.streams.block import ORBIT_HZ
from scout40.streams.snapshot import Snapshot, from_json
from scout40.tools.receipt import Receipt, receipt_from
from scout40.tools.show import LINE_SECONDS, Grid, console, number, receipt

if TYPE_CHECKING:
    from scout40.tools.live_engine import LiveResult

TERMINAL_SECONDS = 1.0
"""Time between two looks at a terminal."""


class Told:
    """A line about the run on standard error: rewritten on a terminal, else every few seconds."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._screen = Console(stderr=True, highlight=False)
        self._quiet = quiet
        self._last = 0.0
        self._state = ""

    def __enter__(self) -> Told:
        return self

    def __exit__(self, *_: object) -> None:
        if self._screen.is_terminal and not self._quiet:
            self._screen.file.write("\r\x1b[K")

    def __call__(self, snapshot: Snapshot) -> None:
        """Show this state, if it is time."""
        now = time.monotonic()
        every = TERMINAL_SECONDS if self._screen.is_terminal else LINE_SECONDS
        if self._quiet or (now - self._last < every and snapshot.state == self._state):
            return
        self._last, self._state = now, snapshot.state
        line = status_line(snapshot)
        if self._screen.is_terminal:
            self._screen.file.write("\r\x1b[K")
            self._screen.print(line, end="", overflow="ellipsis", no_wrap=True)
            self._screen.file.flush()
        else:
            self._screen.print(line, soft_wrap=True)


def status_line(snapshot: Snapshot) -> Text:
    """State, rate against the LHC, losses, how far behind."""
    lost = sum(sum(account["dropped"].values()) + sum(account["bad"].values())
               for unit, account in snapshot.accounts.items() if unit == "packets")  # fmt: skip
    lag = max((source.lag_s for source in snapshot.sources), default=0.0)
    line = Text(f"live {snapshot.state}: ")
    line.append(f"{number(snapshot.orbits)} orbits, {snapshot.orbits_per_s / ORBIT_HZ:.2f} x LHC, ")
    if lost:
        line.append(f"LOST {number(lost)} packets, ", style="bold red")
    else:
        line.append("nothing lost, ", style="green")
    line.append(f"{lag:.2f} s behind, {number(snapshot.written_rows)} rows written")
    return line


def result(found: LiveResult) -> None:
    """Sources, latencies, receipt."""
    _result(found.snapshot, found.receipt)


def printed(found: Mapping[str, Any]) -> None:
    """The same from the JSON of a run."""
    snapshot = from_json(json.dumps(found["snapshot"]).encode())
    _result(snapshot, receipt_from(found))


def _result(snapshot: Snapshot, paper: Receipt) -> None:
    screen = console()
    heads = ("packets", "gaps", "lost", "by feed", "late", "twice", "bad")
    grid = Grid([("source", "left"), ("state", "left"), *((head, "right") for head in heads)])
    for one in snapshot.sources:
        values = (
            one.packets, one.gaps, one.lost, one.dropped_by_feed, one.late, one.duplicates, one.bad
        )  # fmt: skip
        name = one.name if one.name == one.endpoint else f"{one.name} {one.endpoint}"
        grid.add(name, one.state, *(number(value) for value in values))
    if grid.rows:
        screen.print(grid.table(screen.width))
    for name, spread in snapshot.latency.items():
        label = name.replace("_", " ")
        text = f"{label}: p50 {spread.p50:.3g}, p99 {spread.p99:.3g}, max {spread.max:.3g} ms"
        screen.print(Text(f"{text} in {number(spread.count)} messages", "dim"))
    for error in snapshot.errors[-3:]:
        screen.print(Text(f"  {error.text}", "yellow"))
    receipt(screen, paper)
