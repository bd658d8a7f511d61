"""``scout40 feed``: raw files or the synthetic stream, sent at the pace of the LHC."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scout40.tools.command import Stop, Task, finish, json_option, quarantine_option

if TYPE_CHECKING:
    from scout40.tools.feed_show import FeedLines
    from scout40.tools.feed_state import FeedResult, FeedSettings
    from scout40.tools.feeder import Feeder
    from scout40.tools.pipeline import Asked

SWITCH_SECONDS = 5e-4
"""Between threads of Python: a feed must not wait the usual 5 ms while the next range is made."""
POLL = 0.1
"""Seconds between two looks at the feeds."""


@click.command(cls=Task, name="feed")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "--to",
    "endpoints",
    multiple=True,
    required=True,
    metavar="ENDPOINT",
    help="ipc://PATH or tcp://HOST:PORT to bind; once for each SOURCE, or one for all files.",
)
@click.option(
    "--rate",
    default="1x",
    show_default=True,
    help="1x, 2.5x (of the LHC's 11245.5 orbits/s), max, or orbits per second.",
)
@click.option("--loop", is_flag=True, help="Repeat the files; orbit numbers go on.")
@click.option("--orbits", type=click.IntRange(1), help="End after this many orbits.")
@click.option(
    "--packet-orbits",
    type=click.IntRange(1, 256),
    default=16,
    show_default=True,
    help="Orbits of one message, at most.",
)
@click.option(
    "--policy",
    type=click.Choice(("block", "drop")),
    help="When the consumer is full. Default: drop at a rate, block with max.",
)
@click.option(
    "--high-water",
    type=click.IntRange(1),
    show_default="256",
    help="Messages that wait for a consumer.",
)
@click.option("--run", type=click.IntRange(0), help="Run number; files keep theirs by default.")
@click.option("--source-id", type=click.IntRange(0), help="Id of the stream; default: of the data.")
@click.option("--first-orbit", type=click.IntRange(0), help="Number of the first orbit.")
@click.option(
    "--heartbeat",
    type=float,
    default=1.0,
    show_default=True,
    help="Seconds without a message until a heartbeat.",
)
@click.option(
    "--wait/--no-wait",
    default=True,
    show_default=True,
    help="Start the clock when the first consumer has connected.",
)
@click.option(
    "--linger",
    type=float,
    default=5.0,
    show_default=True,
    help="Seconds to deliver what is queued at the end.",
)
@click.option(
    "--keys", type=click.Path(dir_okay=False, path_type=Path), help="Own NAME.key_secret (CURVE)."
)
@click.option(
    "--allow",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder with the public keys of the consumers that may connect.",
)
@quarantine_option
@json_option
def command(
    sources: tuple[str, ...],
    endpoints: tuple[str, ...],
    rate: str,
    keys: Path | None,
    allow: Path | None,
    quarantine: str | None,
    json_output: bool,
    **options: Any,
) -> None:  # fmt: skip
    """Send SOURCE to consumers that connect to ENDPOINT, orbit by orbit in real time.

    SOURCE: raw scouting files, folders or globs, or synthetic:gmt,calo?pileup=60&seed=1 for the
    synthetic stream. Files for one ENDPOINT are merged by orbit. Ctrl-C ends the stream in good
    order.
    """
    from scout40.streams.sockets import Security
    from scout40.tools.feed_clock import parse_rate
    from scout40.tools.feed_show import FeedLines, show
    from scout40.tools.feed_state import FeedSettings

    settings = FeedSettings(
        rate=parse_rate(rate),
        quarantine=Path(quarantine) if quarantine else None,
        security=Security(keys=keys, allow=allow),
        **{name: value for name, value in options.items() if value is not None},
    )
    sys.setswitchinterval(SWITCH_SECONDS)
    feeders = open_feeds(sources, endpoints, settings)
    with Stop() as stop, FeedLines(feeders) as lines:
        result = run_feeds(feeders, stop, lines)
    finish(result, json_output, show)


def open_feeds(
    sources: Sequence[str], endpoints: Sequence[str], settings: FeedSettings
) -> list[Feeder]:
    """One feed of all sources, or one for each source and its endpoint; all bound, or none.

    Raises BadConfig when the numbers do not match, and what Feeder raises.
    """
    from scout40.streams.errors import BadConfig
    from scout40.tools.feeder import Feeder

    if len(endpoints) == 1:
        return [Feeder(list(sources), endpoints[0], settings)]
    if len(endpoints) != len(sources):
        raise BadConfig(
            f"{len(sources)} sources and {len(endpoints)} endpoints: give --to once, or once for "
            "each SOURCE"
        )
    opened: list[Feeder] = []
    try:
        for source, endpoint in zip(sources, endpoints, strict=True):
            opened.append(Feeder([source], endpoint, settings))
    except BaseException:
        for feeder in opened:
            feeder.abandon()
        raise
    return opened


class _Either:
    """Asks to stop when the user does, or when this process has no more use for its feeds."""

    def __init__(self, stop: Asked) -> None:
        self._stop, self.over = stop, False

    @property
    def requested(self) -> bool:
        return self._stop.requested or self.over


def run_feeds(feeders: Sequence[Feeder], stop: Asked, lines: FeedLines | None = None) -> FeedResult:
    """All feeds at once until they end; ``lines`` is told between. The first error ends all."""
    from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

    from scout40.tools.feed_state import joined

    either = _Either(stop)
    with ThreadPoolExecutor(len(feeders), "feed") as pool:
        running = [pool.submit(feeder.run, either) for feeder in feeders]
        try:
            while wait(running, POLL, FIRST_EXCEPTION).not_done:
                if any(one.done() and one.exception() for one in running):
                    break
                if lines is not None:
                    lines.update()
        finally:
            either.over = True
    return joined([one.result() for one in running])
