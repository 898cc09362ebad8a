"""Values that an operand cannot have, whatever the program: what a machine must refuse, by the manual's rules.

Nothing here asks the project's own checks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pto.core.target import BY_NAME
from pto.isa.program import Arg, Inst, Program, Reg, TileRef
from pto.isa.spec import Kind
from pto.isa.table import scalar, sync
from pto.sim.traps import TrapKind

LEAST, MOST = -(2**63), 2**63 - 1
NEGATIVE = (-1, -64, LEAST)
HUGE = (2**31, 2**31 + 64, 2**62, MOST - 63, MOST)
REGION = frozenset({TrapKind.BAD_REGION, TrapKind.OUT_OF_BOUNDS})
BOUNDS = frozenset({TrapKind.OUT_OF_BOUNDS})


@dataclass(frozen=True)
class Wrong:
    """A value for the operand at a position, in its word, and the traps that may be meant.

    `seen`: a static check sees it, where it is an immediate.
    """

    position: int
    value: int
    kinds: frozenset[TrapKind]
    seen: bool = True


def wrong_values(program: Program, inst: Inst, cores: int = 1) -> list[Wrong]:
    """Values of the integer operands and tile offsets of an instruction that it always traps on."""
    if inst.spec in (sync.SET_FLAG, sync.WAIT_FLAG, sync.EVENT_SET, sync.EVENT_WAIT):
        return list(_order(program, inst, cores))
    if inst.spec == scalar.TVIEW:
        return [Wrong(i, value, BOUNDS) for i in range(2, 7) for value in NEGATIVE]
    if inst.spec in (scalar.DIV, scalar.MOD):
        return [Wrong(2, 0, frozenset({TrapKind.DIVIDE_BY_ZERO}), seen=False)]
    return [*_extents(program, inst), *_starts(program, inst), *_offsets(program, inst)]


def _order(program: Program, inst: Inst, cores: int) -> Iterator[Wrong]:
    target = BY_NAME[program.target]
    events = inst.spec in (sync.EVENT_SET, sync.EVENT_WAIT)
    limits = {"core": cores, "id": target.events} if events else {"id": target.flags}
    kind = frozenset({TrapKind.BAD_EVENT if events else TrapKind.BAD_FLAG})
    for name, limit in limits.items():
        for value in (*NEGATIVE, limit, limit + 1, 64, *HUGE):
            yield Wrong(inst.spec.position(name), value, kind)


def _extents(program: Program, inst: Inst) -> Iterator[Wrong]:
    """Extents that are negative, or above the smallest capacity of a tile that they are of."""
    names = {name for o in inst.spec.operands if o.is_memory for name in (o.rows, o.cols) if isinstance(name, str)}
    for name in sorted(names):
        most = min(_capacities(program, inst, name), default=None)
        above = HUGE if most is None else (most + 1, most + 16, *HUGE)
        for value in (*NEGATIVE, *above):
            yield Wrong(inst.spec.position(name), value, REGION, seen=value < 0 or most is not None)


def _starts(program: Program, inst: Inst) -> Iterator[Wrong]:
    """First rows and columns that are negative, or behind the end of a tile."""
    names = {name for o in inst.spec.operands for name in o.at or () if isinstance(name, str)}
    for name in sorted(names):
        most = min(_capacities(program, inst, name), default=None)
        behind = HUGE if most is None else (most + 1, *HUGE)
        for value in (*NEGATIVE, *behind):
            yield Wrong(inst.spec.position(name), value, BOUNDS, seen=value < 0 or most is not None)


def _capacities(program: Program, inst: Inst, name: str) -> Iterator[int]:
    """Rows or columns of the tiles that an operand is an extent or a first row or column of."""
    for operand, arg in zip(inst.spec.operands, inst.args, strict=True):
        if not isinstance(arg, TileRef):
            continue
        kind = program.tiles[arg.tile].type
        if name in (operand.rows, (operand.at or (0, 0))[0]):
            yield kind.rows
        if name in (operand.cols, (operand.at or (0, 0))[1]):
            yield kind.cols


def _offsets(program: Program, inst: Inst) -> Iterator[Wrong]:
    """Offsets of tiles that are negative, no multiple of the alignment, or behind the declaration."""
    align = BY_NAME[program.target].align
    for position, arg in enumerate(inst.args):
        if not isinstance(arg, TileRef):
            continue
        end = -(-program.tiles[arg.tile].nbytes // align) * align
        misaligned = frozenset({TrapKind.MISALIGNED})
        for value in (*NEGATIVE[1:], end, end + align, 2**31, 2**62, MOST - 63):
            yield Wrong(position, value, BOUNDS)
        yield Wrong(position, -1, frozenset({TrapKind.OUT_OF_BOUNDS, TrapKind.MISALIGNED}))
        yield from (Wrong(position, value, misaligned) for value in (1, align - 1))


def with_operand(inst: Inst, position: int, value: Arg) -> Inst:
    """The instruction with another value; of a tile, another offset."""
    old = inst.args[position]
    if isinstance(old, TileRef) and isinstance(value, int | Reg):
        value = TileRef(old.tile, value)
    return Inst(inst.spec, (*inst.args[:position], value, *inst.args[position + 1:]))


def with_instruction(program: Program, pc: int, inst: Inst) -> Program:
    return replace(program, code=(*program.code[:pc], inst, *program.code[pc + 1:]))


def after(program: Program, first: Inst) -> Program:
    """The program behind one more instruction."""
    moved = tuple(
        Inst(inst.spec, tuple(arg + 1 if o.kind is Kind.LABEL and isinstance(arg, int) else arg
                              for o, arg in zip(inst.spec.operands, inst.args, strict=True)))
        for inst in program.code
    )
    return replace(program, code=(first, *moved), lines=())
