"""Checks of operands, in the order that `pto.sim.traps` states; each gives an address, or 0 and a trap."""

from __future__ import annotations

from pto.core.types import PANEL_COLS
from pto.sim.layout import (
    ALIGN_MASK,
    ARENA,
    SLOT_BASE,
    SLOT_BYTES,
    SLOT_COLS,
    SLOT_PITCH,
    SLOT_ROWS,
    SLOT_SIZE,
    SLOT_WORDS,
    SPARE,
    STATUS,
    SURFACE_AT,
    SURFACE_IS_VIEW,
    TENSOR_BASE,
    TENSOR_COLS,
    TENSOR_ROWS,
    TENSOR_STEP,
    TENSOR_STRIDE,
    TRAP_KIND,
    TRAP_OPERAND,
    TRAP_VALUE,
    WORD,
    Status,
)
from pto.sim.traps import TrapKind
from pto.sim.vec import called, inline, set_word, word

SLOT = WORD * SLOT_WORDS
TRAPPED = int(Status.TRAPPED)
OUT_OF_BOUNDS, MISALIGNED, BAD_REGION = (
    int(kind) for kind in (TrapKind.OUT_OF_BOUNDS, TrapKind.MISALIGNED, TrapKind.BAD_REGION)
)
VIEW_NOT_SET, OVERLAP = int(TrapKind.VIEW_NOT_SET), int(TrapKind.OVERLAP)


@called
def trap(ctx: int, kind: int, operand: int, value: int) -> int:
    """Record why the program stops."""
    set_word(ctx, STATUS, TRAPPED)
    set_word(ctx, TRAP_KIND, kind)
    set_word(ctx, TRAP_OPERAND, operand)
    set_word(ctx, TRAP_VALUE, value)
    return 0


@inline
def pitch(st: int, slot: int) -> int:
    """Bytes from one row of a tile to the next, or from one panel to the next."""
    return word(st + SLOT * slot, SLOT_PITCH)


@inline
def region(ctx: int, s: int, operand: int, i: int, j: int, rows: int, cols: int) -> int:
    """1 where a region lies within a tile's capacity."""
    height, width = word(s, SLOT_ROWS), word(s, SLOT_COLS)
    if rows < 0 or rows > height:
        return trap(ctx, BAD_REGION, operand, rows)
    if cols < 0 or cols > width:
        return trap(ctx, BAD_REGION, operand, cols)
    if i < 0 or i > height - rows:
        return trap(ctx, OUT_OF_BOUNDS, operand, i)
    if j < 0 or j > width - cols:
        return trap(ctx, OUT_OF_BOUNDS, operand, j)
    return 1


@inline
def placed(ctx: int, s: int, operand: int, offset: int, extent: int) -> int:
    """The address of a tile whose offset is aligned and whose first `extent` bytes, or one, are its declaration's."""
    if offset < 0:
        return trap(ctx, OUT_OF_BOUNDS, operand, offset)
    if offset & word(ctx, ALIGN_MASK):
        return trap(ctx, MISALIGNED, operand, offset)
    if offset > word(s, SLOT_BYTES) - max(extent, 1):
        return trap(ctx, OUT_OF_BOUNDS, operand, offset)
    return word(ctx, ARENA) + word(s, SLOT_BASE) + offset


@inline
def part(ctx: int, ops: int, st: int, slot: int, operand: int, i: int, j: int, rows: int, cols: int) -> int:
    """The address of row i, column j of a tile that lies in rows, for a region of rows x cols from there."""
    s = st + SLOT * slot
    if region(ctx, s, operand, i, j, rows, cols) == 0:
        return 0
    line, size = word(s, SLOT_PITCH), word(s, SLOT_SIZE)
    start = i * line + size * j
    extent = start + (rows - 1) * line + size * cols if rows > 0 and cols > 0 else 0
    address = placed(ctx, s, operand, word(ops, operand), extent)
    return address + start if address else 0


@inline
def tile(ctx: int, ops: int, st: int, slot: int, operand: int, rows: int, cols: int) -> int:
    """The address of a tile that lies in rows, for its first rows x cols elements."""
    return part(ctx, ops, st, slot, operand, 0, 0, rows, cols)


