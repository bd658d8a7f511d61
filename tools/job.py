"""The offline job as a function: source, menu, final decision, rates, output.

from scout40.tools.job import emulate
result = emulate(["data.raw"], "menu.xml", out="decisions.parquet")
print(result.rates.to_pandas())
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from scout40.emulator.ugt import load_menu
from scout40.emulator.ugt.bits import N_ALGORITHMS, unpack_bits
from scout40.emulator.ugt.decide import CompiledMenu, Decisions
from scout40.emulator.ugt.fdl import Decision, FinalDecision
from scout40.emulator.ugt.masks import (
    default_finor_mask,
    load_bx_mask,
    load_finor_mask,
    load_veto_mask,
)
from scout40.emulator.ugt.model import Menu
from scout40.emulator.ugt.prescaler import Factors
from scout40.emulator.ugt.prescales import load_prescales, no_prescales
from scout40.emulator.ugt.rate_tables import overlap_table, rate_table, totals_table
from scout40.emulator.ugt.rates import RateCounter
from scout40.emulator.ugt.rules import RuleReport, TriggerRules
from scout40.streams.block import ORBIT_BX, Block
from scout40.streams.errors import BadConfig, BadInput
from scout40.streams.sources import expanded, open_source
from scout40.streams.sources.base import Quarantine, Run, Source
from scout40.tools.chain import Chain, with_sums
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
from scout40.tools.show import Progress, Silent, lacking

if TYPE_CHECKING:
    import pyarrow as pa

Inputs: TypeAlias = str | Path | Sequence[str | Path] | Source

TABLES = ("rates", "totals", "overlap")
"""Summary tables, in the result and beside the output."""

COMPILE_SECONDS = 5.0
"""Loading kernels from the cache takes less, compiling them more."""

DEFAULT_BUNCHES = 2340
"""Colliding bunches that rates are stated for when rows are independent crossings."""


@dataclass(frozen=True)
class Settings:
    """What turns initial decisions into accepts.

    prescales, column: a table, CSV or XML, and one of its columns; without them all are 1.
    finor_mask, veto_mask, bx_mask: run-settings XML files.
    bunches: colliding bunches that rates are stated for; None: 3564, thus rates as measured, for
        streams that cover whole orbits, and 2340 for independent crossings.
    """

    prescales: str | None = None
    column: str | None = None
    finor_mask: str | None = None
    veto_mask: str | None = None
    bx_mask: str | None = None
    bunches: int | None = None

    def configuration(self, map_file: str | None = None) -> dict[str, object]:
        """What decides the result, for the lineage: digests of files, never their places."""
        names = ("prescales", "finor_mask", "veto_mask", "bx_mask")
        files: dict[str, str | None] = {name: getattr(self, name) for name in names}
        chosen: dict[str, object] = {"column": self.column}
        for name, path in {**files, "map": map_file}.items():
            if path is not None:
                chosen[name] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        return chosen


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
    chain: what makes the objects, for data that start before the global trigger.
    out: file for blocks and decisions; its ending chooses Arrow or Parquet. Rate, overlap and
        total tables go beside it.
    threads: blocks decided at once; default: all cores.
    stop: asked between blocks; when it asks, output is closed and the receipt says interrupted.

    Raises BadInput or BadConfig when nothing useful can be done; bad packets are only counted.
    """
    chosen = settings or Settings()
    what = menu if isinstance(menu, Menu) else load_menu(menu)
    work = _Work(what, chosen)
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
        lineage = run_lineage(input_files(inputs), what, configuration)
        output = Output(
            out,
            lambda: dataclasses.replace(lineage, tables=stage.sources),
            overwrite=overwrite,
            tables=TABLES,
        )
    try:
        for block, decisions in decided(blocks, work.compiled, threads or default_threads()):
            decision, accepted = work.decide(block, decisions, source.contiguous)
            if output is not None:
                output.write(block, decisions.evaluated, decision, accepted, run.ledger)
            run.ledger["crossings"].out += crossings_of(block)
            told.update(run.ledger["packets"].received, run.ledger["crossings"].out)
        notes = (*compile_note(compiling), *stage.notes)
        return work.finish(source, run, output, taken.status, notes)
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


