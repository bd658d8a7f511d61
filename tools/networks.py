"""``scout40 networks``: files of networks that conditions of a menu need; and ``--networks``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from scout40.tools.command import Task, json_option, overwrite_option, print_json

if TYPE_CHECKING:
    from scout40.emulator.ugt.decide import CompiledMenu
    from scout40.emulator.ugt.model import Menu

networks_option = click.option(
    "--networks", type=click.Path(file_okay=False),
    help="Folder of network files that conditions of the menu name (AXO).",
)  # fmt: skip


def compiled_menu(menu: Menu, networks: str | Path | None) -> CompiledMenu:
    """The menu, with the networks of a folder as plug-ins if there is one."""
    if networks is None:
        return menu.compile()
    from scout40.emulator.nn.plugins import load_plugins

    return menu.compile(load_plugins(menu, networks))


def network_sources(compiled: CompiledMenu) -> tuple[tuple[str, str], ...]:
    """(name, ``model_id``) of each network, for the lineage."""
    if not compiled.plugins:
        return ()
    from scout40.emulator.nn.plugins import Scores

    held = [plugin for plugin in compiled.plugins.values() if isinstance(plugin, Scores)]
    return tuple((f"network {name}", made) for one in held for name, made in one.models.items())


def network_notes(compiled: CompiledMenu) -> tuple[str, ...]:
    """The same in words, for the receipt."""
    return tuple(f"{name}: {made}" for name, made in network_sources(compiled))


@click.group(name="networks")
def command() -> None:
    """Network files for conditions on scores, as --networks FOLDER takes them."""


@click.command(cls=Task, name="networks convert")
@click.argument("source", type=click.Path(file_okay=False))
@click.argument("folder", type=click.Path(file_okay=False))
@click.option(
    "--variant", type=click.Choice(("vectors", "firmware")), default="vectors",
    show_default=True,
    help="vectors: as the test vectors of 2024 (half GeV dropped, muon phi at the station); "
    "firmware: half GeV kept, muon phi at the vertex.",
)  # fmt: skip
@overwrite_option
@json_option
def convert(source: str, folder: str, variant: str, overwrite: bool, json_output: bool) -> None:
    """Parameters of AXOL1TL version 4, v4_params.npz in SOURCE, as a network file in FOLDER."""
    from scout40.emulator.nn import save_network
    from scout40.emulator.nn.axol1tl import MODEL, converted
    from scout40.streams.errors import BadConfig

    network = converted(source, "firmware" if variant == "firmware" else "vectors")
    place = Path(folder)
    files = [place / f"{MODEL}{suffix}" for suffix in (".json", ".npz")]
    for file in files:
        if file.exists() and not overwrite:
            raise BadConfig(f"{file}: exists already (--overwrite)")
    place.mkdir(parents=True, exist_ok=True)
    save_network(network, files[0])
    if json_output:
        names = [str(file) for file in files]
        print_json({"files": names, "model": MODEL, "model_id": network.model_id})
        return
    click.echo(f"{files[0]}: network {network.name}, model {MODEL}, {network.model_id}")


command.add_command(convert, "convert")
