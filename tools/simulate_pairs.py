"""Pairs of muons of one crossing: real ones, ghosts, punch-through, coincidences, noise.

A crossing has one event, pile-up muons at their natural rate, and one thing more, drawn from the
configuration, without which fakes would be too rare. Of all pairs of a shard as many are kept as
make the declared mix; nothing but the kind of a pair decides about that.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from scout40.emulator.muons.draws import Keys, draws, uniform
from scout40.emulator.muons.found import NOISE, PUNCH_THROUGH
from scout40.emulator.muons.momentum import BEAM_XY, BEAM_Z
from scout40.emulator.muons.propagate import Tracks
from scout40.emulator.muons.response import Response
from scout40.emulator.muons.sent import Sent
from scout40.tools.simulate_config import Process, Samples
from scout40.tools.simulate_events import HADRON, NO_PARENT, TAU, Particles
from scout40.tools.simulate_muons import (
    Columns,
    Ints,
    Shard,
    Sources,
    Trigger,
    muon_columns,
    run,
    sources_of,
)

HARD, COLLISION, GHOST, PUNCHED, RANDOM, NOISY = range(6)
KINDS = ("same hard process", "same collision", "ghost", "punch-through", "random", "noise")
"""Names of the values of the column ``kind``."""

_MOST_PILEUP = 6
"""Pile-up muons of one crossing, at most; the mean is 0.1."""
_NO_EVENT = 0


class Put(NamedTuple):
    """Sources in crossings. origin: 0 the event, else a number of its own in the crossing."""

    sources: Sources
    crossing: Ints
    origin: Ints


def pairs_of(
    shard: Shard, particles: Particles, pool: Particles, pool_process: Process,
    samples: Samples, trigger: Trigger,
) -> Columns:  # fmt: skip
    """Columns of the sample ``pairs``. pool: collisions of the same block for the pile-up."""
    crossings = shard.amount.pairs * particles.events
    keys = shard.keys("crossing", crossings)
    low, high = samples.pileup
    pileup = low + (high - low) * uniform(keys, 2)
    parts = [
        _event(shard, particles, keys),
        *_others(pool, pool_process, pileup, keys, samples, trigger.response),
    ]
    put = _joined(parts)
    count = len(put.crossing)
    sent = run(put.sources, put.crossing, crossings, shard.keys("response", count), trigger)
    muons = muon_columns(put.sources, sent)
    first, second = _combinations(sent, crossings)
    kind = _kinds(put, sent, muons, first, second)
    rows = _mixed(kind, shard, samples)
    first, second, kind = first[rows], second[rows], kind[rows]
    number = np.bincount(sent.crossing, minlength=crossings)
    at = sent.crossing[first]
    columns: Columns = {
        "label": (kind <= COLLISION).astype(np.uint8),
        "kind": kind.astype(np.uint8),
        "block": np.full(len(kind), shard.block, np.uint8),
        "crossing": at.astype(np.uint32),
        "muons": number[at].astype(np.uint8),
        "pileup": pileup[at].astype(np.float32),
    }
    for prefix, which in (("mu1", first), ("mu2", second)):
        columns |= {f"{prefix}_{name}": values[which] for name, values in muons.items()}
    return columns


def _event(shard: Shard, particles: Particles, keys: Keys) -> Put:
    """The event's muons, and those of its pions and kaons that do decay."""
    copies = shard.amount.pairs
    index = np.tile(np.arange(len(particles.event)), copies)
    copy = np.repeat(np.arange(copies), len(particles.event))
    crossing = copy * particles.events + particles.event[index].astype(np.int64)
    own = shard.keys("event", len(index))
    sources = sources_of(particles, index, own, draws(keys, 3)[crossing], shard.process)
    there = uniform(own, 0) < sources.weight
    return Put(sources.take(there), crossing[there], np.zeros(int(there.sum()), np.int64))


def _others(
    pool: Particles, process: Process, pileup: npt.NDArray[np.float64], keys: Keys,
    samples: Samples, response: Response,
) -> list[Put]:  # fmt: skip
    """Pile-up muons, and one more of: nothing, another of them, punch-through, noise."""
    everything = np.arange(len(pool.event))
    one = draws(keys[:1], np.uint64(4)).repeat(len(everything))
    chance = np.cumsum(sources_of(pool, everything, draws(one, everything), one, process).weight)
    mean = samples.nondiffractive * chance[-1] / pool.events * pileup
    number = _poisson(mean, uniform(keys, 5))
    extra, sort = uniform(keys, 6), np.cumsum(list(samples.extra.values()))
    number += (extra >= sort[0]) & (extra < sort[1])
    crossing = np.repeat(np.arange(len(keys)), number)
    origin = 1 + np.arange(len(crossing)) - np.searchsorted(crossing, crossing)
    own = draws(keys[crossing], 16 + origin.astype(np.uint64))
    # Only decays that happen are in this list, so what is drawn has happened: weight 1.
    index = np.searchsorted(chance, uniform(own, 0) * chance[-1], side="right")
    overlay = sources_of(pool, index, own, draws(own, 1), process)
    punched = np.flatnonzero((extra >= sort[1]) & (extra < sort[2]))
    noisy = np.flatnonzero(extra >= sort[2])
    return [
        Put(overlay, crossing, origin),
        _single(PUNCH_THROUGH, HADRON, punched, keys[punched], response),
        _single(NOISE, NO_PARENT, noisy, keys[noisy], response),
    ]


