"""Transcendental functions of the fast mode, in f32 lanes: within one ulp of what the exact mode gives.

A function has a short form, for the arguments that are ordinary to it; where a vector has others, these get the exact
mode's value. So the value of an element is the same wherever it stands. Bounds of error are of the formula, before
rounding, in units of 2**-24; the polynomials are minimax fits, highest degree first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from llvmlite import ir

from pto.isa import exact_math
from pto.sim.exponential import FAST_EXP, FAST_LN2, FAST_ROUNDER, filled
from pto.sim.formats import like
from pto.sim.vec import I32, call

Emit = Callable[[ir.IRBuilder, ir.Value], ir.Value]
EXPM1 = FAST_EXP[:-2]  # (exp(r) - 1 - r) / r**2 on |r| <= ln 2 / 2: 0.3
# tanh(x) = x + x**3 P(x**2) below 0.625: 0.1
TANH, TANH_SMALL = (-0.005666977, 0.020606177, -0.053730007, 0.13331331, -0.33333278), 0.625
# log(1 + f) = f - f**2 / 2 + f**3 P(f) from sqrt(1/2) - 1 to sqrt(2) - 1: 0.1
LOG = (-0.07636346, 0.12770317, -0.13163576, 0.14200824, -0.1662294, 0.20001252, -0.2500083, 0.33333331)
LOG_LN2 = (0.693359375, -2.12194440e-4)
ROOT_HALF_BITS, ONE_BITS, MANTISSA = 0x3F3504F3, 0x3F800000, 23
# erf(x) = x + x P(x**2) below 0.92: 0.1; then erfc(x) = exp(-P(x)) up to 4: 0.1 of erf
ERF, ERF_SMALL = (8.316788e-05, -0.0008130017, 0.005199907, -0.026858943, 0.11283687, -0.37612632, 0.12837917), 0.92
ERF_TAIL, ERF_END = (-0.00019821966, 0.0030654902, -0.022315213, 0.104113676, 0.63697606, 1.1277972, 0.00016644777), 4.0
# sin(r) = r + r**3 P(r**2), cos(r) = 1 - r**2 / 2 + r**4 P(r**2), on |r| <= pi / 4: 0.1
SINE, COSINE = (-0.00019514958, 0.0083321584, -0.16666655), (2.4432786e-05, -0.0013887313, 0.041666646)
HALF_PI = (1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15)  # its parts, each rounded to f32
FAR = 8192.0  # angles up to here are reduced by these parts
SIGMOID_LIMIT = 87.0  # so far from 0 results are normal
LARGEST = float.fromhex("0x1.fffffep+127")
MAGNITUDE, SIGN = 0x7FFFFFFF, -0x80000000


class F32Lanes:
    """Constants and steps on vectors like one of them."""

    def __init__(self, b: ir.IRBuilder, x: ir.Value) -> None:
        self.b, self.kind, self.bits = b, x.type, like(x.type, I32)

    def number(self, value: float) -> ir.Constant:
        """The same f32 in every lane."""
        return filled(value, self.kind)

    def integer(self, value: int) -> ir.Constant:
        """The same i32 in every lane."""
        return filled(value, self.bits)

    def fma(self, x: ir.Value, y: ir.Value | float, z: ir.Value | float) -> ir.Value:
        """x * y + z, rounded once."""
        return call(self.b, "fma", x, *(self.number(v) if isinstance(v, float) else v for v in (y, z)))

    def polynomial(self, coefficients: tuple[float, ...], x: ir.Value) -> ir.Value:
        """Estrin's scheme: halves at once, for the units wait for operands more than for each other."""
        terms: list[ir.Value] = [self.number(c) for c in coefficients[::-1]]
        while len(terms) > 1:
            pairs = zip(terms[::2], terms[1::2], strict=False)
            terms = [self.fma(high, x, low) for low, high in pairs] + terms[len(terms) & ~1:]
            x = self.b.fmul(x, x) if len(terms) > 1 else x
        return terms[0]

    def as_bits(self, x: ir.Value) -> ir.Value:
        return self.b.bitcast(x, self.bits)

    def as_number(self, bits: ir.Value) -> ir.Value:
        return self.b.bitcast(bits, self.kind)

    def magnitude(self, x: ir.Value) -> ir.Value:
        """The absolute value."""
        return self.as_number(self.b.and_(self.as_bits(x), self.integer(MAGNITUDE)))

    def with_sign(self, x: ir.Value, of: ir.Value) -> ir.Value:
        """A value that is not negative, with the sign of another."""
        return self.as_number(self.b.or_(self.as_bits(x), self.b.and_(self.as_bits(of), self.integer(SIGN))))

    def below(self, x: ir.Value, limit: float) -> ir.Value:
        """Whether x is a number below a limit, or equal."""
        return self.b.fcmp_ordered("<=", x, self.number(limit))

    def nearest(self, x: ir.Value, factor: float) -> tuple[ir.Value, ir.Value]:
        """The integer n nearest to x * factor, in the last bits of a float, and as a float."""
        shifted = self.fma(x, factor, FAST_ROUNDER)
        return shifted, self.b.fsub(shifted, self.number(FAST_ROUNDER))

    def power(self, shifted: ir.Value) -> ir.Value:
        """2 to the power n."""
        up = self.b.shl(self.as_bits(shifted), self.integer(MANTISSA))  # what the rounder has is gone
        return self.as_number(self.b.add(up, self.integer(ONE_BITS)))

    def expm1(self, r: ir.Value) -> ir.Value:
        """exp(r) - 1, for |r| up to ln 2 / 2."""
        return self.fma(self.b.fmul(r, r), self.polynomial(EXPM1, r), r)

    def exp_parts(self, y: ir.Value) -> tuple[ir.Value, ir.Value]:
        """2**n and exp(r) - 1, where exp(y) = 2**n exp(r)."""
        shifted, n = self.nearest(y, exact_math.LOG2_E)
        r = self.fma(n, -FAST_LN2[1], self.fma(n, -FAST_LN2[0], y))
        return self.power(shifted), self.expm1(r)


