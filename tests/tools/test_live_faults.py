"""Faults of clock, menu and feeds, with messages from memory.

After each: the ledger balances, closed files are readable and equal to what an offline run over
the same packets writes. The disk is in test_live_disk.py, damaged messages in
test_live_messages.py, processes that are killed, stopped or too slow in test_live_processes.py.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc as ipc
import pytest

from scout40.emulator.ugt import load_menu
from scout40.streams.arrow import LINEAGE
from scout40.streams.errors import BadConfig
from scout40.streams.formats import frd
from scout40.tools.live_engine import LiveOptions, live
from scout40.tools.live_intake import CONFLICT
from scout40.tools.live_stage import LiveStage
from tests.streams.live_messages import payload, stream
from tests.tools.live_faults import (
    ORBITS,
    SMALL,
    closed,
    configured,
    cut,
    errors,
    jet_payload,
    judge,
    marker,
    offline,
    orbits,
    settled,
    spans_of,
    truth,
)
from tests.tools.live_memory import Memory, Sent, WhenDone, frames, run_live
from tests.waiting import wait_for

# -- clock -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
def test_clock_jump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Somebody sets the time of day; feed and consumer see it at once."""
    shift = [0.0]
    real, real_ns = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: real() + shift[0])
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + int(shift[0] * 1e9))
    out = tmp_path / "out"

    def sent(part: list[Any]) -> Iterator[Sent]:
        for head, data in part:
            yield from frames([(dataclasses.replace(head, send_time_ns=time.time_ns()), data)])

    def trouble() -> Iterator[Sent]:
        messages = stream(20, ORBITS)
        yield from sent(messages[:10])
        wait_for(lambda: len(closed(out)) >= 4)
        shift[0] = seconds
        yield from sent(messages[10:])

    result = run_live(trouble(), out, SMALL, until_end=True)
    settled(result, out)
    assert not result.receipt.ledger["packets"].dropped
    assert judge(closed(out), truth(tmp_path, 20 * ORBITS)) == [(0, 20 * ORBITS)]
    assert f"set by {seconds:+.0f}" in errors(result.snapshot).replace(".00", "")
    assert result.snapshot.state == "stopped"
    assert result.receipt.seconds < 600
    (source,) = result.snapshot.sources
    assert source.age_s < 600


# -- menu ------------------------------------------------------------------------------------

OTHER = """
[menu]
name = "another"

[[algorithm]]
name = "L1_SingleMu3"
expression = "MU3"

[[algorithm]]
name = "L1_DoubleMu0"
expression = "comb{MU0, MU0}"
"""


class Swap(WhenDone):
    """Hands over another menu, or what is wrong with it, when ``ready``."""

    def __init__(self, memory: Memory, stage: LiveStage | BadConfig) -> None:
        super().__init__(memory)
        self.ready, self.swapped = False, False
        self._stage = stage

    def new_stage(self) -> LiveStage | None:
        if not self.ready or self.swapped:
            return None
        self.swapped = True
        if isinstance(self._stage, BadConfig):
            raise self._stage
        return self._stage


def swapped_run(out: Path, make: Any) -> tuple[Any, Swap]:
    """A live run in whose middle ``make`` changes the menu."""

    def trouble() -> Iterator[Sent]:
        messages = frames(stream(20, ORBITS))
        yield from messages[:10]
        wait_for(lambda: len(closed(out)) >= 4)
        swap.ready = True
        wait_for(lambda: swap.swapped)
        yield from messages[10:]

    memory = Memory(trouble())
    swap = Swap(memory, make)
    result = live(
        ["memory"], SMALL, out, LiveOptions(until_end=True), stop=swap, connect=lambda: memory
    )
    settled(result, out)
    assert not result.receipt.ledger["packets"].dropped
    return result, swap


def test_menu_swapped_at_a_block_boundary(tmp_path: Path) -> None:
    path, out = tmp_path / "other.toml", tmp_path / "out"
    path.write_text(OTHER)
    menu = dataclasses.replace(SMALL.pipeline.menu, file=str(path))
    other = dataclasses.replace(SMALL, pipeline=dataclasses.replace(SMALL.pipeline, menu=menu))
    result, _ = swapped_run(out, LiveStage(other))
    assert result.snapshot.menu == "another"
    files = closed(out)
    lineages = [ipc.open_file(pa.memory_map(str(p))).schema.metadata[LINEAGE] for p in files]
    digest = load_menu(path).digest.encode()
    at = [digest in lineage for lineage in lineages].index(True)
    assert all(digest in lineage for lineage in lineages[at:]), "once for all"
    before = judge(files[:at], truth(tmp_path, 20 * ORBITS))
    (boundary,) = (last for _, last in before)
    assert boundary == 10 * ORBITS
    events = (e for k in range(boundary, 80, ORBITS) for e in cut(payload(k, ORBITS)))
    after = judge(files[at:], offline(events, tmp_path / "after", load_menu(path)))
    assert (before, after) == ([(0, boundary)], [(boundary, 20 * ORBITS)])


