"""Which algorithm a row of a prescale or mask table means, and whether the table fits the menu."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from scout40.emulator.ugt.bits import N_ALGORITHMS
from scout40.emulator.ugt.model import Menu
from scout40.streams.errors import BadConfig

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Key:
    """How a row names its algorithm: by index, by name or by both; ``hint`` is a comment."""

    line: int
    index: int | None
    name: str | None
    hint: str = ""


def parse_key(where: str, line: int, text: str, hint: str = "") -> Key:
    """An index (all digits) or an algorithm name."""
    if text.isdecimal() and text.isascii():
        return Key(line, parse_index(where, line, text), None, hint)
    if not text:
        raise BadConfig(f"{where}: line {line}: row without algorithm index or name")
    return Key(line, None, text, hint)


def parse_index(where: str, line: int, text: str) -> int:
    """An algorithm index 0..511."""
    if not (text.isdecimal() and text.isascii() and len(text) <= 6):
        raise BadConfig(f"{where}: line {line}: algorithm index {text[:40]!r} is not a number")
    if int(text) >= N_ALGORITHMS:
        raise BadConfig(
            f"{where}: line {line}: algorithm index {int(text)} above {N_ALGORITHMS - 1}"
        )
    return int(text)


def locate_all(where: str, keys: Sequence[Key], menu: Menu) -> list[int | None]:
    """Index in the menu of every row's algorithm, None where the menu has none such.

    A row with index and name must match in both. A repeated row raises BadConfig.
    """
    names = {algorithm.name: algorithm.index for algorithm in menu.algorithms}
    known = set(names.values())
    seen: dict[int | str, int] = {}
    found: list[int | None] = []
    for key in keys:
        for label in (key.index, key.name):
            if label is None:
                continue
            if label in seen:
                raise BadConfig(
                    f"{where}: line {key.line}: algorithm {label} again, first on line "
                    f"{seen[label]}"
                )
            seen[label] = key.line
        if key.name is None:
            found.append(key.index if key.index in known else None)
        else:
            index = names.get(key.name)
            found.append(index if key.index in (None, index) else None)
    return found


def check_hints(where: str, keys: Sequence[Key], menu: Menu) -> tuple[str, ...]:
    """Compare the names that rows without names carry as comments; returns remarks.

    Comments are not data, so a few stale ones are only reported; when most of them contradict the
    menu, the table was written for another one and BadConfig is raised.
    """
    by_index = {algorithm.index: algorithm.name for algorithm in menu.algorithms}
    told, wrong = 0, []
    for key in keys:
        match = re.match(r"L1_\w+", key.hint)
        if key.name is not None or key.index is None or match is None:
            continue
        told += 1
        if by_index.get(key.index) != match[0]:
            wrong.append(f"{key.index} {match[0]}")
    if 2 * len(wrong) > told:
        raise BadConfig(
            f"{where}: table for another menu: by the names in its comments {told - len(wrong)} of "
            f"{told} rows match menu {menu.name!r}; not so: {_list(wrong)}"
        )
    if not wrong:
        return ()
    return (f"{len(wrong)} of {told} comments name another algorithm: {_list(wrong)}",)


def other_menu(
    where: str, menu: Menu, matched: int, missing: Sequence[str], unknown: Sequence[str]
) -> BadConfig:
    """The error for a table that does not belong to the menu."""
    text = (
        f"{where}: table for another menu: {matched} of {len(menu.algorithms)} algorithms of menu "
        f"{menu.name!r} match"
    )
    if missing:
        text += f"; without a row: {_list(missing)}"
    if unknown:
        text += f"; not in the menu: {_list(unknown)}"
    return BadConfig(text)


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(name[:120] for name in names[:_SHOWN]) + more
