"""Pictures of the step pages, made from the tables and constants that the code itself uses.

`write_all` is called by `generate.py`; nothing here is drawn by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import pictures_calo
from matplotlib.patches import Ellipse as Oval
from matplotlib.patches import Rectangle
from pictures_style import BACK, INK, LIGHT, SHADES, bare, grid_of_cells, label_side, sheet, text

from scout40.emulator.ugmt import Ugmt, links, propagation
from scout40.emulator.ugmt.addresses import address_rules
from scout40.emulator.ugmt.firmware import VERSIONS, firmware
from scout40.emulator.ugmt.neighbours import SWAPPED, neighbours
from scout40.emulator.ugmt.tables import computed_tables
from scout40.streams.block import Block, Table
from scout40.streams.formats.track_finder import TFMU_RANGES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEWEST = "2024"
STREAMS = ("EMTF+", "OMTF+", "BMTF", "OMTF−", "EMTF−")
FINDERS = ("BMTF", "OMTF", "EMTF")


def write_all(folder: Path) -> None:
    """Write every picture of the step pages into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    # The same picture every time: SVG ids and metadata would differ.
    with matplotlib.rc_context({"svg.hashsalt": "scout40", "font.size": 8, "text.color": INK}):
        for name, draw in {**PICTURES, **pictures_calo.PICTURES}.items():
            draw().savefig(folder / f"{name}.svg", metadata={"Date": None}, facecolor=BACK)


def link_map() -> Figure:
    """The azimuth that each of the 36 links covers, in the five streams."""
    figure, (panel,) = sheet(1, width=7.2, height=2.6)
    for link in range(links.N_LINKS):
        stream = _stream(link)
        first = int(links.PHI_OFFSET[link])
        width = links.PHI_TURN // int((_streams() == stream).sum())
        for start in (first, first - links.PHI_TURN):  # a sector may go around
            low, high = max(start, 0), min(start + width, links.PHI_TURN)
            if high > low:
                panel.add_patch(
                    Rectangle((low, 3.55 - stream), high - low, 0.9, facecolor=SHADES[_shade(link)],
                              edgecolor=BACK, linewidth=1.5)
                )  # fmt: skip
                text(panel, (low + high) / 2, 4 - stream, str(link + links.FIRST_LINK))
    panel.set(xlim=(0, links.PHI_TURN), ylim=(-0.5, 4.5), xlabel="global hw_phi")
    panel.set_xticks(range(0, links.PHI_TURN + 1, 96))
    label_side(panel, list(reversed(STREAMS)))
    return figure


def _stream(link: int) -> int:
    """Stream of a link whose muons are on their own side."""
    positive = link < links.N_LINKS // 2
    return int(links.STREAM[link + links.N_LINKS * positive])


def _streams() -> Any:
    return np.array([_stream(link) for link in range(links.N_LINKS)])


def _shade(link: int) -> int:
    return int(links.TRACK_FINDER[link])


def match_ellipses() -> Figure:
    """Differences that match by coordinates, cell by cell, under the ellipse of the rule."""
    fw = firmware(NEWEST)
    match = computed_tables(fw).match
    pairs = ("OMTF with OMTF", "EMTF with EMTF", "OMTF with BMTF", "OMTF with EMTF")
    figure, panels = sheet(4, width=7.6, height=4.2)
    ellipses = (fw.omtf_omtf, fw.emtf_emtf, fw.omtf_bmtf, fw.omtf_emtf)
    for number, (panel, pair, ellipse) in enumerate(zip(panels, pairs, ellipses, strict=True)):
        cells = match[2 * number].reshape(2, 32, 8)[1]  # + side, both muons with fine eta
        grid_of_cells(panel, cells.T, cells.T, ("", SHADES[1]))
        if ellipse is not None:
            size = 2 * ellipse.max_dr
            panel.add_patch(
                Oval((0, 0), size / ellipse.eta_factor / propagation.ETA_STEP,
                     size / ellipse.phi_factor / propagation.PHI_STEP, fill=False, edgecolor=INK,
                     linewidth=1.2)
            )  # fmt: skip
        panel.set(xlim=(-0.5, 20.5), ylim=(-0.5, 7.5), xlabel="deta", ylabel="dphi")
        panel.set_xticks(range(0, 21, 5))
        panel.set_title(f"{pair}: {int(cells.sum())} of 256", fontsize=8, color=INK)
    return figure


def link_neighbours() -> Figure:
    """Pairs of links whose muons are compared."""
    kind = neighbours(firmware(NEWEST)).kind.reshape(links.N_LINKS, links.N_LINKS)
    figure, (panel,) = sheet(1, width=4.4, height=4.2)
    # Each pair stands there in both orders; the second order has the bit SWAPPED.
    compared = np.where((kind >= 0) & (kind < SWAPPED), 1 + links.TRACK_FINDER[None, :], 0)
    grid_of_cells(panel, compared, compared, ("", *SHADES[:3]), line=LIGHT)
    panel.set(xlabel="second link", ylabel="first link (wedge n, or overlap)")
    ticks = list(range(0, links.N_LINKS, 6))
    names = [str(tick + links.FIRST_LINK) for tick in ticks]
    panel.set_xticks(ticks, names)
    panel.set_yticks(ticks, names)
    return figure


