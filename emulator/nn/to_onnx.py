"""A network as ONNX in standard operators: exact, or in floating point.

The exact graph computes with whole numbers that float32 holds without loss where the certificate
shows less than 2**24, else float64; onnxruntime then gives the integers of the reference. The
float graph has the same layers without any rounding. Needs the package ``onnx``, the extra train.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.emulator.nn import nodes as kinds
from scout40.emulator.nn.fixed import Fixed, Overflow, Rounding
from scout40.emulator.nn.network import Network
from scout40.streams.errors import BadConfig, Scout40Error

OPSET, IR_VERSION, _SMALL, _LARGE = 18, 10, 2.0**24, 2.0**53


def exact_onnx(network: Network) -> Any:
    """``onnx.ModelProto``: "x" int64 (n, n_inputs) to "y" int64 (n, n_outputs), mantissas.

    Raises BadConfig when a node needs more than 53 bits, Scout40Error without the package onnx.
    """
    return _Builder(network, exact=True).model()


def float_onnx(network: Network) -> Any:
    """``onnx.ModelProto``: "x" float32 (n, n_inputs) to "y" float32 (n, n_outputs), values.

    Values are mantissas / 2**fraction; weights are the quantised ones. Raises Scout40Error without
    the package onnx.
    """
    return _Builder(network, exact=False).model()


def save_onnx(model: Any, path: str | Path) -> None:
    """Write a model."""
    Path(path).write_bytes(model.SerializeToString())


class _Builder:
    """Nodes and constants of a graph; ``kind`` is the float type of the current node."""

    def __init__(self, network: Network, exact: bool) -> None:
        try:
            import onnx
        except ImportError:
            raise Scout40Error("needs the package onnx: pip install scout40[train]") from None
        self.onnx: Any = onnx
        self.network, self.exact = network, exact
        self.nodes: list[Any] = []
        self.constants: dict[tuple[Any, ...], str] = {}
        self.tensors: list[Any] = []
        self.kinds: dict[str, Any] = {}
        self.kind: Any = np.float32
        self.count = 0

    def model(self) -> Any:
        helper, types = self.onnx.helper, self.onnx.TensorProto
        of = types.INT64 if self.exact else types.FLOAT
        names = self._inputs()
        for node in self.network.nodes:
            self.kind = self._carrier(node)
            sources = [self._cast(names[one], self.kind) for one in node.sources]
            of_sources = [self.network.types[one] for one in node.sources]
            names[node.name] = _RULES[node.kind](self, node, sources, of_sources)
            self.kinds[names[node.name]] = self.kind
        parts = []
        for one in self.network.outputs:
            flat = names[one.name]
            if len(self.network.shapes[one.name]) > 1:
                flat = self.op("Reshape", flat, self.integers([0, -1]))
            parts.append(self.op("Cast", flat, to=of) if self.exact else flat)
        y = self.op("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
        self.nodes.append(helper.make_node("Identity", [y], ["y"]))
        graph = helper.make_graph(
            self.nodes, self.network.name,
            [helper.make_tensor_value_info("x", of, ["n", self.network.n_inputs])],
            [helper.make_tensor_value_info("y", of, ["n", self.network.n_outputs])],
            self.tensors,
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = IR_VERSION
        self.onnx.checker.check_model(model)
        return model

    def _inputs(self) -> dict[str, str]:
        names = {}
        first = 0
        for one in self.network.inputs:
            last = first + kinds.elements(one.shape)
            alone = len(self.network.inputs) == 1
            part = "x" if alone else self.slice("x", 1, first, last)
            wide = max(-one.type.low, one.type.high) >= _SMALL
            self.kind = np.float64 if self.exact and wide else np.float32
            name = self.op("Cast", part, to=self._code(self.kind)) if self.exact else part
            if len(one.shape) > 1:
                name = self.op("Reshape", name, self.integers([0, *one.shape]))
            names[one.name] = name
            self.kinds[name] = self.kind
            first = last
        return names

    def _carrier(self, node: kinds.Node) -> Any:
        """float32 where every number of the node is whole and below 2**24, else float64."""
        if not self.exact:
            return np.float32
        bound = self.network.certificate.bounds[node.name]
        for value in vars(node).values():
            if isinstance(value, Fixed):
                bound = max(bound, 2.0 * 2.0**value.width)  # wraps add half the range
        if bound >= _LARGE:
            raise BadConfig(
                f"node {node.name!r}: its numbers need {np.log2(bound):.0f} bits, exact ONNX has 53"
            )
        if bound < _SMALL and all(
            self.network.types[one].width <= 23 and abs(self.network.types[one].integer) <= 40
            for one in (*node.sources, node.name)
        ):
            return np.float32
        return np.float64

    def _code(self, kind: Any) -> int:
        code: int = self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind))
        return code

    def _cast(self, name: str, kind: Any) -> str:
        if self.kinds[name] == kind:
            return name
        cast = self.op("Cast", name, to=self._code(kind))
        self.kinds[cast] = kind
        return cast

    def op(self, op: str, *inputs: str, **attributes: Any) -> str:
        self.count += 1
        name = f"t{self.count}"
        self.nodes.append(self.onnx.helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def constant(self, values: npt.NDArray[Any]) -> str:
        key = (values.dtype.str, values.shape, values.tobytes())
        if key not in self.constants:
            name = f"c{len(self.constants)}"
            self.constants[key] = name
            self.tensors.append(self.onnx.numpy_helper.from_array(values, name))
        return self.constants[key]

    def integers(self, values: Sequence[int]) -> str:
        return self.constant(np.array(values, np.int64))

    def number(self, value: float) -> str:
        return self.constant(np.array(value, self.kind))

    def mantissas(self, values: npt.NDArray[Any], of: Fixed) -> str:
        """Constants: integers in the exact graph, values in the other."""
        return self.constant((values if self.exact else of.values(values)).astype(self.kind))

    def slice(self, name: str, axis: int, first: int, last: int, step: int = 1) -> str:
        ends = [self.integers([one]) for one in (first, last, axis, step)]
        return self.op("Slice", name, *ends)

    def scaled(self, name: str, shift: int) -> str:
        """Times 2**shift, in the exact graph only."""
        if not self.exact or shift == 0:
            return name
        return self.op("Mul", name, self.number(2.0**shift))

    def requantised(self, name: str, fraction: int, to: Fixed) -> str:
        if not self.exact:
            return name
        shift = fraction - to.fraction
        name = self.scaled(name, -shift)
        if shift > 0:
            name = self._rounded(name, to.rounding)
        return self.overflowed(name, to)

    def _rounded(self, name: str, rounding: Rounding) -> str:
        if rounding is Rounding.TRN:
            return self.op("Floor", name)
        if rounding is Rounding.RND_CONV:
            return self.op("Round", name)
        if rounding is Rounding.RND:
            return self.op("Floor", self.op("Add", name, self.number(0.5)))
        if rounding is Rounding.RND_MIN_INF:
            return self.op("Ceil", self.op("Sub", name, self.number(0.5)))
        size = self.op("Abs", name)
        if rounding is Rounding.RND_INF:
            size = self.op("Floor", self.op("Add", size, self.number(0.5)))
        elif rounding is Rounding.RND_ZERO:
            size = self.op("Ceil", self.op("Sub", size, self.number(0.5)))
        else:
            size = self.op("Floor", size)
        return self.op("Mul", size, self.op("Sign", name))

    def overflowed(self, name: str, to: Fixed) -> str:
        if not self.exact:
            return name
        if to.overflow is not Overflow.WRAP:
            return self.op("Clip", name, self.number(to.low), self.number(to.high))
        turns = self.op("Sub", name, self.number(to.low)) if to.low else name
        turns = self.op("Floor", self.op("Mul", turns, self.number(2.0**-to.width)))
        return self.op("Sub", name, self.op("Mul", turns, self.number(2.0**to.width)))


Names = list[str]
Types = list[Fixed]


def _cast(to: _Builder, node: kinds.Cast, x: Names, t: Types) -> str:
    if not node.features:
        return to.requantised(x[0], t[0].fraction, node.type)
    axis = len(to.network.shapes[node.name])
    parts = []
    for k, one in enumerate(node.features):
        part = to.requantised(to.slice(x[0], axis, k, k + 1), t[0].fraction, one)
        parts.append(to.requantised(part, one.fraction, node.type))
    return to.op("Concat", *parts, axis=axis)


def _normalise(to: _Builder, node: kinds.Normalise, x: Names, t: Types) -> str:
    fraction = max(t[0].fraction, node.offset_type.fraction)
    up = fraction - node.offset_type.fraction
    offset = node.offset << up if to.exact else node.offset
    offsets = to.mantissas(offset, node.offset_type)
    value = to.op("Sub", to.scaled(x[0], fraction - t[0].fraction), offsets)
    if not to.exact:
        scales = to.constant(np.ldexp(1.0, -node.shift).astype(to.kind))
        return to.op("Mul", value, scales)
    axis = len(to.network.shapes[node.name])
    parts = []
    for k, shift in enumerate(node.shift.tolist()):
        part, places = to.slice(value, axis, k, k + 1), fraction + shift
        if node.accumulator is not None:
            places = node.accumulator.fraction
            part = to.requantised(part, fraction, node.accumulator)
            part = to.requantised(part, places + shift, node.accumulator)
        parts.append(to.requantised(part, places, node.type))
    return to.op("Concat", *parts, axis=axis)


def _affine(to: _Builder, node: kinds.Affine, x: Names, t: Types) -> str:
    product = t[0].fraction + node.scale_type.fraction
    fraction = max(product, node.bias_type.fraction)
    value = to.op("Mul", x[0], to.mantissas(node.scale, node.scale_type))
    value = to.scaled(value, fraction - product)
    bias = to.mantissas(node.bias, node.bias_type)
    bias = to.scaled(bias, fraction - node.bias_type.fraction)
    return to.requantised(to.op("Add", value, bias), fraction, node.type)


Layer = kinds.Dense | kinds.Conv2d


def _dense(to: _Builder, node: kinds.Dense, x: Names, t: Types) -> str:
    axis = len(to.network.shapes[node.name])
    if node.accumulator is None or not to.exact:
        total = to.op("MatMul", x[0], to.mantissas(node.weights, node.weight_type))
        return _exact_sum(to, node, total, t[0])
    terms = ((to.slice(x[0], axis, k, k + 1), line) for k, line in enumerate(node.weights))
    return _narrow_sum(to, node, node.accumulator, terms, t[0])


def _exact_sum(to: _Builder, node: Layer, total: str, t: Fixed) -> str:
    product = t.fraction + node.weight_type.fraction
    fraction = max(product, node.bias_type.fraction)
    bias = to.mantissas(node.bias, node.bias_type)
    bias = to.scaled(bias, fraction - node.bias_type.fraction)
    total = to.op("Add", to.scaled(total, fraction - product), bias)
    return to.requantised(total, fraction, node.type)


def _narrow_sum(
    to: _Builder,
    node: Layer,
    narrow: Fixed,
    terms: Iterable[tuple[str, npt.NDArray[Any]]],
    t: Fixed,
) -> str:
    product = t.fraction + node.weight_type.fraction
    start = narrow.requantise(node.bias, node.bias_type.fraction)
    total = to.mantissas(start, narrow)
    for column, weights in terms:
        term = to.op("Mul", column, to.mantissas(weights, node.weight_type))
        total = to.op("Add", total, to.requantised(term, product, narrow))
        total = to.overflowed(total, narrow)
    return to.requantised(total, narrow.fraction, node.type)


def _conv2d(to: _Builder, node: kinds.Conv2d, x: Names, t: Types) -> str:
    """One product a place of the window: onnxruntime's convolution has no float64."""
    above, below, left, right = node.padding
    image = to.op("Pad", x[0], to.integers([0, above, left, 0, 0, below, right, 0]))
    tall, wide, _ = to.network.shapes[node.name]
    rows, columns, channels, _ = node.weights.shape
    down, across = node.stride
    windows = {}
    for i in range(rows):
        strip = to.slice(image, 1, i, i + down * (tall - 1) + 1, down)
        for j in range(columns):
            windows[i, j] = to.slice(strip, 2, j, j + across * (wide - 1) + 1, across)
    if node.accumulator is None or not to.exact:
        total = ""
        for (i, j), window in windows.items():
            weights = to.mantissas(node.weights[i, j], node.weight_type)
            part = to.op("MatMul", window, weights)
            total = to.op("Add", total, part) if total else part
        return _exact_sum(to, node, total, t[0])
    terms = (
        (to.slice(window, 3, k, k + 1), node.weights[i, j, k])
        for (i, j), window in windows.items() for k in range(channels)
    )  # fmt: skip
    return _narrow_sum(to, node, node.accumulator, terms, t[0])


