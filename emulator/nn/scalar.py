"""Arithmetic of a fixed width inside kernels: modulo 2**width, never widened.

numba computes int32 * int32 in int64, which LLVM cannot always undo and which makes vectors half as
long; ranges proved beforehand make the plain operation exact. Both operands have the same type.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types

from scout40.streams.jit import intrinsic

Build = Callable[[Any, Any, Any], Any]


def _integers(typing_a: Any, typing_b: Any, build: Build) -> Any:
    """Signature and code of an operation on two equal integers."""
    if typing_a != typing_b or not isinstance(typing_a, types.Integer):
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return build(builder, *args)

    return typing_a(typing_a, typing_a), codegen


def _called(name: str) -> Build:
    """An LLVM intrinsic of two operands."""

    def build(builder: Any, a: Any, b: Any) -> Any:
        full = f"llvm.{name}.{a.type}"
        function = builder.module.globals.get(full)
        if function is None:
            kind = ir.FunctionType(a.type, [a.type, a.type])
            function = ir.Function(builder.module, kind, full)
        return builder.call(function, [a, b])

    return build


@intrinsic
def add(typingctx: Any, a: Any, b: Any) -> Any:
    """a + b"""
    return _integers(a, b, lambda builder, x, y: builder.add(x, y))


@intrinsic
def mul(typingctx: Any, a: Any, b: Any) -> Any:
    """a * b"""
    return _integers(a, b, lambda builder, x, y: builder.mul(x, y))


@intrinsic
def shl(typingctx: Any, a: Any, b: Any) -> Any:
    """a << b, b below the width"""
    return _integers(a, b, lambda builder, x, y: builder.shl(x, y))


@intrinsic
def shr(typingctx: Any, a: Any, b: Any) -> Any:
    """a >> b, filled with the sign; b below the width"""
    return _integers(a, b, lambda builder, x, y: builder.ashr(x, y))


@intrinsic
def top(typingctx: Any, a: Any, b: Any) -> Any:
    """a >> b, filled with zeros; b below the width"""
    return _integers(a, b, lambda builder, x, y: builder.lshr(x, y))


@intrinsic
def both(typingctx: Any, a: Any, b: Any) -> Any:
    """a & b"""
    return _integers(a, b, lambda builder, x, y: builder.and_(x, y))


@intrinsic
def larger(typingctx: Any, a: Any, b: Any) -> Any:
    """The larger one"""
    return _integers(a, b, _called("smax"))


@intrinsic
def smaller(typingctx: Any, a: Any, b: Any) -> Any:
    """The smaller one"""
    return _integers(a, b, _called("smin"))


@intrinsic
def add_sat(typingctx: Any, a: Any, b: Any) -> Any:
    """a + b, saturating at the ends of the type"""
    return _integers(a, b, _called("sadd.sat"))


@intrinsic
def sub_sat(typingctx: Any, a: Any, b: Any) -> Any:
    """a - b, saturating at the ends of the type"""
    return _integers(a, b, _called("ssub.sat"))


@intrinsic
def mulh(typingctx: Any, a: Any, b: Any) -> Any:
    """int16: (a * b) >> 16"""

    def build(builder: Any, x: Any, y: Any) -> Any:
        wide = ir.IntType(32)
        product = builder.mul(builder.sext(x, wide), builder.sext(y, wide))
        return builder.trunc(builder.ashr(product, ir.Constant(wide, 16)), ir.IntType(16))

    return _integers(a, b, build) if a == types.int16 else None


@intrinsic
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """float32: a * b + c"""
    if not a == b == c == types.float32:
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fma(*args)

    return types.float32(types.float32, types.float32, types.float32), codegen


def _rounded(a: Any, name: str) -> Any:
    if a != types.float32:
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        (x,) = args
        full = f"llvm.{name}.f32"
        function = builder.module.globals.get(full)
        if function is None:
            function = ir.Function(builder.module, ir.FunctionType(x.type, [x.type]), full)
        return builder.call(function, [x])

    return types.float32(types.float32), codegen


@intrinsic
def down(typingctx: Any, a: Any) -> Any:
    """float32: the whole number at or below"""
    return _rounded(a, "floor")


@intrinsic
def even(typingctx: Any, a: Any) -> Any:
    """float32: the nearest whole number, ties to the even one"""
    return _rounded(a, "roundeven")


@intrinsic
def cut(typingctx: Any, a: Any) -> Any:
    """float32: the whole number toward zero"""
    return _rounded(a, "trunc")
