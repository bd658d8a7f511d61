"""Networks of a folder in the commands: conversion, comparison with recorded bits, lineage."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from scout40.emulator.nn import Feature, Fixed, Input, Network, Output, load_network, save_network
from scout40.emulator.nn import nodes as k
from scout40.streams.errors import BadConfig
from scout40.tools import compare as compare_command
from scout40.tools.comparison import compare
from scout40.tools.job import emulate
from scout40.tools.live_config import load_pipeline
from scout40.tools.live_stage import LiveStage, settings_digest
from scout40.tools.networks import command

MENU_2024 = "menus/2024/L1Menu_Collisions2024_v1_3_0-d1.extract.json"
MENU = """
[menu]
name = "scores"

[[algorithm]]
name = "L1_Score"
expression = "AXO[AXO-MODEL_sum, AXO-SCORE_A]"

[[algorithm]]
name = "L1_Jet"
expression = "JET60"

[[algorithm]]
name = "L1_Other"
expression = "AXO[AXO-MODEL_other, AXO-SCORE_A]"

[cuts]
AXO-SCORE_A = {score = 120}
AXO-MODEL_sum = {model = "sum"}
AXO-MODEL_other = {model = "other"}
"""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


@pytest.fixture(scope="module")
def networks(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """AXOL1TL v4, converted by the command."""
    folder = tmp_path_factory.mktemp("networks") / "made"
    done = run("convert", str(reference / "axol1tl"), str(folder))
    assert done.exit_code == 0, done.output
    return folder


@pytest.mark.parametrize(
    ("vector", "fired"),
    [
        ("data_TestVector_000", [96, 62, 43, 31, 10]),
        ("ttBar_TestVector_003", [3546, 3544, 3540, 3537, 3524]),
    ],
)
def test_recorded_bits_of_2024(
    reference: Path, networks: Path, vector: str, fired: list[int]
) -> None:
    """All five thresholds in all 3564 crossings; what is left needs neighbours or CICADA."""
    path = reference / f"testvectors/ugt/L1menu_2024_v1_3_0_{vector}.txt"
    result = compare(path, reference / MENU_2024, networks=networks)
    names = [f"L1_AXO_{name}" for name in ("VLoose", "Loose", "Nominal", "Tight", "VTight")]
    tallies = [result.tallies[name] for name in names]
    assert result.different == []
    assert set(names) <= set(result.equal)
    assert [(one.recorded, one.emulated) for one in tallies] == [(n, n) for n in fired]
    for reason in result.not_evaluated.values():
        assert "rows are independent" in reason or reason == "CICADA needs a network"
    assert any(note.startswith("network v4: ") for note in result.receipt.notes)


def test_the_other_variant_differs_from_the_vectors(reference: Path, tmp_path: Path) -> None:
    """So the comparison can tell them apart."""
    assert run("convert", str(reference / "axol1tl"), str(tmp_path), "--variant", "firmware",
               "--json").exit_code == 0  # fmt: skip
    path = reference / "testvectors/ugt/L1menu_2024_v1_3_0_data_TestVector_000.txt"
    result = compare(path, reference / MENU_2024, networks=tmp_path)
    assert result.different
    assert all(name.startswith("L1_AXO") for name in result.different)


def test_convert_says_what_it_wrote_and_never_overwrites(reference: Path, tmp_path: Path) -> None:
    source, folder = str(reference / "axol1tl"), str(tmp_path / "new")
    found = json.loads(run("convert", source, folder, "--json").output)
    assert found["model"] == "v4"
    assert [Path(file).name for file in found["files"]] == ["v4.json", "v4.npz"]
    assert load_network(found["files"][0]).model_id == found["model_id"]
    again = run("convert", source, folder)
    assert again.exit_code == 2
    assert "v4.json: exists already" in again.output
    done = run("convert", source, folder, "--overwrite", "--variant", "firmware")
    assert done.exit_code == 0
    assert found["model_id"] not in done.output
    assert "no such file" in run("convert", folder, folder).output


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(menu, folder): the score is the energy of the first jet; model ``other`` has no file."""
    folder = tmp_path_factory.mktemp("small")
    menu = folder / "menu.toml"
    menu.write_text(MENU)
    inputs = (Input("x", (2,), Fixed(18, 18), (Feature("jet0.hw_et"), Feature("zero"))),)
    network = Network("sum", inputs, (k.Sum("y", "x", 0, None, Fixed(19, 19)),), (Output("y"),))
    save_network(network, folder / "nets" / "sum")
    return menu, folder / "nets"


def test_emulate(small: tuple[Path, Path], sample_file: Path, tmp_path: Path) -> None:
    """The sample is sparse: the score of a leading jet fires as the condition on jets does."""
    menu, folder = small
    out = tmp_path / "out.parquet"
    result = emulate([sample_file], menu, networks=folder, out=out)
    assert result.not_evaluated == {"L1_Other": "AXO needs network other"}
    counts = result.counter.initial
    assert counts[0] == counts[1] > 0
    lineage = json.dumps({str(a): str(b) for a, b in pq.read_schema(out).metadata.items()})
    assert load_network(folder / "sum").model_id in lineage
    assert str(folder) not in lineage


def test_without_the_folder(small: tuple[Path, Path], sample_file: Path) -> None:
    result = emulate([sample_file], small[0])
    assert set(result.not_evaluated) == {"L1_Score", "L1_Other"}
    assert set(result.not_evaluated.values()) == {"AXO needs a network"}
    with pytest.raises(BadConfig, match="no folder of networks"):
        emulate([sample_file], small[0], networks=small[1] / "absent")


def test_a_live_pipeline(small: tuple[Path, Path], sample_block: object, tmp_path: Path) -> None:
    menu, folder = small
    pipeline = tmp_path / "live.toml"
    pipeline.write_text(f'[menu]\nfile = "{menu}"\nnetworks = "{folder}"\n')
    configured = load_pipeline(pipeline)
    stage = LiveStage(configured)
    block = sample_block
    decisions = stage.decide(block, None, None)  # type: ignore[arg-type]
    assert decisions.not_evaluated == {"L1_Other": "AXO needs network other"}
    fired = [np.count_nonzero(decisions.words[:, 0] >> np.uint64(bit) & np.uint64(1))
             for bit in (0, 1)]  # fmt: skip
    assert fired[0] == fired[1] > 0
    configuration = settings_digest(configured)
    assert str(folder) not in json.dumps(configuration)
    assert load_network(folder / "sum").model_id in str(stage.lineage([], configuration))
    assert LiveStage(configured, stage).work.compiled is stage.work.compiled


def test_the_option_needs_a_menu(small: tuple[Path, Path], sample_file: Path) -> None:
    arguments = [str(sample_file), "--expected", str(small[0]), "--networks", str(small[1])]
    done = CliRunner().invoke(compare_command.command, arguments)
    assert done.exit_code == 2
    assert "--networks needs a menu" in done.output
