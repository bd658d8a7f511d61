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

from scout40.streams.errors import BadInput
from scout40.streams.formats.track_finder import (
    EMTF_ADDRESS,
    FIRST_LINK,
    LINKS,
    REGIONS,
    RINGS,
    SLOTS,
    TFMU,
    TFMU_DTYPES,
)
from scout40.streams.layout import Bits
from scout40.streams.sources.links_join import JoinedTables
from scout40.streams.sources.links_rows import Field, Kind, Reader, schema_of

_BYTE = np.dtype(np.uint8)


def _field(name: str, bits: Bits) -> Field:
    return Field(name, (name,), TFMU_DTYPES[name], bits.minimum, bits.limit)


MUONS = Kind(
    name="tfmu",
    fields=(
        Field("link", ("link",), _BYTE, FIRST_LINK, FIRST_LINK + LINKS - 1),
        Field("slot", ("slot",), _BYTE, 0, SLOTS - 1),
        *(_field(name, bits) for name, bits in TFMU.items() if name not in ("link", "slot")),
    ),
    place=("link", "slot"),
    most=LINKS * SLOTS,
    numbers=("bx",),
    more=tuple(_field(name, bits) for name, bits in EMTF_ADDRESS.items()),
    null="hw_pt",
)

SUMS = Kind(
    name="calosum",
    fields=(
        Field("ieta", ("ieta",), _BYTE, 0, RINGS - 1),
        Field("iphi", ("iphi",), _BYTE, 0, REGIONS - 1),
        Field("et", ("et",), _BYTE, 0, 31),
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
        kinds = [(str(path), kind_of(str(path))) for path in paths]
        unknown = [path for path, kind in kinds if kind is None]
        if unknown:
            raise BadInput("no table of links or of calorimeter sums", file=unknown[0])
        muons = [Reader(path, MUONS) for path, kind in kinds if kind is MUONS]
        sums = [Reader(path, SUMS) for path, kind in kinds if kind is SUMS]
        if not muons or len(sums) not in (0, len(muons)):
            raise BadInput(
                f"{len(muons)} tables of links and {len(sums)} of calorimeter sums; expected one "
                "table of sums for each table of links, or none"
            )
        sets = (
            [list(pair) for pair in zip(muons, sums, strict=True)] if sums else [[m] for m in muons]
        )
        super().__init__("track-finder links", sets)
