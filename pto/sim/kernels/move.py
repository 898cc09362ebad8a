"""Moves of tiles."""

from __future__ import annotations

from pto.core.types import Layout
from pto.isa.table import move
from pto.sim.kernels.checks import detour, panels, part, pitch, step, stride, tile, window, window_out
from pto.sim.kernels.copying import clear, copy_row, copy_rows, copy_window, exchange, rearrange, transpose
from pto.sim.kernels.registry import handler
from pto.sim.layout import SPARE
from pto.sim.vec import called, inline, load8, load_part, store8, word

ROW, COL, PANEL = Layout.ROW, Layout.COL, Layout.PANEL


@inline
def unpack(d: int, d_pitch: int, s: int, panel: int, rows: int, cols: int) -> None:
    """Copy a region of panels to rows."""
    for i in range(rows):
        to, at, left = d + i * d_pitch, s + 64 * i, cols
        while left >= 16:
            store8(to, load8(at))
            store8(to + 32, load8(at + 32))
            to += 64
            at += panel
            left -= 16
        copy_row(to, at, left)


@inline
def move_rows(ctx: int, d: int, d_pitch: int, s: int, s_pitch: int, rows: int, cols: int) -> None:
    """Copy rows within a memory, by way of spare memory where they overlap in another shape."""
    to = detour(ctx, d, d_pitch, 4 * cols, s, s_pitch, 4 * cols, rows)
    copy_rows(to, d_pitch, s, s_pitch, rows, cols)
    if to != d:
        copy_rows(d, d_pitch, to, d_pitch, rows, cols)


@called
def scatter_panels(d: int, d_row: int, d_col: int, s: int, panel: int, rows: int, cols: int) -> None:
    """Copy a region of panels to elements that lie apart."""
    while cols > 0:
        rearrange(d, d_row, d_col, s, 64, 4, rows, min(cols, 16))
        d += 16 * d_col
        s += panel
        cols -= 16


@handler(move.TLOAD, ROW)
def tload(ctx: int, ops: int, st: int) -> None:
    """A window to rows."""
    i, j, rows, cols = word(ops, 2), word(ops, 3), word(ops, 4), word(ops, 5)
    d = tile(ctx, ops, st, 0, 0, rows, cols)
    if d == 0:
        return
    s = window(ctx, st, 1, 1, i, j, rows, cols)
    if s != 0:
        copy_window(d, pitch(st, 0), s, stride(ctx, st, 1), step(ctx, st, 1), rows, cols)


@handler(move.TLOAD, COL)
def tload_column(ctx: int, ops: int, st: int) -> None:
    """A window to columns."""
    i, j, rows, cols = word(ops, 2), word(ops, 3), word(ops, 4), word(ops, 5)
    d = tile(ctx, ops, st, 0, 0, cols, rows)
    if d == 0:
        return
    s = window(ctx, st, 1, 1, i, j, rows, cols)
    if s != 0:
        rearrange(d, 4, pitch(st, 0), s, stride(ctx, st, 1), step(ctx, st, 1), rows, cols)


@handler(move.TSTORE, ROW)
def tstore(ctx: int, ops: int, st: int) -> None:
    """Rows to a window."""
    i, j, rows, cols = word(ops, 2), word(ops, 3), word(ops, 4), word(ops, 5)
    d = window_out(ctx, st, 0, 0, i, j, rows, cols)
    if d == 0:
        return
    s = tile(ctx, ops, st, 1, 1, rows, cols)
    if s == 0:
        return
    if step(ctx, st, 0) == 4:
        copy_rows(d, stride(ctx, st, 0), s, pitch(st, 1), rows, cols)
    else:
        rearrange(d, stride(ctx, st, 0), step(ctx, st, 0), s, pitch(st, 1), 4, rows, cols)


