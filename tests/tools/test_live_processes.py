"""Faults of processes: feeds and consumers that are killed, stopped, too slow or unknown.

Times are those of a busy machine with two cores: nothing here depends on how fast it is. Long
versions have the mark ``long``; docs/faults.md says how they are run.
"""

from __future__ import annotations

import contextlib
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scout40.streams.block import ORBIT_HZ
from scout40.streams.errors import BadInput
from scout40.streams.security import Security
from scout40.streams.sinks.folder import resume
from scout40.streams.sockets import Pull
from scout40.streams.sources.arrow import ArrowSource
from scout40.streams.sources.synthetic import Synthetic
from scout40.streams.tracker import BEFORE, BY_FEED, LOST
from scout40.tools.feed_state import FeedSettings
from scout40.tools.keys import make_keys
from scout40.tools.live_engine import LiveOptions, LiveResult, live
from scout40.tools.live_intake import FULL
from scout40.tools.live_stage import LiveStage
from tests.tools.feed_consumer import Background
from tests.tools.live_faults import (
    closed,
    configured,
    joined,
    judge,
    marker,
    offline_synthetic,
    orbits,
    read,
    settled,
    settled_json,
    spans_of,
)
from tests.tools.live_programs import Consumer, ended, feed, pipeline
from tests.waiting import wait_for

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals"),
    pytest.mark.timeout(900),  # kernels may have to be compiled in three processes
]

THIN = "synthetic:gmt?pileup=3"
"""A stream that costs little."""


def equal(paths: list[Path], folder: Path, source: str = THIN) -> list[tuple[int, int]]:
    """Compare files of one consumer with the offline run over the orbits that they cover."""
    spans = joined(spans_of(paths))
    return judge(paths, offline_synthetic(Synthetic.from_text(source), spans, folder / "truth"))


def end_to_end(account: dict[str, Any], feed_account: dict[str, Any]) -> None:
    """Feed and consumer count the same packets."""
    assert account["in"] == feed_account["out"] + sum(feed_account["dropped"].values())
    assert account["dropped"].get(BY_FEED, 0) == sum(feed_account["dropped"].values())


# -- killed ----------------------------------------------------------------------------------


