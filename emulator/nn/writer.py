"""Rows of a program as lines of a kernel's source.

Carriers, chosen row by row from the proved ranges:

float32   exact sums below 2**24: a fused multiply-add is one operation where int32 takes three
int16     narrow accumulators of 16 bits: high and low halves of products are single operations
int32     whatever fits; int64 the rest
"""

from __future__ import annotations

from dataclasses import dataclass, field

from scout40.emulator.nn.fixed import Overflow, Rounding
from scout40.emulator.nn.program import Program, Quant, Row, overflowed, rounding_terms

LANES = 256
"""Samples in a block."""

_STEPS = 4
"""Saturating additions that are cheaper than a 32-bit product."""

HALF, INT, LONG, FLOAT = "int16", "int32", "int64", "float32"
_BITS = {HALF: 16, INT: 32, LONG: 64}


def fitting(low: int, high: int) -> str:
    """The narrowest carrier of integers."""
    for kind, bits in _BITS.items():
        if -(1 << (bits - 1)) <= low and high < 1 << (bits - 1):
            return kind
    raise ValueError(f"{low} to {high} do not fit int64")


@dataclass
class Writer:
    """Writes rows as lines; knows which carriers of a row exist in the current loop."""

    program: Program
    input_kind: str
    tables: dict[int, int]
    lines: list[str] = field(default_factory=list)
    names: dict[tuple[int, str], str] = field(default_factory=dict)
    natural: dict[int, str] = field(default_factory=dict)
    kept: dict[int, tuple[str, int]] = field(default_factory=dict)
    work: dict[str, int] = field(default_factory=lambda: {HALF: 0, INT: 0, LONG: 0})
    count: int = 0

    def begin(self) -> None:
        """A new loop: everything has to be loaded anew."""
        self.names.clear()
        self.natural.clear()
        self.lines.append(f"    for l in range({LANES}):")

    def line(self, text: str) -> None:
        self.lines.append("        " + text)

    def value(self, expression: str) -> str:
        """A new variable."""
        self.count += 1
        self.line(f"v{self.count} = {expression}")
        return f"v{self.count}"

    def give(self, number: int, kind: str, name: str) -> None:
        self.names[number, kind] = name
        self.natural[number] = kind

    def keep(self, number: int) -> None:
        """Store a row for later stages."""
        row = self.program.rows[number]
        kind = fitting(row.low, row.high)
        place = self.work[kind]
        self.work[kind] += 1
        self.kept[number] = kind, place
        self.line(f"w{_BITS[kind]}[{place * LANES} + l] = {self.use(number, kind)}")

    def kind(self, number: int) -> str:
        """The carrier in which a row was computed; loads it if it was not in this loop."""
        if number not in self.natural:
            if number < self.program.n_inputs:
                self.give(number, self.input_kind, self.value(f"x[{number * LANES} + l]"))
            else:
                kind, place = self.kept[number]
                self.give(number, kind, self.value(f"w{_BITS[kind]}[{place * LANES} + l]"))
        return self.natural[number]

    def use(self, number: int, kind: str) -> str:
        """Name of a variable with this row in this carrier."""
        have = self.kind(number)
        if (number, kind) not in self.names:
            name = self.names[number, have]
            if {have, kind} == {FLOAT, HALF} or {have, kind} == {FLOAT, LONG}:
                name = self.use(number, INT)
            self.names[number, kind] = self.value(f"np.{kind}({name})")
        return self.names[number, kind]

    def row(self, number: int) -> None:
        """Compute one row."""
        row = self.program.rows[number]
        if row.op == "sum" and _fits_float(row, self.program):
            self._float_sum(number, row)
        elif row.op == "narrow" and _fits_half(row, self.program):
            self._half_sum(number, row)
        elif row.op == "table":
            self._table(number, row)
        else:
            self._general(number, row)

    def _general(self, number: int, row: Row) -> None:
        kind = INT if row.bound < 1 << 31 else LONG
        terms = row.terms
        small = row.bound < 1 << 15 and _bound_of_sources(row, self.program) < 1 << 15
        if small and all(self.kind(one) == HALF for one, _ in terms):
            kind = HALF
        if row.op == "product":
            name = self.value(f"mul({self.use(terms[0][0], kind)}, {self.use(terms[1][0], kind)})")
        elif row.op == "max":
            name = self.use(terms[0][0], kind)
            for one, _ in terms[1:]:
                name = self.value(f"larger({name}, {self.use(one, kind)})")
        elif row.op == "sum":
            name = self._sum(row, kind)
        else:
            name = self._narrow(row, kind)
        if row.relu:
            name = self.value(f"larger({name}, np.{kind}(0))")
        if row.outer is not None:
            low, high = row.before
            if row.relu:
                low, high = max(low, 0), max(high, 0)
            name = self._quantised(name, kind, row.outer, (low, high))
        target = fitting(row.low, row.high)
        if kind == LONG and target != LONG:
            name, kind = self.value(f"np.int32({name})"), INT
        self.give(number, kind, name)

    def _sum(self, row: Row, kind: str) -> str:
        name = f"np.{kind}({row.bias})" if row.bias or not row.terms else ""
        for one, factor in row.terms:
            term = self.use(one, kind)
            if factor != 1:
                term = self.value(f"mul({term}, np.{kind}({factor}))")
            name = self.value(f"add({name}, {term})") if name else term
        return name

    def _narrow(self, row: Row, kind: str) -> str:
        """Products requantised one by one; wraps at the end, which is the same."""
        assert row.inner is not None
        to = row.inner.type
        name = self.value(f"np.{kind}({row.bias})")
        low = high = row.bias
        for one, factor in row.terms:
            source = self.program.rows[one]
            ends = sorted((source.low * factor, source.high * factor))
            term = self.use(one, kind)
            if factor != 1:
                term = self.value(f"mul({term}, np.{kind}({factor}))")
            term = self._quantised(term, kind, row.inner, (ends[0], ends[1]))
            name = self.value(f"add({name}, {term})")
            step = row.inner.range(ends[0], ends[1])
            low, high = low + step[0], high + step[1]
            if to.overflow is not Overflow.WRAP:
                name = self._in_range(name, kind, Quant(0, to), (low, high))
                low, high = overflowed(low, high, to)
        if to.overflow is Overflow.WRAP:
            name = self._in_range(name, kind, Quant(0, to), (low, high))
        return name

    def _quantised(self, name: str, kind: str, to: Quant, span: tuple[int, int]) -> str:
        """``name``, an integer in ``span``, requantised."""
        if to.shift < 0:
            name = self.value(f"shl({name}, np.{kind}({-to.shift}))") if any(span) else name
        elif to.shift > 0:
            sign_bits = _BITS[kind] - 1
            if to.shift > sign_bits - 1:  # less than half of the last place
                down_only = to.type.rounding is Rounding.TRN
                name = f"shr({name}, np.{kind}({sign_bits}))" if down_only else f"np.{kind}(0)"
                name = self.value(name)
            else:
                extra, sign, odd = rounding_terms(to.type.rounding, to.shift)
                moved = name
                if sign and span[0] < 0:
                    negative = self.value(f"shr({name}, np.{kind}({sign_bits}))")
                    if abs(sign) != 1:
                        negative = self.value(f"both({negative}, np.{kind}({-sign}))")
                        moved = self.value(f"add({moved}, {negative})")
                    else:
                        moved = self.value(f"add({moved}, mul({negative}, np.{kind}({sign})))")
                if odd:
                    last = f"both(shr({name}, np.{kind}({to.shift})), np.{kind}(1))"
                    moved = self.value(f"add({moved}, {last})")
                if extra:
                    moved = self.value(f"add({moved}, np.{kind}({extra}))")
                name = self.value(f"shr({moved}, np.{kind}({to.shift}))")
        return self._in_range(name, kind, to, (to.rounded(span[0]), to.rounded(span[1])))

    def _in_range(self, name: str, kind: str, to: Quant, span: tuple[int, int]) -> str:
        """The overflow rule for an integer in ``span``."""
        low, high = to.type.low, to.type.high
        if low <= span[0] and span[1] <= high:
            return name
        if to.type.overflow is Overflow.WRAP:
            rest = _BITS[kind] - to.type.width
            if rest <= 0 and to.type.signed:
                return name
            if not to.type.signed:
                return self.value(f"both({name}, np.{kind}({high}))")
            name = self.value(f"shl({name}, np.{kind}({rest}))")
            return self.value(f"shr({name}, np.{kind}({rest}))")
        if span[0] < low:
            name = self.value(f"larger({name}, np.{kind}({low}))")
        if span[1] > high:
            name = self.value(f"smaller({name}, np.{kind}({high}))")
        return name

    def _float_sum(self, number: int, row: Row) -> None:
        """Weights are scaled by 2**-shift beforehand: rounding is then one operation."""
        shift = row.outer.shift if row.outer is not None else 0
        rounding = row.outer.type.rounding if row.outer is not None else Rounding.TRN
        half = 1 << (shift - 1) if shift and rounding is Rounding.RND else 0
        name = self.value(f"np.float32({row.bias + half} / {1 << shift})")
        for one, factor in row.terms:
            term = self.use(one, FLOAT)
            name = self.value(f"fma({term}, np.float32({factor} / {1 << shift}), {name})")
        low, high = row.before
        if row.outer is not None:
            if shift:
                how = {Rounding.RND_CONV: "even", Rounding.TRN_ZERO: "cut"}.get(rounding, "down")
                name = self.value(f"{how}({name})")
            low, high = row.outer.rounded(low), row.outer.rounded(high)
        if low < row.low:
            name = self.value(f"max({name}, np.float32({row.low}))")
        if high > row.high:
            name = self.value(f"min({name}, np.float32({row.high}))")
        self.give(number, FLOAT, name)

    def _half_sum(self, number: int, row: Row) -> None:
        """A narrow sum in int16: p = x * w >> s from the halves of 16-bit products."""
        assert row.inner is not None
        to = row.inner.type
        name = self.value(f"np.int16({row.bias})")
        low = high = row.bias
        wraps = to.overflow is Overflow.WRAP
        for one, factor in row.terms:
            source = self.program.rows[one]
            ends = sorted((source.low * factor, source.high * factor))
            whole = row.inner.rounded(ends[0]), row.inner.rounded(ends[1])
            term = self._half_product(one, factor, row.inner, whole)
            step = overflowed(*whole, to)
            low, high = low + step[0], high + step[1]
            if wraps:
                name = self.value(f"add({name}, {term})")
                continue
            outside = low < -(1 << 15) or high >= 1 << 15
            name = self.value(f"{'add_sat' if outside else 'add'}({name}, {term})")
            span = max(low, -(1 << 15)), min(high, (1 << 15) - 1)
            name = self._in_range(name, HALF, Quant(0, to), span)
            low, high = overflowed(low, high, to)
        if wraps:
            name = self._in_range(name, HALF, Quant(0, to), (low, high))
        low, high = row.before
        if row.relu and low < 0:
            name = self.value(f"larger({name}, np.int16(0))")
            low, high = 0, max(high, 0)
        kind = HALF
        if row.outer is not None:
            name, kind = self.value(f"np.int32({name})"), INT
            name = self._quantised(name, kind, row.outer, (low, high))
        self.give(number, kind, name)

    def _half_product(self, one: int, factor: int, to: Quant, whole: tuple[int, int]) -> str:
        """The product requantised by ``to``, int16; modulo 2**16 where the type wraps."""
        limit, shift = 1 << (to.shift - 1), to.shift
        coarse = (factor + limit) >> shift
        fine = factor - (coarse << shift)  # -limit <= fine < limit: times 2**(16 - shift) in int16
        # Adding x several times saturates as the sum does: all steps go in the same direction.
        fits = to.type.low <= whole[0] and whole[1] <= to.type.high
        saturates = not fits and to.type.overflow is not Overflow.WRAP
        if saturates and abs(coarse) > _STEPS:
            product = f"mul({self.use(one, INT)}, np.int32({factor}))"
            source = self.program.rows[one]
            ends = sorted((source.low * factor, source.high * factor))
            name = self._quantised(self.value(product), INT, to, (ends[0], ends[1]))
            return self.value(f"np.int16({name})")
        x = self.use(one, HALF)
        parts = []
        if fine:
            scaled = f"np.int16({fine << (16 - shift)})"
            parts.append(self.value(f"mulh({x}, {scaled})"))
            if to.type.rounding is Rounding.RND:
                parts.append(self.value(f"top(mul({x}, {scaled}), np.int16(15))"))
        if coarse and not saturates:
            wrapped = ((coarse + (1 << 15)) & 0xFFFF) - (1 << 15)
            parts.append(x if wrapped == 1 else self.value(f"mul({x}, np.int16({wrapped}))"))
        name = parts[0] if parts else self.value("np.int16(0)")
        for part in parts[1:]:
            name = self.value(f"add({name}, {part})")
        if saturates:
            step = "add_sat" if coarse > 0 else "sub_sat"
            for _ in range(abs(coarse)):
                name = self.value(f"{step}({name}, {x})")
            span = max(whole[0], -(1 << 15)), min(whole[1], (1 << 15) - 1)
            name = self._in_range(name, HALF, Quant(0, to.type), span)
        return name

    def _table(self, number: int, row: Row) -> None:
        table = row.table
        assert table is not None
        one = row.terms[0][0]
        kind = INT if row.bound < 1 << 31 else LONG
        name = self.use(one, kind)
        if table.shift < 0:
            name = self.value(f"shl({name}, np.{kind}({-table.shift}))")
        elif table.shift >= _BITS[kind] - 1:
            name = self.value(
                f"shr({name}, np.{kind}({_BITS[kind] - 1}))" if table.toward == "floor"
                else f"np.{kind}(0)"
            )  # fmt: skip
        elif table.shift > 0:
            if table.toward == "zero" and self.program.rows[one].low < 0:
                rest = f"shr({name}, np.{kind}({_BITS[kind] - 1}))"
                rest = f"both({rest}, np.{kind}({(1 << table.shift) - 1}))"
                name = self.value(f"add({name}, {rest})")
            name = self.value(f"shr({name}, np.{kind}({table.shift}))")
        name = self.value(f"add({name}, np.{kind}({table.offset}))")
        name = f"smaller(larger({name}, np.{kind}(0)), np.{kind}({len(table.values) - 1}))"
        name = self.value(f"tables[np.int64({name}) + {self.tables[number]}]")
        target = LONG if fitting(row.low, row.high) == LONG else INT
        self.give(number, target, self.value(f"np.{target}({name})"))


