"""Reference events of calorimeter layer 2."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scout40.streams.block import Block, Table, offsets_of
from tests.tables import Columns, read_columns


@pytest.fixture(scope="session")
def calo_block(reference: Path) -> Block:
    """`calol2_towers` as a block; crossing n is event n."""
    events = len(read_columns(reference / "cmssw" / "calol2_events.parquet")["event"])
    towers = read_columns(reference / "cmssw" / "calol2_towers.parquet")
    columns = {"hw_et": towers["hw_pt"], "hw_eta": towers["ieta"], "hw_phi": towers["iphi"]}
    table = Table(columns, offsets_of(np.bincount(towers["event"], minlength=events)))
    bx = np.arange(1, events + 1, dtype=np.uint16)
    return Block(0, 1, np.zeros(events, np.uint32), bx, {"tower": table}).check()


@pytest.fixture(scope="session")
def expected_jets(reference: Path) -> Columns:
    """`calol2_jets`: configurations 0 phi-ring, 1 2024, 2 chunky-donut; stages 0 and 1."""
    return read_columns(reference / "cmssw" / "calol2_jets.parquet")


@pytest.fixture(scope="session")
def expected_presort(reference: Path) -> Columns:
    """`calol2_jets_presort`: all candidates in ring order."""
    return read_columns(reference / "cmssw" / "calol2_jets_presort.parquet")
