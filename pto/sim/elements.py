"""Single elements of every type, as functions that Numba can compile."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from llvmlite import ir

from pto.core.dtypes import F32, PRED, DType
from pto.sim.formats import widened
from pto.sim.vec import F32 as FLOAT32
from pto.sim.vec import (
    F32X8,
    F64,
    I32,
    I32X8,
    I64,
    I64X8,
    INT,
    LANES,
    VOID,
    VectorType,
    broadcast,
    canonical,
    declared,
    emits,
    emits_int,
    load,
    store,
    tree,
)

TRUTHS = 128  # predicates that are looked at together
INTEGER_BYTES = 32  # of a register of integers
INTEGERS_MANY = 32  # that are looked at together
CANONICAL_F64 = 0x7FF8_0000_0000_0000


@cache
def reader(dtype: DType) -> Any:
    """Reads an element as a register holds it: an integer, or the bits of a float64 with the one NaN."""
    kind = ir.IntType(dtype.bits)

    def read(b: ir.IRBuilder, at: ir.Value) -> ir.Value:
        bits = load(b, at, kind)
        if dtype is PRED:
            return b.zext(b.icmp_unsigned("!=", bits, kind(0)), I64)
        if dtype.kind != "f":
            return b.zext(bits, I64) if dtype.kind == "u" else b.sext(bits, I64)
        wide = b.fpext(b.bitcast(bits, FLOAT32) if dtype is F32 else widened(b, dtype, bits), F64)
        return b.select(b.fcmp_unordered("uno", wide, wide), I64(CANONICAL_F64), b.bitcast(wide, I64))
    return emits_int(INT)(read)


def truths_with(wanted: int) -> Any:
    """Whether of `TRUTHS` predicates one at least is false (0), or true (1); gives 0 where none is."""
    kind = ir.VectorType(ir.IntType(8), TRUTHS // 4)
    none = ir.Constant(kind, None)

    def find(b: ir.IRBuilder, at: ir.Value) -> ir.Value:
        first, second, third, fourth = (load(b, b.add(at, I64(TRUTHS // 4 * i)), kind) for i in range(4))
        if wanted:
            holds = b.icmp_unsigned("!=", b.or_(b.or_(first, second), b.or_(third, fourth)), none)
        else:
            least = [b.select(b.icmp_unsigned("<", x, y), x, y) for x, y in ((first, second), (third, fourth))]
            holds = b.icmp_unsigned("==", b.select(b.icmp_unsigned("<", *least), *least), none)
        return b.zext(b.bitcast(holds, ir.IntType(TRUTHS // 4)), I64)
    return emits_int(INT)(find)


def put_integer(dtype: DType) -> Any:
    """Writes an int64 as f32, rounded, or as another type, wrapped."""
    def put(b: ir.IRBuilder, to: ir.Value, value: ir.Value) -> None:
        store(b, to, b.sitofp(value, FLOAT32) if dtype is F32 else b.trunc(value, ir.IntType(dtype.bits)))
    return emits(VOID, INT, INT)(put)


def put_sequence(dtype: DType) -> Any:
    """Writes eight numbers, the first and a step being given, as `put_integer` does."""
    def put(b: ir.IRBuilder, to: ir.Value, start: ir.Value, step: ir.Value) -> None:
        numbers = b.mul(broadcast(b, step, I64X8), ir.Constant(I64X8, list(range(LANES))))
        numbers = b.add(numbers, broadcast(b, start, I64X8))
        store(b, to, b.sitofp(numbers, F32X8) if dtype is F32 else b.trunc(numbers, I32X8))
    return emits(VOID, INT, INT, INT)(put)


@emits_int(INT)
def truths_of(b: ir.IRBuilder, at: ir.Value) -> ir.Value:
    """How many of `TRUTHS` predicates are true."""
    kind, mask = ir.VectorType(ir.IntType(8), TRUTHS // 2), ir.IntType(TRUTHS // 2)
    count = declared(b.module, ir.FunctionType(mask, [mask]), f"llvm.ctpop.i{mask.width}")
    halves = (load(b, b.add(at, I64(TRUTHS // 2 * i)), kind) for i in range(2))
    first, second = (b.call(count, [b.bitcast(b.icmp_unsigned("!=", x, ir.Constant(kind, None)), mask)])
                     for x in halves)
    return b.add(first, second)


def of_integers(operation: Callable[..., ir.Value], dtype: DType) -> tuple[Any, Any, Any]:
    """Vectors of an integer type: a load, an operation of `pto.sim.operations` on two, and on all the lanes of one."""
    vector = ir.VectorType(ir.IntType(dtype.bits), INTEGER_BYTES // dtype.size)
    kind = VectorType(f"{dtype.name} lanes", vector)

    def both(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
        return operation(b, None, x, y)

    def all_lanes(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
        found = tree(b, x, lambda low, high: operation(b, None, low, high))
        return b.zext(found, I64) if dtype.kind == "u" else b.sext(found, I64)
    read = emits(kind, INT)(lambda b, at: load(b, at, vector))
    return read, emits(kind, kind, kind)(both), emits_int(kind)(all_lanes)


@emits_int(INT, INT)
def integers_before(b: ir.IRBuilder, at: ir.Value, number: ir.Value) -> ir.Value:
    """How many of `INTEGERS_MANY` s32 from an address on come before the first that is equal to a number."""
    kind, mask = ir.VectorType(I32, INTEGERS_MANY), ir.IntType(INTEGERS_MANY)
    equal = b.bitcast(b.icmp_signed("==", load(b, at, kind), broadcast(b, b.trunc(number, I32), kind)), mask)
    return b.cttz(b.or_(b.zext(equal, I64), I64(1 << INTEGERS_MANY)), ir.IntType(1)(1))


def add_element(dtype: DType) -> Any:
    """Adds an element of f32 or s32 to another in its place."""
    kind = FLOAT32 if dtype is F32 else I32

    def add(b: ir.IRBuilder, to: ir.Value, at: ir.Value) -> None:
        values = load(b, to, kind), load(b, at, kind)
        store(b, to, canonical(b, b.fadd(*values)) if dtype is F32 else b.add(*values))
    return emits(VOID, INT, INT)(add)
