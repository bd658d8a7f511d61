"""Menus: XML, JSON extract and TOML; what can be read is compiled and decides three crossings."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import numpy as np

from scout40.emulator.ugt.assemble import MenuText
from scout40.emulator.ugt.grammar import ConditionTerm, conditions, format_condition, parse
from scout40.emulator.ugt.menu import read_menu
from scout40.streams.block import Block, Table, offsets_of
from scout40.streams.errors import BadConfig
from scout40.streams.formats.ugt import OBJECT_WORDS
from tests.fuzz.harness import Target, reference_files

CUTS = {
    "MU-QLTY_A": ("quality = [8, 12]", "0xF000", (0, 0, "12,13,14,15")),
    "MU-ETA_A": ("eta = [-2.1, 2.1]", "[0x13f, 0xc1]", (0, 0.05, "")),
    "MU-PHI_A": ("phi = [1.0, 0.5]", "[0x150, 0x20f]", (0.0, 0.1, "")),
    "MU-UPT_A": ("upt = [10, inf]", "[0xb, 0xff]", (2, 8, "")),
    "MU-INDEX_A": ("index = [36, 71]", "36", (36, 71, "")),
    "MU-CHG_A": ('charge = "positive"', "positive", (0, 0, "positive")),
    "MU-ISO_A": ("isolation = [1, 3]", "0xa", (0, 0, "1,3")),
    "JET-DISP_A": ("displaced = true", "1", (0, 0, "1")),
    "AXO-SCORE_A": ("score = 346", "0x15a", (346, 0, "")),
    "AXO-MODEL_A": ('model = "v4"', "v4", (0, 0, "v4")),
    "DR_A": ("dr = [0, 1.4]", "[0.0, 1.961]", (0, 1.4, "")),
    "DPHI_A": ("dphi = [2.1, inf]", "[2.1, 3.142]", (2.1, 3.142, "")),
    "MASS_A": ("mass = [2.5, 3.5]", "[3.1, 6.2]", (2.5, 3.5, "")),
    "MASSUPT_A": ("mass = [2, 30]", "[2.0, 450.0]", (2, 30, "")),
    "MASSDR_A": ("mass_over_dr = [10, inf]", "[50.0, 999.0]", (10, 100, "")),
    "TBPT_A": ("pt = [20, inf]", "[400.0]", (20, 1000, "")),
    "CHGCOR_A": ('charge = "os"', "os", (0, 0, "os")),
    "ORMDR_A": ("dr = [0, 0.5]", "[0.0, 0.251]", (0, 0.5, "")),
}
"""Name -> definition in TOML, hardware text in JSON, (minimum, maximum, data) in XML."""

EXPRESSIONS = (
    ("MU3[MU-QLTY_A, MU-ETA_A, MU-CHG_A]", "MU4[MU-UPT_A, MU-INDEX_A, MU-PHI_A] OR NOT JET3"),
    ("dist{MU3, MU2[MU-ISO_A]}[DR_A, CHGCOR_A]", "comb{MU3, MU2, MU1}[CHGCOR_A]"),
    ("mass_inv{MU3, MU2+1}[MASS_A, TBPT_A]", "EXT_A-1 XOR ETT4 AND (ASYMET1 OR CENT3)"),
    ("dist{JET3[JET-DISP_A], ETM2}[DPHI_A]", "comb_orm{JET3, JET2, MU1}[ORMDR_A]"),
    ("mass_inv_3{MU1, MU2, MU3}[MASS_A]", "AXO[AXO-SCORE_A, AXO-MODEL_A] OR MUS0"),
    ("mass_inv_upt{MU1, MU2}[MASSUPT_A]", "mass_inv_dr{MU1, MU1}[MASSDR_A]"),
)
"""Two algorithms a menu: small inputs are parsed by the thousand, and a change hits something."""


MOST = 24
"""Parts of one public menu: enough for every kind of condition."""


def used(*texts: str) -> list[str]:
    """Names of the cuts in expressions."""
    return [name for name in CUTS if any(re.search(rf"\b{name}\b", text) for text in texts)]


def toml(*expressions: str) -> bytes:
    """A menu written by hand."""
    cuts = "".join(f"{name} = {{ {CUTS[name][0]} }}\n" for name in used(*expressions))
    text = f'[menu]\nname = "m"\ncomment = "c"\n[external_signals]\nA = 4\n[cuts]\n{cuts}'
    for index, expression in enumerate(expressions):
        text += f'[[algorithm]]\nname = "L1_{index}"\nindex = {index}\nlabels = ["x"]\n'
        text += f'expression = """{expression}"""\n'
    return text.encode()


def extract(*expressions: str) -> bytes:
    """A JSON extract; the second algorithm's numbers are listed, the others come from its cuts."""
    cuts = []
    for name in used(*expressions):
        low, high, data = CUTS[name][2]
        cuts.append({"name": name, "minimum": str(low), "maximum": str(high), "data": data})
    algorithms: list[dict[str, Any]] = [
        {"index": n, "name": f"L1_{n}", "labels": "a, b", "expression": text}
        | {"conditions": [listed(term) for term in conditions(parse(text))] if n else []}
        for n, text in enumerate(expressions)
    ]
    head = {"name": "m", "Grammar Version": "0.13", "Scale Set": "s"}
    document = {"meta": head, "n_algorithms": len(algorithms), "algorithms": algorithms}
    return dumped(document | {"cuts": cuts, "external_signal_bits": {"EXT_A": 4}})


