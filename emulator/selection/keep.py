"""The chosen crossings of a block, with all their objects."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from scout40.emulator.selection import kernels
from scout40.streams.block import Block, Table

Rows = npt.NDArray[np.intp]


def kept(block: Block, rows: Rows) -> Block:
    """The crossings ``rows``, rising indices.

    The orbit range stays. A block that was contiguous is no longer so: a crossing without a row
    was empty or was not chosen.
    """
    tables = {name: _table(table, rows) for name, table in block.tables.items()}
    crossing = {name: values[rows] for name, values in block.crossing.items()}
    return block.replace(
        orbit=block.orbit[rows], bx=block.bx[rows], tables=tables, crossing=crossing,
        contiguous=False,
    )  # fmt: skip


def _table(table: Table, rows: Rows) -> Table:
    offsets, places = kernels.objects_of(table.offsets, rows)
    return Table({name: column[places] for name, column in table.columns.items()}, offsets)
