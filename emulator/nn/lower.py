"""A network as a list of scalar steps: what both compiled kernels are made from.

Each element of each tensor that has to be computed becomes one row: a sum of products, a product,
a maximum or a table, and then a requantisation. Shapes, selections and casts that change nothing
are gone.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.emulator.nn import nodes as kinds
from scout40.emulator.nn.fixed import Fixed
from scout40.emulator.nn.network import Network
from scout40.emulator.nn.program import Program, Quant, Row

Rows = npt.NDArray[np.int64]
"""Numbers of rows, in the shape of a tensor."""

MAX_TERMS = 2_000_000
"""Beyond this many products a network is not lowered."""


def lower(network: Network) -> Program | None:
    """The program of a network; None when it has more than MAX_TERMS products."""
    program = Program(network.n_inputs)
    tensors: dict[str, Rows] = {}
    for one in network.inputs:
        first = len(program.rows)
        count = kinds.elements(one.shape)
        tensors[one.name] = np.arange(first, first + count).reshape(one.shape)
        program.rows += [Row("sum", [], low=one.type.low, high=one.type.high) for _ in range(count)]
    for node in network.nodes:
        if program.terms + _terms_of(node, network) > MAX_TERMS:
            return None
        types = [network.types[name] for name in node.sources]
        tensors[node.name] = _LOWER[node.kind](
            program, node, [tensors[name] for name in node.sources], types
        )
    program.outputs = [int(row) for one in network.outputs for row in tensors[one.name].reshape(-1)]
    return _without_unused(program)


def _terms_of(node: kinds.Node, network: Network) -> int:
    size = kinds.elements(network.shapes[node.name])
    if isinstance(node, kinds.Dense | kinds.Conv2d):
        return size * int(node.weights.size // node.weights.shape[-1])
    return max(size, kinds.elements(network.shapes[node.sources[0]]))


def _without_unused(program: Program) -> Program:
    """Rows that no output needs are dropped; activations move into the sums before them."""
    uses = [0] * len(program.rows)
    for number in program.outputs:
        uses[number] += 1
    for number in range(len(program.rows) - 1, -1, -1):
        if uses[number]:
            for source, _ in program.rows[number].terms:
                uses[source] += 1
    kept = Program(program.n_inputs, program.rows[: program.n_inputs])
    place = list(range(program.n_inputs))
    for number, row in enumerate(program.rows[program.n_inputs :], program.n_inputs):
        place.append(-1)
        if not uses[number]:
            continue
        row.terms = [(place[source], factor) for source, factor in row.terms]
        if _joins(row, kept, uses):
            before = kept.rows[row.terms[0][0]]
            before.relu, before.low, before.high = True, row.low, row.high
            place[number] = row.terms[0][0]
            uses[place[number]] = uses[number]
            continue
        place[number] = len(kept.rows)
        kept.rows.append(row)
        kept.terms += len(row.terms)
        uses[place[number]] = uses[number]  # counted by new numbers, which are never larger
    kept.outputs = [place[number] for number in program.outputs]
    return kept


def _joins(row: Row, kept: Program, uses: list[int]) -> bool:
    """Whether a plain activation can be done inside the row before it, which nothing else reads."""
    if row.op != "sum" or not row.relu or row.bias or len(row.terms) != 1 or row.terms[0][1] != 1:
        return False
    source = row.terms[0][0]
    before = kept.rows[source]
    if row.outer is not None or source < kept.n_inputs or uses[source] != 1 or before.relu:
        return False
    return before.op in ("sum", "narrow") and (before.outer is None or before.outer.monotone)


Lowered = Callable[[Program, Any, list[Rows], list[Fixed]], Rows]


def _each(rows: Rows, made: Callable[[int, int], int]) -> Rows:
    """``made(row, feature)`` for every element."""
    flat = rows.reshape(-1, rows.shape[-1])
    new = [[made(int(row), k) for k, row in enumerate(line)] for line in flat]
    return np.array(new, np.int64).reshape(rows.shape)


def _cast(program: Program, node: kinds.Cast, x: list[Rows], t: list[Fixed]) -> Rows:
    def made(row: int, k: int) -> int:
        fraction = t[0].fraction
        if node.features:
            row = _requantised(program, row, fraction, node.features[k])
            fraction = node.features[k].fraction
        return _requantised(program, row, fraction, node.type)

    return _each(x[0], made)


def _requantised(
    program: Program, row: int, fraction: int, to: Fixed, *, relu: bool = False
) -> int:
    outer = Quant(fraction - to.fraction, to)
    return program.add(Row("sum", [(row, 1)], outer=outer, relu=relu))


def _normalise(program: Program, node: kinds.Normalise, x: list[Rows], t: list[Fixed]) -> Rows:
    fraction = max(t[0].fraction, node.offset_type.fraction)
    factor = 1 << (fraction - t[0].fraction)
    up = fraction - node.offset_type.fraction
    narrow = node.accumulator

    def made(row: int, k: int) -> int:
        offset, shift = int(node.offset[k]) << up, int(node.shift[k])
        if narrow is None:
            outer = Quant(fraction + shift - node.type.fraction, node.type)
            return program.add(Row("sum", [(row, factor)], -offset, outer=outer))
        first = Quant(fraction - narrow.fraction, narrow)
        row = program.add(Row("sum", [(row, factor)], -offset, outer=first))
        row = _requantised(program, row, narrow.fraction + shift, narrow)
        return _requantised(program, row, narrow.fraction, node.type)

    return _each(x[0], made)


def _affine(program: Program, node: kinds.Affine, x: list[Rows], t: list[Fixed]) -> Rows:
    product = t[0].fraction + node.scale_type.fraction
    fraction = max(product, node.bias_type.fraction)
    outer = Quant(fraction - node.type.fraction, node.type)

    def made(row: int, k: int) -> int:
        scale = int(node.scale[k]) << (fraction - product)
        bias = int(node.bias[k]) << (fraction - node.bias_type.fraction)
        return program.add(Row("sum", [(row, scale)], bias, outer=outer))

    return _each(x[0], made)


def _weighted(
    program: Program, node: kinds.Dense | kinds.Conv2d, t: Fixed,
    terms: Iterable[tuple[int, int]], output: int,
) -> int:  # fmt: skip
    """One output of a dense layer or a convolution; terms are (row, weight), zeros included."""
    product = t.fraction + node.weight_type.fraction
    bias, places = int(node.bias[output]), node.bias_type.fraction
    used = [(row, weight) for row, weight in terms if weight]
    if node.accumulator is None:
        fraction = max(product, places)
        outer = Quant(fraction - node.type.fraction, node.type)
        used = [(row, weight << (fraction - product)) for row, weight in used]
        return program.add(Row("sum", used, bias << (fraction - places), outer=outer))
    narrow = node.accumulator
    start = int(narrow.requantise(np.array([bias]), places)[0])
    return program.add(
        Row("narrow", used, start, inner=Quant(product - narrow.fraction, narrow),
            outer=Quant(narrow.fraction - node.type.fraction, node.type))
    )  # fmt: skip


def _dense(program: Program, node: kinds.Dense, x: list[Rows], t: list[Fixed]) -> Rows:
    columns = node.weights.T.tolist()
    lines = [
        [_weighted(program, node, t[0], zip(line, column, strict=True), k)
         for k, column in enumerate(columns)]
        for line in x[0].reshape(-1, x[0].shape[-1]).tolist()
    ]  # fmt: skip
    return np.array(lines, np.int64).reshape(*x[0].shape[:-1], len(columns))


def _conv2d(program: Program, node: kinds.Conv2d, x: list[Rows], t: list[Fixed]) -> Rows:
    rows, columns, _, outputs = node.weights.shape
    above, below, left, right = node.padding
    image = np.pad(x[0], ((above, below), (left, right), (0, 0)), constant_values=-1)
    (tall, wide, _), _ = node.result([x[0].shape], t)
    matrix = node.weights.reshape(-1, outputs).T.tolist()
    found = np.empty((tall, wide, outputs), np.int64)
    for i, j in itertools.product(range(tall), range(wide)):
        top, side = i * node.stride[0], j * node.stride[1]
        window = image[top : top + rows, side : side + columns].reshape(-1).tolist()
        for k, weights in enumerate(matrix):
            terms = [(row, w) for row, w in zip(window, weights, strict=True) if row >= 0]
            found[i, j, k] = _weighted(program, node, t[0], terms, k)
    return found


def _maxpool(program: Program, node: kinds.MaxPool, x: list[Rows], t: list[Fixed]) -> Rows:
    shape, _ = node.result([x[0].shape], t)
    found = np.empty(shape, np.int64)
    high, wide = node.window
    for i, j, k in np.ndindex(*shape):
        window = x[0][i * high : (i + 1) * high, j * wide : (j + 1) * wide, k]
        found[i, j, k] = _largest(program, window.reshape(-1).tolist())
    return found


def _largest(program: Program, rows: list[int]) -> int:
    return program.add(Row("max", [(row, 1) for row in rows])) if len(rows) > 1 else rows[0]


def _relu(program: Program, node: kinds.Relu, x: list[Rows], t: list[Fixed]) -> Rows:
    fraction = t[0].fraction
    return _each(x[0], lambda row, k: _requantised(program, row, fraction, node.type, relu=True))


def _binary(program: Program, node: kinds.Binary, x: list[Rows], t: list[Fixed]) -> Rows:
    left, right = np.broadcast_arrays(*x)
    fraction = max(t[0].fraction, t[1].fraction)
    a, b = (1 << (fraction - one.fraction) for one in t)
    if node.kind == "multiply":
        fraction, a, b = t[0].fraction + t[1].fraction, 1, 1
    outer = Quant(fraction - node.type.fraction, node.type)

    def made(one: int, other: int) -> int:
        if node.kind == "multiply":
            return program.add(Row("product", [(one, 1), (other, 1)], outer=outer))
        factor = -b if node.kind == "subtract" else b
        return program.add(Row("sum", [(one, a), (other, factor)], outer=outer))

    pairs = zip(left.reshape(-1).tolist(), right.reshape(-1).tolist(), strict=True)
    return np.array([made(*pair) for pair in pairs], np.int64).reshape(left.shape)


def _sum(program: Program, node: kinds.Sum, x: list[Rows], t: list[Fixed]) -> Rows:
    narrow = node.accumulator

    def made(rows: list[int]) -> int:
        terms = [(row, 1) for row in rows]
        if narrow is None:
            outer = Quant(t[0].fraction - node.type.fraction, node.type)
            return program.add(Row("sum", terms, outer=outer))
        outer = Quant(narrow.fraction - node.type.fraction, node.type)
        inner = Quant(t[0].fraction - narrow.fraction, narrow)
        return program.add(Row("narrow", terms, inner=inner, outer=outer))

    return _over_axis(x[0], node.axis, made)


def _over_axis(rows: Rows, axis: int, made: Callable[[list[int]], int]) -> Rows:
    lines = np.moveaxis(rows, axis, -1)
    found = [made(line) for line in lines.reshape(-1, lines.shape[-1]).tolist()]
    return np.expand_dims(np.array(found, np.int64).reshape(lines.shape[:-1]), axis)


def _max(program: Program, node: kinds.Max, x: list[Rows], t: list[Fixed]) -> Rows:
    return _over_axis(x[0], node.axis, lambda rows: _largest(program, rows))


def _moved(program: Program, fraction: int, to: Fixed, row: int, k: int) -> int:
    return _requantised(program, row, fraction, to)


def _concat(program: Program, node: kinds.Concat, x: list[Rows], t: list[Fixed]) -> Rows:
    parts = [
        _each(rows, functools.partial(_moved, program, one.fraction, node.type))
        for rows, one in zip(x, t, strict=True)
    ]
    return np.concatenate(parts, axis=-1)


def _select(program: Program, node: kinds.Select, x: list[Rows], t: list[Fixed]) -> Rows:
    return x[0][..., list(node.indices)]


def _reshape(program: Program, node: kinds.Reshape, x: list[Rows], t: list[Fixed]) -> Rows:
    return x[0].reshape(node.shape)


def _table(program: Program, node: kinds.Table, x: list[Rows], t: list[Fixed]) -> Rows:
    return _each(x[0], lambda row, k: program.add(Row("table", [(row, 1)], table=node)))


_LOWER: dict[str, Lowered] = {
    "cast": _cast, "normalise": _normalise, "affine": _affine, "dense": _dense,
    "conv2d": _conv2d, "maxpool": _maxpool, "relu": _relu, "add": _binary, "subtract": _binary,
    "multiply": _binary, "sum": _sum, "max": _max, "concat": _concat, "select": _select,
    "reshape": _reshape, "table": _table,
}  # fmt: skip
