"""Where the elements of a tensor lie: subscripts, pieces and other extents of a tensor, without a copy."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import index
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
    """A subscript's integers and new axes applied; gives what is left and its slices, one for each axis."""
    parts = _subscripts(tensor, where)
    found, offset, axis = layout(tensor), layout(tensor).offset, 0
    type = tensor.val.type
    assert isinstance(type, TensorType)
    written = type.dims  # a symbol stays one here, also where the program is for its extent
    axes: list[tuple[int | str, Any, Any]] = []  # extent, stride and slice
    whole = True
    for part in parts:
        if part is None:
            axes.append((1, 0, slice(None)))
            continue
        said, extent, stride, axis = written[axis], found.dims[axis], found.strides[axis], axis + 1
        if isinstance(part, slice) and isinstance(said, str) and (known := _known(said, part)) is not None:
            offset, whole = offset + known.start * stride, False
            axes.append((len(known), stride, slice(None)))
        elif isinstance(part, slice):
            axes.append((extent, stride, from_start(extent, part)))
        else:
            offset = offset + _position(part, extent) * stride
    kept = [part for _, _, part in axes]
    if whole and all(isinstance(part, slice) for part in parts):
        return cut(found, kept)
    left = Strided(found.base, found.dtype, tuple(a[0] for a in axes), offset, tuple(a[1] for a in axes))
    return cut(left, kept)


def _known(extent: str, part: slice) -> range | None:
    """The positions of a slice with one bound from the start and one from the end, as ``x[1:]`` and ``x[:-1]``, of an
    axis whose extent the text does not say: the program is then for the extent of this call.

    Raises:
        ShapeError: it is empty, or begins before the axis.
    """
    if not all(b is None or isinstance(b, int) for b in (part.start, part.stop)) or part.step not in (None, 1):
        return None
    symbols, start, stop = tracer().symbols, part.start or 0, -1 if part.stop is None else part.stop
    size = symbols.value(extent)
    if (start < 0) is (stop < 0) or (part.stop is None and not start) or size is None:
        return None
    symbols.pin(extent)
    found = range(size)[part]
    if not found or found.start != (start if start >= 0 else start + size):
        raise ShapeError(f"this slice of an axis of extent {size} is empty", hint="a slice has an element at least")
    return found


def _subscripts(tensor: Tensor, where: Any) -> list[Any]:
    """One integer or slice for each axis, and None for each new one.

    Raises:
        ShapeError: there are more than there are axes.
        UnsupportedError: one is neither.
    """
    parts = [_subscript(p) for p in (where if isinstance(where, tuple) else (where,))]
    used = sum(p is not None and p is not Ellipsis for p in parts)
    if used > tensor.ndim:
        raise ShapeError(f"{used} subscripts of a tensor with {tensor.ndim} axes",
                         hint=f"write {tensor.ndim} subscripts, or x.unsqueeze(axis) for one more axis")
    rest = [slice(None)] * (tensor.ndim - used)
    dots = [n for n, p in enumerate(parts) if p is Ellipsis]
    if len(dots) > 1:
        raise ShapeError("a subscript has one ... at most")
    at = dots[0] if dots else len(parts)
    return [*parts[:at], *rest, *parts[at + 1:]]


def _subscript(part: Any) -> Any:
    """A part of a subscript, integers of NumPy as Python's."""
    if part is None or part is Ellipsis or isinstance(part, slice | Index):
        return part
    if not isinstance(part, Proxy | bool) and hasattr(part, "__index__"):
        return index(part)
    raise UnsupportedError(f"a {type(part).__name__.lower()} is no subscript of a tensor in a kernel",
                           hint="write n // 2 for half of n" if isinstance(part, float) else "subscripts are integers, "
                                "slices, None and ...; pt.embedding(ids, table) gathers rows")


