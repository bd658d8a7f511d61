"""Jets against `reference/cmssw/calol2_*`: the CMS layer-2 algorithm run on synthetic towers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from scout40.emulator.calo.config import configuration
from scout40.emulator.calo.geometry import GT_ETA_OF_ROW, IETA_OF_ROW
from scout40.emulator.calo.jets import HW_ETA_OF_ROW, Jets, find_jets
from scout40.streams.block import Block, Table
from scout40.streams.sources.base import Run
from scout40.streams.sources.testvector import TestVectorSource

Columns = dict[str, npt.NDArray[Any]]

CODES = {"phi-ring": 0, "2024": 1, "chunky-donut": 2}
JET = {"hw_pt": "hw_et", "ieta": "ieta", "iphi": "iphi", "raw_et": "raw_et"} | {
    "seed_et": "seed_et",
    "pu_et": "pu_et",
}
AT_TRIGGER = JET | {"gt_eta": "gt_eta", "gt_phi": "gt_phi"}
VECTOR = "testvectors/ugt/L1menu_2024_v1_3_0_data_TestVector_000.txt"
"""Words of 2024 at the global trigger, 13,233 of them jets."""


@pytest.fixture(scope="module", params=list(CODES))
def case(request: pytest.FixtureRequest, calo_block: Block) -> tuple[int, Jets]:
    """Code of a configuration and its jets."""
    return CODES[request.param], find_jets(calo_block, configuration(request.param))


def assert_equal(table: Table, expected: Columns, names: dict[str, str]) -> None:
    """The same jets in the same order in every event."""
    event = np.repeat(np.arange(len(table.offsets) - 1), table.counts())
    np.testing.assert_array_equal(event, expected["event"])
    assert len(event) > 5000
    for theirs, ours in names.items():
        np.testing.assert_array_equal(table[ours], expected[theirs], err_msg=theirs)


def selected(columns: Columns, mask: npt.NDArray[np.bool_]) -> Columns:
    return {name: values[mask] for name, values in columns.items()}


def test_candidates_in_ring_order(case: tuple[int, Jets], expected_presort: Columns) -> None:
    code, jets = case
    assert_equal(jets.presort, selected(expected_presort, expected_presort["config"] == code), JET)


@pytest.mark.parametrize("stage", [0, 1])
def test_sorted_jets(case: tuple[int, Jets], expected_jets: Columns, stage: int) -> None:
    code, jets = case
    mask = (expected_jets["config"] == code) & (expected_jets["stage"] == stage)
    table = jets.demux if stage else jets.processor
    assert_equal(table, selected(expected_jets, mask), AT_TRIGGER)


def test_saturated_jets_are_calibrated_for_the_sorters_only(calo_block: Block) -> None:
    jets = find_jets(calo_block, configuration("2024"))
    assert set(jets.presort["hw_et"][jets.presort["seed_et"] >= 509].tolist()) == {65535}
    sent = jets.processor["hw_et"][jets.processor["seed_et"] >= 509]
    assert set(sent.tolist()) == {65023, 65535}
    assert set(jets.demux["hw_et"][jets.demux["seed_et"] >= 509].tolist()) == {2047}


def test_codes_of_eta_are_those_in_data(reference: Path) -> None:
    """Seeds +-28 and +-41 included, where the rounded centres of scouting's table differ."""
    (block,) = TestVectorSource([str(reference / VECTOR)]).blocks(Run())
    jets = block.tables["jet"]
    found = set(jets["hw_eta"][jets["hw_et"] > 0].tolist())
    ours = HW_ETA_OF_ROW.tolist()
    assert len(set(ours)) == 80
    assert set(ours) - found == {-110}  # ieta -40 has no jet in this vector, +40 has two
    assert found <= set(ours)
    differ = HW_ETA_OF_ROW != GT_ETA_OF_ROW
    assert IETA_OF_ROW[differ].tolist() == [-41, -28, 28, 41]
    assert HW_ETA_OF_ROW[differ].tolist() == [-114, -63, 63, 114]


def test_codes_of_places(case: tuple[int, Jets]) -> None:
    """hw_eta has the sign and the order of ieta; all but +-28 and +-41 are as in the reference."""
    for table in (case[1].processor, case[1].demux):
        code = dict(zip(IETA_OF_ROW.tolist(), HW_ETA_OF_ROW.tolist(), strict=True))
        assert table["hw_eta"].tolist() == [code[ieta] for ieta in table["ieta"].tolist()]
        edge = np.isin(abs(table["ieta"]), (28, 41))
        np.testing.assert_array_equal(table["hw_eta"] == table["gt_eta"], ~edge)
        assert edge.any()
        np.testing.assert_array_equal(table["hw_phi"], 2 * table["iphi"] - 1)
        assert table["hw_eta"].dtype == np.int8


def test_output_words_fit(calo_block: Block) -> None:
    from scout40.streams.formats.ugt import UgtJet

    jets = find_jets(calo_block, configuration("2024")).demux
    words = UgtJet.pack(jets.columns)
    unpacked = UgtJet.unpack(words)
    for name, values in unpacked.items():
        assert values.dtype == jets[name].dtype
        np.testing.assert_array_equal(values, jets[name])
