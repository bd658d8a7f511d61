"""``scout40 compare``: decisions recorded in the data against ours."""

from __future__ import annotations

import click

from scout40.tools.command import (
    EXIT_DIFFERENT,
    Stop,
    Task,
    inputs_argument,
    json_option,
    print_json,
)

_FILE = click.Path(dir_okay=False)


@click.command(cls=Task, name="compare")
@inputs_argument
@click.option("--menu", "-m", required=True, type=_FILE, help="Menu: XML, JSON extract or TOML.")
@click.option("--map", "map_file", type=_FILE, help="TOML map of branches for plain ROOT trees.")
@click.option("--threads", "-j", type=click.IntRange(1), help="Blocks at once; default: all cores.")
@click.option(
    "--first", type=click.IntRange(0), default=3, show_default=True,
    help="Differences to print in full.",
)  # fmt: skip
@json_option
def command(
    inputs: tuple[str, ...],
    menu: str,
    map_file: str | None,
    threads: int | None,
    first: int,
    json_output: bool,
) -> None:
    """Compare decision bits recorded in INPUT with those that the menu gives.

    INPUT is a uGT test vector or anything else with recorded bits, such as L1_* branches of
    NanoAOD, which are matched by name. Exit code 1 when any evaluated algorithm differs anywhere.
    Algorithms that cannot be checked are named with the reason and never count as equal.
    """
    from scout40.tools.comparison import compare
    from scout40.tools.pipeline import default_threads
    from scout40.tools.show import Live
    from scout40.tools.show_comparison import comparison

    with Stop() as stop, Live("compare") as progress:
        result = compare(
            inputs,
            menu,
            map_file=map_file,
            threads=threads or default_threads(),
            stop=stop,
            progress=progress,
        )
    if json_output:
        print_json(result.as_dict())
    else:
        comparison(result, first)
    if result.receipt.exit_code:
        raise SystemExit(result.receipt.exit_code)
    raise SystemExit(EXIT_DIFFERENT if result.different else 0)
