"""Interval arithmetic over a network: proof that no sum leaves its host type.

Every element of every tensor gets a range that it cannot leave, whatever the inputs are. From
these follows the largest number that each node handles on its way, all partial sums, alignment
shifts and rounding constants included. It decides which integers of the host a kernel may use, and
below 2**24 or 2**53 whether float32 or float64 carry the integers exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from scout40.emulator.nn import nodes as kinds
from scout40.emulator.nn.fixed import Fixed, Mantissas, Overflow, Rounding
from scout40.emulator.nn.nodes import Fault

LIMIT = 2.0**62
"""Of what int64 may have to hold; bounds beyond 2**53 are themselves rounded."""


class Range(NamedTuple):
    """Smallest and largest mantissa of every element of a tensor; both of its shape."""

    low: Mantissas
    high: Mantissas


@dataclass(frozen=True)
class Certificate:
    """ranges: by tensor. bounds: by node, the largest absolute value of a number on its way."""

    ranges: Mapping[str, Range]
    bounds: Mapping[str, float]

    def bits(self, node: str) -> int:
        """Of the host type that the node needs: 32 or 64."""
        return 32 if self.bounds[node] < 2.0**31 else 64


def input_range(type_: Fixed, shape: kinds.Shape) -> Range:
    """Everything that the type can hold."""
    return Range(np.full(shape, type_.low, np.int64), np.full(shape, type_.high, np.int64))


def range_of(node: kinds.Node, x: list[Range], types: list[Fixed]) -> tuple[Range, float]:
    """Range of the result and the largest number on the way. Raises Fault beyond int64."""
    tracker = _Tracker()
    result = _RULES[node.kind](node, x, types, tracker)
    return Range(*np.broadcast_arrays(*result)), tracker.bound


class _Tracker:
    """Ranges of arithmetic; remembers the largest number that can occur."""

    def __init__(self) -> None:
        self.bound = 0.0

    def meet(self, attribute: str, size: npt.NDArray[np.float64] | float) -> None:
        """Take note of numbers of this absolute size."""
        largest = float(np.max(size, initial=0.0))
        if largest >= LIMIT:
            raise Fault(
                attribute, f"numbers of up to 2**{np.log2(largest):.1f} can occur, more than int64 "
                "holds; use narrower types",
            )  # fmt: skip
        self.bound = max(self.bound, largest)

    def up(self, attribute: str, x: Range, shift: int) -> Range:
        """Mantissas moved up."""
        if not (x.low.any() or x.high.any()):
            return x
        self.meet(attribute, _size(x) * 2.0**shift)
        return Range(x.low << shift, x.high << shift)

    def requantised(self, attribute: str, x: Range, fraction: int, to: Fixed) -> Range:
        """What ``to.requantise`` can give."""
        shift = fraction - to.fraction
        if shift < 0:
            x = self.up(attribute, x, -shift)
        else:
            half = 2.0 ** (shift - 1) if shift and to.rounding is not Rounding.TRN else 0.0
            self.meet(attribute, _size(x) + min(half, LIMIT / 4))
            plain = Fixed(62, 62 - to.fraction, True, to.rounding) if shift else None
            if plain is not None:
                x = Range(plain.requantise(x.low, fraction), plain.requantise(x.high, fraction))
        return self.overflowed(x, to)

    def overflowed(self, x: Range, to: Fixed) -> Range:
        if to.overflow is not Overflow.WRAP:
            return Range(to.overflowed(x.low), to.overflowed(x.high))
        fits = (x.low >= to.low) & (x.high <= to.high)
        return Range(np.where(fits, x.low, to.low), np.where(fits, x.high, to.high))

    def weighted(
        self, attribute: str, x: Range, weights: Mantissas, bias: Mantissas, shift: int
    ) -> Range:
        """Range of (x . weights << shift) + bias, x (..., in), weights (in, out)."""
        size = _size(x) @ np.abs(weights).astype(np.float64)
        self.meet(attribute, size * 2.0**shift + np.abs(bias).astype(np.float64))
        plus, minus = np.maximum(weights, 0), np.minimum(weights, 0)
        low = ((x.low @ plus + x.high @ minus) << shift) + bias
        return Range(low, ((x.high @ plus + x.low @ minus) << shift) + bias)

    def accumulated(self, attribute: str, terms: Range, start: Range, to: Fixed) -> Range:
        """Range of a sum over the first axis, each partial sum in ``to``."""
        size = float(max(abs(to.low), to.high))
        self.meet(attribute, 2.0 * size)
        low = start.low.astype(np.float64) + terms.low.sum(axis=0, dtype=np.float64)
        high = start.high.astype(np.float64) + terms.high.sum(axis=0, dtype=np.float64)
        inside = (low > -size / 2) & (high < size / 2)
        if bool(inside.all()) and float(_size(terms).sum(axis=0).max(initial=0)) < size / 2:
            return Range(low.astype(np.int64), high.astype(np.int64))
        return input_range(to, low.shape)


def _size(x: Range) -> npt.NDArray[np.float64]:
    low, high = np.abs(x.low.astype(np.float64)), np.abs(x.high.astype(np.float64))
    return np.maximum(low, high)


def _cast(node: kinds.Cast, x: list[Range], t: list[Fixed], to: _Tracker) -> Range:
    if not node.features:
        return to.requantised("type", x[0], t[0].fraction, node.type)
    columns = []
    for k, one in enumerate(node.features):
        column = Range(x[0].low[..., k], x[0].high[..., k])
        column = to.requantised("features", column, t[0].fraction, one)
        columns.append(to.requantised("type", column, one.fraction, node.type))
    return _stacked(columns)


def _normalise(node: kinds.Normalise, x: list[Range], t: list[Fixed], to: _Tracker) -> Range:
    fraction = max(t[0].fraction, node.offset_type.fraction)
    offset = to.up("offset", Range(node.offset, node.offset), fraction - node.offset_type.fraction)
    value = to.up("input", x[0], fraction - t[0].fraction)
    value = Range(value.low - offset.high, value.high - offset.low)
    to.meet("offset", _size(value))
    columns = []
    for k, shift in enumerate(node.shift.tolist()):
        column, places = Range(value.low[..., k], value.high[..., k]), fraction + shift
        if node.accumulator is not None:
            column = to.requantised("accumulator", column, fraction, node.accumulator)
            places = node.accumulator.fraction
            column = to.requantised("accumulator", column, places + shift, node.accumulator)
        columns.append(to.requantised("type", column, places, node.type))
    return _stacked(columns)


def _affine(node: kinds.Affine, x: list[Range], t: list[Fixed], to: _Tracker) -> Range:
    product = t[0].fraction + node.scale_type.fraction
    fraction = max(product, node.bias_type.fraction)
    to.meet("scale", _size(x[0]) * np.abs(node.scale))
    low, high = x[0].low * node.scale, x[0].high * node.scale
    value = to.up("scale", Range(np.minimum(low, high), np.maximum(low, high)), fraction - product)
    bias = to.up("bias", Range(node.bias, node.bias), fraction - node.bias_type.fraction)
    to.meet("bias", _size(value) + _size(bias))
    total = Range(value.low + bias.low, value.high + bias.high)
    return to.requantised("type", total, fraction, node.type)


def _dense(node: kinds.Dense | kinds.Conv2d, x: list[Range], t: list[Fixed], to: _Tracker) -> Range:
    return _matrix(node, x[0], node.weights, t[0], to)


def _matrix(
    node: kinds.Dense | kinds.Conv2d, x: Range, weights: Mantissas, t: Fixed, to: _Tracker
) -> Range:
    """x (..., in) times weights (in, out), bias and accumulator of the node."""
    product = t.fraction + node.weight_type.fraction
    start = Range(node.bias, node.bias)
    if node.accumulator is None:
        fraction = max(product, node.bias_type.fraction)
        start = to.up("bias", start, fraction - node.bias_type.fraction)
        total = to.weighted("weights", x, weights, start.low, fraction - product)
        return to.requantised("type", total, fraction, node.type)
    to.meet("weights", _size(x).max(initial=0) * float(np.abs(weights).max(initial=0)))
    ends = np.stack([x.low[..., None] * weights, x.high[..., None] * weights])
    terms = Range(np.moveaxis(ends.min(axis=0), -2, 0), np.moveaxis(ends.max(axis=0), -2, 0))
    terms = to.requantised("accumulator", terms, product, node.accumulator)
    start = to.requantised("bias", start, node.bias_type.fraction, node.accumulator)
    total = to.accumulated("accumulator", terms, start, node.accumulator)
    return to.requantised("type", total, node.accumulator.fraction, node.type)


def _conv2d(node: kinds.Conv2d, x: list[Range], t: list[Fixed], to: _Tracker) -> Range:
    rows, columns, channels, outputs = node.weights.shape
    # One range a channel, over all places and the padding; the same at every place of the result.
    low = np.minimum(x[0].low.min(axis=(0, 1)), 0)
    high = np.maximum(x[0].high.max(axis=(0, 1)), 0)
    window = Range(np.tile(low, rows * columns), np.tile(high, rows * columns))
    matrix = node.weights.reshape(rows * columns * channels, outputs)
    found = _matrix(node, window, matrix, t[0], to)
    shape, _ = node.result([x[0].low.shape], t)
    return Range(np.broadcast_to(found.low, shape), np.broadcast_to(found.high, shape))


def _maxpool(node: kinds.MaxPool, x: list[Range], t: list[Fixed], to: _Tracker) -> Range:
    to.meet("input", _size(x[0]))
    shape, _ = node.result([x[0].low.shape], t)
    (rows, columns), (tall, wide, channels) = node.window, shape

    def largest(values: Mantissas) -> Mantissas:
        whole = values[: tall * rows, : wide * columns]
        found: Mantissas = whole.reshape(tall, rows, wide, columns, channels).max(axis=(1, 3))
        return found

    return Range(largest(x[0].low), largest(x[0].high))


def _relu(node: kinds.Relu, x: list[Range], t: list[Fixed], to: _Tracker) -> Range:
    positive = Range(np.maximum(x[0].low, 0), np.maximum(x[0].high, 0))
    to.meet("input", _size(x[0]))
    return to.requantised("type", positive, t[0].fraction, node.type)


def _sum_of_two(node: kinds.Binary, x: list[Range], t: list[Fixed], to: _Tracker) -> Range:
    fraction = max(t[0].fraction, t[1].fraction)
    a = to.up("left", x[0], fraction - t[0].fraction)
    b = to.up("right", x[1], fraction - t[1].fraction)
    if node.kind == "subtract":
        b = Range(-b.high, -b.low)
    total = Range(a.low + b.low, a.high + b.high)
    to.meet("type", _size(a) + np.zeros(total.low.shape))
    to.meet("type", _size(b) + _size(a))
    return to.requantised("type", total, fraction, node.type)


def _multiply(node: kinds.Multiply, x: list[Range], t: list[Fixed], to: _Tracker) -> Range:
    to.meet("type", _size(x[0]) * _size(x[1]))
    a, b = x
    ends = np.stack([a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high])
    product = Range(ends.min(axis=0), ends.max(axis=0))
    if node.left == node.right:
        product = Range(np.where((a.low <= 0) & (a.high >= 0), 0, ends[[0, 3]].min(axis=0)),
                        product.high)  # fmt: skip
    return to.requantised("type", product, t[0].fraction + t[1].fraction, node.type)


def _sum(node: kinds.Sum, x: list[Range], t: list[Fixed], to: _Tracker) -> Range:
    if node.accumulator is None:
        to.meet("axis", _size(x[0]).sum(axis=node.axis))
        total = Range(*(end.sum(axis=node.axis, keepdims=True) for end in x[0]))
        return to.requantised("type", total, t[0].fraction, node.type)
    terms = to.requantised("accumulator", x[0], t[0].fraction, node.accumulator)
    terms = Range(*(np.moveaxis(end, node.axis, 0) for end in terms))
    zero = np.zeros(terms.low.shape[1:], np.int64)
    total = to.accumulated("accumulator", terms, Range(zero, zero), node.accumulator)
    total = Range(*(np.expand_dims(end, node.axis) for end in total))
    return to.requantised("type", total, node.accumulator.fraction, node.type)


def _max(node: kinds.Max, x: list[Range], t: list[Fixed], to: _Tracker) -> Range:
    to.meet("input", _size(x[0]))
    return Range(*(end.max(axis=node.axis, keepdims=True) for end in x[0]))


def _concat(node: kinds.Concat, x: list[Range], t: list[Fixed], to: _Tracker) -> Range:
    parts = [
        to.requantised("type", a, one.fraction, node.type) for a, one in zip(x, t, strict=True)
    ]
    return Range(*(np.concatenate(ends, axis=-1) for ends in zip(*parts, strict=True)))


def _select(node: kinds.Select, x: list[Range], t: list[Fixed], to: _Tracker) -> Range:
    return Range(*(end[..., list(node.indices)] for end in x[0]))


def _reshape(node: kinds.Reshape, x: list[Range], t: list[Fixed], to: _Tracker) -> Range:
    return Range(*(end.reshape(node.shape) for end in x[0]))


def _table(node: kinds.Table, x: list[Range], t: list[Fixed], to: _Tracker) -> Range:
    up = 2.0 ** max(0, -node.shift)
    to.meet("shift", _size(x[0]) * up + float(abs(node.offset) + len(node.values)))
    to.meet("values", float(np.abs(node.values).max()))
    shape = x[0].low.shape
    return Range(np.full(shape, node.values.min()), np.full(shape, node.values.max()))


def _stacked(columns: list[Range]) -> Range:
    return Range(*(np.stack(ends, axis=-1) for ends in zip(*columns, strict=True)))


_RULES: dict[str, Callable[[Any, list[Range], list[Fixed], _Tracker], Range]] = {
    "cast": _cast, "normalise": _normalise, "affine": _affine, "dense": _dense,
    "conv2d": _conv2d, "maxpool": _maxpool, "relu": _relu, "add": _sum_of_two,
    "subtract": _sum_of_two, "multiply": _multiply, "sum": _sum, "max": _max, "concat": _concat,
    "select": _select, "reshape": _reshape, "table": _table,
}  # fmt: skip
