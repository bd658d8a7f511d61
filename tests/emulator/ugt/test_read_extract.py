"""The JSON extract: golden facts of the 2024 menu, what is taken from where, hostile files."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scout40.emulator.ugt.assemble import MenuText
from scout40.emulator.ugt.grammar import conditions, cut_type, format_condition, parse
from scout40.emulator.ugt.menu import load_menu, read_menu
from scout40.emulator.ugt.model import CutKind, Leaf, Limits, Menu, Operation, Window
from scout40.emulator.ugt.scales import limits, run3_scales, stepped
from scout40.streams.errors import BadConfig


@pytest.fixture(scope="module")
def file(reference: Path) -> Path:
    return reference / "menus" / "2024" / "L1Menu_Collisions2024_v1_3_0-d1.extract.json"


@pytest.fixture(scope="module")
def document(file: Path) -> Any:
    return json.loads(file.read_bytes())


@pytest.fixture(scope="module")
def menu(file: Path) -> Menu:
    return load_menu(file)


def leaves(tree: Leaf | Operation) -> Iterator[int]:
    if isinstance(tree, Leaf):
        yield tree.condition
    else:
        for operand in tree.operands:
            yield from leaves(operand)


def test_counts_of_the_2024_menu(menu: Menu) -> None:
    """408 algorithms, 448 distinct conditions, and how often each function is written."""
    assert (menu.name, menu.grammar) == ("L1Menu_Collisions2024_v1_3_0", "0.13")
    assert menu.scale_set == "scales_2024_05_15"
    assert (len(menu.algorithms), len(menu.conditions)) == (408, 448)
    used = Counter(menu.conditions[n].kind for a in menu.algorithms for n in leaves(a.tree))
    del used["single"]
    assert used == {
        **{"comb": 154, "dist": 44, "mass_inv": 25, "mass_inv_orm": 4},
        **{"comb_orm": 2, "mass_trv": 1, "mass_inv_3": 3},
    }


def test_expressions_give_the_listed_conditions(document: Any, menu: Menu) -> None:
    """Our parser finds exactly the conditions that the official report lists."""
    for row, algorithm in zip(document["algorithms"], menu.algorithms, strict=True):
        ours = [format_condition(c) for c in conditions(parse(row["expression"]))]
        assert list(dict.fromkeys(ours)) == [c["expression"] for c in row["conditions"]]
        assert algorithm.index == row["index"]
        assert algorithm.labels == tuple(x for x in row["labels"].split(", ") if x)


def test_hardware_numbers_are_as_printed(document: Any, menu: Menu) -> None:
    made = {c.expression: c for c in menu.conditions}
    seen = 0
    for row in document["algorithms"]:
        for listed in row["conditions"]:
            found = made[listed["expression"]]
            masks = {"Quality": "quality", "Isolation": "isolation"}
            thresholds = []
            for item, have in zip(listed["objects"], found.requirements, strict=True):
                for entry in item["requirements"]:
                    if entry["kind"] in masks:
                        assert getattr(have, masks[entry["kind"]]) == int(entry["hw"], 16)
                        seen += 1
                    elif entry["kind"] in ("Threshold", "Count"):
                        thresholds.append(int(entry["hw"], 16))
            assert [r.threshold for r in found.requirements][: len(thresholds)] == thresholds or (
                not thresholds
            )
            seen += len(thresholds)
            for cut, limit in found.cuts:
                [text] = [c["hw"] for c in listed["cuts"] if cut_type(c["cut"])[1] == cut]
                assert [limit.minimum, limit.maximum] == [Decimal(x) for x in text[1:-1].split(",")]
                seen += 1
    assert seen == 818 + 4 + 295 + 82 + 33 + 27 + 16 + 6 + 6  # entries of these kinds in the file


def test_what_hardware_numbers_mean(menu: Menu) -> None:
    made = {c.expression: c.requirements[0] for c in menu.conditions}
    assert made["MU0[MU-INDEX_BMTF]"].index == (Window(36, 71),)
    both = made["MU0[MU-INDEX_OMTF_NEG, MU-INDEX_OMTF_POS]"].index
    assert both == (Window(72, 89), Window(18, 35))
    external = made["EXT_TOTEM_4"]
    assert (external.signal, external.signal_bit) == ("TOTEM_4", 43)
    assert made["AXO[AXO-MODEL_v4, AXO-SCORE_Tight]"].network == (("MODEL", "v4"), ("SCORE", "456"))
    assert made["CICADA[CICADA-CSCORE_113]"].network == (("CSCORE", str(113 * 256)),)
    crossing = [r for c in menu.conditions for r in c.requirements if r.phi]
    assert [(r.bx_offset, r.phi) for r in crossing] == [
        (-1, (Window(0x30, 0xEF),)),
        (0, (Window(0x150, 0x20F),)),
    ]
    assert {r.upt for r in made.values() if r.upt} >= {Window(0xB, 0xFF)}
    assert sum(bool(r.displaced) for c in menu.conditions for r in c.requirements) > 0


def test_scales_of_run_3_give_the_printed_numbers(document: Any) -> None:
    """Every window and threshold of the 2024 menu again, from its physical values alone."""
    scales = run3_scales()
    physical = {c["name"]: (c["minimum"], c["maximum"]) for c in document["cuts"]}
    seen: Counter[str] = Counter()
    done = set()
    for row in document["algorithms"]:
        for item in (o for c in row["conditions"] for o in c["objects"]):
            [term] = conditions(parse(item["object"])) if item["requirements"] else (None,)
            for entry in item["requirements"]:
                kind = cut_type(entry.get("cut", ""))[1] or "ET"
                key = entry.get("cut", item["object"])
                if term is None or key in done or kind not in ("ET", "ETA", "PHI", "UPT"):
                    continue
                done.add(key)
                seen[kind] += 1
                owner = term.objects[0]
                codes = [int(x, 16) for x in entry["hw"].strip("[]").split(",")]
                if kind == "ET":
                    assert scales.threshold(owner.type, float(owner.threshold or 0)) == codes[0]
                    continue
                bits = {"MU": 9}.get(owner.type, 8)
                if kind == "ETA":
                    codes = [c - (1 << bits if c >> (bits - 1) else 0) for c in codes]
                low, high = map(float, physical[key])
                assert scales.window(owner.type, kind, low, high) == Window(*codes)
    assert seen["ETA"] == 32
    assert (seen["PHI"], seen["UPT"]) == (2, 9)
    assert seen["ET"] > 130


def test_the_rounding_rule_of_limits(document: Any) -> None:
    """71 of 74 printed limits from the rule alone, all 74 with values made of steps of 0.1."""
    plain = steps = total = 0
    for row in document["cuts"]:
        owner, kind = cut_type(row["name"])
        if owner or kind == "CHGCOR":
            continue
        printed = [Decimal(row["hw_min"]), Decimal(row["hw_max"])]
        values = [float(row["minimum"]), float(row["maximum"])]
        decimals = 1 if kind == "MASS" else 3
        cut: CutKind = kind  # type: ignore[assignment]
        found = limits(cut, values[0], values[1], decimals)
        if kind in ("DR", "ORMDR"):
            values = [stepped(x) for x in values]
        again = limits(cut, values[0], values[1], decimals)
        total += 2
        plain += (found.minimum == printed[0]) + (found.maximum == printed[1])
        steps += (again.minimum == printed[0]) + (again.maximum == printed[1])
    assert (total, plain, steps) == (74, 71, 74)


def listed(expression: str, objects: list[Any], cuts: list[Any]) -> dict[str, Any]:
    return {"expression": expression, "objects": objects, "cuts": cuts}


def item(name: str, *entries: tuple[str, str, str]) -> dict[str, Any]:
    rows = [{"kind": k, "cut": c, "hw": hw} for k, c, hw in entries]
    return {"object": name, "requirements": rows}


SMALL: dict[str, Any] = {
    "meta": {"name": "small", "Grammar Version": "0.13"},
    "n_algorithms": 2,
    "algorithms": [
        {
            "index": 4,
            "name": "L1_A",
            "expression": "mass_inv{MU3[MU-ETA_a], MU0}[MASS_b, CHGCOR_OS] AND EXT_X+1",
            "conditions": [
                listed(
                    "mass_inv{MU3[MU-ETA_a], MU0}[MASS_b, CHGCOR_OS]",
                    [
                        item("MU0", ("Threshold", "", "0x1")),
                        item("MU3", ("Threshold", "", "0x7"), ("Eta", "MU-ETA_a", "[0x1b7, 0x49]")),
                    ],
                    [
                        {"cut": "MASS_b", "kind": "Mass", "hw": "[24.5, 162.0]"},
                        {"cut": "CHGCOR_OS", "kind": "Charge", "hw": '"os"'},
                    ],
                ),
            ],
        },
        {"index": 5, "name": "L1_B", "expression": "MU3[MU-ETA_a, MU-QLTY_c]", "conditions": []},
    ],
    "cuts": [
        {"name": "MU-ETA_a", "minimum": "-0.799", "maximum": "0.799", "data": ""},
        {"name": "MU-QLTY_c", "minimum": "", "maximum": "", "data": "0xf000"},
        {"name": "MASS_b", "minimum": "7.0", "maximum": "18.0"},
        {"name": "CHGCOR_LS", "data": '"ls"'},
    ],
    "external_signal_bits": {"EXT_X": 12},
}


def read(document: Any) -> Menu:
    return read_menu(MenuText("small.json", json.dumps(document).encode()))


def read_or_reason(source: Any) -> Menu | str:
    """The menu or the text of the `BadConfig`; any other exception fails the test."""
    try:
        return read(source)
    except BadConfig as error:
        return str(error)


def test_listed_numbers_first_then_the_list_of_cuts() -> None:
    menu = read(SMALL)
    pair, external, single = menu.conditions
    assert [r.threshold for r in pair.requirements] == [7, 1]  # in the order of the expression
    assert pair.cuts == (("MASS", Limits(Decimal("24.5"), Decimal("162.0"))),)
    assert pair.charge_correlation == "os"
    assert external.requirements[0].signal_bit == 12
    bare = single.requirements[0]  # nothing listed: cuts and the scales of Run 3
    assert (bare.threshold, bare.eta, bare.quality) == (7, (Window(-73, 73),), 0xF000)
    changed = copy.deepcopy(SMALL)
    changed["algorithms"][0]["conditions"] = []
    changed["cuts"][3]["name"] = "CHGCOR_OS"
    changed["external_signal_bits"] = {}
    again = read(changed)
    assert again.conditions[0].requirements == pair.requirements
    assert again.conditions[0].cuts == pair.cuts
    assert again.conditions[0].charge_correlation == "ls"
    assert again.conditions[1].requirements[0].signal_bit is None  # not known is not wrong


@pytest.mark.parametrize(
    ("hw", "expected"),
    [("[100.0, 0.0]", 8192**2), ("100.0", 8192**2), ("[100.0, 400.0]", 400)],
)
def test_two_body_pt_has_no_upper_limit_unless_printed(hw: str, expected: int) -> None:
    document = copy.deepcopy(SMALL)
    row = document["algorithms"][0]
    text = "comb{MU0, MU0}[TBPT_x]"
    row["expression"] = text
    row["conditions"] = [listed(text, [], [{"cut": "TBPT_x", "kind": "Two-body-Pt", "hw": hw}])]
    assert read(document).conditions[0].cuts == (("TBPT", Limits(Decimal(100), Decimal(expected))),)


PLACES: list[tuple[list[Any], Any, str]] = [
    (["n_algorithms"], 3, "2 algorithms, n_algorithms says 3"),
    (["algorithms"], [], "n_algorithms says 2"),
    (["algorithms"], {}, "'algorithms' is no list"),
    (["algorithms", 0, "index"], True, "'index' is no int"),
    (["algorithms", 0, "index"], 5, "index 5 is also that of 'L1_A'"),
    (["algorithms", 0, "index"], 512, "index 512"),
    (["algorithms", 1, "name"], "L1_A", "used twice"),
    (["algorithms", 1, "name"], "L1\ud800", "printable"),
    (["algorithms", 1, "expression"], "MU3[MU-ETA_b]", "nearest: MU-ETA_a"),
    (["algorithms", 1, "expression"], "MU3 ND MU4", "column 5"),
    (["algorithms", 0, "conditions", 0, "expression"], "MU3 OR MU4", "no single condition"),
    (["algorithms", 0, "conditions", 0, "objects", 0, "requirements", 0, "hw"], "x", "'x'"),
    (["algorithms", 0, "conditions", 0, "objects", 1, "requirements", 1, "hw"], "[1, 900]", "9 bi"),
    (["algorithms", 0, "conditions", 0, "cuts", 0, "hw"], "[5.0, 1.0]", "empty or absurd"),
    (["algorithms", 0, "conditions", 0, "cuts", 0, "hw"], "1" * 300, "no pair of numbers"),
    (["algorithms", 0, "conditions", 0, "cuts", 1, "hw"], '"xs"', "neither os nor ls"),
    (["external_signal_bits", "EXT_X"], 256, "no bit 0..255"),
    (["cuts", 0, "minimum"], "abc", "is no number"),
    (["cuts", 1, "data"], "0x10000", "codes go from 0 to 15"),
    (["meta", "name"], "a\nb", "no printable text"),
]


@pytest.mark.parametrize(("path", "value", "reason"), PLACES, ids=[p[2] for p in PLACES])
def test_broken_extracts_say_what_is_wrong(path: list[Any], value: Any, reason: str) -> None:
    document = copy.deepcopy(SMALL)
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(BadConfig) as caught:
        read(document)
    assert reason in str(caught.value)
    assert str(caught.value).startswith("small.json: ")


@pytest.mark.parametrize(
    "data",
    [b'{"a":' * 100_000, b'{"a":NaN}', b"{", b'{"a":"\xff"}', b'{"a":' + b"9" * 5000 + b"}", b"{}"],
)
def test_files_that_are_no_extract(data: bytes) -> None:
    with pytest.raises(BadConfig, match=r"^small\.json: "):
        read_menu(MenuText("small.json", data))


JUNK = st.one_of(
    st.none(),
    *(st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=12)),
    st.sampled_from(["0x7", "[0x1, 0x2]", "36", "[0.0, 1e300]", "MU3", "MU-ETA_a", [], {}, [[]]]),
)


@given(st.data())
def test_changed_documents_are_read_or_refused(data: st.DataObject) -> None:
    document = copy.deepcopy(SMALL)
    for _ in range(data.draw(st.integers(1, 3))):
        place: Any = document
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = data.draw(st.sampled_from(keys))
            if not isinstance(place[key], dict | list) or data.draw(st.integers(0, 5)) == 0:
                place[key] = data.draw(JUNK)
                break
            place = place[key]
    found = read_or_reason(document)
    if isinstance(found, str):
        assert found.startswith("small.json: ")
    else:
        assert found.algorithms
