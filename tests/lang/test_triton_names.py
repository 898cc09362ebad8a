"""Kernels in Triton's words: programs of a grid, windows by `load` and `store`, integers in arithmetic."""
# ruff: noqa: F821 (names of options)

from __future__ import annotations

import numpy as np
import pytest

import pto as pt
from tests.arrays import some


@pt.tile_kernel(BLOCK=64)
def add(x, y, out):
    start = pt.program_id(0) * BLOCK
    pt.store(out, start, pt.load(x, start, BLOCK) + pt.load(y, start, BLOCK))


@pt.tile_kernel(BLOCK_M=16, BLOCK_N=32, BLOCK_K=8)
def matmul(a, b, c):
    m, n = pt.program_id(0) * BLOCK_M, pt.program_id(1) * BLOCK_N
    acc = pt.zeros((BLOCK_M, BLOCK_N))
    for k in range(0, a.shape[1], BLOCK_K):
        acc += pt.dot(pt.load(a, (m, k), (BLOCK_M, BLOCK_K)), pt.load(b, (k, n), (BLOCK_K, BLOCK_N)))
    pt.store(c, (m, n), acc)


@pytest.mark.parametrize("size", [1, 64, 100, 257])
def test_add(size):
    x, y, out = some(size), some(size) + 1, np.zeros(size, np.float32)
    add[lambda options: (pt.cdiv(size, options["BLOCK"]),)](x, y, out)
    np.testing.assert_array_equal(out, x + y)


@pytest.mark.parametrize(("m", "n", "k"), [(1, 1, 1), (16, 32, 8), (33, 70, 21)])
def test_matmul(m, n, k):
    a, b, c = some(m, k), some(k, n), np.zeros((m, n), np.float32)
    matmul[pt.cdiv(m, 16), pt.cdiv(n, 32)](a, b, c)
    np.testing.assert_allclose(c, a @ b, rtol=1e-4, atol=1e-4)


def test_a_store_in_loops_and_branches():
    @pt.tile_kernel(t=16)
    def k(x, out):
        for i in pt.range(0, x.shape[0], t):
            if i != t:
                pt.store(out, (i, 0), pt.load(x, (i, 0), (t, 8)) * 2.0)

    x, out = some(40, 8), np.zeros((40, 8), np.float32)
    k(x, out)
    want = x * 2
    want[16:32] = 0
    np.testing.assert_array_equal(out, want)


def test_another_function_that_is_called_store_is_itself():
    seen = []

    def store(value, note):
        seen.append(note)

    @pt.tile_kernel
    def k(x):
        store(x, "called")
        return x + 1.0

    x = some(5)
    np.testing.assert_array_equal(k(x), x + 1)
    assert seen == ["called"]


@pytest.mark.parametrize(("wrong", "said"), [
    (lambda x: pt.load(x, 0, 16), "two axes|2 axes"), (lambda x: pt.load(3, 0, 16), "not of a int"),
])
def test_a_window_that_is_none(wrong, said):
    @pt.tile_kernel
    def k(x, out):
        out[0:16, 0:8] = wrong(x)

    with pytest.raises(pt.PtoError, match=said) as caught:
        k(some(16, 8), some(16, 8))
    assert caught.value.loc.file == __file__


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32, np.int8])
def test_integers_of_the_program_in_arithmetic(dtype):
    @pt.tile_kernel(t=4)
    def k(x, out, n: pt.index):
        for i in pt.range(0, x.shape[0], t):
            tile = x[i:i + t, 0:3]
            out[i:i + t, 0:3] = pt.where(tile > n, tile * n + i, i - tile)

    x = (np.arange(30).reshape(10, 3) % 7).astype(dtype)
    out = np.zeros_like(x)
    k(x, out, 3)
    i = (np.arange(10) // 4 * 4).astype(dtype)[:, None]
    np.testing.assert_array_equal(out, np.where(x > 3, x * dtype(3) + i, i - x))
    whole = pt.tile_kernel(lambda x: x * x.shape[0] - x.shape[1] + pt.maximum(x, x.shape[1]))(x)
    np.testing.assert_array_equal(whole, x * dtype(10) - dtype(3) + np.maximum(x, dtype(3)))