@inline
def panels(ctx: int, ops: int, st: int, slot: int, operand: int, i: int, rows: int, cols: int) -> int:
    """The address of row i of a tile that lies in panels, for rows of the panels that hold the first columns."""
    s = st + SLOT * slot
    if region(ctx, s, operand, i, 0, rows, cols) == 0:
        return 0
    line = PANEL_COLS * word(s, SLOT_SIZE)
    extent = 0
    if rows > 0 and cols > 0:
        extent = (-(-cols // PANEL_COLS) - 1) * word(s, SLOT_PITCH) + line * (i + rows)
    address = placed(ctx, s, operand, word(ops, operand), extent)
    return address + line * i if address else 0


@inline
def surface(ctx: int, st: int, slot: int) -> int:
    """The address of the descriptor of a tensor or view."""
    return ctx + word(st + SLOT * slot, SURFACE_AT)


@inline
def window(ctx: int, st: int, slot: int, operand: int, i: int, j: int, rows: int, cols: int) -> int:
    """The address of row i, column j of a tensor or view, for a window of rows x cols from there."""
    tensor = surface(ctx, st, slot)
    if word(tensor, TENSOR_ROWS) < 0:
        return trap(ctx, VIEW_NOT_SET, operand, 0)
    if rows < 0:
        return trap(ctx, BAD_REGION, operand, rows)
    if cols < 0:
        return trap(ctx, BAD_REGION, operand, cols)
    if i < 0 or rows > word(tensor, TENSOR_ROWS) - i:
        return trap(ctx, OUT_OF_BOUNDS, operand, i)
    if j < 0 or cols > word(tensor, TENSOR_COLS) - j:
        return trap(ctx, OUT_OF_BOUNDS, operand, j)
    return word(tensor, TENSOR_BASE) + i * word(tensor, TENSOR_STRIDE) + j * word(tensor, TENSOR_STEP)


@inline
def window_out(ctx: int, st: int, slot: int, operand: int, i: int, j: int, rows: int, cols: int) -> int:
    """The same, of a window that is written, no two of whose elements may be one."""
    address = window(ctx, st, slot, operand, i, j, rows, cols)
    if address == 0:
        return 0
    if word(st + SLOT * slot, SURFACE_IS_VIEW) and overlaps(rows, cols, stride(ctx, st, slot), step(ctx, st, slot)):
        return trap(ctx, OVERLAP, operand, 0)
    return address


@inline
def overlaps(rows: int, cols: int, down: int, across: int) -> bool:
    """Whether neither stride of a window passes the extent of the other; strides are not negative."""
    if rows == 0 or cols == 0:
        return False
    by_rows = (cols == 1 or across > 0) and (rows == 1 or down > (cols - 1) * across)
    return not by_rows and not ((rows == 1 or down > 0) and (cols == 1 or across > (rows - 1) * down))


@inline
def stride(ctx: int, st: int, slot: int) -> int:
    """Bytes from one row of a tensor or view to the next."""
    return word(surface(ctx, st, slot), TENSOR_STRIDE)


@inline
def step(ctx: int, st: int, slot: int) -> int:
    """Bytes from one column of a tensor or view to the next."""
    return word(surface(ctx, st, slot), TENSOR_STEP)


@inline
def beside(
    ctx: int, made: int, d: int, d_shape: tuple[int, int, int], a: int, a_shape: tuple[int, int, int], alike: bool
) -> int:
    """Where to write, which was `made` so far, beside one more source.

    That is spare memory if the destination covers part of a source in another shape. A shape is the pitch of lines,
    their number, and the bytes of each; `alike`, destination and source differ in place and pitch at most.
    """
    (d_pitch, d_lines, d_bytes), (a_pitch, a_lines, a_bytes) = d_shape, a_shape
    if made != d or (alike and d == a and d_pitch == a_pitch):
        return made
    if a + (a_lines - 1) * a_pitch + a_bytes <= d or d + (d_lines - 1) * d_pitch + d_bytes <= a:
        return d
    return word(ctx, SPARE)
