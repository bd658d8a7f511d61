"""Every ROOT file of the reference data: blocks with known numbers, or a reason why not.

Golden numbers were counted with plain uproot calls on these files, without this package: entries,
branches called L1_*, decisions per branch, trigger objects with l1pt > 0 per id. Where objects
are merged the text says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from scout40.streams.block import ORBIT_BX, Block, concatenate
from scout40.streams.errors import BadInput
from scout40.streams.sources.base import Run
from scout40.streams.sources.root import RootSource, recognise
from scout40.streams.sources.root_file import HANDLERS, split_tree

MAPS = Path(__file__).resolve().parents[3] / "configs" / "maps"

NANO = ("nano_dimuon", "nano_dimuon_rntuple", "nano_dy", "nano_tt_v15")
UNREADABLE = {
    "scouting_nano": "no layout with Level-1 data recognised",
    "uproot-HZZ": "no layout with Level-1 data recognised",
    "uproot-Zmumu": "no layout with Level-1 data recognised",
    "testL1Scouting_v3_v3_v3_v3_v3_14_0_0_split_0": "unsplit CMSSW products",
    "testL1Scouting_v3_v3_v3_v3_v3_v3_14_1_0_pre5_split_0": "unsplit CMSSW products",
    "testSDSRawDataCollection_v3_CMSSW_14_0_0_split_0": "unsplit CMSSW products",
}
ENTRIES = {
    "nano_dimuon": 40,
    "nano_dimuon_rntuple": 40,
    "nano_dy": 40,
    "nano_tt_v15": 200,
    "testL1Scouting_v3_v3_v3_v3_v3_14_0_0_split_99": 1,
    "testL1Scouting_v3_v3_v3_v3_v3_v3_14_1_0_pre5_split_99": 1,
}


def files(reference: Path) -> dict[str, Path]:
    """Every ROOT file of the reference data by its name without ending."""
    return {path.stem: path for path in sorted(reference.rglob("*.root"))}


def read(
    paths: Sequence[Path | str], run: Run | None = None, map_file: Path | None = None
) -> Block:
    source = RootSource([str(p) for p in paths], map_file=str(map_file) if map_file else None)
    run = run or Run()
    blocks = [block.check() for block in source.blocks(run)]
    run.ledger.check()
    return concatenate(blocks)


def fired(block: Block) -> dict[str, int]:
    """Decisions per recorded name."""
    bits = np.unpackbits(
        block.crossing["recorded"].astype("<u8").view(np.uint8), axis=1, bitorder="little"
    )
    counts = bits.sum(axis=0)
    return {name: int(counts[at]) for at, name in enumerate(block.recorded_names)}


def test_every_file_is_known_here(reference: Path) -> None:
    assert set(files(reference)) == set(UNREADABLE) | set(ENTRIES)


@pytest.mark.parametrize("name", [*UNREADABLE, *ENTRIES])
def test_blocks_or_a_reason(reference: Path, name: str) -> None:
    path = files(reference)[name]
    assert recognise(path.read_bytes()[:4096], str(path))
    if name in UNREADABLE:
        with pytest.raises(BadInput, match=UNREADABLE[name]) as caught:
            RootSource([str(path)])
        assert str(path) in str(caught.value)
        return
    source = RootSource([str(path)])
    run = Run()
    blocks = [block.check() for block in source.blocks(run)]
    run.ledger.check()
    packets = run.ledger["packets"]
    assert packets.received == packets.out == ENTRIES[name] == source.total
    assert not packets.bad
    assert [block.origin.source for block in blocks] == [path.name]


def test_reason_names_what_is_there_what_is_missing_and_what_is_near(reference: Path) -> None:
    with pytest.raises(BadInput) as caught:
        RootSource([str(files(reference)["scouting_nano"])])
    text = str(caught.value)
    assert "TTree Events with 40 entries and 268 branches (run, luminosityBlock" in text
    assert "scouting NanoAOD" in text
    assert "L1Jet_pt (near: GenJet_pt, GenJetAK8_pt)" in text
    assert "bunchCrossing," not in text.partition("lacks")[2].partition("central")[0]
    assert "--map" in text
    assert f"{', '.join(sorted(path.name for path in MAPS.iterdir()))} in " in text
    with pytest.raises(BadInput, match=r"splitLevel = 99.*SDSRawDataCollection"):
        RootSource([str(files(reference)["testSDSRawDataCollection_v3_CMSSW_14_0_0_split_0"])])


@pytest.fixture(scope="module")
def dimuon(reference: Path) -> Block:
    """Real data of 2018: 40 events of run 315267."""
    return read([files(reference)["nano_dimuon"]])


class TestDimuon:
    def test_rows(self, dimuon: Block) -> None:
        assert len(dimuon) == 40
        assert not dimuon.contiguous
        assert set(dimuon.crossing["run"]) == {315267}
        assert set(dimuon.crossing["lumi"]) == {205}
        assert dimuon.crossing["event"][:3].tolist() == [197798546, 197818706, 197762836]
        # The file has neither orbits nor crossing numbers.
        assert dimuon.orbit.tolist() == list(range(40))
        assert set(dimuon.bx) == {1}

    def test_decisions(self, dimuon: Block) -> None:
        assert len(dimuon.recorded_names) == 524
        counts = fired(dimuon)
        assert sum(counts.values()) == 548
        assert sum(count > 0 for count in counts.values()) == 106
        known = {"L1_SingleMu22": 26, "L1_DoubleMu_15_7": 24, "L1_SingleMu25": 20,
                 "L1_DoubleMu8_SQ": 22, "L1_ZeroBias": 0}  # fmt: skip
        assert {name: counts[name] for name in known} == known

    def test_objects(self, dimuon: Block) -> None:
        # 58 muons, 8 photons, 5 taus, 4 jets with l1pt > 0; two muons and some others stand for
        # the same Level-1 object as another one (equal l1pt, l1iso, l1charge near by).
        counts = {name: len(table) for name, table in dimuon.tables.items()}
        assert counts == {"mu": 56, "eg": 6, "tau": 4, "jet": 4, "sums": 9}
        muons = dimuon.tables["mu"]
        assert muons["hw_pt"].min() == 2 * 5 + 1
        assert muons["hw_pt"].max() == 2 * 139.5 + 1
        assert set(muons["hw_iso"]) == {3}
        assert set(dimuon.tables["jet"]["hw_et"]) == {176, 503, 698, 2044}
        assert dimuon.tables["eg"]["hw_et"].max() == 511  # 255.5 GeV: overflow
        sums = dimuon.tables["sums"]
        assert sorted(sums["hw_etm"][sums["hw_etm"] > 0]) == [87, 128, 131, 176]

    def test_position_and_quality_are_absent(self, dimuon: Block) -> None:
        assert list(dimuon.tables["mu"].columns) == [
            "hw_pt", "hw_iso", "hw_sign", "hw_charge_valid",
        ]  # fmt: skip
        assert list(dimuon.tables["jet"].columns) == ["hw_et"]
        assert "hw_etm_phi" not in dimuon.tables["sums"].columns

    def test_rntuple_holds_the_same(self, dimuon: Block, reference: Path) -> None:
        other = read([files(reference)["nano_dimuon_rntuple"]])
        assert set(other.recorded_names) == set(dimuon.recorded_names)
        assert fired(other) == fired(dimuon)
        same = [name for name in dimuon.crossing if name != "recorded"]
        for name in same:
            np.testing.assert_array_equal(other.crossing[name], dimuon.crossing[name])
        for name, table in dimuon.tables.items():
            np.testing.assert_array_equal(other.tables[name].offsets, table.offsets)
            for column, values in table.columns.items():
                np.testing.assert_array_equal(other.tables[name][column], values)


def test_simulation_without_crossing_numbers(reference: Path) -> None:
    # bunchCrossing and orbitNumber are -1 in all 200 entries.
    block = read([files(reference)["nano_tt_v15"]])
    assert set(block.bx) == {1}
    assert block.orbit.tolist() == list(range(200))
    # 412 branches L1_*; three of them are no algorithms (unprefireable events, BX - 1).
    assert len(block.recorded_names) == 409
    assert not any("Unprefireable" in name for name in block.recorded_names)
    assert block.tables["mu"].counts().max() <= 8
    assert block.tables["jet"].counts().max() <= 12


@pytest.mark.parametrize(
    "name",
    [
        "testL1Scouting_v3_v3_v3_v3_v3_14_0_0_split_99",
        "testL1Scouting_v3_v3_v3_v3_v3_v3_14_1_0_pre5_split_99",
    ],
)
def test_orbit_collections(reference: Path, name: str) -> None:
    # Synthetic: all members of object k are k: muons 1..3, jets 4..7, e/gamma 8..10, taus 11, 12,
    # sums 13, in two crossings. Only what fits its bits is an object: one muon each.
    run = Run()
    block = read([files(reference)[name]], run)
    assert block.contiguous
    assert (block.first_orbit, block.last_orbit) == (0, 1)
    assert len(block) == 2
    assert block.tables["mu"].counts().tolist() == [1, 1]
    assert block.scouting
    for column, values in block.tables["mu"].columns.items():
        # The charge of these products is +1 or -1, so 1 is a sign bit of 0.
        assert set(values) == ({0} if column == "hw_sign" else {1}), column
    assert all(set(values) == {13} for values in block.tables["sums"].columns.values())
    bad = run.ledger["root_objects"].bad
    assert bad["eg hw_iso not usable"] == 6
    assert bad["jet hw_qual not usable"] == 8
    assert len(block.filled()) == ORBIT_BX
    if "stub" in block.tables:
        assert block.tables["stub"]["hw_phi"].tolist() == [9, 9]
        assert block.tables["stub"]["station"].tolist() == [4, 4]


def test_zmumu_through_its_map(reference: Path) -> None:
    # First entry: pt1 44.7322, eta1 -1.21769, phi1 2.74126, Q1 1; pt2 38.8311, eta2 -1.05139,
    # phi2 -0.440873, Q2 -1.
    block = read([files(reference)["uproot-Zmumu"]], map_file=MAPS / "zmumu.toml")
    assert len(block) == 2304
    assert block.crossing["run"][0] == 148031
    assert block.crossing["event"][0] == 10507008
    muons = block.tables["mu"]
    assert len(muons) == 2 * 2304
    first = {name: values[:2].tolist() for name, values in muons.columns.items()}
    step = 2 * np.pi / 576
    assert first == {
        "hw_phi_at_vtx": [int(2.74126 / step), int((2 * np.pi - 0.440873) / step)],
        "hw_pt": [int(44.7322 * 2) + 1, int(38.8311 * 2) + 1],
        "hw_qual": [12, 12],
        "hw_eta_at_vtx": [round(-1.21769 / 0.010875), round(-1.05139 / 0.010875)],
        "hw_sign": [0, 1],
        "hw_charge_valid": [1, 1],
    }


def test_hzz_through_its_map(reference: Path) -> None:
    # 3825 muons, 211 electrons, 180 photons, 2773 jets in the file.
    block = read([files(reference)["uproot-HZZ"]], map_file=MAPS / "hzz.toml")
    counts = {name: len(table) for name, table in block.tables.items()}
    assert counts == {"mu": 3825, "eg": 391, "jet": 2773, "sums": 2421}
    # MET_px 5.912771, MET_py 2.563633 in the first entry.
    met = np.hypot(5.912771, 2.563633)
    assert block.tables["sums"]["hw_etm"][0] == int(2 * met)
    assert block.tables["sums"]["hw_etm_phi"][0] == int(
        np.arctan2(2.563633, 5.912771) / (2 * np.pi / 144)
    )
    assert block.recorded_names == ("triggerIsoMu24",)


def test_trigger_objects_through_a_map(reference: Path) -> None:
    block = read([files(reference)["nano_dimuon"]], map_file=MAPS / "nano_trigger_objects.toml")
    assert len(block.tables["mu"]) == 58
    assert "hw_eta_at_vtx" in block.tables["mu"].columns
    assert len(block.recorded_names) == 524


def test_a_map_for_another_tree_says_what_is_missing(reference: Path) -> None:
    with pytest.raises(BadInput, match=r"has no tree events \(near: Events\)"):
        RootSource([str(files(reference)["nano_dy"])], map_file=str(MAPS / "zmumu.toml"))
    with pytest.raises(BadInput, match=r"lacks branches of the map .*Muon_Px"):
        RootSource([str(files(reference)["uproot-Zmumu"])], map_file=str(MAPS / "hzz.toml"))


def test_small_chunks_give_the_same_rows(reference: Path) -> None:
    path, map_file = files(reference)["uproot-HZZ"], MAPS / "hzz.toml"
    whole = read([path], map_file=map_file)
    run = Run(rows_per_block=100)
    blocks = list(RootSource([str(path)], map_file=str(map_file)).blocks(run))
    assert [len(block) for block in blocks] == [100] * 24 + [21]
    assert [block.origin.sequence for block in blocks] == list(range(25))
    joined = concatenate(blocks)
    np.testing.assert_array_equal(joined.orbit, whole.orbit)
    for name, table in whole.tables.items():
        for column, values in table.columns.items():
            np.testing.assert_array_equal(joined.tables[name][column], values)


def test_bad_files_in_a_list_are_counted_and_the_others_read(
    reference: Path, tmp_path: Path
) -> None:
    known = files(reference)
    cut = tmp_path / "cut.root"
    cut.write_bytes(known["uproot-Zmumu"].read_bytes()[:90000])
    empty = tmp_path / "empty.root"
    empty.write_bytes(b"")
    paths = [cut, known["uproot-Zmumu"], empty, tmp_path / "none.root", known["uproot-Zmumu"]]
    run = Run()
    block = read(paths, run, MAPS / "zmumu.toml")
    assert len(block) == 2 * 2304
    assert block.orbit.tolist() == list(range(2 * 2304))
    packets = run.ledger["packets"]
    assert packets.out == 2 * 2304
    assert packets.bad == {"ROOT file not readable": 3}
    reasons = "\n".join(run.quarantine.reasons)
    assert "cut.root" in reasons
    assert "empty file (0 bytes)" in reasons
    assert "none.root: no such file" in reasons


def test_a_file_with_other_bits_is_not_mixed_in(reference: Path) -> None:
    known = files(reference)
    run = Run()
    block = read([known["nano_dimuon_rntuple"], known["nano_dy"]], run)
    assert len(block) == 40
    assert run.ledger["packets"].bad == {"ROOT file with other tables or bits than the first": 40}


@pytest.mark.parametrize("scheme", ["root", "https", "s3", "gs", "ssh"])
def test_missing_protocol_says_what_to_install(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import uproot

    def refuse(*args: object, **kwargs: object) -> None:
        raise ImportError("some package")

    monkeypatch.setattr(uproot, "open", refuse)
    with pytest.raises(BadInput) as caught:
        RootSource([f"{scheme}://host/file.root"])
    assert HANDLERS[scheme] in str(caught.value)


def test_unknown_protocol() -> None:
    with pytest.raises(BadInput, match="no fsspec handler for nowhere://"):
        RootSource(["nowhere://host/file.root"])


def test_remote_files_and_their_globs(reference: Path) -> None:
    import fsspec

    system = fsspec.filesystem("memory")
    data = files(reference)["uproot-Zmumu"].read_bytes()
    for name in ("one", "two"):
        system.pipe(f"/scout40_root/{name}.root", data)
    run = Run()
    block = read(["memory://scout40_root/*.root"], run, MAPS / "zmumu.toml")
    assert len(block) == 2 * 2304
    assert len(read(["memory://scout40_root/one.root:events"], None, MAPS / "zmumu.toml")) == 2304
    with pytest.raises(BadInput, match="no file matches"):
        RootSource(["memory://scout40_root/three*.root"])


def test_tree_chosen_by_name(reference: Path) -> None:
    path = files(reference)["uproot-Zmumu"]
    assert split_tree(f"{path}:events") == (str(path), "events")
    assert split_tree("root://host:1094//store/a.root") == ("root://host:1094//store/a.root", None)
    assert split_tree("root://host//a.root:dir/tree") == ("root://host//a.root", "dir/tree")
    assert len(read([f"{path}:events"], map_file=MAPS / "zmumu.toml")) == 2304
    with pytest.raises(BadInput, match="field Evts: holds no tree of this name"):
        RootSource([f"{path}:Evts"])


@pytest.mark.parametrize("content", [b"", b"RAW_", b"root", b"root" + bytes(400)])
def test_no_root_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.root"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"x\.root"):
        RootSource([str(path)])


def test_no_file_at_all() -> None:
    with pytest.raises(BadInput, match="no ROOT file given"):
        RootSource([])
