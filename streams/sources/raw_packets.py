"""Raw files as ranges of consecutive orbits: the events as they are, for a feed.

A range is the payload of one message: FRD events of at most so many consecutive orbits of one
run, of all sources, in order of orbit and source id. What the readers of raw files refuse (see
raw_file.py) is counted as bad and is in no range.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scout40.streams.errors import BadConfig, BadInput
from scout40.streams.formats import frd
from scout40.streams.sources.base import Run
from scout40.streams.sources.raw_file import SOURCE_BYTES, Event
from scout40.streams.sources.raw_merge import contents, merged

MAX_STAGED = 64 << 20
"""A range ends early, between two orbits, when it has this many bytes."""
MAX_RANGE = 256 << 20
"""Bytes that one orbit may have: what one message can carry."""
LAST_ORBIT = (1 << 32) - 1
OPEN_FILES = 32

_EVENT = frd.record(frd.FrdEvent5)  # the same places in version 6


@dataclass(frozen=True, slots=True)
class EventRange:
    """FRD events of the orbits [first_orbit, first_orbit + orbits) of one run.

    source: source id of the first event. packets: number of events.
    payload: their bytes; nobody changes them any more.
    """

    run: int
    source: int
    first_orbit: int
    orbits: int
    packets: int
    payload: bytes | bytearray | memoryview

    @property
    def end_orbit(self) -> int:
        """The orbit after the last."""
        return self.first_orbit + self.orbits


class RawPackets:
    """Events of raw files, merged by orbit, cut into ranges.

    paths:
        as for RawSource. Events go out byte for byte as they stand in the file, version 5 or 6.
    packet_orbits:
        orbits of one range at most. A missing orbit or a new run ends a range early.
    first_orbit, run:
        new numbers, written into the event headers (which their checksum does not cover). The 31
        bits of the orbit number inside the payload stay as they are.
    repeat:
        after the end begin again, orbit numbers going on without a gap. Stops when a round
        finds nothing.
    orbits:
        end after this many orbits.

    Raises BadInput when a file cannot be opened; while reading, when nothing can be read at all,
    when orbit numbers pass 32 bits, and when numbers are changed but the files have several runs.
    """

    def __init__(
        self, paths: Sequence[str], *, packet_orbits: int = 16, first_orbit: int | None = None,
        run: int | None = None, repeat: bool = False, orbits: int | None = None,
    ) -> None:  # fmt: skip
        if packet_orbits < 1:
            raise BadConfig(f"{packet_orbits} orbits in a packet, at least 1")
        self._files = [contents(str(path)) for path in paths]
        self._packet_orbits = packet_orbits
        self._first_orbit, self._run_number = first_orbit, run
        self._repeat, self._left = repeat, orbits
        complete = all(file.complete for file in self._files) and not repeat and orbits is None
        self.total = sum(file.events for file in self._files) if complete else None
        names = [Path(path).name for path in paths]
        self.name = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
        self.rounds = 0
        """Times that the files were read to the end."""

    def ranges(self, run: Run) -> Iterator[EventRange]:
        """All ranges, in order; each event stands in the ledger as pending until it is settled."""
        numbers = _Numbers(self._first_orbit, self._run_number, self._repeat)
        found = True
        with _Heads() as heads:
            while found:
                found = False
                for part in self._round(run, numbers, heads):
                    found = True
                    yield part
                    if self._left == 0:
                        return
                if not found and not self.rounds:
                    raise self._nothing(run)
                self.rounds += 1
                if not self._repeat:
                    return
                numbers.next_round()

    def _round(self, run: Run, numbers: _Numbers, heads: _Heads) -> Iterator[EventRange]:
        building: _Building | None = None
        for event in merged(self._files, run):
            head = heads.read(event)
            if not _fits(event, head):
                _refuse(event, "file changed while it was read", run)
                continue
            try:
                key = numbers.of(event)
            except BadInput:
                if building is not None:  # what was good before goes out first
                    yield self._taken(building)
                raise
            if building is not None and building.ends_before(key, self._limit()):
                yield self._taken(building)
                if self._left == 0:
                    return
                building = None
            if building is None:
                building = _Building(*key, event.source)
            if len(building.payload) + len(head) + len(event.words) > MAX_RANGE:
                _refuse(event, "orbit too large for a message", run)
                continue
            building.add(key[1], _numbered(head, *key) if numbers.changed else head, event.words)
        if building is not None:
            yield self._taken(building)

    def _limit(self) -> int:
        return min(self._packet_orbits, self._left or self._packet_orbits)

    def _taken(self, building: _Building) -> EventRange:
        if self._left is not None:
            self._left -= building.orbits
        return building.finished()

    def _nothing(self, run: Run) -> BadInput:
        bad = run.ledger["packets"].bad
        reasons = ", ".join(f"{n} x {text}" for text, n in bad.items())
        return BadInput(f"{self.name}: no orbit could be read" + (reasons and f": {reasons}"))


def _fits(event: Event, head: bytes) -> bool:
    """Do the bytes read at the place of an event belong to it?"""
    if len(head) < frd.EVENT_BYTES + SOURCE_BYTES:
        return False
    _, run, _, orbit, size, _ = _EVENT.unpack_from(head)
    return bool((run, orbit, size) == (event.run, event.orbit, len(event.words) + SOURCE_BYTES))


def _refuse(event: Event, reason: str, run: Run) -> None:
    """Count as bad an event that the reader found good."""
    error = BadInput(reason, file=event.file, offset=event.offset, orbit=event.orbit)
    run.ledger["packets"].pending -= 1
    run.bad(reason, error, event.words)


def _numbered(head: bytes, run: int, orbit: int) -> bytes:
    """The head of an event with another run and orbit; its checksum covers the payload only."""
    version, _, lumi, _, size, crc = _EVENT.unpack_from(head)
    return _EVENT.pack(version, run, lumi, orbit, size, crc) + head[frd.EVENT_BYTES :]


@dataclass
class _Building:
    """The range that is being filled."""

    run: int
    first_orbit: int
    source: int
    orbits: int = 1
    packets: int = 0
    payload: bytearray = field(default_factory=bytearray)

    def ends_before(self, key: tuple[int, int], limit: int) -> bool:
        """The event (run, orbit) belongs to another range."""
        run, orbit = key
        if run == self.run and orbit == self.first_orbit + self.orbits - 1:
            return False
        follows = run == self.run and orbit == self.first_orbit + self.orbits
        return not follows or self.orbits >= limit or len(self.payload) >= MAX_STAGED

    def add(self, orbit: int, head: bytes, words: memoryview) -> None:
        self.orbits = orbit + 1 - self.first_orbit
        self.packets += 1
        self.payload += head
        self.payload += words

    def finished(self) -> EventRange:
        return EventRange(
            self.run, self.source, self.first_orbit, self.orbits, self.packets, self.payload
        )


class _Numbers:
    """(run, orbit) under which an event goes out."""

    def __init__(self, first: int | None, run: int | None, repeat: bool) -> None:
        self.changed = first is not None or run is not None
        self._one_run = self.changed or repeat
        self._first, self._run = first, run
        self._begin: tuple[int, int] | None = None
        self._shift = 0
        self._last = 0

    def of(self, event: Event) -> tuple[int, int]:
        """Raises BadInput when the orbit does not fit, or the event is of a second run."""
        if self._begin is None:
            self._begin = event.key
            if self._first is not None:
                self._shift = self._first - event.orbit
        orbit = event.orbit + self._shift
        problem = ""
        if self._one_run and event.run != self._begin[0]:
            problem = f"second run {event.run}: only one run can be renumbered or looped"
        elif not 0 <= orbit <= LAST_ORBIT:
            problem = f"orbit number {orbit} does not fit 32 bits"
        if problem:
            raise BadInput(problem, file=event.file, offset=event.offset, orbit=event.orbit)
        self._last = orbit
        return event.run if self._run is None else self._run, orbit

    def next_round(self) -> None:
        """The first orbit of the files comes after the last that went out."""
        if self._begin is not None:
            self._shift = self._last + 1 - self._begin[1]
            self.changed = True


class _Heads:
    """Reads the first bytes of events: header and source id, which an Event does not hold."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, int] = OrderedDict()

    def read(self, event: Event) -> bytes:
        """Fewer bytes, or none, when the file is no longer what it was."""
        descriptor = self._open.get(event.file)
        if descriptor is None:
            if len(self._open) == OPEN_FILES:
                os.close(self._open.popitem(last=False)[1])
            try:
                descriptor = self._open[event.file] = os.open(event.file, os.O_RDONLY)
            except OSError:
                return b""
        else:
            self._open.move_to_end(event.file)
        return os.pread(descriptor, frd.EVENT_BYTES + SOURCE_BYTES, event.offset)

    def __enter__(self) -> _Heads:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()
