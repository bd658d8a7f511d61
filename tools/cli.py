"""The program ``scout40``: a group whose commands are imported only when they are called.

``scout40 --help`` must answer at once, so nothing here imports numpy, numba or rich.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import click

COMMANDS: dict[str, str] = {
    "demo": "Run the packaged sample through unpack, menu and rates.",
    "emulate": "Trigger decisions, rates and overlaps of recorded data.",
    "compare": "Recorded decisions against ours, algorithm by algorithm.",
    "unpack": "Any input as Arrow or Parquet tables, without a menu.",
    "feed": "Send raw files or the synthetic stream, live, to consumers.",
    "live": "Decide what a feed sends, while it arrives.",
    "collect": "Add up several consumers of one feed.",
    "monitor": "Watch a live run: healthy? losing data? how far behind?",
    "doctor": "Check this installation.",
    "keys": "Make keys for feeds and consumers on other machines.",
    "luts": "Show, compare and draw look-up tables.",
    "networks": "Network files for conditions on scores: convert.",
    "simulate": "Make samples of muons and pairs for the networks (needs pythia8mc).",
    "bench": "Measure speed beside NumPy and memcpy on this machine.",
}
"""Name of each command -> its line in the help; module ``scout40.tools.<name>`` has ``command``."""

EXIT_CODES = """\b
Exit codes:
  0    done; also when stopped by Ctrl-C or SIGTERM,
       which leaves output that is whole up to there
  1    compare: a difference; doctor: a fault
  2    bad input, configuration or usage
  3    the ledger does not balance
  70   a fault of scout40 itself, with a traceback
  130  aborted: Ctrl-C before the run began, or a second
       one; only temporary files are left
"""


class LazyGroup(click.Group):
    """A click group that knows its commands by name and imports one module per call."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"scout40.tools.{cmd_name}")
        found: click.Command = module.command
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            import difflib

            near = difflib.get_close_matches(name, COMMANDS, 1)
            hint = f", did you mean {near[0]}?" if near else f"; commands: {', '.join(COMMANDS)}"
            ctx.fail(f"no command {name}{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"scout40 {version('scout40')}")
        ctx.exit()


@click.group(
    cls=LazyGroup, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_version,
    help="Show the version and exit.",
)  # fmt: skip
def group() -> None:
    """Level-1 trigger data of CMS: unpacked, emulated bit by bit, delivered as columns.

    Every command takes --help. Begin with: scout40 demo
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the program; ends the process with one of the exit codes of the help."""
    try:
        group.main(args=None if arguments is None else list(arguments), prog_name="scout40")
    except Exception:
        # Scout40Error never comes here: commands report it themselves (see command.py).
        import traceback

        traceback.print_exc()
        click.echo("scout40: this is a fault of scout40; please report the text above", err=True)
        sys.exit(70)
