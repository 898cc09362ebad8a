"""Tiles on loan, see `pto.sim.loans`: reading where the bytes are, and fetching them when they must be in the tile."""

from __future__ import annotations

from typing import Any

from pto.core.types import Layout
from pto.isa.table import move
from pto.sim.kernels.checks import SLOT, pitch, step, stride, surface
from pto.sim.kernels.copying import copy_row, windower
from pto.sim.kernels.operands import Body, Form, extent
from pto.sim.kernels.registry import FUNCTIONS, kernel
from pto.sim.layout import (
    ARENA,
    LENDING,
    LOAN_AHEAD,
    LOAN_BASE,
    LOAN_BYTES,
    LOAN_COLS,
    LOAN_HOME,
    LOAN_HOME_PITCH,
    LOAN_LOWER,
    LOAN_PITCH,
    LOAN_RIGHT,
    LOAN_ROWS,
    LOAN_WORDS,
    MASK,
    OPERANDS_AT,
    PLAN_AHEAD,
    PLAN_AT,
    PLAN_COUNT,
    PLAN_LOANS,
    PLAN_STORE,
    PLAN_USES,
    PLAN_WORDS,
    REGISTERS_AT,
    SLOT_BASE,
    SLOT_BYTES,
    SLOT_PITCH,
    SLOT_SIZE,
    STATIC_AT,
    STATIC_WORDS,
    STATICS_AT,
    TENSOR_BASE,
    TENSOR_COLS,
    TENSOR_ROWS,
    TENSOR_STEP,
    TENSOR_STRIDE,
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
from pto.sim.names import STORING
from pto.sim.vec import call_handler, called, inline, set_word, word

READ, WRITE = int(Use.READ), int(Use.WRITE)
STATIC, STATICS, REGISTERS = WORD * STATIC_AT, WORD * STATICS_AT, WORD * REGISTERS_AT
LOAN, USE, PLAN, UNBOUNDED = WORD * LOAN_WORDS, WORD * USE_WORDS, WORD * PLAN_WORDS, 1 << 62


@inline
def loan_at(ctx: int, use: int, offset: int) -> int:
    """The loan of the slot at an offset; 0 where the offset is that of no slot."""
    size = word(use, USE_BYTES)
    if offset < 0 or offset % size or offset // size >= word(use, USE_SLOTS):
        return 0
    return ctx + word(use, USE_LOANS) + LOAN * (offset // size)


@called
def fetch(loan: int) -> None:
    """Copy what is on loan to its tile."""
    to, at = word(loan, LOAN_HOME), word(loan, LOAN_BASE)
    for _ in range(word(loan, LOAN_ROWS)):
        copy_row(to, at, word(loan, LOAN_BYTES))
        to += word(loan, LOAN_HOME_PITCH)
        at += word(loan, LOAN_PITCH)
    set_word(loan, LOAN_ROWS, 0)


@called
def fetch_all(ctx: int, use: int) -> None:
    """The same for all slots of a tile."""
    for slot in range(word(use, USE_SLOTS)):
        fetch(ctx + word(use, USE_LOANS) + LOAN * slot)


@inline
def lend(loan: int, home: int, s: int, rows: int, cols: int, base: int, pitch: int, ahead: int) -> None:
    """Note that a region of a tile, whose address is `home`, is elsewhere."""
    set_word(loan, LOAN_ROWS, rows)
    set_word(loan, LOAN_COLS, cols)
    set_word(loan, LOAN_BASE, base)
    set_word(loan, LOAN_PITCH, pitch)
    set_word(loan, LOAN_LOWER, 0)
    set_word(loan, LOAN_RIGHT, 0)
    set_word(loan, LOAN_HOME, home)
    set_word(loan, LOAN_HOME_PITCH, word(s, SLOT_PITCH))
    set_word(loan, LOAN_BYTES, cols * word(s, SLOT_SIZE))
    set_word(loan, LOAN_AHEAD, ahead)


@inline
def place(ctx: int, s: int, offset: int, loan: int) -> None:
    """Let an instruction find its operand where the loan is; the extents have been checked."""
    set_word(s, SLOT_BASE, word(loan, LOAN_BASE) - word(ctx, ARENA) - offset)
    set_word(s, SLOT_BYTES, UNBOUNDED)
    set_word(s, SLOT_PITCH, word(loan, LOAN_PITCH))


@inline
def is_within(ops: int, use: int, loan: int) -> bool:
    """Whether the region of a use lies in what was loaded."""
    i, rows = extent(ops, word(use, USE_ROW)), extent(ops, word(use, USE_ROWS))
    j, cols = extent(ops, word(use, USE_COL)), extent(ops, word(use, USE_COLS))
    return (i >= 0 and rows >= 0 and i <= word(loan, LOAN_ROWS) - rows
            and j >= 0 and cols >= 0 and j <= word(loan, LOAN_COLS) - cols)


@inline
def covers(ops: int, use: int, loan: int) -> bool:
    """Whether the region of a use has all that was loaded."""
    first = extent(ops, word(use, USE_ROW)) == 0 and extent(ops, word(use, USE_COL)) == 0
    high = extent(ops, word(use, USE_ROWS)) >= word(loan, LOAN_ROWS)
    return first and high and extent(ops, word(use, USE_COLS)) >= word(loan, LOAN_COLS)


@inline
def is_dense(loan: int, use: int) -> bool:
    """Whether the rows of what was loaded are next to each other: of others no part is read there more than once."""
    return word(loan, LOAN_ROWS) == 1 or word(loan, LOAN_PITCH) == word(loan, LOAN_COLS) * word(use, USE_SIZE)


@inline
def is_further(ops: int, use: int, loan: int) -> bool:
    """Whether the region of a use lies below or beside the one that was read last; then this one is."""
    i, j = extent(ops, word(use, USE_ROW)), extent(ops, word(use, USE_COL))
    further = i >= word(loan, LOAN_LOWER) or j >= word(loan, LOAN_RIGHT)
    set_word(loan, LOAN_LOWER, i + extent(ops, word(use, USE_ROWS)))
    set_word(loan, LOAN_RIGHT, j + extent(ops, word(use, USE_COLS)))
    return further


@inline
def touch(ctx: int, ops: int, s: int, use: int) -> None:
    """Prepare a tile operand, whose static words may be changed, for one instruction."""
    offset = word(ops, word(use, USE_OPERAND))
    loan = loan_at(ctx, use, offset)
    if loan == 0:
        fetch_all(ctx, use)
    elif word(loan, LOAN_ROWS) == 0:
        return
    elif word(use, USE_KIND) == READ and is_within(ops, use, loan) and (
            is_further(ops, use, loan) or is_dense(loan, use)):
        place(ctx, s, offset, loan)
    elif word(use, USE_KIND) == WRITE and covers(ops, use, loan):
        set_word(loan, LOAN_ROWS, 0)
    else:
        fetch(loan)


@inline
def value(ctx: int, record: int, operand: int) -> int:
    """The value of an operand of any instruction."""
    found = word(record, OPERANDS_AT + operand)
    return word(ctx + REGISTERS, found) if (word(record, MASK) >> operand) & 1 else found


@called
def destination(ctx: int, record: int) -> int:
    """Where a tstore will write; 0 where it will be refused, or its rows are not each in one piece, and apart."""
    tensor = surface(ctx, record + STATIC, 0)
    i, j, rows, cols = (value(ctx, record, 2), value(ctx, record, 3), value(ctx, record, 4), value(ctx, record, 5))
    height, width, size = word(tensor, TENSOR_ROWS), word(tensor, TENSOR_COLS), word(record + STATIC + SLOT, SLOT_SIZE)
    if i < 0 or j < 0 or rows <= 0 or cols <= 0 or rows > height - i or cols > width - j:
        return 0
    if word(tensor, TENSOR_STEP) != size or (rows > 1 and word(tensor, TENSOR_STRIDE) < size * cols):
        return 0
    return word(tensor, TENSOR_BASE) + i * word(tensor, TENSOR_STRIDE) + j * size


@inline
def meets(loan: int, at: int, end: int, width: int, down: int) -> bool:
    """Whether what is on loan may have a byte of a window; windows side by side have none."""
    base, pitch, other = word(loan, LOAN_BASE), word(loan, LOAN_PITCH), word(loan, LOAN_BYTES)
    if base >= end or at >= base + (word(loan, LOAN_ROWS) - 1) * pitch + other:
        return False
    across = (at - base) % pitch if pitch > 0 else 0
    return pitch != down or across < other or across + width > pitch


@called
def make_way(ctx: int, ops: int, plan: int, store: int, itself: bool) -> int:
    """Fetch what is on loan where a store will write, but for what is there already; gives the place, or 0."""
    at, loan = destination(ctx, store), ctx + word(plan, PLAN_LOANS)
    down = word(surface(ctx, store + STATIC, 0), TENSOR_STRIDE)
    width = value(ctx, store, 5) * word(store + STATIC + SLOT, SLOT_SIZE)
    end = at + (value(ctx, store, 4) - 1) * down + width
    use = plan + PLAN
    own = loan_at(ctx, use, word(ops, word(use, USE_OPERAND))) if itself else 0
    for _ in range(word(plan, PLAN_COUNT)):
        if word(loan, LOAN_ROWS) > 0 and word(loan, LOAN_AHEAD):
            base, pitch = word(loan, LOAN_BASE), word(loan, LOAN_PITCH)
            there = loan == own and base == at and (pitch == down or word(loan, LOAN_ROWS) == 1)
            if not there and (at == 0 or meets(loan, at, end, width, down)):
                fetch(loan)
        loan += LOAN
    return at


@called
def borrowed(ctx: int, ops: int, record: int) -> int:
    """The static words for one execution of an instruction, in the context."""
    plan, st = word(record, PLAN_AT), ctx + STATICS
    for i in range(STATIC_WORDS):
        set_word(st, i, word(record + STATIC, i))
    if word(plan, PLAN_AHEAD) != 0 and word(ctx, LENDING) != 0:
        call_handler(word(plan, PLAN_AHEAD), ctx, ops, record)
        return st
    use = plan + PLAN
    for _ in range(word(plan, PLAN_USES)):
        touch(ctx, ops, st + SLOT * word(use, USE_SLOT), use)
        use += USE
    return st


@inline
def run_ahead(ctx: int, ops: int, s: int, use: int, at: int, pitch: int) -> None:
    """Let an instruction write its result where the next store will."""
    offset = word(ops, word(use, USE_OPERAND))
    loan = loan_at(ctx, use, offset)
    if loan != 0:
        home = word(ctx, ARENA) + word(s, SLOT_BASE) + offset
        lend(loan, home, s, extent(ops, word(use, USE_ROWS)), extent(ops, word(use, USE_COLS)), at, pitch, 1)
        place(ctx, s, offset, loan)


def storing(ctx: int, ops: int, record: int) -> None:
    """Prepare the operands of a store, or of an instruction that runs ahead of one."""
    plan, use = word(record, PLAN_AT), word(record, PLAN_AT) + PLAN
    store = word(plan, PLAN_STORE)
    at = make_way(ctx, ops, plan, store, store == record)
    for _ in range(word(plan, PLAN_USES)):
        s = ctx + STATICS + SLOT * word(use, USE_SLOT)
        touch(ctx, ops, s, use)
        if at != 0 and word(use, USE_KIND) == WRITE:
            run_ahead(ctx, ops, s, use, at, word(surface(ctx, store + STATIC, 0), TENSOR_STRIDE))
        use += USE


FUNCTIONS[STORING] = storing


@kernel(move.TLOAD, Layout.ROW, lends=True)
def loaded_on_loan(form: Form) -> Body:
    """Note where a window is, if its columns are next to each other; else copy it."""
    size, copy_window = form.size, windower(form.size)
    dst, _ = form.places
    lines, length = dst.lines, dst.length

    def run(ctx: int, ops: int, st: int, at: Any) -> None:
        (d, s, _, _), rows, cols = at, extent(ops, lines), extent(ops, length)
        if rows == 0 or cols == 0:
            return
        use = word(st - STATIC, PLAN_AT) + PLAN
        touch(ctx, ops, st, use)
        loan = loan_at(ctx, use, word(ops, 0))
        if loan == 0 or word(ctx, LENDING) == 0 or step(ctx, st, 1) != size:
            copy_window(d, pitch(st, 0), s, stride(ctx, st, 1), step(ctx, st, 1), rows, cols)
        else:
            lend(loan, d, st, rows, cols, s, stride(ctx, st, 1), 0)
    return run
