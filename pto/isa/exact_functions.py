"""Transcendental functions as fixed sequences of float64 operations, which both machines perform.

A function takes a `Kit`, which says how the machine at hand chooses and looks at bits, and f32 arguments widened
to float64; its result is rounded once to f32, and for f16 and bf16 once more. Every addition, multiplication and
division rounds to float64 on its own: no contraction. Before the last rounding the values are within 2**-33 of the
true ones, relatively, but for the 1 that erf is from 4 on. A NaN argument gives whatever comes out: the caller makes
it the canonical NaN.

Polynomials are Taylor's, but for the tail of erf, which interpolates -log(erfc) at Chebyshev's points of its range.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

Lanes = Any  # an array, or what stands for one: float64 values, int64 values or conditions

ROUNDER = 1.5 * 2.0**52  # adding it rounds to an integer, ties to even
ROUNDER_BITS = 0x4338_0000_0000_0000
SIGN_BIT, MANTISSA_BITS, BIAS = -(2**63), 52, 1023
ROOT_HALF_BITS = 0x3FE6_A09E_667F_3BCD
LOG2_E = 1.4426950408889634
LN2_HIGH, LN2_LOW = map(float.fromhex, ("0x1.62e42fee0p-1", "0x1.a39ef35793c76p-33"))

POWERS = 11
EXPM1 = tuple(1.0 / math.factorial(k) for k in range(POWERS, 0, -1))  # of exp(r) - 1, over r
ATANH = tuple(2.0 / (2 * k + 1) for k in range(8, -1, -1))  # of log((1 + s) / (1 - s)), over s, in s * s
SINE = tuple((-1.0) ** k / math.factorial(2 * k + 1) for k in range(7, 0, -1))
COSINE = tuple((-1.0) ** k / math.factorial(2 * k) for k in range(7, 0, -1))
ERF = tuple(2.0 / math.sqrt(math.pi) * (-1.0) ** k / (math.factorial(k) * (2 * k + 1)) for k in range(11, -1, -1))

# The tail of erf: -log(erfc(x)) from `ERF_TAIL` to `ERF_END` as a polynomial in (x - middle) / half width.
ERF_TAIL, ERF_END = 0.75, 4.0
ERF_LOG = (
    2.3036439941645607e-06, -5.8705234653794604e-06, 3.400331732130266e-06, 1.3067499192359446e-05,
    -9.351811845273245e-05, 0.000435372657267562, -0.0016386872293659021, 0.005474373416084115,
    -0.01706627553018011, 0.05153375983510364, 2.48115879381858, 8.315504823001707,
    7.152456769440191,
)

# pi / 2 in three parts, of which the first two have 28 bits; arguments from `FAR` on are reduced by integers.
HALF_PI = tuple(map(float.fromhex, ("0x1.921fb54p+0", "0x1.10b461p-30", "0x1.a62633145c06ep-58")))
FAR_EXPONENT = 25
TWO_OVER_PI = (0xA2F9836E, 0x4E441529, 0xFC2757D1, 0xF534DDC0, 0xDB629599, 0x3C439041, 0xFE5163AB)
QUADRANT_BITS = 62
WORD_MASK = 0xFFFFFFFF


class Kit(Protocol):
    """What arithmetic operators do not say."""

    def where(self, condition: Lanes, x: Lanes, y: Lanes) -> Lanes:
        """x where the condition holds, else y."""

    def bits(self, x: Lanes) -> Lanes:
        """The bits of float64 values, as int64."""

    def number(self, bits: Lanes) -> Lanes:
        """The float64 values with these bits."""

    def nearest(self, integers: Lanes) -> Lanes:
        """The float64 values nearest to int64 values."""


def polynomial(coefficients: tuple[float, ...], x: Lanes) -> Lanes:
    """Horner's rule; the highest degree comes first."""
    total = x * coefficients[0] + coefficients[1]
    for coefficient in coefficients[2:]:
        total = total * x + coefficient
    return total


def clamped(k: Kit, x: Lanes, low: float, high: float) -> Lanes:
    """x between two bounds."""
    x = k.where(x > low, x, low)
    return k.where(x < high, x, high)


def with_sign(k: Kit, x: Lanes, of: Lanes) -> Lanes:
    """A value that is not negative, with the sign of another."""
    return k.number(k.bits(x) | (k.bits(of) & SIGN_BIT))


def magnitude(k: Kit, x: Lanes) -> Lanes:
    """The absolute value."""
    return k.number(k.bits(x) & ~SIGN_BIT)


def power_of_two(k: Kit, n: Lanes) -> Lanes:
    """2 to an integer that is given as a float64, from -1022 to 1023."""
    return k.number((k.bits(n + ROUNDER) - ROUNDER_BITS + BIAS) << MANTISSA_BITS)


def exp_parts(k: Kit, x: Lanes) -> tuple[Lanes, Lanes]:
    """2**n and exp(r) - 1, where n is an integer and exp(x) = 2**n * exp(r); |x| is at most 600."""
    n = (x * LOG2_E + ROUNDER) - ROUNDER
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    return power_of_two(k, n), polynomial(EXPM1, r) * r


