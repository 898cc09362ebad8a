"""Copies between memories that do not overlap: rows of bytes, and elements of 1, 2 or 4 bytes in any order."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from pto.sim.kernels.ahead import ask_row, rows_ahead
from pto.sim.vec import (
    called,
    clear_byte,
    inline,
    load8,
    load_part,
    mover,
    splat8,
    store8,
    store_part,
    transposer,
)

LONG = 512
BLOCK = 8  # rows and columns that are transposed in registers
LINE = 64  # bytes of a cache line
move_byte = mover(1)


@inline
def copy_row(d: int, s: int, nbytes: int) -> None:
    """Copy so many bytes."""
    if nbytes >= LONG:  # stores that straddle cache lines cost more than loads that do
        head = -d % LINE // 4
        store_part(d, head, load_part(s, head, 0.0))
        store_part(d + 32, head - 8, load_part(s + 32, head - 8, 0.0))
        d += 4 * head
        s += 4 * head
        nbytes -= 4 * head
    end = s + nbytes
    while s + 128 <= end:
        x0, x1, x2, x3 = load8(s), load8(s + 32), load8(s + 64), load8(s + 96)
        store8(d, x0)
        store8(d + 32, x1)
        store8(d + 64, x2)
        store8(d + 96, x3)
        s += 128
        d += 128
    while s + 32 <= end:
        store8(d, load8(s))
        s += 32
        d += 32
    if s + 4 <= end:
        count = (end - s) // 4
        store_part(d, count, load_part(s, count, 0.0))
        s += 4 * count
        d += 4 * count
    for at in range(nbytes % 4):
        move_byte(d + at, s + at)


@inline
def copy_rows(d: int, d_pitch: int, s: int, s_pitch: int, rows: int, nbytes: int) -> None:
    """Copy rows of so many bytes."""
    if d_pitch == nbytes and s_pitch == nbytes:
        nbytes *= rows
        rows = min(rows, 1)
    for _ in range(rows):
        copy_row(d, s, nbytes)
        d += d_pitch
        s += s_pitch


@inline
def copy_window(d: int, d_pitch: int, s: int, s_pitch: int, rows: int, nbytes: int) -> None:
    """Copy rows of a window, which the host may be slow to find."""
    ahead = rows_ahead(rows, nbytes, s_pitch)
    if ahead == 0:
        copy_rows(d, d_pitch, s, s_pitch, rows, nbytes)
        return
    for row in range(rows):
        ask_row(s, s_pitch, row + ahead, rows, nbytes)
        copy_row(d + row * d_pitch, s + row * s_pitch, nbytes)


@called
def settle(d: int, d_pitch: int, made: int, rows: int, nbytes: int) -> None:
    """Copy a result that was made elsewhere to its place."""
    if made != d:
        copy_rows(d, d_pitch, made, d_pitch, rows, nbytes)


@inline
def clear(d: int, nbytes: int) -> None:
    """Write zeros."""
    end = d + nbytes - nbytes % 32
    while d < end:
        store8(d, splat8(np.float32(0.0)))
        d += 32
    for at in range(nbytes % 32):
        clear_byte(d + at)


@cache
def gatherer(size: int) -> Any:
    """A copy of elements of so many bytes that lie apart, one after the other."""
    move = mover(size)

    @called
    def run(to: int, at: int, apart: int, count: int) -> None:
        for _ in range(count):
            move(to, at)
            to += size
            at += apart
    return run


@cache
def exchanger(size: int) -> Any:
    """A copy of a region element by element, between any two orders of elements; first along the nearer ones."""
    move = mover(size)

    @called
    def run(d: int, d_row: int, d_col: int, s: int, s_row: int, s_col: int, rows: int, cols: int) -> None:
        if d_row + s_row < d_col + s_col:
            d_row, d_col, s_row, s_col, rows, cols = d_col, d_row, s_col, s_row, cols, rows
        for i in range(rows):
            to, at = d + i * d_row, s + i * s_row
            for _ in range(cols):
                move(to, at)
                to += d_col
                at += s_col
    return run


@cache
def turner(size: int) -> Any:
    """A transpose: rows of d are columns of s. It goes along a cache line of each as long as it can."""
    transpose, exchange = transposer(size), exchanger(size)
    side = LINE // 4

    @called
    def run(d: int, d_pitch: int, s: int, s_pitch: int, rows: int, cols: int) -> None:
        high, wide = rows - rows % side, cols - cols % side
        for j in range(0, wide, side):
            for i in range(0, high, side):
                to, at = d + i * d_pitch + size * j, s + j * s_pitch + size * i
                for half in range(0, side, BLOCK):
                    here, there = to + size * half, at + half * s_pitch
                    transpose(here, d_pitch, there, s_pitch)
                    transpose(here + BLOCK * d_pitch, d_pitch, there + BLOCK * size, s_pitch)
        exchange(d + high * d_pitch, d_pitch, size, s + size * high, size, s_pitch, rows - high, wide)
        exchange(d + size * wide, d_pitch, size, s + wide * s_pitch, size, s_pitch, rows, cols - wide)
    return run


@cache
def arranger(size: int) -> Any:
    """A copy of a region, whatever the strides of rows and of columns."""
    turn, exchange = turner(size), exchanger(size)

    @called
    def run(d: int, d_row: int, d_col: int, s: int, s_row: int, s_col: int, rows: int, cols: int) -> None:
        if d_row == size:  # by columns
            d_row, d_col, s_row, s_col, rows, cols = d_col, d_row, s_col, s_row, cols, rows
        if d_col == size and s_col == size:
            copy_rows(d, d_row, s, s_row, rows, size * cols)
        elif d_col == size and s_row == size:
            turn(d, d_row, s, s_col, rows, cols)
        else:
            exchange(d, d_row, d_col, s, s_row, s_col, rows, cols)
    return run


@cache
def windower(size: int) -> Any:
    """A copy of a window to rows."""
    arrange = arranger(size)

    @inline
    def run(d: int, d_pitch: int, s: int, s_row: int, s_col: int, rows: int, cols: int) -> None:
        if s_col == size:
            copy_window(d, d_pitch, s, s_row, rows, size * cols)
        else:
            arrange(d, d_pitch, size, s, s_row, s_col, rows, cols)
    return run
