"""The kinds of node of a network: what each one has, and which shape and type come out of it.

Tensors are named. Their shape is that of one sample, without the batch; the last axis holds the
features. Every attribute of a node is a key of the file, see docs/networks.md, which also defines
the arithmetic; ``reference.py`` is that definition as a program.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from scout40.emulator.nn.fixed import MAX_WIDTH, Fixed, Mantissas

Shape = tuple[int, ...]
Accumulator = Fixed | None
"""Type to which every term and every partial sum is brought; None: sums are exact."""

MAX_SHIFT = 64
MAX_ELEMENTS = 1 << 20
"""Of a tensor, for one sample."""


class Fault(Exception):
    """A node cannot be used: (attribute, what is wrong with it)."""

    def __init__(self, attribute: str, message: str) -> None:
        super().__init__(f"{attribute}: {message}")


@dataclass(frozen=True, eq=False)
class Node(ABC):
    """Base of all kinds: the name of the tensor that the node makes."""

    kind: ClassVar[str] = ""
    name: str

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the tensors that it reads."""
        found: list[str] = []
        for one in fields(self):
            if one.name in ("input", "left", "right"):
                found.append(getattr(self, one.name))
            elif one.name == "inputs":
                found += getattr(self, one.name)
        return tuple(found)

    @abstractmethod
    def result(self, shapes: list[Shape], types: list[Fixed]) -> tuple[Shape, Fixed]:
        """Shape and type of the tensor, from those of the sources. Raises Fault."""


@dataclass(frozen=True, eq=False)
class Cast(Node):
    """Requantise. ``features``: one type for each feature first, then ``type`` for all."""

    kind = "cast"
    input: str
    type: Fixed
    features: tuple[Fixed, ...] = ()

    def result(self, shapes: list[Shape], types: list[Fixed]) -> tuple[Shape, Fixed]:
        if self.features and len(self.features) != shapes[0][-1]:
            raise Fault(
                "features", f"{len(self.features)} types, expected one for each of the "
                f"{shapes[0][-1]} features",
            )  # fmt: skip
        return shapes[0], self.type


@dataclass(frozen=True, eq=False)
class Normalise(Node):
    """(input - offset) / 2**shift, per feature; both steps in ``accumulator``."""

    kind = "normalise"
    input: str
    offset: Mantissas
    offset_type: Fixed
    shift: Mantissas
    accumulator: Accumulator
    type: Fixed

    def result(self, shapes: list[Shape], types: list[Fixed]) -> tuple[Shape, Fixed]:
        _array("offset", self.offset, (shapes[0][-1],), self.offset_type)
        _array("shift", self.shift, (shapes[0][-1],), None)
        if np.abs(self.shift).max(initial=0) > MAX_SHIFT:
            raise Fault("shift", f"beyond {MAX_SHIFT} bits either way")
        return shapes[0], self.type


@dataclass(frozen=True, eq=False)
class Affine(Node):
    """input * scale + bias, per feature; the sum is exact until ``type``."""

    kind = "affine"
    input: str
    scale: Mantissas
    scale_type: Fixed
    bias: Mantissas
    bias_type: Fixed
    type: Fixed

    def result(self, shapes: list[Shape], types: list[Fixed]) -> tuple[Shape, Fixed]:
        _array("scale", self.scale, (shapes[0][-1],), self.scale_type)
        _array("bias", self.bias, (shapes[0][-1],), self.bias_type)
        return shapes[0], self.type


@dataclass(frozen=True, eq=False)
class Dense(Node):
    """input . weights + bias over the last axis; weights are (in, out)."""

    kind = "dense"
    input: str
    weights: Mantissas
    weight_type: Fixed
    bias: Mantissas
    bias_type: Fixed
    accumulator: Accumulator
    type: Fixed

    def result(self, shapes: list[Shape], types: list[Fixed]) -> tuple[Shape, Fixed]:
        inputs = shapes[0][-1]
        if self.weights.ndim != 2 or self.weights.shape[0] != inputs:
            raise Fault("weights", f"shape {self.weights.shape}, expected ({inputs}, outputs)")
        _array("weights", self.weights, self.weights.shape, self.weight_type)
        _array("bias", self.bias, self.weights.shape[1:], self.bias_type)
        return (*shapes[0][:-1], self.weights.shape[1]), self.type


