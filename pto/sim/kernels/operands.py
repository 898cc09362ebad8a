"""Memory operands as an instruction's row describes them: each checked and found, then what the kernel does.

A kernel is a body `(ctx, ops, st, at)`: the addresses of the context, of the operand words and of the static words,
and four addresses, of its memory operands in operand order. It runs once all have passed their checks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pto.core.dtypes import DType
from pto.core.types import Layout
from pto.isa.spec import MEMORY_OPERANDS, WHOLE, Instr, Kind, Operand, Role
from pto.sim.kernels.checks import beside, panels, part, pitch, surface, window, window_out
from pto.sim.kernels.copying import settle
from pto.sim.layout import TENSOR_ROWS, number_or_operand
from pto.sim.vec import inline, word

Compiled = Callable[[int, int, int], None]
Body = Callable[..., None]
NOTHING, NOWHERE = -1, (0,) * 6


@inline
def extent(ops: int, source: int) -> int:
    """A number that an operand word has, or that `number_or_operand` states itself."""
    return word(ops, source) if source >= 0 else -1 - source


@inline
def find_nothing(ctx: int, ops: int, st: int, where: Any) -> int:
    """No address, where an instruction has fewer operands."""
    return NOTHING


@inline
def find_tile(ctx: int, ops: int, st: int, where: Any) -> int:
    """The address of the region of a tile whose lines are pieces."""
    slot, operand, i, j, lines, length = where
    return part(ctx, ops, st, slot, operand, extent(ops, i), extent(ops, j), extent(ops, lines), extent(ops, length))


@inline
def find_panels(ctx: int, ops: int, st: int, where: Any) -> int:
    """The address of the rows of a tile in panels."""
    slot, operand, i, _, rows, cols = where
    return panels(ctx, ops, st, slot, operand, extent(ops, i), extent(ops, rows), extent(ops, cols))


@inline
def find_window(ctx: int, ops: int, st: int, where: Any) -> int:
    """The address of a window that is read."""
    slot, operand, i, j, rows, cols = where
    return window(ctx, st, slot, operand, extent(ops, i), extent(ops, j), extent(ops, rows), extent(ops, cols))


@inline
def find_window_out(ctx: int, ops: int, st: int, where: Any) -> int:
    """The address of a window that is written."""
    slot, operand, i, j, rows, cols = where
    return window_out(ctx, st, slot, operand, extent(ops, i), extent(ops, j), extent(ops, rows), extent(ops, cols))


@inline
def height(ctx: int, st: int, slot: int) -> int:
    """All rows of a tensor or view."""
    return max(word(surface(ctx, st, slot), TENSOR_ROWS), 0)


@inline
def find_all_rows(ctx: int, ops: int, st: int, where: Any) -> int:
    """The address of a window of all rows that is read."""
    slot, operand, _, j, _, cols = where
    return window(ctx, st, slot, operand, 0, extent(ops, j), height(ctx, st, slot), extent(ops, cols))


@inline
def find_all_rows_out(ctx: int, ops: int, st: int, where: Any) -> int:
    """The address of a window of all rows that is written."""
    slot, operand, _, j, _, cols = where
    return window_out(ctx, st, slot, operand, 0, extent(ops, j), height(ctx, st, slot), extent(ops, cols))


@dataclass(frozen=True, slots=True)
class Place:
    """Where the region of a memory operand is, by numbers for `extent`.

    Attributes:
        slot: its number among the memory operands.
        position: its number among the operands.
        line, start: first row and column; column and row of a tile in columns.
        lines, length: rows and columns; columns and rows of a tile in columns. A line is in one piece.
    """

    operand: Operand
    layout: Layout | None
    dtype: DType
    slot: int
    position: int
    line: int
    start: int
    lines: int
    length: int

    @property
    def words(self) -> tuple[int, ...]:
        """What the functions that find it need."""
        return self.slot, self.position, self.line, self.start, self.lines, self.length

    @property
    def find(self) -> Any:
        """What checks it, and gives its address or 0."""
        if self.operand.kind is Kind.TILE:
            return find_panels if self.layout is Layout.PANEL else find_tile
        out = Role.OUT in self.operand.role
        if self.operand.rows == WHOLE:
            return find_all_rows_out if out else find_all_rows
        return find_window_out if out else find_window

    @property
    def shape(self) -> tuple[int, int, int]:
        """Lines, their length, and bytes of an element."""
        return self.lines, self.length, self.dtype.size

    def is_like(self, other: Place) -> bool:
        """Whether elements of both lie alike, where the pitch is the same too."""
        return self.shape == other.shape


@dataclass(frozen=True, slots=True)
class Form:
    """What a kernel is made for: an instruction, the layouts of its tiles, and the types of its memory operands."""

    row: Instr
    layouts: tuple[Layout, ...]
    types: tuple[DType, ...]

    @property
    def size(self) -> int:
        """Bytes of an element of the first memory operand."""
        return self.types[0].size

    @property
    def places(self) -> tuple[Place, ...]:
        """The memory operands."""
        layouts, made = iter(self.layouts), []
        for slot, position in enumerate(self.row.memory):
            operand = self.row.operands[position]
            layout = next(layouts) if operand.kind is Kind.TILE else None
            first, extents = (
                tuple(number_or_operand(self.row, side) for side in pair)
                for pair in (operand.at or (0, 0), (operand.rows, operand.cols))
            )
            if layout is Layout.COL:
                first, extents = first[::-1], extents[::-1]
            made.append(Place(operand, layout, self.types[slot], slot, position, *first, *extents))
        return tuple(made)


def checked(form: Form, body: Body) -> Compiled:
    """The function of an instruction: its operands checked in order, then the body with their addresses."""
    rest = inline(body)
    missing = [(find_nothing, NOWHERE)] * (MEMORY_OPERANDS - len(form.places))
    steps = [(place.find, place.words) for place in form.places] + missing
    (first, where1), (second, where2), (third, where3), (fourth, where4) = steps

    def run(ctx: int, ops: int, st: int) -> None:
        at1 = first(ctx, ops, st, where1)
        if at1 == 0:
            return
        at2 = second(ctx, ops, st, where2)
        if at2 == 0:
            return
        at3 = third(ctx, ops, st, where3)
        if at3 == 0:
            return
        at4 = fourth(ctx, ops, st, where4)
        if at4 != 0:
            rest(ctx, ops, st, (at1, at2, at3, at4))
    return run


def aside(form: Form, body: Body) -> Body:
    """A body that reads its sources after it has begun to write.

    It gets one more argument, before the addresses: where to write. That is its place, or spare memory if it covers
    part of a source in another shape; what is made there is then copied.
    """
    dst, *sources = form.places
    write, lines, length, size = inline(body), dst.lines, dst.length, dst.dtype.size
    words = [(source.slot, *source.shape, source.is_like(dst)) for source in sources]
    first, second, third = (*words, *[(0, *dst.shape, True)] * (MEMORY_OPERANDS - len(form.places)))

    def run(ctx: int, ops: int, st: int, at: Any) -> None:
        nbytes = size * extent(ops, length)
        to = beside_source(ctx, ops, st, at[0], at[0], nbytes, lines, at[1], first)
        to = beside_source(ctx, ops, st, to, at[0], nbytes, lines, at[2], second)
        to = beside_source(ctx, ops, st, to, at[0], nbytes, lines, at[3], third)
        write(ctx, ops, st, to, at)
        settle(at[0], pitch(st, 0), to, extent(ops, lines), nbytes)
    return run


@inline
def beside_source(
    ctx: int, ops: int, st: int, made: int, d: int, d_bytes: int, d_lines: int, a: int, source: Any
) -> int:
    """Where to write, which was `made` so far, beside one more tile, if there is one."""
    slot, lines, length, size, alike = source
    if slot == 0:
        return made
    d_shape = pitch(st, 0), extent(ops, d_lines), d_bytes
    return beside(ctx, made, d, d_shape, a, (pitch(st, slot), extent(ops, lines), size * extent(ops, length)), alike)