def test_swap_while_a_feed_is_behind(tmp_path: Path) -> None:
    """The menu changes between two blocks; what has to wait for the other feed waits on."""
    muons = frames(stream(9, ORBITS, first=ORBITS))  # in time, whoever is first
    jets = frames(
        [
            (head, jet_payload(head.first_orbit, ORBITS) if data else b"")
            for head, data in stream(10, ORBITS, feed=2, source=frd.CALO)
        ],
        "jets",
    )

    def trouble() -> Iterator[Sent]:
        yield from (jets[0], *muons[:6])
        yield 0.3
        swap.ready = True
        wait_for(lambda: swap.swapped)
        yield from (*jets[1:], *muons[6:])

    memory = Memory(trouble())
    patient = configured(block_orbits=ORBITS, window_ms=60_000.0, sources=("gmt", "calo"))
    swap, out = Swap(memory, LiveStage(patient)), tmp_path / "out"
    result = live(
        ["memory"], patient, out, LiveOptions(until_end=True), stop=swap, connect=lambda: memory
    )
    settled(result, out)
    account = result.receipt.ledger["packets"]
    assert (account.received, account.dropped) == (19 * ORBITS, {})
    events = (
        event
        for k in range(0, 10 * ORBITS, ORBITS)
        for pair in zip(cut(payload(k, ORBITS)), cut(jet_payload(k, ORBITS)), strict=True)
        for event in (pair if k else pair[1:])
    )
    covered = judge(closed(out), offline(events, tmp_path / "truth"))
    assert covered == [(0, 10 * ORBITS)]


def test_a_bad_menu_changes_nothing(tmp_path: Path) -> None:
    result, _ = swapped_run(tmp_path / "out", BadConfig("other.toml: no algorithm"))
    assert "pipeline not changed: other.toml: no algorithm" in errors(result.snapshot)
    files = closed(tmp_path / "out")
    assert judge(files, truth(tmp_path, 20 * ORBITS)) == [(0, 20 * ORBITS)]


# -- feeds -----------------------------------------------------------------------------------


def test_two_feeds_with_the_same_source_id(tmp_path: Path) -> None:
    """The first is taken, the other counted and told; it does not spoil the data."""
    first, other = (
        frames(stream(10, ORBITS, feed=feed, end=feed == 1), endpoint)
        for feed, endpoint in ((1, "memory"), (2, "b"))
    )
    mixed = [item for pair in zip(first, other, strict=False) for item in pair]
    out = tmp_path / "out"
    result = run_live([*mixed, *first[len(other) :]], out, SMALL)
    settled(result, out)
    account = result.receipt.ledger["packets"]
    assert (account.out, account.dropped) == (10 * ORBITS, {CONFLICT: 10 * ORBITS})
    assert judge(closed(out), truth(tmp_path, 10 * ORBITS)) == [(0, 10 * ORBITS)]
    assert {source.state for source in result.snapshot.sources} == {"ended", "conflict"}


@pytest.mark.parametrize("first", [0, 10 * ORBITS, 1000], ids=["again", "on", "later"])
def test_feed_restarted(tmp_path: Path, first: int) -> None:
    """A feed vanishes without an end; another one at its endpoint begins anew, or goes on."""
    out = tmp_path / "out"
    items = [
        *frames(stream(10, ORBITS, end=False)), *frames(stream(10, ORBITS, feed=2, first=first))
    ]  # fmt: skip
    result = run_live(items, out, SMALL, until_end=True)
    settled(result, out)
    account = result.receipt.ledger["packets"]
    assert (account.out, account.dropped) == (20 * ORBITS, {})
    assert result.receipt.ledger.facts == {"feeds that went away without an end": 1}
    spans = spans_of(closed(out))
    assert orbits(spans) == 20 * ORBITS
    files = closed(out)
    if first:
        events = (
            event
            for begin in (0, first)
            for k in range(begin, begin + 40, ORBITS)
            for event in cut(payload(k, ORBITS))
        )
        covered = judge(files, offline(events, tmp_path / "truth"))
        assert orbits(covered) == 20 * ORBITS
        return
    for part in (files[: len(files) // 2], files[len(files) // 2 :]):  # the same orbits twice
        assert judge(part, truth(tmp_path, 10 * ORBITS)) == [(0, 10 * ORBITS)]


def test_a_restarted_consumer_takes_nothing_twice(tmp_path: Path) -> None:
    """The second run gets messages that are in closed files, some that never came, and others."""
    out = tmp_path / "out"
    messages = stream(20, ORBITS)
    run_live(frames(messages[:8]), out, SMALL)
    again = frames([*messages[5:8], *messages[10:]])
    result = run_live(again, out, SMALL, until_end=True)
    settled(result)
    account = result.receipt.ledger["packets"]
    assert account.dropped == {"sent twice": 3 * ORBITS, "lost on the way": 2 * ORBITS}
    events = (
        event for k in range(0, 80, ORBITS) if not 32 <= k < 40 for event in cut(payload(k, ORBITS))
    )
    expected = offline(events, tmp_path / "truth")
    assert judge(closed(out), expected) == [(0, 32), (40, 80)]
    serials = [marker(path).serial for path in closed(out)]
    assert serials == list(range(len(serials)))
