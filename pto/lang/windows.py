"""Triton's names for windows of tensors: `pt.load` and `pt.store` at offsets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pto.core.errors import CaptureError, Loc, ShapeError, located
from pto.lang import stores, values


def _window(tensor: Any, offsets: Any, shape: Any) -> tuple[slice, ...]:
    """The slices of a window.

    Raises:
        CaptureError: this is no tensor.
        ShapeError: there are not as many offsets and extents as axes.
    """
    if not isinstance(tensor, values.Tensor):
        raise CaptureError(f"a window is of a tensor of the kernel, not of a {type(tensor).__name__.lower()}")
    starts, sizes = (tuple(v) if isinstance(v, Sequence) else (v,) for v in (offsets, shape))
    if len(starts) != tensor.ndim or len(sizes) != tensor.ndim:
        raise ShapeError(f"a window of a tensor of {tensor.ndim} axes has as many offsets and extents, not "
                         f"{len(starts)} and {len(sizes)}", hint="write pt.load(x, (i, j), (16, 32))")
    return tuple(slice(start, start + size) for start, size in zip(starts, sizes, strict=True))


def load(tensor: Any, offsets: Any, shape: Any) -> Any:
    """The tile of these extents at these offsets: ``x[i:i + m, j:j + n]``. No mask is needed: at the edge of the tensor
    only what is there is loaded.

    Args:
        offsets: an integer, or one for each axis.
        shape: a constant, or one for each axis.
    """
    with located(Loc.of_user()):
        tensor = values.lifted(tensor)
        return tensor[_window(tensor, offsets, shape)]


def store(tensor: Any, offsets: Any, tile: Any) -> Any:
    """Store a tile at these offsets: ``x[i:i + m, j:j + n] = tile``; a statement with the tensor's name first. No mask
    is needed: at the edge of the tensor only what is there is stored. Gives the next version of the tensor.
    """
    with located(Loc.of_user()):
        shape = getattr(tile, "shape", ())
        sizes = shape[-tensor.ndim:] if isinstance(tensor, values.Tensor) else shape
        return stores.setitem(tensor, _window(tensor, offsets, sizes), tile)


def stored(function: Callable[..., Any], target: Any, *rest: Any, **named: Any) -> Any:
    """A statement that calls something named `store`: the next version of its first argument."""
    found = function(target, *rest, **named)
    return found if function is store else target
