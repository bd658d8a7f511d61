"""Jet energy calibration: Et' = (Et * multiplier >> 9) + addend, by bins of Et and eta.

In hardware three tables do this: (min(Et, 511) >> 1) -> pt bin (4 bits); |m| -> eta bin (4 bits),
m being the eta row without gaps; (eta bin << 4 | pt bin) -> addend (signed, bits 17..10) and
multiplier (bits 9..0). A result out of 0..65535 becomes 65535. Source: public description of the
CMS calorimeter layer 2 and the tables of caloParams_2024_v0_2.
"""

from __future__ import annotations

import functools
import hashlib
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.emulator.calo.geometry import N_M
from scout40.streams.errors import BadConfig
from scout40.streams.jit import njit
from scout40.streams.lut_file import LutFile, read_lut

Table = npt.NDArray[np.int64]

OVERFLOW = 65535
"""Jet Et inside the processor has 16 bits; a saturated jet has this Et."""

PT_BITS, ETA_BITS, BIN_BITS = 8, 6, 4
MULTIPLIER_BITS = 10
ADDEND_BITS = 8
_LARGEST_ET = 511
_UNITY_BITS = 9

PACKAGED = "jets_2024.toml"
PT_FILES, ETA_FILES, WORD_FILES = "lut_pt_compress*.txt", "lut_eta_compress*.txt", "lut_calib*.txt"


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """multiplier, addend: int64 (41, 256), by |m| (row 0 unused) and min(Et, 511) >> 1.

    sources: where the numbers come from: files with digests, or the packaged constants.
    """

    multiplier: Table
    addend: Table
    sources: tuple[str, ...]


def from_tables(
    pt_bin: Table, eta_bin: Table, words: Table, sources: tuple[str, ...]
) -> Calibration:
    """A Calibration from the contents of the three hardware tables.

    pt_bin: int64 (256,). eta_bin: int64 (64,). words: int64, by eta bin << 4 | pt bin. Raises
    BadConfig when a bin pair in use has no word.
    """
    address = (eta_bin[: N_M + 1, None] << BIN_BITS) | pt_bin[None, :]
    if int(address.max()) >= len(words):
        raise BadConfig(
            f"jet calibration: address {int(address.max())} of a table of {len(words)} words"
        )
    word = words[address]
    addend = (word >> MULTIPLIER_BITS) & ((1 << ADDEND_BITS) - 1)
    addend -= (addend >> (ADDEND_BITS - 1)) << ADDEND_BITS
    return Calibration(word & ((1 << MULTIPLIER_BITS) - 1), addend, sources)


@functools.cache
def packaged_calibration() -> Calibration:
    """The calibration of 2024, from constants that are installed with the package."""
    place = resources.files("scout40.configs").joinpath("calo", PACKAGED)
    data = tomllib.loads(place.read_text(encoding="utf-8"))
    pt_bin = np.searchsorted(data["pt_bin_edges"], np.arange(1 << PT_BITS), side="right") - 1
    eta_bin = np.searchsorted(data["eta_bin_edges"], np.arange(1 << ETA_BITS), side="right") - 1
    multiplier = np.array(data["multiplier"], np.int64).reshape(-1)
    addend = np.array(data["addend"], np.int64).reshape(-1) & ((1 << ADDEND_BITS) - 1)
    words = addend << MULTIPLIER_BITS | multiplier
    return from_tables(pt_bin, eta_bin, words, ("packaged 2024 constants",))


def has_calibration(folder: str | Path) -> bool:
    """Whether a folder has any of the files of :func:`read_calibration`."""
    return any(any(Path(folder).glob(name)) for name in (PT_FILES, ETA_FILES, WORD_FILES))


def read_calibration(folder: str | Path) -> Calibration:
    """The calibration in the official tables of a folder.

    One file each of ``lut_pt_compress*.txt``, ``lut_eta_compress*.txt``, ``lut_calib*.txt``.
    Raises BadConfig when one is missing, double or of another size; BadInput for a file that is
    not a table.
    """
    folder = Path(folder)
    pt, pt_source = _only(folder, PT_FILES, PT_BITS, BIN_BITS)
    eta, eta_source = _only(folder, ETA_FILES, ETA_BITS, BIN_BITS)
    words, source = _only(folder, WORD_FILES, None, MULTIPLIER_BITS + ADDEND_BITS)
    sources = (pt_source, eta_source, source)
    return from_tables(pt.values, eta.values, words.values, sources)


def _only(folder: Path, pattern: str, n_in: int | None, n_out: int) -> tuple[LutFile, str]:
    """The one table that fits the pattern, and its name with the digest of its bytes."""
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise BadConfig(f"{folder}: expected one file {pattern}, found {names}")
    table = read_lut(found[0])
    if table.n_out != n_out or n_in not in (None, table.n_in):
        wanted = "" if n_in is None else f"{n_in} bits in and "
        raise BadConfig(
            f"{found[0]}: {table.n_in} bits in and {table.n_out} out, expected {wanted}{n_out} out"
        )
    return table, f"{found[0].name} sha256:{hashlib.sha256(found[0].read_bytes()).hexdigest()}"


@njit
def calibrated(et: int, m: int, multiplier: Any, addend: Any) -> Any:
    """Calibrated Et of a jet in eta row |m|; the tables are pointers (jit.pointer)."""
    k = (m << PT_BITS) + (min(et, _LARGEST_ET) >> 1)
    out = ((et * multiplier[k]) >> _UNITY_BITS) + addend[k]
    return out if 0 <= out <= OVERFLOW else OVERFLOW
