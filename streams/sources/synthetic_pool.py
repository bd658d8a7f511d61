"""What the synthetic stream draws from: the packaged pool, and the bunches of a fill."""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Mapping
from importlib import resources
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from scout40.streams.block import ORBIT_BX
from scout40.streams.filling import Filling
from scout40.streams.formats.calo import DMA_GROUPS, CaloBlockHeader
from scout40.streams.formats.frd import CALO_TCP
from scout40.streams.sources.synthetic_kernel import GOLDEN, MAX_MUONS, PAIR_DRAW, QUANTILES

Array = npt.NDArray[Any]

POOL = "pool.npz"
PROCESSES = ("jpsi", "dy", "ttbar")
"""Rare processes: J/psi and Z to two muons, top pairs."""
MUONS_PER_COLLISION = 2.2e-3 * 0.93
"""Candidates of decays in flight and heavy flavour a collision, times efficiency; fakes included,
ghosts not."""
INELASTIC_NB = 80e6
"""Inelastic cross section at 13.6 TeV, rounded."""

_CALO_TABLES = [CALO_TCP[source] for source in sorted(CALO_TCP)]


class MuonPool(NamedTuple):
    """rows: uint32 (n, 3), GmtMuon words with the eta in the first place.

    The first ``drawn`` rows are drawn; the last ``ghosts`` of them bring the row that stands
    ``ghosts`` further. Process p has ``entries[p]`` entries of two rows from ``starts[p]`` on; pt
    0 means no muon. int64 arrays.
    """

    rows: npt.NDArray[np.uint32]
    drawn: int
    ghosts: int
    starts: npt.NDArray[np.int64]
    entries: npt.NDArray[np.int64]


class CaloPool(NamedTuple):
    """bodies: uint32 (n, 56), DMA blocks without header.

    sizes: int64, (first, step, strata, each): ``strata`` groups of ``each`` rows, one for ``first``
    collisions and ``step - 1`` more, and so on. starts: int64, first row of each process, -1 for
    one without jets. numbers: uint8 (n, 4), objects in the tables of sources 22..25; links: int64
    (4, 2), places of their words in a body. quantiles: float64, of the normal distribution.
    """

    bodies: npt.NDArray[np.uint32]
    sizes: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.uint8]
    links: npt.NDArray[np.int64]
    quantiles: npt.NDArray[np.float64]


class Pool(NamedTuple):
    """cross_sections: of PROCESSES as seen by the muon trigger, nb."""

    muons: MuonPool
    calos: CaloPool
    cross_sections: npt.NDArray[np.float64]


class Bunches(NamedTuple):
    """The colliding bunches during one luminosity section; crossings count from 0.

    counters: uint64, what is hashed with the key of an orbit for each pair of crossings (0, 1),
    (2, 3), ... with collisions; slots: int32, the crossings of these pairs; idle: uint32, limits[0]
    of these crossings. colliding: int64, crossings. mean, spread: float64 (3564,), mean and width
    of the number of collisions. limits: uint32 (9, 3564): of 2^32 equally likely numbers, those
    above limits[k, bx] mean more than k muons, those above limits[8, bx] a rare process. shares:
    uint32, limits between the processes. busy: mean number of crossings of an orbit with any of
    these.
    """

    counters: npt.NDArray[np.uint64]
    slots: npt.NDArray[np.int32]
    idle: npt.NDArray[np.uint32]
    colliding: npt.NDArray[np.int64]
    mean: npt.NDArray[np.float64]
    spread: npt.NDArray[np.float64]
    limits: npt.NDArray[np.uint32]
    shares: npt.NDArray[np.uint32]
    busy: float


