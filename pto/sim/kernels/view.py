"""Views of tensors."""

from __future__ import annotations

from typing import Any

from pto.isa.table.scalar import TVIEW
from pto.sim.kernels.checks import OUT_OF_BOUNDS, surface, trap
from pto.sim.kernels.registry import always, kernel
from pto.sim.layout import TENSOR_BASE, TENSOR_COLS, TENSOR_ROWS, TENSOR_STEP, TENSOR_STRIDE
from pto.sim.vec import inline, set_word, word

OFFSET, ROWS, COLS, DOWN, ACROSS = range(2, 7)
NONE = -1


@inline
def outside(ops: int, elements: int) -> int:
    """The first operand that is wrong, in the order that `pto.sim.traps` states."""
    for operand in range(OFFSET, ACROSS + 1):
        if word(ops, operand) < 0:
            return operand
    offset, rows, cols = word(ops, OFFSET), word(ops, ROWS), word(ops, COLS)
    if rows == 0 or cols == 0:
        return OFFSET if offset > elements else NONE
    room = elements - 1 - offset
    if room < 0:
        return OFFSET
    if rows > 1 and word(ops, DOWN) > room // (rows - 1):
        return ROWS
    room -= (rows - 1) * word(ops, DOWN)
    return COLS if cols > 1 and word(ops, ACROSS) > room // (cols - 1) else NONE


def tview(ctx: int, ops: int, st: int, at: Any) -> None:
    """Describe rows and columns; strides that nothing uses are 0."""
    view, tensor = surface(ctx, st, 0), surface(ctx, st, 1)
    wrong = outside(ops, word(tensor, TENSOR_ROWS) * word(tensor, TENSOR_COLS))
    if wrong != NONE:
        trap(ctx, OUT_OF_BOUNDS, wrong, word(ops, wrong))
        return
    size, rows, cols = word(tensor, TENSOR_STEP), word(ops, ROWS), word(ops, COLS)
    set_word(view, TENSOR_BASE, word(tensor, TENSOR_BASE) + size * word(ops, OFFSET))
    set_word(view, TENSOR_ROWS, rows)
    set_word(view, TENSOR_COLS, cols)
    set_word(view, TENSOR_STRIDE, size * word(ops, DOWN) if rows > 1 and cols > 0 else 0)
    set_word(view, TENSOR_STEP, size * word(ops, ACROSS) if cols > 1 and rows > 0 else 0)


kernel(TVIEW)(always(tview))
