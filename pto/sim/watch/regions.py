"""The checks of one tile instruction before it runs, compiled: its regions, what nothing has written, what races."""

from __future__ import annotations

from pto.core.types import PANEL_COLS
from pto.isa.spec import Pipe
from pto.sim.kernels.checks import overlaps, trap
from pto.sim.kernels.operands import extent
from pto.sim.layout import (
    ALIGN_MASK,
    CORE,
    STATUS,
    TENSOR_BASE,
    TENSOR_COLS,
    TENSOR_ROWS,
    TENSOR_STEP,
    TENSOR_STRIDE,
    WATCH,
    WORD,
    Status,
)
from pto.sim.traps import TrapKind
from pto.sim.vec import called, inline, set_word, word
from pto.sim.watch.clocks import SCALAR, advance, report, scalar_waited
from pto.sim.watch.granules import ACCESS, NO_ROOM, first_unwritten, mark_written, touch_region
from pto.sim.watch.pools import entry
from pto.sim.watch.words import (
    A_CHAIN,
    A_CLOCK,
    A_NOW,
    A_PC,
    A_START,
    A_STOP,
    A_WRITES,
    ALL_ROWS,
    E_CHAIN,
    E_PC,
    E_WRITES,
    F_ADDRESS,
    F_BYTES,
    F_COL,
    F_COLS,
    F_HEIGHT,
    F_IS_TENSOR,
    F_LAYOUT,
    F_PITCH,
    F_PLACE,
    F_POSITION,
    F_READS,
    F_READS_IF,
    F_ROW,
    F_ROWS,
    F_SIZE,
    F_SURFACE,
    F_TENSOR,
    F_WIDTH,
    F_WORDS,
    F_WRITES,
    FOOT_AT,
    FOOT_COUNT,
    FOOT_PIPE,
    FOOT_WORDS,
    FOOTPRINTS,
    LAYOUT_COL,
    LAYOUT_ROW,
    MEMORIES,
    MODES,
    P_COUNT,
    P_FIRST,
    P_INNER,
    P_INNER_COUNT,
    P_LENGTH,
    P_OUTER,
    P_PLACE,
    P_WORDS,
    PIECES_AT,
    PLACE_WORDS,
    PLACES,
    RACES,
    UNINITIALISED,
)

PIPES = len(Pipe)
FULL, NEVER_WRITTEN = int(Status.NO_ROOM), int(TrapKind.UNINITIALISED)
FOOT, FIRST_FOOT, FOOTPRINT = WORD * F_WORDS, WORD * FOOT_AT, WORD * FOOT_WORDS
PIECE, PIECES, PLACE = WORD * P_WORDS, WORD * PIECES_AT, WORD * PLACE_WORDS


@inline
def set_piece(piece: int, first: int, outer: int, count: int, inner: int, inner_count: int, length: int) -> int:
    """Describe a region: `count` times `inner_count` runs of bytes; one where they touch, none where they are empty."""
    if length <= 0 or inner_count <= 0:
        count = 0
    if inner_count == 1 and outer == length:
        length, count = length * count, min(count, 1)
    set_word(piece, P_FIRST, first)
    set_word(piece, P_OUTER, outer if count > 1 else 0)
    set_word(piece, P_COUNT, count)
    set_word(piece, P_INNER, inner if inner_count > 1 else 0)
    set_word(piece, P_INNER_COUNT, inner_count)
    set_word(piece, P_LENGTH, length)
    return 1


@inline
def fits(row: int, col: int, rows: int, cols: int, height: int, width: int) -> bool:
    """Whether a region lies within so many rows and columns."""
    return (rows >= 0 and cols >= 0 and row >= 0 and col >= 0
            and row <= height and col <= width and rows <= height - row and cols <= width - col)


@called
def tile_piece(ctx: int, ops: int, f: int, piece: int) -> int:
    """The region of a tile operand; 0 where the handler will refuse it."""
    row, col = extent(ops, word(f, F_ROW)), extent(ops, word(f, F_COL))
    rows, cols = extent(ops, word(f, F_ROWS)), extent(ops, word(f, F_COLS))
    offset, size, pitch, layout = word(ops, word(f, F_POSITION)), word(f, F_SIZE), word(f, F_PITCH), word(f, F_LAYOUT)
    if not fits(row, col, rows, cols, word(f, F_HEIGHT), word(f, F_WIDTH)):
        return 0
    if offset < 0 or offset & word(ctx, ALIGN_MASK) or offset > word(f, F_BYTES):
        return 0
    if layout == LAYOUT_ROW:
        at, count, length = row * pitch + col * size, rows, cols * size
    elif layout == LAYOUT_COL:
        at, count, length = col * pitch + row * size, cols, rows * size
    else:
        line = PANEL_COLS * size
        at, count, length = col // PANEL_COLS * pitch + row * line, -(-cols // PANEL_COLS), rows * line
    if count > 0 and length > 0 and offset + at + (count - 1) * pitch + length > word(f, F_BYTES):
        return 0
    return set_piece(piece, word(f, F_ADDRESS) + offset + at, pitch, count, 0, 1, length)


