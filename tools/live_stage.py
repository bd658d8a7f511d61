"""What a live run does with a block: decide, count, fill histograms, choose what is written.

``decide`` may run on any thread, ``finish`` only in the order of the blocks.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.emulator.histograms import Histograms
from scout40.emulator.selection import Chosen, Selection, Selector, Windowed, kept
from scout40.emulator.ugt import load_menu
from scout40.emulator.ugt.decide import Decisions
from scout40.emulator.ugt.model import Menu
from scout40.streams.block import Block
from scout40.streams.lineage import Lineage
from scout40.tools.deciding import Settings, Work
from scout40.tools.live_config import Configured
from scout40.tools.networks import compiled_menu, network_sources
from scout40.tools.output import result_columns, run_lineage, with_evaluated
from scout40.tools.pipeline import Filler, rows_worth_keeping
from scout40.tools.sample import demo_menu

Columns = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Rows:
    """What a block leaves to be written. item: what was handed in with it."""

    block: Block
    results: Columns
    item: Any


class LiveStage:
    """One menu with its prescales, rules, counters and selection.

    like: one that was made from the same pipeline; its menu is used, which has tables for the
        kinds of blocks that it saw.
    """

    def __init__(self, configured: Configured, like: LiveStage | None = None) -> None:
        chosen = configured.pipeline.menu
        path = configured.path(chosen.file)
        if like is not None:
            self.menu: Menu = like.menu
        else:
            self.menu = load_menu(path) if path else demo_menu()
        networks = configured.path(chosen.networks)
        self.work: Work = Work(
            self.menu,
            Settings(
                prescales=configured.path(chosen.prescales),
                column=chosen.column or None,
                finor_mask=configured.path(chosen.finor_mask),
                veto_mask=configured.path(chosen.veto_mask),
                bx_mask=configured.path(chosen.bx_mask),
            ),
            like.work.compiled if like else compiled_menu(self.menu, networks),
        )
        select = configured.pipeline.selection
        self._selector = Selector(
            Selection(
                zero_bias_every=select.zero_bias_every, algorithms=select.algorithms,
                selectors=select.selectors, window=select.window, all=select.all,
            ),
            self.menu,
        )  # fmt: skip
        self._windowed = Windowed(select.window)
        self._filler = Filler(self.work.compiled)
        self.histograms = Histograms()
        self._end = (-1, -1)

    def looks_ahead(self, block: Block) -> bool:
        """A condition looks at a later crossing, so the block must wait for the next one."""
        return self.work.compiled.looks_ahead(block)

    def filled(self, block: Block) -> Block:
        """With empty crossings, where the menu could fire on them."""
        return self._filler.one(block)

    def decide(self, block: Block, before: Block | None, after: Block | None) -> Decisions:
        """Initial decisions; pure."""
        return self.work.compiled.decide(block, before, after)

    def finish(self, block: Block, decisions: Decisions, item: Any) -> list[Rows]:
        """Final decisions and counts of the next block; rows of the blocks that are done now."""
        place = int(block.crossing["run"][0]) if len(block) else self._end[0], block.first_orbit
        if place < self._end:
            self.work.forget_time()
        self._end = place[0], block.last_orbit
        decision, accepted = self.work.decide(block, decisions, True)
        self.histograms.fill(block)
        selector = self._selector
        fired = decision.passed(selector.mask) if selector.selection.algorithms else None
        reasons = selector.reasons(block, fired=fired)
        if selector.selection.all:
            reasons[~rows_worth_keeping(block, decision.rows().initial)] = 0
        columns = decisions.evaluated, decision, accepted
        done = self._windowed.push(block, reasons, (columns, item))
        return [_rows(one) for one in done]

    def flush(self) -> list[Rows]:
        """What waits for its neighbours."""
        return [_rows(one) for one in self._windowed.flush()]

    def lineage(self, inputs: list[str], configuration: dict[str, object]) -> Lineage:
        """What the output is made from."""
        made = run_lineage(inputs, self.menu, configuration)
        return dataclasses.replace(made, tables=network_sources(self.work.compiled))


def _rows(one: Chosen) -> Rows:
    (evaluated, decision, accepted), item = one.item
    chosen = np.flatnonzero(one.reasons)
    results = result_columns(decision.rows(chosen), accepted[chosen])
    results = {**results, "selection": one.reasons[chosen]}
    block = kept(one.block, chosen)
    return Rows(block, with_evaluated(evaluated, results, len(chosen)), item)


def settings_digest(configured: Configured) -> dict[str, object]:
    """The pipeline as the lineage names it: values, and digests of the files that it names."""
    plain = dataclasses.asdict(configured.pipeline)
    for name in ("file", "prescales", "finor_mask", "veto_mask", "bx_mask"):
        path = configured.path(plain["menu"][name])
        if path:
            plain["menu"][name] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    del plain["menu"]["networks"]  # LiveStage.lineage names what was read from it
    return {name: plain[name] for name in ("menu", "selection")}
