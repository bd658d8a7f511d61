"""The synthetic stream once more, in plain Python: one crossing, one object at a time.

Written from docs/stream.md; shares with the stream the pool and the bunch factors only.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np

from scout40.streams.block import Block, Table, offsets_of
from scout40.streams.formats.calo import CaloSums
from scout40.streams.formats.gmt import GmtMuon
from scout40.streams.sinks.raw import event_bytes, payloads
from scout40.streams.sources.raw_tables import unpack
from scout40.streams.sources.raw_unpack import packets_of
from scout40.streams.sources.synthetic import Synthetic
from scout40.streams.sources.synthetic_pool import bunch_factors, pool

WORD = 2**64
GOLDEN = 0x9E3779B97F4A7C15


def mix(x: int) -> int:
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % WORD
    return x ^ (x >> 31)


class Twin:
    """Draws of one configuration."""

    def __init__(self, stream: Synthetic) -> None:
        self.stream = stream
        self.pool = pool()
        self.factors = bunch_factors(stream._filling, stream.seed, stream.spread)
        self.start = mix((stream.seed + GOLDEN) % WORD)

    def draw(self, orbit: int, number: int) -> int:
        key = mix((self.start + orbit * GOLDEN) % WORD)
        return mix((key + (number + 1) * GOLDEN) % WORD)

    def mean(self, orbit: int, bx: int) -> float:
        hours = orbit // 2**18 * 2**18 / 11245.5 / 3600
        decayed = self.stream.pileup * math.exp(-hours / self.stream.lifetime)
        return float(self.factors[bx]) * decayed

    def limits(self, mean: float) -> list[int]:
        """Numbers above the k-th mean more than k muons, above the last a rare process."""
        rare = 1 - mean * self.stream.enrich * float(self.pool.cross_sections.sum()) / 80e6
        muons = mean * 2.2e-3 * 0.93
        terms = [math.exp(-muons) * muons**k / math.factorial(k) for k in range(8)]
        below = [rare * sum(terms[: k + 1]) for k in range(8)]
        return [round(p * 2**32) - 1 for p in (*below, rare)]

    def process(self, orbit: int, bx: int) -> tuple[int, int] | None:
        """Process and entry added in crossing bx (from 0), if any."""
        if self.uniform(orbit, bx) <= self.limits(self.mean(orbit, bx))[8]:
            return None
        bits = self.draw(orbit, 2**17 + bx)
        sections = self.pool.cross_sections.tolist()
        total = sum(sections)
        for kind in range(len(sections)):
            if bits >> 32 <= round(sum(sections[: kind + 1]) / total * 2**32) - 1:
                break
        return kind, (bits % 2**32) * int(self.pool.muons.entries[kind]) >> 32

    def uniform(self, orbit: int, bx: int) -> int:
        bits = self.draw(orbit, bx // 2)
        return bits >> 32 if bx % 2 else bits % 2**32

    def rows(self, orbit: int, bx: int) -> list[int]:
        """Rows of the muon pool in crossing bx, as sent."""
        muons, limits = self.pool.muons, self.limits(self.mean(orbit, bx))
        number, found = self.uniform(orbit, bx), []
        added = self.process(orbit, bx)
        if added:
            first = int(muons.starts[added[0]]) + 2 * added[1]
            found = [row for row in (first, first + 1) if self.pt(row)]
            number = (self.draw(orbit, 2**16 + bx) >> 32) * (limits[8] + 1) >> 32
        for j in range(sum(number > limit for limit in limits[:8])):
            row = (self.draw(orbit, 2**20 + 16 * bx + j) >> 32) * muons.drawn >> 32
            found.append(row)
            if row >= muons.drawn - muons.ghosts:
                found.append(row + muons.ghosts)
        return sorted(found, key=self.pt, reverse=True)[:8]

    def pt(self, row: int) -> int:
        return int(GmtMuon.unpack(self.pool.muons.rows[row : row + 1])["hw_pt"][0])

    def body(self, orbit: int, bx: int) -> Any:
        """The calorimeter crossing of crossing bx."""
        calos, added = self.pool.calos, self.process(orbit, bx)
        if added and calos.starts[added[0]] >= 0:
            return calos.bodies[calos.starts[added[0]] + added[1]]
        bits, mean = self.draw(orbit, 2**18 + bx), self.mean(orbit, bx)
        width = NormalDist().inv_cdf((bits % 1024 + 0.5) / 1024)
        first, step, strata, each = calos.sizes.tolist()
        collisions = int(mean + math.sqrt(mean) * width + 0.5)
        stratum = min(max(collisions - first, 0) // step, strata - 1)
        return calos.bodies[stratum * each + ((bits >> 32) * each >> 32)]

    def events(self, orbit: int) -> bytes:
        """The FRD events of an orbit, packed by the sink for raw files."""
        bxs = np.flatnonzero(self.factors).tolist()
        tables: dict[str, Table] = {}
        if "gmt" in self.stream.sources:
            chosen = [self.rows(orbit, bx) for bx in bxs]
            columns = GmtMuon.unpack(self.pool.muons.rows[[row for rows in chosen for row in rows]])
            columns["hw_eta"] = columns["hw_eta_first"]
            tables["mu"] = Table(columns, offsets_of(np.array([len(rows) for rows in chosen])))
        if "calo" in self.stream.sources:
            head = [np.array([0, bx + 1, orbit], np.uint32) for bx in bxs]
            words = [
                part for h, bx in zip(head, bxs, strict=True) for part in (h, self.body(orbit, bx))
            ]
            found, bad = unpack("calo", packets_of([np.concatenate(words)], [0], [2]))
            assert not bad
            assert len(found["sums"].key) == len(bxs)
            assert set(found["sums"].columns) == set(CaloSums.fields)
            for name, objects in found.items():
                counts = np.zeros(len(bxs), np.int32)
                counts[np.searchsorted(np.array(bxs) + 1, objects.bx)] = objects.counts
                tables[name] = Table(objects.columns, offsets_of(counts))
        block = Block(
            orbit, orbit + 1, np.full(len(bxs), orbit, np.uint32),
            (np.array(bxs) + 1).astype(np.uint16), tables, contiguous=True, scouting=True,
        ).check()  # fmt: skip
        lumi = 1 + orbit // 2**18
        found_payloads = payloads(block, self.stream.calo_form)
        return b"".join(event_bytes(p, self.stream.run, lumi) for p in found_payloads)