def _poisson(mean: npt.NDArray[np.float64], u: npt.NDArray[np.float64]) -> Ints:
    term, total = np.exp(-mean), np.zeros(len(mean))
    number = np.zeros(len(mean), np.int64)
    for k in range(_MOST_PILEUP):
        total = total + term
        number += u >= total
        term = term * mean / (k + 1)
    return number


def _single(kind: int, parent: int, crossing: Ints, keys: Keys, response: Response) -> Put:
    """One hadron or one piece of noise in each of these crossings, from a collision of its own."""
    low, power = response.punch_through_pt
    count = len(crossing)
    tracks = Tracks(
        low * uniform(keys, 8) ** (-1 / power),
        response.finder_end * (2 * uniform(keys, 9) - 1),
        2 * np.pi * uniform(keys, 10),
        np.where(uniform(keys, 11) < 0.5, -1.0, 1.0),
        *(size * (2 * uniform(keys, number) - 1)
          for number, size in ((12, BEAM_XY), (13, BEAM_XY), (14, BEAM_Z))),
    )  # fmt: skip
    whole = np.full(count, _NO_EVENT)
    sources = Sources(
        tracks, np.full(count, kind), np.full(count, parent), whole, whole, np.ones(count)
    )  # fmt: skip
    return Put(sources, crossing, np.full(count, _MOST_PILEUP + 2))


def _joined(parts: list[Put]) -> Put:
    tracks = Tracks(*(
        np.concatenate([getattr(part.sources.tracks, name) for part in parts])
        for name in Tracks.__dataclass_fields__
    ))  # fmt: skip
    rest = [np.concatenate(columns) for columns in zip(*(p.sources[1:] for p in parts),
                                                       strict=True)]  # fmt: skip
    crossing = np.concatenate([part.crossing for part in parts])
    origin = np.concatenate([part.origin for part in parts])
    return Put(Sources(tracks, *rest), crossing, origin)


def _combinations(sent: Sent, crossings: int) -> tuple[Ints, Ints]:
    """Rows of all pairs inside crossings, the better muon first."""
    number = np.bincount(sent.crossing, minlength=crossings)
    end = np.cumsum(number)[sent.crossing]
    row = np.arange(len(sent.crossing))
    behind = end - row - 1
    first = np.repeat(row, behind)
    step = np.arange(len(first)) - np.searchsorted(first, first)
    return first, first + 1 + step


def _kinds(put: Put, sent: Sent, muons: Columns, first: Ints, second: Ints) -> Ints:
    """Kind of every pair; -1 where one muon is a copy of a third one."""
    a, b = sent.source[first], sent.source[second]
    same = a == b
    copy = (sent.ghost[first] | sent.ghost[second]).astype(bool) & ~same
    source = put.sources.kind
    noise = (source[a] == NOISE) | (source[b] == NOISE)
    punch = (source[a] == PUNCH_THROUGH) | (source[b] == PUNCH_THROUGH)
    apart = put.origin[a] != put.origin[b]
    parent = np.maximum(muons["parent"][first], muons["parent"][second])
    return np.select(
        [copy, noise, punch, same, apart, parent <= TAU],
        [-1, NOISY, PUNCHED, GHOST, RANDOM, HARD], COLLISION,
    )  # fmt: skip


def _mixed(kind: Ints, shard: Shard, samples: Samples) -> Ints:
    """Rows, in order, that have the declared mix; all of the kind that is rarest for it."""
    groups = {"real": (HARD, COLLISION), "ghost": (GHOST,), "punch_through": (PUNCHED,),
              "random": (RANDOM,), "noise": (NOISY,)}  # fmt: skip
    order = np.argsort(uniform(shard.keys("mix", len(kind)), 0), kind="stable")
    found = {name: order[np.isin(kind[order], codes)] for name, codes in groups.items()}
    total = min(len(found[name]) / samples.mix[name] for name in groups if samples.mix[name])
    kept = [found[name][: int(total * samples.mix[name])] for name in groups]
    return np.sort(np.concatenate(kept))
