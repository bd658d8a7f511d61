"""Emulated steps against expected files: reference sets agree, every single fault is counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from scout40.emulator.calo.config import CONFIGS
from scout40.streams.block import ORBIT_BX, concatenate
from scout40.streams.errors import BadConfig
from scout40.streams.sources import open_source
from scout40.streams.sources.base import Run
from scout40.tools.chain import Chain
from scout40.tools.compare_steps import KEPT, compare_steps
from tests.tools.link_tables import (
    JUNK,
    OUTPUT,
    Columns,
    changed,
    compared,
    read,
    without,
    write,
)
from tests.tools.program import json_of, run

LINKS = Chain("links")
KINDS = ("outputs", "intermediate", "inputs")


# -- reference sets --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["realistic", "dense", "iso", "legacy_cancel"])
def test_reference_muons(reference: Path, name: str) -> None:
    """Every step of every set, with official tables; sums are found beside the input."""
    folder = reference / "cmssw"
    files = [folder / f"ugmt_{name}_{kind}.parquet" for kind in KINDS]
    files = [path for path in files if path.exists()]
    chain = Chain("links", luts=str(reference / "ugmt_luts"))
    inputs = [str(folder / f"ugmt_{name}_inputs.parquet")]
    result = compare_steps(inputs, [str(path) for path in files], chain)
    assert result.different == 0
    assert [tally.rows for tally in result.tallies] == [
        pq.read_metadata(path).num_rows for path in files
    ]
    assert result.rows == sum(tally.rows for tally in result.tallies)
    assert result.receipt.ledger.balanced
    assert result.receipt.exit_code == 0
    assert not result.first
    for tally, path in zip(result.tallies, files, strict=True):
        columns = set(pq.read_schema(path).names) - {"bx", "pos", "link", "slot", "stream"}
        if tally.step == "input muons":
            columns = {column for column in columns if column.startswith("exp_")}
        assert set(tally.compared) == columns
        assert not any(tally.columns.values())
    assert any("with calorimeter sums" in note for note in result.receipt.notes) == (name == "iso")


def test_reference_sums_matter(reference: Path, tmp_path: Path) -> None:
    """Without its calorimeter sums the isolation of that set is another."""
    folder = reference / "cmssw"
    alone = write(tmp_path / "alone.parquet", read(folder / "ugmt_iso_inputs.parquet"))
    chain = Chain("links", luts=str(reference / "ugmt_luts"))
    (tally,) = compared(alone, folder / "ugmt_iso_outputs.parquet", chain).tallies
    wrong = {name for name, count in tally.columns.items() if count}
    assert wrong == {"hw_iso", "hw_iso_sum"}
    assert tally.missing == tally.extra == 0


@pytest.mark.parametrize("config", [None, "phi-ring", "2024", "chunky-donut"])
def test_reference_jets(reference: Path, config: str | None) -> None:
    folder = reference / "cmssw"
    files = [folder / "calol2_jets.parquet", folder / "calol2_jets_presort.parquet"]
    inputs = [folder / "calol2_towers.parquet", folder / "calol2_events.parquet"]
    result = compare_steps(
        [str(path) for path in inputs],
        [str(path) for path in files],
        Chain("towers", calo_config=config),
    )
    codes = range(3) if config is None else [list(CONFIGS).index(config)]
    expected = [int(np.isin(read(path)["config"], codes).sum()) for path in files]
    assert [tally.rows for tally in result.tallies] == expected
    assert result.different == 0
    assert not any(tally.not_compared for tally in result.tallies)
    names = [list(CONFIGS)[code] for code in codes]
    assert f"setting {', '.join(names)}" in result.receipt.notes[0]


# -- faults ----------------------------------------------------------------------------------------


def test_equal(links: Path, good: Columns, tmp_path: Path) -> None:
    result = compared(links, write(tmp_path / "good.parquet", good))
    assert (result.rows, result.different) == (len(good["bx"]), 0)
    assert result.first == []


@pytest.mark.parametrize("name", [name for name in OUTPUT if name != "pos"])
def test_one_value(links: Path, good: Columns, tmp_path: Path, name: str) -> None:
    row = 77
    result = compared(links, write(tmp_path / "bad.parquet", changed(good, name, row)))
    (tally,) = result.tallies
    assert (tally.different, tally.missing, tally.extra) == (1, 0, 0)
    assert {key: count for key, count in tally.columns.items() if count} == {name: 1}
    (first,) = result.first
    number = int(good["bx"][row])
    assert (first.number, first.orbit, first.bx) == (number, 0, number + 1)
    ((theirs, ours),) = first.pairs
    assert theirs is not None
    assert ours is not None
    assert theirs == {**ours, name: ours[name] + 1}
    assert ours["pos"] == good["pos"][row]


def test_inputs_of_the_difference(links: Path, good: Columns, tmp_path: Path) -> None:
    """All muons of that crossing, without the rows of hw_pt 0."""
    rows = read(links)
    row = int(np.flatnonzero(good["bx"] == rows["bx"][5 * JUNK])[0])
    result = compared(links, write(tmp_path / "bad.parquet", changed(good, "hw_pt", row)))
    mask = (rows["bx"] == good["bx"][row]) & (rows["hw_pt"] > 0)
    assert 1 < mask.sum() < (rows["bx"] == good["bx"][row]).sum()
    columns = {name: values[mask].tolist() for name, values in rows.items() if name != "bx"}
    for name, values in columns.items():
        assert [row[name] for row in result.first[0].inputs] == values


def test_dropped_row_is_extra(links: Path, good: Columns, tmp_path: Path) -> None:
    result = compared(links, write(tmp_path / "bad.parquet", without(good, 20)))
    (tally,) = result.tallies
    assert (tally.rows, tally.different) == (len(good["bx"]) - 1, 1)
    assert (tally.missing, tally.extra) == (0, 1)
    ((theirs, ours),) = result.first[0].pairs
    assert theirs is None
    assert ours is not None
    assert ours == {name: int(good[name][20]) for name in OUTPUT}
    assert result.first[0].number == good["bx"][20]


@pytest.mark.parametrize("number", [13, 39, 40, 5000])
def test_added_row_is_missing(links: Path, good: Columns, tmp_path: Path, number: int) -> None:
    """Also where the input has no such crossing, which then cannot be shown."""
    new = {name: 3 for name in OUTPUT} | {"bx": number, "pos": 8}
    more = {name: np.append(values, new[name]) for name, values in good.items()}
    result = compared(links, write(tmp_path / "bad.parquet", more))
    (tally,) = result.tallies
    assert (tally.different, tally.missing, tally.extra) == (1, 1, 0)
    if number < 40:
        assert result.first[0].number == number
        assert [pair[1] for pair in result.first[0].pairs] == [None]
    else:
        assert result.first == []


def test_order_of_rows_does_not_matter(links: Path, good: Columns, tmp_path: Path) -> None:
    order = np.random.default_rng(2).permutation(len(good["bx"]))
    mixed = {name: values[order] for name, values in good.items()}
    assert compared(links, write(tmp_path / "mixed.parquet", mixed)).different == 0


def test_exchanged_places(links: Path, good: Columns, tmp_path: Path) -> None:
    """Two muons of one crossing in each other's place: two rows."""
    row = int(np.flatnonzero(good["pos"] == 1)[4])
    bad = changed(changed(good, "pos", row, -1), "pos", row - 1)
    result = compared(links, write(tmp_path / "bad.parquet", bad))
    assert result.different == 2
    assert [crossing.number for crossing in result.first] == [good["bx"][row]]
    assert len(result.first[0].pairs) == 2


