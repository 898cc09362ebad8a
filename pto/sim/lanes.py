"""One step of a pass over rows: load some lanes of each source, compute, store; and the step that ends a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from pto.core.dtypes import DType
from pto.sim import vec
from pto.sim.formats import constant, narrowed, storage, widened
from pto.sim.vec import F64, I32, I64, INT, VOID, canonical, emits, load, pointer, store

Emit = Callable[..., ir.Value]
VECTOR_BYTES, FLOAT_LANES, SOURCES = 32, 8, 3
MASKED_BITS = 32  # of the elements of which the host loads and stores some lanes by itself
I1, I8 = ir.IntType(1), ir.IntType(8)
ROUNDER = 1.5 * 2.0**52


class Kind(Enum):
    """What a source of a step is given by."""

    LANES = auto()  # the address of its elements
    BITS = auto()  # the bits of one element, used for all
    NUMBER = auto()  # the bits of a float64, which is converted and used for all


@dataclass(frozen=True, slots=True)
class Source:
    """A source of a step; one that is `raw` is not widened to what is computed with."""

    dtype: DType
    kind: Kind = Kind.LANES
    raw: bool = False


def lanes_of(*dtypes: DType) -> int:
    """How many elements a step takes: what fills a register, or eight where floating elements are computed with."""
    if any(dtype.kind == "f" for dtype in dtypes):
        return FLOAT_LANES
    return VECTOR_BYTES // max(dtype.size for dtype in dtypes)


class Pass:
    """The steps of a pass: `step(to, a, b, c, how)`, and `last(to, a, b, c, how, count)` for what is left of a row.

    A pass has up to three sources; the words of others are not used.

    Args:
        result: the type that is stored.
        sources: what is computed with.
        emit: IR of the operation, from a builder, the word `how`, and a value for each source.
        lanes: elements of a step.
        raw: the operation gives what is stored, and its NaNs stay.
    """

    def __init__(self, result: DType, sources: tuple[Source, ...], emit: Emit, lanes: int = 0, *,
                 raw: bool = False) -> None:
        self.result, self.sources, self.emit, self.raw = result, sources, emit, raw
        self.lanes = lanes or lanes_of(result, *(source.dtype for source in sources))
        words = [INT] * (SOURCES + 2)
        self.step = emits(VOID, *words)(self._step)
        self.last = emits(VOID, *words, INT)(self._last)

    def _step(self, b: ir.IRBuilder, to: ir.Value, *words: ir.Value) -> None:
        store(b, to, self._computed(b, words[:-1], words[-1], None))

    def _last(self, b: ir.IRBuilder, to: ir.Value, *words: ir.Value) -> None:
        *sources, how, count = words
        store_some(b, to, count, self._computed(b, sources, how, count))

    def _computed(self, b: ir.IRBuilder, words: Any, how: ir.Value, count: ir.Value | None) -> ir.Value:
        values = [self._value(b, source, word, count) for source, word in zip(self.sources, words, strict=False)]
        made = self.emit(b, how, *values)
        if self.raw:
            return made
        return narrowed(b, self.result, canonical(b, made) if self.result.kind == "f" else made)

    def _value(self, b: ir.IRBuilder, source: Source, word: ir.Value, count: ir.Value | None) -> ir.Value:
        kind = ir.VectorType(storage(source.dtype), self.lanes)
        if source.kind is Kind.LANES:
            stored = load(b, word, kind) if count is None else load_some(b, word, count, kind)
        elif source.kind is Kind.BITS:
            bits = b.trunc(word, ir.IntType(source.dtype.bits))
            stored = vec.broadcast(b, b.bitcast(bits, kind.element), kind)
        else:
            stored = vec.broadcast(b, from_number(b, source.dtype, word), kind)
        return stored if source.raw else widened(b, source.dtype, stored)


def from_number(b: ir.IRBuilder, dtype: DType, bits: ir.Value) -> ir.Value:
    """A float64 in an element type, as it is stored; by way of f32, or the nearest integer that there is."""
    number = b.bitcast(bits, F64)
    if dtype.kind == "f":
        return narrowed(b, dtype, canonical(b, b.fptrunc(number, vec.F32)))
    low, high = limits(dtype)
    number = b.select(b.fcmp_unordered("uno", number, number), F64(0.0), number)
    number = b.select(b.fcmp_ordered("<", number, F64(low)), F64(low), number)
    number = b.select(b.fcmp_ordered(">", number, F64(high)), F64(high), number)
    number = b.fsub(b.fadd(number, F64(ROUNDER)), F64(ROUNDER))
    whole = b.fptosi(number, I32)
    return whole if dtype.bits == MASKED_BITS else b.trunc(whole, ir.IntType(dtype.bits))


def limits(dtype: DType) -> tuple[int, int]:
    """The least and the largest integer of a type."""
    if dtype.kind == "i":
        return -(1 << dtype.bits - 1), (1 << dtype.bits - 1) - 1
    return 0, 1 if dtype.kind == "p" else (1 << dtype.bits) - 1


def is_masked(kind: ir.VectorType) -> bool:
    """Whether the host loads and stores some lanes of such a vector by itself."""
    return bool(kind.element == vec.F32 or kind.element.width == MASKED_BITS)


def load_some(b: ir.IRBuilder, address: ir.Value, count: ir.Value, kind: ir.VectorType) -> ir.Value:
    """The first lanes from memory, whatever in the others; memory of the others is not touched."""
    if is_masked(kind):
        return vec.load_first(b, address, count, constant(kind, 0))
    room = cgutils.alloca_once(b, kind)
    copy(b, room, pointer(b, address, kind), count, kind)
    return b.load(room)


def store_some(b: ir.IRBuilder, address: ir.Value, count: ir.Value, value: ir.Value) -> None:
    """Store the first lanes; memory of the others is not touched."""
    kind = value.type
    if is_masked(kind):
        vec.store_first(b, address, count, value)
        return
    room = cgutils.alloca_once(b, kind)
    b.store(value, room)
    copy(b, pointer(b, address, kind), room, count, kind)


def copy(b: ir.IRBuilder, to: ir.Value, at: ir.Value, count: ir.Value, kind: ir.VectorType) -> None:
    """Copy the first elements of a vector from one place to another."""
    byte = I8.as_pointer()
    signature = ir.FunctionType(ir.VoidType(), [byte, byte, I64, I1])
    function = vec.declared(b.module, signature, "llvm.memcpy.p0.p0.i64")
    nbytes = b.mul(count, I64(kind.element.width // 8))
    b.call(function, [b.bitcast(to, byte), b.bitcast(at, byte), nbytes, I1(0)])

