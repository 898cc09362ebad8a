"""Gathers, scatters, sequences, and reads of single elements."""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir

from pto.core.dtypes import S32, DType
from pto.core.types import Layout
from pto.isa.table import gather
from pto.sim import vec
from pto.sim.elements import add_element, put_integer, put_sequence, reader
from pto.sim.kernels.checks import OUT_OF_BOUNDS, pitch, step, stride, trap
from pto.sim.kernels.copying import arranger, copy_rows
from pto.sim.kernels.operands import Body, Form, extent, height
from pto.sim.kernels.registry import kernel
from pto.sim.layout import REGISTERS_AT, SPARE, WORD
from pto.sim.vec import (
    I32,
    I32X8,
    I64,
    INT,
    LANES,
    VOID,
    add_wrap,
    called,
    emits,
    emits_int,
    inline,
    mover,
    mul_wrap,
    set_word,
    word,
)

ROW, COL = Layout.ROW, Layout.COL
INDEX_OPERAND = 2
REGISTERS = WORD * REGISTERS_AT
START, ROW_STEP, COL_STEP = map(gather.TCI.position, ("start", "row_step", "col_step"))
read_index = reader(S32)
CHECKED, MOST = 32, 1 << 31  # indices that are looked at together; all s32 are below


@emits_int(INT, INT)
def all_below(b: ir.IRBuilder, at: ir.Value, limit: ir.Value) -> ir.Value:
    """1 where some s32 from an address on are all from 0 to below a limit, which is at most `MOST`."""
    kind = ir.VectorType(I32, CHECKED)
    highest = vec.broadcast(b, b.trunc(limit, I32), kind)
    return b.zext(b.not_(vec.any_lane(b, b.icmp_unsigned(">=", vec.load(b, at, kind), highest))), I64)


@called
def indices(ctx: int, at: int, row_pitch: int, rows: int, cols: int, limit: int) -> int:
    """The address of a copy of an index tile, whose elements are from 0 to below a limit; 0 and a trap else."""
    copy = number = word(ctx, SPARE)
    copy_rows(copy, 4 * cols, at, row_pitch, rows, 4 * cols)
    end = copy + 4 * rows * cols
    while number + 4 * CHECKED <= end and all_below(number, min(limit, MOST)):
        number += 4 * CHECKED
    while number < end:
        chosen = read_index(number)
        if chosen < 0 or chosen >= limit:
            return trap(ctx, OUT_OF_BOUNDS, INDEX_OPERAND, chosen)
        number += 4
    return copy


@inline
def behind(ctx: int, rows: int, cols: int) -> int:
    """Spare memory behind the copy of an index tile."""
    return word(ctx, SPARE) + (4 * rows * cols + 63) // 64 * 64


def by_row(form: Form, put: Any, *, scatters: bool) -> Body:
    """Rows between a tile and global memory, one after the other, where the index tile says."""
    tile, memory = (1, 0) if scatters else (0, 1)
    lines, length, size = form.places[tile].lines, form.places[tile].length, form.size

    def run(ctx: int, ops: int, st: int, at: Any) -> None:
        (d, s, index, _), rows, cols = at, extent(ops, lines), extent(ops, length)
        index = indices(ctx, index, 4 * rows, 1, rows, height(ctx, st, memory))
        if index == 0:
            return
        for i in range(rows):
            row, apart = read_index(index + 4 * i) * stride(ctx, st, memory), step(ctx, st, memory)
            if scatters:
                put(d + row, 0, apart, s, 0, size, 1, cols)
                s += pitch(st, tile)
            else:
                put(d, 0, size, s + row, 0, apart, 1, cols)
                d += pitch(st, tile)
    return run


@kernel(gather.MGATHER, ROW, COL)
def row_gather(form: Form) -> Body:
    """Rows of global memory, one after the other."""
    return by_row(form, arranger(form.size), scatters=False)


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


@kernel(gather.MSCATTER, ROW, COL)
def row_store(form: Form) -> Body:
    """Rows replace what is there."""
    return by_row(form, arranger(form.size), scatters=True)


@kernel(gather.MSCATTER_ADD, ROW, COL)
def row_add(form: Form) -> Body:
    """Rows are added to what is there."""
    return by_row(form, row_adder(form.types[0]), scatters=True)