def test_feed_killed_and_restarted(tmp_path: Path) -> None:
    ipc, out = f"ipc://{tmp_path}/wire", tmp_path / "out"
    consumer = Consumer(tmp_path / "live", out, ipc, "--until-end", "-p", pipeline(tmp_path))
    first = feed(tmp_path / "first", THIN, ipc, "--rate", 2000)
    with ended(consumer, first):
        consumer.until(300)
        first.kill()
        consumer.until_state("stale")
        again = feed(
            tmp_path / "again", THIN, ipc, "--rate", 4000, "--orbits", 2000,
            "--first-orbit", 1_000_000,
        )  # fmt: skip
        with ended(again):
            sent, found = settled_json(again.result()), consumer.result()
    account = settled_json(found)
    assert found["ledger"]["facts"] == {"feeds that went away without an end": 1}
    (source,) = found["snapshot"]["sources"]
    assert source["state"] == "ended"
    gone = source["dropped_by_feed"] + source["lost"]
    assert source["packets"] + gone == sent["in"] == 2000
    covered = equal(closed(out), tmp_path)
    assert orbits(covered) == account["out"]
    before = [span for span in covered if span[1] < 1_000_000]
    assert orbits(before) >= 300
    assert account["in"] == orbits(before) + account["dropped"].get(LOST, 0) + (
        account["dropped"].get(BY_FEED, 0) + source["packets"]
    )


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "kills", [pytest.param(3, id="3"), pytest.param(50, id="50", marks=pytest.mark.long)]
)
def test_consumer_killed(tmp_path: Path, kills: int) -> None:
    """kill -9 at random: closed files stay whole, and the next consumer goes on behind them."""
    ipc, out, dice = f"ipc://{tmp_path}/wire", tmp_path / "out", random.Random(40)
    settings = pipeline(tmp_path, orbits=128)
    sender = feed(tmp_path / "feed", THIN, ipc, "--rate", 2000)
    known: list[Path] = []
    growing = 0
    with ended(sender):
        for turn in range(kills):
            consumer = Consumer(tmp_path / "live", out, ipc, "-p", settings)
            with ended(consumer):
                consumer.until(1)
                if turn == 0:
                    wait_for(lambda: list(out.glob(".events*partial")))  # a file is open
                else:
                    time.sleep(dice.uniform(0, 0.8))
                consumer.kill()
            growing += refused(out)
            files = closed(out)
            if files[len(known) :]:
                equal(files[len(known) :], tmp_path)
            assert files[: len(known)] == known, f"files changed after kill {turn}"
            known = files
        position = resume(out)
        last = Consumer(tmp_path / "live", out, ipc, "--until-end", "-p", settings)
        with ended(last):
            last.until(200)
            sent = settled_json(sender.stopped())
            account = settled_json(last.result())
    assert growing > 0, "no kill met an open file"
    assert not list(out.glob(".*partial")), "unfinished files of the killed are removed"
    covered = joined(spans_of(closed(out)))  # no orbit twice, in all files of all consumers
    (feed_id,) = {name.partition(".")[0] for name in position}
    before = position[f"{feed_id}.sent"] + position[f"{feed_id}.dropped"]
    total = sent["out"] + sum(sent["dropped"].values())
    assert account["in"] + before == total, "every packet is before or in the last ledger"
    assert orbits(equal(closed(out)[len(known) :], tmp_path)) == account["out"]
    assert orbits(covered) >= account["out"] + orbits(joined(spans_of(known)))
    assert account["dropped"].get(BEFORE, 0) > 0, "what the last kill lost is counted"
    assert [marker(path).serial for path in closed(out)] == sorted(
        int(path.stem.rsplit("_", 1)[1]) for path in closed(out)
    )


def refused(out: Path) -> int:
    """Unfinished files, which no reader takes for complete."""
    left = list(out.glob(".events*partial"))
    for path in left:
        with pytest.raises(BadInput):
            ArrowSource([str(path)])
    return len(left)


# -- stopped ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "seconds", [pytest.param(1.5, id="1.5s"), pytest.param(5.0, id="5s", marks=pytest.mark.long)]
)
def test_stopped_and_continued(tmp_path: Path, seconds: float) -> None:
    """The consumer, then the feed: nothing is mixed up, what could not be sent is counted."""
    ipc, out = f"ipc://{tmp_path}/wire", tmp_path / "out"
    sender = feed(
        tmp_path / "feed", THIN, ipc, "--rate", 6000, "--packet-orbits", 4, "--high-water", 4
    )
    consumer = Consumer(tmp_path / "live", out, ipc, "--until-end", "-p", pipeline(tmp_path, 2048))
    with ended(sender, consumer):
        consumer.until(500)
        consumer.signal(signal.SIGSTOP)
        time.sleep(seconds)
        consumer.signal(signal.SIGCONT)
        consumer.until(consumer.status()["orbits"] + 4000)
        sender.signal(signal.SIGSTOP)
        consumer.until_state("stale")
        time.sleep(seconds)
        sender.signal(signal.SIGCONT)
        consumer.until_state("running")
        consumer.until(consumer.status()["orbits"] + 500)
        printed = sender.stopped()
        found = consumer.result()
    sent, account = settled_json(printed), settled_json(found)
    end_to_end(account, sent)
    assert sent["dropped"]["consumer slower than the feed, or gone"] > 0
    assert sent["dropped"]["feed paused"] >= 0.9 * 6000
    assert printed["feeds"][0]["pauses"] == 1
    assert set(account["dropped"]) == {BY_FEED}
    assert found["snapshot"]["sources"][0]["late"] == 0
    covered = equal(closed(out), tmp_path)
    assert orbits(covered) == account["out"] == sent["out"]


