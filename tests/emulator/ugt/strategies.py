"""Random object words in blocks, by Hypothesis or from a seed.

Values crowd at the edges that matter: empty slots, overflow, equal objects, the phi wrap, the ends
of the eta scales (and beyond). Random menus: see menu_strategies.py.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from scout40.streams.block import ORBIT_BX, Block, Table, offsets_of
from scout40.streams.formats.ugt import OBJECT_WORDS

T = TypeVar("T")
SLOTS = {"mu": 8, "eg": 12, "tau": 12, "jet": 12}

# Field -> (values worth meeting often, lowest, highest)
CODES: dict[str, dict[str, tuple[tuple[int, ...], int, int]]] = {
    "mu": {
        "hw_phi_at_vtx": ((0, 1, 287, 288, 289, 575), 0, 575),
        "hw_pt": ((0, 1, 5, 5, 9, 41, 510, 511), 0, 511),
        "hw_qual": ((0, 4, 8, 12, 15), 0, 15),
        "hw_eta_at_vtx": ((-225, -224, -1, 0, 1, 224, 225), -225, 225),
        "hw_iso": ((0, 3), 0, 3),
        "hw_sign": ((), 0, 1),
        "hw_charge_valid": ((1, 1, 1), 0, 1),
        "tf_muon_index": ((0, 17, 18, 35, 36, 71, 72, 89, 90, 107), 0, 107),
        "hw_phi": ((0, 575), 0, 575),
        "hw_pt_unconstrained": ((0, 1, 255), 0, 255),
        "hw_shower": ((), 0, 1),
        "hw_dxy": ((), 0, 3),
    },
    "eg": {
        "hw_et": ((0, 1, 20, 20, 510, 511), 0, 511),
        "hw_eta": ((-115, -115, -114, -1, 0, 113, 114, 115), -115, 115),
        "hw_phi": ((0, 1, 71, 72, 73, 143), 0, 143),
        "hw_iso": ((0, 3), 0, 3),
    },
    "jet": {
        "hw_et": ((0, 1, 20, 20, 2046, 2047), 0, 2047),
        "hw_eta": ((-115, -115, -114, -1, 0, 113, 114, 115), -115, 115),
        "hw_phi": ((0, 1, 71, 72, 73, 143), 0, 143),
        "hw_displaced": ((), 0, 1),
        "hw_qual": ((), 0, 3),
    },
}
CODES["tau"] = CODES["eg"]


class Choice(Protocol):
    """Where random values come from."""

    def integer(self, low: int, high: int) -> int:
        """A value in [low, high]."""

    def pick(self, values: Sequence[T]) -> T:
        """One of the values."""


class Seeded:
    """Values of a seeded generator: fast, for bulk."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def integer(self, low: int, high: int) -> int:
        """A value in [low, high]."""
        return self.random.randint(low, high)

    def pick(self, values: Sequence[T]) -> T:
        """One of the values."""
        return self.random.choice(values)


class Drawn:
    """Values that Hypothesis draws, and shrinks."""

    def __init__(self, draw: Callable[..., Any]) -> None:
        self.draw = draw

    def integer(self, low: int, high: int) -> int:
        """A value in [low, high]."""
        value: int = self.draw(st.integers(low, high))
        return value

    def pick(self, values: Sequence[T]) -> T:
        """One of the values."""
        value: T = self.draw(st.sampled_from(values))
        return value


def an_object(name: str, choice: Choice, wild: bool = False) -> dict[str, int]:
    """One object; one in twelve has only ones in its word, or any value in each field.

    Codes of phi beyond the full turn have no meaning that the hardware defines (its tables would
    be addressed by a negative number), so only `wild` objects have them.
    """
    flavour, fields = choice.integer(0, 24), OBJECT_WORDS[name].fields
    out = {}
    for key, (often, low, high) in CODES[name].items():
        if flavour == 24:
            out[key] = -1 if fields[key].signed else fields[key].limit
        elif flavour == 23:
            out[key] = choice.integer(fields[key].minimum, fields[key].limit)
        else:
            edge = often and choice.integer(0, 1)
            out[key] = choice.pick(often) if edge else choice.integer(low, high)
        if "phi" in key and not wild:
            out[key] = min(out[key], high)
    return out


