"""How a running feed and its result look on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from scout40.streams.block import ORBIT_HZ
from scout40.tools.feed_state import FeedResult, FeedState
from scout40.tools.show import LINE_SECONDS, Grid, console, number, receipt, seconds

if TYPE_CHECKING:
    from scout40.tools.feeder import Feeder

REDRAW_SECONDS = 0.25


class FeedLines:
    """One line for each feed: redrawn on a terminal, else printed every few seconds (stderr)."""

    def __init__(self, feeders: Sequence[Feeder]) -> None:
        self._feeders = feeders
        self._before = [(time.monotonic(), 0)] * len(feeders)
        self._last = time.monotonic()
        self._phases: list[str] = [""] * len(feeders)
        self._live: Live | None = None

    def __enter__(self) -> FeedLines:
        screen = Console(stderr=True, highlight=False)
        if screen.is_terminal:
            self._live = Live(console=screen, transient=True, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self) -> None:
        """Look at the feeds; write when it is time, or when one has entered another phase."""
        now = time.monotonic()
        phases: list[str] = [feeder.state.phase for feeder in self._feeders]
        wait = LINE_SECONDS if self._live is None else REDRAW_SECONDS
        if now - self._last < wait and phases == self._phases:
            return
        self._last, self._phases = now, phases
        lines = [self._line(place, now) for place in range(len(self._feeders))]
        if self._live is not None:
            self._live.update(Group(*lines), refresh=True)
        else:
            for line in lines:
                print(line.plain, file=sys.stderr, flush=True)

    def _line(self, place: int, now: float) -> Text:
        """State of one feed; its rate is that since the last line."""
        state = self._feeders[place].state
        then, orbits = self._before[place]
        self._before[place] = now, state.sent_orbits
        rate = (state.sent_orbits - orbits) / max(now - then, 1e-9)
        return line(state, rate)


def line(state: FeedState, rate: float) -> Text:
    """One feed in one line: what is lost comes before what is going well."""
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"{state.address} ", "bold")
    text.append(state.phase, "green" if state.phase == "running" else "yellow")
    if state.phase in ("preparing", "waiting for a consumer"):
        return text
    lost = state.dropped_packets.total()
    text.append(f"  dropped {number(lost)}", "bold red" if lost else "")
    text.append(f"  sent {number(state.sent_packets)} packets")
    text.append(f"  {rate:.0f} orbits/s ({rate / ORBIT_HZ:.2f}x)  lag {seconds(state.lag)}")
    if state.pauses:
        text.append(f"  paused {state.pauses} times", "yellow")
    return text


def show(result: FeedResult) -> None:
    """A row for each feed, then the receipt."""
    screen = console()
    heads = ("orbits/s", "x LHC", "lag max", "pauses", "beats", "dropped")
    grid = Grid([("feed", "left"), *((head, "right") for head in heads)])
    for state in result.feeds:
        lost = state.dropped_packets.total()
        grid.add(
            state.address, f"{state.rate:.1f}", f"{state.rate / ORBIT_HZ:.3f}",
            seconds(state.lag_max), str(state.pauses), str(state.heartbeats),
            Text(number(lost), "bold red" if lost else ""),
        )  # fmt: skip
    screen.print(grid.table(screen.width))
    for state in result.feeds:
        for what, amount in (
            ("paused", state.paused_seconds),
            ("late beyond catching up", state.slipped_seconds),
            ("blocked by a full consumer", state.blocked_seconds),
        ):
            if amount > 0:
                screen.print(Text(f"{state.address}: {what} for {seconds(amount)}", "yellow"))
    receipt(screen, result.receipt)
