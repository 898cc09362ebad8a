"""From a program to the words that the engine runs. Whatever memory safety rests on is checked here."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from pto.core.errors import CompilerBug, Loc, ProgramError, TypeMismatch
from pto.core.target import BY_NAME, Target
from pto.core.types import PANEL_COLS, Layout, Space, TileType
from pto.isa.program import Inst, Program, Reg, TileDecl, TileRef
from pto.isa.spec import OPERAND_WORDS, REGISTERS, Instr, Kind, Pipe, Role, Route
from pto.isa.table import BY_OPCODE
from pto.isa.table.scalar import TVIEW
from pto.isa.table.sync import SET_FLAG, WAIT_FLAG
from pto.sim.layout import (
    EVENTS,
    FLAGS,
    HANDLER_AT,
    MASK,
    OPCODE,
    OPERANDS_AT,
    PLAN_AHEAD,
    PLAN_AT,
    PLAN_STORE,
    RECORD_WORDS,
    SLOT_WORDS,
    STATIC_AT,
    TENSOR_WORDS,
    TENSORS_AT,
    WEIGHT_AT,
    WORD,
    Code,
)
from pto.sim.loans import Loans
from pto.sim.names import STORING, handler_name, transposes, type_part

PAGE = 4096
SPARE_OF_UB = 3  # spare memory holds any tile of UB widened to twice its size, and a result beside it
INT64 = range(-(2**63), 2**63)
# Fuel: one unit is about two nanoseconds. A tile instruction weighs what its capacities allow at most.
SCALAR_WEIGHT, TILE_WEIGHT, MOST_WEIGHT = 1, 8, 1 << 19
PRODUCTS_A_UNIT, STREAMED_A_UNIT, ELEMENTS_A_UNIT = 128, 16, 16
EXCHANGED = (("rows", "cols"), ("i", "j"), ("row_step", "col_step"))  # where tiles in columns pass for rows
FLAG_ROWS = (SET_FLAG, WAIT_FLAG)
Words = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Arena:
    """Where a core's memories lie in one block, with a gap after each."""

    base: dict[Space, int]
    spare: int
    nbytes: int

    @classmethod
    def of(cls, target: Target) -> Arena:
        base, at = {}, 0
        for space, capacity in target.capacity:
            base[space] = at
            at += _pages(capacity) + PAGE
        return cls(base, at, at + SPARE_OF_UB * _pages(target.bytes_of(Space.UB)) + PAGE)


@dataclass(frozen=True, slots=True)
class Linked:
    """A program as words: one row an instruction, and a last row that traps."""

    code: Words
    handlers: tuple[str | None, ...]  # the function of each instruction that has one
    arena: Arena
    plans: Words
    loans: int  # tiles that can be on loan

    @property
    def functions(self) -> set[str]:
        """Names of the compiled functions that it needs, apart from an engine."""
        storing = {STORING} if len(self.plans) and self.plans[:, PLAN_STORE].any() else set()
        return {name for name in self.handlers if name is not None} | storing

    def bind(self, address: dict[str, int]) -> None:
        """Write the addresses of functions and plans into the code."""
        planned = self.code[:, PLAN_AT] != 0
        self.code[planned, PLAN_AT] = self.plans.ctypes.data + (self.code[planned, PLAN_AT] - 1) * self.plans.strides[0]
        for plan in self.plans:
            if plan[PLAN_STORE]:
                plan[PLAN_STORE], plan[PLAN_AHEAD] = self.code[plan[PLAN_STORE] - 1].ctypes.data, address[STORING]
        for row, name in zip(self.code, self.handlers, strict=False):
            if name is not None:
                row[HANDLER_AT] = address[name]