def listed(term: ConditionTerm) -> dict[str, Any]:
    """A condition with its hardware numbers, as the extract lists it."""
    objects = []
    for item in term.objects:
        threshold = [{"kind": "Threshold", "hw": "0x7"}] if item.threshold is not None else []
        entries = [{"kind": "Cut", "cut": cut.name, "hw": CUTS[cut.name][1]} for cut in item.cuts]
        objects.append({"object": item.name, "requirements": threshold + entries})
    cuts = [{"cut": cut.name, "hw": CUTS[cut.name][1]} for cut in term.cuts]
    return {"expression": format_condition(term), "objects": objects, "cuts": cuts}


def dumped(document: Any) -> bytes:
    """JSON in lines, so that changes of lines hit something."""
    return json.dumps(document, indent=0).encode()


def xml(*expressions: str) -> bytes:
    """An official menu with scales of ten bins."""
    text = (
        '<?xml version="1.0"?>\n<t:menu xmlns:t="http://www.cern.ch/tmxsd/1.0.0">\n<name>m</name>'
    )
    text += "<grammar_version>0.13</grammar_version>\n"
    for index, expression in enumerate(expressions):
        text += f"<algorithm><name>L1_{index}</name><expression>{expression}</expression>"
        text += f"<index>{index}</index><labels>a, b</labels>\n"
        for name in used(expression):
            low, high, data = CUTS[name][2]
            kind = name.partition("_")[0].rpartition("-")[2]
            text += f"<cut><name>{name}</name><type>{kind}</type><minimum>{low:+.3E}</minimum>"
            text += f"<maximum>{high:+.3E}</maximum><data>{data}</data></cut>\n"
        text += "</algorithm>\n"
    kinds = {kind for kind in ("MU", "JET", "ETT", "ETM", "ASYMET") if kind in text}
    text += "<scale_set><name>s</name>\n"
    for kind in sorted(kinds):
        quantity = "COUNT" if kind == "ASYMET" else "ET"
        text += scale(kind, quantity, 0.5)
        if kind == "MU":
            text += scale(kind, "ETA", 0.01) + scale(kind, "PHI", 0.05) + scale(kind, "UPT", 1)
    text += "</scale_set>\n<ext_signal_set><ext_signal><name>A</name><channel>32</channel>"
    return (text + "</ext_signal></ext_signal_set>\n</t:menu>\n").encode()


