"""Element types in registers: lanes of f16 and bf16 are computed with as f32.

f16 is converted by the host where it can, and else by bits: LLVM would call a function that not every process has.
"""

from __future__ import annotations

from llvmlite import ir

from pto.core.dtypes import BF16, F16, F32, PRED, DType
from pto.sim import vec
from pto.sim.loader import host

I16 = ir.IntType(16)
MASKS = {"sign": 0x8000, "rest": 0x7FFF, "infinite": 0x7C00}


def like(kind: ir.Type, element: ir.Type) -> ir.Type:
    """As many lanes of another element type; a single value for a single value."""
    return ir.VectorType(element, kind.count) if isinstance(kind, ir.VectorType) else element


def constant(kind: ir.Type, value: float) -> ir.Constant:
    """The same number everywhere."""
    element = kind.element if isinstance(kind, ir.VectorType) else kind
    number = value if isinstance(element, ir.IntType) else float(value)
    return ir.Constant(kind, [number] * kind.count if isinstance(kind, ir.VectorType) else number)


def storage(dtype: DType) -> ir.Type:
    """What LLVM loads and stores: bits for what it does not compute with."""
    return vec.F32 if dtype is F32 else ir.IntType(dtype.bits)


def widened(b: ir.IRBuilder, dtype: DType, x: ir.Value) -> ir.Value:
    """Stored lanes as what is computed with: f32, integers as they are, predicates as 0 and 1."""
    if dtype is BF16:
        wide = like(x.type, vec.I32)
        return b.bitcast(b.shl(b.zext(x, wide), constant(wide, 16)), like(x.type, vec.F32))
    if dtype is F16:
        return half_to_f32(b, x)
    if dtype is PRED:
        return b.zext(b.icmp_unsigned("!=", x, constant(x.type, 0)), x.type)
    return x


def narrowed(b: ir.IRBuilder, dtype: DType, x: ir.Value) -> ir.Value:
    """The reverse, to nearest with ties to even; a NaN is the canonical one."""
    if dtype is BF16:
        wide = like(x.type, vec.I32)
        bits = b.bitcast(x, wide)
        odd = b.and_(b.lshr(bits, constant(wide, 16)), constant(wide, 1))
        bits = b.add(bits, b.add(odd, constant(wide, 0x7FFF)))
        return b.trunc(b.lshr(bits, constant(wide, 16)), like(x.type, I16))
    return f32_to_half(b, x) if dtype is F16 else x


def half_to_f32(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """f16 bits as f32."""
    wide, floating = like(x.type, vec.I32), like(x.type, vec.F32)
    if host().converts_halves:
        return b.fpext(b.bitcast(x, like(x.type, ir.HalfType())), floating)
    bits = b.zext(x, wide)
    rest, sign = (b.shl(b.and_(bits, constant(wide, MASKS[name])), constant(wide, by))
                  for name, by in (("rest", 13), ("sign", 16)))
    scaled = b.bitcast(b.fmul(b.bitcast(rest, floating), constant(floating, 2.0**112)), wide)
    infinite = b.icmp_unsigned(">=", rest, constant(wide, MASKS["infinite"] << 13))
    scaled = b.select(infinite, b.or_(rest, constant(wide, 0x7F800000)), scaled)
    return b.bitcast(b.or_(scaled, sign), floating)


def f32_to_half(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """f32 as f16 bits; a NaN is the canonical one."""
    wide, narrow = like(x.type, vec.I32), like(x.type, I16)
    if host().converts_halves:
        return b.bitcast(b.fptrunc(x, like(x.type, ir.HalfType())), narrow)
    bits = b.bitcast(x, wide)
    size, sign = b.and_(bits, constant(wide, 0x7FFFFFFF)), b.lshr(b.and_(bits, constant(wide, -(2**31))),
                                                                 constant(wide, 16))
    odd = b.and_(b.lshr(size, constant(wide, 13)), constant(wide, 1))
    normal = b.lshr(b.add(size, b.add(odd, constant(wide, 0xFFF - (112 << 23)))), constant(wide, 13))
    magic = constant(x.type, 0.5)  # its last bit is that of a subnormal f16
    low = b.sub(b.bitcast(b.fadd(b.bitcast(size, x.type), magic), wide), b.bitcast(magic, wide))
    result = b.select(b.icmp_unsigned("<", size, constant(wide, 113 << 23)), low, normal)
    result = b.select(b.icmp_unsigned(">=", size, constant(wide, 143 << 23)), constant(wide, 0x7C00), result)
    result = b.select(b.icmp_unsigned(">", size, constant(wide, 0x7F800000)), constant(wide, F16.nan), result)
    return b.trunc(b.or_(result, sign), narrow)
