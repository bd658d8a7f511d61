"""Test vectors of the global trigger: text files, one independent crossing per line.

Blank-separated hexadecimal columns; the first is the decimal bunch crossing 0..3563, which
becomes bx 1..3564. Then 8 muons (64 bits), 12 e/gamma, 8 or 12 tau, 12 jets, 4 or 6 energy sums
and possibly further words (32 bits each), 256 external conditions, 512 algorithm bits (bit 0
rightmost) and the final OR. The layouts of 2016 (48 columns) and of 2022-2026 (60) are known
from the public menus' vectors; the number of columns is read off the file, and the sums and
taus follow from it. Files have no header; comment lines (``#``) and text before the first data
line are skipped.

Muon words of vectors with 4 sums (2016) end at bit 35: index, azimuth at the station,
unconstrained momentum, impact parameter and shower bits do not exist there and are left out.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.streams.block import Block, Origin, Table, offsets_of
from scout40.streams.errors import BadInput
from scout40.streams.formats.ugt import OBJECT_WORDS, UgtMuon, UgtSums
from scout40.streams.jit import inline, njit
from scout40.streams.sources.base import Run

Array = npt.NDArray[Any]

CHUNK = 8 << 20
"""Bytes read at a time."""
HEAD = 1 << 16
"""Bytes looked at to find the layout, and the longest line that is taken."""
LINES = 1 << 14
"""Lines parsed at a time; bounds the memory of a file of short lines."""
MUON_BITS_2016 = 36
SHOWER_BIT = UgtMuon.fields["hw_shower"].lo


@dataclass(frozen=True, slots=True)
class Layout:
    """Columns of one file: name and number of hexadecimal digits of each."""

    names: tuple[str, ...]
    widths: tuple[int, ...]

    @functools.lru_cache(maxsize=16)  # noqa: B019 - a layout is a value, and few are kept
    def places(self) -> tuple[int, ...]:
        """First 64-bit output word of each column, and the total after the last."""
        return (0, *itertools.accumulate(max(1, width // 16) for width in self.widths))

    @functools.lru_cache(maxsize=128)  # noqa: B019
    def words(self, prefix: str) -> slice:
        """Output words of the columns whose name begins so, which stand together."""
        at = [i for i, name in enumerate(self.names) if name.rstrip("0123456789") == prefix]
        places = self.places()
        return slice(places[at[0]], places[at[-1] + 1]) if at else slice(0, 0)


def layout_of(line: bytes) -> Layout | None:
    """The layout that one data line has, None when it is none."""
    tokens = line.split()
    if len(tokens) < 40 or len(tokens) > 256 or not tokens[0].isdigit() or len(tokens[0]) > 8:
        return None
    widths = [len(token) for token in tokens[1:]]
    names = ["bx"]
    for prefix, columns in _columns(widths):
        names += [f"{prefix}{i}" for i in range(columns)] if columns > 1 else [prefix]
    if len(names) != len(tokens) or len(set(names)) != len(names):
        return None
    return Layout(tuple(names), (0, *widths))


def _columns(widths: list[int]) -> list[tuple[str, int]]:
    """(prefix, columns) in order; the total falls short of the widths when they do not fit."""
    muons = _leading(widths, 16)
    words = _leading(widths[muons:], 8)
    rest = widths[muons + words :]
    found = [("mu", muons), *_objects(words)]
    if not 2 <= muons <= 8 or words < 36:
        return []
    kinds = {64: "ext", 128: "algorithms", 1: "finor"}
    order = [kinds.get(width, "") for width in rest]
    known = [name for name in kinds.values() if name in order]
    return found + [(name, 1) for name in order] if order == known else []


def _leading(widths: list[int], width: int) -> int:
    return next((i for i, other in enumerate(widths) if other != width), len(widths))


def _objects(words: int) -> list[tuple[str, int]]:
    """Of 36..39 words the taus are 8, of more 12; sums at most 6, the rest is ``extra``."""
    taus = 8 if words < 40 else 12
    sums = min(6, words - 24 - taus)
    parts = [("eg", 12), ("tau", taus), ("jet", 12), ("sum", sums), ("extra", words)]
    parts[-1] = ("extra", words - 24 - taus - sums)
    return [part for part in parts if part[1]]


def recognise(head: bytes, path: str) -> bool:
    """True when the first lines hold a data line."""
    return any(layout_of(line) for line in head.split(b"\n")[:64])


class TestVectorSource:
    """Blocks of test-vector files.

    Rows of one file are independent events (``contiguous`` is False); orbit is the number of the
    file in the list, bx the vector's bunch crossing + 1. Tables ``mu``, ``eg``, ``tau``, ``jet``
    keep interior empty slots and drop trailing ones; ``sums`` has one row per crossing. Crossing
    columns: ``ext`` (n, 4), ``recorded`` (n, 8) with bit = algorithm index, ``recorded_finor``,
    ``shower``, and ``extra`` uint32 (n, w) for words beyond the sums.
    """

    __test__ = False  # pytest takes classes by their name
    contiguous = False

    def __init__(self, paths: Sequence[str]) -> None:
        if not paths:
            raise BadInput("no test vector given")
        self._files = [(str(path), *_look(str(path))) for path in paths]
        kinds = sorted({f"{len(layout.names)} columns" for _, layout, _, _ in self._files})
        self.name = f"test vector ({', '.join(kinds)}): {', '.join(map(str, paths))}"
        self.total: int | None = sum(lines for *_, lines in self._files)

    def blocks(self, run: Run) -> Iterator[Block]:
        """Blocks of at most ``run.rows_per_block`` lines; a packet is a data line."""
        sequence = 0
        for number, (path, layout, start, _) in enumerate(self._files):
            for words in _parsed(path, layout, start, run):
                for first in range(0, len(words), run.rows_per_block):
                    part = words[first : first + run.rows_per_block]
                    yield _block(part, layout, number, Origin(os.path.basename(path), sequence))
                    sequence += 1


def _look(path: str) -> tuple[Layout, int, int]:
    """(layout, offset of the first data line, lines expected) of a file.

    The layout is the commonest one of the first lines, so one damaged line does not set it.
    """
    with open(path, "rb") as stream:
        head = stream.read(HEAD)
    if not head:
        raise BadInput("empty file", file=path)
    votes: Counter[Layout] = Counter()
    offset = first = 0
    found = False
    length = 1
    for line in head.split(b"\n")[:64]:
        layout = layout_of(line)
        tokens = line.split(maxsplit=1)
        if not found and len(tokens) == 2 and tokens[0].isdigit():
            found, first = True, offset
        if layout is not None:
            votes[layout] += 1
            length = len(line) + 1
        offset += len(line) + 1
    if not votes:
        raise BadInput(
            "no line of a test vector in the first 64: expected the bunch crossing, 8 muons of 16 "
            "digits, at least 36 words of 8, then 64, 128 and 1 digits",
            file=path,
        )
    lines = -(-(os.path.getsize(path) - first) // length)
    return votes.most_common(1)[0][0], first, lines


def _parsed(path: str, layout: Layout, start: int, run: Run) -> Iterator[Array]:
    """uint64 words (lines, words of the layout) of the good lines, piece by piece."""
    with open(path, "rb") as stream:
        line = 1 + stream.read(start).count(b"\n")
        offset = start
        data = stream.read(CHUNK)
        while data:
            following = stream.read(CHUNK)
            cut = data.rfind(b"\n") + 1 if following else len(data)
            if not cut and len(data) > HEAD:
                cut = len(data)  # a line longer than any: one bad packet, in pieces
            text = data[:cut]
            yield from _lines(text, _Place(path, offset, line), layout, run)
            offset += len(text)
            line += text.count(b"\n")
            data = data[cut:] + following


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a piece of text begins: byte offset and number of its first line."""

    path: str
    offset: int
    line: int