class _Work:
    """Everything with a state that goes from block to block: prescales, rules, counters."""

    def __init__(self, menu: Menu, settings: Settings) -> None:
        self.menu, self.settings = menu, settings
        self.compiled: CompiledMenu = menu.compile()
        self.factors, self.column, self.notes = _factors(menu, settings)
        finor = settings.finor_mask
        veto, bx = settings.veto_mask, settings.bx_mask
        self._final = FinalDecision(
            self.factors,
            load_finor_mask(finor, menu) if finor else default_finor_mask(menu),
            load_veto_mask(veto, menu) if veto else None,
            load_bx_mask(bx, menu) if bx else None,
        )
        self._rules: TriggerRules | None = None
        self._counter: RateCounter | None = None
        self._not_evaluated: dict[str, str] = {}
        self._recorded: Counter[str] = Counter()
        self._by_index = {a.index: a.name for a in menu.algorithms}

    def decide(
        self, block: Block, decisions: Decisions, contiguous: bool
    ) -> tuple[Decision, npt.NDArray[np.bool_]]:
        """Final decisions of the next block, and accepts after the trigger rules."""
        decision = self._final.decide(decisions.words, block.orbit, block.bx)
        if self._rules is None:
            self._rules = TriggerRules(independent=not contiguous)
        accepted = self._rules.apply(decision.accept, block.orbit, block.bx)
        self._count(block, decisions, decision, accepted if contiguous else None)
        return decision, accepted

    def _count(
        self,
        block: Block,
        decisions: Decisions,
        decision: Decision,
        after_rules: npt.NDArray[np.bool_] | None,
    ) -> None:
        evaluated = unpack_bits(decisions.evaluated)
        if self._counter is None:
            if not evaluated.any():
                raise nothing_to_evaluate(self.menu, decisions.not_evaluated)
            self._counter = RateCounter(evaluated)
        # What some block could not evaluate has no rate.
        self._counter.evaluated &= evaluated
        self._not_evaluated |= decisions.not_evaluated
        self._counter.add(decision, after_rules)
        empty = crossings_of(block) - len(block)  # crossings without a row decided nothing
        self._counter.crossings += empty
        self._counter.ruled += empty if after_rules is not None else 0
        if "recorded" in block.crossing:
            self._recorded.update(recorded_counts(block, self._by_index))

    def finish(
        self,
        source: Source,
        run: Run,
        output: Output | None,
        status: Status,
        notes: tuple[str, ...],
    ) -> Emulation:
        """Tables, closed output, receipt."""
        counter = self._counter or RateCounter(np.zeros(N_ALGORITHMS, bool))
        bunches = self.settings.bunches
        if bunches is None:
            bunches = ORBIT_BX if source.contiguous else DEFAULT_BUNCHES
        tables = {
            "rates": rate_table(counter, self.menu, bunches, self.factors),
            "totals": totals_table(counter, self.menu, bunches),
            "overlap": overlap_table(counter, self.menu),
        }
        rules = self._rules or TriggerRules(independent=not source.contiguous)
        report = rules.report()
        if report.applied:
            run.ledger.add("vetoed_by_trigger_rules", report.vetoed)
            run.ledger.add("dead_bx", report.dead_bx)
            run.ledger.add("elapsed_bx", report.elapsed_bx)
        if output is not None:
            output.close(status, run.ledger, tables)
        receipt = receipt_of(
            "emulate", run, source, status,
            outputs=output.written if output else (), notes=(*self.notes, *notes),
        )  # fmt: skip
        return Emulation(
            menu=self.menu,
            receipt=receipt,
            bunches=bunches,
            counter=counter,
            not_evaluated=dict(self._not_evaluated),
            rules=report,
            recorded=dict(self._recorded),
            column=self.column,
            **tables,
        )


def nothing_to_evaluate(menu: Menu, reasons: Mapping[str, str]) -> BadInput:
    """The error for an input from which no algorithm can be evaluated: the commonest reasons."""
    counts = Counter(item for reason in reasons.values() for item in set(lacking(reason)))
    most = "; ".join(f"{item} ({count} algorithms)" for item, count in counts.most_common(8))
    return BadInput(f"no algorithm of menu {menu.name} can be evaluated from this input: {most}")


def _factors(menu: Menu, settings: Settings) -> tuple[Factors, str | None, tuple[str, ...]]:
    """Prescale factors, the column's name, remarks of the reader."""
    if settings.prescales is None:
        if settings.column is not None:
            raise BadConfig("a prescale column needs a prescale table (--prescales)")
        return no_prescales(menu), None, ()
    table = load_prescales(settings.prescales, menu)
    column = settings.column
    if column is None:
        if len(table.columns) != 1:
            names = ", ".join(table.columns)
            raise BadConfig(f"{settings.prescales}: choose a column (--column): {names}")
        column = table.columns[0]
    factors = table.column(column)
    if column not in table.columns:  # a number counted from 0, as the table just accepted
        column = f"{column} ({table.columns[int(column)]})"
    return factors, column, table.notes


def recorded_counts(block: Block, by_index: dict[int, str]) -> dict[str, int]:
    """Set bits of the input's own decisions by algorithm name."""
    words = np.ascontiguousarray(block.crossing["recorded"], "<u8")
    flags = np.unpackbits(words.view(np.uint8), axis=1, bitorder="little")
    counts = flags.sum(axis=0, dtype=np.int64)
    names = dict(enumerate(block.recorded_names)) if block.recorded_names else by_index
    return {name: int(counts[bit]) for bit, name in names.items()}


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    """Rows as plain values; NaN becomes None."""
    return [
        {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in row.items()
        }
        for row in table.to_pylist()
    ]
