"""Branch maps: TOML files that say which branches of a plain tree are which Level-1 objects.

    tree = "events"               # which tree; needed when the file has several
    energy_unit = "GeV"           # or "MeV"; GeV when not given

    [crossing]                    # all optional
    run = "Run"
    lumi = "LumiBlock"
    event = "Event"
    orbit = "Orbit"
    bx = "Bx"

    [[mu]]                        # several [[mu]] are put behind each other
    pt = "Muon_pt"                # or px and py
    eta = "Muon_eta"              # or px, py and pz
    phi = "Muon_phi"              # or px and py
    charge = "Muon_charge"        # only its sign counts, 0 = not known
    hw_qual = 12                  # any hardware column: a branch, or one integer for all
    where = { branch = "Muon_id", values = [1, 2] }

    [[jet]]                       # also [[eg]] and [[tau]]: et (or pt), eta, phi, hw_...
    [[tower]]                     # trigger towers: et (or pt, or hw_et) and the indices
    et = "Tower_et"
    ieta = "Tower_ieta"           # +-1..28 and +-30..41
    iphi = "Tower_iphi"           # 1..72
    [sums]                        # ett, ettem, htt, and etm, htm, etmhf, htmhf with their
    etm = "MET_pt"                # azimuth etm_phi, or etm_px and etm_py; hw_...
    etm_phi = "MET_phi"

    [recorded]                    # decision bits of the tree
    prefix = "L1_"                # and/or names = ["triggerIsoMu24"]

A branch holds one value per entry or a list per entry. Unknown keys are errors.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scout40.streams.errors import BadConfig
from scout40.streams.formats.tower import CaloTower
from scout40.streams.formats.ugt import OBJECT_WORDS
from scout40.streams.layout import Bits, Word
from scout40.streams.sources.root_layout import Places, near

UNITS = {"GeV": 1.0, "MeV": 1e-3}
WORDS: dict[str, type[Word]] = {**OBJECT_WORDS, "tower": CaloTower}
"""Table -> word that declares the hardware columns that a map can give."""
LISTS = ("mu", "eg", "tau", "jet", "tower")
INDICES = {"ieta": "hw_eta", "iphi": "hw_phi"}
"""Keys of [[tower]] for its hardware columns."""
VECTOR = ("px", "py", "pz")
MISSING = ("etm", "htm", "etmhf", "htmhf")
TOP = ("tree", "energy_unit", "crossing", "sums", "recorded", *LISTS)

MAX_BYTES = 1 << 20
MAX_DOTS = 100
"""Dots on one line: the standard library's parser takes a time quadratic in a.b.c.d..."""
MAX_VALUE = (1 << 63) - 1
"""Largest integer of a map: no branch has more, and very long ones cannot even be printed."""


@dataclass(frozen=True)
class Where:
    """Objects of a group are those whose branch has one of the values."""

    branch: str
    values: tuple[int, ...]


@dataclass(frozen=True)
class Group:
    """One ``[[mu]]``, ``[[eg]]``, ... : key -> branch name, or one integer for all objects."""

    sources: Mapping[str, str | int]
    where: Where | None = None

    def branches(self) -> list[str]:
        names = [value for value in self.sources.values() if isinstance(value, str)]
        return [*names, self.where.branch] if self.where is not None else names


@dataclass(frozen=True)
class BranchMap:
    """A branch map that has been read and checked for itself."""

    file: str
    tree: str | None
    unit: float
    places: Places
    groups: Mapping[str, tuple[Group, ...]]
    sums: Mapping[str, str | int]
    recorded_prefix: str | None
    recorded_names: tuple[str, ...]

    def branches(self) -> list[str]:
        """Every branch that is named, without those that a prefix finds."""
        names = self.places.branches()
        for groups in self.groups.values():
            for group in groups:
                names += group.branches()
        names += [value for value in self.sums.values() if isinstance(value, str)]
        return list(dict.fromkeys([*names, *self.recorded_names]))


