"""A comparison of steps on the terminal: every number is there, nothing runs over the edge."""

from __future__ import annotations

import io
from collections import Counter

import pytest
from rich.console import Console

from scout40.streams.ledger import Ledger
from scout40.tools import show_steps
from scout40.tools.compare_steps import Crossing, Row, StepComparison, Tally
from scout40.tools.receipt import Receipt

MUON: Row = {
    "link": 71, "slot": 2, "hw_pt": 511, "hw_pt_unconstrained": 255, "hw_dxy": 3, "hw_phi": -128,
    "hw_eta": -256, "hw_hf": 1, "hw_sign": 1, "hw_sign_valid": 1, "hw_qual": 15, "wheel_side": 1,
    "wheel_num": 3, "stat1": 15, "stat2": 15, "stat3": 15, "stat4": 15,
}  # fmt: skip
OUT: Row = {
    "pos": 7, "hw_pt": 511, "hw_eta": -217, "hw_phi": 575, "hw_qual_2024": 15,
    "hw_qual_pre2024": 12, "hw_sign": 1, "hw_sign_valid": 1, "charge": -1, "hw_iso": 3,
    "tf_muon_index": 107,
    "hw_iso_sum": 31, "dphi_extra": -15, "deta_extra": -7, "hw_phi_at_vtx": 560,
    "hw_eta_at_vtx": -224, "hw_rank": 1023, "hw_pt_unconstrained": 255, "hw_dxy": 3,
    "calo_eta_index": 27, "calo_phi_index": 35,
}  # fmt: skip
JET: Row = {
    "config": 1, "stage": 0, "pos": 11, "hw_pt": 1023, "ieta": -30, "iphi": 2, "raw_et": 65535,
    "seed_et": 511, "pu_et": 8000, "gt_eta": -115, "gt_phi": 143,
}  # fmt: skip


def muons(
    pairs: list[tuple[Row | None, Row | None]],
    inputs: int = 3,
    bx: int = 77,
    number: int | None = 7,
) -> Crossing:
    rows = [{**MUON, "slot": k % 3} for k in range(inputs)]
    return Crossing("folder/expected.parquet", "output muons", 12, bx, number, rows, pairs)


def jets(row: Row) -> Crossing:
    towers = [
        {"hw_et": 511 - k % 7, "hw_phi": 1 + k % 72, "hw_eta": m}
        for k, m in enumerate([m for m in range(-41, 42) if abs(m) not in (0, 29)] * 20)
    ]
    return Crossing("jets.parquet", "jets", 12, 77, None, towers, [(row, {**row, "hw_pt": 5})])


def comparison(*first: Crossing, different: int = 1_234_567) -> StepComparison:
    ledger = Ledger()
    for unit in ("packets", "crossings"):
        ledger[unit].received = ledger[unit].out = 7_128_000
    columns = Counter({name: 1_000_000 + k for k, name in enumerate(OUT) if different})
    tally = Tally(
        "folder/" + "long_name_" * 8 + ".parquet", "output muons", 9_876_543, different,
        missing=1_111_111, extra=2_222_222, columns=columns, not_compared=["colour"],
    )  # fmt: skip
    receipt = Receipt("compare", ledger, 2.5, source="y" * 150, lhc_seconds=0.2, notes=("note",))
    return StepComparison(receipt, [tally], list(first))


def shown(
    monkeypatch: pytest.MonkeyPatch, result: StepComparison, width: int, height: int = 24
) -> str:
    file = io.StringIO()
    screen = Console(file=file, width=width, height=height, force_terminal=True, color_system=None,
                     highlight=False)  # fmt: skip
    monkeypatch.setattr(show_steps, "console", lambda: screen)
    show_steps.steps(result)
    text = file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    return text


WIDTHS = pytest.mark.parametrize("width", [60, 80, 120, 200])
DIFFERS = muons([(OUT, {**OUT, "hw_pt": 12, "hw_iso": 0}), (None, {**OUT, "pos": 3})])


