"""Records of packed weights in registers: 32 columns of 16 rows at a time."""

from __future__ import annotations

from llvmlite import ir

from pto.core.dtypes import F16, S8, DType
from pto.core.packed import COLS, HALF, LANES, ROWS, STEPS, Packing
from pto.sim import vec
from pto.sim.dots import I8, I16, TO_S16, Registers, multiply_pairs, of
from pto.sim.formats import widened
from pto.sim.vec import I32, I64, INT, VOID, broadcast, call, canonical, emits, load, store, tree

CHAINS = 4  # of additions of integers: one waits for itself
TRIT = 3


class Record:
    """The operations of one format.

    Attributes:
        zero, step, settle: sums of 16 rows, before the first record, after one more, and as they are stored.
        prepare: copy 32 elements of x as s16, and write their sum.
        expand: write the numbers of a record, 16 for each column.
    """

    def __init__(self, packing: Packing, vector: DType) -> None:
        self.packing, self.vector = packing, vector
        self.sums = of(vec.F32 if packing.scaled else I32, ROWS)
        kind = Registers(self.sums)
        self.zero = emits(kind)(lambda b: ir.Constant(self.sums, None))
        self.step = emits(kind, kind, INT, INT, INT)(self._step)
        self.settle = emits(VOID, INT, kind)(self._settle)
        self.prepare = emits(VOID, INT, INT, INT)(self._prepare)
        self.expand = emits(VOID, INT, INT)(self._expand)

    def _prepare(self, b: ir.IRBuilder, to: ir.Value, sum_to: ir.Value, at: ir.Value) -> None:
        x = TO_S16[self.vector](b, load(b, at, of(I8 if self.vector is S8 else I16, COLS)))
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
        chains = [ir.Constant(wide, None)] * CHAINS
        for number, codes in enumerate(self._codes(b, w)):
            pair = broadcast(b, load(b, b.add(x, I64(4 * number)), I32), wide)
            more = multiply_pairs(b, b.bitcast(pair, codes.type), codes)
            chains[number % CHAINS] = b.add(chains[number % CHAINS], more)
        dots = b.add(b.add(chains[0], chains[1]), b.add(chains[2], chains[3]))
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


def lanes_of(value: int) -> ir.Constant:
    """The same number in all lanes of a step."""
    return ir.Constant(of(I16, LANES), [value] * LANES)


