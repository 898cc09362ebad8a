"""Stores: ``C[i:i + m, j:j + n] = tile`` and ``C[...] = tensor`` give the next version of C."""

from __future__ import annotations

from typing import Any

from pto.core.errors import CaptureError, DTypeError, Loc, ShapeError, located
from pto.core.types import TensorType
from pto.ir.ops import TENSOR_OPS, TILE_OPS
from pto.lang.integers import unwrap
from pto.lang.regions import agree_valid, outside, valid
from pto.lang.trace import tracer
from pto.lang.values import Tensor, Tile, lifted
from pto.lang.views import piece, select, shown


def setitem(target: Any, where: Any, value: Any) -> Any:
    """``C[i:i + m, j:j + n] = tile`` and ``C[:] = tensor``: the next version of C."""
    if not isinstance(target, Tensor):
        target[where] = value
        return target
    loc = Loc.of_user()
    with located(loc):
        value = lifted(value)
        if not isinstance(value, Tile | Tensor):
            raise CaptureError("only tensors and tiles can be stored")
        if outside(target.val) in tracer().lifted.values():
            raise CaptureError("an array from outside of the kernel is not stored to",
                               hint="make it an argument of the kernel: those may be changed")
        if target.val.node.op is TENSOR_OPS["view"]:
            raise CaptureError("store through the argument itself, not through a view of it",
                               hint="write out[b, i:i + m, j:j + n] = tile")
        if isinstance(value, Tensor):
            return assign(target, where, value)
        selected, rest = select(target, where)
        operands, extent = selected.window(rest)
        if value.shape != extent:
            raise ShapeError(f"a tile of {value.shape[0]} x {value.shape[1]} cannot be stored to a window of "
                             f"{extent[0]} x {extent[1]}",
                             hint=f"store to a window of {value.shape[0]} x {value.shape[1]}")
        if value.dtype != target.dtype:
            raise DTypeError(f"a tile of {value.dtype} cannot be stored to a tensor of {target.dtype}",
                             hint=f"store value.to(pt.{target.dtype.public})")
        for mine, its in zip(operands[2:4], valid(value.val), strict=True):
            agree_valid(unwrap(mine), its, "the tensor that is stored to has another extent than the tile's")
        return tracer().emit(TILE_OPS["store"], target, value, *operands)


def assign(target: Tensor, where: Any, value: Tensor) -> Any:
    """``C[...] = tensor``, of the whole or of a part that subscripts select."""
    selected, rest = select(target, where)
    for axis, part in enumerate(rest):
        if part != slice(None):
            selected = piece(selected, axis, part)
    written = "the tensor that is written" if selected.plain is not None else "the part that is written"
    said = f"extents differ: {written} is {shown(selected.dims)}, the value is {shown(value.dims)}"
    if len(selected.dims) != value.ndim:
        raise ShapeError(said, hint="give both as many axes")
    tracer().symbols.unify(selected.dims, value.dims, said, broadcast=False)
    if value.dtype != target.dtype:
        raise DTypeError(f"a tensor of {value.dtype} cannot be stored to a tensor of {target.dtype}",
                         hint=f"store value.to(pt.{target.dtype.public})")
    view = () if selected.plain is not None else (selected.offset, *selected.strides)
    return tracer().emit(TENSOR_OPS["assign"], target, value, *view)


def kept(x: Any) -> Any:
    """A tensor, computed once and kept in memory; a tile as it is."""
    if not isinstance(x, Tensor):
        return x
    return tracer().emit(TENSOR_OPS["assign"], tracer().room(TensorType(x.dtype, x.dims), "kept"), x)
