"""Word numbers of a core's context and of a linked instruction: what the linker and the kernels agree on.

Every word is an int64. Modules that Numba compiles take these numbers as constants.
"""

from __future__ import annotations

from enum import IntEnum

from pto.isa.spec import OPERAND_WORDS, REGISTERS, TILE_FIELDS, Pipe

WORD = 8

# A context: state of one core. Descriptors of tensors, then of views, come last: base, rows (-1: a view that
# is not set), columns, bytes from one row and from one column to the next.
PC, FUEL, STATUS, TRAP_KIND, TRAP_OPERAND, TRAP_VALUE, SCALARS, TILES = range(8)
ARENA, SPARE, EXACT = 8, 9, 10
SCRATCH_AT = 16
FLAGS_AT = 24  # one word of flag bits for each ordered pair of pipes
REGISTERS_AT = FLAGS_AT + len(Pipe) ** 2
TENSORS_AT = REGISTERS_AT + REGISTERS
TENSOR_BASE, TENSOR_ROWS, TENSOR_COLS, TENSOR_STRIDE, TENSOR_STEP, TENSOR_WORDS = range(6)

# A linked instruction.
OPCODE, MASK, OPERANDS_AT = 0, 1, 2
HANDLER_AT = OPERANDS_AT + OPERAND_WORDS
WEIGHT_AT = HANDLER_AT + 1
STATIC_AT = 12
# Static words of a memory operand; a tensor has two: the byte offset of its descriptor in the context, and
# whether it is a view.
SLOT_BASE, SLOT_BYTES, SLOT_PITCH, SLOT_ROWS, SLOT_COLS, SLOT_WORDS = range(6)
SURFACE_AT, SURFACE_IS_VIEW = range(2)
RECORD_WORDS = STATIC_AT + TILE_FIELDS * SLOT_WORDS

FLAGS = 8


class Status(IntEnum):
    """Why the engine returned."""

    RUNNING = 0
    PAUSED = 1  # the next instruction weighs more than the fuel that is left
    HALTED = 2
    TRAPPED = 3


class Code(IntEnum):
    """The engine's own opcodes, above those of the table."""

    TILE = 256
    END = 257  # after the last instruction: running into it is a trap
