"""Phase-2 scouting packets: PUPPI candidates or tracker muons behind 64-bit event headers.

Three wrappings, told apart by content:

- DTHBasic256: blocks of at most 8 kB, each with a 32-byte header (``GZ``, number of the block in
  its orbit, first and last flags in byte 5, payload size in units of 32 bytes in byte 6); the
  payloads of one orbit, joined, are events padded with zero words to 32 bytes;
- Native64: events one after another, zero words between them allowed;
- the same from the first muon tests, whose headers have 0 instead of 2 in bits 63..62.

The words do not say what the candidates are: tracker muons are taken when every muon of the
first MiB has its valid bit and the sizes are those of 96-bit objects, PUPPI otherwise. The bx of
the header, 0..3563, becomes 1..3564. Crossings are multiplexed over links (every 6th or 18th in
the public samples), so neighbours are not in the data: ``contiguous`` is False.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from scout40.streams.block import Block, Origin, Table, offsets_of
from scout40.streams.errors import BadInput
from scout40.streams.formats.phase2 import EventHeader, PuppiCharged, PuppiNeutral, TrackerMuon
from scout40.streams.sources.base import Run
from scout40.streams.sources.phase2_packets import (
    BAD_REASONS,
    DROPPED_REASONS,
    Stretch,
    gather,
    is_dth,
    stretches,
    walk,
)

Array = npt.NDArray[Any]
Kind = Literal["puppi", "tkmu"]

SAMPLE = 1 << 20
"""Bytes looked at to tell muons from PUPPI candidates."""


def recognise(head: bytes, path: str) -> bool:
    """True for a DTHBasic256 block, or for a chain of plausible event headers."""
    return is_dth(head) or walk(head) is not None


class Phase2Source:
    """Blocks of phase-2 packet files, with a table ``puppi`` or ``tkmu``.

    kind:
        what the candidates are; found from the data when None.

    A packet is an event (one crossing), or a piece of transport that cannot be read. One row per
    event, also without candidates. Raises BadInput when a file has no such packets.
    """

    contiguous = False
    total: int | None = None

    def __init__(self, paths: Sequence[str], *, kind: Kind | None = None) -> None:
        if not paths:
            raise BadInput("no phase-2 file given")
        self._files = []
        for path in map(str, paths):
            marked = _look(path)
            self._files.append((path, marked, kind or _kind(path, marked)))
        kinds = sorted({kind for *_, kind in self._files})
        self.name = f"phase-2 packets ({', '.join(kinds)}): {', '.join(map(str, paths))}"

    def blocks(self, run: Run) -> Iterator[Block]:
        """Blocks of at most ``run.orbits_per_block`` orbits and ``run.rows_per_block`` rows."""
        sequence = 0
        for path, marked, kind in self._files:
            name = os.path.basename(path)
            for events in _groups(_events(path, marked, kind, run), run):
                yield _block(events, kind, Origin(name, sequence))
                sequence += 1


@dataclass(slots=True)
class _Events:
    """Events of one stretch: header words (n,), objects per event (n,), words of all objects."""

    headers: npt.NDArray[np.uint64]
    counts: npt.NDArray[np.int64]
    objects: npt.NDArray[np.uint64] = field(repr=False)


def _look(path: str) -> bool:
    """True when event headers are marked with 2 in their upper bits."""
    with open(path, "rb") as stream:
        head = stream.read(4096)
    if not head:
        raise BadInput("empty file", file=path)
    if is_dth(head):
        # The older DTHBasicOA has a SlinkRocket header there, whose last byte is 0x55.
        if head[31] == 0x55:
            raise BadInput("DTHBasicOA transport is not supported, only DTHBasic256", file=path)
        return True
    marked = walk(head)
    if marked is None:
        raise BadInput("no phase-2 event header at the beginning", file=path, offset=0)
    return marked


def _kind(path: str, marked: bool) -> Kind:
    """Tracker muons when all events of the sample look like them."""
    seen = muons = 0
    for stretch in stretches(path, marked, Run()):
        counts = stretch.counts()
        if np.any(counts % 3 == 1):
            return "puppi"
        words, number = gather(stretch.words, stretch.heads, counts, True)
        if np.any(words[:, 0] & np.uint64(1) == 0):
            return "puppi"
        muons += int(number.sum())
        seen += stretch.words.nbytes
        if seen >= SAMPLE:
            break
    return "tkmu" if muons else "puppi"


def _events(path: str, marked: bool, kind: Kind, run: Run) -> Iterator[_Events]:
    """The good events of a file; the others are counted, bad ones quarantined."""
    account = run.ledger["packets"]
    for stretch in stretches(path, marked, run):
        _count_faults(stretch, path, run)
        heads, counts = stretch.heads, stretch.counts()
        account.received += len(heads)
        if kind == "tkmu":
            fits = counts % 3 != 1
            _count_odd_sizes(stretch, heads[~fits], counts[~fits], path, run)
            heads, counts = heads[fits], counts[fits]
        account.out += len(heads)
        objects, number = gather(stretch.words, heads, counts, kind == "tkmu")
        if len(heads):
            yield _Events(stretch.words[heads], number, objects)


def _count_faults(stretch: Stretch, path: str, run: Run) -> None:
    account = run.ledger["packets"]
    account.received += len(stretch.faults)
    for start, stop, code in stretch.faults.tolist():
        if code in DROPPED_REASONS:
            account.dropped[DROPPED_REASONS[code]] += 1
            continue
        header = EventHeader.unpack(stretch.words[start : start + 1])
        error = BadInput(
            BAD_REASONS[code],
            file=path,
            offset=stretch.offset_of(start),
            orbit=int(header["orbit"][0]),
            bx=int(header["bx"][0]) + 1,
        )
        run.bad(BAD_REASONS[code], error, stretch.words[start:stop].tobytes())


def _count_odd_sizes(stretch: Stretch, heads: Array, counts: Array, path: str, run: Run) -> None:
    reason = "size is not that of tracker muons"
    for head, count in zip(heads.tolist(), counts.tolist(), strict=True):
        offset = stretch.offset_of(head)
        error = BadInput(f"{reason}: {count} words", file=path, offset=offset, field="count")
        run.bad(reason, error, stretch.words[head : head + 1 + count].tobytes())


def _groups(parts: Iterator[_Events], run: Run) -> Iterator[_Events]:
    """Events joined and cut so that a group is one aligned range of orbits."""
    waiting: list[_Events] = []
    key, rows = -1, 0
    for part in parts:
        groups = _orbits(part.headers) // np.uint32(run.orbits_per_block)
        cuts = np.flatnonzero(np.diff(groups)) + 1
        ends = offsets_of(part.counts)
        for start, stop in zip([0, *cuts.tolist()], [*cuts.tolist(), len(groups)], strict=True):
            for low in range(start, stop, run.rows_per_block):
                high = min(stop, low + run.rows_per_block)
                group = int(groups[low])
                if waiting and (group != key or rows + high - low > run.rows_per_block):
                    yield _join(waiting)
                    waiting, rows = [], 0
                objects = part.objects[ends[low] : ends[high]]
                waiting.append(_Events(part.headers[low:high], part.counts[low:high], objects))
                key, rows = group, rows + high - low
    if waiting:
        yield _join(waiting)


def _join(parts: list[_Events]) -> _Events:
    if len(parts) == 1:
        return parts[0]
    return _Events(
        np.concatenate([part.headers for part in parts]),
        np.concatenate([part.counts for part in parts]),
        np.concatenate([part.objects for part in parts]),
    )


def _orbits(headers: Array) -> npt.NDArray[np.uint32]:
    return ((headers >> np.uint64(24)) & np.uint64(0xFFFFFFFF)).astype(np.uint32)


def _block(events: _Events, kind: Kind, origin: Origin) -> Block:
    header = EventHeader.unpack(events.headers)
    if kind == "tkmu":
        columns = TrackerMuon.unpack(events.objects)
    else:
        columns = puppi_columns(events.objects.reshape(-1))
    orbit = header["orbit"].astype(np.uint32)
    return Block(
        first_orbit=int(orbit.min()),
        last_orbit=int(orbit.max()) + 1,
        orbit=orbit,
        bx=(header["bx"] + np.uint16(1)).astype(np.uint16),
        tables={kind: Table(columns, offsets_of(events.counts))},
        crossing={"run": header["run"].astype(np.uint32)},
        origin=origin,
    )


def puppi_columns(words: Array) -> dict[str, Array]:
    """Columns of PUPPI words (n,): those of a charged and of a neutral candidate together.

    What a candidate does not have is 0: ``hw_weight`` and ``hw_id`` of a charged one (``hw_pid``
    above 1), ``hw_z0``, ``hw_dxy`` and ``hw_quality`` of a neutral one.
    """
    columns = PuppiCharged.unpack(words)
    neutral = PuppiNeutral.unpack(words)
    charged = columns["hw_pid"] > 1
    for name in columns.keys() - neutral.keys():
        columns[name][~charged] = 0
    for name in neutral.keys() - columns.keys():
        neutral[name][charged] = 0
        columns[name] = neutral[name]
    return columns
