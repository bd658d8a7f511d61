"""Networks that look at a whole crossing: their inputs are gathered from a Block by name.

The features of the inputs say what they are: ``mu0.hw_pt``, ``sums.hw_etm``, ``zero``. The names
are those of tables and columns (streams/formats/ugt.py), so nothing here knows a network.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scout40.emulator.nn import nodes
from scout40.emulator.nn.compiled import Compiled, compile_network
from scout40.emulator.nn.network import Feature, Input, Network
from scout40.streams.block import Block, Table, offsets_of
from scout40.streams.errors import BadConfig, BadInput
from scout40.streams.formats.ugt import OBJECT_WORDS
from scout40.streams.jit import njit

ENERGY = {"mu": "hw_pt", "eg": "hw_et", "tau": "hw_et", "jet": "hw_et"}
"""Lists of objects -> the column whose 0 means that there is no object."""
ZERO = "zero"

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Column:
    """What one column of a table fills: features number ``features`` with object ``places``.

    The mantissa is the hardware integer shifted to the left by ``shifts``.
    """

    table: str
    name: str
    places: Indices
    features: Indices
    shifts: Indices


class CrossingNetwork:
    """A network that gives one number for each crossing, compiled; threads may share it.

    needs: columns that a block must have, as ``mu.hw_pt``. of_nothing: score of a crossing
    without any object.

    Raises BadConfig naming input and feature for a name that no table has, or a type that cannot
    hold its hardware integers.
    """

    def __init__(self, network: Network) -> None:
        if network.n_outputs != 1:
            raise BadConfig(f"outputs: {network.n_outputs} numbers, expected one, the score")
        self.network = network
        self.columns = _columns(network)
        self.needs = frozenset(
            f"{column.table}.{name}"
            for column in self.columns
            for name in (column.name, ENERGY.get(column.table, column.name))
        )
        self._compiled: Compiled = compile_network(network)
        self.of_nothing = int(self.scores(_nothing())[0])  # compiles: before threads and clocks

    def scores(self, block: Block) -> npt.NDArray[np.int64]:
        """Mantissas of the output, one for each crossing (row) of ``block``.

        Raises BadInput for columns with numbers beyond the bits that the hardware gives them.
        """
        rows, lanes = len(block), self._compiled.lanes
        size = -(-rows // lanes)
        x = np.zeros((size, self.network.n_inputs, lanes), self._compiled.input_dtype)
        y = np.empty((size, 1, lanes), self._compiled.output_dtype)
        for column in self.columns:
            gather(block, column, x)
        self._compiled.infer_into(x, y)
        return y.reshape(-1)[:rows].astype(np.int64)


def _nothing() -> Block:
    """One crossing with no object."""
    tables = {
        table: Table(
            {name: np.zeros(0, bits.dtype) for name, bits in word.fields.items()},
            offsets_of(np.zeros(1, np.int32)),
        )
        for table, word in OBJECT_WORDS.items()
    }
    return Block(0, 1, np.zeros(1, np.uint32), np.ones(1, np.uint16), tables)


def gather(block: Block, column: Column, out: npt.NDArray[np.signedinteger]) -> None:
    """Fill the features of ``column`` in ``out`` (blocks of crossings, features, lanes).

    ``out`` must be 0: objects that are missing, or have no energy, are left out.
    """
    table = block.tables[column.table]
    values = table[column.name]
    declared = OBJECT_WORDS[column.table].fields[column.name]
    if len(values) and not declared.minimum <= values.min() <= values.max() <= declared.limit:
        raise BadInput(
            f"{column.table}: values {values.min()} to {values.max()}, "
            f"expected {declared.minimum} to {declared.limit}", field=column.name,
        )  # fmt: skip
    wide = np.ascontiguousarray(values, np.int64)
    energy = np.ascontiguousarray(table[ENERGY.get(column.table, column.name)], np.int64)
    always = column.table not in ENERGY
    _fill(wide, energy, always, table.offsets, column.places, column.features, column.shifts, out)


@njit
def _fill(
    values: Indices,
    energy: Indices,
    always: bool,
    offsets: npt.NDArray[np.int32],
    places: Indices,
    features: Indices,
    shifts: Indices,
    out: npt.NDArray[np.signedinteger],
) -> None:
    lanes = out.shape[2]
    rows = len(offsets) - 1
    for block in range(len(out)):
        first = block * lanes
        for k in range(len(places)):
            filled, place, shift = out[block, features[k]], places[k], shifts[k]
            for row in range(first, min(first + lanes, rows)):
                at = offsets[row] + place
                if at < offsets[row + 1] and (always or energy[at] != 0):
                    filled[row - first] = values[at] << shift


# -- names -----------------------------------------------------------------------------------

_NAME = re.compile(r"(?:(mu|eg|tau|jet)([0-9]{1,2})|(sums))\.([a-z0-9_]+)")


def _columns(network: Network) -> tuple[Column, ...]:
    """The features of all inputs, by the column that they come from."""
    found: dict[tuple[str, str], list[tuple[int, int, int]]] = {}
    first = 0
    for one in network.inputs:
        if not one.features:
            raise BadConfig(f"input {one.name!r}, features: names such as mu0.hw_pt are needed")
        width = one.shape[-1]
        for number in range(nodes.elements(one.shape)):
            feature = one.features[number % width]
            where = f"input {one.name!r}, feature {feature.name[:80]!r}"
            if feature.name != ZERO:
                table, name, place = _meaning(where, feature.name)
                if table not in ENERGY and number >= width:
                    raise BadConfig(
                        f"{where}: {table} has one row, the input {number // width + 1}"
                    )
                shift = _shift(where, one, feature, table, name)
                entry = (place + number // width, first + number, shift)
                found.setdefault((table, name), []).append(entry)
        first += nodes.elements(one.shape)
    return tuple(
        Column(table, name, *np.array(entries, np.int64).T.copy())
        for (table, name), entries in found.items()
    )


def _meaning(where: str, text: str) -> tuple[str, str, int]:
    """(table, column, place in the list) of a name."""
    match = _NAME.fullmatch(text)
    if match is None:
        kinds = ", ".join(f"{name}N.COLUMN" for name in ENERGY)
        raise BadConfig(f"{where}: unknown; expected {kinds} (N from 0), sums.COLUMN or {ZERO!r}")
    listed, place, sums, name = match.groups()
    table = listed or sums
    if name not in OBJECT_WORDS[table].fields:
        known = ", ".join(OBJECT_WORDS[table].fields)
        raise BadConfig(f"{where}: {table} has no column {name!r}; it has {known}")
    return table, name, int(place or 0)


def _shift(where: str, one: Input, feature: Feature, table: str, name: str) -> int:
    """Places that a hardware integer moves to the left to become a mantissa of the input."""
    declared = OBJECT_WORDS[table].fields[name]
    shift = one.type.width - one.type.integer - feature.scale
    if shift < 0:
        raise BadConfig(f"{where}: {one.type} with scale {feature.scale} drops bits of the code")
    low, high = declared.minimum, declared.limit
    if low << shift < one.type.low or high << shift > one.type.high:
        raise BadConfig(f"{where}: codes {low} to {high} times 2^{shift} do not fit {one.type}")
    return shift
