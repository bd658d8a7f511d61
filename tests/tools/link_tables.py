"""Small tables of track-finder links and of towers, as columns and as files, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from scout40.streams.formats.track_finder import FIRST_LINK, LINKS, SLOTS, TFMU

Array = npt.NDArray[Any]
Columns = dict[str, Array]

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
