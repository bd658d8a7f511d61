"""Numbers, sparklines and bars of the monitor, with a form for terminals that know ASCII only."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

from rich.cells import cell_len

LEVELS = " ▁▂▃▄▅▆▇█"
ASCII_LEVELS = " .:|#"
ASCII_OF = str.maketrans(
    {"─": "-", "│": "|", "…": "~", "×": "x", "µ": "u", "·": ".", "–": "-", "−": "-", "±": "+",
     "█": "#", "░": "."}
)  # fmt: skip


@functools.lru_cache(4096)  # the same texts stand in frame after frame
def printable(text: str, ascii_only: bool = False) -> str:
    """One cell a character: whatever steers a terminal or is not one cell wide becomes ``?``."""
    if text.isascii() and text.isprintable():
        return text
    if ascii_only:
        text = text.translate(ASCII_OF)
        return "".join(one if one.isascii() and one.isprintable() else "?" for one in text)
    return "".join(one if one.isprintable() and cell_len(one) == 1 else "?" for one in text)


def count(value: float) -> str:
    """A counter in at most six characters: 999, 12 345, 1.23 M."""
    if value < 99_999.5:
        return f"{value:,.0f}".replace(",", " ")
    for limit, unit in ((1e6, "k"), (1e9, "M"), (1e12, "G"), (1e15, "T"), (1e18, "P")):
        if value < limit * 0.9995:
            return f"{_three(value / limit * 1e3)} {unit}"
    return f"{value:.2g}"


def rate(value: float, unit: str = "Hz") -> str:
    """1.2 kHz, 40.1 MHz, 12.5 Hz."""
    for limit, prefix in ((1e3, ""), (1e6, "k"), (1e9, "M"), (1e12, "G")):
        if value < limit * 0.9995:
            return f"{_three(value / limit * 1e3)} {prefix}{unit}"
    return f"{value:.2g} {unit}"


def size(value: float) -> str:
    """Bytes: 1.23 GB."""
    return rate(value, "B")


def duration(value: float) -> str:
    """88.9 us, 12 ms, 3.4 s, 2 min 05 s, 3 h 07 min."""
    if value < 0:
        return "-" + duration(-value)
    for limit, factor, unit in ((1e-3, 1e6, "us"), (0.9995, 1e3, "ms")):
        if value < limit:
            return f"{_three(value * factor)} {unit}"
    if value < 10:
        return f"{value:.1f} s"
    if value < 120:
        return f"{value:.0f} s"
    minutes, left = divmod(int(value), 60)
    if minutes < 120:
        return f"{minutes} min {left:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def milliseconds(value: float) -> str:
    """A latency given in ms, with three digits."""
    return "0" if value == 0 else _three(value)


def _three(value: float) -> str:
    """Three digits, without an exponent."""
    if value >= 99.95 or value == 0:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def sparkline(
    values: Sequence[float], width: int, ascii_only: bool = False, full: float = 0.0
) -> str:
    """The last ``width`` values, from 0 to ``full`` or their highest; ASCII: digits 0 to 9."""
    shown = values[-width:] if width > 0 else []
    top = max(shown, default=0.0)
    top = max(top, full)
    # The full block is left out: lines of sparklines would run into each other.
    marks = "0123456789" if ascii_only else LEVELS[1:-1]
    return "".join(marks[_step(value, top, len(marks) - 1)] for value in shown)


def _step(value: float, top: float, steps: int) -> int:
    return min(steps, max(0, math.ceil(value / top * steps))) if top > 0 else 0


def bars(values: Sequence[float], height: int, ascii_only: bool = False) -> list[str]:
    """Columns of up to ``height`` lines, the highest value fills them; anything is visible."""
    marks = ASCII_LEVELS if ascii_only else LEVELS
    fine = len(marks) - 1
    top = max(values, default=0.0)
    steps = [_step(value, top, fine * height) for value in values]
    return [
        "".join(marks[min(fine, max(0, step - fine * line))] for step in steps)
        for line in reversed(range(height))
    ]


def rebinned(counts: Sequence[int], columns: int) -> list[float]:
    """Mean counts per bin in at most ``columns`` columns; few bins become several columns wide."""
    bins = len(counts)
    if bins == 0 or columns <= 0:
        return []
    if bins <= columns:
        return [float(one) for one in counts for _ in range(columns // bins)]
    edges = [k * bins // columns for k in range(columns + 1)]
    return [sum(counts[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]


def meter(fraction: float, width: int, ascii_only: bool = False) -> str:
    """A bar that fills from the left."""
    full = min(width, max(0, round(fraction * width)))
    return ("#" if ascii_only else "█") * full + ("." if ascii_only else "░") * (width - full)
