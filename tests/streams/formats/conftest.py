"""The reference unpackings of the scouting formats (not part of the repository)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest

from scout40.streams.sources.raw_unpack import Objects, Packets, packets_of

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Scouting:
    """Reference sets of the scouting unpackers, and comparisons with them."""

    folder: Path

    def packets(self, name: str, first_source: int = 0, only: int | None = None) -> Packets:
        """Raw words of a set as packets; ``only`` selects one source number of the file."""
        with np.load(self.folder / f"scouting_{name}_raw.npz") as data:
            words, offsets = data["words"], data["offsets"]
            orbit, source = data["orbit"], data["source"]
        chosen = [k for k in range(len(orbit)) if only is None or source[k] == only]
        return packets_of(
            [words[offsets[k] : offsets[k + 1]] for k in chosen],
            [int(orbit[k]) for k in chosen],
            [int(source[k]) + first_source for k in chosen],
        )

    def expected(self, name: str) -> dict[str, Array]:
        """Columns of the expected table."""
        table = pq.read_table(self.folder / f"scouting_{name}_expected.parquet")
        return {column: table[column].to_numpy() for column in table.column_names}

    @staticmethod
    def same_places(found: Objects, wanted: dict[str, Array]) -> None:
        """Orbit and crossing of every object, in order."""
        np.testing.assert_array_equal(np.repeat(found.orbit, found.counts), wanted["orbit"])
        np.testing.assert_array_equal(np.repeat(found.bx, found.counts), wanted["bx"])

    @staticmethod
    def same_integers(
        found: dict[str, Array], wanted: dict[str, Array], names: Iterable[str]
    ) -> None:
        for name in names:
            np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)

    @staticmethod
    def same_bits(found: dict[str, Array], wanted: dict[str, Array], names: dict[str, str]) -> None:
        """float32 bit patterns; names: expected column without f_ -> our column."""
        for name, ours in names.items():
            assert found[ours].dtype == np.float32
            np.testing.assert_array_equal(
                found[ours].view(np.uint32), wanted[f"f_{name}"].view(np.uint32), err_msg=name
            )


@pytest.fixture
def scouting(reference: Path) -> Scouting:
    return Scouting(reference / "cmssw")
