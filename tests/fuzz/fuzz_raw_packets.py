"""Packets of every raw source, unpacked without a file around them.

The first four bytes of an input choose the kind of source, three packets of one length follow.
"""

from __future__ import annotations

import numpy as np

from scout40.streams.formats import frd
from scout40.streams.sinks.raw import payloads
from scout40.streams.sources.raw_tables import unpack
from scout40.streams.sources.raw_unpack import packets_of
from tests.fuzz.fuzz_raw import small_block
from tests.fuzz.harness import Target

KINDS = sorted(set(frd.SOURCE_KINDS.values()))


def seeds() -> list[bytes]:
    """The same valid packet three times, of each kind of source and form."""
    rng = np.random.default_rng(2)
    block = small_block(rng, ("mu", "jet", "eg", "tau", "sums", "stub", "tower"))
    found: dict[tuple[str, str], bytes] = {}
    for form in ("dma", "tcp"):
        for payload in payloads(block, "dma" if form == "dma" else "tcp"):
            if len(payload.words):
                kind = frd.SOURCE_KINDS[payload.source]
                number = KINDS.index(kind).to_bytes(4, "little")
                found.setdefault((kind, form), number + payload.words.tobytes() * 3)
    return list(found.values())


def parse(data: bytes) -> str:
    kind = KINDS[data[0] % len(KINDS)] if data else KINDS[0]
    words = np.frombuffer(data[: len(data) & ~3], "<u4")[1:]
    third = len(words) // 3
    parts = [words[:third], words[third : 2 * third], words[2 * third :]]
    tables, bad = unpack(kind, packets_of(parts, [0, 0, 1], [10, 11, 10]))
    for name, table in tables.items():
        objects = int(table.counts.sum())
        sizes = {len(column) for column in table.columns.values()}
        if sizes != {objects} or objects > len(words) or np.any(np.diff(table.key) <= 0):
            raise AssertionError(f"{kind}: table {name} does not hold together")
    return f"{kind} good" if len(bad) < 3 else f"{kind} bad"


TARGET = Target("raw_packets", seeds, parse, weight=45)
