"""Conversions: short paths for rounding as NumPy does, unless floats saturate, and one for every other mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from pto.core.dtypes import F32, S32, DType
from pto.core.types import Layout
from pto.isa.table import vector
from pto.sim import vec
from pto.sim.formats import constant, like
from pto.sim.formulas import EmittingKit, Lanes
from pto.sim.kernels.elementwise import pass_over
from pto.sim.kernels.operands import Body, Form, aside
from pto.sim.kernels.registry import kernel
from pto.sim.lanes import limits
from pto.sim.vec import F64, I32, I64, called, word

Emit = Callable[..., ir.Value]
# What each rounding mode does: to nearest, with ties to even, away, up; or what is inexact away from zero below zero,
# above zero, or where that is odd.
NEAREST, TIES_EVEN, TIES_AWAY, TIES_UP, DOWN, UP, ODD = (1 << bit for bit in range(7))
RULES = {
    "rne": NEAREST | TIES_EVEN, "rtz": 0, "rdn": DOWN, "rup": UP, "rna": NEAREST | TIES_AWAY, "rto": ODD,
    "rhb": NEAREST | TIES_UP,
}
RULE_WORD = sum(RULES[name] << 8 * number for number, name in enumerate(vector.ROUNDING.values))
SATURATES = 8  # of the word `how`, whose lower bits number the rounding mode
# Significant bits, and exponents of the smallest normal and of the largest number.
FORMATS = {"f32": (24, -126, 127), "f16": (11, -14, 15), "bf16": (8, -126, 127)}
SIGN_BIT, BIAS, MANTISSA_BITS, INTEGERS = -(2**63), 1023, 52, 2.0**52
FAR = 2.0**40  # beyond every integer type
WORDS = 2.0**32  # of 32 random bits
TO_NEAREST, TO_ZERO = map(vector.ROUNDING.values.index, ("rne", "rtz"))
ROUND, SATURATE = (len(vector.TCVT.operands) + number for number, _ in enumerate(vector.TCVT.attrs))


class Mode:
    """How to round, as masks over lanes."""

    def __init__(self, b: ir.IRBuilder, flag: ir.Type) -> None:
        self.b, self.flag = b, flag
        self.saturates = constant(flag, 0)

    def any(self, *pairs: tuple[ir.Value, ir.Value]) -> ir.Value:
        """Whether both of any pair hold."""
        found = constant(self.flag, 0)
        for one, two in pairs:
            found = self.b.or_(found, self.b.and_(one, two))
        return found

    def stays(self, negative: ir.Value, positive: ir.Value) -> ir.Value:
        """Whether what overflows becomes the largest finite value."""
        return constant(self.flag, 0)

    def apply(self, size: Lanes, negative: ir.Value) -> Lanes:
        """A magnitude below 2**52 as an integer."""
        raise NotImplementedError


class Rounding(Mode):
    """The mode that the word `how` names."""

    def __init__(self, b: ir.IRBuilder, how: ir.Value, flag: ir.Type) -> None:
        super().__init__(b, flag)
        number = b.shl(b.and_(how, I64(SATURATES - 1)), I64(3))
        self.rules = b.lshr(I64(RULE_WORD), number)
        self.saturates = self._where(b.and_(how, I64(SATURATES)))

    def _where(self, bits: ir.Value) -> ir.Value:
        return vec.broadcast(self.b, self.b.icmp_unsigned("!=", bits, I64(0)), self.flag)

    def has(self, rule: int) -> ir.Value:
        """Whether the mode has a rule."""
        return self._where(self.b.and_(self.rules, I64(rule)))

    def stays(self, negative: ir.Value, positive: ir.Value) -> ir.Value:
        leaves = self.any((negative, self.has(DOWN)), (positive, self.has(UP)))
        return self.b.not_(self.b.or_(self.has(NEAREST), leaves))

    def apply(self, size: Lanes, negative: ir.Value) -> Lanes:
        b, kit = self.b, EmittingKit(self.b)
        whole, rest = parts(size)
        positive = b.not_(negative)
        odd = ((kit.bits(whole + INTEGERS) & 1) > 0).value
        half = b.fcmp_ordered("==", rest.value, constant(rest.value.type, 0.5))
        ties = self.any((odd, self.has(TIES_EVEN)), (positive, self.has(TIES_UP)), (half, self.has(TIES_AWAY)))
        away = self.any(
            (self.has(NEAREST), b.or_((rest > 0.5).value, b.and_(half, ties))),
            ((rest > 0.0).value, self.any((negative, self.has(DOWN)), (positive, self.has(UP)),
                                          (b.not_(odd), self.has(ODD)))),
        )
        return kit.where(Lanes(b, away), whole + 1.0, whole)


class Chance(Mode):
    """Away from zero as often as a number is near that neighbour."""

    def __init__(self, b: ir.IRBuilder, how: ir.Value, flag: ir.Type, bits: ir.Value) -> None:
        super().__init__(b, flag)
        self.drawn = Lanes(b, b.uitofp(bits, like(bits.type, F64)))
        self.saturates = vec.broadcast(b, b.trunc(how, ir.IntType(1)), flag)

    def apply(self, size: Lanes, negative: ir.Value) -> Lanes:
        whole, rest = parts(size)
        return EmittingKit(self.b).where(self.drawn < rest * WORDS, whole + 1.0, whole)


def parts(size: Lanes) -> tuple[Lanes, Lanes]:
    """The integer part, and the rest."""
    whole = Lanes(size.b, vec.call(size.b, "floor", size.value))
    return whole, size - whole


def doubles(b: ir.IRBuilder, source: DType, x: ir.Value) -> Lanes:
    """What is computed with, as float64, which is exact."""
    wide = like(x.type, F64)
    if source.kind == "f":
        return Lanes(b, b.fpext(x, wide))
    return Lanes(b, b.sitofp(words(b, source, x), wide))


def words(b: ir.IRBuilder, source: DType, x: ir.Value) -> ir.Value:
    """Integers as s32."""
    wide = like(x.type, I32)
    if source.bits == S32.bits:
        return x
    return b.sext(x, wide) if source.kind == "i" else b.zext(x, wide)


def signed(b: ir.IRBuilder, x: Lanes) -> tuple[Lanes, ir.Value]:
    """The magnitude, and whether the sign bit is set."""
    bits = EmittingKit(b).bits(x)
    return EmittingKit(b).number(bits & ~SIGN_BIT), (bits < 0).value


def to_float(to: DType, source: DType, mode_of: Callable[..., Mode] = Rounding) -> Emit:
    """Any rounding to a floating type, as f32 that has one."""
    digits, smallest, largest = FORMATS[to.name]
    limit = (2.0 - 2.0 ** (1 - digits)) * 2.0**largest

    def emit(b: ir.IRBuilder, how: ir.Value, x: ir.Value, *bits: ir.Value) -> ir.Value:
        kit, number = EmittingKit(b), doubles(b, source, x)
        size, negative = signed(b, number)
        mode = mode_of(b, how, negative.type, *bits)
        exponent = (kit.bits(size) >> MANTISSA_BITS) - BIAS
        unit = kit.where(exponent > smallest, exponent, smallest) - (digits - 1)
        scaled = mode.apply(size * kit.number((BIAS - unit) << MANTISSA_BITS), negative)
        value = scaled * kit.number((unit + BIAS) << MANTISSA_BITS)
        finite = (size < float("inf")).value
        stays = mode.any((finite, mode.stays(negative, b.not_(negative))))
        value = kit.where(Lanes(b, finite), value, size)
        beyond = b.and_((value > limit).value, b.or_(mode.saturates, stays))
        value = kit.where(Lanes(b, beyond), limit, value)
        value = kit.number(kit.bits(value) | (kit.bits(number) & SIGN_BIT))
        return b.fptrunc(value.value, like(x.type, vec.F32))
    return emit


def to_integer(to: DType, source: DType, mode_of: Callable[..., Mode] = Rounding) -> Emit:
    """Any rounding of floats to an integer type."""
    low, high = limits(to)

    def emit(b: ir.IRBuilder, how: ir.Value, x: ir.Value, *bits: ir.Value) -> ir.Value:
        kit, number = EmittingKit(b), doubles(b, source, x)
        size, negative = signed(b, number)
        mode = mode_of(b, how, negative.type, *bits)
        near = kit.where(size < FAR, size, FAR)
        size = mode.apply(near, negative)
        value = kit.where(Lanes(b, negative), -size, size)
        nan = b.fcmp_unordered("uno", x, x)
        invalid = b.or_(nan, b.or_((value < float(low)).value, (value > float(high)).value))
        clamped = kit.where(value < float(low), float(low), value)
        clamped = kit.where(clamped > float(high), float(high), clamped)
        clamped = kit.where(Lanes(b, nan), 0.0, clamped)
        other = b.select(mode.saturates, clamped.value, constant(clamped.value.type, high if low == 0 else low))
        whole = b.fptosi(b.select(invalid, other, clamped.value), like(x.type, I32))
        return narrow(b, to, whole)
    return emit


def narrow(b: ir.IRBuilder, to: DType, whole: ir.Value) -> ir.Value:
    """s32 as another integer type, whose bits are its lowest."""
    return whole if to.bits == S32.bits else b.trunc(whole, like(whole.type, ir.IntType(to.bits)))


def between_integers(to: DType, source: DType) -> Emit:
    """Integers that wrap, or are clamped."""
    low, high = limits(to)

    def emit(b: ir.IRBuilder, how: ir.Value, x: ir.Value) -> ir.Value:
        whole = words(b, source, x)
        clamped = b.select(b.icmp_signed("<", whole, constant(whole.type, low)), constant(whole.type, low), whole)
        clamped = b.select(b.icmp_signed(">", clamped, constant(whole.type, high)), constant(whole.type, high), clamped)
        clamps = b.icmp_unsigned("!=", b.and_(how, I64(SATURATES)), I64(0))
        flag = like(whole.type, ir.IntType(1))
        return narrow(b, to, b.select(vec.broadcast(b, clamps, flag), clamped, whole))
    return emit


def nearest(to: DType, source: DType) -> Emit:
    """To nearest with ties to even; a float as f32, which is rounded where it is stored, and does not saturate."""
    def emit(b: ir.IRBuilder, how: ir.Value, x: ir.Value) -> ir.Value:
        if source.kind != "f":
            return b.sitofp(words(b, source, x), like(x.type, vec.F32))
        if to.kind == "f":
            return x
        return toward_zero(to)(b, how, vec.call(b, "rint", x))
    return emit


def toward_zero(to: DType) -> Emit:
    """Floats without their fractions; what is below -2**31 by less than f32 can tell is -2**31, too."""
    low, high = limits(to)

    def emit(b: ir.IRBuilder, how: ir.Value, x: ir.Value) -> ir.Value:
        below, above = (constant(x.type, float(limit)) for limit in (low - 1, high + 1))
        good = b.and_(b.fcmp_ordered(">", x, below), b.fcmp_ordered("<", x, above))
        made = b.fptosi(x, like(x.type, I32))
        least, most = (constant(made.type, limit) for limit in (low, high))
        clamped = b.select(b.fcmp_ordered("<", x, constant(x.type, 0.0)), least, most)
        clamped = b.select(b.fcmp_unordered("uno", x, x), constant(made.type, 0), clamped)
        clamps = vec.broadcast(b, b.icmp_unsigned("!=", b.and_(how, I64(SATURATES)), I64(0)), good.type)
        return narrow(b, to, b.select(good, made, b.select(clamps, clamped, most if low == 0 else least)))
    return emit


@kernel(vector.TCVT, Layout.ROW, Layout.ROW)
def conversion(form: Form) -> Body:
    """dst[i, j] = a[i, j] as another type"""
    to, source = form.types
    if to.kind != "f" and source.kind != "f":
        return aside(form, pass_over(form, between_integers(to, source)))
    careful = pass_over(form, (to_float if to.kind == "f" else to_integer)(to, source))
    if source is S32 and to is not F32:  # s32 is not exact in f32
        return aside(form, careful)
    short, every = called(pass_over(form, nearest(to, source))), called(careful)
    clamps = to.kind != "f"
    cut = called(pass_over(form, toward_zero(to))) if clamps else every

    def run(ctx: int, ops: int, st: int, to: int, at: Any) -> None:
        if word(ops, ROUND) == TO_NEAREST and (clamps or word(ops, SATURATE) == 0):
            short(ctx, ops, st, to, at)
        elif word(ops, ROUND) == TO_ZERO and clamps:
            cut(ctx, ops, st, to, at)
        else:
            every(ctx, ops, st, to, at)
    return aside(form, run)


@kernel(vector.TCVT_SR, Layout.ROW, Layout.ROW, Layout.ROW)
def at_random(form: Form) -> Body:
    """dst[i, j] = a[i, j] as another type, rounded by bits[i, j]"""
    to, source, _ = form.types
    return aside(form, pass_over(form, (to_float if to.kind == "f" else to_integer)(to, source, Chance)))
