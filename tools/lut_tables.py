"""Look-up tables by file, folder or name, the meaning of their addresses, and comparisons."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.emulator.ugmt.firmware import Firmware, firmware
from scout40.emulator.ugmt.neighbours import MATCH_NAMES
from scout40.emulator.ugmt.tables import (
    COMPUTED,
    SUFFIXES,
    Tables,
    computed_tables,
    load_tables,
    widths,
)
from scout40.streams.errors import BadConfig, BadInput
from scout40.streams.formats.scales import MUON_ETA, MUON_PHI, MUON_PT
from scout40.streams.lut_file import read_lut

Values = npt.NDArray[Any]

ETA_STEP, PHI_STEP, PT_STEP = MUON_ETA.lsb, MUON_PHI.lsb, MUON_PT.lsb
ETA_BITS = 8
"""Bits of |eta| before a table takes the upper ones."""


@dataclass(frozen=True, slots=True)
class Field:
    """A part of an address, and how its value reads."""

    name: str
    bits: int

    def text(self, value: int) -> str:
        """The value and what it stands for: ``|eta| 13 (1.13 to 1.22)``."""
        meaning = ""
        if self.name == "|eta|":
            low = value << (ETA_BITS - self.bits)
            high = (value + 1) << (ETA_BITS - self.bits)
            meaning = f" ({low * ETA_STEP:.2f} to {high * ETA_STEP:.2f})"
        elif self.name == "pt":
            meaning = f" ({(value - 1) * PT_STEP:g} GeV)" if value else " (no muon)"
        elif self.name in ("deta", "dphi"):
            meaning = f" ({value * (ETA_STEP if self.name == 'deta' else PHI_STEP):.3f})"
        elif self.name == "phi":
            meaning = f" ({value * PHI_STEP:.3f})"
        elif self.name == "eta":
            value -= (value >> (self.bits - 1)) << self.bits
            meaning = f" ({value * ETA_STEP:.3f})"
        return f"{self.name} {value}{meaning}"


def address_fields(name: str, n_in: int) -> tuple[Field, ...]:
    """Fields of a table's address, the highest first; one field where nothing is known."""
    parts: dict[str, tuple[tuple[str, int], ...]] = {
        "SortRank": (("quality", 4), ("pt", 9)),
        "RelIsoCheckMem": (("sum", 5), ("pt", 9)),
        "AbsIsoCheckMem": (("sum", 5),),
        "IdxSelMemPhi": (("phi", 10),),
        "IdxSelMemEta": (("eta", 9),),
    }
    known = parts.get(name, ())
    if "Extrapolation" in name and n_in == 12:
        widths = re.search(r"_(\d)eta_(\d)pt_", name)
        eta, pt = (int(widths[1]), int(widths[2])) if widths else (6, 6)
        known = (("|eta|", eta), ("pt", pt))
    elif name.endswith("MatchQual"):
        known = {
            7: (("deta", 4), ("dphi", 3)),
            8: (("fine", 1), ("deta", 4), ("dphi", 3)),
            9: (("fine", 1), ("deta", 5), ("dphi", 3)),
        }.get(n_in, ())
    if sum(bits for _, bits in known) != n_in:
        known = (("address", n_in),)
    return tuple(Field(part, bits) for part, bits in known)


