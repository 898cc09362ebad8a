"""Tiles on loan, see `pto.sim.loans`: reading where the bytes are, and fetching them when they must be in the tile."""

from __future__ import annotations

from pto.core.types import Layout
from pto.isa.table import move
from pto.sim.kernels.checks import SLOT, pitch, step, stride, tile, window
from pto.sim.kernels.copying import copy_row, windower
from pto.sim.kernels.registry import Compiled, handler
from pto.sim.layout import (
    ARENA,
    LENDING,
    LOAN_BASE,
    LOAN_COLS,
    LOAN_PITCH,
    LOAN_READ,
    LOAN_ROWS,
    LOAN_WORDS,
    PLAN_AT,
    SLOT_BASE,
    SLOT_BYTES,
    SLOT_PITCH,
    STATIC_AT,
    STATIC_WORDS,
    STATICS_AT,
    USE_BYTES,
    USE_COL,
    USE_COLS,
    USE_KIND,
    USE_LOANS,
    USE_OPERAND,
    USE_ROW,
    USE_ROWS,
    USE_SIZE,
    USE_SLOT,
    USE_SLOTS,
    USE_WORDS,
    WORD,
    Use,
)
from pto.sim.vec import called, inline, set_word, word

READ, WRITE = int(Use.READ), int(Use.WRITE)
STATIC, STATICS = WORD * STATIC_AT, WORD * STATICS_AT
LOAN, USE, UNBOUNDED = WORD * LOAN_WORDS, WORD * USE_WORDS, 1 << 62


@inline
def number(ops: int, use: int, field: int) -> int:
    """An extent or position of the region of a use."""
    source = word(use, field)
    return word(ops, source) if source >= 0 else -1 - source


@inline
def loan_at(ctx: int, use: int, offset: int) -> int:
    """The loan of the slot at an offset; 0 where the offset is that of no slot."""
    size = word(use, USE_BYTES)
    if offset < 0 or offset % size or offset // size >= word(use, USE_SLOTS):
        return 0
    return ctx + word(use, USE_LOANS) + LOAN * (offset // size)


@called
def fetch(ctx: int, s: int, use: int, slot: int) -> None:
    """Copy what is on loan in a slot to the tile."""
    loan = ctx + word(use, USE_LOANS) + LOAN * slot
    to = word(ctx, ARENA) + word(s, SLOT_BASE) + slot * word(use, USE_BYTES)
    at, nbytes = word(loan, LOAN_BASE), word(loan, LOAN_COLS) * word(use, USE_SIZE)
    for _ in range(word(loan, LOAN_ROWS)):
        copy_row(to, at, nbytes)
        to += word(s, SLOT_PITCH)
        at += word(loan, LOAN_PITCH)
    set_word(loan, LOAN_ROWS, 0)


@called
def fetch_all(ctx: int, s: int, use: int) -> None:
    """The same for all slots of a tile."""
    for slot in range(word(use, USE_SLOTS)):
        fetch(ctx, s, use, slot)


@inline
def is_within(ops: int, use: int, loan: int) -> bool:
    """Whether the region of a use lies in what was loaded."""
    i, rows = number(ops, use, USE_ROW), number(ops, use, USE_ROWS)
    j, cols = number(ops, use, USE_COL), number(ops, use, USE_COLS)
    return (i >= 0 and rows >= 0 and i <= word(loan, LOAN_ROWS) - rows
            and j >= 0 and cols >= 0 and j <= word(loan, LOAN_COLS) - cols)


@inline
def covers(ops: int, use: int, loan: int) -> bool:
    """Whether the region of a use has all that was loaded."""
    first = number(ops, use, USE_ROW) == 0 and number(ops, use, USE_COL) == 0
    high = number(ops, use, USE_ROWS) >= word(loan, LOAN_ROWS)
    return first and high and number(ops, use, USE_COLS) >= word(loan, LOAN_COLS)


@inline
def is_dense(loan: int, use: int) -> bool:
    """Whether the rows of what was loaded are next to each other: only such are read there more than once."""
    return word(loan, LOAN_ROWS) == 1 or word(loan, LOAN_PITCH) == word(loan, LOAN_COLS) * word(use, USE_SIZE)


@inline
def touch(ctx: int, ops: int, s: int, use: int) -> None:
    """Prepare a tile operand, whose static words may be changed, for one instruction."""
    offset = word(ops, word(use, USE_OPERAND))
    loan = loan_at(ctx, use, offset)
    if loan == 0:
        fetch_all(ctx, s, use)
    elif word(loan, LOAN_ROWS) == 0:
        return
    elif word(use, USE_KIND) == READ and is_within(ops, use, loan) and (
            word(loan, LOAN_READ) == 0 or is_dense(loan, use)):
        set_word(loan, LOAN_READ, 1)
        set_word(s, SLOT_BASE, word(loan, LOAN_BASE) - word(ctx, ARENA) - offset)
        set_word(s, SLOT_BYTES, UNBOUNDED)
        set_word(s, SLOT_PITCH, word(loan, LOAN_PITCH))
    elif word(use, USE_KIND) == WRITE and covers(ops, use, loan):
        set_word(loan, LOAN_ROWS, 0)
    else:
        fetch(ctx, s, use, offset // word(use, USE_BYTES))


@called
def borrowed(ctx: int, ops: int, record: int) -> int:
    """The static words for one execution of an instruction, in the context."""
    plan, st = word(record, PLAN_AT), ctx + STATICS
    for i in range(STATIC_WORDS):
        set_word(st, i, word(record + STATIC, i))
    use = plan + WORD
    for _ in range(word(plan, 0)):
        touch(ctx, ops, st + SLOT * word(use, USE_SLOT), use)
        use += USE
    return st


def tload_on_loan(size: int) -> Compiled:
    """Note where a window is, if its columns are next to each other; else copy it."""
    copy_window = windower(size)

    def run(ctx: int, ops: int, st: int) -> None:
        i, j, rows, cols = word(ops, 2), word(ops, 3), word(ops, 4), word(ops, 5)
        d = tile(ctx, ops, st, 0, 0, rows, cols)
        if d == 0:
            return
        s = window(ctx, st, 1, 1, i, j, rows, cols)
        if s == 0 or rows == 0 or cols == 0:
            return
        use = word(st - STATIC, PLAN_AT) + WORD
        touch(ctx, ops, st, use)
        loan = loan_at(ctx, use, word(ops, 0))
        if loan == 0 or word(ctx, LENDING) == 0 or step(ctx, st, 1) != size:
            copy_window(d, pitch(st, 0), s, stride(ctx, st, 1), step(ctx, st, 1), rows, cols)
            return
        set_word(loan, LOAN_ROWS, rows)
        set_word(loan, LOAN_COLS, cols)
        set_word(loan, LOAN_BASE, s)
        set_word(loan, LOAN_PITCH, stride(ctx, st, 1))
        set_word(loan, LOAN_READ, 0)
    return run


for _size in (1, 2, 4):
    handler(move.TLOAD, Layout.ROW, types=f"b{8 * _size}", lends=True)(tload_on_loan(_size))