def track_addresses() -> Figure:
    """Station codes of two neighbouring barrel wedges that mean the same segment."""
    codes = np.asarray(address_rules(firmware(NEWEST)).codes).reshape(-1, 16, 16)
    figure, panels = sheet(3, width=7.6, height=2.8)
    names = ("same wheel", "wheel B one further out", "wheel B one further in")
    for panel, name, table in zip(panels, names, codes[1:4], strict=True):
        grid_of_cells(panel, table, table, ("", SHADES[0]), line=LIGHT)
        panel.set(xlabel="code of B, wedge n + 1", ylabel="code of A, wedge n")
        digits = [f"{code:X}" for code in range(16)]
        panel.set_xticks(range(16), digits)
        panel.set_yticks(range(16), digits)
        panel.tick_params(labelsize=6)
        panel.set_title(name, fontsize=8, color=INK)
    return figure


def sort_tree() -> Figure:
    """Muons that enter and leave the two sorting stages."""
    figure, (panel,) = sheet(1, width=6.6, height=2.9)
    entering = np.bincount(_streams()) * links.SLOTS
    kept = links.STREAM_CAPACITY
    for stream, name in enumerate(STREAMS):
        y = 4 - stream
        shade = SHADES[int(links.TRACK_FINDER[np.flatnonzero(_streams() == stream)[0]])]
        for x, wide, words in ((0, 1.7, f"{name}: {entering[stream]} muons"),
                               (2.4, 1.1, f"best {kept[stream]}")):  # fmt: skip
            panel.add_patch(Rectangle((x, y - 0.35), wide, 0.7, facecolor=shade))
            text(panel, x + wide / 2, y, words)
        panel.annotate("", (2.4, y), (1.7, y), arrowprops={"arrowstyle": "->", "color": INK})
        panel.annotate("", (4.3, 2), (3.5, y), arrowprops={"arrowstyle": "->", "color": INK})
    for x, words in ((4.3, f"{kept.sum()} joined\nin this order"), (6.3, "best 8")):
        panel.add_patch(Rectangle((x, 1.4), 1.3, 1.2, facecolor=SHADES[3]))
        text(panel, x + 0.65, 2, words)
    panel.annotate("", (6.3, 2), (5.6, 2), arrowprops={"arrowstyle": "->", "color": INK})
    panel.set(xlim=(-0.05, 7.65), ylim=(-0.5, 4.5))
    bare(panel)
    return figure


def detector() -> Figure:
    """The detector of the propagation: field and matter by radius and z."""
    figure, (panel,) = sheet(1, width=6.2, height=4.0)
    for region in propagation.REGIONS:
        (inner, outer), (low, high) = region.r, region.z
        shade = SHADES[0] if region.field > 1 else SHADES[1] if region.field else "none"
        panel.add_patch(
            Rectangle((low, inner), high - low, outer - inner, facecolor=shade,
                      edgecolor=INK if region.loss else "none",
                      hatch="////" if region.loss else None, linewidth=0.4, alpha=0.8)
        )  # fmt: skip
        if region.field:
            text(panel, low + (high - low) / 2, (inner + outer) / 2, f"{region.field:+g} T",
                 back=True)  # fmt: skip
    barrel, endcap = propagation.BARREL_STATION, propagation.ENDCAP_STATION
    panel.plot([0, propagation.BARREL_END], [barrel, barrel], color=INK, linewidth=2.5)
    panel.plot([endcap, endcap], [0, 7.5], color=INK, linewidth=2.5)
    for eta in (0.4, 0.8, 1.2, 1.6, 2.0, 2.4):
        r = min(7.6, 9 / np.sinh(eta))
        panel.plot([0, r * np.sinh(eta)], [0, r], color=INK, linewidth=0.6, linestyle=":")
        text(panel, r * np.sinh(eta), r, f"{eta:g}", back=True)
    panel.set(xlim=(0, 9.2), ylim=(0, 7.8), xlabel="|z| / m", ylabel="r / m", aspect="equal")
    return figure