def _lines(text: bytes, place: _Place, layout: Layout, run: Run) -> Iterator[Array]:
    """The good lines of a piece of text; the bad ones are counted and quarantined."""
    data = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(data == ord("\n"))
    if text and not text.endswith(b"\n"):
        ends = np.append(ends, len(data))
    starts = np.concatenate([np.zeros(1, ends.dtype), ends + 1])[: len(ends)]
    widths, places = np.array(layout.widths, np.int64), np.array(layout.places())
    account = run.ledger["packets"]
    for first in range(0, len(ends), LINES):
        part = slice(first, first + LINES)
        words = np.zeros((len(ends[part]), places[-1]), np.uint64)
        errors = np.zeros((len(words), 2), np.int32)
        _parse(data, starts[part], ends[part], widths, places, words, errors)
        good = errors[:, 0] == OK
        account.received += int((errors[:, 0] != SKIPPED).sum())
        account.out += int(good.sum())
        for index in np.flatnonzero(errors[:, 0] > SKIPPED).tolist():
            span = slice(int(starts[first + index]), int(ends[first + index]))
            code, column = errors[index].tolist()
            where = _Place(place.path, place.offset + span.start, place.line + first + index)
            _report(text[span], where, code, column, layout, run)
        if good.any():
            yield words if good.all() else words[good]


OK, SKIPPED, MISSING, WIDTH, DIGIT, BX, EXTRA = range(7)
_REASONS = {
    MISSING: "columns missing",
    WIDTH: "wrong number of digits",
    DIGIT: "not a number",
    BX: "bunch crossing above 3563",
    EXTRA: "columns beyond the last",
}


def _report(line: bytes, place: _Place, code: int, column: int, layout: Layout, run: Run) -> None:
    reason = _REASONS[code]
    index = min(column, len(layout.names) - 1)
    message = f"line {place.line}: {reason} at column {column}"
    if index and code in (WIDTH, DIGIT):
        message += f", expected {layout.widths[index]} hexadecimal digits"
    failure = BadInput(message, file=place.path, offset=place.offset, field=layout.names[index])
    run.bad(reason, failure, line)


