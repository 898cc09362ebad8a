"""The exponential in registers: the exact mode's, eight lanes of the fast mode's, and a short form for whole blocks.

The fast mode's value of an element is the same wherever it stands: the short form leaves out only what changes
nothing where every argument of a block has a normal result.
"""

from __future__ import annotations

from functools import partial

from llvmlite import ir

from pto.isa import exact_math
from pto.sim.formats import like
from pto.sim.vec import (
    F32,
    F64,
    FLOAT,
    I32,
    I64,
    INT,
    VECTOR,
    VOID,
    any_lane,
    broadcast,
    call,
    emits,
    emits_int,
    load,
    nan_of,
    store,
)

BLOCK = 32  # lanes of the short form: chains enough to hide latency, few enough for sixteen registers of eight
F32XN, I32XN = (ir.VectorType(kind, BLOCK) for kind in (F32, I32))
# Minimax polynomial of exp(r) in relative error on |r| <= ln 2 / 2, whose first terms are 1 + r: highest degree first.
FAST_EXP = (0.001381432, 0.008368852, 0.0416684, 0.1666652, 0.49999994, 1.0, 1.0)
FAST_LN2 = (0.693359375, -2.12194440e-4)  # the first, times any n here, is exact
FAST_ROUNDER = 1.5 * 2.0**23
FAST_LIMIT = 87.3  # so far to both sides of 0 results are normal


def filled(value: float, kind: ir.VectorType) -> ir.Constant:
    """A constant with the same value in every lane; rounded to f32 first, as LLVM's text wants it."""
    return ir.Constant(kind, [exact_math.round_f32(value) if kind.element == F32 else value] * kind.count)


def clamp(b: ir.IRBuilder, x: ir.Value, low: float, high: float) -> ir.Value:
    """x between two bounds; NaN gives the lower."""
    lowest, highest = filled(low, x.type), filled(high, x.type)
    x = b.select(b.fcmp_ordered(">", x, lowest), x, lowest)
    return b.select(b.fcmp_ordered("<", x, highest), x, highest)


def nan_through(b: ir.IRBuilder, x: ir.Value, value: ir.Value) -> ir.Value:
    """The canonical NaN where x is NaN."""
    return b.select(b.fcmp_unordered("uno", x, x), nan_of(b, x.type), value)


