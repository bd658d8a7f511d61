"""The offline job as a function: source, menu, final decision, rates, output.

from scout40.tools.job import emulate
result = emulate(["data.raw"], "menu.xml", out="decisions.parquet")
print(result.rates.to_pandas())
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from scout40.emulator.ugt import load_menu
from scout40.emulator.ugt.model import Menu
from scout40.emulator.ugt.rates import RateCounter
from scout40.emulator.ugt.rules import RuleReport
from scout40.streams.block import ORBIT_BX
from scout40.streams.sources import expanded, open_source
from scout40.streams.sources.base import Quarantine, Run, Source
from scout40.tools.chain import Chain, with_sums
from scout40.tools.deciding import TABLES, Settings, Work
from scout40.tools.networks import compiled_menu, network_notes, network_sources
from scout40.tools.output import Output, run_lineage
from scout40.tools.pipeline import (
    Asked,
    Filler,
    Never,
    Taken,
    crossings_of,
    decided,
    default_threads,
    prepare,
    receipt_of,
)
from scout40.tools.receipt import Receipt, Status
from scout40.tools.show import Progress, Silent

if TYPE_CHECKING:
    import pyarrow as pa

Inputs: TypeAlias = str | Path | Sequence[str | Path] | Source

COMPILE_SECONDS = 5.0
"""Loading kernels from the cache takes less, compiling them more."""

DEFAULT_BUNCHES = 2340
"""Colliding bunches that rates are stated for when rows are independent crossings."""


@dataclass
class Emulation:
    """What a run found. Tables are None when there was no crossing."""

    menu: Menu
    receipt: Receipt
    bunches: int
    counter: RateCounter
    not_evaluated: dict[str, str]
    rates: pa.Table
    totals: pa.Table
    overlap: pa.Table
    rules: RuleReport
    recorded: dict[str, int] = field(default_factory=dict)
    column: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        report = self.rules
        return {
            **self.receipt.as_dict(),
            "menu": {
                "name": self.menu.name,
                "digest": self.menu.digest,
                "algorithms": len(self.menu.algorithms),
            },
            "prescale_column": self.column,
            "bunches": self.bunches,
            "crossings": self.counter.crossings,
            "rates": _rows(self.rates),
            "totals": _rows(self.totals),
            "trigger_rules": {
                "applied": report.applied,
                "requests": report.requests,
                "accepted": report.accepted,
                "vetoed": report.vetoed,
                "dead_fraction": report.dead_fraction,
            },
            "recorded": self.recorded,
            "not_evaluated": self.not_evaluated,
        }


def emulate(
    inputs: Inputs,
    menu: str | Path | Menu,
    settings: Settings | None = None,
    *,
    networks: str | Path | None = None,
    chain: Chain | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    map_file: str | None = None,
    quarantine: str | Path | None = None,
    threads: int | None = None,
    stop: Asked | None = None,
    progress: Progress | None = None,
) -> Emulation:
    """Decide every crossing of the inputs, count rates, write decisions and objects.

    inputs: files, folders, globs, URLs, or an open source.
    networks: folder of network files, for conditions on their scores.
    chain: what makes the objects, for data that start before the global trigger.
    out: file for blocks and decisions; its ending chooses Arrow or Parquet. Rate, overlap and
        total tables go beside it.
    threads: blocks decided at once; default: all cores.
    stop: asked between blocks; when it asks, output is closed and the receipt says interrupted.

    Raises BadInput or BadConfig when nothing useful can be done; bad packets are only counted.
    """
    chosen = settings or Settings()
    what = menu if isinstance(menu, Menu) else load_menu(menu)
    work = Work(what, chosen, compiled_menu(what, networks))
    begin = chain or Chain()
    inputs = completed(inputs, begin)
    source = open_inputs(inputs, map_file)
    compiling = prepare(work.compiled)
    run = Run(quarantine=Quarantine(Path(quarantine) if quarantine else None))
    asked, told = stop or Never(), progress or Silent()
    told.set_total(source.total)
    taken = Taken(source, run, asked)
    stage = begin.stage(source)
    blocks = Filler(work.compiled)(stage(taken))
    output = None
    if out is not None:
        configuration = chosen.configuration(map_file) | begin.configuration()
        networks_used = network_sources(work.compiled)
        lineage = run_lineage(input_files(inputs), what, configuration)
        output = Output(
            out,
            lambda: dataclasses.replace(lineage, tables=(*networks_used, *stage.sources)),
            overwrite=overwrite,
            tables=TABLES,
        )
    try:
        for block, decisions in decided(blocks, work.compiled, threads or default_threads()):
            decision, accepted = work.decide(block, decisions, source.contiguous)
            if output is not None:
                output.write(block, decisions.evaluated, decision.rows(), accepted, run.ledger)
            run.ledger["crossings"].out += crossings_of(block)
            told.update(run.ledger["packets"].received, run.ledger["crossings"].out)
        notes = (*compile_note(compiling), *network_notes(work.compiled), *stage.notes)
        return _finish(work, source, run, output, taken.status, notes)
    finally:
        if output is not None:
            output.abort()  # of what was not published


def input_files(inputs: Inputs) -> list[str]:
    """Names for the lineage: of files, also where a folder or a glob was given."""
    names = input_names(inputs)
    return expanded(names) if isinstance(inputs, (str, Path, Sequence)) else names


def input_names(inputs: Inputs) -> list[str]:
    """The inputs as text."""
    if isinstance(inputs, (str, Path)):
        return [str(inputs)]
    if isinstance(inputs, Sequence):
        return [str(path) for path in inputs]
    return [inputs.name]


def completed(inputs: Inputs, chain: Chain) -> Inputs:
    """Paths with the files beside them that belong to the start of the chain."""
    if chain.start != "links" or not isinstance(inputs, (str, Path, Sequence)):
        return inputs
    return with_sums(input_names(inputs))


def open_inputs(inputs: Inputs, map_file: str | None = None) -> Source:
    """An open source as it is; else what ``open_source`` makes of the paths."""
    if not isinstance(inputs, (str, Path, Sequence)):
        return inputs
    return open_source(input_names(inputs), map_file=map_file)


def compile_note(spent: float) -> tuple[str, ...]:
    """A remark when kernels had to be compiled."""
    if spent < COMPILE_SECONDS:
        return ()
    return (f"kernels compiled in {spent:.0f} s before that, once for this version",)


def _finish(
    work: Work,
    source: Source,
    run: Run,
    output: Output | None,
    status: Status,
    notes: tuple[str, ...],
) -> Emulation:
    """Tables, closed output, receipt."""
    bunches = work.settings.bunches
    if bunches is None:
        bunches = ORBIT_BX if source.contiguous else DEFAULT_BUNCHES
    tables = work.tables(bunches)
    report = work.rules(source.contiguous).report()
    if report.applied:
        run.ledger.add("vetoed_by_trigger_rules", report.vetoed)
        run.ledger.add("dead_bx", report.dead_bx)
        run.ledger.add("elapsed_bx", report.elapsed_bx)
    if output is not None:
        output.close(status, run.ledger, tables)
    receipt = receipt_of(
        "emulate", run, source, status,
        outputs=output.written if output else (), notes=(*work.notes, *notes),
    )  # fmt: skip
    return Emulation(
        menu=work.menu,
        receipt=receipt,
        bunches=bunches,
        counter=work.counter,
        not_evaluated=work.not_evaluated,
        rules=report,
        recorded=work.recorded,
        column=work.column,
        **tables,
    )


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    """Rows as plain values; NaN becomes None."""
    return [
        {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in row.items()
        }
        for row in table.to_pylist()
    ]
