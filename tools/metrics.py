"""Prometheus endpoint of a live run: the newest snapshot as metrics, on the loopback interface.

Metrics carry no keys, so only this machine may ask; a Prometheus elsewhere comes through a
tunnel. Every scrape reads one snapshot: nothing is kept, and a slow scraper holds up nobody.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
    StateSetMetricFamily,
)
from prometheus_client.registry import Collector

from scout40.streams.errors import BadConfig
from scout40.streams.snapshot import RUN_STATES, Snapshot

DEFAULT_ADDRESS = "127.0.0.1:9140"
MAX_LABELS = 512
"""Label values of one metric: a menu has at most 512 algorithms; further ones are not exported."""

GetSnapshot = Callable[[], Snapshot | None]

# name -> (help, attribute of Snapshot); prometheus-client adds _total to counters.
COUNTERS = {
    "scout40_orbits": ("Orbits processed.", "orbits"),
    "scout40_written_rows": ("Rows written.", "written_rows"),
    "scout40_written_bytes": ("Bytes written.", "written_bytes"),
    "scout40_files_closed": ("Output files closed.", "files_closed"),
    "scout40_live_seconds": ("Time in which data were taken.", "live_s"),
    "scout40_dead_seconds": ("Time in which data could not be taken.", "dead_s"),
    "scout40_paused_seconds": ("Time in which the run was paused.", "paused_s"),
}
GAUGES = {
    "scout40_orbits_per_second": ("Orbits processed per second, LHC: 11245.5.", "orbits_per_s"),
    "scout40_crossings_per_second": ("Crossings processed per second.", "crossings_per_s"),
    "scout40_written_rows_per_second": ("Rows written per second.", "written_rows_per_s"),
}
# Label source = name of the source; attributes of SourceState.
SOURCE_COUNTERS = {
    "scout40_source_packets": ("Packets received, one orbit each.", "packets"),
    "scout40_source_gaps": ("Gaps in the sequence.", "gaps"),
    "scout40_source_dropped_packets": ("Packets dropped by the feed.", "dropped_by_feed"),
    "scout40_source_late_packets": ("Packets that came too late.", "late"),
    "scout40_source_bad_packets": ("Packets that could not be used.", "bad"),
    "scout40_source_duplicates": ("Packets that came twice.", "duplicates"),
    "scout40_source_reordered": ("Packets out of order.", "reordered"),
}
SOURCE_GAUGES = {
    # No counter: a packet that comes late was lost before, and is moved.
    "scout40_source_lost_packets": ("Packets missing in gaps since the start.", "lost"),
    "scout40_source_lag_seconds": ("Now minus send time of the last processed.", "lag_s"),
    "scout40_source_age_seconds": ("Since the last message; -1 before the first.", "age_s"),
    "scout40_source_orbits_per_second": ("Orbits received per second.", "orbits_per_s"),
}
QUANTILES = {"0.5": "p50", "0.9": "p90", "0.99": "p99", "0.999": "p999", "1": "max"}


class Server:
    """A running endpoint; a context manager. ``address`` has the real port."""

    def __init__(self, server: WSGIServer, thread: threading.Thread) -> None:
        self._server, self._thread = server, thread
        host, port = server.server_address[:2]
        name = host if isinstance(host, str) else host.decode()
        self.address = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"

    def close(self) -> None:
        """Stop answering and give the port back."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def serve(address: str, get_snapshot: GetSnapshot) -> Server:
    """Answer scrapes at ``address`` ("127.0.0.1:9140"; port 0 takes a free one).

    ``get_snapshot`` returns the newest snapshot, or None before the first; it is called from
    the threads of the server. BadConfig when the address is not of the loopback interface or
    cannot be had.
    """
    host, port = _loopback(address)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SnapshotCollector(get_snapshot))
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise BadConfig(f"metrics at {address}: {error.strerror or error}") from None
    return Server(server, thread)