@emits_int(INT)
def course(b: ir.IRBuilder, at: ir.Value) -> ir.Value:
    """1 where eight s32 from an address on rise by one each, -1 where they fall by one, else 0."""
    numbers = vec.load(b, at, I32X8)
    first = vec.broadcast(b, b.extract_element(numbers, I32(0)), I32X8)
    apart, steps = b.sub(numbers, first), vec.lanes(range(LANES))
    rises, falls = (b.icmp_signed("!=", apart, v) for v in (steps, b.sub(ir.Constant(I32X8, None), steps)))
    return b.select(b.not_(vec.any_lane(b, rises)), I64(1), b.sext(b.not_(vec.any_lane(b, falls)), I64))


def in_a_row(size: int, *, backwards: bool) -> Any:
    """A copy of eight elements that are next to each other, as they are or from the last to the first."""
    kind = ir.VectorType(ir.IntType(8 * size), LANES)
    order = range(LANES)[::-1] if backwards else range(LANES)

    def copy(b: ir.IRBuilder, to: ir.Value, at: ir.Value) -> None:
        elements = vec.load(b, at, kind)
        vec.store(b, to, b.shuffle_vector(elements, elements, vec.lanes(order)))
    return emits(VOID, INT, INT)(copy)


@cache
def picker(size: int) -> Any:
    """A copy of the elements of a row that some indices name, one after the other, or eight where these run."""
    move, copy, reverse = mover(size), in_a_row(size, backwards=False), in_a_row(size, backwards=True)

    @called
    def run(to: int, row: int, index: int, count: int) -> None:
        while count > 0:
            first, along = row + size * read_index(index), course(index) if count >= LANES else 0
            if along > 0:
                copy(to, first)
            elif along < 0:
                reverse(to, first - (LANES - 1) * size)
            else:
                for j in range(min(count, LANES)):
                    move(to + size * j, row + size * read_index(index + 4 * j))
            to += LANES * size
            index += 4 * LANES
            count -= LANES
    return run


def by_column(form: Form, *, scatters: bool) -> Body:
    """Elements of each row between a tile of the index tile's extents, and a row that has these columns."""
    move, pick, size, chosen = mover(form.size), picker(form.size), form.size, form.places[2]
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
            if scatters:
                for j in range(cols):
                    move(row + size * read_index(index + 4 * j), here + size * j)
            else:
                pick(here, row, index, cols)
            here += size * cols
            index += 4 * cols
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
    lines, length, width, pick = chosen.lines, chosen.length, src.length, picker(form.size)

    def run(ctx: int, ops: int, st: int, at: Any) -> None:
        (d, s, index, _), count, long = at, extent(ops, lines), extent(ops, length)
        index = indices(ctx, index, pitch(st, 2), count, long, extent(ops, width))
        if index == 0:
            return
        down, across, apart = stride(ctx, st, 1), step(ctx, st, 1), pitch(st, 0)
        from_line, along = (0, down) if upright else (down, 0)
        for _ in range(count):
            if across == size and along == 0:
                pick(d, s, index, long)
            else:
                for j in range(long):
                    move(d + size * j, s + j * along + read_index(index + 4 * j) * across)
            index += 4 * long
            s += from_line
            d += apart
    return run


@kernel(gather.TCI, ROW)
def sequence(form: Form) -> Body:
    """Numbers that rise evenly along rows and columns."""
    put, put_some, [dst] = put_integer(form.types[0]), put_sequence(form.types[0]), form.places
    lines, length = dst.lines, dst.length

    def run(ctx: int, ops: int, st: int, at: Any) -> None:
        start, down, across = word(ops, START), word(ops, ROW_STEP), word(ops, COL_STEP)
        to, apart, cols = at[0], pitch(st, 0), extent(ops, length)
        for _ in range(extent(ops, lines)):
            number = start
            for j in range(0, cols - LANES + 1, LANES):
                put_some(to + 4 * j, number, across)
                number = add_wrap(number, mul_wrap(LANES, across))
            for j in range(cols - cols % LANES, cols):
                put(to + 4 * j, number)
                number = add_wrap(number, across)
            start = add_wrap(start, down)
            to += apart
    return run


@kernel(gather.TGETVAL, ROW)
@kernel(gather.LDG)
def element(form: Form) -> Body:
    """An element of a tile or of global memory to a register."""
    read = reader(form.types[0])

    def run(ctx: int, ops: int, st: int, at: Any) -> None:
        set_word(ctx + REGISTERS, word(ops, 0), read(at[0]))
    return run
