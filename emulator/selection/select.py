"""What a selection is made of, and why each crossing of a block is kept.

A reason is a bit of a uint32: ZERO_BIAS the orbit is kept whole, MENU one of the chosen menu bits
is set after prescale, from FIRST on one bit for each selector by its place in ``SELECTORS``,
ALL everything is kept, NEIGHBOUR only a crossing nearby was chosen (see ``window``). In a sparse
contiguous block only crossings with rows can be kept; a crossing without a row was empty.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from scout40.emulator.selection import kernels
from scout40.emulator.selection.selectors import (
    SELECTORS,
    JetCount,
    MuonCount,
    Rule,
    StubWindow,
    TaggedJet,
    jet_row,
    muon_row,
    threshold_code,
)
from scout40.emulator.ugt.bits import N_WORDS, Words, checked_words
from scout40.emulator.ugt.model import Menu
from scout40.streams.block import ORBIT_BX, Block
from scout40.streams.errors import BadConfig, BadInput
from scout40.streams.formats.calo import CaloJet
from scout40.streams.formats.gmt import ScoutingMuon
from scout40.streams.formats.ugt import UgtJet
from scout40.streams.layout import Bits

Reasons = npt.NDArray[np.uint32]
Array = npt.NDArray[Any]

ZERO_BIAS, MENU, FIRST, ALL, NEIGHBOUR = 0, 1, 2, 30, 31
"""Bits of a reason."""
_LEADING = np.array([1 << ZERO_BIAS, 1 << MENU], np.uint32)


@dataclass(frozen=True)
class Selection:
    """What to keep; nothing by default.

    zero_bias_every: orbits whose number is a multiple of it are kept whole; 0 for none.
    algorithms: names of menu bits, looked at after prescale.
    selectors: names of ``SELECTORS``.
    window: crossings kept on each side of a chosen one, over the edges of orbits.
    all: keep everything.

    Raises BadConfig for unknown selectors and numbers out of range.
    """

    zero_bias_every: int = 0
    algorithms: Sequence[str] = ()
    selectors: Sequence[str] = ()
    window: int = 0
    all: bool = False

    def __post_init__(self) -> None:
        _known("selector", self.selectors, SELECTORS)
        if not 0 <= self.zero_bias_every < 1 << 32:
            raise BadConfig(f"zero_bias_every is {self.zero_bias_every}, expected 0..4294967295")
        if not 0 <= self.window < ORBIT_BX:
            raise BadConfig(f"window is {self.window} crossings, expected 0..{ORBIT_BX - 1}")


@dataclass(frozen=True)
class Selector:
    """A selection ready to be used on blocks; share it between threads.

    menu: needed when the selection names algorithms. Raises BadConfig for unknown ones.
    """

    selection: Selection
    menu: Menu | None = None
    _mask: Words = field(init=False, repr=False)

    def __post_init__(self) -> None:
        indices = {a.name: a.index for a in self.menu.algorithms} if self.menu else {}
        _known("algorithm", self.selection.algorithms, indices)
        mask = np.zeros(N_WORDS, np.uint64)
        for name in self.selection.algorithms:
            mask[indices[name] // 64] |= np.uint64(1) << np.uint64(indices[name] % 64)
        object.__setattr__(self, "_mask", mask)

    @functools.cached_property
    def names(self) -> dict[int, str]:
        """Bit -> name of every reason that this selection can give."""
        chosen = self.selection
        bits = {ZERO_BIAS: "zero bias"} if chosen.zero_bias_every else {}
        bits |= {MENU: "menu"} if chosen.algorithms else {}
        bits |= {FIRST + k: name for k, name in enumerate(SELECTORS) if name in chosen.selectors}
        bits |= {ALL: "all"} if chosen.all else {}
        return bits | ({NEIGHBOUR: "neighbour"} if chosen.window else {})

    def missing(self, block: Block) -> dict[str, str]:
        """Selectors that cannot be evaluated from this block -> why; they choose nothing."""
        have = {f"{name}.{column}" for name, t in block.tables.items() for column in t.columns}
        reasons = {}
        for name in dict.fromkeys(self.selection.selectors):
            rule = SELECTORS[name]
            lacking = [column for column in rule.columns if column not in have]
            if lacking:
                reasons[name] = "input has no " + ", ".join(lacking)
            elif isinstance(rule, StubWindow) and not block.contiguous:
                reasons[name] = "looks at neighbouring crossings, rows are independent"
        return reasons

    @property
    def mask(self) -> Words:
        """uint64 (8,), bits of the chosen algorithms."""
        return self._mask

    def reasons(
        self, block: Block, words: Words | None = None, *, fired: Array | None = None
    ) -> Reasons:
        """Why each crossing is kept, uint32 (n,); 0: it is not. Neighbours are not in it.

        words: uint64 (n, 8) after prescale; needed when the selection names algorithms. fired:
        bool (n,) instead, crossings in which a bit of ``mask`` is set.
        """
        used = np.flatnonzero(self._mask) if fired is None else np.zeros(0, np.intp)
        if len(used) and words is None:
            raise BadInput("selection: algorithms are chosen, but there are no decision words")
        flags = _NO_WORDS if words is None else checked_words(words, "selection")
        if words is not None and len(flags) != len(block):
            raise BadInput(f"selection: {len(flags)} decision words for {len(block)} crossings")
        out = np.empty(len(block), np.uint32)
        always = np.uint32(1 << ALL if self.selection.all else 0)
        every = np.int64(self.selection.zero_bias_every)
        orbit = np.ascontiguousarray(block.orbit)
        kernels.base(orbit, every, flags.reshape(-1), used, self._mask[used], always, _LEADING, out)
        if fired is not None:
            out |= fired.astype(np.uint32) << np.uint32(MENU)
        plan = self._plan(block)
        if len(plan.muons):
            _muons(block, plan.muons, out)
        if len(plan.jets):
            _jets(block, plan.jets, out)
        for bit, rule in plan.others:
            if isinstance(rule, TaggedJet):
                _tagged(block, rule, bit, out)
            else:
                _stubs(block, rule, bit, out)
        return out

    def _plan(self, block: Block) -> _Plan:
        """What to do for this kind of block; kinds are few, so their plans are remembered."""
        held = tuple((name, *table.columns) for name, table in block.tables.items())
        kind = (block.contiguous, held)
        if kind not in self._plans:
            missing = self.missing(block)
            names = [name for name in self.selection.selectors if name not in missing]
            self._plans[kind] = _Plan.of({_BIT[name]: SELECTORS[name] for name in names})
        return self._plans[kind]

    @functools.cached_property
    def _plans(self) -> dict[object, _Plan]:
        return {}

    def count(self, reasons: Reasons) -> dict[str, int]:
        """Crossings by name of the reason; one crossing may have several."""
        return {
            name: int(np.count_nonzero(reasons & np.uint32(1 << bit)))
            for bit, name in self.names.items()
        }


class _Plan(NamedTuple):
    """Rules by kernel; muons: int64 (k, 6), jets: int64 (k, 3)."""

    muons: npt.NDArray[np.int64]
    jets: npt.NDArray[np.int64]
    others: list[tuple[int, TaggedJet | StubWindow]]

    @classmethod
    def of(cls, rules: Mapping[int, Rule]) -> _Plan:
        muons = [muon_row(rule, bit) for bit, rule in rules.items() if isinstance(rule, MuonCount)]
        jets = [jet_row(rule, bit) for bit, rule in rules.items() if isinstance(rule, JetCount)]
        others = [
            (bit, rule) for bit, rule in rules.items() if isinstance(rule, TaggedJet | StubWindow)
        ]
        return cls(np.array(muons, np.int64), np.array(jets, np.int64), others)


_BIT = {name: FIRST + k for k, name in enumerate(SELECTORS)}
_NO_WORDS = np.zeros((0, N_WORDS), np.uint64)


def _known(what: str, names: Sequence[str], known: Mapping[str, object]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        listed = ", ".join(known) or f"none, there is no menu with {what}s"
        raise BadConfig(f"unknown {what} {', '.join(unknown)}; known: {listed}")


def _column(block: Block, table: str, bits: Bits) -> Array:
    """A column with the dtype of its field, so that one compiled kernel serves all inputs."""
    columns = block.tables[table].columns
    if bits.name not in columns:
        return np.zeros(len(block.tables[table]), bits.dtype)
    return np.ascontiguousarray(columns[bits.name], bits.dtype)


def _muons(block: Block, rules: npt.NDArray[np.int64], out: Reasons) -> None:
    fields = ScoutingMuon.fields
    hw_pt, hw_qual = (_column(block, "mu", fields[name]) for name in ("hw_pt", "hw_qual"))
    index = _column(block, "mu", fields["tf_muon_index"])
    kernels.count_muons(block.tables["mu"].offsets, hw_pt, hw_qual, index, rules, out)


def _jets(block: Block, rules: npt.NDArray[np.int64], out: Reasons) -> None:
    hw_et = _column(block, "jet", UgtJet.fields["hw_et"])
    kernels.count_jets(block.tables["jet"].offsets, hw_et, rules, out)


def _tagged(block: Block, rule: TaggedJet, bit: int, out: Reasons) -> None:
    jet = CaloJet.fields if block.scouting else UgtJet.fields
    muon = ScoutingMuon.fields
    jets = tuple(_column(block, "jet", jet[name]) for name in ("hw_et", "hw_eta", "hw_phi"))
    muons = tuple(_column(block, "mu", muon[name]) for name in ("hw_qual", "hw_eta", "hw_phi"))
    places = (jet["hw_eta"], jet["hw_phi"], muon["hw_eta"], muon["hw_phi"])
    kernels.tagged_jets(
        block.tables["jet"].offsets,
        jets,
        block.tables["mu"].offsets,
        muons,
        tuple(bits.table for bits in places),
        (threshold_code(jet["hw_et"], rule.et), rule.quality, rule.dr, bit),
        out,
    )


def _stubs(block: Block, rule: StubWindow, bit: int, out: Reasons) -> None:
    table = block.tables["stub"]
    wheel = np.ascontiguousarray(table["wheel"], np.int8)
    values = (rule.crossings, rule.minimum, int(rule.wheels), bit)
    kernels.stub_windows(block.orbit, block.bx, table.offsets, wheel, values, out)
