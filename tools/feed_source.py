"""What a feed sends: ranges of events out of raw files or of the synthetic stream, made ahead."""

from __future__ import annotations

import contextlib
import queue
import re
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Protocol

from scout40.streams.errors import BadConfig, BadInput
from scout40.streams.formats import frd
from scout40.streams.sources import expanded, open_source
from scout40.streams.sources.base import Run
from scout40.streams.sources.raw import RawSource
from scout40.streams.sources.raw_packets import EventRange, RawPackets
from scout40.streams.sources.synthetic import MAX_ORBIT, SCHEME, Synthetic

BATCH_ORBITS = 128
"""Orbits of the synthetic stream that are made at once, when a message has fewer."""
GROUP, GROUP_BYTES = 8, 4 << 20
"""Ranges that are handed over together: so many, or with so many bytes."""
GROUPS = 2
"""Groups that wait to be sent."""


class Stream(Protocol):
    """Ranges in order of orbit.

    Packets of raw files are counted in the ledger of ``run`` as pending until the feed settles
    them. Packets of the synthetic stream exist from the moment that the feed takes them.
    """

    name: str
    total: int | None
    """Packets, when known."""

    def ranges(self, run: Run) -> Iterator[EventRange]: ...


class SyntheticRanges:
    """The synthetic stream from ``first_orbit`` on; with ``orbits`` it ends."""

    def __init__(
        self, stream: Synthetic, packet_orbits: int, first_orbit: int, orbits: int | None
    ) -> None:
        if first_orbit > MAX_ORBIT:
            raise BadConfig(f"first orbit {first_orbit}: the synthetic stream ends at {MAX_ORBIT}")
        self.name = stream.name
        self._stream = stream
        self._packet_orbits = packet_orbits
        self._first = first_orbit
        self.end = MAX_ORBIT + 1 if orbits is None else min(MAX_ORBIT + 1, first_orbit + orbits)
        """The orbit after the last."""
        self.total: int | None = None
        self._wanted = first_orbit

    def skip_to(self, orbit: int) -> None:
        """Make nothing before ``orbit``; ranges that are on their way still come."""
        self._wanted = orbit

    def ranges(self, run: Run) -> Iterator[EventRange]:
        """Several ranges are made at once, which costs less than one by one."""
        each = self._packet_orbits
        batch = max(BATCH_ORBITS // each, 1) * each
        first = self._first
        while (first := max(first, self._wanted)) < self.end:
            orbits = min(batch, self.end - first)
            payload, packets = self._stream.payload(first, orbits)
            yield from self._cut(payload.data, first, orbits, packets // orbits)
            first += orbits

    def _cut(
        self, payload: memoryview, first: int, orbits: int, per_orbit: int
    ) -> Iterator[EventRange]:
        """Events of ``orbits`` orbits as ranges; every orbit has ``per_orbit`` of them."""
        run, source = self._stream.run, self._stream.source_ids[0]
        begin = place = 0
        for start in range(0, orbits, self._packet_orbits):
            number = min(self._packet_orbits, orbits - start)
            for _ in range(number * per_orbit):
                place += frd.EVENT_BYTES + int.from_bytes(
                    payload[place + 16 : place + 20], "little"
                )
            packets = number * per_orbit
            yield EventRange(run, source, first + start, number, packets, payload[begin:place])
            begin = place


def open_stream(
    source: str | Sequence[str] | Synthetic, *, packet_orbits: int, loop: bool,
    orbits: int | None, first_orbit: int | None, run: int | None,
) -> Stream:  # fmt: skip
    """The stream of raw files (paths, globs, folders), of ``synthetic:...`` or of an object.

    Raises BadInput for files that cannot be read, BadConfig for what does not go together.
    """
    if not isinstance(source, Synthetic):
        names = [source] if isinstance(source, str) else source
        if not any(name.startswith(SCHEME) for name in names):
            return _raw(names, packet_orbits, loop, orbits, first_orbit, run)
        source = _synthetic(names, run)
    if loop:
        raise BadConfig("the synthetic stream has no end: nothing to loop")
    return SyntheticRanges(source, packet_orbits, first_orbit or 0, orbits)


def _synthetic(names: Sequence[str], run: int | None) -> Synthetic:
    if len(names) > 1:
        raise BadConfig(f"{', '.join(names)}: the synthetic stream cannot be merged")
    text = names[0]
    if re.search("[?&](first|last)=", text):
        raise BadConfig(f"{text!r}: a feed has --first-orbit and --orbits for that")
    if run is not None:
        text += f"{'&' if '?' in text else '?'}run={run}"
    return Synthetic.from_text(text)


def _raw(
    names: Sequence[str], packet_orbits: int, loop: bool, orbits: int | None,
    first_orbit: int | None, run: int | None,
) -> RawPackets:  # fmt: skip
    paths = expanded(names)
    if not isinstance(opened := open_source(paths), RawSource):
        raise BadInput(f"{opened.name}: a feed replays raw scouting files and {SCHEME}...")
    return RawPackets(
        paths, packet_orbits=packet_orbits, first_orbit=first_orbit, run=run, repeat=loop,
        orbits=orbits,
    )  # fmt: skip


class Ahead:
    """Takes ranges from a stream on a thread of its own, some before they are wanted.

    They are handed over in groups: a switch of threads costs more than making a small range.
    """

    def __init__(self, stream: Stream, run: Run) -> None:
        self._ready: queue.Queue[list[EventRange] | BaseException | None] = queue.Queue(GROUPS)
        self._taken: deque[EventRange] = deque()
        self._closed = threading.Event()
        self._stream, self._run = stream, run
        self._thread = threading.Thread(target=self._work, name="feed source", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        ranges = self._stream.ranges(self._run)
        group: list[EventRange] = []
        size = 0
        end: BaseException | None = None
        try:
            for part in ranges:
                group.append(part)
                size += len(part.payload)
                if len(group) == GROUP or size >= GROUP_BYTES:
                    if not self._put(group):
                        break
                    group, size = [], 0
        except BaseException as error:  # goes to the thread that takes the ranges
            end = error
        if group:
            self._put(group)
        self._put(end)

    def _put(self, item: list[EventRange] | BaseException | None) -> bool:
        while not self._closed.is_set():
            with contextlib.suppress(queue.Full):
                self._ready.put(item, timeout=0.1)
                return True
        return False

    def take(self, timeout: float) -> EventRange | None:
        """The next range; None when the stream has ended.

        Raises TimeoutError when there is none yet, and what the stream raised.
        """
        if not self._taken:
            try:
                item = self._ready.get(timeout=timeout)
            except queue.Empty:
                raise TimeoutError from None
            if item is None:
                return None
            if isinstance(item, BaseException):
                raise item
            self._taken.extend(item)
        return self._taken.popleft()

    def close(self) -> None:
        """Stop making ranges; when this returns nothing changes the ledger any more."""
        self._closed.set()
        self._thread.join()
