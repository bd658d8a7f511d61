"""Conditions from syntax: cut definitions in physical units become hardware requirements.

Used by the XML and TOML readers for everything and by the JSON reader for what its file leaves
out. A cut's name says what it is: ``OBJECT-TYPE_label`` on objects, ``TYPE_label`` on functions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, cast

from scout40.emulator.ugt.grammar import (
    ConditionTerm,
    CutName,
    GrammarError,
    ObjectTerm,
    cut_type,
    nearest,
)
from scout40.emulator.ugt.model import Condition, CutKind, Limits, Requirement, Window
from scout40.emulator.ugt.scales import ScaleSet, limits
from scout40.streams.errors import BadConfig

MASK_BITS: Mapping[str, int] = {"QLTY": 16, "ISO": 4, "IP": 4}
CICADA_LSB = 256  # scores carry 8 fractional bits
INDEX_CODES = 128  # 7 bits: 108 track-finder muons, the rest unused
SLICE_CODES = 12


@dataclass(frozen=True, slots=True)
class CutDefinition:
    """A cut as menus define it: a range in physical units, or ``data`` for choices.

    ``data``: codes ``4,5,6`` or a mask ``0xfff0`` for quality, isolation, impact parameter;
    ``positive``/``negative``, ``os``/``ls``, ``0``/``1`` for displaced, or a model's name.
    """

    name: str
    minimum: float = 0.0
    maximum: float = 0.0
    data: str = ""


def find_cut(cut: CutName, known: Mapping[str, CutDefinition]) -> CutDefinition:
    """The definition of a cut used in an expression; `GrammarError` when there is none."""
    if cut.name not in known:
        close = nearest(cut.name, known)
        raise GrammarError(f"the cut {cut.name!r} is not defined{close}", cut.column)
    return known[cut.name]


def make_condition(
    term: ConditionTerm,
    known: Mapping[str, CutDefinition],
    scales: ScaleSet,
    signal_bits: Mapping[str, int] | None,
    expression: str,
) -> Condition:
    """One condition; ``signal_bits`` None: the menu does not say where external signals are."""
    correlations = []
    for cut in term.cuts:
        kind = cut_type(cut.name)[1]
        if kind != "CHGCOR":
            found = correlation(term, cut, find_cut(cut, known), scales)
            correlations.append((cast(CutKind, kind), found))
    return Condition(
        expression=expression,
        kind=term.kind,
        requirements=tuple(
            make_requirement(item, known, scales, signal_bits) for item in term.objects
        ),
        cuts=tuple(correlations),
        charge_correlation=charge_correlation(term, known),
    )


def make_requirement(
    term: ObjectTerm,
    known: Mapping[str, CutDefinition],
    scales: ScaleSet,
    signal_bits: Mapping[str, int] | None,
) -> Requirement:
    """What one object of a condition must satisfy, in hardware integers."""
    found = bare_requirement(term, signal_bits)
    if term.threshold is not None:
        try:
            threshold = scales.threshold(term.type, float(term.threshold))
        except BadConfig as error:
            raise GrammarError(f"threshold of {term.name!r}: {error}", term.column) from None
        found = replace(found, threshold=threshold)
    check_repeats(term)
    for cut in term.cuts:
        found = apply_cut(found, cut, find_cut(cut, known), scales)
    return found


def apply_cut(
    found: Requirement, cut: CutName, definition: CutDefinition, scales: ScaleSet
) -> Requirement:
    """The requirement with one more cut."""
    try:
        return _apply(found, cut_type(cut.name)[1], definition, scales)
    except BadConfig as error:
        raise GrammarError(f"cut {cut.name!r}: {error}", cut.column) from None


def bare_requirement(term: ObjectTerm, signal_bits: Mapping[str, int] | None) -> Requirement:
    """Object type, comparison, bunch crossing and external signal; nothing of the cuts."""
    bit = None
    if term.signal is not None and signal_bits is not None:
        if term.signal not in signal_bits:
            close = nearest(term.signal, signal_bits)
            text = f"the external signal {term.signal!r} is not in the signal set{close}"
            raise GrammarError(text, term.column)
        bit = signal_bits[term.signal]
    return Requirement(
        object=term.type,
        bx_offset=term.bx_offset,
        comparison=term.comparison,
        signal=term.signal,
        signal_bit=bit,
    )


def check_repeats(term: ObjectTerm) -> None:
    """`GrammarError` for two cuts of a type of which an object can carry only one."""
    kinds = [cut_type(cut.name)[1] for cut in term.cuts]
    for cut, kind in zip(term.cuts, kinds, strict=True):
        if kind not in ("ETA", "PHI", "INDEX") and kinds.count(kind) > 1:
            raise GrammarError(f"two {kind} cuts on one {term.type}", cut.column)


def correlation(
    term: ConditionTerm, cut: CutName, definition: CutDefinition, scales: ScaleSet
) -> Limits:
    """Limits of one correlation cut with the precision of the objects it relates."""
    kind = cast(CutKind, cut_type(cut.name)[1])
    second = term.objects[-1 if kind.startswith("ORM") else 1]
    precision = scales.precision(kind, term.objects[0].type, second.type)
    try:
        return limits(kind, definition.minimum, definition.maximum, precision)
    except BadConfig as error:
        raise GrammarError(f"cut {cut.name!r}: {error}", cut.column) from None


def charge_correlation(
    term: ConditionTerm, known: Mapping[str, CutDefinition]
) -> Literal["os", "ls"] | None:
    """The CHGCOR cut of a condition, if there is one."""
    for cut in term.cuts:
        if cut_type(cut.name)[1] == "CHGCOR":
            value = find_cut(cut, known).data.strip('"').lower()
            if value not in ("os", "ls"):
                text = f"cut {cut.name!r}: {value[:80]!r} is neither os nor ls"
                raise GrammarError(text, cut.column)
            return "os" if value == "os" else "ls"
    return None


def parse_mask(text: str, bits: int) -> int:
    """Mask from a hexadecimal number (``0xfff0``) or a list of codes (``4,5,6``)."""
    if re.fullmatch(r"0[xX][0-9a-fA-F]{1,8}", text):
        mask = int(text, 16)
    elif re.fullmatch(r"\s*\d{1,3}\s*(,\s*\d{1,3}\s*)*", text):
        mask = sum({1 << int(code) for code in text.split(",")})
    else:
        raise BadConfig(f"{text[:80]!r} is neither a mask like 0xfff0 nor a list like 4,5,6")
    if not 0 < mask < 1 << bits:
        raise BadConfig(f"{text[:80]!r}: codes go from 0 to {bits - 1}, at least one")
    return mask


def code_window(minimum: float, maximum: float, codes: int) -> Window:
    """Inclusive window of integers 0..codes-1 given as numbers."""
    if not (minimum.is_integer() and maximum.is_integer() and 0 <= minimum <= maximum < codes):
        raise BadConfig(f"{minimum:g} to {maximum:g} is no range of integers 0..{codes - 1}")
    return Window(int(minimum), int(maximum))


def parse_charge(text: str) -> Literal["positive", "negative"]:
    """A CHG cut; menus write the words, reports may shorten them."""
    value = text.strip('"').lower()
    if value not in ("positive", "negative", "pos", "neg"):
        raise BadConfig(f"{value[:80]!r} is neither positive nor negative")
    return "positive" if value.startswith("pos") else "negative"


def parse_flag(text: str) -> bool:
    """A DISP cut: 0 or 1, decimal or hexadecimal."""
    if not re.fullmatch(r"(0[xX])?0*[01]", text.strip('"')):
        raise BadConfig(f"{text[:80]!r} is neither 0 nor 1")
    return text.strip('"').endswith("1")


def parse_model(text: str) -> str:
    """Name of a network's model, such as v4."""
    name = text.strip('"')
    if not re.fullmatch(r"[A-Za-z0-9_.+-]{1,80}", name):
        raise BadConfig(f"{name[:80]!r} is no name of a model")
    return name


