"""Products of a vector and a matrix whose weights are streamed from global memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from pto.core.dtypes import F32
from pto.core.types import Layout
from pto.isa.table import cube
from pto.isa.table.cube import DOT_LANES
from pto.sim.dots import HELD, Block, Dot, Fours, Multiples, fastest
from pto.sim.kernels.ahead import LINE, ask_far
from pto.sim.kernels.checks import pitch as tile_pitch
from pto.sim.kernels.checks import step, stride
from pto.sim.kernels.copying import clear, gatherer
from pto.sim.kernels.operands import Body, Form
from pto.sim.kernels.registry import kernel
from pto.sim.layout import SPARE
from pto.sim.vec import inline, prefetch, separate, stay_apart, word

AHEAD, FEWEST = 512, 4  # lines, and rows: of rows that do not follow each other the host does not guess the next
NEAR = 128  # the same of rows that do, where several are read at once
SHORT = 512  # bytes of rows that follow each other, of which memory does not mind several at once
N, K = map(cube.TGEMV_STREAM.position, ("n", "k"))
BLOCK_M, BLOCK_N, BLOCK_K = map(cube.TGEMM_STREAM.position, ("m", "n", "k"))
MOST_ROWS = 12  # that meet a matrix together; completed with zeros they fit into spare memory
TOGETHER = 8  # rows that are added to the sums in one pass over these


def widening(dot: Dot) -> Any:
    """A copy of the vector, widened and completed with zeros to whole rounds, after its head; gives where it ends."""
    zero, widen, keep, lanes = dot.zero, dot.widen, dot.keep, dot.lanes
    size, factor_size = dot.vector.size, dot.factor.size
    gather = gatherer(size)

    @inline
    def run(to: int, x: int, k: int) -> int:
        sums, at = zero(), to
        for _ in range(k // lanes):
            sums = widen(sums, at, x)
            at += factor_size * lanes
            x += size * lanes
        if k % lanes:
            rest = at + factor_size * lanes
            clear(rest, size * lanes)
            gather(rest, x, size, k % lanes)
            sums = widen(sums, at, rest)
            at = rest
        keep(to, sums)
        return at
    return run


def product(dot: Dot) -> Any:
    """The sums of one row of elements beside each other, begun with some.

    Integers are added in two chains, for a step waits for the one before it; of floats the order is laid down.
    """
    zero, advance, last, merge, lanes = dot.zero, dot.step, dot.last, dot.merge, dot.lanes
    size, factor_size, twice = dot.weights.size, dot.factor.size, dot.factor is not F32

    @inline
    def run(sums: Any, x: int, w: int, k: int) -> Any:
        pairs = k // (2 * lanes) if twice else 0
        if pairs > 0:
            others = zero()
            for _ in range(pairs):
                sums = advance(sums, x, w)
                others = advance(others, x + factor_size * lanes, w + size * lanes)
                x += factor_size * 2 * lanes
                w += size * 2 * lanes
            sums = merge(sums, others)
        for _ in range(2 * pairs, k // lanes):
            sums = advance(sums, x, w)
            x += factor_size * lanes
            w += size * lanes
        if k % lanes:
            sums = last(sums, x, w, k % lanes)
        return sums
    return run


def product_apart(dot: Dot) -> Any:
    """The same of elements that lie apart; they come by way of scratch memory."""
    advance, lanes, size, factor_size = dot.step, dot.lanes, dot.weights.size, dot.factor.size
    gather = gatherer(size)

    @inline
    def run(sums: Any, x: int, w: int, apart: int, k: int, scratch: int) -> Any:
        for at in range(0, k, lanes):
            clear(scratch, size * lanes)
            gather(scratch, w, apart, min(k - at, lanes))
            sums = advance(sums, x, scratch)
            x += factor_size * lanes
            w += apart * lanes
        return sums
    return run


def product_of_bytes(dot: Fours) -> Any:
    """The same of bytes; the first of the vector stay in registers for all rows."""
    none, first, advance, last, lanes = dot.none, dot.first, dot.step, dot.last, dot.lanes

    @inline
    def run(held: Any, x: int, w: int, k: int) -> Any:
        sums = none(held)
        if k >= HELD * lanes:
            sums = first(held, w)
            x += HELD * lanes
            w += HELD * lanes
            k -= HELD * lanes
        for _ in range(k // lanes):
            sums = advance(sums, x, w)
            x += lanes
            w += lanes
        if k % lanes:
            sums = last(sums, x, w, k % lanes)
        return sums
    return run


@inline
def lines_of(nbytes: int) -> int:
    """The lines of a row of so many bytes."""
    return -(-nbytes // LINE)


@inline
def lines_apart(nbytes: int, pitch: int) -> int:
    """The same; none where rows follow each other, and are read one by one: the host guesses the next."""
    return 0 if pitch == nbytes else lines_of(nbytes)


@inline
def rows_ahead(lines: int, most: int) -> int:
    """How many rows of so many lines are asked for before they are used."""
    return max(most // max(lines, 1) // 4 * 4, FEWEST)


@inline
def ask_for(w: int, pitch: int, lines: int, rows: int) -> None:
    """Fetch the lines of some rows, which may be none."""
    for row in range(rows if lines > 0 else 0):
        for line in range(lines):
            prefetch(w + row * pitch + line * LINE)


def block(dot: Dot, rows: int, columns: int, *, add: bool = False) -> Any:
    """Some rows times some rows of weights of neighbouring elements, added to what is there if need be."""
    made, size, factor_size, adds = Block(dot, rows, columns), dot.weights.size, dot.factor.size, int(add)
    begin, advance, last, settle, lanes = made.begin, made.step, made.last, made.settle, dot.lanes

    @inline
    def run(y: int, across: int, x: int, apart: int, w: int, pitch: int, k: int) -> None:
        sums = begin(x, apart)
        for _ in range(k // lanes):
            sums = advance(sums, x, apart, w, pitch)
            x += factor_size * lanes
            w += size * lanes
        if k % lanes:
            sums = last(sums, x, apart, w, pitch, k % lanes)
        settle(y, across, adds, sums)
    return run


def in_threes(made: Callable[[int], Any]) -> Any:
    """What is made for three rows, for two and for one, for any number."""
    three, two, one = map(made, (3, 2, 1))

    @inline
    def run(y: int, across: int, x: int, apart: int, w: int, pitch: int, extent: int, m: int) -> None:
        for _ in range(m // 3):
            three(y, across, x, apart, w, pitch, extent)
            y += 3 * across
            x += 3 * apart
        if m % 3 == 2:
            two(y, across, x, apart, w, pitch, extent)
        elif m % 3 == 1:
            one(y, across, x, apart, w, pitch, extent)
    return run


def float_rows(dot: Dot, add: int) -> Any:
    """Products of rows, the lanes of four of which are added up together: short ones, and ones apart, side by side."""
    begin, beside, spread, size = dot.begin, product(dot), product_apart(dot), dot.weights.size
    settle, settle_four, four = dot.settle, dot.settle_four, block(dot, 1, 4, add=bool(add))

    @inline
    def multiply(sums: Any, x: int, w: int, apart: int, k: int, scratch: int) -> Any:
        if apart == size:
            return beside(sums, x, w, k)
        return spread(sums, x, w, apart, k, scratch)

    @inline
    def run(y: int, x: int, w: int, pitch: int, apart: int, n: int, k: int, scratch: int) -> None:
        lines, start, far = lines_apart(k * size, pitch), begin(x), pitch if pitch == k * size else 0
        ahead = rows_ahead(lines, AHEAD)
        ask_for(w, pitch, lines, min(ahead, n))
        side_by_side = apart == size and (lines > 0 or k * size <= SHORT)
        for row in range(0, n - n % 4, 4):
            ask_for(w + ahead * pitch, pitch, lines, min(n - row - ahead, 4))
            if side_by_side:
                four(y, 0, x, 0, w, pitch, k)
            else:
                ask_far(w, far)
                first = multiply(start, x, w, apart, k, scratch)
                ask_far(w + pitch, far)
                second = multiply(start, x, w + pitch, apart, k, scratch)
                ask_far(w + 2 * pitch, far)
                third = multiply(start, x, w + 2 * pitch, apart, k, scratch)
                ask_far(w + 3 * pitch, far)
                fourth = multiply(start, x, w + 3 * pitch, apart, k, scratch)
                settle_four(y, add, first, second, third, fourth)
            y += 16
            w += 4 * pitch
        for _ in range(n % 4):
            settle(y, add, multiply(start, x, w, apart, k, scratch))
            y += 4
            w += pitch
    return run


def in_line(dot: Dot, add: int) -> Any:
    """Products of rows of neighbouring integers, the lanes of four of which are added up together.

    It is one short loop, a function of its own: where LLVM wrote the rows out four times, or among all the rest,
    memory gave up to a fifth less.
    """
    zero, settle, settle_four, size = dot.zero, dot.settle, dot.settle_four, dot.weights.size
    hold, multiply = (dot.hold, product_of_bytes(dot)) if isinstance(dot, Fours) else (dot.begin, product(dot))

    @separate
    def run(y: int, x: int, w: int, pitch: int, n: int, k: int) -> None:
        stay_apart()
        held, nbytes = hold(x), pitch if pitch == k * size else 0  # of rows apart, lines have been asked for
        first = second = third = fourth = zero()
        for row in range(n):
            first, second, third = second, third, fourth
            ask_far(w, nbytes)
            fourth = multiply(held, x, w, k)
            w += pitch
            if row >= n - n % 4:
                settle(y, add, fourth)
                y += 4
            elif row % 4 == 3:
                settle_four(y, add, first, second, third, fourth)
                y += 16
    return run


def integer_rows(dot: Dot, add: int) -> Any:
    """The same of integers, always one row after the other."""
    begin, multiply, rows, size, settle = dot.begin, product_apart(dot), in_line(dot, add), dot.weights.size, dot.settle

    @inline
    def run(y: int, x: int, w: int, pitch: int, apart: int, n: int, k: int, scratch: int) -> None:
        if apart != size:
            start = begin(x)
            for _ in range(n):
                settle(y, add, multiply(start, x, w, apart, k, scratch))
                y += 4
                w += pitch
            return
        lines = lines_apart(k * size, pitch)
        ahead, each = rows_ahead(lines, AHEAD), 4 if lines > 0 else max(n, 1)
        ask_for(w, pitch, lines, min(ahead, n))
        for row in range(0, n, each):
            ask_for(w + ahead * pitch, pitch, lines, min(n - row - ahead, 4))
            rows(y, x, w, pitch, min(n - row, each), k)
            y += 4 * each
            w += each * pitch
    return run


@kernel(cube.TGEMV_STREAM, Layout.ROW, Layout.ROW)
@kernel(cube.TGEMV_STREAM_ACC, Layout.ROW, Layout.ROW)
def streamed(form: Form) -> Body:
    """y = x W', one row of W after the other: memory likes one stream better than several."""
    _, vector, weights = form.types
    dot, add = fastest(vector, weights), int(form.row is cube.TGEMV_STREAM_ACC)
    widen, head = widening(dot), dot.head
    rows = float_rows(dot, add) if dot.factor is F32 else integer_rows(dot, add)

    def run(ctx: int, ops: int, st: int, at: Any) -> None:
        k, factors = word(ops, K), word(ctx, SPARE) + head
        y, x, w, _ = at
        scratch = widen(factors, x, k)
        rows(y, factors, w, stride(ctx, st, 2), step(ctx, st, 2), word(ops, N), k, scratch)
    return run


