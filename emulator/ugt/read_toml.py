"""Menus written by hand, in physical units (GeV, eta, rad), with the scales of Run 3.

    [menu]
    name = "dimuons"                          # required
    comment = "free text"                     # optional

    [external_signals]                        # optional: bit 0..255 of each EXT_<name>
    ZeroBias_BPTX_AND_VME = 4

    [cuts]                                    # for all algorithms
    MU-QLTY_SNGL = { quality = [12, 13, 14, 15] }
    MU-ETA_2p1 = { eta = [-2.1, 2.1] }
    MASS_JPSI = { mass = [2.5, 3.5] }
    MASS_MIN_7 = { mass = [7, inf] }
    CHGCOR_OS = { charge = "os" }

    [[algorithm]]
    name = "L1_DoubleMu0_SQ_OS_JPsi"          # required
    expression = "mass_inv{MU0[MU-QLTY_SNGL], MU0[MU-QLTY_SNGL]}[MASS_JPSI, CHGCOR_OS]"
    index = 7                                 # optional: else the smallest free one
    labels = ["muon"]                         # optional
    cuts = { MASS_X = { mass = [4, 5] } }     # optional: known in this algorithm only

Expressions are those of the official menus (see grammar.py), and so are the names of cuts:
``OBJECT-TYPE_label`` and ``TYPE_label``. A definition has one key, which its type prescribes:

    ETA eta   PHI phi   UPT upt   INDEX index   SLICE slice          [lowest, highest]
    QLTY quality   ISO isolation   IP impact_parameter               [codes that pass]
    CHG charge = "positive"   DISP displaced = true   MODEL model = "v4"
    SCORE, TSCORE, ASCORE, CSCORE  score = 346
    DETA deta   DPHI dphi   DR dr   MASS, MASSUPT mass   MASSDR mass_over_dr   TBPT pt
    ORMDETA deta   ORMDPHI dphi   ORMDR dr                           [lowest, highest]
    CHGCOR charge = "os" or "ls"

``inf`` stands for the end of the range. Eta and phi are moved to the nearest bin edge; a phi
window whose first value is the larger one wraps around. Unknown keys are errors.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from scout40.emulator.ugt.assemble import MenuBuilder, MenuHead, MenuText
from scout40.emulator.ugt.cuts import CutDefinition, make_condition
from scout40.emulator.ugt.grammar import (
    FUNCTION_CUTS,
    OBJECT_CUTS,
    ConditionTerm,
    cut_type,
    format_condition,
    nearest,
)
from scout40.emulator.ugt.model import Condition, Menu
from scout40.emulator.ugt.scales import run3_scales, stepped
from scout40.streams.errors import BadConfig

MAX_BYTES = 4 << 20  # of a menu that somebody wrote; the standard library's parser is slow
MAX_DOTS = 100  # on one line; that parser takes a time and space quadratic in a.b.c.d...

Table = Mapping[str, Any]

# key of a definition for every type of cut, and what `inf` stands for where it may be written
_RANGES: Mapping[str, tuple[str, float | None]] = {
    "ETA": ("eta", None),
    "PHI": ("phi", None),
    "UPT": ("upt", 255.0),
    "INDEX": ("index", None),
    "SLICE": ("slice", None),
    "DETA": ("deta", 10.0),
    "DPHI": ("dphi", 3.142),
    "DR": ("dr", 11.8),
    "MASS": ("mass", 151982.0),
    "MASSUPT": ("mass", 151982.0),
    "MASSDR": ("mass_over_dr", 151982.0),
    "TBPT": ("pt", 8191.0),
    "ORMDETA": ("deta", 10.0),
    "ORMDPHI": ("dphi", 3.142),
    "ORMDR": ("dr", 11.8),
}
_CODES = {"QLTY": "quality", "ISO": "isolation", "IP": "impact_parameter"}
_CHOICES = {"CHG": ("charge", "positive", "negative"), "CHGCOR": ("charge", "os", "ls")}
_SCORES = ("SCORE", "TSCORE", "ASCORE", "CSCORE")


def read_toml(text: MenuText) -> Menu:
    """The menu in a TOML file; `BadConfig` names file, table and key, or line and column."""
    if len(text.data) > MAX_BYTES:
        raise BadConfig(f"{text.file}: larger than {MAX_BYTES >> 20} MB, too much for a TOML menu")
    if any(line.count(b".") > MAX_DOTS for line in text.data.splitlines()):
        raise BadConfig(f"{text.file}: a line with more than {MAX_DOTS} dots")
    try:
        document = tomllib.loads(text.data.decode("utf-8-sig"))
    except RecursionError:
        raise BadConfig(f"{text.file}: nested too deeply") from None
    except ValueError as error:  # not UTF-8, not TOML, or an integer of thousands of digits
        reason = str(error)[:200]
        raise BadConfig(f"{text.file}: neither XML nor JSON, and no TOML: {reason}") from None
    builder = MenuBuilder(text)
    try:
        _keys(document, ("menu", "algorithm"), ("external_signals", "cuts"), "the file")
        head = _table(document["menu"], "[menu]")
        _keys(head, ("name",), ("comment",), "[menu]")
        name = _string(head["name"], "[menu]: name")
        signals = _signals(_table(document.get("external_signals", {}), "[external_signals]"))
        cuts = _cuts(_table(document.get("cuts", {}), "[cuts]"), "[cuts]")
        rows = document["algorithm"]
        if not isinstance(rows, list):
            raise BadConfig("algorithms are written as [[algorithm]]")
        tables = [_table(row, f"[[algorithm]] {n}") for n, row in enumerate(rows, 1)]
        for number, table in enumerate(tables, 1):
            accepted = ("index", "labels", "cuts", "comment")
            _keys(table, ("name", "expression"), accepted, f"[[algorithm]] {number}")
    except BadConfig as error:
        raise BadConfig(f"{text.file}: {error}") from None
    # the given indices first, so that an algorithm without one never takes them
    for table in sorted(tables, key=lambda t: "index" not in t):
        _add(builder, table, cuts, signals)
    return builder.finish(MenuHead(name=name, scale_set=run3_scales().name))


def _add(
    builder: MenuBuilder,
    table: Table,
    shared: Mapping[str, CutDefinition],
    signals: Mapping[str, int] | None,
) -> None:
    name = table["name"]
    where = f"algorithm {name[:256]!r}" if isinstance(name, str) else "an algorithm"
    try:
        name = _string(name, f"{where}: name")
        expression = _string(table["expression"], f"{where}: expression")
        index = _integer(table.get("index", builder.free_index()), f"{where}: index")
        labels = table.get("labels", [])
        if not isinstance(labels, list):
            raise BadConfig(f"{where}: labels is no list")
        names = tuple(_string(label, f"{where}: labels") for label in labels)
        own = _cuts(_table(table.get("cuts", {}), f"{where}: cuts"), f"{where}: cuts")
        twice = ", ".join(sorted(set(own) & set(shared)))
        if twice:
            raise BadConfig(f"{where}: cuts: {twice[:200]} also in [cuts]")
    except BadConfig as error:
        raise BadConfig(f"{builder.text.file}: {error}") from None
    known = {**shared, **own}

    def condition(term: ConditionTerm) -> Condition:
        return make_condition(term, known, run3_scales(), signals, format_condition(term))

    builder.add(name, index, expression, names, condition)


def _keys(table: Table, needed: Iterable[str], others: Iterable[str], where: str) -> None:
    needed, others = tuple(needed), tuple(others)
    for key in needed:
        if key not in table:
            raise BadConfig(f"{where}: {key!r} is missing")
    for key in table:
        if key not in needed + others:
            close = nearest(key, needed + others)
            accepted = ", ".join(needed + others)
            raise BadConfig(f"{where}: unknown key {key[:80]!r}{close}; accepted: {accepted}")


def _table(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadConfig(f"{where} is no table")
    return value


def _string(value: object, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise BadConfig(f"{where} is no text")
    return value


def _integer(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadConfig(f"{where} is no integer")
    if abs(value) > 1 << 53:  # may have too many digits to be printed
        raise BadConfig(f"{where} is too large")
    return value


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise BadConfig(f"{where} is no number")
    if isinstance(value, int) and abs(value) > 1 << 53:
        raise BadConfig(f"{where} is too large")
    return float(value)


def _signals(table: Table) -> dict[str, int] | None:
    bits: dict[str, int] = {}
    for name, value in table.items():
        where = f"[external_signals]: {name[:80]!r}"
        bits[name.removeprefix("EXT_")] = bit = _integer(value, where)
        if not 0 <= bit <= 255:
            raise BadConfig(f"{where} is no bit 0..255")
    return bits or None


def _cuts(table: Table, where: str) -> dict[str, CutDefinition]:
    return {n: _cut(n, _table(v, f"{where}: {n[:80]!r}"), where) for n, v in table.items()}


def _cut(name: str, table: Table, where: str) -> CutDefinition:
    where = f"{where}: {name[:80]!r}"
    owner, kind = cut_type(name)
    accepted = OBJECT_CUTS.get(owner, ()) if owner else FUNCTION_CUTS
    if kind not in accepted or kind == "COUNT" or "_" not in name:
        names = [f"{o}-{k}_" for o, kinds in OBJECT_CUTS.items() for k in kinds if k != "COUNT"]
        close = nearest(name, [*names, *(f"{k}_" for k in FUNCTION_CUTS)])
        raise BadConfig(f"{where} is not named OBJECT-TYPE_label or TYPE_label{close}")
    if kind in _RANGES:
        key, end = _RANGES[kind]
        _keys(table, (key,), (), where)
        return CutDefinition(name, *_range(table[key], kind, end, f"{where}: {key}"))
    if kind in _CODES:
        key = _CODES[kind]
        _keys(table, (key,), (), where)
        codes = table[key]
        if not isinstance(codes, list) or not codes:
            raise BadConfig(f"{where}: {key} is no list of codes")
        found = ",".join(str(_integer(code, f"{where}: {key}")) for code in codes)
        return CutDefinition(name, data=found)
    if kind in _CHOICES:
        key, *choices = _CHOICES[kind]
        _keys(table, (key,), (), where)
        if table[key] not in choices:
            raise BadConfig(f"{where}: {key} is one of {', '.join(choices)}")
        return CutDefinition(name, data=table[key])
    if kind in _SCORES:
        _keys(table, ("score",), (), where)
        return CutDefinition(name, _number(table["score"], f"{where}: score"))
    if kind == "DISP":
        _keys(table, ("displaced",), (), where)
        if not isinstance(table["displaced"], bool):
            raise BadConfig(f"{where}: displaced is true or false")
        return CutDefinition(name, data=str(int(table["displaced"])))
    _keys(table, ("model",), (), where)
    return CutDefinition(name, data=_string(table["model"], f"{where}: model"))


def _range(value: object, kind: str, end: float | None, where: str) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise BadConfig(f"{where} is no pair [lowest, highest]")
    low, high = (_number(item, where) for item in value)
    if high == math.inf and end is not None:
        high = end
    if not (math.isfinite(low) and math.isfinite(high)):
        raise BadConfig(f"{where}: infinity is no limit here")
    if kind != "PHI" and low > high:
        raise BadConfig(f"{where}: the range {low:g} to {high:g} is empty")
    if kind in ("DR", "ORMDR"):
        low, high = stepped(low), stepped(high)
    return low, high
