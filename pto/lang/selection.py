"""Choosing element by element: what an author calls as `pt.where`, `pt.masked_fill`, `pt.clamp`."""

from __future__ import annotations

from typing import Any

from pto.core.dtypes import F32, PRED, S32
from pto.core.errors import CaptureError, DTypeError, Loc, located
from pto.ir.ops import TENSOR_OPS, TILE_OPS
from pto.lang import values
from pto.lang.trace import tracer


def where(condition: Any, a: Any, b: Any) -> Any:
    """a where the condition is true, else b, element by element; a and b may be numbers.

    Raises:
        DTypeError: the condition is no predicate.
    """
    with located(Loc.of_user()):
        condition, a, b = (values.lifted(x) for x in (condition, a, b))
        if not isinstance(condition, values.Array) or condition.dtype != PRED:
            raise DTypeError("a condition is a tensor or tile of predicates", hint="compare first: x > 0")
        if isinstance(a, values.Array) and isinstance(b, values.Array):
            dtype = tracer().numeric.met(a.dtype, b.dtype)
            return _select(condition, values.cast(a, dtype), values.cast(b, dtype))
        if isinstance(b, values.Array):
            return _select(~condition, b, a)
        if not isinstance(a, values.Array):
            whole = all(isinstance(x, int) for x in (a, b))
            a = values.filled(condition, _number(a), S32 if whole else F32)
        return _select(condition, a, b)


def _number(value: Any) -> Any:
    if not isinstance(value, values.Number):
        raise CaptureError(f"pt.where chooses from tensors, tiles and numbers, not from {type(value).__name__}")
    return value


def _select(mask: values.Array, a: values.Array, b: Any) -> Any:
    ops = TENSOR_OPS if isinstance(mask, values.Tensor) else TILE_OPS
    if not isinstance(b, values.Array):
        values.agree(mask, a)
        return tracer().emit(ops["selects"], mask, a, scalar=values.number(_number(b), a.dtype))
    values.agree(mask, a, b)
    return tracer().emit(ops["select"], mask, a, b)


def masked_fill(x: Any, mask: Any, value: Any) -> Any:
    """x, but a number where the mask is true; the type is that of x."""
    return where(mask, value, x)


def clamp(x: Any, min: Any = None, max: Any = None) -> Any:
    """x, but at least `min` and at most `max`, where these are given: numbers, or tensors as x is."""
    x = values.lifted(x)
    x = x if min is None else values.binary("maximum", x, min)
    return x if max is None else values.binary("minimum", x, max)


clip = clamp
