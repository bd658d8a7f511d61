"""Isolation of the final muons, from the calorimeter sums at their vertex coordinates.

Two tables turn azimuth and eta at the vertex into the place of a sum, 36 by 28 of them, each the
energy of 9 by 9 towers around a block of two by two, 0..31. A sum that was not sent is 0. Bit 0,
absolute isolation, is a table of the sum; bit 1, relative isolation, is one of sum and pt. With
no sums at all both bits are set.

Source: CMS software, MicroGMTIsolationUnit (14be1893); checked with board files of 2016.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from scout40.emulator.ugmt.tables import Tables
from scout40.streams.formats.track_finder import REGIONS
from scout40.streams.jit import njit

NOT_SENT = -1
_PT_BITS = 9
_ETA_MASK = 511  # 9-bit two's complement


class IsolationRules(NamedTuple):
    """The four tables, int16."""

    phi_index: Any
    eta_index: Any
    absolute: Any
    relative: Any


class CaloSums(NamedTuple):
    """Sums of all crossings: int8 ieta, iphi, et by object, int32 offsets; empty without sums.

    grid: int64 (28 * 36,), NOT_SENT everywhere, in which a crossing is unfolded.
    """

    ieta: Any
    iphi: Any
    et: Any
    offsets: Any
    grid: Any


def isolation_rules(tables: Tables) -> IsolationRules:
    """The tables that isolation needs."""
    return IsolationRules(
        tables.calo_phi_index,
        tables.calo_eta_index,
        tables.absolute_isolation,
        tables.relative_isolation,
    )


@njit
def calo_place(phi: int, eta: int, rules: IsolationRules) -> int:
    """Place eta index * 36 + phi index of the sum at vertex coordinates."""
    return int(rules.eta_index[eta & _ETA_MASK] * REGIONS + rules.phi_index[phi])


@njit
def isolation_bits(total: int, pt: int, rules: IsolationRules) -> int:
    """Absolute isolation + 2 * relative isolation."""
    return int(rules.absolute[total] + 2 * rules.relative[total << _PT_BITS | pt])


@njit
def unfold(crossing: int, calo: CaloSums) -> int:
    """Put the sums of a crossing into the grid; the object that repeats a place, or -1."""
    for k in range(calo.offsets[crossing], calo.offsets[crossing + 1]):
        place = calo.ieta[k] * REGIONS + calo.iphi[k]
        if calo.grid[place] != NOT_SENT:
            return k
        calo.grid[place] = calo.et[k]
    return -1


@njit
def clear(crossing: int, calo: CaloSums) -> None:
    """Take the sums of a crossing out of the grid again."""
    for k in range(calo.offsets[crossing], calo.offsets[crossing + 1]):
        calo.grid[calo.ieta[k] * REGIONS + calo.iphi[k]] = NOT_SENT
