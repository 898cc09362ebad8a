"""The loops that run linked instructions: scalar unit and flags here, tile instructions by handlers."""

from __future__ import annotations

from typing import Any, NamedTuple

from pto.isa.spec import OPERAND_WORDS, Pipe
from pto.isa.table import scalar, sync
from pto.sim import layout
from pto.sim.between import arrive, event, progress, send, sync_all, take
from pto.sim.kernels.checks import trap
from pto.sim.kernels.loans import borrowed
from pto.sim.kernels.registry import FUNCTIONS
from pto.sim.layout import (
    AWAITED,
    CORE,
    CREW_BUDGET,
    CREW_COUNT,
    CREW_NEXT,
    CREW_RESULT,
    CREW_SEEN,
    CREW_SPINS,
    FLAG_IDS,
    FLAGS_AT,
    FUEL,
    MASK,
    OPCODE,
    OPERANDS_AT,
    PC,
    SCALARS,
    SHARED,
    STATUS,
    TILES,
    WORD,
)
from pto.sim.names import ENGINE
from pto.sim.traps import TrapKind
from pto.sim.vec import (
    add_wrap,
    call_handler,
    called,
    inline,
    mul_wrap,
    set_word,
    sub_wrap,
    truncated_div,
    truncated_rem,
    word,
)

MOV, ADD, SUB, MUL, DIV, MOD = (
    row.opcode for row in (scalar.MOV, scalar.ADD, scalar.SUB, scalar.MUL, scalar.DIV, scalar.MOD)
)
MIN, MAX, LT, XOR, MADD = (
    row.opcode for row in (scalar.MIN, scalar.MAX, scalar.LT, scalar.XOR, scalar.MADD)
)
JMP, BLT, BGE, HALT = (row.opcode for row in (scalar.JMP, scalar.BLT, scalar.BGE, scalar.HALT))
SET, WAIT = sync.SET_FLAG.opcode, sync.WAIT_FLAG.opcode
SYNC_ALL, EVENT_SET, EVENT_WAIT = sync.SYNC_ALL.opcode, sync.EVENT_SET.opcode, sync.EVENT_WAIT.opcode
TILE, BORROWER, END = int(layout.Code.TILE), int(layout.Code.BORROWER), int(layout.Code.END)
RUNNING, NO_FUEL, HALTED, TRAPPED, WAITING, NO_ROOM = map(int, layout.Status)
DONE, FAILED, SPENT, IDLE, FULL = map(int, layout.Result)
STOPPED = (RUNNING, NO_FUEL, TRAPPED, NO_ROOM)
FAILED_AT, CREW = layout.FAILED, WORD * layout.CREW_AT
BAD_FLAG, FLAG_LEFT_SET = int(TrapKind.BAD_FLAG), int(TrapKind.FLAG_LEFT_SET)
FLAG_SET_TWICE, FLAG_NOT_SET = int(TrapKind.FLAG_SET_TWICE), int(TrapKind.FLAG_NOT_SET)
DIVIDE_BY_ZERO, BAD_PC = int(TrapKind.DIVIDE_BY_ZERO), int(TrapKind.BAD_PC)
RECORD, REGISTERS = WORD * layout.RECORD_WORDS, WORD * layout.REGISTERS_AT
OPERANDS, SCRATCH, STATIC = WORD * OPERANDS_AT, WORD * layout.SCRATCH_AT, WORD * layout.STATIC_AT
HANDLER_AT, WEIGHT_AT = layout.HANDLER_AT, layout.WEIGHT_AT
PAIRS, ID_OPERAND, DIVISOR_OPERAND = len(Pipe) ** 2, 2, 2
STOP = -1


@inline
def resolved(ctx: int, record: int) -> int:
    """The address of the operand words, registers replaced by what they hold."""
    mask = word(record, MASK)
    if mask == 0:
        return record + OPERANDS
    for i in range(OPERAND_WORDS):
        value = word(record, OPERANDS_AT + i)
        if (mask >> i) & 1:
            value = word(ctx + REGISTERS, value)
        set_word(ctx + SCRATCH, i, value)
    return ctx + SCRATCH


