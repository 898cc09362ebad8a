"""Products with packed weights, and packed weights as numbers."""

from __future__ import annotations

from typing import Any

from pto.core.dtypes import S16
from pto.core.packed import COLS, ROWS
from pto.core.types import Layout
from pto.isa.table.packed import STREAMS, UNPACKS
from pto.sim.kernels.ahead import ask_far
from pto.sim.kernels.checks import pitch, step, stride
from pto.sim.kernels.copying import clear, copy_rows, gatherer
from pto.sim.kernels.operands import Body, Form
from pto.sim.kernels.registry import kernel
from pto.sim.layout import SPARE
from pto.sim.records import Record
from pto.sim.vec import inline, word

LINE = 4 * ROWS  # bytes of 16 numbers
gather = gatherer(1)


@inline
def together(w: int, apart: int, nbytes: int, scratch: int) -> int:
    """Where the bytes of a record lie next to each other: in spare memory, unless they do already."""
    if apart == 1:
        return w
    gather(scratch, w, apart, nbytes)
    return scratch


def streamed(form: Form) -> Body:
    """y = x W', one panel of 16 rows after the other: memory likes one stream better than several."""
    packing = next(p for p, row in STREAMS.items() if row is form.row)
    record, nbytes, size = Record(packing, form.types[1]), packing.record, form.types[1].size
    zero, advance, settle, prepare = record.zero, record.step, record.settle, record.prepare
    panels, inner, width = map(form.row.position, ("p", "k", "b"))

    def run(ctx: int, ops: int, st: int, at: Any) -> None:
        y, x, w, _ = at
        groups = min(word(ops, inner) // COLS, word(ops, width) // nbytes)
        factors = word(ctx, SPARE)
        totals = factors + 2 * COLS * groups
        scratch = totals + 4 * groups
        for g in range(groups):
            prepare(factors + 2 * COLS * g, totals + 4 * g, x + size * COLS * g)
        down, apart = stride(ctx, st, 2), step(ctx, st, 2)
        line, along = pitch(st, 0), nbytes * apart
        for _ in range(word(ops, panels)):
            sums, here = zero(), w
            for g in range(groups):
                ask_far(here, nbytes if apart == 1 else 0)
                sums = advance(sums, factors + 2 * COLS * g, totals + 4 * g, together(here, apart, nbytes, scratch))
                here += along
            settle(y, sums)
            y += line
            w += down
    return run


def expanded(form: Form) -> Body:
    """The transpose of one panel, column by column of the weights."""
    packing = next(p for p, row in UNPACKS.items() if row is form.row)
    expand, nbytes = Record(packing, S16).expand, packing.record
    inner, width = map(form.row.position, ("k", "b"))

    def run(ctx: int, ops: int, st: int, at: Any) -> None:
        to, w, _, _ = at
        k, down, apart, made = word(ops, inner), pitch(st, 0), step(ctx, st, 1), word(ctx, SPARE)
        groups = min(k // COLS, word(ops, width) // nbytes)
        for _ in range(groups):
            here = together(w, apart, nbytes, made + LINE * COLS)
            if down == LINE:
                expand(to, here)
            else:
                expand(made, here)
                copy_rows(to, down, made, LINE, COLS, LINE)
            to += COLS * down
            w += nbytes * apart
        for _ in range(k - COLS * groups):
            clear(to, LINE)
            to += down
    return run


for _row in STREAMS.values():
    kernel(_row, Layout.ROW, Layout.ROW)(streamed)
for _row in UNPACKS.values():
    kernel(_row, Layout.ROW)(expanded)