def _maxpool(to: _Builder, node: kinds.MaxPool, x: Names, t: Types) -> str:
    (rows, columns), (tall, wide, channels) = node.window, to.network.shapes[node.name]
    whole = to.slice(to.slice(x[0], 1, 0, rows * tall), 2, 0, columns * wide)
    parts = to.op("Reshape", whole, to.integers([0, tall, rows, wide, columns, channels]))
    return to.op("ReduceMax", parts, to.integers([2, 4]), keepdims=0)


def _relu(to: _Builder, node: kinds.Relu, x: Names, t: Types) -> str:
    return to.requantised(to.op("Relu", x[0]), t[0].fraction, node.type)


def _two(to: _Builder, node: kinds.Binary, x: Names, t: Types) -> str:
    fraction = max(t[0].fraction, t[1].fraction)
    a, b = (len(to.network.shapes[one]) for one in node.sources)
    x = [_with_axes(to, name, own, max(a, b)) for name, own in zip(x, (a, b), strict=True)]
    if node.kind == "multiply":
        return to.requantised(to.op("Mul", *x), t[0].fraction + t[1].fraction, node.type)
    left, right = (to.scaled(name, fraction - one.fraction) for name, one in zip(x, t, strict=True))
    op = "Add" if node.kind == "add" else "Sub"
    return to.requantised(to.op(op, left, right), fraction, node.type)


