"""Register blocks of the matrix product: some rows of a times one or two panels of b, of sixteen columns each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from typing import Any

from llvmlite import ir

from pto.core.dtypes import S8, S16, DType
from pto.core.types import PANEL_COLS
from pto.sim import vec
from pto.sim.dots import I16, STORED, TO_F32, TO_S16, Registers, add_pairs, of
from pto.sim.vec import I32, I64, INT, VOID, broadcast, call, canonical, emits, lanes, load, store

LINE = 64  # bytes of a row of the block, and of a step in a panel of b


class Block:
    """The operations of a block of f32: a step takes one element of each row of a and one row of each panel of b.

    A block of c and a row of b are known by the address of their first panel and the bytes from that to the next.
    """

    sums = of(vec.F32, PANEL_COLS)

    def __init__(self, rows: int, panels: int) -> None:
        self.rows, self.panels = rows, panels
        self.made_of = ir.ArrayType(self.sums, rows * panels)
        kind = Registers(self.made_of)
        self.zero = emits(kind)(lambda b: ir.Constant(self.made_of, None))
        self.load = emits(kind, INT, INT)(self._load)
        self.store = emits(VOID, INT, INT, kind)(self._store)
        self.step = emits(kind, kind, INT, INT, INT, INT)(self._step)

    def _lines(self, b: ir.IRBuilder, address: ir.Value, apart: ir.Value) -> Iterator[tuple[int, ir.Value]]:
        """Each line of the block by its number, and its address."""
        for panel in range(self.panels):
            at = b.add(address, b.mul(apart, I64(panel)))
            for row in range(self.rows):
                yield row * self.panels + panel, b.add(at, I64(LINE * row))

    def _load(self, b: ir.IRBuilder, address: ir.Value, apart: ir.Value) -> ir.Value:
        block = ir.Constant(self.made_of, ir.Undefined)
        for line, at in self._lines(b, address, apart):
            block = b.insert_value(block, load(b, at, self.sums), line)
        return block

    def _store(self, b: ir.IRBuilder, address: ir.Value, apart: ir.Value, block: ir.Value) -> None:
        lines = [(at, b.extract_value(block, line)) for line, at in self._lines(b, address, apart)]
        for at, sums in lines:
            store(b, at, sums)
        unsettled = self.unsettled(b, [sums for _, sums in lines])
        if unsettled is not None:
            with b.if_then(unsettled, likely=False):
                for at, sums in lines:
                    store(b, at, canonical(b, sums))

    def _step(self, b: ir.IRBuilder, block: ir.Value, a: ir.Value, pitch: ir.Value, right: ir.Value,
              apart: ir.Value) -> Any:
        panels = [self.panel(b, b.add(right, b.mul(apart, I64(panel)))) for panel in range(self.panels)]
        for row in range(self.rows):
            left = self.factor(b, b.add(a, b.mul(pitch, I64(row))))
            for line, panel in enumerate(panels, row * self.panels):
                block = b.insert_value(block, self.added(b, b.extract_value(block, line), left, panel), line)
        return block

    def unsettled(self, b: ir.IRBuilder, sums: Sequence[ir.Value]) -> ir.Value | None:
        """Whether some sums are NaN of any bits, if they can be; two lines are one comparison."""
        pairs = zip(sums[::2], [*sums[1::2], sums[-1]], strict=False)
        found = reduce(b.or_, (b.fcmp_unordered("uno", *pair) for pair in pairs))
        bits = ir.IntType(PANEL_COLS)
        return b.icmp_unsigned("!=", b.bitcast(found, bits), bits(0))

    def panel(self, b: ir.IRBuilder, at: ir.Value) -> ir.Value:
        """What a step takes of a panel of b."""
        return load(b, at, self.sums)

    def factor(self, b: ir.IRBuilder, at: ir.Value) -> ir.Value:
        """What it takes of a row of a, for each column."""
        return broadcast(b, load(b, at, vec.F32), self.sums)

    def added(self, b: ir.IRBuilder, sums: ir.Value, factor: ir.Value, panel: ir.Value) -> ir.Value:
        """The sums of one line after a step."""
        return call(b, "fma", factor, panel, sums)


class PairBlock(Block):
    """The same for s16 with sums in s32: a step takes two elements of each row of a, and two rows of b, in pairs."""

    sums = of(I32, PANEL_COLS)

    def unsettled(self, b: ir.IRBuilder, sums: Sequence[ir.Value]) -> ir.Value | None:
        return None

    def panel(self, b: ir.IRBuilder, at: ir.Value) -> ir.Value:
        return load(b, at, of(I16, 2 * PANEL_COLS))

    def factor(self, b: ir.IRBuilder, at: ir.Value) -> ir.Value:
        return b.bitcast(broadcast(b, load(b, at, I32), self.sums), of(I16, 2 * PANEL_COLS))

    def added(self, b: ir.IRBuilder, sums: ir.Value, factor: ir.Value, panel: ir.Value) -> ir.Value:
        return add_pairs(b, sums, factor, panel)


def widener(dtype: DType, *, integer: bool) -> Any:
    """Writes sixteen elements as f32, or as s16."""
    change = (TO_S16 if integer else TO_F32)[dtype]

    def widen(b: ir.IRBuilder, to: ir.Value, at: ir.Value) -> None:
        store(b, to, change(b, load(b, at, of(STORED[dtype], PANEL_COLS))))
    return emits(VOID, INT, INT)(widen)


@emits(VOID, INT, INT, INT)
def pair_rows(b: ir.IRBuilder, to: ir.Value, first: ir.Value, second: ir.Value) -> None:
    """Write two rows of a panel of s8 as pairs of s16, the one after the other in each."""
    rows = [load(b, at, of(STORED[S8], PANEL_COLS)) for at in (first, second)]
    mixed = b.shuffle_vector(*rows, lanes([i // 2 + PANEL_COLS * (i % 2) for i in range(2 * PANEL_COLS)]))
    store(b, to, TO_S16[S8](b, mixed))


INTEGERS = (S16, S8)
