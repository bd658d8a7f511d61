"""Tables: closed forms against the official files, loading, and the table of firmwares."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest

from scout40.emulator.ugmt import FIRMWARES, computed_tables, firmware, firmware_of, load_tables
from scout40.emulator.ugmt.firmware import VERSIONS
from scout40.emulator.ugmt.links import MIRROR, SECTOR, STREAM, TRACK_FINDER, global_phi
from scout40.emulator.ugmt.neighbours import MATCH_NAMES
from scout40.emulator.ugmt.tables import COMPUTED
from scout40.streams.errors import BadConfig

CLOSED = (
    "rank",
    "match",
    "calo_phi_index",
    "calo_eta_index",
    "absolute_isolation",
    "relative_isolation",
)


@pytest.mark.parametrize("name", ["2016", "2017-start", "2024"])
def test_closed_forms_equal_the_official_files(reference: Path, name: str) -> None:
    fw = firmware(name)
    ours, official = computed_tables(fw), load_tables(reference / "ugmt_luts", fw)
    for field in CLOSED:
        assert (getattr(ours, field) == getattr(official, field)).all(), field
    assert set(ours.sources.values()) == {COMPUTED}
    read = {key for key, source in official.sources.items() if source != COMPUTED}
    matches = set(MATCH_NAMES)
    assert read == set(ours.sources) - (set() if name == "2016" else matches)


def test_match_tables_of_run_3(reference: Path) -> None:
    tables = computed_tables(firmware("2024"))
    with np.load(reference / "cmssw" / "ugmt_match_luts.npz") as expected:
        for row, key in ((0, "omtf_omtf"), (2, "emtf_emtf"), (4, "omtf_bmtf"), (6, "omtf_emtf")):
            assert (tables.match[row] == expected[key]).all()
            assert (tables.match[row + 1] == expected[key]).all()


def test_sources_name_file_and_digest(reference: Path) -> None:
    folder = reference / "ugmt_luts"
    sources = load_tables(folder, firmware("2024")).sources
    name = "OPhiExtrapolation_5eta_7pt_4out_2outshift_20170505.txt"
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    assert sources["OPhiExtrapolation"] == f"{name} sha256:{digest}"


def test_one_file_of_a_folder_is_used(tmp_path: Path) -> None:
    fw = firmware("2024")
    ranks = computed_tables(fw).rank.astype(np.int64)
    ranks[5] = 900
    lines = "\n".join(f"{address} {value}" for address, value in enumerate(ranks))
    (tmp_path / "SortRank.txt").write_text(f"#<header> V1 13 10 </header>\n{lines}\n")
    tables = load_tables(tmp_path, fw)
    assert (tables.rank == ranks).all()
    assert [key for key, source in tables.sources.items() if source != COMPUTED] == ["SortRank"]


def test_tables_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    fw = firmware("2024")
    with pytest.raises(BadConfig, match="not a folder"):
        load_tables(tmp_path / "nowhere", fw)
    with pytest.raises(BadConfig, match="none of the tables of uGMT firmware 2024"):
        load_tables(tmp_path, fw)
    (tmp_path / "AbsIsoCheckMem.lut").write_text("CONTENT_VECTOR= 1 1 0 0\n")
    with pytest.raises(BadConfig, match="2 address bits, this firmware needs 5"):
        load_tables(tmp_path, fw)
    (tmp_path / "AbsIsoCheckMem.lut").write_text("CONTENT_VECTOR= " + "2 " * 32 + "\n")
    with pytest.raises(BadConfig, match="value 2, at most 1"):
        load_tables(tmp_path, fw)


def test_tables_cannot_be_written_to() -> None:
    tables = computed_tables(firmware("2024"))
    for field in dataclasses.fields(tables):
        values = getattr(tables, field.name)
        if isinstance(values, np.ndarray):
            assert values.dtype == np.int16
            assert not values.flags.writeable


def test_firmwares_by_name_and_version() -> None:
    assert [fw.first for fw in VERSIONS] == sorted(fw.first for fw in VERSIONS)
    for version, name in (
        (0, "2015"), (0x2020000, "2016"), (0x4010000, "2017-start"), (0x5FFFFFF, "2017"),
        (0x6000001, "2022"), (0x8000000, "2022"), (0x8010000, "2024"), (0x9000000, "2024"),
    ):  # fmt: skip
        assert firmware_of(version).name == name
    assert all(fw.name == name for name, fw in FIRMWARES.items())
    with pytest.raises(BadConfig, match="'2023' is not known; known are 2015, 2016"):
        firmware("2023")
    with pytest.raises(BadConfig, match="negative"):
        firmware_of(-1)


def test_links() -> None:
    assert TRACK_FINDER.tolist() == [2] * 6 + [1] * 6 + [0] * 12 + [1] * 6 + [2] * 6
    assert (MIRROR[MIRROR] == np.arange(36)).all()
    assert (SECTOR[MIRROR] == SECTOR).all()
    assert (TRACK_FINDER[MIRROR] == TRACK_FINDER).all()
    assert STREAM[36] == 0
    assert STREAM[0] == STREAM[35] == 4
    links, local = np.array([36, 41, 47, 48, 59, 66]), np.array([0, 100, 100, 0, -128, -25])
    assert global_phi(links, local).tolist() == [24, 28, 28, 552, 376, 575]
