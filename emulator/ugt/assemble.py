"""Algorithms one by one into a `Menu`: the part that all menu readers share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from scout40.emulator.ugt.grammar import ConditionTerm, Gate, GrammarError, Node, parse
from scout40.emulator.ugt.model import Algorithm, Condition, Leaf, Menu, Operation
from scout40.streams.errors import BadConfig

MAX_INDEX = 511  # the decision word has 512 bits
MAX_NAME = 256


@dataclass(frozen=True, slots=True)
class MenuText:
    """A menu file as read: its name for messages and its bytes."""

    file: str
    data: bytes

    def digest(self) -> str:
        """SHA-256 of the bytes, hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True, slots=True)
class MenuHead:
    """What a menu says about itself."""

    name: str
    scale_set: str = ""
    grammar: str = ""
    uuid: str = ""


@dataclass(frozen=True, slots=True)
class _Entry:
    index: int
    name: str
    expression: str
    labels: tuple[str, ...]
    node: Node
    conditions: dict[ConditionTerm, Condition]


class MenuBuilder:
    """Collects algorithms, checks names and indices, shares equal conditions."""

    def __init__(self, text: MenuText) -> None:
        self.text = text
        self._entries: list[_Entry] = []
        self._by_index: dict[int, str] = {}
        self._names: set[str] = set()

    def add(
        self,
        name: str,
        index: int,
        expression: str,
        labels: tuple[str, ...],
        condition: Callable[[ConditionTerm], Condition],
    ) -> None:
        """One algorithm; ``condition`` turns each of its condition terms into hardware."""
        where = f"{self.text.file}: algorithm {name[:MAX_NAME]!r}"
        if not name or len(name) > MAX_NAME or not name.isprintable() or " " in name:
            raise BadConfig(f"{where}: a name has 1 to {MAX_NAME} printable characters, no blank")
        if not 0 <= index <= MAX_INDEX:
            raise BadConfig(f"{where}: index {index}; indices go from 0 to {MAX_INDEX}")
        if name in self._names:
            raise BadConfig(f"{where}: the name is used twice")
        if index in self._by_index:
            raise BadConfig(f"{where}: index {index} is also that of {self._by_index[index]!r}")
        try:
            node = parse(expression)
            made = {term: condition(term) for term in _distinct(node)}
        except GrammarError as error:
            place = f"column {error.column} of {_shorten(expression)!r}"
            raise BadConfig(f"{where}, {place}: {error.reason}") from None
        except BadConfig as error:
            raise BadConfig(f"{where}: {error}") from None
        _printable(where, *labels)
        self._names.add(name)
        self._by_index[index] = name
        self._entries.append(_Entry(index, name, expression, labels, node, made))

    def free_index(self) -> int:
        """The smallest index not used yet; 512 when there is none."""
        return next(i for i in range(MAX_INDEX + 2) if i not in self._by_index)

    def finish(self, head: MenuHead) -> Menu:
        """The menu: algorithms by index, conditions in order of first use."""
        if not self._entries:
            raise BadConfig(f"{self.text.file}: the menu has no algorithms")
        _printable(self.text.file, head.name, head.scale_set, head.grammar, head.uuid)
        numbers: dict[Condition, int] = {}
        algorithms = []
        for entry in sorted(self._entries, key=lambda e: e.index):
            leaves = {
                term: Leaf(numbers.setdefault(made, len(numbers)))
                for term, made in entry.conditions.items()
            }
            tree = _tree(entry.node, leaves)
            algorithms.append(
                Algorithm(entry.index, entry.name, entry.expression, tree, entry.labels)
            )
        return Menu(
            name=head.name,
            algorithms=tuple(algorithms),
            conditions=tuple(numbers),
            scale_set=head.scale_set,
            grammar=head.grammar,
            uuid=head.uuid,
            source=self.text.file,
            digest=self.text.digest(),
        )


def split_labels(text: str) -> tuple[str, ...]:
    """Labels of an algorithm, written with commas between them."""
    return tuple(label for part in text.split(",") if (label := part.strip()))


def _printable(where: str, *texts: str) -> None:
    """These texts go into tables and terminals: no control characters, no lone surrogates."""
    for text in texts:
        if len(text) > MAX_NAME or not text.isprintable():
            raise BadConfig(f"{where}: {text[:80]!r} is no printable text of up to {MAX_NAME}")


def _distinct(node: Node) -> dict[ConditionTerm, None]:
    if isinstance(node, ConditionTerm):
        return {node: None}
    return {term: None for operand in node.operands for term in _distinct(operand)}


def _tree(node: Node, leaves: dict[ConditionTerm, Leaf]) -> Leaf | Operation:
    if isinstance(node, Gate):
        return Operation(node.operator, tuple(_tree(x, leaves) for x in node.operands))
    return leaves[node]


def _shorten(text: str) -> str:
    return text if len(text) <= 120 else text[:117] + "..."
