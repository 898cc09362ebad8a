"""Reductions of the vector unit: rows in registers, columns in spare memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from pto.core.dtypes import F32, PRED, S32, DType
from pto.core.types import Layout
from pto.isa.spec import Instr
from pto.isa.table import vector
from pto.sim.elements import (
    INTEGERS_MANY,
    TRUTHS,
    integers_before,
    of_integers,
    put_integer,
    reader,
    truths_of,
    truths_with,
)
from pto.sim.exponential import filled
from pto.sim.floats import MANY, Loads, key_of, put_float, put_lowest
from pto.sim.kernels.checks import pitch
from pto.sim.kernels.copying import copy_rows
from pto.sim.kernels.elementwise import row_of
from pto.sim.kernels.operands import Body, Form, aside, extent
from pto.sim.kernels.registry import kernel
from pto.sim.lanes import Kind, Pass, Source, limits
from pto.sim.layout import EXACT, SPARE
from pto.sim.operations import TWO, number_of_truth, same, truth
from pto.sim.vec import (
    add_wrap,
    called,
    canonical1,
    fused1,
    fused8,
    greater8,
    greatest_lane,
    inline,
    load1,
    max8,
    maximum_lane,
    mover,
    mul_wrap,
    plain_add8,
    plain_mul8,
    product_lanes,
    splat8,
    sum_lanes,
    word,
)

ROW, COL = Layout.ROW, Layout.COL
CANONICAL_NAN = np.uint32(0x7FC00000).view(np.float32)
LOWEST, ZERO, MINUS_ZERO, ONE = np.float32(-np.inf), np.float32(0.0), np.float32(-0.0), np.float32(1.0)
NOTHING = 0
read_integer, put_index = reader(S32), put_integer(S32)
read_truth, put_truth = reader(PRED), put_integer(PRED)


def row_reduce(form: Form, fold: Any, put: Any) -> Body:
    """dst[i] = fold of a[i, :], or of a[i, :] and b[i, :]"""
    src, d_size, take = form.places[1], form.size, rows_taken[len(form.places) - 1]
    lines, length = src.lines, src.length

    def run(ctx: int, ops: int, st: int, to: int, at: Any) -> None:
        cols = extent(ops, length)
        for i in range(extent(ops, lines)):
            put(to + d_size * i, take(fold, ctx, st, at, i, cols))
    return aside(form, run)


@inline
def row_of_one(fold: Any, ctx: int, st: int, at: Any, i: int, cols: int) -> Any:
    """The fold of a row of a."""
    return fold(ctx, at[1] + i * pitch(st, 1), cols)


@inline
def row_of_two(fold: Any, ctx: int, st: int, at: Any, i: int, cols: int) -> Any:
    """The fold of a row of a and the same row of b."""
    return fold(ctx, at[1] + i * pitch(st, 1), at[2] + i * pitch(st, 2), cols)


rows_taken = {1: row_of_one, 2: row_of_two}


@kernel(vector.TROWDOT, COL, ROW, ROW)
def row_dot(form: Form) -> Body:
    """dst[i] = sum of a[i, :] * b[i, :]"""
    dtype = form.types[0]
    if dtype is S32:
        return row_reduce(form, integer_dot, put_index)
    return row_reduce(form, float_dot(Loads(dtype)), put_float(dtype))


@inline
def integer_dot(ctx: int, a: int, b: int, cols: int) -> int:
    """The sum of the products of two rows of integers."""
    total = 0
    for j in range(cols):
        total = add_wrap(total, mul_wrap(read_integer(a + 4 * j), read_integer(b + 4 * j)))
    return total


def float_dot(loads: Loads) -> Any:
    """The sum of the products of two rows: from the left, or in 32 lanes."""
    one, whole, some, size = loads.one, loads.whole, loads.some, loads.dtype.size
    step = 8 * size

    @inline
    def fold(ctx: int, a: int, b: int, cols: int) -> Any:
        if word(ctx, EXACT):
            total = ZERO
            for j in range(cols):
                total = fused1(one(a + size * j), one(b + size * j), total)
            return canonical1(total)
        s0 = s1 = s2 = s3 = splat8(ZERO)
        while cols >= 32:
            s0, s1 = fused8(whole(a), whole(b), s0), fused8(whole(a + step), whole(b + step), s1)
            s2 = fused8(whole(a + 2 * step), whole(b + 2 * step), s2)
            s3 = fused8(whole(a + 3 * step), whole(b + 3 * step), s3)
            a += 4 * step
            b += 4 * step
            cols -= 32
        while cols > 0:
            s0 = fused8(some(a, cols, ZERO), some(b, cols, ZERO), s0)
            a += step
            b += step
            cols -= 8
        return canonical1(sum_lanes(plain_add8(plain_add8(s0, s1), plain_add8(s2, s3))))
    return fold


def terms_fold(loads: Loads, empty: Any, neutral: Any, add: Any, add8: Any, add_lanes: Any) -> Any:
    """The sum of a row, or its product: from the left, or in 32 lanes that start from what changes nothing."""
    one, whole, some, size = loads.one, loads.whole, loads.some, loads.dtype.size
    step = 8 * size

    @inline
    def fold(ctx: int, a: int, cols: int) -> Any:
        if cols == 0:
            return empty
        if word(ctx, EXACT):
            total = one(a)
            for j in range(1, cols):
                total = add(total, one(a + size * j))
            return canonical1(total)
        s0 = s1 = s2 = s3 = splat8(neutral)
        while cols >= 32:
            s0, s1 = add8(s0, whole(a)), add8(s1, whole(a + step))
            s2, s3 = add8(s2, whole(a + 2 * step)), add8(s3, whole(a + 3 * step))
            a += 4 * step
            cols -= 32
        while cols > 0:
            s0 = add8(s0, some(a, cols, neutral))
            a += step
            cols -= 8
        return canonical1(add_lanes(add8(add8(s0, s1), add8(s2, s3))))
    return fold


@inline
def add1(x: Any, y: Any) -> Any:
    """x + y."""
    return x + y


@inline
def multiply1(x: Any, y: Any) -> Any:
    """x * y."""
    return x * y


def max_fold(loads: Loads) -> Any:
    """The largest of a row; one compare a vector, and a second look where that cannot tell."""
    whole, some, step = loads.whole, loads.some, 8 * loads.dtype.size

    @called
    def careful(a: int, cols: int) -> Any:
        """The largest of a row where NaN or the sign of zero decides."""
        most = splat8(CANONICAL_NAN)
        while cols > 0:
            most = max8(most, some(a, cols, CANONICAL_NAN))
            a += step
            cols -= 8
        return maximum_lane(most)

    @inline
    def fold(ctx: int, a: int, cols: int) -> Any:
        if cols == 0:
            return LOWEST
        start, left = a, cols
        s0 = s1 = s2 = s3 = splat8(LOWEST)
        while left >= 32:
            s0, s1 = greater8(whole(a), s0), greater8(whole(a + step), s1)
            s2, s3 = greater8(whole(a + 2 * step), s2), greater8(whole(a + 3 * step), s3)
            a += 4 * step
            left -= 32
        while left > 0:
            s0 = greater8(some(a, left, LOWEST), s0)
            a += step
            left -= 8
        best = greatest_lane(greater8(greater8(s0, s1), greater8(s2, s3)))
        if best in (ZERO, LOWEST):
            return careful(start, cols)
        return best
    return fold


def first_fold(loads: Loads) -> Any:
    """The index of the first of a row's largest elements."""
    largest, one, before, size = max_fold(loads), loads.one, loads.before, loads.dtype.size

    @inline
    def fold(ctx: int, a: int, cols: int) -> int:
        best, start = largest(ctx, a, cols), 0
        while start + MANY <= cols:
            found = before(a + size * start, best)
            if found < MANY:
                return start + found
            start += MANY
        for j in range(start, cols):
            if one(a + size * j) == best:
                return j
        return 0
    return fold


