"""Clusters of trigger towers, the common beginning of e/gammas and taus.

A seed has Et >= 4 (2 GeV) and is the largest of 3 x 9 towers (eta x phi) around it; of equal ones
that one stays which has none with larger deta + dphi, then larger deta, as seen from it. Members
are those of the eight neighbours, and of the two towers two steps away in phi, that have Et >= 2;
one two steps away only if the tower between is a member. The eta side with less energy is then
left out (on a tie the lower side).

Members are bits of a mask. North is the direction of falling phi, east that of rising eta:

===  ===  ===  ===  ===  ===  ===  ===  ===  ===
 0    1    2    3    4    5    6    7    8    9
 N    S    E    NE   SE   NN   SS   W    NW   SW
===  ===  ===  ===  ===  ===  ===  ===  ===  ===

Bits 0..6 are also the shape of a cluster whose east side is kept; with the west side kept, bits
7..9 take the places of 2..4.

Source: public description of the CMS calorimeter layer 2 (clusters). No public vector has towers
and clusters, so only the ranges of the positions are confirmed: the codes of eta that e/gammas
and taus of the 2024 data test vector have are those that fine positions give, and no others.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from scout40.emulator.calo.clusters_grid import FINE_ETA
from scout40.emulator.calo.geometry import CELLS, IETA_OF_ROW, STRIDE
from scout40.emulator.calo.sort import COMPARATORS, NAME_BITS, STARTS, run_network
from scout40.streams.block import Table, offsets_of
from scout40.streams.jit import njit

Array = npt.NDArray[Any]

SEED, MEMBER = 4, 2
N, S, E, NE, SE, NN, SS, W, NW, SW = range(10)
_EAST, _WEST = 0b0000011100, 0b1110000000
_UP = 1 << N | 1 << NE | 1 << NW | 1 << NN
_DOWN = 1 << S | 1 << SE | 1 << SW | 1 << SS

PLACES = 18
"""Inputs of a ring's sorting network: place (72 - iphi) // 4."""
SENT = 6
MAX_ET = 511
PER_CROSSING = 2 * SENT


class Lookup(NamedTuple):
    """Constants of the kernels."""

    comparators: Array
    starts: Array
    fine_eta: Array
    ieta_of_row: Array


class Scratch(NamedTuple):
    """Work space: grids of one crossing, candidates by name, sorters."""

    grid: Array
    em: Array
    flags: Array
    candidates: Array
    ring: Array
    best: Array
    merged: Array
    seconds: Array


class Found(NamedTuple):
    """Output: one row an object that is sent, int32 (n, 8), and how many per crossing."""

    rows: Array
    counts: Array


HW_ET, HW_ETA, HW_PHI, HW_ISO, RAW_ET, ISO_ET, CELL_ROW, CELL_PHI = range(8)
_COLUMNS = {
    "hw_et": "u2", "hw_eta": "i1", "hw_phi": "u1", "hw_iso": "u1",
    "raw_et": "u2", "iso_et": "u2", "ieta": "i1", "iphi": "u1",
}  # fmt: skip


def lookup() -> Lookup:
    """Constants of the kernels."""
    return Lookup(COMPARATORS, STARTS, FINE_ETA, IETA_OF_ROW)


def scratch() -> Scratch:
    """Work space for one thread."""
    return Scratch(
        np.zeros(CELLS, np.uint16), np.zeros(CELLS, np.uint16), np.zeros(CELLS, np.uint8),
        np.zeros((2 * 28 * PLACES, 8), np.int32), np.zeros(PLACES, np.int64),
        np.zeros((2, SENT), np.int64), np.zeros(PER_CROSSING, np.int64), np.zeros(8, np.int64),
    )  # fmt: skip


def found(crossings: int) -> Found:
    """Room for the objects of that many crossings."""
    rows = np.zeros((crossings * PER_CROSSING, len(_COLUMNS)), np.int32)
    return Found(rows, np.zeros(crossings, np.int32))


def table_of(output: Found) -> Table:
    """Output of a kernel as a table: hw_et, hw_eta, hw_phi, hw_iso; raw_et, iso_et, ieta, iphi."""
    offsets = offsets_of(output.counts)
    rows = output.rows[: offsets[-1]]
    columns = {name: rows[:, k].astype(kind) for k, (name, kind) in enumerate(_COLUMNS.items())}
    return Table(columns, offsets)


@njit
def clear(work: Any) -> None:
    """Ready for the next crossing."""
    for cell in range(CELLS):
        work.grid[cell] = 0
        work.em[cell] = 0
        work.flags[cell] = 0
    for side in range(2):
        for place in range(SENT):
            work.best[side, place] = 0


@njit
def clear_ring(ring: Any) -> None:
    """No candidate at any place."""
    for place in range(PLACES):
        ring[place] = 0


