"""Prescale tables and masks."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scout40.emulator.ugt.bits import unpack_bits
from scout40.emulator.ugt.masks import (
    default_finor_mask,
    load_bx_mask,
    load_finor_mask,
    load_veto_mask,
)
from scout40.emulator.ugt.model import Algorithm, Leaf, Menu
from scout40.emulator.ugt.prescales import load_prescales, no_prescales, parse_factor
from scout40.streams.errors import BadConfig

SMALL = {0: "L1_A", 5: "L1_B", 511: "L1_C"}
UNIT_TEST = {  # the rows of the unit-test run settings in reference/menus/unittest
    21: "L1_SingleMu22",
    194: "L1_SingleIsoEG32er2p5",
    286: "L1_Mu22er2p1_IsoTau30er2p1",
    318: "L1_SingleJet90er2p5",
    428: "L1_ETMHF80_HTT60er",
    459: "L1_ZeroBias",
    461: "L1_MinimumBiasHF0_AND_BptxAND",
    480: "L1_FirstCollisionInOrbit",
}
TEST_MENU = "L1MenuL1TGlobalUnitTests_v1_0_0.xml"


def make_menu(names: dict[int, str], name: str = "test") -> Menu:
    algorithms = tuple(Algorithm(i, n, "", Leaf(0)) for i, n in sorted(names.items()))
    return Menu(name, algorithms, ())


def menu_2024(reference: Path) -> Menu:
    path = reference / "menus/2024/L1Menu_Collisions2024_v1_3_0-d1.extract.json"
    algorithms = json.loads(path.read_text())["algorithms"]
    return make_menu({a["index"]: a["name"] for a in algorithms}, "L1Menu_Collisions2024_v1_3_0")


def settings(table: str, columns: str, rows: list[str], attributes: str = "") -> str:
    body = "\n".join(f"<row>{row}</row>" for row in rows)
    return (
        f'<run-settings id="uGT"><context id="p"><param id="{table}" type="table" {attributes}>\n'
        f"<columns>\n {columns}\n </columns><types>x</types><rows>\n{body}\n</rows></param>"
        "</context></run-settings>"
    )


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "table.any"  # the name says nothing about the content
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# ---------------------------------------------------------------- tables


def test_official_csv_and_xml_of_2024_agree(reference: Path) -> None:
    menu = menu_2024(reference)
    folder = reference / "menus/prescales"
    named = load_prescales(folder / "L1Menu_Collisions2024_v1_3_0.csv", menu)
    numbered = load_prescales(
        folder / "UGT_BASE_RS_PRESCALES_L1Menu_Collisions2024_v1_3_0.xml", menu
    )
    assert len(named.columns) == len(numbered.columns) == 19
    # The XML is the development version: by plain text search the two files give other prescales
    # to these twelve algorithms (as 163, L1_SingleEG28_FWD2p5: 0 and 45) and to no others.
    changed = [163, 191, 214, 226, 305, 320, 451, 452, 453, 454, 456, 457]
    assert np.flatnonzero((named.factors != numbered.factors).any(axis=0)).tolist() == changed
    assert [int(numbered.column(7)[i]) for i in changed[:3]] == [4500, 2500, 100]
    # Rows 9, 28 and 33 of the CSV: 2000, 325 and 1.
    column = named.column("2p0E34")
    assert [int(column[i]) for i in (9, 28, 33)] == [200000, 32500, 100]
    assert np.array_equal(column, named.column(7))
    assert np.array_equal(numbered.column(7), numbered.column("7"))
    # The one row of the CSV that is not 0 in this column: 459, 17581.
    assert np.flatnonzero(named.column("Emergency")).tolist() == [459]
    assert int(named.column("Emergency")[459]) == 1758100


def test_official_xml_of_unit_tests(reference: Path) -> None:
    menu = make_menu(UNIT_TEST)
    table = load_prescales(
        reference / "menus/unittest" / f"UGT_BASE_RS_PRESCALES_{TEST_MENU}", menu
    )
    assert table.columns == ("0", "1", "2")
    # Column 2 of the file, times 100.
    assert [int(table.column(2)[i]) for i in UNIT_TEST] == [100, 0, 120, 665, 340, 5010, 123, 100]
    assert int(table.column(1).sum()) == 800


def test_official_xml_of_2022_needs_32_bits(reference: Path) -> None:
    path = reference / "menus/prescales/UGT_BASE_RS_PRESCALES_L1MenuCollisions2022_v1_4_0.xml"
    found = re.findall(r"<row>(\d+),.*<!--\s*(L1_\w+)", path.read_text())
    table = load_prescales(path, make_menu({int(i): name for i, name in found}))
    assert int(table.column("3")[479]) == 26916700  # 269167 in the file, above 24 bits
    assert any("24-bit" in note for note in table.notes)


def test_other_years_table_is_refused_with_names(reference: Path) -> None:
    path = reference / "menus/prescales/UGT_BASE_RS_PRESCALES_L1MenuCollisions2022_v1_4_0.xml"
    with pytest.raises(BadConfig, match=r"another menu: 347 of 408.*without a row: .*not in the"):
        load_prescales(path, menu_2024(reference))
    path = reference / "menus/prescales/L1Menu_Collisions2024_v1_3_0.csv"
    with pytest.raises(BadConfig, match=r"another menu: 0 of 3 .*without a row: 0 L1_A, 5 L1_B"):
        load_prescales(path, make_menu(SMALL))


def test_equal_indices_but_other_names_in_comments_are_refused(tmp_path: Path) -> None:
    text = settings("prescales", "algo/prescale-index, 0", ["0, 1", "5, 2", "511, 3"])
    names = iter(["L1_A", "L1_Y", "L1_Z"])
    lines = [
        line + f" <!-- {next(names)} - 2022 -->" if line.endswith("</row>") else line
        for line in text.splitlines()
    ]
    with pytest.raises(BadConfig, match="1 of 3 rows match"):
        load_prescales(write(tmp_path, "\n".join(lines)), make_menu(SMALL))
    text = "\n".join(lines).replace("L1_Y", "L1_B")
    table = load_prescales(write(tmp_path, text), make_menu(SMALL))
    assert table.notes == ("1 of 3 comments name another algorithm: 511 L1_Z",)


def test_rows_by_name_delimiter_and_idle_rows(tmp_path: Path) -> None:
    text = settings(
        "prescales",
        "algo/prescale-index; 3 ;4",
        [" L1_C ; 1.5; .5", "L1_A;0.;1.", "\n L1_B\t; 1.10 ; 167772.16", "L1_OLD;0;0"],
        'delimiter=";"',
    )
    table = load_prescales(write(tmp_path, text), make_menu(SMALL))
    assert table.columns == ("3", "4")
    assert [int(table.column(3)[i]) for i in SMALL] == [0, 110, 150]
    assert [int(table.column(4)[i]) for i in SMALL] == [100, 16777216, 50]
    assert len(table.notes) == 3
    with pytest.raises(BadConfig, match=r"no prescale column 0; columns are: 3, 4"):
        table.column(0)


def test_csv_order_of_columns_and_blank_lines(tmp_path: Path) -> None:
    text = "\ufeff Name ,low,Index,high\r\nL1_C,1,511,2\r\n\r\nL1_A,3,0,4\r\nL1_B,5,5,6.25\r\n"
    table = load_prescales(write(tmp_path, text), make_menu(SMALL))
    assert table.columns == ("low", "high")
    assert [int(table.column("high")[i]) for i in SMALL] == [400, 625, 200]
    assert np.array_equal(table.column(1), table.column("high"))
    for wrong in ("medium", 2, -1, "7"):
        with pytest.raises(BadConfig, match="columns are: low, high"):
            table.column(wrong)


GOOD_CSV = "Index,Name,x\n0,L1_A,1\n5,L1_B,2\n511,L1_C,3\n"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("L1_B,2", "L1_B,-2", "line 3: prescale '-2' of algorithm L1_B in column 'x' is negative"),
        ("L1_B,2", "L1_B,2.125", "more than two decimals"),
        ("L1_B,2", "L1_B,42949673", "32 bits"),
        ("L1_B,2", "L1_B,nan", "not a plain decimal"),
        ("L1_B,2", "L1_B,", "not a plain decimal"),
        ("L1_B,2", "L1_B,1e3", "not a plain decimal"),
        ("L1_B,2", "L1_B", "2 values, the header has 3"),
        ("5,L1_B", "0,L1_B", "algorithm 0 again, first on line 2"),
        ("5,L1_B", "5,L1_A", "algorithm L1_A again"),
        ("5,L1_B", "6,L1_B", r"2 of 3 .*without a row: 5 L1_B; not in the menu: 6 L1_B"),
        ("5,L1_B", "512,L1_B", "index 512 above 511"),
        ("5,L1_B", "five,L1_B", "'five' is not a number"),
        ("5,L1_B,2", "5,L1_B,2\n7,L1_D,1", r"not in the menu: 7 L1_D"),
        ("Index,Name,x", "Number,Name,x", "starts with Index,Name"),
        ("Index,Name,x", "Index,Name,", "columns unnamed"),
        ("Index,Name,x\n0,L1_A,1\n5,L1_B,2\n511,L1_C,3\n", "Index,Name,x\n", "without columns"),
        (GOOD_CSV, "Index,Name\n0,L1_A\n", "without columns"),
        (GOOD_CSV, " \n ", "empty file"),
        (GOOD_CSV, '"', "malformed CSV|starts with Index"),
    ],
)
def test_bad_csv(tmp_path: Path, old: str, new: str, message: str) -> None:
    menu = make_menu(SMALL)
    load_prescales(write(tmp_path, GOOD_CSV), menu)
    with pytest.raises(BadConfig, match=message) as caught:
        load_prescales(write(tmp_path, GOOD_CSV.replace(old, new)), menu)
    assert "table.any" in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'<!DOCTYPE a [<!ENTITY b "c">]><run-settings/>', "not allowed"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><run-settings/>'.encode("utf-16"), "not allowed"),
        (b"<menu/>", "expected <run-settings>"),
        (b"<run-settings>", "not well-formed"),
        (b"<run-settings/>", "no table 'prescales'; it has: none"),
        (b'<?xml version="1.0" encoding="nonsense"?><run-settings/>', "cannot decode|well-formed"),
        (b"<run-settings>" + b"<a>" * 100, "too deeply"),
        (settings("finorMask", "algo,mask", []).encode(), "it has: finorMask"),
        (settings("prescales", "algo,0", ["0,1,2"]).encode(), "row of 3 values, 2 columns"),
        (settings("prescales", "algo,0", ["0,1"] * 600).encode(), "at most 512"),
        (settings("prescales", "algo,0", [",1"]).encode(), "without algorithm index"),
        (settings("prescales", "algo,0,0", ["0,1,1"]).encode(), "repeated"),
        (b"\xff\xfe\x00\x01", "well-formed|neither XML"),
        (b"\x80\x81", "neither XML nor"),
    ],
)
def test_bad_xml(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(BadConfig, match=message):
        load_prescales(write(tmp_path, data), make_menu(SMALL))


def test_missing_and_oversized_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadConfig, match="cannot be read"):
        load_prescales(tmp_path / "none", make_menu(SMALL))
    monkeypatch.setattr("scout40.emulator.ugt.read_runsettings.MAX_BYTES", 100)
    with pytest.raises(BadConfig, match="too big"):
        load_prescales(write(tmp_path, " " * 101), make_menu(SMALL))


@given(st.integers(0, (1 << 32) - 1))
def test_factor_round_trip(factor: int) -> None:
    assert parse_factor(f"{factor // 100}.{factor % 100:02d}") == factor


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
@example(b"Index,Name,x\n0,L1_A,1\n5,L1_B,\n")
def test_any_bytes_are_refused_cleanly(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = write(tmp_path_factory.getbasetemp(), data)
    for load in (load_prescales, load_finor_mask, load_bx_mask):
        with pytest.raises(BadConfig):
            load(path, make_menu(SMALL))


def test_no_table_means_prescale_1() -> None:
    factors = no_prescales(make_menu(SMALL))
    assert [int(factors[i]) for i in SMALL] == [100, 100, 100]
    assert int(factors.sum()) == 300


# ---------------------------------------------------------------- masks


def test_official_masks(reference: Path) -> None:
    menu = make_menu(UNIT_TEST)
    folder = reference / "menus/unittest"
    everything = unpack_bits(load_finor_mask(folder / f"UGT_BASE_RS_FINOR_MASK_{TEST_MENU}", menu))
    assert np.flatnonzero(everything).tolist() == list(UNIT_TEST)
    assert not load_veto_mask(folder / f"UGT_BASE_RS_VETO_MASK_{TEST_MENU}", menu).any()
    path = reference / "menus/prescales/UGT_BASE_RS_FINOR_MASK_L1MenuCollisions2023_v1_3_0.xml"
    mask = unpack_bits(load_finor_mask(path, make_menu({i: f"L1_{i}" for i in range(512)})))
    assert np.count_nonzero(mask) == 511  # one 0 in the file
    assert np.array_equal(
        unpack_bits(default_finor_mask(menu)), np.isin(np.arange(512), list(UNIT_TEST))
    )


def test_bx_mask_table_of_unit_tests_has_algorithms_by_place(reference: Path) -> None:
    # Its columns are 0..7 and it repeats four rows (3531, ...) with equal values.
    path = reference / "menus/unittest" / f"UGT_BASE_RS_ALGOBX_MASK_{TEST_MENU}"
    mask = unpack_bits(load_bx_mask(path, make_menu({i: f"L1_{i}" for i in range(8)})))
    assert mask.shape == (3564, 512)
    assert mask[:, :8].all()
    assert not mask[:, 8:].any()
    with pytest.raises(BadConfig, match="another menu: 0 of 8"):
        load_bx_mask(path, make_menu(UNIT_TEST))


def test_veto_mask_of_another_menu_is_refused_by_its_comments(reference: Path) -> None:
    path = reference / "menus/prescales/UGT_BASE_RS_VETO_MASK_L1MenuCollisions2022_v1_4_0.xml"
    with pytest.raises(BadConfig, match="by the names in its comments"):
        load_veto_mask(path, menu_2024(reference))


def test_mask_defaults_and_names(tmp_path: Path) -> None:
    menu = make_menu(SMALL)

    def finor(rows: list[str]) -> list[int]:
        path = write(tmp_path, settings("finorMask", "algo,mask", rows))
        return np.flatnonzero(unpack_bits(load_finor_mask(path, menu))).tolist()

    assert finor(["L1_A, 0"]) == [5, 511]
    assert finor(["all, 0", "511, 1"]) == [511]
    assert finor(["ALL,1", "L1_B,0", "3,0"]) == [0, 511]
    path = write(tmp_path, settings("vetoMask", "algo,veto", ["L1_B,1"]))
    assert np.flatnonzero(unpack_bits(load_veto_mask(path, menu))).tolist() == [5]
    for rows, message in (
        (["0,2"], "expected 0 or 1"),
        (["0,1", "0,1"], "algorithm 0 again"),
        (["0,1", "L1_X,1"], "another menu: 1 of 3.*L1_X"),
        (["7,1"], "another menu: 0 of 3"),
    ):
        with pytest.raises(BadConfig, match=message):
            finor(rows)


def test_bx_mask_counts_from_the_last_crossing(tmp_path: Path) -> None:
    menu = make_menu(SMALL)

    def closed(columns: str, rows: list[str]) -> list[tuple[int, int]]:
        path = write(tmp_path, settings("algorithmBxMask", columns, rows))
        mask = unpack_bits(load_bx_mask(path, menu))
        places = np.argwhere(~mask[:, list(SMALL)])
        return [(int(bx) + 1, list(SMALL)[int(column)]) for bx, column in places]

    rows = ["0,1,0", "1,0,1", "3563,0,0", "1,0,1"]
    assert closed("bx/algo,5,511", rows) == [(1, 5), (3563, 5), (3563, 511), (3564, 511)]
    ranges = "algo,range,mask"
    assert closed(ranges, ["L1_B,3563-1,0"]) == [(1, 5), (3563, 5), (3564, 5)]
    assert closed(ranges, ["L1_B,[3564],0"]) == [(3564, 5)]
    assert closed(ranges, ["ALL,ALL,0", "all,0-3563,1", "L1_A,7,0"]) == [(7, 0)]
    assert len(closed(ranges, ["511,ALL,0", "511,1 - 3000,1"])) == 564
    for columns, row, message in (
        (ranges, "L1_B,1-3565,0", "expected 0..3564"),
        (ranges, "L1_B,x,0", "BX 'x'"),
        (ranges, "L1_X,1,0", "L1_X"),
        ("bx/algo,5", "3,7", "expected 0 or 1"),
        ("a,b", "3,7", "expected bx/algo"),
    ):
        with pytest.raises(BadConfig, match=message):
            closed(columns, [row])
    with pytest.raises(BadConfig, match="BX 1 again with other values"):
        closed("bx/algo,5,511", ["1,0,1", "1,1,1"])
