"""NumPy's twins of the element types, and arrays that were seen before."""

from __future__ import annotations

import ctypes
import weakref
from functools import cache
from typing import Any

import ml_dtypes  # noqa: F401  # registers bfloat16 with NumPy
import numpy as np
from numpy.typing import NDArray

from pto.core.dtypes import DType


@cache
def numpy_dtype(dtype: DType) -> np.dtype[Any]:
    """NumPy's twin of an element type."""
    return np.dtype(dtype.numpy)


class Seen:
    """An array as it was: what is asked of one at each launch is known of one that still is the same.

    Everybody may change what an array says of itself, and give it other memory (`__setstate__`): its address is looked
    at where NumPy keeps it. The array is not kept alive.
    """

    __slots__ = ("_about", "_array", "_dtype", "_pointer", "address")

    def __init__(self, array: NDArray[Any]) -> None:
        self._array, self._about, self._dtype = weakref.ref(array), (array.shape, array.strides), array.dtype
        self._pointer = ctypes.c_void_p.from_address(id(array) + object.__basicsize__)
        self.address = self._pointer.value

    def still(self, array: Any) -> bool:
        """Is it this array, and as it was?"""
        mine = self._array()
        return (mine is not None and mine is array and self._pointer.value == self.address
                and (mine.shape, mine.strides) == self._about and mine.dtype == self._dtype)