@pytest.mark.parametrize("seed", range(5))
def test_many_faults_are_counted(links: Path, good: Columns, tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = random.permutation(len(good["bx"]))
    wrong, gone = rows[: 5 + seed], rows[20 : 23 + seed]
    bad = good
    for row in wrong:
        bad = changed(bad, "hw_rank", row, 3)
        bad = changed(bad, "hw_phi", row, -1)
    bad = {name: np.delete(values, gone) for name, values in bad.items()}
    result = compared(links, write(tmp_path / "bad.parquet", bad))
    (tally,) = result.tallies
    assert tally.columns["hw_rank"] == tally.columns["hw_phi"] == len(wrong)
    assert (tally.missing, tally.extra) == (0, len(gone))
    assert tally.different == len(wrong) + len(gone)
    numbers = np.unique(good["bx"][np.concatenate([wrong, gone])])[:KEPT]
    assert [crossing.number for crossing in result.first] == numbers.tolist()


@pytest.mark.parametrize("first", [0, 1, 100])
def test_kept_differences(links: Path, good: Columns, tmp_path: Path, first: int) -> None:
    bad = {**good, "hw_pt": good["hw_pt"].astype(np.int64) + 1}
    result = compared(links, write(tmp_path / "bad.parquet", bad), first=first)
    assert result.different == len(good["bx"])
    assert len(result.first) == min(first, len(np.unique(good["bx"])))


def test_several_files_are_counted_apart(links: Path, good: Columns, tmp_path: Path) -> None:
    files = [
        write(tmp_path / "a.parquet", good),
        write(tmp_path / "b.parquet", changed(good, "hw_eta", 5)),
        write(tmp_path / "c.parquet", without(good, 5)),
    ]
    result = compare_steps([str(links)], [str(path) for path in files], LINKS)
    assert [tally.different for tally in result.tallies] == [0, 1, 1]
    assert result.different == 2
    assert result.rows == 3 * len(good["bx"]) - 1
    assert [Path(crossing.file).name for crossing in result.first] == ["b.parquet", "c.parquet"]


def test_columns_that_we_do_not_have(links: Path, good: Columns, tmp_path: Path) -> None:
    more = {**good, "colour": good["pos"]}
    (tally,) = compared(links, write(tmp_path / "more.parquet", more)).tallies
    assert (tally.different, tally.not_compared) == (0, ["colour"])
    assert "colour" not in tally.compared


def test_inputs_with_steps(links: Path, tmp_path: Path) -> None:
    """Rows of hw_pt 0 hold -999; a file may have some of the steps only."""
    rows = read(links)
    block = concatenate(open_source([str(links)]).blocks(Run()))
    tfmu = LINKS.stage(None).run(block, details=True).tables["tfmu"]
    steps = {f"exp_{name}": tfmu[name] for name in ("cancel", "global_phi")}
    assert np.array_equal(steps["exp_cancel"] == -999, rows["hw_pt"] == 0)
    (tally,) = compared(links, write(tmp_path / "good.parquet", rows | steps)).tallies
    assert (tally.step, tally.rows, tally.different) == ("input muons", len(rows["bx"]), 0)
    assert sorted(tally.compared) == sorted(steps)
    at = int(np.flatnonzero(rows["hw_pt"])[3])
    bad = changed(rows | steps, "exp_cancel", at)
    (tally,) = compared(links, write(tmp_path / "bad.parquet", bad)).tallies
    assert (tally.different, tally.columns["exp_cancel"]) == (1, 1)


def test_junk_rows_change_nothing(links: Path, good: Columns, tmp_path: Path) -> None:
    """Whatever stands beside hw_pt 0, and whether such rows are there at all."""
    rows, expected = read(links), write(tmp_path / "good.parquet", good)
    junk = rows["hw_pt"] == 0
    other = {
        name: values if name in ("bx", "link", "slot", "hw_pt") else np.where(junk, 0, values)
        for name, values in rows.items()
    }
    gone = {name: values[~junk] for name, values in rows.items()}
    assert junk.any()
    for name, columns in (("other", other), ("gone", gone)):
        assert compared(write(tmp_path / f"{name}.parquet", columns), expected).different == 0


# -- jets ------------------------------------------------------------------------------------------


def test_jet_faults(calo_jets: tuple[Path, Columns], tmp_path: Path) -> None:
    """A file without the processor's stage lacks its rows; towers of the crossing are kept."""
    inputs, jets = calo_jets
    chain = Chain("towers")
    (plain,) = compared(inputs, write(tmp_path / "a.parquet", jets), chain).tallies
    assert plain.missing == 0
    assert plain.different == plain.extra > 0
    result = compared(inputs, write(tmp_path / "b.parquet", changed(jets, "pu_et", 9)), chain)
    (tally,) = result.tallies
    assert tally.different == plain.different + 1
    assert tally.columns["pu_et"] == 1
    rows = read(inputs)
    count = int((rows["event"] == result.first[0].number).sum())
    assert len(result.first[0].inputs) == count


def test_objects_have_no_steps(links: Path) -> None:
    with pytest.raises(BadConfig, match="--from links or --from towers"):
        compared(links, links, Chain())


# -- end before the end ----------------------------------------------------------------------------


class StopAfter:
    """Asks to stop once it was asked ``polls`` times."""

    def __init__(self, polls: int) -> None:
        self._left = polls

    @property
    def requested(self) -> bool:
        self._left -= 1
        return self._left < 0


@pytest.mark.parametrize("blocks", [0, 1, 2])
def test_interrupted(links: Path, good: Columns, tmp_path: Path, blocks: int) -> None:
    """What was not come to is no difference; orbits far apart are blocks of their own."""

    def spread(columns: Columns) -> Columns:
        return {**columns, "orbit": columns["bx"] // 10 * 100, "bx": columns["bx"] % 10 + 1}

    inputs = write(tmp_path / "in.parquet", spread(read(links)))
    bad = spread(changed(changed(good, "hw_pt", 0), "hw_pt", len(good["bx"]) - 1))
    result = compared(inputs, write(tmp_path / "bad.parquet", bad), stop=StopAfter(blocks))
    assert result.receipt.status == "interrupted"
    assert result.rows == int((good["bx"] < 10 * blocks).sum())
    assert result.different == min(blocks, 1)
    ledger = result.receipt.ledger
    assert ledger["crossings"].received == ledger["crossings"].out == blocks * ORBIT_BX


# -- compare as a program --------------------------------------------------------------------------


def test_exit_codes_and_json(links: Path, good: Columns, tmp_path: Path) -> None:
    number = good["bx"]
    right = write(tmp_path / "good.parquet", good)
    result = json_of(run("compare", "--from", "links", links, "-e", right, "--json"))
    assert (result["rows"], result["different"]) == (len(number), 0)
    assert result["first_differences"] == []
    wrong = changed(changed(good, "hw_pt", 3), "hw_pt", 40)
    bad = write(tmp_path / "bad.parquet", wrong)
    command = ("compare", "--from", "links", links, "-e", right, "-e", bad)
    result = json_of(run(*command, "--json"), code=1)
    assert (result["rows"], result["different"]) == (2 * len(number), 2)
    assert [file["different"] for file in result["files"]] == [0, 2]
    assert result["files"][1]["columns"]["hw_pt"] == 2
    assert [one["number"] for one in result["first_differences"]] == number[[3, 40]].tolist()
    assert result["ledger"]["balanced"]
    assert len(json_of(run(*command, "--first", 1, "--json"), 1)["first_differences"]) == 1
    shown = run(*command)
    assert shown.exit_code == 1
    assert f"output muons of crossing number {number[3]}" in shown.stdout
    error = json_of(run("compare", "--from", "links", links, "-e", links, "--json"), code=2)
    assert list(error) == ["error"]
