"""``live`` as a function: connects, runs until it is asked to stop, leaves a balanced ledger."""

from __future__ import annotations

import gc
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from scout40.streams.errors import BadInput, Scout40Error
from scout40.streams.ledger import Ledger
from scout40.streams.security import Security
from scout40.streams.snapshot import Snapshot, write_status
from scout40.streams.sockets import Publisher, Pull
from scout40.streams.sources.base import Quarantine, Run
from scout40.streams.sources.live_block import check_kinds
from scout40.streams.sources.raw_packets import RawPackets
from scout40.streams.wire import DATA, Header, encode
from scout40.tools.job import compile_note
from scout40.tools.live_config import Configured
from scout40.tools.live_intake import Intake, Listener, Queue, Receiver, looked_at
from scout40.tools.live_job import LiveRun
from scout40.tools.live_output import LiveOutput
from scout40.tools.live_snapshot import Reporter
from scout40.tools.live_stage import LiveStage
from scout40.tools.pipeline import BX_SECONDS, Asked, Never
from scout40.tools.receipt import Receipt, Status
from scout40.tools.sample import sample_path

SWITCH_S = 0.0005
"""How long one thread may hold the GIL while others wait; Python's own 5 ms is much of a block."""
IDLE_S = 0.02
"""Longest wait for input, so that time is noticed."""


@dataclass(frozen=True)
class LiveOptions:
    """What is not in the pipeline file.

    monitor: endpoint that snapshots are published on; metrics: ``127.0.0.1:PORT`` of the
    Prometheus endpoint; "": none. until_end: stop when all feeds have ended. seconds, orbits: stop
    after so much time or so many orbits; None: never.
    """

    threads: int = 1
    security: Security = field(default_factory=Security)
    monitor: str = ""
    metrics: str = ""
    quarantine: str | None = None
    until_end: bool = False
    seconds: float | None = None
    orbits: int | None = None


@dataclass(frozen=True)
class LiveResult:
    """The end of a live run: receipt and last snapshot."""

    receipt: Receipt
    snapshot: Snapshot

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        import json

        return {**self.receipt.as_dict(), "snapshot": json.loads(self.snapshot.to_json())}


@runtime_checkable
class Control(Asked, Protocol):
    """May hand over another menu between blocks."""

    def new_stage(self) -> LiveStage | None:
        """The stage to go on with, once; None to go on as before."""


