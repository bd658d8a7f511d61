"""Menus written by hand, and the choice of the reader by content."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scout40.emulator.ugt import menu as menu_module
from scout40.emulator.ugt.assemble import MenuText
from scout40.emulator.ugt.menu import load_menu, read_menu
from scout40.emulator.ugt.model import Condition, Limits, Menu, Window
from scout40.streams.errors import BadConfig


def read(text: str) -> Menu:
    return read_menu(MenuText("my.toml", text.encode()))


def read_or_reason(source: str) -> Menu | str:
    """The menu or the text of the `BadConfig`; any other exception fails the test."""
    try:
        return read(source)
    except BadConfig as error:
        return str(error)


def only(expression: str, cuts: str = "") -> Condition:
    text = f'[menu]\nname="m"\n[cuts]\n{cuts}\n[[algorithm]]\nname="A"\n'
    [found] = read(f"{text}expression='{expression}'").conditions
    return found


@pytest.fixture(scope="module")
def demo(repository: Path) -> Menu:
    return load_menu(repository / "configs" / "menus" / "demo.toml")


def test_demo_menu(demo: Menu) -> None:
    assert (demo.name, demo.source, demo.scale_set) == ("demo", "demo.toml", "run3")
    assert [a.index for a in demo.algorithms] == list(range(16))
    assert len(demo.conditions) == 18  # an OR and an AND of two, no condition twice
    made = {c.expression: c for c in demo.conditions}
    assert made["EXT_ZeroBias_BPTX_AND_VME"].requirements[0].signal_bit == 4
    pair = made[
        "mass_inv{MU0[MU-QLTY_SNGL], MU0[MU-QLTY_SNGL]}[MASS_JPSI, DETA_MAX_1p5, CHGCOR_OS]"
    ]
    assert pair.cuts == (
        ("MASS", Limits(Decimal("3.1"), Decimal("6.2"))),  # 3.125 and 6.125 outwards
        ("DETA", Limits(Decimal("0.000"), Decimal("1.500"))),
    )
    assert pair.charge_correlation == "os"


def test_physical_units_become_the_numbers_of_the_official_menu(demo: Menu) -> None:
    """Hardware values as the report of the 2024 menu prints them for these cuts."""
    made = {c.expression: c for c in demo.conditions}
    muon = made["MU7[MU-QLTY_SNGL, MU-ETA_2p1]"].requirements[0]
    assert (muon.threshold, muon.quality) == (0xF, 0xF000)
    assert muon.eta == (Window(0x13F - 512, 0xC1),)
    assert made["MU0[MU-QLTY_DBLE, MU-UPT_10]"].requirements[0].upt == Window(0xB, 0xFF)
    expression = "dist{MU0[MU-QLTY_SNGL, MU-ETA_1p5], MU0[MU-QLTY_SNGL, MU-ETA_1p5]}"
    near = made[f"{expression}[DR_MAX_1p4, CHGCOR_OS]"]
    assert near.cuts == (("DR", Limits(Decimal(0), Decimal("1.961"))),)
    heavy = made["mass_inv{JET30[JET-ETA_2p5], JET30[JET-ETA_2p5]}[MASS_MIN_300]"]
    assert heavy.cuts == (("MASS", Limits(Decimal(45000), Decimal("11549264162.0"))),)
    assert made["HTT360"].requirements[0].threshold == 720


def test_every_type_of_cut() -> None:
    cuts = """
    MU-PHI_a = { phi = [6.0, 0.5] }
    MU-INDEX_a = { index = [36, 71] }
    MU-SLICE_a = { slice = [0, 1] }
    MU-IP_a = { impact_parameter = [1, 2, 3] }
    MU-ISO_a = { isolation = [1] }
    MU-CHG_a = { charge = "negative" }
    """
    names = ", ".join(f"MU-{k}_a" for k in ("PHI", "INDEX", "SLICE", "IP", "ISO", "CHG"))
    muon = only(f"MU3[{names}]", cuts).requirements[0]
    assert muon.phi == (Window(550, 45),)
    assert (muon.index, muon.slice) == ((Window(36, 71),), Window(0, 1))
    assert (muon.impact_parameter, muon.isolation, muon.charge) == (0xE, 2, "negative")
    assert only("JET9[JET-DISP_a]", "JET-DISP_a={displaced=true}").requirements[0].displaced is True
    score = only("ADT[ADT-ASCORE_a]", "ADT-ASCORE_a={score=4000}").requirements[0].network
    assert score == (("ASCORE", "4000"),)
    model = only("TOPO[TOPO-MODEL_a]", "TOPO-MODEL_a={model='v1'}").requirements[0].network
    assert model == (("MODEL", "v1"),)
    pt = only("comb{EG9,EG9}[TBPT_a]", "TBPT_a={pt=[10, inf]}").cuts
    assert pt == (("TBPT", Limits(Decimal(100), Decimal(8191**2))),)
    ratio = only("mass_inv_dr{EG9,EG9}[MASSDR_a]", "MASSDR_a={mass_over_dr=[2, 3]}").cuts
    assert ratio == (("MASSDR", Limits(Decimal(2), Decimal("4.5"))),)
    phi = only("dist_orm{EG9,TAU9}[ORMDPHI_a]", "ORMDPHI_a={dphi=[0.1, inf]}").cuts
    assert phi == (("ORMDPHI", Limits(Decimal("0.1"), Decimal("3.142"))),)


def test_indices_and_cuts_of_single_algorithms() -> None:
    menu = read(
        """
        [menu]
        name = "m"
        [[algorithm]]
        name = "A"
        expression = "EG3[EG-ETA_a]"
        cuts = { EG-ETA_a = { eta = [-1, 1] } }
        [[algorithm]]
        name = "B"
        expression = "EG3[EG-ETA_a]"
        index = 0
        cuts = { EG-ETA_a = { eta = [-2, 2] } }
        labels = ["x", "y"]
        """
    )
    assert [(a.name, a.index) for a in menu.algorithms] == [("B", 0), ("A", 1)]
    assert menu.algorithms[0].labels == ("x", "y")
    assert [c.requirements[0].eta for c in menu.conditions] == [
        (Window(-46, 45),),
        (Window(-23, 22),),
    ]


HEAD = '[menu]\nname="m"\n'
ONE = '[[algorithm]]\nname="A"\nexpression='
BROKEN = [
    ("a = ", "no TOML"),
    ("name,L1_X\n", "neither XML nor JSON"),
    ("", "empty file; accepted: an official XML menu"),
    ("\x00\x01", "binary data"),
    ("x = 1", "'menu' is missing"),
    (HEAD, "'algorithm' is missing"),
    (HEAD + "[algorithm]\nname='A'", "written as [[algorithm]]"),
    (HEAD + "[[algoritm]]", "missing"),
    (HEAD + ONE + "'EG3'\n[cutz]", "unknown key 'cutz'; nearest: cuts"),
    ('[menu]\nname="m"\ncolour=1\n' + ONE + "'EG3'", "accepted: name, comment"),
    (HEAD + ONE + "'EG3'\nindx=3", "[[algorithm]] 1: unknown key 'indx'; nearest: index"),
    (HEAD + ONE + "'EG3'\nindex=true", "algorithm 'A': index is no integer"),
    (HEAD + ONE + "'EG3'\nindex=512", "indices go from 0 to 511"),
    (HEAD + ONE + "3", "expression is no text"),
    (HEAD + ONE + "'EG3[EG-ETA_x]'", "the cut 'EG-ETA_x' is not defined"),
    (HEAD + ONE + "'EG3.3'", "unknown object"),
    (HEAD + ONE + "'EG3p3'", "near it: 3, 3.5"),
    (HEAD + ONE + "'EG300'", "300 is no bin edge"),
    (HEAD + "[cuts]\nEG-ETA_x={eta=[3,1]}\n" + ONE + "'EG3'", "the range 3 to 1 is empty"),
    (HEAD + "[cuts]\nEG-ETA_x={eta=[1]}\n" + ONE + "'EG3'", "no pair [lowest, highest]"),
    (HEAD + "[cuts]\nEG-ETA_x={phi=[1,2]}\n" + ONE + "'EG3'", "'eta' is missing"),
    (HEAD + "[cuts]\nEG-ETA_x={eta=[1,inf]}\n" + ONE + "'EG3'", "infinity is no limit here"),
    (HEAD + "[cuts]\nEG-ETA_x={eta=[nan,1]}\n" + ONE + "'EG3'", "no number"),
    (HEAD + "[cuts]\nEG-AETA_x={eta=[1,2]}\n" + ONE + "'EG3'", "nearest: EG-ETA_"),
    (HEAD + "[cuts]\nMU-QLTY_x={quality=[]}\n" + ONE + "'EG3'", "no list of codes"),
    (HEAD + "[cuts]\nCHGCOR_x={charge='ss'}\n" + ONE + "'EG3'", "one of os, ls"),
    (HEAD + "[external_signals]\nX=-1\n" + ONE + "'EG3'", "no bit 0..255"),
    (HEAD + "[external_signals]\nX=1\n" + ONE + "'EXT_Y'", "'Y' is not in the signal set"),
    (HEAD + "a=" + "[" * 5000 + "]" * 5000, "my.toml: "),
    (HEAD + ".".join(["a"] * 20_000) + "=1", "more than 100 dots"),
    ("#" * (1 << 22) + "\n", "too much for a TOML menu"),
    (HEAD + ONE + "'EG3'\nindex=0x" + "f" * 5000, "index is too large"),
]


@pytest.mark.parametrize(("text", "reason"), BROKEN, ids=[reason for _, reason in BROKEN])
def test_broken_menus_say_what_is_wrong(text: str, reason: str) -> None:
    with pytest.raises(BadConfig) as caught:
        read(text)
    assert reason in str(caught.value)
    assert str(caught.value).startswith("my.toml: ")


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadConfig, match="no such menu file"):
        load_menu(tmp_path / "none.xml")
    with pytest.raises(BadConfig, match="no such menu file"):
        load_menu(tmp_path)
    with pytest.raises(BadConfig):
        load_menu("a\0b")
    file = tmp_path / "big.xml"
    file.write_text(HEAD + ONE + "'EG3'")
    assert load_menu(file).source == "big.xml"  # TOML all the same: content decides
    monkeypatch.setattr(menu_module, "MAX_BYTES", 8)
    with pytest.raises(BadConfig, match="larger than"):
        load_menu(str(file))


SMALL = HEAD + "[cuts]\nEG-ETA_x = { eta = [-1.5, 1.5] }\n" + ONE + '"EG3[EG-ETA_x] OR NOT MU4p5"\n'
PIECES = ["[", "]", "{", "}", '"', "=", ",", "EG-", "1e999", "-", "\n", "inf", "true", "é", "0x"]


@given(st.data())
def test_mutated_files_are_read_or_refused(data: st.DataObject) -> None:
    text = SMALL
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        end = at + data.draw(st.integers(0, 6))
        piece = st.one_of(st.sampled_from(PIECES), st.text(max_size=3).filter(str.isascii))
        text = text[:at] + data.draw(piece) + text[end:]
    found = read_or_reason(text)
    if isinstance(found, str):
        assert found.startswith("my.toml: ")
    else:
        assert found.algorithms


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(BadConfig, match=r"^any: "):
        read_menu(MenuText("any", data))
