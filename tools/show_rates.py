"""The rate table of a run on the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from scout40.streams.block import ORBIT_BX
from scout40.tools.job import Emulation
from scout40.tools.show import NARROW, Grid, console, gap, number, reasons, receipt, room

WIDE = 96
"""Columns of a terminal from which the table also shows fractions and pure rates."""


def emulation(result: Emulation, top: int | None = None) -> None:
    """Rates by falling rate, totals, what was not evaluated, receipt."""
    screen = console()
    # The end is what stays on a small screen: rates and receipt.
    reasons(screen, "not evaluated", result.not_evaluated)
    if result.counter.crossings:
        gap(screen)
        rates(screen, result, top)
        totals(screen, result)
    receipt(screen, result.receipt)


def rates(screen: Console, result: Emulation, top: int | None = None) -> None:
    """The algorithms with the highest rates; what was left out is said."""
    rows = [row for row in result.rates.to_pylist() if row["evaluated"]]
    fired = sorted(
        (row for row in rows if row["count_initial"]),
        key=lambda row: (-row["count_prescaled"], -row["count_initial"], row["index"]),
    )
    limit = room(screen, taken=17) if top is None else top
    wide = screen.width >= WIDE
    recorded = bool(result.recorded) and screen.width >= NARROW
    columns = [("bit", "right"), ("algorithm", "left"), ("count", "right"), ("kHz", "right")]
    columns += [("±", "right")]
    columns += [("fraction", "right"), ("pure kHz", "right")] if wide else []
    columns += [("recorded", "right")] if recorded else []
    columns += [("prescale", "right")] if result.column else []
    grid = Grid(columns)
    for row in fired[:limit]:
        cells = [str(row["index"]), row["name"], number(row["count_prescaled"])]
        cells += [_khz(row["rate_prescaled_khz"]), _khz(row["rate_prescaled_khz_error"])]
        if wide:
            cells += [f"{row['fraction_prescaled']:.3%}", _khz(row["rate_pure_khz"])]
        if recorded:
            found = result.recorded.get(row["name"])
            cells.append("-" if found is None else number(found))
        if result.column:
            cells.append(f"{row['prescale']:g}")
        grid.add(*cells)
    head = f"{result.menu.name}: {len(fired)} of {len(rows)} evaluated algorithms fired in "
    head += f"{number(result.counter.crossings)} crossings"
    screen.print(Text(head, "bold"))
    screen.print(Text(_assumption(result), "dim"))
    if fired[:limit]:
        screen.print(grid.table(screen.width))
    if len(fired) > limit:
        screen.print(Text(f"and {len(fired) - limit} more that fired (--top N shows more)", "dim"))


def _assumption(result: Emulation) -> str:
    text = f"rates for {result.bunches} colliding bunches"
    if result.bunches == ORBIT_BX and result.rules.applied:
        text = "rates as measured: all 3564 crossings of each orbit"
    if result.column:
        text += f", prescale column {result.column}"
    return text


def _khz(value: float | None) -> str:
    """Three digits, plain where a reader expects it."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    if value >= 1000:
        return f"{value:.0f}"
    return f"{value:.3g}" if value >= 0.001 else f"{value:.1e}"


def totals(screen: Console, result: Emulation) -> None:
    """FinOR, veto, accepts, dead time, in one line each."""
    labels = {
        "finor": "final OR",
        "veto": "vetoed",
        "accepted": "accepted",
        "after_rules": "after trigger rules",
    }
    for row in result.totals.to_pylist():
        if row["count"] is None or (row["stage"] == "veto" and not row["count"]):
            continue
        screen.print(Text.assemble((f"{labels[row['stage']]:<20}", "bold"), _total(row)))
    if result.not_evaluated:
        count = int(result.counter.evaluated.sum())
        screen.print(Text(f"of the {count} evaluated algorithms only", "yellow"))
    report = result.rules
    if not report.applied:
        screen.print(Text("trigger rules not applied: rows are independent crossings", "dim"))
    elif report.dead_fraction is not None:
        screen.print(
            Text(f"dead time {report.dead_fraction:.3%} of {number(report.elapsed_bx)} BX")
        )


def _total(row: dict[str, Any]) -> str:
    rate = f"{_khz(row['rate_khz'])} ± {_khz(row['rate_khz_error'])} kHz"
    return f"{number(row['count']):>10}  {row['fraction']:7.2%}  {rate}"
