"""The official XML menu: golden facts of the 2016 file, newer objects, hostile files."""

from __future__ import annotations

import math
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scout40.emulator.ugt import read_xml
from scout40.emulator.ugt.assemble import MenuText
from scout40.emulator.ugt.grammar import conditions, cut_type, parse
from scout40.emulator.ugt.menu import load_menu, read_menu
from scout40.emulator.ugt.model import Condition, Limits, Menu, Window
from scout40.streams.errors import BadConfig

TURN = 2 * math.pi


@pytest.fixture(scope="module")
def file(reference: Path) -> Path:
    return reference / "menus" / "2016" / "L1Menu_Collisions2016_v8_m2.xml"


@pytest.fixture(scope="module")
def menu(file: Path) -> Menu:
    return load_menu(file)


def condition(menu: Menu, expression: str) -> Condition:
    [found] = [c for c in menu.conditions if c.expression == expression]
    return found


def test_counts_of_the_2016_menu(menu: Menu) -> None:
    """257 <algorithm> elements, 60 external and 336 object requirements (counted with grep)."""
    assert (menu.name, menu.scale_set, menu.grammar) == (
        *("L1Menu_Collisions2016_v8", "2016-04-27"),
        "0.2",
    )
    assert menu.uuid == "785af3f4-fa28-49cd-8908-7f912c181310"
    assert len(menu.algorithms) == 257
    kinds = [c.kind for c in menu.conditions]
    assert {k: kinds.count(k) for k in set(kinds)} == {
        **{"single": 174, "comb": 65, "dist": 15},
        "mass_inv": 2,
    }
    assert len(set(menu.conditions)) == len(menu.conditions)
    indices = [a.index for a in menu.algorithms]
    assert indices == sorted(set(indices))
    assert len(menu.digest) == 64


def test_every_threshold_follows_the_rule(menu: Menu) -> None:
    """hw = 2*pt + 1 for muons, 2*et for calo objects and sums, the count for minimum bias."""
    seen = 0
    for found in menu.conditions:
        [term] = conditions(parse(found.expression))
        for item, named in zip(found.requirements, term.objects, strict=True):
            if named.threshold is not None:
                factor = 1 if item.object.startswith("MBT") else 2
                assert item.threshold == factor * named.threshold + (item.object == "MU")
                seen += 1
    assert seen > 300


def test_every_cut_follows_the_rule(file: Path, menu: Menu) -> None:
    """Edges to hardware by the rounding rules that were checked against real decisions."""
    elements = {e.findtext("name"): e for e in ElementTree.parse(file).getroot().iter("cut")}
    checked = set()
    for found in menu.conditions:
        [term] = conditions(parse(found.expression))
        for item, named in zip(found.requirements, term.objects, strict=True):
            windows = []
            for name in (c.name for c in named.cuts):
                element, kind = elements[name], cut_type(name)[1]
                low, high = (float(element.findtext(x) or 0) for x in ("minimum", "maximum"))
                checked.add(name)
                if kind == "ETA" and item.object == "MU":
                    lower, upper = low / 0.010875 + 0.5, high / 0.010875 - 0.5
                    windows.append(Window(round(lower), round(upper)))
                elif kind == "ETA":
                    windows.append(Window(round(low / 0.0435), round(high / 0.0435) - 1))
                else:
                    codes = (element.findtext("data") or "").split(",")
                    mask = item.quality if kind == "QLTY" else item.isolation
                    assert mask == sum(1 << int(code) for code in codes)
            assert item.eta == tuple(windows)
    objects = {name for name in elements if name and cut_type(name)[0]}
    assert checked == objects
    assert len(objects) == 13


