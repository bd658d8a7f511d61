"""What all commands share: error reports, exit codes, options, and a clean stop by signal."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

import click

from scout40.streams.errors import Scout40Error

if TYPE_CHECKING:
    from scout40.tools.chain import Chain
    from scout40.tools.receipt import Receipt

F = TypeVar("F", bound=Callable[..., Any])

EXIT_DIFFERENT = 1
EXIT_BAD_INPUT = 2
EXIT_UNBALANCED = 3
EXIT_ABORTED = 130


class Task(click.Command):
    """A command that reports Scout40Error as one red message and exits with code 2.

    With ``--json`` standard output also gets one object: ``{"error": "..."}``.
    """

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Scout40Error as error:
            message = str(error)
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                raise
            message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        except KeyboardInterrupt:  # while modules load, before Stop listens: nothing was begun
            click.echo(f"scout40 {self.name}: aborted before the run began", err=True)
            ctx.exit(EXIT_ABORTED)
        if ctx.params.get("json_output"):
            print_json({"error": message})
        click.secho(f"scout40 {self.name}: {message}", fg="red", err=True)
        ctx.exit(EXIT_BAD_INPUT)


# Arguments and options that several commands have.
json_option = click.option(
    "--json", "json_output", is_flag=True, help="Print one JSON value and nothing else."
)
inputs_argument = click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
FILE = click.Path(dir_okay=False)
menu_option = click.option("--menu", "-m", type=FILE, help="Menu: XML, JSON extract or TOML.")
map_option = click.option(
    "--map", "map_file", type=FILE, help="TOML map of branches for plain ROOT trees."
)
quarantine_option = click.option(
    "--quarantine", type=click.Path(file_okay=False), help="Folder that keeps bad packets."
)
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace existing output.")
threads_option = click.option(
    "--threads", "-j", type=click.IntRange(1), help="Blocks at once; default: all cores."
)

CHAIN_STARTS = ("objects", "links", "towers")


def chain_options(function: F) -> F:
    """``--from`` and what goes with it, passed on as for :func:`chain_of`."""
    for option in reversed(
        (
            click.option(
                "--from", "start", type=click.Choice(CHAIN_STARTS), default="objects",
                show_default=True, help="Where the data start: uGMT links, calorimeter towers.",
            ),
            click.option(
                "--luts", type=click.Path(file_okay=False),
                help="Folder of official look-up tables; those it lacks are computed.",
            ),
            click.option(
                "--firmware", help="uGMT firmware: 2015, 2016, 2017-start, 2017, 2022, 2024, "
                "2024-addresses; default from the input, or 2024.",
            ),
            click.option(
                "--calo-config", help="Calorimeter layer 2: phi-ring, 2024 (default), "
                "chunky-donut, no-subtraction; compare takes those that FILE has.",
            ),
        )
    ):  # fmt: skip
        function = option(function)
    return function


def chain_of(options: dict[str, Any]) -> Chain:
    """The chain that the options ask for; takes them out of ``options``."""
    from scout40.tools.chain import Chain

    names = ("start", "firmware", "luts", "calo_config")
    return Chain(**{name: options.pop(name) for name in names})


def print_json(value: object) -> None:
    """One JSON value on standard output; NaN and infinity never appear."""
    click.echo(json.dumps(value, allow_nan=False))


class Result(Protocol):
    """What a command found, with its receipt."""

    @property
    def receipt(self) -> Receipt: ...

    def as_dict(self) -> dict[str, Any]: ...


R = TypeVar("R", bound=Result)


def finish(result: R, json_output: bool, show: Callable[[R], None], code: int = 0) -> NoReturn:
    """Print the result and exit: with the code of its receipt if that is not 0, else ``code``."""
    if json_output:
        print_json(result.as_dict())
    else:
        show(result)
    raise SystemExit(result.receipt.exit_code or code)


class Stop:
    """Asks the work to end at the next block when SIGINT or SIGTERM comes; the second aborts.

    A context manager for the main thread. Work polls ``requested`` between blocks.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            abort()
        self.requested = True
        # os.write: a handler may interrupt a print that holds the stream's lock.
        os.write(2, b"\nstopping after this block; once more to abort\n")


def abort() -> NoReturn:
    """End at once: no clean-up, so only files with temporary names are left."""
    if sys.stderr.isatty():
        os.write(2, b"\x1b[?25h")  # a progress bar hides the cursor
    os._exit(EXIT_ABORTED)
