"""Neighbours of chosen crossings, the same however the stream is cut into blocks.

A crossing before the edge of a block may have its chosen neighbour behind it. So a block is held
until the next one has been seen, unless nothing in it can change any more.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from scout40.emulator.selection import kernels
from scout40.emulator.selection.select import NEIGHBOUR, Reasons
from scout40.streams.block import ORBIT_BX, Block
from scout40.streams.errors import BadConfig, BadInput

_NEIGHBOUR = np.uint32(1 << NEIGHBOUR)
_PAST, _FUTURE = np.int64(-(1 << 60)), np.int64(1 << 60)


class Chosen(NamedTuple):
    """A block with the final reasons of its crossings, and what was handed in with it."""

    block: Block
    reasons: Reasons
    item: Any


class Windowed:
    """Marks crossings with rows that lie at most ``window`` from a chosen one as NEIGHBOUR.

    Blocks come in time order. Blocks whose orbits do not adjoin, or of different runs, are not
    neighbours: what lies between is unknown. One thread.
    """

    def __init__(self, window: int) -> None:
        if not 0 <= window < ORBIT_BX:  # so that only the next block can matter
            raise BadConfig(f"window is {window} crossings, expected 0..{ORBIT_BX - 1}")
        self._window = np.int64(window)
        self._held: Chosen | None = None
        self._end: tuple[int, int] | None = None
        self._last = _PAST

    def push(self, block: Block, reasons: Reasons, item: Any = None) -> list[Chosen]:
        """The blocks that are finished now, in the order in which they came; at most two.

        reasons: uint32 (n,) of ``Selector.reasons``; not changed. item: comes out with the block.
        Raises BadInput for independent rows when there is a window.
        """
        if not self._window:
            return [Chosen(block, reasons, item)]
        if not block.contiguous or block.last_orbit <= block.first_orbit:
            raise BadInput(
                "selection: a window needs contiguous blocks of whole orbits; set window to 0",
                orbit=block.first_orbit,
            )
        adjoins = self._end == (_run(block, 0), block.first_orbit)
        new = Chosen(block, reasons.copy(), item)
        first, last, waiting = self._spread(new, self._last if adjoins else _PAST, _FUTURE)
        done = self._release(first if adjoins else _FUTURE)
        self._last = last
        self._end = _run(block, -1), block.last_orbit
        if not waiting:
            return [*done, new]
        self._held = new
        return done

    def flush(self) -> list[Chosen]:
        """What is held, without knowing what follows; for the end of the stream, or a pause.

        After a pause, crossings of the next block still see those before.
        """
        return self._release(_FUTURE)

    def _release(self, after: np.int64) -> list[Chosen]:
        if self._held is None:
            return []
        held, self._held = self._held, None
        self._spread(held, _PAST, after)
        return [held]

    def _spread(self, part: Chosen, before: np.int64, after: np.int64) -> Any:
        block = part.block
        return kernels.spread(
            np.ascontiguousarray(block.orbit), np.ascontiguousarray(block.bx), self._window,
            before, after, _NEIGHBOUR, part.reasons,
        )  # fmt: skip


def _run(block: Block, row: int) -> int:
    """Run number of the first or last row; -1 when it is not known."""
    runs = block.crossing.get("run")
    return int(runs[row]) if runs is not None and len(runs) else -1
