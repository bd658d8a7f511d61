"""Algorithms as OR of AND-terms over condition bits, and the table that evaluates them.

A term is a pair of bit sets: conditions that must be true and conditions that must be false.
Term t < 512 belongs to algorithm t, later terms are further alternatives of some algorithm.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from scout40.emulator.ugt.model import Algorithm, Leaf, Operation
from scout40.streams.errors import BadConfig

ALGORITHMS = 512
MAX_TERMS = 2048

Term = tuple[frozenset[int], frozenset[int]]  # (must be true, must be false)


class TermTable(NamedTuple):
    """What the kernel needs to turn condition bits into algorithm bits, 512 terms a bank.

    first: int64 (banks + 1,) range of a bank in ``digit``, the hex digits of the condition bits
    that its terms look at, and ``place``, where their rows begin in ``fail``: uint64 rows of 8
    words by value of the digit, the terms it rules out. unused: uint64 (banks * 8,) places
    without a term. owner: int64 (banks * 512,) algorithm of each term.
    """

    first: Any
    digit: Any
    place: Any
    fail: Any
    unused: Any
    owner: Any


def alternatives(node: Leaf | Operation, name: str) -> list[Term]:
    """Disjunctive normal form; BadConfig when it needs more than MAX_TERMS terms."""
    return _expand(node, False, name)


def _expand(node: Leaf | Operation, negate: bool, name: str) -> list[Term]:
    if isinstance(node, Leaf):
        one = frozenset((node.condition,))
        return [(frozenset(), one) if negate else (one, frozenset())]
    if node.operator == "NOT":
        return _expand(node.operands[0], not negate, name)
    if node.operator == "XOR":
        return _expand(_without_xor(node), negate, name)
    joins = (node.operator == "OR") != negate
    parts = [_expand(operand, negate, name) for operand in node.operands]
    if joins:
        return _unique((term for part in parts for term in part), name)
    terms = parts[0]
    for part in parts[1:]:
        terms = _unique(((a | c, b | d) for a, b in terms for c, d in part), name)
    return terms


def _without_xor(node: Operation) -> Operation:
    first, *rest = node.operands
    second = rest[0] if len(rest) == 1 else Operation("XOR", tuple(rest))
    here = Operation("AND", (first, Operation("NOT", (second,))))
    there = Operation("AND", (Operation("NOT", (first,)), second))
    return Operation("OR", (here, there))


def _unique(terms: Iterable[Term], name: str) -> list[Term]:
    """Distinct terms that can be true."""
    seen: dict[Term, None] = {}
    for term in terms:
        if not term[0] & term[1]:
            seen[term] = None
            if len(seen) > MAX_TERMS:
                raise BadConfig(f"algorithm {name}: expression needs over {MAX_TERMS} AND-terms")
    return list(seen)


def term_table(
    algorithms: Iterable[Algorithm], bit_of: dict[int, int], condition_words: int
) -> TermTable:
    """Look-up tables for ``algorithms``; ``bit_of`` maps condition -> place in the bits."""
    placed: list[tuple[int, int, Term]] = []  # place of the term, algorithm, term
    later: list[tuple[int, Term]] = []
    for algorithm in algorithms:
        found = alternatives(algorithm.tree, algorithm.name)
        placed += [(algorithm.index, algorithm.index, term) for term in found[:1]]
        later += [(algorithm.index, term) for term in found[1:]]
    placed += [(ALGORITHMS + k, index, term) for k, (index, term) in enumerate(later)]
    banks = 1 + -(-len(later) // ALGORITHMS)
    owner = np.full(ALGORITHMS * banks, -1, np.int64)
    unused = np.full(8 * banks, ~np.uint64(0))
    # [digit, 0, bit]: terms ruled out when that condition is 0; [digit, 1, bit]: when it is 1.
    rules: npt.NDArray[np.uint64] = np.zeros((16 * condition_words, 2, 4, 8 * banks), np.uint64)
    for place, index, (true, false) in placed:
        owner[place] = index
        bit = np.uint64(1) << np.uint64(place % 64)
        unused[place // 64] &= ~bit
        for conditions, value in ((true, 0), (false, 1)):
            for condition in conditions:
                digit, shift = divmod(bit_of[condition], 4)
                rules[digit, value, shift, place // 64] |= bit
    return TermTable(*_fail_rows(rules, banks), unused, owner)


def _fail_rows(
    rules: npt.NDArray[np.uint64], banks: int
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.uint64]]:
    """(first, digit, place, fail) of TermTable; digits without a rule in a bank are left out."""
    values = np.arange(16)
    first, digits, rows = [0], [], []
    for bank in range(banks):
        here = rules[..., 8 * bank : 8 * bank + 8]
        for digit in np.flatnonzero(here.any(axis=(1, 2, 3))):
            fail = np.zeros((16, 8), np.uint64)
            for shift in range(4):
                fail |= here[digit, (values >> shift) & 1, shift]
            digits.append(digit)
            rows.append(fail)
        first.append(len(digits))
    place = 128 * np.arange(len(rows), dtype=np.uint64)
    fail_rows = np.concatenate(rows).ravel() if rows else np.zeros(128, np.uint64)
    return np.array(first), np.array(digits, np.uint64), place, fail_rows
