"""Histograms of what passes: muon pt, eta, phi, and the occupancy of the orbit.

Every hardware code is counted, in exact int64, and codes are joined to bins only when somebody
looks; so the counts do not depend on how the stream was cut, and merge. Bin edges in physical
units follow from the declared scales of the codes: a bin holds lower edge <= value < upper edge.
Edges of angles lie between two codes, so that no value is on an edge.

Why not boost-histogram: three of its fills cost 10 ns a muon on integer axes (14 on axes of float
and 5 more for the conversion), the pass below 1.4, and 2.7 with the occupancy, blocks of 16 orbits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.streams.block import ORBIT_BX, Block, offsets_of
from scout40.streams.formats.scales import MUON_ETA, MUON_PHI, MUON_PT
from scout40.streams.formats.ugt import UgtMuon
from scout40.streams.jit import njit

Counts = npt.NDArray[np.int64]

PT, ETA, PHI = (UgtMuon.fields[name] for name in ("hw_pt", "hw_eta_at_vtx", "hw_phi_at_vtx"))
PT_BINS = 64
"""Bins of 1 GeV from 0; the last bin behind them holds everything above."""
ETA_REACH, ETA_CODES = 229, 9
"""Codes -229..229 in bins of 9; codes beyond are counted in the outermost bins."""
PHI_TURN, PHI_CODES = 576, 12
"""Codes of one turn, codes of one bin; codes that mean no angle are in no bin."""


@dataclass(frozen=True)
class Histogram:
    """edges: float64 (bins + 1,) in ``unit``; counts: int64 (bins,)."""

    edges: npt.NDArray[np.floating[Any]]
    counts: Counts
    unit: str


@dataclass
class Histograms:
    """Counters of a stream of blocks; fill one from one thread, merge those of several.

    pt, eta, phi: int64 by code & mask, muons; azimuth and pseudorapidity are at the vertex. A
    muon of hw_pt 0 is none. bx: int64 (3564,) crossings with objects (sums do not count) by
    bx - 1.
    """

    pt: Counts = field(default_factory=lambda: np.zeros(PT.mask + 1, np.int64))
    eta: Counts = field(default_factory=lambda: np.zeros(ETA.mask + 1, np.int64))
    phi: Counts = field(default_factory=lambda: np.zeros(PHI.mask + 1, np.int64))
    bx: Counts = field(default_factory=lambda: np.zeros(ORBIT_BX, np.int64))

    def fill(self, block: Block) -> None:
        """Add the crossings of a block; tables or columns that it lacks add nothing."""
        lists = [t.offsets for name, t in block.tables.items() if name != "sums"]
        if len(lists) > 1:  # a list with one object where any of the tables has some
            filled = np.logical_or.reduce([np.diff(offsets) > 0 for offsets in lists])
            lists = [offsets_of(filled)]
        for offsets in lists:
            _count_crossings(np.ascontiguousarray(block.bx), offsets, self.bx)
        table = block.tables.get("mu")
        if table is None or not all(bits.name in table.columns for bits in (PT, ETA, PHI)):
            return
        pt, eta, phi = (
            np.ascontiguousarray(table[bits.name], bits.dtype) for bits in (PT, ETA, PHI)
        )
        _count_muons(pt, eta, phi, self.pt, self.eta, self.phi)

    def merge(self, other: Histograms) -> Histograms:
        """New counters, of what both saw."""
        return Histograms(
            self.pt + other.pt, self.eta + other.eta, self.phi + other.phi, self.bx + other.bx
        )

    def binned(self) -> dict[str, Histogram]:
        """mu_pt, mu_eta, mu_phi, bx in physical bins."""
        return {
            "mu_pt": self._pt(),
            "mu_eta": self._eta(),
            "mu_phi": self._phi(),
            "bx": Histogram(np.arange(ORBIT_BX + 1) + 0.5, self.bx.copy(), "bx"),
        }

    def _pt(self) -> Histogram:
        values = PT.table[1:].astype(np.float64)  # 0, 0.5, ... GeV; code 0 is no muon
        bins = np.minimum(values.astype(np.int64), PT_BINS)
        edges = np.append(np.arange(PT_BINS + 1.0), values[-1] + MUON_PT.lsb)
        return Histogram(edges, _joined(bins, self.pt[1:], PT_BINS + 1), "GeV")

    def _eta(self) -> Histogram:
        codes = np.arange(ETA.mask + 1)
        codes = np.where(codes > ETA.limit, codes - len(codes), codes)
        codes = np.clip(codes, -ETA_REACH, ETA_REACH)
        bins = (2 * ETA_REACH + 1) // ETA_CODES
        counts = _joined((codes + ETA_REACH) // ETA_CODES, self.eta, bins)
        edges = (np.arange(bins + 1) * ETA_CODES - ETA_REACH - 0.5) * MUON_ETA.lsb
        return Histogram(edges, counts, MUON_ETA.unit)

    def _phi(self) -> Histogram:
        bins = PHI_TURN // PHI_CODES
        codes = np.arange(PHI_TURN)
        # In float32 half a turn comes out just below pi: its code is the last, not the first.
        lowest = 1 - PHI_TURN // 2
        turned = (codes - lowest) % PHI_TURN
        counts = _joined(turned // PHI_CODES, self.phi[:PHI_TURN], bins)
        edges = (np.arange(bins + 1) * PHI_CODES + lowest - 0.5) * MUON_PHI.lsb
        return Histogram(edges, counts, MUON_PHI.unit)


def _joined(bins: npt.NDArray[np.int64], counts: Counts, number: int) -> Counts:
    """Counts of codes summed by bin, in integers."""
    out = np.zeros(number, np.int64)
    np.add.at(out, bins, counts)
    return out


@njit
def _count_crossings(bx: Any, offsets: Any, counts: Any) -> None:
    """Add one by bx where a crossing has objects; bx out of range are left out."""
    for row in range(bx.shape[0]):
        place = np.int64(bx[row]) - 1
        if offsets[row + 1] > offsets[row] and 0 <= place < counts.shape[0]:
            counts[place] += 1


@njit
def _count_muons(hw_pt: Any, hw_eta: Any, hw_phi: Any, pt: Any, eta: Any, phi: Any) -> None:
    """Add one by code; masked, so that no value lies outside the counters."""
    for i in range(hw_pt.shape[0]):
        code = np.int64(hw_pt[i]) & (pt.shape[0] - 1)
        if code:
            pt[code] += 1
            eta[np.int64(hw_eta[i]) & (eta.shape[0] - 1)] += 1
            phi[np.int64(hw_phi[i]) & (phi.shape[0] - 1)] += 1