@njit
def is_maximum(grid: Any, cell: int, reach_eta: int, reach_phi: int) -> Any:
    """True for the largest tower of a window around it, ties decided as described above."""
    et = grid[cell]
    for deta in range(-reach_eta, reach_eta + 1):
        for dphi in range(-reach_phi, reach_phi + 1):
            other = grid[cell + deta * STRIDE + dphi]
            if other > et:
                return False
            order = deta + dphi
            if other == et and (order > 0 or (order == 0 and deta > 0)):
                return False
    return True


@njit
def step(member: int) -> Any:
    """Distance in cells from the seed to a member."""
    if member < 2:
        return 2 * member - 1
    if NN <= member <= SS:
        return 2 * (2 * (member - NN) - 1)
    side = STRIDE if member < NN else -STRIDE
    kind = (member - E) if member < NN else (member - W)
    return side + (0 if kind == 0 else 2 * kind - 3)


@njit
def members(grid: Any, cell: int) -> Any:
    """Mask of the towers that belong to a cluster, both eta sides still there."""
    mask = 0
    for member in range(SW + 1):
        if grid[cell + step(member)] >= MEMBER:
            mask |= 1 << member
    if not mask >> N & 1:
        mask &= ~(1 << NN)
    if not mask >> S & 1:
        mask &= ~(1 << SS)
    return mask


@njit
def energy(grid: Any, cell: int, mask: int) -> Any:
    """Et of the towers in the mask, the seed not included."""
    total: Any = 0
    for member in range(SW + 1):
        if mask >> member & 1:
            total += np.int64(grid[cell + step(member)])
    return total


@njit
def trimmed(grid: Any, cell: int, mask: int) -> Any:
    """(mask with one eta side only, fine position in eta: 0 centre, 1 lower, 2 higher)."""
    east = energy(grid, cell, mask & _EAST)
    west = energy(grid, cell, mask & _WEST)
    kept = mask & ~_WEST if east >= west else mask & ~_EAST
    fine = 0
    if east > west:
        fine = 2
    elif west > east:
        fine = 1
    return kept, fine, east >= west


@njit
def fine_phi(grid: Any, cell: int, mask: int) -> Any:
    """Step from the tower's centre, in codes of the global trigger: -1, 0 or 1."""
    up = energy(grid, cell, mask & _UP)
    down = energy(grid, cell, mask & _DOWN)
    return int(down > up) - int(up > down)


@njit
def shape_of(mask: int) -> Any:
    """Shape, 7 bits, of a mask with one eta side."""
    return mask & 0b1111111 | mask >> 5 & 0b11100


@njit
def mask_of(shape: int, east: bool) -> Any:
    """Mask of a shape whose east or west side is kept."""
    return shape if east else shape & 0b1100011 | (shape & 0b11100) << 5


@njit
def area(grid: Any, cell: int, low: int, high: int, half: int) -> Any:
    """Et of the towers low .. high steps away in eta and up to ``half`` in phi."""
    total: Any = 0
    for deta in range(low, high + 1):
        for dphi in range(-half, half + 1):
            total += np.int64(grid[cell + deta * STRIDE + dphi])
    return total


@njit
def around_of(grid: Any, cell: int, east: bool) -> Any:
    """Et in the 6 x 9 towers of the isolation: one more in eta on the side that is kept."""
    return area(grid, cell, -2 if east else -3, 3 if east else 2, 4)


@njit
def sort_ring(look: Any, ring: Any, best: Any, side: int) -> None:
    """Sort the 18 places of a ring and merge them into the 6 best of an eta side, in place.

    Each of the 6 places puts what it holds in front of the first in the stream that is not larger,
    keeps the head of the stream and hands on the rest: equal ones that are pushed down change
    their order.
    """
    run_network(look.comparators, look.starts, PLACES, ring)
    for place in range(SENT):
        held = best[side, place]
        at = 0
        while ring[at] >> NAME_BITS > held >> NAME_BITS:
            at += 1
        if at:
            best[side, place] = ring[0]
            for k in range(at - 1):
                ring[k] = ring[k + 1]
            ring[at - 1] = held


@njit
def send(look: Any, work: Any, output: Any, crossing: int, base: int) -> Any:
    """Both sides' best to the demux network: positive eta first, Et up to 511; rows written."""
    merged = work.merged
    size = 0
    for side in range(2):
        for place in range(SENT):
            held = work.best[side, place]
            if held >> NAME_BITS:
                name = held & ((1 << NAME_BITS) - 1)
                et = min(held >> NAME_BITS, MAX_ET)
                work.candidates[name, HW_ET] = et
                merged[size] = et << NAME_BITS | name
                size += 1
    run_network(look.comparators, look.starts, size, merged)
    for place in range(size):
        name = merged[place] & ((1 << NAME_BITS) - 1)
        for column in range(CELL_PHI + 1):
            output.rows[base + place, column] = work.candidates[name, column]
    output.counts[crossing] = size
    return base + size
