"""Meanings of the cube unit, with a fused multiply-add that is exact by construction."""

from __future__ import annotations

import numpy as np

from pto.isa.meaning.operands import Array, Meaning, Operands
from pto.isa.table import cube


def fma(a: Array, b: Array, c: Array) -> Array:
    """a * b + c of f32 arrays, rounded once.

    The product of two f32 is exact in float64; the sum with c is rounded to odd there, which makes the
    second rounding, to f32, the only one that counts (53 bits are more than twice 24 plus two).
    """
    x, y = a.astype(np.float64) * b, c.astype(np.float64)
    total = x + y
    back = total - x
    rest = (x - (total - back)) + (y - back)
    bits = total.view(np.int64)
    toward = np.where((rest > 0) == (total > 0), 1, -1)
    inexact_and_even = np.isfinite(total) & (rest != 0) & (bits & 1 == 0)
    odd: Array = np.where(inexact_and_even, bits + toward, bits).view(np.float64)
    return odd.astype(np.float32)


def matmul(o: Operands) -> Array:
    """A product, added to c where `acc` says so."""
    return added(o.c if o.acc else np.zeros(o.shape, o.dtype), o.a, o.b)


def added(total: Array, a: Array, b: Array) -> Array:
    """A sum and the products of a and b in increasing k, one rounding a term."""
    if total.dtype == np.int32:
        return np.asarray(total + a.astype(np.int64) @ b.astype(np.int64))
    a, b = a.astype(np.float32), b.astype(np.float32)
    for k in range(a.shape[1]):
        total = fma(a[:, k : k + 1], b[k : k + 1, :], total)
    return total


def streamed(o: Operands) -> Array:
    """Each lane a sum in increasing k, the lanes halved until one is left; zeros complete the last round."""
    if o.dtype == np.int32:
        return np.asarray(o.x.astype(np.int64) @ o.w.T.astype(np.int64))
    missing = ((0, 0), (0, -o.k % cube.DOT_LANES))
    x, w = (np.pad(operand, missing).astype(np.float32) for operand in (o.x, o.w))
    lanes: Array = np.zeros((len(x), o.n, cube.DOT_LANES), np.float32)
    for k in range(0, x.shape[1], cube.DOT_LANES):
        lanes = fma(x[:, None, k : k + cube.DOT_LANES], w[:, k : k + cube.DOT_LANES], lanes)
    while lanes.shape[-1] > 1:
        half = lanes.shape[-1] // 2
        lanes = lanes[..., :half] + lanes[..., half:]
    return lanes[..., 0]


MEANING: dict[str, Meaning] = {
    cube.TMATMUL.mnemonic: matmul,
    cube.TGEMV_STREAM.mnemonic: streamed,
    cube.TGEMV_STREAM_ACC.mnemonic: lambda o: o.y + streamed(o),
    cube.TGEMM_STREAM.mnemonic: streamed,
    cube.TGEVM_STREAM.mnemonic: lambda o: added(o.y, o.x, o.w),
    cube.TGEMM_STREAM_ROWS.mnemonic: lambda o: added(o.y, o.x, o.w),
}
