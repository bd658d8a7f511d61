"""Blocks of a source through the compiled menu: in order, bounded, on several cores."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np
import numpy.typing as npt

from scout40.emulator.ugt.decide import CompiledMenu, Decisions
from scout40.streams.block import ORBIT_BX, Block, Table, offsets_of
from scout40.streams.sinks.base import Status
from scout40.streams.sources.base import Run, Source
from scout40.tools.receipt import Receipt

_CONSTANT = ("run", "lumi")
"""Crossing columns that empty crossings share with their neighbours."""

BX_SECONDS = 1.0 / (11245.5 * ORBIT_BX)
"""One bunch crossing of LHC time."""


class Asked(Protocol):
    """Something that may ask to stop; see command.Stop."""

    @property
    def requested(self) -> bool: ...


class Never:
    """Never asks to stop."""

    requested = False


def default_threads() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def crossings_of(block: Block) -> int:
    """Crossings that a block covers: all of its orbits when contiguous, else its rows."""
    if block.contiguous:
        return (block.last_orbit - block.first_orbit) * ORBIT_BX
    return len(block)


def prepare(compiled: CompiledMenu) -> float:
    """Compile or load the menu kernel before the clock of a run starts; seconds it took."""
    start = time.perf_counter()
    compiled.decide(Block(0, 1, np.zeros(1, np.uint32), np.ones(1, np.uint16)))
    return time.perf_counter() - start


def receipt_of(
    command: str, run: Run, source: Source, status: Status, *,
    outputs: Sequence[str] = (), notes: Sequence[str] = (),
) -> Receipt:  # fmt: skip
    """The receipt of a run over a source; all crossings that went out count as LHC time."""
    return Receipt(
        command=command,
        ledger=run.ledger,
        seconds=run.ledger.seconds,
        source=source.name,
        status=status,
        lhc_seconds=run.ledger["crossings"].out * BX_SECONDS,
        outputs=tuple(outputs),
        bad=tuple(run.quarantine.reasons),
        notes=tuple(notes),
    )


class Taken:
    """Blocks of the source until it ends or ``stop`` asks; no block is taken and then left.

    After a stop, what the source has seen but not yet put into a block is counted as pending.
    """

    def __init__(self, source: Source, run: Run, stop: Asked) -> None:
        self._source, self._run, self._stop = source, run, stop
        self.whole = False
        """True once the source has ended by itself."""

    @property
    def status(self) -> Status:
        return "complete" if self.whole else "interrupted"

    def __iter__(self) -> Iterator[Block]:
        blocks = self._source.blocks(self._run)
        while not self._stop.requested:
            block = next(blocks, None)
            if block is None:
                self.whole = True
                return
            self._run.ledger["crossings"].received += crossings_of(block)
            self._run.ledger.add("rows_read", len(block))
            yield block
        close = getattr(blocks, "close", None)
        if close is not None:
            close()
        packets = self._run.ledger["packets"]
        packets.pending += max(packets.missing, 0)


def decided(
    blocks: Iterator[Block], compiled: CompiledMenu, threads: int
) -> Iterator[tuple[Block, Decisions]]:
    """Every block with its decisions, in order; neighbours are handed along with each block.

    Kernels release the GIL, so ``threads`` blocks are decided at once while the next are read.
    At most ``threads + 2`` blocks are alive. With one thread everything happens in the caller's.
    """
    if threads <= 1:
        for before, block, after in _neighbours(blocks):
            yield block, compiled.decide(block, before, after)
        return
    waiting: deque[tuple[Block, Future[Decisions]]] = deque()
    with ThreadPoolExecutor(threads, "decide") as pool:
        for before, block, after in _neighbours(blocks):
            waiting.append((block, pool.submit(compiled.decide, block, before, after)))
            while len(waiting) > threads:
                done, future = waiting.popleft()
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()


def _neighbours(
    blocks: Iterator[Block],
) -> Iterator[tuple[Block | None, Block, Block | None]]:
    """(before, block, after) of every block; one block of look-ahead."""
    before: Block | None = None
    block = next(blocks, None)
    while block is not None:
        after = next(blocks, None)
        yield before, block, after
        before, block = block, after


class Filler:
    """Adds the empty crossings that a zero-suppressed stream leaves out, when they could fire.

    Whether they could depends on menu and input, so it is asked once for the first block.
    """

    def __init__(self, compiled: CompiledMenu) -> None:
        self._compiled = compiled
        self._needed: bool | None = None

    def __call__(self, blocks: Iterator[Block]) -> Iterator[Block]:
        return map(self.one, blocks)

    def one(self, block: Block) -> Block:
        """The block, with all its crossings if they are needed."""
        if self._needed is None:
            self._needed = self._compiled.needs_every_crossing(block)
        return _filled(block) if self._needed else block


def _filled(block: Block) -> Block:
    """All crossings of the block; run and luminosity section of a new row are those of the next."""
    whole = block.filled()
    if not len(block):
        return whole
    nearest = np.minimum(np.searchsorted(block.orbit, whole.orbit), len(block) - 1)
    known = {name: block.crossing[name][nearest] for name in _CONSTANT if name in block.crossing}
    return whole.replace(crossing={**whole.crossing, **known})


def rows_worth_keeping(block: Block, words: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Rows of a contiguous block with objects or decisions; an absent row means an empty one."""
    keep: npt.NDArray[np.bool_] = np.asarray(words.any(axis=1), bool)
    for table in block.tables.values():
        np.logical_or(keep, table.counts() > 0, out=keep)
    for name, values in block.crossing.items():
        if name in _CONSTANT:
            continue
        np.logical_or(keep, values.reshape(len(block), -1).any(axis=1), out=keep)
    return keep


def without_empty_rows(block: Block, keep: npt.NDArray[np.bool_]) -> Block:
    """The rows ``keep``; the others must have no objects."""
    tables = {
        name: Table(table.columns, offsets_of(table.counts()[keep]))
        for name, table in block.tables.items()
    }
    crossing = {name: values[keep] for name, values in block.crossing.items()}
    return block.replace(
        orbit=block.orbit[keep], bx=block.bx[keep], tables=tables, crossing=crossing
    )