@inline
def _crossing(data: Array, at: int, stop: int, words: Array, line: int) -> int:
    """Decimal bunch crossing at data[at:stop] into the first word; its error code."""
    if stop - at > 8:
        return 3
    value = np.int64(0)
    for k in range(at, stop):
        digit = np.int64(data[k]) - 48
        if digit < 0 or digit > 9:
            return 4
        value = value * 10 + digit
    words[line, 0] = value
    return 5 if value > 3563 else 0


@inline
def _hexadecimal(data: Array, at: int, stop: int, words: Array, line: int, place: int) -> int:
    """Hexadecimal digits data[at:stop] into words[line, place] and following; the error code."""
    for k in range(at, stop):
        c = np.int64(data[k])
        if c >= 48 and c <= 57:
            digit = c - 48
        elif c >= 97 and c <= 102:
            digit = c - 87
        elif c >= 65 and c <= 70:
            digit = c - 55
        else:
            return 4
        word = place + (stop - 1 - k) // 16
        words[line, word] = (words[line, word] << np.uint64(4)) | np.uint64(digit)
    return 0


@njit
def _parse(
    data: Array,
    starts: Array,
    ends: Array,
    widths: Array,
    places: Array,
    words: Array,
    errors: Array,
) -> None:
    """Hexadecimal columns of every line into 64-bit words; errors = (code, column) per line.

    Column 0 is decimal. A column of more than 16 digits fills several words, the last digits
    the first. Codes are those of the module: 0 good, 1 blank or comment, ...
    """
    for i in range(starts.shape[0]):
        at, end = starts[i], ends[i]
        code = 0
        column = 0
        while code == 0:
            while at < end and (data[at] == 32 or data[at] == 9 or data[at] == 13):
                at += 1
            if at == end:
                if column == 0:
                    code = 1
                elif column < widths.shape[0]:
                    code = 2
                break
            if column == 0 and data[at] == 35:
                code = 1
                break
            if column == widths.shape[0]:
                code = 6
                break
            stop = at
            while stop < end and data[stop] > 32:
                stop += 1
            if stop == at:
                code = 4
                break
            if column == 0:
                code = _crossing(data, at, stop, words, i)
            elif stop - at != widths[column]:
                code = 3
            else:
                code = _hexadecimal(data, at, stop, words, i, places[column])
            if code == 0:
                column += 1
            at = stop
        errors[i, 0] = code
        errors[i, 1] = column


# -- words to a block ----------------------------------------------------------------------------


def _block(words: Array, layout: Layout, orbit: int, origin: Origin) -> Block:
    muons = words[:, layout.words("mu")]
    sums = words[:, layout.words("sum")].astype(np.uint32)
    old = sums.shape[1] <= 4
    tables = {"mu": _slots("mu", muons, MUON_BITS_2016 if old else 64)}
    for name in ("eg", "tau", "jet"):
        tables[name] = _slots(name, words[:, layout.words(name)], 32)
    tables["sums"] = _sums(sums)
    crossing: dict[str, Array] = {}
    for name, prefix in (("ext", "ext"), ("recorded", "algorithms")):
        if prefix in layout.names:
            crossing[name] = np.ascontiguousarray(words[:, layout.words(prefix)])
    if "finor" in layout.names:
        crossing["recorded_finor"] = words[:, layout.words("finor")][:, 0].astype(np.uint8)
    if not old:
        bits = (muons >> np.uint64(SHOWER_BIT)) & np.uint64(1)
        slots = np.arange(muons.shape[1], dtype=np.uint64)
        crossing["shower"] = (bits << slots).sum(axis=1).astype(np.uint8)
    extra = words[:, layout.words("extra")].astype(np.uint32)
    if extra.shape[1]:
        crossing["extra"] = extra
    return Block(
        first_orbit=orbit,
        last_orbit=orbit + 1,
        orbit=np.full(len(words), orbit, np.uint32),
        bx=(words[:, 0] + np.uint64(1)).astype(np.uint16),
        tables=tables,
        crossing=crossing,
        origin=origin,
    )


def _slots(name: str, slots: Array, bits: int) -> Table:
    """Objects of fixed slots (n, slots): trailing empty ones dropped, fields below ``bits``."""
    word = OBJECT_WORDS[name]
    size = word.fields["hw_pt" if name == "mu" else "hw_et"]
    filled = ((slots >> np.uint64(size.lo)) & np.uint64(size.mask)) != 0
    place = np.arange(1, slots.shape[1] + 1)
    counts = (filled * place).max(axis=1, initial=0)
    kept = slots[place <= counts[:, None]].astype(word.storage)
    columns = word.unpack(kept)
    chosen = {n: v for n, v in columns.items() if word.fields[n].lo < bits}
    return Table(chosen, offsets_of(counts))


def _sums(sums: npt.NDArray[np.uint32]) -> Table:
    """One row per crossing; columns of words that the file does not have are left out."""
    padded = np.zeros((len(sums), UgtSums.words), np.uint32)
    padded[:, : sums.shape[1]] = sums
    columns = UgtSums.unpack(padded)
    present = {n: v for n, v in columns.items() if UgtSums.fields[n].word < sums.shape[1]}
    return Table(present, np.arange(len(sums) + 1, dtype=np.int32))
