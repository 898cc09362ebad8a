"""Copies of rows of f32."""

from __future__ import annotations

from pto.sim.vec import inline, load8, load_part, store8, store_part

LONG = 128


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
