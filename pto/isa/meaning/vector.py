"""Meanings of the vector unit: f16 and bf16 in f32, one rounding each; folds from the left; integers wrap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pto.isa import exact_functions
from pto.isa.exact_math import EXP_HIGHEST, EXP_LOWEST, exp_steps
from pto.isa.meaning.convert import converted, converted_at_random, is_float
from pto.isa.meaning.cube import fma
from pto.isa.meaning.operands import Array, Meaning, Operands
from pto.isa.spec import Instr
from pto.isa.table import vector

Function = Callable[[Array, Array], Array]


class NumpyKit:
    """`exact_functions.Kit` on arrays."""

    where = staticmethod(np.where)

    def bits(self, x: Array) -> Array:
        """The bits of float64 values, as int64."""
        return np.ascontiguousarray(x).view(np.int64)

    def number(self, bits: Array) -> Array:
        """The float64 values with these bits."""
        return np.ascontiguousarray(bits).view(np.float64)

    def nearest(self, integers: Array) -> Array:
        """The float64 values nearest to int64 values."""
        return integers.astype(np.float64)


KIT = NumpyKit()


def wide(x: Array) -> Array:
    """Floating elements as f32, predicates as 0 and 1; others as they are."""
    if x.dtype == bool:
        return np.asarray(x.view(np.uint8) != 0)
    return x.astype(np.float32) if is_float(x.dtype) else x


def rounded_scalar(o: Operands, name: str = "scalar") -> Array:
    """A scalar in the destination's type, computed with as f32 where that is floating."""
    scalar = getattr(o, name)
    if is_float(o.dtype):
        return np.asarray(scalar, np.float32).astype(o.dtype).astype(np.float32)
    low, high = (0, 1) if o.dtype == bool else (np.iinfo(o.dtype).min, np.iinfo(o.dtype).max)
    number = 0.0 if np.isnan(scalar) else np.clip(np.rint(scalar), low, high)
    return np.asarray(number).astype(o.dtype)


def larger(a: Array, b: Array) -> Array:
    """The larger of a and b; one NaN is ignored, -0 is below +0."""
    if not is_float(a.dtype):
        return np.maximum(a, b)
    chosen = np.where((a > b) | np.isnan(b), a, b)
    return np.where((a == 0) & (b == 0), a + b, chosen)  # -0 only where both are


def smaller(a: Array, b: Array) -> Array:
    """The smaller of a and b; one NaN is ignored, -0 is below +0."""
    return -larger(-a, -b) if is_float(a.dtype) else np.minimum(a, b)


def divided(a: Array, b: Array) -> Array:
    """The number b over a, element by element."""
    return np.divide(b, a)


def expanded(o: Operands) -> Array:
    """A column or a row, everywhere."""
    return np.broadcast_to(o.a, o.shape).copy()


def exp(x: Array) -> Array:
    """`exact_math.exp_f32` of every element."""
    y = x.astype(np.float64)
    n, p = exp_steps(np.where(np.isnan(y), 0.0, np.clip(y, EXP_LOWEST, EXP_HIGHEST)))
    result = np.ldexp(p, n.astype(np.int64)).astype(np.float32)
    result[y > EXP_HIGHEST] = np.inf
    result[y < EXP_LOWEST] = 0
    result[np.isnan(y)] = np.nan
    return result


def exact(function: Callable[..., Any]) -> Callable[[Array], Array]:
    """One of `exact_functions`, rounded to f32."""
    def compute(x: Array) -> Array:
        value: Array = function(KIT, x.astype(np.float64))
        return np.where(np.isnan(x), np.float32(np.nan), value.astype(np.float32))
    return compute


def turned(more: int) -> Callable[[Any, Array], Array]:
    """The sine of an angle and so many right angles."""
    def compute(kit: Any, x: Array) -> Array:
        near, far = exact_functions.near_turns(kit, x), exact_functions.far_turns(kit, x)
        quadrant, rest = (np.where(exact_functions.is_far(kit, x), a, b) for a, b in zip(far, near, strict=True))
        value: Array = exact_functions.sine_of(kit, quadrant + more, np.where(np.isinf(x), np.nan, rest))
        return value
    return compute


def over_one_and_exp(x: Array, y: Array) -> Array:
    """x / (1 + exp(y)), every step in f32."""
    return x / (exp(y) + np.float32(1))


def gelu(x: Array) -> Array:
    """The steps that the row names, each in f32."""
    square, linear = map(np.float32, vector.GELU)
    return over_one_and_exp(x, x * (x * x * square + linear))


