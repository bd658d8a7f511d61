"""ROOT files: scouting NanoAOD, CMSSW orbit collections, central NanoAOD, plain trees with a map.

TTree and RNTuple, local or at any URL that the installed fsspec opens, any number of files with
the same content. What a file is, is seen from its branches, never from its name.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np

from scout40.streams.block import ORBIT_BX, Block, Origin, concatenate
from scout40.streams.errors import BadInput
from scout40.streams.sources.base import Run
from scout40.streams.sources.branch_map import BranchMap, read_branch_map
from scout40.streams.sources.root_file import MAGIC, expanded_url, opened, split_tree
from scout40.streams.sources.root_layout import Layout, Rows, only_rows
from scout40.streams.sources.root_look import layout_of

CHUNK_FAILURES = 4
"""Chunks of one file that may fail one after the other before the rest of it is given up."""

UNREADABLE = "ROOT file not readable"
OTHER_LAYOUT = "ROOT file with other tables or bits than the first"
BAD_CHUNK = "ROOT entries not readable"
BACKWARDS = "crossing repeated or orbit going backwards"
INCOMPLETE = "crossings missing from an orbit"


def recognise(head: bytes, path: str) -> bool:
    """True for the magic number of ROOT files."""
    return head[:4] == MAGIC


class RootSource:
    """Blocks of ROOT files of one layout.

    paths: files or URLs, ``FILE:TREE`` to choose a tree. map_file: a branch map (branch_map.py).

    A packet is an entry. A file that cannot be read, or that has other tables than the first good
    one, counts with all its entries (as one when their number is not known) and the others go on.
    Of scouting data with whole orbits blocks end at orbits; everything else has independent rows.

    Raises BadInput when no file at all can be used, BadConfig for a bad map.
    """

    def __init__(self, paths: Sequence[str], *, map_file: str | None = None) -> None:
        if not paths:
            raise BadInput("no ROOT file given")
        self._paths = [place for path in paths for place in expanded_url(str(path))]
        self._map: BranchMap | None = read_branch_map(map_file) if map_file else None
        layout = self._first_good()
        self._signature = layout.signature
        self.contiguous: bool = layout.contiguous
        self.total: int | None = layout.ntuple.entries if len(self._paths) == 1 else None
        self._per_orbit = layout.per_orbit
        shown = ", ".join(self._paths[:3]) + (", ..." if len(self._paths) > 3 else "")
        self.name: str = f"ROOT, {layout.name}: {shown}"

    def _first_good(self) -> Layout:
        """The layout of the first file that has one; the file stays open for ``blocks``.

        Opening a NanoAOD tree of thousands of branches takes a second.
        """
        errors: list[BadInput] = []
        for path in self._paths:
            with ExitStack() as stack:
                try:
                    file = stack.enter_context(opened(path))
                    layout = layout_of(file, self._map)
                except BadInput as error:
                    errors.append(error)
                    continue
                self._open: dict[str, tuple[ExitStack, Layout]] = {path: (stack.pop_all(), layout)}
                return layout
        if len(errors) == 1:
            raise errors[0]
        raise BadInput(f"none of {len(errors)} files can be used: {errors[0]}; {errors[1]}; ...")

    def blocks(self, run: Run) -> Iterator[Block]:
        """Blocks of at most ``run.rows_per_block`` rows, or ``run.orbits_per_block`` orbits.

        Raises BadInput when the files have not a single entry.
        """
        counted = run.ledger["packets"]
        source = self._whole_orbits(run) if self.contiguous else self._chunks(run)
        for sequence, (path, block) in enumerate(source):
            name = split_tree(path)[0].rstrip("/").rsplit("/", 1)[-1]
            counted.out += block_entries(block, self._per_orbit)
            yield block.replace(origin=Origin(name, sequence))
        if not counted.received:
            raise BadInput(f"{self.name}: no entries")

    def _chunks(self, run: Run) -> Iterator[tuple[str, Block]]:
        """(file, block) of every chunk with rows, in the order of the files."""
        first_row = 0
        for path in self._paths:
            try:
                with self._layout(path) as layout:
                    if layout.signature != self._signature:
                        text = f"{OTHER_LAYOUT}: {layout.name}"
                        _give_up(
                            run, OTHER_LAYOUT, BadInput(text, file=path), layout.ntuple.entries
                        )
                        continue
                    for block in self._file(layout, run, first_row):
                        yield path, block
                    first_row += layout.ntuple.entries
            except BadInput as error:
                run.ledger["packets"].received += 1
                run.bad(UNREADABLE, error, b"")

    @contextmanager
    def _layout(self, path: str) -> Iterator[Layout]:
        """The layout of an open file, which is closed afterwards."""
        kept = self._open.pop(path, None)
        if kept is not None:
            with kept[0]:
                yield kept[1]
            return
        with opened(path) as file:
            yield layout_of(file, self._map)

    def _file(self, layout: Layout, run: Run, first_row: int) -> Iterator[Block]:
        """Blocks of one file; a chunk that fails is counted and the next one is tried."""
        ntuple = layout.ntuple
        step = chunk_rows(run, self.contiguous, self._per_orbit)
        failures = 0
        for start in range(0, ntuple.entries, step):
            stop = min(start + step, ntuple.entries)
            try:
                rows = _read(layout, start, stop, first_row + start)
            except BadInput as error:
                failures += 1
                if failures == CHUNK_FAILURES:
                    _give_up(run, BAD_CHUNK, error, ntuple.entries - start)
                    return
                _give_up(run, BAD_CHUNK, error, stop - start)
                continue
            failures = 0
            run.ledger["packets"].received += stop - start
            rows.tally.add_to(run.ledger)
            for reason, wrong, count in rows.bad:
                run.ledger["packets"].bad[reason] += count
                run.quarantine.put(wrong, b"")
            if len(rows.block) or self._per_orbit:
                yield rows.block

    def _whole_orbits(self, run: Run) -> Iterator[tuple[str, Block]]:
        """Chunks cut anew at the ends of orbits; an orbit may span chunks and files.

        Rows that do not come after the last one, and orbits with missing crossings, are counted
        as bad: a missing row would read as an empty crossing.
        """
        if self._per_orbit:
            yield from self._chunks(run)
            return
        held: Block | None = None
        where, last = "", (-1, -1)
        for path, chunk in self._chunks(run):
            fresh, last = _forward(chunk, last, run, path)
            joined = fresh if held is None else concatenate([held, fresh])
            earlier = np.flatnonzero(joined.orbit != joined.orbit[-1:])
            cut = int(earlier[-1]) + 1 if len(earlier) else 0
            yield from ((path, block) for block in _complete(joined.take(0, cut), run, path))
            held, where = joined.take(cut, len(joined)), path
        if held is not None:
            yield from ((where, block) for block in _complete(held, run, where))


def _give_up(run: Run, reason: str, error: BadInput, entries: int) -> None:
    """Count entries that are not read, under one reason and with one message."""
    run.ledger["packets"].received += entries
    run.ledger["packets"].bad[reason] += entries
    run.quarantine.put(error, b"")


def _read(layout: Layout, start: int, stop: int, first_row: int) -> Rows:
    """A chunk; what is not foreseen in damaged columns is a BadInput too."""
    try:
        return layout.rows(start, stop, first_row)
    except BadInput:
        raise
    except (ValueError, IndexError, TypeError, OverflowError, MemoryError) as error:
        text = " ".join(str(error).split())[:200]
        raise BadInput(
            f"entries {start}..{stop - 1} damaged ({type(error).__name__}: {text})",
            file=layout.ntuple.file,
        ) from None


def chunk_rows(run: Run, contiguous: bool, per_orbit: bool) -> int:
    """Entries read at a time."""
    if per_orbit:
        return max(1, run.orbits_per_block)
    most = max(1, run.rows_per_block)
    return min(most, run.orbits_per_block * ORBIT_BX) if contiguous else most


def block_entries(block: Block, per_orbit: bool) -> int:
    """Entries of the file that a block came from."""
    return block.last_orbit - block.first_orbit if per_orbit else len(block)


def _forward(
    block: Block, last: tuple[int, int], run: Run, path: str
) -> tuple[Block, tuple[int, int]]:
    """Rows that come after all earlier ones of the same run, and the new (run, time).

    Orbit numbers begin anew with a run.
    """
    if not len(block):
        return block, last
    runs = block.crossing.get("run", np.zeros(len(block), np.uint32)).astype(np.int64)
    time = block.time()
    stretch = np.cumsum(np.diff(runs, prepend=last[0]) != 0)
    # 2^44 crossings are more than 32-bit orbit numbers can count, so stretches cannot overlap.
    key = (stretch << 44) + time
    highest = np.maximum.accumulate(np.concatenate([[last[1]], key]))[:-1]
    fresh = key > highest
    stale = np.flatnonzero(~fresh)
    if len(stale):
        orbit, bx = int(block.orbit[stale[0]]), int(block.bx[stale[0]])
        text = f"{BACKWARDS}, here and in {len(stale) - 1} more rows"
        run.ledger["packets"].bad[BACKWARDS] += len(stale)
        run.quarantine.put(BadInput(text, file=path, orbit=orbit, bx=bx), b"")
    kept = only_rows(block, fresh)
    if not len(kept):
        return kept, last
    newest = int(np.flatnonzero(fresh)[-1])
    return kept, (int(runs[newest]), int(time[newest]))


def _complete(block: Block, run: Run, path: str) -> Iterator[Block]:
    """Blocks of neighbouring complete orbits; the rows of the others are counted as bad."""
    if not len(block):
        return
    runs = block.crossing.get("run", np.zeros(len(block), np.uint32))
    change = (np.diff(block.orbit.astype(np.int64)) != 0) | (np.diff(runs.astype(np.int64)) != 0)
    starts = np.concatenate([[0], np.flatnonzero(change) + 1, [len(block)]])
    sizes = np.diff(starts)
    for at in np.flatnonzero(sizes != ORBIT_BX):
        orbit = int(block.orbit[starts[at]])
        missing = f"{sizes[at]} of {ORBIT_BX} crossings"
        run.ledger["packets"].bad[INCOMPLETE] += int(sizes[at])
        run.quarantine.put(BadInput(f"{INCOMPLETE}: {missing}", file=path, orbit=orbit), b"")
    whole = np.repeat(sizes == ORBIT_BX, sizes)
    good = only_rows(block, whole)
    if not len(good):
        return
    orbits = good.orbit[::ORBIT_BX].astype(np.int64)
    of_run = runs[whole][::ORBIT_BX].astype(np.int64)
    jump = (np.diff(orbits) != 1) | (np.diff(of_run) != 0)
    cuts = [0, *(np.flatnonzero(jump) + 1).tolist(), len(orbits)]
    for low, high in itertools.pairwise(cuts):
        for first in range(low, high, max(1, run.orbits_per_block)):
            end = min(high, first + max(1, run.orbits_per_block))
            part = good.take(first * ORBIT_BX, end * ORBIT_BX)
            yield part.replace(first_orbit=int(orbits[first]), last_orbit=int(orbits[end - 1]) + 1)
