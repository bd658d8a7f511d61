"""Reader of uGT run-settings XML: prescales, FinOR, veto and BX masks, as text tables.

``<run-settings>/<context>/<param id=... type="table" delimiter=...>`` holds ``<columns>``,
``<types>`` and ``<rows>/<row>`` of delimited values; anything may be surrounded by white space.
Documents with a DTD are refused, so there are no entities to expand.
"""

from __future__ import annotations

import xml.parsers.expat
from dataclasses import dataclass, field
from pathlib import Path

from scout40.streams.errors import BadConfig

MAX_BYTES = 32 << 20
"""Largest table file read; a full BX mask (3564 x 512) takes 8 MB when generously indented."""

_MAX_CELLS = 4096 * 600


@dataclass(frozen=True, slots=True)
class Row:
    """One row: cells without surrounding space, line in the file, comment on the same line."""

    line: int
    cells: tuple[str, ...]
    comment: str = ""


@dataclass(frozen=True, slots=True)
class TextTable:
    """Column names and rows; every row has as many cells as there are columns."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def read_bytes(path: str | Path) -> bytes:
    """Contents of a table file; BadConfig when it cannot be read, is empty or too big."""
    try:
        with open(path, "rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadConfig(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(data) > MAX_BYTES:
        raise BadConfig(f"{path}: more than {MAX_BYTES} bytes is too big for such a table")
    if not data.strip():
        raise BadConfig(f"{path}: empty file")
    return data


def is_xml(data: bytes) -> bool:
    """True when the first character that is not space or a byte-order mark is ``<``."""
    text = data.removeprefix(b"\xef\xbb\xbf")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = data[2:].replace(b"\x00", b"")
    return text.lstrip()[:1] == b"<"


def read_tables(path: str | Path, data: bytes) -> dict[str, TextTable]:
    """All tables of a run-settings document by their id (``prescales``, ``finorMask``, ...)."""
    reader = _Reader(str(path))
    parser = reader.parser
    try:
        parser.Parse(data, True)
    except xml.parsers.expat.ExpatError as error:
        raise BadConfig(f"{path}: not well-formed XML: {error}") from error
    except (ValueError, LookupError) as error:  # an encoding that Python cannot hand to the parser
        raise BadConfig(f"{path}: cannot decode XML: {error}") from error
    return reader.tables


@dataclass
class _Open:
    """The table being read."""

    name: str
    delimiter: str
    columns: tuple[str, ...] = ()
    rows: list[Row] = field(default_factory=list)


class _Reader:
    """Handlers of the XML parser; fills ``tables``."""

    def __init__(self, path: str) -> None:
        self.tables: dict[str, TextTable] = {}
        self._path = path
        self._stack: list[str] = []
        self._text: list[str] = []
        self._open: _Open | None = None
        self._row_line = 0  # line on which the newest row ended
        self._cells = 0
        self.parser = xml.parsers.expat.ParserCreate()
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self.parser.CommentHandler = self._comment

    def _refuse(self, reason: str) -> BadConfig:
        return BadConfig(f"{self._path}: line {self.parser.CurrentLineNumber}: {reason}")

    def _doctype(self, name: str, *_: object) -> None:
        raise self._refuse(f"document type declaration <!DOCTYPE {name}> is not allowed")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._stack and name != "run-settings":
            raise self._refuse(f"root element <{name[:60]}>, expected <run-settings>")
        if len(self._stack) >= 16:
            raise self._refuse("elements are nested too deeply for run settings")
        if name == "param" and attributes.get("type") == "table":
            if self._open is not None:
                raise self._refuse("a table inside a table")
            table = attributes.get("id", "")
            if table in self.tables:
                raise self._refuse(f"second table {table!r}")
            self._open = _Open(table, attributes.get("delimiter") or ",")
        self._stack.append(name)
        self._text.clear()

    def _characters(self, text: str) -> None:
        if self._open is not None and self._stack[-1] in ("columns", "row"):
            self._text.append(text)

    def _comment(self, text: str) -> None:
        table = self._open
        if table and table.rows and self._row_line == self.parser.CurrentLineNumber:
            row = table.rows[-1]
            if not row.comment:
                table.rows[-1] = Row(row.line, row.cells, text.strip())

    def _end(self, name: str) -> None:
        self._stack.pop()
        table = self._open
        if table is None:
            return
        if name == "columns":
            table.columns = self._split(table.delimiter)
        elif name == "row":
            cells = self._split(table.delimiter)
            if len(cells) != len(table.columns):
                raise self._refuse(
                    f"table {table.name!r}: row of {len(cells)} values, "
                    f"{len(table.columns)} columns are declared"
                )
            self._cells += len(cells)
            if self._cells > _MAX_CELLS:
                raise self._refuse(f"more than {_MAX_CELLS} table cells")
            self._row_line = self.parser.CurrentLineNumber
            table.rows.append(Row(self._row_line, cells))
        elif name == "param":
            self.tables[table.name] = TextTable(table.columns, tuple(table.rows))
            self._open = None

    def _split(self, delimiter: str) -> tuple[str, ...]:
        text = "".join(self._text).strip()
        if not text:
            return ()
        parts = text.split(delimiter) if delimiter.strip() else text.split()
        return tuple(part.strip() for part in parts)