def hardware_score(kind: str, value: float) -> str:
    """A network's score threshold as the integer the hardware compares with, in decimal."""
    scaled = value * CICADA_LSB if kind == "CSCORE" else value
    if not (0 <= scaled < 1 << 31 and scaled.is_integer()):
        raise BadConfig(f"{value:g} is no score of type {kind}")
    return str(int(scaled))


def _apply(found: Requirement, kind: str, cut: CutDefinition, scales: ScaleSet) -> Requirement:
    low, high = cut.minimum, cut.maximum
    match kind:
        case "ETA":
            return replace(found, eta=(*found.eta, scales.window(found.object, kind, low, high)))
        case "PHI":
            return replace(found, phi=(*found.phi, scales.window(found.object, kind, low, high)))
        case "UPT":
            return replace(found, upt=scales.window(found.object, kind, low, high))
        case "INDEX":
            return replace(found, index=(*found.index, code_window(low, high, INDEX_CODES)))
        case "SLICE":
            return replace(found, slice=code_window(low, high, SLICE_CODES))
        case "QLTY":
            return replace(found, quality=parse_mask(cut.data, MASK_BITS[kind]))
        case "ISO":
            return replace(found, isolation=parse_mask(cut.data, MASK_BITS[kind]))
        case "IP":
            return replace(found, impact_parameter=parse_mask(cut.data, MASK_BITS[kind]))
        case "CHG":
            return replace(found, charge=parse_charge(cut.data))
        case "DISP":
            return replace(found, displaced=parse_flag(cut.data))
        case "COUNT":
            return replace(found, threshold=scales.threshold(found.object, low))
        case "MODEL":
            return replace(found, network=(*found.network, (kind, parse_model(cut.data))))
    return replace(found, network=(*found.network, (kind, hardware_score(kind, low))))
