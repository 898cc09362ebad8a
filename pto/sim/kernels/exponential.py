"""Exponentials of tiles: of f32 in blocks by the short form where every element of one allows it."""

from __future__ import annotations

from typing import Any

import numpy as np

from pto.core.dtypes import F32
from pto.core.types import Layout
from pto.isa.table import vector
from pto.sim.exponential import (
    BLOCK,
    exp8_exact,
    exp8_fast,
    exp_block,
    exp_exact,
    exp_fast,
    is_ordinary,
    is_settled,
    settled_block,
)
from pto.sim.kernels.checks import pitch
from pto.sim.kernels.elementwise import pass_over
from pto.sim.kernels.operands import Body, Form, aside, extent
from pto.sim.kernels.registry import kernel
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
        elif is_settled(at, less):
            settled_block(to, at, less)
        else:
            fast_row(to, at, less, BLOCK)
        to += 4 * BLOCK
        at += 4 * BLOCK
        cols -= BLOCK
    fast_row(to, at, less, cols)


def in_mode(form: Form, exact: Any, fast: Any, lanes: int = 0) -> Body:
    """A pass by the algorithm of the mode; `lanes` of a step of the fast one, if they are not the usual ones."""
    careful, quick = called(pass_over(form, exact)), called(pass_over(form, fast, lanes=lanes))

    def run(ctx: int, ops: int, st: int, to: int, at: Any) -> None:
        if word(ctx, EXACT):
            careful(ctx, ops, st, to, at)
        else:
            quick(ctx, ops, st, to, at)
    return aside(form, run)


@kernel(vector.TEXP, ROW, ROW)
def exponential(form: Form) -> Body:
    """dst[i, j] = e to the power a[i, j]"""
    if form.types[0] is not F32:
        return in_mode(form, lambda b, how, x: exp_exact(b, x), lambda b, how, x: exp_fast(b, x))
    dst, _ = form.places
    lines, length = dst.lines, dst.length

    def run(ctx: int, ops: int, st: int, to: int, at: Any) -> None:
        a, rows, cols = at[1], extent(ops, lines), extent(ops, length)
        d_pitch, a_pitch = pitch(st, 0), pitch(st, 1)
        if d_pitch == 4 * cols and a_pitch == 4 * cols:
            cols *= rows
            rows = min(rows, 1)
        for i in range(rows):
            exp_row(ctx, to + i * d_pitch, a + i * a_pitch, ZERO, cols)
    return aside(form, run)


@kernel(vector.TROWEXPANDEXPDIF, ROW, ROW, COL)
def exponential_of_difference(form: Form) -> Body:
    """dst[i, j] = e to the power a[i, j] - b[i]"""
    if form.types[0] is not F32:
        return in_mode(form, lambda b, how, x, y: exp_exact(b, b.fsub(x, y)),
                       lambda b, how, x, y: exp_fast(b, b.fsub(x, y)))
    dst, _, _ = form.places
    lines, length = dst.lines, dst.length

    def run(ctx: int, ops: int, st: int, to: int, at: Any) -> None:
        _, a, b, _ = at
        d_pitch, a_pitch = pitch(st, 0), pitch(st, 1)
        for i in range(extent(ops, lines)):
            exp_row(ctx, to + i * d_pitch, a + i * a_pitch, load1(b + 4 * i), extent(ops, length))
    return aside(form, run)
