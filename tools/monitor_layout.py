"""How a frame is put together: never taller than the screen, and what is left out is said.

The first row is the verdict, the second says why, the last one what is hidden and which keys
work. Between them stand the panels; on a wide screen small ones stand side by side. Panels get
their fewest lines by priority, then one line each in turn until the screen is full.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.text import Text

from scout40.tools import monitor_flow, monitor_machine, monitor_physics
from scout40.tools.monitor_flow import identity
from scout40.tools.monitor_panel import BADGES, STYLES, Panel, View, beside, rule
from scout40.tools.monitor_verdict import Answer, Verdict, judge
from scout40.tools.monitor_watch import Watch

PANELS: dict[str, Callable[[View, int], Panel]] = {
    "health": monitor_flow.health,
    "sources": monitor_flow.sources,
    "rates": monitor_physics.rates,
    "hist": monitor_physics.hist,
    "latency": monitor_machine.latency,
    "stages": monitor_machine.stages,
    "boards": monitor_machine.boards,
    "errors": monitor_machine.errors,
}
"""Panels in their order on the screen; key 1 is the first."""
PRIORITY = ("health", "sources", "errors", "rates", "latency", "hist", "stages", "boards")
"""Who gets lines first."""
PAIRS = (("rates", "hist"), ("latency", "stages"), ("boards", "errors"))
"""Who stands side by side on a wide screen."""
WIDE = 110
KEYS = {str(k): name for k, name in enumerate(PANELS, 1)}
HELP = """\
1 to 8   one panel alone, over the whole screen
0 or a   all panels that fit
space    the next entries of a panel that stands alone
h or ?   this page
q        leave; the run goes on, no key changes it

HEALTHY?         YES, YES BUT (a queue is full), NO, FAILED, or STALE when
                 no snapshot came for 3 s: then all below is old and grey
LOSING DATA?     NO; YES with the packets of the last 10 s;
                 EARLIER when it is over; packets are orbits of one source
