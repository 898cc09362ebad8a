"""Where tensors lie, and which window of them a tile of an expression is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any

from pto.core.dtypes import DType
from pto.core.errors import Loc
from pto.core.types import TensorType, TileType
from pto.ir.graph import Graph, Val, joined
from pto.ir.ops import TENSOR_OPS, TILE_OPS
from pto.ir.rewrite import Promise
from pto.passes.analysis import view_of

ASSIGN, VIEW = TENSOR_OPS["assign"], TENSOR_OPS["view"]
Dims = tuple[Any, ...]
Size = Val | int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tile of an expression is: leading coordinates, first row and column, and capacity."""

    i: Size
    j: Size
    rows: int
    cols: int
    batch: tuple[Size, ...] = ()


@dataclass(frozen=True, slots=True)
class Strided(Promise):
    """A view's elements: from an offset of a tensor on, with a stride for each axis."""

    base: Val
    offset: Size
    strides: tuple[Size, ...]


class Windows:
    """The tensors of the old graph, as windows in the new one."""

    def __init__(self, old: Graph, graph: Graph, env: dict[int, Any], dims: dict[str, Val]) -> None:
        self.old, self.graph, self.env, self.dims = old, graph, env, dims
        self.flat = False  # the rows of all leading axes are one axis
        self.merged = 1  # so many of the last axes are one

    # extents

    def extents(self, key: int) -> Dims:
        """The extents of a value."""
        return self._type(key).dims

    def dtype(self, key: int) -> DType:
        """The element type of a value."""
        return self._type(key).dtype

    def _type(self, key: int) -> TensorType:
        type = self.old[key].type
        assert isinstance(type, TensorType)
        return type

    def two(self, dims: Dims) -> tuple[Any, Any]:
        """Rows and columns: the last two axes; of several that are one, as all axes but the last in a flat nest, a
        tuple.
        """
        if self.merged > 1:
            rows, cols = (1, *dims[:-self.merged])[-1], tuple(dims[-self.merged:])
            return rows, 1 if set(cols) <= {1} else cols
        *rows, cols = dims or (1,)
        if self.flat and len(rows) > 1:
            return tuple(rows), cols
        return (rows[-1] if rows else 1), cols

    def size(self, extent: int | str | tuple[int | str, ...]) -> Size:
        if isinstance(extent, tuple):
            return reduce(lambda a, b: self.graph.index("mul", a, b), map(self.size, extent))
        return extent if isinstance(extent, int) else self.dims[extent]

    def is_leaf(self, key: int) -> bool:
        """Does a value lie in memory?"""
        return not self.old[key].op.name.startswith("tensor.") or self.old[key].op in (ASSIGN, VIEW)

    # windows

    def valid(self, graph: Graph, dims: Dims, at: Place) -> tuple[Size, Size]:
        """What of a tile lies inside the tensor."""
        rows, cols = map(self.size, self.two(dims))
        pairs = ((at.rows, rows, at.i), (at.cols, cols, at.j))
        first, second = (graph.index("min", n, graph.index("sub", size, start)) for n, size, start in pairs)
        return first, second

    def leading(self, dims: Dims, at: Place) -> list[tuple[Any, Size]]:
        """Leading extents with their coordinates, aligned at the right; an axis of extent 1 is for all."""
        mine = () if self.flat else dims[:-1 - self.merged]
        given = at.batch[len(at.batch) - len(mine):]
        return [(extent, 0 if extent == 1 else c) for extent, c in zip(mine, given, strict=True)]

    def window(self, graph: Graph, dims: Dims, at: Place) -> tuple[Size, ...]:
        """First row and column in the matrix of all rows of a tensor, and the valid region."""
        first: Size = 0
        for extent, coordinate in self.leading(dims, at):
            first = graph.index("madd", first, self.size(extent), coordinate)
        rows = self.size(self.two(dims)[0])
        return graph.index("madd", first, rows, at.i), at.j, *self.valid(graph, dims, at)

    def load(self, graph: Graph, key: int, at: Place) -> Val:
        """A tile of a tensor that lies in memory, on behalf of the expressions that use it."""
        source, dims = self.env[key] if self.merged == 1 else self.placed(key), self.extents(key)
        where = ((source.base, *self.seen(graph, source, dims, at)) if isinstance(source, Strided)
                 else (source, *self.window(graph, dims, at)))
        return graph.op(TILE_OPS["load"], *where, type=TileType(self.dtype(key), at.rows, at.cols), locs=self.locs(key))

    def seen(self, graph: Graph, source: Strided, dims: Dims, at: Place) -> tuple[Size, ...]:
        """The window of a tile in a view, and the view: offset, extents and strides of a matrix."""
        offset = source.offset
        for (_, coordinate), stride in zip(self.leading(dims, at), source.strides, strict=False):
            offset = graph.index("madd", coordinate, stride, offset)
        sizes, strides = map(self.size, self.two(dims)), (*[0] * (self.merged + 1), *source.strides)
        steps = strides[-1 - self.merged], strides[-1]
        return at.i, at.j, *self.valid(graph, dims, at), offset, *sizes, *steps

    def locs(self, key: int) -> tuple[Loc, ...]:
        """On whose behalf a value is loaded: of the first expression that uses it, and of the view that it is."""
        return joined(next((n.locs for _, n in self.old.users(key) if n.locs), ()), self.seen_as(key))

    def seen_as(self, *keys: int) -> tuple[Loc, ...]:
        """The spans of those of some values that are views."""
        return joined(*(view[1].locs for view in (view_of(self.old, k) for k in keys) if view))

    def placed(self, key: int) -> Strided:
        """Where the elements of a tensor in memory lie."""
        source = self.env[key]
        return source if isinstance(source, Strided) else self.dense(source, self.extents(key))

    def dense(self, base: Val, dims: Dims) -> Strided:
        """The elements of a tensor one after the other."""
        strides: list[Size] = [1]
        for extent in reversed(dims[1:]):
            strides.insert(0, self.graph.index("mul", strides[0], self.size(extent)))
        return Strided(base, 0, tuple(strides))

    def lies_transposed(self, key: int) -> bool:
        """Is a value a view whose columns, not rows, lie in one piece?"""
        source = self.env[key]
        return isinstance(source, Strided) and source.strides[-2:-1] == (1,) and source.strides[-1] != 1
