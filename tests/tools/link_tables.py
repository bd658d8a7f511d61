"""Small tables of track-finder links and of towers, as columns and as files, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from scout40.streams.block import Block, concatenate
from scout40.streams.formats.track_finder import FIRST_LINK, LINKS, SLOTS, TFMU
from scout40.streams.sources import open_source
from scout40.streams.sources.base import Run
from scout40.tools.chain import Chain
from scout40.tools.compare_steps import StepComparison, compare_steps

Array = npt.NDArray[Any]
Columns = dict[str, Array]

OUTPUT = ("pos", "hw_pt", "hw_eta", "hw_phi", "hw_qual_2024", "charge", "tf_muon_index", "hw_rank")
"""Columns of :func:`output_muons` beside the crossing."""

JUNK = 5
"""Every so many rows of :func:`muons` one has hw_pt 0."""


def muons(crossings: int, seed: int = 1) -> Columns:
    """Muons of crossings 0, 1, ..., each with one to twelve, some of them with hw_pt 0."""
    random = np.random.default_rng(seed)
    numbers, places = [], []
    for number in range(crossings):
        count = random.integers(1, 13)
        places.append(np.sort(random.choice(LINKS * SLOTS, count, replace=False)))
        numbers.append(np.full(count, number))
    place = np.concatenate(places)
    made: Columns = {
        "bx": np.concatenate(numbers),
        "link": FIRST_LINK + place // SLOTS,
        "slot": place % SLOTS,
    }
    for name, bits in TFMU.items():
        if name not in made:
            made[name] = random.integers(bits.minimum, bits.limit + 1, len(place))
    made["hw_phi"] = random.integers(-8, 56, len(place))
    side = np.where(made["link"] < 48, 1, np.where(made["link"] > 59, -1, 1 - 2 * (place % 2)))
    made["hw_eta"] = side * random.integers(0, 225, len(place))
    made["hw_pt"] = random.integers(1, 200, len(place))
    made["hw_pt"][::JUNK] = 0
    return made


def towers(events: int, seed: int = 1) -> Columns:
    """Towers of events 0, 1, ..., with a few jets each and a soft carpet."""
    random = np.random.default_rng(seed)
    rings = [m for m in range(-41, 42) if abs(m) not in (0, 29)]
    parts = []
    for event in range(events):
        et = random.integers(0, 4, (len(rings), 72))
        for _ in range(6):
            et[random.integers(len(rings)), random.integers(72)] = random.integers(20, 200)
        eta, phi = np.nonzero(et)
        parts.append(
            {
                "event": np.full(len(eta), event),
                "ieta": np.array(rings)[eta],
                "iphi": phi + 1,
                "hw_pt": et[eta, phi],
            }
        )
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def write(path: Path, columns: Mapping[str, Array]) -> Path:
    """The columns as a Parquet file."""
    pq.write_table(pa.table(dict(columns)), path)
    return path


def read(path: Path) -> Columns:
    """The columns of a Parquet file."""
    table = pq.read_table(path)
    return {name: table[name].to_numpy() for name in table.column_names}


def output_muons(links: Path) -> Columns:
    """What the global muon trigger makes of a table of links, as expected rows."""
    block = concatenate(open_source([str(links)]).blocks(Run()))
    mu = Chain("links").stage(None).run(block).tables["mu"]
    counts = mu.counts()
    assert counts.max() == 8
    return {"bx": np.repeat(block.crossing["event"], counts), **{n: mu[n] for n in OUTPUT}}


def demux_jets(towers: Path) -> Columns:
    """The jets that setting 2024 gives after the demux sort, as expected rows."""
    block = concatenate(open_source([str(towers)]).blocks(Run()))
    jet = Chain("towers").stage(None).run(block).tables["jet"]
    counts = jet.counts()
    assert counts.min() > 1
    return {
        "event": np.repeat(block.crossing["event"], counts),
        "stage": np.ones(len(jet), np.int64),
        "pos": np.arange(len(jet)) - np.repeat(jet.offsets[:-1], counts),
        "hw_pt": jet["hw_et"],
        **{name: jet[name] for name in ("ieta", "iphi", "raw_et", "seed_et", "pu_et")},
    }


def compared(
    inputs: Path, expected: Path, chain: Chain | None = None, **more: Any
) -> StepComparison:
    """A comparison with one file, whose ledger balances."""
    result = compare_steps([str(inputs)], [str(expected)], chain or Chain("links"), **more)
    assert result.receipt.ledger.balanced
    return result


def without(columns: Columns, row: int) -> Columns:
    """The columns, one row less."""
    return {name: np.delete(values, row) for name, values in columns.items()}


def changed(columns: Columns, name: str, row: int, by: int = 1) -> Columns:
    """The columns with another value in one row."""
    values = columns[name].astype(np.int64)
    values[row] += by
    return {**columns, name: values}


def block_of(*paths: Path | str) -> Block:
    """All blocks of the files as one."""
    return concatenate(open_source([str(path) for path in paths]).blocks(Run()))
