"""The language of algorithm expressions: text to syntax tree and back.

    expression := NOT > AND > XOR > OR over conditions, with brackets
    condition  := object | function{object, object, ...}[cut, ...]
    object     := TYPE [.ge.|.eq.] [threshold] [+bx|-bx] [ [cut, ...] ]  |  EXT_name[+bx|-bx]

``4p5`` means 4.5. NOT binds strongest, then AND, XOR and OR; chains of one operator become one
node, so ``a XOR b XOR c`` is the parity of three. The order is that of the Boost.Spirit boolean
grammar the public CMS parser is built on (public menus bracket every mixture but NOT, so they
cannot tell AND, XOR and OR apart). Sources: public CMS tm-grammar and tm-editor, grammars 0.2 to
0.14; ``mass`` is the old name of ``mass_inv`` and ``mass_inv_3_obj`` of ``mass_inv_3``.

The parser is recursive with a bounded depth; it raises nothing but `GrammarError`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from scout40.emulator.ugt.model import Kind
from scout40.streams.errors import BadConfig

MAX_LENGTH = 65_536  # characters of one expression; public menus stay below 2000
MAX_DEPTH = 40  # nested brackets and NOTs; public menus need 3
MAX_CUTS = 32  # on one object or function; the trigger accepts up to 5 of a type
MAX_BX = 2  # the trigger keeps two bunch crossings on either side

Operator = Literal["NOT", "AND", "OR", "XOR"]
OPERATORS: tuple[Operator, ...] = ("NOT", "AND", "XOR", "OR")  # strongest first

PARTICLES = ("MU", "EG", "TAU", "JET")
VECTORS = ("ETM", "HTM", "ETMHF", "HTMHF", "NETETMHF")  # sums with a direction in phi
COUNTS = (
    *("MBT0HFP", "MBT0HFM", "MBT1HFP", "MBT1HFM", "TOWERCOUNT"),
    *("ASYMET", "ASYMHT", "ASYMETHF", "ASYMHTHF"),
)
THRESHOLD_OBJECTS = (*PARTICLES, *VECTORS, "ETT", "ETTEM", "HTT", *COUNTS, "ZDCP", "ZDCM")
NETWORKS = ("AXO", "TOPO", "CICADA", "ADT")
SIGNALS = (*(f"CENT{bit}" for bit in range(8)), "MUS0", "MUS1", "MUS2", "MUSOOT0", "MUSOOT1")
OBJECTS = (*THRESHOLD_OBJECTS, *NETWORKS, *SIGNALS)

OBJECT_CUTS: dict[str, tuple[str, ...]] = {
    "MU": ("ETA", "PHI", "QLTY", "ISO", "CHG", "UPT", "IP", "INDEX", "SLICE"),
    "EG": ("ETA", "PHI", "ISO", "SLICE"),
    "TAU": ("ETA", "PHI", "ISO", "SLICE"),
    "JET": ("ETA", "PHI", "DISP", "SLICE"),
    **{name: ("PHI",) for name in VECTORS},
    **{name: ("COUNT",) for name in COUNTS},
    "AXO": ("SCORE", "MODEL"),
    "TOPO": ("SCORE", "TSCORE", "MODEL"),
    "CICADA": ("CSCORE", "SCORE", "MODEL"),
    "ADT": ("ASCORE", "SCORE"),
}

_PAIR = ("DETA", "DPHI", "DR", "CHGCOR", "TBPT")
_REMOVAL = ("ORMDETA", "ORMDPHI", "ORMDR")


@dataclass(frozen=True, slots=True)
class Function:
    """What one function accepts; ``needs``: at least one of these cut types must be given."""

    kind: Kind
    objects: tuple[int, int]
    types: tuple[str, ...]
    cuts: tuple[str, ...]
    needs: tuple[str, ...] = ()


_ANY = (*PARTICLES, *VECTORS)
_DISTANCE = ("DETA", "DPHI", "DR", "TBPT")
FUNCTIONS: dict[str, Function] = {
    "comb": Function("comb", (2, 12), PARTICLES, ("CHGCOR", "TBPT")),
    "dist": Function("dist", (2, 2), _ANY, _PAIR, _DISTANCE),
    "mass_inv": Function("mass_inv", (2, 2), _ANY, ("MASS", *_PAIR), ("MASS",)),
    "mass_inv_3": Function("mass_inv_3", (3, 3), PARTICLES, ("MASS", "CHGCOR"), ("MASS",)),
    "mass_inv_upt": Function("mass_inv_upt", (2, 2), ("MU",), ("MASSUPT", *_PAIR), ("MASSUPT",)),
    "mass_inv_dr": Function("mass_inv_dr", (2, 2), PARTICLES, ("MASSDR", *_PAIR), ("MASSDR",)),
    "mass_trv": Function("mass_trv", (2, 2), _ANY, ("MASS", *_PAIR), ("MASS",)),
    "comb_orm": Function("comb_orm", (2, 13), PARTICLES, (*_REMOVAL, "CHGCOR", "TBPT"), _REMOVAL),
    "dist_orm": Function("dist_orm", (2, 3), PARTICLES, (*_REMOVAL, *_PAIR), _REMOVAL),
    "mass_inv_orm": Function(
        "mass_inv_orm", (2, 3), PARTICLES, ("MASS", *_REMOVAL, *_PAIR), _REMOVAL
    ),
    "mass_trv_orm": Function("mass_trv_orm", (2, 3), _ANY, ("MASS", *_REMOVAL, *_PAIR), _REMOVAL),
}
ALIASES = {"mass": "mass_inv", "mass_inv_3_obj": "mass_inv_3"}
FUNCTION_CUTS = ("CHGCOR", "DETA", "DPHI", "DR", "MASS", "MASSUPT", "MASSDR", "TBPT", *_REMOVAL)


class GrammarError(BadConfig):
    """An expression that cannot be used; ``reason`` without place, ``column`` counts from 1."""

    def __init__(self, reason: str, column: int) -> None:
        super().__init__(f"column {column}: {reason}")
        self.reason = reason
        self.column = column


@dataclass(frozen=True, slots=True)
class CutName:
    """The name of a cut where an expression uses it, such as ``MU-ETA_2p1`` or ``MASS_JPSI``."""

    name: str
    column: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class ObjectTerm:
    """One object; ``name`` is its text without cuts (``MU4p5-1``), ``signal`` only for EXT."""

    name: str
    type: str
    threshold: Decimal | None = None
    comparison: Literal["ge", "eq"] = "ge"
    bx_offset: int = 0
    cuts: tuple[CutName, ...] = ()
    signal: str | None = None
    column: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class ConditionTerm:
    """One condition: a single object or a function of several."""

    kind: Kind
    objects: tuple[ObjectTerm, ...]
    cuts: tuple[CutName, ...] = ()
    column: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Gate:
    """NOT has one operand, the others two or more."""

    operator: Operator
    operands: tuple[ConditionTerm | Gate, ...]


Node = ConditionTerm | Gate


def parse(expression: str) -> Node:
    """The syntax tree of one algorithm expression; raises `GrammarError`."""
    if len(expression) > MAX_LENGTH:
        raise GrammarError(f"longer than {MAX_LENGTH} characters", MAX_LENGTH)
    parser = _Parser(expression)
    node = parser.binary(len(OPERATORS) - 1, 0)
    parser.expect("")
    return node


def parse_object(name: str, column: int = 1) -> ObjectTerm:
    """The object named by a word such as ``MU4p5-1`` or ``EXT_BPTX_OR_VME+2`` (no cuts)."""
    if name.startswith("EXT_"):
        match = re.fullmatch(r"EXT_([A-Za-z0-9_.]+)([+-]\d{1,3})?", name)
        if match is None:
            raise GrammarError(f"{name!r} is not the name of an external signal", column)
        bx = _bx_offset(match[2], name, column)
        return ObjectTerm(name, "EXT", bx_offset=bx, signal=match[1], column=column)
    kind = next((t for t in _LONGEST_FIRST if name.startswith(t)), None)
    match = _OBJECT.fullmatch(name, len(kind or ""))
    if kind is None or match is None:
        raise GrammarError(_unknown_word(name), column)
    if match[1] not in (None, ".ge.", ".eq."):
        raise GrammarError(f"comparison {match[1]} in {name!r}: .ge. and .eq. exist", column)
    if (match[2] is None) is (kind in THRESHOLD_OBJECTS):
        need = "needs a threshold" if match[2] is None else "takes no threshold"
        raise GrammarError(f"{kind} {need}: {name!r}", column)
    return ObjectTerm(
        name,
        kind,
        threshold=None if match[2] is None else Decimal(match[2].replace("p", ".")),
        comparison="eq" if match[1] == ".eq." else "ge",
        bx_offset=_bx_offset(match[3], name, column),
        column=column,
    )


def cut_type(name: str) -> tuple[str, str]:
    """(object, type) of a cut's name: ``MU-ETA_2p1`` -> (MU, ETA), ``DR_1p4`` -> ('', DR)."""
    prefix = name.partition("_")[0]
    head, dash, tail = prefix.partition("-")
    return (head, tail) if dash else ("", head)


