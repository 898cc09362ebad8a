"""How far fast mode may be from the meaning: units in the last place, and gamma_n of the magnitudes for folds."""

from __future__ import annotations

import numpy as np

from pto.core.dtypes import BY_NUMPY, DType
from pto.isa.spec import Instr
from pto.isa.table import vector

FOLDS = (vector.TROWSUM, vector.TROWPROD, vector.TROWDOT)
APPROXIMATE = {  # units in the last place
    **dict.fromkeys((vector.TEXP, vector.TROWEXPANDEXPDIF, vector.TLOG, vector.TSIN, vector.TCOS, vector.TTANH,
                     vector.TSIGMOID, vector.TERF), 1),
    vector.TSILU: 3, vector.TGELU: 3,  # quotients by a power, of which one unit may be two of theirs, each rounded
}
ROUNDING = {"f32": 2.0**-24, "f16": 2.0**-11, "bf16": 2.0**-8}  # of one rounding, relatively
LARGEST = {"f32": 3e38, "f16": 65000.0, "bf16": 3e38}
SMALLEST = {"f32": 2.0**-149, "f16": 2.0**-24, "bf16": 2.0**-133}


def dtype_of(x: np.ndarray) -> DType:
    return BY_NUMPY[x.dtype.name]


def ordered(x: np.ndarray) -> np.ndarray:
    """Integers in the order of the numbers, next to each other for numbers that are."""
    size = x.dtype.itemsize
    bits = x.view(f"i{size}").astype(np.int64)
    return np.where(bits < 0, -(bits & (1 << 8 * size - 1) - 1), bits)


def is_near(exact: np.ndarray, fast: np.ndarray, units: int = 1) -> np.ndarray:
    """Whether elements are equal or so many units apart; integers and predicates must be equal."""
    if dtype_of(exact).kind != "f":
        return exact == fast
    both = np.isnan(exact) & np.isnan(fast)
    return both & (exact.view(f"u{exact.itemsize}") == fast.view(f"u{fast.itemsize}")) | ~both & (
        np.abs(ordered(exact) - ordered(fast)) <= units)


def is_near_fold(row: Instr, terms: np.ndarray, exact: np.ndarray, fast: np.ndarray) -> np.ndarray:
    """Whether each row's sum or product is within gamma_n, where no order of the terms leaves the range.

    `terms` are what is added or multiplied, exactly.
    """
    kind, (_, cols) = dtype_of(exact).name, terms.shape
    gamma = cols * 2.0**-24 / (1 - cols * 2.0**-24)
    with np.errstate(all="ignore"):
        wide, value = terms.astype(np.float64), fast.astype(np.float64)
        if row != vector.TROWPROD:
            true, size = wide.sum(axis=1), np.abs(wide).sum(axis=1)
            inside = size < LARGEST[kind]
        else:
            true = wide.prod(axis=1)
            size, small = np.abs(true), np.minimum(np.abs(wide), 1).prod(axis=1)
            inside = (np.maximum(np.abs(wide), 1).prod(axis=1) < LARGEST[kind]) & (small > 2.0**-120)
        bound = gamma * size
        bound += ROUNDING[kind] * (np.abs(true) + bound) * (kind != "f32") + SMALLEST[kind]
        return ~inside | (np.abs(value - true) <= bound)


def terms_of(row: Instr, a: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    """What a fold adds or multiplies, exactly: elements, or their products."""
    with np.errstate(invalid="ignore", over="ignore"):
        wide = a.astype(np.float64)
        return wide if row != vector.TROWDOT or b is None else wide * b.astype(np.float64)
