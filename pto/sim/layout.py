"""Word numbers of a core's context and of a linked instruction: what the linker and the kernels agree on.

Every word is an int64. Modules that Numba compiles take these numbers as constants.
"""

from __future__ import annotations

from enum import IntEnum

from pto.isa.spec import OPERAND_WORDS, REGISTERS, TILE_FIELDS, Pipe

WORD = 8

# A context: state of one core. Tensor descriptors (base, rows, columns, row stride in bytes) come last.
PC, FUEL, STATUS, TRAP_KIND, TRAP_OPERAND, TRAP_VALUE, SCALARS, TILES = range(8)
ARENA, SPARE, EXACT = 8, 9, 10
SHARED, CORE, CORES, SYNCS, AWAITED = 16, 17, 18, 19, 20  # AWAITED: arrivals that a sync_all under way waits for, or 0
SCRATCH_AT = 24
FLAGS_AT = 32  # one word of flag bits for each ordered pair of pipes
REGISTERS_AT = FLAGS_AT + len(Pipe) ** 2
TENSORS_AT = REGISTERS_AT + REGISTERS
TENSOR_BASE, TENSOR_ROWS, TENSOR_COLS, TENSOR_STRIDE, TENSOR_WORDS = range(5)

# A linked instruction.
OPCODE, MASK, OPERANDS_AT = 0, 1, 2
HANDLER_AT = OPERANDS_AT + OPERAND_WORDS
WEIGHT_AT = HANDLER_AT + 1
STATIC_AT = 12
# Static words of a memory operand; a tensor has one, the byte offset of its descriptor in the context.
SLOT_BASE, SLOT_BYTES, SLOT_PITCH, SLOT_ROWS, SLOT_COLS, SLOT_WORDS = range(6)
RECORD_WORDS = STATIC_AT + TILE_FIELDS * SLOT_WORDS

FLAGS = 8

# What the cores of a launch share; words that several threads write lie on lines of their own. FAILED is the lowest
# core that failed, from which cores on need not run; events are counts by source core, destination core and id.
ARRIVALS, SETS, FAILED, EVENTS_AT = 0, 8, 16, 24
EVENTS = 8

# The cores of one host thread.
CREW_COUNT, CREW_NEXT, CREW_BUDGET, CREW_SPINS, CREW_SEEN, CREW_RESULT, CREW_AT = range(7)


class Result(IntEnum):
    """Why the cores of one host thread are left."""

    DONE = 0  # no core can run any more
    FAILED = 1  # a core trapped or lacks fuel
    SPENT = 2
    IDLE = 3  # all cores that have not ended wait for cores of other threads, or for ever


class Status(IntEnum):
    """Why the engine returned."""

    RUNNING = 0
    NO_FUEL = 1  # the next instruction weighs more than the fuel that is left
    HALTED = 2
    TRAPPED = 3
    WAITING = 4  # for another core


class Code(IntEnum):
    """The engine's own opcodes, above those of the table."""

    TILE = 256
    END = 257  # after the last instruction: running into it is a trap
