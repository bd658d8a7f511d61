"""The extrapolation on recorded muons: the data vector of 2024 with the official tables.

A muon word has the azimuth at the station and azimuth and eta at the vertex, but not the eta at
the station. So some eta must exist from which the tables lead to both values at the vertex.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from scout40.emulator.ugmt import Ugmt, links
from scout40.emulator.ugmt.firmware import firmware
from scout40.emulator.ugmt.tables import load_tables
from scout40.streams.block import Block, Table, offsets_of
from scout40.streams.formats.track_finder import FIRST_LINK, SLOTS, TFMU_DTYPES
from scout40.streams.sources.base import Run
from scout40.streams.sources.testvector import TestVectorSource

VECTOR = "L1menu_2024_v1_3_0_data_TestVector_000.txt"
MUONS = 2946
"""Muons of that file, counted once."""

FARTHEST = 15
"""Largest entry of a table of four bits."""


@pytest.fixture(scope="module")
def recorded(reference: Path) -> Table:
    source = TestVectorSource([str(reference / "testvectors" / "ugt" / VECTOR)])
    parts = [block.tables["mu"] for block in source.blocks(Run())]
    columns = {
        name: np.concatenate([part[name][part["hw_pt"] > 0] for part in parts])
        for name in parts[0].columns
    }
    return Table(columns, offsets_of(np.ones(len(columns["hw_pt"]), np.int64)))


def as_inputs(mu: Table, steps: npt.NDArray[Any]) -> Block:
    """Every recorded muon once for each step in eta, alone in a crossing, as its track finder
    sent it when the extrapolation moved it by that step."""
    n = len(steps)

    def repeated(name: str) -> npt.NDArray[np.int64]:
        return np.repeat(mu[name].astype(np.int64), n)

    index = repeated("tf_muon_index")
    link = index // SLOTS
    local = (repeated("hw_phi") - links.PHI_OFFSET[link] + 288) % links.PHI_TURN - 288
    assert local.min() >= -128
    assert local.max() < 128
    columns = {name: np.zeros(len(index), dtype) for name, dtype in TFMU_DTYPES.items()}
    known = {
        "link": link + FIRST_LINK,
        "slot": index % SLOTS,
        "hw_pt": repeated("hw_pt"),
        "hw_phi": local,
        "hw_eta": repeated("hw_eta_at_vtx") - np.tile(steps, len(mu)),
        "hw_sign": repeated("hw_sign"),
        "hw_sign_valid": repeated("hw_charge_valid"),
        "hw_qual": repeated("hw_qual"),
    }
    for name, values in known.items():
        columns[name][:] = values
    place = np.arange(len(index))
    return Block(
        first_orbit=0,
        last_orbit=len(index) // 3564 + 1,
        orbit=(place // 3564).astype(np.uint32),
        bx=(place % 3564 + 1).astype(np.uint16),
        tables={"tfmu": Table(columns, offsets_of(np.ones(len(index), np.int64)))},
    ).check()


def explained(mu: Table, folder: Path) -> npt.NDArray[np.bool_]:
    """Of each recorded muon, whether some eta at the station leads to it."""
    steps = np.arange(-FARTHEST, FARTHEST + 1)
    fw = firmware("2024")
    tables = load_tables(folder, fw)
    files = [name for name in tables.sources if name.endswith("Extrapolation")]
    assert all("20170505" in tables.sources[name] for name in files)
    assert len(files) == 6
    out = Ugmt(fw, tables).run(as_inputs(mu, steps)).tables["mu"]
    assert len(out) == len(mu) * len(steps)
    same = np.ones(len(out), np.bool_)
    for name in ("hw_phi_at_vtx", "hw_eta_at_vtx", "hw_phi", "tf_muon_index"):
        same &= out[name] == np.repeat(mu[name], len(steps))
    explains: npt.NDArray[np.bool_] = np.any(same.reshape(len(mu), len(steps)), axis=1)
    return explains


def test_official_tables_lead_to_every_recorded_muon(recorded: Table, reference: Path) -> None:
    found = explained(recorded, reference / "ugmt_luts")
    assert len(found) == MUONS
    assert found.all(), f"{int((~found).sum())} muons follow from no eta at the station"
    moved = recorded["hw_phi_at_vtx"] != recorded["hw_phi"]
    assert moved.sum() > MUONS // 2, "too few muons are moved for this to say anything"
    assert len(np.unique(recorded["tf_muon_index"] // SLOTS)) == links.N_LINKS


def test_other_tables_do_not(recorded: Table, reference: Path, tmp_path: Path) -> None:
    """The check can fail: the tables of January 2017 lead elsewhere."""
    for path in (reference / "ugmt_luts").glob("*_20170118.txt"):
        (tmp_path / path.name.replace("20170118", "20170505")).write_bytes(path.read_bytes())
    found = explained(recorded, tmp_path)
    assert int((~found).sum()) > 0
