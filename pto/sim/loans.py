"""Loads and stores that need no copy: which tiles may be in global memory until something changes them.

A tload from a tensor that the program never writes only notes where the bytes are: the tile is on loan. What
reads within the loaded region reads there; what writes all of it ends the loan; before anything else touches the
tile, its bytes are fetched. No program can tell. It needs a declaration in rows whose bytes no other declaration
shares, and arrays none of which overlaps one that is written, which each launch looks at.

An instruction whose result the very next tstore takes, and that reads no global memory or only what the program never
writes, may write it where that one would: it runs ahead of the store, and the tile is on loan from there until
something else is stored over it. So a program that ends in a trap or without fuel may have stored one result more than
it came to. Where cores wait for each other they do without, but for what comes after the last wait; so do programs that
write global memory in other ways.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pto.core.types import Layout, Space
from pto.isa.program import Arg, Inst, Program, TileDecl, TileRef
from pto.isa.spec import Kind, Operand, Role
from pto.isa.table import move, sync
from pto.sim.layout import LOAN_WORDS, TENSOR_WORDS, TENSORS_AT, WORD, Use, number_or_operand

SPACES = (Space.UB, Space.L1)
JOINING = (sync.SYNC_ALL, sync.EVENT_SET, sync.EVENT_WAIT)
PASSING = (sync.SET_FLAG, sync.WAIT_FLAG)  # what may be between a result and its store
Words = NDArray[np.int64]


class Loans:
    """The tiles of a program that can be on loan, and for each instruction what it does to them."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.first: dict[int, int] = {}  # number of a declaration's first loan
        self.count = 0
        self.plans: list[list[int]] = []
        self.fitting = {number for number, tile in enumerate(program.tiles) if self._fits(tile)}
        self.ahead = {pc: store for pc in self._alone_from() if (store := self._store_after(pc)) is not None}
        moved = {arg for inst in program.code if self.lends(inst) for arg in inst.args[:1]}
        if self.ahead:  # then every store looks at what is on loan
            moved |= {inst.args[1] for inst in program.code if inst.spec is move.TSTORE}
        for number in sorted({arg.tile for arg in moved if isinstance(arg, TileRef)} & self.fitting):
            self.first[number] = self.count
            self.count += program.tiles[number].slots

    def lends(self, inst: Inst) -> bool:
        """Whether an instruction loads from a tensor that the program never writes."""
        return inst.spec is move.TLOAD and any(map(self._stays, inst.args[1:2]))

    def _stays(self, number: Arg) -> bool:
        """Whether an operand is a tensor, or a view of one, that the program never writes."""
        if not isinstance(number, int) or number not in range(len(self.program.surfaces)):
            return False
        return not self.program.tensors[self.program.slot(number)].written

    def plan(self, pc: int) -> int | None:
        """The number of an instruction's plan, if it touches a tile that can be on loan."""
        inst = self.program.code[pc]
        uses = [use for n, position in enumerate(inst.spec.memory) for use in self._uses(inst, n, position)]
        if not uses:
            return None
        store = pc if self.ahead and inst.spec is move.TSTORE else self.ahead.get(pc, -1)
        row = [len(uses), 1 + store, 0, self._at(0), self.count]
        self.plans.append([*row, *(word for use in sorted(uses, key=lambda use: use[0]) for word in use)])
        return len(self.plans) - 1

    def table(self) -> Words:
        """All plans, one a row."""
        table = np.zeros((len(self.plans), max(map(len, self.plans), default=0)), np.int64)
        for row, plan in zip(table, self.plans, strict=True):
            row[:len(plan)] = plan
        return table

    def _alone_from(self) -> range:
        """What runs when no core waits for another any more, if only stores write global memory from there on."""
        code = self.program.code
        start = 1 + max((pc for pc, inst in enumerate(code) if inst.spec in JOINING), default=-1)
        targets = (arg for inst in code[start:] for operand, arg in zip(inst.spec.operands, inst.args, strict=False)
                   if operand.kind is Kind.LABEL and isinstance(arg, int))
        if min(targets, default=start) < start or not all(map(self._can_run_ahead, code[start:])):
            return range(0)
        return range(start, len(code))

    def _store_after(self, pc: int) -> int | None:
        """The tstore that takes the whole of the tile that an instruction makes, with only flags between."""
        inst, code = self.program.code[pc], self.program.code
        results = [(o, arg) for o, arg in zip(inst.spec.operands, inst.args, strict=False) if Role.OUT in o.role]
        tensors = [arg for o, arg in zip(inst.spec.operands, inst.args, strict=False) if o.kind is Kind.TENSOR]
        if self.lends(inst) or not all(map(self._stays, tensors)) or [o.role for o, _ in results] != [Role.OUT]:
            return None
        after = next((i for i in range(pc + 1, len(code)) if code[i].spec not in PASSING), pc)
        (operand, result), store = results[0], code[after]
        if store.spec is not move.TSTORE or not self._can_lend(result) or store.args[1:2] != (result,):
            return None
        return after if _extents(inst, operand) == _extents(store, store.spec.operands[1]) else None

    def _can_run_ahead(self, inst: Inst) -> bool:
        """Whether all that an instruction may write to global memory comes from a tile that can be on loan."""
        writes = any(o.kind is Kind.TENSOR and Role.OUT in o.role for o in inst.spec.operands)
        if not writes:
            return True
        return inst.spec is move.TSTORE and all(map(self._can_lend, inst.args[1:2]))

    def _can_lend(self, arg: Arg) -> bool:
        """Whether an operand is a tile that can be on loan at all."""
        return isinstance(arg, TileRef) and arg.tile in self.fitting

    def _fits(self, tile: TileDecl) -> bool:
        """In rows, in a memory that global memory is copied to, and no other declaration has a byte of it."""
        return tile.type.space in SPACES and tile.type.layout is Layout.ROW and self._alone(tile)

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
        use = {Role.IN: Use.READ, Role.OUT: Use.WRITE, Role.INOUT: Use.CHANGE}[operand.role]
        extents = (number_or_operand(inst.spec, side) for side in (operand.rows, operand.cols, *(operand.at or (0, 0))))
        yield [
            use, slot, position, self._at(self.first[arg.tile]), tile.type.nbytes, tile.slots,
            tile.type.dtype.size, *extents,
        ]

    def _at(self, loan: int) -> int:
        """Where in the context a loan is."""
        return WORD * (TENSORS_AT + TENSOR_WORDS * len(self.program.surfaces) + LOAN_WORDS * loan)


def _extents(inst: Inst, operand: Operand) -> list[Arg]:
    """Rows and columns of an operand's region, as they are written; those that are no operands are left out."""
    names = [side for side in (operand.rows, operand.cols) if isinstance(side, str)]
    return [arg for name in names for arg in inst.args[inst.spec.position(name):][:1]]


def apart(spans: Sequence[tuple[int, int]], written: Sequence[bool]) -> bool:
    """Whether no span of addresses that is written overlaps one that is not."""
    changed = [span for span, changes in zip(spans, written, strict=True) if changes]
    return all(
        start >= stop or stop <= low or high <= start
        for (start, stop), changes in zip(spans, written, strict=True) if not changes for low, high in changed
    )

