"""Four int8 in an int32: packed on loading, and multiplied four at a time."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any

from pto.core.dtypes import S8, S32
from pto.core.errors import CaptureError, DTypeError, Loc, ShapeError, located
from pto.core.types import TileType
from pto.ir.ops import TENSOR_OPS, TILE_OPS
from pto.lang import language as pt
from pto.lang import reductions, values
from pto.lang.trace import tracer
from pto.lang.views import layout

COUNT, BITS, BYTE = 4, 8, 255


def load_int8x4(x: Any, axis: int = -1) -> Any:
    """Four neighbours along an axis as one int32, the first of them in its lowest byte.

    Args:
        x: int8: a tensor, whose extent along the axis is a multiple of four, and the program is then for it; or a tile,
            whose extent is four: ``A[i:i + m, k:k + 4]``, and with axis=0 ``B[k:k + 4, j:j + n]``. What lies beyond
            the edge of the tensor counts as 0.
        axis: which.

    Returns:
        int32, with a fourth of the extent.

    Raises:
        DTypeError: it is not int8.
        ShapeError: the extent is another.
    """
    x = values.lifted(x)
    with located(Loc.of_user()):
        if not isinstance(x, values.Array):
            raise CaptureError(f"load_int8x4 takes a tensor or a tile of the kernel, not {type(x).__name__}")
        if x.dtype != S8:
            raise DTypeError(f"load_int8x4 takes int8, not {x.dtype.title}", hint="x.to(pt.int8)")
        rank = x.ndim if isinstance(x, values.Tensor) else 2
        if not -rank <= axis < rank:
            raise ShapeError(f"there is no axis {axis} of {rank}")
        return (_tensor if isinstance(x, values.Tensor) else _tile)(x, axis % rank)


def _tensor(x: Any, axis: int) -> Any:
    extent = pt.pinned(x, axis)
    if extent % COUNT:
        raise ShapeError(f"an axis of {extent} elements is no multiple of four", hint="pad it with zeros: pt.pad")
    found = layout(x)
    dims = [*x.dims[:axis], extent // COUNT, *x.dims[axis + 1:]]
    strides = [s * (COUNT if n == axis else 1) for n, s in enumerate(found.strides)]
    parts = [found.made(dims, strides, found.offset + found.strides[axis] * n) for n in range(COUNT)]
    return reduce(or_, [(values.cast(part, S32) & BYTE) << BITS * n for n, part in enumerate(parts)])


def _tile(x: Any, axis: int) -> Any:
    if x.shape[axis] != COUNT:
        raise ShapeError(f"a tile of {x.shape[0]} x {x.shape[1]} has not four elements along axis {axis}",
                         hint="load four at a time: A[i:i + m, k:k + 4]; or pack the whole tensor")
    shift = tracer().emit(TILE_OPS["iota"], 0, *((BITS, 0) if axis == 0 else (0, BITS)), type=TileType(S32, *x.shape))
    return reductions.sum((values.cast(x, S32) & BYTE) << shift, axis=axis, keepdims=True)  # of different bits


def dot_int8x4(a: Any, b: Any, acc: Any = None) -> Any:
    """The sum of the products of the four int8 in each element of a and b, exactly; plus acc, where given.

    Args:
        a, b: int32, as `load_int8x4` gives them; extents broadcast: a column [m, 1] and a row [1, n] give [m, n].
        acc: int32.

    Raises:
        DTypeError: one of them is not int32.
    """
    a, b, acc = (values.lifted(x) for x in (a, b, acc))
    given = [x for x in (a, b, acc) if x is not None]
    with located(Loc.of_user()):
        for x in given:
            if not isinstance(x, values.Array) or x.dtype != S32:
                said = x.dtype.title if isinstance(x, values.Array) else type(x).__name__
                raise DTypeError(f"dot_int8x4 takes int32, four int8 each, not {said}", hint="pt.load_int8x4(x)")
        values.agree(*given)
        ops, start = (TENSOR_OPS, (1,)) if isinstance(a, values.Tensor) else (TILE_OPS, (1, 1))
        acc = pt.full(start, 0, S32) if acc is None else acc
        return tracer().emit(ops["dot4"], acc, a, b)
