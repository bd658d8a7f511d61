"""Pictures of calorimeter layer 2: windows and areas, found by asking the emulator itself.

Each cell is one crossing in which a tower of that place is changed; its colour is what the change
did to the object at the seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pictures_style import BACK, INK, LIGHT, SHADES, grid_of_cells, sheet, text

from scout40.emulator.calo import sort
from scout40.emulator.calo.clusters_grid import E_OVER_H, ZERO
from scout40.emulator.calo.config import configuration
from scout40.emulator.calo.cordic import ROTATIONS, TURN, cordic
from scout40.emulator.calo.egamma_tau import egamma, taus
from scout40.emulator.calo.geometry import IETA_OF_ROW, N_PHI
from scout40.emulator.calo.jets import find_jets
from scout40.streams.block import Block, Table, offsets_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Cells = npt.NDArray[np.int64]
Towers = Mapping[tuple[int, int], tuple[int, int]]
"""(ieta, iphi) -> (Et, misc_bits)"""

IETA, IPHI = 10, 36
"""Place of the seed, far from all edges."""
SEED_ET = 100
ELECTRON, HADRON = E_OVER_H | ZERO, ZERO


def crossings(all_towers: Iterable[Towers]) -> Block:
    """A block with one crossing for each set of towers."""
    rows, counts = [], []
    for towers in all_towers:
        rows += [(et, ieta, iphi, misc) for (ieta, iphi), (et, misc) in sorted(towers.items())]
        counts.append(len(towers))
    columns = np.array(rows, np.int64).T
    kinds = {"hw_et": "u2", "hw_eta": "i1", "hw_phi": "u1", "misc_bits": "u1"}
    table = {name: columns[k].astype(kind) for k, (name, kind) in enumerate(kinds.items())}
    table["er_bits"] = np.zeros(len(rows), np.uint8)
    n = len(counts)
    tower = Table(table, offsets_of(np.array(counts)))
    return Block(0, n, np.arange(n, dtype=np.uint32), np.ones(n, np.uint16), {"tower": tower})


def around(reach_eta: int, reach_phi: int) -> list[tuple[int, int]]:
    """(deta, dphi) of a window, row by row."""
    return [
        (deta, dphi)
        for deta in range(-reach_eta, reach_eta + 1)
        for dphi in range(-reach_phi, reach_phi + 1)
    ]


def at_seed(table: Table, column: str) -> Cells:
    """Value of the object at the seed in each crossing, -1 where there is none."""
    out = np.full(len(table.offsets) - 1, -1, np.int64)
    crossing = np.repeat(np.arange(len(out)), table.counts())
    here = (table["ieta"] == IETA) & (table["iphi"] == IPHI)
    out[crossing[here]] = table[column][here]
    return out


def window(panel: Axes, kinds: Cells, reach: tuple[int, int], colours: tuple[str, ...]) -> None:
    """Cells around the seed: azimuth up, eta across, as on the detector unrolled."""
    reach_eta, reach_phi = reach
    cells = kinds.reshape(2 * reach_eta + 1, 2 * reach_phi + 1).T
    grid_of_cells(panel, cells, cells, colours, line=LIGHT)
    text(panel, reach_eta, reach_phi, "seed")
    for set_ticks, reached in ((panel.set_xticks, reach_eta), (panel.set_yticks, reach_phi)):
        set_ticks(range(2 * reached + 1), [f"{k:+d}" for k in range(-reached, reached + 1)])
    panel.set(xlabel="deta", ylabel="dphi", aspect="equal")
    panel.tick_params(labelsize=6, length=0)


def jet_mask() -> Figure:
    """Which neighbours of equal Et a seed must exceed."""
    places = around(4, 4)
    towers = [
        {(IETA, IPHI): (SEED_ET, HADRON), (IETA + deta, IPHI + dphi): (SEED_ET, HADRON)}
        for deta, dphi in places
    ]
    found = find_jets(crossings(towers), configuration("no-subtraction")).presort
    stays = at_seed(found, "hw_et") >= 0
    kinds = np.where(stays, 2, 1)
    kinds[len(places) // 2] = 0
    figure, (panel,) = sheet(1, width=4.0, height=3.8)
    window(panel, kinds, (4, 4), (SHADES[3], SHADES[4], SHADES[0]))
    for (deta, dphi), kind in zip(places, kinds, strict=True):
        if kind:
            text(panel, 4 + deta, 4 + dphi, "≥" if kind == 2 else ">")
    return figure


def pile_up() -> Figure:
    """Towers that the two subtractions look at."""
    figure, panels = sheet(2, width=7.6, height=3.6)
    _ring(panels[0])
    places = around(7, 7)
    whole = {(IETA + deta, IPHI + dphi): (1, HADRON) for deta, dphi in places}
    whole[IETA, IPHI] = (SEED_ET, HADRON)
    towers = [{**whole, (IETA + a, IPHI + b): (0, HADRON)} for a, b in places if (a, b) != (0, 0)]
    donut = find_jets(crossings([whole, *towers]), configuration("chunky-donut")).presort
    taken = at_seed(donut, "pu_et")
    less = taken[1:] < taken[0]
    kinds = np.insert(np.where(less, 2, 0), len(places) // 2, 0)
    kinds[[max(map(abs, place)) <= 4 for place in places]] = 1
    window(panels[1], kinds, (7, 7), (BACK, SHADES[3], SHADES[1]))
    panels[1].set_title("chunky donut: lowest three strips", fontsize=8, color=INK)
    return figure


def _ring(panel: Axes) -> None:
    """Towers whose energy changes what the phi ring subtracts."""
    seed = {(IETA, IPHI): (SEED_ET, HADRON)}
    rows = [int(ieta) for ieta in IETA_OF_ROW if 0 < ieta < 25]
    places = [(ieta, iphi) for ieta in rows for iphi in range(1, N_PHI + 1)]
    towers = [{**seed, place: (SEED_ET - 1, HADRON)} for place in places if place != (IETA, IPHI)]
    found = find_jets(crossings([seed, *towers]), configuration("phi-ring")).presort
    taken = at_seed(found, "pu_et")
    kinds = np.insert(np.where(taken[1:] > taken[0], 2, 0), places.index((IETA, IPHI)), 2)
    near = [abs(ieta - IETA) <= 4 and abs(iphi - IPHI) <= 4 for ieta, iphi in places]
    kinds[near] = 1
    cells = kinds.reshape(len(rows), N_PHI).T
    grid_of_cells(panel, cells, cells, (BACK, SHADES[3], SHADES[0]), line=LIGHT)
    panel.set_xticks(range(0, len(rows), 3), [str(ieta) for ieta in rows[::3]])
    panel.set_yticks(range(0, N_PHI, 9), [str(iphi + 1) for iphi in range(0, N_PHI, 9)])
    panel.set(xlabel="ieta", ylabel="iphi")
    panel.set_title("phi ring: sum × 9 / 72", fontsize=8, color=INK)


def sorting_network() -> Figure:
    """Comparators of the demux network in the order in which they act."""
    size = 12
    figure, (panel,) = sheet(1, width=7.4, height=2.9)
    busy = [0] * size  # first free column of each line
    last = 0
    for first, second, falling in sort.network(size):
        column = max(busy[first : second + 1])
        busy[first : second + 1] = [column + 1] * (second - first + 1)
        last = max(last, column)
        tail, head = (second, first) if falling else (first, second)
        panel.annotate(
            "", (column, head), (column, tail),
            arrowprops={"arrowstyle": "-|>", "color": INK, "shrinkA": 0, "shrinkB": 0,
                        "linewidth": 0.8, "mutation_scale": 6},
        )  # fmt: skip
    for line in range(size):
        panel.plot([-1, last + 1], [line, line], color=SHADES[0], linewidth=0.8, zorder=0)
    panel.set(xlim=(-1.2, last + 1.2), ylim=(size - 0.5, -0.5), ylabel="place")
    panel.set_yticks(range(size), [str(line + 1) for line in range(size)])
    panel.set_xticks([])
    panel.spines["bottom"].set_visible(False)
    return figure


def cordic_steps() -> Figure:
    """Deviation of the integer CORDIC from the exact azimuth and magnitude."""
    figure, panels = sheet(2, width=7.6, height=2.6)
    size = 1 << 18
    angles = np.arange(0, 360, 0.25)
    off, ratio = [], []
    for angle in np.radians(angles):
        magnitude, phase = cordic(
            round(size * math.cos(angle)), round(size * math.sin(angle)), ROTATIONS
        )
        exact = (angle * TURN / math.tau + TURN / 2) % TURN  # of the negated vector
        off.append((phase - exact + TURN / 2) % TURN - TURN / 2)
        ratio.append(1e4 * (magnitude / size - 1))
    for panel, values, label in (
        (panels[0], off, "azimuth − exact, 1/2304 turn"),
        (panels[1], ratio, "magnitude / exact − 1, 10⁻⁴"),
    ):
        panel.plot(angles, values, ".", color=INK, markersize=1.2, rasterized=True)
        panel.set(xlabel="direction / degrees", ylabel=label, xlim=(0, 360))
        panel.set_xticks(range(0, 361, 90))
        panel.grid(color=LIGHT, linewidth=0.5)
    return figure


def clusters() -> Figure:
    """Members of a cluster, the isolation area of an e/gamma, the second seeds of a tau."""
    figure, panels = sheet(3, width=7.6, height=3.8)
    reach = (3, 4)
    places = around(*reach)
    centre = len(places) // 2
    member = _raised(egamma, places, (3, ELECTRON), "raw_et", between=(3, ELECTRON))
    member[centre] = False
    window(panels[0], np.where(member, 1, 0), reach, (BACK, SHADES[0]))
    panels[0].set_title("members of a cluster", fontsize=8, color=INK)
    hadron = _raised(egamma, places, (1, HADRON), "iso_et")
    electron = _raised(egamma, places, (1, ELECTRON), "iso_et")
    kinds = np.where(hadron & electron, 1, np.where(hadron, 2, np.where(electron, 3, 0)))
    kinds[centre] = 0
    window(panels[1], kinds, reach, (BACK, SHADES[2], SHADES[1], SHADES[4]))
    panels[1].set_title("isolation of an e/gamma", fontsize=8, color=INK)
    seconds = _raised(taus, places, (SEED_ET // 2, HADRON), "raw_et")
    members = _raised(taus, places, (3, HADRON), "raw_et", between=(3, HADRON))
    kinds = np.where(members, 1, np.where(seconds, 2, 0))
    kinds[centre] = 0
    window(panels[2], kinds, reach, (BACK, SHADES[0], SHADES[3]))
    panels[2].set_title("second seeds of a tau", fontsize=8, color=INK)
    return figure


def _raised(
    find: Callable[[Table], Table], places: list[tuple[int, int]], tower: tuple[int, int],
    column: str, *, between: tuple[int, int] | None = None,
) -> npt.NDArray[np.bool_]:  # fmt: skip
    """Places at which one more tower raises a column of the object at the seed.

    between: a tower that is put beside the seed in phi when the place is two steps away.
    """
    sets: list[Towers] = []
    bases: list[Towers] = []
    for deta, dphi in places:
        base: dict[tuple[int, int], tuple[int, int]] = {(IETA, IPHI): (SEED_ET, ELECTRON)}
        if between is not None and deta == 0 and abs(dphi) == 2:
            base[IETA, IPHI + dphi // 2] = between
        bases.append(base)
        sets.append({(IETA + deta, IPHI + dphi): tower, **base})
    values = [at_seed(find(crossings(some).tables["tower"]), column) for some in (sets, bases)]
    return np.asarray(values[0] > values[1], np.bool_)


PICTURES: dict[str, Callable[[], Figure]] = {
    "jet_mask": jet_mask,
    "pile_up": pile_up,
    "sorting_network": sorting_network,
    "cordic": cordic_steps,
    "clusters": clusters,
}
