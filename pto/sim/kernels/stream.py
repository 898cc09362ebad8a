"""Products of a vector and a matrix whose weights are streamed from global memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from pto.core.dtypes import F32
from pto.core.types import Layout
from pto.isa.table import cube
from pto.isa.table.cube import DOT_LANES
from pto.sim.dots import Block, Dot, Multiples
from pto.sim.kernels.checks import pitch as tile_pitch
from pto.sim.kernels.checks import step, stride
from pto.sim.kernels.copying import clear, gatherer
from pto.sim.kernels.operands import Body, Form
from pto.sim.kernels.registry import kernel
from pto.sim.layout import SPARE
from pto.sim.vec import inline, prefetch, word

LINE = 64  # bytes that the host fetches together
AHEAD, FEWEST = 512, 4  # lines, and rows: of rows that do not follow each other the host does not guess the next
NEAR = 128  # the same of rows that do, where several are read at once
SHORT = 512  # bytes of rows that follow each other, of which memory does not mind several at once
N, K = map(cube.TGEMV_STREAM.position, ("n", "k"))
BLOCK_M, BLOCK_N, BLOCK_K = map(cube.TGEMM_STREAM.position, ("m", "n", "k"))
MOST_ROWS = 12  # that meet a matrix together; completed with zeros they fit into spare memory
TOGETHER = 8  # rows that are added to the sums in one pass over these


def widening(dot: Dot) -> Any:
    """A copy of the vector, widened and completed with zeros to whole rounds; gives where it ends."""
    widen, size, factor_size = dot.widen, dot.vector.size, dot.factor.size
    gather = gatherer(size)

    @inline
    def run(to: int, x: int, k: int) -> int:
        for _ in range(k // DOT_LANES):
            widen(to, x)
            to += factor_size * DOT_LANES
            x += size * DOT_LANES
        if k % DOT_LANES == 0:
            return to
        rest = to + factor_size * DOT_LANES
        clear(rest, size * DOT_LANES)
        gather(rest, x, size, k % DOT_LANES)
        widen(to, rest)
        return rest
    return run


def product(dot: Dot) -> Any:
    """The sums of one row; elements that lie apart come by way of scratch memory.

    Integers are added in two chains, for a step waits for the one before it; of floats the order is laid down.
    """
    zero, advance, size, factor_size = dot.zero, dot.step, dot.weights.size, dot.factor.size
    gather, last, merge, twice = gatherer(size), dot.last, dot.merge, dot.factor is not F32

    @inline
    def run(x: int, w: int, apart: int, k: int, scratch: int) -> Any:
        sums = zero()
        whole = k - k % DOT_LANES if apart == size else 0
        pairs = whole // (2 * DOT_LANES) if twice else 0
        if pairs > 0:
            others = zero()
            for _ in range(pairs):
                sums = advance(sums, x, w)
                others = advance(others, x + factor_size * DOT_LANES, w + size * DOT_LANES)
                x += factor_size * 2 * DOT_LANES
                w += size * 2 * DOT_LANES
            sums = merge(sums, others)
        for _ in range(2 * DOT_LANES * pairs, whole, DOT_LANES):
            sums = advance(sums, x, w)
            x += factor_size * DOT_LANES
            w += size * DOT_LANES
        if apart == size and whole < k:
            return last(sums, x, w, k - whole)
        for at in range(whole, k, DOT_LANES):
            clear(scratch, size * DOT_LANES)
            gather(scratch, w, apart, min(k - at, DOT_LANES))
            sums = advance(sums, x, scratch)
            x += factor_size * DOT_LANES
            w += apart * DOT_LANES
        return sums
    return run


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
    zero, advance, last, settle = made.zero, made.step, made.last, made.settle

    @inline
    def run(y: int, across: int, x: int, apart: int, w: int, pitch: int, k: int) -> None:
        sums = zero()
        for _ in range(k // DOT_LANES):
            sums = advance(sums, x, apart, w, pitch)
            x += factor_size * DOT_LANES
            w += size * DOT_LANES
        if k % DOT_LANES:
            sums = last(sums, x, apart, w, pitch, k % DOT_LANES)
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


@kernel(cube.TGEMV_STREAM, Layout.ROW, Layout.ROW)
@kernel(cube.TGEMV_STREAM_ACC, Layout.ROW, Layout.ROW)
def streamed(form: Form) -> Body:
    """y = x W', one row of W after the other: memory likes one stream better than several.

    The lanes of four rows are added up together.
    """
    _, vector, weights = form.types
    dot, add = Dot(vector, weights), int(form.row is cube.TGEMV_STREAM_ACC)
    widen, multiply, four = widening(dot), product(dot), block(dot, 1, 4, add=bool(add))
    settle, settle_four, size = dot.settle, dot.settle_four, weights.size
    floats = dot.factor is F32  # of integers one row has two chains already

    def run(ctx: int, ops: int, st: int, at: Any) -> None:
        k, factors = word(ops, K), word(ctx, SPARE)
        y, x, w, _ = at
        scratch = widen(factors, x, k)
        pitch, apart = stride(ctx, st, 2), step(ctx, st, 2)
        n, lines = word(ops, N), 0 if pitch == k * size else -(-k * size // LINE)
        ahead = rows_ahead(lines, AHEAD)
        ask_for(w, pitch, lines, min(ahead, n))
        side_by_side = floats and apart == size and (lines > 0 or k * size <= SHORT)
        for row in range(0, n - n % 4, 4):
            ask_for(w + ahead * pitch, pitch, lines, min(n - row - ahead, 4))
            if side_by_side:
                four(y, 0, factors, 0, w, pitch, k)
            else:
                first = multiply(factors, w, apart, k, scratch)
                second = multiply(factors, w + pitch, apart, k, scratch)
                third = multiply(factors, w + 2 * pitch, apart, k, scratch)
                fourth = multiply(factors, w + 3 * pitch, apart, k, scratch)
                settle_four(y, add, first, second, third, fourth)
            y += 16
            w += 4 * pitch
        for _ in range(n % 4):
            settle(y, add, multiply(factors, w, apart, k, scratch))
            y += 4
            w += pitch
    return run


@kernel(cube.TGEMM_STREAM, Layout.ROW, Layout.ROW)
def streamed_block(form: Form) -> Body:
    """y = x W' of a few rows: as many sums as registers hold, of three rows and four of W.

    Spare memory holds a few rows that are completed with zeros; of more, each few meet W anew.
    """
    _, vector, weights = form.types
    dot, size = Dot(vector, weights), weights.size
    widen, gather = widening(dot), gatherer(size)
    column_of_four, column_of_one = (in_threes(partial(block, dot, columns=n)) for n in (4, 1))

    @inline
    def few(ctx: int, ops: int, st: int, y: int, x: int, w: int, m: int) -> None:
        n, k, factors = word(ops, BLOCK_N), word(ops, BLOCK_K), word(ctx, SPARE)
        across, pitch, apart, scratch = tile_pitch(st, 0), stride(ctx, st, 2), step(ctx, st, 2), factors
        for row in range(m):
            scratch = widen(scratch, x + row * tile_pitch(st, 1), k)
        each = (scratch - factors) // m
        lines = -(-k * size // LINE)
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

    def run(ctx: int, ops: int, st: int, at: Any) -> None:
        m = word(ops, BLOCK_M)
        y, x, w, _ = at
        for first in range(0, m, MOST_ROWS):
            rows = min(m - first, MOST_ROWS)
            few(ctx, ops, st, y + first * tile_pitch(st, 0), x + first * tile_pitch(st, 1), w, rows)
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
        lines = -(-n * size // LINE) if pitch == n * size else 0
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

    def run(ctx: int, ops: int, st: int, at: Any) -> None:
        m = word(ops, rows_at) if several else 1
        y, x, w, _ = at
        for first in range(0, m, MOST_ROWS):
            few(ctx, ops, st, y + first * tile_pitch(st, 0), x + first * tile_pitch(st, 1), w,
                min(m - first, MOST_ROWS))
    return run
