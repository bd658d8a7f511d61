"""Blocks of towers and lists of jets, as the tests of the jet finder write them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scout40.emulator.calo.calibration import Calibration
from scout40.streams.block import Block, Table, offsets_of
from tests.emulator.calo import slow_calo

Towers = dict[tuple[int, int], int]
"""(ieta, iphi) -> Et."""

IETAS = [ieta for ieta in range(-41, 42) if abs(ieta) not in (0, 29)]
JET = ("hw_et", "ieta", "iphi", "raw_et", "seed_et", "pu_et")


def block_of(events: Sequence[Towers]) -> Block:
    """Independent crossings, bx 1, 2 ... of orbit 7."""
    rows = [(et, ieta, iphi) for towers in events for (ieta, iphi), et in towers.items()]
    columns = np.array(rows, np.int64).reshape(-1, 3).T
    towers = Table(
        {
            "hw_et": columns[0].astype(np.uint16),
            "hw_eta": columns[1].astype(np.int8),
            "hw_phi": columns[2].astype(np.uint8),
        },
        offsets_of(np.array([len(towers) for towers in events], np.int64)),
    )
    n = len(events)
    bx = np.arange(1, n + 1, dtype=np.uint16)
    return Block(7, 8, np.full(n, 7, np.uint32), bx, {"tower": towers}).check()


def jets_of(table: Table, crossing: int = 0) -> list[tuple[int, ...]]:
    """Values of JET of each jet of a crossing."""
    part = slice(int(table.offsets[crossing]), int(table.offsets[crossing + 1]))
    return list(zip(*(table[name][part].tolist() for name in JET), strict=True))


def twin_jets(jets: Sequence[slow_calo.Jet]) -> list[tuple[int, ...]]:
    """The same of the slow twin's list."""
    return [(j.et, j.ieta, j.iphi, j.raw_et, j.seed_et, j.pu_et) for j in jets]


def twin_calibration(calibration: Calibration) -> slow_calo.Calibration:
    """A calibration as the twin takes it, with one eta bin and one pt bin per entry and row.

    The twin has 16 bins of each; its lists are made such that every pair of bins that is used
    has the kernel's numbers, which needs that rows and columns repeat as in hardware.
    """
    words = calibration.multiplier | (calibration.addend & 255) << 10
    eta_rows, eta_bin = np.unique(words[1:], axis=0, return_inverse=True)
    columns, pt_bin = np.unique(eta_rows, axis=1, return_inverse=True)
    table = np.zeros((16, 16), np.int64)
    table[: columns.shape[0], : columns.shape[1]] = columns
    return slow_calo.Calibration(
        pt_bin.ravel().tolist(), [0, *eta_bin.ravel().tolist()], table.ravel().tolist()
    )
