"""Which bytes an instruction touches, and whether it may: the checks of `pto.sim.traps`, in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pto.core.dtypes import DType
from pto.core.target import Target
from pto.core.types import PANEL_COLS, Layout, Space, TileType
from pto.isa.program import Inst, Program, TileRef
from pto.isa.spec import Kind, Operand, Role, Trait
from pto.sim.traps import MachineTrap, TrapKind, trap_error

Shape = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Step:
    """An instruction as issued: one number for each operand, registers replaced by what they held.

    The number of a TILE is its byte offset; of a DEST, its register.
    """

    core: int
    pc: int
    inst: Inst
    values: tuple[int | float, ...]

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
        start: the tile's first byte in its memory; 0 for a tensor.
        row, col: first row and column, in the tile or in the tensor.
        pitch: elements from one row (ROW), column (COL) or panel (PANEL) to the next.
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

    @property
    def size(self) -> int:
        """Bytes of one element."""
        return self.dtype.size

    @property
    def is_empty(self) -> bool:
        return self.rows == 0 or self.cols == 0

    def pieces(self) -> tuple[int, int, int, int]:
        """The contiguous pieces of a region: start of the first, distance, number, length; in bytes."""
        step, size = self.pitch * self.size, self.size
        if self.is_empty:
            return self.start, step, 0, 0
        if self.layout is Layout.ROW:
            return self.start + self.row * step + self.col * size, step, self.rows, self.cols * size
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
        """Start and end of each piece, in bytes of the memory or of the tensor in row-major order."""
        first, step, count, length = self.pieces()
        if step == length:  # the pieces touch
            count, step, length = min(count, 1), step * count, length * count
        for at in range(first, first + count * step, step or 1):
            yield at, at + length


class Bounds:
    """Resolves the memory operands of instructions of one program, and refuses those out of bounds."""

    def __init__(self, program: Program, target: Target, shapes: Mapping[int, Shape]) -> None:
        self.program, self.target, self.shapes = program, target, shapes

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
            slot = step.number(operand.name)
            extent = self.shapes[slot]
            self._within(step, position, (row, col), (rows, cols), extent, extents_bound=False)
            dtype = self.program.tensors[slot].dtype
            return Region(operand, None, slot, Layout.ROW, 0, row, col, rows, cols, extent[1], dtype)
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
        if region.end > end:
            raise self._trap(TrapKind.OUT_OF_BOUNDS, step, position, offset)

    def _trap(self, kind: TrapKind, step: Step, position: int, value: int) -> MachineTrap:
        return trap_error(self.program, kind, step.pc, step.core, position, value)


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
