"""Phase-2 tracker-muon and puppi packets, bare and in DTH blocks."""

from __future__ import annotations

import random
import struct

from scout40.streams.sources.base import Run
from scout40.streams.sources.phase2 import Phase2Source, recognise
from tests.dth import framed
from tests.fuzz.harness import Target, read, written


def event(orbit: int, bx: int, words: list[int], kind: int = 2) -> bytes:
    """Header and candidates of one crossing."""
    header = kind << 62 | orbit << 24 | bx << 12 | len(words)
    return struct.pack(f"<{1 + len(words)}Q", header, *words)


def muons(number: int, rng: random.Random) -> list[int]:
    """Wire words of random tracker muons."""
    halves: list[int] = []
    for index in range(number):
        low, high = rng.getrandbits(64) | 1, rng.getrandbits(17)
        parts = [low & 0xFFFFFFFF, low >> 32]
        halves += [high, *parts] if index % 2 else [*parts, high]
    halves += [0] * (len(halves) % 2)
    return [halves[i] | halves[i + 1] << 32 for i in range(0, len(halves), 2)]


def seeds() -> list[bytes]:
    """Small good files of each wrapping."""
    rng = random.Random(1)
    puppi = [
        b"".join(
            event(orbit, bx, [rng.getrandbits(61) for _ in range(rng.randrange(9))])
            for bx in range(0, 300, 6)
        )
        for orbit in (7, 8)
    ]
    long = b"".join(event(9, bx, [rng.getrandbits(61)] * 30) for bx in range(0, 300, 6))
    tracker = b"".join(
        event(orbit, bx, muons(rng.randrange(6), rng), kind=0)
        for orbit in (0, 1)
        for bx in range(0, 360, 18)
    )
    return [b"".join(puppi), b"".join(map(framed, [*puppi, long])), tracker]


def parse(data: bytes) -> str:
    path = written(data, "packets.data")
    recognise(data[:4096], path)
    return read(Phase2Source, path, Run(rows_per_block=30, orbits_per_block=1))[0]


TARGET = Target("phase2", seeds, parse, weight=4)
