"""Events of several raw files merged by orbit, and the table of contents made before."""

from __future__ import annotations

import heapq
import os
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field

from scout40.streams.errors import BadInput
from scout40.streams.formats import frd
from scout40.streams.sources.base import Run
from scout40.streams.sources.raw_file import (
    SOURCE_BYTES,
    Event,
    EventReader,
    FrdFile,
    event_header,
    file_header,
)

MAX_LISTED = 1 << 17
"""Events of one file that the table of contents looks at."""


@dataclass
class Contents:
    """What a file holds, from its headers alone.

    first:
        smallest (run, orbit) of its first events: the file is opened when the merge comes there.
    complete:
        every event was seen, so ``events`` is exact.
    """

    path: str
    first: tuple[int, int] = (0, 0)
    events: int = 0
    sources: set[int] = field(default_factory=set)
    complete: bool = True


def contents(path: str) -> Contents:
    """Table of contents of one file; raises BadInput when it cannot be opened."""
    try:
        file = FrdFile(path)
    except OSError as error:
        raise BadInput(f"cannot be opened: {error.strerror}", file=path) from error
    try:
        return _listed(file)
    finally:
        file.close()


def _listed(file: FrdFile) -> Contents:
    found = Contents(file.name)
    try:
        place = file_header(file.view(0, 64), file.name).size
    except BadInput:
        return found
    descriptor = os.open(file.name, os.O_RDONLY)
    firsts: list[tuple[int, int]] = []
    try:
        while place < file.size:
            if found.events == MAX_LISTED:
                found.complete = False
                break
            head = os.pread(descriptor, frd.EVENT_BYTES + SOURCE_BYTES, place)
            if len(head) < frd.EVENT_BYTES + SOURCE_BYTES:
                break
            found.events += 1
            header = event_header(head)
            if header is not None:
                found.sources.add(int.from_bytes(head[frd.EVENT_BYTES :], "little"))
                firsts += [header.key] if len(firsts) < 3 else []
            place += frd.EVENT_BYTES + int.from_bytes(head[16:20], "little")
    finally:
        os.close(descriptor)
    found.first = min(firsts, default=(0, 0))
    return found


def merged(files: Sequence[Contents], run: Run) -> Iterator[Event]:
    """Events of all files by (run, orbit); of one orbit by source id, then by file.

    A file is opened when the merge comes to its first orbit, so a long list of files that follow
    each other needs one window. The words of an event are valid until the next one is asked for.
    A source that appears twice for an orbit, or an orbit before the last one, is bad. Events stand
    in the ledger as pending until the caller settles them.
    """
    heap: list[tuple[tuple[int, int], int, int]] = []
    waiting: dict[int, tuple[Event, Generator[Event, None, None]]] = {}
    for number, file in enumerate(files):
        # A file that is not open yet goes before all events of its first orbit.
        heapq.heappush(heap, (file.first, -1, number))
    last: tuple[int, int] = (-1, -1)
    sources: set[int] = set()
    try:
        while heap:
            _, _, number = heapq.heappop(heap)
            if number in waiting:
                event, stream = waiting.pop(number)
                if event.key > last:
                    last, sources = event.key, set()
                if event.key < last or event.source in sources:
                    _reject(event, last, run)
                else:
                    sources.add(event.source)
                    yield event
            else:
                stream = _opened(files[number].path, run)
            following = next(stream, None)
            if following is not None:
                waiting[number] = following, stream
                heapq.heappush(heap, (following.key, following.source, number))
    finally:
        for _, stream in waiting.values():
            stream.close()


def _opened(path: str, run: Run) -> Generator[Event, None, None]:
    try:
        reader = EventReader(path, run)
    except OSError as error:
        run.ledger["packets"].received += 1
        run.bad("file cannot be read", BadInput(str(error.strerror), file=path), b"")
        return
    yield from reader.events()


def _reject(event: Event, last: tuple[int, int], run: Run) -> None:
    if event.key < last:
        reason, text = "orbit going backwards", f"other files are at orbit {last[1]}"
    else:
        reason, text = "orbit duplicated", f"second event of source {event.source}"
    error = BadInput(
        text, file=event.file, offset=event.offset, orbit=event.orbit, field="orbit"
    )  # fmt: skip
    run.ledger["packets"].pending -= 1
    run.bad(reason, error, event.words)
