"""Gathers, scatters, sequences, and reads of single elements."""

from __future__ import annotations

from typing import Any

from pto.core.dtypes import DTYPES, F32, S32, DType
from pto.core.types import Layout
from pto.isa.table import gather
from pto.sim.elements import add_element, put_integer, reader
from pto.sim.kernels.checks import OUT_OF_BOUNDS, part, pitch, step, stride, surface, tile, trap, window, window_out
from pto.sim.kernels.copying import arranger, copy_rows
from pto.sim.kernels.registry import Compiled, handler
from pto.sim.layout import REGISTERS_AT, SPARE, TENSOR_ROWS, WORD
from pto.sim.vec import add_wrap, called, inline, mover, mul_wrap, set_word, word

ROW, COL = Layout.ROW, Layout.COL
INDEX_OPERAND = 2
REGISTERS = WORD * REGISTERS_AT
read_index = reader(S32)


@called
def indices(ctx: int, at: int, row_pitch: int, rows: int, cols: int, limit: int) -> int:
    """The address of a copy of an index tile, whose elements are from 0 to below a limit; 0 and a trap else."""
    copy_rows(word(ctx, SPARE), 4 * cols, at, row_pitch, rows, 4 * cols)
    for number in range(rows * cols):
        chosen = read_index(word(ctx, SPARE) + 4 * number)
        if chosen < 0 or chosen >= limit:
            return trap(ctx, OUT_OF_BOUNDS, INDEX_OPERAND, chosen)
    return word(ctx, SPARE)


@inline
def behind(ctx: int, rows: int, cols: int) -> int:
    """Spare memory behind the copy of an index tile."""
    return word(ctx, SPARE) + (4 * rows * cols + 63) // 64 * 64


def mgather(size: int) -> Compiled:
    """Rows of global memory, one after the other."""
    arrange = arranger(size)

    def run(ctx: int, ops: int, st: int) -> None:
        j, rows, cols = word(ops, 3), word(ops, 4), word(ops, 5)
        d = tile(ctx, ops, st, 0, 0, rows, cols)
        if d == 0:
            return
        height = word(surface(ctx, st, 1), TENSOR_ROWS)
        s = window(ctx, st, 1, 1, 0, j, max(height, 0), cols)
        if s == 0:
            return
        index = tile(ctx, ops, st, 2, 2, 1, rows)
        if index == 0:
            return
        index = indices(ctx, index, 4 * rows, 1, rows, height)
        if index == 0:
            return
        for i in range(rows):
            row = s + read_index(index + 4 * i) * stride(ctx, st, 1)
            arrange(d, 0, size, row, 0, step(ctx, st, 1), 1, cols)
            d += pitch(st, 0)
    return run


def row_adder(dtype: DType) -> Any:
    """The sum of a row and elements that may lie apart, in their place."""
    add, size = add_element(dtype), dtype.size

    @inline
    def run(d: int, _row: int, apart: int, s: int, _s_row: int, _s_col: int, _rows: int, cols: int) -> None:
        for _ in range(cols):
            add(d, s)
            d += apart
            s += size
    return run


def mscatter(size: int, put: Any) -> Compiled:
    """Rows to global memory, one after the other."""
    def run(ctx: int, ops: int, st: int) -> None:
        j, rows, cols = word(ops, 3), word(ops, 4), word(ops, 5)
        height = word(surface(ctx, st, 0), TENSOR_ROWS)
        d = window_out(ctx, st, 0, 0, 0, j, max(height, 0), cols)
        if d == 0:
            return
        s = tile(ctx, ops, st, 1, 1, rows, cols)
        if s == 0:
            return
        index = tile(ctx, ops, st, 2, 2, 1, rows)
        if index == 0:
            return
        index = indices(ctx, index, 4 * rows, 1, rows, height)
        if index == 0:
            return
        for i in range(rows):
            row = d + read_index(index + 4 * i) * stride(ctx, st, 0)
            put(row, 0, step(ctx, st, 0), s, 0, size, 1, cols)
            s += pitch(st, 1)
    return run


def tgather(size: int) -> Compiled:
    """Elements of each row."""
    move = mover(size)

    def run(ctx: int, ops: int, st: int) -> None:
        rows, cols, width = word(ops, 3), word(ops, 4), word(ops, 5)
        d = tile(ctx, ops, st, 0, 0, rows, cols)
        if d == 0:
            return
        s = tile(ctx, ops, st, 1, 1, rows, width)
        if s == 0:
            return
        index = tile(ctx, ops, st, 2, 2, rows, cols)
        if index == 0:
            return
        index = indices(ctx, index, pitch(st, 2), rows, cols, width)
        if index == 0:
            return
        made = to = behind(ctx, rows, cols)
        for _ in range(rows):
            for _ in range(cols):
                move(to, s + size * read_index(index))
                to += size
                index += 4
            s += pitch(st, 1)
        copy_rows(d, pitch(st, 0), made, size * cols, rows, size * cols)
    return run