def _loopback(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise BadConfig(f"metrics at {address!r}: write HOST:PORT, for example {DEFAULT_ADDRESS}")
    host = host.removeprefix("[").removesuffix("]")
    host = "127.0.0.1" if host == "localhost" else host
    try:
        inside = ipaddress.ip_address(host).is_loopback
    except ValueError:
        inside = False
    if not inside:
        raise BadConfig(
            f"metrics at {address!r}: anybody could read them there, they have no keys; use "
            "127.0.0.1 and a tunnel"
        )
    return host, int(port)


class SnapshotCollector(Collector):
    """Metrics of the newest snapshot, made anew for every scrape."""

    def __init__(self, get_snapshot: GetSnapshot) -> None:
        self._get = get_snapshot

    def collect(self) -> Iterator[Metric]:
        snapshot = self._get()
        up = GaugeMetricFamily("scout40_up", "1 when there is a snapshot.")
        up.add_metric([], 0.0 if snapshot is None else 1.0)
        yield up
        if snapshot is not None:
            yield from _run(snapshot)
            yield from _sources(snapshot)
            yield from _rates(snapshot)
            yield from _machine(snapshot)


def _run(snapshot: Snapshot) -> Iterator[Metric]:
    info = {name: str(getattr(snapshot, name)) for name in ("name", "run", "menu", "pipeline")}
    yield InfoMetricFamily("scout40_run", "Which run this is.", value=info)
    states = {state: state == snapshot.state for state in RUN_STATES}
    yield StateSetMetricFamily("scout40_state", "State of the run.", value=states)
    for name, (text, attribute) in COUNTERS.items():
        yield CounterMetricFamily(name, text, value=getattr(snapshot, attribute))
    for name, (text, attribute) in GAUGES.items():
        yield GaugeMetricFamily(name, text, value=getattr(snapshot, attribute))
    balanced = float(snapshot.balanced)
    yield GaugeMetricFamily("scout40_ledger_balanced", "1 when every account is.", value=balanced)
    age = max(0.0, time.time() - snapshot.time_ns / 1e9)
    text = "Age of the snapshot; beyond 3 s nothing else here is news."
    yield GaugeMetricFamily("scout40_snapshot_age_seconds", text, value=age)
    # No counters, since entries move from one reason to another.
    ledger = GaugeMetricFamily(
        "scout40_ledger_entries", "Accounts of the ledger.", labels=("unit", "entry", "reason")
    )
    for unit, account in list(snapshot.accounts.items())[:MAX_LABELS]:
        ledger.add_metric([unit, "in", ""], account["in"])
        ledger.add_metric([unit, "out", ""], account["out"])
        ledger.add_metric([unit, "pending", ""], account["pending"])
        for reason, amount in list(account["dropped"].items())[:MAX_LABELS]:
            ledger.add_metric([unit, "dropped", reason], amount)
        for reason, amount in list(account["bad"].items())[:MAX_LABELS]:
            ledger.add_metric([unit, "bad", reason], amount)
    yield ledger


def _sources(snapshot: Snapshot) -> Iterator[Metric]:
    # A name that stands twice would make the whole page invalid.
    sources = list({one.name: one for one in snapshot.sources}.values())[:MAX_LABELS]
    for name, (text, attribute) in SOURCE_COUNTERS.items():
        counter = CounterMetricFamily(name, text, labels=("source",))
        for one in sources:
            counter.add_metric([one.name], getattr(one, attribute))
        yield counter
    for name, (text, attribute) in SOURCE_GAUGES.items():
        gauge = GaugeMetricFamily(name, text, labels=("source",))
        for one in sources:
            gauge.add_metric([one.name], getattr(one, attribute))
        yield gauge
    state = GaugeMetricFamily(
        "scout40_source_state", "1 for the state it is in.", labels=("source", "state")
    )
    for one in sources:
        state.add_metric([one.name, one.state], 1.0)
    yield state


def _rates(snapshot: Snapshot) -> Iterator[Metric]:
    rates = list({one.name: one for one in snapshot.rates}.values())[:MAX_LABELS]
    fired = CounterMetricFamily(
        "scout40_algorithm_fired", "Crossings in which it fired.", labels=("algorithm",)
    )
    rate = GaugeMetricFamily("scout40_algorithm_rate_hertz", "Rate now.", labels=("algorithm",))
    after = GaugeMetricFamily(
        "scout40_algorithm_prescaled_rate_hertz", "After prescale.", labels=("algorithm",)
    )
    for one in rates:
        fired.add_metric([one.name], one.count)
        rate.add_metric([one.name], one.hz)
        after.add_metric([one.name], one.prescaled_hz)
    yield from (fired, rate, after)


def _machine(snapshot: Snapshot) -> Iterator[Metric]:
    latency = GaugeMetricFamily(
        "scout40_latency_seconds", "Percentiles since the start.", labels=("path", "quantile")
    )
    messages = CounterMetricFamily("scout40_latency_messages", "Measured.", labels=("path",))
    for path, found in list(snapshot.latency.items())[:MAX_LABELS]:
        for quantile, attribute in QUANTILES.items():
            latency.add_metric([path, quantile], getattr(found, attribute) / 1e3)
        messages.add_metric([path], found.count)
    stages = CounterMetricFamily("scout40_stage_busy_seconds", "Busy time.", labels=("stage",))
    for stage, busy in list(snapshot.stages.items())[:MAX_LABELS]:
        stages.add_metric([stage], busy)
    filled = GaugeMetricFamily("scout40_queue_filled", "Entries waiting.", labels=("queue",))
    capacity = GaugeMetricFamily("scout40_queue_capacity", "Entries at most.", labels=("queue",))
    dropped = CounterMetricFamily("scout40_queue_dropped", "Dropped.", labels=("queue", "policy"))
    for name, queue in list(snapshot.queues.items())[:MAX_LABELS]:
        filled.add_metric([name], queue.filled)
        capacity.add_metric([name], queue.capacity)
        dropped.add_metric([name, queue.policy], queue.dropped)
    board = GaugeMetricFamily("scout40_board_fine", "1 when it answers.", labels=("board",))
    for one in list({one.name: one for one in snapshot.boards}.values())[:MAX_LABELS]:
        board.add_metric([one.name], float(one.fine))
    yield from (latency, messages, stages, filled, capacity, dropped, board)
