"""Trigger objects of NanoAOD (``TrigObj``) as far as they tell about Level-1 objects.

Each object is one of the high-level trigger (HLT) with the momentum, isolation and charge of the
Level-1 object that lies nearest (``l1pt`` 0: none). Their eta and phi are those of the HLT object
and not used: a Level-1 decision must not rest on them. So the tables have momenta, isolation
and charge only, conditions on anything else are not evaluated, and because a Level-1 object
without an HLT object near it is missing, a decision can be missing but not invented (but for
conditions with NOT).

- id 11, 22 -> eg; 13 -> mu; 15 -> tau; 1, 6 -> jet; 2 (MET) -> l1pt ETM, l1pt_2 ETMHF;
  3 (HT) -> l1pt HTT; 4 (MHT) -> l1pt HTM, l1pt_2 HTMHF.
- One Level-1 object near several HLT objects appears several times. Entries of a row with
  equal l1pt, l1iso and l1charge whose HLT objects lie within twice the matching distance (0.3;
  muons 0.5) count once.
- ``l1pt`` keeps 8 bits after the leading one, cut off: from 256 GeV it is up to 0.5, from
  512 GeV up to 1.5 GeV too low; overflow reads 1022 (jets) or 2044 (sums) and stays so.

Source: TriggerObjectTableProducer and triggerObjects_cff of CMS NanoAOD.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.streams.block import Table, offsets_of
from scout40.streams.formats.calo import CaloEgamma, CaloJet, CaloSums, CaloTau
from scout40.streams.formats.ugt import UgtMuon
from scout40.streams.layout import Bits
from scout40.streams.sources.root_codes import (
    Plan,
    Tally,
    in_momentum_order,
    ragged,
    same_offsets,
    table_of,
)
from scout40.streams.sources.root_file import Column, Ntuple, Ragged

Array = npt.NDArray[Any]

PREFIX = "TrigObj"
NEEDED = ("id", "l1pt", "eta", "phi")

IDS = {"mu": (13,), "eg": (11, 22), "tau": (15,), "jet": (1, 6)}
REACH = {"mu": 1.0, "eg": 0.6, "tau": 0.6, "jet": 0.6}
"""Greatest distance of two HLT objects that belong to the same Level-1 object."""
MOST = {"mu": 8, "eg": 12, "tau": 12, "jet": 12}

SUMS = ((2, "l1pt", "hw_etm"), (2, "l1pt_2", "hw_etmhf"), (3, "l1pt", "hw_htt"),
        (4, "l1pt", "hw_htm"), (4, "l1pt_2", "hw_htmhf"))  # fmt: skip
"""(id, branch, column of ``sums``)."""

_MU, _EG, _TAU, _JET = UgtMuon.fields, CaloEgamma.fields, CaloTau.fields, CaloJet.fields


@dataclass(frozen=True)
class TriggerObjects:
    """Which of the optional branches a file has."""

    iso: bool
    charge: bool
    second: bool

    @classmethod
    def look(cls, ntuple: Ntuple) -> TriggerObjects | None:
        """None when one of the branches that are needed is missing."""
        if not all(ntuple.has(f"{PREFIX}_{name}") for name in NEEDED):
            return None
        has = [ntuple.has(f"{PREFIX}_{name}") for name in ("l1iso", "l1charge", "l1pt_2")]
        return cls(*has)

    def branches(self) -> list[str]:
        names = list(NEEDED)
        names += ["l1iso"] if self.iso else []
        names += ["l1charge"] if self.charge else []
        names += ["l1pt_2"] if self.second else []
        return [f"{PREFIX}_{name}" for name in names]

    def columns(self) -> dict[str, list[str]]:
        """Column names of every table."""
        found = {name: [plan.bits.name for plan in self._plans(name)] for name in IDS}
        return found | {"sums": [column for _, _, column in self._sums()]}

    def _sums(self) -> list[tuple[int, str, str]]:
        chosen = [row for row in SUMS if self.second or row[1] != "l1pt_2"]
        order = list(CaloSums.fields)
        return sorted(chosen, key=lambda row: order.index(row[2]))

    def _plans(self, table: str) -> list[Plan]:
        fields: dict[str, Mapping[str, Bits]] = {"mu": _MU, "eg": _EG, "tau": _TAU, "jet": _JET}
        own = fields[table]
        momentum = own["hw_pt"] if table == "mu" else own["hw_et"]
        plans = [Plan(momentum, f"{PREFIX}_l1pt", "floor")]
        if self.iso and "hw_iso" in own:
            plans.append(Plan(own["hw_iso"], f"{PREFIX}_l1iso", "hardware"))
        if self.charge and table == "mu":
            plans.append(Plan(own["hw_sign"], "hw_sign", "hardware"))
            plans.append(Plan(own["hw_charge_valid"], "hw_charge_valid", "hardware"))
        return plans

    def tables(self, columns: Mapping[str, Column], tally: Tally, file: str) -> dict[str, Table]:
        """Tables mu, eg, tau, jet, sums of a chunk."""
        lists = {name: ragged(columns[name]) for name in self.branches()}
        offsets = same_offsets(lists, file)
        values = {name.removeprefix(f"{PREFIX}_"): found.values for name, found in lists.items()}
        made = dict(columns)
        if self.charge:
            charge = values["l1charge"].astype(np.int64)
            made["hw_sign"] = Ragged((charge < 0).astype(np.int64), offsets)
            valid = np.where(np.abs(charge) > 1, 2, np.abs(charge))
            made["hw_charge_valid"] = Ragged(valid, offsets)
        rows = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        matched = ~(values["l1pt"].astype(np.float64) == 0)
        out = {}
        for name, ids in IDS.items():
            mine = matched & np.isin(values["id"], ids)
            mine &= ~_repeated(values, rows, mine, REACH[name])
            table = table_of(name, self._plans(name), made, tally, file, mine)
            key = "hw_pt" if name == "mu" else "hw_et"
            out[name] = in_momentum_order(table, key, MOST[name], name, tally)
        out["sums"] = self._sums_table(values, rows, len(offsets) - 1, tally)
        return out

    def _sums_table(
        self, values: Mapping[str, Array], rows: Array, total: int, tally: Tally
    ) -> Table:
        """One row where any sum is known; the others of that row read 0, as below every cut."""
        out: dict[str, Array] = {}
        full = np.zeros(total, np.bool_)
        for kind, branch, column in self._sums():
            mine = values["id"] == kind
            plan = Plan(CaloSums.fields[column], branch, "floor")
            codes, bad, _ = plan.codes(values[branch][mine])
            tally.received += int(mine.sum())
            tally.out += int((~bad).sum())
            if bad.any():
                tally.bad[f"sums {column} not usable"] += int(bad.sum())
            best = np.zeros(total, np.int64)
            np.maximum.at(best, rows[mine][~bad], codes[~bad])
            full |= best > 0
            out[column] = best.astype(plan.bits.dtype)
        return Table({name: v[full] for name, v in out.items()}, offsets_of(full.astype(np.int32)))


def _repeated(
    values: Mapping[str, Array], rows: Array, mine: npt.NDArray[np.bool_], reach: float
) -> npt.NDArray[np.bool_]:
    """Objects that an earlier one of the same row already stands for."""
    at = np.flatnonzero(mine)
    keys = [values[name][at] for name in ("l1pt", "l1iso", "l1charge") if name in values]
    eta = values["eta"][at].astype(np.float64)
    phi = values["phi"][at].astype(np.float64)
    same = np.zeros(len(mine), np.bool_)
    gone = np.zeros(len(at), np.bool_)
    # Rows have few objects: compare each with the one 1, 2, 3, ... places before it.
    longest = int(np.bincount(rows[at]).max()) if len(at) else 0
    for step in range(1, min(longest, 256)):
        match = rows[at][step:] == rows[at][:-step]
        for key in keys:
            match &= key[step:] == key[:-step]
        apart = np.abs(phi[step:] - phi[:-step]) % (2 * np.pi)
        apart = np.minimum(apart, 2 * np.pi - apart)
        match &= np.hypot(eta[step:] - eta[:-step], apart) < reach
        gone[step:] |= match
    same[at] = gone
    return same
