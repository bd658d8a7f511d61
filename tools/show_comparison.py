"""A comparison on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from scout40.tools.comparison import Comparison, Difference
from scout40.tools.show import (
    NARROW,
    Grid,
    console,
    names_line,
    number,
    reasons,
    receipt,
    room,
)

ORDER = (
    "hw_pt", "hw_et", "hw_eta_at_vtx", "hw_phi_at_vtx", "hw_qual", "tf_muon_index", "hw_iso",
    "hw_sign", "hw_eta", "hw_phi", "pt", "et", "eta_at_vtx", "eta", "phi_at_vtx", "phi",
)  # fmt: skip
"""Fields of an object that a narrow screen shows before others."""


def comparison(result: Comparison, first: int) -> None:
    """Verdict, differing algorithms, the first differences in full, what was not checked."""
    screen = console()
    screen.print(Text(f"{result.menu.name}: {number(result.crossings)} crossings", "bold"))
    counts = ((len(result.equal), "agree", "green"), (len(result.different), "differ", "red"))
    line = Text()
    for count, word, colour in counts:
        line.append(f"{count} {word}  ", f"bold {colour}" if count else "dim")
    screen.print(line.append(f"{len(result.not_evaluated)} not evaluated", "yellow"))
    if result.different:
        _different(screen, result)
        for name in result.different[:first]:
            difference(screen, result.first[name])
    reasons(screen, "not evaluated", result.not_evaluated)
    if result.not_recorded:
        names_line(screen, "in the menu, without a recorded bit", result.not_recorded)
    if result.not_in_menu:
        names_line(screen, "recorded, not in the menu", result.not_in_menu)
    receipt(screen, result.receipt)


def _different(screen: Console, result: Comparison) -> None:
    heads = (("differ", "right"), ("recorded", "right"), ("ours", "right"))
    grid = Grid([("algorithm", "left"), *heads, ("first orbit/bx", "right")])
    limit = room(screen, taken=20)
    ordered = sorted(result.different, key=lambda name: -result.tallies[name].differing)
    for name in ordered[:limit]:
        tally, where = result.tallies[name], result.first[name]
        grid.add(
            name, number(tally.differing), number(tally.recorded), number(tally.emulated),
            f"{where.orbit}/{where.bx}",
        )  # fmt: skip
    screen.print(grid.table(screen.width))
    if len(ordered) > limit:
        screen.print(Text(f"and {len(ordered) - limit} more (all with --json)", "dim"))


def difference(screen: Console, what: Difference) -> None:
    """One differing crossing with the objects its algorithm reads."""
    screen.print(Text(what.name, "bold red"))
    screen.print(Text(f"  {what.expression}", "dim"))
    fires = {True: "fired", False: "did not fire"}
    where = f"  orbit {what.orbit} bx {what.bx} (row {what.row}): "
    screen.print(Text(f"{where}recorded {fires[what.recorded]}, ours {fires[what.emulated]}"))
    if what.values:
        screen.print(Text("  " + ", ".join(f"{k} = {v}" for k, v in what.values.items())))
    for name, rows in what.objects.items():
        if not rows:
            screen.print(Text(f"  {name}: none"))
            continue
        fields = _fitting(screen, name, rows)
        grid = Grid([(name, "right"), *((key, "right") for key in fields)])
        for row in rows:
            grid.add(str(row["slot"]), *(_value(row[key]) for key in fields))
        screen.print(grid.table(screen.width))
        left = len(rows[0]) - 1 - len(fields)
        if left:
            screen.print(Text(f"  and {left} more fields (all with --json)", "dim"))


def _fitting(screen: Console, name: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The fields that stand side by side without a cut, the most telling first."""
    keys = [key for key in rows[0] if key != "slot"]
    keys.sort(key=lambda key: ORDER.index(key) if key in ORDER else len(ORDER))
    space = 3 if screen.width >= NARROW else 2
    left = screen.width - max(len(name), 2)
    fields: list[str] = []
    for key in keys:
        left -= space + max(len(key), *(len(_value(row[key])) for row in rows))
        if left < 0:
            break
        fields.append(key)
    return fields


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
