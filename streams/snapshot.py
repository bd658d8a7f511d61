"""The snapshot: what a live run says about itself, once or a few times a second, as JSON.

The consumer makes one immutable :class:`Snapshot` and publishes it on a socket and as
``status.json``; the monitor, the metrics endpoint and other programs read it. Types and bounds
stand beside each field: :func:`from_json` refuses whatever breaks them, unknown and missing
fields included, and :meth:`Snapshot.to_json` never writes what :func:`from_json` would refuse.
Texts may hold any character: who shows them on a terminal must clean them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import operator
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypedDict, cast

from scout40.streams.errors import BadInput
from scout40.streams.json_record import AtMost, OneOf, Within, dump, load
from scout40.streams.ledger import Ledger

VERSION = 1
MAX_BYTES = 1 << 20
"""Size of the JSON of one snapshot."""
MAX_ERRORS = 20

RUN_STATES = ("starting", "running", "draining", "stopped", "failed")
SOURCE_STATES = ("connecting", "running", "stale", "ended", "refused", "conflict")


Count = Annotated[int, Within(0, 2**64 - 1)]
Amount = Annotated[float, Within(0, 1e18)]
Seconds = Annotated[float, Within(0, 1e12)]
Signed = Annotated[float, Within(-1e18, 1e18)]


@dataclass(frozen=True, slots=True)
class SourceState:
    """One feed as the consumer sees it; packets are orbits of one detector source.

    feed: identity of the feed process, hexadecimal; empty before its first message.
    age_s: since the last message, heartbeats included; -1 before the first one.
    orbit: the last one processed; -1 before the first one.
    gaps: number of gaps in the sequence; ``lost``: the packets missing in them.
    before: packets that the feed had sent before this consumer came. elsewhere: those that other
        consumers of a shared feed took, or that were lost.
    lag_s: now minus the send time of the last processed message; clocks of two machines may
        make it negative.
    """

    name: str
    endpoint: str = ""
    feed: str = ""
    source: Annotated[int, Within(-1, 2**32 - 1)] = 0
    state: Annotated[str, OneOf(SOURCE_STATES)] = "connecting"
    age_s: Annotated[float, Within(-1, 1e12)] = -1.0
    orbit: Annotated[int, Within(-1, 2**64 - 1)] = -1
    orbits_per_s: Amount = 0.0
    packets: Count = 0
    gaps: Count = 0
    lost: Count = 0
    dropped_by_feed: Count = 0
    duplicates: Count = 0
    reordered: Count = 0
    late: Count = 0
    bad: Count = 0
    before: Count = 0
    elsewhere: Count = 0
    lag_s: Signed = 0.0
    back_off_s: Seconds = 0.0


@dataclass(frozen=True, slots=True)
class RateState:
    """One algorithm: crossings that fired since the start, rates in Hz now."""

    name: str
    count: Count = 0
    hz: Amount = 0.0
    prescaled_hz: Amount = 0.0


@dataclass(frozen=True, slots=True)
class HistogramState:
    """Counts since the start; ``edges`` has one value more than ``counts`` and rises."""

    edges: tuple[Signed, ...]
    counts: tuple[Count, ...]
    unit: str = ""


@dataclass(frozen=True, slots=True)
class LatencyState:
    """Percentiles in milliseconds over ``count`` messages."""

    p50: Amount = 0.0
    p90: Amount = 0.0
    p99: Amount = 0.0
    p999: Amount = 0.0
    max: Amount = 0.0
    count: Count = 0


@dataclass(frozen=True, slots=True)
class QueueState:
    """One edge of the pipeline; policy: block, keep-last or drop."""

    filled: Count = 0
    capacity: Count = 0
    policy: str = ""
    dropped: Count = 0


@dataclass(frozen=True, slots=True)
class BoardState:
    """Something that runs networks; see :attr:`fine`."""

    name: str
    state: str
    detail: str = ""

    @property
    def fine(self) -> bool:
        """False for every state but the few that mean that the board answers."""
        return self.state in ("ok", "ready", "idle", "running", "busy")


@dataclass(frozen=True, slots=True)
class ErrorState:
    """One error with its Unix time."""

    time_ns: Count
    text: str


AccountState = TypedDict(
    "AccountState",
    {
        "in": Count,
        "out": Count,
        "dropped": Mapping[str, Count],
        "bad": Mapping[str, Count],
        "pending": Count,
    },
)
"""One account of the ledger, as in ``Ledger.as_dict()["accounts"]``."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A live run at one moment. Counters are totals since the start of the consumer.

    time_ns, started_ns: Unix time. sequence: snapshots made before this one.
    rates: crossings and orbits per second over the producer's last interval.
    histograms: "mu_pt", "mu_eta", "mu_phi", "bx". stages: busy seconds.
    latency: "feed_to_decision", "decision_to_disk", "total".
    errors: newest last.
    """

    version: Annotated[int, Within(VERSION, VERSION)] = VERSION
    name: str = ""
    pid: Count = 0
    host: str = ""
    time_ns: Count = 0
    started_ns: Count = 0
    sequence: Count = 0
    state: Annotated[str, OneOf(RUN_STATES)] = "starting"
    run: Annotated[int, Within(0, 2**32 - 1)] = 0
    menu: str = ""
    pipeline: str = ""
    output: str = ""
    accounts: Mapping[str, AccountState] = dataclasses.field(default_factory=dict)
    balanced: bool = True
    live_s: Seconds = 0.0
    dead_s: Seconds = 0.0
    paused_s: Seconds = 0.0
    orbits: Count = 0
    orbits_per_s: Amount = 0.0
    crossings_per_s: Amount = 0.0
    written_rows: Count = 0
    written_rows_per_s: Amount = 0.0
    written_bytes: Count = 0
    files_closed: Count = 0
    sources: tuple[SourceState, ...] = ()
    rates: tuple[RateState, ...] = ()
    histograms: Mapping[str, HistogramState] = dataclasses.field(default_factory=dict)
    latency: Mapping[str, LatencyState] = dataclasses.field(default_factory=dict)
    stages: Mapping[str, Seconds] = dataclasses.field(default_factory=dict)
    queues: Mapping[str, QueueState] = dataclasses.field(default_factory=dict)
    boards: tuple[BoardState, ...] = ()
    errors: Annotated[tuple[ErrorState, ...], AtMost(MAX_ERRORS)] = ()

    def __post_init__(self) -> None:
        for name, histogram in self.histograms.items():
            _check_histogram(name, histogram)

    def to_json(self) -> bytes:
        """UTF-8 JSON, at most MAX_BYTES; texts longer than 300 characters are cut.

        Raises BadInput naming the first field that breaks its bounds.
        """
        return dump(self, MAX_BYTES)


def from_json(data: bytes, where: str | None = None) -> Snapshot:
    """The snapshot in ``data``; BadInput names ``where`` and the field that is wrong."""
    return load(Snapshot, data, MAX_BYTES, where)


def _check_histogram(name: str, histogram: HistogramState) -> None:
    edges, bins = histogram.edges, len(histogram.counts)
    if len(edges) != bins + 1:
        text = f"{len(edges)} edges of {bins} bins, one edge more is needed"
        raise BadInput(text, field=f"histograms.{name[:40]}")
    if any(map(operator.ge, edges, edges[1:])):
        raise BadInput("edges do not rise", field=f"histograms.{name[:40]}")


def accounts_of(ledger: Ledger) -> dict[str, AccountState]:
    """The accounts of a ledger as a snapshot holds them."""
    return cast(dict[str, AccountState], ledger.as_dict()["accounts"])


def write_status(path: str | Path, data: bytes) -> None:
    """Replace ``path`` by a snapshot's JSON in one step: a reader sees the old or the new one.

    Nothing is synchronised to disk: after a power cut the file is of no use anyway.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(data + b"\n")
        partial.replace(path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