def log(k: Kit, x: Lanes) -> Lanes:
    """The natural logarithm: x = m * 2**e with m from sqrt(1/2) to sqrt(2), log(m) = 2 artanh((m - 1) / (m + 1))."""
    bits = k.bits(x)
    exponent = (bits - ROOT_HALF_BITS) >> MANTISSA_BITS
    f = k.number(bits - (exponent << MANTISSA_BITS)) - 1.0
    e = k.number(exponent + ROUNDER_BITS) - ROUNDER
    s = f / (f + 2.0)
    value = e * LN2_HIGH + (polynomial(ATANH, s * s) * s + e * LN2_LOW)
    value = k.where(x < math.inf, value, x)
    return k.where(x > 0.0, value, k.where(x < 0.0, math.nan, -math.inf))


def sigmoid(k: Kit, x: Lanes) -> Lanes:
    """1 / (1 + exp(-x)); below -150 nothing but zero is near."""
    power, rest = exp_parts(k, clamped(k, -x, -150.0, 150.0))
    return 1.0 / (1.0 + (power * rest + power))


def tanh(k: Kit, x: Lanes) -> Lanes:
    """(exp(2x) - 1) / (exp(2x) + 1); from 20 on it is 1."""
    power, rest = exp_parts(k, clamped(k, magnitude(k, x) * 2.0, 0.0, 40.0))
    less_one = power * rest + (power - 1.0)
    return with_sign(k, less_one / (less_one + 2.0), x)


def erf(k: Kit, x: Lanes) -> Lanes:
    """The error function: a series about 0, and 1 - exp(a polynomial) in the tail."""
    size = magnitude(k, x)
    series = polynomial(ERF, x * x) * x
    middle, half = (ERF_END + ERF_TAIL) / 2, (ERF_END - ERF_TAIL) / 2
    exponent = polynomial(ERF_LOG, (clamped(k, size, ERF_TAIL, ERF_END) - middle) * (1.0 / half))
    power, rest = exp_parts(k, -exponent)
    tail = k.where(size < ERF_END, 1.0 - (power * rest + power), 1.0)
    return k.where(size < ERF_TAIL, series, with_sign(k, tail, x))


def near_turns(k: Kit, x: Lanes) -> tuple[Lanes, Lanes]:
    """The quadrant of an angle, and the angle less so many right angles, below 2**`FAR_EXPONENT`."""
    n = (x * (2.0 / math.pi) + ROUNDER) - ROUNDER
    rest = x
    for part in HALF_PI:
        rest = rest - n * part
    return k.bits(n + ROUNDER) & 3, rest


def far_turns(k: Kit, x: Lanes) -> tuple[Lanes, Lanes]:
    """The same for any finite f32 from 2**`FAR_EXPONENT` on (Payne and Hanek, 1983).

    x = m * 2**(e - 23). Bits of 2 / pi that make multiples of 4 are left out; of those that follow 96 are used.
    """
    bits = k.bits(x)
    m = ((bits >> 29) & 0x7FFFFF) | 0x800000
    place = ((bits >> MANTISSA_BITS) & 0x7FF) - (BIAS + FAR_EXPONENT)
    number, shift = place >> 5, place & 31
    words = []
    for at in range(4):
        word = k.where(number > 0, TWO_OVER_PI[at + 1], TWO_OVER_PI[at])
        for first in (2, 3):
            word = k.where(number > first - 1, TWO_OVER_PI[at + first], word)
        words.append(word)
    high = (((words[0] << 32) | words[1]) << shift) | (words[2] >> (32 - shift))
    low = ((words[2] << shift) & WORD_MASK) | (words[3] >> (32 - shift))
    product = m * high + ((m * low) >> 32)
    quadrant = ((product + (1 << QUADRANT_BITS - 1)) >> QUADRANT_BITS) & 3
    rest = k.nearest(product - (quadrant << QUADRANT_BITS)) * (math.pi * 2.0 ** -(QUADRANT_BITS + 1))
    negative = bits < 0
    return k.where(negative, -quadrant, quadrant) & 3, k.where(negative, -rest, rest)


def is_far(k: Kit, x: Lanes) -> Lanes:
    """Whether an angle needs `far_turns`: not for infinities and NaN, whose result is NaN either way."""
    return magnitude(k, x) >= 2.0**FAR_EXPONENT


def sine_of(k: Kit, quadrant: Lanes, r: Lanes) -> Lanes:
    """The sine of an angle from -pi/4 to pi/4 and so many right angles."""
    square = r * r
    sine = k.where(square > 0.0, polynomial(SINE, square) * (square * r) + r, r)  # zero keeps its sign
    cosine = polynomial(COSINE, square) * square + 1.0
    value = k.where((quadrant & 1) > 0, cosine, sine)
    return k.where((quadrant & 2) > 0, -value, value)
