"""The events of one message: what a feed sent, checked one by one, without copying the words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from scout40.streams.crc import crc32c
from scout40.streams.errors import BadInput
from scout40.streams.formats import frd
from scout40.streams.jit import njit
from scout40.streams.sources.raw_file import SOURCE_BYTES
from scout40.streams.wire import DATA, Header, Message

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]

_FIELDS = frd.FrdEvent5.fields
_HEADER = frd.EVENT_BYTES // 4
_RUN, _LUMI, _ORBIT = (_FIELDS[name].word for name in ("run", "lumi", "orbit"))
_SIZE, _CRC = _FIELDS["size"].word, _FIELDS["crc32c"].word
E_START, E_STOP, E_LUMI, E_ORBIT, E_SOURCE, _E_RUN, _E_CRC, _E_COLUMNS = range(8)
"""Columns of a table of events; what runs from the word behind the source id to the last one."""


@dataclass(frozen=True, slots=True)
class Events:
    """Good events of one message, in order of orbit.

    words: uint32, the payload. table: int64 (n, columns E_START to E_SOURCE or more).
    where: endpoint, for messages.
    """

    words: npt.NDArray[np.uint32]
    table: Ints
    run: int
    where: str

    def __len__(self) -> int:
        return len(self.table)

    @property
    def orbit(self) -> Ints:
        """Orbit of each event."""
        return self.table[:, E_ORBIT]

    def take(self, keep: Array | slice) -> Events:
        """The events that a mask, an index or a slice selects; the words stay."""
        return replace(self, table=self.table[keep])


class Problem(NamedTuple):
    """Bad events: reason for the ledger, their number, the error, their bytes."""

    reason: str
    packets: int
    error: BadInput
    data: memoryview


class Received(NamedTuple):
    """A message that was looked at. arrived: seconds of the consumer's clock.

    refused: the reason when a full queue threw its events away; they are then not in ``events``.
    """

    endpoint: str
    header: Header
    events: Events
    problems: tuple[Problem, ...]
    arrived: float
    refused: str = ""

    def without_events(self, reason: str) -> Received:
        """Its header only."""
        return self._replace(events=self.events.take(slice(0, 0)), problems=(), refused=reason)


def received(message: Message, endpoint: str, arrived: float) -> Received:
    """The message with its good and bad events; of a heartbeat or end there are none."""
    if message.header.kind != DATA:
        nothing = Events(np.zeros(0, np.uint32), _NO_EVENTS, message.header.run, endpoint)
        return Received(endpoint, message.header, nothing, (), arrived)
    return Received(endpoint, message.header, *events_of(message, endpoint), arrived)


def events_of(message: Message, where: str) -> tuple[Events, tuple[Problem, ...]]:
    """The good events of a data message, and what is wrong with the others.

    A payload that is not exactly the announced number of events is bad as a whole. Else an event
    is bad by itself: wrong checksum, unknown source id, an orbit or run outside what the header
    says, or an orbit and source that come twice or out of order.
    """
    header = message.header
    words = np.frombuffer(message.payload, np.uint8)
    aligned = words.ctypes.data % 4 == 0
    usable = words[: len(words) // 4 * 4].view("<u4") if aligned else _copied(words)
    table = np.empty((header.packets, _E_COLUMNS), np.int64)
    found, end = _walk(usable, table)
    if found != header.packets or 4 * end != len(words):
        text = f"payload holds {found} whole events, the header says {header.packets}"
        error = BadInput(text, file=where, offset=4 * int(end), orbit=header.first_orbit)
        reason = "payload is not its events"
        problem = Problem(reason, header.packets, error, message.payload)
        return Events(usable, _NO_EVENTS, header.run, where), (problem,)
    wrong = _wrong(table, message)
    problems = []
    for k, (reason, field) in sorted(wrong.items()):
        start, stop = int(table[k, E_START]), int(table[k, E_STOP])
        place = 4 * start - SOURCE_BYTES - frd.EVENT_BYTES
        orbit = int(table[k, E_ORBIT])
        error = BadInput(reason, file=where, offset=place, orbit=orbit, field=field)
        problems.append(Problem(reason, 1, error, message.payload[place : 4 * stop]))
    good = np.delete(table, sorted(wrong), axis=0) if wrong else table
    return Events(usable, good, header.run, where), tuple(problems)


def _wrong(table: Ints, message: Message) -> dict[int, tuple[str, str]]:
    """Index of a bad event -> (reason, field)."""
    header, payload = message.header, message.payload
    status = _order(table, header.run, header.first_orbit, header.orbits)
    found = {}
    starts, stops, crcs = (table[:, column].tolist() for column in (E_START, E_STOP, _E_CRC))
    for k, crc in enumerate(crcs):
        # The checksum covers the source id too.
        if crc and crc32c(payload[4 * starts[k] - SOURCE_BYTES : 4 * stops[k]]) != crc:
            found[k] = "crc mismatch", "crc32c"
    for k in np.flatnonzero(status).tolist():
        reason = _PROBLEMS[int(status[k])]
        found[k] = found.get(k, reason) if status[k] == _UNKNOWN else reason
    return found


_NO_EVENTS = np.zeros((0, _E_COLUMNS), np.int64)

_UNKNOWN = 4
_PROBLEMS = {
    1: ("run or orbit outside its message", "orbit"),
    2: ("orbit going backwards", "orbit"),
    3: ("orbit duplicated", "orbit"),
    _UNKNOWN: ("unknown source id", "source"),
}
_KNOWN = sum(1 << source for source in frd.SOURCE_KINDS)
"""A bit for each known source id; all are below 63."""


def _copied(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    return np.frombuffer(data[: len(data) // 4 * 4].tobytes(), "<u4")


@njit
def _walk(words: Array, table: Array) -> tuple[Any, Any]:
    """Fills a row for each whole event; (events, words read). Stops at the first that is not."""
    at, n = np.int64(0), 0
    while n < len(table) and at + _HEADER < len(words):
        head, size = np.int64(words[at]), np.int64(words[at + _SIZE])
        if head != 5 and head & 0xFFFF != 6:
            break
        if size < 4 or size % 4 or size // 4 > len(words) - at - _HEADER:
            break
        table[n, E_START] = at + _HEADER + 1
        table[n, E_STOP] = at + _HEADER + size // 4
        table[n, _E_RUN] = words[at + _RUN]
        table[n, E_LUMI] = words[at + _LUMI]
        table[n, E_ORBIT] = words[at + _ORBIT]
        table[n, E_SOURCE] = words[at + _HEADER]
        table[n, _E_CRC] = words[at + _CRC]
        at += _HEADER + size // 4
        n += 1
    return n, at


@njit
def _order(table: Array, run: int, first: int, orbits: int) -> Array:
    """Status of every event: 0, or a key of _PROBLEMS."""
    status = np.zeros(len(table), np.int8)
    last, seen = np.int64(-1), np.int64(0)
    for k in range(len(table)):
        orbit, source = table[k, E_ORBIT], table[k, E_SOURCE]
        place = np.int64(1) << min(source, 63)  # larger ids are unknown, thus bad anyway
        if table[k, _E_RUN] != run or orbit < first or orbit >= first + orbits:
            status[k] = 1
        elif orbit < last:
            status[k] = 2
        elif orbit == last and seen & place:
            status[k] = 3
        else:
            seen = place if orbit > last else seen | place
            last = orbit
            if not place & _KNOWN:
                status[k] = _UNKNOWN
    return status
