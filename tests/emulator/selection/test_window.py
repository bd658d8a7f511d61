"""Windows do not depend on how the stream is cut into blocks."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scout40.emulator.selection import Windowed
from scout40.emulator.selection.select import NEIGHBOUR
from scout40.streams.block import Block
from scout40.streams.errors import BadConfig, BadInput
from tests.emulator.selection import slow_selection as slow

Row = tuple[int, int, bool]
"""Orbit, bx, chosen."""


def block(rows: list[Row], first: int, last: int, run: int | None = None) -> Block:
    """The rows of orbits [first, last)."""
    mine = [row for row in rows if first <= row[0] < last]
    crossing = {} if run is None else {"run": np.full(len(mine), run, np.uint32)}
    return Block(
        first, last,
        np.array([row[0] for row in mine], np.uint32),
        np.array([row[1] for row in mine], np.uint16),
        crossing=crossing, contiguous=True,
    )  # fmt: skip


def reasons(rows: list[Row], part: Block) -> Any:
    chosen = {row[:2] for row in rows if row[2]}
    places = zip(part.orbit.tolist(), part.bx.tolist(), strict=True)
    return np.array([4 if place in chosen else 0 for place in places], np.uint32)


PLACES = st.tuples(
    st.integers(5, 12),
    st.integers(1, 6) | st.integers(3559, 3564) | st.integers(1, 3564),
    st.booleans(),
)


@given(
    st.lists(PLACES, unique_by=lambda row: row[:2], max_size=25).map(sorted),
    st.sets(st.integers(6, 12)),
    st.sets(st.integers(5, 12), max_size=3),
    st.sampled_from([0, 1, 2, 3, 7, 1000, 3563]),
)
@example([(5, 3564, True), (6, 1, False)], {6}, set(), 1)
@example([(5, 3564, False), (6, 1, True)], {6}, set(), 1)
@example([(5, 3564, False), (7, 1, True)], {6, 7}, set(), 3563)
@example([(5, 3564, False), (7, 1, True)], {6, 7}, {6}, 3563)
def test_any_cut_gives_the_same_neighbours(
    rows: list[Row], cuts: set[int], gaps: set[int], window: int
) -> None:
    rows = [row for row in rows if row[0] not in gaps]
    edges = sorted({5, 13, *cuts, *gaps, *(gap + 1 for gap in gaps)})
    spans = [(a, b) for a, b in itertools.pairwise(edges) if a not in gaps]
    marker = Windowed(window)
    done = []
    for number, (first, last) in enumerate(spans):
        part = block(rows, first, last)
        given_ = reasons(rows, part)
        done += marker.push(part, given_, number)
        assert np.array_equal(given_, reasons(rows, part))  # not changed
    done += marker.flush()
    assert marker.flush() == []
    assert [chosen.item for chosen in done] == list(range(len(spans)))
    got = np.concatenate([chosen.reasons for chosen in done]) if done else np.zeros(0)
    groups = [sum(gap < row[0] for gap in gaps) for row in rows]
    times = [row[0] * 3564 + row[1] - 1 for row in rows]
    flags = [row[2] for row in rows]
    marked = slow.neighbours(times, flags, groups, window) if window else [False] * len(rows)
    expected = [
        4 if chosen else (1 << NEIGHBOUR) * near for chosen, near in zip(flags, marked, strict=True)
    ]
    assert got.tolist() == expected


def test_a_block_waits_only_when_it_must() -> None:
    marker = Windowed(2)
    rows = [(5, 3562, False), (6, 3563, False), (7, 2, True)]
    assert len(marker.push(block(rows, 5, 6), np.zeros(1, np.uint32))) == 1
    assert marker.push(block(rows, 6, 7), np.zeros(1, np.uint32)) == []
    held, last = marker.push(block(rows, 7, 8), np.full(1, 4, np.uint32))
    assert held.reasons.tolist() == [0]  # 3564, then 1, then 2: three away
    assert last.reasons.tolist() == [4]


def test_after_a_pause_the_past_is_still_known_but_not_the_future() -> None:
    rows = [(5, 3564, False), (6, 1, True), (6, 3564, True), (7, 1, False)]
    marker = Windowed(1)
    assert marker.push(block(rows, 5, 6), np.zeros(1, np.uint32)) == []
    (early,) = marker.flush()
    assert early.reasons.tolist() == [0]
    marker.push(block(rows, 6, 7), np.full(2, 4, np.uint32))
    assert marker.flush() == []
    assert marker.push(block(rows, 7, 8), np.zeros(1, np.uint32))[0].reasons.tolist() == [
        1 << NEIGHBOUR
    ]


def test_a_new_run_and_a_repeated_orbit_are_no_neighbours() -> None:
    rows = [(5, 3564, True), (6, 1, False)]
    for first, second, run in (((5, 6), (6, 7), 2), ((5, 7), (6, 7), 1)):
        marker = Windowed(1)
        part = block(rows, *first, run=1)
        done = marker.push(part, reasons([rows[0]], part))
        again = block(rows, *second, run=run)
        done += marker.push(again, np.zeros(1, np.uint32))
        done += marker.flush()
        assert done[1].reasons.tolist() == [0]


def test_windows_need_whole_orbits() -> None:
    part = block([(5, 1, True)], 5, 6)
    with pytest.raises(BadInput, match=r"orbit 5: .*set window to 0"):
        Windowed(1).push(part.replace(contiguous=False), np.zeros(1, np.uint32))
    assert Windowed(0).push(part.replace(contiguous=False), np.zeros(1, np.uint32))
    with pytest.raises(BadConfig, match="3563"):
        Windowed(3564)
