"""The chosen crossings of a block, with all their objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.emulator.selection import kernels
from scout40.streams.block import Block, Table

Array = npt.NDArray[Any]


def kept(
    block: Block, results: Mapping[str, Array], chosen: Array
) -> tuple[Block, dict[str, Array]]:
    """The rows where ``chosen`` is not 0 (bool or reasons, (n,)), and their result columns.

    The orbit range stays. A block that was contiguous is no longer so: a crossing without a row
    was empty or was not chosen.
    """
    rows = np.flatnonzero(chosen)
    tables = {name: _table(table, rows) for name, table in block.tables.items()}
    crossing = {name: values[rows] for name, values in block.crossing.items()}
    part = block.replace(
        orbit=block.orbit[rows], bx=block.bx[rows], tables=tables, crossing=crossing,
        contiguous=False,
    )  # fmt: skip
    return part, {name: values[rows] for name, values in results.items()}


def _table(table: Table, rows: npt.NDArray[np.intp]) -> Table:
    offsets, places = kernels.objects_of(table.offsets, rows)
    return Table({name: column[places] for name, column in table.columns.items()}, offsets)
