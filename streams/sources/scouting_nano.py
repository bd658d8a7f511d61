"""Scouting NanoAOD: one row per bunch crossing, L1 objects as the scouting system saw them.

Branches ``run``, ``luminosityBlock``, ``orbitNumber``, ``bunchCrossing`` and the tables L1Mu, L1EG,
L1Tau, L1Jet, L1EtSum, L1BMTFStub, L1CaloTower. The writer stores physical values by default and
hardware integers (``hwPt``, ``hwEta``, ...) on request; integers are taken where both are.

Source of names and meanings: the public configuration of the CMS scouting NanoAOD
(PhysicsTools/NanoAOD, l1scoutingrun3_cff) and its table producers. Calorimeter azimuth is
hw * 0.0435 there, as in the scouting unpacker.

Not carried by these files, so absent from the tables: isolation of muons, the displaced bit of
jets, and centrality, of which the unpacker keeps four of the eight bits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.streams.block import ORBIT_BX, Table
from scout40.streams.formats.bmtf import BmtfStub
from scout40.streams.formats.calo import CaloEgamma, CaloJet, CaloTau
from scout40.streams.formats.gmt import GmtMuon
from scout40.streams.formats.tower import CaloTower
from scout40.streams.formats.ugt import UgtMuon
from scout40.streams.layout import Bits
from scout40.streams.sources.root_codes import Plan, Tally, ragged, table_of
from scout40.streams.sources.root_file import Column, Ntuple, Ragged
from scout40.streams.sources.root_layout import (
    Places,
    Rows,
    block_of,
    good_rows,
    orbits_and_crossings,
    signature,
)
from scout40.streams.sources.root_sums import (
    SumsPlan,
    single_sums,
    single_sums_of,
    sums_of,
    sums_plan,
)

Array = npt.NDArray[Any]

STATION_ETA = dataclasses.replace(GmtMuon.fields["hw_eta_first"], name="hw_eta")
STATION = Bits(0, 3, "muon station 1..4", name="station")
SECTOR = Bits(0, 4, "sector 0..11 of the barrel muon track finder", name="sector")
TAG = Bits(0, 1, "1 for the first stub of a station and wheel", name="tag")

_MU = UgtMuon.fields
_EG, _TAU, _JET = CaloEgamma.fields, CaloTau.fields, CaloJet.fields
_STUB, _TOWER = BmtfStub.fields, CaloTower.fields

Choice = tuple[Bits, str, str]
"""Field, branch with the integer ("" when never), branch with the physical value ("" likewise)."""

MUON: tuple[Choice, ...] = (
    (_MU["hw_pt"], "hwPt", "pt"),
    (_MU["hw_eta_at_vtx"], "hwEtaAtVtx", "etaAtVtx"),
    (_MU["hw_phi_at_vtx"], "hwPhiAtVtx", "phiAtVtx"),
    (_MU["hw_qual"], "hwQual", ""),
    (_MU["tf_muon_index"], "tfMuonIndex", ""),
    (_MU["hw_phi"], "hwPhi", "phi"),
    (STATION_ETA, "hwEta", "eta"),
    (_MU["hw_pt_unconstrained"], "hwPtUnconstrained", "ptUnconstrained"),
    (_MU["hw_dxy"], "hwDXY", ""),
    (_MU["hw_iso"], "hwIso", ""),
)


def calo(fields: Mapping[str, Bits], *more: Choice) -> tuple[Choice, ...]:
    """The columns that e/gamma, taus and jets share, and ``more``."""
    return (
        (fields["hw_et"], "hwPt", "pt"),
        (fields["hw_eta"], "hwEta", "eta"),
        (fields["hw_phi"], "hwPhi", "phi"),
        *more,
    )


STUB: tuple[Choice, ...] = (
    (_STUB["hw_phi"], "hwPhi", ""),
    (_STUB["hw_phib"], "hwPhiB", ""),
    (_STUB["hw_qual"], "hwQual", ""),
    (_STUB["hw_eta"], "hwEta", ""),
    (_STUB["hw_qeta"], "hwQEta", ""),
    (STATION, "station", ""),
    (_STUB["wheel"], "wheel", ""),
    (SECTOR, "sector", ""),
    (TAG, "tag", ""),
)

TOWER: tuple[Choice, ...] = (
    (_TOWER["hw_et"], "hwEt", "pt"),
    (_TOWER["er_bits"], "erBits", ""),
    (_TOWER["misc_bits"], "miscBits", ""),
    (_TOWER["hw_phi"], "hwPhi", "phi"),
    (_TOWER["hw_eta"], "hwEta", "eta"),
)

TABLES: dict[str, tuple[str, tuple[Choice, ...]]] = {
    "mu": ("L1Mu", MUON),
    "eg": ("L1EG", calo(_EG, (_EG["hw_iso"], "hwIso", ""))),
    "tau": ("L1Tau", calo(_TAU, (_TAU["hw_iso"], "hwIso", ""))),
    "jet": ("L1Jet", calo(_JET, (_JET["hw_qual"], "hwQual", ""))),
    "stub": ("L1BMTFStub", STUB),
    "tower": ("L1CaloTower", TOWER),
}
"""Table -> prefix of its branches and their columns; ``sums`` (L1EtSum) is read by root_sums."""

SIGN_PLANS = tuple(Plan(_MU[name], name, "hardware") for name in ("hw_sign", "hw_charge_valid"))
"""The columns of ``sign_columns``."""

SUMS = "L1EtSum"


def plans_for(ntuple: Ntuple, prefix: str, choices: tuple[Choice, ...]) -> list[Plan]:
    """Columns that the file has: the integer where there is one, else the physical value."""
    plans = []
    for bits, integer, physical in choices:
        if integer and ntuple.has(f"{prefix}_{integer}"):
            plans.append(Plan(bits, f"{prefix}_{integer}", "hardware"))
        elif physical and ntuple.has(f"{prefix}_{physical}"):
            first = 1 if bits is _TOWER["hw_phi"] else 0
            plans.append(Plan(bits, f"{prefix}_{physical}", "nearest", first=first))
    names = {plan.bits.name for plan in plans}
    return plans if names & {"hw_pt", "hw_et", "hw_qual"} else []


@dataclass
class ScoutingNano:
    """The layout of one ntuple; see the module docstring."""

    ntuple: Ntuple
    tables: dict[str, list[Plan]]
    sums: SumsPlan | None
    single: list[Plan]
    contiguous: bool
    places: Places
    per_orbit: bool = False
    name: str = field(init=False)
    signature: tuple[object, ...] = field(init=False)

    def __post_init__(self) -> None:
        columns = {name: [p.bits.name for p in plans] for name, plans in self.tables.items()}
        if "mu" in columns and self._charge:
            columns["mu"] += ["hw_sign", "hw_charge_valid"]
        if self.sums is not None or self.single:
            one = [p.bits.name for p in self.single]
            columns["sums"] = self.sums.columns() if self.sums is not None else one
        rows = "whole orbits" if self.contiguous else "single crossings, neighbours not known"
        self.name = f"scouting NanoAOD ({', '.join(columns)}; {rows})"
        self.signature = signature(self.name, columns, self.places)

    @classmethod
    def look(cls, ntuple: Ntuple) -> ScoutingNano | None:
        """The layout of an ntuple that has it, else None.

        Central NanoAOD has the same table names; it has ``event``, scouting does not.
        """
        places = Places.of(ntuple)
        if places.orbit is None or places.bx is None or places.event is not None:
            return None
        found = {name: plans_for(ntuple, *at) for name, at in TABLES.items()}
        tables = {name: plans for name, plans in found.items() if plans}
        sums = sums_plan(ntuple, SUMS, counts_from_pt=True)
        single = single_sums(ntuple, SUMS) if sums is None else []
        if not tables and sums is None and not single:
            return None
        return cls(ntuple, tables, sums, single, whole_orbits(ntuple, places), places)

    @property
    def _charge(self) -> bool:
        return self.ntuple.has("L1Mu_hwCharge")

    def branches(self) -> list[str]:
        names = self.places.branches() + [p.branch for ps in self.tables.values() for p in ps]
        if self._charge:
            names.append("L1Mu_hwCharge")
        names += self.sums.branches() if self.sums is not None else []
        return names + [plan.branch for plan in self.single]

    def rows(self, start: int, stop: int, first_row: int) -> Rows:
        """See Layout; the crossing number must be known, -1 is bad here."""
        columns = self.ntuple.read(self.branches(), start, stop)
        file, tally = self.ntuple.file, Tally()
        orbit, bx, good, found = orbits_and_crossings(
            self.places, columns, stop - start, first_row, known=True
        )
        tables: dict[str, Table] = {}
        for name, plans in self.tables.items():
            if name == "mu" and self._charge:
                columns, plans = _with_charge(columns, plans)
            tables[name] = table_of(name, plans, columns, tally, file)
        usable = np.ones(len(good), np.bool_)
        if self.sums is not None:
            tables["sums"], usable = sums_of(self.sums, columns, tally, file)
        elif self.single:
            tables["sums"], usable = single_sums_of(self.single, columns, tally)
        block = block_of(
            orbit, bx, tables, self.places.crossing(columns), contiguous=self.contiguous,
            scouting=True,
        )  # fmt: skip
        return good_rows(block, good, usable, tally, file, start, found)


def _with_charge(
    columns: Mapping[str, Column], plans: list[Plan]
) -> tuple[dict[str, Column], list[Plan]]:
    """Adds the columns of L1Mu_hwCharge."""
    made = sign_columns(ragged(columns["L1Mu_hwCharge"]))
    return {**columns, **made}, [*plans, *SIGN_PLANS]


def sign_columns(charge: Ragged) -> dict[str, Column]:
    """hw_sign and hw_charge_valid of scouting's charge: +1, -1, or 0 when not valid."""
    values = charge.values.astype(np.int64)
    # A value that is no charge becomes one that no bit can hold, so the muon counts as bad.
    valid = np.where(np.abs(values) > 1, 2, np.abs(values))
    return {
        "hw_sign": Ragged((values < 0).astype(np.int64), charge.offsets),
        "hw_charge_valid": Ragged(valid, charge.offsets),
    }


def whole_orbits(ntuple: Ntuple, places: Places) -> bool:
    """True when the first orbit of the file has all 3564 crossings.

    The writer stores every crossing, or those of a selection, or those that are not empty, and
    the file does not say which. Only of the first it is known that no crossing is missing.
    """
    if ntuple.entries < ORBIT_BX or places.orbit is None or places.bx is None:
        return False
    first = ntuple.read([places.orbit, places.bx], 0, min(ntuple.entries, ORBIT_BX + 1))
    orbit, bx = np.asarray(first[places.orbit]), np.asarray(first[places.bx])
    if orbit.ndim != 1 or bx.ndim != 1:
        return False
    complete = np.array_equal(bx[:ORBIT_BX], np.arange(1, ORBIT_BX + 1))
    return complete and bool(np.all(orbit[:ORBIT_BX] == orbit[0]))
