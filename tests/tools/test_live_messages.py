"""Messages that come twice, in another order, damaged or not at all: counted, and nothing else.

After each: the ledger balances to the packet, and closed files are equal to what an offline run
over the packets that were taken writes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from scout40.streams.formats import frd
from scout40.streams.merge import Batch
from scout40.streams.sources.events import E_SOURCE
from scout40.streams.sources.live_block import blocks_of
from scout40.streams.tracker import LATE, LOST, TWICE
from scout40.streams.wire import DATA, END, MAX_PAYLOAD, Header, encode
from scout40.tools import live_job
from scout40.tools.live_stage import LiveStage
from tests.streams.live_messages import RUN, payload, stream
from tests.tools.live_faults import (
    closed,
    configured,
    cut,
    jet_payload,
    judge,
    offline,
    settled,
)
from tests.tools.live_memory import Sent, run_live

Frames = tuple[bytes | bytearray | memoryview, ...]
ORBITS = 4
"""Of one message of a stream of muons."""


# -- ways to damage a message ----------------------------------------------------------------


def flipped(frames: Frames, frame: int, place: int) -> Frames:
    """One bit of a frame the other way."""
    changed = [bytearray(memoryview(part)) for part in frames]
    changed[frame][place] ^= 4
    return tuple(changed)


def cut_payload(frames: Frames) -> Frames:
    return frames[0], memoryview(frames[1])[:-4]


def cut_header(frames: Frames) -> Frames:
    return memoryview(frames[0])[:-1], frames[1]


def longer(frames: Frames) -> Frames:
    return frames[0], bytes(memoryview(frames[1])) + b"more"


def huge(frames: Frames) -> Frames:
    return frames[0], np.zeros(MAX_PAYLOAD + 1, np.uint8).data


DAMAGE: dict[str, tuple[Callable[[Frames], Frames], str]] = {
    "payload cut": (cut_payload, "truncated message"),
    "header cut": (cut_header, "truncated message"),
    "payload longer": (longer, "oversized message"),
    "too large": (huge, "oversized message"),
    "bit of the payload": (lambda frames: flipped(frames, 1, 40), "crc mismatch"),
    "bit of the header": (lambda frames: flipped(frames, 0, 20), "crc mismatch"),
    "wrong magic": (lambda frames: flipped(frames, 0, 0), "wrong magic"),
    "wrong version": (lambda frames: flipped(frames, 0, 4), "wrong version"),
    "one frame": (lambda frames: frames[:1], "number of frames"),
    "three frames": (lambda frames: (*frames, b""), "number of frames"),
    "of another program": (lambda _: (b"hello", b"world"), "truncated message"),
}
"""Name -> what is done, and the reason under which it is counted."""


def sick(head: Header, data: bytes) -> Frames:
    """A good message whose first event was damaged before it was sent."""
    changed = bytearray(data)
    changed[frd.EVENT_BYTES + 6] ^= 1
    return encode(head, bytes(changed))


# -- one fault in one stream -----------------------------------------------------------------


def truth(folder: Path, without: set[int]) -> Any:
    """Offline, for the orbits of ten messages but some."""
    events = (
        event
        for k in range(10)
        for j, event in enumerate(cut(payload(ORBITS * k, ORBITS)))
        if ORBITS * k + j not in without
    )
    return offline(events, folder / "truth")


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_message(tmp_path: Path, name: str) -> None:
    damage, reason = DAMAGE[name]
    items: list[Sent] = [("memory", encode(*one)) for one in stream(10, ORBITS)]
    items[4] = "memory", damage(encode(*stream(10, ORBITS)[4]))
    result = run_live(items, tmp_path / "out", configured(block_orbits=ORBITS), until_end=True)
    settled(result, tmp_path / "out")
    ledger = result.receipt.ledger
    assert ledger["messages"].bad == {reason: 1}
    assert ledger["packets"].received == 10 * ORBITS
    assert ledger["packets"].dropped == {LOST: ORBITS}
    assert any(reason in error.text for error in result.snapshot.errors)
    covered = judge(closed(tmp_path / "out"), truth(tmp_path, set()))
    assert covered == [(0, 16), (20, 40)]
    judge(closed(tmp_path / "out"), truth(tmp_path, {16, 17, 18, 19}))


def test_damaged_event(tmp_path: Path) -> None:
    """Of one orbit in a message that came as it was sent: the other orbits are good."""
    items: list[Sent] = [("memory", encode(*one)) for one in stream(10, ORBITS)]
    items[4] = "memory", sick(*stream(10, ORBITS)[4])
    result = run_live(items, tmp_path / "out", until_end=True)
    settled(result, tmp_path / "out")
    account = result.receipt.ledger["packets"]
    assert (account.out, account.bad) == (39, {"crc mismatch": 1})
    assert judge(closed(tmp_path / "out"), truth(tmp_path, {16})) == [(0, 16), (17, 40)]


@pytest.mark.parametrize(
    ("order", "dropped", "reordered"),
    [
        ([0, 1, 3, 2, 4, 5, 6, 7, 8, 9, 10], {}, 1),
        ([0, 4, 3, 2, 1, 5, 6, 9, 8, 7, 10], {}, 5),
        ([0, 1, 2, 2, 3, 4, 5, 6, 6, 6, 7, 8, 9, 10], {TWICE: 3 * ORBITS}, 0),
        ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 10], {TWICE: ORBITS}, 0),
    ],
    ids=["swapped", "backwards", "twice", "the first again"],
)
def test_order(tmp_path: Path, order: list[int], dropped: dict[str, int], reordered: int) -> None:
    messages = [("memory", encode(*one)) for one in stream(10, ORBITS)]
    items: list[Sent] = [messages[k] for k in order]
    patient = configured(window_ms=60_000.0)
    result = run_live(items, tmp_path / "out", patient, until_end=True)
    settled(result, tmp_path / "out")
    account = result.receipt.ledger["packets"]
    assert (account.out, account.dropped) == (10 * ORBITS, dropped)
    assert result.snapshot.sources[0].reordered == reordered
    assert judge(closed(tmp_path / "out"), truth(tmp_path, set())) == [(0, 10 * ORBITS)]


def test_too_late(tmp_path: Path) -> None:
    """After the window it is given up, and what then comes is late, not lost."""
    messages = [("memory", encode(*one)) for one in stream(10, ORBITS)]
    items: list[Sent] = [*messages[:4], messages[5], 0.6, messages[4], *messages[6:]]
    hasty = configured(window_ms=100.0)
    result = run_live(items, tmp_path / "out", hasty, until_end=True)
    settled(result, tmp_path / "out")
    assert result.receipt.ledger["packets"].dropped == {LATE: ORBITS, LOST: 0}
    covered = judge(closed(tmp_path / "out"), truth(tmp_path, {16, 17, 18, 19}))
    assert covered == [(0, 16), (20, 40)]


def test_a_block_that_waits_for_its_successor_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A menu that looks ahead: the last block is held while the feed is quiet."""
    monkeypatch.setattr(LiveStage, "looks_ahead", lambda stage, block: True)
    turns: list[float] = []
    turn = live_job.LiveRun.turn

    def counted(run: live_job.LiveRun, timeout_s: float, *, force: bool = False) -> bool:
        turns.append(timeout_s)
        return turn(run, timeout_s, force=force)

    monkeypatch.setattr(live_job.LiveRun, "turn", counted)
    messages = [("memory", encode(*one)) for one in stream(10, ORBITS)]
    items: list[Sent] = [*messages[:5], 1.0, *messages[5:]]
    result = run_live(items, tmp_path / "out", configured(stale_s=60.0), until_end=True)
    settled(result, tmp_path / "out")
    assert len(turns) < 500, "it waits, it does not ask"
    assert judge(closed(tmp_path / "out"), truth(tmp_path, set())) == [(0, 10 * ORBITS)]