@WIDTHS
def test_verdict_keeps_every_number(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    text = shown(monkeypatch, comparison(DIFFERS, muons([(OUT, None)], number=8)), width)
    for number in ("9 876 543", "1 234 567", "1 111 111", "2 222 222", "7 128 000"):
        assert number in text
    assert f"columns that differ (rows) ({len(OUT)})" in text
    assert "columns not compared (1): colour" in text


@WIDTHS
def test_values_are_never_cut(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    text = shown(monkeypatch, comparison(DIFFERS), width)
    flat = " ".join(text.split())
    assert "output muons of crossing number 7" in flat
    assert "pos 7 hw_pt expected 511, ours 12, hw_iso expected 3, ours 0" in flat
    assert "only ours: hw_pt 511, hw_eta -217" in flat
    assert "calo_phi_index 35" in flat


@WIDTHS
def test_inputs_show_what_fits(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    lines = shown(monkeypatch, comparison(DIFFERS), width).splitlines()
    head = next(line for line in lines if "link" in line.split())
    names = head.split()
    assert names[:4] == ["link", "slot", "hw_pt", "hw_qual"]
    assert not any("…" in name for name in names)
    rows = [line.split() for line in lines if line.split()[:1] == ["71"]]
    assert rows == [[str({**MUON, "slot": k}[name]) for name in names] for k in range(3)]
    left = len(MUON) - len(names)
    assert any(f"and {left} more columns" in line for line in lines) == (left > 0)
    assert left > 0 or width == 200


def test_crossings_that_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A narrow screen shows one and says how many there are."""
    result = comparison(*(muons([(OUT, None)], number=k) for k in (21, 22, 23)))
    tall, narrow, low = (
        shown(monkeypatch, result, width, height)
        for width, height in ((100, 50), (60, 50), (100, 24))
    )
    assert all(f"number {k}" in tall for k in (21, 22, 23))
    for text in (narrow, low):
        assert "number 21" in text
        assert "number 22" not in text
        assert "and 2 more of the first crossings" in text


def test_busy_crossing_leaves_the_verdict_on_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The muon that the differing row came from is shown, whatever its place."""
    busy = muons([(row, {**row, "charge": 0}) for row in ({**OUT, "pos": k} for k in range(8))])
    busy.inputs = [{**MUON, "link": 36 + k // 3, "slot": k % 3} for k in range(108)]
    text = shown(monkeypatch, comparison(busy), 80)
    assert "and 102 more muons" in text
    assert "and 5 more rows that differ" in text
    rows = [line.split()[:2] for line in text.splitlines() if line.split()[2:3] == ["511"]]
    assert rows[0] == ["71", "2"]
    assert rows[1:] == [["36", "0"], ["36", "1"], ["36", "2"], ["37", "0"], ["37", "1"]]
    whole = shown(monkeypatch, comparison(busy), 80, 200)
    assert "more muons" not in whole
    assert "more rows" not in whole


@pytest.mark.parametrize("inputs", [0, 1])
def test_crossing_without_input(monkeypatch: pytest.MonkeyPatch, inputs: int) -> None:
    text = shown(monkeypatch, comparison(muons([(OUT, None)], inputs)), 80)
    assert ("no input" in text) == (inputs == 0)
    absent = shown(monkeypatch, comparison(muons([(OUT, None)], 0, bx=-1)), 80)
    assert "is not in the input" in absent
    assert "only expected: hw_pt 511" in absent


def test_orbit_or_number(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, comparison(muons([(OUT, None)], number=None)), 80)
    assert "output muons of crossing orbit 12 bx 77" in text


@WIDTHS
@pytest.mark.parametrize("ieta", [-41, -30, -1, 1, 28, 41])
def test_towers_of_a_jet(monkeypatch: pytest.MonkeyPatch, width: int, ieta: int) -> None:
    """Nine by nine around the seed, less at the ends of the detector; iphi goes round."""
    one = jets({**JET, "ieta": ieta})
    lines = [x.strip() for x in shown(monkeypatch, comparison(one), width, 60).splitlines()]
    text = " ".join(" ".join(lines).split())
    assert "jets of crossing orbit 12 bx 77" in text
    assert "config 1, stage 0, pos 11" in text
    assert "hw_pt expected 1023, ours 5" in text
    head = next(line for line in lines if line.startswith("Et of towers"))
    columns = [int(word) for word in head.split()[3:]]
    steps = [m for m in range(-41, 42) if abs(m) not in (0, 29)]
    at = steps.index(ieta)
    assert columns == steps[max(0, at - 4) : at + 5]
    rows = [line.split() for line in lines if line.startswith("iphi")]
    assert [int(row[1]) for row in rows] == [6, 5, 4, 3, 2, 1, 72, 71, 70]
    et = {(row["hw_eta"], row["hw_phi"]): row["hw_et"] for row in one.inputs}
    for row in rows:
        assert [int(word) for word in row[2:]] == [et.get((m, int(row[1])), 0) for m in columns]


@WIDTHS
def test_agreement_is_short(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    result = comparison(different=0)
    result.tallies[0].not_compared = []
    text = shown(monkeypatch, result, width)
    assert "columns" not in text
    assert len(text.splitlines()) <= 10