HOW FAR BEHIND?  time since the slowest source sent what is done now;
                 RISING when it grew in the last 10 s"""


@dataclass
class Choice:
    """What the viewer asked for: panels, one alone ("" for all), first entry, help, ASCII.

    ``keys`` is False where nobody can press one.
    """

    panels: Sequence[str] = tuple(PANELS)
    alone: str = ""
    first: int = 0
    help: bool = False
    ascii_only: bool = False
    keys: bool = True


def compose(
    watch: Watch, now: float, choice: Choice, width: int, height: int, once: bool = False
) -> tuple[list[Text], Verdict]:
    """The lines of one frame, at most ``height`` of at most ``width`` columns, and its verdict."""
    verdict = judge(watch, now, once)
    top = [verdict_line(verdict, width), _second_line(watch, verdict, width)]
    body, hidden = _body(watch, verdict, now, choice, width, height - len(top) - 1)
    lines = [*top, *body]
    foot = _footer(hidden, choice, width)
    if choice.keys:
        lines = lines[: max(1, height - 1)]
        lines += [Text()] * (height - 1 - len(lines))
    if choice.keys or hidden:
        lines.append(foot)
    return [_cut(line, width) for line in lines[:height]], verdict


def verdict_line(verdict: Verdict, width: int) -> Text:
    """The three questions with their answers; the questions shrink before the answers do."""
    answers = (verdict.healthy, verdict.losing, verdict.behind)
    for asked, gap in (
        (("HEALTHY? ", "LOSING DATA? ", "HOW FAR BEHIND? "), "   "),
        (("HEALTHY? ", "LOSING DATA? ", "BEHIND? "), "  "),
        (("HEALTHY", "LOSING", "BEHIND"), " "),
    ):
        line = Text(gap).join(map(_question, asked, answers))
        if len(line) <= width:
            break
    return line


def _question(asked: str, answer: Answer) -> Text:
    return Text.assemble((asked, "bold"), (f" {answer.word} ", BADGES[answer.level]))


def _second_line(watch: Watch, verdict: Verdict, width: int) -> Text:
    """What is wrong, or which run this is."""
    if not verdict.reasons:
        return Text(identity(watch.newest) if watch.newest else watch.where, "dim")
    level = max(verdict.healthy.level, verdict.losing.level, verdict.behind.level)
    style, shown = STYLES[level], list(verdict.reasons)
    while len(shown) > 1 and len(_reasons(shown, len(verdict.reasons))) > width:
        shown.pop()
    return Text(_reasons(shown, len(verdict.reasons)), style)


def _reasons(shown: Sequence[str], total: int) -> str:
    more = f" (+{total - len(shown)} more)" if total > len(shown) else ""
    return "; ".join(shown) + more


def _body(
    watch: Watch, verdict: Verdict, now: float, choice: Choice, width: int, room: int
) -> tuple[list[Text], list[str]]:
    """Lines between the first two and the footer, and names of panels that did not fit."""
    if choice.help:
        return [Text(), *(Text(line) for line in HELP.splitlines())], []
    snapshot = watch.newest
    if snapshot is None:
        lines = ("", f"waiting for the first snapshot of {watch.where}",
                 "a consumer publishes them: scout40 live ... --help")  # fmt: skip
        return [Text(line) for line in lines], []
    view = View(watch, snapshot, verdict, watch.age(now), choice.ascii_only)
    if choice.alone:
        panel = PANELS[choice.alone](view, width)
        if choice.first >= max(1, panel.rows):
            choice.first = 0
        return _drawn(panel, width, room, choice), []
    bands = _bands(view, choice, width)
    heights = _heights(bands, room)
    lines_, hidden = [], []
    for band, tall in zip(bands, heights, strict=True):
        if not tall:
            hidden += [panel.name for panel in band]
            continue
        half = _part(width, len(band))
        drawn = [_drawn(panel, half, tall, choice) for panel in band]
        lines_ += drawn[0] if len(drawn) == 1 else beside(drawn[0], drawn[1], half)
    return lines_, hidden


def _bands(view: View, choice: Choice, width: int) -> list[list[Panel]]:
    """Panels that stand in one row of the screen; empty ones only when they were asked for."""
    names = [name for name in PANELS if name in choice.panels]
    everything = len(names) == len(PANELS)
    bands: list[list[Panel]] = []
    while names:
        pair = (names[0], *(two for one, two in PAIRS if one == names[0] and two in names))
        pair = pair if width >= WIDE else pair[:1]
        band = [PANELS[name](view, _part(width, len(pair))) for name in pair]
        if everything and any(panel.empty for panel in band):
            full = [panel.name for panel in band if not panel.empty]
            band = [PANELS[name](view, width) for name in full]
        bands += [band] if band else []
        names = [name for name in names if name not in pair]
    return bands


def _part(width: int, panels: int) -> int:
    return width if panels == 1 else (width - 2) // 2


def _heights(bands: Sequence[Sequence[Panel]], room: int) -> list[int]:
    """Lines of each band with its title; 0 for those that do not fit."""
    order = sorted(range(len(bands)), key=lambda k: min(PRIORITY.index(p.name) for p in bands[k]))
    heights = [0] * len(bands)
    for k in order:
        least = 1 + max(panel.least for panel in bands[k])
        if least <= room:
            heights[k] = least
            room -= least
    growing = [k for k in order if heights[k]]
    while room and growing:
        growing = [k for k in growing if heights[k] <= max(panel.wanted for panel in bands[k])]
        for k in growing[:room]:
            heights[k] += 1
        room -= min(room, len(growing))
    return heights


def _drawn(panel: Panel, width: int, height: int, choice: Choice) -> list[Text]:
    """Title and lines of a panel, at most ``height``; the title says how many are not shown."""
    key = list(PANELS).index(panel.name) + 1
    first = choice.first if choice.alone else 0
    shown = max(0, min(panel.rows - first, height - 1 - panel.heads))
    note, style = panel.note, "dim"
    if panel.rows > shown:
        style = "yellow"
        note = f"{first + 1}-{first + shown} of {panel.rows}"
        if choice.keys:
            note += ", space: more" if choice.alone else f", key {key}: all"
    title = f"{key} {panel.name.upper()}"
    lines = [rule(title, note, width, style), *panel.draw(height - 1, first)][:height]
    return [_cut(line, width) for line in lines]


def _footer(hidden: Sequence[str], choice: Choice, width: int) -> Text:
    line = Text()
    if hidden:
        names = list(PANELS)
        text = ", ".join(f"{names.index(name) + 1} {name}" for name in hidden)
        how = " (press the number)" if choice.keys else " (--panels shows them)"
        line.append(f"HIDDEN: {text}", "bold yellow")
        line.append(f"{how}  " if len(line) + len(how) <= width else "  ", "yellow")
    if choice.keys:
        for text in ("1-8 one panel  0 all  h help  q quit", "0 all  h help  q quit", "h help"):
            if len(line) + len(text) <= width:
                line.append(text, "dim")
                break
    return line


def _cut(line: Text, width: int) -> Text:
    if len(line) <= width:
        return line
    return line[: width - 1].append("…")
