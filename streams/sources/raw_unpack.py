"""Walks scouting packets: many orbits of one source kind at once.

A packet is the payload of one event without its source id: a sequence of blocks, one for each
crossing. Two passes: ``directory`` checks every block against the end of its packet and lists
them, ``gather`` copies the words of the objects that are kept. Nothing is read beyond a packet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from scout40.streams.block import ORBIT_BX
from scout40.streams.errors import BadInput
from scout40.streams.formats import calo
from scout40.streams.formats.bmtf import BmtfBlockHeader
from scout40.streams.formats.calo import CaloBlockHeader, CaloSumsHeader
from scout40.streams.formats.gmt import GmtBlockHeader, GmtMuon
from scout40.streams.formats.tower import CaloTower, TowerBlockHeader
from scout40.streams.jit import njit
from scout40.streams.layout import Bits, Word

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]

CUT_HEADER, CUT_BODY, BAD_BX, REPEATED_BX = 1, 2, 3, 4
REASONS = {
    CUT_HEADER: "block header cut off",
    CUT_BODY: "count beyond the data",
    BAD_BX: "BX 0 or above 3564",
    REPEATED_BX: "BX repeated",
}
"""Status of a bad packet -> reason under which it is counted."""

KEY_BITS = 12
"""Bits of the crossing in a sort key ``orbit << 12 | bx``; 3564 < 4096."""
MAX_ORBITS = 1 << (31 - KEY_BITS)
"""Orbits of one call, so that keys are int32."""


class Packets(NamedTuple):
    """Packets of one source kind, in order of orbit and arrival.

    words:
        uint32, shape (w,); packet k is words[starts[k]:stops[k]].
    orbit:
        int64, rising: 0, 1, 2, ... below MAX_ORBITS, counted from any first orbit.
    source:
        uint8, source id of each packet.
    """

    words: npt.NDArray[np.uint32]
    starts: Ints
    stops: Ints
    orbit: Ints
    source: npt.NDArray[np.uint8]

    def check(self, kind: str) -> None:
        """Raise BadInput when a packet lies outside ``words`` or an orbit outside its range."""
        starts, stops = self.starts, self.stops
        if not len(starts) == len(stops) == len(self.orbit) == len(self.source):
            raise BadInput(f"{kind}: packet arrays of unequal length")
        if not len(starts):
            return
        if starts.min() < 0 or stops.max() > len(self.words) or np.any(starts > stops):
            raise BadInput(f"{kind}: packet limits outside {len(self.words)} words")
        if self.orbit.min() < 0 or self.orbit.max() >= MAX_ORBITS:
            raise BadInput(f"{kind}: at most {MAX_ORBITS} orbits at once", field="orbit")

    def take(self, start: int, stop: int) -> Packets:
        """Packets [start, stop), as views."""
        part = slice(start, stop)
        return Packets(
            self.words, self.starts[part], self.stops[part], self.orbit[part], self.source[part]
        )


class BadPacket(NamedTuple):
    """packet: its index; status: key of REASONS; word: place in the packet; bx: as read."""

    packet: int
    status: int
    word: int
    bx: int


class Directory(NamedTuple):
    """Pieces of packets that hold objects, shape (pieces,).

    packet int32; key int32, orbit << 12 | bx; start int64, word index of the first object;
    number int32, number of objects.
    """

    packet: npt.NDArray[np.int32]
    key: npt.NDArray[np.int32]
    start: Ints
    number: npt.NDArray[np.int32]

    def take(self, where: Array | slice) -> Directory:
        """The pieces that an index, a mask or a slice selects."""
        return Directory(self.packet[where], self.key[where], self.start[where], self.number[where])


class Objects(NamedTuple):
    """One table: rows are the crossings that have objects, in time order.

    key int32, strictly rising, orbit << 12 | bx; counts int32: shape (rows,).
    columns: shape (objects,).
    """

    key: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int32]
    columns: dict[str, Array]

    @property
    def orbit(self) -> npt.NDArray[np.int32]:
        """Orbit of each row, as in Packets."""
        return self.key >> KEY_BITS

    @property
    def bx(self) -> npt.NDArray[np.uint16]:
        """Crossing of each row, 1..3564."""
        return (self.key & ((1 << KEY_BITS) - 1)).astype(np.uint16)


@dataclass(frozen=True)
class Shape:
    """How the blocks of one source kind are built.

    header:
        the words in front of the objects; its field ``bx`` is read.
    counts:
        header fields (of word 0) that add up to the number of objects; none: ``fixed`` objects.
    stride:
        words of one object.
    unique:
        a crossing may appear once in a packet: its table has one row a crossing.
    """

    header: type[Word]
    counts: tuple[Bits, ...]
    stride: int
    fixed: int = 0
    unique: bool = False


_OBJECT_LIST = Shape(CaloBlockHeader, (CaloBlockHeader.fields["count"],), 1)
SHAPES: dict[str, Shape] = {
    "gmt": Shape(
        GmtBlockHeader, (GmtBlockHeader.fields["n_a"], GmtBlockHeader.fields["n_b"]), GmtMuon.words
    ),
    "calo": Shape(CaloBlockHeader, (), calo.DMA_WORDS - CaloBlockHeader.words, 1, unique=True),
    "bmtf": Shape(BmtfBlockHeader, (BmtfBlockHeader.fields["count"],), 2),
    "tower": Shape(TowerBlockHeader, (TowerBlockHeader.fields["count"],), CaloTower.words),
    "tcp_jet": _OBJECT_LIST,
    "tcp_eg": _OBJECT_LIST,
    "tcp_tau": _OBJECT_LIST,
    "tcp_sums": Shape(CaloSumsHeader, (), calo.CaloSums.words, 1, unique=True),
}
"""Source kind (formats.frd.SOURCE_KINDS) -> shape of its blocks."""


def packets_of(arrays: Sequence[Array], orbits: Sequence[int], sources: Sequence[int]) -> Packets:
    """Packets of separate uint32 arrays, which are copied behind each other."""
    lengths = np.array([len(array) for array in arrays], np.int64)
    stops = np.cumsum(lengths, dtype=np.int64)
    words = np.concatenate([np.zeros(0, np.uint32), *arrays]).astype(np.uint32, copy=False)
    orbit, source = np.array(orbits, np.int64), np.array(sources, np.uint8)
    return Packets(words, stops - lengths, stops, orbit, source)


def count_bits(shape: Shape) -> tuple[int, int, int, int]:
    """(lo, mask, lo, mask) of the two count fields; a mask of 0 for one that is absent."""
    places = [(bits.lo, bits.mask) for bits in shape.counts]
    a, b = [*places, (0, 0), (0, 0)][:2]
    return *a, *b


def directory(
    kind: str, packets: Packets, *, first_bx: int = 1
) -> tuple[Directory, list[BadPacket]]:
    """All blocks of the good packets in time order (arrival order inside), and the bad packets.

    first_bx:
        lowest crossing accepted; the CMS unpackers take 0 too.
    Raises BadInput when ``packets`` is inconsistent.
    """
    packets.check(kind)
    shape = SHAPES[kind]
    room = int((packets.stops - packets.starts).sum()) // shape.header.words
    found = Directory(
        np.empty(room, np.int32), np.empty(room, np.int32),
        np.empty(room, np.int64), np.empty(room, np.int32),
    )  # fmt: skip
    status = np.zeros((len(packets.starts), 3), np.int64)
    place = shape.header.fields["bx"].word
    total, rising = _walk(
        packets.words, packets.starts, packets.stops, packets.orbit, shape.header.words, place,
        first_bx, ORBIT_BX, *count_bits(shape), shape.fixed, shape.stride, *found, status,
    )  # fmt: skip
    found = found.take(slice(0, total))
    if not rising:
        found = found.take(np.argsort(found.key, kind="stable"))
    if shape.unique:
        found = _without_repeated(found, status)
    bad = [BadPacket(int(k), *status[k].tolist()) for k in np.flatnonzero(status[:, 0])]
    return found, bad


def _without_repeated(found: Directory, status: Ints) -> Directory:
    """Rejects packets that hold a crossing twice."""
    again = np.flatnonzero(found.key[1:] == found.key[:-1]) + 1
    if not len(again):
        return found
    for piece in again.tolist():
        bx = int(found.key[piece]) & ((1 << KEY_BITS) - 1)
        status[found.packet[piece]] = REPEATED_BX, 0, bx
    return found.take(status[found.packet, 0] == 0)


@njit
def _walk(
    words: Array, starts: Array, stops: Array, orbit: Array, header: int, bx_word: int,
    first_bx: int, last_bx: int, lo_a: int, mask_a: int, lo_b: int, mask_b: int, fixed: int,
    stride: int, packet: Array, keys: Array, start: Array, count: Array, status: Array,
) -> tuple[int, bool]:  # fmt: skip
    """Fills the directory; a packet with an error leaves no entries, only its status."""
    filled = 0
    rising = True
    last = np.int64(-1)
    for k in range(len(starts)):
        at, end = starts[k], stops[k]
        first = filled
        high = orbit[k] << 12
        while at < end:
            error, bx, n = 0, np.int64(0), np.int64(0)
            if end - at < header:
                error = 1
            else:
                bx = np.int64(words[at + bx_word])
                head = np.int64(words[at])
                n = fixed + ((head >> lo_a) & mask_a) + ((head >> lo_b) & mask_b)
                if bx < first_bx or bx > last_bx:
                    error = 3
                elif n * stride > end - at - header:
                    error = 2
            if error:
                status[k, 0], status[k, 1], status[k, 2] = error, at - starts[k], bx
                filled = first
                break
            key = high | bx
            rising &= key >= last
            last = key
            packet[filled] = k
            keys[filled] = key
            start[filled] = at + header
            count[filled] = n
            filled += 1
            at += header + n * stride
    return filled, rising


def gather(
    words: npt.NDArray[np.uint32], found: Directory, stride: int, keep: int = 0
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int32]]:
    """Words of the kept objects, shape (objects, stride), and their number in each piece.

    keep:
        objects are kept when this mask finds a bit in their first word; 0 keeps all.
    """
    out = np.empty((int(found.number.sum(dtype=np.int64)), stride), np.uint32)
    kept = np.empty(len(found.number), np.int32)
    total = _gather(words, found.start, found.number, stride, keep, out, kept)
    return out[:total], kept


@njit
def _gather(
    words: Array, start: Array, count: Array, stride: int, keep: int, out: Array, kept: Array
) -> int:
    filled = 0
    for i in range(len(start)):
        before = filled
        at = start[i]
        for _ in range(count[i]):
            # The copy is made always and counted only when kept: no branch to mispredict.
            for j in range(stride):
                out[filled, j] = words[at + j]
            filled += (keep == 0) | ((np.int64(words[at]) & keep) != 0)
            at += stride
        kept[i] = filled - before
    return filled


def crossings_of(
    key: npt.NDArray[np.int32], kept: npt.NDArray[np.int32], columns: dict[str, Array]
) -> Objects:
    """One row for each crossing with objects; pieces of the same crossing are joined.

    key: non-decreasing, as in Directory. kept: objects of each piece.
    """
    full = kept > 0
    if not full.all():
        key, kept = key[full], kept[full]
    if np.any(key[1:] == key[:-1]):
        first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
        kept, key = np.add.reduceat(kept, first, dtype=np.int32), key[first]
    return Objects(key, kept, columns)
