"""Products of a vector with rows of weights, in registers: dot products in `DOT_LANES` sums, and sums of multiples."""

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
from pto.sim.loader import host
from pto.sim.vec import (
    I32,
    I64,
    INT,
    VOID,
    broadcast,
    call,
    canonical,
    declared,
    emits,
    lanes,
    load,
    pointer,
    store,
    store_first,
)

I8, I16 = ir.IntType(8), ir.IntType(16)
STORED = {F32: vec.F32, F16: I16, BF16: I16, S8: I8, S16: I16, S32: I32}
ZMM_PAIRS = 32  # numbers of 16 bits in the widest register
LINE = 64  # bytes of it
HELD = 8  # registers that hold the first of the vector for all rows
Change = Callable[[ir.IRBuilder, ir.Value], ir.Value]


def of(element: ir.Type, count: int = DOT_LANES) -> ir.VectorType:
    """The type of so many lanes."""
    return ir.VectorType(element, count)


OFFSET = ir.Constant(of(I8, LINE), [-128] * LINE)  # 128, where bytes have no sign
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


def add_pairs(b: ir.IRBuilder, sums: ir.Value, x: ir.Value, y: ir.Value) -> ir.Value:
    """Sums with the products of neighbours, 16 bits to 32.

    Where multiplying and adding is one instruction, LLVM would make one chain of several; it leaves calls alone.
    """
    if not (host().adds_products and x.type.count == ZMM_PAIRS):
        return b.add(sums, multiply_pairs(b, x, y))
    return fused(b, "vpdpwssd", sums, x, y)


def add_fours(b: ir.IRBuilder, sums: ir.Value, x: ir.Value, y: ir.Value) -> ir.Value:
    """Sums with the products of four neighbours, bytes without sign times bytes with one, where the host adds them."""
    return fused(b, "vpdpbusd", sums, x, y)


