"""Raw scouting files (FRD): every kind of source, with and without checksums and file header."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from scout40.streams.block import Block, Table, offsets_of
from scout40.streams.formats.gmt import ScoutingMuon
from scout40.streams.formats.scouting import SCOUTING_WORDS
from scout40.streams.sinks.raw import FrdWriter
from scout40.streams.sources.base import Run
from scout40.streams.sources.raw import RawSource, recognise
from tests.fuzz.harness import Target, read, scratch, written


def seeds() -> list[bytes]:
    """Valid files; those without checksums let changes get past them."""
    rng = np.random.default_rng(1)
    files = []
    path = scratch() / "seed.raw"
    for tables in (
        ("mu",),
        ("mu", "jet", "sums"),
        ("jet", "tau", "sums"),
        ("stub",),
        ("tower",),
    ):
        for form in ("dma", "tcp"):
            with FrdWriter(path) as writer:
                writer.write(small_block(rng, tables), "dma" if form == "dma" else "tcp")
            data = path.read_bytes()
            files += [data, without_checksums(data), without_checksums(data)[32:]]
    return files


def small_block(rng: np.random.Generator, tables: tuple[str, ...]) -> Block:
    """Three orbits with two crossings each."""
    made = {}
    for name in tables:
        counts = np.array([1 if name == "sums" else 2] * 6)
        word = ScoutingMuon if name == "mu" else SCOUTING_WORDS[name]
        size = int(counts.sum())
        columns = {
            field: rng.integers(1, max(bits.limit, 2), size) for field, bits in word.fields.items()
        }
        columns |= {"station": np.ones(size, np.int64), "sector": np.arange(size) % 12}
        columns = {field: values & 1 if field in flags(name) else values
                   for field, values in columns.items()}  # fmt: skip
        made[name] = Table(columns, offsets_of(counts))
    orbit, bx = np.repeat([7, 8, 9], 2), np.tile([1, 3564], 3)
    return Block(7, 10, orbit.astype(np.uint32), bx.astype(np.uint16), made, contiguous=True)


def flags(name: str) -> set[str]:
    """Fields of one bit."""
    return {field for field, bits in SCOUTING_WORDS[name].fields.items() if bits.width == 1}


def without_checksums(data: bytes) -> bytes:
    """The file with crc32c 0."""
    out: npt.NDArray[np.uint8] = np.frombuffer(data, np.uint8).copy()
    at = 32
    while at < len(out):
        out[at + 20 : at + 24] = 0
        at += 24 + int(out[at + 16 : at + 20].view("<u4")[0])
    return out.tobytes()


def parse(data: bytes) -> str:
    path = written(data, "mutant.raw")
    recognise(data[:4096], path)
    run = Run(orbits_per_block=2)
    kind, objects = read(RawSource, path, run)
    bad = run.ledger["packets"].bad.total()
    if bad != run.quarantine.count:
        raise AssertionError(f"{bad} packets are bad, {run.quarantine.count} in quarantine")
    if objects > len(data):
        raise AssertionError(f"{objects} objects from {len(data)} bytes")
    return kind


TARGET = Target("raw", seeds, parse, weight=7)
