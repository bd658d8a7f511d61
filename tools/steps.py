"""What each step of uGMT and calorimeter layer 2 gives, as rows to compare with a file.

A file of expected rows is known by its columns: output muons (``pos``), intermediate muons
(``stream``, ``pos``), input muons (``link``, ``slot``, columns ``exp_*``), jets (``config``,
``stage``, ``pos``) and candidate jets (``config``, ``pos``). Rows belong to crossings by
``orbit`` and ``bx``, by ``event``, or by ``bx`` alone as a running number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from scout40.emulator.calo.config import CONFIGS, CaloConfig
from scout40.streams.block import ORBIT_BX, Block, Table
from scout40.streams.errors import BadConfig, BadInput
from scout40.tools.chain import DEFAULT_CALO, Stage, Start

Array = npt.NDArray[Any]
Columns = dict[str, Array]

MAX_CROSSING = ORBIT_BX << 32
"""Crossings that 32-bit orbit numbers can count."""

KEY_BITS = 18
"""Bits of a row's place beside its crossing, so that both fit 63; the keys share them evenly."""

JET_CODES = {config.name: code for code, config in enumerate(CONFIGS.values())}
"""Numbers of the calo settings in files of expected jets."""


@dataclass(frozen=True)
class Step:
    """One kind of expected rows.

    keys: columns that place a row inside its crossing. rows: (stage, block) -> (crossing row of
    each of our rows, their columns).
    """

    name: str
    start: Start
    keys: tuple[str, ...]
    rows: Callable[[Stage, Block, tuple[CaloConfig, ...]], tuple[Array, Columns]]


def _flat(table: Table, **more: Array) -> tuple[Array, Columns]:
    counts = table.counts()
    place = np.arange(len(table)) - np.repeat(table.offsets[:-1], counts)
    return np.repeat(np.arange(len(counts)), counts), {"pos": place, **table.columns, **more}


def _outputs(stage: Stage, block: Block, _: tuple[CaloConfig, ...]) -> tuple[Array, Columns]:
    return _flat(stage.run(block).tables["mu"])


def _intermediate(stage: Stage, block: Block, _: tuple[CaloConfig, ...]) -> tuple[Array, Columns]:
    return _flat(stage.run(block).tables["mu_intermediate"])


def _inputs(stage: Stage, block: Block, _: tuple[CaloConfig, ...]) -> tuple[Array, Columns]:
    rows, columns = _flat(stage.run(block, details=True).tables["tfmu"])
    steps = ("global_phi", "cancel", "rank", "dphi", "deta", "cancel_within_tf")
    return rows, {**columns, **{f"exp_{name}": columns[name] for name in steps}}


def _jets(stage: Stage, block: Block, configs: tuple[CaloConfig, ...]) -> tuple[Array, Columns]:
    parts = []
    for config in configs:
        tables = stage.calo(config).run(block, details=True).tables
        for number, name in enumerate(("jet_processor", "jet")):
            parts.append(_of_jets(tables[name], config, number))
    return _joined(parts)


def _candidates(
    stage: Stage, block: Block, configs: tuple[CaloConfig, ...]
) -> tuple[Array, Columns]:
    runs = [(config, stage.calo(config).run(block, details=True).tables) for config in configs]
    return _joined([_of_jets(tables["jet_presort"], config, 0) for config, tables in runs])


def _of_jets(table: Table, config: CaloConfig, number: int) -> tuple[Array, Columns]:
    rows, columns = _flat(table)
    columns |= {"hw_pt": columns["hw_et"]}
    codes = {"config": JET_CODES[config.name], "stage": number}
    return rows, columns | {name: np.full(len(rows), code) for name, code in codes.items()}


def _joined(parts: list[tuple[Array, Columns]]) -> tuple[Array, Columns]:
    rows = np.concatenate([part[0] for part in parts])
    names = parts[0][1]
    return rows, {name: np.concatenate([part[1][name] for part in parts]) for name in names}


STEPS = (
    Step("input muons", "links", ("link", "slot"), _inputs),
    Step("intermediate muons", "links", ("stream", "pos"), _intermediate),
    Step("output muons", "links", ("pos",), _outputs),
    Step("jets", "towers", ("config", "stage", "pos"), _jets),
    Step("candidate jets", "towers", ("config", "pos"), _candidates),
)
"""In the order in which they are asked for their key columns."""

FOREIGN: dict[Start, set[str]] = {
    "links": {"config", "stage", "seed_et"},
    "towers": {"link", "slot", "stream", "tf_muon_index"},
}
"""Columns that rows of this start never have, but those of the other one do."""


@dataclass(frozen=True)
class Expected:
    """Rows of one file, by rising place.

    crossing: int64 running number or time of the crossing. place: int64, crossing and keys.
    floats: columns of physical values, which the hardware integers beside them stand for.
    """

    step: Step
    path: str
    timed: bool
    crossing: npt.NDArray[np.int64]
    place: npt.NDArray[np.int64]
    columns: Columns
    configs: tuple[CaloConfig, ...] = ()
    floats: tuple[str, ...] = ()


