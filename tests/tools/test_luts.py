"""``scout40 luts``: what it prints, compares and draws, and what it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from scout40.emulator.ugmt.firmware import firmware
from scout40.emulator.ugmt.tables import computed_tables
from scout40.tools import lut_tables, luts
from scout40.tools.show_luts import histogram, sparkline

PNG = b"\x89PNG"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(luts.command, [str(argument) for argument in arguments])


def values_of(*arguments: object) -> dict[str, Any]:
    done = run(*arguments, "--json")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def table(path: Path, values: list[int], n_out: int = 10) -> Path:
    """An official text file of these values."""
    rows = "\n".join(f"{address} {value}" for address, value in enumerate(values))
    n_in = len(values).bit_length() - 1
    path.write_text(f"#<header> V1 {n_in} {n_out} </header>\n{rows}\n")
    return path


def rank(path: Path, changes: dict[int, int] | None = None) -> Path:
    """The sort rank table, with other values at some addresses."""
    values = [(address & 511) + (address >> 9) for address in range(8192)]
    for address, value in (changes or {}).items():
        values[address] = value
    return table(path, values)


def test_show_a_file(tmp_path: Path) -> None:
    done = run("show", rank(tmp_path / "SortRank.txt"))
    assert done.exit_code == 0
    for text in ("13 -> 10 bits", "8 192 entries", "quality (4 bits), pt (9 bits)", "0 to 526"):
        assert text in done.stdout
    assert "495-526 █" in done.stdout
    assert "sha256 " in done.stdout


def test_show_as_json(tmp_path: Path) -> None:
    path = rank(tmp_path / "SortRank.txt")
    [found] = values_of("show", path)["tables"]
    assert (found["n_in"], found["n_out"], found["entries"]) == (13, 10, 8192)
    assert found["fields"] == {"quality": 4, "pt": 9}
    assert sum(found["counts"].values()) == 8192
    assert found["counts"]["526"] == 1
    other = path.with_suffix(".mif")
    other.write_text("\n".join(f"{(a & 511) + (a >> 9):010b}" for a in range(8192)))
    [same] = values_of("show", other)["tables"]
    assert same["sha256_values"] == found["sha256_values"]
    assert same["sha256_file"] != found["sha256_file"]


def test_show_computed_tables() -> None:
    everything = values_of("show")["tables"]
    assert [one["name"] for one in everything] == list(computed_tables(firmware("2024")).sources)
    assert all(one["sha256_file"] is None for one in everything)
    [old] = values_of("show", "BPhiExtrapolation", "--firmware", "2016")["tables"]
    assert old["fields"] == {"|eta|": 6, "pt": 6}
    assert old["n_out"] == 3
    text = run("show", "computed").stdout
    assert "computed for uGMT firmware 2024" in text
    assert text.count("MatchQual") == 8


def test_equal_tables(tmp_path: Path) -> None:
    a, b = rank(tmp_path / "a.txt"), rank(tmp_path / "b.txt")
    done = run("diff", a, b)
    assert done.exit_code == 0
    assert "all 8 192 entries are equal" in done.stdout
    assert values_of("diff", a, b)["different"] == 0
    assert run("diff", rank(tmp_path / "SortRank.txt"), "computed").exit_code == 0


def test_different_entries(tmp_path: Path) -> None:
    a = rank(tmp_path / "SortRank.txt")
    b = rank(tmp_path / "changed.txt", {5 << 9 | 25: 1, 7: 10})
    done = run("diff", a, b)
    assert done.exit_code == 1
    assert "quality 0, pt 7 (3 GeV)" in done.stdout
    assert "quality 5, pt 25 (12 GeV)" in done.stdout
    found = values_of("diff", a, b)
    assert found["different"] == 2
    [pair] = found["tables"]
    assert pair["largest"] == 29
    assert pair["first"][0] == {"address": 7, "quality": 0, "pt": 7, "a": 7, "b": 10}
    assert len(values_of("diff", a, b, "--first", 1)["tables"][0]["first"]) == 1
    assert "pt 7" not in run("diff", a, b, "--first", 0).stdout


def test_sides_are_not_swapped(tmp_path: Path) -> None:
    path = rank(tmp_path / "SortRank.txt", {7: 10})
    [entry] = values_of("diff", path, "computed")["tables"][0]["first"]
    assert (entry["a"], entry["b"]) == (10, 7)
    [entry] = values_of("diff", "computed", path)["tables"][0]["first"]
    assert (entry["a"], entry["b"]) == (7, 10)


def test_different_sizes_differ(tmp_path: Path) -> None:
    a, b = table(tmp_path / "a.txt", [1, 2]), table(tmp_path / "b.txt", [1, 2, 3, 4])
    done = run("diff", a, b)
    assert done.exit_code == 1
    assert "2 / 4" in done.stdout
    assert values_of("diff", a, b)["tables"][0]["entries"] == [2, 4]


def test_folders(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    for folder in (a, b):
        folder.mkdir()
        rank(folder / "SortRank.txt")
    assert run("diff", a, b).exit_code == 0
    table(a / "mine.txt", [0, 1])
    table(b / "theirs.txt", [0, 1])
    done = run("diff", a, b)
    assert done.exit_code == 1
    assert "only in A (1): mine" in done.stdout
    assert "only in B (1): theirs" in done.stdout
    found = values_of("diff", a, "computed")
    assert [pair["name"] for pair in found["tables"]] == ["SortRank"]
    assert found["tables"][0]["a"] == str(a / "SortRank.txt")
    assert "EPhiExtrapolation" in found["missing"]
    assert [one["name"] for one in values_of("show", a)["tables"]] == ["SortRank", "mine"]


def test_official_folder(reference: Path) -> None:
    folder = reference / "ugmt_luts"
    found = values_of("diff", folder, "computed", "--first", 1)
    differ = {pair["name"]: pair["different"] for pair in found["tables"] if pair["different"]}
    assert set(differ) == {
        f"{kind}{what}Extrapolation" for kind in "BOE" for what in ("Phi", "Eta")
    }
    first = found["tables"][-1]["first"][0]
    assert first["address"] == first["|eta|"] << 7 | first["pt"]
    assert len(found["missing"]) == 8  # match tables of 2024 are in no file
    old = values_of("diff", folder, "computed", "--firmware", "2016")
    matches = [pair for pair in old["tables"] if pair["name"].endswith("MatchQual")]
    assert [pair["different"] for pair in matches] == [0] * 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "Nothing"), "Nothing: no such file, nor a computed table"),
        (("show", "SortRank", "--firmware", "1999"), "firmware '1999' is not known"),
        (("diff", "computed", "computed"), "expected a file or a folder on one side"),
        (("diff", "nowhere", "computed"), "no such file or folder"),
        (("diff", "{folder}", "{file}"), "a file cannot be compared with a folder"),
        (("show", "{empty}"), "no look-up table"),
        (("diff", "{file}", "computed"), "no table is computed under this name"),
        (("diff", "{narrow}", "computed"), "1 address bits, the computed table of firmware 2024"),
        (("show", "SortRank", "--picture", "x.bmp"), "pictures end in .png, .svg, .pdf"),
        (("diff", "{file}", "{file}", "--picture", "x.png"), "nothing to draw"),
        (("show", "SortRank", "--picture", "{empty}/no/x.png"), "No such file or directory"),
    ],
)
def test_what_is_refused(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    (tmp_path / "empty").mkdir()
    places = {
        "file": table(tmp_path / "any.txt", [0, 1]), "empty": tmp_path / "empty",
        "narrow": table(tmp_path / "SortRank.txt", [0, 1]), "folder": tmp_path,
    }  # fmt: skip
    done = run(*(argument.format(**places) for argument in arguments))
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.startswith("scout40 luts ")


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_pictures(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"all.{suffix}"
    done = run("show", "--picture", path)
    assert done.exit_code == 0
    assert f"wrote {path}" in done.stdout.replace("\n", "")
    data = path.read_bytes()
    assert data.startswith(PNG if suffix == "png" else b"<?xml")
    assert len(data) > 20_000
    changed = rank(tmp_path / "SortRank.txt", {7: 10})
    assert run("diff", changed, "computed", "--picture", path, "--json").exit_code == 1
    assert path.read_bytes() != data


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = run("show", "SortRank", "--picture", tmp_path / "x.png")
    assert done.exit_code == 2
    assert "pictures need matplotlib: pip install 'scout40[report]'" in done.stderr
    assert run("show", "SortRank").exit_code == 0


@pytest.mark.parametrize(
    ("name", "n_in", "address", "text"),
    [
        ("BPhiExtrapolation_5eta_7pt_4out_2outshift_20170505", 12, 13 << 7 | 24,
         "|eta| 13 (1.13 to 1.22), pt 24 (11.5 GeV)"),
        ("BPhiExtrapolation", 12, 13 << 6, "|eta| 13 (0.57 to 0.61), pt 0 (no muon)"),
        ("SortRank", 13, 12 << 9 | 511, "quality 12, pt 511 (255 GeV)"),
        ("IdxSelMemEta", 9, 511, "eta -1 (-0.011)"),
        ("BOPosMatchQual", 9, 256 | 3 << 3 | 2, "fine 1, deta 3 (0.033), dphi 2 (0.022)"),
        ("BOPosMatchQual", 7, 3 << 3 | 2, "deta 3 (0.033), dphi 2 (0.022)"),
        ("Unheard", 4, 9, "address 9"),
        ("SortRank", 4, 9, "address 9"),
    ],
)  # fmt: skip
def test_addresses_are_explained(name: str, n_in: int, address: int, text: str) -> None:
    fields = lut_tables.address_fields(name, n_in)
    lut = lut_tables.Lut(name, "", n_in, 1, np.zeros(1 << n_in, np.int64), fields)
    assert lut.decoded(address) == text


def test_histograms() -> None:
    edges, counts = histogram(np.array([3, 3, 4, 9]), 16)
    assert edges == [(k, k) for k in range(3, 10)]
    assert counts.tolist() == [2, 1, 0, 0, 0, 0, 1]
    edges, counts = histogram(np.arange(100), 16)
    assert edges[-1] == (98, 99)
    assert counts.tolist() == [7] * 14 + [2]
    assert sparkline(np.array([0, 2])) == "█ █"
    assert sparkline(np.zeros(4, np.int64)) == "█"
