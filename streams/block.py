"""Block: a contiguous range of orbits, every object type as flat columns plus offsets per BX.

The crossings of a block are the rows of ``orbit``/``bx``, in time order. A table holds all
objects of one type: row r of the block owns objects offsets[r] .. offsets[r + 1] of each column.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.streams.errors import BadInput

Array = npt.NDArray[Any]

ORBIT_BX = 3564
"""Bunch crossings of one LHC orbit; bx counts 1..3564."""

ORBIT_HZ = 11245.5
"""LHC revolution frequency."""


@dataclass(frozen=True, slots=True)
class Table:
    """Objects of one type.

    columns:
        equal-length 1-d arrays; hardware integers start with ``hw_``.
    offsets:
        int32, shape (crossings + 1,), rising, from 0 to the number of objects.
    """

    columns: Mapping[str, Array]
    offsets: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return int(self.offsets[-1])

    def __getitem__(self, name: str) -> Array:
        return self.columns[name]

    def counts(self) -> npt.NDArray[np.int32]:
        """Objects per crossing."""
        return np.diff(self.offsets)

    def take_crossings(self, start: int, stop: int) -> Table:
        """Crossings [start, stop); the columns are views."""
        low, high = int(self.offsets[start]), int(self.offsets[stop])
        columns = {name: column[low:high] for name, column in self.columns.items()}
        return Table(columns, self.offsets[start : stop + 1] - np.int32(low))


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a block came from: source name (file or endpoint) and its sequence number there."""

    source: str = ""
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Block:
    """Crossings of the orbits [first_orbit, last_orbit).

    orbit, bx:
        uint32 and uint16, shape (n,), strictly rising in time when ``contiguous``.
    tables:
        object type (``mu``, ``eg``, ``tau``, ``jet``, ``sums``, ``stub``, ``tower``, ...) -> Table.
    crossing:
        columns with one row per crossing: ``ext`` uint64 (n, 4) external conditions, ``recorded``
        uint64 (n, w) decision bits found in the input, ``run``, ``lumi``, ``event``, ...
    recorded_names:
        name of each bit of ``recorded``; empty when bit = algorithm index of the menu.
    contiguous:
        True: a crossing of these orbits that has no row was empty, so neighbours exist. False:
        rows are independent events, nothing is known of neighbouring crossings.
    scouting:
        True: hardware integers stand for physical values as in the scouting unpackers, whose
        calorimeter azimuth is hw * 0.0435 (NanoAOD has it too); False: as at the global trigger,
        hw * 2 pi / 144.
    """

    first_orbit: int
    last_orbit: int
    orbit: npt.NDArray[np.uint32]
    bx: npt.NDArray[np.uint16]
    tables: Mapping[str, Table] = field(default_factory=dict)
    crossing: Mapping[str, Array] = field(default_factory=dict)
    recorded_names: tuple[str, ...] = ()
    contiguous: bool = False
    scouting: bool = False
    origin: Origin = Origin()

    def __len__(self) -> int:
        return len(self.bx)

    @property
    def objects(self) -> int:
        """Objects of all tables together."""
        return sum(len(table) for table in self.tables.values())

    def time(self) -> npt.NDArray[np.int64]:
        """Absolute crossing number orbit * 3564 + bx - 1."""
        return self.orbit.astype(np.int64) * ORBIT_BX + self.bx.astype(np.int64) - 1

    def check(self) -> Block:
        """Itself, when shapes and order are as promised; BadInput otherwise."""
        if len(self.orbit) != len(self.bx):
            raise BadInput("block: orbit and bx have different lengths")
        for name, table in self.tables.items():
            if len(table.offsets) != len(self) + 1 or table.offsets.dtype != np.int32:
                raise BadInput(f"block: table {name} needs int32 offsets, one more than crossings")
            if table.offsets[0] != 0 or np.any(np.diff(table.offsets) < 0):
                raise BadInput(f"block: offsets of table {name} do not rise from 0")
            for column, values in table.columns.items():
                if len(values) != len(table):
                    raise BadInput(f"block: {name} has {len(table)} objects", field=column)
        for name, values in self.crossing.items():
            if len(values) != len(self):
                raise BadInput("block: one row per crossing expected", field=name)
        inside = (self.orbit >= self.first_orbit) & (self.orbit < self.last_orbit)
        if not inside.all():
            raise BadInput(f"block: rows outside orbits [{self.first_orbit}, {self.last_orbit})")
        if self.contiguous and np.any(np.diff(self.time()) <= 0):
            raise BadInput("block: crossings are not in rising order")
        return self

    def replace(self, **changes: Any) -> Block:
        """A copy with other attributes."""
        return dataclasses.replace(self, **changes)

    def take(self, start: int, stop: int) -> Block:
        """Crossings [start, stop) as views; the orbit range stays."""
        return self.replace(
            orbit=self.orbit[start:stop],
            bx=self.bx[start:stop],
            tables={name: t.take_crossings(start, stop) for name, t in self.tables.items()},
            crossing={name: values[start:stop] for name, values in self.crossing.items()},
        )

    def filled(self) -> Block:
        """A contiguous block with a row for every crossing of its orbits, empty ones included."""
        if not self.contiguous:
            return self
        orbits = np.arange(self.first_orbit, self.last_orbit, dtype=np.uint32)
        first = self.first_orbit * ORBIT_BX
        place = self.time() - first
        total = len(orbits) * ORBIT_BX
        tables = {}
        for name, table in self.tables.items():
            counts = np.zeros(total, np.int32)
            counts[place] = table.counts()
            tables[name] = Table(table.columns, offsets_of(counts))
        crossing = {}
        for name, values in self.crossing.items():
            wide = np.zeros((total, *values.shape[1:]), values.dtype)
            wide[place] = values
            crossing[name] = wide
        return self.replace(
            orbit=np.repeat(orbits, ORBIT_BX),
            bx=np.tile(np.arange(1, ORBIT_BX + 1, dtype=np.uint16), len(orbits)),
            tables=tables,
            crossing=crossing,
        )


def offsets_of(counts: Array) -> npt.NDArray[np.int32]:
    """int32 offsets of objects per crossing; BadInput beyond 2^31 objects."""
    total = int(np.sum(counts, dtype=np.int64))
    if total > np.iinfo(np.int32).max:
        raise BadInput(f"block: {total} objects in one table, at most 2147483647")
    offsets = np.zeros(len(counts) + 1, np.int32)
    np.cumsum(counts, dtype=np.int32, out=offsets[1:])
    return offsets


def concatenate(blocks: Iterable[Block]) -> Block:
    """One block of several with the same tables and columns, in the order given."""
    parts = list(blocks)
    if not parts:
        raise BadInput("no block to concatenate")
    head = parts[0]
    tables = {}
    for name in head.tables:
        members = [part.tables[name] for part in parts]
        columns = {
            key: np.concatenate([member.columns[key] for member in members])
            for key in members[0].columns
        }
        tables[name] = Table(columns, offsets_of(np.concatenate([m.counts() for m in members])))
    return head.replace(
        first_orbit=min(part.first_orbit for part in parts),
        last_orbit=max(part.last_orbit for part in parts),
        orbit=np.concatenate([part.orbit for part in parts]),
        bx=np.concatenate([part.bx for part in parts]),
        tables=tables,
        crossing={
            name: np.concatenate([part.crossing[name] for part in parts]) for name in head.crossing
        },
    )
