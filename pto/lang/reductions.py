"""Reductions over any axes, from the one that the machine has: over the last."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from pto.core.dtypes import F32, PRED, S32, DType
from pto.core.errors import CaptureError, Loc, ShapeError, UnsupportedError, located
from pto.core.types import TensorType, TileType
from pto.ir.graph import Graph, Val
from pto.ir.ops import REDUCTIONS, TILE_OPS
from pto.lang import stores, values
from pto.lang.integers import Index, unwrap
from pto.lang.trace import tracer
from pto.lang.views import is_contiguous, layout

LAST = (-1,)  # no axis was said
WIDE, TALL, AREA = 1024, 256, 1 << 14  # of the tiles of a matrix whose columns are reduced
Axes = int | Sequence[int] | None


def spelled(function: Callable[..., Any]) -> Callable[..., Any]:
    """A reduction whose axes may be called as in PyTorch, too: `dim` and `keepdim`."""
    @wraps(function)
    def reduced(*values: Any, **named: Any) -> Any:
        for theirs, ours in (("dim", "axis"), ("keepdim", "keepdims")):
            if theirs in named:
                named[ours] = named.pop(theirs)
        return function(*values, **named)
    return reduced


@spelled
def max(x: Any, axis: Axes = LAST, *, keepdims: bool = False) -> Any:
    """The largest element along an axis, along several, or (None) of all; with `keepdims` their extent is 1."""
    return _reduced("rowmax", x, axis, keepdims)


@spelled
def min(x: Any, axis: Axes = LAST, *, keepdims: bool = False) -> Any:
    """The smallest element along an axis, along several, or (None) of all; with `keepdims` their extent is 1."""
    return _reduced("rowmin", x, axis, keepdims)


@spelled
def sum(x: Any, axis: Axes = LAST, *, keepdims: bool = False) -> Any:
    """The sum along an axis, along several, or (None) of all; with `keepdims` their extent is 1."""
    return _reduced("rowsum", x, axis, keepdims)


@spelled
def prod(x: Any, axis: Axes = LAST, *, keepdims: bool = False) -> Any:
    """The product along an axis, along several, or (None) of all; with `keepdims` their extent is 1."""
    return _reduced("rowprod", x, axis, keepdims)


@spelled
def argmax(x: Any, axis: Axes = LAST, *, keepdims: bool = False) -> Any:
    """The position (int32) of the first of the largest elements along an axis, or (None) of all elements in their
    order; NaN is ignored.
    """
    return _position("rowargmax", x, axis, keepdims)


@spelled
def argmin(x: Any, axis: Axes = LAST, *, keepdims: bool = False) -> Any:
    """The position (int32) of the first of the smallest elements, as `argmax`."""
    return _position("rowargmin", x, axis, keepdims)


@spelled
def any(x: Any, axis: Axes = LAST, *, keepdims: bool = False) -> Any:
    """Is an element not 0, along an axis, along several, or (None) of all?"""
    return _reduced("rowany", values.cast(x, PRED), axis, keepdims)


@spelled
def all(x: Any, axis: Axes = LAST, *, keepdims: bool = False) -> Any:
    """Is no element 0, along an axis, along several, or (None) of all?"""
    return _reduced("rowall", values.cast(x, PRED), axis, keepdims)


@spelled
def count_nonzero(x: Any, axis: Axes = LAST, *, keepdims: bool = False) -> Any:
    """How many elements are not 0 (int32), along an axis, along several, or (None) of all."""
    return _reduced("rowsum", values.cast(x, PRED), axis, keepdims)


@spelled
@values.in_f32
def mean(x: Any, axis: Axes = LAST, *, keepdims: bool = False) -> Any:
    """The mean along axes, as `sum`; the program is then for these extents."""
    total = _reduced("rowsum", x, axis, keepdims)
    return total * (1.0 / _count(x, axis))


@spelled
@values.in_f32
def var(x: Any, axis: Axes = LAST, *, keepdims: bool = False, ddof: int = 0) -> Any:
    """The variance along axes, as `mean`: the sum of squares of the differences from the mean, over their number less
    `ddof`, as in NumPy.
    """
    count = _count(x, axis)
    if count <= ddof:
        raise ShapeError(f"a variance of {count} elements with ddof={ddof}", loc=Loc.of_user())
    centred = values.lifted(x) - mean(x, axis, keepdims=True)
    _require_said(axis, keepdims)
    return _reduced("rowsum", centred * centred, axis, keepdims) * (1.0 / (count - ddof))


@spelled
@values.in_f32
def std(x: Any, axis: Axes = LAST, *, keepdims: bool = False, ddof: int = 0) -> Any:
    """The standard deviation along axes: the root of the variance, see `var`."""
    return values.unary("sqrt", var(x, axis, keepdims=keepdims, ddof=ddof))


def _position(name: str, x: Any, axis: Axes, keepdims: bool) -> Any:
    """Where an extreme is; of all elements: their number in the order of the last axis first."""
    if isinstance(axis, Sequence) and axis is not LAST:
        raise ShapeError("a position is along one axis, or (None) among all elements", loc=Loc.of_user(),
                         hint="write axis=-1 for each row")
    x, asked = values.lifted(x), axis
    if axis is None and isinstance(x, values.Tensor) and x.ndim > 1:
        if keepdims:
            raise UnsupportedError("a position among all elements has no axes", loc=Loc.of_user(),
                                   hint="leave out keepdims")
        symbols = tracer().symbols
        known = [symbols.value(d) for d in x.dims]
        for extent in x.dims:
            symbols.pin(extent)
        x, asked = x.view(math.prod(n or 0 for n in known)), -1
    return _reduced(name, x, -1 if asked is None else asked, keepdims)


def _require_said(axis: Axes, keepdims: bool) -> None:
    """Without an axis NumPy and PyTorch reduce all, rows are what a kernel wants: which is not guessed."""
    if axis is LAST and not keepdims:
        raise UnsupportedError("a reduction without an axis", loc=Loc.of_user(),
                               hint="write axis=-1 for each row, or axis=None for all elements")


def _axes(x: values.Tensor | values.Tile, axis: Axes) -> list[int]:
    """Axes as numbers from 0 on, the last one first.

    Raises:
        ShapeError: there is no such axis, or one is there twice.
    """
    rank = len(x.shape)
    if not rank:
        raise ShapeError("a reduction of a tensor without axes", hint="x.unsqueeze(0) has one axis")
    asked = range(rank) if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
    for one in asked:
        if not -rank <= one < rank:
            raise ShapeError(f"there is no axis {one} of {rank}", hint=f"axes are from {-rank} to {rank - 1}")
    found = sorted({one % rank for one in asked}, reverse=True)
    if len(found) != len(asked) or not found:
        raise ShapeError(f"axis={axis} names no axis, or one twice")
    return found


def _reduced(name: str, x: Any, axis: Axes, keepdims: bool) -> Any:
    loc = Loc.of_user()
    _require_said(axis, keepdims)
    with located(loc):
        x = values.lifted(x)
        if not isinstance(x, values.Array):
            return values.unary(name, x)
        wide = _wide(name, x.dtype)
        if wide != x.dtype:
            found = _reduced(name, values.cast(x, wide), axis, keepdims)
            keeps = name in ("rowmax", "rowmin") or (x.dtype.kind == "f" and not REDUCTIONS[name].of)
            return values.cast(found, x.dtype) if keeps else found
        if not isinstance(x, values.Tensor):
            return _reduced_tile(name, x, axis, keepdims)
        axes = _axes(x, axis)
        for one in axes:
            last = x.ndim - 1
            matrix = _as_matrix(x) if one == 0 < last and not REDUCTIONS[name].of else None
            if matrix is not None:
                x = _columns(name, matrix).view(1, *x.shape[1:])
                continue
            found = values.unary(name, x if one == last else x.transpose(one, last))
            x = found if one == last else found.transpose(one, last)
        for one in () if keepdims else axes:
            x = x.squeeze(one)
        return x


def _as_matrix(x: Any) -> Any:
    """A tensor whose axes behind the first are one, where they lie so; the program is then for their extents."""
    symbols, rest, found = tracer().symbols, x.dims[1:], layout(x)
    if len(rest) == 1:
        return x
    sizes = [size for size in map(symbols.value, rest) if size is not None]
    if len(sizes) < len(rest) or not is_contiguous(x):
        return None
    for extent in rest:
        symbols.pin(extent)
    count = math.prod(sizes)
    return found.made((x.dims[0], count), (count, 1), found.offset)


def _columns(name: str, x: Any) -> Any:
    """One value for each column of a matrix, whose rows are read as they lie: tile after tile, from the top."""
    found, how, loc = tracer(), REDUCTIONS[name], Loc.of_user()
    rows, cols = x.shape
    wide = builtins.min(WIDE, cols) if isinstance(cols, int) else WIDE
    tall = builtins.min(TALL, AREA // wide)
    spans, dtype = found.spans(loc), S32 if x.dtype == PRED and name == "rowsum" else x.dtype

    def fold(j: Any, graph: Graph, i: Val, carried: list[Val]) -> list[Val]:
        with found.inside(graph):
            part = values.unary(name.replace("row", "col"), x[Index(i):Index(i) + tall, j:j + wide])
            return [values.binary(how.combine, values.wrap(carried[0]), part).val]

    def column(graph: Graph, counter: Val, versions: list[Val]) -> list[Val]:
        j = Index(counter)
        with found.inside(graph):
            start = found.emit(TILE_OPS["full"], type=TileType(dtype, 1, wide), scalar=how.neutral(dtype))
            [last] = graph.loop((0, unwrap(rows), tall), [start.val], lambda g, i, c: fold(j, g, i, c), spans)
            where = (slice(0, 1), slice(j, j + wide))
            return [stores.setitem(values.wrap(versions[0]), where, values.wrap(last)).val]

    room = found.room(TensorType(dtype, (1, x.dims[1])), "copy")
    inits = [Val(found.graph, found.graph.use(room.val))]
    return values.wrap(found.graph.loop((0, unwrap(cols), wide), inits, column, spans)[0])


def _wide(name: str, dtype: DType) -> DType:
    """What a reduction is computed of: sums of halves in float32, rounded once, those of small integers in int32."""
    if name in ("rowany", "rowall"):
        return dtype
    if dtype.kind == "f":
        return F32 if name in ("rowsum", "rowprod") else dtype
    return dtype if name in (("rowsum",) if dtype == PRED else ("rowmax", "rowmin")) else S32


def _reduced_tile(name: str, x: Any, axis: Axes, keepdims: bool) -> Any:
    """A column of the rows, a row of the columns, or one element: a tile always has two axes."""
    if not keepdims:
        raise UnsupportedError("a tile keeps its two axes", hint="write keepdims=True")
    asked = _axes(x, axis)
    if 1 in asked:
        x = values.unary(name, x)
    if 0 not in asked:
        return x
    if REDUCTIONS[name].of:
        raise UnsupportedError("positions in the columns of a tile are not built",
                               hint="reduce the whole tensor over the axis, or load the tile transposed: "
                                    "x.T[j:j + n, i:i + m]")
    return values.unary(name.replace("row", "col"), x)


def _count(x: Any, axis: Axes) -> int:
    """How many elements are reduced to one; the program is for this number.

    Raises:
        ShapeError: it is not known.
    """
    loc, x = Loc.of_user(), values.lifted(x)
    if not isinstance(x, values.Array):
        raise CaptureError(f"a reduction takes a tensor or a tile of the kernel, not {type(x).__name__}", loc=loc)
    found = 1
    with located(loc):
        if isinstance(x, values.Tile):
            return math.prod(x.shape[one] for one in _axes(x, axis))
        assert isinstance(x, values.Tensor)
        symbols = tracer().symbols
        for extent in (x.dims[one] for one in _axes(x, axis)):
            value = symbols.value(extent)
            if value is None:
                raise ShapeError("the number of elements must be known for a mean",
                                 hint="annotate the axis with a number, or call the kernel")
            symbols.pin(extent)
            found *= value
    return found
