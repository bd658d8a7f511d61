"""What all pictures of the documentation share: colours, sheets, grids of cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BACK, INK, LIGHT = "#ffffff", "#26323d", "#dfe3e6"
SHADES = ("#7fb3d5", "#f5b971", "#a3d9a5", "#d5c7e8", "#f2a7a0")
"""Fills, light enough for dark letters on them."""


def sheet(panels: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure (inches) with panels in a row, four of them two by two."""
    figure = Figure(figsize=(width, height), layout="constrained")
    rows = 2 if panels == 4 else 1
    axes = figure.subplots(rows, panels // rows, squeeze=False).ravel().tolist()
    for panel in axes:
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            panel.spines[side].set_color(INK)
        panel.tick_params(colors=INK, labelsize=7)
    return figure, axes


def text(panel: Axes, x: float, y: float, words: str, *, back: bool = False) -> None:
    """Centred words."""
    box: Any = {"facecolor": BACK, "edgecolor": "none", "pad": 1} if back else None
    panel.text(x, y, words, ha="center", va="center", fontsize=7, color=INK, bbox=box, clip_on=True)


def bare(panel: Axes) -> None:
    """No axes."""
    panel.set_axis_off()


def label_side(panel: Axes, names: Sequence[str]) -> None:
    """Names of rows 0, 1, ... instead of numbers."""
    panel.set_yticks(range(len(names)), names)
    panel.tick_params(axis="y", length=0)
    panel.spines["left"].set_visible(False)


def grid_of_cells(
    panel: Axes, values: npt.NDArray[Any], kinds: npt.NDArray[Any], colours: Sequence[str],
    *, line: str | None = None,
) -> None:  # fmt: skip
    """A cell for each entry of ``values`` (rows up, columns across), coloured by its kind.

    colours: one for each kind 0, 1, ...; "" is the background. line: colour between the cells.
    """
    fill = ListedColormap([colour or BACK for colour in colours])
    norm = BoundaryNorm(np.arange(len(colours) + 1) - 0.5, len(colours))
    rows, columns = values.shape
    panel.imshow(kinds, origin="lower", cmap=fill, norm=norm, aspect="auto",
                 interpolation="nearest")  # fmt: skip
    if line:
        for row in range(1, rows):
            panel.axhline(row - 0.5, color=line, linewidth=0.3)
        for column in range(1, columns):
            panel.axvline(column - 0.5, color=line, linewidth=0.3)
