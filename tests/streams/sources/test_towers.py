"""Tables of trigger towers, lists of events, and towers of mapped trees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot

from scout40.streams.block import Block
from scout40.streams.errors import BadConfig, BadInput
from scout40.streams.sources import open_source
from scout40.streams.sources.base import Run
from scout40.streams.sources.branch_map import read_branch_map
from scout40.streams.sources.root import RootSource
from scout40.streams.sources.towers import TowersSource
from tests.tables import write_columns as write

TOWERS = {
    "event": [3, 3, 5],
    "ieta": [41, -28, 1],
    "iphi": [72, 1, 36],
    "hw_pt": [511, 0, 9],
}


def read(paths: list[str], **settings: int) -> tuple[list[Block], Run]:
    run = Run(**settings)  # type: ignore[arg-type]
    source = open_source(paths)
    assert isinstance(source, TowersSource)
    blocks = list(source.blocks(run))
    run.ledger.check()
    return blocks, run


def test_absent_events_are_empty(tmp_path: Path) -> None:
    [block], _ = read([write(tmp_path / "t.parquet", TOWERS)])
    assert block.crossing["event"].tolist() == [3, 4, 5]
    tower = block.tables["tower"]
    assert tower.counts().tolist() == [2, 0, 1]
    assert tower["hw_eta"].tolist() == [-28, 41, 1]
    assert tower["hw_phi"].tolist() == [1, 72, 36]
    assert tower["hw_et"].tolist() == [0, 511, 9]
    assert {n: v.dtype.str for n, v in tower.columns.items()} == {
        "hw_et": "<u2",
        "hw_phi": "|u1",
        "hw_eta": "|i1",
    }


def test_a_list_of_events_is_complete(tmp_path: Path) -> None:
    towers = write(tmp_path / "t.parquet", TOWERS)
    events = write(tmp_path / "e.parquet", {"event": [1, 3, 5, 900], "kind": [0, 0, 0, 6]})
    [block], run = read([events, towers])
    assert block.crossing["event"].tolist() == [1, 3, 5, 900]
    assert block.tables["tower"].counts().tolist() == [0, 2, 1, 0]
    assert run.ledger["packets"].out == 7
    with pytest.raises(BadInput, match="0 tables of towers and 1 lists of events"):
        open_source([events])


def test_crossings_with_orbits(tmp_path: Path) -> None:
    columns = {"orbit": [4, 4, 5], "bx": [3564, 3564, 1], **TOWERS}
    del columns["event"]
    columns["hw_et"] = columns.pop("hw_pt")
    [block], _ = read([write(tmp_path / "t.parquet", columns)])
    assert block.check().contiguous
    assert (block.orbit.tolist(), block.bx.tolist()) == ([4, 5], [3564, 1])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"ieta": [41, 29, 1]}, r"row 1: .*\(29, expected -41..41 without -29, 0, 29\)"),
        ({"ieta": [0, 1, 1]}, r"field ieta: row 0"),
        ({"iphi": [72, 0, 1]}, r"field iphi: row 1"),
        ({"hw_pt": [1, 512, 1]}, r"field hw_pt: row 1"),
        (
            {"ieta": [1, 1, 1], "iphi": [2, 2, 2]},
            "place used twice in a crossing: hw_eta 1, hw_phi 2",
        ),
    ],
)
def test_bad_towers_cost_their_event(tmp_path: Path, change: dict[str, Any], text: str) -> None:
    run = Run()
    path = write(tmp_path / "t.parquet", TOWERS | change)
    [block] = TowersSource([path]).blocks(run)
    run.ledger.check()
    assert block.crossing["event"].tolist() == [4, 5]
    assert len(run.quarantine.reasons) == 1
    with pytest.raises(BadInput, match=text):
        raise BadInput(run.quarantine.reasons[0])


def test_tables_of_others_are_not_taken(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", {"event": [1], "a": [1], "b": [1], "c": [1], "d": [1]})
    with pytest.raises(BadInput, match="another program wrote it"):
        open_source([path])
    with pytest.raises(BadInput, match="expected tables of towers or lists of events"):
        TowersSource([path])


def test_reference_towers(reference: Path) -> None:
    folder = reference / "cmssw"
    names = ("calol2_towers", "calol2_events")
    paths = [str(folder / f"{name}.parquet") for name in names]
    blocks, run = read(paths, rows_per_block=100)
    table = pq.read_table(paths[0])
    assert sum(map(len, blocks)) == pq.read_table(paths[1]).num_rows == 700
    assert not run.ledger["packets"].bad
    found = np.concatenate([block.tables["tower"]["hw_et"] for block in blocks])
    assert found.sum() == table["hw_pt"].to_numpy().sum()
    event = table["event"].to_numpy()
    order = np.lexsort((table["iphi"].to_numpy(), table["ieta"].to_numpy(), event))
    np.testing.assert_array_equal(found, table["hw_pt"].to_numpy()[order])


MAP = "tree = 't'\n[[tower]]\n{energy}\nieta = 'i'\niphi = 'p'\n"


@pytest.mark.parametrize(
    ("energy", "codes"), [("et = 'e'", [0, 18, 511]), ("hw_et = 'h'", [1, 0, 511])]
)
def test_towers_of_a_mapped_tree(tmp_path: Path, energy: str, codes: list[int]) -> None:
    data = {
        "e": ak.Array([[0.0, 9.4], [], [1e4, 3.0]]),
        "h": ak.Array([[1, 0], [], [511, 2]]),
        "i": ak.Array([[41, -1], [], [28, 29]]),
        "p": ak.Array([[72, 1], [], [36, 2]]),
    }
    path = tmp_path / "t.root"
    with uproot.recreate(path) as file:
        file.mktree("t", {name: values.type for name, values in data.items()}).extend(data)
    chosen = tmp_path / "map.toml"
    chosen.write_text(MAP.format(energy=energy))
    run = Run()
    [block] = RootSource([str(path)], map_file=str(chosen)).blocks(run)
    tower = block.check().tables["tower"]
    assert tower.counts().tolist() == [2, 0, 1]
    assert tower["hw_et"].tolist() == codes
    assert tower["hw_eta"].tolist() == [41, -1, 28]
    assert tower["hw_phi"].tolist() == [72, 1, 36]
    assert dict(run.ledger["root_objects"].bad) == {"tower hw_eta not usable": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("et = 'a'\niphi = 'b'", r"tower\.ieta: needs exactly one of ieta, hw_eta"),
        ("et = 'a'\nieta = 'b'\nhw_eta = 'c'\niphi = 'b'", r"tower\.ieta: needs exactly one"),
        ("ieta = 'a'\niphi = 'b'", r"tower: needs exactly one of et, pt, hw_et"),
        ("et = 'a'\nieta = 'b'\niphi = 'b'\neta = 'c'", r"tower\.eta: unknown key"),
    ],
)
def test_mistakes_in_a_map_of_towers(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "map.toml"
    path.write_text("[[tower]]\n" + text)
    with pytest.raises(BadConfig, match=message):
        read_branch_map(path)
