"""Batches of a live stream to blocks, by the same code that raw files go through."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.streams.block import Origin
from scout40.streams.errors import BadInput
from scout40.streams.formats import frd
from scout40.streams.merge import Arrival, Batch
from scout40.streams.sources.base import Run
from scout40.streams.sources.events import Events
from scout40.streams.sources.raw_block import Part, Place, Staged, block_parts
from scout40.streams.sources.raw_unpack import Packets

Array = npt.NDArray[Any]

UNANNOUNCED = "source not taken by this pipeline"


def blocks_of(batch: Batch, kinds: Sequence[str], run: Run, sequence: int) -> list[Part]:
    """Blocks of consecutive orbits; a part of them where orbits are missing or bad.

    kinds: source kinds that fill tables (values of formats.frd.SOURCE_KINDS); events of others
    are dropped and counted. sequence: of the first block, for its origin. The packets of the
    parts are still pending in the ledger.
    """
    arrivals = [_wanted(arrival, kinds, run) for arrival in batch.arrivals]
    arrivals = [arrival for arrival in arrivals if len(arrival.events)]
    parts: list[Part] = []
    for first, last in _ranges(arrivals):
        inside = [_inside(arrival, first, last) for arrival in arrivals]
        events = [one for one in inside if len(one)]
        staged = {kind: _staged(kind, events, first, run) for kind in kinds}
        lumi = np.zeros(last - first, np.int64)
        for one in events:
            lumi[one.orbit - first] = one.lumi
        parts += block_parts(first, lumi.tolist(), batch.run, staged, run)
    origin = arrivals[0].events.where if arrivals else ""
    return [
        part._replace(block=part.block.replace(origin=Origin(origin, sequence + k)))
        for k, part in enumerate(parts)
    ]


def kinds_of(sources: Iterable[int]) -> list[str]:
    """Kinds of these source ids, by id; calorimeter in DMA form excludes its TCP form."""
    kinds = list(dict.fromkeys(frd.SOURCE_KINDS[source] for source in sorted(sources)))
    return [kind for kind in kinds if not (kind.startswith("tcp_") and "calo" in kinds)]


@functools.cache
def _is_of(kinds: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    """By source id: does it belong to these kinds? Good events have known ids only."""
    return np.array([frd.SOURCE_KINDS.get(k) in kinds for k in range(max(frd.SOURCE_KINDS) + 1)])


def _wanted(arrival: Arrival, kinds: Sequence[str], run: Run) -> Arrival:
    events = arrival.events
    keep = _is_of(tuple(kinds))[events.source]
    if keep.all():
        return arrival
    unwanted = int((~keep).sum())
    run.ledger["packets"].pending -= unwanted
    run.ledger["packets"].dropped[UNANNOUNCED] += unwanted
    return arrival._replace(events=events.take(keep))


def _ranges(arrivals: Sequence[Arrival]) -> list[tuple[int, int]]:
    """Ranges [first, last) of orbits that have an event, in order."""
    if not arrivals:
        return []
    orbits = np.concatenate([arrival.events.orbit for arrival in arrivals])
    if len(orbits) == orbits[-1] - orbits[0] + 1 and (np.diff(orbits) == 1).all():
        return [(int(orbits[0]), int(orbits[-1]) + 1)]
    orbits = np.unique(orbits)
    edges = np.flatnonzero(np.diff(orbits) != 1) + 1
    return [(int(part[0]), int(part[-1]) + 1) for part in np.split(orbits, edges)]


def _inside(arrival: Arrival, first: int, last: int) -> Events:
    events = arrival.events
    low, high = np.searchsorted(events.orbit, [first, last])
    if low == 0 and high == len(events):
        return events
    return events.take(slice(int(low), int(high)))


def _staged(kind: str, inside: Sequence[Events], first: int, run: Run) -> Staged:
    """All events of one kind, in order of orbit and source; words are copied only when needed."""
    wanted = _is_of((kind,))
    chosen = []
    for events in inside:
        keep = wanted[events.source]
        one = events if keep.all() else events.take(keep)
        if len(one):
            chosen.append(one)
    if not chosen:
        empty = np.zeros(0, np.int64)
        nothing = Packets(np.zeros(0, np.uint32), empty, empty, empty, np.zeros(0, np.uint8))
        return Staged(nothing, functools.partial(_place, chosen, empty))
    bases = np.cumsum([0, *(len(events.words) for events in chosen[:-1])])
    words = chosen[0].words
    if len(chosen) > 1:
        words = np.concatenate([events.words for events in chosen])
    starts = np.concatenate([e.starts + base for e, base in zip(chosen, bases, strict=True)])
    stops = np.concatenate([e.stops + base for e, base in zip(chosen, bases, strict=True)])
    orbit = np.concatenate([events.orbit for events in chosen])
    source = np.concatenate([events.source for events in chosen])
    key = orbit << 8 | source
    order = np.arange(len(key))
    if not (np.diff(key) > 0).all():
        order = np.argsort(key, kind="stable")
        again = np.concatenate([[False], np.diff(key[order]) == 0])
        if again.any():
            _refuse_again((_place(chosen, order, k) for k in np.flatnonzero(again).tolist()), run)
            order = order[~again]
        starts, stops, orbit, source = starts[order], stops[order], orbit[order], source[order]
    packets = Packets(words, starts, stops, orbit - first, source.astype(np.uint8))
    return Staged(packets, functools.partial(_place, chosen, order))


def _refuse_again(places: Iterable[Place], run: Run) -> None:
    """A source that two feeds bring for the same orbit counts once."""
    for where, offset, orbit, source in places:
        text = f"source {source} came from two feeds"
        run.ledger["packets"].pending -= 1
        run.bad("orbit duplicated", BadInput(text, file=where, offset=offset, orbit=orbit), b"")


def _place(chosen: Sequence[Events], order: Array, index: int) -> Place:
    """Where an event came from."""
    place = int(order[index])
    for events in chosen:
        if place < len(events):
            offset = 4 * (int(events.starts[place]) - 1) - frd.EVENT_BYTES
            return events.where, offset, int(events.orbit[place]), int(events.source[place])
        place -= len(events)
    raise IndexError(index)


def check_kinds(names: Sequence[str]) -> list[str]:
    """Source kinds that a pipeline file names; BadInput lists the known ones."""
    known = list(dict.fromkeys(frd.SOURCE_KINDS.values()))
    unknown = [name for name in names if name not in known]
    if unknown:
        raise BadInput(f"unknown sources {', '.join(unknown)}; known: {', '.join(known)}")
    return list(names)
