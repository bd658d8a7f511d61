"""Raw scouting files as a source of blocks.

FRD files with header version 1, 2 or none, events of version 5 or 6; several files and several
source ids are merged by orbit number. A source without an event for an orbit is simply absent
for it; such orbits are counted in the facts of the ledger.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from scout40.streams.block import Block, Origin, Table, offsets_of
from scout40.streams.errors import BadInput
from scout40.streams.formats import frd
from scout40.streams.sources.base import Run
from scout40.streams.sources.raw_file import MAX_PAYLOAD, SOURCE_BYTES, Event, event_header
from scout40.streams.sources.raw_merge import contents, merged
from scout40.streams.sources.raw_tables import unpack
from scout40.streams.sources.raw_unpack import (
    KEY_BITS,
    MAX_ORBITS,
    REASONS,
    BadPacket,
    Objects,
    Packets,
)

MAX_STAGED = 64 << 20
"""A block ends early when its packets have this many bytes: towers can fill 58 MB an orbit."""


def recognise(head: bytes, path: str) -> bool:
    """Is this a raw file? It begins with RAW_ or with an event of a scouting source.

    head: the first 4 KiB. path is not looked at.
    """
    if head[:4] == b"RAW_":
        return True
    header = event_header(head)
    if header is None or not SOURCE_BYTES <= header.size <= MAX_PAYLOAD or header.size % 4:
        return False
    source = head[frd.EVENT_BYTES : frd.EVENT_BYTES + SOURCE_BYTES]
    return int.from_bytes(source, "little") in frd.SOURCE_KINDS


@dataclass
class _Stage:
    """Packets of one source kind, copied together until their block is complete."""

    words: np.ndarray[tuple[int], np.dtype[np.uint32]] = field(
        default_factory=lambda: np.empty(1 << 16, np.uint32)
    )
    used: int = 0
    starts: list[int] = field(default_factory=list)
    orbits: list[int] = field(default_factory=list)
    sources: list[int] = field(default_factory=list)
    places: list[tuple[str, int, int]] = field(default_factory=list)  # file, offset, orbit

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
        self.places.append((event.file, event.offset, event.orbit))
        self.used = stop

    def packets(self) -> Packets:
        starts = np.array([*self.starts, self.used], np.int64)
        orbits, sources = np.array(self.orbits, np.int64), np.array(self.sources, np.uint8)
        return Packets(self.words[: self.used], starts[:-1], starts[1:], orbits, sources)

    def clear(self) -> None:
        self.used = 0
        for column in (self.starts, self.orbits, self.sources, self.places):
            column.clear()


class RawSource:
    """Raw scouting files, merged by orbit.

    paths:
        any files of one data taking: primary file and its ``_1``, ``_2`` companions, files that
        follow each other, or both; their order does not matter.
    keep_intermediate:
        keep muons sent by a track finder, with the column ``intermediate`` that tells them.
    Raises BadInput when a file cannot be opened.
    """

    contiguous = True

    def __init__(self, paths: Sequence[str], *, keep_intermediate: bool = False) -> None:
        if not paths:
            raise BadInput("no raw file given")
        self._files = [contents(str(path)) for path in paths]
        self._keep_intermediate = keep_intermediate
        sources = set().union(*(file.sources for file in self._files))
        self._sources = sorted(sources & set(frd.SOURCE_KINDS))
        kinds = {frd.SOURCE_KINDS[source]: None for source in self._sources}
        self._unwanted = {kind for kind in kinds if kind.startswith("tcp_") and "calo" in kinds}
        self._kinds = [kind for kind in kinds if kind not in self._unwanted]
        complete = all(file.complete for file in self._files)
        self.total: int | None = sum(file.events for file in self._files) if complete else None
        found = ", ".join(dict.fromkeys(self._kinds)) or "no known source"
        names = [Path(path).name for path in paths]
        listed = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
        self.name = f"{listed} (raw scouting: {found})"

    def blocks(self, run: Run) -> Iterator[Block]:
        """Blocks of consecutive orbits, at most ``run.orbits_per_block``.

        A missing orbit or a new run ends a block: what is between is unknown, not empty. Rows
        are the crossings with objects. Raises BadInput when not a single orbit could be read.
        """
        builder = _Builder(self, run)
        for event in merged(self._files, run):
            kind = frd.SOURCE_KINDS[event.source]
            if kind not in self._kinds:
                builder.refuse(event, kind in self._unwanted)
                continue
            if builder.ends_before(event):
                yield from builder.finish()
            builder.add(kind, event)
        yield from builder.finish()
        account = run.ledger["packets"]
        if not account.out:
            reasons = ", ".join(f"{n} x {text}" for text, n in account.bad.items())
            raise BadInput(f"{self.name}: no orbit could be read" + (reasons and f": {reasons}"))

    @property
    def kinds(self) -> list[str]:
        """Source kinds that fill tables (values of formats.frd.SOURCE_KINDS)."""
        return self._kinds

    @property
    def sources(self) -> list[int]:
        """Known source ids found."""
        return self._sources

    @property
    def keep_intermediate(self) -> bool:
        return self._keep_intermediate


class _Builder:
    """Collects the packets of one block after the other."""

    def __init__(self, source: RawSource, run: Run) -> None:
        self._source = source
        self._run = run
        self._account = run.ledger["packets"]
        self._stages = {kind: _Stage() for kind in source.kinds}
        self._wanted = [s for s in source.sources if frd.SOURCE_KINDS[s] in source.kinds]
        self._first = 0
        self._run_number = 0
        self._lumi: list[int] = []
        self._present: dict[int, int] = {}
        self._sequence = 0

    def ends_before(self, event: Event) -> bool:
        """The event belongs to another block than what is collected."""
        if not self._lumi:
            return False
        offset = event.orbit - self._first
        if event.run == self._run_number and offset == len(self._lumi) - 1:
            return False
        if event.run != self._run_number or offset > len(self._lumi):
            self._run.ledger.add("gaps in the orbit numbers", 1)
            return True
        staged = 4 * sum(stage.used for stage in self._stages.values())
        limit = min(self._run.orbits_per_block, MAX_ORBITS)
        return len(self._lumi) >= limit or staged >= MAX_STAGED

    def add(self, kind: str, event: Event) -> None:
        """The event of this or the next orbit."""
        if not self._lumi:
            self._first, self._run_number = event.orbit, event.run
        orbit = event.orbit - self._first
        if orbit == len(self._lumi):
            self._lumi.append(event.lumi)
        self._present[event.source] = self._present.get(event.source, 0) + 1
        self._stages[kind].add(orbit, event)

    def refuse(self, event: Event, twice: bool) -> None:
        """An event of a kind that fills no table."""
        self._account.pending -= 1
        if twice:
            self._account.dropped["calorimeter sent in both forms, DMA taken"] += 1
            return
        error = BadInput(
            f"source {event.source} was not among the first events of any file",
            file=event.file, offset=event.offset, orbit=event.orbit, field="source",
        )  # fmt: skip
        self._run.bad("unannounced source id", error, event.words)

    def finish(self) -> Iterator[Block]:
        """The block collected, in parts where orbits were lost to bad packets."""
        if not self._lumi:
            return
        tables: dict[str, Objects] = {}
        good = np.zeros(len(self._lumi), np.int64)  # packets of each orbit
        for kind, stage in self._stages.items():
            packets = stage.packets()
            found, bad = unpack(kind, packets, keep_intermediate=self._source.keep_intermediate)
            tables |= found
            for packet in bad:
                self._bad(stage, packets, packet)
            fine = np.ones(len(stage.places), bool)
            fine[[packet.packet for packet in bad]] = False
            good += np.bincount(packets.orbit[fine], minlength=len(good))
        block = self._block(tables)
        self._count_absent()
        for stage in self._stages.values():
            stage.clear()
        self._lumi.clear()
        for part in _parts(block, good > 0):
            start, stop = part.first_orbit - block.first_orbit, part.last_orbit - block.first_orbit
            settled = int(good[start:stop].sum())
            # Counted before the part goes out: a consumer that stops there has had its packets.
            self._account.pending -= settled
            self._account.out += settled
            yield part.replace(origin=Origin(self._source.name, self._sequence))
            self._sequence += 1

    def _bad(self, stage: _Stage, packets: Packets, bad: BadPacket) -> None:
        file, offset, orbit = stage.places[bad.packet]
        reason = REASONS[bad.status]
        start, stop = packets.starts[bad.packet], packets.stops[bad.packet]
        error = BadInput(
            f"{reason} (word {bad.word} of {stop - start} of source {stage.sources[bad.packet]})",
            file=file,
            offset=offset + frd.EVENT_BYTES + SOURCE_BYTES + 4 * bad.word,
            orbit=orbit,
            bx=bad.bx,
            field="bx" if "BX" in reason else "count",
        )
        self._account.pending -= 1
        self._run.bad(reason, error, packets.words[start:stop].tobytes())

    def _count_absent(self) -> None:
        orbits = len(self._lumi)
        self._run.ledger.add("orbits", orbits)
        for source in self._wanted:
            absent = orbits - self._present.get(source, 0)
            if absent:
                self._run.ledger.add(f"orbits without source {source}", absent)
        self._present.clear()

    def _block(self, tables: dict[str, Objects]) -> Block:
        """Rows are the crossings in which any table has objects."""
        filled = np.zeros(len(self._lumi) << KEY_BITS, bool)
        for table in tables.values():
            filled[table.key] = True
        rows = np.flatnonzero(filled)
        orbit, bx = rows >> KEY_BITS, rows & ((1 << KEY_BITS) - 1)
        made = {}
        for name, table in tables.items():
            counts = table.counts
            if len(table.key) < len(rows):  # equal lengths: this table fills every row
                counts = np.zeros(len(rows), np.int32)
                counts[np.searchsorted(rows, table.key)] = table.counts
            made[name] = Table(table.columns, offsets_of(counts))
        return Block(
            first_orbit=self._first,
            last_orbit=self._first + len(self._lumi),
            orbit=(orbit + self._first).astype(np.uint32),
            bx=bx.astype(np.uint16),
            tables=made,
            crossing={
                "run": np.full(len(rows), self._run_number, np.uint32),
                "lumi": np.array(self._lumi, np.uint32)[orbit],
            },
            contiguous=True,
            scouting=True,
        )


def _parts(block: Block, good: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> list[Block]:
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
