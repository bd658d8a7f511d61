"""The two-stage sort: the best of each stream, then the best eight of all.

Rank is what the table SortRank holds for pt and quality, which is their sum. Each stream drops
its cancelled muons and keeps the highest ranks, 4 (endcap and overlap sides) or 8 (barrel); of
equal ranks the earlier input comes first. The streams are then joined in the order EMTF+, OMTF+,
BMTF, OMTF-, EMTF- and sorted in the same way; eight are kept.

CMS software counts the wins of each muon against all others and then sorts with a comparison
that is no strict order. No two survivors have equally many wins, so the outcome is this plain
stable sort. Source: CMS software, L1TMuonProducer (b9fae229); checked with board files of 2016.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from scout40.streams.jit import njit

N_STREAMS = 5
LONGEST = 8
"""Muons of the longest list, and of the output."""

FINAL = N_STREAMS
"""Number of the list of the second sort; those before are the streams."""


STRIDE = LONGEST + 1
"""Places of a list; the one after its last muon holds NOTHING."""

NOTHING = -1
_ORDER_BITS, _LAST = 8, 255


class SortLists(NamedTuple):
    """Sorted lists of one crossing, STRIDE places each.

    key: int64 ((N_STREAMS + 1) * STRIDE,), rank << 8 | 255 - number of the muon in the crossing,
    so that falling keys are falling ranks and, at equal rank, the order of inputs.
    count: int64 (N_STREAMS + 1,). taken: int64 (N_STREAMS,), place in each stream that the second
    sort has come to.
    """

    key: Any
    count: Any
    taken: Any


@njit
def muon_of(key: int) -> int:
    """Number of the muon in the crossing."""
    return _LAST - (key & _LAST)


@njit
def keep_best(muon: int, rank: int, number: int, capacity: int, lists: SortLists) -> None:
    """Insert a muon behind those of higher keys; drop what exceeds the capacity."""
    key, base, count = rank << _ORDER_BITS | _LAST - muon, number * STRIDE, lists.count[number]
    if count < capacity:
        lists.count[number] = count + 1
        lists.key[base + count + 1] = NOTHING
    elif lists.key[base + count - 1] > key:
        return
    else:
        count -= 1
    place = base + count
    while place > base and lists.key[place - 1] < key:
        lists.key[place] = lists.key[place - 1]
        place -= 1
    lists.key[place] = key


@njit
def merge(lists: SortLists) -> None:
    """The second sort: the best of all streams into the list FINAL, of equal ones the first."""
    for stream in range(N_STREAMS):
        lists.taken[stream] = stream * STRIDE
    for place in range(LONGEST):
        best, rank, source = NOTHING, NOTHING, 0
        for stream in range(N_STREAMS):
            key = lists.key[lists.taken[stream]]
            if key >> _ORDER_BITS > rank:
                best, rank, source = key, key >> _ORDER_BITS, stream
        lists.count[FINAL] = place
        if best == NOTHING:
            return
        lists.key[FINAL * STRIDE + place] = best
        lists.taken[source] += 1
    lists.count[FINAL] = LONGEST
