"""Elementwise instructions: one function for each number of operands, one pass for each instruction and type."""

from __future__ import annotations

from typing import Any

from pto.core.dtypes import DTYPES, PRED, DType
from pto.core.types import Layout
from pto.isa.spec import Instr
from pto.isa.table import vector
from pto.sim import vec
from pto.sim.kernels.checks import beside, pitch, tile
from pto.sim.kernels.copying import copy_rows
from pto.sim.kernels.registry import Compiled, handler
from pto.sim.lanes import FLOAT_LANES, Kind, Pass, Source
from pto.sim.layout import EXACT
from pto.sim.names import type_part
from pto.sim.operations import ONE, SCALAR, TWO, choice, comparison, fused, same
from pto.sim.vec import called, inline, load_bits, word

ROW, COL = Layout.ROW, Layout.COL
NOTHING = 0


@called
def settle(d: int, d_pitch: int, made: int, rows: int, nbytes: int) -> None:
    """Copy a result that was made elsewhere to its place."""
    if made != d:
        copy_rows(d, d_pitch, made, d_pitch, rows, nbytes)


def row_of(work: Pass) -> Any:
    """A pass over a row of up to three sources, those that are no lanes given once and for all."""
    step, last, lanes = work.step, work.last, work.lanes
    up_d, ups = work.result.size * lanes, [s.dtype.size * lanes * (s.kind is Kind.LANES) for s in work.sources]
    up_a, up_b, up_c = (*ups, 0, 0, 0)[:3]

    if len(ups) == 1:
        @inline
        def one(to: int, a: int, b: int, c: int, how: int, cols: int) -> None:
            for _ in range(cols // lanes):
                step(to, a, how)
                to += up_d
                a += up_a
            if cols % lanes:
                last(to, a, how, cols % lanes)
        return one
    if len(ups) == 2:
        @inline
        def two(to: int, a: int, b: int, c: int, how: int, cols: int) -> None:
            for _ in range(cols // lanes):
                step(to, a, b, how)
                to += up_d
                a += up_a
                b += up_b
            if cols % lanes:
                last(to, a, b, how, cols % lanes)
        return two

    @inline
    def three(to: int, a: int, b: int, c: int, how: int, cols: int) -> None:
        for _ in range(cols // lanes):
            step(to, a, b, c, how)
            to += up_d
            a += up_a
            b += up_b
            c += up_c
        if cols % lanes:
            last(to, a, b, c, how, cols % lanes)
    return three


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


def exponential(dtype: DType) -> Compiled:
    """dst[i, j] = e to the power a[i, j], by the mode's algorithm"""
    exact, fast = (
        called(over_one(Pass(dtype, (Source(dtype),), lambda b, how, x, one=one: one.emit(b, x))))
        for one in (vec.exp8_exact, vec.exp8_fast)
    )

    def run(ctx: int, ops: int, st: int) -> None:
        if word(ctx, EXACT):
            exact(ctx, ops, st)
        else:
            fast(ctx, ops, st)
    return run


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


def register(row: Instr) -> None:
    """The functions of a row whose operation has a name."""
    name = row.tensor_op
    for dtype in (DTYPES[names[0]] for names in row.dtypes):
        a, text = Source(dtype), dtype.name
        if row.mnemonic.startswith("trowexpand"):
            work = Pass(dtype, (a, Source(dtype, Kind.BITS)), TWO[name](dtype))
            handler(row, ROW, ROW, COL, types=text)(row_expand(work))
        elif row.mnemonic.startswith("tcolexpand"):
            handler(row, ROW, ROW, ROW, types=text)(col_expand(Pass(dtype, (a, a), TWO[name](dtype))))
        elif name in ONE:
            handler(row, ROW, ROW, types=text)(over_one(Pass(dtype, (a,), ONE[name](dtype))))
        elif name in SCALAR:
            work = Pass(dtype, (a, Source(dtype, Kind.NUMBER)), SCALAR[name](dtype))
            handler(row, ROW, ROW, types=text)(over_one(work, 2))
        elif name in TWO:
            handler(row, ROW, ROW, ROW, types=text)(over_two(Pass(dtype, (a, a), TWO[name](dtype))))


def register_mixed(dtype: DType) -> None:
    """The functions of comparisons, choices and constants of an element type."""
    a, number, mask = Source(dtype), Source(dtype, Kind.NUMBER), Source(PRED, raw=True)
    stored, constant_ = Source(dtype, raw=True), Source(dtype, Kind.NUMBER, raw=True)
    if (PRED.name, dtype.name, dtype.name) in vector.TCMP.dtypes:
        handler(vector.TCMP, ROW, ROW, ROW, types=f"pred_{dtype}_{dtype}")(
            over_two(Pass(PRED, (a, a), comparison(dtype))))
        handler(vector.TCMPS, ROW, ROW, types=f"pred_{dtype}")(
            over_one(Pass(PRED, (a, number), comparison(dtype)), 2))
    lanes = 0 if dtype.kind != "f" else FLOAT_LANES
    types = type_part(vector.TSELS, (dtype, PRED, dtype))
    work = Pass(dtype, (mask, stored, constant_), choice, lanes, raw=True)
    handler(vector.TSELS, ROW, ROW, ROW, types=types)(over_two(work, 3))
    handler(vector.TEXPANDS, ROW, types=dtype.name)(over_number(Pass(dtype, (constant_,), same, lanes, raw=True)))
    if (dtype.name,) in vector.TFMA.dtypes:
        handler(vector.TFMA, ROW, ROW, ROW, ROW, types=dtype.name)(over_three(Pass(dtype, (a, a, a), fused)))
        handler(vector.TEXP, ROW, ROW, types=dtype.name)(exponential(dtype))


for _row in vars(vector).values():
    if isinstance(_row, Instr) and _row.tensor_op:
        register(_row)
for _dtype in DTYPES.values():
    register_mixed(_dtype)
for _size, _dtype in BY_SIZE.items():
    _types, _work = f"b{8 * _size}", Pass(
        _dtype, (Source(PRED, raw=True), Source(_dtype), Source(_dtype)), choice, raw=True)
    handler(vector.TSEL, ROW, ROW, ROW, ROW, types=_types)(over_three(_work))
    handler(vector.TROWEXPAND, ROW, COL, types=_types)(column_everywhere(_size))
    handler(vector.TCOLEXPAND, ROW, ROW, types=_types)(row_everywhere(_size))
    handler(vector.TCOLEXPAND, COL, COL, types=_types)(row_everywhere_in_columns(_size))