@dataclass(frozen=True, slots=True)
class Lut:
    """A table and where it is from; ``digest`` is the SHA-256 of the file, "" when computed."""

    name: str
    source: str
    n_in: int
    n_out: int
    values: Values
    fields: tuple[Field, ...]
    digest: str = ""

    def decoded(self, address: int) -> str:
        """An address as its fields."""
        return ", ".join(field.text(value) for field, value in self._parts(address))

    def parts(self, address: int) -> dict[str, int]:
        """Value of each field of an address."""
        return {field.name: value for field, value in self._parts(address)}

    def _parts(self, address: int) -> Iterator[tuple[Field, int]]:
        left = self.n_in
        for field in self.fields:
            left -= field.bits
            yield field, address >> left & ((1 << field.bits) - 1)

    @property
    def values_digest(self) -> str:
        """SHA-256 of the values as little-endian int64: equal for equal tables of any form."""
        return hashlib.sha256(self.values.astype("<i8").tobytes()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """Everything but the single values."""
        found, counts = np.unique(self.values, return_counts=True)
        return {
            "name": self.name,
            "source": self.source,
            "n_in": self.n_in,
            "n_out": self.n_out,
            "fields": {field.name: field.bits for field in self.fields},
            "entries": len(self.values),
            "least": int(found[0]),
            "largest": int(found[-1]),
            "counts": {int(v): int(n) for v, n in zip(found, counts, strict=True)},
            "sha256_file": self.digest or None,
            "sha256_values": self.values_digest,
        }


def from_file(path: Path) -> Lut:
    """The table in a file; BadInput as of read_lut."""
    table = read_lut(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    fields = address_fields(table.name, table.n_in)
    return Lut(table.name, str(path), table.n_in, table.n_out, table.values, fields, digest)


def from_folder(folder: Path) -> dict[str, Lut]:
    """Tables in a folder by name; of several forms of one name the first of SUFFIXES."""
    found: dict[str, Lut] = {}
    for suffix in SUFFIXES:
        for path in sorted(folder.glob(f"*{suffix}")):
            if path.stem not in found:
                found[path.stem] = from_file(path)
    if not found:
        raise BadInput(f"no look-up table ({', '.join(SUFFIXES)}) in this folder", file=str(folder))
    return dict(sorted(found.items()))


def of_firmware(tables: Tables, fw: Firmware, source: str) -> dict[str, Lut]:
    """Tables of the uGMT by the names in ``tables.sources``."""
    move = fw.extrapolation
    found: dict[str, Lut] = {}
    for name, (n_in, n_out) in widths(fw).items():
        values = _contents(tables, name)[: 1 << n_in]
        fields = address_fields(name, n_in)
        if "Extrapolation" in name:
            fields = (Field("|eta|", move.eta_bits), Field("pt", move.pt_bits))
        found[name] = Lut(name, source, n_in, n_out, values.astype(np.int64), fields)
    return found


def _contents(tables: Tables, name: str) -> Values:
    """Values of one table; those of fewer address bits than the array has come first."""
    move = {"Phi": tables.phi_extrapolation, "Eta": tables.eta_extrapolation}
    contents: dict[str, Values] = {
        **dict(zip(MATCH_NAMES, tables.match, strict=True)),
        **{f"{finder}{k}Extrapolation": move[k][n] for n, finder in enumerate("BOE") for k in move},
        "SortRank": tables.rank,
        "IdxSelMemPhi": tables.calo_phi_index,
        "IdxSelMemEta": tables.calo_eta_index,
        "AbsIsoCheckMem": tables.absolute_isolation,
        "RelIsoCheckMem": tables.relative_isolation,
    }
    return contents[name]


def gather(names: Sequence[str], firmware_name: str) -> list[Lut]:
    """Tables that the user named, all computed ones if none."""
    fw = firmware(firmware_name)
    found: list[Lut] = []
    computed: dict[str, Lut] = {}
    for name in names or (COMPUTED,):
        path = Path(name)
        if path.is_dir():
            found += from_folder(path).values()
            continue
        if path.is_file():
            found.append(from_file(path))
            continue
        computed = computed or _computed(fw)
        if name == COMPUTED:
            found += computed.values()
        elif name in computed:
            found.append(computed[name])
        else:
            known = ", ".join(computed)
            raise BadConfig(f"{name}: no such file, nor a computed table; those are {known}")
    return found


def _computed(fw: Firmware) -> dict[str, Lut]:
    return of_firmware(computed_tables(fw), fw, f"computed for uGMT firmware {fw.name}")


@dataclass(frozen=True, slots=True)
class Difference:
    """Two tables under one name; ``addresses`` int64 (n,) of the entries that differ.

    When the tables have different sizes, the addresses that both have are compared.
    """

    name: str
    a: Lut
    b: Lut
    addresses: npt.NDArray[np.int64]

    @property
    def differ(self) -> bool:
        return bool(len(self.addresses)) or len(self.a.values) != len(self.b.values)

    @property
    def gaps(self) -> npt.NDArray[np.int64]:
        """b - a at the differing addresses."""
        return np.asarray(self.b.values[self.addresses] - self.a.values[self.addresses], np.int64)


@dataclass(frozen=True, slots=True)
class Comparison:
    """All pairs that were compared, and names that only one folder has.

    missing: computed tables for which the folder has no file of their width; no difference.
    """

    a: str
    b: str
    pairs: tuple[Difference, ...]
    only_a: tuple[str, ...] = ()
    only_b: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def different(self) -> bool:
        return any(pair.differ for pair in self.pairs) or bool(self.only_a or self.only_b)

    def as_dict(self, rows: int) -> dict[str, Any]:
        """For JSON; ``rows`` differing entries of each table."""
        return {
            "a": self.a,
            "b": self.b,
            "different": sum(len(pair.addresses) for pair in self.pairs),
            "tables": [_as_dict(pair, rows) for pair in self.pairs],
            "only_a": list(self.only_a),
            "only_b": list(self.only_b),
            "missing": list(self.missing),
        }


def _as_dict(pair: Difference, rows: int) -> dict[str, Any]:
    first = pair.addresses[:rows].tolist()
    return {
        "name": pair.name,
        "a": pair.a.source,
        "b": pair.b.source,
        "entries": [len(pair.a.values), len(pair.b.values)],
        "different": len(pair.addresses),
        "largest": int(np.abs(pair.gaps).max(initial=0)),
        "first": [
            {
                "address": at,
                **pair.a.parts(at),
                "a": int(pair.a.values[at]),
                "b": int(pair.b.values[at]),
            }
            for at in first
        ],
    }


def compare(first: str, second: str, firmware_name: str) -> Comparison:
    """Compare two files, folders or the computed tables."""
    fw = firmware(firmware_name)
    a, b = _side(first), _side(second)
    if a is None and b is None:
        raise BadConfig("both are 'computed': expected a file or a folder on one side")
    if a is None or b is None:
        return _with_computed(first, second, fw)
    if isinstance(a, Lut) and isinstance(b, Lut):
        return Comparison(first, second, (_pair(a.name, a, b),))
    if isinstance(a, Lut) or isinstance(b, Lut):
        raise BadConfig(f"{first}, {second}: a file cannot be compared with a folder")
    return Comparison(
        first, second,
        tuple(_pair(name, a[name], b[name]) for name in a if name in b),
        only_a=tuple(name for name in a if name not in b),
        only_b=tuple(name for name in b if name not in a),
    )  # fmt: skip


def _side(name: str) -> Lut | dict[str, Lut] | None:
    """What the user named; None for the computed tables."""
    path = Path(name)
    if path.is_dir():
        return from_folder(path)
    if name == COMPUTED and not path.exists():
        return None
    if not path.exists():
        raise BadInput("no such file or folder (or the word 'computed')", file=name)
    return from_file(path)


def _pair(name: str, a: Lut, b: Lut) -> Difference:
    shared = min(len(a.values), len(b.values))
    addresses = np.flatnonzero(a.values[:shared] != b.values[:shared]).astype(np.int64)
    return Difference(name, a, b, addresses)


def _with_computed(first: str, second: str, fw: Firmware) -> Comparison:
    """A file, or the files of a folder that the firmware uses, with the computed tables."""
    swap = _side(first) is None
    path = Path(second if swap else first)
    computed = _computed(fw)
    given = _used(path, fw) if path.is_dir() else _used_file(path, fw, computed)
    pairs = tuple(
        _pair(name, computed[name], lut) if swap else _pair(name, lut, computed[name])
        for name, lut in given.items()
    )
    missing = tuple(name for name in computed if name not in given) if path.is_dir() else ()
    return Comparison(first, second, pairs, missing=missing)


def _used(folder: Path, fw: Firmware) -> dict[str, Lut]:
    """Tables that a firmware takes from a folder."""
    tables = load_tables(folder, fw)
    return {
        name: replace(lut, source=str(folder / tables.sources[name].partition(" ")[0]))
        for name, lut in of_firmware(tables, fw, "").items()
        if tables.sources[name] != COMPUTED
    }


def _used_file(path: Path, fw: Firmware, computed: dict[str, Lut]) -> dict[str, Lut]:
    """The table in a file, under the name that the computed one has."""
    lut = from_file(path)
    name = lut.name.partition("_")[0]
    if name not in computed:
        known = ", ".join(computed)
        raise BadConfig(f"{path}: no table is computed under this name; computed: {known}")
    if lut.n_in != computed[name].n_in:
        raise BadConfig(
            f"{path}: {lut.n_in} address bits, the computed table of firmware {fw.name} has "
            f"{computed[name].n_in}; --firmware chooses another"
        )
    return {name: lut}
