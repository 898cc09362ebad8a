"""Records of packed weights in registers: 32 columns of 16 rows at a time."""

from __future__ import annotations

from functools import reduce

from llvmlite import ir

from pto.core.dtypes import F16, S8, DType
from pto.core.packed import COLS, HALF, LANES, ROWS, STEPS, Packing
from pto.sim import vec
from pto.sim.dots import I8, I16, TO_S16, Registers, add_fours, add_pairs, of
from pto.sim.formats import widened
from pto.sim.loader import host
from pto.sim.vec import I32, I64, INT, VOID, broadcast, call, canonical, emits, load, store, tree

CHAINS = 4  # of additions of integers: one waits for itself
TRIT = 3
VALUES = [(n & 3) + TRIT * (n >> 2 & 3) + TRIT**2 * (n >> 4) for n in range(64)]  # of three fields of two bits


class Record:
    """The operations of one format.

    Attributes:
        zero, step, settle: sums of 16 rows, before the first record, after one more, and as they are stored.
        prepare: copy 32 elements of x as s16, and write their sum.
        expand: write the numbers of a record, 16 for each column.
    """

    def __init__(self, packing: Packing, vector: DType) -> None:
        self.packing, self.vector = packing, vector
        self.fours = packing.bits < 8 and host().adds_products
        self.sums = of(vec.F32 if packing.scaled else I32, ROWS)
        kind = Registers(self.sums)
        self.zero = emits(kind)(lambda b: ir.Constant(self.sums, None))
        self.step = emits(kind, kind, INT, INT, INT)(self._step)
        self.settle = emits(VOID, INT, kind)(self._settle)
        self.prepare = emits(VOID, INT, INT, INT)(self._prepare)
        self.expand = emits(VOID, INT, INT)(self._expand)

    def _prepare(self, b: ir.IRBuilder, to: ir.Value, sum_to: ir.Value, at: ir.Value) -> None:
        x = TO_S16[self.vector](b, load(b, at, of(I8 if self.vector is S8 else I16, COLS)))
        if self.fours:
            order = vec.lanes(columns_by_fours(self.packing))
            halves = [b.trunc(half, of(I8, COLS)) for half in (b.lshr(x, lanes_of(8)), x)]
            for number, half in enumerate(halves):
                store(b, b.add(to, I64(COLS * number)), b.shuffle_vector(half, half, order))
        else:
            store(b, to, x)
        store(b, sum_to, tree(b, b.sext(x, of(I32, COLS)), b.add))

    def _head(self, b: ir.IRBuilder, w: ir.Value, number: int) -> ir.Value:
        """The scales, or the offsets, of the rows."""
        at = b.add(w, I64(number * ROWS * HALF))
        return widened(b, F16, load(b, at, of(I16, ROWS)))

    def _codes(self, b: ir.IRBuilder, w: ir.Value) -> list[ir.Value]:
        """The codes of all steps, 32 lanes of s16 each."""
        packing = self.packing
        if packing.bits == 8:
            at = b.add(w, I64(packing.head))
            return [TO_S16[S8](b, load(b, b.add(at, I64(LANES * s)), of(I8, LANES))) for s in range(STEPS)]
        lines = range(STEPS * packing.bits // packing.lane)
        return [code for line in lines for code in (self._digits if packing.planes > 1 else self._fields)(b, w, line)]

    def _line(self, b: ir.IRBuilder, w: ir.Value, plane: int, line: int) -> ir.Value:
        """Some lanes of a plane."""
        at = self.packing.head + plane * self.packing.plane + 2 * LANES * line
        return load(b, b.add(w, I64(at)), of(I16, LANES))

    def _fields(self, b: ir.IRBuilder, w: ir.Value, line: int) -> list[ir.Value]:
        """The codes in the lanes of one line."""
        bits, raw = self.packing.bits, self._line(b, w, 0, line)
        codes = [b.lshr(raw, lanes_of(at)) for at in range(0, self.packing.lane, bits)]
        return [*(b.and_(code, lanes_of(2**bits - 1)) for code in codes[:-1]), codes[-1]]

    def _digits(self, b: ir.IRBuilder, w: ir.Value, line: int) -> list[ir.Value]:
        """The same of several planes, added up two fields at a time: each has half of a lane, and 26 is the most."""
        bits, lane = self.packing.bits, self.packing.lane
        planes = [self._line(b, w, plane, line) for plane in range(self.packing.planes)]
        low, high, mask = [], [], (2**bits - 1) * (1 + 2**(lane // 2))
        for at in range(0, lane // 2, bits):
            digits = [b.and_(b.lshr(raw, lanes_of(at)), lanes_of(mask)) for raw in planes]
            total = digits.pop()
            while digits:
                total = b.add(b.mul(total, lanes_of(TRIT)), digits.pop())
            low.append(b.and_(total, lanes_of(2**(lane // 2) - 1)))
            high.append(b.lshr(total, lanes_of(lane // 2)))
        return low + high

    def _step(self, b: ir.IRBuilder, sums: ir.Value, x: ir.Value, total: ir.Value, w: ir.Value) -> ir.Value:
        wide, packing = of(I32, ROWS), self.packing
        dots = self._by_fours(b, x, w) if self.fours else self._by_pairs(b, x, w)
        all_x = load(b, total, I32)
        if packing.zero:
            dots = b.sub(dots, broadcast(b, b.mul(all_x, I32(packing.zero)), wide))
        if not packing.scaled:
            return b.add(sums, dots)
        sums = call(b, "fma", b.sitofp(dots, self.sums), self._head(b, w, 0), sums)
        if packing.shifted:
            shift = broadcast(b, b.sitofp(all_x, vec.F32), self.sums)
            sums = call(b, "fma", shift, self._head(b, w, 1), sums)
        return sums

    def _by_pairs(self, b: ir.IRBuilder, x: ir.Value, w: ir.Value) -> ir.Value:
        """The sums of products of codes, widened to 16 bits."""
        wide = of(I32, ROWS)
        chains = [ir.Constant(wide, None)] * CHAINS
        for number, codes in enumerate(self._codes(b, w)):
            pair = broadcast(b, load(b, b.add(x, I64(4 * number)), I32), wide)
            chains[number % CHAINS] = add_pairs(b, chains[number % CHAINS], b.bitcast(pair, codes.type), codes)
        return b.add(b.add(chains[0], chains[1]), b.add(chains[2], chains[3]))

    def _by_fours(self, b: ir.IRBuilder, x: ir.Value, w: ir.Value) -> ir.Value:
        """The same of codes in bytes: with the high bytes of x, which have a sign, and with the low ones."""
        wide = of(I32, ROWS)
        high, low = ([ir.Constant(wide, None)] * 2 for _ in range(2))
        for number, codes in enumerate(self._bytes(b, w)):
            upper, lower = (broadcast(b, load(b, b.add(x, I64(at + 4 * number)), I32), wide) for at in (0, COLS))
            high[number % 2] = add_fours(b, high[number % 2], codes, upper)
            low[number % 2] = add_fours(b, low[number % 2], lower, codes)
        sums = b.shl(b.add(*high), ir.Constant(wide, [8] * ROWS))
        return b.add(sums, b.add(*low))

    def _bytes(self, b: ir.IRBuilder, w: ir.Value) -> list[ir.Value]:
        """The codes of a record, 64 bytes each, in the order of `columns_by_fours`."""
        packing, found, mask = self.packing, list[ir.Value](), (2**self.packing.bits - 1) * 0x101
        for line in range(STEPS * packing.bits // packing.lane):
            planes = [self._line(b, w, plane, line) for plane in range(packing.planes)]
            for at in range(0, 8, packing.bits):
                fields = [b.and_(moved(b, raw, packing.bits * plane - at), lanes_of(mask << packing.bits * plane))
                          for plane, raw in enumerate(planes)]
                together = reduce(b.or_, fields)
                found.append(looked_up(b, VALUES, together) if packing.planes > 1 else together)
        return found

    def _settle(self, b: ir.IRBuilder, to: ir.Value, sums: ir.Value) -> None:
        store(b, to, canonical(b, sums) if self.packing.scaled else sums)

    def _expand(self, b: ir.IRBuilder, to: ir.Value, w: ir.Value) -> None:
        packing = self.packing
        scale = self._head(b, w, 0) if packing.scaled else None
        offset = self._head(b, w, 1) if packing.shifted else None
        for number, codes in enumerate(self._codes(b, w)):
            wide = b.sub(b.sext(codes, of(I32, LANES)), ir.Constant(of(I32, LANES), [packing.zero] * LANES))
            undefined = ir.Constant(wide.type, ir.Undefined)
            for side in range(2):
                one = b.shuffle_vector(wide, undefined, vec.lanes(range(side, LANES, 2)))
                if scale is not None:
                    one = b.fmul(b.sitofp(one, self.sums), scale)
                if offset is not None:
                    one = b.fadd(one, offset)
                if scale is not None:
                    one = canonical(b, one)
                store(b, b.add(to, I64(4 * ROWS * (2 * number + side))), one)


def moved(b: ir.IRBuilder, x: ir.Value, by: int) -> ir.Value:
    """Lanes whose bits are moved to higher places, or to lower ones."""
    return b.shl(x, lanes_of(by)) if by > 0 else b.lshr(x, lanes_of(-by))


def looked_up(b: ir.IRBuilder, table: list[int], index: ir.Value) -> ir.Value:
    """Bytes of a table of 64."""
    kind = of(I8, len(table))
    function = vec.declared(b.module, ir.FunctionType(kind, [kind] * 2), "llvm.x86.avx512.permvar.qi.512")
    return b.call(function, [ir.Constant(kind, table), b.bitcast(index, kind)])


def lanes_of(value: int) -> ir.Constant:
    """The same number in all lanes of a step."""
    return ir.Constant(of(I16, LANES), [value] * LANES)


def columns_by_fours(packing: Packing) -> list[int]:
    """Columns of a record in the order in which bytes of its codes hold them: four of a row side by side.

    Fields at one place in the bytes of a lane are taken together; the upper byte has the later steps.
    """
    fields = 8 // packing.bits
    return [2 * (2 * fields * line + fields * byte + field) + column
            for line in range(STEPS // (2 * fields)) for field in range(fields)
            for column in range(2) for byte in range(2)]
