"""Look-up tables and their differences on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.text import Text

from scout40.tools.lut_tables import Comparison, Difference, Field, Lut
from scout40.tools.show import NARROW, Grid, console, names_line, number, room

BINS = 16
"""Bars of a histogram."""
LEVELS = "▁▂▃▄▅▆▇█"
"""Heights of a small histogram; a value that never occurs is a space."""
SMALL_BINS = 16
DIGEST = 12
"""Digits of a digest where there is no room for all."""


def show_tables(tables: Sequence[Lut], picture: str | None) -> None:
    """One table with its histogram, or a line for each."""
    screen = console()
    if len(tables) == 1:
        _one(screen, tables[0])
    else:
        _list(screen, tables)
    _wrote(screen, picture)


def _one(screen: Console, table: Lut) -> None:
    head = Text(table.name, "bold")
    head.append(f"  {table.n_in} -> {table.n_out} bits, {number(len(table.values))} entries", "")
    screen.print(head)
    least, largest = int(table.values.min()), int(table.values.max())
    different = len(np.unique(table.values))
    rows = [("from", table.source), ("address", _address(table.fields))]
    rows.append(("values", f"{least} to {largest}, {number(different)} different"))
    if table.digest:
        rows.append(("file", f"sha256 {table.digest}"))
    rows.append(("contents", f"sha256 {table.values_digest}"))
    for label, text in rows:
        line = Text.assemble((f"{label:<9}", "dim"), text)
        screen.print(line, no_wrap=True, overflow="ellipsis")
    edges, counts = histogram(table.values, min(BINS, room(screen, taken=8, least=4)))
    bars(screen, edges, counts)


def _address(fields: Sequence[Field]) -> str:
    """Fields with their widths, the highest bits first."""
    return ", ".join(f"{field.name} ({field.bits} bits)" for field in fields)


def histogram(
    values: npt.NDArray[np.int64], bins: int
) -> tuple[list[tuple[int, int]], npt.NDArray[np.int64]]:
    """(first, last value) of each of at most ``bins`` bins of equal width, and how many are in."""
    least, largest = int(values.min()), int(values.max())
    width = -(-(largest - least + 1) // bins)
    count = (largest - least) // width + 1
    counts = np.bincount((values - least) // width, minlength=count).astype(np.int64)
    firsts = [least + k * width for k in range(count)]
    return [(first, min(first + width - 1, largest)) for first in firsts], counts


def bars(screen: Console, edges: Sequence[tuple[int, int]], counts: npt.NDArray[np.int64]) -> None:
    """A bar and a number for each bin."""
    labels = [str(a) if a == b else f"{a}-{b}" for a, b in edges]
    numbers = [number(int(count)) for count in counts]
    wide, digits = max(map(len, labels)), max(map(len, numbers))
    length = max(4, min(60, screen.width - wide - digits - 4))
    most = max(1, int(counts.max()))
    for label, text, count in zip(labels, numbers, counts, strict=True):
        eighths = int(-(-count * length * 8 // most))
        bar = "█" * (eighths // 8) + (" ▏▎▍▌▋▊▉"[eighths % 8] if eighths % 8 else "")
        line = Text.assemble((f"{label:>{wide}} ", "dim"), (f"{bar:<{length}}", "cyan"))
        screen.print(line.append(f" {text:>{digits}}"), no_wrap=True)


def sparkline(values: npt.NDArray[np.int64]) -> str:
    """A histogram in one line; heights go with the logarithm, so that rare values show."""
    _, counts = histogram(values, SMALL_BINS)
    logs = np.log1p(counts) / np.log1p(counts.max())
    heights = np.ceil(logs * len(LEVELS)).astype(int)
    return "".join(LEVELS[height - 1] if height else " " for height in heights)


def _list(screen: Console, tables: Sequence[Lut]) -> None:
    sources = {table.source for table in tables}
    one = sources.pop() if len(sources) == 1 else ""
    if one:
        screen.print(Text(one, "bold"), no_wrap=True, overflow="ellipsis")
    narrow = screen.width < NARROW
    columns = [("table", "left"), ("bits", "right"), ("values", "right")]
    columns += [("histogram", "left")]
    columns += [] if narrow else [("contents", "right")]
    grid = Grid(columns)
    shown = tables[: room(screen, taken=6)] if screen.is_terminal else tables
    for table in shown:
        cells = [table.name, f"{table.n_in}>{table.n_out}"]
        cells += [f"{table.values.min()}-{table.values.max()}", sparkline(table.values)]
        grid.add(*cells, *([] if narrow else [table.values_digest[:DIGEST]]))
    screen.print(grid.table(screen.width))
    if len(tables) > len(shown):
        left = len(tables) - len(shown)
        screen.print(Text(f"and {left} more (name them, or all with --json)", "dim"))


def show_differences(result: Comparison, rows: int, picture: str | None) -> None:
    """Tables that differ, their first entries, what is equal, the verdict."""
    screen = console()
    differing = [pair for pair in result.pairs if pair.differ]
    equal = [pair.name for pair in result.pairs if not pair.differ]
    for label, name in (("A", result.a), ("B", result.b)):
        line = Text.assemble((f"{label}  ", "bold"), name)
        screen.print(line, no_wrap=True, overflow="ellipsis")
    if differing:
        _summary(screen, differing)
    fit = max(int(len(differing) == 1), (screen.height - len(differing) - 10) // (rows + 4))
    detailed = differing[:fit] if screen.is_terminal else differing
    for pair in detailed if rows else ():
        _entries(screen, pair, rows)
    if len(detailed) < len(differing) and rows:
        left = len(differing) - len(detailed)
        text = f"entries of {left} more: name two files, or --json"
        screen.print(Text(text, "dim"))
    for label, names in (
        ("equal", equal), ("only in A", result.only_a), ("only in B", result.only_b),
        ("not in the folder", result.missing),
    ):  # fmt: skip
        if names:
            names_line(screen, label, list(names))
    if not result.different:
        entries = number(sum(len(pair.a.values) for pair in result.pairs))
        screen.print(Text(f"all {entries} entries are equal", "bold green"))
    _wrote(screen, picture)


def _summary(screen: Console, differing: Sequence[Difference]) -> None:
    """A line for each table that differs."""
    heads = [("table", "left"), ("differ", "right"), ("entries", "right"), ("largest", "right")]
    grid = Grid([*heads, ("mean", "right")])
    for pair in differing:
        sizes = len(pair.a.values), len(pair.b.values)
        entries = number(sizes[0])
        if sizes[0] != sizes[1]:
            entries += f" / {number(sizes[1])}"
        gaps = np.abs(pair.gaps)
        grid.add(
            Text(pair.name, "bold red"), number(len(gaps)), entries,
            str(gaps.max(initial=0)), f"{gaps.sum() / min(sizes):.2g}",
        )  # fmt: skip
    screen.print(grid.table(screen.width))


def _entries(screen: Console, pair: Difference, rows: int) -> None:
    """The first entries that differ, with the meaning of their addresses."""
    shown = pair.addresses[:rows].tolist()
    if not shown:
        return
    columns = [("address", "right"), (pair.name, "left"), ("A", "right"), ("B", "right")]
    grid = Grid(columns)
    for at in shown:
        grid.add(str(at), pair.a.decoded(at), str(pair.a.values[at]), str(pair.b.values[at]))
    screen.print(grid.table(screen.width))
    left = len(pair.addresses) - len(shown)
    if left:
        screen.print(Text(f"and {number(left)} more (--first N shows more)", "dim"))


def _wrote(screen: Console, picture: str | None) -> None:
    if picture is not None:
        screen.print(Text.assemble(("wrote ", "green"), picture), soft_wrap=True)
