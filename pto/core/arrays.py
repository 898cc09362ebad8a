"""NumPy's twins of the element types, and arrays of them for weights."""

from __future__ import annotations

import mmap
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
    """An array without values for what is read over and over, in large pages where it fills at least one.

    NumPy asks for such from 4 MiB on; smaller matrices in small pages stream at two thirds of the speed.
    """
    nbytes = prod(shape) * np.dtype(dtype).itemsize
    if nbytes < HUGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.empty(shape, dtype)
    block = mmap.mmap(-1, -(-nbytes // HUGE) * HUGE + HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a system without them
        block.madvise(mmap.MADV_HUGEPAGE)
    found = np.frombuffer(block, np.uint8)
    start = -found.ctypes.data % HUGE
    return found[start:start + nbytes].view(dtype).reshape(shape)
