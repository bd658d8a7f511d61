"""ROOT files: TTree and RNTuple, compressed and not, NanoAOD of both kinds, and a plain tree.

An input is the letter m, for reading through a branch map, or any other byte, and the file.
"""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
import uproot

from scout40.streams.errors import BadInput
from scout40.streams.sources.base import Run
from scout40.streams.sources.root import RootSource, recognise
from tests.fuzz.harness import Target, read, reference_files, scratch, written

MAP = """
[[mu]]
pt = "pt"
eta = "eta"
phi = "phi"
[recorded]
prefix = "hlt"
"""


def lists(counts: list[int], **columns: float) -> ak.Array:
    total = sum(counts)
    return ak.zip(
        {name: ak.unflatten(np.full(total, value), counts) for name, value in columns.items()}
    )


def contents() -> dict[str, dict[str, Any]]:
    """Branches of small files, one of each layout; six rows each."""
    rows, counts = 6, [1, 0, 3, 2, 0, 1]
    place = {"run": np.full(rows, 1, np.uint32), "luminosityBlock": np.full(rows, 2, np.uint32)}
    crossing = {
        "orbitNumber": np.arange(rows, dtype=np.uint32),
        "bunchCrossing": np.arange(1, rows + 1, dtype=np.uint32),
    }
    sums = ak.Array([[1, 2, 3, 8]] * rows)
    tables = {
        "L1Mu": lists(counts, pt=12.5, etaAtVtx=0.5, phiAtVtx=1.0, hwQual=12, hwCharge=1),
        "L1Jet": lists(counts, pt=40.0, eta=1.0, phi=-1.0),
        "L1EtSum": ak.zip({"pt": sums * 10.0, "phi": sums * 0.1, "etSumType": sums}),
    }
    trigger = lists(counts, id=13, l1pt=10.0, eta=0.1, phi=0.2, l1iso=3, l1charge=-1)
    events = {"event": np.arange(rows, dtype=np.uint64)}
    bits = {f"L1_A{at}": np.arange(rows) % (at + 2) == 0 for at in range(3)}
    return {
        "scouting": place | crossing | tables,
        "central": place | events | bits | tables,
        "objects": place | events | bits | {"TrigObj": trigger},
        "flat": {
            "pt": ak.Array([[1.0, 2.0], [], [3.0], [], [4.0], [5.0]]),
            "eta": ak.Array([[0.1, 0.2], [], [0.3], [], [0.4], [0.5]]),
            "phi": ak.Array([[0.1, 0.2], [], [0.3], [], [0.4], [0.5]]),
            "hlt1": np.ones(rows, np.bool_),
        },
    }


def seeds() -> list[bytes]:
    """Small files of each layout, and those of the reference data that are small."""
    found = []
    path = scratch() / "seed.root"
    for name, data in contents().items():
        for kind in ("TTree", "RNTuple"):
            for compression in (None, uproot.ZLIB(1), uproot.LZ4(1), uproot.ZSTD(1)):
                with uproot.recreate(path, compression=compression) as file:
                    if kind == "RNTuple":
                        file.mkrntuple("Events", data)
                    else:
                        types = {
                            key: value.dtype if isinstance(value, np.ndarray) else value.type
                            for key, value in data.items()
                        }
                        file.mktree("Events", types).extend(data)
                found.append((b"m" if name == "flat" else b"-") + path.read_bytes())
    small = reference_files("**/*.root", most=50_000)
    # split level 0: products that uproot cannot read, refused as they are
    return found + [b"-" + file.read_bytes() for file in small if "split_0" not in file.name]


def parse(data: bytes) -> str:
    path = written(data[1:], "x.root")
    if not recognise(data[1:4097], path):
        raise BadInput("not ROOT", file=path)
    map_file = written(MAP.encode(), "map.toml") if data[:1] == b"m" else None
    source = RootSource([path], map_file=map_file)
    try:
        return read(lambda _: source, path, Run(rows_per_block=4))[0]
    except BadInput as error:  # a file that could be opened has bad entries at the worst
        raise AssertionError(f"refused too late: {error}") from error


TARGET = Target("root", seeds, parse, weight=0.5, seconds=20, warnings=False)
