"""The synthetic orbit stream: scouting packets of a fill, made as fast as they are sent.

docs/stream.md says what is drawn how and what is approximated. Everything about an orbit follows
from the configuration and the orbit number: orbits can be made in any order, on any thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, Literal, NamedTuple, get_args
from urllib.parse import parse_qsl

import numpy as np
import numpy.typing as npt

from scout40.streams.block import ORBIT_HZ, Block, Origin
from scout40.streams.crc import crc32c
from scout40.streams.errors import BadConfig
from scout40.streams.filling import filling
from scout40.streams.formats import frd
from scout40.streams.formats.gmt import GmtBlockHeader
from scout40.streams.sources import synthetic_kernel as kernel
from scout40.streams.sources import synthetic_pool as pools
from scout40.streams.sources.base import Run
from scout40.streams.sources.raw_block import Staged, block_parts
from scout40.streams.sources.raw_unpack import Packets

Array = npt.NDArray[Any]
CaloForm = Literal["dma", "tcp"]

SCHEME = "synthetic:"
SOURCES = ("gmt", "calo")
LUMI_ORBITS = 1 << 18
"""Orbits of a luminosity section, 23.3 s; section 1 begins with orbit 0."""
MAX_ORBIT = GmtBlockHeader.fields["orbit"].limit
MAX_CHANCE = 0.25
"""Crossings with a rare process, at most."""


class Added(NamedTuple):
    """Rare processes in order of time: arrays of equal length.

    orbit uint32, bx uint16 (1..3564); process uint8, index of ``synthetic_pool.PROCESSES``; entry
    uint32, index in the pool of that process; weight float64, 1 / enrich.
    """

    orbit: npt.NDArray[np.uint32]
    bx: npt.NDArray[np.uint16]
    process: npt.NDArray[np.uint8]
    entry: npt.NDArray[np.uint32]
    weight: npt.NDArray[np.float64]


@dataclass(eq=False)
class Synthetic:
    """Scouting packets of a fill; also a Source over the orbits [first, last).

    filling:
        name of a scheme of configs/lhc, or a TOML file.
    pileup:
        collisions a crossing at orbit 0, mean of the colliding bunches; ``spread``: relative width
        from bunch to bunch; ``lifetime``: hours until it has fallen by a factor e.
    sources:
        what is sent: ``gmt``, ``calo`` or both; ``calo_form``: one DMA packet an orbit, or four TCP
        packets.
    enrich:
        rare processes are made this many times as often; see ``added``.
    Raises BadConfig. Attributes must not be changed afterwards.
    """

    filling: str = "2352b"
    pileup: float = 60.0
    seed: int = 1
    sources: tuple[str, ...] = ("gmt",)
    calo_form: CaloForm = "dma"
    enrich: float = 1.0
    run: int = 1
    spread: float = 0.06
    lifetime: float = 15.0
    first: int = 0
    last: int = 11_246
    name: str = field(init=False)
    contiguous: bool = field(init=False, default=True)
    total: int | None = field(init=False)

    def __post_init__(self) -> None:
        self._check()
        self._filling = filling(self.filling)
        self._factors = pools.bunch_factors(self._filling, self.seed, self.spread)
        self._pool = pools.pool()
        self._seed_key = np.uint64(pools.seed_key(self.seed))
        chance = pools.process_probability(self.enrich, self._pool.cross_sections)
        if chance * self.pileup * self._factors.max() > MAX_CHANCE:
            limit = self.enrich * MAX_CHANCE / (chance * self.pileup * self._factors.max())
            raise BadConfig(f"synthetic: enrich has {self.enrich}, at most {limit:.4g} here")
        self._sections: dict[int, pools.Bunches] = {}
        ids = [frd.GMT] if "gmt" in self.sources else []
        if "calo" in self.sources:
            ids += [frd.CALO] if self.calo_form == "dma" else sorted(frd.CALO_TCP)
        self._ids = np.array(ids, np.int64)
        self.name = f"synthetic {'+'.join(self.sources)} ({self.filling}, pile-up {self.pileup:g})"
        self.total = (self.last - self.first) * len(ids)

    @classmethod
    def from_text(cls, text: str) -> Synthetic:
        """``synthetic:gmt,calo?filling=2352b&pileup=60&seed=1``: sources, then attributes.

        Raises BadConfig for an unknown source or key, or a value that is not of its type.
        """
        if not text.startswith(SCHEME):
            raise BadConfig(f"{text!r} does not begin with {SCHEME}")
        sources, _, query = text.removeprefix(SCHEME).partition("?")
        types = {f.name: f.type for f in fields(cls) if f.init and f.name != "sources"}
        values: dict[str, Any] = {}
        try:
            pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
        except ValueError as error:
            raise BadConfig(f"{text!r}: {error}, expected key=value&key=value") from error
        for key, value in pairs:
            if key not in types or key in values:
                problem = "is given twice" if key in values else "is unknown"
                raise BadConfig(f"{text!r}: key {key!r} {problem}; known are {', '.join(types)}")
            try:
                values[key] = {"int": int, "float": float}.get(str(types[key]), str)(value)
            except ValueError as error:
                raise BadConfig(f"{text!r}: {key} has {value!r}, expected a number") from error
        chosen = tuple(sources.split(",")) if sources else ("gmt",)
        return cls(sources=chosen, **values)

    def _check(self) -> None:
        if not self.sources or len(set(self.sources)) != len(self.sources):
            raise BadConfig(f"synthetic: sources {self.sources}, expected gmt, calo or both")
        for source in self.sources:
            if source not in SOURCES:
                raise BadConfig(f"synthetic: no source {source!r}: expected one of {SOURCES}")
        if self.calo_form not in get_args(CaloForm):
            raise BadConfig(f"synthetic: calo_form has {self.calo_form!r}, expected dma or tcp")
        limits: dict[str, tuple[float, float]] = {
            "pileup": (0.1, 300.0), "enrich": (0.0, 1e9), "spread": (0.0, 0.3),
            "lifetime": (0.01, float("inf")), "seed": (0, 2**63 - 1), "run": (0, 2**32 - 1),
            "first": (0, MAX_ORBIT), "last": (self.first + 1, MAX_ORBIT + 1),
        }  # fmt: skip
        for key, (low, high) in limits.items():
            if not low <= getattr(self, key) <= high:
                text = f"{getattr(self, key)}, expected {low:.10g}..{high:.10g}"
                raise BadConfig(f"synthetic: {key} has {text}")

    # -- packets -----------------------------------------------------------------------------

    @property
    def source_ids(self) -> list[int]:
        """Detector source ids of the events of an orbit, in their order."""
        ids: list[int] = self._ids.tolist()
        return ids

    def payload(self, first_orbit: int, orbits: int) -> tuple[npt.NDArray[np.uint8], int]:
        """The FRD events of these orbits (uint8), and their number; any thread may call it."""
        words, ends = self._events(first_orbit, orbits)
        return words.view(np.uint8), len(ends)

    def _events(self, first: int, orbits: int) -> tuple[npt.NDArray[np.uint32], Array]:
        """Words of the events, and where each ends."""
        self._check_orbits(first, orbits)
        stop = first + orbits
        edges = range((first // LUMI_ORBITS + 1) * LUMI_ORBITS, stop, LUMI_ORBITS)
        starts = [first, *edges]
        parts = [self._section(a, b - a) for a, b in zip(starts, [*edges, stop], strict=True)]
        if len(parts) == 1:
            return parts[0]
        shifts = np.cumsum([0, *(len(words) for words, _ in parts[:-1])])
        ends = np.concatenate([e + shift for (_, e), shift in zip(parts, shifts, strict=True)])
        return np.concatenate([words for words, _ in parts]), ends

    def _section(self, first: int, orbits: int) -> tuple[npt.NDArray[np.uint32], Array]:
        """Events of orbits of one luminosity section."""
        section = first // LUMI_ORBITS
        bunches = self.bunches(section)
        ends = np.empty(orbits * len(self._ids), np.int64)
        room = orbits * self._room(bunches)
        while True:
            words = np.empty(room, np.uint32)
            used = kernel.write_orbits(
                first, orbits, self._seed_key, self.run, section + 1, self._ids,
                self._pool.muons, self._pool.calos, bunches, kernel.work(), words, ends,
            )  # fmt: skip
            if used >= 0:
                break
            room *= 2
        words = words[:used]
        data = words.data.cast("B")
        start = 0
        for end in ends.tolist():
            crc = crc32c(data[4 * start + frd.EVENT_BYTES : 4 * end])
            words[start + kernel.CRC_WORD] = crc
            start = end
        return words, ends

    def _room(self, bunches: pools.Bunches) -> int:
        """Words of an orbit that are hardly ever exceeded."""
        busy = bunches.busy + 8 * bunches.busy**0.5 + 50
        words = kernel.BLOCK_WORDS * busy if "gmt" in self.sources else 0.0
        if "calo" in self.sources:
            words += kernel.CALO_WORDS * len(bunches.colliding)
        return int(words) + kernel.EVENT_WORDS * len(self._ids)

    def bunches(self, section: int) -> pools.Bunches:
        """The bunches during a luminosity section, counted from 0."""
        known = self._sections.get(section)
        if known is None:
            hours = section * LUMI_ORBITS / ORBIT_HZ / 3600
            mean = self._factors * (self.pileup * pools.decay(hours, self.lifetime))
            known = pools.bunches(mean, self.enrich, self._pool.cross_sections)
            # Another thread may do the same: both find the same tables.
            self._sections = {**dict(list(self._sections.items())[-3:]), section: known}
        return known

    def _check_orbits(self, first: int, orbits: int) -> None:
        if orbits < 1 or first < 0 or first + orbits > MAX_ORBIT + 1:
            raise BadConfig(
                f"synthetic: {orbits} orbits from {first} on, expected some of 0..{MAX_ORBIT}"
            )

    # -- weights -----------------------------------------------------------------------------

    def added(self, first_orbit: int, orbits: int) -> Added:
        """Rare processes in these orbits, with their weights.

        A crossing that is listed stands for ``weight`` crossings of a stream with natural rates;
        every other crossing has weight 1.
        """
        self._check_orbits(first_orbit, orbits)
        found = []
        stop = first_orbit + orbits
        for start in range(first_orbit, stop, 256):
            end = min(start + 256, stop)
            border = min(end, (start // LUMI_ORBITS + 1) * LUMI_ORBITS)
            for low, high in ((start, border), (border, end)):
                bunches = self.bunches(low // LUMI_ORBITS)
                out = np.empty(((high - low) * len(bunches.colliding), 4), np.int64)
                n = kernel.find_processes(
                    low, high - low, self._seed_key, self._pool.muons.entries, bunches, out
                )
                found.append(out[:n].copy())
        orbit, bx, process, entry = np.concatenate(found).T
        weight = np.full(len(orbit), 1 / self.enrich if self.enrich else 0.0)
        return Added(
            orbit.astype(np.uint32), (bx + 1).astype(np.uint16), process.astype(np.uint8),
            entry.astype(np.uint32), weight,
        )  # fmt: skip

    # -- blocks ------------------------------------------------------------------------------

    def blocks(self, run: Run) -> Iterator[Block]:
        """Blocks of the orbits [first, last), unpacked from their packets."""
        account = run.ledger["packets"]
        sequence = 0
        for start in range(self.first, self.last, run.orbits_per_block):
            orbits = min(run.orbits_per_block, self.last - start)
            words, ends = self._events(start, orbits)
            lumi = [1 + orbit // LUMI_ORBITS for orbit in range(start, start + orbits)]
            account.received += len(ends)
            account.pending += len(ends)
            run.ledger.add("orbits", orbits)
            staged = self._staged(words, ends, start)
            for block, packets in block_parts(start, lumi, self.run, staged, run):
                account.pending -= packets
                account.out += packets
                yield block.replace(origin=Origin(self.name, sequence))
                sequence += 1

    def _staged(self, words: Array, ends: Array, first: int) -> dict[str, Staged]:
        begins = np.concatenate([np.zeros(1, np.int64), ends[:-1]])
        found = {}
        for k, source in enumerate(self.source_ids):
            starts, stops = begins[k :: len(self._ids)], ends[k :: len(self._ids)]
            orbit = np.arange(len(starts), dtype=np.int64)
            places = [
                (self.name, 4 * start, first + i, source) for i, start in enumerate(starts.tolist())
            ]
            packets = Packets(
                words, starts + kernel.EVENT_WORDS, stops, orbit,
                np.full(len(starts), source, np.uint8),
            )  # fmt: skip
            found[frd.SOURCE_KINDS[source]] = Staged(packets, places.__getitem__)
        return found
