"""The live chain beside its limits: the LHC's clock, a plain ZeroMQ transfer, a plain memory copy.

``live``: a feed in its own process at 1x and a consumer here, for a while. ``live_memory``: the
consumer alone, messages from memory. ``live_calo``: the same with the calorimeter stream, which is
much more data. All with the complete 2024 menu when the reference data are there.
"""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import zmq

from scout40.streams.block import ORBIT_HZ
from scout40.streams.errors import Scout40Error
from scout40.streams.sources.synthetic import Synthetic
from scout40.streams.wire import DATA, END, Header, encode
from scout40.tools.bench_menu import MENU_2024, reference_folder
from scout40.tools.live_config import Configured, load_pipeline
from scout40.tools.live_engine import LiveOptions, LiveResult, live
from scout40.tools.live_intake import Frames
from scout40.tools.measure import Measure
from scout40.tools.pipeline import default_threads

PACKET_ORBITS = 16
MEMORY_SECONDS = 4.0
"""LHC time of the messages that are held in memory."""
CALO_ORBITS = 128
LIVE_SECONDS = 60.0
ROUNDS = 3
MAX_LATENCY_MS = 100.0


def bench(quick: bool, seconds: float | None = None) -> list[Measure]:
    """Real-time factors of the live chain; ``seconds``: how long feed and consumer run together."""
    scale = 0.05 if quick else 1.0
    configured = load_pipeline("muons", menu=_menu())
    long = seconds if seconds is not None else scale * LIVE_SECONDS
    orbits = int(MEMORY_SECONDS * scale * ORBIT_HZ) // PACKET_ORBITS * PACKET_ORBITS
    muons = messages(Synthetic(), orbits)
    calo = messages(Synthetic(sources=("calo",)), max(PACKET_ORBITS, int(CALO_ORBITS * scale)))
    return [
        *_memory(configured, muons, 1 if quick else ROUNDS),
        _calo(load_pipeline("calo", menu=_menu()), calo),
        *_together(configured, long),
    ]


def messages(stream: Synthetic, orbits: int) -> list[Frames]:
    """The messages of a feed of so many orbits, an end behind them."""
    found: list[Frames] = []
    sent = 0
    source = stream.source_ids[0]
    for first in range(0, orbits, PACKET_ORBITS):
        number = min(PACKET_ORBITS, orbits - first)
        payload, packets = stream.payload(first, number)
        header = Header(
            DATA, 1, len(found), sent, 0, time.time_ns(), stream.run, source, first, number, packets
        )
        found.append(encode(header, payload.data))
        sent += packets
    end = Header(
        END, 1, len(found), sent, 0, time.time_ns(), stream.run, source, orbits, 0, 0
    )  # fmt: skip
    return [*found, encode(end)]


class Memory:
    """A receiver whose messages are there already."""

    def __init__(self, held: list[Frames]) -> None:
        self._items: Iterator[Frames] = iter(held)

    def receive(self, timeout_ms: int) -> tuple[str, Frames] | None:
        found = next(self._items, None)
        if found is None:
            time.sleep(timeout_ms / 1000)
            return None
        return "memory", found

    def states(self) -> Mapping[str, str]:
        return {"memory": "connected"}

    def let_go(self, endpoint: str) -> None:
        return

    def close(self) -> None:
        return


def from_memory(configured: Configured, held: list[Frames], threads: int) -> LiveResult:
    """One run of the consumer over messages in memory; all that came must have been decided."""
    options = LiveOptions(threads=threads, until_end=True)
    with tempfile.TemporaryDirectory(prefix="scout40-bench-") as folder:
        result = live(["memory"], configured, Path(folder) / "out", options,
                      connect=lambda: Memory(held))  # fmt: skip
    packets = result.receipt.ledger["packets"]
    if not result.receipt.ledger.balanced or packets.out != packets.received:
        raise Scout40Error(f"bench live: {packets.received} packets in, {packets.out} out")
    return result


def _memory(configured: Configured, held: list[Frames], rounds: int) -> list[Measure]:
    """The consumer alone; a plain transfer and a plain copy of the same bytes beside it."""
    orbits = (len(held) - 1) * PACKET_ORBITS
    lhc = orbits / ORBIT_HZ
    size = _bytes(held)
    threads = max(1, default_threads() - 1)
    ours, wire, copy = [], [], []
    results = []
    for _ in range(rounds):
        result = from_memory(configured, held, threads)
        results.append(result)
        ours.append(lhc / result.receipt.seconds)
        wire.append(lhc / transfer_seconds(held))
        copy.append(lhc / copy_seconds(held))
    result = results[-1]
    rows = result.receipt.ledger["rows"].out
    share = rows / max(1, sum(result.snapshot.histograms["bx"].counts))
    busy = ", ".join(f"{name} {s:.2f} s" for name, s in result.snapshot.stages.items())
    detail = (
        f"{orbits} orbits of GMT muons at pile-up 60, {size / 1e6:.0f} MB in messages of "
        f"{PACKET_ORBITS} orbits, {configured.name} with {result.snapshot.menu}, {100 * share:.1f} "
        f"% of the crossings with muons written; busy: {busy}"
    )
    median, sent, copied = (statistics.median(one) for one in (ours, wire, copy))
    return [
        Measure("live_memory", median, "x LHC", limit=5.0, limit_on="value", detail=detail),
        Measure("live_vs_zeromq", median, "x LHC", sent, "ZeroMQ", median / sent,
                detail="the same messages sent from one thread to another over tcp, unread"),
        Measure("live_vs_memcpy", median, "x LHC", copied, "memcpy", median / copied,
                detail="the same messages copied"),
    ]  # fmt: skip