def scale(kind: str, quantity: str, step: float) -> str:
    rows = "".join(
        f"<bin><number>{n}</number><minimum>{n * step:g}</minimum>"
        f"<maximum>{(n + 1) * step:g}</maximum></bin>\n"
        for n in range(10)
    )
    return (
        f"<scale><object>{kind}</object><type>{quantity}</type><n_bits>9</n_bits>{rows}</scale>\n"
    )


def seeds() -> list[bytes]:
    """Menus in the three forms, one in UTF-16, and parts of the public ones."""
    found = [make(*texts) for texts in EXPRESSIONS for make in (toml, extract, xml)]
    found.append(found[2].replace(b'<?xml version="1.0"?>\n', b"").decode().encode("utf-16"))
    return found + real_extracts() + real_xml()


def real_extracts() -> list[bytes]:
    """One algorithm of the reference menu for every combination of functions and objects."""
    found: dict[str, bytes] = {}
    for path in reference_files("menus/*/*.extract.json"):
        document = json.loads(path.read_bytes())
        for row in document["algorithms"]:
            shape = signature(row["expression"])
            if shape not in found and len(found) < MOST:
                cuts = [cut for cut in document["cuts"] if cut["name"] in row["expression"]]
                part = {"meta": document["meta"], "n_algorithms": 1, "algorithms": [row]}
                bits = dict(list(document["external_signal_bits"].items())[:3])
                found[shape] = dumped(part | {"cuts": cuts, "external_signal_bits": bits})
    return list(found.values())


def real_xml() -> list[bytes]:
    """The same for the XML menu, as far as the first bins of its scales are enough."""
    found: dict[str, bytes] = {}
    for path in reference_files("menus/*/*.xml"):
        text = path.read_text()
        rows = re.findall(r"<algorithm>.*?</algorithm>", text, re.DOTALL)
        wholes = re.finditer(r"<scale>\s*<object>(\w+)</object>.*?</scale>", text, re.DOTALL)
        scales = [(m[1], "</bin>".join([*m[0].split("</bin>")[:20], "</scale>"])) for m in wholes]
        for row in rows:
            match = re.search(r"<expression>(.*?)</expression>", row)
            shape = signature(match[1] if match else "")
            if shape in found or len(found) == MOST:
                continue
            own = "".join(s for kind, s in scales if re.search(rf"\b{kind}\d", row))
            menu = f"<menu><name>m</name>{row}<scale_set><name>s</name>{own}</scale_set></menu>"
            data = re.sub(r">\s+<", ">\n<", menu).encode()
            if readable(data):
                found[shape] = data
    return list(found.values())


def signature(expression: str) -> str:
    """An expression without numbers and labels."""
    return re.sub(r"_\w+|[\d.+-]+\w*", "", expression)


def readable(data: bytes) -> bool:
    try:
        read_menu(MenuText("part", data))
    except BadConfig:
        return False
    return True


@cache
def crossings() -> Block:
    """Three neighbouring crossings with two objects of each kind in the first two."""
    counts = np.array([2, 2, 0])
    tables = {}
    for name in ("mu", "eg", "tau", "jet", "sums"):
        size = 3 if name == "sums" else 4
        columns = {
            field: np.resize(np.array([9, 3], bits.dtype), size) & bits.dtype.type(bits.limit)
            for field, bits in OBJECT_WORDS[name].fields.items()
        }
        tables[name] = Table(columns, offsets_of(np.ones(3) if name == "sums" else counts))
    return Block(
        *(7, 8, np.full(3, 7, np.uint32), np.arange(1, 4, dtype=np.uint16), tables),
        crossing={"ext": np.full((3, 4), 16, np.uint64)},
        contiguous=True,
    )


def parse_menu(data: bytes) -> str:
    menu = read_menu(MenuText("menu", data))
    decisions = menu.compile().decide(crossings())
    return "decides" if decisions.evaluated.any() else "evaluates nothing"


TARGET = Target("menu", seeds, parse_menu, weight=7, text=True)
