"""Tables of the 36 track-finder links at the input of the global muon trigger.

Parquet, Arrow IPC or Feather with one row a muon: ``bx``, ``link`` 36..71, ``slot`` 0..2 and the
``hw_`` columns and track address of the table ``tfmu`` (streams/formats/track_finder.py), endcap
addresses ``me1_seg`` .. ``me4_ch`` optional. Other columns are ignored. Energy sums of the
calorimeter come in a further table with ``bx``, ``ieta`` 0..27, ``iphi`` 0..35, ``et`` 0..31, one
for each table of links, in the same order. links_join.py says how crossings are numbered.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scout40.streams.formats.track_finder import (
    CALOSUM_RANGES,
    EMTF_ADDRESS,
    LINKS,
    REGIONS,
    RINGS,
    SLOTS,
    TFMU,
    TFMU_DTYPES,
    TFMU_RANGES,
)
from scout40.streams.sources.links_join import JoinedTables, sets_of
from scout40.streams.sources.links_rows import Field, Kind, schema_of


def _field(name: str) -> Field:
    return Field(name, (name,), TFMU_DTYPES[name], *TFMU_RANGES[name])


MUONS = Kind(
    title="tables of links",
    name="tfmu",
    fields=tuple(map(_field, TFMU)),
    place=("link", "slot"),
    most=LINKS * SLOTS,
    numbers=("bx",),
    more=tuple(map(_field, EMTF_ADDRESS)),
    null="hw_pt",
)

SUMS = Kind(
    title="tables of calorimeter sums",
    name="calosum",
    fields=tuple(
        Field(name, (name,), np.dtype(np.uint8), *limits) for name, limits in CALOSUM_RANGES.items()
    ),
    place=("ieta", "iphi"),
    most=RINGS * REGIONS,
    numbers=("bx",),
)

_TELLING = {field.name for field in MUONS.fields[2:]}
LEAST = 3
"""Columns of muons beside the place that make a table one of links, should some be missing."""


def kind_of(path: str) -> Kind | None:
    """MUONS or SUMS, by the names of the columns; None for anything else."""
    schema = schema_of(path)
    names = set(schema.names) if schema is not None else set()
    if {"link", "slot"} & names and len(_TELLING & names) >= LEAST:
        return MUONS
    return SUMS if {"bx", "ieta", "iphi", "et"} <= names else None


def recognise(head: bytes, path: str) -> bool:
    """True for a table of links or of energy sums that scout40 did not write itself."""
    return bool(head) and kind_of(path) is not None


class LinksSource(JoinedTables):
    """Blocks with ``tfmu`` and, where given, ``calosum``; see the module docstring."""

    def __init__(self, paths: Sequence[str]) -> None:
        super().__init__("track-finder links", sets_of(paths, kind_of, MUONS, SUMS))
