"""Calorimeter layer 2 as a stage: a block with trigger towers in, its output objects out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scout40.emulator.calo.calibration import (
    Calibration,
    has_calibration,
    packaged_calibration,
    read_calibration,
)
from scout40.emulator.calo.clusters_tables import ClusterTables, read_cluster_tables
from scout40.emulator.calo.config import CaloConfig
from scout40.emulator.calo.egamma_tau import egamma, taus
from scout40.emulator.calo.jets import find_jets
from scout40.emulator.calo.sums import energy_sums
from scout40.streams.block import Block
from scout40.streams.errors import BadConfig


@dataclass(frozen=True, slots=True)
class CaloTables:
    """Contents of all tables: of the jet calibration, and of e/gamma, tau and sums."""

    calibration: Calibration
    clusters: ClusterTables


def packaged_tables() -> CaloTables:
    """What scout40 has by itself: the jet calibration of 2024, nothing for e/gamma and tau."""
    return CaloTables(packaged_calibration(), ClusterTables())


def load_tables(folder: str | Path) -> CaloTables:
    """The official tables in a folder; the jet calibration of 2024 if it has none for jets.

    Raises BadConfig when the folder has no table at all, or some of the three of the jet
    calibration only.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BadConfig(f"{folder}: not a folder")
    clusters = read_cluster_tables(folder)
    if has_calibration(folder):
        return CaloTables(read_calibration(folder), clusters)
    if not clusters.sources:
        raise BadConfig(f"{folder}: no table of calorimeter layer 2, such as lut_calib*.txt")
    return CaloTables(packaged_calibration(), clusters)


class CaloLayer2:
    """Calorimeter layer 2 with one setting and the contents of its tables."""

    def __init__(self, config: CaloConfig, tables: CaloTables | None = None) -> None:
        """tables: default :func:`packaged_tables`."""
        self.config = config
        self.tables = tables or packaged_tables()

    @property
    def sources(self) -> tuple[str, ...]:
        """Where the tables in use come from: files with digests, or packaged constants."""
        jets = self.tables.calibration.sources if self.config.calibrated else ()
        return (*jets, *self.tables.clusters.sources)

    def run(self, block: Block, details: bool = False) -> Block:
        """The block with tables ``jet``, ``sums``, ``eg`` and ``tau``; a pure function.

        block:
            table ``tower``: hw_et, hw_eta (ieta), hw_phi (iphi); er_bits and misc_bits if known.
        details:
            also the tables ``jet_presort`` and ``jet_processor``, see ``jets.Jets``.

        ``eg`` and ``tau`` are left as they are when the towers do not tell electromagnetic from
        hadronic energy. Azimuths are those of the global trigger, so the block is no longer in
        scouting units. Raises BadInput naming orbit, bx and field of a tower that cannot be used.
        """
        jets = find_jets(block, self.config, self.tables.calibration)
        towers, clusters = block.tables["tower"], self.tables.clusters
        tables = dict(block.tables)
        tables["jet"] = jets.demux
        tables["sums"] = energy_sums(jets.presort, towers, clusters)
        if {"er_bits", "misc_bits"} <= set(towers.columns):
            tables["eg"] = egamma(towers, clusters)
            tables["tau"] = taus(towers, clusters)
        if details:
            tables["jet_presort"], tables["jet_processor"] = jets.presort, jets.processor
        return block.replace(tables=tables, scouting=False)
