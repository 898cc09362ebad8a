"""Floating elements of every type as f32, eight or one at a time; and keys that order elements."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from pto.core.dtypes import DType
from pto.sim.formats import narrowed, storage, widened
from pto.sim.lanes import FLOAT_LANES, load_some
from pto.sim.vec import (
    F32,
    FLOAT,
    I32,
    I64,
    INT,
    VECTOR,
    VOID,
    broadcast,
    canonical,
    emits,
    emits_int,
    first_lanes,
    load,
    store,
)

MANY = 32
LOWEST_KEY = -(2**63)


class Loads:
    """Loads of elements as f32, all negated if need be.

    Attributes:
        whole: eight elements from an address on.
        some: the first ones, the others being some f32.
        one: a single element.
        before: how many of `MANY` elements from an address on come before the first that is equal to a number.
    """

    def __init__(self, dtype: DType, *, negate: bool = False) -> None:
        self.dtype, self._negate = dtype, negate
        self._lanes = ir.VectorType(storage(dtype), FLOAT_LANES)
        self.whole = emits(VECTOR, INT)(self._whole)
        self.some = emits(VECTOR, INT, INT, FLOAT)(self._some)
        self.one = emits(FLOAT, INT)(self._one)
        self.before = emits_int(INT, FLOAT)(self._before)

    def _wide(self, b: ir.IRBuilder, x: ir.Value) -> ir.Value:
        wide = widened(b, self.dtype, x)
        return b.fneg(wide) if self._negate else wide

    def _whole(self, b: ir.IRBuilder, at: ir.Value) -> ir.Value:
        return self._wide(b, load(b, at, self._lanes))

    def _some(self, b: ir.IRBuilder, at: ir.Value, count: ir.Value, rest: ir.Value) -> ir.Value:
        capped = b.select(b.icmp_signed("<", count, I64(FLOAT_LANES)), count, I64(FLOAT_LANES))
        wide = self._wide(b, load_some(b, at, capped, self._lanes))
        return b.select(first_lanes(b, capped, FLOAT_LANES), wide, broadcast(b, rest))

    def _one(self, b: ir.IRBuilder, at: ir.Value) -> ir.Value:
        return self._wide(b, load(b, at, storage(self.dtype)))

    def _before(self, b: ir.IRBuilder, at: ir.Value, number: ir.Value) -> ir.Value:
        wide = self._wide(b, load(b, at, ir.VectorType(storage(self.dtype), MANY)))
        equal = b.bitcast(b.fcmp_ordered("==", wide, broadcast(b, number, wide.type)), ir.IntType(MANY))
        return b.cttz(b.or_(b.zext(equal, I64), I64(1 << MANY)), ir.IntType(1)(1))


def put_float(dtype: DType, *, negate: bool = False) -> Any:
    """Writes an f32 as an element; NaN as the canonical one."""
    def put(b: ir.IRBuilder, to: ir.Value, value: ir.Value) -> None:
        value = b.fneg(value) if negate else value
        store(b, to, narrowed(b, dtype, canonical(b, value)))
    return emits(VOID, INT, FLOAT)(put)


def put_lowest(dtype: DType) -> Any:
    """Writes the lowest value of a type."""
    def put(b: ir.IRBuilder, to: ir.Value) -> None:
        lowest = narrowed(b, dtype, F32(float("-inf"))) if dtype.kind == "f" else I32(-(2**31))
        store(b, to, lowest)
    return emits(VOID, INT)(put)


def key_of(dtype: DType) -> Any:
    """An integer for an element, in the order of the elements; NaN comes before all, zeros are alike."""
    def key(b: ir.IRBuilder, at: ir.Value) -> ir.Value:
        x = load(b, at, storage(dtype))
        if dtype.kind != "f":
            return b.sext(x, I64)
        x = widened(b, dtype, x)
        bits = b.bitcast(x, I32)
        size = b.zext(b.and_(bits, I32(0x7FFFFFFF)), I64)
        ordered = b.select(b.icmp_signed("<", bits, I32(0)), b.sub(I64(0), size), size)
        return b.select(b.fcmp_unordered("uno", x, x), I64(LOWEST_KEY), ordered)
    return emits_int(INT)(key)

