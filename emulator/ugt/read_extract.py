"""The hardware-level JSON extract of a menu, made from the official menu documentation.

Layout: ``meta``, ``n_algorithms``, ``algorithms[] {index, name, labels, expression, conditions[]
{expression, objects[] {object, requirements[] {kind, cut, value, hw}}, cuts[] {cut, kind, value,
hw, precision}}}``, ``cuts[] {name, minimum, maximum, hw_min, hw_max, data}``,
``external_signal_bits {name: bit}``.

Hardware numbers (``hw``) are taken as printed. Where one is missing - the upper edge of an
``Index`` window always is - the list of cuts and the scales of Run 3 give it. What kind of cut an
entry is follows from the cut's name, not from the free text in ``kind``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, cast

from scout40.emulator.ugt.assemble import MenuBuilder, MenuHead, MenuText, split_labels
from scout40.emulator.ugt.cuts import (
    MASK_BITS,
    CutDefinition,
    apply_cut,
    bare_requirement,
    charge_correlation,
    check_repeats,
    correlation,
    find_cut,
    make_requirement,
    parse_charge,
    parse_flag,
    parse_mask,
    parse_model,
)
from scout40.emulator.ugt.grammar import (
    ConditionTerm,
    CutName,
    Gate,
    GrammarError,
    ObjectTerm,
    cut_type,
    format_condition,
    parse,
)
from scout40.emulator.ugt.model import Condition, CutKind, Limits, Menu, Requirement, Window
from scout40.emulator.ugt.scales import ETA_BITS, UNLIMITED, run3_scales
from scout40.streams.errors import BadConfig

MAX_TEXT = 200  # characters of one number or pair of numbers
MAX_CODE = (1 << 20) - 1  # the largest hardware code of any object field or score

_NUMBER = r"[+-]?\d{1,20}(?:\.\d{1,20})?(?:[eE][+-]?\d{1,2})?"
_ENTRIES = {"Threshold", "Count"}


@dataclass(frozen=True, slots=True)
class _Listed:
    """One condition as listed: hardware text by (object, cuts) and cut, and by function cut."""

    objects: dict[tuple[str, frozenset[str]], dict[str, str]]
    cuts: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Tables:
    cuts: dict[str, CutDefinition]
    printed: dict[str, tuple[str, str]]  # hw_min and hw_max of the list of cuts
    signals: dict[str, int]


def read_extract(text: MenuText) -> Menu:
    """The menu in a JSON extract; `BadConfig` names file, algorithm and what is wrong."""
    try:
        document = json.loads(text.data.decode("utf-8-sig"), parse_constant=_no_constant)
    except RecursionError:
        raise BadConfig(f"{text.file}: nested too deeply") from None
    except ValueError as error:  # not UTF-8, not JSON, or an integer of thousands of digits
        raise BadConfig(f"{text.file}: not JSON: {str(error)[:200]}") from None
    builder = MenuBuilder(text)
    try:
        top = _Record(document, "the file")
        meta = _Record(top.get("meta", dict, {}), "meta")
        tables = _tables(top)
        algorithms = top.records("algorithms")
        expected = top.get("n_algorithms", int, len(algorithms))
        if expected != len(algorithms):
            raise BadConfig(f"{len(algorithms)} algorithms, n_algorithms says {expected}")
        head = MenuHead(
            name=meta.get("name", str, text.file),
            scale_set=meta.get("Scale Set", str, ""),
            grammar=meta.get("Grammar Version", str, ""),
            uuid=meta.get("Menu UUID", str, ""),
        )
    except BadConfig as error:
        raise BadConfig(f"{text.file}: {error}") from None
    for record in algorithms:
        _add(builder, record, tables)
    return builder.finish(head)


class _Record:
    """A JSON object whose fields are fetched with their type checked."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise BadConfig(f"{where} is no JSON object")
        self.value: dict[str, Any] = value
        self.where = where

    def get(self, key: str, kind: type, default: object = None) -> Any:
        """Field of type ``kind``; without default it must be there."""
        found = self.value.get(key, default)
        if type(found) is not kind:  # exactly: a JSON true is no integer
            have = ", ".join(map(repr, list(self.value)[:12])) or "nothing"
            what = "is missing" if key not in self.value else f"is no {kind.__name__}"
            raise BadConfig(f"{self.where}: {key!r} {what}; it has {have[:300]}")
        return found

    def text(self, key: str) -> str:
        """Optional text; numbers and null are taken as their text."""
        found = self.value.get(key)
        if isinstance(found, bool) or not isinstance(found, str | int | float | None):
            raise BadConfig(f"{self.where}: {key!r} is no text")
        return "" if found is None else str(found).strip()

    def records(self, key: str) -> list[_Record]:
        """Field that is a list of objects."""
        rows = self.get(key, list, [] if key in ("cuts", "requirements") else None)
        return [_Record(row, f"{self.where}: {key}[{i}]") for i, row in enumerate(rows)]


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _tables(top: _Record) -> _Tables:
    cuts: dict[str, CutDefinition] = {}
    printed: dict[str, tuple[str, str]] = {}
    for row in top.records("cuts"):
        name = row.get("name", str)
        low, high = (_physical(row, key) for key in ("minimum", "maximum"))
        cuts[name] = CutDefinition(name, low, high, row.text("data").strip('"'))
        printed[name] = (row.text("hw_min"), row.text("hw_max"))
    signals: dict[str, int] = {}
    for name, bit in top.get("external_signal_bits", dict, {}).items():
        if type(bit) is not int or not 0 <= bit <= 255:
            raise BadConfig(f"external_signal_bits: {name[:80]!r} has no bit 0..255")
        signals[name.removeprefix("EXT_")] = bit
    return _Tables(cuts, printed, signals)


