"""Parquet files as columns, for tests of all folders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

Columns = dict[str, npt.NDArray[Any]]


def read_columns(path: Path) -> Columns:
    """All columns of a Parquet file."""
    table = pq.read_table(path)
    return {name: np.asarray(table[name].to_numpy()) for name in table.column_names}


def write_columns(path: Path, columns: Mapping[str, Any]) -> str:
    """The columns as a Parquet file; its name."""
    pq.write_table(pa.table(dict(columns)), path)
    return str(path)
