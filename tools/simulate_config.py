"""What is simulated: configs/simulate/samples.toml, checked."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

from scout40.streams.errors import BadConfig

Kind = Literal["muons", "pairs"]
Split = Literal["train", "validation", "test", "holdout"]

FILE = "samples.toml"
KINDS: tuple[Kind, ...] = ("muons", "pairs")
SPLITS: tuple[Split, ...] = ("train", "validation", "test", "holdout")
POOL = "minbias"
"""Process whose muons are the pile-up of pairs."""
_MOST = 10_000_000


@dataclass(frozen=True)
class Process:
    """One process; the comments of samples.toml tell what each field means."""

    name: str
    id: int
    settings: tuple[str, ...]
    branching: float
    in_flight: bool
    holdout: bool


@dataclass(frozen=True)
class Amount:
    """Events of one shard of a process, and how often each is used for muons and for pairs."""

    events: int
    muons: int
    pairs: int

    def copies(self, kind: Kind) -> int:
        return self.muons if kind == "muons" else self.pairs


@dataclass(frozen=True)
class Samples:
    """The whole file. sizes: name -> (blocks of each split, amount of each process)."""

    settings: tuple[str, ...]
    batch: int
    processes: Mapping[str, Process]
    blocks: Mapping[str, tuple[int, int]]
    sizes: Mapping[str, tuple[Mapping[str, int], Mapping[str, Amount]]]
    pileup: tuple[float, float]
    nondiffractive: float
    extra: Mapping[str, float]
    mix: Mapping[str, float]

    def split_of(self, process: str, block: int) -> Split:
        """Where the rows of a shard belong."""
        if self.processes[process].holdout:
            return "holdout"
        for split in SPLITS[:3]:
            first, last = self.blocks[split]
            if first <= block <= last:
                return split
        raise BadConfig(f"no split has seed block {block}")

    def shards(self, size: str, kind: Kind, chosen: tuple[str, ...]) -> list[tuple[str, int]]:
        """(process, block) of a sample, in a fixed order; BadConfig for an unknown size."""
        if size not in self.sizes:
            raise BadConfig(f"no size {size!r}: expected one of {', '.join(self.sizes)}")
        counts, amounts = self.sizes[size]
        for name in chosen:
            if name not in amounts:
                raise BadConfig(f"size {size} has no process {name!r}: {', '.join(amounts)}")
        found = []
        for split, (first, _) in self.blocks.items():
            for name in chosen or tuple(amounts):
                process = self.processes[name]
                if (process.holdout and split != "test") or not amounts[name].copies(kind):
                    continue
                found += [(name, block) for block in range(first, first + counts[split])]
        return found


def samples() -> Samples:
    """The packaged file."""
    place = resources.files("scout40.configs").joinpath("simulate", FILE)
    return from_settings(tomllib.loads(place.read_text()))


def from_settings(data: dict[str, Any]) -> Samples:
    """A checked configuration; BadConfig for wrong, missing and unknown keys."""
    _keys(data, ("pythia", "processes", "blocks", "sizes", "pairs"), "")
    _keys(data["pythia"], ("settings", "batch"), "pythia")
    _keys(data["blocks"], SPLITS[:3], "blocks")
    pairs = data["pairs"]
    _keys(pairs, ("pileup", "nondiffractive", "extra", "mix"), "pairs")
    _keys(pairs["extra"], ("nothing", "random", "punch_through", "noise"), "pairs.extra")
    _keys(pairs["mix"], ("real", "ghost", "punch_through", "random", "noise"), "pairs.mix")
    for name in ("extra", "mix"):
        if abs(sum(pairs[name].values()) - 1) > 1e-9:
            raise BadConfig(f"{FILE}: pairs.{name} adds up to {sum(pairs[name].values())}, not 1")
    processes = {name: _process(name, table) for name, table in data["processes"].items()}
    if len({process.id for process in processes.values()}) != len(processes):
        raise BadConfig(f"{FILE}: two processes have the same id")
    return Samples(
        settings=tuple(data["pythia"]["settings"]),
        batch=_count(data["pythia"]["batch"], "pythia.batch"),
        processes=processes,
        blocks={name: (int(low), int(high)) for name, (low, high) in data["blocks"].items()},
        sizes={name: _size(name, table, data) for name, table in data["sizes"].items()},
        pileup=(float(pairs["pileup"][0]), float(pairs["pileup"][1])),
        nondiffractive=float(pairs["nondiffractive"]),
        extra=pairs["extra"],
        mix=pairs["mix"],
    )


def digest_of(value: Any) -> str:
    """SHA-256 of a value as JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _process(name: str, table: dict[str, Any]) -> Process:
    values = {"holdout": False, **table}
    _keys(values, tuple(Process.__dataclass_fields__)[1:], f"processes.{name}")
    return Process(name=name, **{**values, "settings": tuple(values["settings"])})


def _size(
    name: str, table: dict[str, Any], data: dict[str, Any]
) -> tuple[dict[str, int], dict[str, Amount]]:
    _keys(table, (*SPLITS[:3], "processes"), f"sizes.{name}")
    counts: dict[str, int] = {
        split: _count(table[split], f"sizes.{name}.{split}") for split in SPLITS[:3]
    }
    for split, count in counts.items():
        first, last = data["blocks"][split]
        if count > last - first + 1:
            raise BadConfig(f"{FILE}: sizes.{name}.{split} has {count}, blocks end at {last}")
    amounts = {}
    for process, values in table["processes"].items():
        where = f"sizes.{name}.processes.{process}"
        if process not in data["processes"]:
            raise BadConfig(f"{FILE}: {where}: no such process")
        _keys(values, ("events", "muons", "pairs"), where)
        amounts[process] = Amount(**{key: _count(value, where) for key, value in values.items()})
    if POOL not in amounts:
        raise BadConfig(f"{FILE}: sizes.{name} has no {POOL}, which is the pile-up of pairs")
    return counts, amounts


def _keys(table: Mapping[str, Any], expected: tuple[str, ...], where: str) -> None:
    wrong = sorted(set(table) ^ set(expected))
    if wrong:
        raise BadConfig(f"{FILE}: {where or 'top level'}: unknown or missing: {', '.join(wrong)}")


def _count(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
        raise BadConfig(f"{FILE}: {where} has {value!r}, expected an integer 0..{_MOST}")
    return value