# -- too slow --------------------------------------------------------------------------------


def slow_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str
) -> tuple[LiveResult, Any]:
    """A feed at twice what the consumer can do, which has recovered when the feed ends."""
    rate, number = 4000, 12_000
    decide = LiveStage.decide

    def slow(stage: LiveStage, block: Any, *others: Any) -> Any:
        if block.last_orbit < number // 2:
            time.sleep(2 * (block.last_orbit - block.first_orbit) / rate)
        return decide(stage, block, *others)

    monkeypatch.setattr(LiveStage, "decide", slow)
    ipc = f"ipc://{tmp_path}/wire"
    settings = FeedSettings(rate=rate, orbits=number, high_water=4, linger=60)
    with Background(THIN, ipc, settings) as background:
        result = live(
            [ipc], configured(queue_packets=256, policy=policy, block_orbits=32, stale_s=60.0),
            tmp_path / "out", LiveOptions(until_end=True),
            connect=lambda: Pull([ipc], high_water=4),
        )  # fmt: skip
        sent = background.result()
    settled(result, tmp_path / "out")
    sent.receipt.ledger.check()
    account, made = result.receipt.ledger["packets"], sent.receipt.ledger["packets"]
    assert account.received == made.out + made.dropped.total() == number
    assert account.dropped[BY_FEED] == made.dropped.total()
    assert result.snapshot.sources[0].dropped_by_feed == made.dropped.total()
    assert orbits(equal(closed(tmp_path / "out"), tmp_path)) == account.out
    return result, sent


def test_slow_consumer_makes_the_feed_drop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result, sent = slow_run(tmp_path, monkeypatch, "block")
    dropped = sent.receipt.ledger["packets"].dropped
    assert dropped["consumer slower than the feed, or gone"] > 1000
    account = result.receipt.ledger["packets"]
    assert set(+account.dropped) == {BY_FEED}
    assert account.out == sent.receipt.ledger["packets"].out


@pytest.mark.parametrize("policy", ["drop", "keep-last"])
def test_slow_consumer_drops_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    result, _ = slow_run(tmp_path, monkeypatch, policy)
    account = result.receipt.ledger["packets"]
    assert account.dropped[FULL] > 1000
    assert result.snapshot.queues["input"].dropped == account.dropped[FULL]


# -- keys ------------------------------------------------------------------------------------


def test_wrong_key_no_key_right_key(tmp_path: Path) -> None:
    """A feed with keys gives its data to the consumer that it knows, and to nobody else."""
    folder, allow = tmp_path / "keys", tmp_path / "allow"
    pairs = {name: make_keys(folder, name) for name in ("feed", "known", "stranger", "other")}
    allow.mkdir()
    (allow / "known.key").write_bytes(pairs["known"][0].read_bytes())
    settings = FeedSettings(
        rate=None, orbits=400, security=Security(keys=pairs["feed"][1], allow=allow)
    )
    attempts = {
        "no key": Security(),
        "a key that the feed does not know": Security(pairs["stranger"][1], None, pairs["feed"][0]),
        "another feed's key": Security(pairs["known"][1], None, pairs["other"][0]),
    }
    with Background(THIN, "tcp://127.0.0.1:*", settings) as background:
        for name, security in attempts.items():
            result = live(
                [background.address], configured(), tmp_path / name,
                LiveOptions(security=security, seconds=1.0),
            )  # fmt: skip
            settled(result, tmp_path / name)
            assert result.receipt.ledger["messages"].received == 0, name
            assert closed(tmp_path / name) == []
            (source,) = result.snapshot.sources
            assert source.state in ("refused", "connecting"), name
        good = Security(pairs["known"][1], None, pairs["feed"][0])
        out = tmp_path / "out"
        result = live(
            [background.address], configured(), out, LiveOptions(security=good, until_end=True)
        )
        sent = background.result()
    settled(result, out)
    assert result.receipt.ledger["packets"].out == sent.receipt.ledger["packets"].out == 400
    assert equal(closed(out), tmp_path) == [(0, 400)]


