"""The input tables of the uGMT, checked and in the form that the kernel reads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.emulator.ugmt.addresses import (
    BarrelAddresses,
    EndcapAddresses,
    barrel_stations,
)
from scout40.emulator.ugmt.cancel_out import Addresses
from scout40.emulator.ugmt.firmware import Firmware
from scout40.emulator.ugmt.isolate import NOT_SENT, CaloSums
from scout40.streams.block import Block, Table
from scout40.streams.errors import BadInput
from scout40.streams.formats.track_finder import (
    CALOSUM_RANGES,
    EMTF_ADDRESS,
    REGIONS,
    RINGS,
    TFMU,
    TFMU_RANGES,
)

Array = npt.NDArray[Any]

MUON_COLUMNS = ("link", "slot", *(name for name in TFMU if name.startswith("hw_")))
"""Columns that table ``tfmu`` must have, besides the track addresses that a firmware compares."""

Columns = dict[str, Array]


def muon_columns(block: Block) -> Columns:
    """Columns of table ``tfmu``, the values checked; BadInput where they are wrong.

    int8 where that suffices, else int16; hw_pt_unconstrained is uint8, the kernel does not read
    it.
    """
    if "tfmu" not in block.tables:
        raise BadInput("no table tfmu: the uGMT needs track-finder muons")
    table = block.tables["tfmu"]
    empty = table["hw_pt"] == 0 if "hw_pt" in table.columns else None
    return {
        name: _column(block, "tfmu", name, TFMU_RANGES[name], _narrow(TFMU_RANGES[name]), empty)
        for name in MUON_COLUMNS
    }


def _narrow(limits: tuple[int, int]) -> type:
    """The type of a column; signed in the kernels, where mixed signs would make floats."""
    low, high = limits
    if low >= -128 and high <= 127:
        return np.int8
    return np.uint8 if (low, high) == (0, 255) else np.int16


def address_columns(block: Block, fw: Firmware) -> Addresses:
    """The track addresses that a firmware compares; the others are empty."""
    empty = block.tables["tfmu"]["hw_pt"] == 0
    stations = (f"stat{station}" for station in barrel_stations(fw))
    barrel = ("wheel_side", "wheel_num", *stations)

    def columns(names: Iterable[str], wanted: bool) -> Any:
        for name in names:
            if wanted:
                yield _column(block, "tfmu", name, TFMU_RANGES[name], np.int8, empty)
            else:
                yield np.zeros(0, np.int8)

    return Addresses(
        BarrelAddresses(*columns(barrel, fw.bmtf != "off")),
        EndcapAddresses(*columns(EMTF_ADDRESS, fw.emtf == "addresses")),
    )


def calo_sums(block: Block) -> CaloSums:
    """Table ``calosum`` checked; without it arrays of length 0."""
    grid = np.full(RINGS * REGIONS, NOT_SENT, np.int64)
    if "calosum" not in block.tables:
        nothing = np.zeros(0, np.int8)
        return CaloSums(nothing, nothing, nothing, np.zeros(0, np.int32), grid)
    ieta, iphi, et = (
        _column(block, "calosum", name, limits, np.int8, None)
        for name, limits in CALOSUM_RANGES.items()
    )
    return CaloSums(ieta, iphi, et, np.array(block.tables["calosum"].offsets, np.int32), grid)


def _column(
    block: Block, name: str, column: str, limits: tuple[int, int], dtype: type, empty: Array | None
) -> Array:
    """One column as a new array; rows that are ``empty`` may hold anything, they give 0."""
    table = block.tables[name]
    if column not in table.columns:
        raise BadInput(f"table {name} has no such column, the uGMT needs it", field=column)
    values = table[column]
    low, high = limits
    held = np.iinfo(values.dtype) if values.dtype.kind in "iu" else None
    certain = held is not None and held.min >= low and held.max <= high
    if len(values) and not certain and (values.min() < low or values.max() > high):
        wrong = (values < low) | (values > high)
        if empty is not None and column not in ("link", "slot", "hw_pt"):
            wrong &= ~empty
            values = np.where(empty, 0, values)
        if wrong.any():
            at = int(np.argmax(wrong))
            raise bad_row(block, table, at, f"{values[at]}, expected {low}..{high}", column)
    # A copy in any case: numba compiles once more for arrays that cannot be written to.
    return np.array(values, dtype)


def bad_row(block: Block, table: Table, row: int, message: str, field: str) -> BadInput:
    """An error that says in which crossing a row of a table is."""
    crossing = int(np.searchsorted(table.offsets, row, side="right")) - 1
    return BadInput(
        message, file=block.origin.source or None, orbit=int(block.orbit[crossing]),
        bx=int(block.bx[crossing]), field=field,
    )  # fmt: skip
