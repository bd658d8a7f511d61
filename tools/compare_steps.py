"""Emulated muons and jets against files of expected ones, row by row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.streams.block import Block
from scout40.streams.errors import BadConfig, BadInput
from scout40.streams.sources.base import Run
from scout40.tools.chain import TABLE, Chain, Stage
from scout40.tools.job import completed, open_inputs
from scout40.tools.pipeline import Asked, Never, Taken, crossings_of, receipt_of
from scout40.tools.receipt import Receipt
from scout40.tools.show import Progress, Silent
from scout40.tools.steps import Columns, Expected, place_of, read_expected

KEPT = 3
"""Differing crossings that are kept with all their inputs, if not asked for another number."""

Row = dict[str, int]


@dataclass
class Crossing:
    """A crossing with a difference: its inputs, and both versions of every differing row.

    pairs: (expected, ours), None where a row is missing.
    """

    file: str
    step: str
    orbit: int
    bx: int
    number: int | None
    inputs: list[Row]
    pairs: list[tuple[Row | None, Row | None]]


@dataclass
class Tally:
    """One file of expected rows.

    rows: expected ones, of an interrupted run those it came to. different: rows with another
    value in some column, or on one side only; of them missing (expected only) and extra (ours
    only). columns: differing values by column.
    """

    file: str
    step: str
    rows: int
    different: int = 0
    missing: int = 0
    extra: int = 0
    columns: Counter[str] = field(default_factory=Counter)
    compared: list[str] = field(default_factory=list)
    not_compared: list[str] = field(default_factory=list)


@dataclass
class StepComparison:
    """What a comparison of steps found."""

    receipt: Receipt
    tallies: list[Tally]
    first: list[Crossing]

    @property
    def rows(self) -> int:
        return sum(tally.rows for tally in self.tallies)

    @property
    def different(self) -> int:
        return sum(tally.different for tally in self.tallies)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            **self.receipt.as_dict(),
            "rows": self.rows,
            "different": self.different,
            "files": [vars(tally) for tally in self.tallies],
            "first_differences": [vars(crossing) for crossing in self.first],
        }


def compare_steps(
    inputs: Sequence[str],
    expected: Sequence[str],
    chain: Chain,
    *,
    map_file: str | None = None,
    first: int = KEPT,
    stop: Asked | None = None,
    progress: Progress | None = None,
) -> StepComparison:
    """Run ``chain`` over the inputs and compare with every file of ``expected`` (Parquet).

    first: differing crossings to keep in full.

    Raises BadConfig for a chain that starts at the objects, BadInput for inputs or files that
    cannot be used, or a file none of whose crossings is in the inputs.
    """
    if chain.start == "objects":
        raise BadConfig("a file of expected rows (--expected) needs --from links or --from towers")
    files = [read_expected(path, chain.start, chain.calo_config) for path in expected]
    tallies = [Tally(one.path, one.step.name, len(one.place)) for one in files]
    source = open_inputs(completed(inputs, chain), map_file)
    run, stage, told = Run(), chain.stage(source), progress or Silent()
    taken = Taken(source, run, stop or Never())
    told.set_total(source.total)
    met = [np.zeros(len(one.place), bool) for one in files]
    kept: list[Crossing] = []
    for block in taken:
        for one, tally, seen in zip(files, tallies, met, strict=True):
            kept += _compare(stage, block, one, tally, seen, first - len(kept))
        run.ledger["crossings"].out += crossings_of(block)
        told.update(run.ledger["packets"].received, run.ledger["crossings"].out)
    for one, tally, seen in zip(files, tallies, met, strict=True):
        if not taken.whole:
            tally.rows = int(np.count_nonzero(seen))
            continue
        if len(seen) and not seen.any():
            raise BadInput(f"no crossing of {one.path} is in the input", file=source.name)
        absent = int(np.count_nonzero(~seen))
        tally.missing += absent
        tally.different += absent
    receipt = receipt_of("compare", run, source, taken.status, notes=stage.notes)
    return StepComparison(receipt, tallies, kept)


def _compare(
    stage: Stage, block: Block, expected: Expected, tally: Tally, seen: Any, room: int
) -> list[Crossing]:
    """Count the differences of one block; its first crossings that differ, at most ``room``."""
    numbers = _numbers(block, expected)
    if not len(numbers):
        return []
    low, high = np.searchsorted(expected.crossing, [numbers[0], numbers[-1] + 1])
    if seen[low:high].any():
        raise BadInput("the input has crossings of this file twice", file=expected.path)
    seen[low:high] = True
    rows, columns = expected.step.rows(stage, block, expected.configs)
    ours = place_of(numbers[rows], columns, expected.step.keys, "emulated rows")
    order = np.argsort(ours, kind="stable")
    ours, columns = ours[order], {name: values[order] for name, values in columns.items()}
    theirs = {name: values[low:high] for name, values in expected.columns.items()}
    _, at, mine = np.intersect1d(
        expected.place[low:high], ours, assume_unique=True, return_indices=True
    )
    placing = {"bx", "orbit", "event", *expected.step.keys}
    shared = [name for name in theirs if name in columns and name not in placing]
    tally.compared = shared
    if expected.step.name == "input muons":  # its other columns are the inputs themselves
        tally.compared = shared = [name for name in shared if name.startswith("exp_")]
    left = [name for name in theirs if name not in shared and name not in placing]
    tally.not_compared = [*left, *expected.floats]
    wrong = np.zeros(len(at), bool)
    for name in shared:
        differs = theirs[name][at] != columns[name][mine]
        tally.columns[name] += int(np.count_nonzero(differs))
        wrong |= differs
    missing = np.setdiff1d(np.arange(high - low), at, assume_unique=True)
    extra = np.setdiff1d(np.arange(len(ours)), mine, assume_unique=True)
    tally.missing += len(missing)
    tally.extra += len(extra)
    tally.different += int(np.count_nonzero(wrong)) + len(missing) + len(extra)
    bad = np.unique(
        np.concatenate(
            [expected.crossing[low:high][at[wrong]], expected.crossing[low:high][missing],
             numbers[rows[order]][extra]]
        )
    )  # fmt: skip
    names = [*expected.step.keys, *shared]
    return [
        _crossing(
            block, numbers, expected, number, names,
            _picked(theirs, expected.crossing[low:high] == number, names),
            _picked(columns, numbers[rows[order]] == number, names),
        )
        for number in bad[: max(0, room)].tolist()
    ]  # fmt: skip


def _numbers(block: Block, expected: Expected) -> npt.NDArray[np.int64]:
    """What the file calls the crossings of a block, rising."""
    if expected.timed:
        return block.time()
    if "event" not in block.crossing:
        raise BadInput("has no column orbit, but the input has orbits", file=expected.path)
    numbers = block.crossing["event"].astype(np.int64)
    if np.any(np.diff(numbers) <= 0):
        raise BadInput("the events of the input are not in rising order", file=expected.path)
    return numbers


def _picked(columns: Columns, chosen: Any, names: Sequence[str]) -> list[Row]:
    places = np.flatnonzero(chosen)
    return [{name: int(columns[name][k]) for name in names} for k in places]


def _crossing(
    block: Block,
    numbers: npt.NDArray[np.int64],
    expected: Expected,
    number: int,
    names: Sequence[str],
    theirs: list[Row],
    ours: list[Row],
) -> Crossing:
    def place(row: Row) -> tuple[int, ...]:
        return tuple(row[key] for key in expected.step.keys)

    left, right = ({place(row): row for row in rows} for rows in (theirs, ours))
    pairs = [(left.get(k), right.get(k)) for k in sorted(left | right)]
    inputs: list[Row] = []
    k = int(np.searchsorted(numbers, number))
    inside = k < len(numbers) and numbers[k] == number
    if inside:
        table = block.tables[TABLE[expected.step.start]].take_crossings(k, k + 1)
        kept = table["hw_pt"] > 0 if "hw_pt" in table.columns else table["hw_et"] > 0
        inputs = _picked(dict(table.columns), kept, list(table.columns))
    return Crossing(
        file=expected.path,
        step=expected.step.name,
        orbit=int(block.orbit[k]) if inside else -1,
        bx=int(block.bx[k]) if inside else -1,
        number=None if expected.timed else number,
        inputs=inputs,
        pairs=[(a, b) for a, b in pairs if a != b],
    )
