"""Proved ranges hold, and what cannot be proved is refused."""

from __future__ import annotations

import numpy as np
import pytest

from scout40.emulator.nn import Fixed, evaluate
from scout40.emulator.nn.lower import lower
from scout40.streams.errors import BadConfig
from tests.emulator.nn.networks import RND_SAT, STUDENT, inputs_for, mlp, random_network


@pytest.mark.parametrize("seed", range(20))
def test_ranges_hold(seed: int) -> None:
    """Every tensor of 10^4 adversarial inputs stays in its range, element by element."""
    network = random_network(seed)
    tensors = evaluate(network, inputs_for(network, 10_000))
    for name, values in tensors.items():
        proved = network.certificate.ranges[name]
        assert (values.min(axis=0) >= proved.low).all(), name
        assert (values.max(axis=0) <= proved.high).all(), name


def test_range_of_a_sum_is_reached() -> None:
    """The ends of a dense layer are those of the inputs that drive it hardest."""
    wide, narrow = Fixed.parse("ap_fixed<30,20>"), Fixed.parse("ap_fixed<8,3>")
    network = mlp((5, 3), wide, narrow, None, spread=0.2)  # no overflow
    weights = network.nodes[0].weights  # type: ignore[attr-defined]
    kind = network.inputs[0].type
    x = np.where(weights.T > 0, kind.high, kind.low)
    y = evaluate(network, x)["dense0"]
    assert (np.diag(y) == network.certificate.ranges["dense0"].high).all()


def test_host_types() -> None:
    narrow = mlp(STUDENT, RND_SAT, Fixed.parse("ap_fixed<8,3>"), None)
    wide = mlp(STUDENT, Fixed.parse("ap_fixed<30,10>"), Fixed.parse("ap_fixed<8,3>"), None)
    assert {narrow.certificate.bits(node.name) for node in narrow.nodes} == {32}
    assert wide.certificate.bits("dense0") == 64
    program = lower(wide)
    assert program is not None
    assert max(row.bound for row in program.rows) >= 1 << 31


def test_int64_is_not_enough() -> None:
    with pytest.raises(BadConfig, match="node 'dense0', weights: numbers of up to"):
        mlp((8, 2), Fixed.parse("ap_fixed<50,20>"), Fixed.parse("ap_fixed<20,3>"), None)
