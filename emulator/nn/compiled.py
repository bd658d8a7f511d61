"""A network ready to run: generated code, or the generic kernel, behind one object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from scout40.emulator.nn import generic
from scout40.emulator.nn.generate import dtypes, source_of
from scout40.emulator.nn.lower import lower
from scout40.emulator.nn.network import Network
from scout40.emulator.nn.program import Program
from scout40.emulator.nn.reference import checked
from scout40.emulator.nn.reference import infer as define
from scout40.emulator.nn.writer import HALF, INT, LANES, LONG
from scout40.streams.errors import BadConfig, BadInput
from scout40.streams.jit import generated_module, njit

How = Literal["generated", "generic", "reference"]

GENERATED_TERMS = 1000
"""Products up to which code is generated unless asked otherwise; 300 take about 3 s to compile."""

_CHUNK = 64
"""Blocks at a time when rows are transposed."""


class Compiled:
    """A network as a kernel. Threads may share it: every call has its own work arrays.

    how: "generated", "generic", or "reference" for networks too large for both.
    lanes: samples in a block. input_dtype, output_dtype: of ``infer_into``.
    """

    def __init__(self, network: Network, how: How, program: Program | None) -> None:
        self.network = network
        self.how = how
        self.lanes = LANES
        self._run: Any = None
        if program is None:
            self.input_dtype = self.output_dtype = np.dtype(np.int64)
            return
        self.input_dtype, self.output_dtype = (np.dtype(one) for one in dtypes(program))
        if how == "generated":
            self._run = _Generated(network, program)
        elif how == "generic":
            self._run = _Generic(program)

    def infer(self, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Outputs (n, n_outputs), mantissas in ``output_dtype``, of any integers (n, n_inputs).

        Equal to ``reference.infer``. Raises BadInput for another shape or dtype, or numbers
        outside the type of an input.
        """
        x = checked(self.network, x)
        n, lanes = len(x), self.lanes
        out = np.empty((n, self.network.n_outputs), self.output_dtype)
        if self._run is None:
            out[:] = define(self.network, x)
            return out
        step = min(_CHUNK, -(-n // lanes) or 1)
        turned = np.zeros((step, x.shape[1], lanes), self.input_dtype)
        results = np.empty((step, out.shape[1], lanes), self.output_dtype)
        native = x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))
        for first in range(0, n, step * lanes):
            rows = native[first : first + step * lanes]
            used = -(-len(rows) // lanes)
            _to_blocks(rows, turned)
            self._run(turned[:used], results[:used])
            _to_rows(results, out[first : first + step * lanes])
        return out

    def infer_into(self, x: npt.NDArray[Any], y: npt.NDArray[Any]) -> None:
        """Blocks, feature by feature: x (blocks, n_inputs, lanes) to y (blocks, n_outputs, lanes).

        Both C-contiguous, of ``input_dtype`` and ``output_dtype``. Fastest: nothing is copied or
        checked. Numbers outside the type of an input give undefined results, but no other harm.
        Raises BadInput for another shape, dtype or layout.
        """
        wanted = (
            ("x", x, (self.network.n_inputs, self.lanes), self.input_dtype),
            ("y", y, (self.network.n_outputs, self.lanes), self.output_dtype),
        )
        for name, array, shape, dtype in wanted:
            good = array.ndim == 3 and array.shape[1:] == shape and array.dtype == dtype
            if not good or not array.flags.c_contiguous or len(array) != len(x):
                raise BadInput(
                    f"network {self.network.name}: {name} is {array.dtype} {array.shape}, expected "
                    f"contiguous {dtype} (blocks, {shape[0]}, {shape[1]}), as many blocks in both"
                )
        if self._run is None:
            rows = np.ascontiguousarray(x.transpose(0, 2, 1)).reshape(-1, x.shape[1])
            found = define(self.network, rows).reshape(len(x), self.lanes, -1)
            y[:] = found.transpose(0, 2, 1)
            return
        self._run(x, y)


def compile_network(network: Network, how: How | None = None) -> Compiled:
    """A kernel for ``network``, compiled at its first call and then cached on disk.

    how: None takes generated code for small networks and the generic kernel for others.

    Raises BadConfig when ``how`` is asked for and the network is too large for it.
    """
    program = lower(network) if how != "reference" else None
    if how is None:
        small = program is not None and program.terms <= GENERATED_TERMS
        how = "generated" if small else "reference" if program is None else "generic"
    if program is None and how != "reference":
        raise BadConfig(f"network {network.name}: too large for a {how} kernel")
    return Compiled(network, how, program)


@dataclass
class _Work:
    """Rows of LANES that a kernel needs, by dtype."""

    rows: dict[str, int]

    def arrays(self) -> list[npt.NDArray[Any]]:
        return [np.empty(max(1, self.rows[kind]) * LANES, kind) for kind in (HALF, INT, LONG)]


class _Generated:
    def __init__(self, network: Network, program: Program) -> None:
        source = source_of(program)
        module = generated_module(f"network_{network.model_id}", source.text)
        self._blocks = njit(module.blocks)
        self._work = _Work(source.work)
        self._tables = generic.all_tables(program)

    def __call__(self, x: npt.NDArray[Any], y: npt.NDArray[Any]) -> None:
        self._blocks(x, y, *self._work.arrays(), self._tables)


class _Generic:
    def __init__(self, program: Program) -> None:
        self._rules = generic.rules_of(program)
        self._host = generic.host_of(program)
        self._rows = len(program.rows)

    def __call__(self, x: npt.NDArray[Any], y: npt.NDArray[Any]) -> None:
        work = np.empty((self._rows, LANES), self._host)
        out = np.empty(LANES, self._host)
        sign = self._host.type(8 * self._host.itemsize - 1)
        generic.blocks(x, y, work, out, self._rules, sign, self._host.type(1))


@njit
def _to_blocks(rows: Any, blocks: Any) -> None:
    """rows (n, features) to blocks (blocks, features, lanes); what is left over stays."""
    lanes = blocks.shape[2]
    n = rows.shape[0]
    for block in range(-(-n // lanes)):
        part = rows[block * lanes : min((block + 1) * lanes, n)]
        turned = blocks[block]
        for k in range(part.shape[0]):
            for i in range(part.shape[1]):
                turned[i, k] = part[k, i]


@njit
def _to_rows(blocks: Any, rows: Any) -> None:
    """The reverse."""
    lanes = blocks.shape[2]
    n = rows.shape[0]
    for block in range(-(-n // lanes)):
        part = rows[block * lanes : min((block + 1) * lanes, n)]
        turned = blocks[block]
        for k in range(part.shape[0]):
            for i in range(part.shape[1]):
                part[k, i] = turned[i, k]