def a_few_each(few: Any) -> Any:
    """What takes so many rows at most as spare memory has room for, for any number of them."""
    @inline
    def run(ctx: int, ops: int, st: int, at: Any, m: int) -> None:
        y, x, w, _ = at
        for first in range(0, m, MOST_ROWS):
            few(ctx, ops, st, y + first * tile_pitch(st, 0), x + first * tile_pitch(st, 1), w,
                min(m - first, MOST_ROWS))
    return run


@kernel(cube.TGEMM_STREAM, Layout.ROW, Layout.ROW)
def streamed_block(form: Form) -> Body:
    """y = x W' of a few rows: as many sums as registers hold, of three rows and four of W.

    Spare memory holds a few rows that are completed with zeros; of more, each few meet W anew.
    """
    _, vector, weights = form.types
    dot, size = fastest(vector, weights), weights.size
    widen, gather, head = widening(dot), gatherer(size), dot.head
    column_of_four, column_of_one = (in_threes(partial(block, dot, columns=n)) for n in (4, 1))

    @inline
    def few(ctx: int, ops: int, st: int, y: int, x: int, w: int, m: int) -> None:
        n, k, scratch = word(ops, BLOCK_N), word(ops, BLOCK_K), word(ctx, SPARE)
        across, pitch, apart, factors = tile_pitch(st, 0), stride(ctx, st, 2), step(ctx, st, 2), scratch + head
        for row in range(m):
            scratch = widen(scratch + head, x + row * tile_pitch(st, 1), k)
        each = (scratch - word(ctx, SPARE)) // m
        lines = lines_of(k * size)
        ahead = rows_ahead(lines, NEAR if pitch == k * size else AHEAD)
        ask_for(w, pitch, lines, min(ahead, n))
        whole = n - n % 4 if apart == size else 0
        for row in range(0, whole, 4):
            ask_for(w + ahead * pitch, pitch, lines, min(n - row - ahead, 4))
            column_of_four(y, across, factors, each, w, pitch, k, m)
            y += 16
            w += 4 * pitch
        for _ in range(whole, n):
            row = w
            if apart != size:
                gather(scratch, w, apart, k)
                row = scratch
            column_of_one(y, across, factors, each, row, pitch, k, m)
            y += 4
            w += pitch

    each_few = a_few_each(few)

    def run(ctx: int, ops: int, st: int, at: Any) -> None:
        each_few(ctx, ops, st, at, word(ops, BLOCK_M))
    return run


