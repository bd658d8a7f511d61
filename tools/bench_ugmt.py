"""How fast the global muon trigger is emulated on one core, beside the same steps in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.emulator.ugmt import Ugmt, computed_tables, firmware
from scout40.emulator.ugmt.links import BMTF, FIRST_LINK, N_LINKS, SLOTS, TRACK_FINDER
from scout40.streams.block import ORBIT_BX, Block, Table, offsets_of
from scout40.streams.errors import Scout40Error
from scout40.tools.measure import Measure, interleaved
from scout40.tools.numpy_ugmt import COMPARED, NumpyUgmt

FIRMWARE = "2024"
MUONS_PER_BX = 0.13
"""Mean of the muon stream at the LHC, over all crossings, empty ones included."""

LHC_ORBITS, DENSE_CROSSINGS = 128, 8192
"""Size of a block; a quick run has a sixteenth."""

BLOCKS = 8
"""Blocks one after the other, as in a stream."""

LHC_LIMIT, DENSE_LIMIT = 5e6, 3e5
SEED = 40
_MEAN_DENSE, _PLACES = 31.0, N_LINKS * SLOTS
_CLUSTER = np.array([-26, -24, -22, 22, 24, 26, 70, 72, 74])
"""Local azimuths at the edges of barrel wedges and of the other sectors."""


def bench(quick: bool) -> list[Measure]:
    """Crossings per second at LHC occupancy and with dense crossings."""
    rng = np.random.default_rng(SEED)
    share = 16 if quick else 1
    crossings = LHC_ORBITS // share * ORBIT_BX
    counts = rng.poisson(MUONS_PER_BX, crossings)
    lhc = muon_block(rng, np.minimum(counts[counts > 0], _PLACES), clustered=0.1)
    # Crossings of 1 to 108 muons, 31 in the mean, as in the reference set of that name.
    counts = np.clip(rng.gamma(3.0, _MEAN_DENSE / 3.0, DENSE_CROSSINGS // share), 1, _PLACES)
    dense = muon_block(rng, counts.astype(np.int64), clustered=0.5)
    text = f"{crossings} crossings, of which {len(lhc)} have muons, {MUONS_PER_BX} muons per BX"
    mean = len(dense.tables["tfmu"]) / len(dense)
    return [
        _measure("ugmt_lhc", lhc, crossings, LHC_LIMIT, f"uGMT, {text}", quick),
        _measure(
            "ugmt_dense", dense, len(dense), DENSE_LIMIT,
            f"uGMT, {len(dense)} crossings with {mean:.1f} muons", quick,
        ),
    ]  # fmt: skip


def _measure(
    name: str, block: Block, crossings: int, limit: float, detail: str, quick: bool
) -> Measure:
    fw = firmware(FIRMWARE)
    tables = computed_tables(fw)
    ours, peer = Ugmt(fw, tables), NumpyUgmt(fw, tables)
    small = block.take(0, min(len(block), 2048))
    check_equal(ours, peer, small)

    blocks = 1 if quick else BLOCKS

    def one_core() -> None:
        for _ in range(blocks):
            ours.run(block)

    def numpy() -> None:
        peer.run(small)

    fast, slow = interleaved([one_core, numpy], 3 if quick else 9)
    speed, of_numpy = blocks * crossings / fast, crossings * len(small) / len(block) / slow
    return Measure(
        name, speed, "BX/s", of_numpy, "NumPy", speed / of_numpy, limit, limit_on="value",
        detail=f"{detail}, one core",
    )  # fmt: skip


def check_equal(ours: Ugmt, peer: NumpyUgmt, block: Block) -> int:
    """Number of final muons compared; Scout40Error naming the column that differs."""
    final, expected = ours.run(block).tables["mu"], peer.run(block)
    same = np.array_equal(final.counts(), expected["counts"])
    wrong = [name for name in COMPARED if not same or not (final[name] == expected[name]).all()]
    if wrong:
        raise Scout40Error(f"uGMT and its NumPy version differ: {', '.join(wrong)}")
    return len(final)


def muon_block(rng: np.random.Generator, counts: npt.NDArray[np.int64], clustered: float) -> Block:
    """Crossings with the given numbers of random muons, each 1 to 108.

    clustered:
        share of crossings whose muons crowd at the edges of sectors and at few values of eta and
        quality, so that many match.
    """
    n, total = len(counts), int(counts.sum())
    # The places of a crossing: the first ``count`` of a random order of all, in rising order.
    order = rng.random((n, _PLACES)).argsort(axis=1).astype(np.uint8)
    crossing, place = np.nonzero(order < counts[:, None])
    link = place // SLOTS
    crowd = (rng.random(n) < clustered)[crossing]
    size = np.where(crowd, rng.choice([70, 72, 80, 90], total), rng.integers(1, 224, total))
    signs = np.where(link < N_LINKS // 2, 1, -1)
    either = TRACK_FINDER[link] == BMTF
    signs = np.where(either & (rng.random(total) < 0.5), -signs, signs)
    local = np.where(crowd, rng.choice(_CLUSTER, total), rng.integers(-30, 127, total))
    columns: dict[str, npt.NDArray[Any]] = {
        "link": (link + FIRST_LINK).astype(np.uint8),
        "slot": (place % SLOTS).astype(np.uint8),
        "hw_pt": np.clip(rng.exponential(30.0, total), 1, 511).astype(np.uint16),
        "hw_phi": local.astype(np.int8),
        "hw_eta": (signs * size).astype(np.int16),
        "hw_qual": np.where(crowd, rng.choice([8, 12], total), rng.integers(0, 16, total)).astype(
            np.uint8
        ),
    }
    for name, limit in (
        ("hw_pt_unconstrained", 256), ("hw_dxy", 4), ("hw_hf", 2), ("hw_sign", 2),
        ("hw_sign_valid", 2), ("wheel_side", 2), ("wheel_num", 3), ("stat1", 16), ("stat2", 16),
        ("stat3", 16), ("stat4", 16),
    ):  # fmt: skip
        columns[name] = rng.integers(0, limit, total).astype(np.uint8)
    return Block(
        first_orbit=0,
        last_orbit=1 + n // ORBIT_BX,
        orbit=(np.arange(n) // ORBIT_BX).astype(np.uint32),
        bx=(np.arange(n) % ORBIT_BX + 1).astype(np.uint16),
        tables={"tfmu": Table(columns, offsets_of(counts))},
    )
