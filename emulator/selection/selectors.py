"""The selectors of the scouting stream, declared once in physical units.

Names and thresholds are those of the selection of the CMS Level-1 scouting (Run 3), as written
down in the project's format notes: L1ScoutingSelector.py, MuBxSelector, JetBxSelector,
MuTagJetBxSelector and BMTFStubMultiBxSelector. A threshold in GeV becomes the smallest hardware
code whose physical value reaches it. SingleMuPt22Qual12 and the numbers of stubs are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scout40.streams.errors import BadConfig
from scout40.streams.formats.gmt import ScoutingMuon
from scout40.streams.formats.ugt import UgtJet
from scout40.streams.layout import Bits

ANY_INDEX = (0, 107)
"""All places of the track finders."""
BARREL_INDEX = (36, 71)


@dataclass(frozen=True)
class MuonCount:
    """At least ``minimum`` muons, each with pt >= ``pt`` (GeV), a quality and a place."""

    minimum: int
    pt: float = 0.0
    quality: int = 0
    index: tuple[int, int] = ANY_INDEX

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that it reads, ``table.column``."""
        quality = ("mu.hw_qual",) if self.quality else ()
        index = ("mu.tf_muon_index",) if self.index != ANY_INDEX else ()
        return ("mu.hw_pt", *quality, *index)


@dataclass(frozen=True)
class JetCount:
    """At least ``minimum`` jets of et >= ``et`` (GeV)."""

    minimum: int
    et: float
    columns: tuple[str, ...] = ("jet.hw_et",)


@dataclass(frozen=True)
class TaggedJet:
    """A jet of et >= ``et`` (GeV) with a muon of at least this quality nearer than ``dr``.

    As in the reference the distance is that of the physical values, float32 as unpacked, with
    the muon at the muon station; dR is worked out in double and rounded to float32.
    """

    et: float
    quality: int
    dr: float
    columns: tuple[str, ...] = (
        "jet.hw_et", "jet.hw_eta", "jet.hw_phi", "mu.hw_qual", "mu.hw_eta", "mu.hw_phi",
    )  # fmt: skip


@dataclass(frozen=True)
class StubWindow:
    """At least ``minimum`` barrel stubs in ``crossings`` neighbouring crossings of one orbit.

    The last of them has a stub and lies at bx >= ``crossings``; all crossings of the window are
    kept. ``wheels``: two different crossings of it have stubs in the same or in neighbouring
    wheels. Needs a contiguous block.
    """

    crossings: int
    minimum: int
    wheels: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        return ("stub.wheel",)


Rule = MuonCount | JetCount | TaggedJet | StubWindow

SELECTORS: dict[str, Rule] = {
    "SingleMuPt0BMTF": MuonCount(1, index=BARREL_INDEX),
    "DoubleMuPt0Qual8": MuonCount(2, quality=8),
    "SingleMuPt22Qual12": MuonCount(1, pt=22.0, quality=12),
    "DijetEt30": JetCount(2, 30.0),
    "HMJetMult4Et20": JetCount(4, 20.0),
    "MuTagJetEt30Dr0p4": TaggedJet(30.0, 8, 0.4),
    "BMTFStubs4In3Bx": StubWindow(3, 4),
    "BMTFStubs4In3BxWheel": StubWindow(3, 4, wheels=True),
}
"""Name -> rule; the place in this table is the bit of the reason, so new ones go to the end."""


def threshold_code(bits: Bits, value: float) -> int:
    """The smallest code whose physical value is at least ``value``; code 0 means no object.

    Raises BadConfig when no code reaches it.
    """
    codes = np.flatnonzero(bits.table[: bits.limit + 1] >= value)
    if not len(codes):
        raise BadConfig(f"no {bits.name} reaches {value}; its largest value is {bits.table.max()}")
    return max(1, int(codes[0]))


def muon_row(rule: MuonCount, bit: int) -> list[int]:
    """What ``kernels.count_muons`` reads: code of pt, quality, place from, to, number, bit."""
    pt = threshold_code(ScoutingMuon.fields["hw_pt"], rule.pt)
    return [pt, rule.quality, *rule.index, rule.minimum, bit]


def jet_row(rule: JetCount, bit: int) -> list[int]:
    """What ``kernels.count_jets`` reads: code of et, number, bit."""
    return [threshold_code(UgtJet.fields["hw_et"], rule.et), rule.minimum, bit]
