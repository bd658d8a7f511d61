"""Made-up snapshots of live runs, and a program that publishes them.

    python -m tests.tools.monitor_fake ENDPOINT healthy --seconds 60
    python -m tests.tools.monitor_fake --file status.json losing

A scene is a pure function of its step: step k is what a run says k seconds after its start.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import time
from collections.abc import Callable

from scout40.streams.block import ORBIT_BX, ORBIT_HZ
from scout40.streams.snapshot import (
    AccountState,
    BoardState,
    ErrorState,
    HistogramState,
    LatencyState,
    QueueState,
    RateState,
    Snapshot,
    SourceState,
    write_status,
)

STARTED = 1_760_000_000_000_000_000
MENU = (
    ("L1_SingleMu22", 16_200.0), ("L1_SingleMu7", 88_000.0), ("L1_DoubleMu_15_7", 2_400.0),
    ("L1_DoubleMu0er1p5_SQ_OS_dR_Max1p4", 6_100.0), ("L1_TripleMu_5_3_3", 940.0),
    ("L1_SingleMuOpen", 310_000.0), ("L1_DoubleMu18er2p1_SQ", 310.0), ("L1_QuadMu0", 42.0),
    ("L1_SingleMu25", 12_700.0), ("L1_TripleMu0_SQ", 1_800.0), ("L1_DoubleMu_12_5", 3_300.0),
    ("L1_SingleMu0_BMTF", 120_000.0), ("L1_BptxXOR", 0.0),
)  # fmt: skip


def healthy(step: int) -> Snapshot:
    """A run that keeps up with the LHC."""
    orbits = int(ORBIT_HZ * step)
    packets: AccountState = {
        "in": orbits * 2, "out": orbits * 2 - 32, "dropped": {}, "bad": {}, "pending": 32,
    }  # fmt: skip
    return Snapshot(
        name="gmt", pid=4711, host="daq1", sequence=step, state="running", run=398_183,
        time_ns=STARTED + step * 1_000_000_000, started_ns=STARTED, menu="L1Menu_Collisions2024",
        pipeline="muons.toml", output="/data/run398183", accounts={"packets": packets},
        live_s=step * 0.998, dead_s=step * 0.002, orbits=orbits,
        orbits_per_s=ORBIT_HZ * (1 + 0.002 * math.sin(step)),
        crossings_per_s=ORBIT_HZ * ORBIT_BX, written_rows=step * 310_000,
        written_rows_per_s=310_000.0, written_bytes=step * 14_000_000, files_closed=step // 10,
        sources=tuple(source(f"feed-{k}", k, step) for k in (1, 2)),
        rates=tuple(
            RateState(name, int(hz * step), hz * (1 + 0.2 * math.sin(step / 3 + k)), hz / 2)
            for k, (name, hz) in enumerate(MENU)
        ),
        histograms=histograms(step),
        latency={
            "feed_to_decision": LatencyState(4.1, 6.2, 9.87, 14.2, 22.0, step * 700),
            "decision_to_disk": LatencyState(2.0, 3.3, 8.4, 12.0, 19.5, step * 700),
            "total": LatencyState(6.3, 9.9, 17.4, 26.0, 41.0, step * 700),
        },
        stages={"receive": step * 0.08, "unpack": step * 0.21, "menu": step * 0.55,
                "write": step * 0.12},
        queues={"unpack": QueueState(2, 64, "block", 0), "write": QueueState(1, 16, "drop", 0),
                "monitor": QueueState(1, 1, "keep-last", step * 5)},
        boards=(BoardState("cpu0", "ok", "numba, 2 threads"), BoardState("card0", "idle", "sim")),
    )  # fmt: skip


def source(name: str, number: int, step: int) -> SourceState:
    """One source without any fault."""
    return SourceState(
        name, f"tcp://127.0.0.1:{4040 + number}", f"{number:016x}", number, "running", 0.05,
        int(ORBIT_HZ * step), ORBIT_HZ, int(ORBIT_HZ * step), lag_s=0.012,
    )  # fmt: skip


def histograms(step: int) -> dict[str, HistogramState]:
    """Falling pT, eta with a dip, flat phi, trains of bunches in the orbit."""
    pt = tuple(int(step * 1e5 * math.exp(-k / 6)) for k in range(60))
    eta = tuple(int(step * 1e4 * (1 + abs(k - 24) / 30)) for k in range(49))
    phi = tuple(int(step * 1e4 * (1 + 0.1 * math.sin(k))) for k in range(72))
    bx = tuple(step * 90 if k < 3444 and k % 80 < 72 else step for k in range(ORBIT_BX))
    return {
        "mu_pt": HistogramState(tuple(2.0 * k for k in range(61)), pt, "GeV"),
        "mu_eta": HistogramState(tuple(-2.45 + 0.1 * k for k in range(50)), eta),
        "mu_phi": HistogramState(tuple(-3.6 + 0.1 * k for k in range(73)), phi, "rad"),
        "bx": HistogramState(tuple(map(float, range(ORBIT_BX + 1))), bx),
    }


def losing(step: int) -> Snapshot:
    """Slow consumer: the feed drops, the lag grows, a queue is full."""
    base = healthy(step)
    slow = dataclasses.replace(
        base.sources[1], dropped_by_feed=step * 1200, lost=step * 16, gaps=step, bad=step // 5,
        lag_s=0.3 + step * 0.4, orbits_per_s=7800.0,
    )  # fmt: skip
    return dataclasses.replace(
        base, sources=(base.sources[0], slow), orbits_per_s=7800.0,
        crossings_per_s=7800.0 * ORBIT_BX,
        queues={**base.queues, "unpack": QueueState(64, 64, "drop", 0)},
        latency={**base.latency, "total": LatencyState(80.0, 240.0, 1250.0, 2000.0, 4000.0, 9)},
        errors=(ErrorState(base.time_ns - 4_000_000_000, "feed-2: crc mismatch at orbit 91 200"),),
    )  # fmt: skip


def earlier(step: int) -> Snapshot:
    """Something was lost in the first ten seconds, nothing since."""
    base = healthy(step)
    first = dataclasses.replace(base.sources[0], lost=min(step, 10) * 16, gaps=min(step, 10))
    return dataclasses.replace(base, sources=(first, *base.sources[1:]))


def source_stale(step: int) -> Snapshot:
    """One feed is silent, one was refused, the run goes on with the first."""
    base = healthy(step)
    silent = dataclasses.replace(base.sources[1], state="stale", age_s=6.0 + step, orbits_per_s=0.0)
    refused = SourceState("feed-3", "tcp://10.1.1.1:4040", state="refused", back_off_s=5.0)
    return dataclasses.replace(base, sources=(base.sources[0], silent, refused))


def many(step: int) -> Snapshot:
    """Forty sources, one of them in conflict, and the errors of each."""
    base = healthy(step)
    sources = [source(f"link-{k:02}", k, step) for k in range(40)]
    sources[33] = dataclasses.replace(sources[33], state="conflict", lost=7, gaps=1)
    told = tuple(ErrorState(base.time_ns - k * 10**9, f"link-{k}: short packet")
                 for k in range(20, 0, -1))  # fmt: skip
    return dataclasses.replace(base, sources=tuple(sources), errors=told)


def error(step: int) -> Snapshot:
    """The run failed; the board went first. Texts from outside try to steer the terminal."""
    base = healthy(step)
    told = (
        ErrorState(base.time_ns - 9_000_000_000, "card0: no answer within 2 s"),
        ErrorState(base.time_ns - 1_000_000_000, "/data/\x1b[2Jrun: No space left\r\non device 中"),
    )
    boards = (base.boards[0], BoardState("card0", "timed out", "no answer within 2 s"))
    return dataclasses.replace(base, state="failed", balanced=False, boards=boards, errors=told)


def connecting(step: int) -> Snapshot:
    """Nothing has come yet."""
    base = dataclasses.replace(healthy(1), accounts={}, orbits=0, live_s=0.0, dead_s=0.0,
                               written_rows=0, written_bytes=0)  # fmt: skip
    sources = (SourceState("feed-1", "tcp://127.0.0.1:4040", back_off_s=0.4),)
    return dataclasses.replace(
        base, sequence=step, time_ns=STARTED + step * 10**9, sources=sources, orbits_per_s=0.0,
        crossings_per_s=0.0, written_rows_per_s=0.0, rates=(), histograms={}, latency={},
        stages={}, queues={}, boards=(),
    )  # fmt: skip


def stopped(step: int) -> Snapshot:
    """A run that ended well."""
    base = healthy(step)
    sources = tuple(dataclasses.replace(s, state="ended", orbits_per_s=0.0) for s in base.sources)
    return dataclasses.replace(base, state="stopped", sources=sources, orbits_per_s=0.0)


SCENES: dict[str, Callable[[int], Snapshot]] = {
    "healthy": healthy, "losing": losing, "earlier": earlier, "source_stale": source_stale,
    "many": many, "error": error, "connecting": connecting, "stopped": stopped,
}  # fmt: skip


def main() -> None:
    """Publish a scene, step by step; ``--stop`` freezes it (the viewer must say STALE)."""
    from scout40.streams.sockets import Publisher

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("endpoint", nargs="?")
    parser.add_argument("scene", choices=SCENES)
    parser.add_argument("--file")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--interval", type=float, default=1.0)
    parser.add_argument("--first", type=int, default=100)
    parser.add_argument("--stop", type=float, default=math.inf)
    wanted = parser.parse_args()
    publisher = Publisher(wanted.endpoint) if wanted.endpoint else None
    begin, step = time.monotonic(), wanted.first
    while (passed := time.monotonic() - begin) < wanted.seconds:
        if passed < wanted.stop:
            shown = SCENES[wanted.scene](step)
            if publisher is not None:
                publisher.publish(shown.to_json())
            if wanted.file:
                write_status(wanted.file, shown.to_json())
        step += 1
        time.sleep(wanted.interval)
    if publisher is not None:
        publisher.close()


if __name__ == "__main__":
    main()
