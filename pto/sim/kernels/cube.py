"""The matrix product."""

from __future__ import annotations

from typing import Any

from pto.core.dtypes import F32, DType
from pto.core.types import PANEL_COLS, Layout
from pto.isa.table import cube
from pto.sim.blocks import INTEGERS, LINE, Block, PairBlock, pair_rows, widener
from pto.sim.kernels.checks import pitch
from pto.sim.kernels.copying import clear, copy_row
from pto.sim.kernels.operands import Body, Form
from pto.sim.kernels.registry import kernel
from pto.sim.layout import SPARE
from pto.sim.vec import inline, word

BLOCK_ROWS = 6  # 6 x 16 sums, a row of b and an element of a: what 16 registers of 8 lanes hold
M, N, K, ACC = map(cube.TMATMUL.position, ("m", "n", "k", "acc"))
DEPTH = 256  # of what is widened at a time: a panel of b then stays in the first cache


def micro_kernel(block: Block) -> Any:
    """The product of some rows of a with one panel of b, in registers."""
    zero, load, step, store = block.zero, block.load, block.step, block.store

    @inline
    def run(a: int, a_pitch: int, b: int, c: int, steps: int, acc: int) -> None:
        sums = load(c) if acc != 0 else zero()
        for _ in range(steps):
            sums = step(sums, a, a_pitch, b)
            a += 4
            b += LINE
        store(c, sums)
    return run


def panel_product(kind: type[Block]) -> Any:
    """The product of any number of rows of a with one panel of b."""
    micro1, micro2, micro3, micro4, micro5, micro6 = (micro_kernel(kind(n)) for n in range(1, BLOCK_ROWS + 1))

    @inline
    def some(a: int, a_pitch: int, b: int, c: int, rows: int, steps: int, acc: int) -> None:
        if rows == BLOCK_ROWS:
            micro6(a, a_pitch, b, c, steps, acc)
        elif rows == 5:
            micro5(a, a_pitch, b, c, steps, acc)
        elif rows == 4:
            micro4(a, a_pitch, b, c, steps, acc)
        elif rows == 3:
            micro3(a, a_pitch, b, c, steps, acc)
        elif rows == 2:
            micro2(a, a_pitch, b, c, steps, acc)
        else:
            micro1(a, a_pitch, b, c, steps, acc)

    @inline
    def run(a: int, a_pitch: int, b: int, c: int, rows: int, steps: int, acc: int) -> None:
        while rows > 0:
            count = min(rows, BLOCK_ROWS)
            if BLOCK_ROWS < rows < 2 * BLOCK_ROWS:  # in two parts: blocks of one or two rows wait for their own sums
                count = (rows + 1) // 2
            some(a, a_pitch, b, c, count, steps, acc)
            a += count * a_pitch
            c += count * LINE
            rows -= count
    return run


float_panel, pair_panel = panel_product(Block), panel_product(PairBlock)


def row_widener(dtype: DType) -> Any:
    """A copy of a row of a as f32, or as s16 completed with a zero to whole pairs."""
    integer = dtype in INTEGERS
    widen, size, wide = widener(dtype, integer=integer), dtype.size, 2 if integer else 4

    @inline
    def run(to: int, at: int, count: int, scratch: int) -> None:
        while count >= PANEL_COLS:
            widen(to, at)
            to += PANEL_COLS * wide
            at += PANEL_COLS * size
            count -= PANEL_COLS
        if count > 0:
            clear(scratch, 64)
            copy_row(scratch, at, size * count)
            widen(scratch + 64, scratch)
            copy_row(to, scratch + 64, (wide * count + 3) // 4 * 4)
    return run


def panel_widener(dtype: DType) -> Any:
    """A copy of some rows of a panel of b as f32, or as pairs of s16, the last completed with zeros."""
    if dtype in INTEGERS:
        @inline
        def pairs(to: int, at: int, depth: int, scratch: int) -> None:
            for _ in range(depth // 2):
                pair_rows(to, at, at + PANEL_COLS)
                to += LINE
                at += 32
            if depth % 2:
                clear(scratch, 64)
                pair_rows(to, at, scratch)
        return pairs
    widen, size = widener(dtype, integer=False), dtype.size

    @inline
    def rows(to: int, at: int, depth: int, scratch: int) -> None:
        for _ in range(depth):
            widen(to, at)
            to += LINE
            at += PANEL_COLS * size
    return rows


@kernel(cube.TMATMUL, Layout.PANEL, Layout.ROW, Layout.PANEL)
def product(form: Form) -> Body:
    """c = a times b where acc is 0, else c + a times b"""
    _, left, right = form.types
    return plain if left is F32 else widened(left, right)


def plain(ctx: int, ops: int, st: int, at: Any) -> None:
    """One panel of b after the other, and for each all rows of a."""
    m, n, k, acc = word(ops, M), word(ops, N), word(ops, K), word(ops, ACC)
    c, a, b, _ = at
    a_pitch, b_panel, c_panel = pitch(st, 1), pitch(st, 2), pitch(st, 0)
    for _ in range(0, n, PANEL_COLS):
        float_panel(a, a_pitch, b, c, m, k, acc)
        b += b_panel
        c += c_panel


def widened(left: DType, right: DType) -> Body:
    """The same on copies that are widened, some depth at a time."""
    integer = right in INTEGERS
    multiply, per_step = (pair_panel, 2) if integer else (float_panel, 1)
    widen_row, widen_panel = row_widener(left), panel_widener(right)
    a_size, b_row = left.size, PANEL_COLS * right.size

    def run(ctx: int, ops: int, st: int, at: Any) -> None:
        m, n, k, acc = word(ops, M), word(ops, N), word(ops, K), word(ops, ACC)
        c, a, b, _ = at
        wide_b, scratch = word(ctx, SPARE), word(ctx, SPARE) + LINE * DEPTH
        wide_a = scratch + 128
        for start in range(0, max(k, 1), DEPTH):
            depth = min(k - start, DEPTH)
            steps = (depth + per_step - 1) // per_step
            for row in range(m):
                widen_row(wide_a + 4 * steps * row, a + a_size * start + row * pitch(st, 1), depth, scratch)
            for j in range(-(-n // PANEL_COLS)):
                widen_panel(wide_b, b + b_row * start + j * pitch(st, 2), depth, scratch)
                multiply(wide_a, 4 * steps, wide_b, c + j * pitch(st, 0), m, steps, 1 if start else acc)
    return run
