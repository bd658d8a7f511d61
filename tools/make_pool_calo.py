"""Calorimeter crossings of the packaged pool: objects from falling spectra, sums from objects."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.streams.block import ORBIT_BX, Block, Table, offsets_of
from scout40.streams.formats.calo import DMA_WORDS, CaloBlockHeader
from scout40.streams.formats.ugt import UgtSums
from scout40.streams.sinks.raw import payloads

Array = npt.NDArray[Any]
Rng = np.random.Generator

N_PU_FIRST, N_PU_STEP, N_PU_STRATA, CROSSINGS = 0, 5, 18, 144
"""Crossings are made for 18 ranges of five collisions each, 144 for every range."""
TTBAR_N_PU = 60
OBJECTS = 12

SPECTRA = {
    "jet": (0.08, 10.0, 5.0, 2047, 4.95),
    "eg": (0.10, 3.0, 4.6, 511, 2.5),
    "tau": (0.13, 5.0, 4.35, 511, 2.5),
}
"""Per table: objects a collision, lowest Et in GeV, power of the falling spectrum, overflow code,
largest |eta|. Chosen so that at 60 collisions the usual single-object thresholds give rates of the
right order."""


def crossings(rng: Rng) -> npt.NDArray[np.uint32]:
    """Bodies of DMA blocks, shape (18 * 144, 56), in order of the number of collisions."""
    n_pu = np.repeat(N_PU_FIRST + N_PU_STEP * np.arange(N_PU_STRATA), CROSSINGS)
    n_pu = n_pu + rng.integers(0, N_PU_STEP, len(n_pu))
    return _bodies(rng, n_pu, {name: _objects(rng, name, n_pu) for name in SPECTRA})


def ttbar_crossings(rng: Rng, count: int) -> npt.NDArray[np.uint32]:
    """As ``crossings``, of 60 collisions and the jets (sometimes an electron) of a top pair."""
    n_pu = np.full(count, TTBAR_N_PU)
    tables = {name: _objects(rng, name, n_pu) for name in SPECTRA}
    hard = (
        ("jet", rng.integers(4, 9, count), 30.0, 2.6),
        ("eg", rng.integers(0, 2, count), 25.0, 2.3),
    )
    for name, numbers, lowest, widest in hard:
        row = np.repeat(np.arange(count), numbers)
        et = lowest * rng.random(len(row)) ** (-1 / 2.5)
        more = _columns(rng, name, row, et, np.clip(rng.normal(0, 1.2, len(row)), -widest, widest))
        tables[name] = {key: np.concatenate([tables[name][key], more[key]]) for key in more}
    return _bodies(rng, n_pu, tables)


def _objects(rng: Rng, name: str, n_pu: Array) -> dict[str, Array]:
    """Columns of the objects of all crossings, and the crossing of each (``row``)."""
    mean, lowest, power, _, widest = SPECTRA[name]
    row = np.repeat(np.arange(len(n_pu)), rng.poisson(mean * n_pu))
    # Quantiles in random order: no crossing of a small pool has an object far too rare for it.
    quantile = rng.permutation((np.arange(len(row)) + 0.5) / len(row))
    et = lowest * quantile ** (-1 / (power - 1))
    return _columns(rng, name, row, et, rng.uniform(-widest, widest, len(row)))


def _columns(rng: Rng, name: str, row: Array, et: Array, eta: Array) -> dict[str, Array]:
    overflow, count = SPECTRA[name][3], len(row)
    columns = {
        "row": row,
        "hw_et": np.minimum(np.rint(2 * et).astype(np.int64), overflow),
        "hw_eta": np.clip(np.rint(eta / 0.0435).astype(np.int64), -115, 114),
        "hw_phi": 2 * rng.integers(0, 72, count) + 1,  # tower centres: odd codes
    }
    if name == "jet":
        return columns | {"hw_displaced": (rng.random(count) < 0.01).astype(np.int64)}
    return columns | {"hw_iso": rng.choice(4, count, p=(0.35, 0.15, 0.15, 0.35))}


def _bodies(rng: Rng, n_pu: Array, tables: dict[str, dict[str, Array]]) -> Array:
    """Words of DMA blocks without their headers."""
    sums = _sums(rng, n_pu, tables)
    place = np.arange(len(n_pu))
    packed = {name: _hardest(columns, len(n_pu)) for name, columns in tables.items()}
    packed["sums"] = Table(sums, offsets_of(np.ones(len(n_pu), np.int64)))
    block = Block(
        0, int(place[-1]) // ORBIT_BX + 1, (place // ORBIT_BX).astype(np.uint32),
        (place % ORBIT_BX + 1).astype(np.uint16), packed, contiguous=True, scouting=True,
    )  # fmt: skip
    words = np.concatenate([payload.words for payload in payloads(block.check(), "dma")])
    return words.reshape(-1, DMA_WORDS)[:, CaloBlockHeader.words :]


def _hardest(columns: dict[str, Array], count: int) -> Table:
    """At most twelve objects a crossing, hardest first."""
    order = np.lexsort((-columns["hw_et"], columns["row"]))
    row = columns["row"][order]
    first = np.searchsorted(row, np.arange(count))
    order = order[np.arange(len(row)) - first[row] < OBJECTS]
    numbers = np.bincount(columns["row"][order], minlength=count)
    kept = {name: values[order] for name, values in columns.items() if name != "row"}
    return Table(kept, offsets_of(numbers))


def _sums(rng: Rng, n_pu: Array, tables: dict[str, dict[str, Array]]) -> dict[str, Array]:
    """Sums of the objects and of a pile-up that grows with the number of collisions."""
    count, jets, clusters = len(n_pu), tables["jet"], tables["eg"]

    def total(columns: dict[str, Array], weight: Array) -> Array:
        return np.bincount(columns["row"], weight, minlength=count)

    soft = rng.gamma(2.0 * np.maximum(n_pu, 1), 1.0)
    ett = total(jets, jets["hw_et"]) + total(clusters, clusters["hw_et"]) + soft
    central = jets["hw_et"] * ((jets["hw_et"] > 60) & (np.abs(jets["hw_eta"]) < 58))
    noise = rng.normal(0, 1.2, (2, count)) * np.sqrt(ett)
    angle = jets["hw_phi"] * (2 * np.pi / 144)
    missing = [
        (-total(jets, weight * np.cos(angle)), -total(jets, weight * np.sin(angle)))
        for weight in (jets["hw_et"], central)
    ]
    values = {
        "hw_ett": ett,
        "hw_ettem": total(clusters, clusters["hw_et"]),
        "hw_htt": total(jets, central),
        "hw_tower_count": rng.poisson(3.2 * n_pu),
        "hw_mbt0hfp": rng.poisson(0.1 * n_pu),
        "hw_mbt0hfm": rng.poisson(0.1 * n_pu),
    }
    for name, (x, y) in zip(("etm", "htm"), missing, strict=True):
        x, y = (x + noise[0], y + noise[1]) if name == "etm" else (x, y)
        size = np.minimum(np.hypot(x, y).astype(np.int64), UgtSums.fields["hw_etm"].limit)
        azimuth = (np.arctan2(y, x) / (2 * np.pi) * 144).astype(np.int64) % 144
        for form in (name, f"{name}hf"):
            values[f"hw_{form}"] = size
            values[f"hw_{form}_phi"] = np.where(size > 0, azimuth, 0)
    return {
        name: np.minimum(value.astype(np.int64), UgtSums.fields[name].limit)
        for name, value in values.items()
    }
