"""Networks and inputs for tests: the two trigger networks and random graphs of every kind."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.emulator.nn import Fixed, Input, Network, Output, Overflow, Rounding
from scout40.emulator.nn import nodes as k

TRN_WRAP = Fixed.parse("ap_fixed<16,6>")
RND_SAT = Fixed.parse("ap_fixed<16,6,AP_RND,AP_SAT>")
STUDENT = (5, 8, 8, 8, 8, 3)
PAIRS = (10, 8, 8, 8, 8, 1)

Generator = np.random.Generator


def mlp(
    sizes: Sequence[int], number: Fixed, weight: Fixed, accumulator: Fixed | None, seed: int = 40,
    spread: float = 0.9,
) -> Network:  # fmt: skip
    """Dense and ReLU layers with random weights, all numbers of one type.

    spread: standard deviation of the weights times the square root of the inputs of a layer.
    """
    rng = np.random.default_rng(seed)
    nodes: list[k.Node] = []
    last = "x"
    for n, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        clipped = Fixed(weight.width, weight.integer, True, Rounding.RND, Overflow.SAT)
        weights = clipped.quantise(rng.normal(0, spread / inputs**0.5, (inputs, outputs)))
        bias = number.quantise(rng.normal(0, 0.5, outputs))
        nodes.append(k.Dense(f"dense{n}", last, weights, weight, bias, number, accumulator, number))
        last = f"dense{n}"
        if n + 2 < len(sizes):
            nodes.append(k.Relu(f"relu{n}", last, number))
            last = f"relu{n}"
    return Network("mlp", (Input("x", (sizes[0],), number),), tuple(nodes), (Output(last),))


def inputs_for(network: Network, n: int, seed: int = 4) -> npt.NDArray[np.int64]:
    """Rows of uniform numbers, of small ones, and of the ends of ranges and powers of two."""
    rng = np.random.default_rng(seed)
    parts = []
    for one in network.inputs:
        low, high = one.type.low, one.type.high
        shape = (n, k.elements(one.shape))
        powers = [s * 2**p + d for p in range(one.type.width) for s in (-1, 1) for d in (-1, 0, 1)]
        special = np.clip(np.array([low, low + 1, 0, high - 1, high, *powers]), low, high)
        small = np.clip(np.rint(rng.normal(0, 2.0 ** (one.type.width - 4), shape)), low, high)
        kind = rng.integers(0, 3, (n, 1))
        uniform = rng.integers(low, high, shape, endpoint=True)
        mixed = np.where(kind == 0, uniform, small.astype(np.int64))
        parts.append(np.where(kind == 2, rng.choice(special, shape), mixed))
    return np.concatenate(parts, axis=1)


def random_network(seed: int) -> Network:
    """A graph of 6 to 12 nodes over a vector, a set and an image."""
    return _Maker(seed).network()


class _Maker:
    def __init__(self, seed: int) -> None:
        self.rng: Generator = np.random.default_rng(1000 + seed)
        self.seed = seed
        self.nodes: list[k.Node] = []
        self.shapes: dict[str, k.Shape] = {}

    def network(self) -> Network:
        shapes: list[k.Shape] = [(int(self.rng.integers(2, 7)),)]
        if self.seed % 3 == 1:
            shapes.append((int(self.rng.integers(2, 5)), int(self.rng.integers(1, 4))))
        if self.seed % 3 == 2:
            shapes = [(4, 3, 2)]
        inputs = tuple(Input(f"in{n}", shape, self.type(most=16)) for n, shape in enumerate(shapes))
        self.shapes = {one.name: one.shape for one in inputs}
        while len(self.nodes) < 6 + self.seed % 7:
            self.grow()
        ends = [node.name for node in self.nodes[-2:]]
        return Network(f"random{self.seed}", inputs, tuple(self.nodes),
                       tuple(Output(one) for one in ends))  # fmt: skip

    def type(self, most: int = 14, *, signed: bool | None = None) -> Fixed:
        rng = self.rng
        width = int(rng.integers(3, most, endpoint=True))
        return Fixed(
            width, int(rng.integers(1, width, endpoint=True)),
            bool(rng.random() < 0.8) if signed is None else signed,
            list(Rounding)[rng.integers(7)], list(Overflow)[rng.integers(3)],
        )  # fmt: skip

    def accumulator(self) -> Fixed | None:
        kind = self.rng.integers(4)
        if kind == 0:
            return None
        if kind == 1:  # the usual ones, for which there is special code
            integer = int(self.rng.integers(4, 9))
            rounding = (Rounding.TRN, Rounding.RND)[self.rng.integers(2)]
            return Fixed(16, integer, True, rounding, list(Overflow)[self.rng.integers(3)])
        return self.type(most=20)

    def numbers(self, shape: k.Shape, of: Fixed) -> npt.NDArray[np.int64]:
        found = self.rng.integers(of.low, of.high, shape, endpoint=True)
        return np.where(self.rng.random(shape) < 0.2, 0, found).clip(of.low, of.high)

    def grow(self) -> None:
        """Add a node that goes with the shape of a tensor made before."""
        names = list(self.shapes)
        source = names[max(0, len(names) - 1 - int(self.rng.exponential(0.7)))]
        shape = self.shapes[source]
        made = self.made(source, shape)
        types = [self.type()] * len(made.sources)  # shapes do not depend on them
        try:
            result, _ = made.result([self.shapes[one] for one in made.sources], types)
        except k.Fault:
            return
        if k.elements(result) > 60:
            return
        self.nodes.append(made)
        self.shapes[made.name] = result

    def made(self, source: str, shape: k.Shape) -> k.Node:
        rng, name = self.rng, f"n{len(self.nodes)}"
        features = shape[-1]
        if len(shape) == 3 and rng.random() < 0.6:
            return self.image(name, source, shape)
        kind = list(k.KINDS)[rng.integers(len(k.KINDS))]
        one, other = self.type(most=8, signed=True), self.type(most=10)
        if kind == "cast":
            each = tuple(self.type() for _ in range(features)) if rng.random() < 0.5 else ()
            return k.Cast(name, source, self.type(), each)
        if kind == "normalise":
            shift = rng.integers(-2, 4, features)
            return k.Normalise(name, source, self.numbers((features,), other), other, shift,
                               self.accumulator(), self.type())  # fmt: skip
        if kind == "affine":
            return k.Affine(name, source, self.numbers((features,), one), one,
                            self.numbers((features,), other), other, self.type())  # fmt: skip
        if kind in ("relu", "maxpool", "conv2d"):
            return k.Relu(name, source, self.type())
        if kind in ("add", "subtract", "multiply"):
            right = [n for n, s in self.shapes.items() if _goes(shape, s)]
            return k.KINDS[kind](name, source, right[rng.integers(len(right))], self.type())
        if kind == "sum":
            axis = int(rng.integers(len(shape)))
            return k.Sum(name, source, axis, self.accumulator(), self.type())
        if kind == "max":
            return k.Max(name, source, int(rng.integers(len(shape))))
        if kind == "concat":
            right = [n for n, s in self.shapes.items() if s[:-1] == shape[:-1]]
            return k.Concat(name, (source, right[rng.integers(len(right))]), self.type())
        if kind == "select":
            return k.Select(name, source, tuple(rng.integers(0, features, 3).tolist()))
        if kind == "reshape":
            return k.Reshape(name, source, (k.elements(shape),))
        if kind == "table":
            of, size = self.type(), int(rng.integers(1, 40))
            places, offset = int(rng.integers(-2, 8)), int(rng.integers(-5, 30))
            toward = ("floor", "zero")[rng.integers(2)]
            return k.Table(name, source, self.numbers((size,), of), places, toward, offset, of)
        outputs = int(rng.integers(1, 7))
        return k.Dense(name, source, self.numbers((features, outputs), one), one,
                       self.numbers((outputs,), other), other, self.accumulator(),
                       self.type())  # fmt: skip

    def image(self, name: str, source: str, shape: k.Shape) -> k.Node:
        rng = self.rng
        if rng.random() < 0.3:
            return k.MaxPool(name, source, (int(rng.integers(1, 3)), int(rng.integers(1, 3))))
        one, other = self.type(most=6, signed=True), self.type(most=8)
        window = (2, 2, shape[-1], 2)
        return k.Conv2d(name, source, self.numbers(window, one), one, self.numbers((2,), other),
                        other, (int(rng.integers(1, 3)), 1), tuple(rng.integers(0, 2, 4).tolist()),
                        self.accumulator(), self.type())  # fmt: skip


def _goes(a: k.Shape, b: k.Shape) -> bool:
    try:
        np.broadcast_shapes(a, b)
    except ValueError:
        return False
    return True


def kinds_of(networks: Sequence[Network]) -> set[str]:
    return {node.kind for network in networks for node in network.nodes}


def differing(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> int:
    """Rows in which two results differ; the shapes must be equal."""
    assert a.shape == b.shape
    return int(np.count_nonzero((a != b).any(axis=1)))
