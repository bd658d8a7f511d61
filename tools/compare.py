"""``scout40 compare``: decisions recorded in the data against ours."""

from __future__ import annotations

import click

from scout40.tools.command import (
    EXIT_DIFFERENT,
    FILE,
    Stop,
    Task,
    chain_of,
    chain_options,
    finish,
    inputs_argument,
    json_option,
    map_option,
    menu_option,
    threads_option,
)
from scout40.tools.networks import networks_option


@click.command(cls=Task, name="compare")
@inputs_argument
@menu_option
@networks_option
@chain_options
@click.option(
    "--expected", "-e", multiple=True, type=FILE,
    help="Parquet with expected muons or jets; for --from links or towers.",
)  # fmt: skip
@map_option
@threads_option
@click.option(
    "--first", type=click.IntRange(0), default=3, show_default=True,
    help="Differences to print in full.",
)  # fmt: skip
@json_option
def command(
    inputs: tuple[str, ...],
    menu: str | None,
    networks: str | None,
    expected: tuple[str, ...],
    map_file: str | None,
    threads: int | None,
    first: int,
    json_output: bool,
    **start: str | None,
) -> None:
    """Compare what INPUT or a file says with what scout40 makes of INPUT.

    With --menu: decision bits recorded in INPUT (a uGT test vector, or L1_* branches of NanoAOD,
    matched by name) with those that the menu gives. Algorithms that cannot be checked are named
    with the reason and never count as equal.

    With --from links or towers and --expected: muons or jets in files with those that the
    emulated trigger makes of INPUT, any step, row by row.

    Exit code 1 when anything differs.
    """
    if expected:
        if menu is not None:
            raise click.UsageError("--menu and --expected are two comparisons: choose one")
        if networks is not None:
            raise click.UsageError("--networks needs a menu (--menu)")
        _steps(inputs, expected, start, map_file, first, json_output)
    elif menu is None:
        raise click.UsageError("choose what to compare with: --menu FILE or --expected FILE")
    else:
        _decisions(inputs, menu, networks, start, map_file, threads, first, json_output)


def _steps(
    inputs: tuple[str, ...],
    expected: tuple[str, ...],
    start: dict[str, str | None],
    map_file: str | None,
    first: int,
    json_output: bool,
) -> None:
    from scout40.tools.compare_steps import compare_steps
    from scout40.tools.show import Live
    from scout40.tools.show_steps import steps

    with Stop() as stop, Live("compare") as progress:
        result = compare_steps(
            inputs,
            expected,
            chain_of(start),
            map_file=map_file,
            first=first,
            stop=stop,
            progress=progress,
        )
    finish(result, json_output, steps, EXIT_DIFFERENT if result.different else 0)


def _decisions(
    inputs: tuple[str, ...],
    menu: str,
    networks: str | None,
    start: dict[str, str | None],
    map_file: str | None,
    threads: int | None,
    first: int,
    json_output: bool,
) -> None:
    from scout40.tools.comparison import compare
    from scout40.tools.pipeline import default_threads
    from scout40.tools.show import Live
    from scout40.tools.show_comparison import comparison

    with Stop() as stop, Live("compare") as progress:
        result = compare(
            inputs,
            menu,
            networks=networks,
            chain=chain_of(start),
            map_file=map_file,
            threads=threads or default_threads(),
            stop=stop,
            progress=progress,
        )
    code = EXIT_DIFFERENT if result.different else 0
    finish(result, json_output, lambda found: comparison(found, first), code)
