"""Panels of the physics: menu rates with their recent history, and histograms."""

from __future__ import annotations

import math

from rich.text import Text

from scout40.streams.snapshot import HistogramState
from scout40.tools.monitor_panel import GAP, Column, Panel, Table, View, beside
from scout40.tools.monitor_text import bars, count, rate, rebinned, sparkline

FEW = 3
"""Algorithms that are shown before other panels grow."""
SPARKS = (6, 20)
"""Fewest and most columns of a sparkline."""
RATE = len("99.9 kHz")
TITLES = {"mu_pt": "muon pT", "mu_eta": "muon eta", "mu_phi": "muon phi", "bx": "BX in orbit"}
LOGARITHMIC = frozenset({"mu_pt"})
FOUR_ABREAST = 110
"""Columns from which all four histograms stand side by side."""
FEWEST_BARS, MOST_BARS = 1, 8


def rates(view: View, width: int) -> Panel:
    """Algorithms by falling rate."""
    table = Table(
        (
            Column("algorithm", number=False), Column("rate"), Column("prescaled", 2),
            Column("history", 1, number=False), Column("count", 3),
        )
    )  # fmt: skip
    ordered = sorted(view.snapshot.rates, key=lambda one: (-one.hz, -one.count, one.name))
    # What name and rate leave, so that a narrow panel keeps the history.
    left = width - max((len(one.name) for one in ordered), default=0) - RATE - 2 * GAP
    wide = min(SPARKS[1], max(SPARKS[0], left))
    points = list(view.watch.points)[-wide:]
    for one in ordered:
        history = [point.rates.get(one.name, 0.0) for point in points]
        marks = sparkline(history, wide, view.ascii_only) if len(history) > 1 else ""
        table.add(
            one.name, rate(one.hz), rate(one.prescaled_hz), Text(marks, "cyan"), count(one.count)
        )
    fired = sum(one.count > 0 for one in ordered)
    note = f"{fired} of {len(ordered)} algorithms fired"
    return table.panel("rates", width, note, "no algorithm is named in the snapshot", FEW)


def hist(view: View, width: int) -> Panel:
    """Histograms since the start, one to four abreast."""
    found = [(name, view.snapshot.histograms[name]) for name in _names(view)]
    if not found:
        return Panel("hist", "", 1, 1, lambda height, first: [Text("no histogram yet", "dim")])
    abreast = min(4 if width >= FOUR_ABREAST else 2 if width >= 40 else 1, len(found))
    lines = math.ceil(len(found) / abreast)

    def draw(height: int, first: int) -> list[Text]:
        tall = max(1, height // lines - 1)
        wide = (width - 2 * (abreast - 1)) // abreast
        blocks = [_histogram(name, one, wide, tall, view.ascii_only) for name, one in found]
        made: list[Text] = []
        for k in range(0, len(blocks), abreast):
            row = blocks[k]
            for place, block in enumerate(blocks[k + 1 : k + abreast], 1):
                row = beside(row, block, place * (wide + 2) - 2)
            made += row
        return made[:height]

    return Panel(
        "hist", "since the start", lines * (1 + FEWEST_BARS), lines * (1 + MOST_BARS), draw
    )


def _names(view: View) -> list[str]:
    """Known histograms in their order, then what else the producer made."""
    there = view.snapshot.histograms
    return [name for name in TITLES if name in there] + sorted(set(there) - set(TITLES))


def _edge(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.5g}"


def _histogram(
    name: str, histogram: HistogramState, width: int, tall: int, ascii_only: bool
) -> list[Text]:
    """A title line, then ``tall`` lines of bars."""
    low, high = histogram.edges[0], histogram.edges[-1]
    log = name in LOGARITHMIC
    columns = rebinned(histogram.counts, width)
    heights = [math.log1p(value) for value in columns] if log else columns
    unit = "" if name == "bx" else histogram.unit
    title = f"{TITLES.get(name, name)} {_edge(low)} to {_edge(high)} {unit}".rstrip()
    if log:
        title += " log"
    total = f"  n {count(sum(histogram.counts))}"
    title += total if len(title) + len(total) <= width else ""
    return [Text(title, "bold"), *(Text(one, "cyan") for one in bars(heights, tall, ascii_only))]
