"""Contents of the uGMT tables that have a closed form.

Every table below equals the official file of the same name in every entry, if there is one:
sort rank, both isolation tables, calorimeter indices, and the match tables of 2016. The match
tables of Run 3 exist in no file, CMS software makes them with the same formula.

Calorimeter indices. A calorimeter sum stands for two by two towers: 36 in azimuth, 0.174 wide,
28 in eta, of which the outer ones are wider. The tables count a unit of azimuth and of eta as
0.011 and the turn as 36 * 0.174, so their bins drift against the towers. The edges in eta were
laid from 2.35 inwards, which leaves the innermost at 0.004. All this is part of the hardware's
behaviour. The form was found by us from the tables.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from scout40.emulator.ugmt.firmware import Ellipse
from scout40.streams.formats.scales import MUON_ETA, MUON_PHI

Values = npt.NDArray[np.int64]

PT_BITS, QUAL_BITS, SUM_BITS = 9, 4, 5
DETA_BITS, DPHI_BITS = 5, 3

_MILLI_UNIT, _MILLI_SUM = 11, 174  # units of eta and phi, and sums, in 0.001
_INNER_EDGE, _OUTER_EDGES = 178, (2108, 2350)


def sort_rank() -> Values:
    """int64 (8192,): pt + quality at quality << 9 | pt."""
    address = np.arange(1 << (PT_BITS + QUAL_BITS))
    return (address & ((1 << PT_BITS) - 1)) + (address >> PT_BITS)


def absolute_isolation() -> Values:
    """int64 (32,): 1 for sums below 3."""
    return (np.arange(1 << SUM_BITS) < 3).astype(np.int64)


def relative_isolation() -> Values:
    """int64 (16384,): 1 at sum << 9 | pt where the sum is less than pt, or is 0."""
    address = np.arange(1 << (SUM_BITS + PT_BITS))
    total, pt = address >> PT_BITS, address & ((1 << PT_BITS) - 1)
    return np.asarray((total < pt) | (total == 0), np.int64)


def calo_phi_index() -> Values:
    """int64 (1024,): azimuth index 0..35 of an azimuth; beyond the 36th sum it is 0."""
    index = _MILLI_UNIT * np.arange(1 << 10, dtype=np.int64) // _MILLI_SUM
    return np.asarray(np.where(index < 36, index, 0), np.int64)


def calo_eta_index() -> Values:
    """int64 (512,): eta index 0..27 of a 9-bit two's complement eta; 14 begins at eta 0."""
    edges = [*range(_INNER_EDGE, 2000, _MILLI_SUM), *_OUTER_EDGES]
    positive = 14 + np.searchsorted(edges, _MILLI_UNIT * np.arange(256), side="right")
    return np.concatenate([positive, 27 - positive[::-1]]).astype(np.int64)


def match(ellipse: Ellipse, eta_bits: int) -> Values:
    """int64 (512,): 1 where two muons match, at fine << 8 | deta << 3 | dphi.

    eta_bits: differences of eta that need more bits do not match.
    """
    deta = np.arange(1 << DETA_BITS)[:, None]
    dphi = np.arange(1 << DPHI_BITS)[None, :]
    halves = []
    for factor in (ellipse.eta_factor_coarse, ellipse.eta_factor):
        eta, phi = factor * deta * MUON_ETA.lsb, ellipse.phi_factor * dphi * MUON_PHI.lsb
        inside = (np.sqrt(eta**2 + phi**2) <= ellipse.max_dr) & (deta < 1 << eta_bits)
        halves.append(inside.ravel())
    return np.concatenate(halves).astype(np.int64)
