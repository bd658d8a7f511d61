"""``scout40 simulate``: samples of muons and of muon pairs from Pythia and a detector model."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from scout40.tools.command import Stop, Task, json_option, print_json

if TYPE_CHECKING:
    from pathlib import Path

    from scout40.tools.simulate_config import Kind


@click.command(cls=Task, name="simulate")
@click.argument("kind", type=click.Choice(["muons", "pairs"]))
@click.option("--size", default="small", show_default=True, help="tiny, small or full.")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    default=1,
    show_default=True,
    help="Another seed is another sample.",
)
@click.option("--preset", default="paper", show_default=True, help="Response: paper or 2018.")
@click.option(
    "--out", type=click.Path(file_okay=False), help="Folder; default: in the user's cache."
)
@click.option("--process", "processes", multiple=True, help="Only this process; repeatable.")
@click.option("--jobs", "-j", type=click.IntRange(1), help="Shards at once; default: all cores.")
@json_option
def command(
    kind: Kind, size: str, seed: int, preset: str, out: str | None,
    processes: tuple[str, ...], jobs: int | None, json_output: bool,
) -> None:  # fmt: skip
    """Make a sample for the networks: muons, or pairs of muons, of the uGMT with their truth.

    Needs pythia8mc (pip install 'scout40[simulate]'). Shards that are there already are kept; after
    Ctrl-C the same command goes on. docs/simulation.md describes the columns.
    """
    from scout40.tools.simulate_shards import Stopped, make

    began = time.monotonic()
    with Stop() as asked, _Progress(quiet=json_output) as progress:
        try:
            path = make(
                kind, size, seed, preset, out, processes or None,
                jobs=jobs, progress=progress.show, stop=lambda: asked.requested,
            )  # fmt: skip
        except Stopped as error:
            stopped = str(error)
        else:
            stopped = ""
    if stopped:
        if json_output:
            print_json({"stopped": stopped})
        else:
            click.echo(stopped)
        return
    _report(path, time.monotonic() - began, json_output)


def _report(path: Path, seconds: float, json_output: bool) -> None:
    from scout40.tools.simulate_files import read_manifest

    shards = read_manifest(path)["shards"]
    rows: dict[str, int] = {}
    for shard in shards:
        rows[shard["split"]] = rows.get(shard["split"], 0) + shard["rows"]
    if json_output:
        print_json({"manifest": str(path), "rows": rows, "shards": len(shards), "seconds": seconds})
        return
    found = ", ".join(f"{split} {count:,}" for split, count in rows.items())
    click.echo(f"{path}\n{len(shards)} shards, rows: {found}; {seconds:.1f} s")


class _Progress:
    """A bar on a terminal, else a line every few seconds; on standard error."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: Any = None
        self._task: Any = None
        self._last = 0.0

    def __enter__(self) -> _Progress:
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
            from rich.progress import TimeRemainingColumn as Left

            self._bar = Progress(
                BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), Left(),
                console=Console(stderr=True),
            )  # fmt: skip
            self._bar.start()
            self._task = self._bar.add_task("preparing", total=None)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, done: int, total: int, name: str) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, description=name)
            return
        from scout40.tools.show import LINE_SECONDS

        now = time.monotonic()
        if not self._quiet and (now - self._last > LINE_SECONDS or done == total):
            click.echo(f"{done} of {total} shards: {name}", err=True)
            self._last = now