def _position(part: Any, extent: int | str) -> Any:
    """An integer subscript, counted from the start.

    Raises:
        ShapeError: it is out of range in this call.
    """
    if not isinstance(part, int):
        return part
    size = tracer().symbols.value(extent)
    if size is not None and not -size <= part < size:
        raise ShapeError(f"index {part} is out of range for an axis of extent {size}",
                         hint=f"subscripts are from {-size} to {size - 1}")
    return part + tracer().dim(extent) if part < 0 else part


def from_start(extent: int | str, part: slice) -> slice:
    """A slice whose negative bounds count from the start, as its others do.

    Raises:
        ShapeError: more is asked from the end than there is, in this call.
    """
    def bound(value: Any) -> Any:
        if not isinstance(value, int) or value >= 0:
            return value
        tracer().symbols.inside(-value, 0, extent, Loc.of_user())
        return tracer().wrap(tracer().graph.index("sub", unwrap(tracer().dim(extent)), -value))

    start, stop = bound(_subscript(part.start)), bound(_subscript(part.stop))
    return slice(start, stop, part.step)


def cut(found: Strided, parts: list[Any]) -> tuple[Strided, list[Any]]:
    """Slices that give tensors, not tiles, applied: those that end at an extent of the program, as ``x[:, :length]``,
    and those of constant bounds beside an axis that is whole and of no constant extent.
    """
    wide = any(p == slice(None) and isinstance(n, str) for p, n in zip(parts, found.dims, strict=True))
    for axis, part in enumerate(parts):
        if part == slice(None) or part.step not in (None, 1):
            continue
        ends = not isinstance(part.start, Index) and isinstance(part.stop, Index)
        if ends and not part.start and tracer().extent(part.stop) is not None:
            found, parts[axis] = narrowed(found, axis, 0, part.stop), slice(None)
        elif wide and (length := _constant_length(found, axis, part)) is not None:
            found, parts[axis] = narrowed(found, axis, _start(part), length), slice(None)
    return found, parts


def _constant_length(found: Strided, axis: int, part: slice) -> int | None:
    """The length of a slice whose bounds are constants, or the end of the axis less one."""
    extent = found.dims[axis]
    size = tracer().dim(extent)
    start, stop = _start(part), size if part.stop is None else part.stop
    if not all(isinstance(b, int) or _is_from_end(b, size) for b in (start, stop)):
        return None
    length = tracer().wrap(tracer().graph.index("sub", unwrap(stop), unwrap(start)))
    return length if isinstance(length, int) else None


def _start(part: slice) -> Any:
    return 0 if part.start is None else part.start


def _is_from_end(bound: Any, size: Any) -> bool:
    """Is a bound an extent, or an extent less a constant?"""
    if not (isinstance(bound, Index) and isinstance(size, Index)):
        return False
    node, graph = bound.val.node, bound.val.graph
    return bound.val == size.val or (node.op.name == "sub" and Val(graph, node.inputs[0]) == size.val)


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


def is_contiguous(tensor: Tensor) -> bool:
    """Do the elements of a tensor lie one after the other?"""
    steps = list(map(unwrap, contiguous(tensor.shape)))
    return all(unwrap(a) == b for a, b, n in zip(layout(tensor).strides, steps, tensor.dims, strict=True)
               if tracer().symbols.resolve(n) != 1)


