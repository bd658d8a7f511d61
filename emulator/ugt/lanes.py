"""Masks of 512 bits that stay in vector registers: a small numba type of eight 64-bit words.

As tuples of integers the same code ran in scalar registers and spilled most of them; as arrays
it went through memory. All functions here are for use inside kernels.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import models, register_model

from scout40.streams.jit import intrinsic

WIDTH = 8
"""Words of a mask."""

_VECTOR = ir.VectorType(ir.IntType(64), WIDTH)
_ALIGNED_TO = 8  # rows begin at any word
_FOUR_LANES = ir.VectorType(ir.IntType(32), 4)
_WIDE = ir.IntType(256)
_FACTORS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93)
"""Odd numbers of many bits."""


class _Mask(types.Type):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__(name="Mask512")


MASK = _Mask()


@register_model(_Mask)
class _MaskModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)


def _place(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Pointer to eight words from index args[1] of pointer args[0]."""
    index = context.cast(builder, args[1], signature.args[1], types.intp)
    first = builder.gep(args[0], [index])
    return builder.bitcast(first, _VECTOR.as_pointer())


@intrinsic
def load(typingctx: Any, table: Any, at: Any) -> Any:
    """Eight words of a uint64 pointer from index ``at``."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_place(context, builder, signature, args), align=_ALIGNED_TO)

    return MASK(table, at), codegen


@intrinsic
def store(typingctx: Any, table: Any, at: Any, mask: Any) -> Any:
    """Write eight words to a uint64 pointer from index ``at``."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _place(context, builder, signature, args)
        builder.store(args[2], place, align=_ALIGNED_TO)
        return context.get_dummy_value()

    return types.void(table, at, mask), codegen


@intrinsic
def both(typingctx: Any, x: Any, y: Any) -> Any:
    """x AND y."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.and_(args[0], args[1])

    return MASK(x, y), codegen


@intrinsic
def either(typingctx: Any, x: Any, y: Any) -> Any:
    """x OR y."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.or_(args[0], args[1])

    return MASK(x, y), codegen


@intrinsic
def invert(typingctx: Any, x: Any) -> Any:
    """NOT x."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.not_(args[0])

    return MASK(x), codegen


@intrinsic
def nothing(typingctx: Any) -> Any:
    """The empty mask."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return cgutils.get_null_value(_VECTOR)

    return MASK(), codegen


@intrinsic
def differ(typingctx: Any, x: Any, y: Any) -> Any:
    """x XOR y."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.xor(args[0], args[1])

    return MASK(x, y), codegen


def _all_lanes(builder: Any, word: Any) -> Any:
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), word, ir.IntType(32)(0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
    return builder.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), zeros)


@intrinsic
def every(typingctx: Any, word: Any) -> Any:
    """The same uint64 in all eight words."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _all_lanes(builder, args[0])

    return MASK(word), codegen


@intrinsic
def left(typingctx: Any, x: Any, shift: Any) -> Any:
    """Every word << shift (uint64, below 64)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.shl(args[0], _all_lanes(builder, args[1]))

    return MASK(x, shift), codegen


@intrinsic
def right(typingctx: Any, x: Any, shift: Any) -> Any:
    """Every word >> shift (uint64, below 64)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.lshr(args[0], _all_lanes(builder, args[1]))

    return MASK(x, shift), codegen


def _half(builder: Any, mask: Any, first: int) -> Any:
    """Four words of a mask: one vector register."""
    lanes = ir.Constant(_FOUR_LANES, list(range(first, first + 4)))
    return builder.shuffle_vector(mask, ir.Constant(_VECTOR, ir.Undefined), lanes)


@intrinsic
def alike(typingctx: Any, x: Any, y: Any) -> Any:
    """Whether all words of two masks are equal."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        unequal = builder.xor(args[0], args[1])
        halves = builder.or_(_half(builder, unequal, 0), _half(builder, unequal, 4))
        return builder.icmp_unsigned("==", builder.bitcast(halves, _WIDE), _WIDE(0))

    return types.boolean(x, y), codegen


@intrinsic
def digest(typingctx: Any, x: Any) -> Any:
    """A uint64 of 24 bits that depends on every bit of the mask."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        upper = _half(builder, args[0], 4)
        five = ir.Constant(upper.type, [5] * 4)
        upper = builder.add(upper, builder.shl(upper, five))
        four = builder.xor(_half(builder, args[0], 0), upper)
        total = ir.IntType(64)(0)
        for lane, factor in enumerate(_FACTORS):
            word = builder.extract_element(four, ir.IntType(32)(lane))
            total = builder.add(total, builder.mul(word, ir.IntType(64)(factor)))
        return builder.lshr(total, ir.IntType(64)(40))

    return types.uint64(x), codegen