def integer_fold(dtype: DType, name: str, combine: Any, empty: int) -> Any:
    """Integers combined in four registers, and the rest one after the other: their order does not matter."""
    vector, both, all_lanes = of_integers(TWO[name](dtype), dtype)
    read, size = reader(dtype), dtype.size

    @inline
    def fold(ctx: int, a: int, cols: int) -> int:
        total, end = empty, a + size * cols
        if a + 128 <= end:
            s0, s1, s2, s3 = vector(a), vector(a + 32), vector(a + 64), vector(a + 96)
            a += 128
            while a + 128 <= end:
                s0, s1 = both(s0, vector(a)), both(s1, vector(a + 32))
                s2, s3 = both(s2, vector(a + 64)), both(s3, vector(a + 96))
                a += 128
            total = all_lanes(both(both(s0, s1), both(s2, s3)))
        while a < end:
            total = combine(total, read(a))
            a += size
        return total
    return fold


def first_integer_fold(extreme: Any) -> Any:
    """The index of the first of a row's largest integers, or of its smallest."""
    @inline
    def fold(ctx: int, a: int, cols: int) -> int:
        best, start = extreme(ctx, a, cols), 0
        while start + INTEGERS_MANY <= cols:
            found = integers_before(a + 4 * start, best)
            if found < INTEGERS_MANY:
                return start + found
            start += INTEGERS_MANY
        while start < cols:
            if read_integer(a + 4 * start) == best:
                return start
            start += 1
        return 0
    return fold


