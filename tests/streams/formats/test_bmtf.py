"""BMTF stubs against the reference unpacking."""

from __future__ import annotations

from typing import Any

import numpy as np

from scout40.streams.formats.bmtf import FIRST_SOURCE, BmtfStub
from scout40.streams.sources.raw_tables import unpack
from scout40.streams.sources.raw_unpack import packets_of


def test_reference(scouting: Any) -> None:
    """Every column but the tag of chambers that the CMS unpacker has no place for.

    It marks chambers in a table of five wheels before the wheel number gets its sign: wheels 3
    and below 0 use memory beyond the table, and their first stub has whatever was there. Such a
    tag can be 0 by accident; 420 of 4761 are.
    """
    found, bad = unpack("bmtf", scouting.packets("bmtf_stubs", first_source=FIRST_SOURCE))
    wanted = scouting.expected("bmtf_stubs")
    stubs = found["stub"]
    assert not bad
    scouting.same_places(stubs, wanted)
    columns = stubs.columns
    scouting.same_integers(columns, wanted, set(wanted) - {"orbit", "bx", "tag"})
    defined = (wanted["wheel"] >= 0) & (wanted["wheel"] <= 2)
    assert defined.sum() > 2000
    np.testing.assert_array_equal(columns["tag"][defined], wanted["tag"][defined])
    assert not np.any(wanted["tag"] > columns["tag"])


def test_tag_is_of_the_first_stub_of_a_chamber_in_a_block() -> None:
    station = np.array([0, 0, 0, 1, 3, 0])
    wheel = np.array([-2, 2, -2, -2, -2, -2])
    words = BmtfStub.pack({"hw_station": station, "wheel": wheel}).view("<u4").ravel()
    block = np.concatenate([np.array([6, 17, 1], np.uint32), words])
    raw = packets_of([np.concatenate([block, block]), block], [0, 0], [10, 21])
    stubs = unpack("bmtf", raw)[0]["stub"]
    assert stubs.counts.tolist() == [18]
    assert stubs.columns["tag"].tolist() == [1, 1, 0, 1, 1, 0] * 3
    assert stubs.columns["station"].tolist() == [1, 1, 1, 2, 4, 1] * 3
    assert stubs.columns["sector"].tolist() == [0] * 12 + [11] * 6
