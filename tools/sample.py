"""The packaged sample: synthetic raw scouting data and a small menu, read without any file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import numpy as np

from scout40.emulator.ugt import Menu, load_menu
from scout40.streams.block import Block, Origin
from scout40.streams.sources import open_source
from scout40.streams.sources.base import Run

MENU = "demo.toml"
SAMPLE = "demo.raw"


@contextlib.contextmanager
def sample_path() -> Iterator[Path]:
    """The packaged raw file as a real file."""
    place = resources.files("scout40.configs").joinpath("samples", SAMPLE)
    with resources.as_file(place) as path:
        yield path


def demo_menu() -> Menu:
    """The packaged menu."""
    place = resources.files("scout40.configs").joinpath("menus", MENU)
    with resources.as_file(place) as path:
        return load_menu(path)


class Repeated:
    """A raw file read ``times`` times as one long stream: orbit numbers go on rising.

    Every turn opens and unpacks the file anew, so speed and ledger are those of real reading.
    """

    contiguous = True

    def __init__(self, path: Path, times: int) -> None:
        self._path, self._times = path, times
        first = open_source([str(path)])
        self.name = f"packaged sample, synthetic, {times} times"
        self.total = None if first.total is None else first.total * times

    def blocks(self, run: Run) -> Iterator[Block]:
        """Blocks of all turns, in rising order of orbits."""
        following: int | None = None
        sequence = 0
        for _ in range(self._times):
            shift: int | None = None
            for block in open_source([str(self._path)]).blocks(run):
                if shift is None:
                    shift = 0 if following is None else following - block.first_orbit
                last = block.last_orbit + shift
                yield block.replace(
                    first_orbit=block.first_orbit + shift,
                    last_orbit=last,
                    orbit=block.orbit + np.uint32(shift),
                    origin=Origin(block.origin.source, sequence),
                )
                following = last
                sequence += 1