@handler(move.TSTORE, COL)
def tstore_column(ctx: int, ops: int, st: int) -> None:
    """Columns to a window."""
    i, j, rows, cols = word(ops, 2), word(ops, 3), word(ops, 4), word(ops, 5)
    d = window_out(ctx, st, 0, 0, i, j, rows, cols)
    if d == 0:
        return
    s = tile(ctx, ops, st, 1, 1, cols, rows)
    if s != 0:
        rearrange(d, stride(ctx, st, 0), step(ctx, st, 0), s, 4, pitch(st, 1), rows, cols)


@handler(move.TSTORE, PANEL)
def tstore_panels(ctx: int, ops: int, st: int) -> None:
    """Panels to a window."""
    i, j, rows, cols = word(ops, 2), word(ops, 3), word(ops, 4), word(ops, 5)
    d = window_out(ctx, st, 0, 0, i, j, rows, cols)
    if d == 0:
        return
    s = panels(ctx, ops, st, 1, 1, rows, cols)
    if s == 0:
        return
    if step(ctx, st, 0) == 4:
        unpack(d, stride(ctx, st, 0), s, pitch(st, 1), rows, cols)
    else:
        scatter_panels(d, stride(ctx, st, 0), step(ctx, st, 0), s, pitch(st, 1), rows, cols)


@handler(move.TEXTRACT, ROW, ROW)
def textract(ctx: int, ops: int, st: int) -> None:
    """Rows of L1 to rows of L0A."""
    i, j, rows, cols = word(ops, 2), word(ops, 3), word(ops, 4), word(ops, 5)
    d = tile(ctx, ops, st, 0, 0, rows, cols)
    if d == 0:
        return
    s = part(ctx, ops, st, 1, 1, i, j, rows, cols)
    if s != 0:
        copy_rows(d, pitch(st, 0), s, pitch(st, 1), rows, cols)


@handler(move.TEXTRACT, PANEL, ROW)
def textract_panels(ctx: int, ops: int, st: int) -> None:
    """Rows of L1 to panels of L0B, filled up with zeros."""
    i, j, rows, cols = word(ops, 2), word(ops, 3), word(ops, 4), word(ops, 5)
    d = panels(ctx, ops, st, 0, 0, rows, cols)
    if d == 0:
        return
    s = part(ctx, ops, st, 1, 1, i, j, rows, cols)
    if s == 0:
        return
    panel, s_pitch = pitch(st, 0), pitch(st, 1)
    for k in range(rows):
        to, at, left = d + 64 * k, s + k * s_pitch, cols
        while left >= 16:
            store8(to, load8(at))
            store8(to + 32, load8(at + 32))
            to += panel
            at += 64
            left -= 16
        if left > 0:
            store8(to, load_part(at, left, 0.0))
            store8(to + 32, load_part(at + 32, left - 8, 0.0))


@handler(move.TEXTRACT_T, ROW, ROW)
def textract_t(ctx: int, ops: int, st: int) -> None:
    """Columns of L1 to rows of L0A."""
    i, j, rows, cols = word(ops, 2), word(ops, 3), word(ops, 4), word(ops, 5)
    d = tile(ctx, ops, st, 0, 0, rows, cols)
    if d == 0:
        return
    s = part(ctx, ops, st, 1, 1, i, j, cols, rows)
    if s != 0:
        transpose(d, pitch(st, 0), s, pitch(st, 1), rows, cols)


@handler(move.TEXTRACT_T, PANEL, ROW)
def textract_t_panels(ctx: int, ops: int, st: int) -> None:
    """Columns of L1 to panels of L0B, filled up with zeros."""
    i, j, rows, cols = word(ops, 2), word(ops, 3), word(ops, 4), word(ops, 5)
    d = panels(ctx, ops, st, 0, 0, rows, cols)
    if d == 0:
        return
    s = part(ctx, ops, st, 1, 1, i, j, cols, rows)
    if s == 0:
        return
    panel, s_pitch = pitch(st, 0), pitch(st, 1)
    while cols > 0:
        if cols < 16:
            clear(d, 64 * rows)
        transpose(d, 64, s, s_pitch, rows, min(cols, 16))
        d += panel
        s += 16 * s_pitch
        cols -= 16


