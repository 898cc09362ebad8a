"""The matrix product."""

from __future__ import annotations

from collections.abc import Sequence
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
from pto.sim.loader import host
from pto.sim.vec import inline, word

M, N, K, ACC = map(cube.TMATMUL.position, ("m", "n", "k", "acc"))
DEPTH = 256  # of what is widened at a time: panels of b then stay in the first cache
# Rows and panels of the sums that are kept in registers. Two panels where 32 registers have 64 bytes: products can
# start twice a cycle and take four or five, and an element of a is loaded once for both. Else 6 x 16 sums, a row of b
# and an element of a: what 16 registers of 32 bytes hold.
BLOCK_ROWS, BLOCK_PANELS = ((12, 8, 6, 4, 3, 2, 1), 2) if host().has_wide_registers else ((6, 5, 4, 3, 2, 1), 1)
MOST_ROWS = BLOCK_ROWS[0]
TRIPLE_ROWS = (8, 4, 2, 1) if host().has_wide_registers else ()  # with three panels, the last of an odd number


def micro_kernel(block: Block) -> Any:
    """The product of some rows of a with one or two panels of b, in registers."""
    zero, load, step, store = block.zero, block.load, block.step, block.store

    @inline
    def run(a: int, a_pitch: int, b: int, b_panel: int, c: int, c_panel: int, rows: int, steps: int, acc: int) -> None:
        sums = load(c, c_panel) if acc != 0 else zero()
        for _ in range(steps):
            sums = step(sums, a, a_pitch, b, b_panel)
            a += 4
            b += LINE
        store(c, c_panel, sums)
    return run


def chosen(kind: type[Block], panels: int, *sizes: int) -> Any:
    """The product of as many rows as one of some sizes."""
    most, micro = sizes[0], micro_kernel(kind(sizes[0], panels))
    if len(sizes) == 1:
        return micro
    fewer = chosen(kind, panels, *sizes[1:])

    @inline
    def run(a: int, a_pitch: int, b: int, b_panel: int, c: int, c_panel: int, rows: int, steps: int, acc: int) -> None:
        if rows == most:
            micro(a, a_pitch, b, b_panel, c, c_panel, rows, steps, acc)
        else:
            fewer(a, a_pitch, b, b_panel, c, c_panel, rows, steps, acc)
    return run


def first_of(sizes: Sequence[int]) -> Any:
    """How many of some rows to multiply together first: at least half of the last ones, for blocks of one or two rows
    wait for their own sums.
    """
    most, sizes = sizes[0], tuple(sizes)

    @inline
    def run(rows: int) -> int:
        found = most
        for size in sizes:
            if size == rows or (2 * size >= rows and found != rows):
                found = size
        return found
    return run


def all_rows(kind: type[Block], panels: int, sizes: Sequence[int] = BLOCK_ROWS) -> Any:
    """The product of any number of rows of a with so many panels of b."""
    most, first, some = sizes[0], first_of(sizes), chosen(kind, panels, *sizes)

    @inline
    def run(a: int, a_pitch: int, b: int, b_panel: int, c: int, c_panel: int, rows: int, steps: int, acc: int) -> None:
        while rows > 0:
            count = most if rows >= 2 * most else first(rows)
            some(a, a_pitch, b, b_panel, c, c_panel, count, steps, acc)
            a += count * a_pitch
            c += count * LINE
            rows -= count
    return run


def panels_product(kind: type[Block]) -> Any:
    """The product of any number of rows of a with any number of panels of b, some at a time."""
    together = all_rows(kind, BLOCK_PANELS)
    one = all_rows(kind, 1) if BLOCK_PANELS > 1 else together
    most, last = (3, all_rows(kind, 3, TRIPLE_ROWS)) if TRIPLE_ROWS else (1, one)

    @inline
    def run(a: int, a_pitch: int, b: int, b_panel: int, c: int, c_panel: int, panels: int, rows: int, steps: int,
            acc: int) -> None:
        while panels > most or panels == BLOCK_PANELS:  # so that of an odd number `most` are left, or one
            together(a, a_pitch, b, b_panel, c, c_panel, rows, steps, acc)
            b += BLOCK_PANELS * b_panel
            c += BLOCK_PANELS * c_panel
            panels -= BLOCK_PANELS
        if panels == most:
            last(a, a_pitch, b, b_panel, c, c_panel, rows, steps, acc)
        elif panels == 1:
            one(a, a_pitch, b, b_panel, c, c_panel, rows, steps, acc)
    return run


float_panels, pair_panels = panels_product(Block), panels_product(PairBlock)


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
    """All of b lies as it is used."""
    m, n, k, acc = word(ops, M), word(ops, N), word(ops, K), word(ops, ACC)
    c, a, b, _ = at
    float_panels(a, pitch(st, 1), b, pitch(st, 2), c, pitch(st, 0), -(-n // PANEL_COLS), m, k, acc)


def widened(left: DType, right: DType) -> Body:
    """The same on copies that are widened, some depth at a time."""
    integer = right in INTEGERS
    multiply, per_step = (pair_panels, 2) if integer else (float_panels, 1)
    widen_row, widen_panel = row_widener(left), panel_widener(right)
    a_size, b_row = left.size, PANEL_COLS * right.size

    def run(ctx: int, ops: int, st: int, at: Any) -> None:
        m, n, k, acc = word(ops, M), word(ops, N), word(ops, K), word(ops, ACC)
        c, a, b, _ = at
        wide_b, apart = word(ctx, SPARE), LINE * DEPTH
        scratch = wide_b + BLOCK_PANELS * apart
        wide_a, panels = scratch + 128, -(-n // PANEL_COLS)
        for start in range(0, max(k, 1), DEPTH):
            depth = min(k - start, DEPTH)
            steps = (depth + per_step - 1) // per_step
            left_at, left_pitch = a + a_size * start, pitch(st, 1)
            if a_size * depth != 4 * steps:  # else it is as wide as it need be
                for row in range(m):
                    widen_row(wide_a + 4 * steps * row, left_at + row * left_pitch, depth, scratch)
                left_at, left_pitch = wide_a, 4 * steps
            for j in range(0, panels, BLOCK_PANELS):
                count = min(panels - j, BLOCK_PANELS)
                for i in range(count):
                    widen_panel(wide_b + i * apart, b + b_row * start + (i + j) * pitch(st, 2), depth, scratch)
                multiply(left_at, left_pitch, wide_b, apart, c + j * pitch(st, 0), pitch(st, 0), count, m, steps,
                         1 if start else acc)
    return run
