"""Which declared word stands behind each table that scouting packets fill."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from scout40.streams.formats.bmtf import BmtfStub
from scout40.streams.formats.calo import CaloEgamma, CaloJet, CaloSums, CaloTau
from scout40.streams.formats.gmt import ScoutingMuonAll
from scout40.streams.formats.tower import CaloTower
from scout40.streams.layout import Columns, Word

SCOUTING_WORDS: dict[str, type[Word]] = {
    "mu": ScoutingMuonAll,
    "eg": CaloEgamma,
    "tau": CaloTau,
    "jet": CaloJet,
    "sums": CaloSums,
    "stub": BmtfStub,
    "tower": CaloTower,
}
"""Table -> word. ``stub`` has the derived columns station, sector and tag besides."""


def physical(table: str, columns: Columns) -> dict[str, npt.NDArray[Any]]:
    """float32 columns (pt, eta, phi, ...) of a table, equal to the CMS scouting conversion."""
    return SCOUTING_WORDS[table].physical(columns)
