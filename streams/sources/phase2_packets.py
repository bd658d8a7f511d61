"""From the bytes of a phase-2 file to the places of its events.

Transport (DTHBasic256) and the walk over event headers; see ``phase2`` for the formats.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from scout40.streams.block import ORBIT_BX
from scout40.streams.errors import BadInput
from scout40.streams.jit import njit
from scout40.streams.sources.base import Run

Array = npt.NDArray[Any]

MAGIC = b"GZ"
HEADER = 32
UNIT = 32
FULL = 255
FIRST, LAST = 0x80, 0x40
MAX_ORBIT_BYTES = 8 << 24
"""An orbit header counts the orbit's 64-bit words in 24 bits."""
WINDOW = 1 << 21
"""Bytes of plain events scanned together."""

NO_HEADER, BACKWARDS, ERROR_BIT, TRUNCATED, ENDLESS, CUT_EVENT, CUT_ORBIT = range(1, 8)
BAD_REASONS = {
    NO_HEADER: "no event header",
    BACKWARDS: "crossing not later than the one before",
    ERROR_BIT: "error bit set",
    ENDLESS: "no event header; without marks the next one cannot be found",
    TRUNCATED: "ends inside an event",
}
DROPPED_REASONS = {
    CUT_EVENT: "crossing truncated at origin",
    CUT_ORBIT: "orbit truncated at origin",
}


@dataclass(frozen=True, slots=True)
class Stretch:
    """64-bit words, and the events found in them.

    starts:
        (index of the first word, byte offset in the file) of each piece of the file.
    heads:
        int64 (n,): indices of the headers of the good events.
    faults:
        int64 (m, 3): first word, word after the last, code of what is no good event.
    """

    words: npt.NDArray[np.uint64]
    starts: tuple[tuple[int, int], ...]
    heads: npt.NDArray[np.int64]
    faults: npt.NDArray[np.int64]

    def counts(self) -> npt.NDArray[np.int64]:
        """Candidate words of each good event."""
        return (self.words[self.heads] & np.uint64(0xFF)).astype(np.int64)

    def offset_of(self, index: int) -> int:
        """Byte offset in the file of a word."""
        first, offset = max(start for start in self.starts if start[0] <= index)
        return offset + 8 * (index - first)


def is_dth(head: bytes) -> bool:
    """True when a DTHBasic256 block begins here."""
    return (
        len(head) >= HEADER
        and head.startswith(MAGIC)
        and head[5] & ~(FIRST | LAST) == 0
        and not any(head[7:16])
        and (head[5] & LAST != 0 or head[6] == FULL)
    )


