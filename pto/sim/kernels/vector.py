"""Instructions of the vector unit: one function for each family, one row for each instruction."""

from __future__ import annotations

from typing import Any

import numpy as np

from pto.core.types import Layout
from pto.isa.table import vector
from pto.sim.kernels.checks import detour, pitch, tile
from pto.sim.kernels.copying import settle
from pto.sim.kernels.registry import Compiled, handler
from pto.sim.layout import EXACT
from pto.sim.vec import (
    add8,
    called,
    canonical1,
    canonical8,
    div8,
    greater8,
    greatest_lane,
    inline,
    load1,
    load8,
    load_part,
    max8,
    maximum_lane,
    min8,
    mul8,
    number,
    plain_add8,
    relu8,
    splat8,
    sqrt8,
    store1,
    store8,
    store_part,
    sub8,
    sum_lanes,
    word,
)

ROW, COL = Layout.ROW, Layout.COL
CANONICAL_NAN = np.uint32(0x7FC00000).view(np.float32)
LOWEST = np.float32(-np.inf)
ZERO, MINUS_ZERO = np.float32(0.0), np.float32(-0.0)


def row_of_one(operation: Any) -> Any:
    """A pass over a row of one source."""
    @inline
    def run(to: int, at: int, cols: int) -> None:
        whole, left = 4 * (cols - cols % 8), cols % 8
        for j in range(0, whole, 32):
            store8(to + j, operation(load8(at + j)))
        if left:
            store_part(to + whole, left, operation(load_part(at + whole, left, ZERO)))
    return run


def row_of_two(operation: Any) -> Any:
    """A pass over rows of two sources."""
    @inline
    def run(to: int, at: int, bt: int, cols: int) -> None:
        whole, left = 4 * (cols - cols % 8), cols % 8
        for j in range(0, whole, 32):
            store8(to + j, operation(load8(at + j), load8(bt + j)))
        if left:
            x, y = load_part(at + whole, left, ZERO), load_part(bt + whole, left, ZERO)
            store_part(to + whole, left, operation(x, y))
    return run


def row_and_number(operation: Any) -> Any:
    """A pass over a row of one source and a number."""
    @inline
    def run(to: int, at: int, y: Any, cols: int) -> None:
        whole, left = 4 * (cols - cols % 8), cols % 8
        for j in range(0, whole, 32):
            store8(to + j, operation(load8(at + j), y))
        if left:
            store_part(to + whole, left, operation(load_part(at + whole, left, ZERO), y))
    return run


def unary(operation: Any) -> Compiled:
    """dst[i, j] = operation(a[i, j])"""
    row = row_of_one(operation)

    def run(ctx: int, ops: int, st: int) -> None:
        rows, cols = word(ops, 2), word(ops, 3)
        d = tile(ctx, ops, st, 0, 0, rows, cols)
        if d == 0:
            return
        a = tile(ctx, ops, st, 1, 1, rows, cols)
        if a == 0:
            return
        d_pitch, a_pitch = pitch(st, 0), pitch(st, 1)
        made = detour(ctx, d, d_pitch, 4 * cols, a, a_pitch, 4 * cols, rows)
        for i in range(rows):
            row(made + i * d_pitch, a + i * a_pitch, cols)
        settle(d, d_pitch, made, rows, cols)
    return run


def with_scalar(operation: Any) -> Compiled:
    """dst[i, j] = operation(a[i, j], scalar)"""
    row = row_and_number(operation)

    def run(ctx: int, ops: int, st: int) -> None:
        scalar, rows, cols = splat8(number(word(ops, 2))), word(ops, 3), word(ops, 4)
        d = tile(ctx, ops, st, 0, 0, rows, cols)
        if d == 0:
            return
        a = tile(ctx, ops, st, 1, 1, rows, cols)
        if a == 0:
            return
        d_pitch, a_pitch = pitch(st, 0), pitch(st, 1)
        made = detour(ctx, d, d_pitch, 4 * cols, a, a_pitch, 4 * cols, rows)
        for i in range(rows):
            row(made + i * d_pitch, a + i * a_pitch, scalar, cols)
        settle(d, d_pitch, made, rows, cols)
    return run


def binary(operation: Any) -> Compiled:
    """dst[i, j] = operation(a[i, j], b[i, j])"""
    row = row_of_two(operation)

    def run(ctx: int, ops: int, st: int) -> None:
        rows, cols = word(ops, 3), word(ops, 4)
        d = tile(ctx, ops, st, 0, 0, rows, cols)
        if d == 0:
            return
        a = tile(ctx, ops, st, 1, 1, rows, cols)
        if a == 0:
            return
        b = tile(ctx, ops, st, 2, 2, rows, cols)
        if b == 0:
            return
        d_pitch, a_pitch, b_pitch = pitch(st, 0), pitch(st, 1), pitch(st, 2)
        made = detour(ctx, d, d_pitch, 4 * cols, a, a_pitch, 4 * cols, rows)
        if made == d:
            made = detour(ctx, d, d_pitch, 4 * cols, b, b_pitch, 4 * cols, rows)
        for i in range(rows):
            row(made + i * d_pitch, a + i * a_pitch, b + i * b_pitch, cols)
        settle(d, d_pitch, made, rows, cols)
    return run


