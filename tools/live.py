"""``scout40 live``: the trigger decisions of a running feed."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from scout40.tools.command import (
    FILE,
    Stop,
    Task,
    finish,
    json_option,
    quarantine_option,
)
from scout40.tools.monitor import DEFAULT_ENDPOINT

if TYPE_CHECKING:
    from concurrent.futures import Future

    from scout40.tools.live_engine import LiveResult
    from scout40.tools.live_stage import LiveStage


@click.command(cls=Task, name="live")
@click.argument("endpoints", nargs=-1, required=True, metavar="ENDPOINT...")
@click.option(
    "--pipeline", "-p", default="muons", show_default=True,
    help="Pipeline file (TOML), or the name of a packaged one.",
)  # fmt: skip
@click.option("--menu", "-m", type=FILE, help="Menu instead of the one in the pipeline file.")
@click.option(
    "--out", "-o", type=click.Path(file_okay=False), required=True,
    help="Folder of the output files and of status.json; made when it is not there.",
)  # fmt: skip
@click.option(
    "--monitor", metavar="ENDPOINT", default=DEFAULT_ENDPOINT, show_default=True,
    help="Publish snapshots here for scout40 monitor; none: nowhere.",
)  # fmt: skip
@click.option("--metrics", metavar="ADDRESS:PORT", help="Serve Prometheus metrics, on loopback.")
@click.option("--until-end", is_flag=True, help="Stop when all feeds have ended.")
@click.option("--seconds", type=click.FloatRange(0), help="Stop after this time.")
@click.option("--orbits", type=click.IntRange(1), help="Stop after about so many orbits.")
@click.option(
    "--threads", "-j", type=click.IntRange(1, 64), default=1, show_default=True,
    help="Threads that decide.",
)  # fmt: skip
@click.option("--keys", type=FILE, help="Own secret key file (scout40 keys).")
@click.option("--server-key", type=FILE, help="Public key file of the feeds.")
@click.option(
    "--allow", type=click.Path(file_okay=False), help="Folder of public keys that may monitor."
)
@quarantine_option
@json_option
def command(
    endpoints: tuple[str, ...], pipeline: str, menu: str | None, out: str, monitor: str,
    metrics: str | None, until_end: bool, seconds: float | None, orbits: int | None, threads: int,
    keys: str | None, server_key: str | None, allow: str | None, quarantine: str | None,
    json_output: bool,
) -> None:  # fmt: skip
    """Decide what the feeds at ENDPOINT send, while it arrives, and keep what the pipeline selects.

    ENDPOINT is tcp://HOST:PORT or ipc://PATH of a scout40 feed. Files in the output folder appear
    under their names when they are whole; a run that goes on in the folder of an earlier one
    continues its numbers.

    SIGINT and SIGTERM: decide what has arrived, close the files, balance the ledger. SIGHUP: read
    the pipeline file again and go on with its menu from the next block.
    """
    from scout40.streams.security import Security
    from scout40.tools.live_config import load_pipeline
    from scout40.tools.live_engine import LiveOptions, live, warm_stage
    from scout40.tools.live_show import Told

    configured = load_pipeline(pipeline, menu=menu)
    options = LiveOptions(
        threads=threads,
        security=Security(*(Path(p) if p else None for p in (keys, allow, server_key))),
        monitor="" if monitor == "none" else monitor,
        metrics=metrics or "",
        quarantine=quarantine,
        until_end=until_end,
        seconds=seconds,
        orbits=orbits,
    )

    def again() -> LiveStage:
        return warm_stage(load_pipeline(pipeline, menu=menu))

    with LiveStop(again) as stop, Told(quiet=json_output) as told:
        result = live(endpoints, configured, out, options, stop=stop, told=told)
    finish(result, json_output, show)


def show(result: LiveResult) -> None:
    """The receipt, after the last state of the sources."""
    from scout40.tools.live_show import result as show_result

    show_result(result)


class LiveStop(Stop):
    """Stop, and SIGHUP for another menu, which is made on a thread while the run goes on."""

    def __init__(self, make: Callable[[], LiveStage]) -> None:
        super().__init__()
        self._make = make
        self._asked = False
        self._future: Future[LiveStage] | None = None

    def __enter__(self) -> LiveStop:
        super().__enter__()
        self._before[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._on_hangup)
        return self

    def new_stage(self) -> LiveStage | None:
        """See ``live_engine.Control``. Raises what is wrong with the new pipeline file."""
        from concurrent.futures import ThreadPoolExecutor

        if self._asked and self._future is None:
            self._asked = False
            self._future = ThreadPoolExecutor(1).submit(self._make)
        if self._future is None or not self._future.done():
            return None
        future, self._future = self._future, None
        return future.result()

    def _on_hangup(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
