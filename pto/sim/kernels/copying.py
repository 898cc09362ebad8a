"""Copies of rows of f32."""

from __future__ import annotations

from typing import Any

import numpy as np

from pto.sim.vec import called, inline, load8, load_part, move1, mover, splat8, store8, store_part, transpose8

LONG = 128
move_byte = mover(1)
BLOCK = 16  # columns and rows of f32 in a cache line


@inline
def copy_row(d: int, s: int, cols: int) -> None:
    """Copy `cols` elements between memories that do not overlap."""
    if cols >= LONG:  # stores that straddle cache lines cost more than loads that do
        head = (-d % 64) // 4
        store_part(d, head, load_part(s, head, 0.0))
        store_part(d + 32, head - 8, load_part(s + 32, head - 8, 0.0))
        d += 4 * head
        s += 4 * head
        cols -= head
    end = s + 4 * cols
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
    if s < end:
        count = (end - s) // 4
        store_part(d, count, load_part(s, count, 0.0))


@inline
def copy_rows(d: int, d_pitch: int, s: int, s_pitch: int, rows: int, cols: int) -> None:
    """Copy a region between memories that do not overlap."""
    if d_pitch == 4 * cols and s_pitch == 4 * cols:
        cols *= rows
        rows = min(rows, 1)
    for _ in range(rows):
        copy_row(d, s, cols)
        d += d_pitch
        s += s_pitch


@inline
def copy_bytes(d: int, s: int, nbytes: int) -> None:
    """Copy any number of bytes."""
    copy_row(d, s, nbytes // 4)
    for at in range(nbytes - nbytes % 4, nbytes):
        move_byte(d + at, s + at)


@inline
def clear(d: int, nbytes: int) -> None:
    """Write zeros, a whole number of vectors."""
    for at in range(d, d + nbytes, 32):
        store8(at, splat8(np.float32(0.0)))


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


@inline
def exchange(d: int, d_row: int, d_col: int, s: int, s_row: int, s_col: int, rows: int, cols: int) -> None:
    """Copy a region element by element, between any two orders of elements."""
    for j in range(cols):
        to, at = d + j * d_col, s + j * s_col
        for _ in range(rows):
            move1(to, at)
            to += d_row
            at += s_row


@inline
def transpose(d: int, d_pitch: int, s: int, s_pitch: int, rows: int, cols: int) -> None:
    """Copy rows x cols, row after row in d and column after column in s, a cache line of each at a time."""
    high, wide = rows - rows % BLOCK, cols - cols % BLOCK
    for j in range(0, wide, BLOCK):
        for i in range(0, high, BLOCK):
            to, at = d + i * d_pitch + 4 * j, s + j * s_pitch + 4 * i
            transpose8(to, d_pitch, at, s_pitch)
            transpose8(to + 8 * d_pitch, d_pitch, at + 32, s_pitch)
            transpose8(to + 32, d_pitch, at + 8 * s_pitch, s_pitch)
            transpose8(to + 32 + 8 * d_pitch, d_pitch, at + 32 + 8 * s_pitch, s_pitch)
    exchange(d + high * d_pitch, d_pitch, 4, s + 4 * high, 4, s_pitch, rows - high, wide)
    exchange(d + 4 * wide, d_pitch, 4, s + wide * s_pitch, 4, s_pitch, rows, cols - wide)


@called
def rearrange(d: int, d_row: int, d_col: int, s: int, s_row: int, s_col: int, rows: int, cols: int) -> None:
    """Copy a region between memories that do not overlap, whatever the strides of rows and of columns."""
    if d_row == 4:  # by columns
        d_row, d_col, s_row, s_col, rows, cols = d_col, d_row, s_col, s_row, cols, rows
    if d_col == 4 and s_col == 4:
        copy_rows(d, d_row, s, s_row, rows, cols)
    elif d_col == 4 and s_row == 4:
        transpose(d, d_row, s, s_col, rows, cols)
    else:
        exchange(d, d_row, d_col, s, s_row, s_col, rows, cols)


@inline
def copy_window(d: int, d_pitch: int, s: int, s_row: int, s_col: int, rows: int, cols: int) -> None:
    """Copy a window to rows."""
    if s_col == 4:
        copy_rows(d, d_pitch, s, s_row, rows, cols)
    else:
        rearrange(d, d_pitch, 4, s, s_row, s_col, rows, cols)
