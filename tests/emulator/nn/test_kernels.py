"""Every way to compute a network gives the integers of the reference."""

from __future__ import annotations

import importlib.util
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from scout40.emulator.nn import Fixed, Network, infer
from scout40.emulator.nn.compiled import How, compile_network
from scout40.streams.errors import BadInput
from tests.emulator.nn.networks import (
    PAIRS,
    RND_SAT,
    STUDENT,
    TRN_WRAP,
    differing,
    inputs_for,
    kinds_of,
    mlp,
    random_network,
)

NARROW = Fixed.parse("ap_fixed<8,3>")
TRIGGER = {
    "student TRN WRAP": mlp(STUDENT, TRN_WRAP, TRN_WRAP, TRN_WRAP, spread=2.5),
    "student RND SAT": mlp(STUDENT, RND_SAT, RND_SAT, RND_SAT, spread=2.5),
    "student 8 bit": mlp(STUDENT, RND_SAT, NARROW, None),
    "pairs TRN WRAP": mlp(PAIRS, TRN_WRAP, TRN_WRAP, TRN_WRAP, spread=2.5),
    "pairs RND SAT": mlp(PAIRS, RND_SAT, RND_SAT, RND_SAT, spread=2.5),
    "pairs 8 bit": mlp(PAIRS, RND_SAT, NARROW, None),
}
RANDOM = {f"random {seed}": random_network(seed) for seed in range(20)}
HOW: tuple[How, ...] = ("generated", "generic")
MANY, MOST = 10_000, 1_000_000


def test_random_networks_have_every_kind() -> None:
    from scout40.emulator.nn.nodes import KINDS

    assert kinds_of(list(RANDOM.values())) == set(KINDS)


@pytest.mark.parametrize("name", [*TRIGGER, *RANDOM])
def test_generic(name: str) -> None:
    _compare({**TRIGGER, **RANDOM}[name], "generic", MANY)


@pytest.mark.parametrize("name", ["student TRN WRAP", "student 8 bit"])
def test_generated(name: str) -> None:
    _compare(TRIGGER[name], "generated", MANY)


# Each compiles for seconds: all of them with --long.
SOME = [*TRIGGER, *list(RANDOM)[:4]]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [*SOME, *(pytest.param(n, marks=pytest.mark.long) for n in RANDOM if n not in SOME)],
)
def test_generated_for_each(name: str) -> None:
    _compare({**TRIGGER, **RANDOM}[name], "generated", MANY)


@pytest.mark.long
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", [*TRIGGER, *RANDOM])
def test_kernels_a_million(name: str, how: How) -> None:
    _compare({**TRIGGER, **RANDOM}[name], how, MOST)


def _compare(network: Network, how: How, n: int) -> None:
    compiled = compile_network(network, how)
    for seed in range(n // MANY):
        x = inputs_for(network, MANY, seed)
        assert differing(compiled.infer(x), infer(network, x)) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", [*TRIGGER, *RANDOM])
def test_exact_onnx(name: str) -> None:
    _compare_onnx({**TRIGGER, **RANDOM}[name], MANY)


@pytest.mark.long
@pytest.mark.parametrize("name", [*TRIGGER, *RANDOM])
def test_exact_onnx_a_million(name: str) -> None:
    _compare_onnx({**TRIGGER, **RANDOM}[name], MOST)


def _compare_onnx(network: Network, n: int) -> None:
    if importlib.util.find_spec("onnx") is None or importlib.util.find_spec("onnxruntime") is None:
        pytest.skip("needs onnx and onnxruntime (extra train)")
    import onnxruntime

    from scout40.emulator.nn.to_onnx import exact_onnx

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        exact_onnx(network).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    for seed in range(n // MANY):
        x = inputs_for(network, MANY, seed)
        assert differing(session.run(None, {"x": x})[0], infer(network, x)) == 0


def test_float_onnx_is_near() -> None:
    """With fine steps and room the float graph and the integers agree to a few steps."""
    if importlib.util.find_spec("onnx") is None or importlib.util.find_spec("onnxruntime") is None:
        pytest.skip("needs onnx and onnxruntime (extra train)")
    import onnxruntime

    from scout40.emulator.nn.to_onnx import float_onnx

    fine = Fixed.parse("ap_fixed<26,8,AP_RND,AP_SAT>")
    network = mlp(STUDENT, fine, fine, None, spread=1.0)
    session = onnxruntime.InferenceSession(
        float_onnx(network).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    values = np.random.default_rng(1).normal(0, 1, (1000, 5)).astype(np.float32)
    x = fine.quantise(values)
    found = session.run(None, {"x": fine.values(x).astype(np.float32)})[0]
    assert np.abs(found - fine.values(infer(network, x))).max() < 1e-4


@pytest.mark.parametrize("how", [*HOW, "reference"])
@pytest.mark.parametrize("n", [0, 1, 255, 256, 257, 70_000])
def test_any_number_of_rows(how: How, n: int) -> None:
    network = TRIGGER["student 8 bit"]
    x = inputs_for(network, n)
    compiled = compile_network(network, how)
    for given in (x, x.astype(np.int16), np.asfortranarray(x), x.astype(">i4")):
        found = compiled.infer(given)
        assert found.dtype == compiled.output_dtype
        assert differing(found, infer(network, x)) == 0


@pytest.mark.parametrize("how", [*HOW, "reference"])
def test_blocks(how: How) -> None:
    network = TRIGGER["pairs RND SAT"]
    compiled = compile_network(network, how)
    x = inputs_for(network, 4 * compiled.lanes)
    turned = x.reshape(4, compiled.lanes, -1).transpose(0, 2, 1).astype(compiled.input_dtype)
    turned = np.ascontiguousarray(turned)
    y = np.zeros((4, network.n_outputs, compiled.lanes), compiled.output_dtype)
    compiled.infer_into(turned, y)
    assert differing(y.transpose(0, 2, 1).reshape(len(x), -1), infer(network, x)) == 0
    for bad in (turned[:2], turned[:, :1], turned.astype(np.float32), turned[..., ::-1]):
        with pytest.raises(BadInput, match="mlp"):
            compiled.infer_into(bad, y)


def test_bad_inputs() -> None:
    network = TRIGGER["student 8 bit"]
    compiled = compile_network(network, "generic")
    for bad in (
        np.zeros((3, 4), np.int16), np.zeros((3, 5)), np.zeros(5, np.int16),
        np.full((1, 5), 32768), np.full((1, 5), 2**64 - 1, np.uint64),
    ):  # fmt: skip
        for run in (compiled.infer, lambda x: infer(network, x)):
            with pytest.raises(BadInput, match="mlp"):
                run(bad)


@pytest.mark.parametrize("how", HOW)
def test_threads(how: How) -> None:
    """One object, four threads, each with its own inputs."""
    network = TRIGGER["student TRN WRAP"]
    compiled = compile_network(network, how)
    wrong: list[int] = []

    def work(seed: int) -> None:
        x = inputs_for(network, MANY, seed)
        expected = infer(network, x)
        wrong.extend(differing(compiled.infer(x), expected) for _ in range(20))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [0] * 80


def test_compile_time_of_a_student(record_property: Callable[[str, object], None]) -> None:
    """A network that no cache knows: its kernel is ready in seconds (2 to 5 on a free core)."""
    network = mlp(STUDENT, RND_SAT, NARROW, None, seed=time.time_ns() % 2**32)
    start = time.process_time()
    compile_network(network, "generated").infer(inputs_for(network, 10))
    taken = time.process_time() - start
    record_property("seconds", taken)
    assert taken < 30
