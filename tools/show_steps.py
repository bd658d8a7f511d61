"""A comparison of steps on the terminal: first crossings in full, columns that differ, verdict."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from scout40.streams.formats.track_finder import FIRST_LINK, SLOTS
from scout40.tools.compare_steps import Crossing, Row, StepComparison, Tally
from scout40.tools.show import NARROW, TALL, Grid, console, names_line, number, receipt, room

INPUT_ORDER = (
    "link", "slot", "hw_pt", "hw_qual", "hw_eta", "hw_phi", "hw_sign", "hw_sign_valid", "hw_hf",
    "wheel_side", "wheel_num", "stat1", "stat2", "stat3", "stat4",
)  # fmt: skip
"""Columns of an input muon that a narrow screen shows before others."""

PLACING = ("config", "stage", "stream", "link", "slot", "pos")
"""Columns that say which row of a crossing it is."""

OTHERS = 18
"""Lines of a screen that verdict, receipt and heads take."""

AROUND = 4
"""Towers to each side of a jet's seed that its window has."""


def steps(result: StepComparison) -> None:
    """The first differing crossings with their inputs, then the verdict, where a screen ends."""
    screen = console()
    small = screen.width < NARROW or (screen.is_terminal and screen.height < TALL)
    shown = 1 if small else len(result.first)
    for crossing in result.first[:shown]:
        _crossing(screen, crossing)
    if len(result.first) > shown:
        left = len(result.first) - shown
        screen.print(Text(f"and {left} more of the first crossings (with --json)", "dim"))
    heads = (("rows", "right"), ("differ", "right"), ("missing", "right"), ("extra", "right"))
    grid = Grid([("expected", "left"), ("step", "left"), *heads])
    for tally in result.tallies:
        wrong = Text(number(tally.different), "bold red" if tally.different else "green")
        counts = (number(tally.missing), number(tally.extra))
        grid.add(Path(tally.file).name, tally.step, number(tally.rows), wrong, *counts)
    screen.print(grid.table(screen.width))
    for tally in result.tallies:
        _columns(screen, tally)
    receipt(screen, result.receipt)


def _columns(screen: Console, tally: Tally) -> None:
    wrong = {name: count for name, count in tally.columns.items() if count}
    if wrong:
        listed = [f"{name} ({number(count)})" for name, count in wrong.items()]
        names_line(screen, "columns that differ (rows)", listed)
    if tally.not_compared and tally.step != "input muons":
        names_line(screen, "columns not compared", tally.not_compared)


def _crossing(screen: Console, one: Crossing) -> None:
    where = f"orbit {one.orbit} bx {one.bx}" if one.number is None else f"number {one.number}"
    screen.print(Text(f"{one.step} of crossing {where}", "bold red"))
    if one.bx < 0:
        screen.print(Text("  is not in the input"))
    elif one.step.endswith("muons"):
        _inputs(screen, one)
    shown = _limit(screen, 2 * AROUND + 5 if one.step.endswith("jets") else 2)
    for theirs, ours in one.pairs[:shown]:
        row = theirs or ours or {}
        keys = [name for name in PLACING if name in row]
        screen.print(Text("  " + ", ".join(f"{name} {row[name]}" for name in keys), "bold"))
        if theirs is None or ours is None:
            side = "only ours" if theirs is None else "only expected"
            values = ", ".join(f"{k} {v}" for k, v in row.items() if k not in keys)
            screen.print(Text(f"    {side}: {values}"))
        else:
            wrong = [k for k in theirs if theirs[k] != ours[k]]
            text = ", ".join(f"{k} expected {theirs[k]}, ours {ours[k]}" for k in wrong)
            screen.print(Text(f"    {text}"))
        if "ieta" in row:
            _towers(screen, one.inputs, row["ieta"], row["iphi"])
    if len(one.pairs) > shown:
        left = len(one.pairs) - shown
        screen.print(Text(f"  and {left} more rows that differ (all with --json)", "dim"))


def _limit(screen: Console, lines: int = 1) -> int:
    """Entries of so many lines that leave the verdict on the screen; all without a terminal."""
    return max(1, room(screen, OTHERS, 6) // lines) if screen.is_terminal else sys.maxsize


def _inputs(screen: Console, one: Crossing) -> None:
    """Muons that a differing row names come first, when not all fit."""
    if not one.inputs:
        screen.print(Text("  no input"))
        return
    different = [row for pair in one.pairs for row in pair if row is not None]
    named = {_index(row) for row in different}
    rows, limit = one.inputs, _limit(screen)
    if len(rows) > limit:
        rows = sorted(rows, key=lambda row: _index(row) not in named)
    _table(screen, rows[:limit], INPUT_ORDER)
    if len(rows) > limit:
        left = len(rows) - limit
        screen.print(Text(f"  and {left} more muons (all with --json)", "dim"))


def _index(muon: Row) -> int | None:
    """Which of the inputs a muon is or came from; None where the row does not say."""
    if "link" in muon:
        return SLOTS * (muon["link"] - FIRST_LINK) + muon["slot"]
    return muon.get("tf_muon_index")


def _table(screen: Console, rows: Sequence[Row], order: Sequence[str]) -> None:
    keys = sorted(rows[0], key=lambda k: order.index(k) if k in order else len(order))
    left, shown = screen.width - 2, []
    for key in keys:
        left -= 3 + max(len(key), *(len(str(row[key])) for row in rows))
        if left < 0:
            break
        shown.append(key)
    grid = Grid([(key, "right") for key in shown])
    for row in rows:
        grid.add(*(str(row[key]) for key in shown))
    screen.print(grid.table(screen.width))
    if len(shown) < len(keys):
        screen.print(Text(f"  and {len(keys) - len(shown)} more columns (all with --json)", "dim"))


def _towers(screen: Console, towers: Sequence[Row], ieta: int, iphi: int) -> None:
    """Et of the towers of a jet's window: a line per iphi, a column per ieta."""
    et = {(row["hw_eta"], row["hw_phi"]): row["hw_et"] for row in towers}
    steps = [m for m in range(-41, 42) if m not in (0, 29, -29)]
    middle = steps.index(ieta)
    columns = steps[max(0, middle - AROUND) : middle + AROUND + 1]
    grid = Grid([("Et of towers", "right"), *((str(m), "right") for m in columns)])
    for turn in range(AROUND, -AROUND - 1, -1):
        phi = (iphi + turn - 1) % 72 + 1
        grid.add(f"iphi {phi}", *(str(et.get((m, phi), 0)) for m in columns))
    screen.print(grid.table(screen.width))
