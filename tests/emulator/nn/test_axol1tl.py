"""AXOL1TL version 4 through its file, and networks of crossings gathered by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from scout40.emulator.nn import (
    Feature,
    Fixed,
    Input,
    Network,
    Output,
    infer,
    load_network,
    save_network,
)
from scout40.emulator.nn import nodes as k
from scout40.emulator.nn.axol1tl import PARAMETERS, Variant, converted, features
from scout40.emulator.nn.compiled import compile_network
from scout40.emulator.nn.crossing_inputs import CrossingNetwork
from scout40.emulator.nn.plugins import load_plugins
from scout40.streams.errors import BadConfig, BadInput
from tests.emulator.nn.crossings import BLOCK, CODES, block_of, menu_of, summing

VARIANTS: list[tuple[Variant, str]] = [("vectors", "score"), ("firmware", "score_half")]


# -- the deployed network --------------------------------------------------------------------


@pytest.mark.parametrize(("variant", "column"), VARIANTS)
def test_every_score_of_the_reference(
    reference: Path, tmp_path: Path, variant: Variant, column: str
) -> None:
    """15 932 rows, recorded, random and searched for: definition and kernel, from the file."""
    table = pq.read_table(reference / "axol1tl" / "vectors.parquet")
    x = np.stack([table.column(name).to_numpy() for name in table.column_names[2:59]], axis=1)
    expected = table.column(column).to_numpy()
    network = load_network(save_network(converted(reference / "axol1tl", variant), tmp_path))
    assert len(x) == 15_932
    assert np.array_equal(infer(network, x)[:, 0], expected)
    assert np.array_equal(compile_network(network, "generic").infer(x)[:, 0], expected)
    assert not np.array_equal(table.column("score"), table.column("score_half"))


@pytest.mark.slow
def test_generated_code_gives_every_score(reference: Path) -> None:
    table = pq.read_table(reference / "axol1tl" / "vectors.parquet")
    x = np.stack([table.column(name).to_numpy() for name in table.column_names[2:59]], axis=1)
    compiled = compile_network(converted(reference / "axol1tl"), "generated")
    assert np.array_equal(compiled.infer(x)[:, 0], table.column("score").to_numpy())


def test_order_of_the_inputs() -> None:
    names = [one.name for one in features("vectors")]
    assert names[:6] == ["sums.hw_etm", "zero", "sums.hw_etm_phi", "eg0.hw_et", "eg0.hw_eta",
                         "eg0.hw_phi"]  # fmt: skip
    assert names[15:18] == ["mu0.hw_pt", "mu0.hw_eta_at_vtx", "mu0.hw_phi"]
    assert names[54:] == ["jet9.hw_et", "jet9.hw_eta", "jet9.hw_phi"]
    assert features("firmware")[17].name == "mu0.hw_phi_at_vtx"


def test_parameters_that_are_no_parameters(reference: Path, tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=f"{PARAMETERS}: no such file"):
        converted(tmp_path)
    with np.load(reference / "axol1tl" / PARAMETERS) as archive:
        good = dict(archive)
    for change, problem in (
        ({"w2": good["w2"][:, 1:]}, r"w2: \(28, 14\), expected integers \(28, 15\)"),
        ({"b1": good["b1"].astype(float)}, "b1.*float64 numbers"),
        ({"w1_WI": np.array([4, 3, 1])}, "dense1.*weights: mantissas"),
        ({"b3_WI": np.array([10, 7, 3])}, "b3_WI: signed 3"),
        ({"shift": good["shift"] + 100}, "node 'x', shift"),
    ):
        np.savez(tmp_path / PARAMETERS, **(good | change))
        with pytest.raises(BadConfig, match=problem):
            converted(tmp_path)
    del good["offset"]
    np.savez(tmp_path / PARAMETERS, **good)
    with pytest.raises(BadConfig, match="offset: missing"):
        converted(tmp_path)


# -- inputs by name --------------------------------------------------------------------------


def test_gather_by_place_and_column() -> None:
    """A weight of its own for each input, so that the score spells them; no object gives 0."""
    network = summing(
        ["sums.hw_etm", "mu1.hw_pt", "zero", "mu0.hw_eta_at_vtx", "mu0.hw_pt", "mu3.hw_pt"],
        [1, 10**4, 10**9, 10**7, 10**10, 10**12],
    )
    found = CrossingNetwork(network)
    assert found.needs == {"sums.hw_etm", "mu.hw_pt", "mu.hw_eta_at_vtx"}
    expected = [4095 + 5 * 10**4 - 3 * 10**7 + 7 * 10**10, 6, 9 * 10**4,
                10**4 + 10**7 + 10**10 + 10**12]  # fmt: skip
    assert found.scores(BLOCK).tolist() == expected
    assert found.of_nothing == 0
    assert found.scores(BLOCK.take(2, 4)).tolist() == expected[2:]
    assert found.scores(BLOCK.take(2, 2)).tolist() == []


def test_the_kernel_that_is_chosen_for_a_small_network() -> None:
    network = CrossingNetwork(summing(["sums.hw_etm", "mu1.hw_pt"], [1, 10_000]))
    assert network.scores(BLOCK).tolist() == [54_095, 6, 90_000, 10_000]


def test_many_crossings() -> None:
    """More than one block of lanes, against the same look-up in plain Python."""
    rng = np.random.default_rng(3)
    muons = [
        [(int(rng.integers(0, 3)), int(rng.integers(-256, 256))) for _ in range(rng.integers(0, 5))]
        for _ in range(1000)
    ]
    block = block_of(muons, [None] * 1000)
    names = [f"mu{place}.{name}" for place in range(4) for name in ("hw_pt", "hw_eta_at_vtx")]
    weights = rng.integers(-999, 999, 8).tolist()

    def slow(one: list[tuple[int, int]]) -> int:
        objects = [(pt, eta) if pt else (0, 0) for pt, eta in one] + [(0, 0)] * 4
        values = [value for both in objects[:4] for value in both]
        return int(np.dot(values, weights))

    found = CrossingNetwork(summing(names, weights)).scores(block)
    assert found.tolist() == [slow(one) for one in muons]


def test_rows_of_a_set_are_places() -> None:
    """A set of two muons: the feature is named once, row r is muon r; scale moves the point."""
    one = (Feature("mu0.hw_pt", scale=1), Feature("mu1.hw_eta_at_vtx"))
    inputs = (Input("mu", (2, 2), Fixed(18, 16), one), Input("s", (1,), CODES, (Feature("zero"),)))
    nodes = (k.Reshape("flat", "mu", (4,)), k.Select("score", "flat", (2,)))
    assert CrossingNetwork(Network("set", inputs, nodes, (Output("score"),))).scores(
        BLOCK
    ).tolist() == [10, 0, 18, 2]  # mu1.hw_pt * 2: two fraction bits, one taken by the scale
    nodes = (k.Reshape("flat", "mu", (4,)), k.Select("score", "flat", (1,)))
    assert CrossingNetwork(Network("set", inputs, nodes, (Output("score"),))).scores(
        BLOCK
    ).tolist() == [400, 0, -28, 4]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("mu0.hw_ptt", "feature 'mu0.hw_ptt': mu has no column 'hw_ptt'; it has hw_phi_at_vtx"),
        ("etm.hw_pt", "feature 'etm.hw_pt': unknown; expected muN.COLUMN"),
        ("mu.hw_pt", "feature 'mu.hw_pt': unknown"),
        ("sums0.hw_etm", "feature 'sums0.hw_etm': unknown"),
        ("pt", "input 'x', feature 'pt': unknown"),
    ],
)
def test_unknown_names(tmp_path: Path, name: str, problem: str) -> None:
    save_network(summing([name], [1]), tmp_path / "v4.json")
    with pytest.raises(BadConfig, match=r"v4\.json: input 'x', ") as caught:
        load_plugins(menu_of([("v4", 1)]), tmp_path)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("of", "scale", "problem"),
    [
        (Fixed(9, 9), 0, r"codes 0 to 511 times 2\^0 do not fit ap_fixed<9,9"),
        (Fixed(10, 9), 0, r"codes 0 to 511 times 2\^1 do not fit"),
        (Fixed(10, 10, signed=False), 1, "drops bits of the code"),
    ],
)
def test_types_that_cannot_hold_the_codes(of: Fixed, scale: int, problem: str) -> None:
    with pytest.raises(BadConfig, match=problem):
        CrossingNetwork(summing(["mu0.hw_pt"], [1], of=of, scale=scale))


def test_networks_that_are_no_trigger() -> None:
    x = (Input("x", (2,), CODES),)
    with pytest.raises(BadConfig, match="outputs: 2 numbers, expected one"):
        CrossingNetwork(Network("two", x, (), (Output("x"),)))
    chosen = (k.Select("y", "x", (0,)),)
    with pytest.raises(BadConfig, match="input 'x', features: names such as"):
        CrossingNetwork(Network("bare", x, chosen, (Output("y"),)))
    set_of_sums = (Input("x", (2, 1), CODES, (Feature("sums.hw_etm"),)),)
    nodes = (k.Sum("y", "x", 0, None, Fixed(30, 30)),)
    with pytest.raises(BadConfig, match="sums has one row, the input 2"):
        CrossingNetwork(Network("sums", set_of_sums, nodes, (Output("y"),)))


def test_numbers_beyond_the_hardware_are_refused() -> None:
    network = CrossingNetwork(summing(["mu0.hw_pt"], [1]))
    with pytest.raises(BadInput, match="values 7 to 512, expected 0 to 511"):
        network.scores(block_of([[(7, 0)], [(512, 0)]], [0, 0]))