@functools.cache
def pool() -> Pool:
    """The packaged pool."""
    place = resources.files("scout40.configs").joinpath("samples", POOL)
    with np.load(io.BytesIO(place.read_bytes()), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    cross_sections = np.array([float(arrays[f"{name}_nb"]) for name in PROCESSES])
    return Pool(_muon_pool(arrays), _calo_pool(arrays), cross_sections)


def _muon_pool(arrays: Mapping[str, Array]) -> MuonPool:
    parts = [arrays["mu"], arrays["mu_ghost"], *(arrays[name] for name in PROCESSES)]
    lengths = np.array([len(part) for part in parts], np.int64)
    starts = np.cumsum(lengths) - lengths
    rows = np.ascontiguousarray(np.concatenate(parts), np.uint32)
    return MuonPool(rows, int(lengths[0]), int(lengths[1]), starts[2:], lengths[2:] // 2)


def _calo_pool(arrays: Mapping[str, Array]) -> CaloPool:
    base = arrays["calo"]
    sizes = np.ascontiguousarray(arrays["calo_sizes"], np.int64)
    parts, starts, total = [base], [], len(base)
    for name in PROCESSES:
        more = arrays.get(f"{name}_calo", base[:0])
        starts.append(total if len(more) else -1)
        parts.append(more)
        total += len(more)
    bodies = np.ascontiguousarray(np.concatenate(parts), np.uint32)
    links = np.zeros((len(_CALO_TABLES), 2), np.int64)
    numbers = np.zeros((total, len(_CALO_TABLES)), np.uint8)
    for i, table in enumerate(_CALO_TABLES):
        if table == "sums":
            continue
        # Behind the link word, in a body without block header.
        links[i] = np.array(DMA_GROUPS[table]) + 1 - CaloBlockHeader.words
        columns = (links[i][:, None] + np.arange(6)).ravel()
        numbers[:, i] = (bodies[:, columns] != 0).sum(axis=1)
    middle = (np.arange(QUANTILES) + 0.5) / QUANTILES
    quantiles = np.array([NormalDist().inv_cdf(float(u)) for u in middle])
    return CaloPool(bodies, sizes, np.array(starts, np.int64), numbers, links, quantiles)


def mix(x: int) -> int:
    """The hash of the kernels, for Python integers."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) % 2**64
    return x ^ (x >> 31)


def seed_key(seed: int) -> int:
    """Where the keys of orbits start."""
    return mix((seed + GOLDEN) % 2**64)


def bunch_factors(filling: Filling, seed: int, spread: float) -> npt.NDArray[np.float64]:
    """Pile-up of each crossing over the mean of the colliding ones, 0 where none collides.

    A normal spread, cut at three widths.
    """
    key = mix((seed_key(seed) + (1 << 40) * GOLDEN) % 2**64)  # no orbit has this number
    factor = np.zeros(ORBIT_BX)
    for bx in np.flatnonzero(filling.colliding).tolist():
        uniform = (mix((key + (bx + 1) * GOLDEN) % 2**64) >> 11) + 0.5
        width = NormalDist().inv_cdf(uniform / 2**53)
        factor[bx] = 1 + spread * min(max(width, -3.0), 3.0)
    factor *= filling.colliding.sum() / factor.sum()
    return factor


def process_probability(enrich: float, cross_sections: Array) -> float:
    """Chance of a rare process in one collision, all processes together."""
    return float(enrich * cross_sections.sum() / INELASTIC_NB)


def bunches(mean: npt.NDArray[np.float64], enrich: float, cross_sections: Array) -> Bunches:
    """Tables for crossings with these mean numbers of collisions; 0 = none collides."""
    colliding = np.flatnonzero(mean).astype(np.int64)
    chance = mean * process_probability(enrich, cross_sections)
    muons = mean * MUONS_PER_COLLISION
    term = np.exp(-muons)
    below = np.zeros((MAX_MUONS + 1, ORBIT_BX))
    below[MAX_MUONS] = 1.0
    for k in range(MAX_MUONS):
        below[k] = term + (below[k - 1] if k else 0)
        term = term * muons / (k + 1)
    limits = _limits(below * (1 - chance))
    shares = _limits(np.cumsum(cross_sections) / cross_sections.sum())
    busy = float((1 - limits[0] / 2.0**32).sum())
    pairs = np.unique(colliding // 2)
    counters = (pairs + PAIR_DRAW + 1).astype(np.uint64) * np.uint64(GOLDEN)
    slots = np.stack([2 * pairs, 2 * pairs + 1], axis=1).ravel().astype(np.int32)
    return Bunches(
        counters, slots, limits[0, slots], colliding, mean, np.sqrt(mean), limits, shares, busy
    )


def _limits(probability: Array) -> npt.NDArray[np.uint32]:
    """Largest of 2^32 numbers that lies inside this probability."""
    limits: Array = np.clip(np.rint(probability * 2.0**32) - 1, 0, 2**32 - 1)
    return limits.astype(np.uint32)


def decay(hours: float, lifetime: float) -> float:
    """Pile-up after so many hours of a fill, over that at its start."""
    return math.exp(-hours / lifetime)