def read_branch_map(path: str | Path) -> BranchMap:
    """The branch map of a TOML file; BadConfig naming file and key for whatever is wrong."""
    try:
        with Path(path).open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadConfig(f"{path}: branch map cannot be read: {error.strerror or error}") from None
    if len(data) > MAX_BYTES:
        raise BadConfig(f"{path}: larger than {MAX_BYTES >> 10} kB, too much for a branch map")
    if any(line.count(b".") > MAX_DOTS for line in data.splitlines()):
        raise BadConfig(f"{path}: a line with more than {MAX_DOTS} dots")
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except RecursionError:
        raise BadConfig(f"{path}: nested too deeply") from None
    except ValueError as error:  # not UTF-8, not TOML, or an integer of thousands of digits
        raise BadConfig(f"{path}: not TOML: {str(error)[:200]}") from None
    if _too_large(document):
        raise BadConfig(f"{path}: an integer above {MAX_VALUE}")
    return _Reader(str(path)).map_of(document)


def _too_large(value: object) -> bool:
    """Is there an integer that no column could hold?"""
    if isinstance(value, dict):
        return any(map(_too_large, value.values()))
    if isinstance(value, list):
        return any(map(_too_large, value))
    return isinstance(value, int) and abs(value) > MAX_VALUE


@dataclass(frozen=True)
class _Reader:
    file: str

    def error(self, key: str, text: str) -> BadConfig:
        return BadConfig(f"{self.file}: {key}: {text}")

    def known(self, table: Mapping[str, Any], names: tuple[str, ...], place: str) -> None:
        for key in table:
            if key not in names:
                others = near(key, names)
                hint = f"near: {', '.join(others)}" if others else f"known: {', '.join(names)}"
                raise self.error(f"{place}{key}", f"unknown key ({hint})")

    def map_of(self, data: Mapping[str, Any]) -> BranchMap:
        self.known(data, TOP, "")
        unit = data.get("energy_unit", "GeV")
        if not isinstance(unit, str) or unit not in UNITS:
            raise self.error("energy_unit", f"{unit!r}, expected one of {', '.join(UNITS)}")
        tree = data.get("tree")
        if tree is not None and not isinstance(tree, str):
            raise self.error("tree", "expected the name of a tree")
        crossing = self.table(data, "crossing")
        self.known(crossing, ("run", "lumi", "event", "orbit", "bx"), "crossing.")
        places = {key: self.branch(f"crossing.{key}", value) for key, value in crossing.items()}
        groups = {name: self.groups(name, data[name]) for name in LISTS if name in data}
        sums = self.sums(self.table(data, "sums"))
        if not groups and not sums:
            raise self.error("map", f"no objects: needs one of {', '.join((*LISTS, 'sums'))}")
        prefix, names = self.recorded(self.table(data, "recorded"))
        return BranchMap(
            self.file, tree, UNITS[unit], Places(**places), groups, sums, prefix, names
        )

    def table(self, data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        found = data.get(key, {})
        if not isinstance(found, dict):
            raise self.error(key, "expected a table")
        return found

    def branch(self, key: str, value: Any) -> str:
        if not isinstance(value, str) or not value:
            raise self.error(key, f"{value!r}, expected the name of a branch")
        return value

    def groups(self, name: str, data: Any) -> tuple[Group, ...]:
        if isinstance(data, dict):
            data = [data]
        if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
            raise self.error(name, "expected tables [[" + name + "]]")
        if not data:
            raise self.error(name, "no table")
        groups = [self.group(name, item) for item in data]
        if any(columns_of(name, g) != columns_of(name, groups[0]) for g in groups):
            raise self.error(name, "the groups must give the same columns")
        return tuple(groups)

    def group(self, name: str, item: Mapping[str, Any]) -> Group:
        fields = WORDS[name].fields
        energy = ("pt",) if name == "mu" else ("et", "pt")
        own = ("charge",) if name == "mu" else ()
        place = tuple(INDICES) if name == "tower" else ("eta", "phi", *VECTOR)
        keys = (*energy, *place, *own, *fields, "where")
        self.known(item, keys, f"{name}.")
        for index, column in INDICES.items() if name == "tower" else ():
            if (index in item) == (column in item):
                raise self.error(f"{name}.{index}", f"needs exactly one of {index}, {column}")
        sources = {
            key: self.source(f"{name}.{key}", value, fields)
            for key, value in item.items()
            if key != "where"
        }
        where = self.where(name, item["where"]) if "where" in item else None
        hardware = "hw_pt" if name == "mu" else "hw_et"
        ways = [key for key in (*energy, hardware) if key in sources]
        vector = {"px", "py"} <= set(sources)
        if len(ways) + vector != 1:
            names = ", ".join((*energy, *(["px and py"] if "px" in keys else []), hardware))
            raise self.error(name, f"needs exactly one of {names}")
        if "pz" in sources and not vector:
            raise self.error(f"{name}.pz", "needs px and py too")
        if "charge" in sources and ("hw_sign" in sources or "hw_charge_valid" in sources):
            raise self.error(f"{name}.charge", "given together with its hardware columns")
        return Group(sources, where)

    def source(self, key: str, value: Any, fields: Mapping[str, Bits]) -> str | int:
        bits = fields.get(key.rpartition(".")[2])
        if bits is None or not isinstance(value, int) or isinstance(value, bool):
            return self.branch(key, value)
        if not bits.minimum <= value <= bits.limit:
            raise self.error(key, f"{value}, expected {bits.minimum}..{bits.limit}")
        return value

    def where(self, name: str, item: Any) -> Where:
        if not isinstance(item, dict):
            raise self.error(f"{name}.where", "expected { branch = ..., values = [...] }")
        self.known(item, ("branch", "values"), f"{name}.where.")
        values = item.get("values")
        if not isinstance(values, list) or not all(type(value) is int for value in values):
            raise self.error(f"{name}.where.values", "expected a list of integers")
        return Where(self.branch(f"{name}.where.branch", item.get("branch")), tuple(values))

    def sums(self, data: Mapping[str, Any]) -> Mapping[str, str | int]:
        fields = WORDS["sums"].fields
        plain = [name.removeprefix("hw_") for name, bits in fields.items() if bits.scale]
        keys = (*plain, *(f"{name}_{axis}" for name in MISSING for axis in ("px", "py")), *fields)
        self.known(data, keys, "sums.")
        for name in MISSING:
            one, two = f"{name}_px" in data, f"{name}_py" in data
            if one != two:
                raise self.error(f"sums.{name}_px", "px and py go together")
            if one and any(key in data for key in (name, f"{name}_phi", f"hw_{name}")):
                raise self.error(f"sums.{name}", "given twice")
        for name in plain:
            if name in data and f"hw_{name}" in data:
                raise self.error(f"sums.{name}", "given twice")
        return {key: self.source(f"sums.{key}", value, fields) for key, value in data.items()}

    def recorded(self, data: Mapping[str, Any]) -> tuple[str | None, tuple[str, ...]]:
        self.known(data, ("prefix", "names"), "recorded.")
        prefix, names = data.get("prefix"), data.get("names", [])
        if prefix is not None:
            self.branch("recorded.prefix", prefix)
        if not isinstance(names, list):
            raise self.error("recorded.names", "expected a list of branches")
        return prefix, tuple(self.branch("recorded.names", name) for name in names)


def columns_of(name: str, group: Group) -> tuple[str, ...]:
    """Hardware columns that a group gives, in the order of the declared word."""
    keys = set(group.sources)
    muon = name == "mu"
    found = {key for key in keys if key in WORDS[name].fields}
    found |= {column for index, column in INDICES.items() if index in keys}
    if keys & {"pt", "et", "px"}:
        found.add("hw_pt" if muon else "hw_et")
    if "eta" in keys or "pz" in keys:
        found.add("hw_eta_at_vtx" if muon else "hw_eta")
    if "phi" in keys or "px" in keys:
        found.add("hw_phi_at_vtx" if muon else "hw_phi")
    if "charge" in keys:
        found |= {"hw_sign", "hw_charge_valid"}
    return tuple(column for column in WORDS[name].fields if column in found)