@inline
def count_fold(ctx: int, a: int, cols: int) -> int:
    """How many bytes of a row are not 0."""
    total, j = 0, 0
    while j + TRUTHS <= cols:
        total += truths_of(a + j)
        j += TRUTHS
    while j < cols:
        total += read_truth(a + j)
        j += 1
    return total


def truth_fold(*, every: bool) -> Any:
    """Whether a byte of a row is not 0, or whether every one is: many in a step, and the rest one after the other."""
    differs, wanted = truths_with(0 if every else 1), 0 if every else 1

    @inline
    def fold(ctx: int, a: int, cols: int) -> int:
        found, j = 0, 0
        while j + TRUTHS <= cols:
            found |= differs(a + j)
            j += TRUTHS
        while j < cols:
            found |= 1 if read_truth(a + j) == wanted else 0
            j += 1
        return wanted if found != 0 else 1 - wanted
    return fold


@inline
def largest(x: int, y: int) -> int:
    """The larger integer."""
    return max(x, y)


@inline
def smallest(x: int, y: int) -> int:
    """The smaller integer."""
    return min(x, y)


class Totals:
    """The passes of a reduction of columns: the first row, one or two rows more, and the result."""

    def __init__(self, form: Form, two: Any, first: Any = None) -> None:
        dtype, source = form.types
        counts = source is PRED and dtype is S32
        taken = number_of_truth if counts else truth if dtype is PRED else same
        total = F32 if dtype.kind == "f" else dtype
        stored, kept = Source(source), Source(total)

        def both(b: Any, how: Any, x: Any, y: Any) -> Any:
            return two(b, how, x, taken(b, how, y))

        self.start = row_of(Pass(total, (stored,), first or taken))
        self.add, self.add_two = row_of(Pass(total, (kept, stored), both)), row_of(Pass(
            total, (kept, stored, stored), lambda b, how, x, y, z: both(b, how, both(b, how, x, y), z)))
        self.finish = row_of(Pass(dtype, (kept,), same))


def totals(form: Form, passes: Totals) -> Any:
    """One row of a tile after the other into a row of sums, two in a pass."""
    start, add, add_two = passes.start, passes.add, passes.add_two

    @called
    def run(sums: int, a: int, apart: int, rows: int, cols: int) -> None:
        start(sums, a, NOTHING, NOTHING, NOTHING, cols)
        for i in range(1, rows - 1, 2):
            add_two(sums, sums, a + i * apart, a + (i + 1) * apart, NOTHING, cols)
        if rows % 2 == 0:
            add(sums, sums, a + (rows - 1) * apart, NOTHING, NOTHING, cols)
    return run


def compared_once(form: Form, name: str, all_rows: Any) -> Any:
    """Extremes by one comparison of each element, and a second look where NaN or the sign of zero may decide."""
    sign, end = (">", LOWEST) if name == "maximum" else ("<", -LOWEST)

    def nearer(b: Any, how: Any, x: Any, y: Any) -> Any:
        return b.select(b.fcmp_ordered(sign, y, x), y, x)

    quick = totals(form, Totals(form, nearer, lambda b, how, x: nearer(b, how, filled(float(end), x.type), x)))

    @called
    def run(sums: int, a: int, apart: int, rows: int, cols: int) -> None:
        quick(sums, a, apart, rows, cols)
        for j in range(cols):
            found = load1(sums + 4 * j)
            if found in (ZERO, end):
                all_rows(sums, a, apart, rows, cols)
                return
    return run


def col_reduce(form: Form, name: str, empty: int) -> Body:
    """dst[j] = fold of a[:, j], in a row of f32, of integers or of predicates."""
    dtype, src = form.types[0], form.places[1]
    lines, length = src.lines, src.length
    passes = Totals(form, TWO[name](F32 if dtype.kind == "f" else dtype))
    finish, fold = passes.finish, totals(form, passes)
    if dtype.kind == "f" and name in ("maximum", "minimum"):
        fold = compared_once(form, name, fold)
    fill = row_of(Pass(dtype, (Source(dtype, Kind.NUMBER),), same))

    def run(ctx: int, ops: int, st: int, at: Any) -> None:
        (d, a, _, _), rows, cols = at, extent(ops, lines), extent(ops, length)
        if rows == 0:
            fill(d, empty, NOTHING, NOTHING, NOTHING, cols)
            return
        sums = word(ctx, SPARE)
        fold(sums, a, pitch(st, 1), rows, cols)
        finish(d, sums, NOTHING, NOTHING, NOTHING, cols)
    return run


