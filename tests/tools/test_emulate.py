"""Runs of the program that start at links or towers: objects and decisions in the output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from scout40.streams.block import ORBIT_BX, Block, Table, offsets_of
from scout40.tools.chain import Chain
from scout40.tools.job import emulate
from tests.tools.link_tables import block_of, muons, read, write
from tests.tools.memory import Memory
from tests.tools.program import json_of, run

MUON_BITS, CALO_BITS = 0b000111, 0b111000


def words_of(path: Path) -> Any:
    """First of the initial decision words of an output file."""
    return np.stack(pq.read_table(path)["initial"].to_pylist()).astype(np.uint64)[:, 0]


# -- without a menu --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["realistic", "dense", "iso", "legacy_cancel"])
def test_reference_muons_as_tables(reference: Path, tmp_path: Path, name: str) -> None:
    """All columns of the expected muons, crossing by crossing."""
    folder, out = reference / "cmssw", tmp_path / "out"
    inputs = sorted(folder.glob(f"ugmt_{name}_inputs.parquet"))
    inputs += sorted(folder.glob(f"ugmt_{name}_calosums.parquet"))
    tables = reference / "ugmt_luts"
    done = run("emulate", "--from", "links", "--luts", tables, *inputs, "--out", out, "--json")
    result = json_of(done)
    expected, mu = read(folder / f"ugmt_{name}_outputs.parquet"), read(out / "mu.parquet")
    assert result["command"] == "emulate"
    assert result["ledger"]["balanced"]
    assert result["tables"]["mu"]["objects"] == len(expected["bx"])
    number = mu["orbit"].astype(np.int64) * ORBIT_BX + mu["bx"] - 1
    assert np.array_equal(number, expected["bx"])
    for column, values in expected.items():
        if column != "bx":
            assert np.array_equal(mu[column], values), column


def test_file_and_folder_agree(links: Path, tmp_path: Path) -> None:
    file, folder = tmp_path / "out.parquet", tmp_path / "out"
    for out in (file, folder):
        result = json_of(run("emulate", "--from", "links", links, "--out", out, "--json"))
        assert result["outputs"] == [str(out)]
        assert "firmware 2024" in result["notes"][0]
    one, other = block_of(file), block_of(folder)
    assert set(one.tables) == {"tfmu", "mu", "mu_intermediate"}
    assert np.array_equal(one.crossing["event"], np.arange(40))
    for name, table in one.tables.items():
        assert np.array_equal(table.offsets, other.tables[name].offsets)
        for column, values in table.columns.items():
            assert np.array_equal(values, other.tables[name][column]), (name, column)
    assert np.array_equal(one.tables["tfmu"]["hw_pt"], muons(40)["hw_pt"])


@pytest.mark.parametrize("config", ["2024", "chunky-donut"])
def test_towers_as_tables(calo: Path, tmp_path: Path, config: str) -> None:
    out = tmp_path / "out"
    done = run("emulate", "--from", "towers", "--calo-config", config, calo, "-o", out, "--json")
    result = json_of(done)
    assert set(result["tables"]) == {"tower", "jet", "sums"}
    assert f"setting {config}" in result["notes"][0]
    block = Chain("towers", calo_config=config).stage(None).run(block_of(calo))
    jets = read(out / "jet.parquet")
    assert len(jets["hw_et"]) == len(block.tables["jet"]) > 10
    for column, values in block.tables["jet"].columns.items():
        assert np.array_equal(jets[column], values), column


def test_reference_jets_as_tables(reference: Path, tmp_path: Path) -> None:
    folder, out = reference / "cmssw", tmp_path / "out"
    inputs = [folder / "calol2_towers.parquet", folder / "calol2_events.parquet"]
    json_of(run("emulate", "--from", "towers", *inputs, "-o", out, "--json"))
    expected, jets = read(folder / "calol2_jets.parquet"), read(out / "jet.parquet")
    rows = (expected["config"] == 1) & (expected["stage"] == 1)
    number = jets["orbit"].astype(np.int64) * ORBIT_BX + jets["bx"] - 1
    assert np.array_equal(number, expected["event"][rows])
    assert np.array_equal(jets["hw_et"], expected["hw_pt"][rows])
    for column in ("ieta", "iphi", "raw_et", "seed_et", "pu_et"):
        assert np.array_equal(jets[column], expected[column][rows]), column


def test_terminal_output_names_what_was_made(links: Path) -> None:
    done = run("emulate", "--from", "links", links)
    assert done.exit_code == 0
    for word in ("mu_intermediate", "hw_iso_sum", "emulate complete", "all tables computed"):
        assert word in done.stdout


# -- with a menu -----------------------------------------------------------------------------------


def test_decisions_of_links(links: Path, menu: Path, tmp_path: Path) -> None:
    """As if the same muons had been recorded: written without a menu, read back and decided."""
    direct, objects, again = (tmp_path / f"{name}.parquet" for name in ("a", "b", "c"))
    first = json_of(
        run("emulate", "--from", "links", links, "-m", menu, "-o", direct, "--json", "-j", 1)
    )
    json_of(run("emulate", "--from", "links", links, "-o", objects, "--json"))
    second = json_of(run("emulate", objects, "-m", menu, "-o", again, "--json", "-j", 1))
    words = words_of(direct)
    assert np.array_equal(words, words_of(again))
    assert first["rates"] == second["rates"]
    # Sums of an input without any make no algorithm fire or not; muons make all of theirs.
    assert np.bitwise_or.reduce(words) & CALO_BITS == 0
    assert len(np.unique(words)) > 2
    assert set(first["not_evaluated"]) == {"L1_DoubleJet30", "L1_HTT100", "L1_ETM20"}
    assert first["crossings"] == 40


def test_decisions_of_reference_muons(reference: Path, menu: Path, tmp_path: Path) -> None:
    """Decisions from links equal those from the expected output muons, fed as objects."""
    folder, out = reference / "cmssw", tmp_path / "out.parquet"
    inputs = [str(folder / f"ugmt_iso_{kind}.parquet") for kind in ("inputs", "calosums")]
    chain = Chain("links", luts=str(reference / "ugmt_luts"))
    emulate(inputs, menu, chain=chain, out=out, threads=1)
    mu = read(folder / "ugmt_iso_outputs.parquet")
    events = 1500
    names = {"hw_qual": "hw_qual_2024", "hw_charge_valid": "hw_sign_valid"}
    plain = (
        *("hw_pt", "hw_eta_at_vtx", "hw_phi_at_vtx", "hw_iso", "hw_sign", "tf_muon_index"),
        *("hw_pt_unconstrained", "hw_dxy", "hw_phi", "hw_eta"),
    )
    columns = {name: mu[names.get(name, name)] for name in (*plain, *names)}
    block = Block(
        first_orbit=0,
        last_orbit=1,
        orbit=np.zeros(events, np.uint32),
        bx=np.arange(1, events + 1, dtype=np.uint16),
        tables={"mu": Table(columns, offsets_of(np.bincount(mu["bx"], minlength=events)))},
    )
    objects = tmp_path / "objects.parquet"
    emulate(Memory([block]), menu, out=objects, threads=1)
    words = words_of(out)
    assert np.array_equal(words, words_of(objects))
    for bit in range(3):
        assert 0 < int((words >> np.uint64(bit) & np.uint64(1)).sum()) < events


def test_decisions_of_towers(calo: Path, menu: Path, tmp_path: Path) -> None:
    direct, objects, again = (tmp_path / f"{name}.parquet" for name in ("a", "b", "c"))
    first = json_of(
        run("emulate", "--from", "towers", calo, "-m", menu, "-o", direct, "--json", "-j", 1)
    )
    json_of(run("emulate", "--from", "towers", calo, "-o", objects, "--json"))
    second = json_of(run("emulate", objects, "-m", menu, "-o", again, "--json", "-j", 1))
    words = words_of(direct)
    assert np.array_equal(words, words_of(again))
    assert first["rates"] == second["rates"]
    assert np.bitwise_or.reduce(words) & MUON_BITS == 0
    assert np.bitwise_or.reduce(words) & CALO_BITS != 0


@pytest.mark.parametrize("threads", [1, 2])
def test_contiguous_links(links: Path, menu: Path, tmp_path: Path, threads: int) -> None:
    """With orbit and bx the crossings without muons count too, and the trigger rules apply."""
    rows = read(links)
    rows |= {"orbit": rows["bx"] // 20, "bx": rows["bx"] % 20 * 50 + 1}
    timed = write(tmp_path / "timed.parquet", rows)
    result = emulate([str(timed)], menu, chain=Chain("links"), threads=threads)
    plain = emulate([str(links)], menu, chain=Chain("links"), threads=threads)
    assert result.counter.crossings == 2 * ORBIT_BX
    assert plain.counter.crossings == 40
    assert result.rules.applied
    assert not plain.rules.applied
    counts = [one.rates["count_initial"].to_pylist() for one in (result, plain)]
    assert counts[0] == counts[1]
    assert result.receipt.ledger.balanced
