"""Functions of elements that are written in the language: powers, logarithms, activations, tests, integer division.

Numbers that come out are those of the formulas in float32; where a formula would lose digits near 0 or 1, the one that
does not is used.
"""

from __future__ import annotations

import math
from typing import Any

from pto.core.dtypes import F32, PRED, S32
from pto.core.errors import Loc, UnsupportedError
from pto.lang import language as pt
from pto.lang import values
from pto.lang.selection import clamp, where

MOST_FACTORS = 64  # of a power that is a product


def square(x: Any) -> Any:
    """x times x, element by element."""
    x = values.lifted(x)
    return x * x


@values.as_a_whole
def power(x: Any, y: Any) -> Any:
    """x to the power y, element by element; one of them may be a number.

    A number that is an integer makes products, 0.5 a root; else it is e to the power y log |x|, with the sign of an odd
    power, and not-a-number where a negative x has no power.
    """
    x, y = values.lifted(x), values.lifted(y)
    if isinstance(y, values.Number):
        return _to_number(x, y)
    if isinstance(x, values.Number):
        if x <= 0:
            raise UnsupportedError("a power of a number that is not above 0", loc=Loc.of_user(),
                                   hint="make the number a tensor: pt.full_like(y, number)")
        return pt.exp(_floating(y) * math.log(x))
    return _real_power(x, y)


def _floating(x: Any) -> Any:
    return values.cast(x, F32) if x.dtype.kind != "f" else x


def _to_number(x: Any, y: Any) -> Any:
    if float(y).is_integer() and abs(y) <= MOST_FACTORS:
        found = _product(x, abs(int(y)))
        return 1.0 / _floating(found) if y < 0 else found
    if y in (0.5, -0.5):
        return (pt.sqrt if y > 0 else pt.rsqrt)(_floating(x))
    return _real_power(_floating(x), y)


