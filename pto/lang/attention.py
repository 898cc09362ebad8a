"""Attention without the matrix of scores: blocks of queries meet blocks of keys (Dao et al., 2022)."""

from __future__ import annotations

from typing import Any

from pto.core.dtypes import F32
from pto.core.errors import Loc, ShapeError, located
from pto.core.target import Target
from pto.core.types import Space, TileType
from pto.ir.ops import TILE_OPS
from pto.lang import language as pt
from pto.lang import reductions
from pto.lang.loops import repeat
from pto.lang.stores import setitem
from pto.lang.trace import tracer
from pto.lang.values import Tensor, as_a_whole

# Queries and keys of a block, the best first: the more keys, the less often what was found is scaled anew.
TILES = ((128, 256), (128, 128), (64, 128), (64, 64), (32, 64), (16, 32))
COLUMNS = 8  # tiles of an element for each query, at most
NEVER = 1e30  # what a score of a later position is lowered by, for each position that it is later


@as_a_whole
def attention(q: Any, k: Any, v: Any, *, causal: bool = False, start: Any = 0, scale: float | None = None,
              tile_m: int | None = None, tile_n: int | None = None) -> Any:
    """softmax(q kᵀ scale) v for each head, with memory that is linear in the number of positions.

    Args:
        q: [heads, m, d], d constant.
        k, v: [kv_heads, n, d] and [kv_heads, n, e]; consecutive heads share one of these, heads / kv_heads each.
        causal: query i sees keys 0 to start + i.
        scale: 1 / sqrt(d) unless given.
        tile_m, tile_n: queries and keys of a block; the most of `TILES` that fit the target unless given.

    Returns:
        [heads, m, e], of the type of q. Products of float16 or bfloat16 are accumulated, and the softmax is computed,
        in float32; the weights of the values are rounded to the type of these.

    Raises:
        ShapeError: extents do not fit.
    """
    with located(Loc.of_user()):
        _fit(q, k, v)
    heads, rows, d = q.shape
    group = heads // k.shape[0]
    scale = d**-0.5 if scale is None else scale
    tile = _tiles(tracer().target, q, v, causal, (tile_m, tile_n))
    block = _Block(q, k.transpose(1, 2), v, group, causal, start, tile, scale)
    out = pt.empty((heads, rows, v.shape[2]), q.dtype)
    # Heads in the inner loop: later queries see more keys, and cores that take turns get as many of them.
    return repeat(pt.range(0, rows, tile[0]), lambda i, out: repeat(
        pt.range(heads), lambda h, out: (block.store(h, i, out),), out), out)[0]


def _tiles(target: Target, q: Any, v: Any, causal: bool, given: tuple[int | None, int | None]) -> tuple[int, int]:
    """Queries and keys of a block: what is given, else the first of `TILES` that fits."""
    choices = [(given[0] or rows, given[1] or cols) for rows, cols in TILES]
    d, e, size = q.dims[2], v.dims[2], q.dtype.size
    return next((tile for tile in choices if _fits_memories(target, tile, d, e, size, causal)), choices[-1])


def _fits_memories(target: Target, tile: tuple[int, int], d: int, e: int, size: int, causal: bool) -> bool:
    """Do the tiles fit that are needed at once in a turn of the loop over keys?"""
    rows, cols = tile
    scores, mixed, column = 4 * rows * cols, 4 * rows * e, max(4 * rows, target.align)
    weights = rows * cols * size if size < F32.size else 0
    others = max(scores + max(scores * causal, weights), scores + mixed, 2 * mixed)  # beside what is carried
    return (mixed + others + COLUMNS * column <= target.bytes_of(Space.UB)
            and max(scores, mixed) <= target.bytes_of(Space.L0C)
            and rows * cols * size + cols * (d + e) * size + rows * d * size <= target.bytes_of(Space.L1))


def _fit(q: Any, k: Any, v: Any) -> None:
    if not all(isinstance(x, Tensor) and x.ndim == 3 for x in (q, k, v)):
        raise ShapeError("attention takes tensors of three axes: heads, positions, channels")
    symbols = tracer().symbols
    known = all(isinstance(n, int) for n in (q.dims[0], k.dims[0], q.dims[2], v.dims[2]))
    if not known or q.dims[0] % k.dims[0]:
        raise ShapeError("heads and channels are constants, the query heads a multiple of the key heads",
                         hint='annotate them: q: pt.f32[8, "M", 64]')
    for axis, (x, y), what in ((2, (q, k), "channels of q and k"), (0, (k, v), "heads of k and v"),
                               (1, (k, v), "positions of k and v")):
        symbols.equal(x.dims[axis], y.dims[axis], f"{what} differ")


def _least(a: Any, b: Any) -> Any:
    """The smaller of two integers of the program."""
    return tracer().wrap(tracer().graph.index("min", *(getattr(x, "val", x) for x in (a, b))))


class _Block:
    """Some queries of a head against all keys that they see."""

    def __init__(self, q: Any, keys: Any, values: Any, group: int, causal: bool, start: Any,
                 tile: tuple[int, int], scale: float) -> None:
        self.q, self.keys, self.values, self.group, self.scale = q, keys, values, group, scale
        self.half = q.dtype != F32  # it is not rounded once more: its scores are scaled
        self.causal, self.start, (self.tall, self.wide) = causal, start, tile

    def store(self, h: Any, i: Any, out: Any) -> Any:
        """The next version of the result."""
        d, e, n = self.q.shape[2], self.values.shape[2], self.keys.shape[2]
        query, keys, values = self.q[h][i:i + self.tall, 0:d], self.keys[h // self.group], self.values[h // self.group]
        query = query if self.half else query * self.scale

        def step(j: Any, top: Any, total: Any, mixed: Any, *, masked: bool) -> tuple[Any, ...]:
            scores = pt.matmul(query, keys[0:d, j:j + self.wide])
            if self.half:
                scores = scores * self.scale
            if masked:
                scores = scores - pt.relu(self.later(j - i - self.start)) * NEVER
            peak = pt.maximum(top, reductions.max(scores, keepdims=True))
            weights, shrink = pt.exp(scores - peak), pt.exp(top - peak)
            chosen = weights.to(values.dtype) if self.q.dtype == values.dtype else weights
            return (peak, total * shrink + reductions.sum(weights, keepdims=True),
                    mixed * shrink + pt.matmul(chosen, values[j:j + self.wide, 0:e]))

        state = (pt.full((self.tall, 1), float("-inf")), pt.zeros((self.tall, 1)), pt.zeros((self.tall, e)))
        seen_by_all = n
        if self.causal:
            seen_by_all = _least(self.start + i + 1, n) // self.wide * self.wide
        state = repeat(pt.range(0, seen_by_all, self.wide), lambda *a: step(*a, masked=False), *state)
        if self.causal:
            last = _least(self.start + i + self.tall, n)
            state = repeat(pt.range(seen_by_all, last, self.wide), lambda *a: step(*a, masked=True), *state)
        return setitem(out, (h, slice(i, i + self.tall), slice(0, e)), (state[2] / state[1]).to(out.dtype))

    def later(self, first: Any) -> Any:
        """How many positions each key of a tile is later than each query: first + column - row."""
        return tracer().emit(TILE_OPS["iota"], first, -1, 1, type=TileType(F32, self.tall, self.wide))
