"""A quantised network: named tensors, integer weights, the type of every number.

One object from which everything follows: the NumPy reference, the compiled kernels, ONNX, the
firmware. docs/networks.md describes the files.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

import numpy as np

from scout40.emulator.nn.certificate import Certificate, Range, input_range, range_of
from scout40.emulator.nn.fixed import Fixed
from scout40.emulator.nn.nodes import Fault, Node, Shape, check_shape, elements, result_of
from scout40.streams.errors import BadConfig

FORMAT = "scout40 network 1"
MAX_NODES = 4096
MAX_SCALE = 64


@dataclass(frozen=True)
class Feature:
    """What one feature of an input or output means: value * 2**scale, in ``unit``."""

    name: str
    unit: str = ""
    scale: int = 0


@dataclass(frozen=True)
class Input:
    """A tensor that comes from outside, as mantissas of ``type``.

    features: nothing, or one for each entry of the last axis.
    """

    name: str
    shape: Shape
    type: Fixed
    features: tuple[Feature, ...] = ()


@dataclass(frozen=True)
class Output:
    """A tensor that is a result; ``features`` as in Input."""

    name: str
    features: tuple[Feature, ...] = ()


@dataclass(frozen=True, eq=False)
class Network:
    """A checked network; nodes stand in the order in which they are computed.

    name: of the model; letters, digits, ``_``, ``-``, ``.``. about: free text by subject. Neither
    is part of ``model_id``.

    certificate: ranges of all tensors, see certificate.py.

    Raises BadConfig that names node and field for a tensor that does not exist, shapes that do not
    go together, mantissas that their type cannot hold or sums that int64 cannot hold.
    """

    name: str
    inputs: tuple[Input, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[Output, ...]
    about: Mapping[str, str] = field(default_factory=dict)
    shapes: Mapping[str, Shape] = field(init=False, repr=False)
    types: Mapping[str, Fixed] = field(init=False, repr=False)
    certificate: Certificate = field(init=False, repr=False)

    def __post_init__(self) -> None:
        _check_name("name", self.name)
        if not self.inputs or not self.outputs:
            raise BadConfig("inputs, outputs: a network needs at least one of each")
        if len(self.nodes) > MAX_NODES:
            raise BadConfig(f"nodes: {len(self.nodes)}, expected {MAX_NODES} at most")
        shapes: dict[str, Shape] = {}
        types: dict[str, Fixed] = {}
        ranges: dict[str, Range] = {}
        bounds: dict[str, float] = {}
        for one in self.inputs:
            _check_input(one, shapes)
            shapes[one.name], types[one.name] = one.shape, one.type
            ranges[one.name] = input_range(one.type, one.shape)
        for node in self.nodes:
            where = f"node {node.name!r}"
            _check_name(where, node.name)
            if node.name in shapes:
                raise BadConfig(f"{where}, name: there is such a tensor already")
            for source in node.sources:
                if source not in shapes:
                    raise BadConfig(f"{where}: no tensor {source[:80]!r} before it")
            of = [types[source] for source in node.sources]
            try:
                shapes[node.name], types[node.name] = result_of(
                    node, [shapes[source] for source in node.sources], of
                )
                ranges[node.name], bounds[node.name] = range_of(
                    node, [ranges[source] for source in node.sources], of
                )
            except Fault as fault:
                raise BadConfig(f"{where}, {fault}") from None
        for output in self.outputs:
            if output.name not in shapes:
                raise BadConfig(f"output {output.name[:80]!r}: there is no such tensor")
            _check_features(f"output {output.name!r}", output.features, shapes[output.name])
        object.__setattr__(self, "shapes", MappingProxyType(shapes))
        object.__setattr__(self, "types", MappingProxyType(types))
        object.__setattr__(self, "certificate", Certificate(ranges, bounds))

    @property
    def n_inputs(self) -> int:
        """Numbers that one sample has: those of all inputs, in their order, last axis fastest."""
        return sum(elements(one.shape) for one in self.inputs)

    @property
    def n_outputs(self) -> int:
        """Numbers that come out for one sample, ordered in the same way."""
        return sum(elements(self.shapes[one.name]) for one in self.outputs)

    @functools.cached_property
    def model_id(self) -> str:
        """32 hexadecimal digits of what is computed; the same for every way to store it."""
        content = {
            "inputs": [described(one) for one in self.inputs],
            "nodes": [{"kind": node.kind, **described(node)} for node in self.nodes],
            "outputs": [described(one) for one in self.outputs],
        }
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(f"{FORMAT}\n{text}".encode()).hexdigest()[:32]


def described(item: Any) -> Any:
    """Plain values for the hash: types as text, arrays as shape and digest of their bytes."""
    if isinstance(item, np.ndarray):
        digest = hashlib.sha256(np.ascontiguousarray(item, "<i8").tobytes()).hexdigest()
        return {"shape": list(item.shape), "sha256": digest}
    if isinstance(item, tuple):
        return [described(one) for one in item]
    if isinstance(item, Fixed):
        return str(item)
    if isinstance(item, Node | Input | Output | Feature):
        return {one.name: described(getattr(item, one.name)) for one in fields(item)}
    return item


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,79}")


def _check_name(where: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise BadConfig(
            f"{where}: {name[:80]!r} is no name: a letter, then letters, digits, '_', '-', '.', "
            "80 at most"
        )


def _check_input(one: Input, shapes: Mapping[str, Shape]) -> None:
    where = f"input {one.name!r}"
    _check_name(where, one.name)
    if one.name in shapes:
        raise BadConfig(f"{where}: there is such a tensor already")
    try:
        check_shape("shape", one.shape)
    except Fault as fault:
        raise BadConfig(f"{where}, {fault}") from None
    _check_features(where, one.features, one.shape)


def _check_features(where: str, features: tuple[Feature, ...], shape: Shape) -> None:
    if features and len(features) != shape[-1]:
        raise BadConfig(f"{where}, features: {len(features)}, expected none or {shape[-1]}")
    for one in features:
        if abs(one.scale) > MAX_SCALE:
            raise BadConfig(f"{where}, feature {one.name[:80]!r}: scale beyond {MAX_SCALE}")