def extrapolation_curves() -> Figure:
    """How far azimuth and eta move, by momentum, in some bins of |eta|."""
    tables = computed_tables(firmware(NEWEST))
    chosen = ((0, 2), (1, 12), (2, 15), (2, 19), (2, 23), (2, 27))
    figure, panels = sheet(2, width=7.6, height=2.9)
    for panel, moves, scale, unit in (
        (panels[0], tables.phi_extrapolation, 4, "dphi, units of hw_phi"),
        (panels[1], tables.eta_extrapolation, 1, "deta, units of hw_eta"),
    ):
        for number, (finder, cell) in enumerate(chosen):
            values = scale * moves[finder].reshape(32, 128)[cell]
            low = 8 * cell * propagation.ETA_STEP
            panel.step(range(1, 128), values[1:], where="mid", linewidth=1.1,
                       color=matplotlib.colormaps["viridis"](number / 6),
                       label=f"{FINDERS[finder]}, |eta| from {low:.2f}")  # fmt: skip
        panel.set(xlabel="hw_pt", ylabel=unit, xlim=(0, 128 if scale > 1 else 40), ylim=(0, None))
        panel.grid(color=LIGHT, linewidth=0.5)
    panels[0].legend(frameon=False, fontsize=7)
    return figure


def isolation_map() -> Figure:
    """Edges of the calorimeter sums on the muon's scale, and the two isolation tables."""
    tables = computed_tables(firmware(NEWEST))
    figure, panels = sheet(2, width=7.6, height=2.9)
    eta = np.concatenate([tables.calo_eta_index[256:], tables.calo_eta_index[:256]])
    for edge in _edges(tables.calo_phi_index[: links.PHI_TURN]):
        panels[0].axvline(edge, color=SHADES[0], linewidth=0.8)
    for edge in _edges(eta):
        panels[0].axhline(edge - 256, color=SHADES[0], linewidth=0.8)
    panels[0].set(xlim=(0, links.PHI_TURN), ylim=(-256, 255), xlabel="hw_phi at the vertex",
                  ylabel="hw_eta at the vertex")  # fmt: skip
    panels[0].set_title("36 × 28 sums", fontsize=8, color=INK)
    bits = tables.absolute_isolation[:, None] + 2 * tables.relative_isolation.reshape(32, 512)
    grid_of_cells(panels[1], bits[:, :40], bits[:, :40], (BACK, "#c6dbef", SHADES[0], SHADES[1]),
                  line=LIGHT)  # fmt: skip
    panels[1].set(xlabel="hw_pt", ylabel="sum")
    for x, y, words in ((20, 1, "3"), (26, 14, "2: sum below pt"), (8, 22, "0")):
        text(panels[1], x, y, words)
    panels[1].set_title("isolation bits", fontsize=8, color=INK)
    return figure


def _edges(index: Any) -> Sequence[int]:
    edges: list[int] = (np.flatnonzero(np.diff(index)) + 1).tolist()
    return edges


def quality_rules() -> Figure:
    """Output quality of an endcap muon by its input quality, for each rule."""
    names = {fw.quality: fw.name for fw in VERSIONS}
    rules = [(rule, halo) for rule in sorted(names) for halo in (0, 1)]
    table = np.array([_sent_quality(names[rule], halo) for rule, halo in rules])
    labels = [f"“{rule}”" + (", halo bit" if halo else "") for rule, halo in rules]
    figure, (panel,) = sheet(1, width=6.2, height=1.9)
    panel.imshow(table, cmap="Blues", vmin=0, vmax=30, aspect="auto", interpolation="nearest")
    for (row, given), value in np.ndenumerate(table):
        text(panel, given, row, str(value))
    panel.set_xticks(range(16))
    panel.set_yticks(range(len(labels)), labels)
    panel.set_xlabel("input quality")
    return figure


def _sent_quality(name: str, halo: int) -> list[int]:
    """Quality in the output word of one muon a crossing, of input quality 0 to 15."""
    n = 16
    columns = {name: np.full(n, low, np.int16) for name, (low, _) in TFMU_RANGES.items()}
    columns |= {
        "link": np.full(n, links.FIRST_LINK, np.int16), "hw_qual": np.arange(n, dtype=np.int16),
        "hw_hf": np.full(n, halo, np.int16), "hw_pt": np.full(n, 20, np.int16),
        "hw_phi": np.zeros(n, np.int16), "hw_eta": np.full(n, 150, np.int16),
    }  # fmt: skip
    crossing, one = np.arange(n, dtype=np.uint32), np.arange(n + 1, dtype=np.int32)
    block = Block(0, n, crossing, np.ones(n, np.uint16), {"tfmu": Table(columns, one)})
    fw = firmware(name)
    out: list[int] = Ugmt(fw, computed_tables(fw)).run(block).tables["mu"]["hw_qual"].tolist()
    return out


PICTURES: dict[str, Callable[[], Figure]] = {
    "links": link_map,
    "match_ellipses": match_ellipses,
    "link_neighbours": link_neighbours,
    "track_addresses": track_addresses,
    "sort_tree": sort_tree,
    "detector": detector,
    "extrapolation": extrapolation_curves,
    "isolation": isolation_map,
    "quality": quality_rules,
}