def format_node(node: Node) -> str:
    """Text of a tree; ``parse(format_node(node)) == node`` but for columns."""
    if isinstance(node, ConditionTerm):
        return format_condition(node)
    texts = [
        f"({format_node(x)})" if isinstance(x, Gate) else format_condition(x) for x in node.operands
    ]
    return f"NOT {texts[0]}" if node.operator == "NOT" else f" {node.operator} ".join(texts)


def format_condition(term: ConditionTerm) -> str:
    """Text of one condition in the spelling of the official menu reports."""
    objects = [o.name + _format_cuts(o.cuts) for o in term.objects]
    if term.kind == "single":
        return objects[0]
    return f"{term.kind}{{{', '.join(objects)}}}{_format_cuts(term.cuts)}"


def conditions(node: Node) -> Iterator[ConditionTerm]:
    """The conditions of a tree from left to right, repeated ones repeatedly."""
    if isinstance(node, ConditionTerm):
        yield node
    else:
        for operand in node.operands:
            yield from conditions(operand)


def nearest(word: str, known: Iterable[str]) -> str:
    """'; nearest: a, b' or '' - the tail of a message about an unknown name."""
    # a slice, for a hostile menu may define a hundred thousand names
    found = difflib.get_close_matches(word[:80], list(known)[:2000], n=3, cutoff=0.5)
    return f"; nearest: {', '.join(found)}" if found else ""


