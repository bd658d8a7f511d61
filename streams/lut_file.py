"""Look-up tables in the text forms in which the trigger groups publish them.

========  ==================================================================================
suffix    content
========  ==================================================================================
``.txt``  ``#<header> V1 n_in n_out </header>``, then ``address value`` in decimal, one a
          line, every address once, in any order; ``#`` begins a comment. The first word is the
          version of the table, any word: V1, v1, V10.0. CMS software reads this form.
``.lut``  ``CONTENT_VECTOR=``, then all values in decimal by address; ``#`` begins a comment
``.coe``  Xilinx memory coefficients: ``memory_initialization_radix=R;`` with 2, 10 or 16,
          then ``memory_initialization_vector=``, the values with commas between, and ``;``,
          after which the rest of a line is comment
``.mif``  Xilinx memory file: one binary word a line, all as wide as the memory
========  ==================================================================================

The widths of ``.txt`` are in its header. Elsewhere the number of values, which must be a power of
two, gives n_in. ``.mif`` shows n_out as the width of its words; ``.lut`` and ``.coe`` do not say
it, there n_out is what the largest value needs, 1 at least.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from scout40.streams.errors import BadInput

MAX_BYTES = 8 << 20
"""The largest official table has 0.3 MB."""
MAX_IN = 18
"""Bits of an address."""
MAX_OUT = 32
"""Bits of a value."""

DIGITS = {2: b"01", 10: b"0123456789", 16: b"0123456789abcdefABCDEF"}
LONGEST = 40
"""Digits of a number; more can be no value of MAX_OUT bits, only a way to waste time."""


@dataclass(frozen=True, slots=True)
class LutFile:
    """Contents of one table.

    name: file name without suffix. n_in, n_out: bits of the address and of a value.
    values: int64 (2**n_in,), read-only, by address; each is 0..2**n_out - 1.
    """

    name: str
    n_in: int
    n_out: int
    values: npt.NDArray[np.int64]


def read_lut(path: str | Path) -> LutFile:
    """The table in a ``.txt``, ``.lut``, ``.coe`` or ``.mif`` file; the suffix says which.

    Raises BadInput that names file, line and field when the file is none of these, is larger than
    any table, or when an address is missing, double or out of range or a value exceeds its bits.
    """
    path = Path(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(READERS)
        raise BadInput(f"not a look-up table: expected a file ending in {known}", file=str(path))
    with open(path, "rb") as stream:
        head = stream.read(MAX_BYTES + 1)
        if len(head) > MAX_BYTES:
            raise BadInput(f"larger than any look-up table ({MAX_BYTES} bytes)", file=str(path))
        stream.seek(0)
        n_in, n_out, values = reader(_Text(str(path), stream))
    values.flags.writeable = False
    return LutFile(path.stem, n_in, n_out, values)


Table = tuple[int, int, npt.NDArray[np.int64]]
"""(n_in, n_out, values)"""


class _Text:
    """Lines of one file, and errors that say where in it."""

    def __init__(self, path: str, stream: BinaryIO) -> None:
        self._path = path
        self._stream = stream
        self.line = 0

    def rows(self) -> Iterator[bytes]:
        """Lines without their ends; ``line`` is the number of the current one."""
        for line in self._stream:
            self.line += 1
            yield line.strip()

    def bad(self, message: str, field: str, *, whole: bool = False) -> BadInput:
        """An error in the current line, or (``whole``) in the file."""
        text = message if whole else f"line {self.line}: {message}"
        return BadInput(text, file=self._path, field=field)

    def number(self, token: bytes, base: int, field: str) -> int:
        """The number that a token spells; Python's own signs and underscores are refused."""
        if not token or len(token) > LONGEST or token.strip(DIGITS[base]):
            shown = token[:LONGEST].decode("latin-1")
            raise self.bad(f"{shown!r} is no number in base {base}", field)
        return int(token, base)

    def value(self, token: bytes, base: int, n_out: int) -> int:
        """A value that fits ``n_out`` bits."""
        value = self.number(token, base, "value")
        if value >> n_out:
            raise self.bad(f"{value} does not fit {n_out} bits", "value")
        return value


HEADER = re.compile(rb"#\s*<header>(.*?)</header>")


