"""``scout40 emulate``: decisions, rates and overlaps of recorded data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from scout40.tools.command import (
    FILE,
    Stop,
    Task,
    chain_of,
    chain_options,
    finish,
    inputs_argument,
    json_option,
    map_option,
    overwrite_option,
    quarantine_option,
    threads_option,
)
from scout40.tools.networks import networks_option

if TYPE_CHECKING:
    from scout40.tools.chain import Chain
    from scout40.tools.deciding import Settings


@click.command(cls=Task, name="emulate")
@inputs_argument
@click.option(
    "--menu", "-m", type=FILE,
    help="Menu: XML, JSON extract or TOML. Without it --from links or towers ends at the objects.",
)  # fmt: skip
@networks_option
@chain_options
@click.option("--prescales", "-p", type=FILE, help="Prescale table, CSV or XML.")
@click.option("--column", "-c", help="Column of the prescale table, by name or number.")
@click.option("--finor-mask", type=FILE, help="Run-settings XML: algorithms that set FinOR.")
@click.option("--veto-mask", type=FILE, help="Run-settings XML: algorithms that veto.")
@click.option("--bx-mask", type=FILE, help="Run-settings XML: algorithms by crossing.")
@click.option(
    "--out", "-o", type=click.Path(), help="Decisions and objects: FILE.parquet, .arrow, .arrows."
)
@overwrite_option
@click.option(
    "--bunches", "-b", type=click.IntRange(1, 3564),
    help="Colliding bunches that rates are stated for. Default: as measured (3564 crossings an "
    "orbit) for whole orbits, 2340 for independent crossings.",
)  # fmt: skip
@map_option
@quarantine_option
@threads_option
@click.option("--top", type=click.IntRange(0), help="Algorithms to print; default: what fits.")
@json_option
def command(
    inputs: tuple[str, ...],
    menu: str | None,
    networks: str | None,
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

    With --from links, INPUT holds the muons of the track finders (tables, pattern files, test
    benches), and the global muon trigger is emulated first. With --from towers, it holds
    calorimeter towers, and calorimeter layer 2 is. Without --menu the emulated objects are the
    result: --out FILE, or a FOLDER with one table per object type.
    """
    chain = chain_of(choices)
    if menu is None:
        unused = {**choices, "networks": networks, "threads": threads, "top": top}
        _objects(inputs, chain, out, overwrite, map_file, quarantine, json_output, unused)
    from scout40.tools.job import emulate
    from scout40.tools.show import Live
    from scout40.tools.show_rates import emulation

    with Stop() as stop, Live("emulate") as progress:
        result = emulate(
            inputs,
            menu,
            _settings(choices),
            networks=networks,
            chain=chain,
            out=out,
            overwrite=overwrite,
            map_file=map_file,
            quarantine=quarantine,
            threads=threads,
            stop=stop,
            progress=progress,
        )
    finish(result, json_output, lambda found: emulation(found, top))


def _objects(
    inputs: tuple[str, ...],
    chain: Chain,
    out: str | None,
    overwrite: bool,
    map_file: str | None,
    quarantine: str | None,
    json_output: bool,
    unused: Mapping[str, object],
) -> NoReturn:
    """The run without a menu; options that would do nothing then are refused."""
    from scout40.tools.show import Live
    from scout40.tools.unpack import show, unpack

    given = [f"--{name.replace('_', '-')}" for name, value in unused.items() if value is not None]
    if chain.start == "objects" or given:
        raise click.UsageError(f"{', '.join(given) or '--from objects'} needs a menu (--menu)")
    with Stop() as stop, Live("emulate") as progress:
        result = unpack(
            inputs,
            chain=chain,
            out=out,
            tables=out is not None and not Path(out).suffix,
            overwrite=overwrite,
            map_file=map_file,
            quarantine=quarantine,
            stop=stop,
            progress=progress,
        )
    finish(result, json_output, show)


def _settings(choices: dict[str, str | int | None]) -> Settings:
    from scout40.tools.deciding import Settings

    bunches = choices.pop("bunches")
    texts = {name: None if value is None else str(value) for name, value in choices.items()}
    return Settings(**texts, bunches=None if bunches is None else int(bunches))
