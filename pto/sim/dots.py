"""Dot products in registers: a row of weights against a vector, in `DOT_LANES` sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import models, register_model

from pto.core.dtypes import BF16, F16, F32, S8, S16, S32, DType
from pto.isa.table.cube import DOT_LANES
from pto.sim import vec
from pto.sim.formats import widened
from pto.sim.vec import I32, INT, VOID, broadcast, call, canonical, declared, emits, lanes, load, pointer, store, tree

I8, I16 = ir.IntType(8), ir.IntType(16)
STORED = {F32: vec.F32, F16: I16, BF16: I16, S8: I8, S16: I16, S32: I32}
Change = Callable[[ir.IRBuilder, ir.Value], ir.Value]


def of(element: ir.Type, count: int = DOT_LANES) -> ir.VectorType:
    """The type of so many lanes."""
    return ir.VectorType(element, count)


TO_F32: dict[DType, Change] = {
    F32: lambda b, x: x,
    F16: lambda b, x: widened(b, F16, x),
    BF16: lambda b, x: widened(b, BF16, x),
    S8: lambda b, x: b.sitofp(b.sext(x, of(I32, x.type.count)), of(vec.F32, x.type.count)),
}
TO_S16: dict[DType, Change] = {S16: lambda b, x: x, S8: lambda b, x: b.sext(x, of(I16, x.type.count))}


def multiply_pairs(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """Sums of the products of neighbours, 16 bits to 32: one instruction where the host has it."""
    count = x.type.count
    wide, undefined = of(I32, count), ir.Constant(of(I32, count), ir.Undefined)
    product = b.mul(b.sext(x, wide), b.sext(y, wide))
    even, odd = (b.shuffle_vector(product, undefined, lanes(range(at, count, 2))) for at in (0, 1))
    return b.add(even, odd)


def load_first(b: ir.IRBuilder, address: ir.Value, kind: ir.VectorType, count: ir.Value) -> ir.Value:
    """The first lanes from memory, the others zero; memory of the others is not touched."""
    at, choice = pointer(b, address, kind), of(ir.IntType(1), kind.count)
    wanted = b.icmp_signed("<", lanes(range(kind.count)), broadcast(b, b.trunc(count, I32), of(I32, kind.count)))
    element = str(kind.element).replace("float", "f32")
    masked = ir.FunctionType(kind, [at.type, I32, choice, kind])
    function = declared(b.module, masked, f"llvm.masked.load.v{kind.count}{element}.p0")
    return b.call(function, [at, I32(1), wanted, ir.Constant(kind, None)])


class Registers(types.Type):  # type: ignore[misc]
    """The type of values of some LLVM type: a vector, or an array of them, which LLVM takes apart."""

    def __init__(self, made_of: ir.Type) -> None:
        self.made_of = made_of
        super().__init__(name=f"registers {made_of}")


@register_model(Registers)
class RegistersModel(models.PrimitiveModel):  # type: ignore[misc]
    """They are what they are made of."""

    def __init__(self, manager: Any, kind: Registers) -> None:
        super().__init__(manager, kind, kind.made_of)


class Dot:
    """The operations of a dot product of a vector with weights: of f32, or of s16 with sums in s32.

    Attributes:
        factor: element type of the vector as it is kept for the product; its elements are widened to it.
        widen: copy `DOT_LANES` elements of the vector, widened.
        step: add the products of `DOT_LANES` elements; integers in half as many sums of neighbours.
        last: the same of the first so many elements alone; no others are read of the weights.
        merge: the sums of two chains of steps as one.
        settle: write the sum of all lanes, by the tree that halves them, added to what is there if need be.
    """

    def __init__(self, vector: DType, weights: DType) -> None:
        integer = vector in TO_S16
        self.vector, self.weights, self.factor = vector, weights, S16 if integer else F32
        self._change = (TO_S16 if integer else TO_F32)
        made_of = of(I32, DOT_LANES // 2) if integer else of(vec.F32)
        kind = Registers(made_of)
        self.zero = emits(kind)(lambda b: ir.Constant(made_of, None))
        self.widen = emits(VOID, INT, INT)(self._widen)
        self.merge = emits(kind, kind, kind)(lambda b, x, y: b.add(x, y) if integer else b.fadd(x, y))
        self.step = emits(kind, kind, INT, INT)(self._step)
        self.last = emits(kind, kind, INT, INT, INT)(self._last)
        self.settle = emits(VOID, INT, kind, INT)(self._settle)

    def _widened(self, b: ir.IRBuilder, at: ir.Value, dtype: DType) -> ir.Value:
        return self._change[dtype](b, load(b, at, of(STORED[dtype])))

    def _widen(self, b: ir.IRBuilder, to: ir.Value, at: ir.Value) -> None:
        store(b, to, self._widened(b, at, self.vector))

    def _add(self, b: ir.IRBuilder, sums: ir.Value, x: ir.Value, weights: ir.Value) -> ir.Value:
        """The sums with the products of the vector at an address and stored weights."""
        w = self._change[self.weights](b, weights)
        if self.factor is F32:
            return call(b, "fma", load(b, x, of(vec.F32)), w, sums)
        return b.add(sums, multiply_pairs(b, load(b, x, of(I16)), w))

    def _step(self, b: ir.IRBuilder, sums: ir.Value, x: ir.Value, w: ir.Value) -> ir.Value:
        return self._add(b, sums, x, load(b, w, of(STORED[self.weights])))

    def _last(self, b: ir.IRBuilder, sums: ir.Value, x: ir.Value, w: ir.Value, count: ir.Value) -> ir.Value:
        return self._add(b, sums, x, load_first(b, w, of(STORED[self.weights]), count))

    def _settle(self, b: ir.IRBuilder, to: ir.Value, sums: ir.Value, add: ir.Value) -> None:
        floating, element = self.factor is F32, sums.type.element
        total = tree(b, sums, b.fadd if floating else b.add)
        before = load(b, to, element)
        more = b.fadd(before, total) if floating else b.add(before, total)
        total = b.select(b.icmp_signed("!=", add, ir.Constant(add.type, 0)), more, total)
        store(b, to, canonical(b, total) if floating else total)


