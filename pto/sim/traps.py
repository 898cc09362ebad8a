"""Why a machine stops a program: the kinds of trap, their codes, and the error that a user reads.

Every operand of every instruction is checked before the instruction has any effect; the first
failure in this order is the one reported, the same on all machines:

1. operands in the row's order; for a tile or tensor operand
   a. `VIEW_NOT_SET` for a view that is not; rows, then columns of the region: `BAD_REGION` where negative
      or, for a tile, above its capacity;
   b. first row, then first column, where the operand has them: `OUT_OF_BOUNDS` where negative or where
      the region would pass the capacity of the tile or the extent of the tensor;
   c. a tile's byte offset: `OUT_OF_BOUNDS` where negative, `MISALIGNED` where no multiple of the
      target's alignment, `OUT_OF_BOUNDS` where the region, from its offset to its last byte, would pass
      the end of the declaration (an empty region has no bytes, but its offset is that of a byte within);
   d. `OVERLAP` for a window of a view that is written and, having more than one row and column, neither
      of whose strides passes the extent of the other, or one of whose strides is 0 where it counts;
   e. after all operands, the elements of an index tile in order: `OUT_OF_BOUNDS`, with the index as the value;
2. of a tview, offset, rows, columns and strides: `OUT_OF_BOUNDS` where negative; then the offset where it is
   above the number of elements, rows where the first element of the last row lies outside, columns where the
   last element does (a view without elements has none outside);
3. a flag's id: `BAD_FLAG`; then its state; an event's core and id: `BAD_EVENT`.

Of several cores that fail the lowest is the one reported; a deadlock only where none has failed.
"""

from __future__ import annotations

from enum import IntEnum

from pto.core.errors import Loc, TrapError
from pto.isa.program import Inst, Program, Reg, TileRef
from pto.isa.spec import Kind, Pipe
from pto.sim.access import Race


class TrapKind(IntEnum):
    """What went wrong; the value is the code that the fast machine returns."""

    OUT_OF_BOUNDS = 1
    MISALIGNED = 2
    BAD_REGION = 3
    BAD_FLAG = 4
    FLAG_SET_TWICE = 5
    FLAG_NOT_SET = 6
    FLAG_LEFT_SET = 7
    DIVIDE_BY_ZERO = 8
    BAD_PC = 9
    DEADLOCK = 10
    VIEW_NOT_SET = 11
    OVERLAP = 12
    BAD_EVENT = 13
    EVENT_LEFT_SET = 14
    UNINITIALISED = 15
    RACE = 16


REASONS = {
    TrapKind.OUT_OF_BOUNDS: "access out of bounds",
    TrapKind.MISALIGNED: "offset is not aligned",
    TrapKind.BAD_REGION: "region is negative or larger than the tile",
    TrapKind.BAD_FLAG: "no such flag id",
    TrapKind.FLAG_SET_TWICE: "flag is already set",
    TrapKind.FLAG_NOT_SET: "wait for a flag that is not set",
    TrapKind.FLAG_LEFT_SET: "flag is still set at halt",
    TrapKind.DIVIDE_BY_ZERO: "division by zero",
    TrapKind.BAD_PC: "no instruction there",
    TrapKind.DEADLOCK: "deadlock",
    TrapKind.VIEW_NOT_SET: "view is used before a tview sets it",
    TrapKind.OVERLAP: "two elements of the window that is written are one",
    TrapKind.BAD_EVENT: "no such core or event id",
    TrapKind.EVENT_LEFT_SET: "event is still above 0 when all cores have halted",
    TrapKind.UNINITIALISED: "read of an element that nothing has written",
    TrapKind.RACE: "two accesses that nothing orders",
}


class MachineTrap(TrapError):
    """A trap with its facts.

    Attributes:
        kind: what went wrong.
        pc: index of the instruction.
        core: number of the core.
        race: of a `RACE`, the two accesses.
        operand, value: which operand of the instruction (-1: none) is wrong, and what it is.
    """

    def __init__(self, message: str, kind: TrapKind, pc: int, core: int, loc: Loc | None,
                 race: Race | None = None, operand: int = -1, value: int | None = None) -> None:
        super().__init__(message, loc=loc)
        self.kind, self.pc, self.core, self.race = kind, pc, core, race
        self.operand, self.value = operand, value
        if kind is TrapKind.DEADLOCK:
            self.exit_code = 7


def trap_error(program: Program, kind: TrapKind | int, pc: int, core: int, operand: int = -1,
               value: int | None = None, detail: str = "", race: Race | None = None) -> MachineTrap:
    """The error for a trap: `operand` is a position in the row, or -1; `value` is what is wrong."""
    kind = TrapKind(kind)
    words = [REASONS[kind]]
    if 0 <= pc < len(program.code):
        inst = program.code[pc]
        words.append(_operand(program, inst, operand, value))
        words.append(f"{inst.spec.mnemonic} at pc {pc}, pipe {program.pipe(inst).name}, core {core}")
    else:
        words.append(f"pc {pc}, core {core}")
    message = ": ".join(filter(None, (*words, detail)))
    return MachineTrap(message, kind, pc, core, program.span(pc) if pc >= 0 else None, race, operand, value)


def _operand(program: Program, inst: Inst, operand: int, value: int | None) -> str:
    """The operand in words, with the value that is wrong."""
    shown = "" if value is None else f"value {value}"
    if not 0 <= operand < len(inst.args):
        return shown
    arg, spec = inst.args[operand], inst.spec.operands[operand]
    if isinstance(arg, TileRef):
        decl = program.tiles[arg.tile]
        name = f"{spec.name} = tile {decl.name} ({decl.type}, {decl.slots} slots)"
    elif spec.kind is Kind.TENSOR and isinstance(arg, int):
        what = "tensor" if arg < len(program.tensors) else "view"
        name = f"{spec.name} = {what} {program.surfaces[arg].name}"
    elif spec.kind is Kind.PIPE and isinstance(arg, int):
        name = f"{spec.name} = {Pipe(arg).name}"
    else:
        name = f"{spec.name} = {arg}" if isinstance(arg, Reg) else spec.name
    return ", ".join(filter(None, (name, shown)))
