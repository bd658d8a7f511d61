"""Panels of the data: how the run does beside the LHC, and one line for every source."""

from __future__ import annotations

from rich.text import Text

from scout40.streams.block import ORBIT_BX, ORBIT_HZ
from scout40.streams.snapshot import Snapshot, SourceState
from scout40.tools.monitor_panel import Column, Panel, Table, View, fixed
from scout40.tools.monitor_text import count, duration, meter, rate, size, sparkline
from scout40.tools.monitor_verdict import BEHIND_BAD_S, BEHIND_WARN_S, Level

REAL_TIME = 0.99
"""Fraction of the LHC's orbits from which a stream is in real time."""
FEW = 4
"""Sources that are shown before other panels get a line."""
ALARMS = ("stale", "refused", "conflict")


def health(view: View, width: int) -> Panel:
    """Rates in and out beside the LHC, time, ledger, and which run this is."""
    snapshot, level = view.snapshot, view.style
    share = snapshot.orbits_per_s / ORBIT_HZ
    fast = Level.GOOD if share >= REAL_TIME else Level.WARN
    incoming = Text.assemble(
        ("in      ", "bold"),
        (f"{snapshot.orbits_per_s:,.0f}".replace(",", " ") + " orbits/s  ", level(fast)),
        f"{rate(snapshot.crossings_per_s, 'BX/s')}  ",
        (f"{share:.1%} of LHC", level(fast)),
    )
    wide = width - len(incoming) - 2
    if wide >= 8:
        marks = sparkline(_history(view), wide, view.ascii_only, ORBIT_HZ)
        incoming.append("  " + (marks or meter(share, wide, view.ascii_only)), "cyan")
    out = Text.assemble(
        ("out     ", "bold"),
        f"{count(snapshot.written_rows_per_s)} rows/s  {count(snapshot.written_rows)} rows  "
        f"{size(snapshot.written_bytes)} in {count(snapshot.files_closed)} files",
    )
    lines = [incoming, out, _ledger(view, width), _times(snapshot)]
    if view.verdict.reasons:  # else the second row of the screen says it
        lines.append(Text.assemble(("run     ", "bold"), identity(snapshot)))
    peak = f"LHC: {ORBIT_HZ:,.1f} orbits/s, {ORBIT_HZ * ORBIT_BX / 1e6:.2f} M crossings/s"
    return fixed("health", "" if width < 72 else peak, lines, least=3)


def _history(view: View) -> list[float]:
    points = [point.orbits_per_s for point in view.watch.points]
    return points if len(points) > 1 else []


def _times(snapshot: Snapshot) -> Text:
    total = snapshot.live_s + snapshot.dead_s + snapshot.paused_s
    if not total:
        return Text.assemble(("time    ", "bold"), "none yet")
    parts = [("live", snapshot.live_s), ("dead", snapshot.dead_s), ("paused", snapshot.paused_s)]
    text = "  ".join(f"{name} {part / total:.1%}" for name, part in parts)
    return Text.assemble(("time    ", "bold"), f"{text}  of {duration(total)}")


def _ledger(view: View, width: int) -> Text:
    """The account of packets in words; other accounts when there is none."""
    snapshot = view.snapshot
    line = Text.assemble(("ledger  ", "bold"))
    if snapshot.balanced:
        line.append(view.word("balanced"), view.style(Level.GOOD))
    else:
        line.append(view.word("DOES NOT BALANCE"), view.style(Level.BAD))
    unit = "packets" if "packets" in snapshot.accounts else next(iter(snapshot.accounts), None)
    if unit is not None:
        account = snapshot.accounts[unit]
        dropped, bad = sum(account["dropped"].values()), sum(account["bad"].values())
        came, out, pending = map(count, (account["in"], account["out"], account["pending"]))
        lost = f"dropped {count(dropped)} + bad {count(bad)}"
        text = f"  {unit} in {came} = out {out} + {lost} + pending {pending}"
        narrow = f"  {unit}: {lost}  in {came}"  # what matters must not be cut
        line.append(text if len(line) + len(text) <= width else narrow)
    return line


def identity(snapshot: Snapshot) -> str:
    """Which run this is, the most telling first."""
    up = duration(max(0, snapshot.time_ns - snapshot.started_ns) / 1e9)
    parts = [snapshot.name or "live", f"run {snapshot.run}", f"up {up}"]
    if snapshot.menu:
        parts.append(f"menu {snapshot.menu}")
    parts.append(f"{snapshot.host} pid {snapshot.pid}".strip())
    parts += [text for text in (snapshot.pipeline, snapshot.output) if text]
    return "  ".join(parts)


def sources(view: View, width: int) -> Panel:
    """One line per source; those that need attention first."""
    table = Table(
        (
            Column("source", number=False), Column("state", number=False), Column("orbits/s", 2),
            Column("lag", 3), Column("gaps", 5), Column("lost", 1), Column("dropped", 1),
            Column("bad", 4), Column("age", 6), Column("late", 7), Column("twice", 8),
            Column("reordered", 9), Column("orbit", 11), Column("packets", 10), Column("id", 12),
            Column("endpoint", 13, number=False), Column("feed", 14, number=False),
        )
    )  # fmt: skip
    ordered = sorted(view.snapshot.sources, key=lambda one: (not _alarming(one), one.name))
    for one in ordered:
        age = one.age_s + view.age if one.age_s >= 0 else -1.0
        table.add(
            one.name, _state(view, one, age), count(one.orbits_per_s), _lag(view, one),
            _loss(view, one.gaps), _loss(view, one.lost), _loss(view, one.dropped_by_feed),
            _loss(view, one.bad), duration(age) if age >= 0 else "-", _loss(view, one.late),
            count(one.duplicates), count(one.reordered),
            str(one.orbit) if one.orbit >= 0 else "-", count(one.packets), str(one.source),
            one.endpoint, one.feed,
        )  # fmt: skip
    alarms = sum(map(_alarming, ordered))
    note = f"{len(ordered)}, {alarms} need attention" if alarms else f"{len(ordered)}"
    return table.panel("sources", width, note, "no source is named in the snapshot", FEW)


def _alarming(source: SourceState) -> bool:
    return source.state in (*ALARMS, "connecting")


def _state(view: View, source: SourceState, age: float) -> Text:
    word = source.state.upper() if source.state in ALARMS else source.state
    if source.state == "stale" and age >= 0:
        word += f" {duration(age)}"
    if source.state == "connecting" and source.back_off_s:
        word += f" +{duration(source.back_off_s)}"
    level = {"running": Level.GOOD, "ended": Level.GOOD, "connecting": Level.WARN}
    return Text(view.word(word), view.style(level.get(source.state, Level.BAD)))


def _lag(view: View, source: SourceState) -> Text:
    lag = source.lag_s
    if source.age_s < 0:
        return Text("-")
    if lag >= BEHIND_BAD_S:
        return Text(f"BEHIND {duration(lag)}", view.style(Level.BAD))
    level = Level.WARN if lag >= BEHIND_WARN_S else Level.GOOD
    return Text(duration(lag), view.style(level))


def _loss(view: View, lost: int) -> Text:
    return Text(count(lost), view.style(Level.WARN) if lost else "dim")
