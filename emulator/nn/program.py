"""The scalar steps that a network is lowered to, with the range of each.

Ranges are followed element by element, so that steps which cannot do anything are left out and each
row knows how wide its arithmetic must be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from scout40.emulator.nn import nodes as kinds
from scout40.emulator.nn.fixed import Fixed, Overflow, Rounding


@dataclass(frozen=True, slots=True)
class Quant:
    """Drop ``shift`` bits (or add, if negative) and bring the rest into the range of ``type``."""

    shift: int
    type: Fixed

    def rounded(self, value: int) -> int:
        """Before the overflow rule."""
        if self.shift <= 0:
            return value << -self.shift
        add, sign, odd = rounding_terms(self.type.rounding, self.shift)
        value += add + sign * (value >> 400) + odd * (value >> self.shift & 1)
        return value >> self.shift

    def range(self, low: int, high: int) -> tuple[int, int]:
        """Of the results, for values from ``low`` to ``high``."""
        return overflowed(self.rounded(low), self.rounded(high), self.type)

    @property
    def monotone(self) -> bool:
        return self.type.overflow is not Overflow.WRAP


def rounding_terms(rounding: Rounding, shift: int) -> tuple[int, int, int]:
    """(add, sign, odd) so that (v + add + sign * s + odd * o) >> shift is the rounded v / 2**shift.

    s is -1 for negative v, else 0; o is the lowest bit that stays.
    """
    half = 1 << (shift - 1)
    return {
        Rounding.TRN: (0, 0, 0),
        Rounding.TRN_ZERO: (0, 1 - 2 * half, 0),
        Rounding.RND: (half, 0, 0),
        Rounding.RND_ZERO: (half - 1, -1, 0),
        Rounding.RND_INF: (half, 1, 0),
        Rounding.RND_MIN_INF: (half - 1, 0, 0),
        Rounding.RND_CONV: (half - 1, 0, 1),
    }[rounding]


def overflowed(low: int, high: int, to: Fixed) -> tuple[int, int]:
    """Range of values low .. high after the overflow rule of ``to``."""
    if to.overflow is Overflow.WRAP:
        return (low, high) if to.low <= low and high <= to.high else (to.low, to.high)
    return min(max(low, to.low), to.high), min(max(high, to.low), to.high)


@dataclass(slots=True)
class Row:
    """One number that is computed.

    op: "sum" of coefficient * row over ``terms``, plus ``bias``; "narrow", the same with every
    product requantised by ``inner`` and every partial sum brought into its range; "product" of
    the two rows of ``terms``; "max" of the rows; "table": ``values[address]``.
    relu: the larger of that and 0. outer: how it is then requantised.
    low, high: range of the result; bound: largest absolute value before it.
    """

    op: Literal["sum", "narrow", "product", "max", "table"]
    terms: list[tuple[int, int]]
    bias: int = 0
    inner: Quant | None = None
    relu: bool = False
    outer: Quant | None = None
    table: kinds.Table | None = None
    low: int = 0
    high: int = 0
    bound: int = 0
    before: tuple[int, int] = (0, 0)  # range before ``relu`` and ``outer``


@dataclass
class Program:
    """Rows; the first ``n_inputs`` stand for the inputs and have no terms."""

    n_inputs: int
    rows: list[Row] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    terms: int = 0

    def add(self, row: Row) -> int:
        """Number of the row, or of another that is the same number."""
        if self._is_copy(row):
            return row.terms[0][0]
        low, high = _RANGES[row.op](row, self.rows)
        row.before = (low, high)
        row.bound = max(row.bound, abs(low), abs(high))
        if row.relu:
            low, high = max(low, 0), max(high, 0)
        if row.outer is not None:
            shift = row.outer.shift
            half = 1 << (shift - 1) if shift > 0 else 0
            row.bound = max(row.bound + half, abs(row.outer.rounded(low)),
                            abs(row.outer.rounded(high)))  # fmt: skip
            if shift == 0 and overflowed(low, high, row.outer.type) == (low, high):
                row.outer = None
            else:
                low, high = row.outer.range(low, high)
        row.low, row.high = low, high
        row.bound = max(row.bound, abs(low), abs(high))
        self.terms += len(row.terms)
        self.rows.append(row)
        return len(self.rows) - 1

    def _is_copy(self, row: Row) -> bool:
        if row.op != "sum" or len(row.terms) != 1 or row.terms[0][1] != 1 or row.bias:
            return False
        source = self.rows[row.terms[0][0]]
        if row.relu and source.low < 0:
            return False
        if row.outer is None:
            return True
        inside = overflowed(source.low, source.high, row.outer.type) == (source.low, source.high)
        return row.outer.shift == 0 and inside


def _sum_range(row: Row, rows: list[Row]) -> tuple[int, int]:
    low = high = row.bias
    for source, factor in row.terms:
        ends = rows[source].low * factor, rows[source].high * factor
        low, high = low + min(ends), high + max(ends)
        row.bound = max(row.bound, abs(low), abs(high), abs(ends[0]), abs(ends[1]))
    return low, high


def _narrow_range(row: Row, rows: list[Row]) -> tuple[int, int]:
    inner = row.inner
    assert inner is not None
    low = high = row.bias
    half = 1 << (inner.shift - 1) if inner.shift > 0 else 0
    for source, factor in row.terms:
        ends = rows[source].low * factor, rows[source].high * factor
        whole = inner.rounded(min(ends)), inner.rounded(max(ends))
        term = overflowed(*whole, inner.type)
        size = max(abs(ends[0]), abs(ends[1])) + half
        row.bound = max(row.bound, size, abs(whole[0]), abs(whole[1]),
                        abs(term[0]), abs(term[1]),
                        abs(low + term[0]), abs(high + term[1]))  # fmt: skip
        low, high = overflowed(low + term[0], high + term[1], inner.type)
    return low, high


def _product_range(row: Row, rows: list[Row]) -> tuple[int, int]:
    (left, _), (right, _) = row.terms
    a, b = rows[left], rows[right]
    ends = [x * y for x in (a.low, a.high) for y in (b.low, b.high)]
    if left == right:
        return (0 if a.low <= 0 <= a.high else min(ends[0], ends[3])), max(ends)
    return min(ends), max(ends)


def _max_range(row: Row, rows: list[Row]) -> tuple[int, int]:
    low = max(rows[source].low for source, _ in row.terms)
    high = max(rows[source].high for source, _ in row.terms)
    row.bound = max(abs(rows[source].low) for source, _ in row.terms)
    return low, high


def _table_range(row: Row, rows: list[Row]) -> tuple[int, int]:
    table, source = row.table, rows[row.terms[0][0]]
    assert table is not None
    size = max(abs(source.low), abs(source.high)) << max(0, -table.shift)
    row.bound = size + abs(table.offset) + len(table.values)
    return int(table.values.min()), int(table.values.max())


_RANGES: dict[str, Callable[[Row, list[Row]], tuple[int, int]]] = {
    "sum": _sum_range, "narrow": _narrow_range, "product": _product_range, "max": _max_range,
    "table": _table_range,
}  # fmt: skip