def reshaped(tensor: Tensor, dims: Sequence[Any]) -> Any:
    """The elements of a contiguous tensor in other extents.

    Raises:
        ShapeError: the numbers of elements differ, or the elements do not lie one after the other.
    """
    found = layout(tensor)
    found = replace(found, dims=tuple(map(tracer().symbols.resolve, found.dims)))
    if not is_contiguous(tensor):
        raise ShapeError("the elements of this view do not lie one after the other",
                         hint="assign it to a tensor first: y = pt.empty(x.shape); y[:] = x")
    said = "an extent of a view is a positive constant, an extent of an argument, or (one of them) -1"
    want = _extents(dims, said)
    if want.count(-1) > 1:
        raise ShapeError(said)
    have, asked = Counter(d for d in found.dims if isinstance(d, str)), Counter(d for d in want if isinstance(d, str))
    total = math.prod(d for d in found.dims if isinstance(d, int))
    given = math.prod(d for d in want if isinstance(d, int) and d != -1)
    missing = have - asked
    if -1 in want:
        left = total // given if total % given == 0 else 0
        one = next(iter(missing), left) if left == 1 or not missing else 0
        want[want.index(-1)] = one if missing.total() <= 1 else 0
        asked, given = Counter(d for d in want if isinstance(d, str)), given * left
        missing = have - asked
    wrong = f"{shown(tensor.dims)} elements cannot be seen as {' x '.join(map(str, dims))}"
    hint = ("the extents have the same product; where one is made of several, they are numbers: "
            "annotate them, x: pt.f32[3, 4]")
    if missing.total() == 1 and not asked - have and given % total == 0 and 0 not in want:
        # the numbers say what this extent is
        tracer().symbols.equal(next(iter(missing)), given // total, wrong, hint)
    elif asked != have or given != total or 0 in want:
        raise ShapeError(wrong, hint=hint)
    shape = [tracer().dim(d) for d in want]
    return found.made(want, contiguous(shape), found.offset)


def _extents(dims: Sequence[Any], complaint: str) -> list[int | str]:
    """Extents that the author wants; -1 stays.

    Raises:
        ShapeError: one is none.
    """
    found: list[int | str] = []
    for dim in dims:
        extent = -1 if isinstance(dim, int) and dim == -1 else tracer().extent(dim)
        if extent is None:
            raise ShapeError(complaint)
        found.append(tracer().symbols.resolve(extent))
    return found


def expanded(tensor: Tensor, dims: Sequence[Any]) -> Any:
    """A tensor whose axes of extent 1, and new ones before them, have other extents, without a copy.

    Raises:
        ShapeError: an extent is none, or an axis of another extent than 1 would change.
    """
    found, new = layout(tensor), len(dims) - tensor.ndim
    said = "expand takes an extent for each axis: a positive constant, an argument's extent or -1"
    asked = _extents(dims, said)
    if new < 0:
        raise ShapeError(said)
    have = [*[1] * new, *found.dims]
    want = [n if d == -1 else d for n, d in zip(have, asked, strict=True)]
    strides: list[Any] = [*[0] * new, *found.strides]
    symbols = tracer().symbols
    for axis, (a, b) in enumerate(zip(have, want, strict=True)):
        if symbols.is_one(b) or not symbols.is_one(a):
            symbols.equal(a, b, f"an axis of extent {symbols.show(a)} cannot be expanded to {symbols.show(b)}",
                          "only axes of extent 1 are repeated")
        else:
            symbols.pin(a)
            strides[axis] = 0
    return found.made(want, strides, found.offset)


def span(size: Any, part: Any) -> tuple[Any, Any, int]:
    """(start, valid extent, capacity) of one axis of a window."""
    graph = tracer().graph
    if part.step not in (None, 1):
        raise UnsupportedError("a window has no step", hint="load the whole window; or step outside of the kernel, and "
                                                            "pass x[::step] as an argument")
    start = 0 if part.start is None else part.start
    stop = size if part.stop is None else part.stop
    extent = tracer().wrap(graph.index("sub", unwrap(stop), unwrap(start)))
    if not isinstance(extent, int):
        raise ShapeError("a tile's extent must be a constant",
                         hint="write each axis of the window as `i:i + n`, where n is a number or an option of "
                              "@pt.tile_kernel")
    if extent < 1:
        raise ShapeError(f"a tile of extent {extent} is empty")
    left = graph.index("sub", unwrap(size), unwrap(start))
    return start, tracer().wrap(graph.index("min", extent, left)), extent


def shown(dims: Sequence[int | str]) -> str:
    """Extents as they are in this call."""
    return " x ".join(map(tracer().symbols.show, dims)) or "a scalar"
