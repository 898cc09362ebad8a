"""Casts, the quantiser and products of integers, on arrays and in kernels."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import pto as pt
from pto import precision as pp
from pto.core.errors import DTypeError, ShapeError, UsageError
from pto.quant.forms import pack
from pto.quant.schemes import find
from pto.quant.tensor import quantise


def test_casts_of_arrays():
    x = np.array([1.0, 1 / 3, 6e4], np.float32)
    assert pp.cast_to_fp16(x)[1] == np.float16(1 / 3) and pp.cast_to_bf16(x).dtype == ml_dtypes.bfloat16
    assert pp.cast_to_fp32(pp.cast_to_bf16(x)).dtype == np.float32


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("axis", ["tensor", "channel", 32])
def test_a_quantiser_gives_codes_and_scale_and_takes_them_back(bits, axis):
    x = np.random.default_rng(0).standard_normal((5, 64)).astype(np.float32)
    quantizer = pp.Quantizer(bits=bits, symmetric=True, axis=axis)
    codes, scale = quantizer.quantize(x)
    assert codes.dtype == np.int8 and np.abs(codes).max() == 2 ** (bits - 1) - 1
    back = quantizer.dequantize(codes, scale)
    assert np.abs(back - x).max() <= 0.5001 * np.max(scale)
    np.testing.assert_array_equal(quantizer.quantize(back)[0], codes)


def test_refusals():
    x = np.ones((4, 4), np.float32)
    with pytest.raises(UsageError, match="no quantiser of 7 bits"):
        pp.Quantizer(bits=7).quantize(x)
    with pytest.raises(UsageError, match="need an offset"):
        pp.Quantizer(symmetric=False).quantize(x)
    with pytest.raises(DTypeError, match="b is float32; int8_gemm takes int8"):
        pp.int8_gemm(x.astype(np.int8), x)
    packed = pack(quantise(x, find("int8_channel")))
    for weights, said in ((packed, "in the form rows"), (x, "as ndarray"), (5, "as int")):
        with pytest.raises(UsageError, match=f"weights {said} are not packed ternary ones"):
            pp.ternary_gemm(x, weights)


def test_a_mistake_is_at_the_callers_line():
    a, b = np.ones((4, 4), np.int8), np.ones((5, 4), np.int8)
    with pytest.raises(ShapeError, match="inner extents differ") as caught:
        pp.int8_gemm(a, b)
    assert caught.value.loc.file == __file__ and "int8_gemm(a, b)" in caught.value.loc.source()
    with pytest.raises(DTypeError, match="takes int32") as caught:
        pp.dot_int8x4(a, a)
    assert caught.value.loc.file == __file__


@pytest.mark.parametrize("shape", [(4, 3), (5, 1), (4, 1, 1)])
def test_scales_of_other_codes_are_refused(shape):
    with pytest.raises(ShapeError, match="are not of one quantize"):
        pp.Quantizer(axis="channel").dequantize(np.ones((4, 8), np.int8), np.ones(shape, np.float32))


def test_products_in_a_kernel():
    @pt.tile_kernel
    def scaled(a, b):
        return pt.int8_gemm(a, b).to(pt.f32) * 0.5

    a = np.arange(-32, 32, dtype=np.int8).reshape(8, 8)
    np.testing.assert_array_equal(scaled(a, a), (a.astype(np.int32) @ a.astype(np.int32)) * np.float32(0.5))


def test_ternary_products_are_additions_and_subtractions():
    rng = np.random.default_rng(1)
    weights = quantise(rng.standard_normal((48, 96)).astype(np.float32), find("ternary_mean_channel"))
    x = rng.integers(-2000, 2001, (2, 96)).astype(np.float32)
    x[:, 0] = 8191  # activations that are integers of 14 bits stay what they are
    added = np.stack([np.where(row == 1, x, 0).sum(1) - np.where(row == -1, x, 0).sum(1) for row in weights.codes], 1)
    np.testing.assert_allclose(pt.ternary_gemm(x, pack(weights)), added * weights.scale[:, 0], rtol=1e-6)
