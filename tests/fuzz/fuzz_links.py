"""Inputs of muon and calorimeter trigger: tables of links and towers, patterns, test benches."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq

from scout40.streams.errors import BadInput
from scout40.streams.formats.track_finder import EMTF_ADDRESS, TFMU
from scout40.streams.sources import links, mp7_pattern, towers, ugmt_bench
from scout40.streams.sources.base import Run, Source
from tests.fuzz.harness import Target, read, written

HEAD = 4096

SOURCES: tuple[tuple[Callable[[bytes, str], bool], Callable[[Sequence[str]], Source]], ...] = (
    (links.recognise, links.LinksSource),
    (towers.recognise, towers.TowersSource),
    (mp7_pattern.recognise, mp7_pattern.Mp7PatternSource),
    (ugmt_bench.recognise, ugmt_bench.UgmtBenchSource),
)


def table(kind: str, columns: dict[str, Any]) -> bytes:
    """A table in one of the forms."""
    found, out = pa.table(columns), io.BytesIO()
    if kind == "parquet":
        pq.write_table(found, out)
    else:
        with (ipc.new_file if kind == "file" else ipc.new_stream)(out, found.schema) as writer:
            writer.write_table(found, max_chunksize=3)
    return out.getvalue()


def muons(orbit: bool, address: bool) -> dict[str, Any]:
    """A few muons of four crossings."""
    names = [*TFMU, *(EMTF_ADDRESS if address else ())]
    columns: dict[str, Any] = {name: [0, 1, 1, 0, 1, 1] for name in names}
    columns |= {"bx": [1, 1, 2, 2, 9, 11], "link": [36, 37, 50, 71, 48, 48]}
    return columns | ({"orbit": [0, 0, 0, 0, 0, 3]} if orbit else {})


def pattern(output: bool) -> bytes:
    """Two crossings of an MP7 file, with frames that are not valid around them."""
    links_of = (0, 1, 2) if output else (8, 35, 36, 50, 71)
    lines = ["Board b", "Link : " + " ".join(f"{link:02}" for link in links_of)]
    for number in range(16):
        words = [
            f"{int(1 < number < 14)}v{0x20003405 * (number + link) % 2**32:08x}"
            for link in links_of
        ]
        lines.append(f"Frame {number:04} : " + " ".join(words))
    return "\n".join(lines).encode()


def bench(new: bool) -> bytes:
    """Two events of a test bench."""
    lines = []
    for number in (0, 1):
        lines += [f"# Event: {number}", "# Calo sums:"]
        lines += [f"CALO{k} " + " ".join(["3"] * 36) for k in range(28)]
        counts = {"EMTF+": 18, "OMTF+": 18, "BMTF": 36, "OMTF-": 18, "EMTF-": 18}
        for name, count in counts.items():
            lines += [
                f"{name} {k} {9 * k} {16 * k % 576} -5 1 1 3 12 {k % 3 // 2}" for k in range(count)
            ]
        lines += ["BTRK " + " ".join(["9 7 7 0 0 0 2 8 8 8 0" if new else "9 7 7"] * 3)] * 12
        for low, high, name in (
            *((0, 4, "EIMD"), (4, 8, "OIMD"), (8, 16, "BIMD"), (16, 20, "OIMD"), (20, 24, "EIMD")),
        ):
            lines += [f"{name} {k} 9 51 9 0 1 4 36 0" for k in range(low, high)]
        lines += [f"OUT {k} 9 51 9 0 1 4 36 0 2" + (" 42" if new else "") for k in range(8)]
    return "\n".join(lines).encode()


def seeds() -> list[bytes]:
    """Small good inputs of every kind."""
    found = [
        table(kind, muons(orbit, kind == "file"))
        for kind in ("parquet", "file", "stream")
        for orbit in (False, True)
    ]
    calo = {"event": [0, 0, 2, 7], "ieta": [1, 2, -28, 41], "iphi": [1, 2, 72, 3]}
    found.append(table("parquet", calo | {"hw_pt": [1, 0, 511, 9]}))
    found.append(table("stream", calo | {"hw_et": [1, 0, 511, 9]}))
    return [*found, pattern(False), pattern(True), bench(True), bench(False)]


def parse(data: bytes) -> str:
    """The source is the first one that recognises the input."""
    path = written(data, "links.any")
    for recognise, make in SOURCES:
        if recognise(data[:HEAD], path):
            return read(make, path, Run(rows_per_block=3))[0]
    raise BadInput("not recognised")


TARGET = Target("links", seeds, parse, weight=5, text=True)