def _read_txt(text: _Text) -> Table:
    n_in = n_out = 0
    values = np.zeros(0, np.int64)
    for row in text.rows():
        if found := HEADER.match(row):
            if n_in:
                raise text.bad("a second header", "header")
            n_in, n_out = _widths(found[1], text)
            values = np.full(1 << n_in, -1, np.int64)
            continue
        tokens = row.split(b"#", 1)[0].split()
        if not tokens:
            continue
        if not n_in:
            raise text.bad("expected '#<header> version n_in n_out </header>' first", "header")
        if len(tokens) != 2:
            raise text.bad(f"{len(tokens)} columns, expected an address and a value", "value")
        address = text.number(tokens[0], 10, "address")
        if address >> n_in:
            raise text.bad(f"{address} does not fit {n_in} bits", "address")
        if values[address] >= 0:
            raise text.bad(f"{address} has a value already", "address")
        values[address] = text.value(tokens[1], 10, n_out)
    if not n_in:
        raise text.bad("no '#<header> version n_in n_out </header>' line", "header", whole=True)
    missing = np.flatnonzero(values < 0)
    if len(missing):
        raise text.bad(
            f"{len(missing)} of {len(values)} addresses have no value, the first is {missing[0]}",
            "address", whole=True,
        )  # fmt: skip
    return n_in, n_out, values


def _widths(content: bytes, text: _Text) -> tuple[int, int]:
    """n_in and n_out of a header's content."""
    tokens = content.split()
    if len(tokens) != 3:
        raise text.bad("expected 'version n_in n_out'", "header")
    n_in, n_out = (text.number(token, 10, "header") for token in tokens[1:])
    for name, bits, most in (("n_in", n_in, MAX_IN), ("n_out", n_out, MAX_OUT)):
        if not 1 <= bits <= most:
            raise text.bad(f"{bits} bits, expected 1 to {most}", name)
    return n_in, n_out


def _read_lut(text: _Text) -> Table:
    numbers: list[int] = []
    begun = False
    for row in text.rows():
        row = row.split(b"#", 1)[0].strip()
        if row.startswith(b"CONTENT_VECTOR"):
            name, equals, row = row.partition(b"=")
            if begun or not equals or name.strip() != b"CONTENT_VECTOR":
                raise text.bad("expected one 'CONTENT_VECTOR=' with values", "CONTENT_VECTOR")
            begun = True
        elif row and not begun:
            raise text.bad("expected 'CONTENT_VECTOR=' first", "CONTENT_VECTOR")
        _extend(numbers, row.split(), 10, text)
    return _counted(numbers, text)


def _read_coe(text: _Text) -> Table:
    numbers: list[int] = []
    base = 0
    keyword = ""  # of the statement that is open
    ended = False
    for row in text.rows():
        row, semicolon, _ = row.partition(b";")
        if not keyword and row:
            name, equals, row = row.partition(b"=")
            keyword = name.strip().lower().decode("latin-1")
            if keyword not in (RADIX, VECTOR) or not equals or ended:
                raise text.bad(f"expected '{RADIX}=' or '{VECTOR}='", keyword[:LONGEST])
        if keyword == RADIX and row.strip():
            if base:
                raise text.bad("a second radix", RADIX)
            base = text.number(row.strip(), 10, RADIX)
            if base not in DIGITS:
                raise text.bad(f"{base}, expected 2, 10 or 16", RADIX)
        elif keyword == VECTOR:
            if not base:
                raise text.bad(f"no {RADIX} before it", VECTOR)
            _extend(numbers, row.replace(b",", b" ").split(), base, text)
        if semicolon:
            ended = ended or keyword == VECTOR
            keyword = ""
    if not ended:
        raise text.bad(f"no ';' after the values of {VECTOR}: cut short?", VECTOR, whole=True)
    return _counted(numbers, text)


RADIX = "memory_initialization_radix"
VECTOR = "memory_initialization_vector"


def _read_mif(text: _Text) -> Table:
    numbers: list[int] = []
    n_out = 0
    for row in text.rows():
        if not row:
            continue
        n_out = n_out or min(len(row), MAX_OUT)
        if len(row) != n_out:
            raise text.bad(f"{len(row)} digits, expected {n_out} as above (at most {MAX_OUT})",
                           "value")  # fmt: skip
        _extend(numbers, [row], 2, text)
    n_in, _, values = _counted(numbers, text)
    return n_in, n_out, values


def _extend(numbers: list[int], tokens: list[bytes], base: int, text: _Text) -> None:
    if len(numbers) + len(tokens) > 1 << MAX_IN:
        raise text.bad(f"more than 2^{MAX_IN} values", "address")
    numbers.extend(text.value(token, base, MAX_OUT) for token in tokens)


def _counted(numbers: list[int], text: _Text) -> Table:
    """The table of values in the order of addresses; the widths follow from them."""
    n_in = len(numbers).bit_length() - 1
    if n_in < 1 or len(numbers) != 1 << n_in:
        raise text.bad(
            f"{len(numbers)} values, expected a power of two from 2: some are missing or too many",
            "address", whole=True,
        )  # fmt: skip
    values = np.array(numbers, np.int64)
    return n_in, max(1, int(values.max()).bit_length()), values


READERS = {".txt": _read_txt, ".lut": _read_lut, ".coe": _read_coe, ".mif": _read_mif}
