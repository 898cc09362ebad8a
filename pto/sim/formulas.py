"""`pto.isa.exact_functions` in registers: the same formulas on lanes, so that both machines perform the same steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from pto.isa import exact_functions
from pto.sim.formats import constant, like
from pto.sim.vec import F32, F64, I64, nan_of

Emit = Callable[[ir.IRBuilder, ir.Value], ir.Value]


class Lanes:
    """Lanes with the operators of an array: float64, int64, or conditions."""

    def __init__(self, b: ir.IRBuilder, value: ir.Value) -> None:
        self.b, self.value = b, value
        self.floating = value.type.element == F64

    def _of(self, other: Lanes | float) -> ir.Value:
        return other.value if isinstance(other, Lanes) else constant(self.value.type, other)

    def _made(self, floating: str, integer: str, other: Lanes | float, *, swapped: bool = False) -> Lanes:
        pair = (self._of(other), self.value) if swapped else (self.value, self._of(other))
        return Lanes(self.b, getattr(self.b, floating if self.floating else integer)(*pair))

    def __add__(self, other: Lanes | float) -> Lanes:
        return self._made("fadd", "add", other)

    def __sub__(self, other: Lanes | float) -> Lanes:
        return self._made("fsub", "sub", other)

    def __mul__(self, other: Lanes | float) -> Lanes:
        return self._made("fmul", "mul", other)

    def __truediv__(self, other: Lanes | float) -> Lanes:
        return self._made("fdiv", "", other)

    def __rsub__(self, other: float) -> Lanes:
        return self._made("fsub", "sub", other, swapped=True)

    def __rtruediv__(self, other: float) -> Lanes:
        return self._made("fdiv", "", other, swapped=True)

    def __radd__(self, other: float) -> Lanes:
        return self + other

    def __neg__(self) -> Lanes:
        return Lanes(self.b, self.b.fneg(self.value)) if self.floating else 0 - self

    def __and__(self, other: Lanes | int) -> Lanes:
        return self._made("", "and_", other)

    def __or__(self, other: Lanes | int) -> Lanes:
        return self._made("", "or_", other)

    def __lshift__(self, other: Lanes | int) -> Lanes:
        return self._made("", "shl", other)

    def __rshift__(self, other: Lanes | int) -> Lanes:
        return self._made("", "ashr", other)

    def __rlshift__(self, other: int) -> Lanes:
        return self._made("", "shl", other, swapped=True)

    def _compared(self, how: str, other: Lanes | float) -> Lanes:
        compare = self.b.fcmp_ordered if self.floating else self.b.icmp_signed
        return Lanes(self.b, compare(how, self.value, self._of(other)))

    def __lt__(self, other: Lanes | float) -> Lanes:
        return self._compared("<", other)

    def __gt__(self, other: Lanes | float) -> Lanes:
        return self._compared(">", other)

    def __ge__(self, other: Lanes | float) -> Lanes:
        return self._compared(">=", other)


class EmittingKit:
    """`exact_functions.Kit` on lanes."""

    def __init__(self, b: ir.IRBuilder) -> None:
        self.b = b

    def where(self, condition: Lanes, x: Lanes | float, y: Lanes | float) -> Lanes:
        """x where the condition holds, else y."""
        known = next((v for v in (x, y) if isinstance(v, Lanes)), None)
        numbers = (isinstance(v, float) for v in (x, y))
        kind = known.value.type if known else like(condition.value.type, F64 if any(numbers) else I64)
        first, second = (v.value if isinstance(v, Lanes) else constant(kind, v) for v in (x, y))
        return Lanes(self.b, self.b.select(condition.value, first, second))

    def bits(self, x: Lanes) -> Lanes:
        """The bits of float64 values, as int64."""
        return Lanes(self.b, self.b.bitcast(x.value, like(x.value.type, I64)))

    def number(self, bits: Lanes) -> Lanes:
        """The float64 values with these bits."""
        return Lanes(self.b, self.b.bitcast(bits.value, like(bits.value.type, F64)))

    def nearest(self, integers: Lanes) -> Lanes:
        """The float64 values nearest to int64 values."""
        return Lanes(self.b, self.b.sitofp(integers.value, like(integers.value.type, F64)))


def emitted(function: Callable[..., Any]) -> Emit:
    """One of `exact_functions` on f32 lanes, rounded to f32."""
    def emit(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
        wide = Lanes(b, b.fpext(x, like(x.type, F64)))
        value = b.fptrunc(function(EmittingKit(b), wide).value, x.type)
        return b.select(b.fcmp_unordered("uno", x, x), nan_of(b, x.type), value)
    return emit


def turned(more: int) -> Emit:
    """The sine of an angle and so many right angles; far angles take a branch of their own."""
    def emit(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
        kit, wide = EmittingKit(b), Lanes(b, b.fpext(x, like(x.type, F64)))
        far = exact_functions.is_far(kit, wide)
        quadrant, rest = exact_functions.near_turns(kit, wide)
        start = b.block
        mask = b.bitcast(far.value, ir.IntType(x.type.count))
        with b.if_then(b.icmp_unsigned("!=", mask, mask.type(0)), likely=False):
            pairs = zip(exact_functions.far_turns(kit, wide), (quadrant, rest), strict=True)
            others = [kit.where(far, there, here) for there, here in pairs]
            branch = b.block
        merged = []
        for here, there in zip((quadrant, rest), others, strict=True):
            phi = b.phi(here.value.type)
            phi.add_incoming(here.value, start)
            phi.add_incoming(there.value, branch)
            merged.append(Lanes(b, phi))
        value = exact_functions.sine_of(kit, merged[0] + more, merged[1])
        result = b.fptrunc(value.value, x.type)
        size = kit.bits(wide) & ~exact_functions.SIGN_BIT
        odd = b.icmp_signed(">=", size.value, constant(size.value.type, 0x7FF0_0000_0000_0000))
        return b.select(odd, nan_of(b, F32 if not isinstance(x.type, ir.VectorType) else x.type), result)
    return emit
