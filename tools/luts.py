"""``scout40 luts``: print, compare and draw look-up tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from scout40.tools.command import EXIT_DIFFERENT, Task, json_option, print_json

_PICTURE = click.Path(dir_okay=False)


def _firmware_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--firmware", default="2024", show_default=True,
        help="uGMT firmware whose tables are computed.",
    )(function)  # fmt: skip


def _picture_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--picture", type=_PICTURE, help="Draw them in this file (.png, .svg or .pdf)."
    )(function)


@click.group(name="luts")
def command() -> None:
    """Look-up tables: what is in them, and where two of them differ.

    Reads the official .txt, .lut, .coe and .mif files, and knows the tables that scout40 computes
    for the global muon trigger by the official names: SortRank, BPhiExtrapolation, ...
    """


@click.command(cls=Task, name="luts show")
@click.argument("names", nargs=-1, metavar="[FILE|FOLDER|NAME]...")
@_firmware_option
@_picture_option
@json_option
def show(names: tuple[str, ...], firmware: str, picture: str | None, json_output: bool) -> None:
    """Summary of tables: width, address, values, digest.

    FILE and FOLDER are table files, NAME is a computed table of the global muon trigger. Without
    any, all computed tables.
    """
    from scout40.tools.lut_tables import gather

    tables = gather(names, firmware)
    if picture is not None:
        from scout40.tools.lut_pictures import draw_tables

        draw_tables(tables, picture)
    if json_output:
        print_json({"tables": [table.as_dict() for table in tables], "picture": picture})
        return
    from scout40.tools.show_luts import show_tables

    show_tables(tables, picture)


@click.command(cls=Task, name="luts diff")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@_firmware_option
@click.option(
    "--first", "rows", type=click.IntRange(0), default=5, show_default=True,
    help="Differing entries to print of each table.",
)  # fmt: skip
@_picture_option
@json_option
def diff(
    first: str, second: str, firmware: str, rows: int, picture: str | None, json_output: bool
) -> None:
    """Compare tables A and B, entry by entry.

    Each is a file, a folder or the word computed. Files are compared whatever their names. Tables
    of a folder are compared with those of the same name in the other folder, or with the computed
    ones that a firmware uses in their place. Exit code 1 when anything differs.
    """
    from scout40.tools.lut_tables import compare

    result = compare(first, second, firmware)
    if picture is not None:
        from scout40.tools.lut_pictures import draw_differences

        draw_differences(result, picture)
    if json_output:
        print_json({**result.as_dict(rows), "picture": picture})
    else:
        from scout40.tools.show_luts import show_differences

        show_differences(result, rows, picture)
    raise SystemExit(EXIT_DIFFERENT if result.different else 0)


# Messages of errors name the command in full; on the command line the words are apart.
command.add_command(show, "show")
command.add_command(diff, "diff")
