"""`scout40 simulate`: shards, manifest, splits, and what the samples contain."""

from __future__ import annotations

import json
import shutil
import sys
import tomllib
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from click.testing import CliRunner

from scout40.emulator.muons.response import response
from scout40.streams.errors import BadConfig, BadInput
from scout40.tools.simulate import command
from scout40.tools.simulate_check import FILES, NAMES, real_muons, replicas, robust
from scout40.tools.simulate_config import FILE, from_settings, samples
from scout40.tools.simulate_files import checksum, read_manifest
from scout40.tools.simulate_shards import Stopped, load, make

needs_pythia = pytest.mark.skipif(
    find_spec("pythia8mc") is None, reason="pythia8mc is missing: pip install 'scout40[simulate]'"
)
PROCESSES = ("jpsi", "drell_yan", "higgs")


def fresh(muons: Path, folder: Path) -> Path:
    """A folder that has the fitted tables of another one, which take seconds, and no more."""
    for path in muons.parent.parent.glob("track_finders-*.npz"):
        shutil.copy(path, folder)
    return folder


def settings() -> dict[str, Any]:
    place = resources.files("scout40.configs").joinpath("simulate", FILE)
    return tomllib.loads(place.read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("samples")


@pytest.fixture(scope="module")
def muons(folder: Path) -> Path:
    return make("muons", "tiny", 5, out=folder, processes=PROCESSES, jobs=1)


@pytest.fixture(scope="module")
def pairs(folder: Path, muons: Path) -> Path:
    return make("pairs", "tiny", 5, out=folder, processes=PROCESSES, jobs=1)


def test_splits_are_disjoint_blocks() -> None:
    """Every block belongs to one split; the process that is held out to its own alone."""
    config = samples()
    blocks = {split: set(range(a, b + 1)) for split, (a, b) in config.blocks.items()}
    assert blocks == {
        "train": set(range(1, 90)), "validation": set(range(90, 95)), "test": set(range(95, 100)),
    }  # fmt: skip
    for size in config.sizes:
        for kind in ("muons", "pairs"):
            found = config.shards(size, kind, ())
            assert len(set(found)) == len(found)
            held = [block for name, block in found if name == "higgs"]
            assert held
            assert set(held) <= blocks["test"]
            assert {config.split_of("higgs", block) for block in held} == {"holdout"}
    assert config.split_of("jpsi", 89) == "train"
    assert config.split_of("jpsi", 90) == "validation"
    with pytest.raises(BadConfig, match="seed block 100"):
        config.split_of("jpsi", 100)


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        (("pairs", "mix", "real"), 0.7, "adds up to"),
        (("pairs", "more"), 1, "unknown or missing: more"),
        (("processes", "jpsi", "weight"), 1, "unknown or missing: weight"),
        (("processes", "jpsi", "id"), 0, "same id"),
        (("sizes", "tiny", "train"), 90, "blocks end at 89"),
        (("sizes", "tiny", "processes", "tau"), {}, "no such process"),
        (("sizes", "tiny", "processes", "jpsi", "events"), 1.5, "expected an integer"),
    ],
)
def test_wrong_settings_are_named(path: tuple[str, ...], value: Any, text: str) -> None:
    data = settings()
    table = data
    for key in path[:-1]:
        table = table[key]
    table[path[-1]] = value
    with pytest.raises(BadConfig, match=text):
        from_settings(data)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"size": "huge"}, "expected one of tiny, small, full"),
        ({"preset": "best"}, "expected one of paper, 2018"),
        ({"processes": ["top"]}, "no process 'top'"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], text: str, tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=text):
        make("muons", **{"size": "tiny", **arguments}, out=tmp_path)