def _with_axes(to: _Builder, name: str, own: int, wanted: int) -> str:
    """Axes of a sample are added after the batch."""
    if own == wanted:
        return name
    return to.op("Unsqueeze", name, to.integers(range(1, 1 + wanted - own)))


def _sum(to: _Builder, node: kinds.Sum, x: Names, t: Types) -> str:
    axis = node.axis + 1
    if node.accumulator is None or not to.exact:
        total = to.op("ReduceSum", x[0], to.integers([axis]), keepdims=1)
        return to.requantised(total, t[0].fraction, node.type)
    terms = to.requantised(x[0], t[0].fraction, node.accumulator)
    total = ""
    for k in range(to.network.shapes[node.input][node.axis]):
        part = to.slice(terms, axis, k, k + 1)
        total = to.overflowed(to.op("Add", total, part), node.accumulator) if total else part
    return to.requantised(total, node.accumulator.fraction, node.type)


def _max(to: _Builder, node: kinds.Max, x: Names, t: Types) -> str:
    return to.op("ReduceMax", x[0], to.integers([node.axis + 1]), keepdims=1)


def _concat(to: _Builder, node: kinds.Concat, x: Names, t: Types) -> str:
    parts = [to.requantised(a, one.fraction, node.type) for a, one in zip(x, t, strict=True)]
    return to.op("Concat", *parts, axis=len(to.network.shapes[node.name]))