@inline
def source(ctx: int, record: int, i: int) -> int:
    """The value of an operand of the scalar unit."""
    value = word(record, OPERANDS_AT + i)
    return word(ctx + REGISTERS, value) if (word(record, MASK) >> i) & 1 else value


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
def arithmetic(ctx: int, record: int, op: int, pc: int) -> int:
    """Write a register; gives the next pc."""
    a, b, to = source(ctx, record, 0), source(ctx, record, 1), word(record, OPERANDS_AT + 3)
    if op in (DIV, MOD):
        if b == 0:
            return trap(ctx, DIVIDE_BY_ZERO, DIVISOR_OPERAND, 0) + STOP
        set_word(ctx + REGISTERS, to, divided(op, a, b))
    else:
        set_word(ctx + REGISTERS, to, computed(op, a, b, source(ctx, record, 2)))
    return pc + 1


@inline
def halt(ctx: int) -> int:
    """The end of the program, at which every flag must be clear."""
    for pair in range(PAIRS):
        if word(ctx, FLAGS_AT + pair) != 0:
            return trap(ctx, FLAG_LEFT_SET, -1, pair) + STOP
    set_word(ctx, STATUS, HALTED)
    return STOP


class Watch(NamedTuple):
    """What looks on: functions that are asked before something happens, and give 0 where it must not.

    The first gets context, operand words and pc of a tile instruction; the others get contexts, then pairs of pipes,
    pipes, cores and ids, and some the pc.
    """

    tile: Any
    flag_set: Any
    flag_wait: Any
    event_set: Any
    event_taken: Any
    pipes: Any
    arrived: Any
    left: Any


@inline
def no_one(*_: int) -> int:
    """Nobody looks on."""
    return 1


UNWATCHED = Watch(*[no_one] * len(Watch._fields))


def flags(watch: Watch) -> Any:
    """The function that sets or clears a flag."""
    asked_set, asked_wait = watch.flag_set, watch.flag_wait

    @inline
    def flag(ctx: int, op: int, pair: int, number: int, pc: int) -> int:
        """Set or clear a flag; gives the next pc."""
        if number < 0 or number >= word(ctx, FLAG_IDS):
            return trap(ctx, BAD_FLAG, ID_OPERAND, number) + STOP
        flags, bit = word(ctx, FLAGS_AT + pair), 1 << number
        if op == SET and flags & bit:
            return trap(ctx, FLAG_SET_TWICE, ID_OPERAND, number) + STOP
        if op == WAIT and not flags & bit:
            return trap(ctx, FLAG_NOT_SET, ID_OPERAND, number) + STOP
        if (asked_set(ctx, pair, number) if op == SET else asked_wait(ctx, pair, number, pc)) == 0:
            return STOP
        set_word(ctx, FLAGS_AT + pair, flags ^ bit)
        return pc + 1
    return flag


def between_cores(watch: Watch) -> Any:
    """The function that performs events and barriers."""
    asked_set, taken, pipes, arrived, left = (
        watch.event_set, watch.event_taken, watch.pipes, watch.arrived, watch.left
    )

    @inline
    def events(ctx: int, op: int, pipe: int, core: int, number: int, pc: int) -> int:
        """An event, which may trap; 1 where the core goes on."""
        setting = op == EVENT_SET
        count = event(ctx, 1 if setting else 0, core, number, setting)
        if count == 0 or (setting and asked_set(ctx, pipe, core, number, pc) == 0):
            return 0
        if not setting:
            return taken(ctx, core, number) if take(ctx, count) else 0
        send(ctx, count)
        return 1

    @inline
    def run(ctx: int, op: int, pipe: int, core: int, number: int, pc: int) -> int:
        """An event or a barrier; gives the next pc, or STOP."""
        if op in (EVENT_SET, EVENT_WAIT):
            return pc + 1 if events(ctx, op, pipe, core, number, pc) else STOP
        if op != SYNC_ALL:
            return pc + pipes(ctx)
        first = word(ctx, AWAITED) == 0
        if first:
            arrive(ctx)
            arrived(ctx)
        return pc + left(ctx) if sync_all(ctx, first) else STOP
    return run


