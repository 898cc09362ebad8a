"""Word numbers of a core's context and of a linked instruction: what the linker and the kernels agree on.

Every word is an int64. Modules that Numba compiles take these numbers as constants.
"""

from __future__ import annotations

from enum import IntEnum

from pto.isa.spec import MEMORY_OPERANDS, OPERAND_WORDS, REGISTERS, Instr, Pipe

WORD = 8

# Static words of a memory operand; a tensor has two: the byte offset of its descriptor in the context, and
# whether it is a view.
SLOT_BASE, SLOT_BYTES, SLOT_PITCH, SLOT_ROWS, SLOT_COLS, SLOT_SIZE, SLOT_WORDS = range(7)

STATIC_WORDS = MEMORY_OPERANDS * SLOT_WORDS

# A context: state of one core. Descriptors of tensors, then of views, come last: base, rows (-1: a view that
# is not set), columns, bytes from one row and from one column to the next.
PC, FUEL, STATUS, TRAP_KIND, TRAP_OPERAND, TRAP_VALUE, SCALARS, TILES = range(8)
ARENA, SPARE, EXACT = 8, 9, 10
ALIGN_MASK, FLAG_IDS, EVENT_IDS = 11, 12, 13  # of the target; the mask has the bits that are 0 in every offset
LENDING = 15  # whether a load may leave its bytes where they are, see `pto.sim.loans`
SHARED, CORE, CORES, SYNCS = 16, 17, 18, 19
AWAITED, WATCH = 20, 21  # arrivals that a sync_all under way waits for, or 0; what a checked run keeps
SCRATCH_AT = 24
FLAGS_AT = 32  # one word of flag bits for each ordered pair of pipes
REGISTERS_AT = FLAGS_AT + len(Pipe) ** 2
STATICS_AT = REGISTERS_AT + REGISTERS  # static words of the present instruction, where they are not its own
TENSORS_AT = STATICS_AT + STATIC_WORDS
TENSOR_BASE, TENSOR_ROWS, TENSOR_COLS, TENSOR_STRIDE, TENSOR_STEP, TENSOR_WORDS = range(6)

# After them the loans, one for each slot of a tile that can be on loan: rows (0: it is not), columns, address and
# pitch of what was loaded or is stored ahead, the ends of the rows and of the columns that were read last, then address
# and pitch of the tile, bytes of one of its rows, and whether its bytes are where a store is due.
(
    LOAN_ROWS, LOAN_COLS, LOAN_BASE, LOAN_PITCH, LOAN_LOWER, LOAN_RIGHT, LOAN_HOME, LOAN_HOME_PITCH, LOAN_BYTES,
    LOAN_AHEAD, LOAN_WORDS,
) = range(11)

# A linked instruction.
OPCODE, MASK, OPERANDS_AT = 0, 1, 2
HANDLER_AT = OPERANDS_AT + OPERAND_WORDS
WEIGHT_AT = HANDLER_AT + 1
PLAN_AT = WEIGHT_AT + 1  # address of the plan, if tiles can be on loan
STATIC_AT = 12
SURFACE_AT, SURFACE_IS_VIEW = range(2)
RECORD_WORDS = STATIC_AT + STATIC_WORDS

FLAGS = 8  # most flag ids of a target: what there is room for

# What the cores of a launch share; words that several threads write lie on lines of their own. FAILED is the lowest
# core that failed, from which cores on need not run; events are counts by source core, destination core and id.
ARRIVALS, SETS, FAILED, EVENTS_AT = 0, 8, 16, 24
EVENTS = 8  # most event ids of a target

# The cores of one host thread.
CREW_COUNT, CREW_NEXT, CREW_BUDGET, CREW_SPINS, CREW_SEEN, CREW_RESULT, CREW_AT = range(7)


class Result(IntEnum):
    """Why the cores of one host thread are left."""

    DONE = 0  # no core can run any more
    FAILED = 1  # a core trapped or lacks fuel
    SPENT = 2
    IDLE = 3  # all cores that have not ended wait for cores of other threads, or for ever
    NO_ROOM = 4  # in a pool of the watch


# A plan: number of uses; the record of the tstore whose window the instruction writes (its own, or one that it runs
# ahead of; 0: none) and the function that then prepares its operands, where in the context all loans are, and how
# many; then the words of the uses.
PLAN_USES, PLAN_STORE, PLAN_AHEAD, PLAN_LOANS, PLAN_COUNT, PLAN_WORDS = range(6)

# A use of a tile that can be on loan: what it is, which memory operand and operand word it is, where in the context
# the tile's loans are, bytes of a slot, slots, bytes of an element; then which operands hold rows, columns, first
# row and first column (-1 - n: the number n).
(
    USE_KIND, USE_SLOT, USE_OPERAND, USE_LOANS, USE_BYTES, USE_SLOTS, USE_SIZE, USE_ROWS, USE_COLS, USE_ROW, USE_COL,
    USE_WORDS,
) = range(12)


# Words of an array object (`PyArrayObject_fields`, NumPy C API): a count of axes and flags are the lower halves of one.
# Then those of a row of the table of arrays that are expected to be as they were: where the object is (0: any will do),
# and what it says of itself; extents and strides end it.
OBJECT_DATA, OBJECT_AXES, OBJECT_SHAPE, OBJECT_STRIDES, OBJECT_DTYPE, OBJECT_FLAGS = 2, 3, 4, 5, 7, 8
HALF = (1 << 32) - 1
ROW_OBJECT, ROW_DATA, ROW_AXES, ROW_DTYPE, ROW_FLAGS, ROW_EXTENTS = range(6)
MOST_AXES = 8
ROW_WORDS = ROW_EXTENTS + 2 * MOST_AXES


class Use(IntEnum):
    """What an instruction does to a region of a tile."""

    READ = 0
    WRITE = 1
    CHANGE = 2


class Status(IntEnum):
    """Why the engine returned."""

    RUNNING = 0
    NO_FUEL = 1  # the next instruction weighs more than the fuel that is left
    HALTED = 2
    TRAPPED = 3
    WAITING = 4  # for another core
    NO_ROOM = 5  # in a pool of the watch, before the next instruction has any effect


class Code(IntEnum):
    """The engine's own opcodes, above those of the table."""

    TILE = 256
    BORROWER = 258  # a tile instruction that may touch tiles on loan
    END = 257  # after the last instruction: running into it is a trap


def number_or_operand(row: Instr, side: str | int) -> int:
    """Which operand holds a number of a region, or the number itself: n as -1 - n."""
    return row.position(side) if isinstance(side, str) else -1 - side