def test_golden_cuts(menu: Menu) -> None:
    """MU-ETA_2p10 has the hardware window that the 2024 menu report prints for the same edges."""
    muon = condition(menu, "MU0[MU-QLTY_SNGL, MU-ETA_2p10]").requirements[0]
    assert muon.eta == (Window(0x13F - 512, 0xC1),)
    assert muon.quality == 0xF000
    central = condition(menu, "JET20[JET-ETA_CEN]").requirements[0]
    assert central.eta == (Window(-69, 68),)
    forward = condition(menu, "comb{JET8[JET-ETA_FWD_NEG], JET8[JET-ETA_FWD_POS]}").requirements
    assert [r.eta for r in forward] == [(Window(-115, -70),), (Window(69, 114),)]
    assert condition(menu, "EG18[EG-ISO_0xE]").requirements[0].isolation == 0xE
    mass = condition(menu, "mass_inv{JET30, JET30}[MASS_MIN_620]")
    assert mass.cuts == (("MASS", Limits(Decimal("192200.0"), Decimal("98000000.0"))),)
    back = condition(menu, "dist{ETM75, JET60}[DPHI_MIN_0p4]")
    assert back.cuts == (("DPHI", Limits(Decimal("0.400"), Decimal("3.150"))),)
    signal = condition(menu, "EXT_BPTX_plus_AND_minus.v0+2").requirements[0]
    assert (signal.signal, signal.signal_bit, signal.bx_offset) == ("BPTX_plus_AND_minus.v0", 32, 2)


# A small file in the style of 2025, with the objects and cuts that the 2016 file lacks.


def scale(kind: str, quantity: str, bits: int, bins: list[tuple[int, float, float]]) -> str:
    rows = "".join(
        f"<bin><number>{n % (1 << bits)}</number><minimum>{a:+.16E}</minimum>"
        f"<maximum>{b:+.16E}</maximum></bin>"
        for n, a, b in bins
    )
    head = f"<object>{kind}</object><type>{quantity}</type><n_bits>{bits}</n_bits>"
    return f"<scale>{head}{rows}</scale>"


def cut(name: str, low: float = 0, high: float = 0, data: str = "") -> str:
    kind = cut_type(name)[1]
    body = f"<minimum>{low:+.16E}</minimum><maximum>{high:+.16E}</maximum><data>{data}</data>"
    return f"<cut><name>{name}</name><object/><type>{kind}</type>{body}</cut>"


def algorithm(index: int, expression: str, *parts: str, name: str = "") -> str:
    head = f"<name>{name or f'L1_{index}'}</name><expression>{expression}</expression>"
    return f"<algorithm>{head}<index>{index}</index>{''.join(parts)}</algorithm>"


SCALES = "".join(
    [
        scale("MU", "ET", 9, [(n, n / 2 - 0.5, n / 2) for n in range(512)]),
        scale("MU", "UPT", 8, [(n, n - 1, n) for n in range(256)]),
        scale(
            *("MU", "ETA", 9),
            [(n, (n - 0.5) * 0.010875, (n + 0.5) * 0.010875) for n in range(-225, 226)],
        ),
        scale("MU", "PHI", 10, [(n, n * TURN / 576, (n + 1) * TURN / 576) for n in range(576)]),
        scale("ZDCP", "ET", 10, [(n, n, n) for n in range(1024)]),
        scale("TOWERCOUNT", "COUNT", 13, [(n, n, n + 1) for n in range(300)]),
        "<scale><object>PRECISION</object><type>MU-MU-Delta</type><n_bits>2</n_bits></scale>",
    ]
)
SIGNALS = (
    "<ext_signal_set><ext_signal><name>HCAL_1</name><cable>1</cable><channel>32</channel>"
    "</ext_signal></ext_signal_set>"
)
NS = "http://www.cern.ch/tmxsd/1.0.0"


def small(*algorithms: str, scales: str = SCALES, signals: str = SIGNALS, extra: str = "") -> bytes:
    body = f"<name>small</name><grammar_version>0.13</grammar_version>{''.join(algorithms)}"
    sets = f"<scale_set><name>test</name>{scales}</scale_set>{signals}{extra}"
    text = f'<?xml version="1.0"?>\n<t:menu xmlns:t="{NS}">{body}{sets}</t:menu>'
    return text.encode()


def read(data: bytes) -> Menu:
    return read_menu(MenuText("small.xml", data))


def read_or_reason(source: bytes) -> Menu | str:
    """The menu or the text of the `BadConfig`; any other exception fails the test."""
    try:
        return read(source)
    except BadConfig as error:
        return str(error)


