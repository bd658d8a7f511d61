"""Plain muon and jet trees, read through a branch map (branch_map.py).

Physical values become hardware integers by the rule ``floor`` of root_codes: the bin of the
Level-1 scale that the value lies in. Objects are put in falling order of momentum and cut to
what the hardware sends, 8 muons and 12 of each other type; trigger towers are taken as they are.
Rows are independent events.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.streams.block import Table, offsets_of
from scout40.streams.errors import BadInput
from scout40.streams.formats.tower import IETAS, IPHIS
from scout40.streams.formats.ugt import UgtSums
from scout40.streams.sources.branch_map import (
    INDICES,
    MISSING,
    WORDS,
    BranchMap,
    Group,
    columns_of,
)
from scout40.streams.sources.central_nano import packed_bits
from scout40.streams.sources.root_codes import (
    Plan,
    Rule,
    Tally,
    in_momentum_order,
    ragged,
    same_offsets,
    table_of,
)
from scout40.streams.sources.root_file import Column, Ntuple, Ragged
from scout40.streams.sources.root_layout import (
    Rows,
    block_of,
    flat,
    good_rows,
    missing_text,
    orbits_and_crossings,
    signature,
)

Array = npt.NDArray[Any]

MOST = {"mu": 8, "eg": 12, "tau": 12, "jet": 12}


@dataclass
class FlatTree:
    """The layout of one ntuple through a map; see the module docstring."""

    ntuple: Ntuple
    map: BranchMap
    recorded_names: tuple[str, ...] = field(init=False)
    contiguous: bool = False
    per_orbit: bool = False
    name: str = field(init=False)
    signature: tuple[object, ...] = field(init=False)

    def __post_init__(self) -> None:
        missing = [name for name in self.map.branches() if not self.ntuple.has(name)]
        if missing:
            raise BadInput(
                f"{self.ntuple.kind} {self.ntuple.name} lacks branches of the map "
                f"{self.map.file}: {missing_text(missing, self.ntuple.branches)}",
                file=self.ntuple.file,
            )
        prefix = self.map.recorded_prefix
        found = [n for n in self.ntuple.branches if prefix is not None and n.startswith(prefix)]
        self.recorded_names = tuple(dict.fromkeys([*self.map.recorded_names, *found]))
        columns = {name: columns_of(name, groups[0]) for name, groups in self.map.groups.items()}
        if self.map.sums:
            columns["sums"] = tuple(plan.bits.name for plan in self._sums_plans())
        self.name = f"tree {self.ntuple.name} through the map {self.map.file}: {', '.join(columns)}"
        self.signature = signature("map", columns, self.recorded_names, self.map.places)

    def rows(self, start: int, stop: int, first_row: int) -> Rows:
        """See Layout."""
        names = [*self.map.branches(), *self.recorded_names]
        columns = self.ntuple.read(names, start, stop)
        file, tally = self.ntuple.file, Tally()
        orbit, bx, good, found = orbits_and_crossings(
            self.map.places, columns, stop - start, first_row
        )
        tables = {}
        for name, groups in self.map.groups.items():
            tables[name] = self._objects(name, groups, columns, tally, stop - start)
            if name in MOST:
                key = "hw_pt" if name == "mu" else "hw_et"
                tables[name] = in_momentum_order(tables[name], key, MOST[name], name, tally)
        usable = np.ones(len(good), np.bool_)
        if self.map.sums:
            tables["sums"], usable = self._sums(columns, stop - start, tally)
        crossing = self.map.places.crossing(columns)
        if self.recorded_names:
            crossing["recorded"] = packed_bits(columns, self.recorded_names)
        block = block_of(orbit, bx, tables, crossing, recorded_names=self.recorded_names)
        return good_rows(block, good, usable, tally, file, start, found)

    def _objects(
        self,
        name: str,
        groups: tuple[Group, ...],
        columns: Mapping[str, Column],
        tally: Tally,
        rows: int,
    ) -> Table:
        """The objects of all groups, those of the first group first in every row."""
        parts = [self._group(name, group, columns, tally, rows) for group in groups]
        if len(parts) == 1:
            return parts[0]
        counts = np.stack([part.counts() for part in parts], axis=1)
        # Row after row, and in a row group after group: a stable sort of the joined objects.
        row = np.concatenate([np.repeat(np.arange(rows), part.counts()) for part in parts])
        order = np.argsort(row, kind="stable")
        joined = {
            key: np.concatenate([part[key] for part in parts])[order] for key in parts[0].columns
        }
        return Table(joined, offsets_of(counts.sum(axis=1)))

    def _group(
        self, name: str, group: Group, columns: Mapping[str, Column], tally: Tally, rows: int
    ) -> Table:
        branches = {branch: ragged(columns[branch]) for branch in group.branches()}
        if not branches:
            raise BadInput(f"[[{name}]] of the map names no branch", file=self.map.file)
        offsets = same_offsets(branches, self.ntuple.file)
        values = {
            key: branches[at].values if isinstance(at, str) else np.full(offsets[-1], at)
            for key, at in group.sources.items()
        }
        keep = None
        if group.where is not None:
            keep = np.isin(branches[group.where.branch].values, group.where.values)
        made, plans = {}, []
        if name == "tower":
            values = _tower_indices(values)
        fields = WORDS[name].fields
        for column in columns_of(name, group):
            found, rule = _value(column, values, self.map.unit)
            made[column] = Ragged(found, offsets)
            plans.append(Plan(fields[column], column, rule))
        return table_of(name, plans, made, tally, self.ntuple.file, keep)

    def _sums_plans(self) -> list[Plan]:
        keys = set(self.map.sums)
        plans = []
        for column, bits in UgtSums.fields.items():
            plain = column.removeprefix("hw_")
            vector = plain.removesuffix("_phi") in MISSING
            if column in keys:
                plans.append(Plan(bits, column, "hardware"))
            elif plain in keys or (vector and f"{plain.removesuffix('_phi')}_px" in keys):
                plans.append(Plan(bits, column, "floor"))
        return plans

    def _sums(
        self, columns: Mapping[str, Column], rows: int, tally: Tally
    ) -> tuple[Table, npt.NDArray[np.bool_]]:
        values = {
            key: flat(columns, at) if isinstance(at, str) else np.full(rows, at)
            for key, at in self.map.sums.items()
        }
        good = np.ones(rows, np.bool_)
        out = {}
        for plan in self._sums_plans():
            plain = plan.bits.name.removeprefix("hw_")
            base = plain.removesuffix("_phi")
            if plan.rule == "hardware":
                found = values[plan.bits.name]
            elif f"{base}_px" in values:
                pair = {"px": values[f"{base}_px"], "py": values[f"{base}_py"]}
                found = _azimuth(pair) if plain != base else _momentum(pair) * self.map.unit
            else:
                found = values[plain].astype(np.float64) * (1.0 if plain != base else self.map.unit)
            codes, bad, _ = plan.codes(found)
            good &= ~bad
            out[plan.bits.name] = codes.astype(plan.bits.dtype)
        tally.received += rows
        tally.out += int(good.sum())
        if not good.all():
            tally.bad["sums of a row incomplete or not usable"] += int((~good).sum())
        return Table(out, offsets_of(np.ones(rows, np.int32))), good


def _tower_indices(values: Mapping[str, Array]) -> dict[str, Array]:
    """The indices as hardware columns; one that no tower has fits no bits, so it counts as bad."""
    made = {INDICES.get(key, key): found for key, found in values.items()}
    eta, phi = made["hw_eta"], made["hw_phi"]
    made["hw_eta"] = np.where(np.isin(eta, IETAS), eta, 1000.0)
    made["hw_phi"] = np.where((phi >= 1) & (phi <= IPHIS), phi, 1000.0)
    return made


def _value(column: str, values: Mapping[str, Array], unit: float) -> tuple[Array, Rule]:
    """Values of one hardware column, and how they become codes."""
    if column in values:
        return values[column], "hardware"
    if column in {"hw_pt", "hw_et"}:
        plain = next((values[key] for key in ("pt", "et") if key in values), None)
        energy = _momentum(values) if plain is None else plain.astype(np.float64)
        return energy * unit, "floor"
    if column in {"hw_sign", "hw_charge_valid"}:
        charge = values["charge"]
        known = np.isfinite(charge.astype(np.float64)) & (charge != 0)
        found = (charge < 0) if column == "hw_sign" else known
        return found.astype(np.int64), "hardware"
    if column in {"hw_eta", "hw_eta_at_vtx"}:
        return (values["eta"] if "eta" in values else _pseudorapidity(values)), "floor"
    return (values["phi"] if "phi" in values else _azimuth(values)), "floor"


def _momentum(values: Mapping[str, Array]) -> npt.NDArray[np.float64]:
    return np.hypot(values["px"].astype(np.float64), values["py"].astype(np.float64))


def _azimuth(values: Mapping[str, Array]) -> npt.NDArray[np.float64]:
    return np.arctan2(values["py"].astype(np.float64), values["px"].astype(np.float64))


def _pseudorapidity(values: Mapping[str, Array]) -> npt.NDArray[np.float64]:
    """asinh(pz / pt); +-100, outside every scale, along the beam."""
    momentum, along = _momentum(values), values["pz"].astype(np.float64)
    beam = momentum == 0
    with np.errstate(over="ignore", invalid="ignore"):
        eta = np.arcsinh(along / np.where(beam, 1.0, momentum))
    return np.where(beam, np.copysign(100.0, along), eta)
