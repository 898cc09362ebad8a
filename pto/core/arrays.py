"""NumPy's twins of the element types."""

from __future__ import annotations

from functools import cache
from typing import Any

import ml_dtypes  # noqa: F401  # registers bfloat16 with NumPy
import numpy as np

from pto.core.dtypes import DType


@cache
def numpy_dtype(dtype: DType) -> np.dtype[Any]:
    """NumPy's twin of an element type."""
    return np.dtype(dtype.numpy)