def exp_exact(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """The steps of `pto.isa.exact_math`; out of range, the nearest bound has the same result."""
    doubles, words, longs = (like(x.type, kind) for kind in (F64, I32, I64))
    c = partial(filled, kind=doubles)
    wide = clamp(b, b.fpext(x, doubles), exact_math.EXP_LOWEST, exact_math.EXP_HIGHEST)
    rounder = c(exact_math.ROUNDER)
    n = b.fsub(b.fadd(b.fmul(wide, c(exact_math.LOG2_E)), rounder), rounder)
    r = b.fsub(wide, b.fmul(n, c(exact_math.LN2_HIGH)))
    r = b.fsub(r, b.fmul(n, c(exact_math.LN2_LOW)))
    p = c(exact_math.EXP_COEFFICIENTS[0])
    for coefficient in exact_math.EXP_COEFFICIENTS[1:]:
        p = b.fadd(b.fmul(p, r), c(coefficient))
    exponent = b.add(b.sext(b.fptosi(n, words), longs), filled(1023, longs))
    power = b.bitcast(b.shl(exponent, filled(52, longs)), doubles)
    return nan_through(b, x, b.fptrunc(b.fmul(p, power), x.type))


def reduced(b: ir.IRBuilder, x: ir.Value) -> tuple[ir.Value, ir.Value]:
    """exp(r), and a float in whose last bits is n, such that exp(x) = exp(r) * 2**n."""
    c = partial(filled, kind=x.type)
    shifted = call(b, "fma", x, c(exact_math.LOG2_E), c(FAST_ROUNDER))
    n = b.fsub(shifted, c(FAST_ROUNDER))
    r = call(b, "fma", n, c(-FAST_LN2[0]), x)
    r = call(b, "fma", n, c(-FAST_LN2[1]), r)
    p = c(FAST_EXP[0])
    for coefficient in FAST_EXP[1:]:
        p = call(b, "fma", p, r, c(coefficient))
    return p, shifted


def exp_fast(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """In f32, any arguments, within one ulp of the exact mode."""
    words = like(x.type, I32)
    p, shifted = reduced(b, clamp(b, x, exact_math.EXP_LOWEST, exact_math.EXP_HIGHEST))
    exponent = b.sub(b.bitcast(shifted, words), b.bitcast(filled(FAST_ROUNDER, x.type), words))
    half = b.ashr(exponent, filled(1, words))
    for part in (half, b.sub(exponent, half)):  # in two steps, so that subnormal results round once
        bits = b.shl(b.add(part, filled(127, words)), filled(23, words))
        p = b.fmul(p, b.bitcast(bits, x.type))
    return nan_through(b, x, p)


exp8_exact, exp8_fast = emits(VECTOR, VECTOR)(exp_exact), emits(VECTOR, VECTOR)(exp_fast)


def exp_short(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """The same bits, of ordinary arguments."""
    p, shifted = reduced(b, x)
    words = like(x.type, I32)
    power = b.shl(b.bitcast(shifted, words), filled(23, words))  # of what the rounder has there, nothing is left
    return b.bitcast(b.add(b.bitcast(p, words), power), x.type)


def difference(b: ir.IRBuilder, at: ir.Value, less: ir.Value) -> ir.Value:
    """The arguments of a block."""
    return b.fsub(load(b, at, F32XN), broadcast(b, less, F32XN))


@emits_int(INT, FLOAT)
def is_ordinary(b: ir.IRBuilder, at: ir.Value, less: ir.Value) -> ir.Value:
    """1 where the short form serves for all of a block of numbers, less one number."""
    size = b.and_(b.bitcast(difference(b, at, less), I32XN), filled(0x7FFFFFFF, I32XN))
    beyond = b.icmp_signed(">", size, b.bitcast(filled(FAST_LIMIT, F32XN), I32XN))  # NaN is, too
    return b.zext(b.not_(any_lane(b, beyond)), ir.IntType(64))


@emits_int(INT, FLOAT)
def is_settled(b: ir.IRBuilder, at: ir.Value, less: ir.Value) -> ir.Value:
    """1 where the short form serves for all of a block that are not so low that they give zero."""
    x = difference(b, at, less)
    settled = b.or_(is_low(b, x), b.fcmp_ordered("<=", call(b, "fabs", x), filled(FAST_LIMIT, F32XN)))
    return b.zext(b.not_(any_lane(b, b.not_(settled))), ir.IntType(64))


def is_low(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """Where an argument is so low that zero is the nearest result."""
    return b.fcmp_ordered("<=", x, filled(exact_math.EXP_LOWEST, x.type))


@emits(VOID, INT, INT, FLOAT)
def settled_block(b: ir.IRBuilder, to: ir.Value, at: ir.Value, less: ir.Value) -> None:
    """Write the exponentials of a block of numbers, less one number, each ordinary or so low that it gives zero.

    What a mask hides is that low. Multiplied out, its result would be below the normal ones before it is zero, and
    some processors take a hundred times as long for that.
    """
    x, zero = difference(b, at, less), filled(0.0, F32XN)
    low = is_low(b, x)
    store(b, to, b.select(low, zero, exp_short(b, b.select(low, zero, x))))


@emits(VOID, INT, INT, FLOAT)
def exp_block(b: ir.IRBuilder, to: ir.Value, at: ir.Value, less: ir.Value) -> None:
    """Write the exponentials of a block of numbers, less one number, all of them ordinary."""
    store(b, to, exp_short(b, difference(b, at, less)))
