"""Loads that need no copy: which tiles may stay in global memory until something changes them.

A tload from a tensor that the program never writes only notes where the bytes are: the tile is on loan. What
reads within the loaded region reads there; what writes all of it ends the loan; before anything else touches the
tile, its bytes are fetched. No program can tell. It needs a declaration in rows whose bytes no other declaration
shares, and arrays none of which overlaps one that is written, which each launch looks at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pto.core.types import Layout, Space
from pto.isa.program import Inst, Program, TileDecl, TileRef
from pto.isa.spec import Role
from pto.isa.table import move
from pto.sim.layout import LOAN_WORDS, TENSOR_WORDS, TENSORS_AT, WORD, Use

SPACES = (Space.UB, Space.L1)
Words = NDArray[np.int64]


class Loans:
    """The tiles of a program that can be on loan, and for each instruction what it does to them."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.first: dict[int, int] = {}  # number of a declaration's first loan
        self.count = 0
        self.plans: list[list[int]] = []
        loaded = {inst.args[0].tile for inst in program.code if self.lends(inst) and isinstance(inst.args[0], TileRef)}
        for number, tile in enumerate(program.tiles):
            fits = tile.type.space in SPACES and tile.type.layout is Layout.ROW
            if fits and number in loaded and self._alone(tile):
                self.first[number] = self.count
                self.count += tile.slots

    def lends(self, inst: Inst) -> bool:
        """Whether an instruction loads from a tensor that the program never writes."""
        surfaces = range(len(self.program.surfaces))
        return inst.spec is move.TLOAD and any(
            number in surfaces and not self.program.tensors[self.program.slot(number)].written
            for number in inst.args[1:2] if isinstance(number, int)
        )

    def plan(self, inst: Inst) -> int | None:
        """The number of an instruction's plan, if it touches a tile that can be on loan."""
        uses = [use for n, position in enumerate(inst.spec.memory) for use in self._uses(inst, n, position)]
        if not uses:
            return None
        row = [len(uses), *(word for use in sorted(uses, key=lambda use: use[0]) for word in use)]
        self.plans.append(row)
        return len(self.plans) - 1

    def table(self) -> Words:
        """All plans, one a row."""
        table = np.zeros((len(self.plans), max(map(len, self.plans), default=0)), np.int64)
        for row, plan in zip(table, self.plans, strict=True):
            row[:len(plan)] = plan
        return table

    def _alone(self, tile: TileDecl) -> bool:
        """No other declaration has a byte of this one."""
        return all(
            other is tile or other.type.space is not tile.type.space
            or other.address >= tile.address + tile.nbytes or tile.address >= other.address + other.nbytes
            for other in self.program.tiles
        )

    def _uses(self, inst: Inst, slot: int, position: int) -> Iterator[list[int]]:
        """The words of an operand's use, those of what only reads to sort first."""
        arg, operand = inst.args[position], inst.spec.operands[position]
        if not isinstance(arg, TileRef) or arg.tile not in self.first:
            return
        tile = self.program.tiles[arg.tile]
        after = TENSORS_AT + TENSOR_WORDS * len(self.program.surfaces)
        use = {Role.IN: Use.READ, Role.OUT: Use.WRITE, Role.INOUT: Use.CHANGE}[operand.role]
        extents = (_number(inst, side) for side in (operand.rows, operand.cols, *(operand.at or (0, 0))))
        yield [
            use, slot, position, WORD * (after + LOAN_WORDS * self.first[arg.tile]), tile.type.nbytes, tile.slots,
            tile.type.dtype.size, *extents,
        ]


def _number(inst: Inst, side: str | int) -> int:
    """Which operand holds a number, or the number itself, below zero."""
    return inst.spec.position(side) if isinstance(side, str) else -1 - side


def apart(spans: Sequence[tuple[int, int]], written: Sequence[bool]) -> bool:
    """Whether no span of addresses that is written overlaps one that is not."""
    changed = [span for span, changes in zip(spans, written, strict=True) if changes]
    return all(
        start >= stop or stop <= low or high <= start
        for (start, stop), changes in zip(spans, written, strict=True) if not changes for low, high in changed
    )

