"""Gathers, scatters, sequences, and reads of single elements."""

from __future__ import annotations

from typing import Any

from pto.core.dtypes import S32, DType
from pto.core.types import Layout
from pto.isa.table import gather
from pto.sim.elements import add_element, put_integer, reader
from pto.sim.kernels.checks import OUT_OF_BOUNDS, pitch, step, stride, trap
from pto.sim.kernels.copying import arranger, copy_rows
from pto.sim.kernels.operands import Body, Form, extent, height
from pto.sim.kernels.registry import kernel
from pto.sim.layout import REGISTERS_AT, SPARE, WORD
from pto.sim.vec import add_wrap, called, inline, mover, mul_wrap, set_word, word

ROW, COL = Layout.ROW, Layout.COL
INDEX_OPERAND = 2
REGISTERS = WORD * REGISTERS_AT
START, ROW_STEP, COL_STEP = map(gather.TCI.position, ("start", "row_step", "col_step"))
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


@kernel(gather.MGATHER, ROW, COL)
def row_gather(form: Form) -> Body:
    """Rows of global memory, one after the other."""
    dst, *_ = form.places
    lines, length, size, arrange = dst.lines, dst.length, form.size, arranger(form.size)

    def run(ctx: int, ops: int, st: int, at: Any) -> None:
        (d, s, index, _), rows, cols = at, extent(ops, lines), extent(ops, length)
        index = indices(ctx, index, 4 * rows, 1, rows, height(ctx, st, 1))
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


def row_scatter(form: Form, put: Any) -> Body:
    """Rows to global memory, one after the other."""
    _, src, _ = form.places
    lines, length, size = src.lines, src.length, form.size

    def run(ctx: int, ops: int, st: int, at: Any) -> None:
        (d, s, index, _), rows, cols = at, extent(ops, lines), extent(ops, length)
        index = indices(ctx, index, 4 * rows, 1, rows, height(ctx, st, 0))
        if index == 0:
            return
        for i in range(rows):
            row = d + read_index(index + 4 * i) * stride(ctx, st, 0)
            put(row, 0, step(ctx, st, 0), s, 0, size, 1, cols)
            s += pitch(st, 1)
    return run


@kernel(gather.MSCATTER, ROW, COL)
def row_store(form: Form) -> Body:
    """Rows replace what is there."""
    return row_scatter(form, arranger(form.size))


@kernel(gather.MSCATTER_ADD, ROW, COL)
def row_add(form: Form) -> Body:
    """Rows are added to what is there."""
    return row_scatter(form, row_adder(form.types[0]))


def by_column(form: Form, *, scatters: bool) -> Body:
    """Elements of each row between a tile of the index tile's extents, and a row that has these columns."""
    move, size, chosen = mover(form.size), form.size, form.places[2]
    lines, length, width = chosen.lines, chosen.length, form.places[0 if scatters else 1].length

    def run(ctx: int, ops: int, st: int, at: Any) -> None:
        (d, s, index, _), rows, cols = at, extent(ops, lines), extent(ops, length)
        index = indices(ctx, index, pitch(st, 2), rows, cols, extent(ops, width))
        if index == 0:
            return
        here = copy = behind(ctx, rows, cols)  # the destination may lie over the source
        if scatters:
            copy_rows(copy, size * cols, s, pitch(st, 1), rows, size * cols)
        row, apart = (d, pitch(st, 0)) if scatters else (s, pitch(st, 1))
        for _ in range(rows):
            for _ in range(cols):
                there = row + size * read_index(index)
                if scatters:
                    move(there, here)
                else:
                    move(here, there)
                here += size
                index += 4
            row += apart
        if not scatters:
            copy_rows(d, pitch(st, 0), copy, size * cols, rows, size * cols)
    return run


@kernel(gather.TGATHER, ROW, ROW, ROW)
def element_gather(form: Form) -> Body:
    """Elements of each row."""
    return by_column(form, scatters=False)


@kernel(gather.TSCATTER, ROW, ROW, ROW)
def element_scatter(form: Form) -> Body:
    """Elements to each row."""
    return by_column(form, scatters=True)


@kernel(gather.MGATHER_ELEM, ROW, ROW)
@kernel(gather.MGATHER_ELEM, COL, COL)
def memory_gather(form: Form) -> Body:
    """Elements of each row of global memory."""
    move, size, upright, (_, src, chosen) = mover(form.size), form.size, form.layouts[0] is COL, form.places
    lines, length, width = chosen.lines, chosen.length, src.length

    def run(ctx: int, ops: int, st: int, at: Any) -> None:
        (d, s, index, _), count, long = at, extent(ops, lines), extent(ops, length)
        index = indices(ctx, index, pitch(st, 2), count, long, extent(ops, width))
        if index == 0:
            return
        for line in range(count):
            for j in range(long):
                row = j if upright else line
                move(d + size * j, s + row * stride(ctx, st, 1) + read_index(index) * step(ctx, st, 1))
                index += 4
            d += pitch(st, 0)
    return run


@kernel(gather.TCI, ROW)
def sequence(form: Form) -> Body:
    """Numbers that rise evenly along rows and columns."""
    put, [dst] = put_integer(form.types[0]), form.places
    lines, length = dst.lines, dst.length

    def run(ctx: int, ops: int, st: int, at: Any) -> None:
        start, down, across = word(ops, START), word(ops, ROW_STEP), word(ops, COL_STEP)
        for i in range(extent(ops, lines)):
            for j in range(extent(ops, length)):
                number = add_wrap(start, add_wrap(mul_wrap(i, down), mul_wrap(j, across)))
                put(at[0] + i * pitch(st, 0) + 4 * j, number)
    return run


@kernel(gather.TGETVAL, ROW)
@kernel(gather.LDG)
def element(form: Form) -> Body:
    """An element of a tile or of global memory to a register."""
    read = reader(form.types[0])

    def run(ctx: int, ops: int, st: int, at: Any) -> None:
        set_word(ctx + REGISTERS, word(ops, 0), read(at[0]))
    return run
