"""Panels of the machine: latency, stages and queues, boards, last errors."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.text import Text

from scout40.tools.monitor_panel import Column, Panel, Table, View
from scout40.tools.monitor_text import count, duration, meter, milliseconds
from scout40.tools.monitor_verdict import Level

SLOW_MS = 100.0
"""99th percentile of the total latency that a live run must keep."""
METER = 10


def latency(view: View, width: int) -> Panel:
    """Percentiles in milliseconds."""
    table = Table(
        (
            Column("latency, ms", number=False), Column("p50"), Column("p90", 3), Column("p99"),
            Column("p99.9", 2), Column("max", 1), Column("messages", 4),
            Column("", 1, number=False),
        )
    )  # fmt: skip
    # On a small screen only the first row is seen.
    for name, one in sorted(view.snapshot.latency.items(), key=lambda item: item[0] != "total"):
        slow = name == "total" and one.p99 > SLOW_MS
        level = Level.BAD if slow else Level.GOOD
        table.add(
            name.replace("_", " "), milliseconds(one.p50), milliseconds(one.p90),
            Text(milliseconds(one.p99), view.style(level)), milliseconds(one.p999),
            milliseconds(one.max), count(one.count),
            Text("SLOW" if slow else "", view.style(level)),
        )  # fmt: skip
    return table.panel("latency", width, empty="no latency was measured yet")


def stages(view: View, width: int) -> Panel:
    """Busy cores by stage, then the queues between them."""
    table = Table(
        (
            Column("stage or queue", number=False), Column("busy", 1), Column("filled", 1),
            Column("", 4, number=False), Column("policy", 3, number=False), Column("dropped"),
            Column("state", 2, number=False),
        )
    )  # fmt: skip
    for name, busy in view.snapshot.stages.items():
        table.add(name, _cores(view, name, busy), "", "", "", "", "")
    for name, queue in view.snapshot.queues.items():
        matters = queue.policy != "keep-last"  # that one only feeds displays
        full = matters and queue.capacity > 0 and queue.filled >= queue.capacity
        level = Level.WARN if full else Level.GOOD
        share = queue.filled / queue.capacity if queue.capacity else 0.0
        table.add(
            f"> {name}", "", f"{queue.filled}/{queue.capacity}",
            Text(meter(share, METER, view.ascii_only), view.style(level)), queue.policy,
            Text(count(queue.dropped), view.style(Level.WARN) if matters and queue.dropped else ""),
            Text("FULL" if full else "", view.style(level)),
        )  # fmt: skip
    return table.panel("stages", width, "busy: cores in use", "no stage is named in the snapshot")


def _cores(view: View, name: str, busy: float) -> str:
    """Cores that a stage keeps busy: lately, or since the start when this is the first look."""
    points = view.watch.recent()
    first, last = points[0], points[-1]
    if name in first.stages and last.at > first.at:
        return f"{max(0.0, busy - first.stages[name]) / (last.at - first.at):.2f}"
    up = (view.snapshot.time_ns - view.snapshot.started_ns) / 1e9
    return f"{busy / up:.2f}" if up > 0 else "-"


def boards(view: View, width: int) -> Panel:
    """One line per board, those that fail first."""
    table = Table(
        (
            Column("board", number=False), Column("state", number=False),
            Column("detail", 1, number=False),
        )
    )  # fmt: skip
    for one in sorted(view.snapshot.boards, key=lambda board: board.fine):
        word = one.state if one.fine else one.state.upper()
        level = Level.GOOD if one.fine else Level.BAD
        table.add(one.name, Text(view.word(word), view.style(level)), one.detail)
    return table.panel("boards", width, empty="this run uses no board")


def errors(view: View, width: int) -> Panel:
    """Newest first, with its age."""
    table = Table((Column("UTC", 1, number=False), Column("age"), Column("error", number=False)))
    for one in reversed(view.snapshot.errors):
        ago = (view.snapshot.time_ns - one.time_ns) / 1e9 + view.age
        when = datetime.fromtimestamp(min(one.time_ns / 1e9, 2e11), UTC).strftime("%H:%M:%S")
        table.add(when, duration(max(0.0, ago)), Text(one.text, view.style(Level.WARN)))
    return table.panel("errors", width, "newest first", "none")
