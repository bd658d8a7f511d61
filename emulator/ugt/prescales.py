"""Prescale tables: the official CSV (named columns) and the uGT run-settings XML (numbered ones).

A prescale has at most two decimals; the hardware takes 100 times its value. 0 is off, 1 lets every
request pass. A table fits a menu when every algorithm of the menu has a row; rows of algorithms
that the menu lacks are tolerated only while they are 0 everywhere, since they can do nothing.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scout40.emulator.ugt.bits import N_ALGORITHMS
from scout40.emulator.ugt.match_menu import (
    Key,
    check_hints,
    locate_all,
    other_menu,
    parse_index,
    parse_key,
)
from scout40.emulator.ugt.model import Menu
from scout40.emulator.ugt.prescaler import FACTOR_ONE, Factors
from scout40.emulator.ugt.read_runsettings import TextTable, is_xml, read_bytes, read_tables
from scout40.streams.errors import BadConfig

MAX_FACTOR = (1 << 32) - 1
"""Largest factor that the prescaler's 32-bit register holds: prescale 42949672.95."""

_COMMON_FACTOR = (1 << 24) - 1  # some firmware versions have a 24-bit register
_MAX_COLUMNS = 512
_NUMBER = re.compile(r"(\d{1,12})?(\.\d{0,12})?")


@dataclass(frozen=True, slots=True)
class PrescaleTable:
    """Prescale columns for one menu.

    factors: uint32 (columns, 512), 100 times the prescale; 0 for indices the menu does not use.
    numbered: columns are called by number (XML), not by name (CSV).
    notes: remarks for the user on what was tolerated.
    """

    columns: tuple[str, ...]
    factors: npt.NDArray[np.uint32]
    source: str
    numbered: bool
    notes: tuple[str, ...] = ()

    def column(self, name_or_index: str | int) -> Factors:
        """Factors of one column, uint32 (512,), a copy.

        A text is the column's name; failing that, a text of digits or an int is its number: as
        written in the header of an XML table, counted from 0 in a CSV table.
        """
        label = str(name_or_index).strip()
        place = self.columns.index(label) if label in self.columns else None
        if place is None and not self.numbered and label.isascii() and label.isdecimal():
            number = int(label) if len(label) < 6 else len(self.columns)
            place = number if number < len(self.columns) else None
        if place is None:
            raise BadConfig(
                f"{self.source}: no prescale column {name_or_index!r}; columns are: "
                + ", ".join(self.columns)
            )
        return np.array(self.factors[place], np.uint32)


def load_prescales(path: str | Path, menu: Menu) -> PrescaleTable:
    """Read a prescale table, CSV or XML by its content, and check it against the menu.

    Raises BadConfig, naming the file and line, for anything malformed, for a value that the
    hardware cannot hold and for a table of another menu.
    """
    data = read_bytes(path)
    where = str(path)
    if not is_xml(data):
        columns, keys, values = _read_csv(where, data)
        return _build(where, menu, columns, keys, values, numbered=False)
    tables = read_tables(path, data)
    if "prescales" not in tables:
        raise BadConfig(f"{where}: no table 'prescales'; it has: {', '.join(tables) or 'none'}")
    columns, keys, values = _from_xml(where, tables["prescales"])
    return _build(where, menu, columns, keys, values, numbered=True)


def no_prescales(menu: Menu) -> Factors:
    """Prescale 1 for every algorithm of the menu, uint32 (512,)."""
    factors = np.zeros(N_ALGORITHMS, np.uint32)
    factors[[algorithm.index for algorithm in menu.algorithms]] = FACTOR_ONE
    return factors


def parse_factor(text: str) -> int:
    """A prescale as text -> 100 times its value; ValueError says what is wrong with it."""
    text = text.strip()
    if text.startswith("-") and _NUMBER.fullmatch(text[1:]):
        raise ValueError("is negative")
    match = _NUMBER.fullmatch(text)
    if match is None or text in ("", "."):
        raise ValueError("is not a plain decimal number")
    scaled = Decimal(text) * FACTOR_ONE
    if scaled != scaled.to_integral_value():
        raise ValueError("has more than two decimals")
    if scaled > MAX_FACTOR:
        raise ValueError(f"is above {MAX_FACTOR / FACTOR_ONE:.2f}, the prescaler has 32 bits")
    return int(scaled)


