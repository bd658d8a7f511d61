"""NanoAOD with Level-1 tables, written here with uproot: scouting and central layouts.

No public file holds such tables, so these follow the public configuration of CMS NanoAOD; the
values go in as hardware integers, are converted as CMS does and must come back equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from scout40.streams.block import ORBIT_BX, Block, concatenate
from scout40.streams.errors import BadInput
from scout40.streams.formats.calo import CaloEgamma, CaloJet, CaloSums, CaloTau
from scout40.streams.formats.tower import CaloTower
from scout40.streams.formats.ugt import UgtMuon
from scout40.streams.layout import Word
from scout40.streams.sources.base import Run
from scout40.streams.sources.root import RootSource
from scout40.streams.sources.root_sums import SUM_TYPES

SEED = 40
Data = dict[str, Any]


def write(path: Path, data: Mapping[str, Any], kind: str = "TTree") -> Path:
    """A file with one ntuple ``Events``; ``ak.zip`` collections become L1Mu_pt, ... ."""
    with uproot.recreate(path) as file:
        if kind == "RNTuple":
            file.mkrntuple("Events", dict(data))
        else:
            types = {k: v.dtype if isinstance(v, np.ndarray) else v.type for k, v in data.items()}
            tree = file.mktree("Events", types)
            tree.extend(dict(data))
    return path


def read(path: Path | list[Path], run: Run | None = None) -> tuple[Block, RootSource]:
    paths = path if isinstance(path, list) else [path]
    source = RootSource([str(p) for p in paths])
    run = run or Run()
    blocks = [block.check() for block in source.blocks(run)]
    run.ledger.check()
    return concatenate(blocks), source


def lists(counts: np.ndarray, columns: Mapping[str, np.ndarray]) -> ak.Array:
    return ak.zip({name: ak.unflatten(values, counts) for name, values in columns.items()})


def random_codes(
    word: type[Word], total: int, rng: np.random.Generator, **limits: tuple[int, int]
) -> dict[str, np.ndarray]:
    """Codes of every field; azimuth inside a turn, momenta not 0."""
    out = {}
    for name, bits in word.fields.items():
        low, high = bits.minimum, bits.limit
        if name.startswith("hw_phi"):
            low, high = 0, 575 if word is UgtMuon else 143
        if name in {"hw_pt", "hw_et"}:
            low = 1
        low, high = limits.get(name, (low, high))
        out[name] = rng.integers(low, high + 1, total)
    return out


def sum_values(rows: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    out = {}
    for name, bits in CaloSums.fields.items():
        high = 143 if name.endswith("_phi") else bits.limit
        out[name] = rng.integers(0, high + 1, rows)
    return out


def sum_lists(sums: Mapping[str, np.ndarray], physical: bool) -> ak.Array:
    """L1EtSum as the scouting table producer writes it."""
    chosen = [kind for kind in SUM_TYPES]
    rows = len(sums["hw_ett"])
    values = np.stack([sums[SUM_TYPES[kind]] for kind in chosen], axis=1)
    zero = np.zeros(rows, np.int64)
    phis = np.stack([sums.get(f"{SUM_TYPES[kind]}_phi", zero) for kind in chosen], axis=1)
    kinds = np.tile(chosen, rows).astype(np.int32)
    counts = np.full(rows, len(chosen))
    if not physical:
        return lists(counts, {"hwPt": values.ravel(), "hwPhi": phis.ravel(), "etSumType": kinds})
    integers = np.isin(kinds, [11, 12, 13, 14, 21])
    pt = np.where(integers, values.ravel(), values.ravel() * 0.5).astype(np.float32)
    phi = CaloSums.fields["hw_etm_phi"].table[phis.ravel()]
    return lists(counts, {"pt": pt, "phi": phi, "etSumType": kinds})


def scouting(
    orbits: int, *, physical: bool, bx: np.ndarray | None = None
) -> tuple[Data, dict[str, dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """(branches, codes per table, objects per crossing and table) of a stream."""
    rng = np.random.default_rng(SEED)
    crossings = np.arange(1, ORBIT_BX + 1) if bx is None else bx
    rows = orbits * len(crossings)
    counts = {name: rng.integers(0, 3, rows) for name in ("mu", "eg", "tau", "jet", "tower")}
    words: dict[str, type[Word]] = {
        "mu": UgtMuon, "eg": CaloEgamma, "tau": CaloTau, "jet": CaloJet, "tower": CaloTower,
    }  # fmt: skip
    codes = {name: random_codes(word, int(counts[name].sum()), rng) for name, word in words.items()}
    codes["tower"]["hw_phi"] = rng.integers(1, 73, len(codes["tower"]["hw_et"]))
    codes["tower"]["hw_eta"] = rng.integers(1, 29, len(codes["tower"]["hw_et"]))
    codes["mu"]["hw_eta"] = rng.integers(-224, 224, len(codes["mu"]["hw_pt"]))
    sums = sum_values(rows, rng)
    charge = codes["mu"]["hw_charge_valid"] * (1 - 2 * codes["mu"]["hw_sign"])
    muons = {"hwCharge": charge, "hwQual": codes["mu"]["hw_qual"], "hwDXY": codes["mu"]["hw_dxy"],
             "tfMuonIndex": codes["mu"]["tf_muon_index"]}  # fmt: skip
    muon_names = {"pt": "hw_pt", "etaAtVtx": "hw_eta_at_vtx", "phiAtVtx": "hw_phi_at_vtx",
                  "phi": "hw_phi", "ptUnconstrained": "hw_pt_unconstrained"}  # fmt: skip
    for name, column in muon_names.items():
        bits, values = UgtMuon.fields[column], codes["mu"][column]
        if physical:
            muons[name] = bits.table[values & bits.mask]
        else:
            muons[f"hw{name[0].upper()}{name[1:]}"] = values
    muons["eta" if physical else "hwEta"] = (
        (0.0870 / 8 * codes["mu"]["hw_eta"]).astype(np.float32)
        if physical
        else codes["mu"]["hw_eta"]
    )
    data: Data = {
        "run": np.full(rows, 370000, np.uint32),
        "luminosityBlock": np.full(rows, 7, np.uint32),
        "orbitNumber": np.repeat(np.arange(1000, 1000 + orbits), len(crossings)).astype(np.uint32),
        "bunchCrossing": np.tile(crossings, orbits).astype(np.uint32),
        "L1Mu": lists(counts["mu"], muons),
        "L1EtSum": sum_lists(sums, physical),
    }
    more = {"eg": {"hwIso": "hw_iso"}, "tau": {"hwIso": "hw_iso"}, "jet": {"hwQual": "hw_qual"},
            "tower": {"erBits": "er_bits", "miscBits": "misc_bits"}}  # fmt: skip
    prefixes = {"eg": "L1EG", "tau": "L1Tau", "jet": "L1Jet", "tower": "L1CaloTower"}
    for name, prefix in prefixes.items():
        columns = {key: codes[name][column] for key, column in more[name].items()}
        for short in ("et", "eta", "phi"):
            bits, values = words[name].fields[f"hw_{short}"], codes[name][f"hw_{short}"]
            if physical:
                columns["pt" if short == "et" else short] = bits.table[values & bits.mask]
            elif name == "tower":
                columns[f"hw{short.capitalize()}"] = values
            else:
                columns["hwPt" if short == "et" else f"hw{short.capitalize()}"] = values
        data[prefix] = lists(counts[name], columns)
    return data, codes | {"sums": sums}, counts


@pytest.mark.parametrize("kind", ["TTree", "RNTuple"])
@pytest.mark.parametrize("physical", [True, False], ids=["physical", "hardware"])
def test_scouting_gives_the_codes_back(tmp_path: Path, physical: bool, kind: str) -> None:
    some = np.array([5, 6, 100, 3564])
    data, codes, counts = scouting(50, physical=physical, bx=some)
    run = Run()
    block, source = read(write(tmp_path / "s.root", data, kind), run)
    assert "scouting NanoAOD" in source.name
    assert not source.contiguous  # a selection of crossings: nothing is known of the others
    assert not run.ledger["packets"].bad
    assert not run.ledger["root_objects"].bad
    np.testing.assert_array_equal(block.bx, data["bunchCrossing"])
    np.testing.assert_array_equal(block.orbit, data["orbitNumber"])
    assert set(block.crossing) == {"run", "lumi"}
    for name, table in block.tables.items():
        if name in counts:
            np.testing.assert_array_equal(table.counts(), counts[name])
        for column, values in table.columns.items():
            expected = codes[name][column]
            if column == "hw_sign":  # a charge that is not valid has no sign
                expected = expected * codes[name]["hw_charge_valid"]
            np.testing.assert_array_equal(values, expected, err_msg=f"{name} {column}")
    assert {"hw_ett", "hw_htmhf_phi", "hw_tower_count"} <= set(block.tables["sums"].columns)
    assert "hw_cent_low" not in block.tables["sums"].columns
    assert "hw_iso" not in block.tables["mu"].columns
    assert "hw_displaced" not in block.tables["jet"].columns


def test_whole_orbits_are_contiguous_and_blocks_end_at_them(tmp_path: Path) -> None:
    data, codes, _ = scouting(3, physical=True)
    path = write(tmp_path / "s.root", data)
    source = RootSource([str(path)])
    assert source.contiguous
    run = Run(rows_per_block=5000, orbits_per_block=2)
    blocks = [block.check() for block in source.blocks(run)]
    assert [(b.first_orbit, b.last_orbit) for b in blocks] == [(1000, 1001), (1001, 1002),
                                                               (1002, 1003)]  # fmt: skip
    assert [len(block) for block in blocks] == [ORBIT_BX] * 3
    assert all(block.contiguous for block in blocks)
    joined = np.concatenate([block.tables["mu"]["hw_pt"] for block in blocks])
    np.testing.assert_array_equal(joined, codes["mu"]["hw_pt"])
    run.ledger.check()
    assert run.ledger["packets"].out == 3 * ORBIT_BX


def test_incomplete_orbits_and_rows_that_go_backwards_are_bad(tmp_path: Path) -> None:
    data, _, _ = scouting(3, physical=True)
    rows = {name: values[: 2 * ORBIT_BX + 10] for name, values in data.items()}
    rows["bunchCrossing"] = rows["bunchCrossing"].copy()
    rows["bunchCrossing"][ORBIT_BX + 7] = 0
    first = write(tmp_path / "a.root", rows)
    again = write(tmp_path / "b.root", {name: v[:ORBIT_BX] for name, v in data.items()})
    run = Run()
    block, _ = read([first, again], run)
    assert len(block) == ORBIT_BX
    bad = run.ledger["packets"].bad
    assert bad == {
        "BX 0 or above 3564": 1,
        "crossings missing from an orbit": ORBIT_BX - 1 + 10,
        "crossing repeated or orbit going backwards": ORBIT_BX,
    }
    assert "(0) and 0 others: BX 0 or above 3564" in "\n".join(run.quarantine.reasons)


def test_orbits_begin_anew_with_a_run(tmp_path: Path) -> None:
    data, _, _ = scouting(1, physical=True)
    first = write(tmp_path / "a.root", data)
    second = write(tmp_path / "b.root", data | {"run": data["run"] + np.uint32(1)})
    run = Run()
    source = RootSource([str(first), str(second)])
    blocks = list(source.blocks(run))
    run.ledger.check()
    assert [len(block) for block in blocks] == [ORBIT_BX] * 2
    assert not run.ledger["packets"].bad


def test_single_sums(tmp_path: Path) -> None:
    data, codes, _ = scouting(5, physical=True, bx=np.array([1, 2]))
    del data["L1EtSum"]
    sums = codes["sums"]
    data["L1EtSum_totalEt"] = (sums["hw_ett"] * 0.5).astype(np.float32)
    data["L1EtSum_missEtPhi"] = CaloSums.fields["hw_etm_phi"].table[sums["hw_etm_phi"]]
    data["L1EtSum_hwMissHtHF"] = sums["hw_htmhf"].astype(np.int32)
    data["L1EtSum_towerCount"] = sums["hw_tower_count"].astype(np.int32)
    block, _ = read(write(tmp_path / "s.root", data))
    table = block.tables["sums"]
    assert set(table.columns) == {"hw_ett", "hw_etm_phi", "hw_htmhf", "hw_tower_count"}
    for name, values in table.columns.items():
        np.testing.assert_array_equal(values, sums[name])


def test_a_row_without_one_of_its_sums_is_bad(tmp_path: Path) -> None:
    data, _, _ = scouting(2, physical=True, bx=np.array([1, 2]))
    sums = data["L1EtSum"]
    short = ak.concatenate([sums[:3], sums[3:, 1:]])
    run = Run()
    block, _ = read(write(tmp_path / "s.root", data | {"L1EtSum": short}), run)
    assert len(block) == 3
    assert run.ledger["packets"].bad == {"energy sums incomplete or out of range": 1}


def central(rows: int, hardware: bool) -> tuple[Data, dict[str, dict[str, np.ndarray]], Data]:
    """(branches, codes, masks of the objects of bx 0) in the form of the L1 tables of NanoAOD."""
    rng = np.random.default_rng(SEED)
    data: Data = {
        "run": np.full(rows, 380000, np.uint32),
        "luminosityBlock": np.arange(rows, dtype=np.uint32),
        "event": np.arange(rows, dtype=np.uint64) + np.uint64(1 << 40),
        "bunchCrossing": rng.integers(1, 3565, rows).astype(np.uint32),
        "orbitNumber": np.sort(rng.integers(0, 1 << 31, rows)).astype(np.uint32),
        "L1_SingleMu22": rng.integers(0, 2, rows).astype(np.bool_),
        "L1_FinalOR_BXmin1": np.ones(rows, np.bool_),
        "L1Reco_step": np.ones(rows, np.bool_),
    }
    words: dict[str, type[Word]] = {
        "L1Mu": UgtMuon, "L1EG": CaloEgamma, "L1Tau": CaloTau, "L1Jet": CaloJet,
    }  # fmt: skip
    codes, masks = {}, {}
    for prefix, word in words.items():
        counts = rng.integers(0, 4, rows)
        total = int(counts.sum())
        found = random_codes(word, total, rng)
        bx = rng.integers(-2, 3, total)
        masks[prefix] = (bx == 0, ak.unflatten(bx == 0, counts))
        names = {"hwPt": "hw_pt" if word is UgtMuon else "hw_et"}
        if word is UgtMuon:
            names |= {"hwEtaAtVtx": "hw_eta_at_vtx", "hwPhiAtVtx": "hw_phi_at_vtx"}
        else:
            names |= {"hwEta": "hw_eta", "hwPhi": "hw_phi"}
        columns = {"bx": bx.astype(np.int16)}
        for name, column in names.items():
            bits = word.fields[column]
            physical = name.removeprefix("hw")
            physical = physical[0].lower() + physical[1:]
            values = bits.table[found[column] & bits.mask].astype(np.float64)
            # The unpackers add 1e-6 GeV to calorimeter momenta.
            values = values + 1e-6 if column == "hw_et" else values
            columns[physical] = values.astype(np.float32)
            if hardware:
                columns[name] = found[column].astype(np.int16)
        if word is UgtMuon:
            columns |= {"hwQual": found["hw_qual"], "hwCharge": found["hw_sign"]}
            if hardware:
                columns |= {"hwChargeValid": found["hw_charge_valid"], "hwIso": found["hw_iso"]}
        elif word is CaloJet and hardware:
            columns["hwQual"] = found["hw_displaced"] | found["hw_qual"] << 1
        elif word is not CaloJet:
            columns["hwIso"] = found["hw_iso"]
        data[prefix], codes[prefix] = lists(counts, columns), found
    return data, codes, masks


@pytest.mark.parametrize("kind", ["TTree", "RNTuple"])
@pytest.mark.parametrize("hardware", [True, False])
def test_central_takes_the_objects_of_its_own_crossing(
    tmp_path: Path, hardware: bool, kind: str
) -> None:
    data, codes, masks = central(300, hardware)
    run = Run()
    block, source = read(write(tmp_path / "c.root", data, kind), run)
    assert "central NanoAOD (L1 objects of bx 0" in source.name
    assert not source.contiguous
    assert not run.ledger["root_objects"].bad
    names = {"mu": "L1Mu", "eg": "L1EG", "tau": "L1Tau", "jet": "L1Jet"}
    for name, prefix in names.items():
        mine, per_row = masks[prefix]
        table = block.tables[name]
        np.testing.assert_array_equal(table.counts(), ak.to_numpy(ak.sum(per_row, axis=1)))
        for column, values in table.columns.items():
            np.testing.assert_array_equal(values, codes[prefix][column][mine], err_msg=column)
    np.testing.assert_array_equal(block.bx, data["bunchCrossing"])
    np.testing.assert_array_equal(block.orbit, data["orbitNumber"])
    np.testing.assert_array_equal(block.crossing["event"], data["event"])
    assert block.recorded_names == ("L1_SingleMu22",)
    np.testing.assert_array_equal(block.crossing["recorded"][:, 0], data["L1_SingleMu22"])
    assert ("hw_charge_valid" in block.tables["mu"].columns) is hardware
    assert ("hw_displaced" in block.tables["jet"].columns) is hardware


def test_independent_rows_keep_the_order_of_the_file(tmp_path: Path) -> None:
    data, _, _ = central(5, hardware=True)
    data["orbitNumber"] = np.array([50, 7, 4294967295, 90, 12], np.uint32)
    run = Run()
    source = RootSource([str(write(tmp_path / "c.root", data))])
    (block,) = source.blocks(run)
    assert block.orbit.tolist() == [50, 7, 2, 90, 12]  # -1 is not known: the row's number
    assert (block.first_orbit, block.last_orbit) == (2, 91)


def test_central_sums_of_the_reduced_content(tmp_path: Path) -> None:
    data, _, _ = central(4, hardware=False)
    kinds = np.tile([1, 2, 3, 8, 21], 8).astype(np.int32)
    bx = np.tile(np.repeat([-1, 0], 5), 4).astype(np.int16)
    pt = np.arange(40, dtype=np.float32) * np.float32(0.5) + np.float32(1e-6)
    phi = np.zeros(40, np.float32)
    data["L1EtSum"] = lists(np.full(4, 10), {"pt": pt, "phi": phi, "etSumType": kinds, "bx": bx})
    block, _ = read(write(tmp_path / "c.root", data))
    sums = block.tables["sums"]
    # A count of towers under pt has no defined unit there: the column is absent.
    assert list(sums.columns) == [
        "hw_htt", "hw_etm", "hw_etm_phi", "hw_htm", "hw_htm_phi", "hw_etmhf", "hw_etmhf_phi",
    ]  # fmt: skip
    assert sums["hw_htt"].tolist() == [5, 15, 25, 35]
    assert sums["hw_etmhf"].tolist() == [8, 18, 28, 38]


def test_bad_objects_are_counted_not_wrapped(tmp_path: Path) -> None:
    data, codes, _ = scouting(2, physical=True, bx=np.array([1, 2]))
    pt = ak.to_numpy(ak.flatten(data["L1Jet"]["pt"])).copy()
    pt[0], pt[1], pt[2] = np.nan, -5.0, 3000.0
    counts = ak.to_numpy(ak.num(data["L1Jet"]))
    jets = {name: ak.to_numpy(ak.flatten(data["L1Jet"][name])) for name in data["L1Jet"].fields}
    data["L1Jet"] = lists(counts, jets | {"pt": pt})
    run = Run()
    block, _ = read(write(tmp_path / "s.root", data), run)
    assert run.ledger["root_objects"].bad == {"jet hw_et not usable": 2}
    found = block.tables["jet"]["hw_et"]
    assert len(found) == len(pt) - 2
    assert found[0] == 2047
    np.testing.assert_array_equal(found[1:], codes["jet"]["hw_et"][3:])


@pytest.mark.parametrize("kind", ["TTree", "RNTuple"])
def test_empty_tree(tmp_path: Path, kind: str) -> None:
    data, _, _ = central(3, hardware=True)
    empty = {name: values[:0] for name, values in data.items()}
    path = tmp_path / "e.root"
    with uproot.recreate(path) as file:
        if kind == "RNTuple":
            file.mkrntuple("Events", empty)
        else:
            types = {k: v.dtype if isinstance(v, np.ndarray) else v.type for k, v in data.items()}
            file.mktree("Events", types)
    source = RootSource([str(path)])
    run = Run()
    with pytest.raises(BadInput, match=r"e\.root: no entries"):
        list(source.blocks(run))
    assert source.total == 0
    run.ledger.check()