def _bound_of_sources(row: Row, program: Program) -> int:
    """Largest value that enters a row."""
    rows = [program.rows[one] for one, _ in row.terms]
    return max((max(abs(one.low), abs(one.high)) for one in rows), default=0)


def _fits_float(row: Row, program: Program) -> bool:
    """Whether a sum is worth and exact in float32."""
    if len(row.terms) < 2 or row.bound >= 1 << 24 or _bound_of_sources(row, program) >= 1 << 24:
        return False
    if row.outer is None:
        return True
    if not 0 <= row.outer.shift <= 32 or row.outer.type.rounding not in (
        Rounding.TRN, Rounding.TRN_ZERO, Rounding.RND, Rounding.RND_CONV,
    ):  # fmt: skip
        return False
    if row.outer.type.overflow is not Overflow.WRAP:
        return True
    low, high = (row.outer.rounded(end) for end in row.before)
    return row.outer.type.low <= low and high <= row.outer.type.high


def _fits_half(row: Row, program: Program) -> bool:
    """Whether a narrow sum can be done in int16."""
    assert row.inner is not None
    to = row.inner.type
    return (
        1 <= row.inner.shift <= 16
        and to.width <= (16 if to.signed else 15)
        and to.rounding in (Rounding.TRN, Rounding.RND)
        and _bound_of_sources(row, program) < 1 << 15
    )