# -- random faults in two feeds --------------------------------------------------------------

NUMBER, PAIR = 6, 2
"""Messages of a feed, and their orbits."""
GOOD = ("good", "twice", "later", "sick")
FAULTS = (*GOOD, "dropped", *DAMAGE)


EVENTS = {
    (source, PAIR * k + j): event
    for source, make in ((frd.GMT, payload), (frd.CALO, jet_payload))
    for k in range(NUMBER)
    for j, event in enumerate(cut(make(PAIR * k, PAIR)))
}
"""(source, orbit) -> what was sent."""


@dataclass
class Script:
    """What one feed sends and what of it arrives; counts what the ledger must say."""

    source: int
    faults: list[str]
    arriving: list[Sent] = field(default_factory=list)
    bad: Counter[str] = field(default_factory=Counter)
    good: list[int] = field(default_factory=list)
    sick: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        postponed: list[tuple[int, Sent]] = []
        for k, fault in enumerate(self.faults):
            head = Header(
                DATA, self.source, k, PAIR * k, 0, 0, RUN, self.source, PAIR * k, PAIR, PAIR
            )
            data = EVENTS[self.source, PAIR * k] + EVENTS[self.source, PAIR * k + 1]
            item: Sent = (f"feed {self.source}", encode(head, data))
            if fault == "later":
                postponed.append((k, item))
                continue
            if fault in GOOD:
                if fault == "sick":
                    item = f"feed {self.source}", sick(head, data)
                    self.sick.add(k)
                self._arrive(k, item)
                if fault == "twice":
                    self._arrive(k, item)
            elif fault != "dropped":
                damage, reason = DAMAGE[fault]
                self.arriving.append((f"feed {self.source}", damage(encode(head, data))))
                self.bad[reason] += 1
            for one in postponed:
                self._arrive(*one)
            postponed = []
        for one in postponed:
            self._arrive(*one)

    @property
    def last(self) -> Sent:
        """The end message."""
        head = Header(END, self.source, NUMBER, PAIR * NUMBER, 0, 0, RUN, self.source,
                      PAIR * NUMBER, 0, 0)  # fmt: skip
        return f"feed {self.source}", encode(head)

    def _arrive(self, sequence: int, item: Sent) -> None:
        self.arriving.append(item)
        self.good.append(sequence)

    @property
    def begin(self) -> int:
        """Counting begins with the first message that can be read."""
        return self.good[0] if self.good else NUMBER

    @property
    def taken(self) -> set[int]:
        """Messages in their turn, once."""
        return {k for k in self.good if k >= self.begin}

    @property
    def again(self) -> int:
        return len(self.good) - len(self.taken)


