"""``scout40 emulate``: decisions, rates and overlaps of recorded data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from scout40.tools.command import Stop, Task, inputs_argument, json_option, print_json

if TYPE_CHECKING:
    from scout40.tools.job import Settings

_FILE = click.Path(dir_okay=False)


@click.command(cls=Task, name="emulate")
@inputs_argument
@click.option("--menu", "-m", required=True, type=_FILE, help="Menu: XML, JSON extract or TOML.")
@click.option("--prescales", "-p", type=_FILE, help="Prescale table, CSV or XML.")
@click.option("--column", "-c", help="Column of the prescale table, by name or number.")
@click.option("--finor-mask", type=_FILE, help="Run-settings XML: algorithms that set FinOR.")
@click.option("--veto-mask", type=_FILE, help="Run-settings XML: algorithms that veto.")
@click.option("--bx-mask", type=_FILE, help="Run-settings XML: algorithms by crossing.")
@click.option(
    "--out", "-o", type=click.Path(), help="Decisions and objects: FILE.parquet, .arrow, .arrows."
)
@click.option("--overwrite", is_flag=True, help="Replace existing output.")
@click.option(
    "--bunches", "-b", type=click.IntRange(1, 3564),
    help="Colliding bunches that rates are stated for. Default: as measured (3564 crossings an "
    "orbit) for whole orbits, 2340 for independent crossings.",
)  # fmt: skip
@click.option("--map", "map_file", type=_FILE, help="TOML map of branches for plain ROOT trees.")
@click.option(
    "--quarantine", type=click.Path(file_okay=False), help="Folder that keeps bad packets."
)
@click.option("--threads", "-j", type=click.IntRange(1), help="Blocks at once; default: all cores.")
@click.option("--top", type=click.IntRange(0), help="Algorithms to print; default: what fits.")
@json_option
def command(
    inputs: tuple[str, ...],
    menu: str,
    out: str | None,
    overwrite: bool,
    map_file: str | None,
    quarantine: str | None,
    threads: int | None,
    top: int | None,
    json_output: bool,
    **choices: str | int | None,
) -> None:
    """Trigger decisions of every crossing of INPUT, with rates and overlaps.

    INPUT is raw scouting data, ROOT, uGT test vectors, phase-2 packets, or Arrow and Parquet
    written by scout40: files, folders, globs or URLs. What it is, is found from the content.
    """
    from scout40.tools.job import emulate
    from scout40.tools.show import Live
    from scout40.tools.show_rates import emulation

    with Stop() as stop, Live("emulate") as progress:
        result = emulate(
            inputs,
            menu,
            _settings(choices),
            out=out,
            overwrite=overwrite,
            map_file=map_file,
            quarantine=quarantine,
            threads=threads,
            stop=stop,
            progress=progress,
        )
    if json_output:
        print_json(result.as_dict())
    else:
        emulation(result, top)
    raise SystemExit(result.receipt.exit_code)


def _settings(choices: dict[str, str | int | None]) -> Settings:
    from scout40.tools.job import Settings

    bunches = choices.pop("bunches")
    texts = {name: None if value is None else str(value) for name, value in choices.items()}
    return Settings(**texts, bunches=None if bunches is None else int(bunches))
