"""Calorimeter towers against the reference unpacking."""

from __future__ import annotations

from typing import Any

import numpy as np

from scout40.streams.formats.scouting import physical
from scout40.streams.formats.tower import IETAS, CaloTower
from scout40.streams.sources.raw_tables import unpack
from scout40.streams.sources.raw_unpack import CUT_BODY, packets_of


def test_reference(scouting: Any) -> None:
    found, bad = unpack("tower", scouting.packets("calo_towers"))
    wanted = scouting.expected("calo_towers")
    towers = found["tower"]
    assert not bad
    scouting.same_places(towers, wanted)
    names = ("hw_et", "er_bits", "misc_bits", "hw_eta", "hw_phi")
    scouting.same_integers(towers.columns, wanted, names)
    values = {part: part for part in ("et", "eta", "phi")}
    scouting.same_bits(physical("tower", towers.columns), wanted, values)


def test_eta_where_there_is_no_tower() -> None:
    codes = np.array([0, 29, -29, 42, -42, 127, -128, 1, -41], np.int8)
    eta = CaloTower.physical({"hw_eta": codes})["eta"]
    wanted = [9999, 9998, -9998, 9997, -9997, 9997, -9997, 0.0435, -5.04]
    assert eta.tolist() == np.array(wanted, np.float32).tolist()


def test_indices_of_towers_are_those_with_a_place() -> None:
    eta = CaloTower.physical({"hw_eta": np.arange(-127, 128)})["eta"]
    assert len(IETAS) == 80
    assert list(IETAS) == (np.flatnonzero(np.abs(eta) < 9000) - 127).tolist()


def test_a_huge_count_is_refused_before_anything_is_allocated() -> None:
    raw = packets_of([np.array([2**32 - 1, 1, 0, 5], np.uint32)], [0], [32])
    found, bad = unpack("tower", raw)
    assert [b.status for b in bad] == [CUT_BODY]
    assert len(found["tower"].columns["hw_et"]) == 0
