"""Prescale tables, masks and branch maps: CSV, run-settings XML and TOML."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

from scout40.emulator.ugt.masks import load_bx_mask, load_finor_mask, load_veto_mask
from scout40.emulator.ugt.model import Algorithm, Leaf, Menu
from scout40.emulator.ugt.prescales import load_prescales
from scout40.streams.sources.branch_map import read_branch_map
from tests.fuzz.harness import Target, reference_files, written

MAPS = Path(__file__).resolve().parents[2] / "configs" / "maps"

CSV = """\ufeffIndex,Name,Emergency,"2p0E34, all",1p8E34
0,L1_A,0,1,2.55

5,L1_B,0,100,42949672.95
511,L1_C,1.0,0.00,.5
7,L1_Gone,0,0,0
"""
"""Columns of official tables, with what the reader tolerates."""

MAP = """tree = "events"
energy_unit = "MeV"
[crossing]
run = "Run"
lumi = "LumiBlock"
event = "Event"
orbit = "Orbit"
bx = "Bx"
[[mu]]
pt = "pt"
eta = "eta"
phi = "phi"
charge = "q"
hw_qual = 12
where = { branch = "id", values = [13, -13] }
[[jet]]
px = "x"
py = "y"
pz = "z"
[sums]
ett = "ett"
etm_px = "mx"
etm_py = "my"
[recorded]
prefix = "L1_"
names = ["trigger"]
"""


def settings(table: str, columns: str, *rows: str, attributes: str = "") -> str:
    """A run-settings document."""
    first = f"        <row> {rows[0]}</row> <!-- L1_A: the first row's algorithm -->\n"
    body = first + "\n".join(f"        <row> {row}</row>" for row in rows[1:])
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<run-settings id="uGT">\n<context id="p">\n'
        f'<param id="index" type="uint">2</param>\n<param id="{table}" type="table"{attributes}>\n'
        f"<columns>\n {columns}\n </columns>\n<types>uint</types>\n<rows>\n{body}\n</rows>\n"
        "</param>\n</context>\n</run-settings>\n"
    )


@cache
def menu() -> Menu:
    """A menu with the algorithms of the tables above."""
    names = {0: "L1_A", 5: "L1_B", 511: "L1_C"}
    return Menu("fuzz", tuple(Algorithm(i, n, n, Leaf(0)) for i, n in names.items()), ())


def seeds() -> list[bytes]:
    """Small good tables of every kind, the maps that are installed, and parts of real tables."""
    texts = [
        CSV,
        MAP,
        settings("prescales", "algo/prescale-index, 0, 1", "0, 0., 1.20", "5,1,.5", "511,0,0"),
        settings("prescales", "algo;a", "L1_A;1", "L1_B;3", "L1_C;0", attributes=' delimiter=";"'),
        settings("finorMask", "algo,mask", "ALL,1", "L1_A,0", "L1_C,1"),
        settings("finorMask", "algo,mask", "0,0", "5,1", "511,1", "17,1"),
        settings("vetoMask", "algo,veto", "0,0", "5,1"),
        settings("algorithmBxMask", "bx/algo,0,5,511", "0,1,1,0", "1,0,0,1", "3563,1,1,1"),
        settings(
            *("algorithmBxMask", "algo,range,mask", "ALL,ALL,0", "L1_A,1-100,1", "L1_B,[3500-9],1"),
            *("511,3564,1", "L1_A,7,0"),
        ),
    ]  # fmt: skip
    found = [text.encode() for text in texts]
    found.append(found[2].decode().replace(' encoding="UTF-8"', "").encode("utf-16"))
    found += [path.read_bytes() for path in sorted(MAPS.glob("*.toml"))]
    return found + real_tables()


def real_tables() -> list[bytes]:
    """The small run-settings files of the reference data, with the rows of three algorithms."""
    found = []
    renumbered = {"21": "0", "194": "5", "286": "511"}
    for path in reference_files("menus/unittest/*.xml", most=4096):
        lines = []
        for line in path.read_text().splitlines():
            before, row, cells = line.partition("<row>")
            number, comma, rest = cells.partition(",")
            if not row:
                lines.append(line)
            elif number.strip() in renumbered:
                cells = renumbered[number.strip()] + comma + rest.partition("<!--")[0]
                lines.append(before + row + cells)
        found.append("\n".join(lines).encode())
    return found


MASKS: dict[bytes, Callable[[str, Menu], object]] = {
    b"finorMask": load_finor_mask,
    b"vetoMask": load_veto_mask,
    b"algorithmBxMask": load_bx_mask,
}


def parse(data: bytes) -> str:
    """The reader is the one that a user would give such a file to."""
    path = written(data, "table.any")
    plain = data.replace(b"\0", b"")  # UTF-16
    for name, load in MASKS.items():
        if name in plain:
            load(path, menu())
            return "mask"
    if b"<" not in plain[:64] and b"Index" not in plain[:64] and b"[" in plain:
        read_branch_map(path).branches()
        return "map"
    table = load_prescales(path, menu())
    for column in table.columns:
        table.column(column)
    return "prescales"


TARGET = Target("tables", seeds, parse, weight=25, text=True)
