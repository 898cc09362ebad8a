"""Where the elements of a tensor lie: subscripts, pieces and other extents of a tensor, without a copy."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pto.core.dtypes import DType
from pto.core.errors import Loc, ShapeError, UnsupportedError
from pto.core.types import TensorType
from pto.ir.graph import Val
from pto.ir.ops import TENSOR_OPS
from pto.lang.integers import Index, Proxy, unwrap
from pto.lang.trace import tracer


class Tensor(Protocol):
    """What a view needs of a tensor of the kernel."""

    val: Val

    @property
    def dims(self) -> tuple[int | str, ...]: ...
    @property
    def shape(self) -> tuple[Any, ...]: ...
    @property
    def ndim(self) -> int: ...
    @property
    def dtype(self) -> DType: ...


@dataclass(frozen=True)
class Strided:
    """Where the elements of a tensor lie in its argument: from an offset on, with a stride for each axis."""

    base: Val
    dtype: DType
    dims: tuple[int | str, ...]
    offset: Any
    strides: tuple[Any, ...]
    plain: Tensor | None = None  # the tensor itself, where it is the whole argument

    def made(self, dims: Sequence[int | str], strides: Sequence[Any], offset: Any) -> Any:
        """A tensor of other extents over the same elements."""
        type = TensorType(self.dtype, tuple(dims))
        return tracer().emit(TENSOR_OPS["view"], self.base, offset, *strides, type=type)

    def tensor(self) -> Any:
        return self.plain if self.plain is not None else self.made(self.dims, self.strides, self.offset)

    def window(self, slices: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[int, int]]:
        """Operands of a load or store, and the tile's extents: the valid region is what lies inside."""
        if len(self.dims) not in (1, 2) or len(slices) != len(self.dims):
            raise ShapeError(f"a window has one or two axes, not {len(self.dims)}",
                             hint="select the other axes with integers: X[b, i:i + m, j:j + n]")
        sizes = [tracer().dim(d) for d in self.dims]
        parts = [span(size, part) for size, part in zip(sizes, slices, strict=True)]
        strides = list(self.strides)
        if len(parts) == 1:
            parts, sizes, strides = [(0, 1, 1), *parts], [1, *sizes], [0, *strides]
        (i, rows, r), (j, cols, c) = parts
        view = () if self.plain is not None else (self.offset, *sizes, *strides)
        return (i, j, rows, cols, *view), (r, c)


def layout(tensor: Tensor) -> Strided:
    """Where a tensor lies: a view knows; an argument is contiguous."""
    node, graph = tensor.val.node, tensor.val.graph
    if node.op is TENSOR_OPS["view"]:
        base, offset, *steps = (tracer().wrap(Val(graph, k)) for k in node.inputs)
        return Strided(unwrap(base), tensor.dtype, tensor.dims, _constant(offset), tuple(map(_constant, steps)))
    return Strided(tensor.val, tensor.dtype, tensor.dims, 0, contiguous(tensor.shape), tensor)


def contiguous(shape: Sequence[Any]) -> tuple[Any, ...]:
    """Strides of elements that lie one after the other."""
    strides: list[Any] = []
    step: Any = 1
    for extent in reversed(shape):
        strides.insert(0, step)
        step = step * extent
    return tuple(strides)


def _constant(value: Any) -> Any:
    """A constant as a number."""
    found = value.val.graph.constant(value.val.key) if isinstance(value, Index) else None
    return value if found is None else found


def select(tensor: Tensor, where: Any) -> tuple[Strided, list[Any]]:
    """A subscript's integers applied; gives what is left and its slices, one for each axis."""
    parts = list(where) if isinstance(where, tuple) else [where]
    if Ellipsis in [p for p in parts if not isinstance(p, Proxy)]:
        at = next(n for n, p in enumerate(parts) if p is Ellipsis)
        parts[at:at + 1] = [slice(None)] * (tensor.ndim - len(parts) + 1)
    if len(parts) > tensor.ndim:
        raise ShapeError(f"{len(parts)} subscripts of a tensor with {tensor.ndim} axes")
    parts += [slice(None)] * (tensor.ndim - len(parts))
    found = layout(tensor)
    if not any(isinstance(p, int | Index) for p in parts):
        return found, parts
    offset, kept = found.offset, []
    for axis, part in enumerate(parts):
        if isinstance(part, int | Index):
            size = tracer().symbols.value(found.dims[axis])
            if isinstance(part, int) and size is not None and not -size <= part < size:
                raise ShapeError(f"index {part} is out of range for an axis of extent {size}")
            position = part + tracer().dim(found.dims[axis]) if isinstance(part, int) and part < 0 else part
            offset = offset + position * found.strides[axis]
        else:
            kept.append(axis)
    left = Strided(found.base, found.dtype, tuple(found.dims[a] for a in kept), offset,
                   tuple(found.strides[a] for a in kept))
    return cut(left, [parts[a] for a in kept])


