"""Recorded decisions against ours, algorithm by algorithm."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.emulator.ugt import load_menu
from scout40.emulator.ugt.decide import Decisions
from scout40.emulator.ugt.model import Algorithm, Leaf, Menu, Operation
from scout40.emulator.ugt.objects import LISTS, SHOWER_SLOT, VALUES
from scout40.streams.block import Block
from scout40.streams.errors import BadInput
from scout40.streams.formats.ugt import OBJECT_WORDS
from scout40.streams.sources.base import Run, Source
from scout40.tools.chain import Chain
from scout40.tools.job import Inputs, compile_note, completed, open_inputs
from scout40.tools.networks import compiled_menu, network_notes
from scout40.tools.pipeline import (
    Asked,
    Never,
    Taken,
    crossings_of,
    decided,
    prepare,
    receipt_of,
)
from scout40.tools.receipt import Receipt, Status
from scout40.tools.show import Progress, Silent

BY_NAME = (
    "recorded bits were matched by name: of NanoAOD they are final ones, so prescales and masks "
    "make differences, and so do objects that the file did not keep"
)

Places = dict[str, tuple[int, int, int]]
"""Algorithm name -> index in our words, word and bit in the recorded words."""


@dataclass
class Difference:
    """Where one algorithm first differs.

    objects: table -> rows of hardware and physical values, of the objects its conditions read.
    values: single values it reads (sums, external signals, showers).
    """

    name: str
    expression: str
    orbit: int
    bx: int
    row: int
    recorded: bool
    emulated: bool
    objects: dict[str, list[dict[str, int | float]]]
    values: dict[str, int]


@dataclass
class Tally:
    """Counts of one algorithm over all crossings."""

    recorded: int = 0
    emulated: int = 0
    differing: int = 0


@dataclass
class Comparison:
    """What a comparison found; every list is in the menu's order.

    not_recorded: algorithms of the menu without a recorded bit. not_in_menu: recorded names (or
    bits) that the menu lacks; bits only where they were ever set.
    """

    menu: Menu
    receipt: Receipt
    crossings: int
    tallies: dict[str, Tally]
    not_evaluated: dict[str, str]
    not_recorded: list[str]
    not_in_menu: list[str]
    first: dict[str, Difference] = field(default_factory=dict)

    @property
    def equal(self) -> list[str]:
        return [name for name, tally in self.tallies.items() if not tally.differing]

    @property
    def different(self) -> list[str]:
        return [name for name, tally in self.tallies.items() if tally.differing]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            **self.receipt.as_dict(),
            "menu": {"name": self.menu.name, "digest": self.menu.digest},
            "crossings": self.crossings,
            "equal": self.equal,
            "different": self.different,
            "not_evaluated": list(self.not_evaluated),
            "reasons": self.not_evaluated,
            "not_recorded": self.not_recorded,
            "not_in_menu": self.not_in_menu,
            "counts": {name: vars(tally) for name, tally in self.tallies.items()},
            "first_differences": [vars(difference) for difference in self.first.values()],
        }


def compare(
    inputs: Inputs,
    menu: str | Path | Menu,
    *,
    networks: str | Path | None = None,
    chain: Chain | None = None,
    map_file: str | None = None,
    threads: int = 1,
    stop: Asked | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Compare the decision bits found in the inputs with those of the menu.

    networks: folder of network files, for conditions on their scores.

    Raises BadInput when the inputs carry no decision bits.
    """
    what = menu if isinstance(menu, Menu) else load_menu(menu)
    compiled = compiled_menu(what, networks)
    begin = chain or Chain()
    source = open_inputs(completed(inputs, begin), map_file)
    compiling = prepare(compiled)
    run = Run()
    asked, told = stop or Never(), progress or Silent()
    told.set_total(source.total)
    work = _Work(what, source.name)
    taken = Taken(source, run, asked)
    stage = begin.stage(source)
    for block, decisions in decided(stage(taken), compiled, threads):
        work.add(block, decisions)
        run.ledger["crossings"].out += crossings_of(block)
        told.update(run.ledger["packets"].received, run.ledger["crossings"].out)
    notes = (*compile_note(compiling), *network_notes(compiled), *stage.notes)
    return work.finish(source, run, taken.status, notes)


