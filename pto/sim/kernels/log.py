"""Records in a log: what an author prints, and what an assertion found."""

from __future__ import annotations

from typing import Any

from pto.core.dtypes import PRED, S32
from pto.core.types import Layout
from pto.isa.table import log
from pto.isa.table.log import HEADER, LOG, RECORD_HEADER
from pto.sim.elements import put_integer, reader
from pto.sim.kernels.checks import pitch, step
from pto.sim.kernels.operands import Body, Form, extent
from pto.sim.kernels.registry import kernel
from pto.sim.vec import called, inline, word

ROW, COL = Layout.ROW, Layout.COL
SRC, MASK = 1, 2  # slots
MOST = 0x7FFFFFFF
read_word, put_word, word_of_mask = reader(S32), put_integer(S32), reader(PRED)


@called
def begun(row: int, apart: int, site: int, rows: int, cols: int, words: int) -> int:
    """Take room for a record in a row of a log, write its header; gives where its elements go, or 0."""
    used = read_word(row)
    if used < 0 or used + HEADER + words > LOG:
        put_word(row + apart, (read_word(row + apart) + 1) & MOST)
        return 0
    put_word(row, used + words)
    at = row + (HEADER + used) * apart
    put_word(at, site)
    put_word(at + apart, rows)
    put_word(at + 2 * apart, cols)
    return at + RECORD_HEADER * apart


def placer(form: Form) -> Any:
    """Where an element of a tile is, from the tile's start."""
    upright = form.layouts[0] is COL

    @inline
    def place(ctx: int, st: int, slot: int, i: int, j: int, nbytes: int) -> int:
        return j * pitch(st, slot) + i * nbytes if upright else i * pitch(st, slot) + j * nbytes
    return place


def extents(form: Form) -> tuple[int, int]:
    """Rows and columns of the tiles, for `extent`."""
    src = form.places[SRC]
    return (src.length, src.lines) if form.layouts[0] is COL else (src.lines, src.length)


def writer(form: Form, per: int) -> Any:
    """Write a record's header and elements, with room for so many words each; gives what is behind them, or 0."""
    place, (down, across), src = placer(form), extents(form), form.places[SRC]
    size, read, site = src.dtype.size, reader(src.dtype), form.row.position("site")

    @inline
    def write(ctx: int, ops: int, st: int, at: Any) -> int:
        rows, cols, apart = extent(ops, down), extent(ops, across), step(ctx, st, 0)
        to = begun(at[0], apart, word(ops, site), rows, cols, RECORD_HEADER + per * rows * cols)
        if to == 0:
            return 0
        for i in range(rows):
            for j in range(cols):
                value = read(at[1] + place(ctx, st, SRC, i, j, size))
                put_word(to, value)
                put_word(to + apart, value >> 32)
                to += 2 * apart
        return to
    return write


@kernel(log.MLOG, ROW)
@kernel(log.MLOG, COL)
def record(form: Form) -> Body:
    """A record of a tile."""
    write = writer(form, 2)

    def run(ctx: int, ops: int, st: int, at: Any) -> None:
        write(ctx, ops, st, at)
    return run


@kernel(log.MLOG_UNLESS, ROW, ROW)
@kernel(log.MLOG_UNLESS, COL, COL)
def record_unless(form: Form) -> Body:
    """A record of a tile where a condition does not hold."""
    write, place, (down, across) = writer(form, 3), placer(form), extents(form)

    def run(ctx: int, ops: int, st: int, at: Any) -> None:
        rows, cols, held = extent(ops, down), extent(ops, across), 1
        for i in range(rows):
            for j in range(cols):
                held &= word_of_mask(at[2] + place(ctx, st, MASK, i, j, 1))
        if held:
            return
        to = write(ctx, ops, st, at)
        if to == 0:
            return
        for i in range(rows):
            for j in range(cols):
                put_word(to, word_of_mask(at[2] + place(ctx, st, MASK, i, j, 1)))
                to += step(ctx, st, 0)
    return run
