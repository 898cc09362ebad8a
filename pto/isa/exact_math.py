"""The exponential of exact mode: one fixed sequence of float64 operations, which both machines perform.

For an f32 argument x, widened exactly to float64:

1. NaN gives the canonical NaN; x > `EXP_HIGHEST` gives +inf; x < `EXP_LOWEST` gives +0.
2. n = x * `LOG2_E` rounded to the nearest integer, ties to even, by adding and taking away `ROUNDER`.
3. r = (x - n * `LN2_HIGH`) - n * `LN2_LOW`; n * `LN2_HIGH` is exact, |r| <= 0.3466.
4. p = the polynomial with `EXP_COEFFICIENTS` (highest degree first) at r, by Horner's rule.
5. p * 2**n, which is exact, is rounded once to f32 (subnormals kept, overflow to +inf).

Every multiplication and addition of steps 2 to 4 rounds to float64 on its own: no contraction.
The value before the last rounding is within 2**-45 of the true one, relatively.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray

    Number = TypeVar("Number", float, NDArray[float64])

EXP_HIGHEST, EXP_LOWEST = 89.0, -104.0
LOG2_E = 1.4426950408889634
ROUNDER = 1.5 * 2.0**52
LN2_HIGH = float.fromhex("0x1.62e42fee00000p-1")
LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
EXP_DEGREE = 11
EXP_COEFFICIENTS = tuple(1.0 / math.factorial(k) for k in range(EXP_DEGREE, -1, -1))
F32_OVERFLOW = float.fromhex("0x1.ffffffp+127")  # rounds to 2**128


def exp_steps(x: Number) -> tuple[Number, Number]:
    """Steps 2 to 4: the integer n, as a float64, and p, for x from `EXP_LOWEST` to `EXP_HIGHEST`."""
    n = (x * LOG2_E + ROUNDER) - ROUNDER
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    p = r * EXP_COEFFICIENTS[0] + EXP_COEFFICIENTS[1]
    for coefficient in EXP_COEFFICIENTS[2:]:
        p = p * r + coefficient
    return n, p


def round_f32(x: float) -> float:
    """The f32 nearest to x, ties to even; overflow gives infinity."""
    if abs(x) >= F32_OVERFLOW:
        return math.copysign(math.inf, x)
    return float(struct.unpack("<f", struct.pack("<f", x))[0])


def exp_f32(x: float) -> float:
    """The whole algorithm for one f32 argument."""
    if math.isnan(x):
        return math.nan
    if x > EXP_HIGHEST:
        return math.inf
    if x < EXP_LOWEST:
        return 0.0
    n, p = exp_steps(x)
    return round_f32(math.ldexp(p, int(n)))
