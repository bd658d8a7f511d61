"""Arrays of the synthetic stream as its kernels see them: pointers, which cost nothing to pass."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt


class Muons(NamedTuple):
    """Pointers to the arrays of a MuonPool."""

    rows: Any
    starts: Any
    entries: Any


class Calos(NamedTuple):
    """Pointers to the arrays of a CaloPool."""

    bodies: Any
    sizes: Any
    starts: Any
    numbers: Any
    links: Any
    quantiles: Any


class Fill(NamedTuple):
    """Pointers to the arrays of Bunches."""

    counters: Any
    slots: Any
    idle: Any
    colliding: Any
    mean: Any
    spread: Any
    limits: Any
    shares: Any


class Work(NamedTuple):
    """Scratch of one call: random bits of the pairs of crossings; whether a crossing is busy;
    the busy crossings and their random bits; row of the calorimeter pool of every crossing; rows
    of the muon pool of one crossing."""

    bits: npt.NDArray[np.uint64]
    above: npt.NDArray[np.uint8]
    place: npt.NDArray[np.int32]
    uniform: npt.NDArray[np.uint32]
    row: npt.NDArray[np.int64]
    chosen: npt.NDArray[np.int64]


class Scratch(NamedTuple):
    """Pointers to the arrays of Work; ``halves`` are the bits as 32-bit words, ``eights`` are
    eight bytes of ``above`` at once."""

    bits: Any
    halves: Any
    above: Any
    eights: Any
    place: Any
    uniform: Any
    row: Any
    chosen: Any
