"""The three answers of the first row, for every kind of trouble."""

from __future__ import annotations

import dataclasses
import json

import pytest

from scout40.streams.snapshot import QueueState
from scout40.tools.monitor_text import count, duration, rate, sparkline
from scout40.tools.monitor_verdict import Level, Verdict, judge
from scout40.tools.monitor_watch import Watch, losses
from tests.tools.monitor_fake import SCENES


def seen(scene: str, last: int = 30, first: int = 1) -> tuple[Watch, Verdict]:
    watch = Watch("run", 0.0)
    for step in range(first, last + 1):
        watch.add(SCENES[scene](step).to_json(), float(step))
    return watch, judge(watch, float(last))


ANSWERS = [
    ("healthy", "YES", "NO", "12.0 ms", 0),
    ("losing", "NO", "YES, 12 162", "12 s RISING", 1),
    ("earlier", "YES", "EARLIER 160", "12.0 ms", 0),
    ("source_stale", "NO", "UNKNOWN", "36 s RISING", 1),
    ("many", "NO", "EARLIER 7", "12.0 ms", 1),
    ("error", "FAILED", "UNKNOWN", "ENDED", 1),
    ("connecting", "NO", "UNKNOWN", "NO DATA", 1),
    ("stopped", "STOPPED", "NO", "ENDED", 0),
]


@pytest.mark.parametrize(("scene", "healthy", "losing", "behind", "code"), ANSWERS)
def test_answers(scene: str, healthy: str, losing: str, behind: str, code: int) -> None:
    _, verdict = seen(scene)
    words = (verdict.healthy.word, verdict.losing.word, verdict.behind.word)
    assert words == (healthy, losing, behind)
    assert verdict.exit_code == code
    assert bool(verdict.reasons) == (scene not in ("healthy", "stopped"))


def test_loss_is_now_for_ten_seconds_then_earlier() -> None:
    """Losses end at step 10 of the scene."""
    assert seen("earlier", 10)[1].losing.word.startswith("YES")
    assert seen("earlier", 19)[1].losing.word.startswith("YES, 16")
    watch, verdict = seen("earlier", 20)
    assert verdict.losing.word == "EARLIER 160"
    assert verdict.losing.level is Level.WARN
    assert verdict.reasons == ("earlier: 160 lost on the way",)
    assert judge(watch, 20.0, once=True).losing.word == "LOST 160"
    assert judge(watch, 20.0, once=True).exit_code == 1


def test_losses_before_the_viewer_came_are_not_now() -> None:
    _, verdict = seen("losing", 30, first=30)
    assert verdict.losing.word.startswith("EARLIER")


def test_stale_begins_after_three_seconds_and_has_an_age() -> None:
    watch, _ = seen("healthy")
    assert judge(watch, 33.0).healthy.word == "YES"
    late = judge(watch, 33.1)
    assert late.stale
    assert late.healthy.word == "STALE 3.1 s"
    assert late.losing.word == "UNKNOWN"
    assert late.behind.word == "OVER 3.1 s"
    assert judge(watch, 30.0 + 7300).healthy.word == "STALE 2 h 01 min"
    assert judge(watch, 31.0).exit_code == 0
    assert late.exit_code == 1


def test_a_run_that_ended_does_not_grow_stale() -> None:
    watch, _ = seen("stopped")
    assert judge(watch, 1e6).healthy.word == "STOPPED"


def test_a_new_run_begins_a_new_history() -> None:
    watch, _ = seen("losing")
    again = dataclasses.replace(SCENES["healthy"](1), pid=4712)
    assert watch.add(again.to_json(), 31.0)
    assert len(watch.points) == 1
    assert judge(watch, 31.0).losing.word == "NO"


def test_an_old_snapshot_is_no_news() -> None:
    watch, _ = seen("healthy")
    assert not watch.add(SCENES["healthy"](29).to_json(), 40.0)
    assert not watch.add(SCENES["healthy"](30).to_json(), 40.0)
    assert watch.age(40.0) == 10.0


def test_an_unreadable_snapshot_is_said_and_does_not_refresh() -> None:
    watch, _ = seen("healthy")
    other = json.dumps({"version": 9}).encode()
    assert not watch.add(other, 32.0)
    verdict = judge(watch, 32.0)
    assert "unreadable snapshot: field version: 9 instead of 1" in verdict.reasons[0]
    assert watch.age(32.0) == 2.0
    assert judge(watch, 34.0).stale
    assert watch.unreadable == 1


def test_what_an_unbalanced_ledger_hides_is_unknown() -> None:
    made = dataclasses.replace(SCENES["healthy"](1), balanced=False)
    watch = Watch("run", 0.0)
    watch.add(made.to_json(), 0.0)
    verdict = judge(watch, 0.0)
    assert (verdict.healthy.word, verdict.losing.word) == ("NO", "UNKNOWN")
    assert verdict.reasons == ("the ledger does not balance",)


def test_what_a_display_skips_is_not_lost() -> None:
    base = SCENES["healthy"](5)
    queues = {"a": QueueState(0, 1, "keep-last", 9), "b": QueueState(0, 1, "drop", 4)}
    assert losses(dataclasses.replace(base, queues=queues)) == {"dropped at b": 4}


def test_a_full_queue_is_a_warning_with_a_word() -> None:
    base = SCENES["healthy"](5)
    made = dataclasses.replace(base, queues={"unpack": QueueState(8, 8, "block", 0)})
    watch = Watch("run", 0.0)
    watch.add(made.to_json(), 0.0)
    verdict = judge(watch, 0.0)
    assert verdict.healthy.word == "YES, BUT"
    assert verdict.reasons == ("queue unpack is FULL",)
    assert verdict.exit_code == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (999, "999"), (12_345, "12 345"), (99_999, "99 999"), (99_999.6, "100 k"),
     (1_234_567, "1.23 M"), (999_999_999, "1.00 G"), (2**64, "1.8e+19")],
)  # fmt: skip
def test_counts_are_short(value: float, text: str) -> None:
    assert count(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0 us"), (88.9e-6, "88.9 us"), (0.012, "12.0 ms"), (0.9999, "1.0 s"), (9.9, "9.9 s"),
     (61, "61 s"), (125, "2 min 05 s"), (11_220, "3 h 07 min"), (-0.5, "-500 ms")],
)  # fmt: skip
def test_durations_have_a_unit_that_fits(value: float, text: str) -> None:
    assert duration(value) == text


def test_rates_have_a_unit_that_fits() -> None:
    assert [rate(value) for value in (0, 12.345, 999.99, 40.08e6)] == [
        "0 Hz", "12.3 Hz", "1.00 kHz", "40.1 MHz"
    ]  # fmt: skip


def test_sparklines_show_the_newest_and_never_hide_a_value() -> None:
    assert sparkline([9, 0, 1, 50, 100], 4) == "▁▂▄▇"
    assert sparkline([0, 1, 50, 100], 4, ascii_only=True) == "0159"
    assert sparkline([0.0, 0.0], 4) == "▁▁"
    assert sparkline([5.0], 4, full=10.0, ascii_only=True) == "5"