def _physical(row: _Record, key: str) -> float:
    text = row.text(key)
    if not re.fullmatch(f"(?:{_NUMBER})?", text):
        raise BadConfig(f"{row.where}: {key!r}: {text[:80]!r} is no number")
    return float(text or 0)


def _add(builder: MenuBuilder, record: _Record, tables: _Tables) -> None:
    name = record.value.get("name")
    label = name[:256] if isinstance(name, str) else "?"
    try:
        name, index = record.get("name", str), record.get("index", int)
        expression = record.get("expression", str)
        labels = split_labels(record.text("labels"))
        listed = dict(_listed(row) for row in record.records("conditions"))
    except BadConfig as error:
        raise BadConfig(f"{builder.text.file}: algorithm {label!r}: {error}") from None

    def condition(term: ConditionTerm) -> Condition:
        found = listed.get(term, _Listed({}, {}))
        return Condition(
            expression=format_condition(term),
            kind=term.kind,
            requirements=tuple(_requirement(x, found, tables) for x in term.objects),
            cuts=tuple(
                (cast(CutKind, cut_type(cut.name)[1]), _limits(term, cut, found, tables))
                for cut in term.cuts
                if cut_type(cut.name)[1] != "CHGCOR"
            ),
            charge_correlation=charge_correlation(term, _with_hardware(tables, found)),
        )

    builder.add(name, index, expression, labels, condition)


def _with_hardware(tables: _Tables, found: _Listed) -> dict[str, CutDefinition]:
    """The table of cuts with the choices listed beside the condition in front."""
    own = {n: CutDefinition(n, data=hw) for n, hw in found.cuts.items() if hw}
    return {**tables.cuts, **own}


def _listed(row: _Record) -> tuple[ConditionTerm, _Listed]:
    term = parse(row.get("expression", str))
    if isinstance(term, Gate):
        raise BadConfig(f"{row.where}: the expression is no single condition")
    objects: dict[tuple[str, frozenset[str]], dict[str, str]] = {}
    for item in row.records("objects"):
        texts: dict[str, str] = {}
        for entry in item.records("requirements"):
            cut = entry.text("cut") if entry.text("kind") not in _ENTRIES else ""
            texts[cut] = entry.text("hw")
        names = frozenset(cut for cut in texts if cut)
        objects[item.get("object", str), names] = texts
    cuts = {cut.get("cut", str): cut.text("hw") for cut in row.records("cuts")}
    return term, _Listed(objects, cuts)


def _requirement(term: ObjectTerm, listed: _Listed, tables: _Tables) -> Requirement:
    check_repeats(term)
    signals: Mapping[str, int] | None = tables.signals
    if term.signal not in tables.signals:
        signals = None  # an extract may leave bits out: not known, not wrong
    texts = listed.objects.get((term.name, frozenset(c.name for c in term.cuts)), {})
    found = bare_requirement(term, signals)
    try:
        if term.threshold is not None and texts.get(""):
            found = replace(found, threshold=_codes(texts[""])[0])
        elif term.threshold is not None:
            bare = replace(term, cuts=())
            found = make_requirement(bare, tables.cuts, run3_scales(), signals)
        for cut in term.cuts:
            found = _apply(found, cut, texts.get(cut.name, ""), tables)
    except GrammarError:
        raise
    except BadConfig as error:
        raise GrammarError(f"{term.name!r}: {error}", term.column) from None
    return found


