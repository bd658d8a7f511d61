"""Reads one raw data file (FRD): its header, and its events one after the other.

Only a window of the file is in memory; sizes are checked before anything is allocated. What is
wrong is counted by reason and quarantined, and reading goes on at the next event where the size
of the bad one leads to a header that looks right; else the rest of the file is one bad packet.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from scout40.streams.crc import crc32c
from scout40.streams.errors import BadInput
from scout40.streams.formats import frd
from scout40.streams.sources.base import Run

MAX_PAYLOAD = 64 << 20
"""Bytes of one event: an orbit with 4096 towers in every crossing has 58.4 MB."""
WINDOW = 4 << 20
SOURCE_BYTES = 4
KEPT_REST = 1 << 20
"""Bytes of the unreadable rest of a file that go to the quarantine."""

_EVENT = frd.record(frd.FrdEvent5)  # v6 differs in the first four bytes only
_START = frd.record(frd.FrdFileStart)
_FILE_HEADERS = {1: frd.FrdFileHeader1, 2: frd.FrdFileHeader2}


class Event(NamedTuple):
    """One orbit of one source. ``words`` are the bytes after the source id, valid until the next
    event of the same file is asked for; ``offset`` is the place of the event header."""

    run: int
    lumi: int
    orbit: int
    source: int
    file: str
    offset: int
    words: memoryview

    @property
    def key(self) -> tuple[int, int]:
        """Position in time."""
        return self.run, self.orbit


class EventHeader(NamedTuple):
    """Values of an FRD event header, version 5 or 6."""

    version: int
    run: int
    lumi: int
    orbit: int
    size: int
    crc32c: int

    @property
    def key(self) -> tuple[int, int]:
        """Position in time."""
        return self.run, self.orbit


@dataclass(frozen=True)
class FileHeader:
    """version 0: no header, events start at once. Sizes in bytes."""

    version: int = 0
    size: int = 0
    events: int = 0
    file_size: int = 0


def event_header(data: bytes | memoryview) -> EventHeader | None:
    """The event header at the start of ``data``; None when the version is neither 5 nor 6."""
    if len(data) < frd.EVENT_BYTES:
        return None
    head, run, lumi, orbit, size, crc = _EVENT.unpack_from(data)
    version = 5 if head == 5 else 6 if head & 0xFFFF == 6 else 0
    return EventHeader(version, run, lumi, orbit, size, crc) if version else None


def file_header(data: bytes | memoryview, name: str) -> FileHeader:
    """The file header at the start of ``data``; BadInput when it begins with RAW_ but is wrong."""
    if len(data) < 4 or bytes(data[:4]) != b"RAW_":
        return FileHeader()
    if len(data) < _START.size:
        raise BadInput("file ends inside its header", file=name, offset=0)
    version = frd.VERSIONS.get(_START.unpack_from(data)[1])
    if version is None:
        text = bytes(data[4:8])
        raise BadInput(f"file header version {text!r}, known are 0001 and 0002", file=name,
                       offset=4, field="version")  # fmt: skip
    word = _FILE_HEADERS[version]
    layout = frd.record(word)
    if len(data) < layout.size:
        raise BadInput("file ends inside its header", file=name, offset=0)
    fields = sorted(word.fields.values(), key=lambda bits: (bits.word, bits.lo))
    values = dict(zip((b.name for b in fields), layout.unpack_from(data), strict=True))
    if values["header_size"] != layout.size:
        raise BadInput(
            f"header size {values['header_size']}, expected {layout.size}",
            file=name, offset=8, field="header_size",
        )  # fmt: skip
    file_size = values["file_size_low"] | values["file_size_high"] << 32
    return FileHeader(version, layout.size, values["events"], file_size)


class FrdFile:
    """One file, read forward through a window."""

    def __init__(self, path: str) -> None:
        self.name = path
        self._file = Path(path).open("rb", buffering=0)  # noqa: SIM115, closed by close()
        self.size = os.fstat(self._file.fileno()).st_size
        self._buffer = bytearray(max(1, min(WINDOW, self.size)))
        self._start = 0
        self._filled = 0

    def close(self) -> None:
        self._file.close()

    def view(self, offset: int, length: int) -> memoryview:
        """Bytes [offset, offset + length), fewer at the end; valid until the next call."""
        length = max(0, min(length, self.size - offset))
        low = offset - self._start
        if not 0 <= low <= low + length <= self._filled:
            self._refill(offset, length)
            low = 0
        return memoryview(self._buffer)[low : min(low + length, self._filled)]

    def _refill(self, offset: int, length: int) -> None:
        if length > len(self._buffer):
            self._buffer = bytearray(max(length, min(WINDOW, self.size)))
        self._file.seek(offset)
        room, self._filled = memoryview(self._buffer), 0
        while self._filled < length or not self._filled:
            count = self._file.readinto(room[self._filled :])
            if not count:  # the file became shorter while it was read
                break
            self._filled += count
        self._start = offset

    def next_header(self, offset: int) -> EventHeader | None:
        """The event header at ``offset`` if it looks right and its event lies in the file."""
        header = event_header(self.view(offset, frd.EVENT_BYTES))
        if header is None or not SOURCE_BYTES <= header.size <= MAX_PAYLOAD:
            return None
        return header if offset + frd.EVENT_BYTES + header.size <= self.size else None


class EventReader:
    """The good events of one file in rising order; bad ones go to the run.

    Every packet is counted as received, then as bad or, for the caller to settle, as pending.
    """

    def __init__(self, path: str, run: Run) -> None:
        self._run = run
        self._account = run.ledger["packets"]
        self._file = FrdFile(path)
        self._last: tuple[int, int] = (-1, -1)
        self._sources: set[int] = set()

    def close(self) -> None:
        self._file.close()

    def events(self) -> Iterator[Event]:
        """Closes the file at its end."""
        try:
            yield from self._events()
        finally:
            self.close()

    def _events(self) -> Iterator[Event]:
        file = self._file
        if not file.size:
            self._bad("empty file", BadInput("empty file", file=file.name), 0, 0)
            return
        try:
            header = file_header(file.view(0, 64), file.name)
        except BadInput as error:
            self._bad("wrong magic", error, 0, KEPT_REST)
            return
        place, found = header.size, 0
        while place < file.size:
            event, after = self._event(place)
            if event is not None:
                yield event
            found += 1
            if after is None:
                return
            place = after
        self._check_end(header, found)

    def _event(self, place: int) -> tuple[Event | None, int | None]:
        """(event, or None when it was bad; place of the next, or None when there is none)."""
        file = self._file
        self._account.received += 1
        head = file.view(place, frd.EVENT_BYTES)
        header = event_header(head)
        if len(head) < frd.EVENT_BYTES:
            return self._stop(place, "truncated file", "file ends inside an event header", "")
        # The size stands at the same place in all versions: it may lead on even from a bad one.
        size = _EVENT.unpack_from(head)[4]
        after = place + frd.EVENT_BYTES + size
        if header is None:
            reason = "wrong magic"
            text = "neither file header RAW_ nor event version 5 or 6"
            return self._skip(place, after, reason, text, "version")
        if size > MAX_PAYLOAD:
            text = f"size {size}, at most {MAX_PAYLOAD}"
            return self._stop(place, "size beyond file", text, "size")
        if after > file.size:
            text = f"event of {size} bytes, {file.size - place - frd.EVENT_BYTES} are left"
            return self._stop(place, self._short_reason(), text, "size")
        if size < SOURCE_BYTES or size % 4:
            text = f"payload of {size} bytes is not a source id and 4-byte words"
            return self._skip(place, after, "payload not in 4-byte words", text, "size")
        whole = file.view(place, frd.EVENT_BYTES + size + frd.EVENT_BYTES)
        follower = None
        following = event_header(whole[frd.EVENT_BYTES + size :])
        if following and following.key < header.key:  # one of the two is wrong
            follower = self._follower(after)
            whole = file.view(place, frd.EVENT_BYTES + size)
        payload = whole[frd.EVENT_BYTES : frd.EVENT_BYTES + size]
        if len(payload) < size:
            return self._stop(place, "truncated file", "file became shorter", "size")
        return self._checked(place, header, payload, follower), after

    def _checked(
        self, place: int, header: EventHeader, payload: memoryview, follower: _Follower | None
    ) -> Event | None:
        """The event, when checksum, source id and orbit are right."""
        source = int.from_bytes(payload[:SOURCE_BYTES], "little")
        problem = self._problem(header, payload, source, follower)
        if problem:
            reason, text, field = problem
            error = BadInput(
                text, file=self._file.name, offset=place, orbit=header.orbit, field=field
            )
            self._run.bad(reason, error, payload)
            return None
        key = header.key
        if key != self._last:
            self._last, self._sources = key, set()
        self._sources.add(source)
        self._account.pending += 1
        return Event(
            header.run, header.lumi, header.orbit, source, self._file.name, place,
            payload[SOURCE_BYTES:],
        )  # fmt: skip

    def _problem(
        self, header: EventHeader, payload: memoryview, source: int, follower: _Follower | None
    ) -> tuple[str, str, str] | None:
        """(reason, text, field) of what is wrong with an event of good size."""
        if header.crc32c and (found := crc32c(payload)) != header.crc32c:
            text = f"payload has crc32c {found:#010x}, header says {header.crc32c:#010x}"
            return "crc mismatch", text, "crc32c"
        if source not in frd.SOURCE_KINDS:
            known = "1, 2, 10..21, 22..25, 32"
            return "unknown source id", f"source id {source}, known are {known}", "source"
        if header.key < self._last:
            text = f"orbit of run {header.run} comes after orbit {self._last[1]}"
            return "orbit going backwards", text, "orbit"
        if header.key == self._last and source in self._sources:
            return "orbit duplicated", f"second event of source {source}", "orbit"
        # One wrong high number would make everything after it look late: reject that one alone.
        if follower and follower.makes_late(header.key, self._last, self._sources):
            text = f"next is orbit {follower.key[1]} of run {follower.key[0]}"
            return "orbit going backwards", text, "orbit"
        return None

    def _follower(self, place: int) -> _Follower | None:
        header = self._file.next_header(place)
        if header is None:
            return None
        data = self._file.view(place + frd.EVENT_BYTES, SOURCE_BYTES)
        after = self._file.next_header(place + frd.EVENT_BYTES + header.size)
        return _Follower(header.key, int.from_bytes(data, "little"), after.key if after else None)

    def _short_reason(self) -> str:
        """Is the file cut off, or the size of this event wrong?"""
        try:
            header = file_header(self._file.view(0, 64), self._file.name)
        except BadInput:
            return "truncated file"
        complete = header.version and header.file_size == self._file.size
        return "size beyond file" if complete else "truncated file"

    def _check_end(self, header: FileHeader, found: int) -> None:
        """The file ended between two events: did it hold what its header announced?"""
        name, size = self._file.name, self._file.size
        if found < header.events:
            text = f"header announces {header.events} events, the file has {found}"
            error = BadInput(text, file=name, offset=size, field="events")
            self._bad("header count beyond the data", error, size, 0)
        elif header.file_size > size:
            text = f"header announces {header.file_size} bytes, the file has {size}"
            self._bad("truncated file", BadInput(text, file=name, offset=size), size, 0)

    def _skip(
        self, place: int, after: int, reason: str, text: str, field: str
    ) -> tuple[None, int | None]:
        """Bad event; goes on behind it when there is an event or the end of the file."""
        if after <= self._file.size and (
            after == self._file.size or self._file.next_header(after) is not None
        ):
            error = BadInput(text, file=self._file.name, offset=place, field=field)
            self._run.bad(reason, error, self._file.view(place, min(after - place, KEPT_REST)))
            return None, after
        return self._stop(place, reason, text, field)

    def _stop(self, place: int, reason: str, text: str, field: str) -> tuple[None, None]:
        """Bad event from which nothing leads on: the rest of the file is one bad packet."""
        error = BadInput(text, file=self._file.name, offset=place, field=field or None)
        self._run.bad(reason, error, self._file.view(place, KEPT_REST))
        return None, None

    def _bad(self, reason: str, error: BadInput, place: int, length: int) -> None:
        self._account.received += 1
        self._run.bad(reason, error, bytes(self._file.view(place, length)))


class _Follower(NamedTuple):
    """Key and source of the event that comes next in the file, and the key after it."""

    key: tuple[int, int]
    source: int
    after: tuple[int, int] | None

    def makes_late(self, key: tuple[int, int], last: tuple[int, int], sources: set[int]) -> bool:
        """Is ``key``, of the event before this one, too high? Else this one's is too low.

        This one must fit behind ``last``, and the event after it must not be beyond ``key``.
        """
        fits = self.key > last or (self.key == last and self.source not in sources)
        return fits and self.key < key and (self.after is None or self.after < key)
