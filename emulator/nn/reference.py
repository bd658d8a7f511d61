"""What a network computes: int64 arithmetic in NumPy, node by node. This is the definition.

The compiled kernels, ONNX files and firmware must give the same integers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.emulator.nn import nodes as kinds
from scout40.emulator.nn.fixed import Fixed, Mantissas
from scout40.emulator.nn.network import Network
from scout40.streams.errors import BadInput

CHUNK = 1 << 14
"""Samples at a time."""


def infer(network: Network, x: npt.NDArray[Any]) -> Mantissas:
    """Outputs (n, n_outputs) of inputs (n, n_inputs), both mantissas of their declared types.

    Raises BadInput for another shape or dtype or for numbers outside the type of an input.
    """
    x = checked(network, x)
    out = np.empty((len(x), network.n_outputs), np.int64)
    for first in range(0, len(x), CHUNK):
        tensors = _evaluate(network, x[first : first + CHUNK])
        rows = out[first : first + CHUNK]
        rows[:] = np.concatenate(
            [tensors[one.name].reshape(len(rows), -1) for one in network.outputs], axis=1
        )
    return out


def evaluate(network: Network, x: npt.NDArray[Any]) -> dict[str, Mantissas]:
    """Every tensor by name, (n, *shape), for inputs as in ``infer``."""
    return _evaluate(network, checked(network, x))


def checked(network: Network, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The inputs, if they can be used; see ``infer`` for errors."""
    x = np.asarray(x)
    if x.ndim != 2 or x.shape[1] != network.n_inputs or x.dtype.kind not in "iu":
        raise BadInput(
            f"network {network.name}: inputs are {x.dtype} {x.shape}, expected integers "
            f"(n, {network.n_inputs})"
        )
    first = 0
    for one in network.inputs:
        last = first + kinds.elements(one.shape)
        if not one.type.holds(x[:, first:last]):
            raise BadInput(
                f"network {network.name}, input {one.name}: mantissas outside {one.type}: "
                f"{one.type.low} to {one.type.high}"
            )
        first = last
    return x


def _evaluate(network: Network, x: npt.NDArray[Any]) -> dict[str, Mantissas]:
    tensors: dict[str, Mantissas] = {}
    first = 0
    for one in network.inputs:
        last = first + kinds.elements(one.shape)
        tensors[one.name] = x[:, first:last].astype(np.int64).reshape(-1, *one.shape)
        first = last
    for node in network.nodes:
        sources = [tensors[name] for name in node.sources]
        tensors[node.name] = _RULES[node.kind](
            node, sources, [network.types[name] for name in node.sources]
        )
    return tensors


def _cast(node: kinds.Cast, x: list[Mantissas], t: list[Fixed]) -> Mantissas:
    if not node.features:
        return node.type.requantise(x[0], t[0].fraction)
    columns = [
        node.type.requantise(one.requantise(x[0][..., k], t[0].fraction), one.fraction)
        for k, one in enumerate(node.features)
    ]
    return np.stack(columns, axis=-1)


def _normalise(node: kinds.Normalise, x: list[Mantissas], t: list[Fixed]) -> Mantissas:
    fraction, left, right = _aligned(t[0], node.offset_type)
    value = (x[0] << left) - (node.offset << right)
    columns = []
    for k, shift in enumerate(node.shift.tolist()):
        column, places = value[..., k], fraction + shift
        if node.accumulator is not None:
            column = node.accumulator.requantise(column, fraction)
            places = node.accumulator.fraction
            column = node.accumulator.requantise(column, places + shift)
        columns.append(node.type.requantise(column, places))
    return np.stack(columns, axis=-1)


def _affine(node: kinds.Affine, x: list[Mantissas], t: list[Fixed]) -> Mantissas:
    product = t[0].fraction + node.scale_type.fraction
    fraction = max(product, node.bias_type.fraction)
    value = (x[0] * node.scale) << (fraction - product)
    return node.type.requantise(
        value + (node.bias << (fraction - node.bias_type.fraction)), fraction
    )


def _dense(node: kinds.Dense, x: list[Mantissas], t: list[Fixed]) -> Mantissas:
    if node.accumulator is None:
        return _exact_sum(node, x[0] @ node.weights, t[0])
    columns = (x[0][..., k, None] for k in range(x[0].shape[-1]))
    return _narrow_sum(node, node.accumulator, zip(columns, node.weights, strict=True), t[0])


def _conv2d(node: kinds.Conv2d, x: list[Mantissas], t: list[Fixed]) -> Mantissas:
    above, below, left, right = node.padding
    image = np.pad(x[0], ((0, 0), (above, below), (left, right), (0, 0)))
    rows, columns, channels, _ = node.weights.shape
    down, across = node.stride
    tall = (image.shape[1] - rows) // down + 1
    wide = (image.shape[2] - columns) // across + 1

    def window(row: int, column: int) -> Mantissas:
        return image[:, row : row + down * tall : down, column : column + across * wide : across][
            :, :tall, :wide
        ]

    if node.accumulator is None:
        total = sum(window(i, j) @ node.weights[i, j] for i in range(rows) for j in range(columns))
        return _exact_sum(node, np.asarray(total), t[0])
    terms = (
        (window(i, j)[..., k, None], node.weights[i, j, k])
        for i in range(rows) for j in range(columns) for k in range(channels)
    )  # fmt: skip
    return _narrow_sum(node, node.accumulator, terms, t[0])


