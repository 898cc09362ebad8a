"""Moves of tiles: they keep bits, so one function serves all element types of a size."""

from __future__ import annotations

from typing import Any

from pto.core.types import Layout
from pto.isa.table import move
from pto.sim.kernels.checks import detour, panels, part, pitch, step, stride, tile, window, window_out
from pto.sim.kernels.copying import arranger, clear, copy_row, copy_rows, turner, windower
from pto.sim.kernels.registry import Compiled, handler
from pto.sim.layout import SPARE
from pto.sim.vec import called, inline, word

ROW, COL, PANEL = Layout.ROW, Layout.COL, Layout.PANEL
SIZES = (1, 2, 4)


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


@inline
def move_rows(ctx: int, d: int, d_pitch: int, s: int, s_pitch: int, rows: int, nbytes: int) -> None:
    """Copy rows within a memory, by way of spare memory where they overlap in another shape."""
    to = detour(ctx, d, d_pitch, nbytes, s, s_pitch, nbytes, rows)
    copy_rows(to, d_pitch, s, s_pitch, rows, nbytes)
    if to != d:
        copy_rows(d, d_pitch, to, d_pitch, rows, nbytes)


def panel_scatterer(size: int) -> Any:
    """A copy of panels to elements that lie apart."""
    arrange = arranger(size)

    @called
    def run(d: int, d_row: int, d_col: int, s: int, panel: int, rows: int, cols: int) -> None:
        while cols > 0:
            arrange(d, d_row, d_col, s, 16 * size, size, rows, min(cols, 16))
            d += 16 * d_col
            s += panel
            cols -= 16
    return run


def tload(size: int) -> Compiled:
    """A window to rows."""
    copy_window = windower(size)

    def run(ctx: int, ops: int, st: int) -> None:
        i, j, rows, cols = word(ops, 2), word(ops, 3), word(ops, 4), word(ops, 5)
        d = tile(ctx, ops, st, 0, 0, rows, cols)
        if d == 0:
            return
        s = window(ctx, st, 1, 1, i, j, rows, cols)
        if s != 0:
            copy_window(d, pitch(st, 0), s, stride(ctx, st, 1), step(ctx, st, 1), rows, cols)
    return run


def tload_column(size: int) -> Compiled:
    """A window to columns."""
    arrange = arranger(size)

    def run(ctx: int, ops: int, st: int) -> None:
        i, j, rows, cols = word(ops, 2), word(ops, 3), word(ops, 4), word(ops, 5)
        d = tile(ctx, ops, st, 0, 0, cols, rows)
        if d == 0:
            return
        s = window(ctx, st, 1, 1, i, j, rows, cols)
        if s != 0:
            arrange(d, size, pitch(st, 0), s, stride(ctx, st, 1), step(ctx, st, 1), rows, cols)
    return run


def tstore(size: int) -> Compiled:
    """Rows to a window."""
    arrange = arranger(size)

    def run(ctx: int, ops: int, st: int) -> None:
        i, j, rows, cols = word(ops, 2), word(ops, 3), word(ops, 4), word(ops, 5)
        d = window_out(ctx, st, 0, 0, i, j, rows, cols)
        if d == 0:
            return
        s = tile(ctx, ops, st, 1, 1, rows, cols)
        if s in (0, d):  # d: where it is on loan
            return
        if step(ctx, st, 0) == size:
            copy_rows(d, stride(ctx, st, 0), s, pitch(st, 1), rows, size * cols)
        else:
            arrange(d, stride(ctx, st, 0), step(ctx, st, 0), s, pitch(st, 1), size, rows, cols)
    return run


def tstore_column(size: int) -> Compiled:
    """Columns to a window."""
    arrange = arranger(size)

    def run(ctx: int, ops: int, st: int) -> None:
        i, j, rows, cols = word(ops, 2), word(ops, 3), word(ops, 4), word(ops, 5)
        d = window_out(ctx, st, 0, 0, i, j, rows, cols)
        if d == 0:
            return
        s = tile(ctx, ops, st, 1, 1, cols, rows)
        if s != 0:
            arrange(d, stride(ctx, st, 0), step(ctx, st, 0), s, size, pitch(st, 1), rows, cols)
    return run