# -- for long --------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("seconds", [pytest.param(600, id="10min"), pytest.param(20, id="20s")])
def test_soak(tmp_path: Path, seconds: int, record_testsuite_property: Callable[..., None]) -> None:
    """The full muon stream in real time with the packaged pipeline: memory does not grow."""
    ipc, out = f"ipc://{tmp_path}/wire", tmp_path / "out"
    source, number = "synthetic:gmt", int(seconds * ORBIT_HZ)
    consumer = Consumer(tmp_path / "live", out, ipc, "--until-end", "-p", "muons")
    sender = feed(tmp_path / "feed", source, ipc, "--orbits", number)
    with ended(consumer, sender):
        consumer.until(int(5 * ORBIT_HZ))
        memory = [(consumer.memory(), sender.memory())]
        with contextlib.suppress(ProcessLookupError):
            while True:
                time.sleep(1)
                memory.append((consumer.memory(), sender.memory()))
        printed, found = sender.result(), consumer.result()
    sent, account = settled_json(printed), settled_json(found)
    end_to_end(account, sent)
    figures = {
        "orbits": number, "dropped by the feed": sum(sent["dropped"].values()),
        "lost": account["dropped"].get(LOST, 0), "late": found["snapshot"]["sources"][0]["late"],
        "bad": account["bad"], "rows": found["ledger"]["accounts"]["rows"]["out"],
        "latency_ms": found["snapshot"]["latency"]["total"],
        "memory_mb": {"start": memory[0], "end": memory[-1], "most": max(memory)},
    }  # fmt: skip
    for name, value in figures.items():
        sys.stdout.write(f"{name}: {value}\n")
        record_testsuite_property(name, value)
    assert account["in"] == number
    assert set(account["dropped"]) <= {BY_FEED}
    assert account["out"] == sent["out"]
    for before, after in zip(memory[len(memory) // 10], memory[-1], strict=True):
        assert after < before + 100, memory
    spans = joined(spans_of(closed(out)))
    assert orbits(spans) == account["out"]
    sampled(closed(out), Synthetic.from_text(source), spans, tmp_path)


def sampled(paths: list[Path], stream: Synthetic, spans: list[tuple[int, int]], to: Path) -> None:
    """Of every file the first orbits: each row that was kept is one of the offline run, and of a
    zero-bias orbit all are kept."""
    # Trigger rules remember accepts before the sample: they are compared from the beginning only.
    for path in paths:
        first = marker(path).spans().__next__()[1].first_orbit
        last = min(first + 1024, next(last for begin, last in spans if begin <= first < last))
        expected = offline_synthetic(stream, [(first, last)], to / "truth")
        compare_kept(read(path), expected, first, last, rules=first == 0)


def compare_kept(kept: Any, expected: Any, first: int, last: int, *, rules: bool) -> None:
    """Rows of orbits [first, last) with their offline ones."""
    import pyarrow.compute as pc

    names = ["run", "lumi", "initial", "prescaled", *(["accept_after_rules"] if rules else [])]
    inside = kept.filter(pc.less(kept["orbit"], last))
    places = dict(zip(places_of(expected), range(expected.num_rows), strict=True))
    rows = [places[place] for place in places_of(inside)]
    same = expected.take(rows)
    for name in names:
        assert inside[name].to_pylist() == same[name].to_pylist(), name
    hardware = [field.name for field in kept.schema.field("mu").type.value_type]
    for name in hardware:
        mine, other = (pc.struct_field(pc.list_flatten(t["mu"]), name) for t in (inside, same))
        assert mine.to_pylist() == other.to_pylist(), name
    zero_bias = {place for place in places if place[0] % 1000 == 0}
    assert zero_bias <= set(places_of(inside))


def places_of(table: Any) -> list[tuple[int, int]]:
    return list(zip(table["orbit"].to_pylist(), table["bx"].to_pylist(), strict=True))
