"""The official XML menu (tmxsd), grammars 0.2 (2016) to 0.14 (2026).

Element ``menu``: ``name``, ``uuid_menu``, ``grammar_version``, ``algorithm`` (``name``, ``index``,
``expression``, ``labels``, ``cut``, ``object_requirement``, ``external_requirement``),
``scale_set`` (``scale`` with ``object``, ``type``, ``n_bits`` and ``bin``) and ``ext_signal_set``.
Physical values become hardware integers with the scales of the same file. The bit of an external
signal is its ``channel`` alone: newer files say cable 1, channel 32 for bit 32 and cable 3,
channel 192 for bit 192.

The file is read with expat in one pass; document type declarations and entities are refused,
and depth, number of elements and text are bounded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

from scout40.emulator.ugt.assemble import MenuBuilder, MenuHead, MenuText, split_labels
from scout40.emulator.ugt.cuts import CutDefinition, make_condition
from scout40.emulator.ugt.grammar import ConditionTerm, cut_type, format_condition, parse_object
from scout40.emulator.ugt.model import Condition, Menu
from scout40.emulator.ugt.scales import MAX_BINS, Bin, Scale, ScaleSet
from scout40.streams.errors import BadConfig

MAX_DEPTH = 12
MAX_ELEMENTS = 4_000_000  # public menus have up to 250 000, nearly all of them in bins
MAX_KEPT = 300_000  # elements and bins held in memory
MAX_TEXT = 100_000  # characters in one element
SIGNALS = 256


@dataclass(slots=True)
class Element:
    """One XML element; children that are bins are kept as plain tuples to save memory."""

    tag: str
    line: int
    text: str = ""
    children: list[Element] = field(default_factory=list)
    bins: list[tuple[str, str, str]] = field(default_factory=list)

    def all(self, tag: str) -> Iterator[Element]:
        """Children of that name."""
        return (child for child in self.children if child.tag == tag)

    def value(self, tag: str, default: str | None = None) -> str:
        """Text of the only child of that name; `BadConfig` names what is missing."""
        found = list(self.all(tag))
        if not found and default is not None:
            return default
        if len(found) != 1:
            have = ", ".join(sorted({c.tag for c in self.children})) or "nothing"
            text = f"line {self.line}: <{self.tag}> has {len(found)} <{tag}>, not one"
            raise BadConfig(f"{text}; it has {have}")
        return found[0].text.strip()


def read_xml(text: MenuText) -> Menu:
    """The menu in an official XML file; `BadConfig` names file, line and algorithm."""
    root = parse_xml(text)
    try:
        if root.tag != "menu":
            raise BadConfig(f"the root element is <{root.tag}>, that of a menu is <menu>")
        scales = _scale_set(_only(root, "scale_set"))
        signals = _signals(root)
        head = MenuHead(
            name=root.value("name"),
            scale_set=scales.name,
            grammar=root.value("grammar_version", ""),
            uuid=root.value("uuid_menu", ""),
        )
    except BadConfig as error:
        raise BadConfig(f"{text.file}: {error}") from None
    builder = MenuBuilder(text)
    for algorithm in root.all("algorithm"):
        _add(builder, algorithm, scales, signals)
    return builder.finish(head)


def parse_xml(text: MenuText) -> Element:
    """Bounded element tree of a file, without name-space prefixes and attributes."""
    reader = _Reader()
    try:
        reader.parser.Parse(text.data, True)
    except expat.ExpatError as error:
        raise BadConfig(f"{text.file}: not well-formed XML: {error}") from None
    except (ValueError, LookupError) as error:  # an encoding Python cannot read
        raise BadConfig(f"{text.file}: cannot decode: {error}") from None
    except BadConfig as error:
        line = reader.parser.CurrentLineNumber
        raise BadConfig(f"{text.file}: line {line}: {error}") from None
    return reader.root.children[0]


class _Reader:
    def __init__(self) -> None:
        self.root = Element("", 0)
        self.stack = [self.root]
        self.elements = 0
        self.kept = 0
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.characters
        self.parser.StartDoctypeDeclHandler = self.refuse
        self.parser.EntityDeclHandler = self.refuse
        self.parser.ExternalEntityRefHandler = self.refuse

    def refuse(self, *_: object) -> int:
        raise BadConfig("document type declarations and entities are not accepted")

    def start(self, tag: str, _: object) -> None:
        self.elements += 1
        if len(self.stack) > MAX_DEPTH:
            raise BadConfig(f"elements nested deeper than {MAX_DEPTH}")
        if self.elements > MAX_ELEMENTS:
            raise BadConfig(f"more than {MAX_ELEMENTS} elements")
        element = Element(tag.rpartition(":")[2], self.parser.CurrentLineNumber)
        self.stack.append(element)

    def end(self, _: str) -> None:
        element = self.stack.pop()
        parent = self.stack[-1]
        self.kept += parent.tag != "bin"
        if self.kept > MAX_KEPT:
            raise BadConfig(f"more than {MAX_KEPT} elements outside of bins")
        if element.tag != "bin" or len(self.stack) == 1:
            parent.children.append(element)
            return
        values = {child.tag: child.text for child in element.children}
        row = tuple(values.get(tag, "") for tag in ("number", "minimum", "maximum"))
        parent.bins.append((row[0], row[1], row[2]))
        if len(parent.bins) > MAX_BINS:
            raise BadConfig(f"a scale of more than {MAX_BINS} bins")

    def characters(self, data: str) -> None:
        element = self.stack[-1]
        if len(element.text) + len(data) > MAX_TEXT:
            raise BadConfig(f"<{element.tag}> holds more than {MAX_TEXT} characters")
        # white space between elements would add up otherwise
        if not data.isspace():
            element.text += data


def _only(parent: Element, tag: str) -> Element:
    parent.value(tag)
    return next(parent.all(tag))


def _number(element: Element, tag: str) -> float:
    return _float(element.value(tag), f"line {element.line}: <{tag}>")


def _float(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadConfig(f"{what}: {text[:80]!r} is no number")
    return value


def _integer(element: Element, tag: str, low: int, high: int) -> int:
    value = _number(element, tag)
    if not value.is_integer() or not low <= value <= high:
        where = f"line {element.line}: <{tag}> {element.value(tag)[:80]!r}"
        raise BadConfig(f"{where} is no integer from {low} to {high}")
    return int(value)


def _scale_set(element: Element) -> ScaleSet:
    scales: dict[tuple[str, str], Scale] = {}
    precisions: dict[str, int] = {}
    for scale in element.all("scale"):
        kind, quantity = scale.value("object"), scale.value("type")
        if kind == "PRECISION":
            precisions[quantity] = _integer(scale, "n_bits", 0, 32)
        elif scale.bins:
            scales[kind, quantity] = _scale(scale, kind, quantity)
    return ScaleSet(element.value("name"), scales, precisions)


def _scale(element: Element, kind: str, quantity: str) -> Scale:
    bits = _integer(element, "n_bits", 1, 32)
    bins = []
    for number, minimum, maximum in element.bins:
        what = f"line {element.line}: a bin of the {quantity} scale of {kind}"
        code = _float(number, what)
        if not code.is_integer() or not 0 <= code < 1 << bits:
            raise BadConfig(f"{what}: number {number[:80]!r} does not fit {bits} bits")
        signed = quantity == "ETA" and code >= 1 << (bits - 1)
        value = int(code) - (1 << bits if signed else 0)
        bins.append(Bin(value, _float(minimum, what), _float(maximum, what)))
    return Scale(bins, period=2 * math.pi if quantity == "PHI" else None)


def _signals(root: Element) -> dict[str, int]:
    bits: dict[str, int] = {}
    for signal_set in root.all("ext_signal_set"):
        for signal in signal_set.all("ext_signal"):
            bits[signal.value("name")] = _integer(signal, "channel", 0, SIGNALS - 1)
    return bits


def _add(builder: MenuBuilder, element: Element, scales: ScaleSet, signals: dict[str, int]) -> None:
    try:
        name, expression = element.value("name"), element.value("expression")
        index = _integer(element, "index", -(1 << 31), 1 << 31)
        known = {cut.name: cut for cut in map(_cut, element.all("cut"))}
        _check_objects(element)
    except BadConfig as error:
        label = next((c.text.strip() for c in element.all("name")), "?")
        raise BadConfig(f"{builder.text.file}: algorithm {label[:256]!r}: {error}") from None

    def condition(term: ConditionTerm) -> Condition:
        return make_condition(term, known, scales, signals, format_condition(term))

    labels = tuple(x for item in element.all("labels") for x in split_labels(item.text))
    builder.add(name, index, expression, labels, condition)


def _cut(element: Element) -> CutDefinition:
    name, kind = element.value("name"), element.value("type")
    named = cut_type(name)[1]
    if named != kind:
        text = f"line {element.line}: the cut {name[:80]!r} has type {kind[:80]!r}"
        raise BadConfig(f"{text}, its name says {named[:80]!r}: expected the same")
    data = element.value("data", "")
    return CutDefinition(name, _number(element, "minimum"), _number(element, "maximum"), data)


def _check_objects(element: Element) -> None:
    """What the file lists beside the expression must say the same as the names do."""
    for item in element.all("object_requirement"):
        term = parse_object(item.value("name"))
        listed = (item.value("comparison_operator").strip("."), _number(item, "threshold"))
        meant = (term.comparison, float(term.threshold or 0))
        if term.threshold is not None and listed != meant:
            text = f"line {item.line}: {term.name!r} is listed with"
            raise BadConfig(f"{text} {listed[0]} {listed[1]:g}, the name says {meant[1]:g}")
