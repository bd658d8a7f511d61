"""Tables of calorimeter trigger towers at the input of calorimeter layer 2.

Parquet, Arrow IPC or Feather with one row a tower: ``event``, or ``bx`` with or without ``orbit``;
``ieta`` +-1..28 and +-30..41, ``iphi`` 1..72, ``hw_pt`` or ``hw_et`` 0..511. Absent towers have no
energy. A further table with the column ``event`` and no towers lists all events, one for each
table of towers, in the same order. links_join.py says how crossings are numbered.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from scout40.streams.formats.tower import IETAS, IPHIS, CaloTower
from scout40.streams.sources.links_join import JoinedTables, sets_of
from scout40.streams.sources.links_rows import Field, Kind, schema_of

_WORD = CaloTower.fields
_HOLES = tuple(ieta for ieta in range(IETAS[0], IETAS[-1]) if ieta not in IETAS)

TOWERS = Kind(
    title="tables of towers",
    name="tower",
    fields=(
        Field("hw_et", ("hw_et", "hw_pt"), _WORD["hw_et"].dtype, 0, _WORD["hw_et"].limit),
        Field("hw_phi", ("iphi",), _WORD["hw_phi"].dtype, 1, IPHIS),
        Field("hw_eta", ("ieta",), _WORD["hw_eta"].dtype, IETAS[0], IETAS[-1], _HOLES),
    ),
    place=("hw_eta", "hw_phi"),
    most=len(IETAS) * IPHIS,
    numbers=("event", "bx"),
)

EVENTS = Kind(title="lists of events", name="", fields=(), place=(), most=1, numbers=("event",))

MOST_COLUMNS = 4
"""A list of events has no more columns than these."""


def kind_of(path: str) -> Kind | None:
    """TOWERS or EVENTS, by the names of the columns; None for anything else."""
    schema = schema_of(path)
    if schema is None:
        return None
    names = set(schema.names)
    if {"ieta", "iphi"} <= names and {"hw_et", "hw_pt"} & names:
        return TOWERS
    flat = all(pa.types.is_primitive(kind) for kind in schema.types)
    if "event" in names and flat and len(names) <= MOST_COLUMNS and "ieta" not in names:
        return EVENTS
    return None


def recognise(head: bytes, path: str) -> bool:
    """True for a table of towers or a list of events that scout40 did not write itself."""
    return bool(head) and kind_of(path) is not None


class TowersSource(JoinedTables):
    """Blocks with the table ``tower``; see the module docstring."""

    def __init__(self, paths: Sequence[str]) -> None:
        super().__init__("calorimeter towers", sets_of(paths, kind_of, TOWERS, EVENTS))
