"""The snapshot of a live run: what its counters say at one moment."""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from scout40.streams.block import ORBIT_BX, ORBIT_HZ
from scout40.streams.snapshot import (
    MAX_ERRORS,
    BoardState,
    ErrorState,
    HistogramState,
    QueueState,
    RateState,
    Snapshot,
    SourceState,
    accounts_of,
)
from scout40.tools.live_intake import Feed
from scout40.tools.live_job import AHEAD, LiveRun


@dataclass
class Seen:
    """Counters at the last snapshot, for rates."""

    time: float
    orbits: int
    rows: int
    feeds: dict[int, int]
    initial: np.ndarray[tuple[int], np.dtype[np.int64]]
    prescaled: np.ndarray[tuple[int], np.dtype[np.int64]]


@dataclass
class Reporter:
    """Makes the snapshots of one run."""

    live: LiveRun
    name: str
    started_ns: int = field(default_factory=time.time_ns)
    paused_s: float = 0.0
    sequence: int = 0
    errors: deque[ErrorState] = field(default_factory=lambda: deque(maxlen=MAX_ERRORS))
    _told: int = 0
    _wall: float = field(default_factory=lambda: time.time() - time.monotonic())

    def __post_init__(self) -> None:
        self._seen = self._now()

    def error(self, text: str) -> None:
        """Remember one error with its time."""
        self.errors.append(ErrorState(time.time_ns(), text))

    def swapped(self) -> None:
        """Another menu counts from 0."""
        self._seen = self._now()

    def snapshot(self, state: str) -> Snapshot:
        """The run now; rates are those since the snapshot before."""
        live, before, now = self.live, self._seen, self._now()
        self._notice(now.time - before.time)
        seconds = max(now.time - before.time, 1e-9)
        orbits = now.orbits - before.orbits
        output = live.output
        self._seen = now
        self.sequence += 1
        return Snapshot(
            name=self.name,
            pid=os.getpid(),
            host=socket.gethostname(),
            time_ns=time.time_ns(),
            started_ns=self.started_ns,
            sequence=self.sequence - 1,
            state=state,
            run=live.intake.newest_run,
            menu=live.stage.menu.name,
            pipeline=live.configured.name,
            output=str(output.folder),
            accounts=accounts_of(live.run.ledger),
            balanced=live.run.ledger.balanced,
            live_s=live.orbits / ORBIT_HZ,
            dead_s=self._dead_s(),
            paused_s=self.paused_s,
            orbits=live.orbits,
            orbits_per_s=orbits / seconds,
            crossings_per_s=orbits * ORBIT_BX / seconds,
            written_rows=now.rows,
            written_rows_per_s=(now.rows - before.rows) / seconds,
            written_bytes=output.written_bytes,
            files_closed=output.files_closed,
            sources=self._sources(before, seconds),
            rates=self._rates(before, now),
            histograms={
                name: HistogramState(
                    tuple(one.edges.tolist()), tuple(one.counts.tolist()), one.unit
                )
                for name, one in live.stage.histograms.binned().items()
            },
            latency=live.latencies.states(),
            stages={**live.busy, "receive": live.receive_s()},
            queues=self._queues(),
            boards=(BoardState("cpu", "ok", f"menu kernel, {live.threads} threads"),),
            errors=tuple(self.errors),
        )

    def _now(self) -> Seen:
        live, counter = self.live, self.live.stage.work.counter
        feeds = {number: feed.orbits for number, feed in live.intake.feeds.items()}
        return Seen(
            time.monotonic(), live.orbits, live.output.rows, feeds,
            counter.initial.copy(), counter.prescaled.copy(),
        )  # fmt: skip

    def _notice(self, seconds: float) -> None:
        """New bad input, and clocks that jumped, become errors; time without a feed is a pause."""
        quarantine = self.live.run.quarantine
        for text in quarantine.reasons[self._told :]:
            self.error(text)
        self._told = len(quarantine.reasons)
        offset = time.time() - time.monotonic()
        if abs(offset - self._wall) > 0.25:
            self.error(f"the clock of this machine was set by {offset - self._wall:+.2f} s")
        self._wall = offset
        if not self.live.intake.running:
            self.paused_s += seconds

    def _dead_s(self) -> float:
        """LHC time of the packets that were lost, dropped or bad, spread over the sources."""
        account = self.live.run.ledger["packets"]
        gone = account.dropped.total() + account.bad.total()
        return gone / max(1, len(self.live.kinds)) / ORBIT_HZ

    def _sources(self, before: Seen, seconds: float) -> tuple[SourceState, ...]:
        live = self.live
        found = [
            self._source(number, feed, before, seconds)
            for number, feed in live.intake.feeds.items()
            if feed.state != "replaced"
        ]
        known = {one.endpoint for one in found if one.state != "conflict"}
        for endpoint, state in live.endpoint_states().items():
            if endpoint not in known:
                waiting = "refused" if state == "refused" else "connecting"
                bad = live.intake.unreadable[endpoint]
                found.append(SourceState(endpoint, endpoint, state=waiting, bad=bad))
        return tuple(found)

    def _source(self, number: int, feed: Feed, before: Seen, seconds: float) -> SourceState:
        tracker, now = feed.tracker, time.monotonic()
        late = tracker.late + self.live.intake.merger.late.get(number, 0)
        orbits = feed.orbits - before.feeds.get(number, 0)
        return SourceState(
            name=f"source {tracker.source}",
            endpoint=tracker.endpoint,
            feed=f"{number:016x}",
            source=tracker.source,
            state=feed.state,
            age_s=max(0.0, now - feed.heard),
            orbit=feed.orbit,
            orbits_per_s=orbits / seconds,
            packets=tracker.packets,
            gaps=tracker.gaps,
            lost=tracker.lost,
            dropped_by_feed=tracker.by_feed,
            duplicates=tracker.duplicates,
            reordered=tracker.reordered,
            late=late,
            bad=feed.bad,
            before=tracker.before,
            elsewhere=tracker.elsewhere,
            lag_s=self.live.lag_s(number),
        )

    def _rates(self, before: Seen, now: Seen) -> tuple[RateState, ...]:
        """Rates per second of LHC time that was decided since the last snapshot."""
        counter = self.live.stage.work.counter
        live_s = (now.orbits - before.orbits) / ORBIT_HZ
        scale = 1 / live_s if live_s > 0 else 0.0
        fired = (now.initial - before.initial).clip(0) * scale
        after = (now.prescaled - before.prescaled).clip(0) * scale
        return tuple(
            RateState(a.name, int(now.initial[a.index]), float(fired[a.index]),
                      float(after[a.index]))
            for a in self.live.stage.menu.algorithms
            if counter.evaluated[a.index]
        )  # fmt: skip

    def _queues(self) -> dict[str, QueueState]:
        live = self.live
        queue, merger = live.queue, live.intake.merger
        return {
            "input": QueueState(
                queue.filled + merger.packets, 2 * queue.capacity, queue.policy, queue.dropped
            ),
            "decide": QueueState(live.pending, live.threads + AHEAD + 2, "block", 0),
        }