@dataclass(frozen=True, eq=False)
class Conv2d(Node):
    """Two-dimensional convolution of (height, width, in) with weights (rows, columns, in, out).

    stride: (down, right). padding: zeros (above, below, left, right).
    """

    kind = "conv2d"
    input: str
    weights: Mantissas
    weight_type: Fixed
    bias: Mantissas
    bias_type: Fixed
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    accumulator: Accumulator
    type: Fixed

    def result(self, shapes: list[Shape], types: list[Fixed]) -> tuple[Shape, Fixed]:
        height, width, channels = _image(shapes[0])
        shape = self.weights.shape
        if len(shape) != 4 or shape[2] != channels:
            raise Fault("weights", f"shape {shape}, expected (rows, columns, {channels}, outputs)")
        _array("weights", self.weights, shape, self.weight_type)
        _array("bias", self.bias, shape[3:], self.bias_type)
        _integers("stride", self.stride, 2, 1, 64)
        _integers("padding", self.padding, 4, 0, 64)
        above, below, left, right = self.padding
        tall, wide = height + above + below - shape[0], width + left + right - shape[1]
        if tall < 0 or wide < 0:
            raise Fault("weights", f"window {shape[:2]} larger than the padded image")
        return (tall // self.stride[0] + 1, wide // self.stride[1] + 1, shape[3]), self.type


@dataclass(frozen=True, eq=False)
class MaxPool(Node):
    """Largest of each window of (height, width, features); windows do not overlap."""

    kind = "maxpool"
    input: str
    window: tuple[int, ...]

    def result(self, shapes: list[Shape], types: list[Fixed]) -> tuple[Shape, Fixed]:
        height, width, channels = _image(shapes[0])
        _integers("window", self.window, 2, 1, 1 << 16)
        if height < self.window[0] or width < self.window[1]:
            raise Fault("window", f"{self.window} larger than the image {shapes[0]}")
        return (height // self.window[0], width // self.window[1], channels), types[0]


@dataclass(frozen=True, eq=False)
class Relu(Node):
    """The larger of input and 0."""

    kind = "relu"
    input: str
    type: Fixed

    def result(self, shapes: list[Shape], types: list[Fixed]) -> tuple[Shape, Fixed]:
        return shapes[0], self.type


@dataclass(frozen=True, eq=False)
class Binary(Node):
    """Base of the kinds with two inputs, whose shapes are broadcast as in NumPy."""

    left: str
    right: str
    type: Fixed

    def result(self, shapes: list[Shape], types: list[Fixed]) -> tuple[Shape, Fixed]:
        try:
            return np.broadcast_shapes(*shapes), self.type
        except ValueError:
            raise Fault("right", f"shape {shapes[1]} does not go with {shapes[0]}") from None


class Add(Binary):
    """left + right."""

    kind = "add"


class Subtract(Binary):
    """left - right."""

    kind = "subtract"


class Multiply(Binary):
    """left * right; the square of a tensor has it on both sides."""

    kind = "multiply"


@dataclass(frozen=True, eq=False)
class Sum(Node):
    """Sum over one axis, which stays with length 1."""

    kind = "sum"
    input: str
    axis: int
    accumulator: Accumulator
    type: Fixed

    def result(self, shapes: list[Shape], types: list[Fixed]) -> tuple[Shape, Fixed]:
        return _reduced(shapes[0], self.axis), self.type


@dataclass(frozen=True, eq=False)
class Max(Node):
    """Largest over one axis, which stays with length 1."""

    kind = "max"
    input: str
    axis: int

    def result(self, shapes: list[Shape], types: list[Fixed]) -> tuple[Shape, Fixed]:
        return _reduced(shapes[0], self.axis), types[0]


@dataclass(frozen=True, eq=False)
class Concat(Node):
    """Tensors side by side along the last axis."""

    kind = "concat"
    inputs: tuple[str, ...]
    type: Fixed

    def result(self, shapes: list[Shape], types: list[Fixed]) -> tuple[Shape, Fixed]:
        if any(shape[:-1] != shapes[0][:-1] for shape in shapes):
            raise Fault("inputs", f"shapes {shapes} differ before the last axis")
        return (*shapes[0][:-1], sum(shape[-1] for shape in shapes)), self.type


@dataclass(frozen=True, eq=False)
class Select(Node):
    """Features by number, in any order, also several times."""

    kind = "select"
    input: str
    indices: tuple[int, ...]

    def result(self, shapes: list[Shape], types: list[Fixed]) -> tuple[Shape, Fixed]:
        if not self.indices or not all(0 <= one < shapes[0][-1] for one in self.indices):
            raise Fault("indices", f"expected numbers of features, 0 to {shapes[0][-1] - 1}")
        return (*shapes[0][:-1], len(self.indices)), types[0]


@dataclass(frozen=True, eq=False)
class Reshape(Node):
    """The same numbers, last axis fastest, in another shape."""

    kind = "reshape"
    input: str
    shape: tuple[int, ...]

    def result(self, shapes: list[Shape], types: list[Fixed]) -> tuple[Shape, Fixed]:
        check_shape("shape", self.shape)
        if elements(self.shape) != elements(shapes[0]):
            raise Fault("shape", f"{self.shape} has not as many elements as {shapes[0]}")
        return self.shape, types[0]


@dataclass(frozen=True, eq=False)
class Table(Node):
    """values[address], address = input mantissa / 2**shift made whole, plus offset, clipped."""

    kind = "table"
    input: str
    values: Mantissas
    shift: int
    toward: str
    offset: int
    type: Fixed

    def result(self, shapes: list[Shape], types: list[Fixed]) -> tuple[Shape, Fixed]:
        _array("values", self.values, (self.values.size,), self.type)
        if self.values.size == 0:
            raise Fault("values", "an empty table")
        if self.toward not in ("floor", "zero"):
            raise Fault("toward", f"{self.toward[:20]!r}, expected 'floor' or 'zero'")
        if not -16 <= self.shift <= MAX_WIDTH:
            raise Fault("shift", f"{self.shift}, expected -16 to {MAX_WIDTH}")
        if types[0].width - self.shift > MAX_WIDTH:
            raise Fault("shift", f"{types[0]} does not fit int64 after it")
        if abs(self.offset) > MAX_ELEMENTS:
            raise Fault("offset", f"beyond {MAX_ELEMENTS} either way")
        return shapes[0], self.type


KINDS: Mapping[str, Callable[..., Node]] = {
    one.kind: one
    for one in (
        Cast, Normalise, Affine, Dense, Conv2d, MaxPool, Relu, Add, Subtract, Multiply, Sum, Max,
        Concat, Select, Reshape, Table,
    )
}  # fmt: skip


def elements(shape: Shape) -> int:
    """Numbers in a tensor of one sample."""
    product = 1
    for size in shape:
        product *= size
    return product


def check_shape(attribute: str, shape: Shape) -> None:
    """Raises Fault unless there are one to four axes and at most MAX_ELEMENTS elements."""
    if not 1 <= len(shape) <= 4 or min(shape) < 1 or elements(shape) > MAX_ELEMENTS:
        raise Fault(
            attribute, f"{shape}, expected 1 to 4 sizes with {MAX_ELEMENTS} elements at most"
        )


def result_of(node: Node, shapes: list[Shape], types: list[Fixed]) -> tuple[Shape, Fixed]:
    """``node.result``, its shape checked. Raises Fault."""
    shape, type_ = node.result(shapes, types)
    check_shape("result", shape)
    return shape, type_


def _array(attribute: str, values: npt.NDArray[Any], shape: Shape, type_: Fixed | None) -> None:
    if values.dtype != np.int64:
        raise Fault(attribute, f"{values.dtype} numbers, expected int64 mantissas")
    if values.shape != shape:
        raise Fault(attribute, f"shape {values.shape}, expected {shape}")
    if type_ is not None and not type_.holds(values):
        raise Fault(
            attribute, f"mantissas {values.min()} to {values.max()} do not fit {type_}: "
            f"{type_.low} to {type_.high}",
        )  # fmt: skip


def _integers(attribute: str, values: tuple[int, ...], count: int, low: int, high: int) -> None:
    if len(values) != count or not all(low <= one <= high for one in values):
        raise Fault(attribute, f"{values}, expected {count} numbers {low} to {high}")


def _image(shape: Shape) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise Fault("input", f"shape {shape}, expected (height, width, features)")
    return shape[0], shape[1], shape[2]


def _reduced(shape: Shape, axis: int) -> Shape:
    if not 0 <= axis < len(shape):
        raise Fault("axis", f"{axis}, but the input has shape {shape}")
    return (*shape[:axis], 1, *shape[axis + 1 :])
