"""Pictures of look-up tables, for which matplotlib is needed (the extra ``report``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from scout40.streams.errors import BadConfig
from scout40.tools.lut_tables import Comparison, Field, Lut

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")
MOST = 24
"""Tables on one picture."""
INK, LIGHT = "#1f3a5f", "#d9d9d9"


def draw_tables(tables: Sequence[Lut], path: str) -> None:
    """One panel for each table: a line over the address, or a map of two fields."""
    chosen = tables[:MOST]
    figure, panels = _sheet(len(chosen), path)
    for panel, table in zip(panels, chosen, strict=False):
        draw_table(panel, table)
        panel.set_title(table.name, fontsize=9, color=INK)
    _save(figure, path)


def draw_differences(result: Comparison, path: str) -> None:
    """For each pair that differs, b - a over the address."""
    chosen = [pair for pair in result.pairs if pair.differ][:MOST]
    if not chosen:
        raise BadConfig(f"{path}: nothing to draw, the tables are equal")
    figure, panels = _sheet(len(chosen), path)
    for panel, pair in zip(panels, chosen, strict=False):
        shared = min(len(pair.a.values), len(pair.b.values))
        gaps = np.zeros(shared, np.int64)
        gaps[pair.addresses] = pair.gaps
        smaller = pair.a if len(pair.a.values) == shared else pair.b
        _draw(panel, gaps, smaller.fields, signed=True)
        panel.set_title(f"{pair.name}: B - A", fontsize=9, color=INK)
    _save(figure, path)


def draw_table(panel: Axes, table: Lut) -> None:
    """One table on given axes."""
    _draw(panel, table.values, table.fields, signed=False)


def _draw(
    panel: Axes, values: npt.NDArray[np.int64], fields: Sequence[Field], *, signed: bool
) -> None:
    from matplotlib.ticker import MaxNLocator

    if len(fields) == 1:
        panel.step(np.arange(len(values)), values, where="mid", color=INK, linewidth=1)
        panel.set_xlabel(_label(fields), fontsize=8)
        panel.grid(color=LIGHT, linewidth=0.5)
    else:
        # the last field across, all others up: (up, across)
        rows = values.reshape(-1, 1 << fields[-1].bits)
        most = max(1, int(np.abs(values).max()))
        image = panel.imshow(
            rows, origin="lower", aspect="auto", interpolation="nearest",
            cmap="RdBu_r" if signed else "Blues", vmin=-most if signed else 0, vmax=most,
        )  # fmt: skip
        ticks = MaxNLocator(6, integer=True, min_n_ticks=1)
        bar = panel.figure.colorbar(image, ax=panel, fraction=0.05, pad=0.02, ticks=ticks)
        bar.ax.tick_params(labelsize=7)
        bar.outline.set_visible(False)
        panel.set_xlabel(_label(fields[-1:]), fontsize=8)
        panel.set_ylabel(_label(fields[:-1]), fontsize=8)
    panel.locator_params(integer=True)
    panel.tick_params(labelsize=7)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)


def _label(fields: Sequence[Field]) -> str:
    return ", ".join(field.name for field in fields)


def _sheet(count: int, path: str) -> tuple[Figure, list[Axes]]:
    """A figure with room for ``count`` panels."""
    if Path(path).suffix.lower() not in SUFFIXES:
        raise BadConfig(f"{path}: pictures end in {', '.join(SUFFIXES)}")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        how = "pictures need matplotlib: pip install 'scout40[report]'"
        raise BadConfig(how) from None
    columns = 1 if count == 1 else 2 if count <= 4 else 3
    rows = -(-count // columns)
    figure = Figure(figsize=(3.6 * columns + 1, 2.6 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for spare in axes[count:]:
        spare.set_visible(False)
    return figure, axes[:count]


def _save(figure: Figure, path: str) -> None:
    """The folder must exist; a file of that name is replaced."""
    figure.savefig(path, dpi=140)
