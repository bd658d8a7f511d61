"""The compiled kernels against hls4ml's C simulation of the same network."""

from __future__ import annotations

from pathlib import Path

import pytest

from scout40.emulator.nn import Fixed, infer
from scout40.emulator.nn.compiled import compile_network
from scout40.emulator.nn.to_hls4ml import CSimulation, missing
from tests.emulator.nn.networks import (
    PAIRS,
    RND_SAT,
    STUDENT,
    TRN_WRAP,
    differing,
    inputs_for,
    mlp,
)

NARROW, WIDE = Fixed.parse("ap_fixed<8,3>"), Fixed.parse("ap_fixed<32,14>")
SYMMETRIC = Fixed.parse("ap_fixed<12,5,AP_RND_CONV,AP_SAT_SYM>")
NETWORKS = {
    "student TRN WRAP": mlp(STUDENT, TRN_WRAP, TRN_WRAP, TRN_WRAP, spread=2.5),
    "student RND SAT": mlp(STUDENT, RND_SAT, RND_SAT, RND_SAT, spread=2.5),
    "pairs TRN WRAP": mlp(PAIRS, TRN_WRAP, TRN_WRAP, TRN_WRAP, spread=2.5),
    "pairs RND SAT": mlp(PAIRS, RND_SAT, RND_SAT, RND_SAT, spread=2.5),
    "student 8 bit, wide accumulator": mlp(STUDENT, RND_SAT, NARROW, WIDE, spread=2.5),
    "student RND_CONV SAT_SYM": mlp(STUDENT, SYMMETRIC, NARROW, SYMMETRIC, spread=2.5),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_c_simulation(name: str, tmp_path: Path) -> None:
    _compare(name, 10_000, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("name", NETWORKS)
def test_c_simulation_a_million(name: str, tmp_path: Path) -> None:
    _compare(name, 1_000_000, tmp_path)


def _compare(name: str, n: int, folder: Path) -> None:
    if reason := missing():
        pytest.skip(f"no C simulation: {reason}")
    network = NETWORKS[name]
    oracle, compiled = CSimulation(network, folder), compile_network(network, "generated")
    for seed in range(n // 10_000):
        x = inputs_for(network, 10_000, seed)
        expected = oracle.infer(x)
        assert differing(expected, infer(network, x)) == 0
        assert differing(expected, compiled.infer(x)) == 0
