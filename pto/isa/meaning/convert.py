"""Meaning of conversions: every value is exact in float64; rounding comes before saturation."""

from __future__ import annotations

from typing import Any

import numpy as np

from pto.core.dtypes import BF16, F16, F32
from pto.isa.meaning.operands import Array, Operands

# Significant bits, and exponents of the smallest normal and of the largest number.
FORMATS = {F32.numpy: (24, -126, 127), F16.numpy: (11, -14, 15), BF16.numpy: (8, -126, 127)}


def is_float(dtype: np.dtype[Any]) -> bool:
    """Whether a NumPy type is floating; bfloat16 is no type of NumPy's own."""
    return dtype.name in FORMATS


WORDS = 2.0**32  # of 32 random bits
Mode = str | Array  # how to round: a name, or 32 random bits for each element


def rounded(x: Array, mode: Mode) -> Array:
    """The integer next to x that a rounding mode, or chance, chooses, with the sign of x."""
    whole = np.floor(np.abs(x))
    rest, negative, odd = np.abs(x) - whole, np.signbit(x), whole % 2 == 1
    if not isinstance(mode, str):
        return np.asarray(np.copysign(whole + (mode < rest * WORDS), x))
    half, more, inexact = rest == 0.5, rest > 0.5, rest > 0
    away = {
        "rne": more | half & odd, "rtz": np.zeros_like(negative), "rdn": inexact & negative,
        "rup": inexact & ~negative, "rna": more | half, "rto": inexact & ~odd, "rhb": more | half & ~negative,
    }[mode]
    return np.asarray(np.copysign(whole + away, x))


def to_float(x: Array, dtype: np.dtype[Any], mode: Mode, saturate: bool) -> Array:
    """Numbers in a floating type."""
    digits, smallest, largest = FORMATS[dtype.name]
    _, exponent = np.frexp(x)
    unit = np.ldexp(1.0, np.maximum(exponent - 1, smallest) - digits + 1)
    value = np.where(np.isfinite(x), rounded(x / unit, mode) * unit, x)
    limit = (2.0 - 2.0 ** (1 - digits)) * 2.0**largest
    stays = isinstance(mode, str) and {"rtz": True, "rto": True, "rdn": x > 0, "rup": x < 0}.get(mode, False)
    beyond = (np.abs(value) > limit) & (saturate | np.isfinite(x) & stays)
    value = np.where(beyond, np.copysign(limit, x), value)
    return value.astype(np.float32).astype(dtype)


def to_integer(x: Array, dtype: np.dtype[Any], mode: Mode, saturate: bool) -> Array:
    """Numbers in an integer type."""
    low, high = (float(limit) for limit in (np.iinfo(dtype).min, np.iinfo(dtype).max))
    value = rounded(np.where(np.isfinite(x), x, 0.0), mode)
    if saturate:
        value = np.where(np.isfinite(x), value, np.where(np.isnan(x), 0.0, x))
        return np.asarray(np.clip(value, low, high).astype(dtype))
    invalid = high if low == 0 else low
    good = np.isfinite(x) & (low <= value) & (value <= high)
    return np.where(good, value, invalid).astype(dtype)


def converted(o: Operands) -> Array:
    """The meaning of `tcvt`."""
    if is_float(o.dtype) or is_float(o.a.dtype):
        return _inexact(o, o.round)
    limits = np.iinfo(o.dtype)
    whole = o.a.astype(np.int64)
    return np.asarray((np.clip(whole, limits.min, limits.max) if o.sat == "on" else whole).astype(o.dtype))


def converted_at_random(o: Operands) -> Array:
    """The meaning of `tcvt_sr`."""
    return _inexact(o, np.asarray(o.bits).astype(np.int64) % int(WORDS))


def _inexact(o: Operands, mode: Mode) -> Array:
    return (to_float if is_float(o.dtype) else to_integer)(o.a.astype(np.float64), o.dtype, mode, o.sat == "on")
