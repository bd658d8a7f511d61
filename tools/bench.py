"""``scout40 bench``: speed on this machine, beside NumPy and memcpy in the same run."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from scout40.tools.command import Task, json_option, print_json

if TYPE_CHECKING:
    from scout40.tools.measure import Measure

BENCHES = ("unpack", "menu", "ugmt", "jets", "nn", "live")
"""Names; module ``scout40.tools.bench_<name>`` has ``bench(quick) -> list[Measure]``."""


@click.command(cls=Task, name="bench")
@click.argument("names", nargs=-1, metavar="[NAME...]", type=click.Choice(BENCHES))
@click.option("--quick", is_flag=True, help="Small data and few rounds: checks, not numbers.")
@click.option(
    "--seconds", type=click.FloatRange(1), help="How long live runs with a feed; default: 60."
)
@json_option
def command(names: tuple[str, ...], quick: bool, seconds: float | None, json_output: bool) -> None:
    """Measure NAME: unpack, menu, ugmt, jets, nn, live (default: all).

    Contenders take turns in the same run and medians are reported. Results are first checked
    to be equal. With the reference data of the project ($SCOUT40_REFERENCE) the menu is the
    complete one of 2024, else the packaged demo menu. Machines differ, so a missed limit is
    shown but is no error.
    """
    measures: list[Measure] = []
    for name in names or BENCHES:
        bench = importlib.import_module(f"scout40.tools.bench_{name}").bench
        measures += bench(quick, seconds) if name == "live" else bench(quick)
    if json_output:
        print_json([measure.as_dict() for measure in measures])
    else:
        _show(measures, quick)


def _show(measures: Sequence[Measure], quick: bool) -> None:
    from rich.padding import Padding
    from rich.text import Text

    from scout40.tools.show import Grid, console

    screen = console()
    numbers = (("value", "right"), ("peer", "right"), ("ratio", "right"), ("limit", "right"))
    grid = Grid([("bench", "left"), *numbers, ("", "right")])
    marks = {True: Text("ok", "green"), False: Text("missed", "bold red"), None: Text("")}
    signs = {"at least": ">=", "at most": "<="}
    for one in measures:
        of = one.unit if one.limit_on == "value" else ""
        limit = "" if one.limit is None else f"{signs[one.bound]} {_short(one.limit)} {of}".rstrip()
        peer = "" if one.peer is None else f"{one.peer_name} {_short(one.peer)}"
        ratio = "" if one.ratio is None else f"{one.ratio:.2f}"
        value = f"{_short(one.value)} {one.unit}"
        grid.add(one.name, value, peer, ratio, limit, marks[one.holds])
    screen.print(grid.table(screen.width))
    for detail in dict.fromkeys(one.detail for one in measures if one.detail):
        screen.print(Padding(Text(detail, "dim"), (0, 0, 0, 2), expand=False))
    if quick:
        screen.print(Text("quick: too short to judge speed by", "dim"))


def _short(value: float) -> str:
    """Three digits with k or M; plain up to 10 000 so that MB stay MB."""
    for limit, factor, sign in ((1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if value >= limit:
            return f"{value / factor:.3g} {sign}"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