def largest_first(dtype: DType) -> Any:
    """Lists the indices of a row's largest elements at an address, in falling order; gives how many."""
    key, size = key_of(dtype), dtype.size

    @called
    def run(order: int, a: int, cols: int, count: int) -> int:
        kept = 0
        if count == 0:
            return kept
        for j in range(cols):
            mine = key(a + size * j)
            if kept == count and key(a + size * read_integer(order + 4 * (kept - 1))) >= mine:
                continue
            kept = min(kept + 1, count)
            at = kept - 1
            while at > 0 and key(a + size * read_integer(order + 4 * (at - 1))) < mine:
                put_index(order + 4 * at, read_integer(order + 4 * (at - 1)))
                at -= 1
            put_index(order + 4 * at, j)
        return kept
    return run


@kernel(vector.TTOPK, ROW, ROW)
@kernel(vector.TTOPK_INDEX, ROW, ROW)
def row_largest(form: Form) -> Body:
    """dst[i, :] = the largest a[i, :], or where they are"""
    (dst, src), dtype, gives_index = form.places, form.types[1], form.row is vector.TTOPK_INDEX
    find, move, lowest = largest_first(dtype), mover(dtype.size), put_lowest(dtype)
    lines, length, most, size, d_size = src.lines, src.length, dst.length, dtype.size, form.size

    def run(ctx: int, ops: int, st: int, at: Any) -> None:
        (d, a, _, _), rows, count, order = at, extent(ops, lines), extent(ops, most), word(ctx, SPARE)
        made = to = order + (4 * count + 63) // 64 * 64
        for _ in range(rows):
            kept = find(order, a, extent(ops, length), count)
            for n in range(count):
                if gives_index:
                    put_index(to, read_integer(order + 4 * n) if n < kept else -1)
                elif n < kept:
                    move(to, a + size * read_integer(order + 4 * n))
                else:
                    lowest(to)
                to += d_size
            a += pitch(st, 1)
        copy_rows(d, pitch(st, 0), made, d_size * count, rows, d_size * count)
    return run


def integers_of(row: Instr, dtype: DType) -> Any:
    """The fold of a row of integers."""
    if row in (vector.TROWARGMAX, vector.TROWARGMIN):
        return first_integer_fold(integers_of(vector.TROWMAX if row is vector.TROWARGMAX else vector.TROWMIN, dtype))
    least, most = (limits(dtype)[at] for at in (0, 1))
    name, combine, empty = {
        vector.TROWSUM: ("add", add_wrap, 0), vector.TROWPROD: ("mul", mul_wrap, 1),
        vector.TROWMAX: ("maximum", largest, least), vector.TROWMIN: ("minimum", smallest, most),
    }[row]
    return integer_fold(dtype, name, combine, empty)


COLUMNS = {
    vector.TCOLSUM: ("add", 0.0), vector.TCOLPROD: ("mul", 1.0),
    vector.TCOLMAX: ("maximum", -np.inf), vector.TCOLMIN: ("minimum", np.inf),
    vector.TCOLANY: ("or", 0.0), vector.TCOLALL: ("and", 1.0),
}


FLOAT_FOLDS: dict[Instr, tuple[bool, Callable[[Loads], Any]]] = {  # of negated elements or not, and the fold
    vector.TROWSUM: (False, lambda loads: terms_fold(loads, ZERO, MINUS_ZERO, add1, plain_add8, sum_lanes)),
    vector.TROWPROD: (False, lambda loads: terms_fold(loads, ONE, ONE, multiply1, plain_mul8, product_lanes)),
    vector.TROWMAX: (False, max_fold), vector.TROWMIN: (True, max_fold),
    vector.TROWARGMAX: (False, first_fold), vector.TROWARGMIN: (True, first_fold),
}


def reduction(form: Form) -> Body:
    """A reduction of rows."""
    row, dtype = form.row, form.types[1]
    if dtype is PRED:
        return row_reduce(form, count_fold, put_index)
    if dtype.kind != "f":
        return row_reduce(form, integers_of(row, dtype), put_integer(form.types[0]))
    negate, fold = FLOAT_FOLDS[row]
    put = put_index if form.types[0] is S32 else put_float(dtype, negate=negate)
    return row_reduce(form, fold(Loads(dtype, negate=negate)), put)


for _row, _every in ((vector.TROWANY, False), (vector.TROWALL, True)):
    kernel(_row, COL, ROW)(partial(row_reduce, fold=truth_fold(every=_every), put=put_truth))
for _row in FLOAT_FOLDS:
    kernel(_row, COL, ROW)(reduction)
for _row, (_name, _empty) in COLUMNS.items():
    kernel(_row, ROW, ROW)(partial(col_reduce, name=_name, empty=int(np.float64(_empty).view(np.int64))))
