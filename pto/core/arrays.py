"""NumPy's twins of the element types."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from pto.core.dtypes import BF16, DType


@cache
def numpy_dtype(dtype: DType) -> np.dtype[Any]:
    """NumPy's twin of an element type."""
    if dtype is BF16:
        import_module("ml_dtypes")  # registers it; imported only by who has arrays of it
    return np.dtype(dtype.numpy)
