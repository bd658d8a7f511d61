"""Physical values back to hardware integers, against the reference unpackings of scouting data."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scout40.streams.block import Table, offsets_of
from scout40.streams.errors import BadInput
from scout40.streams.formats.calo import CaloEgamma, CaloJet, CaloTau
from scout40.streams.formats.tower import CaloTower
from scout40.streams.formats.ugt import UgtJet, UgtMuon, UgtSums
from scout40.streams.layout import Bits
from scout40.streams.sources.root_codes import (
    Plan,
    Rule,
    Tally,
    in_momentum_order,
    ragged,
    table_of,
)
from scout40.streams.sources.root_file import Ragged
from scout40.streams.sources.scouting_nano import STATION_ETA, sign_columns

MU, JET = UgtMuon.fields, UgtJet.fields

KNOWN: list[tuple[str, Bits, str, str]] = [
    ("gmt", MU["hw_pt"], "hw_pt", "f_pt"),
    ("gmt", MU["hw_eta_at_vtx"], "hw_eta_at_vtx", "f_eta_at_vtx"),
    ("gmt", MU["hw_phi_at_vtx"], "hw_phi_at_vtx", "f_phi_at_vtx"),
    ("gmt", MU["hw_phi"], "hw_phi", "f_phi"),
    ("gmt", STATION_ETA, "hw_eta", "f_eta"),
    ("gmt", MU["hw_pt_unconstrained"], "hw_pt_unconstrained", "f_pt_unconstrained"),
    *(
        (f"calo_dma_{kind}", word.fields[f"hw_{name}"], f"hw_{name}", f"f_{name}")
        for kind, word in (("jet", CaloJet), ("egamma", CaloEgamma), ("tau", CaloTau))
        for name in ("et", "eta", "phi")
    ),
    *(
        ("calo_towers", CaloTower.fields[f"hw_{name}"], f"hw_{name}", f"f_{name}")
        for name in ("et", "eta", "phi")
    ),
]


def codes(bits: Bits, values: object, rule: Rule, first: int = 0) -> list[int]:
    found, bad, outside = Plan(bits, "x", rule, first).codes(np.asarray(values, np.float64))
    assert not bad.any()
    assert not outside.any()
    return [int(code) for code in found]


def kept_bits(values: np.ndarray, bits: int) -> np.ndarray:
    """float32 rounded to this many mantissa bits, as NanoAOD stores them."""
    drop = np.uint32(23 - bits)
    raw = values.astype(np.float32).view(np.uint32)
    half = np.uint32(1) << (drop - np.uint32(1))
    return ((raw + half) >> drop << drop).view(np.float32)


@pytest.mark.parametrize("case", KNOWN, ids=lambda case: f"{case[0]}-{case[2]}")
@pytest.mark.parametrize("mantissa", [23, 12], ids=["float32", "12bits"])
def test_nearest_inverts_the_reference_conversion(
    reference: Path, case: tuple[str, Bits, str, str], mantissa: int
) -> None:
    kind, bits, integer, physical = case
    table = pq.read_table(
        reference / "cmssw" / f"scouting_{kind}_expected.parquet", columns=[integer, physical]
    )
    hardware = table[integer].to_numpy().astype(np.int64)
    values = table[physical].to_numpy()
    tower = kind == "calo_towers"
    # The synthetic words hold codes that mean nothing: directions beyond a full turn, towers
    # that do not exist.
    real = np.ones(len(hardware), np.bool_)
    if bits.scale is not None and bits.scale.unit == "rad":
        turn = round(2 * math.pi / bits.scale.lsb)
        real = (hardware >= tower) & (hardware < turn + tower)
    elif tower and integer == "hw_eta":
        size = np.abs(hardware)
        real = (size >= 1) & (size <= 41) & (size != 29)
    if mantissa < 23:
        values = kept_bits(values, mantissa)
    found, bad, outside = Plan(bits, physical, "nearest", first=int(tower)).codes(values[real])
    assert real.sum() > 1000
    assert not bad.any()
    assert not outside.any()
    np.testing.assert_array_equal(found, hardware[real])


def test_floor_puts_values_into_bins() -> None:
    # Spec of the uGT scales: muon pt hw k = [0.5 (k - 1), 0.5 k), calorimeter et [0.5 k, ...).
    assert codes(MU["hw_pt"], [0.0, 0.25, 0.5, 3.49, 22.0, 254.99, 255.0, 9e9], "floor") == [
        0, 1, 2, 7, 45, 510, 511, 511,
    ]  # fmt: skip
    assert codes(JET["hw_et"], [0.0, 0.49, 0.5, 30.0, 30.49, 1023.5, 5000.0], "floor") == [
        0, 0, 1, 60, 60, 2047, 2047,
    ]  # fmt: skip
    assert codes(UgtSums.fields["hw_etm"], [2047.5, 1e30], "floor") == [4095, 4095]
    assert codes(JET["hw_eta"], [0.0, 0.0434, 0.0436, -0.0001, -0.0436], "floor") == [
        0, 0, 1, -1, -2,
    ]  # fmt: skip
    lsb = 0.0870 / 8
    assert codes(MU["hw_eta_at_vtx"], [0.0, 0.49 * lsb, 0.51 * lsb, -0.51 * lsb], "floor") == [
        0, 0, 1, -1,
    ]  # fmt: skip
    step = 2 * math.pi / 576
    assert codes(MU["hw_phi_at_vtx"], [0, 0.99 * step, -0.01 * step, math.pi], "floor") == [
        0, 0, 575, 288,
    ]  # fmt: skip
    assert codes(JET["hw_phi"], [-0.01, 2 * math.pi - 0.001, 6.2833], "floor") == [143, 143, 0]


def test_nearest_azimuth_wraps_at_the_first_code() -> None:
    # 143.6 * 0.0435 is nearer to a full turn than to code 143 of 144.
    assert codes(CaloJet.fields["hw_phi"], [2 * math.pi - 0.001, -0.002], "nearest") == [0, 0]
    assert codes(CaloJet.fields["hw_phi"], [143 * 0.0435 - 2 * math.pi], "nearest") == [143]


@pytest.mark.parametrize("rule", ["nearest", "floor"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hw_pt", math.nan),
        ("hw_pt", math.inf),
        ("hw_pt", -1.0),
        ("hw_pt", -math.inf),
        ("hw_eta_at_vtx", math.nan),
        ("hw_phi_at_vtx", math.inf),
        ("hw_phi_at_vtx", -999.0),
    ],
)
def test_impossible_values_are_bad(rule: Rule, name: str, value: float) -> None:
    _, bad, _ = Plan(MU[name], "x", rule).codes(np.array([value, 1.0]))
    assert bad.tolist() == [True, False]


def test_eta_outside_the_scale() -> None:
    values = np.array([2.45, 2.46, -2.46, 99.0])
    _, bad, outside = Plan(MU["hw_eta_at_vtx"], "x", "floor").codes(values)
    assert bad.tolist() == [False] * 4
    assert outside.tolist() == [False, True, True, True]
    _, bad, _ = Plan(MU["hw_eta_at_vtx"], "x", "nearest").codes(values)
    assert bad.tolist() == [False, False, False, True]


@pytest.mark.parametrize("dtype", [np.int16, np.uint64, np.int64, np.float32, np.bool_])
def test_integers_keep_their_value_and_range(dtype: type[np.generic]) -> None:
    values = np.array([0, 1], dtype)
    found, bad, _ = Plan(MU["hw_qual"], "x", "hardware").codes(values)
    assert found.tolist() == [0, 1]
    assert not bad.any()


def test_integers_that_do_not_fit_are_bad() -> None:
    plan = Plan(MU["hw_qual"], "x", "hardware")
    assert plan.codes(np.array([15, 16, -1]))[1].tolist() == [False, True, True]
    assert plan.codes(np.array([2.0, 2.5, np.nan, 1e30]))[1].tolist() == [False, True, True, True]
    assert plan.codes(np.array([1, 2**63], np.uint64))[1].tolist() == [False, True]


def test_a_field_without_scale_is_refused() -> None:
    with pytest.raises(BadInput, match="hw_qual has no physical scale"):
        Plan(MU["hw_qual"], "x", "nearest").codes(np.array([1.0]))


def test_table_counts_every_object_once() -> None:
    columns = {
        "pt": Ragged(np.array([5.0, -1.0, 0.0, np.nan, 7.0]), np.array([0, 2, 2, 5])),
        "eta": Ragged(np.array([0.0, 0.0, 0.0, 0.0, 3.0]), np.array([0, 2, 2, 5])),
    }
    plans = [Plan(MU["hw_pt"], "pt", "floor"), Plan(MU["hw_eta_at_vtx"], "eta", "floor")]
    tally = Tally()
    table = table_of("mu", plans, columns, tally, "f")
    assert table.counts().tolist() == [1, 0, 0]
    assert table["hw_pt"].tolist() == [11]
    assert table["hw_pt"].dtype == np.uint16
    assert tally.received == 5
    assert tally.out == 1
    assert dict(tally.bad) == {"mu hw_pt not usable": 2}
    assert dict(tally.dropped) == {"mu empty": 1, "mu hw_eta_at_vtx outside the scale": 1}


def test_unequal_lists_are_refused_by_name() -> None:
    columns = {
        "pt": Ragged(np.ones(3), np.array([0, 1, 3])),
        "eta": Ragged(np.ones(3), np.array([0, 2, 3])),
    }
    plans = [Plan(MU["hw_pt"], "pt", "floor"), Plan(MU["hw_eta_at_vtx"], "eta", "floor")]
    with pytest.raises(BadInput, match=r"field eta: another number of objects than pt .*row 0"):
        table_of("mu", plans, columns, Tally(), "f")


@given(st.lists(st.lists(st.integers(1, 40), max_size=20), max_size=6))
def test_momentum_order(rows: list[list[int]]) -> None:
    flat = np.array([value for row in rows for value in row], np.uint16)
    place = np.arange(len(flat), dtype=np.int64)
    offsets = offsets_of(np.array([len(row) for row in rows], np.int64))
    tally = Tally(received=len(flat), out=len(flat))
    table = in_momentum_order(
        Table({"hw_pt": flat, "place": place}, offsets), "hw_pt", 8, "mu", tally
    )
    for at, row in enumerate(rows):
        part = table.take_crossings(at, at + 1)
        expected = [i for _, i in sorted((-value, i) for i, value in enumerate(row))][:8]
        assert part["hw_pt"].tolist() == [row[i] for i in expected]
        assert (part["place"] - offsets[at]).tolist() == expected
    assert tally.received == tally.out + tally.dropped.total()


def test_charge_of_scouting_products_as_the_bits_of_the_word() -> None:
    # ScGMTRawToDigi stores +1, -1, or 0 when the charge is not valid; anything else fits no bit.
    charge = Ragged(np.array([1, -1, 0, 3]), np.array([0, 4], np.int64))
    found = sign_columns(charge)
    assert [ragged(found[name]).values.tolist() for name in ("hw_sign", "hw_charge_valid")] == [
        [0, 1, 0, 0],
        [1, 1, 0, 2],
    ]