def _select(to: _Builder, node: kinds.Select, x: Names, t: Types) -> str:
    axis = len(to.network.shapes[node.name])
    return to.op("Gather", x[0], to.integers(node.indices), axis=axis)


def _reshape(to: _Builder, node: kinds.Reshape, x: Names, t: Types) -> str:
    return to.op("Reshape", x[0], to.integers([0, *node.shape]))


def _table(to: _Builder, node: kinds.Table, x: Names, t: Types) -> str:
    places = -node.shift if to.exact else t[0].fraction - node.shift
    address = to.op("Mul", x[0], to.number(2.0**places)) if places else x[0]
    if node.toward == "floor":
        address = to.op("Floor", address)
    else:
        address = to.op("Mul", to.op("Floor", to.op("Abs", address)), to.op("Sign", address))
    address = to.op("Add", address, to.number(node.offset))
    address = to.op("Clip", address, to.number(0), to.number(len(node.values) - 1))
    address = to.op("Cast", address, to=to.onnx.TensorProto.INT64)
    return to.op("Gather", to.mantissas(node.values, node.type), address)


_RULES: dict[str, Callable[[_Builder, Any, Names, Types], str]] = {
    "cast": _cast, "normalise": _normalise, "affine": _affine, "dense": _dense,
    "conv2d": _conv2d, "maxpool": _maxpool, "relu": _relu, "add": _two, "subtract": _two,
    "multiply": _two, "sum": _sum, "max": _max, "concat": _concat, "select": _select,
    "reshape": _reshape, "table": _table,
}  # fmt: skip
