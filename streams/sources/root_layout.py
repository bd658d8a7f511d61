"""What a layout of a ROOT file offers to the source, and what several layouts share."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from scout40.streams.block import ORBIT_BX, Block, Table
from scout40.streams.errors import BadInput
from scout40.streams.sources.root_codes import Tally
from scout40.streams.sources.root_file import Column, Ntuple, Ragged

Array = npt.NDArray[Any]

Mask = npt.NDArray[np.bool_]

BAD_BX = "BX 0 or above 3564"
BAD_SUMS = "energy sums incomplete or out of range"
"""Reasons under which rows are counted as bad."""

UNKNOWN = 0xFFFFFFFF
"""Orbit or crossing number of simulated events: -1 in 32 bits."""

NO_BX = 1
"""Crossing number of rows whose file does not know it."""


class BadRows(NamedTuple):
    """Rows that are left out for one reason: their number, and an error about the first."""

    reason: str
    error: BadInput
    rows: int


@dataclass
class Rows:
    """Rows of one chunk of entries as a block, and what was wrong with the others."""

    block: Block
    tally: Tally
    bad: list[BadRows] = field(default_factory=list)


class Layout(Protocol):
    """One known arrangement of branches in one ntuple.

    contiguous: as in Source. per_orbit: an entry is an orbit, not a crossing. signature: equal for
    files that give the same tables and columns.
    """

    ntuple: Ntuple
    name: str
    contiguous: bool
    per_orbit: bool
    signature: tuple[object, ...]

    def rows(self, start: int, stop: int, first_row: int) -> Rows:
        """Entries [start, stop) of the file; ``first_row`` is the number of the first in the run.

        Raises BadInput when the chunk cannot be read.
        """


def signature(kind: str, tables: Mapping[str, Iterable[str]], *more: object) -> tuple[object, ...]:
    """A comparable value of table names, their columns and whatever else must agree."""
    return (kind, tuple((name, tuple(columns)) for name, columns in tables.items()), *more)


@dataclass(frozen=True)
class Places:
    """Branches that say which crossing a row is; None where the file has none."""

    run: str | None = None
    lumi: str | None = None
    event: str | None = None
    orbit: str | None = None
    bx: str | None = None

    @classmethod
    def of(cls, ntuple: Ntuple) -> Places:
        """The names that CMS NanoAOD gives them."""
        names = {
            "run": "run",
            "lumi": "luminosityBlock",
            "event": "event",
            "orbit": "orbitNumber",
            "bx": "bunchCrossing",
        }
        return cls(**{key: name for key, name in names.items() if ntuple.has(name)})

    def branches(self) -> list[str]:
        names = (self.run, self.lumi, self.event, self.orbit, self.bx)
        return [name for name in names if name is not None]

    def crossing(self, columns: Mapping[str, Column]) -> dict[str, Array]:
        """``run`` and ``lumi`` uint32 and ``event`` uint64, where there are such branches."""
        kinds = {"run": (self.run, "u4"), "lumi": (self.lumi, "u4"), "event": (self.event, "u8")}
        with np.errstate(invalid="ignore"):
            return {
                name: flat(columns, branch).astype(kind, casting="unsafe")
                for name, (branch, kind) in kinds.items()
                if branch is not None
            }


def flat(columns: Mapping[str, Column], name: str) -> Array:
    """A branch with one number per entry; BadInput when it has lists."""
    column = columns[name]
    if isinstance(column, Ragged):
        raise BadInput("has a list per entry, one value expected", field=name)
    return column


def orbits_and_crossings(
    places: Places, columns: Mapping[str, Column], rows: int, first_row: int, known: bool = False
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint16], Mask, npt.NDArray[np.int64]]:
    """Orbit and crossing of every row, which rows are good, and the crossing as it was found.

    Without an orbit number (no branch, or -1 as in simulation) a row's orbit is its number in
    the run, 0, 1, 2, ...; without a crossing number its bx is 1. A crossing number that is
    neither 1..3564 nor -1 makes the row bad. With ``known`` -1 is bad too.
    """
    orbit = (np.arange(first_row, first_row + rows) & UNKNOWN).astype(np.uint32)
    bx = np.full(rows, NO_BX, np.int64)
    if places.orbit is not None:
        found = flat(columns, places.orbit).astype(np.int64)
        usable = (found >= 0) & (found < UNKNOWN)
        orbit = np.where(usable, found, orbit).astype(np.uint32)
    if places.bx is not None:
        found = flat(columns, places.bx).astype(np.int64)
        unset = (found == UNKNOWN) | (found == -1)
        bx = found if known else np.where(unset, NO_BX, found)
    good = (bx >= 1) & (bx <= ORBIT_BX)
    return orbit, np.where(good, bx, NO_BX).astype(np.uint16), good, bx


def bad_rows(
    reason: str, good: Mask, orbit: Array, file: str, first: int, values: Array | None = None
) -> list[BadRows]:
    """The rows that are not good, as one item; none when all are.

    first: entry of the first row. values: what was found there, for the message.
    """
    wrong = np.flatnonzero(~good)
    if not len(wrong):
        return []
    at = int(wrong[0])
    found = f" ({int(values[at])})" if values is not None else ""
    text = f"entry {first + at}{found} and {len(wrong) - 1} others: {reason}"
    error = BadInput(text, file=file, orbit=int(orbit[at]))
    return [BadRows(reason, error, len(wrong))]


def good_rows(
    block: Block, good: Mask, usable: Mask, tally: Tally, file: str, first: int, bx: Array
) -> Rows:
    """The rows whose crossing is ``good`` and whose sums are ``usable``; the others as bad.

    first: entry of the first row. bx: the crossing numbers that were found.
    """
    bad = bad_rows(BAD_BX, good, block.orbit, file, first, bx)
    bad += bad_rows(BAD_SUMS, usable | ~good, block.orbit, file, first)
    return Rows(only_rows(block, good & usable), tally, bad)


def block_of(
    orbit: npt.NDArray[np.uint32],
    bx: npt.NDArray[np.uint16],
    tables: Mapping[str, Table],
    crossing: Mapping[str, Array],
    *,
    contiguous: bool = False,
    scouting: bool = False,
    recorded_names: tuple[str, ...] = (),
) -> Block:
    """A block of these rows; its orbit range is that of the rows."""
    first, last = (int(orbit.min()), int(orbit.max()) + 1) if len(orbit) else (0, 0)
    return Block(
        first, last, orbit, bx, tables, crossing, recorded_names=recorded_names,
        contiguous=contiguous, scouting=scouting,
    )  # fmt: skip


def only_rows(block: Block, keep: Mask) -> Block:
    """The rows of ``keep``."""
    if keep.all():
        return block
    tables = {}
    for name, table in block.tables.items():
        objects = np.repeat(keep, table.counts())
        columns = {key: values[objects] for key, values in table.columns.items()}
        counts = table.counts()[keep]
        offsets = np.concatenate([np.zeros(1, np.int32), np.cumsum(counts, dtype=np.int32)])
        tables[name] = Table(columns, offsets)
    crossing = {name: values[keep] for name, values in block.crossing.items()}
    return block_of(
        block.orbit[keep], block.bx[keep], tables, crossing,
        contiguous=block.contiguous, scouting=block.scouting,
        recorded_names=block.recorded_names,
    )  # fmt: skip


def near(name: str, names: Iterable[str], most: int = 3) -> list[str]:
    """Names that look like ``name``, the case of letters aside."""
    by_lower = {other.lower(): other for other in names}
    close = difflib.get_close_matches(name.lower(), by_lower, n=most, cutoff=0.6)
    return [by_lower[other] for other in close]


def missing_text(missing: Sequence[str], names: Iterable[str]) -> str:
    """``a (near: b, c), d``."""
    known = tuple(names)
    parts = []
    for name in missing:
        others = near(name, known)
        parts.append(f"{name} (near: {', '.join(others)})" if others else name)
    return ", ".join(parts)
