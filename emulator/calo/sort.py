"""The sorters of calorimeter layer 2, which decide the order of jets of equal Et.

The sorting network is bitonic, for any size: the first half is sorted against, the second half
in the wanted direction, and the result is merged over the largest power of two below its size.
A comparator for falling order exchanges its two inputs unless the first is strictly larger, so
equal ones are exchanged too; one for rising order exchanges them if the first is larger.

An element is (Et << 16) | name; only Et is compared, 0 is an empty place.
Source: public description of the CMS calorimeter layer 2 sorters.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.streams.jit import njit

MAX_NETWORK = 18
KEPT_OF_RING = 6
KEPT_OF_SIDE = 6
ACCUMULATED = 7
"""The accumulating sort keeps one more than is sent on, for the rule about the last place."""

NAME_BITS = 16
_NAME = (1 << NAME_BITS) - 1

Comparator = tuple[int, int, int]


def network(size: int) -> list[Comparator]:
    """Comparators (first, second, falling 0/1) that sort ``size`` places in falling order."""
    out: list[Comparator] = []
    _sort(out, 0, size, 1)
    return out


def _sort(out: list[Comparator], low: int, size: int, falling: int) -> None:
    if size > 1:
        half = size // 2
        _sort(out, low, half, 1 - falling)
        _sort(out, low + half, size - half, falling)
        _merge(out, low, size, falling)


def _merge(out: list[Comparator], low: int, size: int, falling: int) -> None:
    if size > 1:
        step = 1 << ((size - 1).bit_length() - 1)
        out.extend((k, k + step, falling) for k in range(low, low + size - step))
        _merge(out, low, step, falling)
        _merge(out, low + step, size - step, falling)


def _flat() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    rows: list[Comparator] = []
    starts = [0]
    for size in range(MAX_NETWORK + 1):
        rows += network(size)
        starts.append(len(rows))
    return np.array(rows, np.int64).ravel(), np.array(starts, np.int64)


COMPARATORS, STARTS = _flat()
"""All networks of 0 .. MAX_NETWORK places, int64 (3 n,): the comparators of :func:`network` behind
each other; and int64 (MAX_NETWORK + 2,): that of size s is STARTS[s] .. STARTS[s + 1] - 1."""


@njit
def run_network(comparators: Any, starts: Any, size: int, places: Any) -> None:
    """Sort ``places`` (int64), the first ``size`` of them, in place."""
    for k in range(starts[size], starts[size + 1]):
        i, j = comparators[3 * k], comparators[3 * k + 1]
        first, second = places[i], places[j]
        keep = ((first >> NAME_BITS) > (second >> NAME_BITS)) == (comparators[3 * k + 2] == 1)
        # Both written always: an unpredictable branch would cost more.
        places[i] = first if keep else second
        places[j] = second if keep else first


@njit
def accumulate(ring: Any, size: int, best: Any) -> None:
    """Merge the sorted ``ring`` of ``size`` into the sorted ``best`` (ACCUMULATED places).

    As in hardware, a row of cells: each keeps its jet unless the first of the list that comes in
    is strictly larger. It then takes that one, and the jet it had goes on in the list, in front
    of equal ones. So those already there stay in front of new ones of equal Et, but a jet pushed
    out of its cell falls behind its equals in the cells below. ``ring`` is overwritten.
    """
    if ring[0] >> NAME_BITS <= best[ACCUMULATED - 1] >> NAME_BITS:
        return
    for k in range(ACCUMULATED):
        old = best[k]
        if ring[0] >> NAME_BITS > old >> NAME_BITS:
            best[k] = ring[0]
            j = 1
            while j < size and ring[j] >> NAME_BITS > old >> NAME_BITS:
                ring[j - 1] = ring[j]
                j += 1
            ring[j - 1] = old


@njit
def settle_last(best: Any, row: Any, iphi: Any, base: int) -> None:
    """Places 6 and 7 of same Et and eta: the one of larger phi is sent on.

    row, iphi: of the candidate with name n at base + n.
    """
    sixth, seventh = best[KEPT_OF_SIDE - 1], best[KEPT_OF_SIDE]
    if seventh == 0 or (sixth >> NAME_BITS) != (seventh >> NAME_BITS):
        return
    a, b = base + (sixth & _NAME), base + (seventh & _NAME)
    if row[a] == row[b] and iphi[b] > iphi[a]:
        best[KEPT_OF_SIDE - 1] = seventh
