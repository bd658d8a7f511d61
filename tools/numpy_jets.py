"""The jets of calorimeter layer 2 in plain vectorised NumPy, to compare speed with the kernel.

Same rules and tables as emulator/calo/jets.py, all crossings at once on dense arrays
(crossings, 80 rows, 72 columns).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.emulator.calo.calibration import OVERFLOW, Calibration, packaged_calibration
from scout40.emulator.calo.config import CaloConfig
from scout40.emulator.calo.geometry import (
    M_OF_ROW,
    MAX_ET,
    N_M,
    N_PHI,
    N_ROWS,
    RING_ROWS,
    ROW_OF,
    SATURATED,
)
from scout40.emulator.calo.jets import MAX_DEMUX_ET
from scout40.emulator.calo.sort import network
from scout40.streams.block import Block, offsets_of

Array = npt.NDArray[Any]

_NAME_BITS = 32
_NAME = (1 << _NAME_BITS) - 1
_HALO_ROWS, _HALO_COLUMNS = 7, 8


def numpy_jets(
    block: Block, config: CaloConfig, calibration: Calibration | None = None
) -> dict[str, Array]:
    """The demux's jets: hw_et, raw_et, seed_et, pu_et, row, iphi, and ``offsets``."""
    padded = _padded(block)
    seed = padded[:, _HALO_ROWS:-_HALO_ROWS, _HALO_COLUMNS:-_HALO_COLUMNS]
    raw = _nine(_nine(padded[:, 3:-3, 4:-4], 1, np.add), 2, np.add)
    pu = np.where(seed >= SATURATED, 0, _pile_up(config.pile_up, padded, seed))
    et = np.where(seed >= SATURATED, OVERFLOW, raw - pu)
    is_jet = _maxima(padded) & (seed >= config.seed_threshold) & (et > 0)
    event, ring, column = np.nonzero(is_jet[:, RING_ROWS])
    place = event, RING_ROWS[ring], column
    found = {"raw_et": raw[place], "seed_et": seed[place], "pu_et": pu[place]}
    found |= {"row": place[1], "iphi": column + 1, "hw_et": et[place]}
    if config.calibrated:
        found["hw_et"] = _calibrated(found, calibration or packaged_calibration())
    order, counts = _sorted(found, event, len(block))
    jets = {name: values[order] for name, values in found.items()}
    jets["hw_et"] = np.minimum(jets["hw_et"], MAX_DEMUX_ET)
    return {**jets, "offsets": offsets_of(counts)}


def _padded(block: Block) -> Array:
    """int64 (n, 94, 88): Et of all towers, phi continued on both sides, no towers beyond eta."""
    table = block.tables["tower"]
    grid = np.zeros((len(block), N_ROWS, N_PHI), np.int64)
    event = np.repeat(np.arange(len(block)), table.counts())
    grid[event, ROW_OF[table["hw_eta"].view(np.uint8)], table["hw_phi"].astype(int) - 1] = table[
        "hw_et"
    ]
    around = np.concatenate([grid[..., -_HALO_COLUMNS:], grid, grid[..., :_HALO_COLUMNS]], axis=2)
    return np.pad(around, ((0, 0), (_HALO_ROWS, _HALO_ROWS), (0, 0)))


def _nine(values: Array, axis: int, combine: np.ufunc) -> Array:
    """Nine neighbours along an axis combined; the axis gets shorter by 8."""
    length = values.shape[axis] - 8
    out = np.take(values, range(length), axis)
    for k in range(1, 9):
        out = combine(out, np.take(values, range(k, k + length), axis))
    return out


def _maxima(padded: Array) -> Array:
    """Towers that are the largest of their window; of equal ones the last in (phi + eta, eta)."""
    rows, columns = np.indices(padded.shape[1:])
    key = ((padded << 8 | (rows + columns)) << 7 | rows)[:, 3:-3, 4:-4]
    mask: Array = _nine(_nine(key, 1, np.maximum), 2, np.maximum) == key[:, 4:-4, 4:-4]
    return mask