@handler(move.TTRANS, ROW, ROW)
def ttrans(ctx: int, ops: int, st: int) -> None:
    """Columns to rows."""
    rows, cols = word(ops, 2), word(ops, 3)
    d = tile(ctx, ops, st, 0, 0, rows, cols)
    if d == 0:
        return
    s = tile(ctx, ops, st, 1, 1, cols, rows)
    if s == 0:
        return
    d_pitch, s_pitch = pitch(st, 0), pitch(st, 1)
    apart = d + rows * d_pitch <= s or s + cols * s_pitch <= d
    to = d if apart else word(ctx, SPARE)
    transpose(to, d_pitch, s, s_pitch, rows, cols)
    if to != d:
        copy_rows(d, d_pitch, to, d_pitch, rows, cols)


@handler(move.TTRANS, ROW, COL)
def ttrans_of_columns(ctx: int, ops: int, st: int) -> None:
    """Columns of a tile that lies in columns to rows."""
    rows, cols = word(ops, 2), word(ops, 3)
    d = tile(ctx, ops, st, 0, 0, rows, cols)
    if d == 0:
        return
    s = tile(ctx, ops, st, 1, 1, rows, cols)
    if s != 0:
        move_rows(ctx, d, pitch(st, 0), s, pitch(st, 1), rows, cols)


@handler(move.TTRANS, COL, ROW)
def ttrans_to_columns(ctx: int, ops: int, st: int) -> None:
    """Rows to columns of a tile that lies in columns."""
    rows, cols = word(ops, 2), word(ops, 3)
    d = tile(ctx, ops, st, 0, 0, cols, rows)
    if d == 0:
        return
    s = tile(ctx, ops, st, 1, 1, cols, rows)
    if s != 0:
        move_rows(ctx, d, pitch(st, 0), s, pitch(st, 1), cols, rows)


@handler(move.TMOV, ROW, ROW)
def tmov(ctx: int, ops: int, st: int) -> None:
    """Rows to rows."""
    rows, cols = word(ops, 2), word(ops, 3)
    d = tile(ctx, ops, st, 0, 0, rows, cols)
    if d == 0:
        return
    s = tile(ctx, ops, st, 1, 1, rows, cols)
    if s != 0:
        move_rows(ctx, d, pitch(st, 0), s, pitch(st, 1), rows, cols)


@handler(move.TMOV, ROW, PANEL)
def tmov_panels(ctx: int, ops: int, st: int) -> None:
    """Panels to rows."""
    rows, cols = word(ops, 2), word(ops, 3)
    d = tile(ctx, ops, st, 0, 0, rows, cols)
    if d == 0:
        return
    s = panels(ctx, ops, st, 1, 1, rows, cols)
    if s != 0:
        unpack(d, pitch(st, 0), s, pitch(st, 1), rows, cols)


@handler(move.TMOV, ROW, COL)
def tmov_from_column(ctx: int, ops: int, st: int) -> None:
    """Columns to rows."""
    rows, cols = word(ops, 2), word(ops, 3)
    d = tile(ctx, ops, st, 0, 0, rows, cols)
    if d == 0:
        return
    s = tile(ctx, ops, st, 1, 1, cols, rows)
    if s != 0:
        exchange(d, pitch(st, 0), 4, s, 4, pitch(st, 1), rows, cols)


@handler(move.TMOV, COL, PANEL)
def tmov_panel_to_column(ctx: int, ops: int, st: int) -> None:
    """Panels to columns."""
    rows, cols = word(ops, 2), word(ops, 3)
    d = tile(ctx, ops, st, 0, 0, cols, rows)
    if d == 0:
        return
    s = panels(ctx, ops, st, 1, 1, rows, cols)
    if s != 0:
        left = cols
        while left > 0:
            exchange(d, 4, pitch(st, 0), s, 64, 4, rows, min(left, 16))
            d += 16 * pitch(st, 0)
            s += pitch(st, 1)
            left -= 16