def shifted(function: Function) -> Function:
    """A shift, by what is left of b modulo the bits of an element."""
    return lambda a, b: function(a, b & np.asarray(8 * a.dtype.itemsize - 1, a.dtype))


def magnitude(x: Array) -> Array:
    """The absolute value; the lowest integer stays what it is."""
    return np.abs(x)


def fold(function: Function, axis: int, empty: Callable[[np.dtype[Any]], float]) -> Meaning:
    """Columns or rows combined in index order, from the first, in f32 or s32; `empty` where there is none."""
    def meaning(o: Operands) -> Array:
        slices = np.moveaxis(wide(o.a), axis, 0)
        slices = slices if is_float(o.dtype) else slices.astype(o.dtype)  # predicates that are counted
        if len(slices) == 0:
            return np.full(o.shape, empty(o.dtype))
        total: Array = slices[0]
        for row in slices[1:]:
            total = function(total, row)
        return np.expand_dims(total, axis)
    return meaning


def row_dot(o: Operands) -> Array:
    """Products of two rows in index order, each added with one rounding."""
    a, b = wide(o.a), wide(o.b)
    if not is_float(o.dtype):
        return np.asarray((a.astype(np.int64) * b).sum(axis=1, keepdims=True))
    total: Array = np.zeros((len(a), 1), np.float32)
    for j in range(a.shape[1]):
        total = fma(a[:, j:j + 1], b[:, j:j + 1], total)
    return total


def lowest(dtype: np.dtype[Any]) -> float:
    """What is below all else."""
    return -np.inf if is_float(dtype) else np.iinfo(dtype).min


def highest(dtype: np.dtype[Any]) -> float:
    """What is above all else."""
    return np.inf if is_float(dtype) else np.iinfo(dtype).max


def keys(x: Array, sign: int) -> Array:
    """Numbers that order elements as they are, or reversed; NaN comes last."""
    wide_x = sign * x.astype(np.float64)
    return np.where(np.isnan(wide_x), np.inf, -wide_x)


def ranked(x: Array, sign: int) -> Array:
    """In each row the indices from the largest element, or the smallest, on; equal ones in order, NaN last."""
    nan = np.isnan(x.astype(np.float64))
    return np.lexsort((np.broadcast_to(np.arange(x.shape[1]), x.shape), keys(x, sign), nan), axis=1)


def chosen(sign: int) -> Meaning:
    """The index of the largest or smallest element of each row."""
    def meaning(o: Operands) -> Array:
        if o.cols == 0:
            return np.zeros(o.shape)
        first = ranked(o.a, sign)[:, :1]
        every = np.isnan(o.a.astype(np.float64)).all(axis=1, keepdims=True)
        return np.where(every, 0, first)
    return meaning


def largest(index: bool) -> Meaning:
    """The largest elements of each row, or their indices."""
    def meaning(o: Operands) -> Array:
        order = ranked(o.a, 1)[:, :o.count]
        result = np.full(o.shape, -1 if index else lowest(o.dtype)).astype(o.dtype)
        result[:, :order.shape[1]] = order if index else np.take_along_axis(o.a, order, axis=1)
        return result
    return meaning


def selected(other: Callable[[Operands], Array]) -> Meaning:
    """a where the mask is true, else something else; bits are kept."""
    return lambda o: np.where(o.mask.view(np.uint8) != 0, o.a, other(o))


COMPARE: dict[str, Function] = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "gt": np.greater, "le": np.less_equal, "ge": np.greater_equal,
}


def of_one(function: Callable[[Array], Array]) -> Meaning:
    """An operation on a tile."""
    return lambda o: function(wide(o.a))


def of_tiles(function: Function) -> Meaning:
    """An operation on two tiles; the second may be one column or row, used for all."""
    return lambda o: function(wide(o.a), wide(o.b))


def of_scalar(function: Function) -> Meaning:
    """An operation on a tile and a number."""
    return lambda o: function(wide(o.a), rounded_scalar(o))


def clamped(o: Operands) -> Array:
    """The larger of a and low, and the smaller of that and high."""
    return smaller(larger(wide(o.a), rounded_scalar(o, "low")), rounded_scalar(o, "high"))


def of_type(o: Operands) -> Operands:
    """The same operands, the scalar being converted to the type of a."""
    return Operands(**{**vars(o), "dtype": o.a.dtype})


def signed_bytes(x: Array) -> Array:
    """The four bytes of each int32, the lowest first, along a new axis."""
    return np.asarray(x[..., None] << np.array([24, 16, 8, 0], np.int32) >> np.int32(24))