def faults() -> st.SearchStrategy[list[str]]:
    one = st.one_of(st.just("good"), st.sampled_from(FAULTS).filter(lambda f: f != "too large"))
    return st.lists(one, min_size=NUMBER, max_size=NUMBER)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all examples; each makes one in it."""
    return tmp_path_factory.mktemp("examples")


@settings(max_examples=12, phases=[Phase.explicit, Phase.generate])
@given(faults(), faults(), st.lists(st.booleans(), min_size=24, max_size=24))
@example(["good"] * NUMBER, ["good"] * NUMBER, [True, False] * 12)
@example(["later", "good", "twice", "sick", "dropped", "good"], ["good"] * NUMBER, [False] * 24)
def test_random_faults_in_two_feeds(
    folder: Path, muons: list[str], jets: list[str], turns: list[bool]
) -> None:
    scripts = [Script(frd.GMT, muons), Script(frd.CALO, jets)]
    queues = [list(script.arriving) for script in scripts]
    items = []
    for turn in turns:
        items += [queues[turn].pop(0)] if queues[turn] else []
    here = folder / str(len(list(folder.iterdir())))
    taken: list[tuple[int, int]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live_job, "blocks_of", noting(taken))
        result = run_live(
            [*items, *queues[0], *queues[1], *(s.last for s in scripts)], here / "out",
            configured(window_ms=60_000.0, block_orbits=5, sources=("gmt", "calo")),
        )  # fmt: skip
    settled(result, here / "out")
    ledger = result.receipt.ledger
    packets, messages = ledger["packets"], ledger["messages"]
    assert messages.bad == sum((script.bad for script in scripts), Counter())
    assert messages.received == 2 + sum(len(script.arriving) for script in scripts)
    assert packets.bad.total() == sum(len(s.sick & s.taken) for s in scripts)
    expected = {
        TWICE: PAIR * sum(script.again for script in scripts),
        LOST: PAIR * sum(NUMBER - s.begin - len(s.taken) for s in scripts),
        LATE: PAIR * sum(len(s.taken) for s in scripts) - packets.bad.total() - len(taken),
    }
    assert +packets.dropped == +Counter(expected)
    assert packets.out == len(taken) == len(set(taken))
    if taken:
        compare(here, taken)


def noting(taken: list[tuple[int, int]]) -> Any:
    """``blocks_of`` that notes which packets of the scripts come to it."""

    def noted(batch: Batch, *arguments: Any) -> Any:
        for arrival in batch.arrivals:
            events = arrival.events
            if events.where.startswith("feed"):
                sources = events.table[:, E_SOURCE].tolist()
                taken.extend(zip(sources, events.orbit.tolist(), strict=True))
        return blocks_of(batch, *arguments)

    return noted


def compare(here: Path, taken: list[tuple[int, int]]) -> None:
    """Files with the offline run over these packets."""
    events = [EVENTS[one] for one in sorted(taken, key=lambda one: (one[1], one[0]))]
    both = len({source for source, _ in taken}) == 2
    covered = judge(
        closed(here / "out"), offline(events, here / "truth"),
        without=() if both else ("evaluated",),
    )  # fmt: skip
    inside = {orbit for first, last in covered for orbit in range(first, last)}
    assert inside == {orbit for _, orbit in taken}


def test_scripts_are_what_they_say() -> None:
    one = Script(frd.GMT, ["later", "good", "twice", "sick", "dropped", "wrong magic"])
    assert (one.good, one.begin, one.taken, one.again) == ([1, 0, 2, 2, 3], 1, {1, 2, 3}, 2)
    assert (one.sick, one.bad) == ({3}, {"wrong magic": 1})
