"""Batches of a live stream to blocks, by the same code that raw files go through."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from scout40.streams.block import Origin
from scout40.streams.errors import BadInput
from scout40.streams.formats import frd
from scout40.streams.ledger import Ledger
from scout40.streams.merge import Batch
from scout40.streams.sources.base import Quarantine, Run
from scout40.streams.sources.events import E_LUMI, E_ORBIT, E_SOURCE, E_START, E_STOP, Events
from scout40.streams.sources.raw_block import Part, Place, Staged, block_parts
from scout40.streams.sources.raw_unpack import Packets

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]

UNANNOUNCED = "source not taken by this pipeline"


class _Joined(NamedTuple):
    """Events of several messages. table: as of Events, places in ``words``.

    owner: int64, index in ``events`` of the message of each event; bases: where its words begin.
    """

    words: npt.NDArray[np.uint32]
    table: Ints
    owner: Ints
    events: Sequence[Events]
    bases: Ints

    def take(self, keep: Array) -> _Joined:
        return self._replace(table=self.table[keep], owner=self.owner[keep])

    def place(self, index: int) -> Place:
        """Where an event came from."""
        row, owner = self.table[index], self.owner[index]
        offset = 4 * (int(row[E_START] - self.bases[owner]) - 1) - frd.EVENT_BYTES
        return self.events[owner].where, offset, int(row[E_ORBIT]), int(row[E_SOURCE])


class Aside(Quarantine):
    """What a thread finds wrong, until the one that keeps the books takes it over."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[BadInput, bytes | memoryview]] = []

    def put(self, error: BadInput, data: bytes | memoryview) -> None:
        """Keep it here."""
        self.found.append((error, data))


@dataclass
class Unpacked:
    """Blocks of one batch, and what became of the packets that are in none."""

    parts: list[Part]
    ledger: Ledger
    aside: Aside

    def settle(self, run: Run) -> list[Part]:
        """The parts, after their packets were booked in ``run``: those of the parts pending."""
        account, here = run.ledger["packets"], self.ledger["packets"]
        account.pending += here.pending
        account.dropped.update(here.dropped)
        account.bad.update(here.bad)
        for error, data in self.aside.found:
            run.quarantine.put(error, data)
        return self.parts


def blocks_of(batch: Batch, kinds: Sequence[str]) -> Unpacked:
    """Blocks of consecutive orbits; a part of them where orbits are missing or bad. Pure.

    kinds: source kinds that fill tables (values of formats.frd.SOURCE_KINDS); events of others
    are dropped and counted.
    """
    run = Run(Ledger(), Aside())
    joined = _wanted(_joined([arrival.events for arrival in batch.arrivals]), kinds, run)
    parts: list[Part] = []
    for first, last in _ranges(joined.table[:, E_ORBIT]):
        orbit = joined.table[:, E_ORBIT]
        keep = (orbit >= first) & (orbit < last)
        inside = joined if keep.all() else joined.take(keep)
        staged = {kind: _staged(kind, inside, first, run) for kind in kinds}
        lumi = np.zeros(last - first, np.int64)
        lumi[inside.table[:, E_ORBIT] - first] = inside.table[:, E_LUMI]
        parts += block_parts(first, lumi.tolist(), batch.run, staged, run)
    origin = Origin(joined.place(0)[0] if len(joined.table) else "")
    parts = [part._replace(block=part.block.replace(origin=origin)) for part in parts]
    return Unpacked(parts, run.ledger, cast(Aside, run.quarantine))


def kinds_of(sources: Iterable[int]) -> list[str]:
    """Kinds of these source ids, by id; calorimeter in DMA form excludes its TCP form."""
    kinds = list(dict.fromkeys(frd.SOURCE_KINDS[source] for source in sorted(sources)))
    return [kind for kind in kinds if not (kind.startswith("tcp_") and "calo" in kinds)]


@functools.cache
def _is_of(kinds: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    """By source id: does it belong to these kinds? Good events have known ids only."""
    return np.array([frd.SOURCE_KINDS.get(k) in kinds for k in range(max(frd.SOURCE_KINDS) + 1)])


def _joined(events: Sequence[Events]) -> _Joined:
    """All events behind each other; words are copied only when there are several messages."""
    sizes = [len(one.words) for one in events]
    bases = np.cumsum([0, *sizes[:-1]])
    owner = np.repeat(np.arange(len(events)), [len(one) for one in events])
    if len(events) == 1:
        return _Joined(events[0].words, events[0].table, owner, events, bases)
    words = np.concatenate([one.words for one in events])
    table = np.concatenate([one.table for one in events])
    table[:, E_START] += bases[owner]
    table[:, E_STOP] += bases[owner]
    return _Joined(words, table, owner, events, bases)


def _wanted(joined: _Joined, kinds: Sequence[str], run: Run) -> _Joined:
    keep = _is_of(tuple(kinds))[joined.table[:, E_SOURCE]]
    unwanted = len(keep) - int(np.count_nonzero(keep))
    if not unwanted:
        return joined
    run.ledger["packets"].pending -= unwanted
    run.ledger["packets"].dropped[UNANNOUNCED] += unwanted
    return joined.take(keep)


def _ranges(orbits: Ints) -> list[tuple[int, int]]:
    """Ranges [first, last) of orbits that have an event, in order."""
    if not len(orbits):
        return []
    steps = np.diff(orbits)
    if len(orbits) == orbits[-1] - orbits[0] + 1 and (steps == 1).all():
        return [(int(orbits[0]), int(orbits[-1]) + 1)]
    orbits = np.unique(orbits)
    edges = np.flatnonzero(np.diff(orbits) != 1) + 1
    return [(int(part[0]), int(part[-1]) + 1) for part in np.split(orbits, edges)]


def _staged(kind: str, joined: _Joined, first: int, run: Run) -> Staged:
    """All events of one kind, in order of orbit and source."""
    keep = _is_of((kind,))[joined.table[:, E_SOURCE]]
    if not keep.all():
        joined = joined.take(keep)
    key = joined.table[:, E_ORBIT] << 8 | joined.table[:, E_SOURCE]
    if not (np.diff(key) > 0).all():
        order = np.argsort(key, kind="stable")
        again = np.concatenate([[False], np.diff(key[order]) == 0])
        joined = joined.take(order)
        if again.any():
            _refuse_again([joined.place(k) for k in np.flatnonzero(again).tolist()], run)
            joined = joined.take(~again)
    start, stop, _, orbit, source = joined.table[:, : E_SOURCE + 1].T.copy()
    packets = Packets(joined.words, start, stop, orbit - first, source.astype(np.uint8))
    return Staged(packets, joined.place)


def _refuse_again(places: Sequence[Place], run: Run) -> None:
    """A source that two feeds bring for the same orbit counts once."""
    for where, offset, orbit, source in places:
        text = f"source {source} came from two feeds"
        run.ledger["packets"].pending -= 1
        run.bad("orbit duplicated", BadInput(text, file=where, offset=offset, orbit=orbit), b"")


def check_kinds(names: Sequence[str]) -> list[str]:
    """Source kinds that a pipeline file names; BadInput lists the known ones."""
    known = list(dict.fromkeys(frd.SOURCE_KINDS.values()))
    unknown = [name for name in names if name not in known]
    if unknown:
        raise BadInput(f"unknown sources {', '.join(unknown)}; known: {', '.join(known)}")
    return list(names)
