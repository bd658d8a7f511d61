"""Raw files for the tests of the raw source: random blocks, their events, and comparisons."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from scout40.streams.block import Block, Table, offsets_of
from scout40.streams.formats.calo import drop_undefined_azimuth
from scout40.streams.formats.gmt import ScoutingMuon
from scout40.streams.formats.scouting import SCOUTING_WORDS
from scout40.streams.layout import Word
from scout40.streams.sinks.raw import event_bytes, payloads
from scout40.streams.sources.base import Run
from scout40.streams.sources.raw import RawSource

RUN, LUMI = 400_001, 17
ROOM = {"mu": 30, "jet": 12, "eg": 12, "tau": 12, "sums": 1, "stub": 30, "tower": 40}


def random_columns(word: type[Word], size: int, rng: np.random.Generator) -> dict[str, Any]:
    """Any value of every field; energies and momenta not 0."""
    columns = {}
    for name, bits in word.fields.items():
        low = (
            1
            if name in ("hw_pt", "hw_et") and word is not SCOUTING_WORDS["tower"]
            else bits.minimum
        )
        columns[name] = rng.integers(low, bits.limit + 1, size).astype(bits.dtype)
    return columns


def random_table(name: str, counts: npt.NDArray[np.int32], rng: np.random.Generator) -> Table:
    offsets = offsets_of(counts)
    word = ScoutingMuon if name == "mu" else SCOUTING_WORDS[name]
    columns = random_columns(word, int(offsets[-1]), rng)
    if name == "sums":
        columns = dict(drop_undefined_azimuth(columns))
    if name == "stub":
        columns = stub_columns(columns, counts, rng)
    return Table(columns, offsets)


def stub_columns(
    columns: dict[str, Any], counts: npt.NDArray[np.int32], rng: np.random.Generator
) -> dict[str, Any]:
    """Derived columns; stubs of a crossing stand in order of the sector."""
    station = columns.pop("hw_station") + np.uint8(1)
    del columns["reserved"], columns["stub_bx"]
    row = np.repeat(np.arange(len(counts)), counts)
    sector = rng.integers(0, 12, len(row)).astype(np.uint8)
    sector = sector[np.lexsort((sector, row))]
    seen: set[tuple[int, ...]] = set()
    tag = []
    parts = (row, sector, station, columns["wheel"])
    for chamber in zip(*(part.tolist() for part in parts), strict=True):
        tag.append(chamber not in seen)
        seen.add(chamber)
    derived = {"station": station, "sector": sector, "tag": np.array(tag, np.uint8)}
    return columns | derived


def random_block(
    seed: int, tables: tuple[str, ...] = ("mu", "jet", "eg", "tau", "sums"), orbits: int = 3,
    first: int = 100, rows: int = 12,
) -> Block:  # fmt: skip
    """A contiguous block as the reader gives it: each row has objects, each orbit a run."""
    rng = np.random.default_rng(seed)
    time = np.sort(rng.choice(orbits * 3564, min(rows, orbits * 3564), replace=False))
    counts = {n: rng.integers(0, ROOM[n] + 1, len(time)).astype(np.int32) for n in tables}
    if "sums" in tables:  # the DMA form has sums wherever it has anything
        counts["sums"][:] = 1
    some = np.sum(list(counts.values()), axis=0) > 0
    time = time[some]
    orbit = (time // 3564 + first).astype(np.uint32)
    return Block(
        first, first + orbits, orbit, (time % 3564 + 1).astype(np.uint16),
        {name: random_table(name, count[some], rng) for name, count in counts.items()},
        {"run": np.full(len(time), RUN, np.uint32), "lumi": np.full(len(time), LUMI, np.uint32)},
        contiguous=True,
    ).check()  # fmt: skip


def same(found: Block, wanted: Block) -> None:
    assert (found.first_orbit, found.last_orbit) == (wanted.first_orbit, wanted.last_orbit)
    assert found.contiguous
    assert found.scouting
    for name in ("orbit", "bx"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    assert set(found.tables) == set(wanted.tables)
    for name, table in wanted.tables.items():
        np.testing.assert_array_equal(found.tables[name].offsets, table.offsets, err_msg=name)
        assert set(found.tables[name].columns) == set(table.columns)
        for column, values in table.columns.items():
            ours = found.tables[name][column]
            assert ours.dtype == values.dtype
            np.testing.assert_array_equal(ours, values, err_msg=f"{name}.{column}")
    for name, values in wanted.crossing.items():
        np.testing.assert_array_equal(found.crossing[name], values, err_msg=name)


def read(paths: list[Path], run: Run | None = None) -> tuple[list[Block], Run]:
    run = run or Run()
    blocks = [block.check() for block in RawSource([str(path) for path in paths]).blocks(run)]
    run.ledger.check()
    assert run.ledger["packets"].pending == 0
    return blocks, run


def bare(block: Block, crc: bool = True, version: int = 6) -> list[bytes]:
    """Events of a block, without a file header."""
    events = []
    for payload in payloads(block):
        event = bytearray(event_bytes(payload, RUN, LUMI))
        event[:4] = struct.pack("<I", version)
        event[20:24] = event[20:24] if crc else bytes(4)
        events.append(bytes(event))
    return events


def orbits_of(blocks: list[Block]) -> list[int]:
    return [orbit for block in blocks for orbit in range(block.first_orbit, block.last_orbit)]


class RawKit:
    """The functions above; tests cannot import from a conftest."""

    random_block = staticmethod(random_block)
    same = staticmethod(same)
    read = staticmethod(read)
    bare = staticmethod(bare)
    orbits_of = staticmethod(orbits_of)


@pytest.fixture(scope="session")
def kit() -> RawKit:
    return RawKit()
