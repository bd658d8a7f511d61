"""Pictures of the page on simulated samples: the response beside real Level-1 muons.

    python docs/pictures_simulation.py FOLDER

FOLDER holds the NanoAOD files of `scout40.tools.simulate_check.FILES`, which are not part of the
repository; so this program is run by hand, and its pictures are kept in docs/img.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
import numpy.typing as npt
from pictures_style import BACK, INK, SHADES, sheet

from scout40.emulator.muons.response import presets, response
from scout40.tools.simulate_check import (
    NAMES,
    fwhm,
    real_muons,
    replicas,
    residuals,
    robust,
)
from scout40.tools.simulate_shards import default_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RANGES = {"phi": (-0.5, 0.5), "eta": (-0.2, 0.2), "pt": (-1.5, 2.5)}
LABELS = {"phi": "phi − true (rad)", "eta": "eta − true", "pt": "pt / true − 1"}
MUONS = 300_000


def response_figure(folder: Path) -> Figure:
    """Level-1 pt over offline pt, real muons as steps, presets as filled histograms."""
    real = real_muons(folder)
    made = {name: replicas(real, response(name), default_folder()) for name in presets()}
    figure, panels = sheet(3, width=7.6, height=2.6)
    edges = np.linspace(-0.8, 1.2, 21).tolist()
    for number, (panel, name) in enumerate(zip(panels, NAMES, strict=True)):
        lines = [_line("real", real.region(number).log_ratio)]
        for shade, (preset, muons) in zip(SHADES, made.items(), strict=False):
            values = muons.region(number).log_ratio
            weights = np.full(len(values), len(real.region(number).pt) / len(values))
            panel.hist(
                values, edges, weights=weights, histtype="stepfilled", color=shade, alpha=0.7,
                label=preset,
            )  # fmt: skip
            lines.append(_line(preset, values))
        panel.hist(real.region(number).log_ratio, edges, histtype="step", color=INK, label="real")
        panel.set_title("\n".join([name, *lines]), fontsize=7, color=INK, loc="left")
        panel.set(xlabel="ln(Level-1 pt / offline pt)")
    panels[0].set(ylabel="muons")
    panels[2].legend(fontsize=6, frameon=False)
    return figure


def _line(name: str, values: npt.NDArray[np.float64]) -> str:
    middle = np.exp(np.median(values))
    return f"{name}: median {middle:.2f}, width {robust(values):.3f}"


def residual_figure() -> Figure:
    """Residuals of the falling spectrum, both presets."""
    figure, panels = sheet(3, width=7.6, height=2.4)
    for shade, preset in zip(SHADES, presets(), strict=False):
        found = residuals(response(preset), default_folder(), MUONS)
        for panel, (name, (low, high)) in zip(panels, RANGES.items(), strict=True):
            width = fwhm(found[name], low, high)
            text = f"{preset}: FWHM {width:.3f}"
            panel.hist(
                found[name], 100, range=(low, high), histtype="stepfilled", color=shade,
                alpha=0.7, label=text,
            )  # fmt: skip
            panel.set(xlabel=LABELS[name], yticks=[])
            panel.legend(fontsize=6, frameon=False)
    return figure


def main(folder: Path) -> None:
    """Write both pictures beside this file."""
    target = Path(__file__).parent / "img"
    with matplotlib.rc_context({"svg.hashsalt": "scout40", "font.size": 8, "text.color": INK}):
        for name, figure in (
            ("simulation_response", response_figure(folder)),
            ("simulation_residuals", residual_figure()),
        ):
            figure.savefig(target / f"{name}.svg", metadata={"Date": None}, facecolor=BACK)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
