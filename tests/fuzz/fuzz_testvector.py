"""Test vectors of the global trigger."""

from __future__ import annotations

import random

from scout40.streams.sources.base import Run
from scout40.streams.sources.testvector import TestVectorSource, recognise
from tests.fuzz.harness import Target, read, written


def line(bx: int, words: int, rng: random.Random) -> bytes:
    """One data line with ``words`` 32-bit columns."""
    columns = [f"{bx:04d}", *(f"{rng.getrandbits(64):016x}" for _ in range(8))]
    columns += [f"{rng.getrandbits(32):08x}" for _ in range(words)]
    columns += [f"{rng.getrandbits(256):064x}", f"{rng.getrandbits(512):0128x}", "1"]
    return " ".join(columns).encode()


def seeds() -> list[bytes]:
    """Small good files of several layouts."""
    rng = random.Random(1)
    files = [
        b"\n".join(line(bx, words, rng) for bx in range(3)) + b"\n" for words in (36, 38, 42, 48)
    ]
    return [*files, b"# comment\n\n" + files[3].replace(b"\n", b"\r\n"), files[0][:-1]]


def parse(data: bytes) -> str:
    path = written(data, "vector.txt")
    recognise(data[:4096], path)
    return read(TestVectorSource, path, Run(rows_per_block=3))[0]


TARGET = Target("testvector", seeds, parse, weight=10, text=True)