RICH = small(
    algorithm(
        *(3, "MU3[MU-UPT_10, MU-INDEX_B, MU-PHI_W, MU-CHG_P, MU-IP_1, MU-SLICE_0]"),
        cut("MU-UPT_10", 10, 255),
        cut("MU-INDEX_B", 36, 71),
        cut("MU-PHI_W", 6 * TURN / 12, TURN / 12),
        cut("MU-CHG_P", data="positive"),
        cut("MU-IP_1", data="1,2,3"),
        cut("MU-SLICE_0", 0, 1),
        "<labels>Run3 (2023), monitoring</labels>",
    ),
    algorithm(1, "ZDCP50 XOR NOT TOWERCOUNT200 OR EXT_HCAL_1-1"),
    algorithm(
        *(7, "dist{MU3, MU0}[DR_1p4, CHGCOR_OS]"),
        cut("DR_1p4", 0, 14 * 0.1),
        cut("CHGCOR_OS", data="os"),
        "<object_requirement><name>MU3</name><comparison_operator>.ge.</comparison_operator>"
        "<threshold>+3.0</threshold></object_requirement>",
    ),
    algorithm(
        9, "AXO[AXO-MODEL_v4, AXO-SCORE_x]", cut("AXO-SCORE_x", 346), cut("AXO-MODEL_v4", data="v4")
    ),
    algorithm(10, "CICADA[CICADA-CSCORE_x]", cut("CICADA-CSCORE_x", 113.5)),
)


def test_newer_objects_and_cuts() -> None:
    menu = read(RICH)
    assert [a.index for a in menu.algorithms] == [1, 3, 7, 9, 10]
    assert menu.algorithms[1].labels == ("Run3 (2023)", "monitoring")
    muon = menu.conditions[3].requirements[0]
    assert (muon.threshold, muon.upt, muon.index) == (7, Window(11, 255), (Window(36, 71),))
    assert muon.phi == (Window(288, 47),)  # wraps: from half a turn on to a twelfth
    assert (muon.charge, muon.impact_parameter, muon.slice) == ("positive", 0xE, Window(0, 1))
    zdc, towers, external = (c.requirements[0] for c in menu.conditions[:3])
    assert (zdc.threshold, towers.threshold) == (50, 200)
    assert (external.signal_bit, external.bx_offset) == (32, -1)  # the channel alone is the bit
    pair = menu.conditions[4]
    assert pair.cuts == (("DR", Limits(Decimal("0.00"), Decimal("1.97"))),)  # 2 decimals here
    assert pair.charge_correlation == "os"
    assert menu.conditions[5].requirements[0].network == (("MODEL", "v4"), ("SCORE", "346"))
    assert menu.conditions[6].requirements[0].network == (("CSCORE", str(113 * 256 + 128)),)


def test_utf16_and_missing_precision() -> None:
    text = RICH.decode().replace('<?xml version="1.0"?>\n', "").replace("MU-MU-Delta", "MU-MU-Math")
    menu = read(text.encode("utf-16"))
    assert menu.conditions[4].cuts[0][1].maximum == Decimal("1.961")  # 3 decimals by default