def sigmoid(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """1 / (1 + exp(-x)), with what rounding took from the denominator and from the quotient given back."""
    f = F32Lanes(b, x)
    one = f.number(1.0)
    power, rest = f.exp_parts(b.fneg(x))
    d = f.fma(power, rest, b.fadd(power, one))
    lost = b.fadd(f.fma(power, rest, b.fsub(power, d)), one)  # power - d is exact where it matters
    quotient = b.fdiv(one, d)
    left = f.fma(b.fneg(lost), quotient, f.fma(b.fneg(d), quotient, one))
    return f.fma(left, quotient, quotient)


def tanh(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """(exp(2x) - 1) / (exp(2x) + 1), or a series about 0; from 10 on it is 1."""
    f = F32Lanes(b, x)
    size = f.magnitude(x)
    twice = b.fadd(size, size)
    power, rest = f.exp_parts(b.select(f.below(twice, 20.0), twice, f.number(20.0)))
    less_one = f.fma(power, rest, b.fsub(power, f.number(1.0)))
    far = b.fdiv(less_one, b.fadd(less_one, f.number(2.0)))
    square = b.fmul(size, size)
    near = f.fma(b.fmul(square, size), f.polynomial(TANH, square), size)
    return f.with_sign(b.select(f.below(size, TANH_SMALL), near, far), x)


def log(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """The natural logarithm of x = m * 2**e, with m from sqrt(1/2) to sqrt(2)."""
    f = F32Lanes(b, x)
    bits = f.as_bits(x)
    exponent = b.ashr(b.sub(bits, f.integer(ROOT_HALF_BITS)), f.integer(MANTISSA))
    m = f.as_number(b.sub(bits, b.shl(exponent, f.integer(MANTISSA))))
    e, s = b.sitofp(exponent, f.kind), b.fsub(m, f.number(1.0))
    square = b.fmul(s, s)
    rest = f.fma(b.fmul(square, s), f.polynomial(LOG, s), b.fmul(e, f.number(LOG_LN2[1])))
    rest = f.fma(square, -0.5, rest)
    return f.fma(e, LOG_LN2[0], b.fadd(s, rest))


def log_or_end(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """The natural logarithm of what is not subnormal, and of what has none: of 0, of numbers below it, of infinity."""
    f = F32Lanes(b, x)
    value, zero = log(b, x), f.number(0.0)
    value = b.select(f.below(x, LARGEST), value, x)
    value = b.select(b.fcmp_ordered("<", x, zero), f.number(math.nan), value)
    return b.select(b.fcmp_ordered("==", x, zero), f.number(-math.inf), value)


def is_not_tiny(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """Whether an argument is no subnormal number above 0."""
    return b.or_(b.fcmp_unordered(">=", x, filled(2.0**-126, x.type)), b.fcmp_ordered("<=", x, filled(0.0, x.type)))


def erf(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """The error function: a series about 0, and 1 - exp(a polynomial) in the tail."""
    f = F32Lanes(b, x)
    size = f.magnitude(x)
    t = b.select(f.below(size, ERF_END), size, f.number(ERF_END))
    power, rest = f.exp_parts(b.fneg(f.polynomial(ERF_TAIL, t)))
    far = f.fma(b.fneg(power), rest, b.fsub(f.number(1.0), power))
    near = f.fma(size, f.polynomial(ERF, b.fmul(size, size)), size)
    return f.with_sign(b.select(f.below(size, ERF_SMALL), near, far), x)


def turned(b: ir.IRBuilder, x: ir.Value, *, more: int) -> ir.Value:
    """The sine of an angle and so many right angles."""
    f = F32Lanes(b, x)
    shifted, n = f.nearest(x, 2.0 / math.pi)
    first = f.fma(n, -HALF_PI[0], x)  # exact
    second = b.fmul(n, f.number(HALF_PI[1]))
    r = b.fsub(first, second)
    lost = b.fsub(b.fsub(first, r), second)
    lost = f.fma(n, -HALF_PI[2], b.fsub(lost, f.fma(n, HALF_PI[1], b.fneg(second))))
    r = b.select(b.fcmp_ordered("==", n, f.number(0.0)), x, r)  # zero keeps its sign
    square = b.fmul(r, r)
    sine = b.fadd(r, f.fma(b.fmul(square, r), f.polynomial(SINE, square), lost))
    high = f.fma(square, -0.5, 1.0)
    low = f.fma(square, -0.5, b.fsub(f.number(1.0), high))
    low = f.fma(b.fmul(square, square), f.polynomial(COSINE, square), low)
    cosine = b.fadd(high, f.fma(b.fneg(r), lost, low))
    quadrant = b.add(f.as_bits(shifted), f.integer(more))
    odd = b.icmp_signed("!=", b.and_(quadrant, f.integer(1)), f.integer(0))
    sign = b.shl(b.and_(quadrant, f.integer(2)), f.integer(30))
    return f.as_number(b.xor(f.as_bits(b.select(odd, cosine, sine)), sign))


def from_to(low: float, high: float) -> Emit:
    """Whether an argument is between two bounds; NaN is not."""
    def emit(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
        return b.and_(b.fcmp_ordered(">=", x, filled(low, x.type)), b.fcmp_ordered("<=", x, filled(high, x.type)))
    return emit


FUNCTIONS: dict[str, tuple[Emit, Emit]] = {  # the short form, and which arguments are ordinary to it
    "sigmoid": (sigmoid, from_to(-SIGMOID_LIMIT, SIGMOID_LIMIT)),
    "tanh": (tanh, from_to(-math.inf, math.inf)),
    "erf": (erf, from_to(-math.inf, math.inf)),
    "log": (log_or_end, is_not_tiny),
    "sin": (partial(turned, more=0), from_to(-FAR, FAR)),
    "cos": (partial(turned, more=1), from_to(-FAR, FAR)),
}


def with_exact(short: Emit, ordinary: Emit, exact: Emit) -> Emit:
    """The short form; where a vector has arguments that are not ordinary, the exact form of these."""
    def emit(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
        quick = short(b, x)
        odd = b.not_(ordinary(b, x))
        start = b.block
        mask = b.bitcast(odd, ir.IntType(x.type.count))
        with b.if_then(b.icmp_unsigned("!=", mask, mask.type(0)), likely=False):
            careful = b.select(odd, exact(b, x), quick)
            branch = b.block
        made = b.phi(x.type)
        made.add_incoming(quick, start)
        made.add_incoming(careful, branch)
        return made
    return emit