def cut(found: Strided, parts: list[Any]) -> tuple[Strided, list[Any]]:
    """Slices that end at an extent of the program, as ``x[:, :length]``, applied: they give tensors, not tiles."""
    for axis, part in enumerate(parts):
        if not isinstance(part, slice) or isinstance(part.start, Index) or not isinstance(part.stop, Index):
            continue
        if not part.start and part.step is None:
            extent = tracer().extent(part.stop)
            if extent is not None:
                found, parts[axis] = narrowed(found, axis, 0, part.stop), slice(None)
    return found, parts


def piece(found: Strided, axis: int, part: slice) -> Strided:
    """A slice of an axis, as a tensor's: its length is a constant or an extent."""
    start = 0 if part.start is None else part.start
    stop = tracer().dim(found.dims[axis]) if part.stop is None else part.stop
    if part.step not in (None, 1):
        raise UnsupportedError("a slice has no step here", hint="store the whole piece")
    length = tracer().graph.index("sub", unwrap(stop), unwrap(start))
    return narrowed(found, axis, start, tracer().wrap(length))


def narrowed(found: Strided, axis: int, start: Any, length: Any) -> Strided:
    """A piece of an axis.

    Raises:
        ShapeError: it is empty, not inside, or of a length that is no extent.
    """
    extent = tracer().extent(length)
    if extent is None:
        raise ShapeError("a length is a positive constant, an extent of an argument or an integer argument")
    if isinstance(start, int):
        tracer().symbols.inside(extent, start, found.dims[axis], Loc.of_user())
    dims = (*found.dims[:axis], extent, *found.dims[axis + 1:])
    if dims == found.dims and isinstance(start, int) and start == 0:
        return found
    return Strided(found.base, found.dtype, dims, found.offset + start * found.strides[axis], found.strides)


def reshaped(tensor: Tensor, dims: Sequence[Any]) -> Any:
    """The elements of a contiguous tensor in other extents.

    Raises:
        ShapeError: the numbers of elements differ, or the elements do not lie one after the other.
    """
    found = layout(tensor)
    steps = list(map(unwrap, contiguous(tensor.shape)))
    if any(unwrap(a) != b for a, b, n in zip(found.strides, steps, found.dims, strict=True) if n != 1):
        raise ShapeError("the elements of this view do not lie one after the other",
                         hint="assign it to a tensor first: y = pt.empty(x.shape); y[:] = x")
    want = [d if isinstance(d, int) and d == -1 else tracer().extent(d) for d in dims]
    if None in want or want.count(-1) > 1:
        raise ShapeError("an extent of a view is a positive constant, an extent of an argument, or (one of them) -1")
    have, asked = Counter(d for d in found.dims if isinstance(d, str)), Counter(d for d in want if isinstance(d, str))
    total = math.prod(d for d in found.dims if isinstance(d, int))
    given = math.prod(d for d in want if isinstance(d, int) and d != -1)
    missing = have - asked
    if -1 in want:
        left = total // given if total % given == 0 else 0
        one = next(iter(missing), left) if left == 1 or not missing else 0
        want[want.index(-1)] = one if missing.total() <= 1 else 0
        asked, given = Counter(d for d in want if isinstance(d, str)), given * left
    if asked != have or given != total or 0 in want:
        raise ShapeError(f"{shown(tensor.dims)} elements cannot be seen as {' x '.join(map(str, dims))}")
    shape = [tracer().dim(d) for d in want]  # type: ignore[arg-type]
    return found.made(want, contiguous(shape), found.offset)  # type: ignore[arg-type]


def span(size: Any, part: Any) -> tuple[Any, Any, int]:
    """(start, valid extent, capacity) of one axis of a window."""
    graph = tracer().graph
    if part.step not in (None, 1):
        raise UnsupportedError("a window has no step", hint="load the whole window")
    start = 0 if part.start is None else part.start
    stop = size if part.stop is None else part.stop
    extent = tracer().wrap(graph.index("sub", unwrap(stop), unwrap(start)))
    if not isinstance(extent, int):
        raise ShapeError("a tile's extent must be a constant",
                         hint="write the window as `i:i + n` where n is an option of @pt.tile_kernel")
    if extent < 1:
        raise ShapeError(f"a tile of extent {extent} is empty")
    left = graph.index("sub", unwrap(size), unwrap(start))
    return start, tracer().wrap(graph.index("min", extent, left)), extent


def shown(dims: Sequence[int | str]) -> str:
    """Extents as they are in this call."""
    return " x ".join(map(tracer().symbols.show, dims)) or "one element"
