"""Random numbers by counting: each element is a function of the seed and of its place alone, on every machine.

The generator is Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2,
3", 2011): 32-bit additions, rotations and exclusive ors of a counter (the row and the column) under a key (the seed).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import index
from typing import Any

from pto.core.dtypes import F32, S32, DType
from pto.core.errors import Loc, ShapeError, UsageError
from pto.core.types import TensorType, TileType
from pto.ir.graph import Val
from pto.ir.ops import TENSOR_OPS, TILE_OPS
from pto.lang import language as pt
from pto.lang import values
from pto.lang.integers import Index, Proxy
from pto.lang.language import pinned
from pto.lang.selection import where
from pto.lang.stores import kept
from pto.lang.trace import tracer

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA
GROUPS = 5  # of four rounds
ODD, TURNS = 0x9E3779B9, 1000003  # spread the numbers of draws, and those of turns, over 32 bits


def _signed(word: int) -> int:
    """A word of 32 bits as int32."""
    return (word + 2**31) % 2**32 - 2**31


def _rotated(x: Any, by: int) -> Any:
    """The bits of int32 moved round to the left."""
    return (x << by) | ((x >> 32 - by) & 2**by - 1)


def threefry(key: tuple[Any, Any], counter: tuple[Any, Any]) -> tuple[Any, Any]:
    """Two words of 32 random bits (int32) for a counter under a key, of two words each; elements broadcast."""
    with tracer().unwatched():  # its sums wrap
        keys = (*key, key[0] ^ key[1] ^ _signed(PARITY))
        a, b = counter[0] + keys[0], counter[1] + keys[1]
        for group in range(GROUPS):
            for by in ROTATIONS[group % 2]:
                a = a + b
                b = _rotated(b, by) ^ a
            a, b = a + keys[(group + 1) % 3], b + keys[(group + 2) % 3] + (group + 1)
    return a, b


def _bits(shape: Sequence[Any], seed: Any) -> tuple[Any, Any]:
    """Two random words for each element of a tensor."""
    if not shape:
        raise ShapeError("random numbers are for a tensor of one axis or more", loc=Loc.of_user())
    seed = _seed(seed)
    low = pt.arange(seed, seed + 1) if isinstance(seed, Index) else pt.full((1,), _signed(seed), S32)
    high = pt.full((1,), 0 if isinstance(seed, Index) else _signed(seed >> 32), S32)
    return threefry((low, high), _counter(shape))


def _seed(seed: Any) -> int | Index:
    """A seed as Python's integer, or one of the program's."""
    if isinstance(seed, Index):
        return seed
    if isinstance(seed, Proxy) or not hasattr(seed, "__index__"):
        raise UsageError(f"a seed is an integer, not a {type(seed).__name__}", loc=Loc.of_user())
    return index(seed)


def _counter(shape: Sequence[Any]) -> tuple[Any, Any]:
    """The columns and the rows of a tensor."""
    columns = pt.arange(shape[-1])
    rows = pt.full((1,), 0, S32)
    for axis, extent in enumerate(shape[:-1]):
        along = pt.arange(extent)
        if axis:
            rows = rows * pinned(along, 0)
        rows = rows.unsqueeze(-1) + along if axis else along
    return columns, rows.unsqueeze(-1) if len(shape) > 1 else rows


def drawn(x: Any, seed: Any = None) -> Any:
    """32 random bits (int32) for each element of a tensor or tile: those of `rand` under a seed; without one, under
    that of the numeric configuration, the number of the draw, and the counters of the loops around it.
    """
    found, more, turn = tracer(), 0, 0
    if seed is None:
        seed, more, turn = found.numeric.seed, found.draws, _turn()
        found.draws += 1
    seed = _seed(seed)
    low = _word(x, seed if isinstance(seed, Index) else _signed(seed))
    high = _word(x, turn) ^ _signed((0 if isinstance(seed, Index) else seed >> 32) ^ more * ODD)
    if isinstance(x, values.Tile):
        rows, cols = x.shape
        counter = _along(1, cols, 0, 1), _along(rows, 1, 1, 0)
    else:
        counter = _counter(x.shape or (1,))
    bits = threefry((low, high), counter)[0]
    bits = bits if found.detect is None else kept(bits)
    return bits.squeeze(-1) if isinstance(x, values.Tensor) and not x.ndim else bits


def _turn() -> Any:
    """A number for each turn of the loops that are being traced."""
    found, graph = 0, tracer().graph
    while graph.outer is not None:
        found = (found * TURNS + Index(Val(graph, graph.params[0]))) % 2**31
        graph = graph.outer
    return found


def _word(like: Any, number: Any) -> Any:
    """An integer as one element that broadcasts with a tensor or tile."""
    if isinstance(like, values.Tile):
        return tracer().emit(TILE_OPS["iota"], number, 0, 0, type=TileType(S32, 1, 1))
    return tracer().emit(TENSOR_OPS["iota"], number, 1, type=TensorType(S32, (1,)))


def _along(rows: int, cols: int, down: int, across: int) -> Any:
    """The numbers of the rows, or of the columns, of a tile."""
    return tracer().emit(TILE_OPS["iota"], 0, down, across, type=TileType(S32, rows, cols))


def _uniform(word: Any) -> Any:
    """24 random bits as a number from 0 to below 1."""
    return values.cast((word >> 8) & 2**24 - 1, F32) * 2.0**-24


@values.as_a_whole
def rand(shape: Sequence[Any], seed: Any, dtype: DType = F32) -> Any:
    """Random numbers from 0 to below 1, all multiples of 2^-24 equally likely: a tensor.

    Args:
        shape: extents; from the third last axis on the program is for them.
        seed: an integer, or an integer of the call (`pt.index`).
    """
    return values.cast(_uniform(_bits(shape, seed)[0]), dtype)


@values.as_a_whole
def randn(shape: Sequence[Any], seed: Any, dtype: DType = F32) -> Any:
    """Random numbers of the normal distribution with mean 0 and variance 1 (Box and Muller, 1958): a tensor.

    Args:
        shape, seed: as of `rand`.
    """
    first, second = map(_uniform, _bits(shape, seed))
    size = pt.sqrt(pt.log(1.0 - first) * -2.0)
    return values.cast(size * pt.cos(second * (2 * math.pi)), dtype)


@values.as_a_whole
def randint(low: int, high: int, shape: Sequence[Any], seed: Any) -> Any:
    """Random integers (int32) from low to below high, at most 2^24 of them: a tensor."""
    if not 0 < high - low <= 2**24:
        raise UsageError(f"there are no random integers from {low} to below {high}", loc=Loc.of_user(),
                         hint="give bounds that are 1 to 2**24 apart")
    return values.cast(pt.floor(_uniform(_bits(shape, seed)[0]) * float(high - low)), S32) + low


@values.as_a_whole
def dropout(x: Any, p: float, seed: Any) -> Any:
    """x with elements made 0 with probability p, the others divided by 1 - p."""
    x = values.lifted(x)
    if not 0 <= p < 1:
        raise UsageError(f"a probability of {p}", loc=Loc.of_user(), hint="from 0 to below 1")
    return where(rand(x.shape, seed) < p, 0.0, x * (1.0 / (1.0 - p)))