def row_expand(operation: Any) -> Compiled:
    """dst[i, j] = operation(a[i, j], b[i])"""
    row = row_and_number(operation)

    def run(ctx: int, ops: int, st: int) -> None:
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
            row(made + i * d_pitch, a + i * a_pitch, splat8(load1(b + 4 * i)), cols)
        settle(d, d_pitch, made, rows, cols)
    return run


def col_expand(operation: Any) -> Compiled:
    """dst[i, j] = operation(a[i, j], b[j])"""
    row = row_of_two(operation)

    def run(ctx: int, ops: int, st: int) -> None:
        rows, cols = word(ops, 3), word(ops, 4)
        d = tile(ctx, ops, st, 0, 0, rows, cols)
        if d == 0:
            return
        a = tile(ctx, ops, st, 1, 1, rows, cols)
        if a == 0:
            return
        b = tile(ctx, ops, st, 2, 2, 1, cols)
        if b == 0:
            return
        d_pitch, a_pitch = pitch(st, 0), pitch(st, 1)
        made = detour(ctx, d, d_pitch, 4 * cols, a, a_pitch, 4 * cols, rows)
        if made == d:
            made = detour(ctx, d, d_pitch, 4 * cols, b, 0, 4 * cols, rows)
        for i in range(rows):
            row(made + i * d_pitch, a + i * a_pitch, b, cols)
        settle(d, d_pitch, made, rows, cols)
    return run


@handler(vector.TROWEXPAND, ROW, COL)
def column_everywhere(ctx: int, ops: int, st: int) -> None:
    """dst[i, j] = a[i]"""
    rows, cols = word(ops, 2), word(ops, 3)
    d = tile(ctx, ops, st, 0, 0, rows, cols)
    if d == 0:
        return
    a = tile(ctx, ops, st, 1, 1, 1, rows)
    if a == 0:
        return
    made = detour(ctx, d, pitch(st, 0), 4 * cols, a, 4, 4, rows)
    whole, left = 4 * (cols - cols % 8), cols % 8
    for i in range(rows):
        to, value = made + i * pitch(st, 0), splat8(canonical1(load1(a + 4 * i)))
        for j in range(0, whole, 32):
            store8(to + j, value)
        store_part(to + whole, left, value)
    settle(d, pitch(st, 0), made, rows, cols)


@inline
def same_row(to: int, at: int, cols: int) -> None:
    """A row as it is, but for its NaNs."""
    whole, left = 4 * (cols - cols % 8), cols % 8
    for j in range(0, whole, 32):
        store8(to + j, canonical8(load8(at + j)))
    if left:
        store_part(to + whole, left, canonical8(load_part(at + whole, left, ZERO)))


@handler(vector.TCOLEXPAND, ROW, ROW)
def row_everywhere(ctx: int, ops: int, st: int) -> None:
    """dst[i, j] = a[j]"""
    rows, cols = word(ops, 2), word(ops, 3)
    d = tile(ctx, ops, st, 0, 0, rows, cols)
    if d == 0:
        return
    a = tile(ctx, ops, st, 1, 1, 1, cols)
    if a == 0:
        return
    made = detour(ctx, d, pitch(st, 0), 4 * cols, a, 0, 4 * cols, rows)
    for i in range(rows):
        same_row(made + i * pitch(st, 0), a, cols)
    settle(d, pitch(st, 0), made, rows, cols)


@handler(vector.TCOLEXPAND, COL, COL)
def row_everywhere_in_columns(ctx: int, ops: int, st: int) -> None:
    """dst[i, j] = a[j]"""
    rows, cols = word(ops, 2), word(ops, 3)
    d = tile(ctx, ops, st, 0, 0, cols, rows)
    if d == 0:
        return
    a = tile(ctx, ops, st, 1, 1, cols, 1)
    if a == 0:
        return
    made = detour(ctx, d, pitch(st, 0), 4 * rows, a, pitch(st, 1), 4, cols)
    for j in range(cols):
        to, value, left = made + j * pitch(st, 0), splat8(canonical1(load1(a + j * pitch(st, 1)))), rows
        while left > 0:
            store_part(to, left, value)
            to += 32
            left -= 8
    settle(d, pitch(st, 0), made, cols, rows)


@inline
def divide_by(x: Any, y: Any) -> Any:
    """The number over each lane."""
    return div8(y, x)


