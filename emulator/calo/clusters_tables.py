"""Look-up tables of e/gamma, tau and missing energy, from a folder of official files.

All are optional: what a table does is left out when it is not there, and ``sources`` says which
were read. Names of the files are those of the public CMS repository of layer-2 tables:

=====================  ============================  ==============================================
field                  file                          address -> content
=====================  ============================  ==============================================
``eg_trimming``        ``egTrimmingLUT*.txt``        (|ieta| - 1) << 7 | shape -> shape
``eg_compress``        ``egCompressLUT*.txt``        four tables in one, at 0, 128, 384 and 416:
                                                     shape, Et, |ieta|, number of towers -> bits
``eg_calibration``     ``EG_Calibration_LUT*.txt``   eta | Et | shape bits -> bit 9 shape is good,
                                                     bits 0..8 factor in 1/256
``eg_iso_tight``       ``EG_Iso_LUT*Tight*.txt``     2 (eta | Et bits) | towers bits -> limit
``eg_iso_loose``       ``EG_Iso_LUT*Loose*.txt``     the same
``tau_compress``       ``tauCompressAllLUT*.txt``    three tables in one, at 0, 32 and 288: |ieta|,
                                                     Et, number of towers -> bits
``tau_calibration``    ``Tau_Cal_LUT*.txt``          eta << 7 | Et << 2 | em << 1 | merged
                                                     -> factor in 1/512
``tau_iso``            ``Tau_Iso_LUT*.txt``          eta << 10 | Et << 5 | towers -> limit
``met_threshold``      ``metPumLUT*.txt``            towers bits << 6 | ring -> Et that a tower must
                                                     exceed
=====================  ============================  ==============================================

The addresses of calibrations, isolations and missing energy are those that comments in the table
files state; the factor of a tau is in 1/512, as the ceiling of 1.7 shows that the 2023 table has
in its name and as 870 in its contents. No public vector has towers together with e/gammas or
taus, so nothing confirms the rest.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from scout40.streams.errors import BadConfig
from scout40.streams.lut_file import read_lut

Table = npt.NDArray[np.int64]

EG_ET, EG_ETA, EG_TOWERS = 128, 384, 416
"""Where the parts of ``eg_compress`` begin; shape begins at 0."""
TAU_ET, TAU_TOWERS = 32, 288
"""Where the parts of ``tau_compress`` begin; |ieta| begins at 0."""

_PATTERNS = {
    "eg_trimming": "egTrimmingLUT*.txt",
    "eg_compress": "egCompressLUT*.txt",
    "eg_calibration": "EG_Calibration_LUT*.txt",
    "eg_iso_tight": "EG_Iso_LUT*Tight*.txt",
    "eg_iso_loose": "EG_Iso_LUT*Loose*.txt",
    "tau_compress": "tauCompressAllLUT*.txt",
    "tau_calibration": "Tau_Cal_LUT*.txt",
    "tau_iso": "Tau_Iso_LUT*.txt",
    "met_threshold": "metPumLUT*.txt",
}
_NEEDED = {
    "eg_calibration": "eg_compress",
    "eg_iso_tight": "eg_compress",
    "eg_iso_loose": "eg_compress",
    "tau_calibration": "tau_compress",
    "tau_iso": "tau_compress",
    "met_threshold": "eg_compress",
}
"""A table whose address is made with another one is of no use without it."""


class LutArrays(NamedTuple):
    """The tables as kernels take them; length 0 = absent."""

    eg_trimming: Table
    eg_compress: Table
    eg_calibration: Table
    eg_iso_tight: Table
    eg_iso_loose: Table
    tau_compress: Table
    tau_calibration: Table
    tau_iso: Table
    met_threshold: Table


@dataclass(frozen=True, slots=True, eq=False)
class ClusterTables:
    """Tables by address, int64 (2^n,), or None; sources: file name and digest of each."""

    eg_trimming: Table | None = None
    eg_compress: Table | None = None
    eg_calibration: Table | None = None
    eg_iso_tight: Table | None = None
    eg_iso_loose: Table | None = None
    tau_compress: Table | None = None
    tau_calibration: Table | None = None
    tau_iso: Table | None = None
    met_threshold: Table | None = None
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """BadConfig when a table lacks its partner or is too short for some address."""
        for name, partner in _NEEDED.items():
            if getattr(self, name) is not None and getattr(self, partner) is None:
                raise BadConfig(f"{name} needs {partner}, a file {_PATTERNS[partner]}")
        for name, least in self._least().items():
            table = getattr(self, name)
            if table is not None and len(table) < least:
                raise BadConfig(f"{name} has {len(table)} entries, addresses reach {least - 1}")

    def _least(self) -> dict[str, int]:
        """Entries that the addresses can reach."""
        least = {"eg_trimming": 28 << 7, "eg_compress": EG_TOWERS + 256}
        eg, tau = self.eg_compress, self.tau_compress
        if eg is not None and len(eg) >= EG_TOWERS + 256:
            towers = int(eg[EG_TOWERS : EG_TOWERS + 256].max())
            inner = _reach(eg[EG_ET:EG_ETA], eg[EG_ETA:EG_TOWERS])
            least["eg_calibration"] = 1 + (inner | _reach(eg[:EG_ET]))
            least["eg_iso_tight"] = least["eg_iso_loose"] = 1 + (inner << 1 | _filled(towers))
            least["met_threshold"] = (towers << 6) + 64
        least["tau_compress"] = TAU_TOWERS + 1024
        if tau is not None and len(tau) >= TAU_TOWERS + 1024:
            eta, et = int(tau[:TAU_ET].max()), int(tau[TAU_ET:TAU_TOWERS].max())
            count = int(tau[TAU_TOWERS : TAU_TOWERS + 1024].max())
            least["tau_calibration"] = (eta << 7) + (et << 2) + 4
            least["tau_iso"] = 1 + (eta << 10 | _filled(et) << 5 | _filled(count))
        return least

    def arrays(self) -> LutArrays:
        """The tables for the kernels."""
        none = np.zeros(0, np.int64)
        named = {field.name: getattr(self, field.name) for field in fields(self)[:-1]}
        return LutArrays(
            **{
                name: none if table is None else np.ascontiguousarray(table, np.int64)
                for name, table in named.items()
            }
        )


def _filled(value: int) -> int:
    return (1 << value.bit_length()) - 1


def _reach(*parts: Table) -> int:
    """The largest OR that entries of the parts can give, or a little more."""
    out = 0
    for part in parts:
        out |= _filled(int(part.max()))
    return out


def read_cluster_tables(folder: str | Path) -> ClusterTables:
    """The tables that a folder has.

    Raises BadConfig when two files fit one name or a table does not fit its addresses, BadInput
    for a file that is not a table.
    """
    found: dict[str, Table] = {}
    sources = []
    for name, pattern in _PATTERNS.items():
        paths = sorted(Path(folder).glob(pattern))
        if len(paths) > 1:
            names = ", ".join(path.name for path in paths)
            raise BadConfig(f"{folder}: expected one file {pattern}, found {names}")
        for path in paths:
            found[name] = read_lut(path).values
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            sources.append(f"{path.name} sha256:{digest}")
    return ClusterTables(**found, sources=tuple(sources))
