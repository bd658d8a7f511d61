"""Look-up tables of the uGMT: read from official files, or computed.

``load_tables`` takes from a folder what it has of the official files that the firmware uses and
computes the rest; ``Tables.sources`` says of each table which it was.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.emulator.ugmt import closed_forms
from scout40.emulator.ugmt.firmware import Ellipse, Firmware
from scout40.emulator.ugmt.neighbours import MATCH_NAMES
from scout40.emulator.ugmt.propagation import Kind, extrapolation_tables
from scout40.streams.errors import BadConfig
from scout40.streams.lut_file import read_lut

Values = npt.NDArray[Any]

COMPUTED = "computed"
"""What ``Tables.sources`` says of a table that was not read from a file."""

SUFFIXES = (".txt", ".lut", ".coe", ".mif")
"""Forms of table files; the first one found is used."""

MATCH_ADDRESSES = 512
EXTRAPOLATION_ADDRESSES = 4096
_TRACK_FINDERS: tuple[tuple[Kind, str], ...] = (("bmtf", "B"), ("omtf", "O"), ("emtf", "E"))


@dataclass(frozen=True, slots=True)
class Tables:
    """Contents of all tables; every array is int16, read-only, indexed by address.

    rank: (8192,) at quality << 9 | pt.
    match: (8, 512) rows in the order of ``neighbours.MATCH_NAMES``, at fine << 8 | deta << 3 |
    dphi; a table without the fine bit fills both halves.
    phi_extrapolation, eta_extrapolation: (3, 4096) rows BMTF, OMTF, EMTF.
    calo_phi_index: (1024,). calo_eta_index: (512,) by 9-bit two's complement.
    absolute_isolation: (32,). relative_isolation: (16384,) at sum << 9 | pt.
    sources: name of each table -> file name and SHA-256 of the file, or "computed".
    """

    rank: Values
    match: Values
    phi_extrapolation: Values
    eta_extrapolation: Values
    calo_phi_index: Values
    calo_eta_index: Values
    absolute_isolation: Values
    relative_isolation: Values
    sources: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Memory:
    """One table as the firmware has it. key: name in ``sources``. file: stem of its file."""

    key: str
    file: str
    n_in: int
    limit: int
    compute: Callable[[], Values]
    optional_width: bool = False


def computed_tables(fw: Firmware) -> Tables:
    """All tables of a firmware from closed forms and from the propagation of muons."""
    return _assemble({memory.key: (memory.compute(), COMPUTED) for memory in _memories(fw)}, fw)


def load_tables(folder: str | Path, fw: Firmware) -> Tables:
    """Tables of a firmware from the official files in ``folder``; computed where there is none.

    A match table is taken only if its address has the width of the firmware's: the official
    folder holds those of 2016 under the names that were kept since.

    Raises BadConfig when the folder is none, has no table at all, or has one of another width or
    with values that cannot be; BadInput when a file cannot be read.
    """
    root = Path(folder)
    if not root.is_dir():
        raise BadConfig(f"{root}: not a folder of look-up tables")
    found: dict[str, tuple[Values, str]] = {}
    for memory in _memories(fw):
        path = _path(root, memory.file)
        values = None if path is None else _read(path, memory)
        if path is None or values is None:
            found[memory.key] = (memory.compute(), COMPUTED)
        else:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found[memory.key] = (values, f"{path.name} sha256:{digest}")
    if all(source == COMPUTED for _, source in found.values()):
        raise BadConfig(f"{root}: none of the tables of uGMT firmware {fw.name} is there")
    return _assemble(found, fw)


def widths(fw: Firmware) -> dict[str, tuple[int, int]]:
    """Bits of address and of value of each table, by its name in ``Tables.sources``."""
    return {memory.key: (memory.n_in, memory.limit.bit_length()) for memory in _memories(fw)}


def _memories(fw: Firmware) -> Iterator[_Memory]:
    """Every table that a firmware uses."""
    rank_bits = closed_forms.PT_BITS + closed_forms.QUAL_BITS
    iso_bits = closed_forms.SUM_BITS + closed_forms.PT_BITS
    yield _Memory("SortRank", "SortRank", rank_bits, 1023, closed_forms.sort_rank)
    for name, values, n_in, limit in (
        ("IdxSelMemPhi", closed_forms.calo_phi_index, 10, 35),
        ("IdxSelMemEta", closed_forms.calo_eta_index, 9, 27),
        ("AbsIsoCheckMem", closed_forms.absolute_isolation, closed_forms.SUM_BITS, 1),
        ("RelIsoCheckMem", closed_forms.relative_isolation, iso_bits, 1),
    ):
        yield _Memory(name, name, n_in, limit, values)
    match_bits = int(fw.fine_bit) + fw.match_eta_bits + closed_forms.DPHI_BITS
    for place, name in enumerate(MATCH_NAMES):
        one = (fw.omtf_omtf, fw.emtf_emtf, fw.omtf_bmtf, fw.omtf_emtf)[place // 2]
        if one is not None:
            yield _Memory(name, name, match_bits, 1, _matcher(one, fw), optional_width=True)
    move = fw.extrapolation
    bits = move.eta_bits + move.pt_bits
    for kind, letter in _TRACK_FINDERS:
        for place, (quantity, file, limit) in enumerate(
            (("Phi", move.phi_file, (1 << move.phi_bits) - 1), ("Eta", move.eta_file, 15))
        ):
            key = f"{letter}{quantity}Extrapolation"
            yield _Memory(key, file.format(letter), bits, limit, _propagated(fw, kind, place))


def _matcher(ellipse: Ellipse, fw: Firmware) -> Callable[[], Values]:
    size = 1 << (int(fw.fine_bit) + fw.match_eta_bits + closed_forms.DPHI_BITS)
    return lambda: closed_forms.match(ellipse, fw.match_eta_bits)[:size]


def _propagated(fw: Firmware, kind: Kind, place: int) -> Callable[[], Values]:
    move = fw.extrapolation
    return lambda: _pair_of_tables(kind, move.eta_bits, move.pt_bits, move.phi_shift)[place]


@functools.cache
def _pair_of_tables(
    kind: Kind, eta_bits: int, pt_bits: int, phi_shift: int
) -> tuple[Values, Values]:
    """The two tables of one track finder, which take a while to compute."""
    return extrapolation_tables(kind, eta_bits, pt_bits, phi_shift)


def _path(root: Path, stem: str) -> Path | None:
    paths = (root / f"{stem}{suffix}" for suffix in SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def _read(path: Path, memory: _Memory) -> Values | None:
    """Values of a file; None when it is a match table of another firmware."""
    table = read_lut(path)
    if table.n_in != memory.n_in:
        if memory.optional_width:
            return None
        raise BadConfig(f"{path}: {table.n_in} address bits, this firmware needs {memory.n_in}")
    highest = int(table.values.max())
    if highest > memory.limit:
        raise BadConfig(f"{path}: value {highest}, at most {memory.limit} is possible")
    return table.values


def _assemble(found: Mapping[str, tuple[Values, str]], fw: Firmware) -> Tables:
    """Tables of all memories, in the shapes that the kernel needs."""

    def one(name: str) -> Values:
        return _frozen(found[name][0])

    match = np.zeros((len(MATCH_NAMES), MATCH_ADDRESSES), np.int64)
    for place, name in enumerate(MATCH_NAMES):
        if name in found:
            values = found[name][0]
            half = values if fw.fine_bit else np.zeros(MATCH_ADDRESSES // 2, np.int64)
            if not fw.fine_bit:
                half[: len(values)] = values
            match[place] = np.resize(half, MATCH_ADDRESSES)
    extrapolations = [
        np.stack([found[f"{letter}{quantity}Extrapolation"][0] for _, letter in _TRACK_FINDERS])
        for quantity in ("Phi", "Eta")
    ]
    return Tables(
        rank=one("SortRank"),
        match=_frozen(match),
        phi_extrapolation=_frozen(extrapolations[0]),
        eta_extrapolation=_frozen(extrapolations[1]),
        calo_phi_index=one("IdxSelMemPhi"),
        calo_eta_index=one("IdxSelMemEta"),
        absolute_isolation=one("AbsIsoCheckMem"),
        relative_isolation=one("RelIsoCheckMem"),
        sources={key: source for key, (_, source) in found.items()},
    )


def _frozen(values: Values) -> Values:
    out = np.ascontiguousarray(values, np.int16)
    out.flags.writeable = False
    return out
