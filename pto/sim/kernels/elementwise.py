"""Elementwise instructions: one function for each number of operands, one pass for each instruction and type."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from pto.core.dtypes import DTYPES, PRED, DType
from pto.core.types import Layout
from pto.isa.spec import Instr
from pto.isa.spec import Kind as OperandKind
from pto.isa.table import vector
from pto.sim.exponential import exp8_exact, exp8_fast
from pto.sim.kernels.checks import beside, pitch, tile
from pto.sim.kernels.copying import copy_rows, settle
from pto.sim.kernels.registry import Compiled, by_size, family
from pto.sim.lanes import Emit, Kind, Pass, Source
from pto.sim.layout import EXACT
from pto.sim.operations import ONE, SCALAR, TWO, choice, comparison, fused, same
from pto.sim.vec import called, inline, load_bits, word

ROW, COL = Layout.ROW, Layout.COL
NOTHING = 0


def row_of(work: Pass) -> Any:
    """A pass over a row of up to three sources, those that are no lanes given once and for all."""
    step, last, lanes = work.step, work.last, work.lanes
    advances = [source.dtype.size * lanes * (source.kind is Kind.LANES) for source in work.sources]
    up_d, (up_a, up_b, up_c) = work.result.size * lanes, (*advances, 0, 0)[:3]

    @inline
    def run(to: int, a: int, b: int, c: int, how: int, cols: int) -> None:
        for _ in range(cols // lanes):
            step(to, a, b, c, how)
            to += up_d
            a += up_a
            b += up_b
            c += up_c
        if cols % lanes:
            last(to, a, b, c, how, cols % lanes)
    return run


def over_number(work: Pass) -> Compiled:
    """dst = operation(scalar)"""
    row = row_of(work)

    def run(ctx: int, ops: int, st: int) -> None:
        rows, cols = word(ops, 2), word(ops, 3)
        d = tile(ctx, ops, st, 0, 0, rows, cols)
        if d == 0:
            return
        for i in range(rows):
            row(d + i * pitch(st, 0), word(ops, 1), NOTHING, NOTHING, NOTHING, cols)
    return run


def over_one(work: Pass, number: int = 0, second: int = 0) -> Compiled:
    """dst[i, j] = operation(a[i, j]), or operation(a[i, j], scalar) with the scalar in operand `number`.

    The word `how` is the first attribute, plus `second` times the second.
    """
    row, d_size, a_size = row_of(work), work.result.size, work.sources[0].dtype.size
    extents, alike = max(number, 1) + 1, d_size == a_size

    def run(ctx: int, ops: int, st: int) -> None:
        rows, cols = word(ops, extents), word(ops, extents + 1)
        how = word(ops, extents + 2) + second * word(ops, extents + 3)
        d = tile(ctx, ops, st, 0, 0, rows, cols)
        if d == 0:
            return
        a = tile(ctx, ops, st, 1, 1, rows, cols)
        if a == 0:
            return
        d_pitch, a_pitch = pitch(st, 0), pitch(st, 1)
        made = beside(ctx, d, d, d_pitch, d_size * cols, a, a_pitch, a_size * cols, rows, alike)
        for i in range(rows):
            row(made + i * d_pitch, a + i * a_pitch, word(ops, number), NOTHING, how, cols)
        settle(d, d_pitch, made, rows, d_size * cols)
    return run


def over_two(work: Pass, number: int = 0) -> Compiled:
    """dst[i, j] = operation(a[i, j], b[i, j]), or operation(a[i, j], b[i, j], scalar)."""
    row, d_size = row_of(work), work.result.size
    a_size, b_size = (source.dtype.size for source in work.sources[:2])
    extents, a_alike, b_alike = max(number, 2) + 1, d_size == a_size, d_size == b_size

    def run(ctx: int, ops: int, st: int) -> None:
        rows, cols, how = word(ops, extents), word(ops, extents + 1), word(ops, extents + 2)
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
        made = beside(ctx, d, d, d_pitch, d_size * cols, a, a_pitch, a_size * cols, rows, a_alike)
        made = beside(ctx, made, d, d_pitch, d_size * cols, b, b_pitch, b_size * cols, rows, b_alike)
        for i in range(rows):
            row(made + i * d_pitch, a + i * a_pitch, b + i * b_pitch, word(ops, number), how, cols)
        settle(d, d_pitch, made, rows, d_size * cols)
    return run


def over_three(work: Pass) -> Compiled:
    """dst[i, j] = operation(a[i, j], b[i, j], c[i, j])"""
    row, d_size = row_of(work), work.result.size
    a_size, b_size, c_size = (source.dtype.size for source in work.sources)
    a_alike, b_alike, c_alike = d_size == a_size, d_size == b_size, d_size == c_size

    def run(ctx: int, ops: int, st: int) -> None:
        rows, cols = word(ops, 4), word(ops, 5)
        d = tile(ctx, ops, st, 0, 0, rows, cols)
        if d == 0:
            return
        a = tile(ctx, ops, st, 1, 1, rows, cols)
        if a == 0:
            return
        b = tile(ctx, ops, st, 2, 2, rows, cols)
        if b == 0:
            return
        c = tile(ctx, ops, st, 3, 3, rows, cols)
        if c == 0:
            return
        d_pitch, a_pitch, b_pitch, c_pitch = pitch(st, 0), pitch(st, 1), pitch(st, 2), pitch(st, 3)
        made = beside(ctx, d, d, d_pitch, d_size * cols, a, a_pitch, a_size * cols, rows, a_alike)
        made = beside(ctx, made, d, d_pitch, d_size * cols, b, b_pitch, b_size * cols, rows, b_alike)
        made = beside(ctx, made, d, d_pitch, d_size * cols, c, c_pitch, c_size * cols, rows, c_alike)
        for i in range(rows):
            row(made + i * d_pitch, a + i * a_pitch, b + i * b_pitch, c + i * c_pitch, NOTHING, cols)
        settle(d, d_pitch, made, rows, d_size * cols)
    return run


def row_expand(work: Pass) -> Compiled:
    """dst[i, j] = operation(a[i, j], b[i])"""
    row, size, bits = row_of(work), work.result.size, load_bits(work.result.size)

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
        made = beside(ctx, d, d, d_pitch, size * cols, a, a_pitch, size * cols, rows, True)
        made = beside(ctx, made, d, d_pitch, size * cols, b, size, size, rows, False)
        for i in range(rows):
            row(made + i * d_pitch, a + i * a_pitch, bits(b + size * i), NOTHING, NOTHING, cols)
        settle(d, d_pitch, made, rows, size * cols)
    return run


def col_expand(work: Pass) -> Compiled:
    """dst[i, j] = operation(a[i, j], b[j])"""
    row, size = row_of(work), work.result.size

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
        made = beside(ctx, d, d, d_pitch, size * cols, a, a_pitch, size * cols, rows, True)
        made = beside(ctx, made, d, d_pitch, size * cols, b, 0, size * cols, rows, False)
        for i in range(rows):
            row(made + i * d_pitch, a + i * a_pitch, b, NOTHING, NOTHING, cols)
        settle(d, d_pitch, made, rows, size * cols)
    return run


def by_mode(make: Callable[[Emit], Compiled], exact: Emit, fast: Emit) -> Compiled:
    """The function of an operation that has an algorithm for each mode."""
    careful, quick = called(make(exact)), called(make(fast))

    def run(ctx: int, ops: int, st: int) -> None:
        if word(ctx, EXACT):
            careful(ctx, ops, st)
        else:
            quick(ctx, ops, st)
    return run


def exponential(dtype: DType) -> Compiled:
    """dst[i, j] = e to the power a[i, j]"""
    return by_mode(lambda emit: over_one(Pass(dtype, (Source(dtype),), emit)),
                   *(lambda b, how, x, one=one: one.emit(b, x) for one in (exp8_exact, exp8_fast)))


def exponential_of_difference(dtype: DType) -> Compiled:
    """dst[i, j] = e to the power a[i, j] - b[i]"""
    sources = Source(dtype), Source(dtype, Kind.BITS)
    return by_mode(lambda emit: row_expand(Pass(dtype, sources, emit)),
                   *(lambda b, how, x, y, one=one: one.emit(b, b.fsub(x, y)) for one in (exp8_exact, exp8_fast)))


def column_everywhere(size: int) -> Compiled:
    """dst[i, j] = a[i]"""
    dtype = BY_SIZE[size]
    row, bits = row_of(Pass(dtype, (Source(dtype, Kind.BITS, raw=True),), same, raw=True)), load_bits(size)

    def run(ctx: int, ops: int, st: int) -> None:
        rows, cols = word(ops, 2), word(ops, 3)
        d = tile(ctx, ops, st, 0, 0, rows, cols)
        if d == 0:
            return
        a = tile(ctx, ops, st, 1, 1, 1, rows)
        if a == 0:
            return
        d_pitch = pitch(st, 0)
        made = beside(ctx, d, d, d_pitch, size * cols, a, size, size, rows, False)
        for i in range(rows):
            row(made + i * d_pitch, bits(a + size * i), NOTHING, NOTHING, NOTHING, cols)
        settle(d, d_pitch, made, rows, size * cols)
    return run


def row_everywhere(size: int) -> Compiled:
    """dst[i, j] = a[j]"""
    def run(ctx: int, ops: int, st: int) -> None:
        rows, cols = word(ops, 2), word(ops, 3)
        d = tile(ctx, ops, st, 0, 0, rows, cols)
        if d == 0:
            return
        a = tile(ctx, ops, st, 1, 1, 1, cols)
        if a == 0:
            return
        made = beside(ctx, d, d, pitch(st, 0), size * cols, a, 0, size * cols, rows, False)
        copy_rows(made, pitch(st, 0), a, 0, rows, size * cols)
        settle(d, pitch(st, 0), made, rows, size * cols)
    return run


def row_everywhere_in_columns(size: int) -> Compiled:
    """dst[i, j] = a[j]"""
    dtype = BY_SIZE[size]
    row, bits = row_of(Pass(dtype, (Source(dtype, Kind.BITS, raw=True),), same, raw=True)), load_bits(size)

    def run(ctx: int, ops: int, st: int) -> None:
        rows, cols = word(ops, 2), word(ops, 3)
        d = tile(ctx, ops, st, 0, 0, cols, rows)
        if d == 0:
            return
        a = tile(ctx, ops, st, 1, 1, cols, 1)
        if a == 0:
            return
        d_pitch, a_pitch = pitch(st, 0), pitch(st, 1)
        made = beside(ctx, d, d, d_pitch, size * rows, a, a_pitch, size, cols, False)
        for j in range(cols):
            row(made + j * d_pitch, bits(a + j * a_pitch), NOTHING, NOTHING, NOTHING, rows)
        settle(d, d_pitch, made, cols, size * rows)
    return run


BY_SIZE = {1: DTYPES["u8"], 2: DTYPES["s16"], 4: DTYPES["s32"]}  # stand for all types of a size


def named(row: Instr, dtype: DType) -> Compiled:
    """The function of a row whose operation has a name, for an element type."""
    name, a = row.tensor_op, Source(dtype)
    if row.mnemonic.startswith("trowexpand"):
        return row_expand(Pass(dtype, (a, Source(dtype, Kind.BITS)), TWO[name](dtype)))
    if row.mnemonic.startswith("tcolexpand"):
        return col_expand(Pass(dtype, (a, a), TWO[name](dtype)))
    if name in ONE:
        return over_one(Pass(dtype, (a,), ONE[name](dtype)))
    if name in SCALAR:
        return over_one(Pass(dtype, (a, Source(dtype, Kind.NUMBER)), SCALAR[name](dtype)), 2)
    return over_two(Pass(dtype, (a, a), TWO[name](dtype)))


def compared(dtype: DType) -> Compiled:
    """dst[i, j] = whether a[i, j] and b[i, j] compare so"""
    return over_two(Pass(PRED, (Source(dtype), Source(dtype)), comparison(dtype)))


def compared_with_scalar(dtype: DType) -> Compiled:
    """dst[i, j] = whether a[i, j] and scalar compare so"""
    return over_one(Pass(PRED, (Source(dtype), Source(dtype, Kind.NUMBER)), comparison(dtype)), 2)


def chosen_or_scalar(dtype: DType) -> Compiled:
    """dst[i, j] = a[i, j] where mask[i, j], else scalar"""
    sources = (Source(PRED, raw=True), Source(dtype, raw=True), Source(dtype, Kind.NUMBER, raw=True))
    return over_two(Pass(dtype, sources, choice, raw=True), 3)


def chosen(size: int) -> Compiled:
    """dst[i, j] = a[i, j] where mask[i, j], else b[i, j]"""
    dtype = BY_SIZE[size]
    return over_three(Pass(dtype, (Source(PRED, raw=True), Source(dtype), Source(dtype)), choice, raw=True))


def scalar_everywhere(dtype: DType) -> Compiled:
    """dst[i, j] = scalar"""
    return over_number(Pass(dtype, (Source(dtype, Kind.NUMBER, raw=True),), same, raw=True))


def fused_product(dtype: DType) -> Compiled:
    """dst[i, j] = a[i, j] * b[i, j] + c[i, j]"""
    return over_three(Pass(dtype, (Source(dtype),) * 3, fused))


for _row in vars(vector).values():
    if isinstance(_row, Instr) and set(_row.tensor_op.split()) & {*ONE, *SCALAR, *TWO}:
        _count = sum(operand.kind is OperandKind.TILE for operand in _row.operands)
        _layouts = (ROW, ROW, COL) if _row.mnemonic.startswith("trowexpand") else (ROW,) * _count
        family(_row, *_layouts)(partial(named, _row))
family(vector.TEXP, ROW, ROW)(exponential)
family(vector.TROWEXPANDEXPDIF, ROW, ROW, COL)(exponential_of_difference)
family(vector.TFMA, ROW, ROW, ROW, ROW)(fused_product)
family(vector.TCMP, ROW, ROW, ROW, types=1)(compared)
family(vector.TCMPS, ROW, ROW, types=1)(compared_with_scalar)
family(vector.TSELS, ROW, ROW, ROW)(chosen_or_scalar)
family(vector.TEXPANDS, ROW)(scalar_everywhere)
by_size(vector.TSEL, ROW, ROW, ROW, ROW)(chosen)
by_size(vector.TROWEXPAND, ROW, COL)(column_everywhere)
by_size(vector.TCOLEXPAND, ROW, ROW)(row_everywhere)
by_size(vector.TCOLEXPAND, COL, COL)(row_everywhere_in_columns)