class _Work:
    """Adds blocks up."""

    def __init__(self, menu: Menu, name: str) -> None:
        self._menu, self._name = menu, name
        self._by_name = {a.name: a for a in menu.algorithms}
        self._tallies: dict[str, Tally] = {}
        self._reasons: dict[str, str] = {}
        self._first: dict[str, Difference] = {}
        self._strangers: dict[str, None] = {}
        self._places: Places = {}
        self._rows = 0
        self._notes: tuple[str, ...] = ()

    def add(self, block: Block, decisions: Decisions) -> None:
        """One block; its recorded words and ours are compared bit by bit."""
        if "recorded" not in block.crossing:
            raise BadInput(f"{self._name}: no recorded decision bits to compare with")
        recorded = block.crossing["recorded"]
        self._places = self._place_of(block.recorded_names, recorded.shape[1])
        self._note_strangers(block.recorded_names, recorded)
        self._reasons |= decisions.not_evaluated
        for name, (index, word, bit) in self._places.items():
            if name in decisions.not_evaluated:
                continue
            theirs = (recorded[:, word] >> np.uint64(bit)) & np.uint64(1) == 1
            ours = (decisions.words[:, index // 64] >> np.uint64(index % 64)) & np.uint64(1) == 1
            wrong = theirs != ours
            tally = self._tallies.setdefault(name, Tally())
            tally.recorded += int(np.count_nonzero(theirs))
            tally.emulated += int(np.count_nonzero(ours))
            tally.differing += int(np.count_nonzero(wrong))
            if name not in self._first and wrong.any():
                row = int(wrong.argmax())
                self._first[name] = self._difference(name, block, row, bool(theirs[row]))
        self._rows += len(block)

    def _place_of(self, names: tuple[str, ...], words: int) -> Places:
        if names:
            self._notes = (BY_NAME,)
            where = {name: divmod(bit, 64) for bit, name in enumerate(names)}
        else:
            where = {a.name: divmod(a.index, 64) for a in self._menu.algorithms}
        return {
            a.name: (a.index, *where[a.name])
            for a in self._menu.algorithms
            if a.name in where and where[a.name][0] < words
        }

    def _note_strangers(self, names: tuple[str, ...], recorded: npt.NDArray[np.uint64]) -> None:
        """Recorded algorithms that the menu lacks; unnamed bits only when they are set."""
        if names:
            self._strangers |= {n: None for n in names if n not in self._by_name}
            return
        known = np.zeros(recorded.shape[1], np.uint64)
        for _, word, bit in self._places.values():
            known[word] |= np.uint64(1) << np.uint64(bit)
        left = np.bitwise_or.reduce(recorded, axis=0) & ~known if len(recorded) else known * 0
        for word, bits in enumerate(left.tolist()):
            for bit in range(64):
                if bits >> bit & 1:
                    self._strangers[f"bit {64 * word + bit}"] = None

    def _difference(self, name: str, block: Block, row: int, theirs: bool) -> Difference:
        algorithm = self._by_name[name]
        objects, values = objects_of(block, row, _reads(self._menu, algorithm))
        return Difference(
            name=name,
            expression=algorithm.expression,
            orbit=int(block.orbit[row]),
            bx=int(block.bx[row]),
            row=self._rows + row,
            recorded=theirs,
            emulated=not theirs,
            objects=objects,
            values=values,
        )

    def finish(
        self, source: Source, run: Run, status: Status, notes: tuple[str, ...]
    ) -> Comparison:
        """The result; an algorithm that some block could not evaluate counts as not evaluated."""
        tallies = {
            a.name: self._tallies[a.name]
            for a in self._menu.algorithms
            if a.name in self._tallies and a.name not in self._reasons
        }
        notes = (*notes, *self._notes)
        receipt = receipt_of("compare", run, source, status, notes=notes)
        places = self._places
        return Comparison(
            menu=self._menu,
            receipt=receipt,
            crossings=self._rows,
            tallies=tallies,
            not_evaluated=self._reasons,
            not_recorded=[a.name for a in self._menu.algorithms if a.name not in places],
            not_in_menu=list(self._strangers),
            first={name: d for name, d in self._first.items() if name in tallies},
        )


def _reads(menu: Menu, algorithm: Algorithm) -> list[tuple[str, int | None]]:
    """(object name, bit of an external signal) that the algorithm's conditions look at."""
    found: dict[tuple[str, int | None], None] = {}

    def walk(node: Leaf | Operation) -> None:
        if isinstance(node, Leaf):
            for requirement in menu.conditions[node.condition].requirements:
                found[requirement.object, requirement.signal_bit] = None
            return
        for operand in node.operands:
            walk(operand)

    walk(algorithm.tree)
    return list(found)


def objects_of(
    block: Block, row: int, reads: list[tuple[str, int | None]]
) -> tuple[dict[str, list[dict[str, int | float]]], dict[str, int]]:
    """Objects and single values of one crossing, hardware and physical."""
    objects: dict[str, list[dict[str, int | float]]] = {}
    values: dict[str, int] = {}
    for name, bit in reads:
        if name == "EXT" and bit is not None and "ext" in block.crossing:
            words = block.crossing["ext"][row]
            values[f"EXT {bit}"] = int(words[bit // 64] >> np.uint64(bit % 64)) & 1
        elif name in SHOWER_SLOT and "shower" in block.crossing:
            values[name] = int(block.crossing["shower"][row]) >> SHOWER_SLOT[name] & 1
        elif name in LISTS and LISTS[name].table != "sums":
            objects.setdefault(LISTS[name].table, _objects(block, LISTS[name].table, row))
        elif name in VALUES or name in LISTS:
            values |= _sums(block, name, row)
    return objects, values


def _objects(block: Block, name: str, row: int) -> list[dict[str, int | float]]:
    table = block.tables[name].take_crossings(row, row + 1)
    columns = dict(table.columns) | OBJECT_WORDS[name].physical(table.columns)
    empty = table.columns.get("hw_pt", table.columns.get("hw_et"))
    return [
        {"slot": slot} | {key: column[slot].item() for key, column in columns.items()}
        for slot in range(len(table))
        if empty is None or empty[slot]
    ]


def _sums(block: Block, name: str, row: int) -> dict[str, int]:
    table = block.tables["sums"].take_crossings(row, row + 1)
    if not len(table):
        return {name: 0}
    listed = LISTS.get(name)
    columns = [b.name for b in listed.fields.values()] if listed else list(VALUES[name])
    return {column: int(table[column][0]) for column in columns if column in table.columns}
