"""Runs that start at links or towers, through the program: output, decisions, lineage, refusals."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from scout40.emulator.calo.config import CONFIGS
from scout40.emulator.ugmt.firmware import FIRMWARES
from scout40.streams.errors import BadConfig, BadInput
from scout40.tools.chain import Chain, with_sums
from scout40.tools.compare import command
from scout40.tools.job import emulate
from scout40.tools.unpack import unpack
from tests.tools.link_tables import block_of, muons, towers, write
from tests.tools.program import run


def lineage_in(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(pq.read_schema(path).metadata[b"scout40.lineage"])
    return found


def digest_of(path: Path) -> str:
    return str(lineage_in(path)["configuration"])


# -- what decides the result -----------------------------------------------------------------------


def lineage(inputs: Path, out: Path, chain: Chain, menu: Path | None = None) -> str:
    if menu is None:
        unpack([str(inputs)], chain=chain, out=out)
    else:
        emulate([str(inputs)], menu, chain=chain, out=out, threads=1)
    return digest_of(out)


@pytest.mark.parametrize("with_menu", [False, True])
def test_lineage_of_links(links: Path, menu: Path, tmp_path: Path, with_menu: bool) -> None:
    """Firmware and contents of tables count, the place of the folder does not."""
    folders = {name: tmp_path / name for name in ("one", "copy", "other")}
    for name, folder in folders.items():
        folder.mkdir()
        values = [(k & 511) + (k >> 9) for k in range(8192)]
        values[700] += name == "other"
        lines = "\n".join(f"{k} {value}" for k, value in enumerate(values))
        (folder / "SortRank.txt").write_text(f"#<header> V1 13 10 </header>\n{lines}\n")
    chains = {
        "plain": Chain("links"),
        "2016": Chain("links", firmware="2016"),
        "2024": Chain("links", firmware="2024"),
        **{name: Chain("links", luts=str(folder)) for name, folder in folders.items()},
    }
    found = {
        name: lineage(links, tmp_path / f"{name}.parquet", chain, menu if with_menu else None)
        for name, chain in chains.items()
    }
    assert found.pop("copy") == found["one"]
    assert len(set(found.values())) == len(found)
    used = dict(lineage_in(tmp_path / "one.parquet")["tables"])
    assert used["uGMT firmware"] == "2024"
    digest = hashlib.sha256((folders["one"] / "SortRank.txt").read_bytes()).hexdigest()
    assert used["SortRank"] == f"SortRank.txt sha256:{digest}"
    assert used["BPhiExtrapolation"] == used["IdxSelMemPhi"] == "computed"
    plain = dict(lineage_in(tmp_path / "2016.parquet")["tables"])
    assert plain["uGMT firmware"] == "2016"
    assert set(plain.values()) == {"2016", "computed"}


@pytest.mark.parametrize("with_menu", [False, True])
def test_lineage_of_towers(calo: Path, menu: Path, tmp_path: Path, with_menu: bool) -> None:
    chains = {name: Chain("towers", calo_config=name) for name in (None, "2024", "phi-ring")} | {
        "again": Chain("towers")
    }
    found = {
        name: lineage(calo, tmp_path / f"{name}.parquet", chain, menu if with_menu else None)
        for name, chain in chains.items()
    }
    assert found.pop("again") == found[None]
    assert len(set(found.values())) == 3
    packaged = ["jet calibration", "packaged 2024 constants"]
    assert lineage_in(tmp_path / "2024.parquet")["tables"] == [["calo layer 2", "2024"], packaged]
    assert lineage_in(tmp_path / "phi-ring.parquet")["tables"] == [["calo layer 2", "phi-ring"]]


def test_lineage_of_objects_is_that_without_a_chain(
    sample_file: Path, demo_menu_file: Path, tmp_path: Path
) -> None:
    outs = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for out, chain in zip(outs, (None, Chain()), strict=True):
        emulate(sample_file, demo_menu_file, chain=chain, out=out)
    assert digest_of(outs[0]) == digest_of(outs[1])
    assert Chain().configuration() == {}


# -- choice of firmware and inputs -----------------------------------------------------------------


def test_firmware_of_the_input(links: Path, reference: Path) -> None:
    plain = unpack([str(links)], chain=Chain("links"))
    assert "uGMT firmware 2024;" in plain.receipt.notes[0]
    endcap = reference / "cmssw" / "ugmt_legacy_cancel_inputs.parquet"
    found = unpack([str(endcap)], chain=Chain("links"))
    assert "uGMT firmware 2024-addresses;" in found.receipt.notes[0]
    asked = unpack([str(endcap)], chain=Chain("links", firmware="2016"))
    assert "uGMT firmware 2016;" in asked.receipt.notes[0]
    for board in ("mp7/sort_test.txt", "testbench/sort_test.txt"):
        path = reference / "testvectors" / "ugmt_2016" / board
        found = unpack([str(path)], chain=Chain("links"))
        assert "uGMT firmware 2016;" in found.receipt.notes[0]
        assert found.objects["mu"] > 0


def test_both_quality_rules_in_every_firmware(links: Path) -> None:
    """The word of 2016 has the older quality, that of 2024 the newer; both stand beside it."""
    block = block_of(links)
    new, old = (
        Chain("links", firmware=name).stage(None).run(block).tables["mu"]
        for name in ("2024", "2016")
    )
    assert np.array_equal(new["hw_qual"], new["hw_qual_2024"])
    assert np.array_equal(old["hw_qual"], old["hw_qual_pre2024"])
    assert not np.array_equal(new["hw_qual_2024"], new["hw_qual_pre2024"])
    assert set(np.unique(new["charge"])) == {-1, 0, 1}
    assert np.array_equal(new["charge"] == 0, new["hw_sign_valid"] == 0)


def test_sums_beside_a_table_of_links(tmp_path: Path) -> None:
    links = write(tmp_path / "a_inputs.parquet", muons(2))
    assert with_sums([links]) == [str(links)]
    sums = write(tmp_path / "a_calosums.parquet", {n: np.ones(1, int) for n in ("bx", "ieta")})
    found = with_sums([str(links)])
    assert found == [str(links), str(sums)]
    assert with_sums(found) == found
    other = write(tmp_path / "b_inputs.parquet", towers(1))
    write(tmp_path / "b_calosums.parquet", {"bx": np.ones(1, int)})
    assert with_sums([str(other)]) == [str(other)]


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--luts", "x"), "(--luts) are for --from links or --from towers"),
        (("--firmware", "2024"), "(--firmware) is for --from links, not --from objects"),
        (("--from", "towers", "--firmware", "2024"), "for --from links, not --from towers"),
        (("--from", "links", "--calo-config", "2024"), "for --from towers, not --from links"),
        (("--from", "links", "--firmware", "1999"), "1999"),
        (("--from", "towers", "--calo-config", "donut"), "no calo configuration 'donut'"),
        (("--from", "stubs"), "'stubs' is not one of 'objects', 'links', 'towers'"),
    ],
)
@pytest.mark.parametrize("command", ["emulate", "compare"])
def test_wrong_chains(command: str, arguments: tuple[str, ...], message: str) -> None:
    done = run(command, "input.parquet", "--menu", "menu.xml", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("compare", "in"), "--menu FILE or --expected FILE"),
        (("compare", "in", "--menu", "m", "--expected", "e"), "two comparisons"),
        (("compare", "in", "--expected", "e"), "needs --from links or --from towers"),
        (("emulate", "in"), "--from objects needs a menu (--menu)"),
        (("emulate", "in", "--from", "links", "--column", "1"), "--column needs a menu (--menu)"),
        (("emulate", "in", "--from", "links", "-b", "9"), "--bunches needs a menu (--menu)"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], message: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())


def test_input_without_the_table(
    sample_file: Path, calo: Path, links: Path, demo_menu_file: Path
) -> None:
    for start, path, table in (("links", calo, "tfmu"), ("towers", links, "tower")):
        for more in ((), ("--menu", demo_menu_file)):
            done = run("emulate", "--from", start, path, *more)
            assert done.exit_code == 2
            assert f"--from {start} needs the table {table}; the input has: t" in done.stderr
    with pytest.raises(BadInput, match="needs the table tower; the input has: mu"):
        unpack(str(sample_file), chain=Chain("towers"))


def test_tables_that_are_none(links: Path, calo: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for start, path in (("links", links), ("towers", calo)):
        for folder in (empty, tmp_path / "absent"):
            for more in ((), ("--out", tmp_path / "out.parquet")):
                done = run("emulate", "--from", start, path, "--luts", folder, *more)
                assert done.exit_code == 2, done.output
                assert folder.name in done.stderr
    assert not (tmp_path / "out.parquet").exists()


def test_chain_checks_itself() -> None:
    with pytest.raises(BadConfig, match="look-up tables"):
        Chain(luts="folder")
    with pytest.raises(BadConfig, match="--firmware"):
        Chain("towers", firmware="2024")


def test_compare_recorded_decisions_needs_some(links: Path, menu: Path) -> None:
    done = run("compare", "--from", "links", links, "--menu", menu)
    assert done.exit_code == 2
    assert "no recorded decision bits" in done.stderr


def test_help_names_every_firmware_and_setting() -> None:
    """The help is written without importing them, so that it appears at once."""
    text = CliRunner().invoke(command, ["--help"], terminal_width=200).output
    for name in (*FIRMWARES, *CONFIGS):
        assert name in text
