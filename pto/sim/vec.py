"""Vectors of eight f32 lanes and raw memory, as functions that Numba can compile.

Each function here emits LLVM IR that every target accepts; LLVM splits or merges vectors to what the
host has. Eight lanes are part of the meaning of fast mode, so results do not depend on the host.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import Parameter, Signature
from typing import Any, TypeVar

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

LANES = 8
OPTIONS: dict[str, Any] = {  # of every function that is compiled; C calls none but the entries
    "nogil": True, "error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True,
}
I32, I64, F32, F64 = ir.IntType(32), ir.IntType(64), ir.FloatType(), ir.DoubleType()
F32X8, I32X8, I64X8 = (ir.VectorType(element, LANES) for element in (F32, I32, I64))
Emit = Callable[..., ir.Value | None]


class VectorType(types.Type):  # type: ignore[misc]
    """The type of eight lanes."""

    def __init__(self, name: str, lanes: ir.VectorType) -> None:
        super().__init__(name)
        self.lanes = lanes


@register_model(VectorType)
class VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    """A vector is one LLVM vector."""

    def __init__(self, manager: Any, kind: VectorType) -> None:
        super().__init__(manager, kind, kind.lanes)


VECTOR = VectorType("f32x8", F32X8)
INT, FLOAT, VOID = types.int64, types.float32, types.void
declared = cgutils.get_or_insert_function
Function = TypeVar("Function", bound=Callable[..., Any])


def inline(function: Function) -> Function:
    """A function that compiled code calls, and that becomes part of its caller."""
    return _compiled_once(function, forceinline=True)


def called(function: Function) -> Function:
    """A function that compiled code calls, and that LLVM may keep apart."""
    return _compiled_once(function)


def separate(function: Function) -> Function:
    """A function that compiled code calls, and that calls `stay_apart`; it does not inherit what `inline` asks for."""
    return _compiled_once(function, forceinline=False)


def _compiled_once(function: Function, **options: Any) -> Function:
    """A function that constants are numbers to like any other.

    Numba would compile it again for every constant argument, which is LLVM's to make use of. It asks the function
    itself how to be called; a Numba that does not would be slow to start, and no more.
    """
    made: Any = njit(**OPTIONS, **options)(function)
    described = made.get_call_template

    def any_number(args: Any, kws: Any) -> Any:
        return described(tuple(map(types.unliteral, args)), kws)
    made.get_call_template = any_number
    compiled: Function = made
    return compiled


def emits(result: Any, *arguments: Any) -> Callable[[Emit], Any]:
    """Make a function of compiled code from one that emits its IR."""
    names = ["context", *(f"x{i}" for i in range(len(arguments)))]
    shape = Signature([Parameter(name, Parameter.POSITIONAL_ONLY) for name in names])

    def wrap(emit: Emit) -> Any:
        def typing(_context: Any, *_given: Any) -> Any:
            def generate(context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> Any:
                made = emit(builder, *values)
                return context.get_dummy_value() if made is None else made
            return result(*arguments), generate
        typing.__name__ = emit.__name__
        typing.__signature__ = shape  # type: ignore[attr-defined]
        made = intrinsic(typing)
        made.emit = emit  # for functions that emit the same as a part of theirs
        return made
    return wrap


def emits_int(*arguments: Any) -> Callable[[Emit], Callable[..., int]]:
    """The same, for a function whose result is an int64."""
    return emits(INT, *arguments)


def lanes(numbers: Sequence[int]) -> ir.Constant:
    """A constant vector of i32, such as a mask of a shuffle."""
    return ir.Constant(ir.VectorType(I32, len(numbers)), list(numbers))


def call(builder: ir.IRBuilder, name: str, *values: ir.Value) -> ir.Value:
    """Call an LLVM intrinsic whose result and arguments have one type."""
    kind = values[0].type
    count, element = (f"v{kind.count}", kind.element) if isinstance(kind, ir.VectorType) else ("", kind)
    suffix = f"{count}f{64 if element == F64 else 32}"
    signature = ir.FunctionType(kind, [kind] * len(values))
    return builder.call(declared(builder.module, signature, f"llvm.{name}.{suffix}"), values)


def pointer(builder: ir.IRBuilder, address: ir.Value, kind: ir.Type) -> ir.Value:
    """An address as a pointer.

    LLVM may take any term of the sum that an address is for the pointer, and the rest for an offset. Where that term
    is 0 it would hold the access for impossible, and drop what leads to it: so null is declared to be valid.
    """
    set.add(builder.function.attributes, "null_pointer_is_valid")  # llvmlite's own `add` does not know it
    return builder.inttoptr(address, kind.as_pointer())


def load(builder: ir.IRBuilder, address: ir.Value, kind: ir.Type) -> ir.Value:
    """An unaligned load."""
    value = builder.load(pointer(builder, address, kind))
    value.align = 1
    return value


def store(builder: ir.IRBuilder, address: ir.Value, value: ir.Value) -> None:
    """An unaligned store."""
    builder.store(value, pointer(builder, address, value.type)).align = 1


def broadcast(builder: ir.IRBuilder, value: ir.Value, kind: ir.VectorType = F32X8) -> ir.Value:
    """The same value in every lane."""
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, value, I32(0))
    return builder.shuffle_vector(first, undefined, lanes([0] * kind.count))


def nan_of(builder: ir.IRBuilder, kind: ir.Type) -> ir.Value:
    """The canonical NaN, in every lane of a vector."""
    bits = I32(0x7FC00000)
    if isinstance(kind, ir.VectorType):
        bits = lanes([bits.constant] * kind.count)
    return builder.bitcast(bits, kind)


def canonical(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """NaN becomes the canonical NaN; the rest stays."""
    return builder.select(builder.fcmp_unordered("uno", value, value), nan_of(builder, value.type), value)


@emits(VOID)
def stay_apart(b: ir.IRBuilder) -> None:
    """What calls this does not become part of its caller."""
    set.add(b.function.attributes, "noinline")


# Words and scalars ------------------------------------------------------------------------------

@emits_int(INT, INT)
def word(b: ir.IRBuilder, base: ir.Value, number: ir.Value) -> ir.Value:
    """The int64 with this number after an address."""
    return load(b, b.add(base, b.shl(number, I64(3))), I64)


@emits(VOID, INT, INT, INT)
def set_word(b: ir.IRBuilder, base: ir.Value, number: ir.Value, value: ir.Value) -> None:
    """Write the int64 with this number after an address."""
    store(b, b.add(base, b.shl(number, I64(3))), value)


@emits(FLOAT, INT)
def load1(b: ir.IRBuilder, address: ir.Value) -> ir.Value:
    """One f32."""
    return load(b, address, F32)


def load_bits(size: int) -> Any:
    """The bits of an element of so many bytes."""
    def read(b: ir.IRBuilder, address: ir.Value) -> ir.Value:
        return b.zext(load(b, address, ir.IntType(8 * size)), I64)
    return emits_int(INT)(read)


def mover(size: int) -> Any:
    """A copy of so many bytes."""
    def move(b: ir.IRBuilder, to: ir.Value, address: ir.Value) -> None:
        store(b, to, load(b, address, ir.IntType(8 * size)))
    return emits(VOID, INT, INT)(move)


@emits(VOID, INT)
def clear_byte(b: ir.IRBuilder, to: ir.Value) -> None:
    """Write a zero."""
    store(b, to, ir.IntType(8)(0))


@emits(VOID, INT)
def prefetch(b: ir.IRBuilder, address: ir.Value) -> None:
    """Ask for the line of memory at an address, which need not be anybody's; the second cache waits for most."""
    at = pointer(b, address, ir.IntType(8))
    kind = ir.FunctionType(ir.VoidType(), [at.type, I32, I32, I32])
    b.call(declared(b.module, kind, "llvm.prefetch.p0"), [at, I32(0), I32(2), I32(1)])