def tstore_panels(size: int) -> Compiled:
    """Panels to a window."""
    scatter = panel_scatterer(size)

    def run(ctx: int, ops: int, st: int) -> None:
        i, j, rows, cols = word(ops, 2), word(ops, 3), word(ops, 4), word(ops, 5)
        d = window_out(ctx, st, 0, 0, i, j, rows, cols)
        if d == 0:
            return
        s = panels(ctx, ops, st, 1, 1, rows, cols)
        if s == 0:
            return
        if step(ctx, st, 0) == size:
            unpack(d, stride(ctx, st, 0), s, pitch(st, 1), rows, size * cols, 16 * size)
        else:
            scatter(d, stride(ctx, st, 0), step(ctx, st, 0), s, pitch(st, 1), rows, cols)
    return run


def textract(size: int) -> Compiled:
    """Rows of L1 to rows of L0A."""
    def run(ctx: int, ops: int, st: int) -> None:
        i, j, rows, cols = word(ops, 2), word(ops, 3), word(ops, 4), word(ops, 5)
        d = tile(ctx, ops, st, 0, 0, rows, cols)
        if d == 0:
            return
        s = part(ctx, ops, st, 1, 1, i, j, rows, cols)
        if s != 0:
            copy_rows(d, pitch(st, 0), s, pitch(st, 1), rows, size * cols)
    return run


def textract_panels(size: int) -> Compiled:
    """Rows of L1 to panels of L0B, filled up with zeros."""
    line = 16 * size

    def run(ctx: int, ops: int, st: int) -> None:
        i, j, rows, cols = word(ops, 2), word(ops, 3), word(ops, 4), word(ops, 5)
        d = panels(ctx, ops, st, 0, 0, rows, cols)
        if d == 0:
            return
        s = part(ctx, ops, st, 1, 1, i, j, rows, cols)
        if s == 0:
            return
        panel, s_pitch = pitch(st, 0), pitch(st, 1)
        for k in range(rows):
            to, at, left = d + line * k, s + k * s_pitch, size * cols
            while left >= line:
                copy_row(to, at, line)
                to += panel
                at += line
                left -= line
            if left > 0:
                clear(to, line)
                copy_row(to, at, left)
    return run


def textract_t(size: int) -> Compiled:
    """Columns of L1 to rows of L0A."""
    turn = turner(size)

    def run(ctx: int, ops: int, st: int) -> None:
        i, j, rows, cols = word(ops, 2), word(ops, 3), word(ops, 4), word(ops, 5)
        d = tile(ctx, ops, st, 0, 0, rows, cols)
        if d == 0:
            return
        s = part(ctx, ops, st, 1, 1, i, j, cols, rows)
        if s != 0:
            turn(d, pitch(st, 0), s, pitch(st, 1), rows, cols)
    return run


def textract_t_panels(size: int) -> Compiled:
    """Columns of L1 to panels of L0B, filled up with zeros."""
    turn, line = turner(size), 16 * size

    def run(ctx: int, ops: int, st: int) -> None:
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
                clear(d, line * rows)
            turn(d, line, s, s_pitch, rows, min(cols, 16))
            d += panel
            s += 16 * s_pitch
            cols -= 16
    return run


def ttrans(size: int) -> Compiled:
    """Columns to rows."""
    turn = turner(size)

    def run(ctx: int, ops: int, st: int) -> None:
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
        turn(to, d_pitch, s, s_pitch, rows, cols)
        if to != d:
            copy_rows(d, d_pitch, to, d_pitch, rows, size * cols)
    return run


def ttrans_of_columns(size: int) -> Compiled:
    """Columns of a tile that lies in columns to rows."""
    def run(ctx: int, ops: int, st: int) -> None:
        rows, cols = word(ops, 2), word(ops, 3)
        d = tile(ctx, ops, st, 0, 0, rows, cols)
        if d == 0:
            return
        s = tile(ctx, ops, st, 1, 1, rows, cols)
        if s != 0:
            move_rows(ctx, d, pitch(st, 0), s, pitch(st, 1), rows, size * cols)
    return run


