"""Moves of tiles: they keep bits, so one function serves all element types of a size.

Lines are the rows of a tile, or the columns of one that lies in columns: what is in one piece.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from pto.core.types import PANEL_COLS, Layout
from pto.isa.table import move
from pto.sim.kernels.ahead import ask_row, rows_ahead
from pto.sim.kernels.checks import pitch, step, stride
from pto.sim.kernels.copying import arranger, clear, copy_row, copy_rows, turner, windower
from pto.sim.kernels.operands import Body, Form, Place, aside, extent
from pto.sim.kernels.registry import kernel
from pto.sim.vec import called, inline

ROW, COL, PANEL = Layout.ROW, Layout.COL, Layout.PANEL


@inline
def strides_of_rows(ctx: int, st: int, slot: int) -> tuple[int, int]:
    """Bytes of a window from one line to the next, and along it, for a tile in rows."""
    return stride(ctx, st, slot), step(ctx, st, slot)


@inline
def strides_of_columns(ctx: int, st: int, slot: int) -> tuple[int, int]:
    """The same for a tile in columns."""
    return step(ctx, st, slot), stride(ctx, st, slot)


def strides_for(tile: Place) -> Any:
    """The strides of a window that is moved to or from a tile."""
    return strides_of_columns if tile.layout is COL else strides_of_rows


@inline
def unpack(d: int, d_pitch: int, s: int, panel: int, rows: int, nbytes: int, line: int) -> None:
    """Copy panels, whose rows have `line` bytes, to rows of so many bytes."""
    for i in range(rows):
        to, at, left = d + i * d_pitch, s + line * i, nbytes
        while left >= line:
            copy_row(to, at, line)
            to += line
            at += panel
            left -= line
        copy_row(to, at, left)


@cache
def panel_scatterer(size: int) -> Any:
    """A copy of panels to elements that lie apart."""
    arrange = arranger(size)

    @called
    def run(d: int, d_row: int, d_col: int, s: int, panel: int, rows: int, cols: int) -> None:
        while cols > 0:
            arrange(d, d_row, d_col, s, PANEL_COLS * size, size, rows, min(cols, PANEL_COLS))
            d += PANEL_COLS * d_col
            s += panel
            cols -= PANEL_COLS
    return run


@kernel(move.TLOAD, ROW)
@kernel(move.TLOAD, COL)
def loaded(form: Form) -> Body:
    """A window to a tile."""
    dst, _ = form.places
    lines, length, strides, copy_window = dst.lines, dst.length, strides_for(dst), windower(form.size)

    def run(ctx: int, ops: int, st: int, at: Any) -> None:
        down, along = strides(ctx, st, 1)
        copy_window(at[0], pitch(st, 0), at[1], down, along, extent(ops, lines), extent(ops, length))
    return run


@kernel(move.TSTORE, ROW)
@kernel(move.TSTORE, COL)
def stored(form: Form) -> Body:
    """A tile to a window."""
    _, src = form.places
    lines, length, strides = src.lines, src.length, strides_for(src)
    size, arrange = form.size, arranger(form.size)

    def run(ctx: int, ops: int, st: int, at: Any) -> None:
        d, s, _, _ = at
        down, along = strides(ctx, st, 0)
        if s == d:  # where it is on loan
            return
        if along == size:
            copy_rows(d, down, s, pitch(st, 1), extent(ops, lines), size * extent(ops, length))
        else:
            arrange(d, down, along, s, pitch(st, 1), size, extent(ops, lines), extent(ops, length))
    return run


@kernel(move.TSTORE, PANEL)
def stored_panels(form: Form) -> Body:
    """Panels to a window."""
    _, src = form.places
    lines, length, size, scatter = src.lines, src.length, form.size, panel_scatterer(form.size)

    def run(ctx: int, ops: int, st: int, at: Any) -> None:
        down, along = strides_of_rows(ctx, st, 0)
        rows, cols = extent(ops, lines), extent(ops, length)
        if along == size:
            unpack(at[0], down, at[1], pitch(st, 1), rows, size * cols, PANEL_COLS * size)
        else:
            scatter(at[0], down, along, at[1], pitch(st, 1), rows, cols)
    return run


@kernel(move.TEXTRACT_ROWS, ROW, PANEL)
@kernel(move.TMOV, ROW, PANEL)
def unpacked(form: Form) -> Body:
    """Panels to rows."""
    dst, _ = form.places
    lines, length, size = dst.lines, dst.length, form.size

    def run(ctx: int, ops: int, st: int, at: Any) -> None:
        rows, nbytes = extent(ops, lines), size * extent(ops, length)
        unpack(at[0], pitch(st, 0), at[1], pitch(st, 1), rows, nbytes, PANEL_COLS * size)
    return run


@kernel(move.TMOV, COL, PANEL)
def scattered(form: Form) -> Body:
    """Panels to columns."""
    dst, _ = form.places
    lines, length, size, scatter = dst.lines, dst.length, form.size, panel_scatterer(form.size)

    def run(ctx: int, ops: int, st: int, at: Any) -> None:
        scatter(at[0], size, pitch(st, 0), at[1], pitch(st, 1), extent(ops, length), extent(ops, lines))
    return run


@kernel(move.TEXTRACT, ROW, ROW)
@kernel(move.TTRANS, ROW, COL)
@kernel(move.TTRANS, COL, ROW)
@kernel(move.TMOV, ROW, ROW)
@kernel(move.TINSERT, ROW, ROW)
def copied(form: Form) -> Body:
    """Lines to lines."""
    dst, _ = form.places
    lines, length, size = dst.lines, dst.length, form.size

    def run(ctx: int, ops: int, st: int, to: int, at: Any) -> None:
        copy_rows(to, pitch(st, 0), at[1], pitch(st, 1), extent(ops, lines), size * extent(ops, length))
    return aside(form, run)


@kernel(move.TEXTRACT_T, ROW, ROW)
@kernel(move.TTRANS, ROW, ROW)
@kernel(move.TMOV, ROW, COL)
def turned(form: Form) -> Body:
    """Lines across lines."""
    dst, _ = form.places
    lines, length, turn = dst.lines, dst.length, turner(form.size)

    def run(ctx: int, ops: int, st: int, to: int, at: Any) -> None:
        turn(to, pitch(st, 0), at[1], pitch(st, 1), extent(ops, lines), extent(ops, length))
    return aside(form, run)


@kernel(move.TEXTRACT, PANEL, ROW)
def packed(form: Form) -> Body:
    """Rows to panels, filled up with zeros."""
    dst, _ = form.places
    lines, length, size, line = dst.lines, dst.length, form.size, PANEL_COLS * form.size

    def run(ctx: int, ops: int, st: int, at: Any) -> None:
        (d, s, _, _), panel, s_pitch = at, pitch(st, 0), pitch(st, 1)
        for k in range(extent(ops, lines)):
            to, here, left = d + line * k, s + k * s_pitch, size * extent(ops, length)
            while left >= line:
                copy_row(to, here, line)
                to += panel
                here += line
                left -= line
            if left > 0:
                clear(to, line)
                copy_row(to, here, left)
    return run


@kernel(move.TEXTRACT_T, PANEL, ROW)
def turned_to_panels(form: Form) -> Body:
    """Columns to panels, filled up with zeros."""
    dst, _ = form.places
    lines, length, size, turn, line = dst.lines, dst.length, form.size, turner(form.size), PANEL_COLS * form.size

    def run(ctx: int, ops: int, st: int, at: Any) -> None:
        (d, s, _, _), panel, s_pitch = at, pitch(st, 0), pitch(st, 1)
        rows, cols = extent(ops, lines), extent(ops, length)
        nbytes = rows * size
        asks = rows_ahead(cols, nbytes, s_pitch) > 0
        for j in range(0, cols, PANEL_COLS):
            count = min(cols - j, PANEL_COLS)
            for i in range(j + PANEL_COLS, j + PANEL_COLS + count) if asks else range(0):
                ask_row(s, s_pitch, i, cols, nbytes)
            if count < PANEL_COLS:
                clear(d, line * rows)
            turn(d, line, s + j * s_pitch, s_pitch, rows, count)
            d += panel
    return run