def fused(b: ir.IRBuilder, name: str, sums: ir.Value, x: ir.Value, y: ir.Value) -> ir.Value:
    """An instruction that adds up products in 16 lanes."""
    kind = sums.type
    function = declared(b.module, ir.FunctionType(kind, [kind] * 3), f"llvm.x86.avx512.{name}.512")
    return b.call(function, [sums, b.bitcast(x, kind), b.bitcast(y, kind)])


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
        lanes: how many elements a step takes.
        head: bytes before the vector as it is kept that hold the sums a row begins with; where 0, it begins with zeros.
        widen: copy so many elements of the vector, widened; gives some sums with what the head is made of.
        keep: write the head before an address, from the sums of all that was widened.
        begin: the sums that a row begins with, for the vector at an address.
        step: add the products of so many elements; integers in sums of neighbours.
        last: the same of the first so many elements alone; no others are read of the weights.
        merge: the sums of two chains of steps as one.
        settle: write the sum of all lanes, by the tree that halves them, added to what is there if need be.
        settle_four: the same of the sums of four products.
    """

    lanes, head = DOT_LANES, 0

    def __init__(self, vector: DType, weights: DType) -> None:
        self.integer = vector in TO_S16
        self.vector, self.weights, self.factor = vector, weights, S16 if self.integer else F32
        self._change = (TO_S16 if self.integer else TO_F32)
        self.made_of = made_of = of(I32, DOT_LANES // 2) if self.integer else of(vec.F32)
        kind = Registers(made_of)
        self.zero = emits(kind)(lambda b: ir.Constant(made_of, None))
        self.widen = emits(kind, kind, INT, INT)(self._widen)
        self.keep = emits(VOID, INT, kind)(self._keep)
        self.begin = emits(kind, INT)(self.start)
        self.merge = emits(kind, kind, kind)(lambda b, x, y: b.add(x, y) if self.integer else b.fadd(x, y))
        self.step = emits(kind, kind, INT, INT)(self._step)
        self.last = emits(kind, kind, INT, INT, INT)(self._last)
        self.settle = emits(VOID, INT, INT, kind)(self.put)
        self.settle_four = emits(VOID, INT, INT, *[kind] * 4)(self.put)

    def _widened(self, b: ir.IRBuilder, at: ir.Value, dtype: DType) -> ir.Value:
        return self._change[dtype](b, load(b, at, of(STORED[dtype])))

    def _widen(self, b: ir.IRBuilder, sums: ir.Value, to: ir.Value, at: ir.Value) -> ir.Value:
        store(b, to, self._widened(b, at, self.vector))
        return sums

    def _keep(self, b: ir.IRBuilder, to: ir.Value, sums: ir.Value) -> None:
        """There is no head."""

    def start(self, b: ir.IRBuilder, x: ir.Value) -> ir.Value:
        """The sums that a row begins with."""
        return ir.Constant(self.made_of, None)

    def stored(self, b: ir.IRBuilder, w: ir.Value, count: ir.Value | None = None) -> ir.Value:
        """Weights from memory, or the first so many of them, widened."""
        kind = of(STORED[self.weights])
        return self._change[self.weights](b, load(b, w, kind) if count is None else load_first(b, w, kind, count))

    def add(self, b: ir.IRBuilder, sums: ir.Value, x: ir.Value, weights: ir.Value) -> ir.Value:
        """The sums with the products of the vector at an address and weights."""
        if self.integer:
            return add_pairs(b, sums, load(b, x, of(I16)), weights)
        return call(b, "fma", load(b, x, of(vec.F32)), weights, sums)

    def _step(self, b: ir.IRBuilder, sums: ir.Value, x: ir.Value, w: ir.Value) -> ir.Value:
        return self.add(b, sums, x, self.stored(b, w))

    def _last(self, b: ir.IRBuilder, sums: ir.Value, x: ir.Value, w: ir.Value, count: ir.Value) -> ir.Value:
        return self.add(b, sums, x, self.stored(b, w, count))

    def put(self, b: ir.IRBuilder, to: ir.Value, add: ir.Value, *rows: ir.Value) -> None:
        """Write the sums of all lanes of some products beside each other, added to what is there if need be."""
        combine = b.add if self.integer else b.fadd
        total = trees(b, list(rows), combine)
        more = combine(load(b, to, total.type), total)
        total = b.select(b.icmp_signed("!=", add, ir.Constant(add.type, 0)), more, total)
        store(b, to, total if self.integer else canonical(b, total))


class Fours(Dot):
    """The same of s8 and s8 where the host adds up the products of four bytes without sign and four with one.

    Weights plus 128 have no sign; the sums begin with what that makes too much, 128 times the vector, taken off.
    The first of the vector stay in registers for all rows: each line of memory then takes two instructions.

    Attributes:
        hold: the sums that rows begin with, and `HELD` steps of the vector, which a shorter one does not use.
        first: the sums of a row after these steps.
        none: the sums of a row before any.
    """

    lanes, head = LINE, LINE

    def __init__(self) -> None:
        super().__init__(S8, S8)
        self.factor, self._held = S8, ir.ArrayType(self.made_of, 1 + HELD)
        kind, held = Registers(self.made_of), Registers(self._held)
        self.hold = emits(held, INT)(self._hold)
        self.first = emits(kind, held, INT)(self._first)
        self.none = emits(kind, held)(lambda b, held: b.extract_value(held, 0))

    def _widen(self, b: ir.IRBuilder, sums: ir.Value, to: ir.Value, at: ir.Value) -> ir.Value:
        x = load(b, at, self.made_of)
        store(b, to, x)
        return add_fours(b, sums, OFFSET, x)

    def _keep(self, b: ir.IRBuilder, to: ir.Value, sums: ir.Value) -> None:
        store(b, b.sub(to, I64(self.head)), b.sub(ir.Constant(self.made_of, None), sums))

    def start(self, b: ir.IRBuilder, x: ir.Value) -> ir.Value:
        """Minus 128 times the vector."""
        return load(b, b.sub(x, I64(self.head)), self.made_of)

    def stored(self, b: ir.IRBuilder, w: ir.Value, count: ir.Value | None = None) -> ir.Value:
        """Weights from memory, or the first so many of them, plus 128."""
        kind = OFFSET.type
        return b.xor(load(b, w, kind) if count is None else load_first(b, w, kind, count), OFFSET)

    def add(self, b: ir.IRBuilder, sums: ir.Value, x: ir.Value, weights: ir.Value) -> ir.Value:
        """The sums with the products of the vector at an address and weights."""
        return add_fours(b, sums, weights, load(b, x, self.made_of))

    def _hold(self, b: ir.IRBuilder, x: ir.Value) -> ir.Value:
        held = ir.Constant(self._held, ir.Undefined)
        for number in range(1 + HELD):
            held = b.insert_value(held, load(b, b.add(x, I64((number - 1) * LINE)), self.made_of), number)
        return held

    def _first(self, b: ir.IRBuilder, held: ir.Value, w: ir.Value) -> ir.Value:
        sums = b.extract_value(held, 0)
        for number in range(HELD):
            weights = self.stored(b, b.add(w, I64(number * LINE)))
            sums = add_fours(b, sums, weights, b.extract_value(held, 1 + number))
        return sums


def fastest(vector: DType, weights: DType) -> Dot:
    """The dot product that this host is best at."""
    return Fours() if vector is weights is S8 and host().adds_products else Dot(vector, weights)


class Block:
    """Dot products of each of some rows with each of some rows of weights, which are read once for all.

    Attributes:
        begin: the sums that the rows begin with, which lie so many bytes apart.
        step: add the products of a step of `dot`; the rows, and those of the weights, lie so many bytes apart.
        last: the same of the first so many elements alone; no others are read of the weights.
        settle: write the sums of all lanes, those of a row beside each other, added to what is there if need be; the
            rows lie so many bytes apart.
    """

    def __init__(self, dot: Dot, rows: int, columns: int) -> None:
        self.dot, self.rows, self.columns = dot, rows, columns
        self.made_of = ir.ArrayType(dot.made_of, rows * columns)
        kind = Registers(self.made_of)
        self.begin = emits(kind, INT, INT)(self._begin)
        self.step = emits(kind, kind, *[INT] * 4)(self._step)
        self.last = emits(kind, kind, *[INT] * 5)(self._step)
        self.settle = emits(VOID, INT, INT, INT, kind)(self._settle)

    def _begin(self, b: ir.IRBuilder, x: ir.Value, apart: ir.Value) -> ir.Value:
        sums = ir.Constant(self.made_of, ir.Undefined)
        for first in range(0, self.rows * self.columns, self.columns):
            start = self.dot.start(b, x)
            for number in range(first, first + self.columns):
                sums = b.insert_value(sums, start, number)
            x = b.add(x, apart)
        return sums

    def _step(self, b: ir.IRBuilder, sums: ir.Value, x: ir.Value, apart: ir.Value, w: ir.Value, pitch: ir.Value,
              count: ir.Value | None = None) -> ir.Value:
        for column in range(self.columns):
            weights, at = self.dot.stored(b, w, count), x
            for number in range(column, self.rows * self.columns, self.columns):
                sums = b.insert_value(sums, self.dot.add(b, b.extract_value(sums, number), at, weights), number)
                at = b.add(at, apart)
            w = b.add(w, pitch)
        return sums

    def _settle(self, b: ir.IRBuilder, to: ir.Value, apart: ir.Value, add: ir.Value, sums: ir.Value) -> None:
        for first in range(0, self.rows * self.columns, self.columns):
            self.dot.put(b, to, add, *(b.extract_value(sums, first + n) for n in range(self.columns)))
            to = b.add(to, apart)


class Multiples:
    """Sums of multiples of some rows of weights, for `DOT_LANES` columns: of f32, or of integers in s32.

    Attributes:
        step: add, at an address of sums, the products of the numbers and the rows at two others; the rows lie so many
            bytes apart. Products are added in order, each with one rounding. Of several sums of the same rows, and of
            their numbers, each lie so many bytes apart, too; a row is read once for all.
        last: the same for the first so many columns alone; nothing else is read or written.
    """

    def __init__(self, dot: Dot, rows: int, sums: int = 1) -> None:
        self.dot, self.rows, self.sums = dot, rows, sums
        self.kind = of(I32 if dot.integer else vec.F32)
        self.step = emits(VOID, *[INT] * 6)(self._step)
        self.last = emits(VOID, *[INT] * 7)(self._last)

    def _step(self, b: ir.IRBuilder, y: ir.Value, across: ir.Value, x: ir.Value, apart: ir.Value, w: ir.Value,
              pitch: ir.Value) -> None:
        stored = of(STORED[self.dot.weights])
        rows = self._widened(b, w, pitch, lambda at: load(b, at, stored))
        for _ in range(self.sums):
            store(b, y, self._added(b, load(b, y, self.kind), x, rows))
            y, x = b.add(y, across), b.add(x, apart)

    def _last(self, b: ir.IRBuilder, y: ir.Value, across: ir.Value, x: ir.Value, apart: ir.Value, w: ir.Value,
              pitch: ir.Value, count: ir.Value) -> None:
        stored = of(STORED[self.dot.weights])
        rows = self._widened(b, w, pitch, lambda at: load_first(b, at, stored, count))
        for _ in range(self.sums):
            store_first(b, y, count, self._added(b, load_first(b, y, self.kind, count), x, rows))
            y, x = b.add(y, across), b.add(x, apart)

    def _widened(self, b: ir.IRBuilder, w: ir.Value, pitch: ir.Value,
                 read: Callable[[ir.Value], ir.Value]) -> list[ir.Value]:
        found = []
        for _ in range(self.rows):
            weights = read(w)
            found.append(b.sext(weights, self.kind) if self.dot.integer else TO_F32[self.dot.weights](b, weights))
            w = b.add(w, pitch)
        return found

    def _added(self, b: ir.IRBuilder, total: ir.Value, x: ir.Value, rows: list[ir.Value]) -> ir.Value:
        dot = self.dot
        for weights in rows:
            factor = load(b, x, STORED[dot.factor])
            if dot.integer:
                total = b.add(total, b.mul(broadcast(b, b.sext(factor, I32), self.kind), weights))
            else:
                total = call(b, "fma", broadcast(b, factor, self.kind), weights, total)
            x = b.add(x, x.type(dot.factor.size))
        return total if dot.integer else canonical(b, total)


def trees(b: ir.IRBuilder, rows: list[ir.Value], combine: Callable[..., ir.Value]) -> ir.Value:
    """The lanes of each of some vectors, a power of 2, combined in the tree that halves them; a lane for each.

    Two vectors share a register from the round on in which a half of each fills it.
    """
    count = each = rows[0].type.count
    while each > 1:
        half, found = each // 2, []
        for pair in (rows[at:at + 2] for at in range(0, len(rows), 2)):
            halves = ([start + i for start in range(at, count * len(pair), each) for i in range(half)]
                      for at in (0, half))
            found.append(combine(*(b.shuffle_vector(pair[0], pair[-1], lanes(mask)) for mask in halves)))
        rows, count, each = found, found[0].type.count, half
    assert len(rows) == 1
    return rows[0]