BROKEN = [
    (small(), "no algorithms"),
    (small(algorithm(1, "MU3[MU-ETA_x]")), "'MU-ETA_x' is not defined"),
    (small(algorithm(1, "MU3[MU-ETA_x]", cut("MU-ETA_y", 0, 1))), "nearest: MU-ETA_y"),
    (small(algorithm(1, "EG3")), "no ET or COUNT scale for EG, only for MU, TOWERCOUNT, ZDCP"),
    (small(algorithm(1, "MU3"), algorithm(1, "MU4", name="x")), "index 1 is also that of 'L1_1'"),
    (small(algorithm(1, "MU3"), algorithm(2, "MU4", name="L1_1")), "name is used twice"),
    (small(algorithm(512, "MU3")), "index 512; indices go from 0 to 511"),
    (small(algorithm(1, "MU3p3")), "3.3 is no bin edge of the scale; near it: 3, 3.5"),
    (small(algorithm(1, "MU3 AMD MU4")), "column 5 of 'MU3 AMD MU4'"),
    (small(algorithm(1, "EXT_HCAL_2")), "not in the signal set; nearest: HCAL_1"),
    (small(algorithm(1, "MU3[MU-ETA_x]", cut("MU-ETA_x", -4, 4))), "outside the scale"),
    (small(algorithm(1, "MU3[MU-ETA_x]", cut("MU-ETA_x", 1, -1))), "is empty"),
    (small(algorithm(1, "MU3[MU-QLTY_x]", cut("MU-QLTY_x", data="16"))), "0 to 15"),
    (small(algorithm(1, "MU3[MU-QLTY_x]", cut("MU-QLTY_x", data=""))), "neither a mask"),
    (
        small(algorithm(1, "MU3[MU-ETA_x]", cut("MU-ETA_x", -1, 1).replace(">ETA<", ">PHI<"))),
        "line 2: the cut 'MU-ETA_x' has type 'PHI', its name says 'ETA': expected the same",
    ),
    (small(algorithm(1, "MU3", name=" ")), "printable"),
    (small(algorithm(1, "MU3", "<index>2</index>")), "has 2 <index>, not one"),
    (small(algorithm(1, "MU3"), scales="<scale/>"), "<scale> has 0 <object>"),
    (small(algorithm(1, "MU3"), extra="<scale_set/>"), "has 2 <scale_set>"),
    (
        small(
            algorithm(
                *(1, "MU3"),
                "<object_requirement><name>MU3</name><comparison_operator>.eq."
                "</comparison_operator><threshold>3</threshold></object_requirement>",
            )
        ),
        "listed with eq 3",
    ),
    (b"<run-settings/>", "root element is <run-settings>"),
    (b"<bin/>", "root element is <bin>"),
    (b"<menu>", "not well-formed"),
    (b'<?xml version="1.0" encoding="klingon"?><menu/>', "small.xml: "),
]


@pytest.mark.parametrize(("data", "reason"), BROKEN, ids=[reason for _, reason in BROKEN])
def test_broken_menus_say_what_is_wrong(data: bytes, reason: str) -> None:
    with pytest.raises(BadConfig) as caught:
        read(data)
    assert reason in str(caught.value)
    assert str(caught.value).startswith("small.xml: ")


LAUGHS = b"""<?xml version="1.0"?><!DOCTYPE menu [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>
<menu><name>&b;</name></menu>"""
OUTSIDE = b'<!DOCTYPE menu SYSTEM "file:///etc/hostname"><menu/>'


@pytest.mark.parametrize("data", [LAUGHS, OUTSIDE, b"<!DOCTYPE menu><menu/>"])
def test_declarations_are_refused(data: bytes) -> None:
    with pytest.raises(BadConfig, match="declarations and entities are not accepted"):
        read(data)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("MAX_DEPTH", 3, "nested deeper than 3"),
        ("MAX_ELEMENTS", 500, "more than 500 elements"),
        ("MAX_KEPT", 50, "more than 50 elements outside of bins"),
        ("MAX_BINS", 100, "more than 100 bins"),
        ("MAX_TEXT", 20, "more than 20 characters"),
    ],
)
def test_sizes_are_bounded(
    monkeypatch: pytest.MonkeyPatch, name: str, value: int, reason: str
) -> None:
    monkeypatch.setattr(read_xml, name, value)
    with pytest.raises(BadConfig, match=reason):
        read(RICH)


TINY = small(
    algorithm(0, "NOT MU3[MU-ETA_a] AND EXT_HCAL_1", cut("MU-ETA_a", -0.25, 0.25)),
    scales=scale("MU", "ET", 4, [(n, n / 2 - 0.5, n / 2) for n in range(16)])
    + scale("MU", "ETA", 4, [(n, n * 0.25, n * 0.25 + 0.25) for n in range(-4, 4)]),
)


@given(st.data())
def test_mutated_files_are_read_or_refused(data: st.DataObject) -> None:
    text = bytearray(TINY)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        end = min(len(text), at + data.draw(st.integers(0, 12)))
        text[at:end] = data.draw(
            st.one_of(st.binary(max_size=6), st.just(bytes(text[-at:][:40])), st.just(b"&lt;"))
        )
    found = read_or_reason(bytes(text))
    if isinstance(found, str):
        assert found.startswith("small.xml: ")
    else:
        assert found.algorithms
