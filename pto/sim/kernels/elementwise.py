"""Elementwise instructions: one pass over the rows of the destination, for any sources and element types."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from pto.core.types import Layout
from pto.isa.spec import Instr, Operand
from pto.isa.spec import Kind as OperandKind
from pto.isa.table import vector
from pto.sim.kernels.checks import pitch
from pto.sim.kernels.operands import Body, Form, aside, extent
from pto.sim.kernels.registry import SIZES, kernel
from pto.sim.lanes import SOURCES, Emit, Kind, Pass, Source
from pto.sim.operations import ONE, SCALAR, TWO, choice, comparison, dot4, fused, same
from pto.sim.vec import called, inline, load_bits, word

ROW, COL = Layout.ROW, Layout.COL
NOTHING, COMPARED = 0, 32  # elements that are compared in a step: a register of bytes
# Bits of float64 numbers: no type rounds what is so far from zero to zero.
MAGNITUDE, FAR_FROM_ZERO, INFINITE = ((1 << 63) - 1), 0x3EB0 << 48, 0x7FF0 << 48


class Bound(NamedTuple):
    """A number that a result is not below, or not above.

    Attributes:
        operand: what has it.
        operation: the larger or the smaller of an element and the number.
        sign: the comparison that chooses it where no NaN and no zeros meet.
        zero: the bits of the zero that wins over the other.
    """

    operand: str
    operation: str
    sign: str
    zero: int


LOWER, UPPER = Bound("scalar", "maximum", ">", 0), Bound("scalar", "minimum", "<", -(1 << 63))
BOUNDS = {
    vector.TMAXS: (LOWER,), vector.TMINS: (UPPER,),
    vector.TCLAMPS: (LOWER._replace(operand="low"), UPPER._replace(operand="high")),
}


def row_of(work: Pass) -> Any:
    """A pass over a row of up to three sources, those that are no lanes given once and for all."""
    step, last, lanes = work.step, work.last, work.lanes
    advances = [source.dtype.size * lanes * (source.kind is Kind.LANES) for source in work.sources]
    up_d, (up_a, up_b, up_c) = work.result.size * lanes, (*advances, 0, 0)[:3]

    @inline
    def run(to: int, a: int, b: int, c: int, how: int, cols: int) -> None:
        for _ in range(cols // lanes):
            step(to, a, b, c, how)
            to += up_d
            a += up_a
            b += up_b
            c += up_c
        if cols % lanes:
            last(to, a, b, c, how, cols % lanes)
    return run


@inline
def feed(ops: int, st: int, at: int, where: Any) -> tuple[int, int]:
    """A source: its address or what it is, and how far what the next row needs of it is."""
    slot, position, apart = where
    if slot == 0:
        return word(ops, position), 0
    return at, pitch(st, slot) if apart < 0 else apart


@inline
def itself(at: int) -> int:
    """What a row needs of a source that is lanes or a number."""
    return at


element_of = {size: load_bits(size) for size in SIZES}  # what it needs of one with an element for each row
NO_FEED = (0, 0, 0)


class Feed:
    """A source of a pass, as the operand describes it: lanes of every row or of one, an element a row, or a number.

    Attributes:
        source: what the pass is told.
        where: slot (0: the source is an operand word), position, and bytes from row to row (-1: a pitch).
        take: what a row gets of it.
    """

    def __init__(self, form: Form, operand: Operand, *, raw: bool) -> None:
        self.take = itself
        if operand.kind is OperandKind.SCALAR:
            self.source = Source(form.types[-1], Kind.NUMBER, raw=raw)
            self.where = 0, form.row.position(operand.name), 0
            return
        dst, *places = form.places
        place = next(place for place in places if place.operand is operand)
        size, lanes, rows = place.dtype.size, place.length == dst.length, place.lines == dst.lines
        self.source = Source(place.dtype, Kind.LANES if lanes else Kind.BITS, raw=raw)
        self.where = place.slot, place.position, -1 if rows else 0 if lanes else size
        if not lanes:
            self.take = element_of[size]


@inline
def no_choice(ops: int) -> int:
    """The word of an instruction without choices."""
    return 0


@cache
def with_choice(read: Any, position: int, shift: int) -> Any:
    """One more choice above those that are read already."""
    @inline
    def more(ops: int) -> int:
        return read(ops) | (word(ops, position) << shift)
    return more


def choices(row: Instr) -> Any:
    """The choices of an instruction in one word, as its record has them."""
    read, shift = no_choice, 0
    for position, attr in enumerate(row.attrs, len(row.operands)):
        read, shift = with_choice(read, position, shift), shift + attr.bits
    return read


def pass_over(form: Form, emit: Emit, *, raw: bool = False, lanes: int = 0) -> Body:
    """dst[i, j] = operation(each source at i, j): what is to be put aside, if sources may lie under the destination.

    For `raw` see `pto.sim.lanes`.
    """
    dst, *_ = form.places
    lines, length, how = dst.lines, dst.length, choices(form.row)
    given = (OperandKind.TILE, OperandKind.SCALAR)
    feeds = [Feed(form, operand, raw=raw) for operand in form.row.operands[1:] if operand.kind in given]
    row = row_of(Pass(dst.dtype, tuple(feed.source for feed in feeds), emit, lanes, raw=raw))
    where_a, where_b, where_c = (*(feed.where for feed in feeds), NO_FEED, NO_FEED)[:SOURCES]
    take_a, take_b, take_c = (*(feed.take for feed in feeds), itself, itself)[:SOURCES]
    at_a, at_b, at_c = (where[0] for where in (where_a, where_b, where_c))

    def run(ctx: int, ops: int, st: int, to: int, at: Any) -> None:
        mode, d_pitch, cols = how(ops), pitch(st, 0), extent(ops, length)
        a, a_apart = feed(ops, st, at[at_a], where_a)
        b, b_apart = feed(ops, st, at[at_b], where_b)
        c, c_apart = feed(ops, st, at[at_c], where_c)
        for _ in range(extent(ops, lines)):
            row(to, take_a(a), take_b(b), take_c(c), mode, cols)
            to += d_pitch
            a += a_apart
            b += b_apart
            c += c_apart
    return run


def named(form: Form) -> Body:
    """The operation that the row names."""
    if form.row in BOUNDS:
        return bounded(form)
    [emit] = (table[form.row.tensor_op] for table in (ONE, SCALAR, TWO) if form.row.tensor_op in table)
    return aside(form, pass_over(form, emit(form.types[0])))


@inline
def is_plain(bits: int, zero: int) -> bool:
    """Whether one comparison finds the larger, or the smaller, of any element and a number that has these bits."""
    return bits == zero or FAR_FROM_ZERO <= bits & MAGNITUDE <= INFINITE


@kernel(vector.TCLAMPS, ROW, ROW)
def bounded(form: Form) -> Body:
    """Elements not below a number, not above one, or both: by one comparison each, unless a number is NaN or a zero."""
    dtype, bounds = form.types[0], BOUNDS[form.row]
    exact = [TWO[bound.operation](dtype) for bound in bounds]

    def in_turn(b: Any, how: Any, x: Any, *numbers: Any) -> Any:
        for emit, number in zip(exact, numbers, strict=True):
            x = emit(b, how, x, number)
        return x

    def compared_once(b: Any, how: Any, x: Any, *numbers: Any) -> Any:
        for bound, number in zip(bounds, numbers, strict=True):
            x = b.select(b.fcmp_ordered(bound.sign, x, number), x, number)
        return x

    if dtype.kind != "f":
        return aside(form, pass_over(form, in_turn))
    careful, quick = called(pass_over(form, in_turn)), called(pass_over(form, compared_once))
    checks = [(form.row.position(bound.operand), bound.zero) for bound in bounds]
    (first, first_zero), (last, last_zero) = checks[0], checks[-1]

    def run(ctx: int, ops: int, st: int, to: int, places: Any) -> None:
        if is_plain(word(ops, first), first_zero) and is_plain(word(ops, last), last_zero):
            quick(ctx, ops, st, to, places)
        else:
            careful(ctx, ops, st, to, places)
    return aside(form, run)


def is_named(row: object) -> bool:
    """Whether an operation that serves all its element types is the meaning of an instruction."""
    return isinstance(row, Instr) and row.tensor_op in {*ONE, *SCALAR, *TWO}


for _row in filter(is_named, vars(vector).values()):
    _count = sum(operand.kind is OperandKind.TILE for operand in _row.operands)
    kernel(_row, *((ROW, ROW, COL) if _row.mnemonic.startswith("trowexpand") else (ROW,) * _count))(named)


@kernel(vector.TCMP, ROW, ROW, ROW)
@kernel(vector.TCMPS, ROW, ROW)
def compared(form: Form) -> Body:
    """dst[i, j] = whether a[i, j] and b[i, j], or a[i, j] and scalar, compare so"""
    how = choices(form.row)
    *passes, run = (pass_over(form, comparison(name, form.types[1]), lanes=COMPARED)
                    for name in vector.COMPARISON.values)
    for number, one in reversed(list(enumerate(passes))):
        run = either(how, number, one, run)
    return aside(form, run)


def either(how: Any, number: int, one: Body, other: Body) -> Body:
    """One body where an attribute has a value of this number, else the other."""
    first, second = called(one), called(other)

    def run(ctx: int, ops: int, st: int, to: int, at: Any) -> None:
        if how(ops) == number:
            first(ctx, ops, st, to, at)
        else:
            second(ctx, ops, st, to, at)
    return run


@kernel(vector.TSEL, ROW, ROW, ROW, ROW)
@kernel(vector.TSELS, ROW, ROW, ROW)
def chosen(form: Form) -> Body:
    """dst[i, j] = a[i, j] where mask[i, j], else b[i, j], or else scalar"""
    return aside(form, pass_over(form, choice, raw=True))


@kernel(vector.TEXPANDS, ROW)
@kernel(vector.TROWEXPAND, ROW, COL)
@kernel(vector.TCOLEXPAND, ROW, ROW)
@kernel(vector.TCOLEXPAND, COL, COL)
def everywhere(form: Form) -> Body:
    """dst[i, j] = scalar, a[i] or a[j]"""
    return aside(form, pass_over(form, same, raw=True))


@kernel(vector.TFMA, ROW, ROW, ROW, ROW)
def fused_product(form: Form) -> Body:
    """dst[i, j] = a[i, j] * b[i, j] + c[i, j]"""
    return aside(form, pass_over(form, fused))


@kernel(vector.TDOT4, ROW, ROW, ROW, ROW)
def dot_of_bytes(form: Form) -> Body:
    """dst[i, j] = acc[i, j] + the products of the bytes of a[i, j] and b[i, j]"""
    return aside(form, pass_over(form, dot4))