def read_expected(path: str, start: Start, config: str | None) -> Expected:
    """The expected rows of a Parquet file, of one calo setting when ``config`` names it.

    Raises BadInput for a file that is none, or has the same place twice.
    """
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise BadInput("no such file", file=path) from None
    except (OSError, ValueError) as error:
        raise BadInput(f"not a Parquet file: {error}", file=path) from None
    step = _step_of(set(table.column_names), start, path)
    floats = [field.name for field in table.schema if pa.types.is_floating(field.type)]
    columns = {
        name: _integers(table[name], name, path)
        for name in table.column_names
        if name not in floats or name in {*step.keys, "orbit", "bx", "event"}
    }
    configs: tuple[CaloConfig, ...] = ()
    if start == "towers":
        columns, configs = _of_config(columns, config, path)
    timed = {"orbit", "bx"} <= columns.keys()
    name = "event" if "event" in columns and not timed else "bx"
    _check(columns, name, (1, ORBIT_BX + 1) if timed else (0, MAX_CROSSING), path)
    crossing = columns[name].astype(np.int64)
    if timed:
        _check(columns, "orbit", (0, 1 << 32), path)
        crossing += columns["orbit"].astype(np.int64) * ORBIT_BX - 1
    place = place_of(crossing, columns, step.keys, path)
    order = np.argsort(place, kind="stable")
    columns = {name: values[order] for name, values in columns.items()}
    if np.any(np.diff(place[order]) == 0):
        raise BadInput(f"two rows have the same {', '.join(step.keys)} in a crossing", file=path)
    return Expected(
        step, path, timed, crossing[order], place[order], columns, configs, tuple(floats)
    )


def _check(columns: Mapping[str, Array], name: str, bounds: tuple[int, int], path: str) -> None:
    """BadInput unless all values are at least the first bound and below the second."""
    values, (low, high) = columns[name], bounds
    if len(values) and not low <= values.min() <= values.max() < high:
        text = f"values {values.min()}..{values.max()}, expected {low}..{high - 1}"
        raise BadInput(text, file=path, field=name)


def _integers(column: Any, name: str, path: str) -> Array:
    values: Array = column.to_numpy()
    if values.dtype.kind not in "iub":
        raise BadInput(f"expected integers, got {column.type} (or nulls)", file=path, field=name)
    return values


def _step_of(names: set[str], start: Start, path: str) -> Step:
    foreign = sorted(FOREIGN.get(start, set()) & names)
    for step in STEPS:
        keys = set(step.keys) - {"config"}
        told = any(name.startswith("exp_") for name in names) or "link" not in step.keys
        numbered = bool(names & {"bx", "event"})
        if step.start == start and keys <= names and told and numbered and not foreign:
            return step
    kinds = []
    for step in (step for step in STEPS if step.start == start):
        needs = [key for key in step.keys if key != "config"]
        needs += ["any exp_ column"] if "link" in needs else []
        kinds.append(f"{step.name}: {', '.join(needs)}")
    text = f"no rows to compare with; needs bx or event, and of {'; '.join(kinds)}"
    if foreign:
        text += f" (and none of: {', '.join(foreign)})"
    raise BadInput(text, file=path)


def _of_config(
    columns: Columns, config: str | None, path: str
) -> tuple[Columns, tuple[CaloConfig, ...]]:
    """Rows of the wanted calo settings, and these; a file without numbers of them has one."""
    if "config" not in columns:
        chosen = CONFIGS[config or DEFAULT_CALO]
        count = len(next(iter(columns.values())))
        return {**columns, "config": np.full(count, JET_CODES[chosen.name])}, (chosen,)
    named = {code: CONFIGS[name] for name, code in JET_CODES.items()}
    codes = np.unique(columns["config"]).tolist()
    unknown = [code for code in codes if code not in named]
    if unknown:
        known = ", ".join(f"{code} {one.name}" for code, one in named.items())
        raise BadInput(f"config {unknown[0]} is not known; known are {known}", file=path)
    if not codes:  # without rows it says nothing of settings either
        return columns, (CONFIGS[config or DEFAULT_CALO],)
    if config is None:
        return columns, tuple(named[code] for code in codes)
    keep = columns["config"] == JET_CODES[config]
    if not keep.any():
        raise BadConfig(f"{path}: no rows of configuration {config}, code {JET_CODES[config]}")
    return {name: values[keep] for name, values in columns.items()}, (CONFIGS[config],)


def place_of(
    crossing: npt.NDArray[np.int64], columns: Mapping[str, Array], keys: tuple[str, ...], path: str
) -> npt.NDArray[np.int64]:
    """One number that rises with crossing and keys."""
    place, room = crossing, 1 << KEY_BITS // len(keys)
    for key in keys:
        _check(columns, key, (0, room), path)
        place = place * room + columns[key].astype(np.int64)
    return place
