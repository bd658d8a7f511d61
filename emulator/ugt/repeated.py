"""Counting crossings that repeat: each distinct one once, with the number of its crossings.

A menu on a sparse stream makes few different decision words: some hundred in the thousands of
crossings of a block. The counts are exact integers, the same as from crossing by crossing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.emulator.ugt.bits import N_ALGORITHMS, N_WORDS, Words, count_bits, lowest_bit
from scout40.emulator.ugt.lanes import alike, differ, digest, left, load
from scout40.streams.jit import njit, pointer

SLOTS = 1024
"""Places where a crossing looks for its like, a power of two; one that is taken is taken over."""

_PAIRS = 16
"""Most pairs of set bits to count, per crossing of the block; beyond, columns are faster."""

ACCEPTED, SELECTED = 1, 2
"""Flags of a crossing: accepted before, and after the trigger rules."""

Marks = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.int64]


@njit
def distinct_rows(
    initial: Words, prescaled: Words, flags: Marks, rows: Counts, weights: Counts, slots: Counts
) -> Any:
    """Rows of which the others are copies, and how many crossings each stands for.

    initial, prescaled: uint64 (n, 8). flags: uint8 (n,), ACCEPTED and SELECTED. Returns the number
    of distinct rows, written to ``rows`` and ``weights``; some may be equal. -1: more than fit, or
    the first hundreds show that they will be. slots: SLOTS numbers, -1; the caller owns them, for
    numba frees an array of this function after its last use as an array, whoever points to it.
    """
    room, total, found = rows.shape[0], initial.shape[0], 0
    before, passed, marks = pointer(initial), pointer(prescaled), pointer(flags)
    row_of, number, place = pointer(rows), pointer(weights), pointer(slots)
    for row in range(total):
        request, kept = load(before, N_WORDS * row), load(passed, N_WORDS * row)
        mixed = digest(differ(request, left(kept, np.uint64(1))))
        slot = np.int64(mixed & np.uint64(SLOTS - 1)) ^ np.int64(marks[row])
        known = place[slot]
        if known >= 0:
            other = row_of[known]
            # Equal words at the same place have equal flags.
            if alike(request, load(before, N_WORDS * other)) and alike(
                kept, load(passed, N_WORDS * other)
            ):
                number[known] += 1
                continue
        if found == room or (row == SLOTS // 2 and found > row // 2):
            return -1
        row_of[found], number[found], place[slot] = row, 1, found
        found += 1
    return found


@njit
def count_repeated(
    initial: Words,
    prescaled: Words,
    accept: Marks,
    mask: Words,
    rows: Counts,
    weights: Counts,
    selected: Counts,
    n_initial: Counts,
    n_prescaled: Counts,
    n_after: Counts,
    multiplicity: Counts,
    overlap: Counts,
    crossings: int,
    places: Counts,
) -> Any:
    """Add ``weights`` crossings like each of ``rows`` to all counts; False: too many pairs.

    accept: not 0 for rows that are accepted before the trigger rules. selected: how many of the
    crossings are so after them. crossings: all of them. places: room for the numbers of all
    algorithms.
    """
    before, passed = pointer(initial), pointer(prescaled)
    pairs = np.int64(0)
    for row in rows:
        fired = np.int64(0)
        for word in range(N_WORDS):
            fired += count_bits(prescaled[row, word])
        pairs += fired * (fired - 1) // 2
    if pairs > _PAIRS * crossings:
        return False
    # In these small loops an index into an array costs more than the sum.
    place, beside, shared = pointer(places), pointer(overlap), pointer(multiplicity)
    for k in range(rows.shape[0]):
        row, weight = rows[k], weights[k]
        fired = _set_bits(before, row, place)
        for i in range(fired):
            n_initial[place[i]] += weight
        if not alike(load(before, N_WORDS * row), load(passed, N_WORDS * row)):
            fired = _set_bits(passed, row, place)
        for i in range(fired):
            n_prescaled[place[i]] += weight
            line = N_ALGORITHMS * place[i]
            for j in range(i):
                beside[line + place[j]] += weight
        if selected[k]:
            for i in range(fired):
                n_after[place[i]] += selected[k]
        if accept[row]:
            wanted = 0
            for i in range(fired):
                algorithm = place[i]
                if (mask[algorithm >> 6] >> np.uint64(algorithm & 63)) & np.uint64(1):
                    place[wanted] = algorithm
                    wanted += 1
            for i in range(wanted):
                shared[N_ALGORITHMS * wanted + place[i]] += weight
    return True


@njit
def weigh(codes: Any, after: Any, weights: Counts, selected: Counts) -> None:
    """Crossings of each code, and those of them that the trigger rules granted (``after``)."""
    for row in range(codes.shape[0]):
        weights[codes[row]] += 1
    for row in range(after.shape[0]):
        selected[codes[row]] += after[row]


@njit
def _set_bits(words: Any, row: Any, place: Any) -> Any:
    """Write the numbers of the set bits of a row, rising, to ``place``; how many they are."""
    fired = 0
    for word in range(N_WORDS):
        left = words[N_WORDS * row + word]
        while left != np.uint64(0):
            place[fired] = word * 64 + lowest_bit(left)
            fired += 1
            left &= left - np.uint64(1)
    return fired
