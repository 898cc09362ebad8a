"""The loop that runs linked instructions: the scalar unit and flags here, tile instructions by their functions."""

from __future__ import annotations

from pto.isa.table import scalar, sync
from pto.sim.kernels.checks import trap
from pto.sim.layout import (
    FLAGS, FLAGS_AT, FUEL, HANDLER_AT, MASK, OPCODE, OPERANDS_AT, PC, RECORD_WORDS, REGISTERS_AT, SCALARS,
    SCRATCH_AT, STATIC_AT, STATUS, TILES, WEIGHT_AT, WORD, Code, Status,
)
from pto.isa.spec import OPERAND_WORDS, Pipe
from pto.sim.names import ENGINE
from pto.sim.kernels.registry import FUNCTIONS
from pto.sim.traps import TrapKind
from pto.sim.vec import add_wrap, call_handler, inline, mul_wrap, set_word, sub_wrap, truncated_div, truncated_rem, word

MOV, ADD, SUB, MUL, DIV, MOD, MIN, MAX, LT, XOR, MADD, JMP, BLT, BGE, HALT = (
    row.opcode for row in (
        scalar.MOV, scalar.ADD, scalar.SUB, scalar.MUL, scalar.DIV, scalar.MOD, scalar.MIN, scalar.MAX, scalar.LT,
        scalar.XOR, scalar.MADD, scalar.JMP, scalar.BLT, scalar.BGE, scalar.HALT,
    )
)
SET, WAIT = sync.SET_FLAG.opcode, sync.WAIT_FLAG.opcode
TILE, END = int(Code.TILE), int(Code.END)
RUNNING, PAUSED, HALTED = int(Status.RUNNING), int(Status.PAUSED), int(Status.HALTED)
BAD_FLAG, FLAG_SET_TWICE, FLAG_NOT_SET, FLAG_LEFT_SET, DIVIDE_BY_ZERO, BAD_PC = (
    int(kind) for kind in (
        TrapKind.BAD_FLAG, TrapKind.FLAG_SET_TWICE, TrapKind.FLAG_NOT_SET, TrapKind.FLAG_LEFT_SET,
        TrapKind.DIVIDE_BY_ZERO, TrapKind.BAD_PC,
    )
)
RECORD, PAIRS, ID_OPERAND, DIVISOR_OPERAND = WORD * RECORD_WORDS, len(Pipe) ** 2, 2, 2


@inline
def resolved(ctx: int, record: int, mask: int) -> int:
    """The address of the operand words, registers replaced by what they hold."""
    if mask == 0:
        return record + WORD * OPERANDS_AT
    scratch, registers = ctx + WORD * SCRATCH_AT, ctx + WORD * REGISTERS_AT
    for i in range(OPERAND_WORDS):
        value = word(record, OPERANDS_AT + i)
        if (mask >> i) & 1:
            value = word(registers, value)
        set_word(scratch, i, value)
    return scratch


@inline
def flag(ctx: int, op: int, pair: int, number: int) -> int:
    """Set or clear a flag; 0 where that trapped."""
    if number < 0 or number >= FLAGS:
        return trap(ctx, BAD_FLAG, ID_OPERAND, number)
    flags, bit = word(ctx, FLAGS_AT + pair), 1 << number
    if op == SET and flags & bit:
        return trap(ctx, FLAG_SET_TWICE, ID_OPERAND, number)
    if op == WAIT and not flags & bit:
        return trap(ctx, FLAG_NOT_SET, ID_OPERAND, number)
    set_word(ctx, FLAGS_AT + pair, flags ^ bit)
    return 1


@inline
def divided(op: int, a: int, b: int) -> int:
    """Division or remainder, rounded down; the smallest integer divided by -1 wraps."""
    if b == -1:
        return sub_wrap(0, a) if op == DIV else 0
    quotient, remainder = truncated_div(a, b), truncated_rem(a, b)
    if remainder != 0 and (remainder ^ b) < 0:
        quotient, remainder = quotient - 1, remainder + b
    return quotient if op == DIV else remainder


@inline
def computed(op: int, a: int, b: int, c: int) -> int:
    """The result of an arithmetic instruction other than a division."""
    if op == MOV:
        return a
    if op == ADD:
        return add_wrap(a, b)
    if op == SUB:
        return sub_wrap(a, b)
    if op == MUL:
        return mul_wrap(a, b)
    if op == MIN:
        return min(a, b)
    if op == MAX:
        return max(a, b)
    if op == LT:
        return 1 if a < b else 0
    if op == XOR:
        return a ^ b
    return add_wrap(mul_wrap(a, b), c)


@inline
def halted(ctx: int) -> int:
    """1 where every flag is clear, as the end of a program demands."""
    for pair in range(PAIRS):
        if word(ctx, FLAGS_AT + pair) != 0:
            return trap(ctx, FLAG_LEFT_SET, -1, pair)
    return 1


def engine(ctx: int, code: int, _: int) -> None:
    """Run from the context's pc until the program halts, traps, or has no fuel for its next instruction."""
    pc, fuel = word(ctx, PC), word(ctx, FUEL)
    scalars, tiles = word(ctx, SCALARS), word(ctx, TILES)
    registers, status = ctx + WORD * REGISTERS_AT, RUNNING
    while True:
        record = code + RECORD * pc
        op, mask, weight = word(record, OPCODE), word(record, MASK), word(record, WEIGHT_AT)
        if weight > fuel:
            status = PAUSED
            break
        fuel -= weight
        if op == TILE:
            ops = resolved(ctx, record, mask)
            call_handler(word(record, HANDLER_AT), ctx, ops, record + WORD * STATIC_AT)
            if word(ctx, STATUS) != RUNNING:
                break
            tiles += 1
            pc += 1
            continue
        # Linked scalar instructions: two or three sources, then the register, label or pair of pipes.
        a, b, c, to = (word(record, OPERANDS_AT), word(record, OPERANDS_AT + 1), word(record, OPERANDS_AT + 2),
                       word(record, OPERANDS_AT + 3))
        if mask & 1:
            a = word(registers, a)
        if mask & 2:
            b = word(registers, b)
        if mask & 4:
            c = word(registers, c)
        if op == SET or op == WAIT:
            if flag(ctx, op, to, a) == 0:
                break
        elif op == BLT:
            pc = to - 1 if a < b else pc
        elif op == BGE:
            pc = to - 1 if a >= b else pc
        elif op == JMP:
            pc = to - 1
        elif op == DIV or op == MOD:
            if b == 0:
                trap(ctx, DIVIDE_BY_ZERO, DIVISOR_OPERAND, 0)
                break
            set_word(registers, to, divided(op, a, b))
        elif op == HALT:
            if halted(ctx) == 1:
                scalars += 1
                status = HALTED
            break
        elif op == END:
            trap(ctx, BAD_PC, -1, pc)
            break
        else:
            set_word(registers, to, computed(op, a, b, c))
        scalars += 1
        pc += 1
    set_word(ctx, PC, pc)
    set_word(ctx, FUEL, fuel)
    set_word(ctx, SCALARS, scalars)
    set_word(ctx, TILES, tiles)
    if status != RUNNING:
        set_word(ctx, STATUS, status)


FUNCTIONS[ENGINE] = engine