Rows = Sequence[Sequence[str]]


def _read_csv(where: str, data: bytes) -> tuple[list[str], list[Key], Rows]:
    """Header ``Index,Name,<column>...``; blank lines are skipped."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadConfig(f"{where}: neither XML nor a UTF-8 CSV prescale table") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    keys: list[Key] = []
    values: list[list[str]] = []
    try:
        for cells in reader:
            row = [cell.strip() for cell in cells]
            if not any(row):
                continue
            if not header:
                header = row
                if not {"Index", "Name"} <= set(header):
                    raise BadConfig(
                        f"{where}: line {reader.line_num}: the header of a CSV prescale table "
                        f"starts with Index,Name; found {','.join(header)[:80]!r}"
                    )
                at = header.index("Index"), header.index("Name")
                continue
            line = reader.line_num
            if len(row) != len(header):
                raise BadConfig(
                    f"{where}: line {line}: {len(row)} values, the header has {len(header)}"
                )
            if len(keys) >= N_ALGORITHMS:
                raise BadConfig(f"{where}: line {line}: more than {N_ALGORITHMS} algorithms")
            keys.append(Key(line, parse_index(where, line, row[at[0]]), row[at[1]]))
            values.append([cell for place, cell in enumerate(row) if place not in at])
    except csv.Error as error:
        raise BadConfig(f"{where}: line {reader.line_num}: malformed CSV: {error}") from error
    columns = [name for place, name in enumerate(header) if place not in at] if header else []
    return columns, keys, values


def _from_xml(where: str, table: TextTable) -> tuple[list[str], list[Key], Rows]:
    """First column: algorithm index or name; the others are the prescale columns."""
    if len(table.rows) > N_ALGORITHMS:
        raise BadConfig(f"{where}: {len(table.rows)} prescale rows, at most {N_ALGORITHMS}")
    keys = [parse_key(where, row.line, row.cells[0], row.comment) for row in table.rows]
    return list(table.columns[1:]), keys, [row.cells[1:] for row in table.rows]


def _build(
    where: str, menu: Menu, columns: list[str], keys: list[Key], values: Rows, *, numbered: bool
) -> PrescaleTable:
    if not columns or not keys:
        raise BadConfig(f"{where}: prescale table without columns or rows")
    if len(columns) > _MAX_COLUMNS or len(set(columns)) != len(columns) or "" in columns:
        raise BadConfig(f"{where}: prescale columns unnamed, repeated or above {_MAX_COLUMNS}")
    found = locate_all(where, keys, menu)
    factors = np.zeros((len(columns), N_ALGORITHMS), np.uint32)
    unknown: list[str] = []
    idle = 0
    for key, index, row in zip(keys, found, values, strict=True):
        parsed = _parse_row(where, key, columns, row)
        if index is not None:
            factors[:, index] = parsed
        elif any(parsed):
            unknown.append(f"{'' if key.index is None else key.index} {key.name or ''}".strip())
        else:
            idle += 1
    present = {index for index in found if index is not None}
    missing = [f"{a.index} {a.name}" for a in menu.algorithms if a.index not in present]
    if missing or unknown:
        raise other_menu(where, menu, len(present), missing, unknown)
    notes = list(check_hints(where, keys, menu))
    if idle:
        notes.append(f"{idle} rows of algorithms that the menu lacks, all 0, are ignored")
    wide = int(np.count_nonzero((factors > _COMMON_FACTOR).any(axis=0)))
    if wide:
        notes.append(f"{wide} algorithms have a prescale that needs more than a 24-bit register")
    below = int(np.count_nonzero(((factors > 0) & (factors < FACTOR_ONE)).any(axis=0)))
    if below:
        notes.append(f"{below} algorithms have a prescale between 0 and 1, which passes all")
    return PrescaleTable(tuple(columns), factors, where, numbered, tuple(notes))


def _parse_row(where: str, key: Key, columns: list[str], row: Sequence[str]) -> list[int]:
    parsed = []
    for column, text in zip(columns, row, strict=True):
        try:
            parsed.append(parse_factor(text))
        except ValueError as error:
            name = key.name if key.name is not None else key.index
            raise BadConfig(
                f"{where}: line {key.line}: prescale {text[:40]!r} of algorithm {name} in column "
                f"{column!r} {error}"
            ) from None
    return parsed