def ttrans_to_columns(size: int) -> Compiled:
    """Rows to columns of a tile that lies in columns."""
    def run(ctx: int, ops: int, st: int) -> None:
        rows, cols = word(ops, 2), word(ops, 3)
        d = tile(ctx, ops, st, 0, 0, cols, rows)
        if d == 0:
            return
        s = tile(ctx, ops, st, 1, 1, cols, rows)
        if s != 0:
            move_rows(ctx, d, pitch(st, 0), s, pitch(st, 1), cols, size * rows)
    return run


def tmov(size: int) -> Compiled:
    """Rows to rows."""
    def run(ctx: int, ops: int, st: int) -> None:
        rows, cols = word(ops, 2), word(ops, 3)
        d = tile(ctx, ops, st, 0, 0, rows, cols)
        if d == 0:
            return
        s = tile(ctx, ops, st, 1, 1, rows, cols)
        if s != 0:
            move_rows(ctx, d, pitch(st, 0), s, pitch(st, 1), rows, size * cols)
    return run


def tmov_panels(size: int) -> Compiled:
    """Panels to rows."""
    def run(ctx: int, ops: int, st: int) -> None:
        rows, cols = word(ops, 2), word(ops, 3)
        d = tile(ctx, ops, st, 0, 0, rows, cols)
        if d == 0:
            return
        s = panels(ctx, ops, st, 1, 1, rows, cols)
        if s != 0:
            unpack(d, pitch(st, 0), s, pitch(st, 1), rows, size * cols, 16 * size)
    return run


def tmov_from_column(size: int) -> Compiled:
    """Columns to rows."""
    arrange = arranger(size)

    def run(ctx: int, ops: int, st: int) -> None:
        rows, cols = word(ops, 2), word(ops, 3)
        d = tile(ctx, ops, st, 0, 0, rows, cols)
        if d == 0:
            return
        s = tile(ctx, ops, st, 1, 1, cols, rows)
        if s != 0:
            arrange(d, pitch(st, 0), size, s, size, pitch(st, 1), rows, cols)
    return run


def tmov_panel_to_column(size: int) -> Compiled:
    """Panels to columns."""
    scatter = panel_scatterer(size)

    def run(ctx: int, ops: int, st: int) -> None:
        rows, cols = word(ops, 2), word(ops, 3)
        d = tile(ctx, ops, st, 0, 0, cols, rows)
        if d == 0:
            return
        s = panels(ctx, ops, st, 1, 1, rows, cols)
        if s != 0:
            scatter(d, size, pitch(st, 0), s, pitch(st, 1), rows, cols)
    return run


HANDLERS = (
    (move.TLOAD, (ROW,), tload), (move.TLOAD, (COL,), tload_column), (move.TSTORE, (ROW,), tstore),
    (move.TSTORE, (COL,), tstore_column), (move.TSTORE, (PANEL,), tstore_panels),
    (move.TEXTRACT, (ROW, ROW), textract), (move.TEXTRACT, (PANEL, ROW), textract_panels),
    (move.TEXTRACT_T, (ROW, ROW), textract_t), (move.TEXTRACT_T, (PANEL, ROW), textract_t_panels),
    (move.TTRANS, (ROW, ROW), ttrans), (move.TTRANS, (ROW, COL), ttrans_of_columns),
    (move.TTRANS, (COL, ROW), ttrans_to_columns), (move.TMOV, (ROW, ROW), tmov), (move.TMOV, (ROW, PANEL), tmov_panels),
    (move.TMOV, (ROW, COL), tmov_from_column), (move.TMOV, (COL, PANEL), tmov_panel_to_column),
)
for _row, _layouts, _make in HANDLERS:
    for _size in SIZES:
        handler(_row, *_layouts, types=f"b{8 * _size}")(_make(_size))
