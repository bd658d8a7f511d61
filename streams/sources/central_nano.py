"""Central NanoAOD: events that the trigger kept, with its decision bits and what else is there.

Objects come from the L1 tables (L1Mu, L1EG, L1Tau, L1Jet, L1EtSum) where the file has them: only
those of the event's own crossing (``bx`` 0); objects of neighbouring crossings are not used. The
tables may have been cut when the file was written (the reduced content keeps e/gamma from 10,
taus from 24, jets from 30 GeV and muons from 3 GeV with quality 8), which no branch tells.

Without those tables the trigger objects stand in (trigger_objects.py).

The branches ``L1_*`` of type bool become ``recorded``: final decisions of the global trigger,
after prescales, so a bit may be 0 where the emulated initial decision is 1.

Rows are independent events. Source of names and meanings: public configuration of CMS NanoAOD
(l1trig_cff, L1TriggerResultsConverter) and the unpackers of the L1 readout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.streams.block import Table
from scout40.streams.errors import BadInput
from scout40.streams.formats.calo import CaloEgamma, CaloJet, CaloTau
from scout40.streams.formats.ugt import UgtJet, UgtMuon
from scout40.streams.sources.root_codes import Plan, Tally, ragged, table_of
from scout40.streams.sources.root_file import Column, Ntuple, Ragged
from scout40.streams.sources.root_layout import (
    Places,
    Rows,
    block_of,
    flat,
    good_rows,
    orbits_and_crossings,
    signature,
)
from scout40.streams.sources.root_sums import SumsPlan, sums_of, sums_plan
from scout40.streams.sources.scouting_nano import MUON, calo, plans_for
from scout40.streams.sources.trigger_objects import TriggerObjects

Array = npt.NDArray[Any]

_MU = UgtMuon.fields
_EG, _TAU, _JET = CaloEgamma.fields, CaloTau.fields, CaloJet.fields

TABLES = {
    "mu": (
        "L1Mu",
        (
            *MUON,
            # Here hwCharge is the bit of the word, 1 = negative, not the charge.
            (_MU["hw_sign"], "hwCharge", ""),
            (_MU["hw_charge_valid"], "hwChargeValid", ""),
        ),
    ),
    "eg": ("L1EG", calo(_EG, (_EG["hw_iso"], "hwIso", ""))),
    "tau": ("L1Tau", calo(_TAU, (_TAU["hw_iso"], "hwIso", ""))),
    "jet": ("L1Jet", calo(_JET)),
}
"""Table -> prefix of its branches and their columns."""

JET_QUALITY = "L1Jet_hwQual"
"""Three bits from bit 27 of the jet word on: displaced, then the two of the quality."""

BIT_PREFIX = "L1_"
NO_ALGORITHMS = ("L1_UnprefireableEvent", "L1_FinalOR_BXmin1")
"""Beginnings of ``L1_*`` branches that are no algorithms of a menu."""


@dataclass
class CentralNano:
    """The layout of one ntuple; see the module docstring."""

    ntuple: Ntuple
    tables: dict[str, list[Plan]]
    sums: SumsPlan | None
    objects: TriggerObjects | None
    recorded_names: tuple[str, ...]
    places: Places
    contiguous: bool = False
    per_orbit: bool = False
    name: str = field(init=False)
    signature: tuple[object, ...] = field(init=False)

    def __post_init__(self) -> None:
        columns = {name: [p.bits.name for p in plans] for name, plans in self.tables.items()}
        if "jet" in columns and self._jet_quality:
            columns["jet"] += ["hw_displaced", "hw_qual"]
        if self.sums is not None:
            columns["sums"] = self.sums.columns()
        origin = "L1 objects of bx 0" if columns else "no objects"
        if self.objects is not None:
            columns = self.objects.columns()
            origin = "trigger objects, only those that a path of the high-level trigger kept"
        tables = f": {', '.join(columns)}" if columns else ""
        self.name = f"central NanoAOD ({origin}{tables}; {len(self.recorded_names)} L1 bits)"
        self.signature = signature("central", columns, self.recorded_names, self.places)

    @classmethod
    def look(cls, ntuple: Ntuple) -> CentralNano | None:
        """The layout of an ntuple that has it, else None."""
        found = {name: plans_for(ntuple, *at) for name, at in TABLES.items()}
        tables = {name: plans for name, plans in found.items() if plans}
        sums = sums_plan(ntuple, "L1EtSum", counts_from_pt=False)
        objects = None if tables or sums is not None else TriggerObjects.look(ntuple)
        bits = tuple(
            name
            for name in ntuple.branches
            if name.startswith(BIT_PREFIX) and not name.startswith(NO_ALGORITHMS)
        )
        if not tables and sums is None and objects is None and not bits:
            return None
        return cls(ntuple, tables, sums, objects, bits, Places.of(ntuple))

    @property
    def _jet_quality(self) -> bool:
        return self.ntuple.has(JET_QUALITY)

    def branches(self) -> list[str]:
        names = [*self.places.branches(), *self.recorded_names]
        for name, plans in self.tables.items():
            names += [plan.branch for plan in plans]
            if self.ntuple.has(f"{TABLES[name][0]}_bx"):
                names.append(f"{TABLES[name][0]}_bx")
        names += [JET_QUALITY] if "jet" in self.tables and self._jet_quality else []
        names += self.sums.branches() if self.sums is not None else []
        return names + (self.objects.branches() if self.objects is not None else [])

    def rows(self, start: int, stop: int, first_row: int) -> Rows:
        """See Layout."""
        columns = self.ntuple.read(self.branches(), start, stop)
        file, tally = self.ntuple.file, Tally()
        orbit, bx, good, found = orbits_and_crossings(self.places, columns, stop - start, first_row)
        tables = {
            name: self._table(name, plans, columns, tally) for name, plans in self.tables.items()
        }
        usable = np.ones(len(good), np.bool_)
        if self.sums is not None:
            tables["sums"], usable = sums_of(self.sums, columns, tally, file)
        if self.objects is not None:
            tables = self.objects.tables(columns, tally, file)
        crossing = self.places.crossing(columns)
        if self.recorded_names:
            crossing["recorded"] = packed_bits(columns, self.recorded_names)
        block = block_of(
            orbit, bx, tables, crossing, scouting=True, recorded_names=self.recorded_names
        )
        return good_rows(block, good, usable, tally, file, start, found)

    def _table(
        self, name: str, plans: list[Plan], columns: Mapping[str, Column], tally: Tally
    ) -> Table:
        if name == "jet" and self._jet_quality:
            quality = ragged(columns[JET_QUALITY])
            values = quality.values.astype(np.int64)
            made = {
                "hw_displaced": Ragged(values & 1, quality.offsets),
                # Not masked: what does not fit its two bits is a bad object.
                "hw_qual": Ragged(values >> 1, quality.offsets),
            }
            columns = {**columns, **made}
            plans = [*plans, *(Plan(UgtJet.fields[key], key, "hardware") for key in made)]
        crossing = columns.get(f"{TABLES[name][0]}_bx")
        keep = ragged(crossing).values == 0 if crossing is not None else None
        if crossing is not None:
            counts = np.diff(ragged(columns[plans[0].branch]).offsets)
            if not np.array_equal(np.diff(ragged(crossing).offsets), counts):
                raise BadInput(
                    "another number of objects than the other branches",
                    file=self.ntuple.file, field=f"{TABLES[name][0]}_bx",
                )  # fmt: skip
        return table_of(name, plans, columns, tally, self.ntuple.file, keep)


def packed_bits(columns: Mapping[str, Column], names: tuple[str, ...]) -> npt.NDArray[np.uint64]:
    """uint64, shape (rows, words): bit b of word w is branch names[64 * w + b]."""
    rows = len(flat(columns, names[0]))
    out = np.zeros((rows, -(-len(names) // 64)), np.uint64)
    for place, name in enumerate(names):
        bit = flat(columns, name) != 0
        out[:, place // 64] |= bit.astype(np.uint64) << np.uint64(place % 64)
    return out