def some_objects(name: str, choice: Choice, most: int, wild: bool) -> list[dict[str, int]]:
    """Up to `most` objects in slots; equal neighbours happen."""
    out: list[dict[str, int]] = []
    for _ in range(choice.integer(0, most)):
        repeat = bool(out) and choice.integer(0, 5) == 0
        out.append(dict(out[-1]) if repeat else an_object(name, choice, wild))
    return out


def some_sums(choice: Choice, wild: bool) -> dict[str, int]:
    """One crossing's sums."""
    out = {}
    for key, bits in OBJECT_WORDS["sums"].fields.items():
        high = 143 if key.endswith("_phi") and not wild else bits.limit
        edge = choice.integer(0, 2)
        out[key] = (0, choice.integer(0, high), choice.integer(0, min(high, 100)))[edge]
    return out


def a_block(
    choice: Choice, crossings: int, most: int = 12, contiguous: bool = False, wild: bool = False
) -> Block:
    """A block of the given crossings; now and then a table or column is absent.

    A contiguous block leaves out some crossings, which by its promise are empty.
    """
    absent = choice.pick(("", "", "", "", "", "", "mu", "jet", "sums", "ext", "shower"))
    rows: dict[str, list[list[dict[str, int]]]] = {name: [] for name in (*SLOTS, "sums")}
    for _ in range(crossings):
        for name, slots in SLOTS.items():
            rows[name].append(some_objects(name, choice, min(slots, most), wild))
        rows["sums"].append([some_sums(choice, wild)] if choice.integer(0, 7) else [])
    tables = {name: table(name, lists) for name, lists in rows.items() if name != absent}
    steps = [choice.pick((1, 1, 1, 2, 3)) if contiguous else 1 for _ in range(crossings)]
    start = choice.pick((ORBIT_BX - 3, 0, 17)) if contiguous else 0
    time = np.cumsum([start, *steps])[1:] - 1 if crossings else np.zeros(0, np.int64)
    ext = [[choice.integer(0, 2**64 - 1) for _ in range(4)] for _ in range(crossings)]
    shower = [choice.integer(0, 255) for _ in range(crossings)]
    columns: dict[str, npt.NDArray[Any]] = {
        "ext": np.array(ext, np.uint64).reshape(crossings, 4),
        "shower": np.array(shower, np.uint8),
    }
    orbit = (time // ORBIT_BX).astype(np.uint32)
    return Block(
        first_orbit=0,
        last_orbit=int(orbit[-1]) + 1 if crossings else 1,
        orbit=orbit,
        bx=(time % ORBIT_BX + 1).astype(np.uint16),
        tables=tables,
        crossing={name: values for name, values in columns.items() if name != absent},
        contiguous=contiguous,
    ).check()


def table(name: str, lists: Sequence[Sequence[dict[str, int]]]) -> Table:
    """A table with the declared columns; trailing empty slots are trimmed, inner ones stay."""
    pt = {"mu": "hw_pt", "sums": None}.get(name, "hw_et")
    kept = []
    for things in lists:
        last = len(things)
        while pt and last and not things[last - 1][pt]:
            last -= 1
        kept.append(things[:last])
    flat = [thing for things in kept for thing in things]
    fields = OBJECT_WORDS[name].fields
    columns = {
        key: np.array([thing[key] for thing in flat], bits.dtype) for key, bits in fields.items()
    }
    return Table(columns, offsets_of(np.array([len(things) for things in kept], np.int64)))


@st.composite
def blocks(draw: Callable[..., Any], crossings: int = 3, contiguous: bool = False) -> Block:
    """Small blocks that shrink."""
    return a_block(Drawn(draw), draw(st.integers(1, crossings)), 4, contiguous)
