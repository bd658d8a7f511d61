"""Arrow and Parquet files written by scout40."""

from __future__ import annotations

import numpy as np

from scout40.streams.block import Block, Origin, Table, offsets_of
from scout40.streams.sinks.arrow import SUFFIXES, ArrowSink
from scout40.streams.sources.arrow import ArrowSource, recognise
from scout40.streams.sources.base import Run
from tests.fuzz.harness import Target, read, scratch, written


def seeds() -> list[bytes]:
    """Small good files of each format."""
    orbit = np.repeat(np.arange(4, 6, dtype=np.uint32), 5)
    bx = np.tile(np.arange(1, 6, dtype=np.uint16), 2)
    offsets = offsets_of(np.arange(10) % 3)
    muons = {
        "hw_pt": np.arange(offsets[-1], dtype=np.uint16),
        "hw_eta_at_vtx": -np.arange(offsets[-1], dtype=np.int16),
    }
    tables = {"mu": Table(muons, offsets)}
    crossing = {"ext": np.arange(40, dtype=np.uint64).reshape(10, 4)}
    block = Block(
        *(4, 6, orbit, bx, tables, crossing),
        recorded_names=("a",),
        contiguous=True,
        origin=Origin("seed", 0),
    )
    files = []
    for suffix in SUFFIXES:
        path = scratch() / f"seed{suffix}"
        sink = ArrowSink(path)
        for sequence in range(3):
            sink.write(
                block.replace(origin=Origin("seed", sequence)), {"decision": crossing["ext"]}
            )
        sink.close("complete")
        files.append(path.read_bytes())
    return files


def parse(data: bytes) -> str:
    path = written(data, "data.bin")
    recognise(data[:4096], path)
    return read(ArrowSource, path, Run())[0]


TARGET = Target("arrow", seeds, parse, weight=1.5)