def _pages(nbytes: int) -> int:
    return -(-nbytes // PAGE) * PAGE


def link(program: Program) -> Linked:
    """Check and link a program.

    Raises:
        ProgramError: the program breaks a static rule.
    """
    if program.target not in BY_NAME:
        known = ", ".join(sorted(BY_NAME))
        raise ProgramError(f"no target is called {program.target!r}", hint=f"targets: {known}")
    target = BY_NAME[program.target]
    if target.flags > FLAGS or target.events > EVENTS or target.align & target.align - 1:
        raise CompilerBug(f"{target.name}: no machine has its flags, events or alignment")
    for tile in program.tiles:
        _check_tile(tile, target)
    for view in program.views:
        if not 0 <= view.tensor < len(program.tensors):
            raise ProgramError(f"view {view.name}: there is no tensor {view.tensor}")
    if len(program.parameters) > REGISTERS - 2:
        raise ProgramError(f"{len(program.parameters)} parameters exceed the registers")
    for pc, inst in enumerate(program.code):
        _check_instruction(program, pc, inst)
    linker = _Linker(program, Arena.of(target))
    code = np.zeros((len(program.code) + 1, RECORD_WORDS), np.int64)
    names = tuple(linker.instruction(pc, inst, code[pc]) for pc, inst in enumerate(program.code))
    code[-1, OPCODE] = Code.END
    return Linked(code, names, linker.arena, linker.loans.table(), linker.loans.count)


def _check_tile(tile: TileDecl, target: Target) -> None:
    """A declaration lies within its memory."""
    kind, space = tile.type, tile.type.space
    if space is None:
        raise ProgramError(f"tile {tile.name} has no memory space")
    if kind.rows < 1 or kind.cols < 1 or tile.slots < 1:
        raise ProgramError(f"tile {tile.name} has no elements: {kind}, {tile.slots} slots")
    if kind.layout is Layout.PANEL and kind.cols % PANEL_COLS:
        raise ProgramError(f"tile {tile.name}: {kind.cols} columns are not whole panels of {PANEL_COLS}")
    if tile.address < 0 or tile.address % target.align:
        raise ProgramError(f"tile {tile.name}: address {tile.address} is no multiple of {target.align}")
    if tile.address + tile.nbytes > target.bytes_of(space):
        raise ProgramError(
            f"tile {tile.name} ends at byte {tile.address + tile.nbytes} of {space.value}, "
            f"which has {target.bytes_of(space)}"
        )


def _refusal(program: Program, pc: int, message: str) -> ProgramError:
    loc: Loc | None = program.span(pc)
    return ProgramError(f"pc {pc}: {message}", loc=loc)


def _check_instruction(program: Program, pc: int, inst: Inst) -> None:
    """It is one of this machine's, and has as many operands and attributes."""
    spec = inst.spec
    if BY_OPCODE.get(spec.opcode) != spec:
        raise _refusal(program, pc, f"{spec.mnemonic} is no instruction of this machine")
    if len(inst.args) != len(spec.operands):
        raise _refusal(program, pc, f"{spec.mnemonic} takes {len(spec.operands)} operands, has {len(inst.args)}")
    if len(inst.attrs) != len(spec.attrs) or any(
        value not in attr.values for attr, value in zip(spec.attrs, inst.attrs, strict=True)
    ):
        raise _refusal(program, pc, f"{spec.mnemonic} cannot have attributes {inst.attrs}")


class _Linker:
    """Fills in the words of instructions, one at a time."""

    def __init__(self, program: Program, arena: Arena) -> None:
        self.program, self.arena, self.loans = program, arena, Loans(program)
        self.pc = 0

    def instruction(self, pc: int, inst: Inst, row: Words) -> str | None:
        """Link one instruction; gives the name of its function, if it has one."""
        self.pc, spec = pc, inst.spec
        words = [self.operand(inst, i) for i in range(len(inst.args))]
        if spec is TVIEW:
            return self.view(words, row)
        if spec.is_scalar:
            self.scalar(spec, words, row)
            return None
        return self.tile(inst, words, row)

    def error(self, message: str) -> ProgramError:
        """The refusal of the present instruction."""
        return _refusal(self.program, self.pc, message)

    def operand(self, inst: Inst, position: int) -> tuple[int, bool]:
        """The word of an operand, and whether it names a register."""
        arg, spec = inst.args[position], inst.spec.operands[position]
        value: object = arg
        if spec.kind is Kind.TILE:
            if not isinstance(arg, TileRef) or not 0 <= arg.tile < len(self.program.tiles):
                raise self.error(f"operand {spec.name} names no declared tile")
            value = arg.offset
        if spec.kind in (Kind.TILE, Kind.INDEX, Kind.SCALAR, Kind.DEST) and isinstance(value, Reg):
            if not 0 <= value.number < REGISTERS:
                raise self.error(f"operand {spec.name}: there is no register {value}")
            return value.number, True
        if spec.kind is Kind.SCALAR and isinstance(value, float | int):
            return int.from_bytes(struct.pack("<d", value), "little", signed=True), False
        if not isinstance(value, int) or value not in self._legal(spec.kind):
            raise self.error(f"operand {spec.name} cannot be {value}")
        return value, False

    def _legal(self, kind: Kind) -> range:
        """Immediates that an operand can be."""
        limits = {
            Kind.TENSOR: len(self.program.surfaces), Kind.SLOT: len(self.program.surfaces),
            Kind.LABEL: len(self.program.code), Kind.PIPE: len(Pipe), Kind.DEST: 0,
        }
        return range(limits[kind]) if kind in limits else INT64

    def scalar(self, spec: Instr, words: list[tuple[int, bool]], row: Words) -> None:
        """Sources first, then the register, label or pair of pipes."""
        kinds = [operand.kind for operand in spec.operands]
        sources = [word for word, kind in zip(words, kinds, strict=True) if kind is Kind.INDEX]
        others = [word for (word, _), kind in zip(words, kinds, strict=True) if kind is not Kind.INDEX]
        if spec in FLAG_ROWS and others[0] == others[1]:
            raise self.error(f"{spec.mnemonic}: source and destination pipe are the same")
        row[OPCODE], row[WEIGHT_AT] = spec.opcode, SCALAR_WEIGHT
        for i, (value, register) in enumerate(sources):
            row[OPERANDS_AT + i] = value
            row[MASK] |= register << i
        row[OPERANDS_AT + 3] = reduce(lambda sofar, word: sofar * len(Pipe) + word, others, 0)

    def view(self, words: list[tuple[int, bool]], row: Words) -> str:
        """A tview is the one instruction of the scalar unit that a handler performs."""
        (view, _), (tensor, _), *_ = words
        if not self.program.view_of(view, tensor):
            raise self.error(f"operand view names no view of tensor {tensor}")
        row[OPCODE], row[WEIGHT_AT] = Code.TILE, TILE_WEIGHT
        for i, (value, register) in enumerate(words):
            row[OPERANDS_AT + i] = value
            row[MASK] |= register << i
        row[STATIC_AT], row[STATIC_AT + SLOT_WORDS] = descriptor(view), descriptor(tensor)
        return handler_name(TVIEW, ())

    def tile(self, inst: Inst, words: list[tuple[int, bool]], row: Words) -> str:
        """Operand words, and for each tile and tensor what is known of it already."""
        spec = inst.spec
        types = self.program.memory_types(inst)
        try:
            route = spec.route(types)
        except TypeMismatch as err:
            raise self.error(err.message) from None
        tiles = tuple(t for t in types if isinstance(t, TileType))
        layouts = tuple(t.layout for t in tiles)
        if transposes(spec, layouts):
            names = [operand.name for operand in spec.operands]
            for one, other in EXCHANGED:
                if one in names:
                    i, j = names.index(one), names.index(other)
                    words[i], words[j] = words[j], words[i]
        plan = self.loans.plan(self.pc)
        lends = plan is not None and self.loans.lends(inst)
        name = handler_name(spec, layouts, type_part(spec, tuple(t.dtype for t in types)), lends=lends)
        row[OPCODE], row[WEIGHT_AT] = Code.TILE if plan is None or lends else Code.BORROWER, _weight(route, tiles)
        row[PLAN_AT] = 0 if plan is None else 1 + plan
        for i, (value, register) in enumerate(words[:OPERAND_WORDS]):
            row[OPERANDS_AT + i] = value
            row[MASK] |= (register and spec.operands[i].kind is not Kind.DEST) << i
        for i, (attr, choice) in enumerate(zip(spec.attrs, inst.attrs, strict=True), OPERANDS_AT + len(words)):
            row[i] = attr.values.index(choice)
        at = STATIC_AT
        for position in spec.memory:
            known = tuple(self.static(inst, position))
            row[at:at + len(known)] = known
            at += SLOT_WORDS
        return name

    def static(self, inst: Inst, position: int) -> Iterator[int]:
        """The static words of a tile or tensor operand."""
        arg, operand = inst.args[position], inst.spec.operands[position]
        if not isinstance(arg, TileRef):
            assert isinstance(arg, int)
            decl = self.program.tensors[self.program.slot(arg)]
            if Role.OUT in operand.role and not decl.written:
                raise self.error(f"tensor {decl.name} is not declared as written")
            yield from (descriptor(arg), arg >= len(self.program.tensors))
            return
        tile = self.program.tiles[arg.tile]
        kind, size = tile.type, tile.type.dtype.size
        assert kind.space is not None
        yield self.arena.base[kind.space] + tile.address
        yield tile.nbytes
        if kind.layout is Layout.PANEL:
            yield from (kind.rows * PANEL_COLS * size, kind.rows, kind.cols, size)
        elif kind.layout is Layout.COL:  # a tile in columns is its transpose in rows
            yield from (kind.rows * size, kind.cols, kind.rows, size)
        else:
            yield from (kind.cols * size, kind.rows, kind.cols, size)


def descriptor(number: int) -> int:
    """Where the context describes a tensor or view."""
    return WORD * (TENSORS_AT + TENSOR_WORDS * number)


def _weight(route: Route, tiles: tuple[TileType, ...]) -> int:
    """Fuel for the largest region that an instruction on these tiles can be given."""
    if route.pipe is Pipe.M:
        result, left, *_ = tiles
        work = result.rows * result.cols * left.cols // (PRODUCTS_A_UNIT if route.also is None else STREAMED_A_UNIT)
    else:
        work = max((t.rows * t.cols for t in tiles), default=1) * route.passes // ELEMENTS_A_UNIT
    return min(TILE_WEIGHT + work, MOST_WEIGHT)


def flags_set(words: Sequence[int]) -> Iterator[str]:
    """Names of the flags that are set, given the words of all ordered pairs of pipes."""
    for pair, bits in enumerate(words):
        for number in range(FLAGS):
            if bits >> number & 1:
                yield flag_name(*divmod(pair, len(Pipe)), number)


def flag_name(source: int, destination: int, number: int) -> str:
    """A flag in words."""
    return f"flag {Pipe(source).name} -> {Pipe(destination).name}, id {number}"
