"""LHC filling schemes: which of the 3564 slots of an orbit hold a bunch, and which collide.

A scheme is a pilot injection, then injections of the SPS, each of a number of PS batches. The
rules of the gaps are those of the public filling-scheme conventions of the LHC.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.streams.block import ORBIT_BX
from scout40.streams.errors import BadConfig

ABORT_GAP = 121
"""Empty slots at the end of the orbit, at least: 3 us for the rise of the dump kicker."""

_NUMBERS = ("pilot", "batch", "ps_gap", "sps_gap")
_KEYS = {*_NUMBERS, "pilot_collides", "injections"}


@dataclass(frozen=True, eq=False)
class Filling:
    """filled, colliding: bool, shape (3564,), read-only; slot i is bx i + 1."""

    name: str
    filled: npt.NDArray[np.bool_]
    colliding: npt.NDArray[np.bool_]

    @property
    def abort_gap(self) -> int:
        """Empty slots behind the last bunch."""
        return ORBIT_BX - 1 - int(np.flatnonzero(self.filled)[-1])


def packaged() -> list[str]:
    """Names of the schemes that are installed with the package."""
    folder = resources.files("scout40.configs").joinpath("lhc")
    found = [Path(item.name) for item in folder.iterdir()]
    return sorted(name.stem for name in found if name.suffix == ".toml")


def filling(name: str) -> Filling:
    """The packaged scheme of this name, or that of a TOML file; BadConfig when it is wrong."""
    if name.endswith(".toml"):
        try:
            data = Path(name).read_bytes()
        except OSError as error:
            raise BadConfig(f"{name}: {error.strerror}") from error
    elif name in packaged():
        data = resources.files("scout40.configs").joinpath("lhc", f"{name}.toml").read_bytes()
    else:
        known = ", ".join(packaged())
        raise BadConfig(f"no filling scheme {name!r}: expected one of {known}, or a .toml file")
    return parse(data, name)


def parse(data: bytes, name: str) -> Filling:
    """The scheme of a TOML text; BadConfig naming the key that is wrong."""
    try:
        table = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfig(f"filling scheme {name}: {error}") from error
    if table.keys() != _KEYS:
        unknown, absent = sorted(table.keys() - _KEYS), sorted(_KEYS - table.keys())
        raise BadConfig(f"filling scheme {name}: unknown keys {unknown}, absent keys {absent}")
    for key in _NUMBERS:
        _check_number(name, key, table[key])
    if not isinstance(table["injections"], list):
        raise BadConfig(f"filling scheme {name}: injections is not a list of numbers")
    for batches in table["injections"]:
        _check_number(name, "injections", batches)
    if not isinstance(table["pilot_collides"], bool):
        raise BadConfig(f"filling scheme {name}: pilot_collides is neither true nor false")
    return _placed(name, table)


def _check_number(name: str, key: str, value: object) -> None:
    if type(value) is not int or not 0 <= value <= ORBIT_BX:
        raise BadConfig(f"filling scheme {name}: {key} has {value!r}, expected 0..{ORBIT_BX}")


def _placed(name: str, table: dict[str, Any]) -> Filling:
    """Puts the injections behind each other."""
    runs = [(0, table["pilot"])]  # first slot, bunches
    place = table["pilot"] + table["sps_gap"]
    for batches in table["injections"]:
        for _ in range(batches):
            runs.append((place, table["batch"]))
            place += table["batch"] + table["ps_gap"]
        place += table["sps_gap"] - (table["ps_gap"] if batches else 0)
    end = max((first + bunches for first, bunches in runs if bunches), default=0)
    if not end:
        raise BadConfig(f"filling scheme {name}: no bunch")
    if end > ORBIT_BX:
        raise BadConfig(f"filling scheme {name}: needs {end} slots, an orbit has {ORBIT_BX}")
    if ORBIT_BX - end < ABORT_GAP:
        raise BadConfig(
            f"filling scheme {name}: abort gap of {ORBIT_BX - end} slots, at least {ABORT_GAP}"
        )
    filled = np.zeros(ORBIT_BX, np.bool_)
    for first, bunches in runs:
        filled[first : first + bunches] = True
    colliding = filled.copy()
    if not table["pilot_collides"]:
        colliding[: table["pilot"]] = False
    filled.flags.writeable = colliding.flags.writeable = False
    return Filling(name, filled, colliding)
