"""Raw scouting files as a source of blocks.

FRD files with header version 1, 2 or none, events of version 5 or 6; several files and several
source ids are merged by orbit number. A source without an event for an orbit is simply absent
for it; such orbits are counted in the facts of the ledger.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from scout40.streams.block import Block, Origin
from scout40.streams.errors import BadInput
from scout40.streams.formats import frd
from scout40.streams.sources.base import Run
from scout40.streams.sources.raw_block import Stage, block_parts
from scout40.streams.sources.raw_file import MAX_PAYLOAD, SOURCE_BYTES, Event, event_header
from scout40.streams.sources.raw_merge import contents, merged
from scout40.streams.sources.raw_unpack import (
    MAX_ORBITS,
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
        self._stages = {kind: Stage() for kind in source.kinds}
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
        staged = {kind: stage.staged() for kind, stage in self._stages.items()}
        parts = block_parts(
            self._first, self._lumi, self._run_number, staged, self._run,
            keep_intermediate=self._source.keep_intermediate,
        )  # fmt: skip
        self._count_absent()
        for stage in self._stages.values():
            stage.clear()
        self._lumi.clear()
        for block, settled in parts:
            # Counted before the part goes out: a consumer that stops there has had its packets.
            self._account.pending -= settled
            self._account.out += settled
            yield block.replace(origin=Origin(self._source.name, self._sequence))
            self._sequence += 1

    def _count_absent(self) -> None:
        orbits = len(self._lumi)
        self._run.ledger.add("orbits", orbits)
        for source in self._wanted:
            absent = orbits - self._present.get(source, 0)
            if absent:
                self._run.ledger.add(f"orbits without source {source}", absent)
        self._present.clear()