def _apply(found: Requirement, cut: CutName, text: str, tables: _Tables) -> Requirement:
    kind = cut_type(cut.name)[1]
    codes = _codes(text) if text and kind not in ("CHG", "DISP", "MODEL") else ()
    if not text or (kind in ("ETA", "PHI", "UPT", "SLICE", "INDEX") and len(codes) != 2):
        return _from_tables(found, cut, codes, tables)
    match kind:
        case "ETA":
            low, high = (_signed(code, ETA_BITS[found.object]) for code in codes)
            return replace(found, eta=(*found.eta, _window(low, high)))
        case "PHI":
            return replace(found, phi=(*found.phi, Window(*codes)))
        case "INDEX":
            return replace(found, index=(*found.index, _window(*codes)))
        case "UPT":
            return replace(found, upt=_window(*codes))
        case "SLICE":
            return replace(found, slice=_window(*codes))
        case "QLTY":
            return replace(found, quality=parse_mask(text, MASK_BITS[kind]))
        case "ISO":
            return replace(found, isolation=parse_mask(text, MASK_BITS[kind]))
        case "IP":
            return replace(found, impact_parameter=parse_mask(text, MASK_BITS[kind]))
        case "CHG":
            return replace(found, charge=parse_charge(text))
        case "DISP":
            return replace(found, displaced=parse_flag(text))
        case "COUNT":
            return replace(found, threshold=codes[0])
    value = parse_model(text) if kind == "MODEL" else str(codes[0])
    return replace(found, network=(*found.network, (kind, value)))


def _from_tables(
    found: Requirement, cut: CutName, codes: tuple[int, ...], tables: _Tables
) -> Requirement:
    """A cut whose hardware numbers are not all printed, from the list of cuts."""
    made = apply_cut(found, cut, find_cut(cut, tables.cuts), run3_scales())
    if codes and len(made.index) > len(found.index) and made.index[-1].lower != codes[0]:
        text = f"{cut.name!r} starts at {codes[0]}, in the list of cuts at {made.index[-1].lower}"
        raise GrammarError(text, cut.column)
    return made


def _limits(term: ConditionTerm, cut: CutName, listed: _Listed, tables: _Tables) -> Limits:
    kind = cut_type(cut.name)[1]
    text = listed.cuts.get(cut.name) or ", ".join(filter(None, tables.printed.get(cut.name, ())))
    values = [Decimal(x) for x in re.findall(_NUMBER, text[:MAX_TEXT])]
    numbers = rf"\[?\s*{_NUMBER}(?:\s*,\s*{_NUMBER})*\s*\]?"
    if len(text) > MAX_TEXT or (text and not re.fullmatch(numbers, text)):
        raise GrammarError(f"{cut.name!r}: {text[:80]!r} is no pair of numbers", cut.column)
    open_ended = kind in ("TBPT", "MASSDR")
    if not values or (len(values) == 1 and not open_ended) or len(values) > 2:
        return correlation(term, cut, find_cut(cut, tables.cuts), run3_scales())
    low, high = values[0], values[-1]
    if open_ended and (high < low or len(values) == 1):
        high = UNLIMITED
    if not 0 <= low <= high <= Decimal(10) ** 13:
        raise GrammarError(f"{cut.name!r}: the range {text[:80]!r} is empty or absurd", cut.column)
    return Limits(low, high)


def _codes(text: str) -> tuple[int, ...]:
    """Hardware integers in a text such as ``0x7``, ``36`` or ``[0x30, 0xef]``."""
    code = r"(?:0x[0-9a-fA-F]+|\d+)"
    if len(text) > MAX_TEXT or not re.fullmatch(rf"\[?\s*{code}\s*(?:,\s*{code}\s*)?\]?", text):
        raise BadConfig(f"{text[:80]!r} is neither a hardware integer nor a pair of them")
    found = tuple(int(x, 16 if x.startswith("0x") else 10) for x in re.findall(code, text))
    if max(found) > MAX_CODE:
        raise BadConfig(f"{text[:80]!r} is above {MAX_CODE}")
    return found


def _signed(code: int, bits: int) -> int:
    if code >= 1 << bits:
        raise BadConfig(f"eta {code:#x} does not fit {bits} bits")
    return code - (1 << bits) if code >= 1 << (bits - 1) else code


def _window(low: int, high: int) -> Window:
    if low > high:
        raise BadConfig(f"the window {low} to {high} is empty")
    return Window(low, high)