def _exact_sum(node: kinds.Dense | kinds.Conv2d, total: Mantissas, t: Fixed) -> Mantissas:
    product = t.fraction + node.weight_type.fraction
    fraction = max(product, node.bias_type.fraction)
    bias = node.bias << (fraction - node.bias_type.fraction)
    return node.type.requantise((total << (fraction - product)) + bias, fraction)


def _narrow_sum(
    node: kinds.Dense | kinds.Conv2d,
    accumulator: Fixed,
    terms: Iterable[tuple[Mantissas, Mantissas]],
    t: Fixed,
) -> Mantissas:
    """The bias, then product after product, each of them and each sum in ``accumulator``."""
    product = t.fraction + node.weight_type.fraction
    total = accumulator.requantise(node.bias, node.bias_type.fraction)
    for column, weights in terms:
        total = accumulator.overflowed(total + accumulator.requantise(column * weights, product))
    return node.type.requantise(total, accumulator.fraction)


def _maxpool(node: kinds.MaxPool, x: list[Mantissas], t: list[Fixed]) -> Mantissas:
    rows, columns = node.window
    n, height, width, channels = x[0].shape
    tall, wide = height // rows, width // columns
    whole = x[0][:, : tall * rows, : wide * columns]
    largest: Mantissas = whole.reshape(n, tall, rows, wide, columns, channels).max(axis=(2, 4))
    return largest


def _relu(node: kinds.Relu, x: list[Mantissas], t: list[Fixed]) -> Mantissas:
    return node.type.requantise(np.maximum(x[0], 0), t[0].fraction)


def _add(node: kinds.Add, x: list[Mantissas], t: list[Fixed]) -> Mantissas:
    fraction, left, right = _aligned(*t)
    a, b = _broadcast(x)
    return node.type.requantise((a << left) + (b << right), fraction)


def _subtract(node: kinds.Subtract, x: list[Mantissas], t: list[Fixed]) -> Mantissas:
    fraction, left, right = _aligned(*t)
    a, b = _broadcast(x)
    return node.type.requantise((a << left) - (b << right), fraction)


def _multiply(node: kinds.Multiply, x: list[Mantissas], t: list[Fixed]) -> Mantissas:
    a, b = _broadcast(x)
    return node.type.requantise(a * b, t[0].fraction + t[1].fraction)


def _sum(node: kinds.Sum, x: list[Mantissas], t: list[Fixed]) -> Mantissas:
    axis = node.axis + 1
    if node.accumulator is None:
        return node.type.requantise(x[0].sum(axis=axis, keepdims=True), t[0].fraction)
    terms = node.accumulator.requantise(x[0], t[0].fraction)
    total = np.zeros_like(terms.take([0], axis))
    for k in range(terms.shape[axis]):
        total = node.accumulator.overflowed(total + terms.take([k], axis))
    return node.type.requantise(total, node.accumulator.fraction)


def _max(node: kinds.Max, x: list[Mantissas], t: list[Fixed]) -> Mantissas:
    largest: Mantissas = x[0].max(axis=node.axis + 1, keepdims=True)
    return largest


def _concat(node: kinds.Concat, x: list[Mantissas], t: list[Fixed]) -> Mantissas:
    parts = [node.type.requantise(a, one.fraction) for a, one in zip(x, t, strict=True)]
    return np.concatenate(parts, axis=-1)


def _select(node: kinds.Select, x: list[Mantissas], t: list[Fixed]) -> Mantissas:
    return x[0][..., list(node.indices)]


def _reshape(node: kinds.Reshape, x: list[Mantissas], t: list[Fixed]) -> Mantissas:
    return x[0].reshape(len(x[0]), *node.shape)


def _table(node: kinds.Table, x: list[Mantissas], t: list[Fixed]) -> Mantissas:
    address = x[0]
    if node.shift < 0:
        address = address << -node.shift
    elif node.toward == "floor":
        address = address >> node.shift
    else:
        address = np.sign(address) * (np.abs(address) >> node.shift)
    return node.values[np.clip(address + node.offset, 0, len(node.values) - 1)]


def _aligned(left: Fixed, right: Fixed) -> tuple[int, int, int]:
    """The finer fraction of two types, and how far each mantissa moves up to it."""
    fraction = max(left.fraction, right.fraction)
    return fraction, fraction - left.fraction, fraction - right.fraction


def _broadcast(x: list[Mantissas]) -> tuple[Mantissas, Mantissas]:
    """Two tensors with equally many axes; those of a sample are added after the batch."""
    a, b = x
    axes = max(a.ndim, b.ndim)
    return (
        a.reshape(len(a), *(1,) * (axes - a.ndim), *a.shape[1:]),
        b.reshape(len(b), *(1,) * (axes - b.ndim), *b.shape[1:]),
    )


_RULES: dict[str, Callable[[Any, list[Mantissas], list[Fixed]], Mantissas]] = {
    "cast": _cast, "normalise": _normalise, "affine": _affine, "dense": _dense,
    "conv2d": _conv2d, "maxpool": _maxpool, "relu": _relu, "add": _add, "subtract": _subtract,
    "multiply": _multiply, "sum": _sum, "max": _max, "concat": _concat, "select": _select,
    "reshape": _reshape, "table": _table,
}  # fmt: skip