def _product(x: Any, count: int) -> Any:
    """x times itself, so many factors, in few products."""
    if count == 0:
        return pt.ones_like(x)
    half = _product(x, count // 2) if count > 1 else None
    if half is None:
        return x
    return half * half * x if count % 2 else half * half


@values.in_f32
def _real_power(x: Any, y: Any) -> Any:
    x = _floating(x)
    size = pt.exp(pt.log(pt.abs(x)) * y)
    if isinstance(y, values.Number):
        whole, odd = float(y).is_integer(), y % 2 == 1
        below = -size if odd else size if whole else pt.full_like(x, math.nan)
        return where(x < 0, below, size)
    half = y * 0.5
    below = where(pt.floor(y) != y, math.nan, where(pt.floor(half) != half, -size, size))
    return where(y == 0, 1.0, where(x < 0, below, size))


pow = power


def exp2(x: Any) -> Any:
    """2 to the power x, element by element."""
    return pt.exp(values.lifted(x) * math.log(2.0))


def log2(x: Any) -> Any:
    """Logarithm to base 2, element by element."""
    return pt.log(x) * (1.0 / math.log(2.0))


def log10(x: Any) -> Any:
    """Logarithm to base 10, element by element."""
    return pt.log(x) * (1.0 / math.log(10.0))


@values.in_f32
def log1p(x: Any) -> Any:
    """The logarithm of 1 + x, element by element, also for small x (Kahan's form)."""
    u = 1.0 + x
    return where(u == 1, x, where(u == math.inf, u, pt.log(u) * (x / (u - 1.0))))


@values.in_f32
def expm1(x: Any) -> Any:
    """e to the power x, less 1, element by element, also for small x (Kahan's form)."""
    u = pt.exp(x)
    less = u - 1.0
    near = where(u == 1, x, less * (x / pt.log(u)))
    return where(pt.abs(x) > 1.0, less, near)


@values.in_f32
def tan(x: Any) -> Any:
    """Tangent, element by element."""
    return pt.sin(x) / pt.cos(x)


@values.in_f32
def sinh(x: Any) -> Any:
    """Hyperbolic sine, element by element."""
    less = expm1(pt.abs(x))
    size = 0.5 * where(less == math.inf, less, less + less / (less + 1.0))
    return where(x < 0, -size, size)


@values.in_f32
def cosh(x: Any) -> Any:
    """Hyperbolic cosine, element by element."""
    return 0.5 * pt.exp(x) + 0.5 * pt.exp(-x)


def sign(x: Any) -> Any:
    """1, 0 or -1 as x is above, at or below 0, element by element; not-a-number stays."""
    x = values.lifted(x)
    if x.dtype.kind in "iu":
        return clamp(x, 0 if x.dtype.kind == "u" else -1, 1)
    return where(x > 0, 1, where(x < 0, -1, x))


def trunc(x: Any) -> Any:
    """The integer next to x toward 0, element by element."""
    return values.unary("trunc", x)


def isnan(x: Any) -> Any:
    """Is an element not a number?"""
    x = values.lifted(x)
    return x != x


def isinf(x: Any) -> Any:
    """Is an element infinite?"""
    return pt.abs(x) == math.inf


def isfinite(x: Any) -> Any:
    """Is an element a number that is not infinite?"""
    return pt.abs(x) < math.inf


def logical_not(x: Any) -> Any:
    """Is an element 0?"""
    return ~values.cast(x, PRED)


def logical_and(a: Any, b: Any) -> Any:
    """Is neither 0, element by element?"""
    return values.cast(a, PRED) & values.cast(b, PRED)


def logical_or(a: Any, b: Any) -> Any:
    """Is one of them not 0, element by element?"""
    return values.cast(a, PRED) | values.cast(b, PRED)


def logical_xor(a: Any, b: Any) -> Any:
    """Is one of them 0 and the other not, element by element?"""
    return values.cast(a, PRED) ^ values.cast(b, PRED)


# integer division


@values.as_a_whole
def floor_divide(a: Any, b: Any) -> Any:
    """a / b rounded down, element by element; of integers exactly, and 0 where b is 0, as in NumPy."""
    return _divided(a, b)[0]


@values.as_a_whole
def remainder(a: Any, b: Any) -> Any:
    """What is left of a by `floor_divide`: of b's sign, element by element."""
    return _divided(a, b)[1]


def _divided(a: Any, b: Any) -> tuple[Any, Any]:
    """Quotient and remainder."""
    a, b = values.lifted(a), values.lifted(b)
    if not isinstance(a, values.Array):
        a = pt.full_like(b, a)
    if isinstance(b, values.Array):
        a, b = values.together(a, b)
    if a.dtype.kind == "f":
        quotient = pt.floor(a / b)
        return quotient, a - quotient * b
    if isinstance(b, int) and b > 0 and not b & (b - 1):
        return a >> b.bit_length() - 1, a & b - 1
    quotient, rest = _integers(values.cast(a, S32), values.cast(b, S32) if isinstance(b, values.Array) else b)
    return values.cast(quotient, a.dtype), values.cast(rest, a.dtype)


def _integers(a: Any, b: Any) -> tuple[Any, Any]:
    """Of int32: a quotient of float32 is near, that of what it leaves nearer, and the last unit is counted."""
    if not isinstance(b, values.Array) and b == 0:
        return pt.zeros_like(a), pt.zeros_like(a)
    divisor = values.cast(b, F32) if isinstance(b, values.Array) else float(b)
    quotient = pt.zeros_like(a)
    rest = a
    for _ in range(3):
        more = values.cast(pt.floor(values.cast(rest, F32) / divisor), S32, saturate=True)
        quotient = quotient + more
        rest = a - quotient * b
    if not isinstance(b, values.Array):
        return quotient, rest
    return where(b == 0, 0, quotient), where(b == 0, 0, rest)


# activations


@values.in_f32
def leaky_relu(x: Any, negative_slope: float = 0.01) -> Any:
    """x, or where that is below 0 x times a slope, element by element."""
    return where(x < 0, x * negative_slope, x)


@values.in_f32
def elu(x: Any, alpha: float = 1.0) -> Any:
    """x, or where that is below 0 e to the power x less 1, times alpha, element by element."""
    return where(x > 0, x, expm1(x) * alpha)


@values.in_f32
def softplus(x: Any) -> Any:
    """The logarithm of 1 + e to the power x, element by element."""
    return pt.relu(x) + log1p(pt.exp(-pt.abs(x)))


@values.in_f32
def log_sigmoid(x: Any) -> Any:
    """The logarithm of the sigmoid of x, element by element."""
    return -softplus(-x)


def relu6(x: Any) -> Any:
    """x, at least 0 and at most 6, element by element."""
    return clamp(x, 0, 6)


@values.in_f32
def hardswish(x: Any) -> Any:
    """x times relu6(x + 3) / 6, element by element."""
    return x * clamp(x + 3.0, 0.0, 6.0) * (1.0 / 6.0)


@values.in_f32
def mish(x: Any) -> Any:
    """x times the hyperbolic tangent of its softplus, element by element."""
    return x * pt.tanh(softplus(x))


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """x times the transpose of weight [out, in], plus bias, where given."""
    found = pt.matmul(x, values.lifted(weight).T)
    return found if bias is None else found + bias
