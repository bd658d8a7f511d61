"""The three answers of the first row: healthy? losing data? how far behind?

Every answer is a word first and a colour second. Without news there is no good answer: after
STALE_S seconds all three say so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from scout40.streams.snapshot import Snapshot
from scout40.tools.monitor_text import count, duration
from scout40.tools.monitor_watch import RECENT_S, Watch, lag, losses

STALE_S = 3.0
"""Age of the newest snapshot from which it is no news any more."""
BEHIND_WARN_S, BEHIND_BAD_S = 1.0, 5.0
GROWING_S = 0.2
"""Growth of the lag within the recent points that is worth a word."""


class Level(IntEnum):
    """How bad an answer is."""

    GOOD = 0
    WARN = 1
    BAD = 2


@dataclass(frozen=True)
class Answer:
    """One of the three answers."""

    word: str
    level: Level


@dataclass(frozen=True)
class Verdict:
    """The answers, what is wrong (worst first), and whether the picture is an old one."""

    healthy: Answer
    losing: Answer
    behind: Answer
    reasons: tuple[str, ...] = ()
    stale: bool = False

    @property
    def exit_code(self) -> int:
        """0 when nothing is bad, else 1."""
        return int(max(self.healthy.level, self.losing.level, self.behind.level) is Level.BAD)


def judge(watch: Watch, now: float, once: bool = False) -> Verdict:
    """The verdict at ``now``; with ``once`` every loss since the start of the run is a loss."""
    age, snapshot = watch.age(now), watch.newest
    problem = (f"unreadable snapshot: {watch.problem}",) if watch.problem else ()
    if snapshot is None:
        unknown = Answer("UNKNOWN", Level.BAD)
        reasons = (*problem, f"nothing has come: {watch.link or watch.where}")
        return Verdict(Answer(f"NO NEWS {age:.0f} s", Level.BAD), unknown, unknown, reasons, True)
    over = snapshot.state in ("stopped", "failed")
    if age > STALE_S and not over:
        unknown = Answer("UNKNOWN", Level.BAD)
        behind = Answer(f"OVER {duration(age)}", Level.BAD)
        reasons = (*problem, f"no snapshot for {duration(age)} ({watch.link}): all below is old")
        return Verdict(Answer(f"STALE {duration(age)}", Level.BAD), unknown, behind, reasons, True)
    bad, warn = list(_bad(snapshot)), list(_warn(snapshot))
    losing, why = _losing(snapshot, Counter() if once else watch.lost_lately(), once or over)
    behind = Answer("ENDED", Level.GOOD) if over else _behind(watch, snapshot)
    worst = max(losing.level, behind.level)
    healthy = _healthy(snapshot, bool(bad) or worst is Level.BAD, bool(warn))
    return Verdict(healthy, losing, behind, (*problem, *bad, *why, *warn), stale=False)


def _healthy(snapshot: Snapshot, bad: bool, warn: bool) -> Answer:
    if snapshot.state == "failed":
        return Answer("FAILED", Level.BAD)
    if bad:
        return Answer("NO", Level.BAD)
    if snapshot.state != "running":
        level = Level.GOOD if snapshot.state == "stopped" else Level.WARN
        return Answer(snapshot.state.upper(), level)
    return Answer("YES, BUT", Level.WARN) if warn else Answer("YES", Level.GOOD)


def _losing(snapshot: Snapshot, lately: Counter[str], all_counts: bool) -> tuple[Answer, list[str]]:
    """``all_counts``: there is no later look, so whatever the run lost is the answer."""
    ever = losses(snapshot)
    total, now = ever.total(), lately.total()
    text = ", ".join(f"{count(n)} {name}" for name, n in (lately or ever).most_common())
    if total and all_counts:
        return Answer(f"LOST {count(total)}", Level.BAD), [f"since the start: {text}"]
    if now:
        return Answer(f"YES, {count(now)}", Level.BAD), [f"in {RECENT_S:.0f} s: {text}"]
    why = [f"earlier: {text}"] if total else []
    if not snapshot.balanced or snapshot.state == "failed" or any(_silent(snapshot)):
        # Nobody counts what the ledger misses, a dead run never saw, a silent feed has to send.
        return Answer("UNKNOWN", Level.BAD), why
    if total:
        return Answer(f"EARLIER {count(total)}", Level.WARN), why
    return Answer("NO", Level.GOOD), []


def _behind(watch: Watch, snapshot: Snapshot) -> Answer:
    behind, recent = lag(snapshot), watch.recent()
    mute = all(one.state in ("connecting", "refused") for one in snapshot.sources)
    if snapshot.state == "running" and mute:
        return Answer("NO DATA", Level.BAD)
    growing = len(recent) > 1 and behind - recent[0].lag_s > GROWING_S
    word = duration(max(0.0, behind)) + (" RISING" if growing else "")
    if behind >= BEHIND_BAD_S:
        return Answer(word, Level.BAD)
    return Answer(word, Level.WARN if growing or behind >= BEHIND_WARN_S else Level.GOOD)


def _silent(snapshot: Snapshot) -> list[bool]:
    """For each source of a run that should take data, whether it gives none."""
    if snapshot.state != "running":
        return []
    return [one.state in ("connecting", "refused", "stale") for one in snapshot.sources]


def _bad(snapshot: Snapshot) -> Iterator[str]:
    """What makes a run unhealthy."""
    if snapshot.state == "failed":
        last = snapshot.errors[-1].text if snapshot.errors else "no error was reported"
        yield f"the run failed: {last}"
    if not snapshot.balanced:
        yield "the ledger does not balance"
    for source in snapshot.sources:
        if source.state in ("stale", "refused", "conflict"):
            stale = source.state == "stale" and source.age_s >= 0
            age = f" {duration(source.age_s)}" if stale else ""
            yield f"{source.name} is {source.state.upper()}{age}"
        if source.state == "connecting" and snapshot.state == "running":
            yield f"{source.name} is not connected"
    for board in snapshot.boards:
        if not board.fine:
            yield f"board {board.name} is {board.state.upper()}"


def _warn(snapshot: Snapshot) -> Iterator[str]:
    for name, queue in snapshot.queues.items():
        if queue.capacity and queue.filled >= queue.capacity and queue.policy != "keep-last":
            yield f"queue {name} is FULL"
