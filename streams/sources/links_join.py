"""Joins tables of rows (links_rows.py) by the number of the crossing, and makes blocks of them.

Without an orbit column the numbers count crossings or events from 0: number n becomes orbit
n // 3564 and bx n % 3564 + 1, rows are independent events, and the crossing column ``event``
keeps n. A number between two others that has no row is an empty crossing, unless the gap is
longer than ``GAP``, which is no run of empty crossings but another numbering.

With orbit and bx the rows are LHC time: a crossing without rows was empty, in every orbit that
has a row at all.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.streams.block import ORBIT_BX, Block, Origin, Table, offsets_of
from scout40.streams.errors import BadInput
from scout40.streams.sources.base import Run
from scout40.streams.sources.links_rows import (
    MAX_NUMBER,
    Codes,
    Kind,
    Mask,
    Piece,
    Reader,
    place_of,
)

Array = npt.NDArray[Any]

GAP = 1 << 16
"""Longest run of numbers without rows that is filled with empty crossings."""

TWICE = "place used twice in a crossing"
SPOILED = "crossing with a bad row"
UNREADABLE = "rows not readable"
FURTHER = "rows beside unreadable ones"


def sets_of(
    paths: Sequence[str], kind_of: Callable[[str], Kind | None], main: Kind, beside: Kind
) -> list[list[Reader]]:
    """Readers of each set: a table of kind ``main``, with one of ``beside`` or all without.

    Raises BadInput for files of another kind and for other numbers of them.
    """
    found: dict[str, list[Reader]] = {main.title: [], beside.title: []}
    for path in map(str, paths):
        kind = kind_of(path)
        if kind is None:
            raise BadInput(f"expected {main.title} or {beside.title}", file=path)
        found[kind.title].append(Reader(path, kind))
    first, second = found.values()
    if not first or len(second) not in (0, len(first)):
        raise BadInput(
            f"{len(first)} {main.title} and {len(second)} {beside.title}; expected one of these "
            "for each of those, or none"
        )
    if not second:
        return [[reader] for reader in first]
    return [list(pair) for pair in zip(first, second, strict=True)]


class JoinedTables:
    """Blocks of sets of tables; the tables of one set describe the same crossings.

    sets: readers of each set; the first gives the set its name. A reader whose kind has no name
    lists the crossings, so no gap is filled.
    """

    def __init__(self, kind: str, sets: Sequence[Sequence[Reader]]) -> None:
        self._sets = sets
        readers = [reader for group in sets for reader in group]
        if len({reader.timed for reader in readers}) > 1:
            with_orbit = next(r.path for r in readers if r.timed)
            without = next(r.path for r in readers if not r.timed)
            raise BadInput(f"has a column orbit, {without} has none", file=with_orbit)
        shapes = {tuple((r.kind.name, r.fields) for r in group) for group in sets}
        if len(shapes) > 1:
            raise BadInput("the inputs do not have the same tables and columns")
        self.contiguous = readers[0].timed
        counts = [reader.rows for reader in readers]
        known = [count for count in counts if count is not None]
        self.total: int | None = sum(known) if len(known) == len(counts) else None
        self.name = f"{kind}: {', '.join(reader.path for reader in readers)}"

    def blocks(self, run: Run) -> Iterator[Block]:
        """Blocks of at most ``run.rows_per_block`` rows, or ``run.orbits_per_block`` orbits.

        A packet is a row. A crossing with a bad row is left out, all its rows are counted as bad.
        What follows unreadable rows is given up, but for the next set. Raises BadInput when
        nothing could be used.
        """
        account = run.ledger["packets"]
        sequence, after = 0, 0
        failure: BadInput | None = None
        for group in self._sets:
            name = os.path.basename(group[0].path)
            for reader in group:
                reader.begin(after)
            try:
                for block, rows in _blocks(group, run):
                    account.out += rows
                    after = block.last_orbit * ORBIT_BX if self.contiguous else 0
                    yield block.replace(origin=Origin(name, sequence))
                    sequence += 1
            except BadInput as error:
                failure = error
                account.received += 1
                run.bad(UNREADABLE, error, b"")
        if not account.received:
            raise BadInput(f"{self.name}: no rows")
        if not sequence:
            raise failure or BadInput(f"no usable row: {'; '.join(run.quarantine.reasons[:1])}")


def _blocks(group: Sequence[Reader], run: Run) -> Iterator[tuple[Block, int]]:
    """Blocks of one set, each with the number of rows of tables that went into it."""
    last: int | None = None
    for found in _complete(group, run):
        parts, spoiled = _clean(group, found, run)
        if group[0].timed:
            yield from _of_orbits(group, parts, run)
            continue
        numbers = _distinct(found)
        yield from _of_numbers(group, parts, numbers, spoiled, last, run)
        last = int(numbers[-1])


def _complete(group: Sequence[Reader], run: Run) -> Iterator[list[Piece]]:
    """Pieces of all tables that hold whole crossings (whole orbits where these are known)."""
    step = ORBIT_BX if group[0].timed else 1
    sources = [_marked(reader.pieces(run)) for reader in group]
    waiting = [reader.nothing() for reader in group]
    going = set(range(len(group)))
    try:
        while going:
            # The table that is furthest behind decides what is complete.
            at = min(going, key=lambda k: _last(waiting[k]))
            piece, ended = next(sources[at], (None, True))
            if piece is not None:
                waiting[at] = waiting[at].joined(piece)
            if ended:
                going.remove(at)
            safe = min((_last(waiting[k]) // step * step for k in going), default=MAX_NUMBER)
            cuts = [int(np.searchsorted(piece.number, safe)) for piece in waiting]
            if any(cuts):
                found = [piece.part(0, cut) for piece, cut in zip(waiting, cuts, strict=True)]
                waiting = [p.part(cut, len(p)) for p, cut in zip(waiting, cuts, strict=True)]
                yield found
    except BadInput:
        # Rows that were flagged before are counted already.
        lost = sum(int((~piece.bad).sum()) for piece in waiting)
        if lost:
            run.ledger["packets"].bad[FURTHER] += lost
        raise


def _marked(pieces: Iterator[Piece]) -> Iterator[tuple[Piece | None, bool]]:
    """Each piece, and whether it is the last one; an error comes after the pieces before it."""
    held = next(pieces, None)
    while held is not None:
        following, failure = None, None
        try:
            following = next(pieces, None)
        except BadInput as error:
            failure = error
        yield held, following is None and failure is None
        if failure is not None:
            raise failure
        held = following


def _distinct(pieces: Sequence[Piece]) -> Codes:
    """The numbers of all pieces, each once, rising."""
    each = [piece.number[np.diff(piece.number, prepend=-1) != 0] for piece in pieces]
    return each[0] if len(each) == 1 else np.unique(np.concatenate(each))


def _last(piece: Piece) -> int:
    return int(piece.number[-1]) if len(piece) else -1


def _clean(group: Sequence[Reader], pieces: Sequence[Piece], run: Run) -> tuple[list[Piece], Codes]:
    """Pieces in order of place without the crossings that have bad rows, and those crossings."""
    account = run.ledger["packets"]
    ordered, spoiled = [], []
    for reader, piece in zip(group, pieces, strict=True):
        code = place_of(reader.kind, piece)
        if not np.all((np.diff(piece.number) > 0) | (np.diff(code) > 0)):
            piece = _in_order(reader, piece, code, run)
        ordered.append(piece)
        spoiled.append(piece.number[piece.bad])
    bad = np.unique(np.concatenate(spoiled))
    if not len(bad):
        return ordered, bad
    kept = []
    for piece in ordered:
        gone = np.isin(piece.number, bad)
        beside = int((gone & ~piece.bad).sum())
        if beside:
            account.bad[SPOILED] += beside
        kept.append(piece.where(np.flatnonzero(~gone)))
    return kept, bad


def _in_order(reader: Reader, piece: Piece, code: Codes, run: Run) -> Piece:
    """Rows of every crossing by rising place; those of one place become bad."""
    order = np.lexsort((code, piece.number))
    piece, code = piece.where(order), code[order]
    same = (np.diff(piece.number) == 0) & (np.diff(code) == 0) & ~(piece.bad[1:] | piece.bad[:-1])
    twice = np.zeros(len(piece), np.bool_)
    twice[1:] |= same
    twice[:-1] |= same
    if twice.any():
        _report_twice(reader, piece, twice, run)
    return Piece(piece.number, piece.columns, piece.bad | twice)


def _report_twice(reader: Reader, piece: Piece, twice: Mask, run: Run) -> None:
    at = int(np.flatnonzero(twice)[0])
    place = ", ".join(f"{name} {int(piece.columns[name][at])}" for name in reader.kind.place)
    number = int(piece.number[at])
    orbit, bx = divmod(number, ORBIT_BX) if reader.timed else (None, number - 1)
    error = BadInput(f"{TWICE}: {place}", file=reader.path, orbit=orbit, bx=bx + 1)
    run.ledger["packets"].bad[TWICE] += int(twice.sum())
    run.quarantine.put(error, b"")


def _of_numbers(
    group: Sequence[Reader],
    parts: Sequence[Piece],
    numbers: Codes,
    spoiled: Codes,
    last: int | None,
    run: Run,
) -> Iterator[tuple[Block, int]]:
    """Blocks of independent crossings; the gaps since ``last`` and between numbers are filled.

    last None: nothing came before. When the crossings are listed, no gap is filled.
    """
    gaps = np.diff(numbers, prepend=numbers[0] - 1 if last is None else last)
    listed = any(not reader.kind.name for reader in group)
    gaps[(gaps > GAP) | listed] = 1
    ends = np.cumsum(gaps, dtype=np.int64)
    most = max(1, run.rows_per_block)
    for start in range(0, int(ends[-1]), most):
        place = np.arange(start, min(start + most, int(ends[-1])))
        at = np.searchsorted(ends, place, side="right")
        chosen: Codes = numbers[at] - (ends[at] - 1 - place)
        chosen = chosen[~np.isin(chosen, spoiled)]
        if len(chosen):
            yield _block(group, parts, chosen, {"event": chosen})


def _of_orbits(
    group: Sequence[Reader], parts: Sequence[Piece], run: Run
) -> Iterator[tuple[Block, int]]:
    """Blocks of neighbouring orbits that have rows."""
    times = _distinct(parts)
    if not len(times):
        return
    orbit_of = times // ORBIT_BX
    orbits = orbit_of[np.diff(orbit_of, prepend=-1) != 0]
    jumps = np.flatnonzero(np.diff(orbits) != 1) + 1
    for low, high in itertools.pairwise([0, *jumps.tolist(), len(orbits)]):
        for first in range(low, high, max(1, run.orbits_per_block)):
            end = min(high, first + max(1, run.orbits_per_block))
            start = int(np.searchsorted(times, orbits[first] * ORBIT_BX))
            stop = int(np.searchsorted(times, (orbits[end - 1] + 1) * ORBIT_BX))
            yield _block(group, parts, times[start:stop], {})


def _block(
    group: Sequence[Reader], parts: Sequence[Piece], numbers: Codes, crossing: dict[str, Array]
) -> tuple[Block, int]:
    tables, rows = {}, 0
    for reader, piece in zip(group, parts, strict=True):
        low = int(np.searchsorted(piece.number, numbers[0]))
        high = int(np.searchsorted(piece.number, numbers[-1], side="right"))
        part = piece.part(low, high)
        rows += len(part)
        if reader.kind.name:
            counts = np.diff(np.searchsorted(part.number, numbers), append=len(part))
            tables[reader.kind.name] = Table(part.columns, offsets_of(counts))
    orbit = (numbers // ORBIT_BX).astype(np.uint32)
    block = Block(
        first_orbit=int(orbit[0]),
        last_orbit=int(orbit[-1]) + 1,
        orbit=orbit,
        bx=(numbers % ORBIT_BX + 1).astype(np.uint16),
        tables=tables,
        crossing=crossing,
        contiguous=group[0].timed,
    )
    return block, rows
