"""Branch maps: what is accepted, and that every mistake is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from scout40.streams.block import Block, concatenate
from scout40.streams.errors import BadConfig, BadInput
from scout40.streams.sources.base import Run
from scout40.streams.sources.branch_map import read_branch_map
from scout40.streams.sources.root import RootSource

MAPS = Path(__file__).resolve().parents[3] / "configs" / "maps"


def map_file(folder: Path, text: str) -> str:
    path = folder / "map.toml"
    path.write_text(text)
    return str(path)


def tree(folder: Path, data: dict[str, Any]) -> str:
    path = folder / "tree.root"
    with uproot.recreate(path) as file:
        types = {k: v.dtype if isinstance(v, np.ndarray) else v.type for k, v in data.items()}
        file.mktree("t", types).extend(data)
    return str(path)


def read(folder: Path, data: dict[str, Any], text: str) -> tuple[Block, Run]:
    run = Run()
    source = RootSource([tree(folder, data)], map_file=map_file(folder, text))
    block = concatenate(list(source.blocks(run)))
    run.ledger.check()
    return block.check(), run


@pytest.mark.parametrize("path", sorted(MAPS.glob("*.toml")), ids=lambda path: path.stem)
def test_packaged_maps_are_good(path: Path) -> None:
    assert read_branch_map(path).groups


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[muon]]\npt = 'a'", r"muon: unknown key \(near: mu\)"),
        ("[[mu]]\npt = 'a'\nEta = 'b'", r"mu\.Eta: unknown key \(near: eta"),
        ("[[mu]]\npt = 'a'\nquality = 'b'", r"mu\.quality: unknown key"),
        ("[[mu]]\neta = 'a'", "mu: needs exactly one of pt, px and py, hw_pt"),
        ("[[jet]]\npt = 'a'\net = 'b'", "jet: needs exactly one of et, pt, px and py, hw_et"),
        ("[[mu]]\npt = 'a'\npz = 'b'", r"mu\.pz: needs px and py too"),
        ("[[mu]]\npt = 3", r"mu\.pt: 3, expected the name of a branch"),
        ("[[mu]]\npt = 'a'\nhw_qual = 16", r"mu\.hw_qual: 16, expected 0\.\.15"),
        ("[[mu]]\npt = 'a'\nhw_qual = true", r"mu\.hw_qual: True, expected the name"),
        ("[[mu]]\npt = 'a'\ncharge = 'b'\nhw_sign = 'c'", r"mu\.charge: given together"),
        ("[[mu]]\npt = 'a'\n[[mu]]\npt = 'b'\neta = 'c'", "mu: the groups must give the same"),
        ("[[mu]]\npt = 'a'\nwhere = 'b'", r"mu\.where: expected \{ branch"),
        ("[[mu]]\npt = 'a'\nwhere = { branch = 'b' }", r"mu\.where\.values: expected a list"),
        ("[[mu]]\npt='a'\nwhere={branch='b',values=[1],not=1}", r"mu\.where\.not: unknown key"),
        ("mu = []", "mu: no table"),
        ("mu = 3", r"mu: expected tables \[\[mu\]\]"),
        ("tree = 't'", "map: no objects"),
        ("tree = 3\n[[mu]]\npt = 'a'", "tree: expected the name of a tree"),
        ("energy_unit = 'TeV'\n[[mu]]\npt = 'a'", "energy_unit: 'TeV', expected one of GeV, MeV"),
        ("[crossing]\nrunn = 'a'\n[[mu]]\npt = 'b'", r"crossing\.runn: unknown key \(near: run\)"),
        ("[sums]\netm_px = 'a'", r"sums\.etm_px: px and py go together"),
        ("[sums]\netm = 'a'\nhw_etm = 'b'", r"sums\.etm: given twice"),
        ("[sums]\netm='a'\netm_px='b'\netm_py='c'", r"sums\.etm: given twice"),
        ("[sums]\nmet = 'a'", r"sums\.met: unknown key \(near: ett, etm\)"),
        ("[recorded]\nname = []\n[[mu]]\npt = 'a'", r"recorded\.name: unknown key"),
        ("[recorded]\nnames = 'a'\n[[mu]]\npt = 'a'", r"recorded\.names: expected a list"),
        ("pt =", "not TOML"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = map_file(tmp_path, text)
    with pytest.raises(BadConfig, match=message) as caught:
        read_branch_map(path)
    assert "map.toml" in str(caught.value)


def test_no_such_map(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=r"none\.toml: branch map cannot be read"):
        read_branch_map(tmp_path / "none.toml")


def test_missing_branches_are_listed_with_near_names(tmp_path: Path) -> None:
    path = tree(tmp_path, {"Muon_pt": np.ones(2), "Muon_eta": np.ones(2)})
    text = "[[mu]]\npt = 'muon_pt'\neta = 'Muon_et'\nphi = 'azimuth'"
    with pytest.raises(
        BadInput, match=r"muon_pt \(near: Muon_pt.*Muon_et \(near: Muon_eta.*, azimuth$"
    ):
        RootSource([path], map_file=map_file(tmp_path, text))


def test_groups_selection_units_and_order(tmp_path: Path) -> None:
    data = {
        "pt": ak.Array([[5000.0, 20000.0, 7000.0], []]),
        "kind": ak.Array([[1, 1, 2], []]),
        "one": np.array([9000.0, 1000.0]),
        "kind1": np.array([1, 1]),
    }
    block, run = read(
        tmp_path,
        data,
        "energy_unit = 'MeV'\n"
        "[[jet]]\net = 'pt'\nwhere = { branch = 'kind', values = [1, 3] }\n"
        "[[jet]]\net = 'one'\nwhere = { branch = 'kind1', values = [1] }\n",
    )
    jets = block.tables["jet"]
    assert jets.counts().tolist() == [3, 1]
    assert jets["hw_et"].tolist() == [40, 18, 10, 2]
    assert run.ledger["root_objects"].received == 4


def test_no_more_objects_than_the_hardware_sends(tmp_path: Path) -> None:
    data = {"pt": ak.Array([list(range(1, 11))]), "q": ak.Array([[1, -1, 0, 1, 1, 1, 1, 1, 0, -2]])}
    block, run = read(tmp_path, data, "[[mu]]\npt = 'pt'\ncharge = 'q'")
    muons = block.tables["mu"]
    assert muons["hw_pt"].tolist() == [21, 19, 17, 15, 13, 11, 9, 7]
    assert muons["hw_sign"].tolist() == [1, 0, 0, 0, 0, 0, 0, 0]
    assert muons["hw_charge_valid"].tolist() == [1, 0, 1, 1, 1, 1, 1, 0]
    assert run.ledger["root_objects"].dropped == {"mu beyond the 8 that the hardware sends": 2}


def test_components(tmp_path: Path) -> None:
    data = {"px": np.array([3.0, 0.0]), "py": np.array([-4.0, 0.0]), "pz": np.array([5.0, 9.0])}
    block, run = read(
        tmp_path, data, "[[eg]]\npx='px'\npy='py'\npz='pz'\n[sums]\nhtm_px='px'\nhtm_py='py'\n"
    )
    table = block.tables["eg"]
    eta = np.arcsinh(1.0)
    phi = np.arctan2(-4.0, 3.0) % (2 * np.pi)
    assert table.counts().tolist() == [1, 0]  # along the beam there is no momentum
    assert table["hw_et"].tolist() == [10]
    assert table["hw_eta"].tolist() == [int(eta / 0.0435)]
    assert table["hw_phi"].tolist() == [int(phi / (2 * np.pi / 144))]
    assert block.tables["sums"]["hw_htm"].tolist() == [10, 0]
    assert run.ledger["root_objects"].dropped == {"eg empty": 1}


def test_places_of_the_map(tmp_path: Path) -> None:
    data = {
        "pt": np.ones(3), "o": np.array([5, 6, 7]), "b": np.array([1, 3565, 3564]),
        "e": np.array([1, 2, 3]),
    }  # fmt: skip
    block, run = read(tmp_path, data, "[crossing]\norbit='o'\nbx='b'\nevent='e'\n[[mu]]\npt='pt'")
    assert block.orbit.tolist() == [5, 7]
    assert block.bx.tolist() == [1, 3564]
    assert block.crossing["event"].tolist() == [1, 3]
    assert run.ledger["packets"].bad == {"BX 0 or above 3564": 1}
    assert "entry 1 (3565) and 0 others" in run.quarantine.reasons[0]


def test_several_trees_need_a_name(tmp_path: Path) -> None:
    path = tmp_path / "two.root"
    with uproot.recreate(path) as file:
        for name in ("a", "b"):
            file.mktree(name, {"pt": np.dtype("f8")}).extend({"pt": np.ones(2)})
    text = "[[mu]]\npt = 'pt'"
    with pytest.raises(BadInput, match=r"has 2 trees \(a, b\).*tree = "):
        RootSource([str(path)], map_file=map_file(tmp_path, text))
    source = RootSource([str(path)], map_file=map_file(tmp_path, "tree = 'b'\n" + text))
    assert source.total == 2


def test_text_branch_is_no_number(reference: Path, tmp_path: Path) -> None:
    path = reference / "nano" / "uproot-Zmumu.root"
    source = RootSource([str(path)], map_file=map_file(tmp_path, "[[mu]]\npt = 'Type'"))
    run = Run()
    assert list(source.blocks(run)) == []
    run.ledger.check()
    assert "Type" in run.quarantine.reasons[0]
