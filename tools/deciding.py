"""What turns the initial decisions of a menu into accepts and rates, block after block."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from scout40.emulator.ugt.bits import N_ALGORITHMS, unpack_bits
from scout40.emulator.ugt.decide import CompiledMenu, Decisions
from scout40.emulator.ugt.fdl import CodedDecision, Decision, FinalDecision
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
from scout40.emulator.ugt.rules import TriggerRules
from scout40.streams.block import Block
from scout40.streams.errors import BadConfig, BadInput
from scout40.tools.pipeline import crossings_of
from scout40.tools.show import lacking

if TYPE_CHECKING:
    import pyarrow as pa


TABLES = ("rates", "totals", "overlap")
"""Summary tables, in the result and beside the output."""


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


class Work:
    """Everything with a state that goes from block to block: prescales, rules, counters."""

    def __init__(
        self, menu: Menu, settings: Settings, compiled: CompiledMenu | None = None
    ) -> None:
        """compiled: the menu, when it was compiled before."""
        self.menu, self.settings = menu, settings
        self.compiled: CompiledMenu = compiled or menu.compile()
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
    ) -> tuple[Decision | CodedDecision, npt.NDArray[np.bool_]]:
        """Final decisions of the next block, and accepts after the trigger rules."""
        decision: Decision | CodedDecision | None = None
        if decisions.codes is not None:
            decision = self._final.decide_coded(
                decisions.table, decisions.codes, block.orbit, block.bx
            )
        if decision is None:
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
        decision: Decision | CodedDecision,
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

    def forget_time(self) -> None:
        """The count of orbits begins anew: what was accepted before binds no trigger rule."""
        self._rules = None

    @property
    def counter(self) -> RateCounter:
        """Counts of all blocks so far."""
        return self._counter or RateCounter(np.zeros(N_ALGORITHMS, bool))

    @property
    def not_evaluated(self) -> dict[str, str]:
        """Algorithm -> why some block could not evaluate it."""
        return dict(self._not_evaluated)

    @property
    def recorded(self) -> dict[str, int]:
        """Decisions found in the input, set bits by algorithm."""
        return dict(self._recorded)

    def rules(self, contiguous: bool) -> TriggerRules:
        """The trigger rules with their counts; fresh ones when there was no block."""
        return self._rules or TriggerRules(independent=not contiguous)

    def tables(self, bunches: int) -> dict[str, pa.Table]:
        """The summary tables TABLES, rates stated for so many colliding bunches."""
        counter = self.counter
        return {
            "rates": rate_table(counter, self.menu, bunches, self.factors),
            "totals": totals_table(counter, self.menu, bunches),
            "overlap": overlap_table(counter, self.menu),
        }


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
