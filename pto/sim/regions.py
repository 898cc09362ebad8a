"""Which bytes an instruction touches, and whether it may: the checks of `pto.sim.traps`, in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pto.core.dtypes import DType
from pto.core.target import Target
from pto.core.types import PANEL_COLS, Layout, Space, TileType
from pto.isa.program import Inst, Program, TileRef
from pto.isa.spec import WHOLE, Kind, Operand, Role, Trait
from pto.isa.table.scalar import TVIEW
from pto.sim.traps import MachineTrap, TrapKind, trap_error

Shape = tuple[int, int]
VIEW_NUMBERS = slice(TVIEW.position("offset"), len(TVIEW.operands))


@dataclass(frozen=True, slots=True)
class Surface:
    """What a tensor or view is at one moment: a matrix over the elements of a tensor, in row-major order.

    Attributes:
        slot: number of the tensor.
        offset: the element at row 0, column 0.
        strides: elements from one row to the next, and from one column to the next.
    """

    slot: int
    rows: int
    cols: int
    strides: Shape
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """An instruction as issued: one number for each operand, registers replaced by what they held.

    The number of a TILE is its byte offset; of a DEST, its register.
    """

    core: int
    pc: int
    inst: Inst
    values: tuple[int | float, ...]
    surfaces: Mapping[int, Surface | None] = field(default_factory=dict)  # by TENSOR operand; None: not yet set

    def number(self, name: str | int) -> int:
        """The value of the integer operand with this name, or the number itself."""
        return name if isinstance(name, int) else int(self.values[self.inst.spec.position(name)])


@dataclass(frozen=True, slots=True)
class Region:
    """Rows x cols elements of a tile or tensor; the columns of a PANEL tile are whole panels.

    Attributes:
        operand: the row's operand that names it.
        space: the tile's memory; None for a tensor.
        slot: the tensor's slot; -1 for a tile.
        start: first byte of the tile in its memory, or of the view in its tensor; 0 for a tensor.
        row, col: first row and column, in the tile, tensor or view.
        pitch: elements from one row (ROW), column (COL) or panel (PANEL) to the next.
        step: elements from one column to the next, where the layout is ROW.
    """

    operand: Operand
    space: Space | None
    slot: int
    layout: Layout
    start: int
    row: int
    col: int
    rows: int
    cols: int
    pitch: int
    dtype: DType
    step: int = 1

    @property
    def size(self) -> int:
        """Bytes of one element."""
        return self.dtype.size

    @property
    def is_empty(self) -> bool:
        return self.rows == 0 or self.cols == 0

    def pieces(self) -> tuple[int, int, int, int]:
        """The pieces of a region: start of the first, distance, number, length; in bytes.

        They are contiguous, but for the rows of a view whose columns lie apart: those have holes.
        """
        step, size = self.pitch * self.size, self.size
        if self.is_empty:
            return self.start, step, 0, 0
        if self.layout is Layout.ROW and self.step == 1:
            return self.start + self.row * step + self.col * size, step, self.rows, self.cols * size
        if self.layout is Layout.ROW:
            first = self.start + self.row * step + self.col * self.step * size
            return first, step, self.rows, ((self.cols - 1) * self.step + 1) * size
        if self.layout is Layout.COL:
            return self.start + self.col * step + self.row * size, step, self.cols, self.rows * size
        line = PANEL_COLS * size
        first = self.start + self.col // PANEL_COLS * step + self.row * line
        return first, step, self.cols // PANEL_COLS, self.rows * line

    @property
    def end(self) -> int:
        """Where the last piece ends; `start` for an empty region."""
        first, step, count, length = self.pieces()
        return first + (count - 1) * step + length if count else self.start

    def runs(self) -> Iterator[tuple[int, int]]:
        """Start and end of each contiguous run, in order, in bytes of the memory or tensor."""
        first, step, count, length = self.pieces()
        if count and (self.step != 1 or step < length):
            yield from self._scattered(first)
            return
        if step == length:  # the pieces touch
            count, step, length = min(count, 1), step * count, length * count
        for at in range(first, first + count * step, step or 1):
            yield at, at + length


    def _scattered(self, first: int) -> Iterator[tuple[int, int]]:
        """Runs of elements that lie in any order."""
        at = np.add.outer(np.arange(self.rows) * self.pitch, np.arange(self.cols) * self.step)
        starts = np.unique(at) * self.size + first
        breaks = np.flatnonzero(np.diff(starts) != self.size) + 1
        for run in np.split(starts, breaks):
            yield int(run[0]), int(run[-1]) + self.size


class Bounds:
    """Resolves the memory operands of instructions of one program, and refuses those out of bounds."""

    def __init__(self, program: Program, target: Target) -> None:
        self.program, self.target = program, target

    def regions(self, step: Step) -> tuple[Region, ...]:
        """The regions of an instruction's memory operands, in operand order.

        Raises:
            TrapError: an operand is out of bounds.
        """
        return tuple(self._region(step, position) for position in step.inst.spec.memory)

    def _region(self, step: Step, position: int) -> Region:
        operand = step.inst.spec.operands[position]
        rows, cols = step.number(operand.rows), step.number(operand.cols)
        row, col = (step.number(name) for name in operand.at) if operand.at else (0, 0)
        if operand.kind is Kind.TENSOR:
            return self._window(step, position, row, col, (rows, cols))
        arg = step.inst.args[position]
        assert isinstance(arg, TileRef)
        decl = self.program.tiles[arg.tile]
        kind, offset = decl.type, step.number(operand.name)
        self._within(step, position, (row, col), (rows, cols), (kind.rows, kind.cols), extents_bound=True)
        whole = -(-cols // PANEL_COLS) * PANEL_COLS if kind.layout is Layout.PANEL else cols
        region = Region(operand, kind.space, -1, kind.layout, decl.address + offset, row, col, rows, whole,
                        pitch(kind), kind.dtype)
        self._offset(step, position, offset, region, decl.address + decl.nbytes)
        return region

    def _window(self, step: Step, position: int, row: int, col: int, count: Shape) -> Region:
        surface, operand = step.surfaces[position], step.inst.spec.operands[position]
        if surface is None:
            raise self._trap(TrapKind.VIEW_NOT_SET, step, position, None)
        if operand.rows == WHOLE:
            count = surface.rows, count[1]
        self._within(step, position, (row, col), count, (surface.rows, surface.cols), extents_bound=False)
        if Role.OUT in operand.role and overlaps(count, surface.strides):
            raise self._trap(TrapKind.OVERLAP, step, position, None)
        dtype = self.program.tensors[surface.slot].dtype
        return Region(operand, None, surface.slot, Layout.ROW, surface.offset * dtype.size, row, col, *count,
                      surface.strides[0], dtype, surface.strides[1])

    def _within(self, step: Step, position: int, first: Shape, count: Shape, most: Shape, *,
                extents_bound: bool) -> None:
        """Rules a and b; only a tile bounds the extents on their own."""
        for n, capacity in zip(count, most, strict=True):
            if n < 0 or (extents_bound and n > capacity):
                raise self._trap(TrapKind.BAD_REGION, step, position, n)
        for at, n, capacity in zip(first, count, most, strict=True):
            if at < 0 or at + n > capacity:
                raise self._trap(TrapKind.OUT_OF_BOUNDS, step, position, at)

    def _offset(self, step: Step, position: int, offset: int, region: Region, end: int) -> None:
        """Rule c."""
        if offset < 0:
            raise self._trap(TrapKind.OUT_OF_BOUNDS, step, position, offset)
        if offset % self.target.align:
            raise self._trap(TrapKind.MISALIGNED, step, position, offset)
        if max(region.end, region.start + 1) > end:
            raise self._trap(TrapKind.OUT_OF_BOUNDS, step, position, offset)

    def _trap(self, kind: TrapKind, step: Step, position: int, value: int | None) -> MachineTrap:
        return trap_error(self.program, kind, step.pc, step.core, position, value)


def bad_index(step: Step, regions: tuple[Region, ...], position: int, indices: NDArray[Any]) -> int | None:
    """The first element of an index tile that numbers no row or column."""
    picks = step.inst.spec.operands[position].picks
    if picks is None:
        return None
    source = next(region for region in regions if region.operand.name == picks[0])
    limit = source.rows if picks[1] == "rows" else source.cols
    wrong = indices[(indices < 0) | (indices >= limit)]
    return int(wrong[0]) if wrong.size else None


def overlaps(count: Shape, strides: Shape) -> bool:
    """Whether two elements of a window may be one: neither stride passes the extent of the other."""
    (rows, cols), (down, across) = count, strides
    if rows == 0 or cols == 0:
        return False
    by_rows = (cols == 1 or across > 0) and (rows == 1 or down > (cols - 1) * across)
    return not by_rows and not ((rows == 1 or down > 0) and (cols == 1 or across > (rows - 1) * down))


def surface_of(step: Step, slot: int, elements: int) -> Surface | int:
    """What a tview makes of a tensor of so many elements, or the position of the operand that is wrong."""
    numbers = [int(value) for value in step.values[VIEW_NUMBERS]]
    for position, value in enumerate(numbers, VIEW_NUMBERS.start):
        if value < 0:
            return position
    offset, rows, cols, down, across = numbers
    room = elements - 1 - offset
    wrong = [offset > elements]
    if rows and cols:
        room_of_row = room - (rows - 1) * down
        wrong = [room < 0, room_of_row < 0, room_of_row < (cols - 1) * across]
    if True in wrong:
        return VIEW_NUMBERS.start + wrong.index(True)
    return Surface(slot, rows, cols, (down if rows > 1 and cols else 0, across if cols > 1 and rows else 0), offset)


def pitch(kind: TileType) -> int:
    """Elements from one row, column or panel of a tile to the next."""
    return kind.rows * PANEL_COLS if kind.layout is Layout.PANEL else kind.pitch


def read_and_written(step: Step, regions: tuple[Region, ...]) -> tuple[list[Region], list[Region]]:
    """The regions that an instruction reads, and those that it writes."""
    reads = [r for r in regions if Role.IN in r.operand.role and not overwrites(step, r.operand)]
    return reads, [r for r in regions if Role.OUT in r.operand.role]


def overwrites(step: Step, operand: Operand) -> bool:
    """Whether an accumulator is written without being read."""
    accumulates = operand.role is Role.INOUT and Trait.ACCUMULATES in step.inst.spec.traits
    return accumulates and step.number("acc") == 0
