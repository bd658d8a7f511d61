"""Blocks for tests of the rolling output, and what its files hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq

from scout40.streams.block import Block, Origin, Table, offsets_of
from scout40.streams.sinks.account import Counts
from scout40.streams.sinks.rolling import RollingSink
from scout40.streams.sources.arrow import ArrowSource
from scout40.streams.sources.base import Run

FEED = "00000000000000ab"


def block(number: int, rows: int = 20, orbits: int = 2, **changes: Any) -> Block:
    """Two orbits with muons; the number in every value."""
    offsets = offsets_of(np.arange(rows) % 3)
    first = number * orbits
    made = Block(
        first_orbit=first,
        last_orbit=first + orbits,
        orbit=np.full(rows, first, np.uint32),
        bx=np.arange(1, rows + 1, dtype=np.uint16),
        tables={"mu": Table({"hw_pt": np.full(offsets[-1], number, np.uint16)}, offsets)},
        crossing={"run": np.full(rows, 7, np.uint32)},
        contiguous=True,
        origin=Origin("feed", number),
    )
    return made.replace(**changes)


def decision(number: int, rows: int = 20) -> dict[str, Any]:
    return {"decision": np.full((rows, 8), number, np.uint64)}


def put(sink: RollingSink, number: int, rows: int = 20) -> None:
    sink.write(block(number, rows), decision(number, rows), {FEED: number + 1})


def closed(folder: Path) -> list[Path]:
    return sorted(place for place in folder.iterdir() if not place.name.startswith("."))


def rows_by_pyarrow(place: Path) -> pa.Table:
    """As anybody reads it, without scout40."""
    if place.suffix == ".parquet":
        return pq.read_table(place)
    with ipc.open_file(place) if place.suffix == ".arrow" else ipc.open_stream(place) as reader:
        return reader.read_all()


def numbers(folder: Path) -> list[int]:
    """Sequence numbers of all blocks of all closed files; every value checked on the way."""
    found = []
    for place in closed(folder):
        assert rows_by_pyarrow(place).num_rows == ArrowSource([str(place)]).total
        for part in ArrowSource([str(place)], results=True).blocks(Run()):
            found.append(part.origin.sequence)
            assert part.first_orbit == 2 * found[-1]
            assert len(part.orbit) == 20
            assert (part.tables["mu"]["hw_pt"] == found[-1]).all()
            assert (part.crossing["decision"] == found[-1]).all()
    return found


def balanced(sink: RollingSink, given: int, rows: int = 20) -> bool:
    """Everything handed over is in exactly one state."""
    total = Counts()
    for part in sink.counts.values():
        total = total.plus(part)
    return total[:3] == (given, 2 * given, rows * given)
