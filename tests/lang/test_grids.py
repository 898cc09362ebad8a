"""Kernels on grids: one program of the machine for every grid, programs that are shared out over the cores."""
# ruff: noqa: F821, UP037 (names of options, extents in quotes)

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pto as pt
from pto.ir.ops import FOR
from tests.arrays import some


@pt.tile_kernel(BLOCK=32)
def add(x: pt.f32["N"], y: pt.f32["N"], out: pt.f32["N"]):
    start = pt.program_id(0) * BLOCK
    out[start:start + BLOCK] = x[start:start + BLOCK] + y[start:start + BLOCK]


@pt.tile_kernel(BM=16, BN=32, BK=16)
def product(a: pt.f32["M", "K"], b: pt.f32["K", "N"], c: pt.f32["M", "N"]):
    i, j = pt.program_id(0) * BM, pt.program_id(1) * BN
    total = pt.zeros((BM, BN))
    for k in pt.range(0, a.shape[1], BK):
        total += pt.dot(a[i:i + BM, k:k + BK], b[k:k + BK, j:j + BN])
    c[i:i + BM, j:j + BN] = total


@pt.tile_kernel(BM=4)
def strided(x: pt.f32["M", "N"], out: pt.f32["M", "N"]):
    for block in pt.range(pt.program_id(0), pt.cdiv(x.shape[0], BM), pt.num_programs(0)):
        out[block * BM:block * BM + BM, 0:16] = x[block * BM:block * BM + BM, 0:16] * 2.0


@given(count=st.integers(1, 300))
@settings(max_examples=15)
def test_a_line_in_blocks(count):
    x, y, out = some(count), some(count), np.zeros(count, np.float32)
    add[(pt.cdiv(count, 32),)](x, y, out)
    np.testing.assert_array_equal(out, x + y)


@given(m=st.integers(1, 70), n=st.integers(1, 70), k=st.integers(1, 40))
@settings(max_examples=15)
def test_a_product_on_a_grid_of_two_axes(m, n, k):
    a, b, c = some(m, k), some(k, n), np.zeros((m, n), np.float32)
    product[lambda o: (pt.cdiv(m, o["BM"]), pt.cdiv(n, o["BN"]))](a, b, c)
    np.testing.assert_allclose(c, a @ b, rtol=1e-4, atol=1e-4)


@given(rows=st.integers(1, 70), programs=st.integers(1, 6))
@settings(max_examples=15)
def test_programs_that_take_every_so_many_blocks(rows, programs):
    x, out = some(rows, 16), np.zeros((rows, 16), np.float32)
    strided[programs](x, out)
    np.testing.assert_array_equal(out, x * 2)


def test_one_program_serves_every_grid_and_is_shared_out():
    for count in (10, 100, 1000):
        add[pt.cdiv(count, 32)](some(count), some(count), np.zeros(count, np.float32))
    assert [len(found) for found in add.variants.values()] == [1]
    for kernel, axes, arrays in ((add, 1, (some(64),) * 2), (product, 2, (some(16, 16),) * 2)):
        kernel[(1,) * axes](*arrays, np.zeros_like(arrays[0]))
        grids = [dict(n.attrs)["grid"] for _, _, n in kernel.graph("block").walk() if n.op is FOR and "grid" in
                 dict(n.attrs)]
        assert grids == [axes]


def test_programs_that_store_to_one_window_run_in_order():
    @pt.tile_kernel
    def last(x, out):
        i = pt.program_id(0)
        out[0:1, 0:16] = x[i:i + 1, 0:16]

    x, out = some(5, 16), np.zeros((1, 16), np.float32)
    last[5](x, out)
    np.testing.assert_array_equal(out, x[4:])
    assert not any(dict(n.attrs).get("grid") for _, _, n in last.graph("block").walk())


def test_a_grid_in_a_kernel():
    @pt.tile_kernel
    def twice(x: pt.f32["N"]):
        out = pt.empty((x.shape[0],))
        add[(pt.cdiv(x.shape[0], 32),)](x, x, out)
        return out * 2.0

    x = some(100)
    np.testing.assert_array_equal(twice(x), x * 4)


def no_grid(x, out):
    out[0:1, 0:4] = x[pt.program_id(0):pt.program_id(0) + 1, 0:4]


def result(x, out):
    return x * 2.0


def asserts(x, out):
    pt.static_assert(len(x.shape) == 3, "three axes")


def axis_two(x, out):
    pt.program_id(2)


@pytest.mark.parametrize(("function", "grid", "message"), [
    (no_grid, None, "this call has no grid"),
    (result, (1,), "each program of a grid would"),
    (asserts, (1,), "static_assert: three axes"),
    (axis_two, (1, 1), "has 2 axes, and axis 2"),
    (no_grid, (1.5,), "one to three integers"),
    (no_grid, (1, 1, 1, 1), "one to three integers"),
    (no_grid, (-1,), "one to three integers"),
])
def test_mistakes_on_grids_are_located(function, grid, message):
    kernel = pt.tile_kernel(function)
    with pytest.raises(pt.PtoError, match=message) as caught:
        (kernel if grid is None else kernel[grid])(some(4, 4), some(4, 4))
    assert caught.value.loc.file == __file__
