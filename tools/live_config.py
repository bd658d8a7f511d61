"""The pipeline file of a live run: TOML, every key declared here with its bounds and default."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from scout40.streams.errors import BadConfig, BadInput
from scout40.streams.json_record import OneOf, Within, load

MAX_BYTES = 1 << 16
"""Size of a pipeline file."""
POLICIES = ("block", "drop", "keep-last")


@dataclass(frozen=True, slots=True)
class InputSettings:
    """[input]

    sources: kinds of detector sources that fill tables; none: those of the first messages.
    window_ms: how long a message waits for an earlier one, and a feed for the others.
    stale_s: a feed that is silent for so long, heartbeats included, is not waited for.
    queue_packets: orbits of one source that may wait; then ``policy``: block the feed, drop what
        comes (counted), or keep the last and drop the oldest (counted).
    gather_ms: messages wait for so long, to be decided together; not when block_orbits are there.
    block_orbits: orbits decided together when many wait.
    shared: other consumers share the feeds.
    """

    sources: tuple[str, ...] = ()
    window_ms: Annotated[float, Within(0, 60_000)] = 50.0
    stale_s: Annotated[float, Within(0.1, 3600)] = 3.0
    queue_packets: Annotated[int, Within(256, 1 << 24)] = 32768
    policy: Annotated[str, OneOf(POLICIES)] = "block"
    gather_ms: Annotated[float, Within(0, 1000)] = 10.0
    block_orbits: Annotated[int, Within(1, 4096)] = 512
    shared: bool = False


@dataclass(frozen=True, slots=True)
class MenuSettings:
    """[menu]

    Files, looked for beside the pipeline file; ``file`` empty: the packaged demo menu.

    networks: folder of network files, for conditions on their scores.
    column: a column of the prescale table, by name or number.
    """

    file: str = ""
    networks: str = ""
    prescales: str = ""
    column: str = ""
    finor_mask: str = ""
    veto_mask: str = ""
    bx_mask: str = ""


@dataclass(frozen=True, slots=True)
class SelectionSettings:
    """[selection]

    Crossings that are written: all of them with objects or decisions; every crossing of each
    zero_bias_every-th orbit; those in which one of the algorithms fired after prescale, or that a
    selector chose; with the crossings up to ``window`` on each side. 0 and empty: none.
    """

    all: bool = False
    zero_bias_every: Annotated[int, Within(0, (1 << 32) - 1)] = 0
    algorithms: tuple[str, ...] = ()
    selectors: tuple[str, ...] = ()
    window: Annotated[int, Within(0, 3563)] = 0


@dataclass(frozen=True, slots=True)
class OutputSettings:
    """[output]

    A file is closed after max_orbits, max_seconds or max_megabytes, whichever comes first; 0:
    never for this reason.

    physical: float32 columns beside the hardware integers.
    policy: when the disk refuses, drop rows (counted) and try again, or stop the run.
    """

    format: Annotated[str, OneOf(("arrow", "arrows", "parquet"))] = "arrow"
    compression: Annotated[str, OneOf(("none", "lz4", "zstd"))] = "lz4"
    physical: bool = False
    max_orbits: Annotated[int, Within(0, 1 << 32)] = 0
    max_seconds: Annotated[float, Within(0, 86_400)] = 60.0
    max_megabytes: Annotated[int, Within(0, 1 << 20)] = 1024
    policy: Annotated[str, OneOf(("drop", "stop"))] = "drop"


@dataclass(frozen=True, slots=True)
class MonitorSettings:
    """[monitor]

    interval_s: time between two snapshots.
    """

    interval_s: Annotated[float, Within(0.1, 60)] = 0.5


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A whole pipeline file; ``folder``: where the files that it names are looked for."""

    input: InputSettings = field(default_factory=InputSettings)
    menu: MenuSettings = field(default_factory=MenuSettings)
    selection: SelectionSettings = field(default_factory=SelectionSettings)
    output: OutputSettings = field(default_factory=OutputSettings)
    monitor: MonitorSettings = field(default_factory=MonitorSettings)


@dataclass(frozen=True)
class Configured:
    """A pipeline, its name, and the place of the files that it names."""

    name: str
    pipeline: Pipeline
    folder: Path

    def path(self, name: str) -> str | None:
        """A file that the pipeline names; None for the empty name."""
        return str(self.folder / name) if name else None


def packaged() -> list[str]:
    """Names of the pipelines that come with scout40."""
    folder = resources.files("scout40.configs").joinpath("pipelines")
    return sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name[-5:] == ".toml")


def load_pipeline(name: str | Path, *, menu: str | None = None) -> Configured:
    """The pipeline of a file, or of a packaged name without suffix.

    menu: a menu file instead of the one that the pipeline names.
    Raises BadConfig naming the file and the key.
    """
    text, folder, known = _text(str(name))
    try:
        document = tomllib.loads(text)
        merged = _merged(dataclasses.asdict(Pipeline()), document)
        pipeline = load(Pipeline, json.dumps(merged).encode(), MAX_BYTES, str(name))
    except tomllib.TOMLDecodeError as error:
        raise BadConfig(f"{name}: {error}") from None
    except TypeError as error:  # a date, which has no place here
        raise BadConfig(f"{name}: {error}") from None
    except BadInput as error:
        raise BadConfig(str(error)) from None
    if menu is not None:
        chosen = dataclasses.replace(pipeline.menu, file=str(Path(menu).absolute()))
        pipeline = dataclasses.replace(pipeline, menu=chosen)
    return Configured(known, pipeline, folder)


def _text(name: str) -> tuple[str, Path, str]:
    """(content, folder, short name) of a pipeline."""
    path = Path(name)
    if not path.suffix and not path.exists():
        if name not in packaged():
            listed = ", ".join(packaged())
            raise BadConfig(f"no pipeline {name!r}: a file *.toml, or one of {listed}")
        place = resources.files("scout40.configs").joinpath("pipelines", f"{name}.toml")
        return place.read_text("utf-8"), Path(), name
    if path.stat().st_size > MAX_BYTES:
        raise BadConfig(f"{name}: more than {MAX_BYTES} bytes, not a pipeline file")
    try:
        return path.read_text("utf-8"), path.parent, path.stem
    except UnicodeDecodeError as error:
        raise BadConfig(f"{name}: not a text file: {error}") from None


def _merged(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The given values over the defaults, table by table; unknown keys stay, to be refused."""
    merged = dict(defaults)
    for name, value in given.items():
        inner = merged.get(name)
        if isinstance(inner, dict) and isinstance(value, dict):
            value = _merged(inner, value)
        merged[name] = value
    return merged
