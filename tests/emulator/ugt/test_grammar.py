"""Expressions of menus: reading, printing, refusing."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scout40.emulator.ugt.grammar import (
    FUNCTIONS,
    MAX_DEPTH,
    NETWORKS,
    OBJECT_CUTS,
    SIGNALS,
    THRESHOLD_OBJECTS,
    ConditionTerm,
    CutName,
    Gate,
    GrammarError,
    Node,
    ObjectTerm,
    conditions,
    cut_type,
    format_node,
    parse,
    parse_object,
)

LABELS = st.text("ABCxyz0189p_", min_size=1, max_size=6)


@st.composite
def objects(draw: st.DrawFn, type_: str | None = None, bx: int | None = None) -> ObjectTerm:
    pool = (*THRESHOLD_OBJECTS, *NETWORKS, *SIGNALS, "EXT")
    kind = type_ or draw(st.sampled_from(pool))
    offset = draw(st.integers(-2, 2)) if bx is None else bx
    suffix = f"{offset:+d}" if offset else ""
    if kind == "EXT":
        name = draw(st.text("ABCxyz_.09", min_size=1, max_size=8))
        return parse_object(f"EXT_{name}{suffix}")
    text = ""
    if kind in THRESHOLD_OBJECTS:
        whole, tenths = draw(st.integers(0, 2047)), draw(st.sampled_from(["", "p5", "p25"]))
        text = draw(st.sampled_from(["", ".eq.", ".ge."])) + f"{whole}{tenths}"
    bare = parse_object(f"{kind}{text}{suffix}")
    kinds = draw(st.lists(st.sampled_from(OBJECT_CUTS.get(kind, ("",))), max_size=3))
    names = tuple(CutName(f"{kind}-{k}_{draw(LABELS)}") for k in kinds if k)
    return ObjectTerm(
        bare.name, bare.type, bare.threshold, bare.comparison, bare.bx_offset, names, bare.signal
    )


@st.composite
def terms(draw: st.DrawFn) -> ConditionTerm:
    if draw(st.booleans()):
        return ConditionTerm("single", (draw(objects()),))
    function = FUNCTIONS[draw(st.sampled_from(sorted(FUNCTIONS)))]
    count = draw(st.integers(function.objects[0], min(function.objects[1], 6)))
    same = function.kind.startswith("comb")
    types = [t for t in function.types if t in ("MU", "EG", "TAU", "JET")]
    first = draw(st.sampled_from(types))
    bx = draw(st.integers(-2, 2))
    items = tuple(
        draw(objects(first if same else draw(st.sampled_from(types)), bx if same else None))
        for _ in range(count)
    )
    cuts = [draw(st.sampled_from(function.needs))] if function.needs else []
    return ConditionTerm(
        function.kind, items, tuple(CutName(f"{kind}_{draw(LABELS)}") for kind in cuts)
    )


def gates(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    many = st.lists(inner, min_size=2, max_size=4).map(tuple)
    return st.one_of(
        inner.map(lambda x: Gate("NOT", (x,))),
        st.builds(Gate, st.sampled_from(["AND", "OR", "XOR"]), many),
    )


trees = st.recursive(terms(), gates, max_leaves=8)


@given(trees)
def test_printed_trees_read_back(tree: Node) -> None:
    assert parse(format_node(tree)) == tree


@given(trees, st.data())
def test_blanks_do_not_matter(tree: Node, data: st.DataObject) -> None:
    text = format_node(tree)
    for mark in "()[]{},":
        blank = data.draw(st.sampled_from(["", " ", "\n\t"]))
        text = text.replace(mark, f"{blank}{mark}{blank}")
    assert parse(f" {text} ") == tree


def test_order_of_operators() -> None:
    a, b, c, d = (parse(x) for x in ("EG1", "EG2", "EG3", "EG4"))
    tree = parse("NOT EG1 AND EG2 XOR EG3 OR EG4")
    first = Gate("AND", (Gate("NOT", (a,)), b))
    assert tree == Gate("OR", (Gate("XOR", (first, c)), d))
    assert parse("EG1 OR EG2 XOR EG3 AND NOT EG4") == Gate(
        "OR", (a, Gate("XOR", (b, Gate("AND", (c, Gate("NOT", (d,)))))))
    )
    assert parse("EG1 XOR EG2 XOR EG3") == Gate("XOR", (a, b, c))


def test_parts_of_an_object() -> None:
    found = parse_object("MU.eq.4p5-2")
    assert (found.type, found.threshold, found.comparison, found.bx_offset) == (
        *("MU", Decimal("4.5"), "eq"),
        -2,
    )
    assert parse_object("MBT0HFP1").type == "MBT0HFP"
    assert parse_object("MBT0HFP1").threshold == 1
    assert parse_object("ETMHF120").type == "ETMHF"
    assert parse_object("MUSOOT1").threshold is None
    assert parse_object("CENT7").type == "CENT7"
    external = parse_object("EXT_BPTX_plus_OR_minus.v0+1")
    assert (external.signal, external.bx_offset) == ("BPTX_plus_OR_minus.v0", 1)


def test_names_of_cuts_and_old_functions() -> None:
    assert cut_type("MU-ETA_2p1_er") == ("MU", "ETA")
    assert cut_type("MASS_MASS_7to18") == ("", "MASS")
    [old] = conditions(parse("mass{JET30,JET30}[MASS_MIN_620]"))
    assert old.kind == "mass_inv"
    assert format_node(old) == "mass_inv{JET30, JET30}[MASS_MIN_620]"


BROKEN = [
    ("", 1, "expected a condition, found the end"),
    ("MU3 MU4", 5, "expected the end of the expression, found 'MU4'"),
    ("MU3 AND", 8, "found the end"),
    ("(MU3", 5, "expected ')'"),
    ("MU3)", 4, "found ')'"),
    ("MUO3", 1, "nearest: MU, MUSOOT1"),
    ("MU", 1, "needs a threshold"),
    ("CENT37", 1, "takes no threshold"),
    ("MU3+3", 1, "from -2 to +2"),
    ("MU.ne.3", 1, ".ge. and .eq. exist"),
    ("EG3 & EG4", 5, "unexpected character '&'"),
    ("EXT_", 1, "is not the name of an external signal"),
    ("MU3[EG-ISO_1]", 5, "is no cut of MU"),
    ("MU3[MU-QTLY_1]", 5, "nearest: MU-QLTY"),
    ("HTT100[HTT-PHI_1]", 8, "accepted: none"),
    ("dst{MU3, MU3}[DR_1]", 1, "nearest: dist"),
    ("dist{MU3, MU3}", 1, "needs a cut of type DETA or DPHI or DR or TBPT"),
    ("dist{MU3, MU3, MU3}[DR_1]", 1, "takes 2 objects, not 3"),
    ("dist{MU3, HTT100}[DPHI_1]", 11, "cannot use 'HTT100'"),
    ("dist{MU3, ETM30}[DETA_1]", 18, "no eta scale for ETM"),
    ("mass_inv{EG3, ETM30}[MASS_1]", 22, "no eta scale for ETM"),
    ("comb{MU3, EG3}", 1, "one type and bunch crossing"),
    ("comb{MU3, MU3-1}", 1, "one type and bunch crossing"),
    ("comb{EG3, EG3}[CHGCOR_OS]", 16, "only muons have a charge"),
    ("comb{MU3, MU3, MU3}[TBPT_1]", 21, "needs two objects"),
    ("comb{MU3, MU3}[MASS_1]", 16, "accepted: CHGCOR, TBPT"),
    ("dist{MU3, MU3}[DR_1, DR_2]", 16, "two DR cuts"),
    ("MU3[]", 5, "expected a cut"),
    ("comb{MU3 MU3}", 10, "expected '}'"),
    ("NOT " * (MAX_DEPTH + 2) + "MU3", 165, "nested deeper"),
    ("(" * 100_000, 65536, "longer than"),
    ("(" * 60_000, 42, "nested deeper"),
    ("MU3[" + ",".join(["MU-ETA_1"] * 40) + "]", 293, "more than 32 cuts"),
]


@pytest.mark.parametrize(("text", "column", "reason"), BROKEN)
def test_broken_expressions_are_located(text: str, column: int, reason: str) -> None:
    with pytest.raises(GrammarError) as caught:
        parse(text)
    assert reason in caught.value.reason
    assert caught.value.column == column
    assert str(caught.value).startswith(f"column {column}: ")


WORDS = ["AND", "NOT", "(", ")", "MU3", "{", "}", "[", "]", ",", "comb", "DR_1", "EXT_", "-1", "é"]


@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(WORDS), max_size=12).map("".join)))
def test_any_text_is_read_or_refused(text: str) -> None:
    column = None
    try:
        tree = parse(text)
    except GrammarError as error:
        column = error.column
    if column is None:
        assert parse(format_node(tree)) == tree
    else:
        assert 1 <= column <= len(text) + 1
