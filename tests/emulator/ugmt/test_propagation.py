"""Extrapolation tables: the physics in them, and their distance from the official ones."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from scout40.emulator.ugmt import propagation
from scout40.emulator.ugmt.propagation import COVERAGE, Kind, crossings, extrapolation_tables
from scout40.streams.lut_file import read_lut

KINDS: tuple[Kind, ...] = ("bmtf", "omtf", "emtf")


def slow_track(pt: float, eta: float, step: float) -> dict[str, tuple[float, float]]:
    """A positive muon followed in plain numbers: surface -> (azimuth, eta), absent if missed."""
    found: dict[str, tuple[float, float]] = {}
    x = y = z = 0.0
    px, py, pz = pt, 0.0, pt * math.sinh(eta)
    while math.hypot(x, y) < 8 and z < 10:
        r, p = math.hypot(x, y), math.sqrt(px * px + py * py + pz * pz)
        inside = [
            region for region in propagation.REGIONS
            if region.r[0] <= r < region.r[1] and region.z[0] <= z < region.z[1]
        ]  # fmt: skip
        field = sum(region.field for region in inside)
        loss = sum(region.loss for region in inside) * (1 + 0.04 * math.log(p))
        before = x, y, z
        x, y, z = x + px / p * step, y + py / p * step, z + pz / p * step
        # dp/ds = q v x B: for a field along z a rotation of (px, py)
        k = 0.299792458 * field * step / p
        px, py = px * math.cos(k) + py * math.sin(k), py * math.cos(k) - px * math.sin(k)
        left = math.sqrt(p * p + 0.10566**2) - loss * step
        if left < 0.3:
            break
        scale = math.sqrt(left * left - 0.10566**2) / p
        px, py, pz = px * scale, py * scale, pz * scale
        if math.hypot(*before[:2]) < 5.0 <= math.hypot(x, y) and z < 6.6 and "barrel" not in found:
            found["barrel"] = math.atan2(y, x), math.asinh(z / math.hypot(x, y))
        if before[2] < 8.2 <= z and "endcap" not in found:
            found["endcap"] = math.atan2(y, x), math.asinh(z / math.hypot(x, y))
    return found


@pytest.mark.parametrize("pt", [2.0, 4.0, 6.0, 20.0, 100.0])
def test_against_a_slow_twin(pt: float) -> None:
    eta = np.array([0.05, 0.5, 0.8, 1.1, 1.4, 1.9, 2.4])
    found = crossings(np.full_like(eta, pt), eta)
    for row, value in enumerate(eta):
        slow = slow_track(pt, float(value), 0.002)
        for name, (phi, at) in found.items():
            assert np.isfinite(phi[row]) == (name in slow), (pt, value, name)
            if name in slow:
                assert (phi[row], at[row]) == pytest.approx(slow[name], abs=0.012)


def test_straight_line_after_the_solenoid() -> None:
    """At high momentum the turn is 0.3 B R / pt, and half of it is offset at the coil."""
    turn = 0.2998 * 3.8 * 2.95 / 100
    phi, at = crossings(np.array([100.0]), np.array([0.0]))["barrel"]
    # the loss of 2 GeV and the iron before the station change it a little
    assert phi[0] == pytest.approx(-turn * (1 - 2.95 / 5.0 / 2), rel=0.02)
    assert at[0] == 0


def test_low_momentum_does_not_reach_the_barrel_station() -> None:
    pt = np.array([2.0, 3.0, 3.8, 6.0])
    reached = np.isfinite(crossings(pt, np.full(4, 0.3))["barrel"][0])
    assert reached.tolist() == [False, False, True, True]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("eta_bits", "pt_bits", "shift"), [(5, 7, 2), (6, 6, 3)])
def test_shape_range_and_order(kind: Kind, eta_bits: int, pt_bits: int, shift: int) -> None:
    for name, table in zip(
        ("phi", "eta"), extrapolation_tables(kind, eta_bits, pt_bits, shift), strict=True
    ):
        assert table.dtype == np.uint8
        assert table.shape == (1 << (eta_bits + pt_bits),)
        assert table.max() <= (7 if shift == 3 else 15)
        rows = table.reshape(1 << eta_bits, 1 << pt_bits).astype(int)
        assert not rows[:, 0].any()
        first, end = (value >> (8 - eta_bits) for value in COVERAGE[kind])
        assert not rows[:first].any()
        assert not rows[end:].any()
        # more momentum never bends more, where tracks reach a station
        assert (np.diff(rows[:, 5:], axis=1) <= 0).all()
        if name == "phi":
            assert rows[first:end, 1].all()
        else:
            assert rows.any() == (shift == 2)


def test_less_lever_arm_in_the_endcap_at_higher_eta() -> None:
    phi = extrapolation_tables("emtf", 5, 7, 2)[0].reshape(32, 128).astype(int)
    assert (np.diff(phi[18:29, 20]) <= 0).all()
    assert phi[18, 20] > 2 * phi[28, 20]


def test_time() -> None:
    propagation._grid.cache_clear()
    start = time.process_time()
    for kind in KINDS:
        extrapolation_tables(kind, 5, 7, 2)
    assert time.process_time() - start < 1.0  # 0.16 s when it was written


def difference(reference: Path, kind: Kind, table: str) -> npt.NDArray[np.int64]:
    """Computed - official of 2017-05-05, in the bins of a track finder from 3 GeV on."""
    name = f"{kind[0].upper()}{table}Extrapolation_5eta_7pt_4out_{'20'[table == 'Eta']}outshift"
    official = read_lut(reference / "ugmt_luts" / f"{name}_20170505.txt").values
    computed = extrapolation_tables(kind, 5, 7, 2)[table == "Eta"]
    rows = (computed - official).reshape(32, 128)
    first, end = (value >> 3 for value in COVERAGE[kind])
    assert not official.reshape(32, 128)[:first].any()
    assert not official.reshape(32, 128)[end:].any()
    return rows[first:end, 7:]


@pytest.mark.parametrize(
    ("kind", "table", "mean", "largest", "equal", "near"),
    [
        ("bmtf", "Phi", 0.17, 3, 84, 99),
        ("bmtf", "Eta", 0.11, 6, 93, 98),
        ("omtf", "Phi", 0.47, 8, 66, 95),
        ("omtf", "Eta", 0.42, 12, 75, 94),
        ("emtf", "Phi", 0.47, 6, 75, 91),
        ("emtf", "Eta", 0.28, 5, 74, 99),
    ],
)
def test_agreement_is_what_the_documentation_says(
    reference: Path, kind: Kind, table: str, mean: float, largest: int, equal: int, near: int
) -> None:
    off = np.abs(difference(reference, kind, table))
    assert off.mean() == pytest.approx(mean, abs=0.01)
    assert off.max() == largest
    assert 100 * (off == 0).mean() == pytest.approx(equal, abs=1)
    assert 100 * (off <= 1).mean() == pytest.approx(near, abs=1)
    line = rf"{kind}    {'azimuth' if table == 'Phi' else 'eta':<7}  {mean:<11}  {largest:<7}"
    assert f"{line}  {equal} %   {near} %" in (propagation.__doc__ or "")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("table", ["Phi", "Eta"])
def test_large_differences_lie_where_the_documentation_says(
    reference: Path, kind: Kind, table: str
) -> None:
    large = np.argwhere(np.abs(difference(reference, kind, table)) > 2)
    cell, hw_pt = large[:, 0] + (COVERAGE[kind][0] >> 3), large[:, 1] + 7
    assert (((cell >= 11) & (cell <= 15)) | (hw_pt <= 13)).all()


def test_agreement_with_the_table_of_february_2017(reference: Path) -> None:
    """One table for all track finders: each is compared where its muons are most of all."""
    name = "PhiExtrapolation_6eta_6pt_3out_3outshift_20170217.txt"
    official = read_lut(reference / "ugmt_luts" / name).values.reshape(64, 64)
    limits: dict[Kind, tuple[int, int]] = {"bmtf": (0, 20), "omtf": (20, 29), "emtf": (29, 58)}
    off = np.concatenate([
        (extrapolation_tables(kind, 6, 6, 3)[0].reshape(64, 64) - official)[first:end, 7:]
        for kind, (first, end) in limits.items()
    ])  # fmt: skip
    assert 100 * (off == 0).mean() == pytest.approx(83, abs=1)
    assert 100 * (np.abs(off) <= 1).mean() == pytest.approx(98, abs=1)
