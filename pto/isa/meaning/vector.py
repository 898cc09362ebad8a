"""Meanings of the vector unit: one rounding each, folds from the left; a scalar is rounded to f32 first."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pto.isa.exact_math import EXP_HIGHEST, EXP_LOWEST, exp_steps
from pto.isa.meaning.operands import Array, Meaning, Operands
from pto.isa.table import vector

Function = Callable[[Array, Array], Array]


def larger(a: Array, b: Array) -> Array:
    """The larger of a and b; one NaN is ignored, -0 is below +0."""
    chosen = np.where((a > b) | np.isnan(b), a, b)
    return np.where((a == 0) & (b == 0), a + b, chosen)  # -0 only where both are


def smaller(a: Array, b: Array) -> Array:
    """The smaller of a and b; one NaN is ignored, -0 is below +0."""
    return -larger(-a, -b)


def expanded(o: Operands) -> Array:
    """A column or a row, everywhere."""
    return np.broadcast_to(o.a, o.shape).copy()


def relu(o: Operands) -> Array:
    """The larger of a and +0."""
    return larger(o.a, np.zeros(o.shape, o.dtype))


def exp(values: Array) -> Array:
    """`exact_math.exp_f32` of every element."""
    x = values.astype(np.float64)
    n, p = exp_steps(np.where(np.isnan(x), 0.0, np.clip(x, EXP_LOWEST, EXP_HIGHEST)))
    result: Array = np.ldexp(p, n.astype(np.int64)).astype(values.dtype)
    result[x > EXP_HIGHEST] = np.inf
    result[x < EXP_LOWEST] = 0
    result[np.isnan(x)] = np.nan
    return result


def fold(function: Function, empty: float) -> Meaning:
    """Columns combined in index order, from the first; `empty` where there is none."""
    def meaning(o: Operands) -> Array:
        if o.cols == 0:
            return np.full(o.shape, empty, o.dtype)
        total: Array = o.a[:, :1]
        for j in range(1, o.cols):
            total = function(total, o.a[:, j : j + 1])
        return total
    return meaning


def of_tiles(function: Function) -> Meaning:
    """An operation on two tiles; the second may be one column, used for all."""
    return lambda o: function(o.a, o.b)


def of_scalar(function: Function) -> Meaning:
    """An operation on a tile and a number."""
    return lambda o: function(o.a, np.asarray(o.scalar).astype(o.dtype))


MEANING: dict[str, Meaning] = {
    vector.TADD.mnemonic: of_tiles(np.add),
    vector.TSUB.mnemonic: of_tiles(np.subtract),
    vector.TMUL.mnemonic: of_tiles(np.multiply),
    vector.TDIV.mnemonic: of_tiles(np.divide),
    vector.TMAX.mnemonic: of_tiles(larger),
    vector.TMIN.mnemonic: of_tiles(smaller),
    vector.TSQRT.mnemonic: lambda o: np.sqrt(o.a),
    vector.TDIVS.mnemonic: of_scalar(np.divide),
    vector.TRDIVS.mnemonic: of_scalar(lambda a, scalar: np.divide(scalar, a)),
    vector.TROWEXPAND.mnemonic: expanded,
    vector.TCOLEXPAND.mnemonic: expanded,
    vector.TCOLEXPANDADD.mnemonic: of_tiles(np.add),
    vector.TCOLEXPANDSUB.mnemonic: of_tiles(np.subtract),
    vector.TCOLEXPANDMUL.mnemonic: of_tiles(np.multiply),
    vector.TCOLEXPANDDIV.mnemonic: of_tiles(np.divide),
    vector.TEXP.mnemonic: lambda o: exp(o.a),
    vector.TROWEXPANDEXPDIF.mnemonic: lambda o: exp(o.a - o.b),
    vector.TRELU.mnemonic: relu,
    vector.TMULS.mnemonic: of_scalar(np.multiply),
    vector.TADDS.mnemonic: of_scalar(np.add),
    vector.TEXPANDS.mnemonic: lambda o: np.full(o.shape, o.scalar, o.dtype),
    vector.TROWSUM.mnemonic: fold(np.add, 0.0),
    vector.TROWMAX.mnemonic: fold(larger, -np.inf),
    vector.TROWEXPANDADD.mnemonic: of_tiles(np.add),
    vector.TROWEXPANDSUB.mnemonic: of_tiles(np.subtract),
    vector.TROWEXPANDMUL.mnemonic: of_tiles(np.multiply),
    vector.TROWEXPANDDIV.mnemonic: of_tiles(np.divide),
}