@called
def window_piece(ctx: int, ops: int, f: int, piece: int) -> int:
    """The region of a window, in bytes of its tensor in row-major order; 0 where the handler will refuse it."""
    row, col = extent(ops, word(f, F_ROW)), extent(ops, word(f, F_COL))
    rows, cols = extent(ops, word(f, F_ROWS)), extent(ops, word(f, F_COLS))
    surface, tensor, size = ctx + word(f, F_SURFACE), ctx + word(f, F_TENSOR), word(f, F_SIZE)
    height, width = word(surface, TENSOR_ROWS), word(surface, TENSOR_COLS)
    if word(f, F_ROWS) == ALL_ROWS:
        rows = height
    if height < 0 or not fits(row, col, rows, cols, height, width):
        return 0
    down, across, first = width * size, size, 0
    if surface != tensor:  # a view: its tensor lies in row-major order
        down, across = word(surface, TENSOR_STRIDE), word(surface, TENSOR_STEP)
        first = word(surface, TENSOR_BASE) - word(tensor, TENSOR_BASE)
        if word(f, F_WRITES) and overlaps(rows, cols, down, across):
            return 0
    first += row * down + col * across
    if across == size or cols == 1:
        return set_piece(piece, first, down, rows, 0, 1, cols * size)
    if down == size or rows == 1:
        return set_piece(piece, first, across, cols, 0, 1, rows * size)
    return set_piece(piece, first, down, rows, across, cols, size)


@called
def resolve(ctx: int, watch: int, ops: int, f: int, piece: int) -> int:
    """The region of an operand, and the place that it lies in."""
    place = word(f, F_PLACE) + (0 if word(f, F_IS_TENSOR) else word(ctx, CORE) * word(watch, MEMORIES))
    set_word(piece, P_PLACE, place)
    return window_piece(ctx, ops, f, piece) if word(f, F_IS_TENSOR) else tile_piece(ctx, ops, f, piece)


@inline
def reads(ops: int, f: int) -> bool:
    """Whether an operand is read: an accumulator only if its operand says so."""
    return word(f, F_READS) != 0 and (word(f, F_READS_IF) < 0 or word(ops, word(f, F_READS_IF)) != 0)


@inline
def place_of(watch: int, piece: int) -> int:
    """The address of the place of a region."""
    return word(watch, PLACES) + PLACE * word(piece, P_PLACE)


@called
def initialised(ctx: int, watch: int, ops: int, foot: int) -> int:
    """Whether all that is read of tiles was written; then marks what will be."""
    count = word(foot, FOOT_COUNT)
    for i in range(count):
        f, piece = foot + FIRST_FOOT + FOOT * i, watch + PIECES + PIECE * i
        if reads(ops, f) and not word(f, F_IS_TENSOR):
            missing = first_unwritten(piece, place_of(watch, piece))
            if missing != 0:
                return trap(ctx, NEVER_WRITTEN, word(f, F_POSITION), missing - 1)
    for i in range(count):
        f, piece = foot + FIRST_FOOT + FOOT * i, watch + PIECES + PIECE * i
        if word(f, F_WRITES) and not word(f, F_IS_TENSOR):
            mark_written(piece, place_of(watch, piece))
    return 1


@called
def accessed(ctx: int, watch: int, piece: int, writes: int) -> int:
    """Note an access to a region; 0 where it races or there is no room to note it."""
    a = watch + ACCESS
    set_word(a, A_WRITES, writes)
    found = touch_region(watch, place_of(watch, piece), piece)
    if found == 0:
        return 1
    if found == NO_ROOM:
        set_word(ctx, STATUS, FULL)
        return 0
    e = entry(watch, found)
    return report(ctx, word(piece, P_PLACE), word(a, A_START), word(a, A_STOP), word(e, E_CHAIN), word(e, E_PC),
                  word(e, E_WRITES), word(a, A_CHAIN), writes)


@called
def ordered(ctx: int, watch: int, ops: int, foot: int, pc: int) -> int:
    """Whether nothing that an instruction touches races with what was before."""
    a, core, pipe = watch + ACCESS, word(ctx, CORE), word(foot, FOOT_PIPE)
    now, chain = advance(watch, core, pipe), core * PIPES + pipe
    set_word(a, A_CHAIN, chain)
    set_word(a, A_CLOCK, word(now, chain))
    set_word(a, A_NOW, now)
    set_word(a, A_PC, pc)
    if pipe == SCALAR:
        scalar_waited(watch, core)
    for i in range(word(foot, FOOT_COUNT)):
        f, piece = foot + FIRST_FOOT + FOOT * i, watch + PIECES + PIECE * i
        if reads(ops, f) and accessed(ctx, watch, piece, 0) == 0:
            return 0
    for i in range(word(foot, FOOT_COUNT)):
        f, piece = foot + FIRST_FOOT + FOOT * i, watch + PIECES + PIECE * i
        if word(f, F_WRITES) and accessed(ctx, watch, piece, 1) == 0:
            return 0
    return 1


@called
def tile_checked(ctx: int, ops: int, pc: int) -> int:
    """Whether a tile instruction may run; what is out of bounds is left to its handler."""
    watch = word(ctx, WATCH)
    foot, modes = word(watch, FOOTPRINTS) + FOOTPRINT * pc, word(watch, MODES)
    count = word(foot, FOOT_COUNT)
    for i in range(count):
        if resolve(ctx, watch, ops, foot + FIRST_FOOT + FOOT * i, watch + PIECES + PIECE * i) == 0:
            return 1
    if count == 0:
        return 1
    if modes & UNINITIALISED and initialised(ctx, watch, ops, foot) == 0:
        return 0
    return ordered(ctx, watch, ops, foot, pc) if modes & RACES else 1
