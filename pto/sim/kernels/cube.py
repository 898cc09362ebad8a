"""The matrix product."""

from __future__ import annotations

from typing import Any

from pto.core.types import Layout
from pto.isa.table import cube
from pto.sim.kernels.checks import panels, pitch, tile
from pto.sim.kernels.registry import handler
from pto.sim.vec import Block, inline, word

BLOCK_ROWS = 6  # 6 x 16 sums, a row of b and an element of a: what 16 registers of 8 lanes hold


def micro_kernel(rows: int) -> Any:
    """The product of some rows of a with one panel of b, in registers."""
    block = Block(rows)
    zero, load, step, store = block.zero, block.load, block.step, block.store

    @inline
    def run(a: int, a_pitch: int, b: int, c: int, depth: int, acc: int) -> None:
        sums = load(c) if acc != 0 else zero()
        for _ in range(depth):
            sums = step(sums, a, a_pitch, b)
            a += 4
            b += 64
        store(c, sums)
    return run


micro1, micro2, micro3, micro4, micro5, micro6 = (micro_kernel(rows) for rows in range(1, BLOCK_ROWS + 1))


@inline
def rest(a: int, a_pitch: int, b: int, c: int, rows: int, depth: int, acc: int) -> None:
    """The last rows, fewer than a block."""
    if rows == 5:
        micro5(a, a_pitch, b, c, depth, acc)
    elif rows == 4:
        micro4(a, a_pitch, b, c, depth, acc)
    elif rows == 3:
        micro3(a, a_pitch, b, c, depth, acc)
    elif rows == 2:
        micro2(a, a_pitch, b, c, depth, acc)
    elif rows == 1:
        micro1(a, a_pitch, b, c, depth, acc)


@handler(cube.TMATMUL, Layout.PANEL, Layout.ROW, Layout.PANEL)
def tmatmul(ctx: int, ops: int, st: int) -> None:
    """One panel of b after the other, and for each all rows of a."""
    m, n, k, acc = word(ops, 3), word(ops, 4), word(ops, 5), word(ops, 6)
    c = panels(ctx, ops, st, 0, 0, m, n)
    if c == 0:
        return
    a = tile(ctx, ops, st, 1, 1, m, k)
    if a == 0:
        return
    b = panels(ctx, ops, st, 2, 2, k, n)
    if b == 0:
        return
    a_pitch, b_panel, c_panel = pitch(st, 1), pitch(st, 2), pitch(st, 0)
    for _ in range(0, n, 16):
        row = 0
        while m - row >= BLOCK_ROWS:
            micro6(a + row * a_pitch, a_pitch, b, c + 64 * row, k, acc)
            row += BLOCK_ROWS
        rest(a + row * a_pitch, a_pitch, b, c + 64 * row, m - row, k, acc)
        b += b_panel
        c += c_panel
