"""Four int8 in an int32: packed as NumPy views them, multiplied exactly, in whole tensors and tile by tile."""
# ruff: noqa: F821 (names of options)

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pto as pt
from pto import precision as pp
from pto.core.errors import CaptureError, DTypeError, ShapeError


def codes(seed: int, *shape: int) -> np.ndarray:
    """Random ones, with the lowest in a row and a column."""
    found = np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)
    found[0], found[..., -1] = -128, -128
    return found


@pt.tile_kernel(tile_m=32, tile_n=48)
def by_fours(A, B, C):
    """The product as it is written with vectors of four bytes."""
    for i in pt.range(0, C.shape[0], tile_m):
        for j in pt.range(0, C.shape[1], tile_n):
            acc = pt.zeros((tile_m, tile_n), dtype=pt.int32)
            for k in pt.range(0, A.shape[1], 4):
                a = pt.load_int8x4(A[i:i + tile_m, k:k + 4])
                b = pt.load_int8x4(B[k:k + 4, j:j + tile_n], axis=0)
                acc += pt.dot_int8x4(a, b)
            C[i:i + tile_m, j:j + tile_n] = acc


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 70), st.integers(1, 100), st.integers(1, 90), st.integers(0, 99))
def test_a_product_by_fours_is_numpys(m, n, k, seed):
    a, b, c = codes(seed, m, k), codes(seed + 1, k, n), np.zeros((m, n), np.int32)
    by_fours(a, b, c)
    np.testing.assert_array_equal(c, a.astype(np.int32) @ b.astype(np.int32))


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_packing_is_numpys_view_of_the_bytes(axis):
    x = codes(3, 8, 12, 16)
    expected = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, axis, -1)).view("<i4"), -1, axis)
    np.testing.assert_array_equal(pp.load_int8x4(x, axis), expected)
    np.testing.assert_array_equal(pt.tile_kernel(lambda x: pt.load_int8x4(x, axis))(x), expected)
    if axis == -1:
        np.testing.assert_array_equal(pt.tile_kernel(lambda x: pt.load_int8x4(x.transpose(0, 1)))(x),
                                      expected.transpose(1, 0, 2))


def test_dots_of_arrays_and_tensors():
    a, b = codes(5, 7, 40), codes(6, 7, 40)
    exact = (a.astype(np.int32) * b).reshape(7, 10, 4).sum(-1, dtype=np.int32)
    np.testing.assert_array_equal(pt.dot_int8x4(pp.load_int8x4(a), pp.load_int8x4(b)), exact)
    total = np.full((7, 10), 2**31 - 1, np.int32)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(pt.dot_int8x4(pp.load_int8x4(a), pp.load_int8x4(b), total), total + exact)
    summed = pt.tile_kernel(lambda a, b: pt.sum(pt.dot_int8x4(pt.load_int8x4(a), pt.load_int8x4(b)), axis=-1))
    np.testing.assert_array_equal(summed(a, b), (a.astype(np.int32) * b).sum(-1))


def test_every_level_agrees():
    a, b = codes(1, 37, 11), codes(2, 11, 50)
    assert by_fours.verify(a, b, np.zeros((37, 50), np.int32), tolerance=0)


@pytest.mark.parametrize(("wrong", "error", "said"), [
    (lambda x: pt.load_int8x4(x.to(pt.s16)), DTypeError, "takes int8, not int16"),
    (lambda x: pt.load_int8x4(x, 2), ShapeError, "no axis 2"),
    (lambda x: pt.load_int8x4(x, 0), ShapeError, "6 elements is no multiple of four"),
    (lambda x: pt.load_int8x4(x[0:4, 0:8]), ShapeError, "4 x 8 has not four elements along axis 1"),
    (lambda x: pt.load_int8x4(3), CaptureError, "not int"), (lambda x: pt.dot_int8x4(x, x), DTypeError, "not int8"),
    (lambda x: pt.dot_int8x4(pt.load_int8x4(x), 1), DTypeError, "not int"),
])
def test_what_is_refused(wrong, error, said):
    with pytest.raises(error, match=said) as caught:
        pt.tile_kernel(wrong)(codes(0, 6, 8))
    assert caught.value.loc.file == __file__


def test_arrays_that_are_refused():
    with pytest.raises(ShapeError, match="multiple of four"):
        pp.load_int8x4(codes(0, 4, 6))
    with pytest.raises(DTypeError, match="takes int8, not float32"):
        pp.load_int8x4(np.ones((4, 4), np.float32))
    with pytest.raises(DTypeError, match="takes int32"):
        pp.dot_int8x4(codes(0, 4, 4), codes(0, 4, 4))