def walk(head: bytes) -> bool | None:
    """True: marked event headers, False: unmarked ones, None: neither.

    Two good events must follow each other, three when damage comes after them: a header is
    easily imitated. One marked event is enough when it is the whole file.
    """
    words = np.frombuffer(head[: len(head) // 8 * 8], "<u8").tolist()
    if not words:
        return None
    marked = words[0] >> 62 >= 2
    at, time, events = 0, -1, 0
    damaged = False
    while at < len(words) and not damaged:
        word = words[at]
        if (word == 0 and (marked or events)) or (marked and word >> 62 == 3):
            at += 1
            continue
        now = (word >> 24 & 0xFFFFFFFF) * ORBIT_BX + (word >> 12 & 0xFFF)
        kind = word >> 62 == 2 if marked else word >> 56 == 0
        damaged = bool(not kind or word & 0xF00 or (word >> 12 & 0xFFF) >= ORBIT_BX or now <= time)
        if not damaged:
            at, time, events = at + 1 + (word & 0xFF), now, events + 1
    whole = marked and events == 1 and at == len(words)
    return marked if events >= (3 if damaged else 2) or whole else None


def stretches(path: str, marked: bool, run: Run) -> Iterator[Stretch]:
    """The events of a file: orbit by orbit (DTHBasic256), or window by window.

    Transport that cannot be read is counted and quarantined here; what is wrong with single
    events is left in ``faults``.
    """
    with open(path, "rb") as stream:
        head = stream.read(HEADER)
        stream.seek(0)
        if is_dth(head):
            time = -1
            for words, starts in _orbits(stream, path, run):
                heads, faults, time, _ = scan(words, marked, time, True)
                yield Stretch(words, starts, heads, faults)
        else:
            yield from _windows(stream, path, marked, run)


def _bad(reason: str, path: str, offset: int, data: bytes, run: Run) -> None:
    run.ledger["packets"].received += 1
    run.bad(reason, BadInput(reason, file=path, offset=offset), data)


def _windows(stream: BinaryIO, path: str, marked: bool, run: Run) -> Iterator[Stretch]:
    """Pieces of a plain file, each cut behind its last whole event."""
    rest, offset, time, final = b"", 0, -1, False
    while not final:
        data = stream.read(WINDOW)
        final = len(data) < WINDOW
        data = rest + data
        words = np.frombuffer(data, "<u8", len(data) // 8).astype(np.uint64)
        heads, faults, time, stop = scan(words, marked, time, final)
        yield Stretch(words, ((0, offset),), heads, faults)
        if len(faults) and faults[-1, 2] == ENDLESS:
            return
        rest = data[8 * stop :]
        offset += 8 * stop
    if rest:
        _bad("file ends inside a word", path, offset, rest, run)


def _orbits(
    stream: BinaryIO, path: str, run: Run
) -> Iterator[tuple[npt.NDArray[np.uint64], tuple[tuple[int, int], ...]]]:
    """Joined payloads of the blocks of each orbit, with the file offsets of the pieces."""
    parts: list[bytes] = []
    starts: list[tuple[int, int]] = []
    size = begin = 0

    def broken(reason: str) -> None:
        if parts:
            _bad(reason, path, begin, b"".join(parts), run)
            parts.clear()

    for offset, header, payload in _blocks(stream, path, run):
        if header[5] & FIRST:
            broken("orbit without its last block")
            starts, size, begin = [], 0, offset
        number = int.from_bytes(header[2:5], "little")
        if number != len(parts) or size > MAX_ORBIT_BYTES:
            broken("orbit with a block missing")
            _bad("block out of order", path, offset, header + payload, run)
            continue
        starts.append((size // 8, offset + HEADER))
        parts.append(payload)
        size += len(payload)
        if header[5] & LAST:
            joined = b"".join(parts)
            parts.clear()
            yield np.frombuffer(joined, "<u8").astype(np.uint64), tuple(starts)
    broken("orbit without its last block")


def _blocks(stream: BinaryIO, path: str, run: Run) -> Iterator[tuple[int, bytes, bytes]]:
    """(offset, header, payload) of every whole block; looks for the next one behind a bad one."""
    offset = 0
    while header := stream.read(HEADER):
        if not is_dth(header):
            skipped = _to_next_block(stream, header)
            _bad("no block header", path, offset, skipped[:WINDOW], run)
            offset += len(skipped)
            continue
        payload = stream.read(header[6] * UNIT)
        if len(payload) < header[6] * UNIT:
            _bad("file ends inside a block", path, offset, header + payload, run)
            return
        yield offset, header, payload
        offset += HEADER + len(payload)


def _to_next_block(stream: BinaryIO, skipped: bytes) -> bytes:
    """What lies before the next block header, which is the next thing read; at most a window."""
    begin = stream.tell() - len(skipped)
    stream.seek(begin)
    data = stream.read(WINDOW)
    at = data.find(MAGIC, 1)
    while at >= 0 and not is_dth(data[at : at + HEADER]):
        at = data.find(MAGIC, at + 1)
    skipped = data if at < 0 else data[:at]
    stream.seek(begin + len(skipped))
    return skipped


def scan(words: Array, marked: bool, time: int, final: bool) -> tuple[Array, Array, int, int]:
    """Event headers of a stretch of words.

    time:
        orbit * 3564 + bx of the event before, -1 at the beginning of a file.
    final:
        nothing follows: an event that is not whole is a fault. Else the scan stops before it.

    Returns heads (n,), faults (m, 3), the time of the last event, the word where it stopped.
    """
    heads = np.empty(len(words), np.int64)
    faults = np.empty((len(words), 3), np.int64)
    events, bad, time, stop = _scan(words, marked, time, final, heads, faults)
    return heads[:events].copy(), faults[:bad].copy(), int(time), int(stop)


@njit
def _next_header(words: Array, start: Any) -> Any:
    """First place from ``start`` that looks like an event or orbit header, else the end."""
    for i in range(start, words.shape[0]):
        word = words[i]
        bx = np.int64((word >> np.uint64(12)) & np.uint64(0xFFF))
        if (word >> np.uint64(62)) >= 2 and (word & np.uint64(0xF00)) == 0 and bx <= 3563:
            return np.int64(i)
    return np.int64(words.shape[0])


@njit
def _scan(
    words: Array, marked: bool, time: Any, final: bool, heads: Array, faults: Array
) -> tuple[int, int, Any, Any]:
    n = words.shape[0]
    events = bad = 0
    i = np.int64(0)
    while i < n:
        word = words[i]
        if word == 0 and (marked or time >= 0):
            i += 1
            continue
        kind = word >> np.uint64(62)
        failed = np.int64((word >> np.uint64(61)) & np.uint64(1))
        bx = np.int64(word >> np.uint64(12)) & 0xFFF
        orbit = np.int64(word >> np.uint64(24)) & 0xFFFFFFFF
        count = np.int64(word) & 0xFF
        if marked and kind == 3:
            # An orbit header; its events follow, unless the orbit was truncated at its origin.
            if failed:
                faults[bad, 0], faults[bad, 1], faults[bad, 2] = i, i + 1, 7
                bad += 1
            i += 1
            continue
        plain = kind == 2 if marked else (word >> np.uint64(56)) == 0
        if not plain or (word & np.uint64(0xF00)) != 0 or bx > 3563:
            stop = _next_header(words, i + 1) if marked else n
            faults[bad, 0], faults[bad, 1], faults[bad, 2] = i, stop, 1 if marked else 5
            bad += 1
            i = stop
            continue
        if i + 1 + count > n:
            if not final:
                return events, bad, time, i
            faults[bad, 0], faults[bad, 1], faults[bad, 2] = i, n, 4
            bad += 1
            i = n
            continue
        now = orbit * 3564 + bx
        code = 0
        if failed:
            code = 3 if count else 6
        elif now <= time:
            code = 2
        if code:
            faults[bad, 0], faults[bad, 1], faults[bad, 2] = i, i + 1 + count, code
            bad += 1
        else:
            heads[events] = i
            events += 1
        # After a step back the new time counts: one damaged header costs one event, not all.
        time = now
        i += 1 + count
    return events, bad, time, n


def gather(words: Array, heads: Array, counts: Array, muons: bool) -> tuple[Array, Array]:
    """Objects behind the headers, and how many each event has.

    muons False: candidate words, uint64 (n, 1). True: 96-bit objects as uint64 (n, 2), low 64
    and high 32 bits; an odd number of them ends with 32 bits of padding.
    """
    number = counts * 2 // 3 if muons else counts
    out = np.empty((int(number.sum()), 2 if muons else 1), np.uint64)
    (_gather_muons if muons else _gather)(words, heads, number, out)
    return out, number


@njit
def _gather(words: Array, heads: Array, number: Array, out: Array) -> None:
    at = 0
    for event in range(heads.shape[0]):
        for k in range(number[event]):
            out[at, 0] = words[heads[event] + 1 + k]
            at += 1


@njit
def _gather_muons(words: Array, heads: Array, number: Array, out: Array) -> None:
    at = 0
    low32 = np.uint64(0xFFFFFFFF)
    half = np.uint64(32)
    for event in range(heads.shape[0]):
        for k in range(number[event]):
            first = heads[event] + 1 + 3 * (k // 2)
            if k % 2 == 0:
                out[at, 0] = words[first]
                out[at, 1] = words[first + 1] & low32
            else:
                out[at, 0] = words[first + 2]
                out[at, 1] = words[first + 1] >> half
            at += 1
