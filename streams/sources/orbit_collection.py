"""CMSSW files with scouting objects: one entry per orbit, ``OrbitCollection<T>`` products.

A product is a flat vector of objects and the offsets of its crossings (3566 of them: crossing b
owns offsets[b] to offsets[b + 1], b from 1). Uproot reads it when the file was written split,
one branch per member (``splitLevel`` 99, the default of CMSSW output); unsplit products are
stored memberwise, which uproot cannot read. The orbit number lies in ``EventAuxiliary``, which
uproot cannot read either: orbits are numbered by their entry, 0, 1, 2, ... .
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.streams.block import ORBIT_BX, Table, offsets_of
from scout40.streams.errors import BadInput
from scout40.streams.formats.bmtf import BmtfStub
from scout40.streams.formats.calo import CaloEgamma, CaloJet, CaloSums, CaloTau
from scout40.streams.formats.tower import CaloTower
from scout40.streams.formats.ugt import UgtMuon
from scout40.streams.layout import Bits
from scout40.streams.sources.root_codes import Plan, Tally, ragged, table_of
from scout40.streams.sources.root_file import Column, Ntuple, Ragged
from scout40.streams.sources.root_layout import Rows, block_of, signature
from scout40.streams.sources.scouting_nano import (
    SECTOR,
    SIGN_PLANS,
    STATION,
    STATION_ETA,
    TAG,
    sign_columns,
)

Array = npt.NDArray[Any]

PRODUCT = re.compile(r"l1ScoutingRun3(\w+?)OrbitCollection_[^/]*\.$")
RAW = re.compile(r"SDSRawDataCollection_[^/]*\.$")

_MU, _JET, _SUMS = UgtMuon.fields, CaloJet.fields, CaloSums.fields


def _calo(fields: Mapping[str, Bits]) -> dict[str, Bits]:
    names = {"hwEt_": "hw_et", "hwEta_": "hw_eta", "hwPhi_": "hw_phi", "hwIso_": "hw_iso"}
    return {member: fields[name] for member, name in names.items() if name in fields}


def _sums() -> dict[str, Bits]:
    names = {
        "TotalEt": "ett", "TotalEtEm": "ettem", "TotalHt": "htt", "MissEt": "etm",
        "MissEtPhi": "etm_phi", "MissHt": "htm", "MissHtPhi": "htm_phi", "MissEtHF": "etmhf",
        "MissEtHFPhi": "etmhf_phi", "MissHtHF": "htmhf", "MissHtHFPhi": "htmhf_phi",
        "AsymEt": "asymet", "AsymHt": "asymht", "AsymEtHF": "asymethf", "AsymHtHF": "asymhthf",
    }  # fmt: skip
    members = {f"hw{member}_": _SUMS[f"hw_{name}"] for member, name in names.items()}
    counts = {"HFP0": "mbt0hfp", "HFM0": "mbt0hfm", "HFP1": "mbt1hfp", "HFM1": "mbt1hfm"}
    members |= {f"minBias{member}_": _SUMS[f"hw_{name}"] for member, name in counts.items()}
    return members | {"towerCount_": _SUMS["hw_tower_count"]}


PRODUCTS: dict[str, tuple[str, dict[str, Bits]]] = {
    "Muon": (
        "mu",
        {
            "hwPt_": _MU["hw_pt"],
            "hwEtaAtVtx_": _MU["hw_eta_at_vtx"],
            "hwPhiAtVtx_": _MU["hw_phi_at_vtx"],
            "hwQual_": _MU["hw_qual"],
            "hwIso_": _MU["hw_iso"],
            "tfIndex_": _MU["tf_muon_index"],
            "hwPhi_": _MU["hw_phi"],
            "hwEta_": STATION_ETA,
            "hwPtUnconstrained_": _MU["hw_pt_unconstrained"],
            "hwDXY_": _MU["hw_dxy"],
        },
    ),
    "EGamma": ("eg", _calo(CaloEgamma.fields)),
    "Tau": ("tau", _calo(CaloTau.fields)),
    # The member that jets inherit as hwIso_ holds their quality.
    "Jet": ("jet", {**_calo(_JET), "hwIso_": _JET["hw_qual"]}),
    "BxSums": ("sums", _sums()),
    "BMTFStub": (
        "stub",
        {
            "hwPhi_": BmtfStub.fields["hw_phi"],
            "hwPhiB_": BmtfStub.fields["hw_phib"],
            "hwQual_": BmtfStub.fields["hw_qual"],
            "hwEta_": BmtfStub.fields["hw_eta"],
            "hwQEta_": BmtfStub.fields["hw_qeta"],
            "station_": STATION,
            "wheel_": BmtfStub.fields["wheel"],
            "sector_": SECTOR,
            "tag_": TAG,
        },
    ),
    "CaloTower": (
        "tower",
        {
            "hwEt_": CaloTower.fields["hw_et"],
            "erBits_": CaloTower.fields["er_bits"],
            "miscBits_": CaloTower.fields["misc_bits"],
            "hwEta_": CaloTower.fields["hw_eta"],
            "hwPhi_": CaloTower.fields["hw_phi"],
        },
    ),
}
"""Class of a product -> table and its members. Centrality is left out: half its bits are lost."""

CHARGE = "hwChrg_"
"""Member of muons that holds the charge, +1 or -1, 0 when it is not valid."""


@dataclass
class OrbitCollections:
    """The layout of one ntuple; see the module docstring."""

    ntuple: Ntuple
    tables: dict[str, list[Plan]]
    offsets: dict[str, str]
    charge: str | None = None
    contiguous: bool = True
    per_orbit: bool = True
    name: str = field(init=False)
    signature: tuple[object, ...] = field(init=False)

    def __post_init__(self) -> None:
        columns = {name: [p.bits.name for p in plans] for name, plans in self.tables.items()}
        if self.charge is not None:
            columns["mu"] += [plan.bits.name for plan in SIGN_PLANS]
        self.name = f"CMSSW scouting orbit collections ({', '.join(columns)})"
        self.signature = signature(self.name, columns)

    @classmethod
    def look(cls, ntuple: Ntuple) -> OrbitCollections | None:
        """The layout of an ntuple that has it, else None.

        Raises BadInput for products that are there but were stored so that uproot cannot read.
        """
        tables: dict[str, list[Plan]] = {}
        offsets: dict[str, str] = {}
        charge = None
        unsplit = []
        for product in ntuple.branches:
            found = PRODUCT.match(product)
            if found is None:
                if RAW.match(product):
                    unsplit.append(product)
                continue
            if found[1] not in PRODUCTS:
                continue
            table, members = PRODUCTS[found[1]]
            stem = f"{product}/{product}obj/{product}obj."
            if not ntuple.has(f"{stem}bxOffsets_"):
                unsplit.append(product)
            elif table not in tables:
                data = f"{stem}data_/{product}obj.data_."
                tables[table] = [
                    Plan(bits, data + member, "hardware")
                    for member, bits in members.items()
                    if ntuple.has(data + member)
                ]
                offsets[table] = f"{stem}bxOffsets_"
                charge = data + CHARGE if ntuple.has(data + CHARGE) else charge
        tables = {name: plans for name, plans in tables.items() if plans}
        if unsplit and not tables:
            raise BadInput(_why_not(ntuple, unsplit), file=ntuple.file)
        return cls(ntuple, tables, offsets, charge) if tables else None

    def rows(self, start: int, stop: int, first_row: int) -> Rows:
        """Entries [start, stop) are whole orbits: 3564 crossings each, empty ones left out."""
        branches = [plan.branch for plans in self.tables.values() for plan in plans]
        branches += [self.offsets[name] for name in self.tables]
        branches += [self.charge] if self.charge is not None else []
        columns = self.ntuple.read(branches, start, stop)
        tally = Tally()
        found = {}
        for name, plans in self.tables.items():
            limits = _crossing_offsets(columns[self.offsets[name]], stop - start, self.ntuple.file)
            objects = {plan.branch: columns[plan.branch] for plan in plans}
            if name == "mu" and self.charge is not None:
                objects |= sign_columns(ragged(columns[self.charge]))
                plans = [*plans, *SIGN_PLANS]
            found[name] = _by_crossing(name, plans, objects, limits, tally, self.ntuple.file)
        counts = np.stack([table.counts() for table in found.values()])
        full = np.flatnonzero(counts.any(axis=0))
        tables = {
            name: Table(table.columns, offsets_of(table.counts()[full]))
            for name, table in found.items()
        }
        orbit = (first_row + full // ORBIT_BX).astype(np.uint32)
        bx = (full % ORBIT_BX + 1).astype(np.uint16)
        block = block_of(orbit, bx, tables, {}, contiguous=True, scouting=True)
        block = block.replace(first_orbit=first_row, last_orbit=first_row + stop - start)
        return Rows(block, tally)


def _why_not(ntuple: Ntuple, products: list[str]) -> str:
    what = "unsplit CMSSW products, stored memberwise, which uproot cannot read"
    names = ", ".join(product.rstrip(".") for product in products[:8])
    return (
        f"{ntuple.kind} {ntuple.name} ({ntuple.entries} entries) holds {what}: {names}. Write it "
        "with splitLevel = 99, or as scouting NanoAOD; raw data (SDSRawDataCollection) can be "
        "given as the raw scouting files instead"
    )


def _crossing_offsets(column: Column, entries: int, file: str) -> npt.NDArray[np.int64]:
    """Offsets of crossings 0..3565 of each entry, shape (entries, 3566)."""
    if not isinstance(column, Ragged) or np.any(np.diff(column.offsets) != ORBIT_BX + 2):
        raise BadInput(f"an orbit needs {ORBIT_BX + 2} offsets", file=file, field="bxOffsets_")
    limits = column.values.astype(np.int64).reshape(entries, ORBIT_BX + 2)
    if np.any(limits[:, 0] != 0) or np.any(np.diff(limits, axis=1) < 0):
        raise BadInput("offsets do not rise from 0", file=file, field="bxOffsets_")
    return limits


def _by_crossing(
    name: str,
    plans: list[Plan],
    columns: Mapping[str, Column],
    limits: npt.NDArray[np.int64],
    tally: Tally,
    file: str,
) -> Table:
    """The table with one row for each of the 3564 crossings of each entry."""
    made: dict[str, Column] = {}
    for branch, column in columns.items():
        if not isinstance(column, Ragged) or np.any(np.diff(column.offsets) != limits[:, -1]):
            raise BadInput("another number of objects than the offsets say", file=file, field=name)
        starts = column.offsets[:-1, None] + limits[:, 1:-1]
        made[branch] = Ragged(column.values, np.concatenate([starts.ravel(), column.offsets[-1:]]))
    if np.any(limits[:, 1] != 0):
        raise BadInput("objects in crossing 0", file=file, field=name)
    return table_of(name, plans, made, tally, file)
