"""Histograms equal numpy.histogram of the physical values, whatever the blocks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scout40.emulator.histograms import ETA, PHI, PT, Histograms
from scout40.streams.block import Block, Table, offsets_of
from scout40.streams.formats.gmt import ScoutingMuon

SEEDS = st.integers(0, 2**32 - 1)


def block(seed: int, rows: int = 40, most: int = 3) -> Block:
    """Random crossings of orbit 7; azimuth codes of one turn."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, most + 1, rows)
    total = int(counts.sum())
    limits = {"hw_phi_at_vtx": 575}
    columns: dict[str, Any] = {
        name: rng.integers(bits.minimum, limits.get(name, bits.limit) + 1, total).astype(bits.dtype)
        for name, bits in ScoutingMuon.fields.items()
    }
    columns["hw_pt"] = rng.choice([0, 1, 2, 3, 128, 129, 511], total).astype(np.uint16)
    bx = np.sort(rng.choice(3564, rows, replace=False) + 1).astype(np.uint16)
    table = Table(columns, offsets_of(counts))
    return Block(7, 8, np.full(rows, 7, np.uint32), bx, {"mu": table}, contiguous=True)


@given(SEEDS)
def test_counts_are_those_of_the_physical_values(seed: int) -> None:
    part = block(seed)
    histograms = Histograms()
    histograms.fill(part)
    got = histograms.binned()
    there = part.tables["mu"]["hw_pt"] > 0
    physical = ScoutingMuon.physical(part.tables["mu"].columns)
    for name, bits in (("mu_pt", PT), ("mu_eta", ETA), ("mu_phi", PHI)):
        found = got[name]
        values = physical[bits.physical_name][there].astype(np.float64)
        values = np.clip(values, found.edges[0], np.nextafter(found.edges[-1], 0))
        assert found.counts.dtype == np.int64
        assert np.array_equal(found.counts, np.histogram(values, found.edges)[0])
        assert found.counts.sum() == there.sum()
    filled = part.tables["mu"].counts() > 0
    assert np.array_equal(got["bx"].counts, np.histogram(part.bx[filled], got["bx"].edges)[0])


def test_bins_are_as_declared() -> None:
    bins = Histograms().binned()
    assert bins["mu_pt"].edges[:3].tolist() == [0, 1, 2]
    assert bins["mu_pt"].edges[-2:].tolist() == [64, 255.5]
    assert bins["mu_pt"].unit == "GeV"
    assert len(bins["mu_eta"].counts) == 51
    assert math.isclose(bins["mu_eta"].edges[-1], 229.5 * 0.0870 / 8)
    assert math.isclose(bins["mu_eta"].edges[0], -229.5 * 0.0870 / 8)
    assert len(bins["mu_phi"].counts) == 48
    assert math.isclose(bins["mu_phi"].edges[0], -math.pi + math.pi / 576)
    assert math.isclose(bins["mu_phi"].edges[-1], math.pi + math.pi / 576)
    assert bins["bx"].edges[[0, -1]].tolist() == [0.5, 3564.5]


@given(st.lists(SEEDS, min_size=1, max_size=5), st.integers(0, 5))
def test_splitting_and_merging_change_nothing(seeds: list[int], split: int) -> None:
    whole, first, second = Histograms(), Histograms(), Histograms()
    for number, seed in enumerate(seeds):
        part = block(seed)
        whole.fill(part)
        half = first if number < split else second
        half.fill(part.take(0, 13))
        half.fill(part.take(13, len(part)))
    merged = first.merge(second)
    for name in ("pt", "eta", "phi", "bx"):
        assert np.array_equal(getattr(merged, name), getattr(whole, name))


def test_occupancy_counts_objects_of_any_table_but_sums() -> None:
    def one(*counts: int) -> Table:
        return Table({"hw_et": np.ones(sum(counts), np.uint16)}, offsets_of(np.array(counts)))

    part = Block(7, 8, np.full(4, 7, np.uint32), np.array([1, 2, 3, 3564], np.uint16))
    histograms = Histograms()
    histograms.fill(part.replace(tables={"sums": one(1, 1, 1, 1)}))
    assert histograms.bx.sum() == 0
    histograms.fill(part.replace(tables={"eg": one(2, 0, 0, 0), "jet": one(1, 0, 0, 4)}))
    assert np.flatnonzero(histograms.bx).tolist() == [0, 3563]
    assert histograms.bx.sum() == 2
    histograms.fill(part)
    assert histograms.bx.sum() == 2


def test_values_out_of_range_do_no_harm() -> None:
    part = block(1, rows=2, most=0)
    columns = {
        name: np.array([65535], bits.dtype if bits.dtype.kind == "u" else np.uint16)
        for name, bits in ScoutingMuon.fields.items()
        if bits.dtype != np.uint8
    }
    table = Table(columns, np.array([0, 1, 1], np.int32))
    histograms = Histograms()
    histograms.fill(part.replace(bx=np.array([0, 65535], np.uint16), tables={"mu": table}))
    assert histograms.bx.sum() == 0
    assert histograms.pt[511] == 1
    assert histograms.phi[1023] == histograms.pt.sum() == 1
    assert histograms.binned()["mu_phi"].counts.sum() == 0  # no angle of the turn
