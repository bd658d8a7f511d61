"""Block: shapes that it promises, views, filling and joining."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scout40.streams.block import ORBIT_BX, Block, Origin, Table, concatenate, offsets_of
from scout40.streams.errors import BadInput


def block(first: int = 3) -> Block:
    """Four crossings of two orbits with 0, 2, 1, 0 muons."""
    table = Table({"hw_pt": np.array([5, 3, 9], np.uint16)}, np.array([0, 0, 2, 3, 3], np.int32))
    return Block(
        first_orbit=first,
        last_orbit=first + 2,
        orbit=np.array([first, first, first + 1, first + 1], np.uint32),
        bx=np.array([1, 3564, 7, 8], np.uint16),
        tables={"mu": table},
        crossing={"lumi": np.array([1, 1, 2, 2], np.uint32)},
        contiguous=True,
        origin=Origin("unit", 4),
    )


def test_check_accepts_a_good_block_and_returns_it() -> None:
    good = block()
    assert good.check() is good
    assert good.objects == 3
    assert good.time().tolist() == [3 * 3564, 3 * 3564 + 3563, 4 * 3564 + 6, 4 * 3564 + 7]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"bx": np.array([1], np.uint16)}, "different lengths"),
        ({"orbit": np.array([3, 3, 4, 5], np.uint32)}, "outside orbits"),
        ({"orbit": np.array([4, 3, 4, 4], np.uint32)}, "rising order"),
        ({"crossing": {"lumi": np.zeros(3)}}, "field lumi"),
        ({"tables": {"mu": Table({"a": np.zeros(3)}, np.array([0, 3], np.int32))}}, "offsets"),
        (
            {"tables": {"mu": Table({"a": np.zeros(3)}, np.array([0, 2, 1, 3, 3], np.int32))}},
            "rise",
        ),
        ({"tables": {"mu": Table({"a": np.zeros(3)}, np.zeros(5, np.int64))}}, "int32"),
        ({"tables": {"mu": Table({"a": np.zeros(2)}, np.array([0, 1, 1, 3, 3], np.int32))}}, "mu"),
    ],
)
def test_check_names_what_is_wrong(changes: dict[str, object], text: str) -> None:
    with pytest.raises(BadInput, match=text):
        block().replace(**changes).check()


def test_rows_without_order_are_allowed_when_not_contiguous() -> None:
    block().replace(bx=np.array([9, 2, 7, 8], np.uint16), contiguous=False).check()


def test_take_gives_views_of_the_same_memory() -> None:
    whole = block()
    part = whole.take(1, 3).check()
    assert part.bx.tolist() == [3564, 7]
    assert part.tables["mu"].offsets.tolist() == [0, 2, 3]
    assert part.tables["mu"]["hw_pt"].tolist() == [5, 3, 9]
    assert np.shares_memory(part.tables["mu"]["hw_pt"], whole.tables["mu"]["hw_pt"])
    assert part.origin == whole.origin


def test_filled_has_every_crossing_once_and_keeps_the_objects() -> None:
    full = block().filled().check()
    assert len(full) == 2 * ORBIT_BX
    counts = full.tables["mu"].counts()
    assert np.flatnonzero(counts).tolist() == [3563, 3564 + 6]
    assert counts[3563] == 2
    assert full.tables["mu"]["hw_pt"].tolist() == [5, 3, 9]
    assert full.crossing["lumi"][3564 + 6] == 2
    assert full.bx[[0, 3563, 3564]].tolist() == [1, 3564, 1]


def test_filled_leaves_independent_events_alone() -> None:
    events = block().replace(contiguous=False)
    assert events.filled() is events


@given(st.lists(st.integers(0, 6), min_size=1, max_size=40), st.data())
def test_parts_join_to_the_whole(counts: list[int], data: st.DataObject) -> None:
    n = len(counts)
    offsets = offsets_of(np.array(counts))
    table = Table({"x": np.arange(offsets[-1], dtype=np.int16)}, offsets)
    bx = np.arange(1, n + 1, dtype=np.uint16)
    whole = Block(0, 1, np.zeros(n, np.uint32), bx, {"t": table}, {"e": bx * 3}, contiguous=True)
    cut = data.draw(st.integers(0, n))
    joined = concatenate([whole.take(0, cut), whole.take(cut, n)]).check()
    assert joined.bx.tolist() == whole.bx.tolist()
    assert joined.tables["t"].offsets.tolist() == offsets.tolist()
    assert joined.tables["t"]["x"].tolist() == table["x"].tolist()
    assert joined.crossing["e"].tolist() == whole.crossing["e"].tolist()


def test_offsets_refuse_what_int32_cannot_hold() -> None:
    assert offsets_of(np.array([2, 0, 3])).dtype == np.int32
    assert offsets_of(np.array([2, 0, 3])).tolist() == [0, 2, 2, 5]
    assert offsets_of(np.zeros(0, np.int32)).tolist() == [0]
    with pytest.raises(BadInput, match="at most 2147483647"):
        offsets_of(np.array([2**31 - 1, 1], np.int64))


def test_nothing_cannot_be_joined() -> None:
    with pytest.raises(BadInput, match="no block"):
        concatenate([])