def scalar_unit(watch: Watch) -> Any:
    """The function that performs an instruction of the scalar unit."""
    flag, beyond = flags(watch), between_cores(watch)

    @inline
    def run(ctx: int, record: int, op: int, pc: int) -> int:
        """Run one instruction of the scalar unit; gives the next pc, or STOP."""
        if op < JMP:
            return arithmetic(ctx, record, op, pc)
        a, b, to = source(ctx, record, 0), source(ctx, record, 1), word(record, OPERANDS_AT + 3)
        if op == BLT:
            return to if a < b else pc + 1
        if op == BGE:
            return to if a >= b else pc + 1
        if op == JMP:
            return to
        if op in (SET, WAIT):
            return flag(ctx, op, to, a, pc)
        if op == HALT:
            return halt(ctx)
        if op == END:
            return trap(ctx, BAD_PC, -1, pc) + STOP
        return beyond(ctx, op, to, a, b, pc)
    return run


def core(watch: Watch) -> Any:
    """The function that runs one core."""
    scalar_step, asked = scalar_unit(watch), watch.tile

    @inline
    def tile_step(ctx: int, record: int, op: int, pc: int) -> int:
        """Run one tile instruction; gives the status."""
        ops = resolved(ctx, record)
        if asked(ctx, ops, pc) != 0:
            static = borrowed(ctx, ops, record) if op == BORROWER else record + STATIC
            call_handler(word(record, HANDLER_AT), ctx, ops, static)
        return word(ctx, STATUS)

    @called
    def run(ctx: int, code: int, budget: int) -> int:
        """Run a core until it halts, traps, waits, or lacks fuel; gives what is left of the budget."""
        most = word(ctx, FUEL)
        given = min(budget, most)
        pc, fuel = word(ctx, PC), given
        scalars, tiles = word(ctx, SCALARS), word(ctx, TILES)
        while True:
            record = code + RECORD * pc
            op, weight = word(record, OPCODE), word(record, WEIGHT_AT)
            if weight > fuel:
                set_word(ctx, STATUS, NO_FUEL if weight > most - given + fuel else RUNNING)
                break
            if op in (TILE, BORROWER):
                if tile_step(ctx, record, op, pc) != RUNNING:
                    break
                fuel -= weight
                tiles += 1
                pc += 1
            else:
                following = scalar_step(ctx, record, op, pc)
                done = following != STOP or word(ctx, STATUS) == HALTED
                fuel, scalars = fuel - weight * done, scalars + done
                if following == STOP:
                    break
                pc = following
        set_word(ctx, PC, pc)
        set_word(ctx, FUEL, most - given + fuel)
        set_word(ctx, SCALARS, scalars)
        set_word(ctx, TILES, tiles)
        return budget - given + fuel
    return run


def crew(watch: Watch) -> Any:
    """The function that runs the cores of one host thread."""
    run = core(watch)

    @inline
    def turn(ctx: int, code: int, budget: int) -> int:
        """Let a core run if it can; gives what is left of the budget."""
        status = word(ctx, STATUS)
        if status not in (RUNNING, WAITING) or word(ctx, CORE) >= word(word(ctx, SHARED), FAILED_AT):
            return budget
        set_word(ctx, STATUS, RUNNING)
        return run(ctx, code, budget)

    def rounds(table: int, code: int, _: int) -> None:
        """Run the cores in turn, each until it cannot go on, until there is a reason to stop."""
        at, budget, spins = word(table, CREW_NEXT), word(table, CREW_BUDGET), word(table, CREW_SPINS)
        count, shared = word(table, CREW_COUNT), word(word(table + CREW, 0), SHARED)
        still = waiting = 0  # cores in a row that did not move, and those of them that wait
        seen, result = progress(shared), DONE
        while True:
            ctx = word(table + CREW, at)
            left = turn(ctx, code, budget)
            status, moved, budget = word(ctx, STATUS), left != budget, left
            if status in STOPPED and word(ctx, CORE) < word(shared, FAILED_AT):
                result = SPENT if status == RUNNING else FULL if status == NO_ROOM else FAILED
                break
            at = at + 1 if at + 1 < count else 0
            if moved:
                still, waiting, seen, spins = 0, 0, progress(shared), word(table, CREW_SPINS)
                continue
            still, waiting = still + 1, waiting + (status == WAITING)
            if still == count:
                if waiting == 0 or spins == 0:
                    result = IDLE if waiting else DONE
                    break
                while spins > 0 and progress(shared) == seen:  # else no core can go on
                    spins -= 1
                still, waiting, seen = 0, 0, progress(shared)
        set_word(table, CREW_NEXT, at)
        set_word(table, CREW_SEEN, seen)
        set_word(table, CREW_RESULT, result)
    return rounds


FUNCTIONS[ENGINE] = crew(UNWATCHED)
