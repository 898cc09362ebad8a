"""The largest elements of rows: blocks of columns first, then the best of the blocks."""

from __future__ import annotations

from typing import Any

from pto.core.dtypes import S32, DType
from pto.core.errors import Loc, ShapeError, located
from pto.core.types import TileType
from pto.ir.ops import TILE_OPS
from pto.lang import language as pt
from pto.lang import reductions
from pto.lang.loops import repeat
from pto.lang.stores import setitem
from pto.lang.trace import tracer
from pto.lang.values import Tensor

BLOCK = 4096  # columns that are looked at together


def topk(x: Any, k: int, *, tile_m: int = 1) -> tuple[Any, Any]:
    """The k largest elements of each row, the largest first, and their columns; of equal ones the first comes first.

    Args:
        x: [m, n], n constant.
        k: 1 to n.

    Returns:
        Values [m, k] and columns [m, k] (int32).

    Raises:
        ShapeError: there are not so many columns, or their number is not constant.
    """
    with located(Loc.of_user()):
        if not isinstance(x, Tensor) or x.ndim != 2 or not isinstance(x.dims[1], int):
            raise ShapeError("topk takes a tensor of two axes, the second of them constant")
        if not isinstance(k, int) or not 1 <= k <= x.dims[1]:
            raise ShapeError(f"the best {k} of {x.dims[1]} columns: k is 1 to the number of columns")
    if k == 1:
        return reductions.max(x, keepdims=True), reductions.argmax(x, keepdims=True)
    blocks, width = _cut(x.dims[1], k)
    if blocks == 1:
        return _select(x, None, k, width, tile_m)
    found = _select(x, None, k, width, tile_m)
    return _select(*found, k, blocks * k, tile_m)


def _cut(columns: int, k: int) -> tuple[int, int]:
    """How many blocks, and how wide, so that even the last has k columns."""
    for blocks in range(-(-columns // BLOCK), 1, -1):
        width = -(-columns // blocks)
        if columns - (blocks - 1) * width >= k:
            return blocks, width
    return 1, columns


def _select(x: Any, names: Any, k: int, width: int, tall: int) -> tuple[Any, Any]:
    """The best k of each block of columns, side by side; `names` are what the columns are called, if not by number."""
    rows, columns = x.shape
    blocks = -(-columns // width)
    values, ids = pt.empty((rows, blocks * k), x.dtype), pt.empty((rows, blocks * k), S32)

    def block(i: Any, j: Any, values: Any, ids: Any) -> tuple[Any, Any]:
        tile = x[i:i + tall, j:j + width]
        at = _tile("topk_index", S32, (tall, k), tile, k)
        called = _tile("iota", S32, (tall, width), j, 0, 1) if names is None else names[i:i + tall, j:j + width]
        where = (slice(i, i + tall), slice(j // width * k, j // width * k + k))
        return (setitem(values, where, _tile("topk", x.dtype, (tall, k), tile, k)),
                setitem(ids, where, _tile("pick", S32, (tall, k), called, at)))

    found: tuple[Any, Any] = repeat(pt.range(0, rows, tall), lambda i, *rooms: repeat(
        pt.range(0, columns, width), lambda j, *rooms: block(i, j, *rooms), *rooms), values, ids)
    return found


def _tile(name: str, dtype: DType, shape: tuple[int, int], *inputs: Any) -> Any:
    return tracer().emit(TILE_OPS[name], *inputs, type=TileType(dtype, *shape))