def mgather_elem(size: int, *, upright: bool) -> Compiled:
    """Elements of each row of global memory; `upright`: tiles of one column."""
    move = mover(size)

    def run(ctx: int, ops: int, st: int) -> None:
        i, rows, cols, width = word(ops, 3), word(ops, 4), word(ops, 5), word(ops, 6)
        d = tile(ctx, ops, st, 0, 0, cols, rows) if upright else tile(ctx, ops, st, 0, 0, rows, cols)
        if d == 0:
            return
        s = window(ctx, st, 1, 1, i, 0, rows, width)
        if s == 0:
            return
        index = tile(ctx, ops, st, 2, 2, cols, rows) if upright else tile(ctx, ops, st, 2, 2, rows, cols)
        if index == 0:
            return
        index = indices(ctx, index, pitch(st, 2), cols if upright else rows, rows if upright else cols, width)
        if index == 0:
            return
        down = size if upright else pitch(st, 0)
        along = pitch(st, 0) if upright else size
        for r in range(rows):
            for c in range(cols):
                at = index + 4 * (c * rows + r) if upright else index + 4 * (r * cols + c)
                move(d + r * down + c * along, s + read_index(at) * step(ctx, st, 1))
            s += stride(ctx, st, 1)
    return run


def tscatter(size: int) -> Compiled:
    """Elements to each row."""
    move = mover(size)

    def run(ctx: int, ops: int, st: int) -> None:
        rows, cols, width = word(ops, 3), word(ops, 4), word(ops, 5)
        d = tile(ctx, ops, st, 0, 0, rows, width)
        if d == 0:
            return
        s = tile(ctx, ops, st, 1, 1, rows, cols)
        if s == 0:
            return
        index = tile(ctx, ops, st, 2, 2, rows, cols)
        if index == 0:
            return
        index = indices(ctx, index, pitch(st, 2), rows, cols, width)
        if index == 0:
            return
        at = behind(ctx, rows, cols)
        copy_rows(at, size * cols, s, pitch(st, 1), rows, size * cols)
        for _ in range(rows):
            for _ in range(cols):
                move(d + size * read_index(index), at)
                at += size
                index += 4
            d += pitch(st, 0)
    return run


def tci(dtype: DType) -> Compiled:
    """A sequence."""
    put = put_integer(dtype)

    def run(ctx: int, ops: int, st: int) -> None:
        start, down, across = word(ops, 1), word(ops, 2), word(ops, 3)
        rows, cols = word(ops, 4), word(ops, 5)
        d = tile(ctx, ops, st, 0, 0, rows, cols)
        if d == 0:
            return
        for i in range(rows):
            for j in range(cols):
                number = add_wrap(start, add_wrap(mul_wrap(i, down), mul_wrap(j, across)))
                put(d + i * pitch(st, 0) + 4 * j, number)
    return run


def tgetval(dtype: DType) -> Compiled:
    """An element of a tile to a register."""
    read = reader(dtype)

    def run(ctx: int, ops: int, st: int) -> None:
        s = part(ctx, ops, st, 0, 1, word(ops, 2), word(ops, 3), 1, 1)
        if s != 0:
            set_word(ctx + REGISTERS, word(ops, 0), read(s))
    return run


def ldg(dtype: DType) -> Compiled:
    """An element of global memory to a register."""
    read = reader(dtype)

    def run(ctx: int, ops: int, st: int) -> None:
        s = window(ctx, st, 0, 1, word(ops, 2), word(ops, 3), 1, 1)
        if s != 0:
            set_word(ctx + REGISTERS, word(ops, 0), read(s))
    return run


for _size in (1, 2, 4):
    _bits = f"b{8 * _size}"
    handler(gather.MGATHER, ROW, COL, types=_bits)(mgather(_size))
    handler(gather.MSCATTER, ROW, COL, types=_bits)(mscatter(_size, arranger(_size)))
    handler(gather.TGATHER, ROW, ROW, ROW, types=_bits)(tgather(_size))
    handler(gather.TSCATTER, ROW, ROW, ROW, types=_bits)(tscatter(_size))
    handler(gather.MGATHER_ELEM, ROW, ROW, types=_bits)(mgather_elem(_size, upright=False))
    handler(gather.MGATHER_ELEM, COL, COL, types=_bits)(mgather_elem(_size, upright=True))
handler(gather.MSCATTER_ADD, ROW, COL, types="f32_f32_s32")(mscatter(4, row_adder(F32)))
handler(gather.MSCATTER_ADD, ROW, COL, types="s32")(mscatter(4, row_adder(S32)))
for _dtype in (F32, S32):
    handler(gather.TCI, ROW, types=_dtype.name)(tci(_dtype))
for _dtype in DTYPES.values():
    handler(gather.TGETVAL, ROW, types=_dtype.name)(tgetval(_dtype))
    handler(gather.LDG, types=_dtype.name)(ldg(_dtype))
