"""How fast the recalibration network runs on one core, beside onnxruntime and hls4ml."""

from __future__ import annotations

import importlib.util
import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.emulator.nn import Fixed, Input, Network, Output, infer
from scout40.emulator.nn import nodes as k
from scout40.emulator.nn.compiled import Compiled, compile_network
from scout40.emulator.nn.to_hls4ml import CSimulation, missing
from scout40.streams.errors import Scout40Error
from scout40.tools.measure import Measure, interleaved

SIZES = (5, 8, 8, 8, 8, 3)
BATCH = 65_536
REPEATS = 16
"""Batches one after the other in a round."""

WIDE_LIMIT, NARROW_LIMIT, RATIO_LIMIT, CSIM_LIMIT = 1e8, 6e7, 2.5, 300.0
SEED = 40
_NUMBERS = {
    "nn_8bit": ("ap_fixed<16,6,AP_RND,AP_SAT>", "ap_fixed<8,3>", None, WIDE_LIMIT),
    "nn_narrow": ("ap_fixed<16,6>", "ap_fixed<16,6>", "ap_fixed<16,6>", NARROW_LIMIT),
    "nn_narrow_sat": (
        "ap_fixed<16,6,AP_RND,AP_SAT>", "ap_fixed<16,6>", "ap_fixed<16,6,AP_RND,AP_SAT>", None,
    ),
}  # fmt: skip
_DETAIL = {
    "nn_8bit": "8-bit weights, exact sums, RND/SAT",
    "nn_narrow": "16-bit weights, narrow accumulators, TRN/WRAP",
    "nn_narrow_sat": "16-bit weights, narrow accumulators, RND/SAT",
}


def bench(quick: bool) -> list[Measure]:
    """Inferences per second of the student network, batches of 65 536."""
    found: list[Measure] = []
    for name, (number, weight, accumulator, limit) in _NUMBERS.items():
        network = student(number, weight, accumulator)
        found += _measure(name, network, limit, quick)
        if name == "nn_narrow" and not quick and not missing():
            found.append(_against_c(network))
    return found


def student(number: str, weight: str, accumulator: str | None) -> Network:
    """5-8-8-8-8-3 with random weights, which matter neither for us nor for the others."""
    rng = np.random.default_rng(SEED)
    of, of_weights = Fixed.parse(number), Fixed.parse(weight)
    narrow = Fixed.parse(accumulator) if accumulator else None
    nodes: list[k.Node] = []
    last = "x"
    for n, (inputs, outputs) in enumerate(itertools.pairwise(SIZES)):
        weights = of_weights.quantise(rng.uniform(-1, 1, (inputs, outputs)))
        bias = of.quantise(rng.normal(0, 0.5, outputs))
        nodes.append(k.Dense(f"dense{n}", last, weights, of_weights, bias, of, narrow, of))
        last = f"dense{n}"
        if n + 2 < len(SIZES):
            nodes.append(k.Relu(f"relu{n}", last, of))
            last = f"relu{n}"
    return Network("student", (Input("x", SIZES[:1], of),), tuple(nodes), (Output(last),))


def _measure(name: str, network: Network, limit: float | None, quick: bool) -> list[Measure]:
    x = np.random.default_rng(SEED).integers(-(1 << 15), 1 << 15, (BATCH, SIZES[0]))
    ours = compile_network(network, "generated")
    check_equal(ours, x[:8192])
    generic = compile_network(network, "generic")
    check_equal(generic, x[:8192])
    rounds, repeats = (3, 1) if quick else (9, REPEATS)
    contenders = [_blocks(ours, x, repeats), _blocks(generic, x, 1), _rows(ours, x, repeats)]
    peer = _onnxruntime(network, x) if name == "nn_8bit" else None
    times = interleaved([*contenders, *([peer] if peer else [])], rounds)
    speeds = [n * BATCH / taken for n, taken in zip((repeats, 1, repeats, 1), times, strict=False)]
    text = f"student 5-8-8-8-8-3, {_DETAIL[name]}, batch {BATCH}, one core"
    found = [
        Measure(name, speeds[0], "inf/s", speeds[1], "generic", speeds[0] / speeds[1], limit,
                limit_on="value", detail=text),
        Measure(f"{name}_rows", speeds[2], "inf/s",
                detail="rows: from and to one row a sample, with checks of the inputs"),
    ]  # fmt: skip
    if peer is not None:
        ratio = speeds[0] / speeds[3]
        detail = "float: onnxruntime, float32, one thread, the same layers"
        found.append(Measure(f"{name}_float", speeds[0], "inf/s", speeds[3], "onnxruntime", ratio,
                             RATIO_LIMIT, detail=detail))  # fmt: skip
    return found


def _against_c(network: Network) -> Measure:
    """Our kernel and hls4ml's C simulation by turns, after they gave the same integers."""
    x = np.random.default_rng(SEED).integers(-(1 << 15), 1 << 15, (BATCH, SIZES[0]))
    ours = compile_network(network, "generated")
    with tempfile.TemporaryDirectory(prefix="scout40-hls4ml-") as folder:
        peer = CSimulation(network, Path(folder))
        if not (peer.infer(x) == ours.infer(x)).all():
            raise Scout40Error("the kernel and hls4ml's C simulation differ")

        def simulate() -> None:
            peer.infer(x)

        fast, slow = interleaved([_blocks(ours, x, REPEATS), simulate], 3)
    speed, of_peer = REPEATS * BATCH / fast, BATCH / slow
    detail = "csim: hls4ml's C simulation by g++ -O2 with a bridge that takes whole batches"
    return Measure("nn_narrow_csim", speed, "inf/s", of_peer, "hls4ml csim", speed / of_peer,
                   CSIM_LIMIT, detail=detail)  # fmt: skip


def check_equal(compiled: Compiled, x: npt.NDArray[Any]) -> None:
    """Scout40Error when the kernel differs from the reference."""
    if not (compiled.infer(x) == infer(compiled.network, x)).all():
        raise Scout40Error(f"network {compiled.network.name}: the kernel differs")


def _blocks(compiled: Compiled, x: npt.NDArray[Any], repeats: int) -> Callable[[], None]:
    turned = x.reshape(-1, compiled.lanes, x.shape[1]).transpose(0, 2, 1)
    turned = np.ascontiguousarray(turned.astype(compiled.input_dtype))
    shape = (len(turned), compiled.network.n_outputs, compiled.lanes)
    y = np.empty(shape, compiled.output_dtype)

    def run() -> None:
        for _ in range(repeats):
            compiled.infer_into(turned, y)

    return run


def _rows(compiled: Compiled, x: npt.NDArray[Any], repeats: int) -> Callable[[], None]:
    rows = x.astype(compiled.input_dtype)

    def run() -> None:
        for _ in range(repeats):
            compiled.infer(rows)

    return run


def _onnxruntime(network: Network, x: npt.NDArray[Any]) -> Callable[[], None] | None:
    """The float graph; None where onnx or onnxruntime are not installed (extra train)."""
    if any(importlib.util.find_spec(one) is None for one in ("onnx", "onnxruntime")):
        return None
    import onnxruntime

    from scout40.emulator.nn.to_onnx import float_onnx

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        float_onnx(network).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    values = network.inputs[0].type.values(x).astype(np.float32)

    def run() -> None:
        session.run(None, {"x": values})

    return run