def live(
    endpoints: Sequence[str],
    configured: Configured,
    out: str | Path,
    options: LiveOptions | None = None,
    *,
    stop: Asked | None = None,
    told: Callable[[Snapshot], None] | None = None,
    connect: Callable[[], Receiver] | None = None,
) -> LiveResult:
    """Decide what arrives at ``endpoints`` until asked to stop, and write it to the folder ``out``.

    stop: asked between blocks; may also hand over another menu, see ``Control``.
    told: gets every snapshot. connect: makes another receiver than sockets, for tests and
    benchmarks.

    Raises BadConfig before anything is received when endpoints, keys, menu or folder are wrong;
    what is wrong with the data is counted.
    """
    chosen = options or LiveOptions()
    settings = configured.pipeline.input
    check_kinds(settings.sources)
    begin = time.perf_counter()
    stage = warm_stage(configured)
    compiling = time.perf_counter() - begin
    ledger = Ledger()
    run = Run(ledger, Quarantine(Path(chosen.quarantine) if chosen.quarantine else None))
    output = LiveOutput(Path(out), configured, stage, ledger)
    queue = Queue(settings.queue_packets // 2, settings.policy)
    listener = Listener(connect or (lambda: Pull(endpoints, security=chosen.security)), queue)
    intake = Intake(settings, run, output.positions)
    work = LiveRun(configured, queue, intake, stage, output, run, chosen.threads, listener)
    notes = compile_note(compiling)
    session = _Session(work, chosen, stop or Never(), told, ", ".join(endpoints), notes)
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    gc.freeze()  # what is there now stays: the collector need not look at it again and again
    try:
        listener.start()
        session.open()
        return session.run()
    finally:
        gc.unfreeze()
        sys.setswitchinterval(before)
        session.close()


def warm_stage(configured: Configured) -> LiveStage:
    """A stage whose menu has decided a little packaged data, in a run of its own.

    Kernels are then compiled or loaded, and tables made, before a feed is asked for data that
    would wait.
    """
    run, settings = Run(), configured.pipeline.input
    with sample_path() as path, tempfile.TemporaryDirectory(prefix="scout40-") as folder:
        part = next(RawPackets([str(path)]).ranges(Run()))
        stage = LiveStage(configured)
        output = LiveOutput(Path(folder) / "out", configured, stage, run.ledger)
        queue = Queue(settings.queue_packets // 2, settings.policy)
        work = LiveRun(configured, queue, Intake(settings, run), stage, output, run, 1)
        header = Header(
            DATA, 1, 0, 0, 0, 0, part.run, part.source, part.first_orbit, part.orbits, part.packets
        )
        queue.put(looked_at("sample", encode(header, part.payload), 0.0))
        work.drain()
        work.close()
        output.close("complete")
    return LiveStage(configured, stage)


class _Session:
    """The loop around the turns: snapshots, limits, the end."""

    def __init__(
        self, work: LiveRun, options: LiveOptions, stop: Asked,
        told: Callable[[Snapshot], None] | None, source: str, notes: tuple[str, ...],
    ) -> None:  # fmt: skip
        self._work, self._options, self._stop, self._told = work, options, stop, told
        self._source, self._notes = source, notes
        self._reporter = Reporter(work, work.configured.name)
        self._publisher: Publisher | None = None
        # Writing a snapshot takes as long as deciding a block; only this thread uses the socket.
        self._reports = ThreadPoolExecutor(1, "report")
        self._report: Future[None] | None = None
        self._metrics: Any = None
        self._newest: Snapshot | None = None
        self._next = 0.0
        self._began = time.monotonic()

    def open(self) -> None:
        """Sockets for viewers."""
        chosen = self._options
        if chosen.monitor:
            self._publisher = Publisher(chosen.monitor, security=chosen.security)
        if chosen.metrics:
            from scout40.tools.metrics import serve

            self._metrics = serve(chosen.metrics, lambda: self._newest)

    def run(self) -> LiveResult:
        """Until asked, until a limit, or until all feeds have ended."""
        work, status = self._work, "complete"
        self._began = time.monotonic()
        self._publish("starting")
        while not self._done():
            if self._stop.requested:
                status = "interrupted"
                break
            self._swap()
            work.turn(IDLE_S)
            self._look_after()
        self._publish("draining")
        return self._finish(status)

    def _finish(self, status: str) -> LiveResult:
        work = self._work
        assert work.listener is not None
        work.listener.stop()
        for item in work.queue.take(1 << 62, 0.0):
            work.intake.put(item)
        work.intake.finish()
        work.drain()
        ended: Status = "complete" if status == "complete" else "interrupted"
        work.output.close(ended)
        work.look_at_output()
        snapshot = self._publish("stopped")
        ledger = work.run.ledger
        receipt = Receipt(
            command="live", ledger=ledger, seconds=time.monotonic() - self._began,
            source=self._source, status=ended,
            lhc_seconds=ledger["crossings"].out * BX_SECONDS,
            outputs=work.output.written(), bad=tuple(work.run.quarantine.reasons),
            notes=(*work.stage.work.notes, *self._notes),
        )  # fmt: skip
        return LiveResult(receipt, snapshot)

    def close(self) -> None:
        """Everything that is open, after an error too."""
        work = self._work
        if work.listener is not None:
            work.listener.stop()
        work.close()
        work.output.abort()
        self._reports.shutdown()
        if self._publisher is not None:
            self._publisher.close()
        if self._metrics is not None:
            self._metrics.close()

    def _done(self) -> bool:
        work, chosen = self._work, self._options
        assert work.listener is not None
        failure = work.listener.failure
        if failure is not None:
            raise failure
        if chosen.orbits is not None and work.orbits >= chosen.orbits:
            return True
        if chosen.seconds is not None and time.monotonic() - self._began >= chosen.seconds:
            return True
        idle = not work.pending and not work.intake.merger.packets
        return chosen.until_end and work.intake.ended and idle

    def _swap(self) -> None:
        if not isinstance(self._stop, Control):
            return
        try:
            stage = self._stop.new_stage()
        except (Scout40Error, OSError) as error:
            self._reporter.error(f"pipeline not changed: {error}")
            return
        if stage is not None:
            self._work.swap(stage)
            self._reporter.swapped()

    def _look_after(self) -> None:
        """What is due by the clock."""
        now = time.monotonic()
        self._work.output.tick()
        self._work.look_at_output()
        if now >= self._next:
            self._next = now + self._work.configured.pipeline.monitor.interval_s
            self._publish("running")

    def _publish(self, state: str) -> Snapshot:
        for text in self._work.output.take_errors():
            self._reporter.error(text)
        snapshot = self._newest = self._reporter.snapshot(state)
        if self._report is None or self._report.done() or state != "running":
            self._report = self._reports.submit(self._tell, snapshot)
        if state == "stopped":
            self._report.result()
        if self._told is not None:
            self._told(snapshot)
        return snapshot

    def _tell(self, snapshot: Snapshot) -> None:
        """To viewers and ``status.json``."""
        try:
            data = snapshot.to_json()
        except BadInput as error:  # a number out of its bounds must not end the run
            self._reporter.error(f"snapshot not published: {error}")
            return
        if self._publisher is not None:
            self._publisher.publish(data)
        try:
            write_status(self._work.output.folder / "status.json", data)
        except OSError as error:
            self._reporter.error(f"status.json: {error.strerror}")