BINARY: dict[str, Function] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "maximum": larger, "minimum": smaller,
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
    "shl": shifted(np.left_shift), "shr": shifted(np.right_shift),
}
SCALAR: dict[str, Function] = {
    "muls": np.multiply, "adds": np.add, "subs": np.subtract, "divs": np.divide, "rdivs": divided,
    "rsubs": lambda a, b: np.subtract(b, a), "maxs": larger, "mins": smaller,
    "ands": np.bitwise_and, "ors": np.bitwise_or, "xors": np.bitwise_xor,
    "shls": shifted(np.left_shift), "shrs": shifted(np.right_shift),
}
UNARY: dict[str, Callable[[Array], Array]] = {
    "exp": exp, "relu": lambda x: larger(x, np.zeros_like(x)), "sqrt": np.sqrt, "log": exact(exact_functions.log),
    "rsqrt": lambda x: np.float32(1) / np.sqrt(x), "recip": lambda x: np.float32(1) / x,
    "tanh": exact(exact_functions.tanh), "sigmoid": exact(exact_functions.sigmoid), "erf": exact(exact_functions.erf),
    "silu": lambda x: over_one_and_exp(x, -x), "gelu": gelu,
    "sin": exact(turned(0)), "cos": exact(turned(1)), "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc,
    "round": np.rint,
    "neg": np.negative, "abs": magnitude, "not": np.invert,
}
Folded = dict[Instr, tuple[Function, Callable[["np.dtype[Any]"], float]]]
ROWS: Folded = {
    vector.TROWSUM: (np.add, lambda _: 0), vector.TROWPROD: (np.multiply, lambda _: 1),
    vector.TROWMAX: (larger, lowest), vector.TROWMIN: (smaller, highest),
    vector.TROWANY: (np.logical_or, lambda _: False), vector.TROWALL: (np.logical_and, lambda _: True),
}
COLUMNS: Folded = {
    vector.TCOLSUM: (np.add, lambda _: 0), vector.TCOLPROD: (np.multiply, lambda _: 1),
    vector.TCOLMAX: (larger, lowest), vector.TCOLMIN: (smaller, highest),
    vector.TCOLANY: (np.logical_or, lambda _: False), vector.TCOLALL: (np.logical_and, lambda _: True),
}
FAMILIES: tuple[tuple[dict[str, Any], Callable[[Any], Meaning]], ...] = (
    (UNARY, of_one), (BINARY, of_tiles), (SCALAR, of_scalar),
)
MEANING: dict[str, Meaning] = {
    **{row.mnemonic: made(functions[row.tensor_op]) for row in vars(vector).values() if isinstance(row, Instr)
       for functions, made in FAMILIES if row.tensor_op in functions},
    **{row.mnemonic: fold(function, 1, empty) for row, (function, empty) in ROWS.items()},
    **{row.mnemonic: fold(function, 0, empty) for row, (function, empty) in COLUMNS.items()},
    vector.TROWDOT.mnemonic: row_dot,
    vector.TROWEXPAND.mnemonic: expanded,
    vector.TCOLEXPAND.mnemonic: expanded,
    vector.TEXPANDS.mnemonic: lambda o: np.full(o.shape, rounded_scalar(o)),
    vector.TROWEXPANDEXPDIF.mnemonic: lambda o: exp(wide(o.a) - wide(o.b)),
    vector.TFMA.mnemonic: lambda o: fma(wide(o.a), wide(o.b), wide(o.c)),
    vector.TDOT4.mnemonic: lambda o: o.acc + (signed_bytes(o.a) * signed_bytes(o.b)).sum(-1, dtype=np.int32),
    vector.TCLAMPS.mnemonic: clamped,
    vector.TCMP.mnemonic: lambda o: COMPARE[o.cmp](wide(o.a), wide(o.b)),
    vector.TCMPS.mnemonic: lambda o: COMPARE[o.cmp](wide(o.a), rounded_scalar(of_type(o))),
    vector.TSEL.mnemonic: selected(lambda o: o.b),
    vector.TSELS.mnemonic: selected(lambda o: rounded_scalar(o).astype(o.dtype)),
    vector.TCVT.mnemonic: converted,
    vector.TCVT_SR.mnemonic: converted_at_random,
    vector.TROWARGMAX.mnemonic: chosen(1),
    vector.TROWARGMIN.mnemonic: chosen(-1),
    vector.TTOPK.mnemonic: largest(index=False),
    vector.TTOPK_INDEX.mnemonic: largest(index=True),
}
KEEPS_NAN = {vector.TROWEXPAND.mnemonic, vector.TCOLEXPAND.mnemonic, vector.TSEL.mnemonic, vector.TSELS.mnemonic,
             vector.TTOPK.mnemonic}
