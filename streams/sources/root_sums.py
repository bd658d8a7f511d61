"""Energy sums of NanoAOD: a list of (type, value, azimuth) per row, as one row of columns.

The types are the numbers of the CMS enumeration ``l1t::EtSum::EtSumType``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.streams.block import Table, offsets_of
from scout40.streams.errors import BadInput
from scout40.streams.formats.calo import CaloSums
from scout40.streams.sources.root_codes import Plan, Rule, Tally, ragged, same_offsets
from scout40.streams.sources.root_file import Column, Ntuple, Ragged

Array = npt.NDArray[Any]

SUM_TYPES: dict[int, str] = {
    0: "hw_ett",
    1: "hw_htt",
    2: "hw_etm",
    3: "hw_htm",
    8: "hw_etmhf",
    11: "hw_mbt0hfp",
    12: "hw_mbt0hfm",
    13: "hw_mbt1hfp",
    14: "hw_mbt1hfm",
    16: "hw_ettem",
    20: "hw_htmhf",
    21: "hw_tower_count",
    23: "hw_asymet",
    24: "hw_asymht",
    25: "hw_asymethf",
    26: "hw_asymhthf",
}
"""EtSumType -> column of the table ``sums``.

Not here: 4..7, 9, 10, 18, 19 components, 15 and 17 sums with HF that the global trigger does not
get, and 22 centrality, of which scouting keeps four of the eight bits.
"""

COUNTS = frozenset({"hw_mbt0hfp", "hw_mbt0hfm", "hw_mbt1hfp", "hw_mbt1hfm", "hw_tower_count"})
"""Columns that count something: under ``pt`` scouting stores the integer itself."""

ASYMMETRIES = frozenset({"hw_asymet", "hw_asymht", "hw_asymethf", "hw_asymhthf"})
"""Columns that scouting converts like energies, hw / 2, though they are none."""

LOOK = 1 << 14
"""Entries looked at to find out which sums a file carries."""


@dataclass(frozen=True)
class SumsPlan:
    """Which branches hold the sums, and the columns that they give.

    types: the EtSumTypes that every row carries. bx: branch of relative crossing numbers, of
    which only 0 is taken.
    """

    prefix: str
    types: tuple[int, ...]
    rule: Rule
    bx: str | None = None

    @property
    def value(self) -> str:
        return f"{self.prefix}_hwPt" if self.rule == "hardware" else f"{self.prefix}_pt"

    @property
    def azimuth(self) -> str:
        return f"{self.prefix}_hwPhi" if self.rule == "hardware" else f"{self.prefix}_phi"

    @property
    def kind(self) -> str:
        return f"{self.prefix}_etSumType"

    def branches(self) -> list[str]:
        names = [self.kind, self.value, self.azimuth]
        return [*names, self.bx] if self.bx is not None else names

    def columns(self) -> list[str]:
        """Columns of the table, in the order of the declared words."""
        names = {SUM_TYPES[kind] for kind in self.types}
        names |= {f"{name}_phi" for name in names if f"{name}_phi" in CaloSums.fields}
        return [name for name in CaloSums.fields if name in names]


def sums_plan(ntuple: Ntuple, prefix: str, *, counts_from_pt: bool) -> SumsPlan | None:
    """The plan for ``<prefix>_etSumType`` and its companions; None where they are not.

    counts_from_pt: ``pt`` of a count is the count itself (scouting). Elsewhere counts are taken
    from ``hwPt`` only.
    """
    bx = f"{prefix}_bx" if ntuple.has(f"{prefix}_bx") else None
    rules: list[Rule] = ["hardware", "nearest"]
    for rule in rules:
        plan = SumsPlan(prefix, (), rule, bx)
        if all(ntuple.has(name) for name in plan.branches()):
            break
    else:
        return None
    names = [plan.kind] if bx is None else [plan.kind, bx]
    found = ntuple.read(names, 0, min(ntuple.entries, LOOK))
    kinds = ragged(found[plan.kind]).values
    if bx is not None:
        kinds = kinds[ragged(found[bx]).values == 0]
    usable = set(SUM_TYPES)
    if rule == "nearest" and not counts_from_pt:
        usable -= {kind for kind, name in SUM_TYPES.items() if name in COUNTS | ASYMMETRIES}
    types = tuple(sorted(usable & set(np.unique(kinds).tolist())))
    return SumsPlan(prefix, types, rule, bx)


def sums_of(
    plan: SumsPlan, columns: Mapping[str, Column], tally: Tally, file: str
) -> tuple[Table, npt.NDArray[np.bool_]]:
    """The table ``sums`` and which rows are good.

    A row without any sum has none. A row that lacks one of the types of the plan, or whose values
    do not fit, is bad: a missing value must not read as zero.
    """
    branches = {name: ragged(columns[name]) for name in plan.branches()}
    offsets = same_offsets(branches, file)
    rows = len(offsets) - 1
    row = np.repeat(np.arange(rows), np.diff(offsets))
    kinds = branches[plan.kind].values
    here = np.zeros(len(kinds), np.bool_)
    for kind in plan.types:
        here |= kinds == kind
    if plan.bx is not None:
        here &= branches[plan.bx].values == 0
    full = np.zeros(rows, np.bool_)
    full[row[here]] = True
    good = np.ones(rows, np.bool_)
    place = np.cumsum(full) - 1
    out: dict[str, Array] = {}
    for kind in plan.types:
        mine = here & (kinds == kind)
        has = np.zeros(rows, np.bool_)
        has[row[mine]] = True
        good &= ~full | has
        for column in _columns_of(plan, kind):
            codes, bad, _ = column.codes(branches[column.branch].values[mine])
            good[row[mine][bad]] = False
            values = np.zeros(int(full.sum()), column.bits.dtype)
            values[place[row[mine]]] = codes.astype(column.bits.dtype)
            out[column.bits.name] = values
    tally.received += int(full.sum())
    tally.out += int((full & good).sum())
    lost = int((full & ~good).sum())
    if lost:
        tally.bad["sums of a row incomplete or not usable"] += lost
    ordered = {name: out[name] for name in plan.columns()}
    return Table(ordered, offsets_of(full.astype(np.int32))), good


def _columns_of(plan: SumsPlan, kind: int) -> list[Plan]:
    name = SUM_TYPES[kind]
    bits = CaloSums.fields[name]
    rule = plan.rule
    if rule == "nearest" and name in COUNTS:
        rule = "hardware"
    if rule == "nearest" and name in ASYMMETRIES:
        # The same conversion as an energy, which the declared word does not have.
        bits = bits.rescaled(CaloSums.hw_ett.scale) if CaloSums.hw_ett.scale else bits
    found = [Plan(bits, plan.value, rule)]
    azimuth = CaloSums.fields.get(f"{name}_phi")
    if azimuth is not None:
        found.append(Plan(azimuth, plan.azimuth, plan.rule))
    return found


SINGLE = {
    "hw_ett": "totalEt",
    "hw_ettem": "totalEtEm",
    "hw_etm": "missEt",
    "hw_etm_phi": "missEtPhi",
    "hw_etmhf": "missEtHF",
    "hw_etmhf_phi": "missEtHFPhi",
    "hw_htt": "totalHt",
    "hw_htm": "missHt",
    "hw_htm_phi": "missHtPhi",
    "hw_htmhf": "missHtHF",
    "hw_htmhf_phi": "missHtHFPhi",
}
"""Column -> name of a sum in the form with one branch per sum; ``hwTotalEt`` is the integer."""

SINGLE_COUNTS = {
    "hw_tower_count": "towerCount",
    "hw_mbt0hfp": "minBiasHFP0",
    "hw_mbt0hfm": "minBiasHFM0",
    "hw_mbt1hfp": "minBiasHFP1",
    "hw_mbt1hfm": "minBiasHFM1",
}
"""Column -> name of a count in that form; there is only the integer."""


def single_sums(ntuple: Ntuple, prefix: str) -> list[Plan]:
    """Columns of the form with one branch per sum (``<prefix>_totalEt``, ``_hwTotalEt``, ...)."""
    plans: list[Plan] = []
    for column, name in SINGLE.items():
        hardware, physical = f"{prefix}_hw{name[0].upper()}{name[1:]}", f"{prefix}_{name}"
        if ntuple.has(hardware):
            plans.append(Plan(CaloSums.fields[column], hardware, "hardware"))
        elif ntuple.has(physical):
            plans.append(Plan(CaloSums.fields[column], physical, "nearest"))
    for column, name in SINGLE_COUNTS.items():
        if ntuple.has(f"{prefix}_{name}"):
            plans.append(Plan(CaloSums.fields[column], f"{prefix}_{name}", "hardware"))
    return plans


def single_sums_of(
    plans: Sequence[Plan], columns: Mapping[str, Column], tally: Tally
) -> tuple[Table, npt.NDArray[np.bool_]]:
    """The table ``sums`` of one value per row, and which rows are good."""
    out: dict[str, Array] = {}
    good: npt.NDArray[np.bool_] | None = None
    rows = 0
    for plan in plans:
        column = columns[plan.branch]
        if isinstance(column, Ragged):
            raise BadInput("has a list per entry, one value expected", field=plan.branch)
        rows = len(column)
        codes, bad, _ = plan.codes(column)
        good = ~bad if good is None else good & ~bad
        out[plan.bits.name] = codes.astype(plan.bits.dtype)
    fine = good if good is not None else np.ones(rows, np.bool_)
    tally.received += rows
    tally.out += int(fine.sum())
    if rows > int(fine.sum()):
        tally.bad["sums of a row incomplete or not usable"] += rows - int(fine.sum())
    names = [name for name in CaloSums.fields if name in out]
    return Table({name: out[name] for name in names}, offsets_of(np.ones(rows, np.int32))), fine
