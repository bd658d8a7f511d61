"""Packets of an orbit range to a block: what raw files and live feeds have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from scout40.streams.block import Block, Table, offsets_of
from scout40.streams.errors import BadInput
from scout40.streams.formats import frd
from scout40.streams.jit import njit
from scout40.streams.sources.base import Run
from scout40.streams.sources.raw_file import SOURCE_BYTES, Event
from scout40.streams.sources.raw_tables import unpack
from scout40.streams.sources.raw_unpack import KEY_BITS, REASONS, BadPacket, Objects, Packets

Place = tuple[str, int, int, int]
"""Where a packet came from: file or endpoint, byte offset of its event header, orbit, source."""


class Staged(NamedTuple):
    """Packets of one source kind; ``place_of`` says where one came from, if it is bad."""

    packets: Packets
    place_of: Callable[[int], Place]


@dataclass
class Stage:
    """Packets of one source kind, copied together until their block is complete."""

    words: np.ndarray[tuple[int], np.dtype[np.uint32]] = field(
        default_factory=lambda: np.empty(1 << 16, np.uint32)
    )
    used: int = 0
    starts: list[int] = field(default_factory=list)
    orbits: list[int] = field(default_factory=list)
    sources: list[int] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)

    def add(self, orbit: int, event: Event) -> None:
        """``orbit`` counts from the first of the block."""
        data = np.frombuffer(event.words, np.uint32)
        stop = self.used + len(data)
        if stop > len(self.words):
            wider = np.empty(max(stop, 2 * len(self.words)), np.uint32)
            wider[: self.used] = self.words[: self.used]
            self.words = wider
        self.words[self.used : stop] = data
        self.starts.append(self.used)
        self.orbits.append(orbit)
        self.sources.append(event.source)
        self.places.append((event.file, event.offset, event.orbit, event.source))
        self.used = stop

    def staged(self) -> Staged:
        starts = np.array([*self.starts, self.used], np.int64)
        orbits, sources = np.array(self.orbits, np.int64), np.array(self.sources, np.uint8)
        packets = Packets(self.words[: self.used], starts[:-1], starts[1:], orbits, sources)
        return Staged(packets, self.places.__getitem__)

    def clear(self) -> None:
        self.used = 0
        for column in (self.starts, self.orbits, self.sources, self.places):
            column.clear()


class Part(NamedTuple):
    """A block, and the good packets that went into it."""

    block: Block
    packets: int


def block_parts(
    first: int,
    lumi: Sequence[int],
    run_number: int,
    staged: Mapping[str, Staged],
    run: Run,
    *,
    keep_intermediate: bool = False,
) -> list[Part]:
    """The block of orbits [first, first + len(lumi)), in parts where orbits were lost.

    lumi: luminosity section of each orbit. staged: by source kind; packets count their orbits
    from ``first``. Bad packets go to ``run`` (counted, quarantined) and, as far as the ledger
    is concerned, stop pending. An orbit without any good packet is left out: what was in it is
    unknown, not empty.
    """
    tables: dict[str, Objects] = {}
    good = np.zeros(len(lumi), np.int64)  # packets of each orbit
    for kind, stage in staged.items():
        packets = stage.packets
        found, bad = unpack(kind, packets, keep_intermediate=keep_intermediate)
        tables |= found
        fine = np.ones(len(packets.starts), bool)
        for packet in bad:
            _bad(stage, packet, run)
            fine[packet.packet] = False
        good += np.bincount(packets.orbit[fine], minlength=len(good))
    whole = _block(first, lumi, run_number, tables)
    parts = []
    for block in _without(whole, good > 0):
        start, stop = block.first_orbit - first, block.last_orbit - first
        parts.append(Part(block, int(good[start:stop].sum())))
    return parts


def _bad(stage: Staged, bad: BadPacket, run: Run) -> None:
    file, offset, orbit, source = stage.place_of(bad.packet)
    reason = REASONS[bad.status]
    packets = stage.packets
    start, stop = packets.starts[bad.packet], packets.stops[bad.packet]
    error = BadInput(
        f"{reason} (word {bad.word} of {stop - start} of source {source})",
        file=file,
        offset=offset + frd.EVENT_BYTES + SOURCE_BYTES + 4 * bad.word,
        orbit=orbit,
        bx=bad.bx,
        field="bx" if "BX" in reason else "count",
    )
    run.ledger["packets"].pending -= 1
    run.bad(reason, error, packets.words[start:stop].tobytes())


def _block(
    first: int, lumi: Sequence[int], run_number: int, tables: Mapping[str, Objects]
) -> Block:
    """Rows are the crossings in which any table has objects."""
    rows = _rows(len(lumi), tables)
    orbit, section = np.empty(len(rows), np.uint32), np.empty(len(rows), np.uint32)
    bx = np.empty(len(rows), np.uint16)
    _split(rows, first, np.array(lumi, np.uint32), orbit, bx, section)
    made = {}
    for name, table in tables.items():
        counts = table.counts
        if len(table.key) < len(rows):  # equal lengths: this table fills every row
            counts = np.zeros(len(rows), np.int32)
            counts[np.searchsorted(rows, table.key)] = table.counts
        made[name] = Table(table.columns, offsets_of(counts))
    return Block(
        first_orbit=first,
        last_orbit=first + len(lumi),
        orbit=orbit,
        bx=bx,
        tables=made,
        crossing={
            "run": np.full(len(rows), run_number, np.uint32),
            "lumi": section,
        },
        contiguous=True,
        scouting=True,
    )


def _rows(orbits: int, tables: Mapping[str, Objects]) -> npt.NDArray[np.int32]:
    """Keys of the crossings in which any table has objects, rising."""
    if len(tables) == 1:
        return next(iter(tables.values())).key
    filled = np.zeros(orbits << KEY_BITS, bool)
    for table in tables.values():
        filled[table.key] = True
    return np.flatnonzero(filled).astype(np.int32)


@njit
def _split(key: Any, first: int, lumi: Any, orbit: Any, bx: Any, section: Any) -> None:
    """Orbit, crossing and luminosity section of every key."""
    for row in range(len(key)):
        place = key[row] >> KEY_BITS
        orbit[row] = first + place
        bx[row] = key[row] & ((1 << KEY_BITS) - 1)
        section[row] = lumi[place]


def _without(block: Block, good: npt.NDArray[np.bool_]) -> list[Block]:
    """The block without the orbits that no packet vouches for."""
    if good.all():
        return [block]
    edges = np.flatnonzero(np.diff(np.concatenate([[False], good, [False]]).astype(np.int8)))
    parts = []
    for first, last in (edges.reshape(-1, 2) + block.first_orbit).tolist():
        start, stop = np.searchsorted(block.orbit, [first, last])
        part = block.take(int(start), int(stop))
        parts.append(part.replace(first_orbit=first, last_orbit=last))
    return parts
