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
    INTEGERS,
    LANES,
    VOID,
    broadcast,
    canonical,
    emits,
    emits_int,
    load,
    store,
    tree,
)

TRUTHS = 128  # predicates that are looked at together
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


@emits(INTEGERS, INT)
def load_integers(b: ir.IRBuilder, at: ir.Value) -> ir.Value:
    """Eight s32."""
    return load(b, at, I32X8)


def of_integers(operation: Callable[..., ir.Value]) -> tuple[Any, Any]:
    """An operation of `pto.sim.operations` on two vectors of s32, and on all the lanes of one."""
    def both(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
        return operation(b, None, x, y)

    def all_lanes(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
        return b.sext(tree(b, x, lambda low, high: operation(b, None, low, high)), I64)
    return emits(INTEGERS, INTEGERS, INTEGERS)(both), emits_int(INTEGERS)(all_lanes)


def add_element(dtype: DType) -> Any:
    """Adds an element of f32 or s32 to another in its place."""
    kind = FLOAT32 if dtype is F32 else I32

    def add(b: ir.IRBuilder, to: ir.Value, at: ir.Value) -> None:
        values = load(b, to, kind), load(b, at, kind)
        store(b, to, canonical(b, b.fadd(*values)) if dtype is F32 else b.add(*values))
    return emits(VOID, INT, INT)(add)
