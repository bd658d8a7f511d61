"""One compiled kernel for every network: rows, weights and shifts are data.

Slower than generated code, but there is nothing to compile for a new network.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from scout40.emulator.nn.fixed import Fixed, Overflow
from scout40.emulator.nn.generate import table_offsets
from scout40.emulator.nn.program import Program, Quant, rounding_terms
from scout40.emulator.nn.scalar import add, both, larger, mul, shl, shr, smaller
from scout40.emulator.nn.writer import LANES
from scout40.streams.jit import inline, njit, pointer

_LANES = LANES
_SUM, _NARROW, _PRODUCT, _MAX, _TABLE = range(5)
_OPS = {"sum": _SUM, "narrow": _NARROW, "product": _PRODUCT, "max": _MAX, "table": _TABLE}
_UP, _ADD, _SIGN, _ODD, _DOWN, _WRAP, _MASK, _LOW, _HIGH = range(9)
_PARAMETERS = 9


class Rules(NamedTuple):
    """A program as arrays of one integer type, which also carries all numbers.

    op, first, last: int64 by computed row; its terms are first..last of ``source`` (int64) and
    ``factor``. bias, relu (0 or 1) by row. inner, outer: (rows, 9), how to requantise. table:
    int64 (rows, 5): offset in ``tables``, length, shift, whether toward zero, place of address 0.
    outputs: int64, numbers of rows.
    """

    op: Any
    first: Any
    last: Any
    source: Any
    factor: Any
    bias: Any
    relu: Any
    inner: Any
    outer: Any
    table: Any
    tables: Any
    outputs: Any


def host_of(program: Program) -> np.dtype[Any]:
    """int32 if no number of any row is too large for it, else int64."""
    wide = any(max(row.bound, abs(row.low), abs(row.high)) >= 1 << 31 for row in program.rows)
    return np.dtype(np.int64 if wide else np.int32)


def rules_of(program: Program) -> Rules:
    """Everything that the kernel reads."""
    host = host_of(program)
    rows = program.rows[program.n_inputs :]
    counts = np.array([len(row.terms) for row in rows], np.int64)
    last = np.cumsum(counts)
    terms = [term for row in rows for term in row.terms]
    offsets = table_offsets(program)
    table = np.zeros((len(rows), 5), np.int64)
    for n, row in enumerate(rows):
        if row.table is not None:
            one = row.table
            place = offsets[n + program.n_inputs]
            zero = int(one.toward == "zero")
            table[n] = place, len(one.values), one.shift, zero, one.offset
    width = 8 * host.itemsize
    return Rules(
        op=np.array([_OPS[row.op] for row in rows], np.int64),
        first=last - counts,
        last=last,
        source=np.array([source for source, _ in terms], np.int64),
        factor=np.array([factor for _, factor in terms], host),
        bias=np.array([row.bias for row in rows], host),
        relu=np.array([row.relu for row in rows], host),
        inner=_parameters([row.inner for row in rows], host, width),
        outer=_parameters([row.outer for row in rows], host, width),
        table=table,
        tables=all_tables(program),
        outputs=np.array(program.outputs, np.int64),
    )


def all_tables(program: Program) -> npt.NDArray[np.int64]:
    """All tables one after the other, see ``table_offsets``."""
    distinct = {id(row.table): row.table for row in program.rows if row.table is not None}
    parts = [table.values for table in distinct.values()]
    return np.concatenate([*parts, np.zeros(1, np.int64)])


def _parameters(quants: list[Quant | None], host: np.dtype[Any], width: int) -> npt.NDArray[Any]:
    """Constants of one formula for every rounding and overflow, see ``_requantise``."""
    info = np.iinfo(host)
    found = np.zeros((len(quants), _PARAMETERS), host)
    found[:, _MASK], found[:, _LOW], found[:, _HIGH] = -1, info.min, info.max
    for line, quant in zip(found, quants, strict=True):
        if quant is None:
            continue
        shift = min(quant.shift, width - 1)
        if quant.shift < 0:
            line[_UP] = min(-quant.shift, width - 1)  # only zeros can be moved further
        elif quant.shift >= width - 1:  # less than half of the last place
            line[_DOWN] = width - 1
            if rounding_terms(quant.type.rounding, 1) != (0, 0, 0):
                line[_MASK] = 0
        elif shift:
            line[_ADD], line[_SIGN], line[_ODD] = rounding_terms(quant.type.rounding, shift)
            line[_DOWN] = shift
        _overflow(line, quant.type, width)
    return found


def _overflow(line: npt.NDArray[Any], to: Fixed, width: int) -> None:
    if to.overflow is not Overflow.WRAP:
        info = np.iinfo(line.dtype)
        line[_LOW], line[_HIGH] = max(to.low, info.min), min(to.high, info.max)
    elif to.signed:
        line[_WRAP] = max(0, width - to.width)
    elif to.width < width:
        line[_MASK] &= to.high


@inline
def _requantise(value: Any, at: Any, rules: Any, sign: Any, one: Any) -> Any:
    """``value`` by the constants at ``rules[at ...]``; see ``rounding_terms``."""
    value = shl(value, rules[at + _UP])
    moved = add(value, rules[at + _ADD])
    moved = add(moved, mul(shr(value, sign), rules[at + _SIGN]))
    odd = both(shr(value, rules[at + _DOWN]), one)
    moved = add(moved, mul(odd, rules[at + _ODD]))
    return _in_range(shr(moved, rules[at + _DOWN]), at, rules)


@inline
def _in_range(value: Any, at: Any, rules: Any) -> Any:
    value = shr(shl(value, rules[at + _WRAP]), rules[at + _WRAP])
    value = both(value, rules[at + _MASK])
    return smaller(larger(value, rules[at + _LOW]), rules[at + _HIGH])


@inline
def _add_products(rules: Any, row: int, out: Any, work: Any) -> None:
    """out = bias + sum of factor * source, four terms a pass."""
    bias = rules.bias[row]
    for i in range(_LANES):
        out[i] = bias
    k, last = rules.first[row], rules.last[row]
    while k + 4 <= last:
        w0, w1 = rules.factor[k], rules.factor[k + 1]
        w2, w3 = rules.factor[k + 2], rules.factor[k + 3]
        a, b = rules.source[k] * _LANES, rules.source[k + 1] * _LANES
        c, d = rules.source[k + 2] * _LANES, rules.source[k + 3] * _LANES
        for i in range(_LANES):
            left = add(mul(w0, work[a + i]), mul(w1, work[b + i]))
            right = add(mul(w2, work[c + i]), mul(w3, work[d + i]))
            out[i] = add(out[i], add(left, right))
        k += 4
    while k < last:
        w0, a = rules.factor[k], rules.source[k] * _LANES
        for i in range(_LANES):
            out[i] = add(out[i], mul(w0, work[a + i]))
        k += 1


@inline
def _add_narrow(rules: Any, row: int, out: Any, work: Any, sign: Any, one: Any) -> None:
    bias, inner = rules.bias[row], row * _PARAMETERS
    for i in range(_LANES):
        out[i] = bias
    for k in range(rules.first[row], rules.last[row]):
        w0, a = rules.factor[k], rules.source[k] * _LANES
        for i in range(_LANES):
            term = _requantise(mul(w0, work[a + i]), inner, rules.inner, sign, one)
            out[i] = _in_range(add(out[i], term), inner, rules.inner)


@inline
def _look_up(rules: Any, row: int, out: Any, work: Any) -> None:
    at = row * 5
    offset, length, shift = rules.table[at], rules.table[at + 1], rules.table[at + 2]
    zero, place = rules.table[at + 3], rules.table[at + 4]
    a = rules.source[rules.first[row]] * _LANES
    for i in range(_LANES):
        address = np.int64(work[a + i])
        if shift < 0:
            address = address << -shift
        elif zero and address < 0:
            address = -(-address >> shift)
        else:
            address = address >> shift
        address = min(max(address + place, np.int64(0)), length - 1)
        out[i] = rules.tables[offset + address]


@inline
def _row(rules: Any, row: int, out: Any, work: Any, sign: Any, one: Any) -> None:
    op, zero = rules.op[row], mul(one, shr(one, sign))
    if op == _SUM:
        _add_products(rules, row, out, work)
    elif op == _NARROW:
        _add_narrow(rules, row, out, work, sign, one)
    elif op == _TABLE:
        _look_up(rules, row, out, work)
    else:
        first = rules.first[row]
        a = rules.source[first] * _LANES
        for i in range(_LANES):
            out[i] = work[a + i]
        for k in range(first + 1, rules.last[row]):
            b = rules.source[k] * _LANES
            for i in range(_LANES):
                if op == _MAX:
                    out[i] = larger(out[i], work[b + i])
                else:
                    out[i] = mul(out[i], work[b + i])
    if rules.relu[row] != 0:
        for i in range(_LANES):
            out[i] = larger(out[i], zero)
    outer = row * _PARAMETERS
    for i in range(_LANES):
        out[i] = _requantise(out[i], outer, rules.outer, sign, one)


@njit
def blocks(x: Any, y: Any, work: Any, out: Any, rules: Any, sign: Any, one: Any) -> None:
    """All blocks; x (blocks, inputs, LANES), y (blocks, outputs, LANES).

    work: (rows, LANES), out: (LANES,), both of the carrier's type; sign: bits of that type less 1,
    one: 1, both of that type. The result of a row is made in ``out``, so that LLVM knows that it
    does not overlap its sources.
    """
    for block in range(x.shape[0]):
        data, result = x[block], y[block]
        inputs = data.shape[0]
        for n in range(inputs):
            for i in range(_LANES):
                work[n, i] = data[n, i]
        _rows(
            Rules(
                pointer(rules.op), pointer(rules.first), pointer(rules.last),
                pointer(rules.source), pointer(rules.factor), pointer(rules.bias),
                pointer(rules.relu), pointer(rules.inner), pointer(rules.outer),
                pointer(rules.table), pointer(rules.tables), pointer(rules.outputs),
            ),
            len(rules.op), inputs, pointer(out), pointer(work), sign, one,
        )  # fmt: skip
        for k in range(len(rules.outputs)):
            source = work[rules.outputs[k]]
            for i in range(_LANES):
                result[k, i] = source[i]


@inline
def _rows(rules: Any, count: int, inputs: int, out: Any, work: Any, sign: Any, one: Any) -> None:
    for row in range(count):
        _row(rules, row, out, work, sign, one)
        at = (inputs + row) * _LANES
        for i in range(_LANES):
            work[at + i] = out[i]
