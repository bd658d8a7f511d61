"""``scout40 monitor``: whether a live run is healthy, loses data or falls behind, at a glance."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scout40.streams.errors import BadConfig, BadInput
from scout40.tools.command import FILE, Task, json_option

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from scout40.tools.monitor_inlet import Inlet
    from scout40.tools.monitor_layout import Choice
    from scout40.tools.monitor_watch import Watch

DEFAULT_ENDPOINT = "tcp://127.0.0.1:4041"
PANEL_NAMES = ("health", "sources", "rates", "hist", "latency", "stages", "boards", "errors")
REDRAW_S = 0.25
"""Least time between two redraws."""
REFRESH_S = 1.0
"""Time after which ages are redrawn though nothing came; also between two plain lines."""
POLL_MS = 40
"""How long a key may wait."""
PLAIN_SIZE = (120, 1000)
"""Columns and lines of a page that is no terminal: everything is shown."""


def _panels(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    names = tuple(name.strip() for name in value.split(",")) if value else PANEL_NAMES
    for name in names:
        if name not in PANEL_NAMES:
            raise click.BadParameter(f"no panel {name!r}; panels: {', '.join(PANEL_NAMES)}")
    return names


@click.command("monitor", cls=Task)
@click.argument("endpoint", default=DEFAULT_ENDPOINT)
@click.option("--file", "file", type=FILE, help="Follow a status.json instead of an endpoint.")
@click.option("--panels", callback=_panels, help="Only these: " + ",".join(PANEL_NAMES) + ".")
@click.option(
    "--once", is_flag=True,
    help="One frame; exit code 0 all well, 1 loss, stale or unhealthy, 2 no snapshot came.",
)  # fmt: skip
@click.option(
    "--timeout", type=click.FloatRange(0), default=5.0, show_default=True, metavar="SECONDS",
    help="With --once and --json: how long to wait for a snapshot.",
)  # fmt: skip
@click.option("--ascii", "ascii_only", is_flag=True, help="Only ASCII characters.")
@click.option("--svg", type=FILE, help="Also draw the last frame as a picture.")
@click.option("--keys", type=FILE, help="Own secret key file, for a run that demands keys.")
@click.option("--server-key", type=FILE, help="Public key file of the run.")
@json_option
def command(**options: Any) -> None:
    """Watch a live run at ENDPOINT (default tcp://127.0.0.1:4041), where it publishes snapshots.

    The first row answers: healthy? losing data? how far behind? Keys 1 to 8 show one panel, 0
    all, h helps, q leaves. Nothing here changes the run. Without a terminal: a line a second.
    """
    from scout40.tools.monitor_layout import Choice

    inlet, where = _open(options)
    unicode = _console().encoding.lower().startswith("utf")
    choice = Choice(options["panels"], ascii_only=options["ascii_only"] or not unicode)
    try:
        if options["once"] or options["json_output"]:
            raise SystemExit(_once(inlet, where, choice, options))
        view(inlet, where, choice, svg=options["svg"])
    finally:
        inlet.close()


def view(
    inlet: Inlet,
    where: str,
    choice: Choice,
    *,
    svg: str | Path | None = None,
    ended: Callable[[], bool] = lambda: False,
) -> None:
    """Show what comes until a key, a signal or ``ended`` says stop; main thread only."""
    from scout40.tools.monitor_watch import Watch

    watch = Watch(where, time.monotonic())
    if sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        size = _on_terminal(inlet, watch, choice, ended)
    else:
        size = _as_lines(inlet, watch, ended)
    if svg is not None:
        _picture(svg, watch, choice, size)


def take(inlet: Inlet, watch: Watch, timeout_ms: int) -> bool:
    """Give the newest message to the watch; True when it changed what is shown."""
    got = inlet.receive(timeout_ms)
    watch.link = inlet.state
    if got is None:
        return False
    watch.add(got[0], time.monotonic(), got[1])
    return True


def plain_line(watch: Watch, now: float) -> str:
    """The verdict and the rates in one line."""
    from scout40.streams.block import ORBIT_HZ
    from scout40.tools.monitor_text import count
    from scout40.tools.monitor_verdict import judge

    verdict, snapshot = judge(watch, now), watch.newest
    parts = [
        f"HEALTHY? {verdict.healthy.word}",
        f"LOSING DATA? {verdict.losing.word}",
        f"HOW FAR BEHIND? {verdict.behind.word}",
    ]
    if snapshot is not None and not verdict.stale:
        share = snapshot.orbits_per_s / ORBIT_HZ
        parts.append(f"in {count(snapshot.orbits_per_s)} orbits/s ({share:.1%} of LHC)")
        parts.append(f"out {count(snapshot.written_rows_per_s)} rows/s")
    return " | ".join([time.strftime("%H:%M:%S"), *parts, *verdict.reasons])


def _open(options: dict[str, Any]) -> tuple[Inlet, str]:
    from scout40.streams.sockets import Security
    from scout40.tools.monitor_inlet import FileInlet, SocketInlet

    keys, server_key = options["keys"], options["server_key"]
    if options["file"] is not None:
        return FileInlet(options["file"]), options["file"]
    if (keys is None) != (server_key is None):
        raise BadConfig("--keys and --server-key belong together; scout40 keys makes key files")
    security = Security(
        keys=Path(keys) if keys else None, server_key=Path(server_key) if server_key else None
    )
    return SocketInlet(options["endpoint"], security), options["endpoint"]


def _once(inlet: Inlet, where: str, choice: Choice, options: dict[str, Any]) -> int:
    """Print one frame or snapshot; the exit code."""
    from scout40.tools.monitor_layout import compose
    from scout40.tools.monitor_verdict import judge
    from scout40.tools.monitor_watch import Watch

    watch = Watch(where, time.monotonic())
    end = time.monotonic() + options["timeout"]
    while watch.newest is None:
        left = end - time.monotonic()
        if not take(inlet, watch, max(1, int(1e3 * min(left, 0.2)))) and left <= 0:
            why = watch.problem or f"{watch.link}; does a live run publish there?"
            raise BadInput(f"no snapshot of {where} within {options['timeout']:g} s: {why}")
    now = time.monotonic()
    if options["json_output"]:
        click.echo(watch.newest.to_json())
        return judge(watch, now, once=True).exit_code
    screen = _console()
    width, height = _size(screen)
    choice.keys = False
    lines, verdict = compose(watch, now, choice, width, height, once=True)
    for line in lines:
        screen.print(_clean(line, choice), soft_wrap=True)
    if options["svg"]:
        _picture(options["svg"], watch, choice, (width, height), lines)
    return verdict.exit_code


def _on_terminal(
    inlet: Inlet, watch: Watch, choice: Choice, ended: Callable[[], bool]
) -> tuple[int, int]:
    """Redraw at most every REDRAW_S, when something came or ages grew; the last size."""
    from scout40.tools.monitor_layout import compose
    from scout40.tools.monitor_terminal import Terminal

    with Terminal(_console(), choice.ascii_only) as terminal:
        changed, drawn, size = True, -REFRESH_S, terminal.size
        while not terminal.ended and not ended():
            changed |= take(inlet, watch, POLL_MS)
            for key in terminal.pressed():
                if key in "qQ\x04":
                    return size
                changed |= press(choice, key, size[1])
            now = time.monotonic()
            wait = REDRAW_S if changed or terminal.fresh else REFRESH_S
            if now - drawn >= wait:
                size = terminal.size
                terminal.draw(compose(watch, now, choice, *size)[0], size)
                changed, drawn = False, now
    return size


def press(choice: Choice, key: str, height: int) -> bool:
    """What a key does to the choice; False when it means nothing."""
    from scout40.tools.monitor_layout import KEYS

    if key in KEYS:
        choice.alone, choice.first, choice.help = KEYS[key], 0, False
    elif key in "0aA":
        choice.alone, choice.first, choice.help = "", 0, False
    elif key in "hH?":
        choice.help = not choice.help
    elif key == " " and choice.alone:
        choice.first += max(1, height - 5)  # two rows, title, head and footer
    else:
        return False
    return True


def _as_lines(inlet: Inlet, watch: Watch, ended: Callable[[], bool]) -> tuple[int, int]:
    from scout40.tools.monitor_terminal import until_signal

    with until_signal() as signalled:
        printed = time.monotonic()
        while not signalled() and not ended():
            take(inlet, watch, POLL_MS)
            now = time.monotonic()
            if now - printed >= REFRESH_S:
                click.echo(plain_line(watch, now))
                sys.stdout.flush()
                printed += REFRESH_S
    return _size(_console())


def _picture(
    path: str | Path, watch: Watch, choice: Choice, size: tuple[int, int],
    lines: Sequence[Text] | None = None,
) -> None:  # fmt: skip
    from scout40.tools.monitor_layout import compose
    from scout40.tools.monitor_svg import write_svg

    if lines is None:
        lines, _ = compose(watch, time.monotonic(), choice, *size)
    write_svg(path, [_clean(line, choice) for line in lines], size[0], "scout40 monitor")


def _clean(line: Text, choice: Choice) -> Text:
    """The line in characters that may be printed."""
    from rich.text import Text

    from scout40.tools.monitor_text import printable

    return Text(printable(line.plain, choice.ascii_only), spans=line.spans, style=line.style)


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False)


def _size(screen: Console) -> tuple[int, int]:
    """Columns and lines of a frame that is printed: COLUMNS and LINES, or the terminal's."""
    if screen.is_terminal:
        return screen.width, max(4, screen.height - 1)  # the prompt needs a line
    width, height = (os.environ.get(name, "") for name in ("COLUMNS", "LINES"))
    return (
        int(width) if width.isdecimal() and int(width) else PLAIN_SIZE[0],
        int(height) if height.isdecimal() and int(height) else PLAIN_SIZE[1],
    )
