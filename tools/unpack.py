"""``scout40 unpack``: any input as Arrow or Parquet tables, without a menu."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scout40.tools.command import (
    Stop,
    Task,
    finish,
    inputs_argument,
    json_option,
    map_option,
    overwrite_option,
    quarantine_option,
)

if TYPE_CHECKING:
    from scout40.tools.chain import Chain
    from scout40.tools.job import Inputs
    from scout40.tools.pipeline import Asked
    from scout40.tools.receipt import Receipt
    from scout40.tools.show import Progress


@click.command(cls=Task, name="unpack")
@inputs_argument
@click.option("--out", "-o", type=click.Path(), help="FILE.parquet, FILE.arrow or FILE.arrows.")
@click.option("--tables", is_flag=True, help="A folder with one flat file per object type.")
@overwrite_option
@map_option
@quarantine_option
@json_option
def command(
    inputs: tuple[str, ...],
    out: str | None,
    tables: bool,
    overwrite: bool,
    map_file: str | None,
    quarantine: str | None,
    json_output: bool,
) -> None:
    """Read INPUT of any kind, count what is in it, and write it as Arrow or Parquet.

    Hardware integers keep their names (hw_pt); physical values in float32 stand beside them.
    """
    from scout40.tools.show import Live

    with Stop() as stop, Live("unpack") as progress:
        result = unpack(
            inputs,
            out=out,
            tables=tables,
            overwrite=overwrite,
            map_file=map_file,
            quarantine=quarantine,
            stop=stop,
            progress=progress,
        )
    finish(result, json_output, show)


@dataclass
class Unpacked:
    """What was read.

    objects: objects per table. columns: their columns. rows: crossings with a row.
    """

    receipt: Receipt
    rows: int
    objects: dict[str, int]
    columns: dict[str, list[str]]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        tables = {
            name: {"objects": count, "columns": self.columns[name]}
            for name, count in self.objects.items()
        }
        return {**self.receipt.as_dict(), "rows": self.rows, "tables": tables}


def unpack(
    inputs: Inputs,
    *,
    chain: Chain | None = None,
    out: str | Path | None = None,
    tables: bool = False,
    overwrite: bool = False,
    map_file: str | None = None,
    quarantine: str | Path | None = None,
    stop: Asked | None = None,
    progress: Progress | None = None,
) -> Unpacked:
    """Read all blocks, count objects, write them to ``out`` when given.

    chain: adds the objects that it makes of links or towers; the command is ``emulate`` then.
    """
    from scout40.streams.lineage import lineage_of
    from scout40.streams.sinks.arrow import ArrowSink
    from scout40.streams.sources.base import Quarantine, Run
    from scout40.tools.job import completed, input_files, open_inputs
    from scout40.tools.pipeline import Never, Taken, crossings_of, receipt_of

    inputs = completed(inputs, chain) if chain is not None else inputs
    source = open_inputs(inputs, map_file)
    run = Run(quarantine=Quarantine(Path(quarantine) if quarantine else None))
    taken = Taken(source, run, stop or Never())
    stage = chain.stage(source) if chain is not None else None
    if progress is not None:
        progress.set_total(source.total)
    sink = None
    if out is not None:
        configuration = chain.configuration() if chain is not None else None
        lineage = lineage_of(input_files(inputs), configuration=configuration)
        sink = ArrowSink(
            out,
            layout="tables" if tables else "nested",
            lineage=lambda: replace(lineage, tables=stage.sources) if stage else lineage,
            overwrite=overwrite,
            physical=True,
        )
    objects: Counter[str] = Counter()
    columns: dict[str, list[str]] = {}
    try:
        for block in stage(taken) if stage is not None else taken:
            if sink is not None:
                sink.write(block)
            for name, table in block.tables.items():
                objects[name] += len(table)
                columns.setdefault(name, list(table.columns))
            run.ledger["crossings"].out += crossings_of(block)
            if progress is not None:
                progress.update(run.ledger["packets"].received, run.ledger["crossings"].out)
        if sink is not None:
            sink.close(taken.status, run.ledger)
    finally:
        if sink is not None:
            sink.abort()  # of what was not published
    receipt = receipt_of(
        "unpack" if stage is None else "emulate", run, source, taken.status,
        outputs=(str(out),) if out is not None else (),
        notes=stage.notes if stage is not None else (),
    )  # fmt: skip
    return Unpacked(receipt, run.ledger.facts.get("rows_read", 0), dict(objects), columns)


def show(result: Unpacked) -> None:
    from scout40.tools.show import Grid, console, number, receipt

    screen = console()
    heads = (("table", "left"), ("objects", "right"), ("per row", "right"), ("columns", "left"))
    grid = Grid(heads, wrap_last=True)
    for name, count in result.objects.items():
        share = f"{count / result.rows:.3g}" if result.rows else "-"
        grid.add(name, number(count), share, " ".join(result.columns[name]))
    screen.print(grid.table(screen.width))
    receipt(screen, result.receipt)
