"""Tensors in other extents that are written in the language: padding, repeating, choosing by position, triangles."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from pto.core.dtypes import F32, S32, DType
from pto.core.errors import CaptureError, Loc, ShapeError, UnsupportedError, located
from pto.ir.ops import TENSOR_OPS
from pto.lang import language as pt
from pto.lang import stores, values
from pto.lang.language import full_tensor, pinned
from pto.lang.selection import where
from pto.lang.trace import tracer
from pto.lang.views import is_contiguous

Pairs = list[tuple[int, int]]
MOST_SLICES = 8  # that are stored one by one


def _tensor(x: Any, name: str) -> Any:
    """An operand that must be a whole tensor.

    Raises:
        CaptureError: it is something else.
    """
    x = values.lifted(x)
    if not isinstance(x, values.Tensor):
        raise CaptureError(f"pt.{name} takes a whole tensor, not a {type(x).__name__.lower()}", loc=Loc.of_user(),
                           hint="apply it to the tensor, before windows of it are taken")
    return x


def _axis(x: Any, axis: int) -> int:
    if not -x.ndim <= axis < x.ndim:
        raise ShapeError(f"there is no axis {axis} of {x.ndim}", loc=Loc.of_user())
    return axis % int(x.ndim)


def pad(x: Any, pad: Any, mode: str = "constant", value: float = 0.0) -> Any:
    """A tensor with more elements before and after those of its axes; the program is for the extents of these axes.

    Args:
        pad: as in PyTorch (before and after the last axis, then the one before it, ...), or as in NumPy: a pair for
            each axis, or one number.
        mode: "constant".
        value: of the new elements.

    Raises:
        ShapeError: there are more pairs than axes, or an amount is negative.
    """
    x = _tensor(x, "pad")
    if mode != "constant":
        raise UnsupportedError(f"padding by {mode!r} is not built", loc=Loc.of_user(), hint='use mode="constant"')
    with located(Loc.of_user()):
        pairs = _pairs(x, pad)
    extents = [n if before == after == 0 else pinned(x, axis) for axis, (n, (before, after)) in
               enumerate(zip(x.shape, pairs, strict=True))]
    room = pt.empty(tuple(n if b == a == 0 else n + b + a for n, (b, a) in zip(extents, pairs, strict=True)), x.dtype)
    inside = [slice(None) if b == a == 0 else slice(b, b + n) for n, (b, a) in zip(extents, pairs, strict=True)]
    for axis, (before, after) in enumerate(pairs):
        for start, count in ((0, before), (before + extents[axis], after)):
            if count:
                part = [*inside[:axis], slice(start, start + count), *[slice(None)] * (x.ndim - axis - 1)]
                shape = [*x.shape[:axis], count, *room.shape[axis + 1:]]
                room = stores.assign(room, tuple(part), full_tensor(shape, value, x.dtype))
    return stores.assign(room, tuple(inside), x)


def _pairs(x: Any, amounts: Any) -> Pairs:
    """Elements before and after each axis."""
    if isinstance(amounts, int):
        found = [(amounts, amounts)] * x.ndim
    elif amounts and not isinstance(amounts[0], int):
        found = [(int(before), int(after)) for before, after in amounts]
    else:
        flat = list(amounts)
        found = [(before, after) for before, after in zip(flat[::2], flat[1::2], strict=True)][::-1]
        found = [(0, 0)] * (x.ndim - len(found)) + found
    if len(found) != x.ndim or any(n < 0 for pair in found for n in pair):
        raise ShapeError(f"pad={amounts!r} is no padding of {x.ndim} axes",
                         hint="two numbers for each axis, from the last one on: (left, right, top, bottom)")
    return found


def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """Several axes as one, without a copy where the elements lie one after the other; the program is for their
    extents.
    """
    x = _tensor(x, "flatten")
    first, last = _axis(x, start_dim), _axis(x, end_dim)
    count = math.prod(pinned(x, axis) for axis in range(first, last + 1))
    return x.contiguous().view(*x.shape[:first], count, *x.shape[last + 1:])


def repeat_interleave(x: Any, repeats: int, dim: int = 0) -> Any:
    """Each element of an axis so many times, one after the other; as `numpy.repeat`."""
    x = _tensor(x, "repeat_interleave")
    axis = _axis(x, dim)
    return _again(x, axis, axis + 1, repeats)


def tile(x: Any, *counts: int) -> Any:
    """A tensor so many times along each axis, or along the last ones; `x.repeat(...)` in PyTorch."""
    x = _tensor(x, "tile")
    times = [*counts[0]] if len(counts) == 1 and not isinstance(counts[0], int) else [*counts]
    times = [1] * (x.ndim - len(times)) + times
    while x.ndim < len(times):
        x = x.unsqueeze(0)
    if 1 < math.prod(times) <= MOST_SLICES and min(times) > 0:
        more = {axis: n for axis, n in enumerate(times) if n != 1}
        sizes = [more[axis] * pinned(x, axis) if axis in more else x.shape[axis] for axis in range(x.ndim)]
        return _in_places(x, more).view(*sizes)
    for axis, count in reversed(list(enumerate(times))):  # the longest rows are copied most
        x = x if count == 1 else _again(x, axis, axis, count)
    return x


def _in_places(x: Any, counts: Mapping[int, int]) -> Any:
    """A tensor with an axis more before each of some axes, or behind the last, stored to each of their few places."""
    dims: list[Any] = []
    choices: list[Sequence[Any]] = []
    for axis in range(x.ndim + 1):
        if axis in counts:
            dims.append(counts[axis])
            choices.append(range(counts[axis]))
        if axis < x.ndim:
            dims.append(x.shape[axis])
            choices.append([slice(None)])
    many = pt.empty(tuple(dims), x.dtype)
    for at in itertools.product(*choices):
        many = stores.assign(many, at, x)
    return many


def _again(x: Any, axis: int, new: int, count: int) -> Any:
    """A tensor with an axis more, all of whose so many slices are the tensor, and which then becomes one with `axis`.

    A few slices are stored one by one, for the rows of the tensor are longer than those of the new axis and it.
    """
    total = pinned(x, axis) * count
    if 1 <= count <= MOST_SLICES:
        many = _in_places(x, {new: count})
    else:
        many = x.unsqueeze(new).expand(*[-1] * new, count, *[-1] * (x.ndim - new)).contiguous()
    return many.view(*x.shape[:axis], total, *x.shape[axis + 1:])


def roll(x: Any, shift: int, dim: int = -1) -> Any:
    """The elements of an axis moved on by `shift`, those that fall off at its start."""
    x = _tensor(x, "roll")
    axis = _axis(x, dim)
    extent = pinned(x, axis)
    cut = -shift % extent
    if not cut:
        return x
    return pt.concat((x.narrow(axis, cut, extent - cut), x.narrow(axis, 0, cut)), axis)


def flip(x: Any, dim: int = -1) -> Any:
    """The elements of an axis from the last one to the first."""
    x = _tensor(x, "flip")
    axis = _axis(x, dim)
    order = pt.arange(pinned(x, axis) - 1, -1, -1)
    return _rows_selected(x, axis, order) if _has_rows(x, axis) else index_select(x, axis, order)


def gather(x: Any, dim: int, index: Any) -> Any:
    """The elements of an axis at the positions that integers (int32) name: out[i, j] = x[i, index[i, j]] for the last
    axis of two. The other extents are equal; a position outside of the axis is an error when the kernel runs.
    """
    x, index = _tensor(x, "gather"), _tensor(index, "gather")
    with located(Loc.of_user()):
        axis = _axis(x, dim)
        if index.ndim != x.ndim:
            raise ShapeError(f"the index has {index.ndim} axes, the tensor {x.ndim}")
        for other in (a for a in range(x.ndim) if a != axis):
            tracer().symbols.equal(x.dims[other], index.dims[other], f"axis {other} of the tensor and the index differ")
        last = axis == x.ndim - 1
        source, ids = (v if last else v.transpose(axis, -1) for v in (x, values.cast(index, S32)))
        found = tracer().emit(TENSOR_OPS["take"], source, ids)
        return found if last else found.transpose(axis, -1)


def index_select(x: Any, dim: int, index: Any) -> Any:
    """The slices of an axis that integers [n] (int32) name."""
    x, index = _tensor(x, "index_select"), _tensor(index, "index_select")
    axis = _axis(x, dim)
    if axis == 0 and x.ndim == 2 and not tracer().symbols.is_one(x.dims[1]):
        return pt.embedding(index, x)
    if x.ndim == 1:
        return gather(x, 0, index)
    if axis == 0 and _has_rows(x, axis):
        return _rows_selected(x, axis, index)
    ids = index
    for at in range(x.ndim):
        ids = ids if at == axis else ids.unsqueeze(at)
    return gather(x, axis, ids.expand(*[-1 if a == axis else n for a, n in enumerate(x.shape)]))


def _has_rows(x: Any, axis: int) -> bool:
    """Is a tensor of three axes or more, in this call, a table whose rows are the slices of an axis?"""
    sizes = [tracer().symbols.value(extent) for extent in x.dims]
    return x.ndim > 2 and None not in sizes and any(n != 1 for n in sizes[axis + 1:]) and is_contiguous(x)


def _rows_selected(x: Any, axis: int, index: Any) -> Any:
    """Slices of an axis that integers inside it name, as rows of a table; the program is then for these extents."""
    sizes = [pinned(x, at) for at in range(x.ndim)]
    lead, count, width = math.prod(sizes[:axis]), sizes[axis], math.prod(sizes[axis + 1:])
    ids = (pt.arange(lead) * count).unsqueeze(1) + index.unsqueeze(0)
    found = pt.embedding(ids.flatten(), x.view(lead * count, width))  # a matrix, which can be made in its place
    return found.view(*sizes[:axis], *index.shape, *sizes[axis + 1:])


def one_hot(ids: Any, count: int, dtype: DType = S32) -> Any:
    """1 at the position that each integer names, else 0: one axis more, of `count`."""
    return values.cast(_tensor(ids, "one_hot").unsqueeze(-1) == pt.arange(count), dtype)


def _below(x: Any, diagonal: int) -> Any:
    """Is an element of a matrix on a diagonal, or below it?"""
    if x.ndim < 2:
        raise ShapeError("a triangle is of a tensor of two axes or more", loc=Loc.of_user())
    rows, columns = x.shape[-2:]
    return pt.arange(columns).unsqueeze(0) <= pt.arange(rows).unsqueeze(1) + diagonal


def tril(x: Any, diagonal: int = 0) -> Any:
    """The last two axes with 0 above a diagonal."""
    x = _tensor(x, "tril")
    return where(_below(x, diagonal), x, 0)


def triu(x: Any, diagonal: int = 0) -> Any:
    """The last two axes with 0 below a diagonal."""
    x = _tensor(x, "triu")
    return where(_below(x, diagonal - 1), 0, x)


def eye(n: Any, dtype: DType = F32) -> Any:
    """Ones on the diagonal of n x n, else zeros."""
    return values.cast(pt.arange(n).unsqueeze(1) == pt.arange(n).unsqueeze(0), dtype)


def linspace(start: float, stop: float, count: int) -> Any:
    """`count` numbers (float32) from start to stop, evenly spaced."""
    step = (stop - start) / max(count - 1, 1)
    return pt.arange(count, dtype=F32) * step + start


def chunk(x: Any, chunks: int, dim: int = 0) -> tuple[Any, ...]:
    """An axis in so many pieces of equal length, the last of what is left; without a copy."""
    x = _tensor(x, "chunk")
    return pt.split(x, -(-pinned(x, _axis(x, dim)) // chunks), dim)


def outer(a: Any, b: Any) -> Any:
    """Every product of an element of one axis with one of another."""
    return _tensor(a, "outer").unsqueeze(1) * _tensor(b, "outer").unsqueeze(0)
