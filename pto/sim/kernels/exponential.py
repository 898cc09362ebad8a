"""Exponentials of tiles: row by row, in blocks by the short form where every element allows it."""

from __future__ import annotations

from typing import Any

import numpy as np

from pto.core.types import Layout
from pto.isa.table import vector
from pto.sim.exponential import BLOCK, exp8_exact, exp8_fast, exp_block, is_ordinary
from pto.sim.kernels.checks import detour, pitch, tile
from pto.sim.kernels.copying import settle
from pto.sim.kernels.registry import handler
from pto.sim.layout import EXACT
from pto.sim.vec import called, inline, load1, load_part, splat8, store_part, sub8, word

ROW, COL = Layout.ROW, Layout.COL
ZERO = np.float32(0.0)


def careful(operation: Any) -> Any:
    """A pass over a row by a function of eight lanes."""
    @called
    def run(to: int, at: int, less: Any, cols: int) -> None:
        while cols > 0:
            store_part(to, cols, operation(sub8(load_part(at, cols, ZERO), splat8(less))))
            to += 32
            at += 32
            cols -= 8
    return run


exact_row, fast_row = careful(exp8_exact), careful(exp8_fast)


@inline
def exp_row(ctx: int, to: int, at: int, less: Any, cols: int) -> None:
    """e to the power of each number of a row less one number, by the mode's algorithm."""
    if word(ctx, EXACT):
        exact_row(to, at, less, cols)
        return
    while cols >= BLOCK:
        if is_ordinary(at, less):
            exp_block(to, at, less)
        else:
            fast_row(to, at, less, BLOCK)
        to += 4 * BLOCK
        at += 4 * BLOCK
        cols -= BLOCK
    fast_row(to, at, less, cols)


@handler(vector.TEXP, ROW, ROW)
def exponential(ctx: int, ops: int, st: int) -> None:
    """dst[i, j] = e to the power a[i, j]"""
    rows, cols = word(ops, 2), word(ops, 3)
    d = tile(ctx, ops, st, 0, 0, rows, cols)
    if d == 0:
        return
    a = tile(ctx, ops, st, 1, 1, rows, cols)
    if a == 0:
        return
    d_pitch, a_pitch, count, length = pitch(st, 0), pitch(st, 1), rows, cols
    made = detour(ctx, d, d_pitch, 4 * cols, a, a_pitch, 4 * cols, rows)
    if d_pitch == 4 * cols and a_pitch == 4 * cols:
        count, length = min(rows, 1), rows * cols
    for i in range(count):
        exp_row(ctx, made + i * d_pitch, a + i * a_pitch, ZERO, length)
    settle(d, d_pitch, made, rows, 4 * cols)


@handler(vector.TROWEXPANDEXPDIF, ROW, ROW, COL)
def exponential_of_difference(ctx: int, ops: int, st: int) -> None:
    """dst[i, j] = e to the power a[i, j] - b[i]"""
    rows, cols = word(ops, 3), word(ops, 4)
    d = tile(ctx, ops, st, 0, 0, rows, cols)
    if d == 0:
        return
    a = tile(ctx, ops, st, 1, 1, rows, cols)
    if a == 0:
        return
    b = tile(ctx, ops, st, 2, 2, 1, rows)
    if b == 0:
        return
    d_pitch, a_pitch = pitch(st, 0), pitch(st, 1)
    made = detour(ctx, d, d_pitch, 4 * cols, a, a_pitch, 4 * cols, rows)
    if made == d:
        made = detour(ctx, d, d_pitch, 4 * cols, b, 4, 4, rows)
    for i in range(rows):
        exp_row(ctx, made + i * d_pitch, a + i * a_pitch, load1(b + 4 * i), cols)
    settle(d, d_pitch, made, rows, 4 * cols)
