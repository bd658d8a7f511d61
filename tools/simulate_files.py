"""Shards as Parquet files: written under a hidden name, then renamed, and known by their settings.

What a shard was made from stands in the metadata of its schema. A file whose settings are those
that are wanted, and whose bytes are those of the manifest if there is one, is not made again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from scout40.streams.errors import BadInput

SETTINGS, MADE = b"scout40_simulation", b"scout40_made"
MANIFEST = "manifest.json"
_MOST_BYTES = 64 << 20

UNITS = {
    "pt": "GeV", "phi": "rad", "vx": "mm", "vy": "mm", "vz": "mm", "weight": "mb",
    "px": "GeV", "py": "GeV", "pz": "GeV", "x": "mm", "y": "mm", "z": "mm",
}  # fmt: skip


def write_shard(
    path: Path, columns: Mapping[str, npt.NDArray[Any]], settings: Any, made: Any = None
) -> None:
    """Write columns with their settings; the same arguments give the same bytes.

    made: what came out besides the columns, for ``read_made``.
    """
    fields = []
    for name, values in columns.items():
        unit = UNITS.get(name.removeprefix("mu1_").removeprefix("mu2_"))
        note = {b"unit": unit.encode()} if unit else None
        fields.append(pa.field(name, pa.from_numpy_dtype(values.dtype), False, note))
    notes = {
        SETTINGS: json.dumps(settings, sort_keys=True).encode(),
        MADE: json.dumps(made).encode(),
    }
    schema = pa.schema(fields, notes)
    arrays = [pa.array(np.ascontiguousarray(values)) for values in columns.values()]
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        pq.write_table(pa.Table.from_arrays(arrays, schema=schema), hidden, compression="zstd")
        os.replace(hidden, path)
    finally:
        hidden.unlink(missing_ok=True)


def is_valid(path: Path, settings: Any, sha256: str | None) -> bool:
    """Whether this file is a whole shard of these settings, and of this checksum if given."""
    if not path.is_file():
        return False
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowException):
        return False
    if metadata.get(SETTINGS) != json.dumps(settings, sort_keys=True).encode():
        return False
    return sha256 is None or checksum(path) == sha256


def read_columns(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Columns of a shard as arrays."""
    table = pq.read_table(path)
    return {name: table[name].to_numpy() for name in table.column_names}


def read_made(path: Path) -> Any:
    """What came out besides the columns."""
    return json.loads(pq.read_schema(path).metadata[MADE])


def checksum(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_manifest(path: Path, content: Mapping[str, Any]) -> None:
    """Write a manifest in the same safe way."""
    hidden = path.with_name(f".{path.name}.{os.getpid()}")
    hidden.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(hidden, path)


def read_manifest(path: Path) -> dict[str, Any]:
    """A manifest; BadInput when it is none."""
    name = str(path)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise BadInput(f"is larger than {_MOST_BYTES} bytes", file=name)
        content = json.loads(path.read_text())
    except OSError as error:
        raise BadInput(f"no manifest: {error.strerror}", file=name) from error
    except ValueError as error:
        raise BadInput(f"not JSON: {error}", file=name) from error
    if not isinstance(content, dict) or not isinstance(content.get("shards"), list):
        raise BadInput("is no manifest of simulated samples", file=name)
    for shard in content["shards"]:
        texts = ("file", "sha256", "split", "process")
        if not isinstance(shard, dict) or not all(isinstance(shard.get(t), str) for t in texts):
            raise BadInput("a shard lacks file, sha256, split or process", file=name)
        if Path(shard["file"]).name != shard["file"]:
            raise BadInput(f"shard {shard['file']!r} is not beside it", file=name)
    return content