def _calo(configured: Configured, held: list[Frames]) -> Measure:
    """The calorimeter stream on one core, with the bandwidth of the memory beside it."""
    orbits = (len(held) - 1) * PACKET_ORBITS
    result = from_memory(configured, held, 1)
    cpu = sum(result.snapshot.stages.values())
    size = _bytes(held)
    bandwidth = size / copy_seconds(held) / 1e9
    factor = orbits / ORBIT_HZ / cpu
    rate = size / orbits * ORBIT_HZ / 1e9
    return Measure(
        "live_calo", factor, "x LHC", orbits / ORBIT_HZ / copy_seconds(held), "memcpy",
        detail=f"calorimeter in DMA form, {rate:.2f} GB/s at 1x, per core of CPU time; a copy of "
        f"the same bytes runs at {bandwidth:.1f} GB/s; busy: "
        + ", ".join(f"{name} {s:.2f} s" for name, s in result.snapshot.stages.items()),
    )  # fmt: skip


def _together(configured: Configured, seconds: float) -> list[Measure]:
    """Feed and consumer on this machine at 1x for a while."""
    with _feed() as endpoint, tempfile.TemporaryDirectory(prefix="scout40-bench-") as folder:
        result = live([endpoint], configured, Path(folder) / "out", LiveOptions(seconds=seconds))
    packets = result.receipt.ledger["packets"]
    gone = packets.dropped.total() + packets.bad.total()
    latency = result.snapshot.latency["total"]
    factor = packets.out / ORBIT_HZ / result.receipt.seconds
    detail = (
        f"feed and consumer on {default_threads()} cores for {seconds:.0f} s: {packets.out} orbits "
        f"decided, {gone} lost; total latency p50 {latency.p50:.1f}, p99.9 {latency.p999:.1f}, max "
        f"{latency.max:.1f} ms"
    )
    return [
        Measure("live_1x", factor, "x LHC", detail=detail),
        Measure("live_1x_lost", gone, "packets", limit=0, bound="at most", limit_on="value"),
        Measure("live_1x_p99", latency.p99, "ms", limit=MAX_LATENCY_MS, bound="at most",
                limit_on="value", detail=detail),
    ]  # fmt: skip


@contextlib.contextmanager
def _feed() -> Iterator[str]:
    """A feed of the synthetic muon stream in its own process; its endpoint."""
    with tempfile.TemporaryDirectory(prefix="scout40-feed-") as folder:
        endpoint = f"ipc://{folder}/feed"
        command = [sys.executable, "-m", "scout40.tools", "feed", "synthetic:gmt", "--to", endpoint]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield endpoint
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def transfer_seconds(held: list[Frames]) -> float:
    """Time to send the messages over tcp on loopback to a thread that throws them away."""
    context = zmq.Context()
    push = context.socket(zmq.PUSH)
    port = push.bind_to_random_port("tcp://127.0.0.1")
    done = threading.Event()

    def receive() -> None:
        pull = context.socket(zmq.PULL)
        pull.connect(f"tcp://127.0.0.1:{port}")
        for _ in held:
            pull.recv_multipart(copy=False)
        pull.close()
        done.set()

    thread = threading.Thread(target=receive)
    thread.start()
    start = time.perf_counter()
    for frames in held:
        push.send_multipart(frames, copy=False)
    done.wait()
    seconds = time.perf_counter() - start
    thread.join()
    push.close(0)
    context.term()
    return seconds


def copy_seconds(held: list[Frames]) -> float:
    """Time to copy the messages one by one into one array that is there."""
    arrays = [np.frombuffer(frame, np.uint8) for frames in held for frame in frames if len(frame)]
    room = np.empty(max(len(array) for array in arrays), np.uint8)
    start = time.perf_counter()
    for array in arrays:
        room[: len(array)] = array
    return time.perf_counter() - start


def _bytes(held: list[Frames]) -> int:
    return sum(len(frame) for frames in held for frame in frames)


def _menu() -> str | None:
    """The complete 2024 menu of the reference data; None: the packaged one."""
    folder = reference_folder()
    path = folder / MENU_2024 if folder else None
    return str(path) if path is not None and os.path.exists(path) else None