def _pile_up(kind: str, padded: Array, seed: Array) -> Array:
    if kind == "none":
        return np.zeros_like(seed)
    if kind == "phi ring":
        rings = np.pad(seed.sum(axis=2), ((0, 0), (4, 4)))
        nine = _nine(rings, 1, np.add)
        return np.repeat((nine * 9 // N_PHI)[..., None], N_PHI, axis=2)
    tall, wide = _nine(padded, 1, np.add), _nine(padded, 2, np.add)

    def strip(sums: Array, row: int, column: int) -> Array:
        return sums[:, row : row + N_ROWS, column : column + N_PHI]

    away = (5, 6, 7)
    strips = [
        sum(strip(tall, 3, 8 + k) for k in away),
        sum(strip(tall, 3, 8 - k) for k in away),
        sum(strip(wide, 7 + k, 4) for k in away),
        sum(strip(wide, 7 - k, 4) for k in away),
    ]
    stacked = np.stack(strips)
    out: Array = stacked.sum(axis=0) - stacked.max(axis=0)
    return out


def _calibrated(found: dict[str, Array], calibration: Calibration) -> Array:
    place = M_OF_ROW[found["row"]], np.minimum(found["hw_et"], MAX_ET) >> 1
    product = found["hw_et"] * calibration.multiplier[place]
    out = (product >> 9) + calibration.addend[place]
    return np.where((out < 0) | (out > OVERFLOW), OVERFLOW, out)


def _sorted(found: dict[str, Array], event: Array, crossings: int) -> tuple[Array, Array]:
    """Order of the jets at the demux, and how many there are per crossing."""
    name = np.arange(len(event)) + 1
    element = found["hw_et"] << _NAME_BITS | name
    row, iphi = found["row"], found["iphi"]
    ring = event * N_ROWS + row
    kept = _six_of_ring(ring, element)
    places = np.zeros((crossings * N_ROWS, 18), np.int64)
    places[ring[kept], (N_PHI - iphi[kept]) // 4] = element[kept]
    rings = _run(places, 18)[:, :6].reshape(crossings, N_ROWS, 6)
    outward = np.stack([rings[:, N_M:], rings[:, :N_M][:, ::-1]], axis=1)
    best = np.zeros((crossings * 2, 7), np.int64)
    for m in range(N_M):
        _accumulate(best, outward[:, :, m].reshape(-1, 6))
    _settle_last(best, row, iphi)
    sent = best[:, :6].reshape(crossings, 12)
    counts = (sent > 0).sum(axis=1)
    order = np.take_along_axis(sent, np.argsort(sent == 0, axis=1, kind="stable"), axis=1)
    for size in range(2, 13):
        these = counts == size
        order[these] = _run(order[these], size)
    return (order[order > 0] & _NAME) - 1, counts


def _run(places: Array, size: int) -> Array:
    """Every row through the sorting network of ``size`` places."""
    out = places.T.copy()
    for i, j, falling in network(size):
        first, second = out[i], out[j]
        keep = (first >> _NAME_BITS > second >> _NAME_BITS) == bool(falling)
        out[i], out[j] = np.where(keep, first, second), np.where(keep, second, first)
    return out.T


def _six_of_ring(ring: Array, element: Array) -> Array:
    """Indices of the jets that a ring keeps."""
    starts, sizes = np.unique(ring, return_index=True, return_counts=True)[1:]
    kept = np.ones(len(ring), bool)
    for size in np.unique(sizes[sizes > 6]):
        members = starts[sizes == size][:, None] + np.arange(size)
        dropped = _run(element[members], int(size))[:, 6:]
        kept[(dropped & _NAME) - 1] = False
    return np.flatnonzero(kept)


def _accumulate(best: Array, stream: Array) -> None:
    """The cells of the accumulating sort, one after the other."""
    index = np.arange(6)
    for k in range(7):
        old = best[:, k].copy()
        ahead = (stream >> _NAME_BITS > old[:, None] >> _NAME_BITS).sum(axis=1)
        best[:, k] = np.where(ahead > 0, stream[:, 0], old)
        last = (ahead - 1)[:, None]
        moved = np.concatenate([stream[:, 1:], stream[:, -1:]], axis=1)
        stream = np.where(index < last, moved, np.where(index == last, old[:, None], stream))


def _settle_last(best: Array, row: Array, iphi: Array) -> None:
    sixth, seventh = best[:, 5], best[:, 6]
    a, b = (sixth & _NAME) - 1, (seventh & _NAME) - 1
    equal = (seventh > 0) & (sixth >> _NAME_BITS == seventh >> _NAME_BITS)
    turn = np.flatnonzero(equal)
    turn = turn[(row[a[turn]] == row[b[turn]]) & (iphi[b[turn]] > iphi[a[turn]])]
    best[turn, 5] = seventh[turn]
