"""What the vector unit does to lanes: an emitter of IR for each operation, by the name that rows give it.

Floating lanes are f32, whose NaNs the caller makes canonical; integers are computed with as they are stored.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from pto.core.dtypes import DType
from pto.isa import exact_functions
from pto.sim import vec
from pto.sim.formats import constant, like
from pto.sim.formulas import emitted, turned

Emit = Callable[..., ir.Value]
INFINITY, MAGNITUDE = 0x7F800000, 0x7FFFFFFF


def floating(x: ir.Value) -> bool:
    """Whether lanes are f32."""
    return bool(x.type.element == vec.F32)


def arithmetic(for_floats: str, for_integers: str) -> Callable[[DType], Emit]:
    """An instruction of LLVM, of which floats and integers have one each."""
    def of(dtype: DType) -> Emit:
        name = for_floats if dtype.kind == "f" else for_integers
        return lambda b, how, *values: getattr(b, name)(*values)
    return of


def extreme(name: str, comparison: str) -> Callable[[DType], Emit]:
    """The larger or the smaller of two."""
    def of(dtype: DType) -> Emit:
        if dtype.kind == "f":
            return lambda b, how, x, y: getattr(vec, name)(b, x, y)
        compare = "icmp_signed" if dtype.kind == "i" else "icmp_unsigned"
        return lambda b, how, x, y: b.select(getattr(b, compare)(comparison, x, y), x, y)
    return of


def shift(left: bool) -> Callable[[DType], Emit]:
    """A shift by what is left of a number modulo the bits of an element."""
    def of(dtype: DType) -> Emit:
        name = "shl" if left else "ashr" if dtype.kind == "i" else "lshr"

        def emit(b: ir.IRBuilder, how: ir.Value, x: ir.Value, y: ir.Value) -> ir.Value:
            return getattr(b, name)(x, b.and_(y, constant(y.type, dtype.bits - 1)))
        return emit
    return of


def reversed_operands(operation: Callable[[DType], Emit]) -> Callable[[DType], Emit]:
    """The same of the second and the first."""
    return lambda dtype: lambda b, how, x, y: operation(dtype)(b, how, y, x)


def fused(b: ir.IRBuilder, how: ir.Value, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
    """x * y + z, rounded once."""
    return vec.call(b, "fma", x, y, z)


def dot4(b: ir.IRBuilder, how: ir.Value, acc: ir.Value, x: ir.Value, y: ir.Value) -> ir.Value:
    """acc + the sum of the products of the four signed bytes of each x and y."""
    top = constant(acc.type, 24)
    for left in (24, 16, 8, 0):
        first, second = (b.ashr(b.shl(v, constant(v.type, left)), top) for v in (x, y))
        acc = b.add(acc, b.mul(first, second))
    return acc


def of_floats(emit: Callable[[ir.IRBuilder, ir.Value], ir.Value]) -> Callable[[DType], Emit]:
    """An operation on one vector of floats."""
    return lambda dtype: lambda b, how, x: emit(b, x)


def root(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """Square roots, correctly rounded; by bits, as LLVM takes one NaN of a square root for another."""
    bits = b.bitcast(vec.call(b, "sqrt", x), like(x.type, vec.I32))
    above = b.icmp_signed(">", b.and_(bits, constant(bits.type, MAGNITUDE)), constant(bits.type, INFINITY))
    return b.bitcast(b.select(above, b.bitcast(vec.nan_of(b, x.type), bits.type), bits), x.type)


def over_one(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """1 / x."""
    return b.fdiv(constant(x.type, 1.0), x)


def ceiling(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """The smallest integers not below x; by way of floor, for which every process has a function."""
    return b.fneg(vec.call(b, "floor", b.fneg(x)))


def whole_part(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """x without its fraction; by way of floor, as `ceiling`."""
    bits, sign = like(x.type, vec.I32), constant(like(x.type, vec.I32), ~MAGNITUDE)
    size = b.bitcast(b.and_(b.bitcast(x, bits), constant(bits, MAGNITUDE)), x.type)
    whole = b.bitcast(vec.call(b, "floor", size), bits)
    return b.bitcast(b.or_(whole, b.and_(b.bitcast(x, bits), sign)), x.type)


def positive_part(dtype: DType) -> Emit:
    """The larger of x and +0; NaN gives +0."""
    def emit(b: ir.IRBuilder, how: ir.Value, x: ir.Value) -> ir.Value:
        zero = constant(x.type, 0)
        if dtype.kind == "u":
            return x
        above = b.fcmp_ordered(">", x, zero) if floating(x) else b.icmp_signed(">", x, zero)
        return b.select(above, x, zero)
    return emit


def negative(dtype: DType) -> Emit:
    """-x."""
    return lambda b, how, x: b.fneg(x) if floating(x) else b.sub(constant(x.type, 0), x)


def magnitude(dtype: DType) -> Emit:
    """The absolute value; the lowest integer stays what it is."""
    def emit(b: ir.IRBuilder, how: ir.Value, x: ir.Value) -> ir.Value:
        if floating(x):
            bits = like(x.type, vec.I32)
            return b.bitcast(b.and_(b.bitcast(x, bits), constant(bits, MAGNITUDE)), x.type)
        if dtype.kind == "u":
            return x
        return b.select(b.icmp_signed("<", x, constant(x.type, 0)), b.sub(constant(x.type, 0), x), x)
    return emit


def inverted(dtype: DType) -> Emit:
    """Not x."""
    return lambda b, how, x: b.xor(x, constant(x.type, 1 if dtype.kind == "p" else -1))


SIGNS = {"eq": "==", "ne": "!=", "lt": "<", "gt": ">", "le": "<=", "ge": ">="}


def comparison(name: str, dtype: DType) -> Emit:
    """Whether two compare so, as 0 or 1; of two that have no order only `ne` holds."""
    def emit(b: ir.IRBuilder, how: ir.Value, x: ir.Value, y: ir.Value) -> ir.Value:
        if floating(x):
            holds = (b.fcmp_unordered if name == "ne" else b.fcmp_ordered)(SIGNS[name], x, y)
        else:
            holds = (b.icmp_signed if dtype.kind == "i" else b.icmp_unsigned)(SIGNS[name], x, y)
        return b.zext(holds, like(x.type, ir.IntType(8)))
    return emit


def choice(b: ir.IRBuilder, how: ir.Value, mask: ir.Value, x: ir.Value, y: ir.Value) -> ir.Value:
    """x where the mask is true, else y."""
    return b.select(b.icmp_unsigned("!=", mask, constant(mask.type, 0)), x, y)


def truth(b: ir.IRBuilder, how: ir.Value, x: ir.Value) -> ir.Value:
    """Predicates as 0 and 1."""
    return b.zext(b.icmp_unsigned("!=", x, constant(x.type, 0)), x.type)


def number_of_truth(b: ir.IRBuilder, how: ir.Value, x: ir.Value) -> ir.Value:
    """Predicates as 0 and 1 in s32."""
    return b.zext(truth(b, how, x), like(x.type, vec.I32))


def same(b: ir.IRBuilder, how: ir.Value, x: ir.Value) -> ir.Value:
    """x."""
    return x


TWO = {
    "add": arithmetic("fadd", "add"), "sub": arithmetic("fsub", "sub"), "mul": arithmetic("fmul", "mul"),
    "div": arithmetic("fdiv", ""), "maximum": extreme("maximum", ">"), "minimum": extreme("minimum", "<"),
    "and": arithmetic("", "and_"), "or": arithmetic("", "or_"), "xor": arithmetic("", "xor"),
    "shl": shift(True), "shr": shift(False),
}
SCALAR = {
    "adds": TWO["add"], "subs": TWO["sub"], "rsubs": reversed_operands(TWO["sub"]), "muls": TWO["mul"],
    "divs": TWO["div"], "rdivs": reversed_operands(TWO["div"]), "maxs": TWO["maximum"], "mins": TWO["minimum"],
    "ands": TWO["and"], "ors": TWO["or"], "xors": TWO["xor"], "shls": TWO["shl"], "shrs": TWO["shr"],
}
ONE = {
    "relu": positive_part, "neg": negative, "abs": magnitude, "not": inverted, "sqrt": of_floats(root),
    "rsqrt": of_floats(lambda b, x: over_one(b, root(b, x))), "recip": of_floats(over_one),
    "floor": of_floats(lambda b, x: vec.call(b, "floor", x)), "ceil": of_floats(ceiling),
    "round": of_floats(lambda b, x: vec.call(b, "rint", x)), "trunc": of_floats(whole_part),
}
EXACT: dict[str, Emit] = {  # transcendental functions of the exact mode
    **{name: emitted(getattr(exact_functions, name)) for name in ("log", "sigmoid", "tanh", "erf")},
    "sin": turned(0), "cos": turned(1),
}
