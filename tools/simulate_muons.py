"""Particles of a shard as muons of the uGMT: the sample ``muons``, and what pairs share with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from scout40.emulator.muons.calibration import Calibration
from scout40.emulator.muons.decays import in_flight, nearest_azimuth
from scout40.emulator.muons.draws import Keys, draws, keys_of, normal, seed_key, uniform
from scout40.emulator.muons.found import MUON, NOISE, PUNCH_THROUGH, find
from scout40.emulator.muons.momentum import BEAM_XY, BEAM_Z
from scout40.emulator.muons.propagate import Tracks
from scout40.emulator.muons.response import Response
from scout40.emulator.muons.sent import COLUMNS, Sent, send
from scout40.emulator.ugmt import Ugmt
from scout40.tools.simulate_config import Amount, Process
from scout40.tools.simulate_events import FROM_KAON, FROM_PION, HADRON, NO_PARENT, Particles

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]
Columns = dict[str, Array]

MM = 1e-3
MUON_COLUMNS = (
    *COLUMNS, "finder", "ghost", "pt", "eta", "phi", "charge", "vx", "vy", "vz", "parent",
    "process", "event",
)  # fmt: skip
"""Columns that describe one muon, in samples of muons and, twice, of pairs."""


class Trigger(NamedTuple):
    """Everything between a track and a word of the uGMT."""

    response: Response
    calibration: Calibration
    ugmt: Ugmt


class Sources(NamedTuple):
    """What is put into crossings, (n,) each.

    tracks: where they begin. kind: MUON, PUNCH_THROUGH, NOISE of ``found``. parent: see
    docs/simulation.md. process, event: where they come from. weight: probability of a decay,
    else 1.
    """

    tracks: Tracks
    kind: Ints
    parent: Ints
    process: Ints
    event: Ints
    weight: npt.NDArray[np.float64]

    def take(self, where: Any) -> Sources:
        """Some of them, by index or mask."""
        return Sources(self.tracks.take(where), *(values[where] for values in self[1:]))


@dataclass(frozen=True)
class Shard:
    """Which shard is made: its key is that of all its random numbers."""

    kind: str
    process: Process
    block: int
    seed: int
    amount: Amount

    def keys(self, what: str, count: int) -> Keys:
        """Keys of ``count`` things of one sort."""
        name = (self.kind, what, self.seed, self.process.name, self.block)
        return keys_of(seed_key(*name), count)


def muons_of(shard: Shard, particles: Particles, trigger: Trigger) -> Columns:
    """Columns of the sample ``muons``, a row for each muon that the uGMT sends."""
    rows = np.flatnonzero(particles.is_muon | shard.process.in_flight)
    copies = shard.amount.muons
    index = np.tile(rows, copies)
    copy = np.repeat(np.arange(copies), len(rows))
    keys = shard.keys("source", len(index))
    turn = shard.keys("event", copies * particles.events)[
        copy * particles.events + particles.event[index]
    ]
    sources = sources_of(particles, index, keys, turn, shard.process)
    sent = run(sources, np.arange(len(index)), len(index), keys, trigger)
    columns = muon_columns(sources, sent)
    per_event = particles.sigma * shard.process.branching / (particles.events * copies)
    return {
        **columns,
        "block": np.full(len(sent.source), shard.block, np.uint8),
        "copy": copy[sent.source].astype(np.uint8),
        "weight": sources.weight[sent.source] * per_event,
    }


def sources_of(
    particles: Particles, index: Ints, keys: Keys, event_keys: Keys, process: Process
) -> Sources:
    """Particles at ``index`` of a collision somewhere in the beam spot, turned and mirrored.

    keys: of each source (draws 120 to 122, for its decay). event_keys: those of one event are the
    same. Pions and kaons are made to decay.
    """
    px, py, pz = (np.asarray(getattr(particles, name), np.float64)[index]
                  for name in ("px", "py", "pz"))  # fmt: skip
    x, y, z = (np.asarray(getattr(particles, axis), np.float64)[index] * MM for axis in "xyz")
    angle = 2 * np.pi * uniform(event_keys, 0)
    side = np.where(uniform(event_keys, 1) < 0.5, -1.0, 1.0)
    pt = np.hypot(px, py)
    c, s = np.cos(angle), np.sin(angle)
    made = Tracks(
        pt, side * np.arcsinh(pz / pt), np.arctan2(py, px) + angle, particles.charge[index],
        c * x - s * y + BEAM_XY * normal(event_keys, 1),
        s * x + c * y + BEAM_XY * normal(event_keys, 2),
        side * z + BEAM_Z * normal(event_keys, 3),
    )  # fmt: skip
    muon = particles.is_muon[index]
    parent = particles.parent[index].astype(np.int64)
    weight = np.ones(len(index))
    hadrons = np.flatnonzero(~muon)
    kind = particles.hadron[index][hadrons]
    decays = in_flight(made.take(hadrons), kind, draws(keys[hadrons], 120))
    for name in Tracks.__dataclass_fields__:
        getattr(made, name)[hadrons] = getattr(decays.muons, name)
    parent[hadrons] = np.where(kind == 0, FROM_PION, FROM_KAON)
    weight[hadrons] = decays.probability
    return Sources(
        made, np.full(len(index), MUON), parent, np.full(len(index), process.id),
        particles.event[index].astype(np.int64), weight,
    )  # fmt: skip


def run(sources: Sources, crossing: Ints, crossings: int, keys: Keys, trigger: Trigger) -> Sent:
    """What the uGMT sends of these sources."""
    muons = find(
        sources.tracks, sources.kind, keys, trigger.response, trigger.calibration.momentum
    )  # fmt: skip
    return send(muons, crossing, crossings, trigger.ugmt)


def muon_columns(sources: Sources, sent: Sent) -> Columns:
    """MUON_COLUMNS of the muons sent."""
    rows = sent.source
    chosen = sources.take(rows)
    tracks, noise = chosen.tracks, chosen.kind == NOISE
    truth: Mapping[str, Array] = {
        "pt": tracks.pt, "eta": tracks.eta, "phi": nearest_azimuth(tracks),
        "vx": tracks.x / MM, "vy": tracks.y / MM, "vz": tracks.z / MM,
    }  # fmt: skip
    parent = np.select(
        [noise, chosen.kind == PUNCH_THROUGH], [NO_PARENT, HADRON], chosen.parent
    )  # fmt: skip
    made = {
        **sent.columns,
        "finder": sent.finder.astype(np.uint8),
        "ghost": sent.ghost,
        **{name: np.where(noise, np.nan, values).astype(np.float32)
           for name, values in truth.items()},
        "charge": np.where(noise, 0, tracks.charge).astype(np.int8),
        "parent": parent.astype(np.uint8),
        "process": chosen.process.astype(np.uint8),
        "event": chosen.event.astype(np.uint32),
    }  # fmt: skip
    return {name: made[name] for name in MUON_COLUMNS}
