"""FinOR, veto and BX masks from uGT run-settings XML.

Rows name algorithms by index or by name; a row ``ALL`` sets the default. Tables of all 512 slots
are common, so indices that the menu does not use are ignored, while unknown names are an error.
An algorithm without a row keeps the default: FinOR 1, veto 0, BX mask 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scout40.emulator.ugt.bits import N_ALGORITHMS, Words, pack_bits
from scout40.emulator.ugt.match_menu import (
    check_hints,
    locate_all,
    other_menu,
    parse_key,
)
from scout40.emulator.ugt.model import Menu
from scout40.emulator.ugt.read_runsettings import Row, TextTable, is_xml, read_bytes, read_tables
from scout40.streams.block import ORBIT_BX
from scout40.streams.errors import BadConfig


def default_finor_mask(menu: Menu) -> Words:
    """Every algorithm of the menu takes part in FinOR; uint64 (8,)."""
    return pack_bits(_in_menu(menu))


def load_finor_mask(path: str | Path, menu: Menu) -> Words:
    """Table ``finorMask`` (columns algo, mask); 1 lets an algorithm set FinOR. uint64 (8,)."""
    return _load_mask(path, menu, "finorMask", "mask", default=True)


def load_veto_mask(path: str | Path, menu: Menu) -> Words:
    """Table ``vetoMask`` (columns algo, veto); 1 makes an algorithm a veto. uint64 (8,)."""
    return _load_mask(path, menu, "vetoMask", "veto", default=False)


def load_bx_mask(path: str | Path, menu: Menu) -> Words:
    """Table ``algorithmBxMask``, uint64 (3564, 8), row bx - 1; 0 removes the decision in that BX.

    Two forms: one row per BX with a column per algorithm (first column ``bx/algo``), and rows
    algo, range, mask, where a range is ``first-last``, one BX or ``ALL`` and later rows win; a
    range whose first is above its last goes over the end of the orbit. The tables count BX
    0..3563; 0 is bx 3564. A BX without row keeps 1; a repeated row must repeat its values.
    """
    where = str(path)
    table = _table(path, "algorithmBxMask")
    if table.columns[:1] == ("bx/algo",):
        allowed = _bx_rows(where, table, menu)
    elif set(table.columns) == {"algo", "range", "mask"}:
        allowed = _bx_ranges(where, table, menu)
    else:
        raise BadConfig(
            f"{where}: algorithmBxMask has columns {', '.join(table.columns)[:80]}; expected "
            "bx/algo,<algorithm>... or algo,range,mask"
        )
    return pack_bits(np.roll(allowed & _in_menu(menu), -1, axis=0))


def _in_menu(menu: Menu) -> npt.NDArray[np.bool_]:
    flags = np.zeros(N_ALGORITHMS, np.bool_)
    flags[[algorithm.index for algorithm in menu.algorithms]] = True
    return flags


def _table(path: str | Path, name: str) -> TextTable:
    data = read_bytes(path)
    if not is_xml(data):
        raise BadConfig(f"{path}: not XML; masks are read from run-settings XML")
    tables = read_tables(path, data)
    if name not in tables:
        raise BadConfig(f"{path}: no table {name!r}; it has: {', '.join(tables) or 'none'}")
    return tables[name]


def _load_mask(path: str | Path, menu: Menu, name: str, column: str, *, default: bool) -> Words:
    where = str(path)
    table = _table(path, name)
    if set(table.columns) != {"algo", column} or len(table.columns) != 2:
        raise BadConfig(
            f"{where}: {name} has columns {', '.join(table.columns)[:80]}; expected algo,{column}"
        )
    at_algo, at_value = table.columns.index("algo"), table.columns.index(column)
    flags = np.full(N_ALGORITHMS, default, np.bool_)
    rows = []
    for row in table.rows:
        if row.cells[at_algo].upper() == "ALL":
            flags[:] = _flag(where, row, row.cells[at_value])
        else:
            rows.append(row)
    broadcast = len(rows) < len(table.rows)
    found = _match(where, rows, [row.cells[at_algo] for row in rows], menu, broadcast)
    for row, index in zip(rows, found, strict=True):
        value = _flag(where, row, row.cells[at_value])
        if index is not None:
            flags[index] = value
    return pack_bits(flags & _in_menu(menu))


def _match(
    where: str, rows: Sequence[Row], labels: Sequence[str], menu: Menu, broadcast: bool
) -> list[int | None]:
    """Menu index of each row; BadConfig for unknown names or when nothing of the menu is there."""
    keys = [
        parse_key(where, row.line, label, row.comment)
        for row, label in zip(rows, labels, strict=True)
    ]
    found = locate_all(where, keys, menu)
    unknown = [
        key.name for key, index in zip(keys, found, strict=True) if index is None and key.name
    ]
    matched = sum(index is not None for index in found)
    if unknown or (matched == 0 and not broadcast and menu.algorithms):
        raise other_menu(where, menu, matched, [], unknown)
    check_hints(where, keys, menu)
    return found


def _flag(where: str, row: Row, text: str) -> bool:
    if text not in ("0", "1"):
        raise BadConfig(f"{where}: line {row.line}: mask value {text[:40]!r}, expected 0 or 1")
    return text == "1"


def _bx_rows(where: str, table: TextTable, menu: Menu) -> npt.NDArray[np.bool_]:
    head = Row(0, table.columns)
    labels = table.columns[1:]
    found = _match(where, [head] * len(labels), labels, menu, False)
    allowed = np.ones((ORBIT_BX, N_ALGORITHMS), np.bool_)
    seen: dict[int, Row] = {}
    for row in table.rows:
        bx = _bx(where, row, row.cells[0])
        if bx in seen and seen[bx].cells[1:] != row.cells[1:]:
            raise BadConfig(
                f"{where}: line {row.line}: BX {bx} again with other values, first on line "
                f"{seen[bx].line}"
            )
        seen[bx] = row
        for index, text in zip(found, row.cells[1:], strict=True):
            value = _flag(where, row, text)
            if index is not None:
                allowed[bx, index] = value
    return allowed


def _bx_ranges(where: str, table: TextTable, menu: Menu) -> npt.NDArray[np.bool_]:
    place = {name: table.columns.index(name) for name in ("algo", "range", "mask")}
    named: dict[str, Row] = {}  # one row per distinct algorithm, since rows may repeat here
    for row in table.rows:
        label = row.cells[place["algo"]]
        if label.upper() != "ALL":
            named.setdefault(label, row)
    broadcast = any(row.cells[place["algo"]].upper() == "ALL" for row in table.rows)
    indices = _match(where, list(named.values()), list(named), menu, broadcast)
    index_of = dict(zip(named, indices, strict=True))
    allowed = np.ones((ORBIT_BX, N_ALGORITHMS), np.bool_)
    for row in table.rows:
        label = row.cells[place["algo"]]
        value = _flag(where, row, row.cells[place["mask"]])
        crossings = _bx_range(where, row, row.cells[place["range"]])
        if label.upper() == "ALL":
            allowed[crossings] = value
        elif (index := index_of[label]) is not None:
            allowed[crossings, index] = value
    return allowed


def _bx_range(where: str, row: Row, text: str) -> npt.NDArray[np.intp]:
    """BX numbers 0..3563 of a range."""
    if text.upper() == "ALL":
        return np.arange(ORBIT_BX)
    first, dash, last = (part.strip() for part in text.strip("[] ").partition("-"))
    low = _bx(where, row, first)
    high = _bx(where, row, last) if dash else low
    return np.arange(low, high + 1 if low <= high else high + 1 + ORBIT_BX) % ORBIT_BX


def _bx(where: str, row: Row, text: str) -> int:
    """A BX number 0..3564, 3564 being another name of 0."""
    if not (text.isdecimal() and text.isascii() and len(text) <= 6) or int(text) > ORBIT_BX:
        raise BadConfig(f"{where}: line {row.line}: BX {text[:40]!r}, expected 0..{ORBIT_BX}")
    return int(text) % ORBIT_BX