@emits(FLOAT, FLOAT)
def canonical1(b: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """A NaN becomes the canonical NaN."""
    return canonical(b, value)


@emits(FLOAT, INT)
def number(b: ir.IRBuilder, bits: ir.Value) -> ir.Value:
    """The f32 nearest to a float64 given by its bits."""
    return b.fptrunc(b.bitcast(bits, F64), F32)


@emits(VOID, INT, INT, INT, INT)
def call_handler(b: ir.IRBuilder, address: ir.Value, *arguments: ir.Value) -> None:
    """Call a handler by its address."""
    b.call(pointer(b, address, ir.FunctionType(ir.VoidType(), [I64] * 3)), arguments)


def wrapping(operation: str) -> Callable[..., int]:
    """Integer arithmetic modulo 2**64; Numba's own leaves overflow undefined."""
    def emit(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
        return getattr(b, operation)(x, y)
    return emits_int(INT, INT)(emit)


add_wrap, sub_wrap, mul_wrap = (wrapping(name) for name in ("add", "sub", "mul"))
truncated_div, truncated_rem = wrapping("sdiv"), wrapping("srem")


# Vectors ----------------------------------------------------------------------------------------

@emits(VECTOR, INT)
def load8(b: ir.IRBuilder, address: ir.Value) -> ir.Value:
    """Eight f32."""
    return load(b, address, F32X8)


@emits(VOID, INT, VECTOR)
def store8(b: ir.IRBuilder, address: ir.Value, value: ir.Value) -> None:
    """Write eight f32."""
    store(b, address, value)


@emits(VECTOR, FLOAT)
def splat8(b: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """A number in every lane."""
    return broadcast(b, value)


def first_lanes(b: ir.IRBuilder, count: ir.Value, number: int = LANES) -> ir.Value:
    """A mask of the first of a number of lanes."""
    wide = ir.VectorType(I32, number)
    return b.icmp_signed("<", lanes(range(number)), broadcast(b, b.trunc(count, I32), wide))


def masked(b: ir.IRBuilder, action: str, result: ir.Type, vector: ir.VectorType, *values: ir.Value) -> ir.Value:
    """LLVM's masked load or store of lanes of 32 bits."""
    suffix = f"v{vector.count}{'f' if vector.element == F32 else 'i'}32.p0"
    kind = ir.FunctionType(result, [value.type for value in values])
    return b.call(declared(b.module, kind, f"llvm.masked.{action}.{suffix}"), values)


def load_first(b: ir.IRBuilder, address: ir.Value, count: ir.Value, rest: ir.Value) -> ir.Value:
    """The first lanes, of 32 bits, from memory, the others as in `rest`; memory of the others is not touched."""
    kind = rest.type
    at = pointer(b, address, kind)
    return masked(b, "load", kind, kind, at, I32(1), first_lanes(b, count, kind.count), rest)


def store_first(b: ir.IRBuilder, address: ir.Value, count: ir.Value, value: ir.Value) -> None:
    """Store the first lanes, of 32 bits; memory of the others is not touched."""
    kind = value.type
    at = pointer(b, address, kind)
    masked(b, "store", ir.VoidType(), kind, value, at, I32(1), first_lanes(b, count, kind.count))


@emits(VECTOR, INT, INT, FLOAT)
def load_part(b: ir.IRBuilder, address: ir.Value, count: ir.Value, rest: ir.Value) -> ir.Value:
    """The first lanes from memory, the others `rest`."""
    return load_first(b, address, count, broadcast(b, rest))


@emits(VOID, INT, INT, VECTOR)
def store_part(b: ir.IRBuilder, address: ir.Value, count: ir.Value, value: ir.Value) -> None:
    """Store the first lanes."""
    store_first(b, address, count, value)


@emits(VECTOR, VECTOR, VECTOR)
def sub8(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """Lanewise difference whose NaNs are canonical."""
    return canonical(b, b.fsub(x, y))


@emits(VECTOR, VECTOR, VECTOR)
def plain_add8(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """Lanewise sum whose NaNs are as they come."""
    return b.fadd(x, y)


@emits(VECTOR, VECTOR, VECTOR)
def plain_mul8(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """Lanewise product whose NaNs are as they come."""
    return b.fmul(x, y)


@emits(VECTOR, VECTOR, VECTOR, VECTOR)
def fused8(b: ir.IRBuilder, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
    """Lanewise x * y + z, rounded once."""
    return call(b, "fma", x, y, z)


@emits(FLOAT, FLOAT, FLOAT, FLOAT)
def fused1(b: ir.IRBuilder, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
    """x * y + z, rounded once."""
    return call(b, "fma", x, y, z)


def any_lane(b: ir.IRBuilder, holds: ir.Value) -> ir.Value:
    """Whether a condition holds in one lane at least."""
    kind = ir.FunctionType(ir.IntType(1), [holds.type])
    return b.call(declared(b.module, kind, f"llvm.vector.reduce.or.v{holds.type.count}i1"), [holds])


def maximum(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """The larger; a NaN loses to a number, -0 to +0."""
    bits = ir.VectorType(I32, x.type.count) if isinstance(x.type, ir.VectorType) else I32
    larger = b.select(b.or_(b.fcmp_ordered(">", x, y), b.fcmp_unordered("uno", y, y)), x, y)
    both = b.bitcast(b.and_(b.bitcast(x, bits), b.bitcast(y, bits)), x.type)
    return canonical(b, b.select(b.fcmp_ordered("==", x, y), both, larger))


max8 = emits(VECTOR, VECTOR, VECTOR)(maximum)


def minimum(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """The smaller; a NaN loses to a number, -0 is below +0."""
    bits = ir.VectorType(I32, x.type.count) if isinstance(x.type, ir.VectorType) else I32
    smaller = b.select(b.or_(b.fcmp_ordered("<", x, y), b.fcmp_unordered("uno", y, y)), x, y)
    either = b.bitcast(b.or_(b.bitcast(x, bits), b.bitcast(y, bits)), x.type)
    return canonical(b, b.select(b.fcmp_ordered("==", x, y), either, smaller))


@emits(VECTOR, VECTOR, VECTOR)
def greater8(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """x where it is above y, else y: one instruction, and right but for NaN and signed zeros."""
    return b.select(b.fcmp_ordered(">", x, y), x, y)


# Which lanes of two vectors, the second counted from 8, make up each of two: in three rounds, a transpose.
TRANSPOSE_ROUNDS = (
    (1, (0, 8, 1, 9, 4, 12, 5, 13), (2, 10, 3, 11, 6, 14, 7, 15)),
    (2, (0, 1, 8, 9, 4, 5, 12, 13), (2, 3, 10, 11, 6, 7, 14, 15)),
    (4, (0, 1, 2, 3, 8, 9, 10, 11), (4, 5, 6, 7, 12, 13, 14, 15)),
)

TRANSPOSED = (0, 2, 1, 3, 4, 6, 5, 7)  # the rows of the transpose, in the order in which these rounds make them


def transposer(size: int) -> Any:
    """Writes the transpose of 8 x 8 elements of so many bytes."""
    kind = ir.VectorType(ir.IntType(8 * size), LANES)

    def transpose(b: ir.IRBuilder, to: ir.Value, to_pitch: ir.Value, at: ir.Value, pitch: ir.Value) -> None:
        rows = [load(b, b.add(at, b.mul(pitch, I64(i))), kind) for i in range(LANES)]
        for distance, low, high in TRANSPOSE_ROUNDS:
            mixed = list(rows)
            for i in range(LANES):
                if not i & distance:
                    pair = rows[i], rows[i + distance]
                    mixed[i], mixed[i + distance] = (b.shuffle_vector(*pair, lanes(mask)) for mask in (low, high))
            rows = mixed
        for i, row in zip(TRANSPOSED, rows, strict=True):
            store(b, b.add(to, b.mul(to_pitch, I64(i))), row)
    return emits(VOID, INT, INT, INT, INT)(transpose)


def tree(b: ir.IRBuilder, x: ir.Value, combine: Callable[[ir.Value, ir.Value], ir.Value]) -> ir.Value:
    """Lanes combined in one fixed tree."""
    count = x.type.count
    while count > 1:
        count //= 2
        undefined = ir.Constant(x.type, ir.Undefined)
        low, high = (
            b.shuffle_vector(x, undefined, lanes(range(at, at + count)))
            for at in (0, count)
        )
        x = combine(low, high)
    return b.extract_element(x, I32(0))


@emits(FLOAT, VECTOR)
def sum_lanes(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """The sum of all lanes."""
    return tree(b, x, b.fadd)


@emits(FLOAT, VECTOR)
def product_lanes(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """The product of all lanes."""
    return tree(b, x, b.fmul)


@emits(FLOAT, VECTOR)
def maximum_lane(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """The largest lane, as `maximum` says."""
    return tree(b, x, lambda low, high: maximum(b, low, high))


@emits(FLOAT, VECTOR)
def greatest_lane(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """The largest lane, as `greater8` says."""
    return tree(b, x, lambda low, high: b.select(b.fcmp_ordered(">", low, high), low, high))