_LONGEST_FIRST = sorted(OBJECTS, key=len, reverse=True)
_OBJECT = re.compile(r"(\.[a-z]{2}\.)?(\d{1,6}(?:p\d{1,6})?)?([+-]\d{1,3})?")
_TOKEN = re.compile(r"\s*(?:([A-Za-z0-9_.+-]+)|([()\[\]{},]))")


def _quote(token: str) -> str:
    return repr(token[:80]) if token else "the end of the expression"


def _format_cuts(cuts: tuple[CutName, ...]) -> str:
    return f"[{', '.join(c.name for c in cuts)}]" if cuts else ""


def _bx_offset(text: str | None, name: str, column: int) -> int:
    value = int(text or 0)
    if abs(value) > MAX_BX:
        raise GrammarError(f"{name!r}: bunch crossing offsets go from -2 to +2", column)
    return value


def _unknown_word(name: str) -> str:
    known = (*OBJECTS, *FUNCTIONS, *ALIASES, *OPERATORS)
    letters = re.match(r"[A-Za-z_]*", name)
    close = nearest(letters[0] if letters else name, known)
    return f"unknown object {name[:80]!r}{close}; objects are {', '.join(OBJECTS)}, EXT_<name>"


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, int]] = []  # (text, column); the last one is ("", end)
        position = 0
        while match := _TOKEN.match(text, position):
            token = match[0].lstrip()
            position = match.end()
            self.tokens.append((token, position - len(token) + 1))
        rest = text[position:].lstrip()
        if rest:
            raise GrammarError(f"unexpected character {rest[0]!r}", len(text) - len(rest) + 1)
        self.tokens.append(("", len(text) + 1))
        self.next = 0

    def take(self) -> tuple[str, int]:
        token = self.tokens[self.next]
        self.next = min(self.next + 1, len(self.tokens) - 1)
        return token

    def accept(self, text: str) -> bool:
        found = self.tokens[self.next][0] == text
        if found:
            self.take()
        return found

    def expect(self, text: str) -> None:
        token, column = self.tokens[self.next]
        if not self.accept(text):
            raise GrammarError(f"expected {_quote(text)}, found {_quote(token)}", column)

    def binary(self, level: int, depth: int) -> Node:
        if level == 0:
            return self.unary(depth)
        operands = [self.binary(level - 1, depth)]
        while self.accept(OPERATORS[level]):
            operands.append(self.binary(level - 1, depth))
        return operands[0] if len(operands) == 1 else Gate(OPERATORS[level], tuple(operands))

    def unary(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise GrammarError(f"nested deeper than {MAX_DEPTH}", self.tokens[self.next][1])
        if self.accept("NOT"):
            return Gate("NOT", (self.unary(depth + 1),))
        if self.accept("("):
            node = self.binary(len(OPERATORS) - 1, depth + 1)
            self.expect(")")
            return node
        return self.condition()

    def word(self, what: str) -> tuple[str, int]:
        token, column = self.take()
        if token in OPERATORS or token in "()[]{},":  # "" too: the end is in every string
            raise GrammarError(f"expected {what}, found {_quote(token)}", column)
        return token, column

    def condition(self) -> ConditionTerm:
        name, column = self.word("a condition")
        if self.tokens[self.next][0] != "{":
            return ConditionTerm("single", (self.object(name, column),), column=column)
        canonical = ALIASES.get(name, name)
        function = FUNCTIONS.get(canonical)
        if function is None:
            close = nearest(name, FUNCTIONS)
            text = f"unknown function {name[:80]!r}{close}; functions are {', '.join(FUNCTIONS)}"
            raise GrammarError(text, column)
        self.expect("{")
        objects = [self.object(*self.word("an object"))]
        while self.accept(","):
            objects.append(self.object(*self.word("an object")))
        self.expect("}")
        term = ConditionTerm(function.kind, tuple(objects), self.cuts(), column)
        _check_function(term, function)
        return term

    def object(self, name: str, column: int) -> ObjectTerm:
        term = parse_object(name, column)
        cuts = self.cuts()
        accepted = OBJECT_CUTS.get(term.type, ())
        for cut in cuts:
            owner, kind = cut_type(cut.name)
            if owner != term.type or kind not in accepted:
                known = [f"{term.type}-{c}_*" for c in accepted]
                close = nearest(cut.name, [f"{term.type}-{c}" for c in accepted])
                text = f"{cut.name!r} is no cut of {term.type}{close}"
                raise GrammarError(f"{text}; accepted: {', '.join(known) or 'none'}", cut.column)
        return ObjectTerm(
            *(term.name, term.type, term.threshold, term.comparison, term.bx_offset),
            *(cuts, term.signal, column),
        )

    def cuts(self) -> tuple[CutName, ...]:
        if not self.accept("["):
            return ()
        found = [CutName(*self.word("a cut"))]
        while self.accept(","):
            found.append(CutName(*self.word("a cut")))
        self.expect("]")
        if len(found) > MAX_CUTS:
            raise GrammarError(f"more than {MAX_CUTS} cuts", found[MAX_CUTS].column)
        return tuple(found)


def _check_function(term: ConditionTerm, function: Function) -> None:
    fewest, most = function.objects
    count = len(term.objects)
    if not fewest <= count <= most:
        text = f"{term.kind} takes {fewest} to {most} objects, not {count}"
        raise GrammarError(text if most > fewest else text.replace(f" to {most}", ""), term.column)
    for item in term.objects:
        if item.type not in function.types:
            text = f"{term.kind} cannot use {item.name!r}; accepted: {', '.join(function.types)}"
            raise GrammarError(text, item.column)
    leading = term.objects[:-1] if term.kind == "comb_orm" else term.objects
    if term.kind in ("comb", "comb_orm") and len({(o.type, o.bx_offset) for o in leading}) > 1:
        text = f"{term.kind} needs objects of one type and bunch crossing"
        raise GrammarError(text, term.column)
    types = [cut_type(cut.name)[1] for cut in term.cuts]
    for cut, kind in zip(term.cuts, types, strict=True):
        if cut.name.partition("_")[0] not in function.cuts:
            close = nearest(cut.name.partition("_")[0], function.cuts)
            text = f"{cut.name!r} is no cut of {term.kind}{close}"
            raise GrammarError(f"{text}; accepted: {', '.join(function.cuts)}", cut.column)
        if types.count(kind) > 1:
            raise GrammarError(f"two {kind} cuts on one {term.kind}", cut.column)
        _check_cut_objects(term, cut, kind)
    if function.needs and not set(function.needs) & set(types):
        text = f"{term.kind} needs a cut of type {' or '.join(function.needs)}"
        raise GrammarError(text, term.column)


def _check_cut_objects(term: ConditionTerm, cut: CutName, kind: str) -> None:
    types = {o.type for o in term.objects}
    if kind == "CHGCOR" and not _charged(term) <= {"MU"}:
        raise GrammarError(f"{cut.name!r}: only muons have a charge", cut.column)
    needs_eta = ("DETA", "DR", "MASSDR", *(("MASS",) if term.kind == "mass_inv" else ()))
    if kind in needs_eta and types & set(VECTORS):
        flat = ", ".join(sorted(types & set(VECTORS)))
        raise GrammarError(f"{cut.name!r}: there is no eta scale for {flat}", cut.column)
    pair = len(term.objects) - (term.kind.endswith("_orm") and len(term.objects) > 2)
    if kind == "TBPT" and pair != 2:
        raise GrammarError(f"{cut.name!r}: two-body pt needs two objects", cut.column)


def _charged(term: ConditionTerm) -> set[str]:
    objects = term.objects[:-1] if term.kind.endswith("_orm") else term.objects
    return {o.type for o in objects}
