"""Clusters, e/gammas and taus of the calorimeter trigger in plain Python, one event at a time.

The independent twin of the kernels, written from the rules: a tower is found by name in a
dictionary, a member of a cluster has the name of its direction. Towers are
{(ieta, iphi): (et, er_bits, misc_bits)}.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import strategies as st

from scout40.emulator.calo.clusters_tables import ClusterTables
from scout40.streams.block import Table, offsets_of
from tests.emulator.calo.slow_calo import PHIS, RINGS, Jet, bitonic, ieta_of, stepped

Towers = dict[tuple[int, int], tuple[int, int, int]]
List = list[int]

WHERE = {
    "N": (0, -1), "S": (0, 1), "E": (1, 0), "NE": (1, -1), "SE": (1, 1), "NN": (0, -2),
    "SS": (0, 2), "W": (-1, 0), "NW": (-1, -1), "SW": (-1, 1),
}  # fmt: skip
EAST, WEST = {"E", "NE", "SE"}, {"W", "NW", "SW"}
UP, DOWN = {"N", "NE", "NW", "NN"}, {"S", "SE", "SW", "SS"}
UPPER = [0.087 * i for i in range(21)] + [
    *(1.830, 1.930, 2.043, 2.172, 2.322, 2.5, 2.650, 2.853, 3.139, 3.314, 3.489, 3.664),
    *(3.839, 4.013, 4.191, 4.363, 4.538, 4.716, 4.889, 5.191),
]


@dataclass(frozen=True)
class Tables:
    """The tables of clusters_tables.py as lists; empty = absent."""

    trimming: List
    eg_compress: List
    eg_calibration: List
    eg_tight: List
    eg_loose: List
    tau_compress: List
    tau_calibration: List
    tau_iso: List


NO_TABLES = Tables([], [], [], [], [], [], [], [])

Row = tuple[int, int, int, int, int, int, int, int]
"""hw_et, hw_eta, hw_phi, hw_iso, raw_et, iso_et, ieta, iphi"""


class Event:
    """Towers of one event by signed gapless index +-1..40 and iphi."""

    def __init__(self, towers: Towers) -> None:
        self.towers = towers

    def word(self, index: int, iphi: int, deta: int = 0, dphi: int = 0) -> tuple[int, int, int]:
        """(et, er_bits, misc_bits)"""
        index = stepped(index, deta)
        if abs(index) > RINGS:
            return 0, 0, 0
        return self.towers.get((ieta_of(index), (iphi + dphi - 1) % PHIS + 1), (0, 0, 0))

    def et(self, index: int, iphi: int, deta: int = 0, dphi: int = 0) -> int:
        """Et."""
        return self.word(index, iphi, deta, dphi)[0]

    def em(self, index: int, iphi: int, deta: int = 0, dphi: int = 0) -> int:
        """Electromagnetic Et."""
        et, ratio, misc = self.word(index, iphi, deta, dphi)
        electron, nothing_else = misc & 2, misc & 1
        if nothing_else:
            return et if electron else 0
        small = [64, 43, 26, 14, 8, 4, 2, 1][ratio]
        return et * (128 - small if electron else small) // 128

    def count(self) -> int:
        """Towers with energy in the four inner rings."""
        return sum(1 for (ieta, _), word in self.towers.items() if abs(ieta) <= 4 and word[0] > 0)

    def is_maximum(self, index: int, iphi: int, reach_phi: int) -> bool:
        """Largest of three rings and 2 reach + 1 in phi."""
        own = self.et(index, iphi)
        for deta in (-1, 0, 1):
            for dphi in range(-reach_phi, reach_phi + 1):
                other = self.et(index, iphi, deta, dphi)
                wins_ties = (deta + dphi, deta) > (0, 0)
                if (deta, dphi) != (0, 0) and (other > own or (wins_ties and other == own)):
                    return False
        return True

    def members(self, index: int, iphi: int) -> set[str]:
        """Directions of the towers that belong to the seed."""
        out = {name for name, step in WHERE.items() if self.et(index, iphi, *step) >= 2}
        if "N" not in out:
            out -= {"NN"}
        if "S" not in out:
            out -= {"SS"}
        return out

    def energy(self, index: int, iphi: int, names: set[str]) -> int:
        """Et of some members."""
        return sum(self.et(index, iphi, *WHERE[name]) for name in names)

    def around(self, index: int, iphi: int, east: bool) -> int:
        """Et of the isolation area."""
        detas = range(-2, 4) if east else range(-3, 3)
        return sum(self.et(index, iphi, a, b) for a in detas for b in range(-4, 5))


@dataclass(frozen=True)
class Cluster:
    """Seed, members of one eta side, which side, fine position in eta (-1, 0, 1)."""

    index: int
    iphi: int
    members: frozenset[str]
    east: bool
    fine: int


def clusters(event: Event, max_ring: int) -> list[Cluster]:
    """All clusters of the rings up to max_ring."""
    out = []
    for index, iphi in sorted(event.towers):
        # Clusters lie below ring 29, where the gapless index is ieta.
        if abs(index) > max_ring or event.et(index, iphi) < 4:
            continue
        if not event.is_maximum(index, iphi, 4):
            continue
        names = event.members(index, iphi)
        east = event.energy(index, iphi, names & EAST)
        west = event.energy(index, iphi, names & WEST)
        kept = frozenset(names - (WEST if east >= west else EAST))
        out.append(Cluster(index, iphi, kept, east >= west, (east > west) - (west > east)))
    return out


def position(event: Event, cluster: Cluster, names: set[str]) -> tuple[int, int]:
    """hw_eta, hw_phi"""
    ring = abs(cluster.index)
    low, high = UPPER[ring - 1], UPPER[ring]
    centre = (low + high) / 2 * (1 if cluster.index > 0 else -1)
    eta = centre + 0.251 * cluster.fine * (high - low)
    code = int(abs(eta) / 0.0435 + 0.5)
    up = event.energy(cluster.index, cluster.iphi, names & UP)
    down = event.energy(cluster.index, cluster.iphi, names & DOWN)
    phi = 2 * cluster.iphi - 1 + (down > up) - (up > down)
    return code if eta > 0 else -code, phi % 144


def shape(cluster: Cluster) -> int:
    """Seven bits."""
    order = ("N", "S", "E", "NE", "SE", "NN", "SS")
    west = ("N", "S", "W", "NW", "SW", "NN", "SS")
    return sum(1 << k for k, pair in enumerate(zip(order, west, strict=True))
               if set(pair) & cluster.members)  # fmt: skip


def sorted_rows(rows: list[tuple[int, int, Row]], max_ring: int) -> list[Row]:
    """(index, iphi, row) of all candidates -> what is sent."""
    sides = []
    for side in (1, -1):
        best: list[Jet] = [Jet()] * 6
        for ring in range(1, max_ring + 1):
            places = [Jet()] * 18
            for k, (index, iphi, row) in enumerate(rows):
                if index == side * ring:
                    places[(72 - iphi) // 4] = Jet(row[0], k)
            stream = bitonic(places) if any(jet.et for jet in places) else places
            for place, held in enumerate(best):
                at = next(i for i, jet in enumerate(stream) if jet.et <= held.et)
                stream.insert(at, held)
                best[place] = stream.pop(0)
        sides.append([Jet(min(jet.et, 511), jet.ieta) for jet in best if jet.et > 0])
    return [(jet.et, *rows[jet.ieta][2][1:]) for jet in bitonic(sides[0] + sides[1])]


# -- e/gamma -------------------------------------------------------------------------------------


def egammas(towers: Towers, tables: Tables = NO_TABLES) -> list[Row]:
    """Sorted e/gammas of one event."""
    event = Event(towers)
    rows = []
    for cluster in clusters(event, 28):
        row = _egamma(event, cluster, tables)
        if row[0]:
            rows.append((cluster.index, cluster.iphi, row))
    return sorted_rows(rows, 28)


def _egamma(event: Event, cluster: Cluster, tables: Tables) -> Row:
    index, iphi = cluster.index, cluster.iphi
    ring = abs(index)
    names = set(cluster.members)
    if tables.trimming:
        word = tables.trimming[(ring - 1) * 128 + shape(cluster)]
        side = ("E", "NE", "SE") if cluster.east else ("W", "NW", "SW")
        names = {n for k, n in enumerate(("N", "S", *side, "NN", "SS")) if word >> k & 1}
    raw = event.et(index, iphi) + event.energy(index, iphi, names)
    et, good = min(raw, 4095), True
    small = min(raw, 255)
    compress = tables.eg_compress
    if tables.eg_calibration:
        address = compress[shape(cluster)] | compress[128 + small] | compress[384 + ring]
        word = tables.eg_calibration[address]
        et, good = min(raw * (word % 512) // 256, 4095), word >= 512
    iso = event.around(index, iphi, cluster.east) - _footprint(event, cluster)
    bits = 0
    for bit, table in enumerate((tables.eg_tight, tables.eg_loose)):
        if table:
            inner = compress[128 + small] | compress[384 + ring]
            limit = table[2 * inner | compress[416 + min(event.count(), 255)]]
            bits += (iso < limit or limit > 255) << bit
    if et < 256 and not (good and _electron(event.word(index, iphi), ring)):
        et = 0
    eta, phi = position(event, cluster, names)
    return et, eta, phi, bits, raw, max(iso, 0), ieta_of(index), iphi


def _electron(word: tuple[int, int, int], ring: int) -> bool:
    _, ratio, misc = word
    if misc & 8:
        return False
    if misc & 1:
        return bool(misc & 2)
    return bool(misc & 2) and ratio >= (3 if ring < 16 else 4)


def _footprint(event: Event, cluster: Cluster) -> int:
    index, iphi = cluster.index, cluster.iphi
    side = 1 if cluster.east else -1
    total = sum(event.em(index, iphi, a, b) for a in (0, side) for b in range(-2, 3))
    for dphi in (0, 1 if index > 0 else -1):
        total += event.et(index, iphi, 0, dphi) - event.em(index, iphi, 0, dphi)
    return total


# -- tau -----------------------------------------------------------------------------------------

PLACES = [(0, 3), (-1, 2), (0, 2), (1, 2), (-1, -2), (0, -2), (1, -2), (0, -3)]


def taus(towers: Towers, tables: Tables = NO_TABLES) -> list[Row]:
    """Sorted taus of one event."""
    event = Event(towers)
    rows = []
    for cluster in clusters(event, 25):
        rows.append((cluster.index, cluster.iphi, _tau(event, cluster, tables)))
    return sorted_rows([row for row in rows if row[2][0]], 25)


def _tau(event: Event, cluster: Cluster, tables: Tables) -> Row:
    index, iphi = cluster.index, cluster.iphi
    seconds = {}
    for number, (deta, dphi) in enumerate(PLACES):
        taken = {2: "SS", 5: "NN"}.get(number) in cluster.members
        at = stepped(index, deta), (iphi + dphi - 1) % PHIS + 1
        if not taken and event.et(*at) >= 4 and event.is_maximum(*at, 1):
            seconds[number] = event.et(*at) + event.energy(*at, event.members(*at))
    place = _chosen(seconds, index > 0)
    names = set(cluster.members)
    if place is not None:
        deta, dphi = PLACES[place]
        at = stepped(index, deta), (iphi + dphi - 1) % PHIS + 1
        theirs = {(WHERE[n][0] + deta, WHERE[n][1] + dphi) for n in event.members(*at)}
        names = {name for name in names if WHERE[name] not in theirs}
    merged = seconds[place] if place is not None else 0
    raw = event.et(index, iphi) + event.energy(index, iphi, names) + merged
    iso = max(event.around(index, iphi, cluster.east) - raw, 0)
    et, bit, ring, small = min(raw, 4095), 0, abs(index), min(raw, 255)
    compress = tables.tau_compress
    if tables.tau_calibration:
        misc = event.word(index, iphi)[2]
        em = bool(misc & 2) or not misc & 1
        address = compress[ring] * 128 + compress[32 + small] * 4 + em * 2 + (merged > 0)
        et = min(tables.tau_calibration[address] * min(raw, 8191) // 512, 4095)
    if tables.tau_iso:
        count = compress[288 + min(event.count(), 1023)]
        limit = tables.tau_iso[compress[ring] * 1024 + compress[32 + small] * 32 + count]
        bit = int(iso < limit or limit > 255)
    eta, phi = position(event, cluster, names)
    return et, eta, phi, bit, raw, iso, ieta_of(index), iphi


def _chosen(seconds: dict[int, int], positive: bool) -> int | None:
    """The place of the second cluster."""
    rising: int | None = _side(seconds, (0, 2), (1, 3), positive)
    falling: int | None = _side(seconds, (7, 5), (4, 6), positive)
    if not {7, 5} & set(seconds) and {4, 6} <= set(seconds) and seconds[4] == seconds[6]:
        # As in the public code: this choice replaces that of the other side.
        rising, falling = falling, None
    if rising is None or falling is None:
        return falling if rising is None else rising
    return rising if seconds[rising] > seconds[falling] else falling


def _side(
    seconds: dict[int, int], first: tuple[int, int], pair: tuple[int, int], positive: bool
) -> int | None:
    for place in first:
        if place in seconds:
            return place
    found = [place for place in pair if place in seconds]
    if len(found) == 2 and seconds[found[0]] == seconds[found[1]]:
        return found[0] if positive else found[1]
    by_et: Callable[[int], int] = seconds.__getitem__
    return max(found, key=by_et, default=None)


# -- to and from tables --------------------------------------------------------------------------


def tower_table(events: Sequence[Towers]) -> Table:
    """The table ``tower`` of some events."""
    flat = [(*where, *word) for towers in events for where, word in towers.items()]
    rows = np.array(flat, np.int64).reshape(-1, 5)
    kinds = {"hw_eta": "i1", "hw_phi": "u1", "hw_et": "u2", "er_bits": "u1", "misc_bits": "u1"}
    columns = {name: rows[:, k].astype(kind) for k, (name, kind) in enumerate(kinds.items())}
    return Table(columns, offsets_of(np.array([len(towers) for towers in events])))


def rows_of(table: Table) -> list[list[Row]]:
    """Objects of each crossing."""
    names = ("hw_et", "hw_eta", "hw_phi", "hw_iso", "raw_et", "iso_et", "ieta", "iphi")
    rows = list(zip(*(table[name].tolist() for name in names), strict=True))
    return [rows[a:b] for a, b in pairwise(table.offsets.tolist())]


IETAS = [*range(-41, -29), *range(-28, 0), *range(1, 29), *range(30, 42)]


@st.composite
def events(draw: st.DrawFn) -> Towers:
    """Towers of few values close to one place, so that ties, merging and wraps are common."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = random.Random(seed)
    centre = draw(st.sampled_from([-41, -28, -26, -25, -16, -2, -1, 1, 2, 5, 15, 16, 25, 28, 30]))
    start = draw(st.sampled_from([1, 2, 36, 68, 72]))
    values = draw(st.sampled_from([(2, 4, 8), (1, 3, 4, 5, 60), (1, 2, 3, 20, 511), (4,)]))
    share = draw(st.sampled_from([0.05, 0.3, 0.7, 1.0]))
    width = draw(st.sampled_from([6, 14, 72]))
    at = IETAS.index(centre)
    towers = {}
    for ieta in IETAS[max(at - 5, 0) : at + 6]:
        for k in range(width):
            if rng.random() < share:
                word = rng.choice(values), rng.randrange(8), rng.choice((0, 1, 2, 2, 2, 3, 10))
                towers[ieta, (start + k - 1) % 72 + 1] = word
    return towers


