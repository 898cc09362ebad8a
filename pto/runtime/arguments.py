"""Arrays of the caller as arguments: without a copy wherever the machine has the element type."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pto.core.dtypes import BY_NUMPY, DType
from pto.core.errors import DTypeError, Loc, UsageError

# What the machine lacks becomes the nearest type it has; values beyond its range are refused.
SUBSTITUTES = {"float64": "float32", "int64": "int32"}
_NOTED: dict[Any, Any] = {}  # what the warnings module remembers of our notes


def as_array(value: Any, name: str, loc: Loc | None = None) -> NDArray[Any]:
    """A NumPy array of an element type that the machine has.

    Anything with a buffer, ``__array_interface__`` or ``__dlpack__`` comes in without a copy.

    Raises:
        UsageError: it is no array.
        DTypeError: the machine has no such elements, or not these values.
    """
    array = convert(value, name, loc)
    if not array.dtype.isnative:
        raise DTypeError(f"{name} has elements of another byte order, {array.dtype.str}", loc=loc,
                         hint=f"pass {name}.astype(numpy.{array.dtype.name})")
    if array.dtype.name in BY_NUMPY:
        return array
    substitute = SUBSTITUTES.get(array.dtype.name)
    if substitute is None:
        raise DTypeError(f"{name} has elements of {array.dtype}, which the machine does not have", loc=loc,
                         hint=f"it has {', '.join(BY_NUMPY)}: pass {name}.astype(numpy.float32)")
    loc = loc or Loc.of_user()
    warnings.warn_explicit(f"{name} is {array.dtype}: the kernel gets a copy in {substitute}", UserWarning, loc.file,
                           loc.line, registry=_NOTED)
    with np.errstate(over="ignore"):
        found = array.astype(substitute)
    if np.isinf(found).sum() > np.isinf(array).sum() if array.dtype.kind == "f" else (found != array).any():
        raise DTypeError(f"{name} has values that {substitute} cannot hold", loc=loc,
                         hint=f"the machine has no {array.dtype}: scale {name} first")
    return found


def convert(value: Any, name: str, loc: Loc | None = None) -> NDArray[Any]:
    """An array of the same memory, where the value is anything that has any.

    Raises:
        UsageError: it is no array.
    """
    if isinstance(value, np.ma.MaskedArray):
        raise UsageError(f"{name} is a masked array, and its mask would be lost", loc=loc,
                         hint=f"pass {name}.filled(value), or {name}.data and the mask as an argument of its own")
    if isinstance(value, np.ndarray):
        return value
    if hasattr(value, "__dlpack__") and not hasattr(value, "__array_interface__"):
        return np.from_dlpack(value)
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        array = None
    if array is None or array.dtype == object or isinstance(value, str | bytes):
        raise UsageError(f"{name} is a {type(value).__name__}, not an array", loc=loc,
                         hint="pass a NumPy array, or anything that shares its memory")
    return array


def dtype_of(array: NDArray[Any]) -> DType:
    """The element type of an array that `as_array` let through."""
    return BY_NUMPY[array.dtype.name]


def contiguous(array: NDArray[Any]) -> bool:
    """Can the machine read an array where it lies: last axis contiguous, rows at one stride?"""
    if array.flags.c_contiguous:
        return True
    return array.ndim == 2 and (array.shape[1] <= 1 or array.strides[1] == array.itemsize) and array.strides[0] > 0


def require_writable(value: Any, name: str, kernel: str) -> None:
    """Can a kernel store to what was given for an argument?

    Raises:
        UsageError: it is read-only, no array, or has elements that share memory with each other.
    """
    view = convert(value, name)
    if not isinstance(value, np.ndarray) and not np.may_share_memory(view, convert(value, name)):  # made anew each time
        raise UsageError(f"{kernel} stores to {name}, which is a {type(value).__name__}",
                         hint="pass an array to store to, as numpy.asarray(...) makes one")
    if not view.flags.writeable:
        raise UsageError(f"{kernel} stores to {name}, which is read-only", hint="pass a copy, and use that")
    if not view.flags.c_contiguous and overlaps_itself(view):
        raise UsageError(f"{kernel} stores to {name}, whose elements share memory with each other",
                         hint=f"pass {name}.copy()")


def overlaps_itself(array: NDArray[Any]) -> bool:
    """May two elements of a view be one and the same? Exact for views made by slicing, transposing, broadcasting."""
    span = array.itemsize
    for stride, extent in sorted((abs(s), n) for s, n in zip(array.strides, array.shape, strict=True) if n > 1):
        if stride < span:
            return True
        span += stride * (extent - 1)
    return False
