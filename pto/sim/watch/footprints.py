"""What each instruction of a program touches, as words: from its row and its declarations, nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pto.core.target import BY_NAME
from pto.core.types import PANEL_COLS, Layout, TileType
from pto.isa.program import Inst, Program, TileRef
from pto.isa.spec import WHOLE, Operand, Role, Trait
from pto.sim.layout import number_or_operand
from pto.sim.link import EXCHANGED, descriptor
from pto.sim.names import transposes
from pto.sim.watch.words import (
    ALL_ROWS,
    F_WORDS,
    FOOT_AT,
    FOOT_COUNT,
    FOOT_PIPE,
    FOOT_WORDS,
    LAYOUT_COL,
    LAYOUT_PANEL,
    LAYOUT_ROW,
)

LAYOUTS = {Layout.ROW: LAYOUT_ROW, Layout.COL: LAYOUT_COL, Layout.PANEL: LAYOUT_PANEL}


def footprints(program: Program, cores: int) -> NDArray[np.int64]:
    """One row an instruction; places are numbered as memories core by core, then tensors."""
    table = np.zeros((len(program.code) + 1, FOOT_WORDS), np.int64)
    for row, inst in zip(table, program.code, strict=False):
        row[FOOT_COUNT], row[FOOT_PIPE] = len(inst.spec.memory), program.pipe(inst)
        for i, position in enumerate(inst.spec.memory):
            at = FOOT_AT + F_WORDS * i
            row[at:at + F_WORDS] = list(_operand(program, inst, position, cores))
    return table


def _operand(program: Program, inst: Inst, position: int, cores: int) -> Iterator[int]:
    """The words of one memory operand."""
    operand, arg = inst.spec.operands[position], inst.args[position]
    accumulates = operand.role is Role.INOUT and Trait.ACCUMULATES in inst.spec.traits
    yield from (
        position, not isinstance(arg, TileRef), Role.IN in operand.role, Role.OUT in operand.role,
        inst.spec.position("acc") if accumulates else -1,
    )
    yield from _numbers(program, inst, operand)
    if isinstance(arg, TileRef):
        tile = program.tiles[arg.tile]
        kind, size = tile.type, tile.type.dtype.size
        spaces = [space for space, _ in BY_NAME[program.target].capacity]
        assert kind.space is not None
        pitch = PANEL_COLS * kind.rows if kind.layout is Layout.PANEL else kind.pitch
        yield from (
            size, spaces.index(kind.space), tile.address, tile.nbytes, LAYOUTS[kind.layout], pitch * size,
            kind.rows, kind.cols, 0, 0,
        )
    else:
        assert isinstance(arg, int)
        slot = program.slot(arg)
        memories = len(BY_NAME[program.target].capacity) * cores
        yield from (program.tensors[slot].dtype.size, memories + slot, *[0] * 6, descriptor(arg), descriptor(slot))


def _numbers(program: Program, inst: Inst, operand: Operand) -> Iterator[int]:
    """Which operand words hold rows, columns, first row and first column; as linked, where those are exchanged."""
    layouts = tuple(t.layout for t in program.memory_types(inst) if isinstance(t, TileType))
    pairs = EXCHANGED if transposes(inst.spec, layouts) else ()
    swapped = dict((*pairs, *((other, one) for one, other in pairs)))
    for side in (operand.rows, operand.cols, *(operand.at or (0, 0))):
        if side == WHOLE:
            yield ALL_ROWS
        else:
            yield number_or_operand(inst.spec, swapped.get(side, side))
