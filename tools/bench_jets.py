"""How fast the jet finder is on full crossings, one core, beside the same steps in NumPy."""

from __future__ import annotations

import numpy as np

from scout40.emulator.calo.config import CaloConfig, configuration
from scout40.emulator.calo.geometry import IETA_OF_ROW, N_PHI, N_ROWS
from scout40.emulator.calo.jets import find_jets
from scout40.streams.block import Block, Table, offsets_of
from scout40.streams.errors import Scout40Error
from scout40.tools.measure import Measure, interleaved
from scout40.tools.numpy_jets import numpy_jets

EVENTS = 2000
CHECKED = 100
"""Crossings for the NumPy version, whose results are compared first."""
LIMIT = 20_000.0
SEED = 3
JETS = 20


def bench(quick: bool) -> list[Measure]:
    """Crossings per second with the setting of 2024; all 5,760 towers have energy."""
    config = configuration("2024")
    block = full_crossings(EVENTS // 4 if quick else EVENTS, SEED)
    few = block.take(0, CHECKED)
    check_equal(few, config)

    def kernel() -> None:
        find_jets(block, config)

    def numpy() -> None:
        numpy_jets(few, config)

    ours, theirs = interleaved([kernel, numpy], 3 if quick else 7)
    speed, slow = len(block) / ours, len(few) / theirs
    detail = f"{len(block)} crossings of {N_ROWS * N_PHI} towers, setting {config.name}, one core"
    return [
        Measure(
            "jets", speed, "events/s", slow, "NumPy", speed / slow, LIMIT, limit_on="value",
            detail=detail,
        )
    ]  # fmt: skip


def full_crossings(events: int, seed: int) -> Block:
    """Synthetic crossings: some energy in every tower, and twenty jets in each."""
    random = np.random.default_rng(seed)
    et = np.minimum(random.geometric(0.4, (events, N_ROWS, N_PHI)), 511)
    where = (
        np.repeat(np.arange(events), JETS),
        random.integers(0, N_ROWS, events * JETS),
        random.integers(0, N_PHI, events * JETS),
    )
    core = 8 + random.exponential(60, events * JETS).astype(np.int64)
    et[where] = np.minimum(core, 511)
    return block_of(et)


def block_of(et: np.ndarray[tuple[int, int, int], np.dtype[np.int64]]) -> Block:
    """Block of dense towers, (crossings, 80 rows, 72 columns); independent crossings of orbit 0."""
    shape = et.shape
    columns = {
        "hw_et": et.astype(np.uint16),
        "hw_eta": np.broadcast_to(IETA_OF_ROW[:, None], shape),
        "hw_phi": np.broadcast_to(np.arange(1, N_PHI + 1, dtype=np.uint8), shape),
    }
    towers = Table(
        {name: np.ascontiguousarray(values).reshape(-1) for name, values in columns.items()},
        offsets_of(np.full(len(et), N_ROWS * N_PHI)),
    )
    bx = (np.arange(len(et)) % 3564 + 1).astype(np.uint16)
    return Block(0, 1, np.zeros(len(et), np.uint32), bx, {"tower": towers})


def check_equal(block: Block, config: CaloConfig) -> int:
    """Number of jets compared; Scout40Error when kernel and NumPy differ."""
    ours, theirs = find_jets(block, config).demux, numpy_jets(block, config)
    same = np.array_equal(ours.offsets, theirs["offsets"])
    for name in ("hw_et", "raw_et", "seed_et", "pu_et", "iphi"):
        same = same and np.array_equal(ours[name], theirs[name])
    if not same or not np.array_equal(ours["ieta"], IETA_OF_ROW[theirs["row"]]):
        raise Scout40Error(f"jets of the kernel and of NumPy differ, setting {config.name}")
    return len(ours)
