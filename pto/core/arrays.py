"""NumPy's twins of the element types, arrays of them for weights, and arrays that were seen before."""

from __future__ import annotations

import ctypes
import mmap
import weakref
from contextlib import suppress
from functools import cache
from math import prod
from typing import Any

import ml_dtypes  # noqa: F401  # registers bfloat16 with NumPy
import numpy as np
from numpy.typing import DTypeLike, NDArray

from pto.core.dtypes import DType

HUGE = 2**21  # bytes of a large page


@cache
def numpy_dtype(dtype: DType) -> np.dtype[Any]:
    """NumPy's twin of an element type."""
    return np.dtype(dtype.numpy)


def room(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array of zeros for what is read over and over, in large pages where it fills at least one.

    NumPy asks for such from 4 MiB on; smaller matrices in small pages stream at two thirds of the speed.
    """
    nbytes = prod(shape) * np.dtype(dtype).itemsize
    if nbytes < HUGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.zeros(shape, dtype)
    block = mmap.mmap(-1, -(-nbytes // HUGE) * HUGE + HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a system without them
        block.madvise(mmap.MADV_HUGEPAGE)
    found = np.frombuffer(block, np.uint8)
    start = -found.ctypes.data % HUGE
    return found[start:start + nbytes].view(dtype).reshape(shape)


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