def sweep(multiples: Multiples) -> Any:
    """A pass over the sums, to which multiples of some rows are added."""
    step, last, size = multiples.step, multiples.last, multiples.dot.weights.size

    @inline
    def run(y: int, across: int, x: int, apart: int, w: int, pitch: int, n: int) -> None:
        for _ in range(n // DOT_LANES):
            step(y, across, x, apart, w, pitch)
            y += 4 * DOT_LANES
            w += size * DOT_LANES
        if n % DOT_LANES:
            last(y, across, x, apart, w, pitch, n % DOT_LANES)
    return run


def scattered(multiples: Multiples) -> Any:
    """A pass of one row whose elements lie apart; they come by way of scratch memory."""
    last, size = multiples.last, multiples.dot.weights.size
    gather = gatherer(size)

    @inline
    def run(y: int, x: int, w: int, apart: int, n: int, scratch: int) -> None:
        for at in range(0, n, DOT_LANES):
            count = min(n - at, DOT_LANES)
            gather(scratch, w, apart, count)
            last(y, 0, x, 0, scratch, 0, count)
            y += 4 * DOT_LANES
            w += apart * DOT_LANES
    return run


@kernel(cube.TGEMM_STREAM_ROWS, Layout.ROW, Layout.ROW)
@kernel(cube.TGEVM_STREAM, Layout.ROW, Layout.ROW)
def streamed_rows(form: Form) -> Body:
    """y = y + x W: several rows of W together, for the sums are read and written once for all of them.

    Each row of sums meets them while they are in the first cache.
    """
    _, vector, weights = form.types
    dot, several = Dot(vector, weights), form.row is cube.TGEMM_STREAM_ROWS
    add_many, one = in_threes(lambda sums: sweep(Multiples(dot, TOGETHER, sums))), Multiples(dot, 1)
    add_one, add_apart, add_none, widen = sweep(one), scattered(one), sweep(Multiples(dot, 0)), widening(dot)
    size, factor_size = weights.size, dot.factor.size
    rows_at, k_at, n_at = map(form.row.position, ("m" if several else "k", "k", "n"))

    @inline
    def few(ctx: int, ops: int, st: int, y: int, x: int, w: int, m: int) -> None:
        k, n, factors = word(ops, k_at), word(ops, n_at), word(ctx, SPARE)
        across, scratch = tile_pitch(st, 0), factors
        for row in range(m):
            scratch = widen(scratch, x + row * tile_pitch(st, 1), k)
        each = (scratch - factors) // m
        pitch, apart = stride(ctx, st, 2), step(ctx, st, 2)
        whole = k // TOGETHER if apart == size else 0
        lines = lines_of(n * size) if pitch == n * size else 0  # of pieces of longer rows the host guesses the next
        ahead = rows_ahead(lines, NEAR)
        ask_for(w, pitch, lines, min(ahead, k))
        for group in range(whole):
            ask_for(w + ahead * pitch, pitch, lines, min(k - group * TOGETHER - ahead, TOGETHER))
            add_many(y, across, factors, each, w, pitch, n, m)
            factors += factor_size * TOGETHER
            w += pitch * TOGETHER
        for _ in range(whole * TOGETHER, k):
            for row in range(m):
                if apart == size:
                    add_one(y + row * across, 0, factors + row * each, 0, w, pitch, n)
                else:
                    add_apart(y + row * across, factors + row * each, w, apart, n, scratch)
            factors += factor_size
            w += pitch
        for row in range(m if k == 0 else 0):
            add_none(y + row * across, 0, factors, 0, w, 0, n)  # NaN become the canonical one

    each_few = a_few_each(few)

    def run(ctx: int, ops: int, st: int, at: Any) -> None:
        each_few(ctx, ops, st, at, word(ops, rows_at) if several else 1)
    return run
