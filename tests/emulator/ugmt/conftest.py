"""Reference sets of the uGMT as blocks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from scout40.streams.block import Block, Table, offsets_of
from tests.tables import Columns, read_columns


def table_of(columns: Columns, crossings: int) -> Table:
    """Rows with a column ``bx``, counted from 0 and rising, as a table of that many crossings."""
    counts = np.bincount(columns["bx"], minlength=crossings)
    rest = {name: values for name, values in columns.items() if name != "bx"}
    return Table(rest, offsets_of(counts))


def block_of(tables: dict[str, Table]) -> Block:
    """An independent-events block of tables of equal length."""
    crossings = len(next(iter(tables.values())).offsets) - 1
    return Block(
        first_orbit=0,
        last_orbit=1,
        orbit=np.zeros(crossings, np.uint32),
        bx=(np.arange(crossings) % 3564 + 1).astype(np.uint16),
        tables=tables,
    ).check()


@pytest.fixture(scope="session")
def reference_set(reference: Path) -> Callable[[str], tuple[Block, Callable[[str], Columns]]]:
    """Maps the name of a set to its input block and a reader of its other files."""

    def load(name: str) -> tuple[Block, Callable[[str], Columns]]:
        def part(suffix: str) -> Columns:
            return read_columns(reference / "cmssw" / f"ugmt_{name}_{suffix}.parquet")

        inputs, outputs = part("inputs"), part("outputs")
        crossings = int(max(inputs["bx"].max(), outputs["bx"].max())) + 1
        tables = {"tfmu": table_of(inputs, crossings)}
        if name == "iso":
            tables["calosum"] = table_of(part("calosums"), crossings)
        return block_of(tables), part

    return load
