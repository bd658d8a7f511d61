"""What the fault tests of the live chain share: the offline truth, and a judge of closed files.

The judge reads closed files with plain pyarrow and their end markers, which say which orbits a
file covers. Every covered orbit must have exactly the rows of the offline run: none missing, none
twice, equal values in every column that both have.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc as ipc

from scout40.emulator.ugt.model import Menu
from scout40.streams.block import Block, Table, offsets_of
from scout40.streams.formats import frd
from scout40.streams.formats.calo import CaloJet
from scout40.streams.sinks.base import END, Marker
from scout40.streams.sinks.raw import event_bytes, file_header_bytes, payloads
from scout40.streams.snapshot import Snapshot
from scout40.streams.sources.synthetic import Synthetic
from scout40.tools.job import emulate
from scout40.tools.live_config import Configured, load_pipeline
from scout40.tools.live_engine import LiveResult
from scout40.tools.sample import demo_menu
from tests.streams.live_messages import RUN, payload

NEEDED = {"orbit", "bx", "run", "lumi", "initial", "prescaled", "accept_after_rules"}
"""Columns that are compared at least, and at least one of objects."""

Spans = list[tuple[int, int]]
"""Ranges [first, last) of orbits."""


def configured(*, output: dict[str, Any] | None = None, **settings: Any) -> Configured:
    """The packaged pipeline "everything" with other values of [input] and, as ``output``, of
    [output]."""
    found = load_pipeline("everything")
    pipeline = dataclasses.replace(
        found.pipeline,
        input=dataclasses.replace(found.pipeline.input, **settings),
        output=dataclasses.replace(found.pipeline.output, **(output or {})),
    )
    return dataclasses.replace(found, pipeline=pipeline)


def jet_payload(first: int, orbits: int) -> bytes:
    """FRD events with a few jets in some crossings of every orbit."""
    rng = np.random.default_rng([3, first])
    bx = np.sort(rng.choice(np.arange(1, 3565), (orbits, 4), replace=True), axis=1)
    orbit, place = np.divmod(np.unique(np.arange(orbits)[:, None] * 4096 + bx), 4096)
    counts = rng.integers(1, 4, len(orbit))
    columns = {n: np.zeros(counts.sum(), b.dtype) for n, b in CaloJet.fields.items()}
    columns["hw_et"] = rng.integers(1, 400, counts.sum()).astype(columns["hw_et"].dtype)
    columns["hw_phi"] = rng.integers(0, 144, counts.sum()).astype(columns["hw_phi"].dtype)
    block = Block(
        first, first + orbits, (orbit + first).astype(np.uint32), place.astype(np.uint16),
        {"jet": Table(columns, offsets_of(counts))}, contiguous=True, scouting=True,
    )  # fmt: skip
    return b"".join(event_bytes(one, RUN, 1) for one in payloads(block))


# -- the offline truth -----------------------------------------------------------------------


def offline(events: Iterable[bytes], folder: Path, menu: Menu | None = None) -> pa.Table:
    """What an offline run writes that gets these FRD events, in order of orbit, as a raw file."""
    folder.mkdir(exist_ok=True)
    raw, out = folder / "offline.raw", folder / "offline.arrow"
    parts = list(events)
    data = b"".join(parts)
    first = np.frombuffer(data[: frd.EVENT_BYTES], "<u4")
    raw.write_bytes(file_header_bytes(len(parts), int(first[1]), 1, 32 + len(data)) + data)
    result = emulate([raw], menu or demo_menu(), out=out, overwrite=True, threads=1)
    assert result.receipt.ledger["packets"].out == len(parts)
    return read(out)


def offline_synthetic(stream: Synthetic, spans: Spans, folder: Path) -> pa.Table:
    """The same for these orbits of the synthetic stream."""
    data = [
        event
        for first, last in spans
        for start in range(first, last, 256)
        for event in cut(bytes(stream.payload(start, min(256, last - start))[0]))
    ]
    return offline(data, folder)


def cut(payload: bytes) -> list[bytes]:
    """The events of a payload."""
    found, place = [], 0
    while place < len(payload):
        size = frd.EVENT_BYTES + int.from_bytes(payload[place + 16 : place + 20], "little")
        found.append(payload[place : place + size])
        place += size
    return found


# -- streams of muons in small messages ---

ORBITS = 4
"""Of one message."""
SMALL = configured(block_orbits=ORBITS, output={"max_orbits": 2 * ORBITS})
"""Files of two messages."""


def truth(folder: Path, last: int, first: int = 0) -> pa.Table:
    """Offline, for orbits [first, last)."""
    return offline(
        (e for k in range(first, last, ORBITS) for e in cut(payload(k, ORBITS))), folder / "truth"
    )


def errors(snapshot: Snapshot) -> str:
    return "\n".join(error.text for error in snapshot.errors)


# -- closed files ----------------------------------------------------------------------------


def closed(folder: Path) -> list[Path]:
    """Closed files in the order in which they were begun."""
    return sorted(folder.glob("events_*.arrow"), key=lambda path: path.stem.rsplit("_", 1)[1])


def read(path: Path) -> pa.Table:
    """All rows, by plain pyarrow."""
    return ipc.open_file(pa.memory_map(str(path))).read_all()


def marker(path: Path) -> Marker:
    """The end marker: the metadata of the last batch, which has no rows."""
    reader = ipc.open_file(pa.memory_map(str(path)))
    last = reader.get_batch_with_custom_metadata(reader.num_record_batches - 1)
    assert last.custom_metadata is not None, path
    return Marker.from_json(last.custom_metadata[END])


def spans_of(paths: Iterable[Path]) -> Spans:
    """Orbits that files cover, block by block in the order in which they were written."""
    return [(s.first_orbit, s.last_orbit) for path in paths for _, s in marker(path).spans()]


def joined(spans: Spans) -> Spans:
    """Rising ranges joined where they touch; fails where an orbit is covered twice."""
    found: Spans = []
    for first, last in spans:
        if found and found[-1][1] == first:
            found[-1] = found[-1][0], last
            continue
        assert not found or found[-1][1] < first, f"orbit {first} after {found[-1]}"
        found.append((first, last))
    return found


def orbits(spans: Spans) -> int:
    return sum(last - first for first, last in spans)


def judge(paths: Sequence[Path], expected: pa.Table, *, without: Sequence[str] = ()) -> Spans:
    """Compare closed files with the offline run; the orbits that they cover.

    expected: may have more orbits than the files. without: columns that need not be equal.
    """
    spans = joined(spans_of(paths))
    tables = [read(path) for path in paths]
    for path, table in zip(paths, tables, strict=True):
        assert marker(path).rows == table.num_rows
    names = [name for name in expected.column_names if name not in without]
    names = [name for name in names if all(name in table.column_names for table in tables)]
    assert set(names) >= NEEDED - set(without)
    assert set(names) & {"mu", "jet"}
    mine = pa.concat_tables([plain(table.select(names)) for table in tables])
    edges = np.array(spans, np.int64).reshape(-1, 2)
    place = np.searchsorted(edges[:, 0], expected["orbit"].to_numpy(), side="right") - 1
    inside = (place >= 0) & (expected["orbit"].to_numpy() < edges[place, 1])
    same(mine, plain(expected.select(names)).filter(pa.array(inside)))
    return spans


def same(mine: pa.Table, other: pa.Table) -> None:
    """Equal rows, order aside."""
    mine, other = (in_order(table) for table in (mine, other))
    for name in ("orbit", "bx"):
        assert mine[name].to_pylist() == other[name].to_pylist(), f"other rows, by {name}"
    for name in mine.column_names:
        assert mine[name].equals(other[name]), f"column {name} differs"


def in_order(table: pa.Table) -> pa.Table:
    keys = [("orbit", "ascending"), ("bx", "ascending")]
    return table.take(pc.sort_indices(table, keys)).combine_chunks()


def plain(table: pa.Table) -> pa.Table:
    """Without metadata, in which files may differ."""
    return pa.Table.from_arrays(table.columns, names=table.column_names)


# -- ledgers ---------------------------------------------------------------------------------


def settled(result: LiveResult, folder: Path | None = None) -> None:
    """The ledger balances, nothing is pending, and the rows in ``folder`` are those it says."""
    ledger = result.receipt.ledger
    ledger.check()
    assert {unit: a.pending for unit, a in ledger.accounts.items() if a.pending} == {}
    if folder is not None:
        assert ledger["rows"].out == sum(read(path).num_rows for path in closed(folder))


def settled_json(found: dict[str, Any]) -> dict[str, Any]:
    """The same for what ``--json`` printed; its packet account."""
    assert found["ledger"]["balanced"]
    accounts = found["ledger"]["accounts"]
    for unit, account in accounts.items():
        gone = sum(account["dropped"].values()) + sum(account["bad"].values())
        assert account["in"] == account["out"] + gone, unit
        assert account["pending"] == 0, unit
    packets: dict[str, Any] = accounts["packets"]
    return packets