def row_reduce(fold: Any) -> Compiled:
    """dst[i] = fold of a[i, :]"""
    def run(ctx: int, ops: int, st: int) -> None:
        rows, cols = word(ops, 2), word(ops, 3)
        d = tile(ctx, ops, st, 0, 0, 1, rows)
        if d == 0:
            return
        a = tile(ctx, ops, st, 1, 1, rows, cols)
        if a == 0:
            return
        a_pitch = pitch(st, 1)
        made = detour(ctx, d, 0, 4 * rows, a, a_pitch, 4 * cols, rows)
        for i in range(rows):
            store1(made + 4 * i, fold(ctx, a + i * a_pitch, cols))
        settle(d, 0, made, 1, rows)
    return run


@inline
def sum_fold(ctx: int, a: int, cols: int) -> Any:
    """The sum of a row: from the left, or in 32 lanes that start from -0, which adds nothing."""
    if cols == 0:
        return ZERO
    if word(ctx, EXACT):
        total = load1(a)
        for j in range(1, cols):
            total += load1(a + 4 * j)
        return canonical1(total)
    s0 = s1 = s2 = s3 = splat8(MINUS_ZERO)
    while cols >= 32:
        s0, s1 = plain_add8(s0, load8(a)), plain_add8(s1, load8(a + 32))
        s2, s3 = plain_add8(s2, load8(a + 64)), plain_add8(s3, load8(a + 96))
        a += 128
        cols -= 32
    while cols > 0:
        s0 = plain_add8(s0, load_part(a, cols, MINUS_ZERO))
        a += 32
        cols -= 8
    return canonical1(sum_lanes(plain_add8(plain_add8(s0, s1), plain_add8(s2, s3))))


@called
def careful_max(a: int, cols: int) -> Any:
    """The largest of a row where NaN or the sign of zero decides."""
    most = splat8(CANONICAL_NAN)
    while cols > 0:
        most = max8(most, load_part(a, cols, CANONICAL_NAN))
        a += 32
        cols -= 8
    return maximum_lane(most)


@inline
def max_fold(ctx: int, a: int, cols: int) -> Any:
    """The largest of a row; one compare a vector, and a second look where that cannot tell."""
    if cols == 0:
        return LOWEST
    start, left = a, cols
    s0 = s1 = s2 = s3 = splat8(LOWEST)
    while left >= 32:
        s0, s1 = greater8(load8(a), s0), greater8(load8(a + 32), s1)
        s2, s3 = greater8(load8(a + 64), s2), greater8(load8(a + 96), s3)
        a += 128
        left -= 32
    while left > 0:
        s0 = greater8(load_part(a, left, LOWEST), s0)
        a += 32
        left -= 8
    best = greatest_lane(greater8(greater8(s0, s1), greater8(s2, s3)))
    if best in (ZERO, LOWEST):
        return careful_max(start, cols)
    return best


@handler(vector.TEXPANDS, ROW)
def expansion(ctx: int, ops: int, st: int) -> None:
    """dst[i, j] = scalar"""
    scalar, rows, cols = splat8(canonical1(number(word(ops, 1)))), word(ops, 2), word(ops, 3)
    d = tile(ctx, ops, st, 0, 0, rows, cols)
    if d == 0:
        return
    whole, left = 4 * (cols - cols % 8), cols % 8
    for i in range(rows):
        to = d + i * pitch(st, 0)
        for j in range(0, whole, 32):
            store8(to + j, scalar)
        store_part(to + whole, left, scalar)


BINARY = {
    vector.TADD: add8, vector.TSUB: sub8, vector.TMUL: mul8, vector.TDIV: div8, vector.TMAX: max8, vector.TMIN: min8,
}
SCALAR = {vector.TMULS: mul8, vector.TADDS: add8, vector.TDIVS: div8, vector.TRDIVS: divide_by}
BY_ROW = {
    vector.TCOLEXPANDADD: add8, vector.TCOLEXPANDSUB: sub8,
    vector.TCOLEXPANDMUL: mul8, vector.TCOLEXPANDDIV: div8,
}
EXPAND = {
    vector.TROWEXPANDADD: add8, vector.TROWEXPANDSUB: sub8,
    vector.TROWEXPANDMUL: mul8, vector.TROWEXPANDDIV: div8,
}
for _row, _operation in BINARY.items():
    handler(_row, ROW, ROW, ROW)(binary(_operation))
for _row, _operation in SCALAR.items():
    handler(_row, ROW, ROW)(with_scalar(_operation))
for _row, _operation in BY_ROW.items():
    handler(_row, ROW, ROW, ROW)(col_expand(_operation))
for _row, _operation in EXPAND.items():
    handler(_row, ROW, ROW, COL)(row_expand(_operation))
handler(vector.TRELU, ROW, ROW)(unary(relu8))
handler(vector.TSQRT, ROW, ROW)(unary(sqrt8))
handler(vector.TROWSUM, COL, ROW)(row_reduce(sum_fold))
handler(vector.TROWMAX, COL, ROW)(row_reduce(max_fold))