def test_missing_generator_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pythia8mc", None)
    result = CliRunner().invoke(
        command, ["muons", "--size", "tiny", "--out", str(tmp_path), "--process", "jpsi"]
    )
    assert result.exit_code == 2
    assert "pip install 'scout40[simulate]'" in result.output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "no manifest of simulated"),
        ("{", "not JSON"),
        ('{"shards": [{"file": "a"}]}', "lacks file"),
        (
            '{"shards": [{"file": "../a", "sha256": "", "split": "", "process": ""}]}',
            "not beside it",
        ),
    ],
)
def test_bad_manifests(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(text)
    with pytest.raises(BadInput, match=message):
        load(path, "train")


@needs_pythia
def test_manifest(muons: Path) -> None:
    manifest = read_manifest(muons)
    assert manifest["kind"] == "muons"
    assert manifest["versions"]["pythia8mc"]
    assert manifest["response"] == response("paper").digest()
    found = {(shard["process"], shard["block"]) for shard in manifest["shards"]}
    assert found == {("higgs", 95)} | {
        (name, block) for name in PROCESSES[:2] for block in (1, 90, 95)
    }
    for shard in manifest["shards"]:
        assert shard["events"] == samples().sizes["tiny"][1][shard["process"]].events
        assert shard["sigma_mb"] > 0
    assert not list(muons.parent.glob(".*"))


@needs_pythia
def test_muons(muons: Path) -> None:
    """Truth and trigger agree as the response says; splits hold what they promise."""
    tables = {split: load(muons, split) for split in ("train", "validation", "test", "holdout")}
    ids = {process.name: process.id for process in samples().processes.values()}
    assert set(tables["holdout"]["process"].to_pylist()) == {ids["higgs"]}
    for split, block in (("train", 1), ("validation", 90), ("test", 95)):
        assert set(tables[split]["block"].to_pylist()) == {block}
        assert ids["higgs"] not in tables[split]["process"].to_pylist()
    table = pa.concat_tables(tables.values())
    first = table.filter(pc.equal(table["ghost"], 0)).to_pydict()
    columns = {name: np.array(values) for name, values in first.items()}
    ratio = np.log((columns["hw_pt"] - 0.5) / 2 / columns["pt"])
    assert 0.0 < np.median(ratio) < 0.35
    turn = columns["hw_phi_at_vtx"] * (2 * np.pi / 576) - columns["phi"]
    assert robust((turn + np.pi) % (2 * np.pi) - np.pi) < 0.12
    assert robust(columns["hw_eta_at_vtx"] * 0.010875 - columns["eta"]) < 0.06
    sign = 1 - 2 * columns["hw_sign"]
    assert np.mean(sign == columns["charge"]) > 0.97
    assert np.abs(columns["phi"]).max() <= np.pi
    assert columns["weight"].min() > 0


@needs_pythia
def test_pairs(pairs: Path) -> None:
    table = load(pairs, "train")
    columns = {name: table[name].to_numpy() for name in table.column_names}
    kind, label = columns["kind"], columns["label"]
    assert np.array_equal(label == 1, kind < 2)
    assert abs(label.mean() - 0.5) < 0.1
    assert set(kind.tolist()) >= {0, 2, 3, 4}
    same = np.ones(len(kind), bool)
    for name in ("pt", "eta", "phi", "vz"):
        same &= columns[f"mu1_{name}"] == columns[f"mu2_{name}"]
    assert np.array_equal(same, kind == 2)
    noise = np.isnan(columns["mu1_pt"]) | np.isnan(columns["mu2_pt"])
    assert np.array_equal(noise, kind == 5)
    rank = {mu: columns[f"{mu}_hw_pt"] + columns[f"{mu}_hw_qual"] for mu in ("mu1", "mu2")}
    assert np.all(rank["mu1"] >= rank["mu2"])
    assert columns["pileup"].min() >= 30
    assert columns["pileup"].max() <= 60
    assert columns["muons"].min() >= 2


@pytest.mark.slow
@needs_pythia
def test_a_shard_alone_equals_itself_in_a_set(muons: Path, tmp_path: Path) -> None:
    """Other folder, one process of the three, two workers: the same bytes."""
    alone = make("muons", "tiny", 5, out=fresh(muons, tmp_path), processes=["drell_yan"], jobs=2)
    ours = {shard["file"]: shard["sha256"] for shard in read_manifest(alone)["shards"]}
    whole = {shard["file"]: shard["sha256"] for shard in read_manifest(muons)["shards"]}
    assert len(ours) == 3
    assert ours.items() <= whole.items()
    assert all(checksum(alone.parent / name) == value for name, value in ours.items())


@needs_pythia
def test_valid_shards_are_kept_and_others_made_again(muons: Path) -> None:
    folder = muons.parent
    before = muons.read_bytes()
    files = sorted(folder.glob("*.parquet"))
    times = [path.stat().st_mtime_ns for path in files]
    files[0].write_bytes(files[0].read_bytes()[:-100])
    files[1].unlink()
    with pytest.raises(BadInput, match="is missing or has changed"):
        load(muons, "train")
    seen: list[str] = []
    make(
        "muons", "tiny", 5, out=folder.parent, processes=PROCESSES, jobs=1,
        progress=lambda done, total, name: seen.append(f"{done}/{total}"),
    )  # fmt: skip
    assert seen == ["1/2", "2/2"]
    assert muons.read_bytes() == before
    assert [path.stat().st_mtime_ns for path in files[2:]] == times[2:]


@pytest.mark.slow
@needs_pythia
def test_another_seed_is_another_sample(muons: Path, tmp_path: Path) -> None:
    other = make("muons", "tiny", 6, out=fresh(muons, tmp_path), processes=["drell_yan"], jobs=1)
    ours = {shard["sha256"] for shard in read_manifest(other)["shards"]}
    assert not ours & {shard["sha256"] for shard in read_manifest(muons)["shards"]}


@pytest.mark.slow
@needs_pythia
def test_stop_leaves_whole_shards(muons: Path, tmp_path: Path) -> None:
    done: list[int] = []
    with pytest.raises(Stopped, match="2 of 6 shards"):
        make(
            "muons", "tiny", 5, out=fresh(muons, tmp_path), processes=["jpsi"], jobs=1,
            progress=lambda n, total, name: done.append(n), stop=lambda: len(done) >= 2,
        )  # fmt: skip
    assert len(list(tmp_path.rglob("*.parquet"))) == 2
    assert not list(tmp_path.rglob(".*"))
    assert not list(tmp_path.rglob("manifest.json"))


@needs_pythia
def test_command(muons: Path) -> None:
    arguments = ["muons", "--size", "tiny", "--seed", "5", "--out", str(muons.parent.parent)]
    for name in PROCESSES:
        arguments += ["--process", name]
    result = CliRunner().invoke(command, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert found["manifest"] == str(muons)
    assert set(found["rows"]) == {"train", "validation", "test", "holdout"}


def test_response_beside_real_muons(reference: Path, tmp_path: Path) -> None:
    """76 real Level-1 muons; what agrees, and the disagreements that docs/simulation.md states."""
    real = real_muons(reference / "nano")
    assert len(real.pt) == 76
    assert len(real_muons(reference / "nano", FILES[:1]).pt) == 43
    assert real.charge.mean() == pytest.approx(0.96, abs=0.005)
    widths = [robust(real.region(k).log_ratio) for k in range(len(NAMES))]
    assert widths == pytest.approx([0.154, 0.23, 0.36], abs=0.015)
    made = replicas(real, response("2018"), tmp_path, 100)
    ours = [robust(made.region(k).log_ratio) for k in range(len(NAMES))]
    # Agrees in overlap and endcap; the barrel is too wide, and charges are too good.
    errors = [width / np.sqrt(len(real.region(k).pt)) for k, width in enumerate(widths)]
    assert abs(ours[1] - widths[1]) < 2 * errors[1]
    assert abs(ours[2] - widths[2]) < 2 * errors[2]
    assert 1.2 < ours[0] / widths[0] < 1.6
    assert made.charge.mean() > 0.99
    endcap = made.region(2).log_ratio, real.region(2).log_ratio
    assert abs(np.median(endcap[0]) - np.median(endcap[1])) < 2 * errors[2]