def random_tables(seed: int) -> Tables:
    """Tables of the shape that the official ones have, with random contents."""
    rng = random.Random(seed)
    compress = [rng.randrange(16) for _ in range(128)] + [rng.randrange(16) << 4] * 20
    compress += [rng.randrange(16) << 4 for _ in range(236)]
    compress += [rng.randrange(16) << 8 for _ in range(32)]
    compress += [rng.randrange(32) for _ in range(256)] + [0] * 352
    tau = [rng.randrange(4) for _ in range(32)] + [rng.randrange(32) for _ in range(256)]
    tau += [rng.randrange(32) for _ in range(1024)] + [0] * 736
    limits = [rng.choice((0, 5, 20, 80, 255, 256, 400)) for _ in range(8192)]
    return Tables(
        trimming=[rng.randrange(128) for _ in range(4096)],
        eg_compress=compress,
        eg_calibration=[rng.randrange(1024) for _ in range(4096)],
        eg_tight=limits,
        eg_loose=limits[::-1],
        tau_compress=tau,
        tau_calibration=[rng.randrange(1024) for _ in range(512)],
        tau_iso=limits[:4096],
    )


def kernel_tables(tables: Tables) -> ClusterTables:
    """The same tables for the kernels."""
    names = {"trimming": "eg_trimming", "eg_tight": "eg_iso_tight", "eg_loose": "eg_iso_loose"}
    arrays: dict[str, Any] = {
        names.get(field.name, field.name): np.array(getattr(tables, field.name), np.int64)
        for field in fields(tables)
        if getattr(tables, field.name)
    }
    return ClusterTables(**arrays)
