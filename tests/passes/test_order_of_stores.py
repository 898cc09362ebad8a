"""Stores change tensors in place, in the order of the text, on any number of cores."""

from __future__ import annotations

import numpy as np
import pytest

import pto as pt
from pto.core.errors import PtoError, ShapeError
from pto.sim.happens_before import races
from pto.sim.machine import Machine
from tests.kernels import Bound, bind


def after(bound: Bound, name: str, cores: int) -> np.ndarray:
    """An argument after a run."""
    tensors = bound.fresh()
    Machine(bound.program, cores=cores, exact=True).run(tensors, bound.parameters)
    return tensors[[t.name for t in bound.program.tensors].index(name)]


def arrays(*shapes: tuple[int, int]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(s, dtype=np.float32) for s in shapes]


def check(kernel, arguments, name: str, wanted: np.ndarray) -> None:
    bound = bind(kernel, arguments)
    for cores in (1, 3):
        np.testing.assert_allclose(after(bound, name, cores), wanted, rtol=1e-5, atol=1e-5)
        assert not races(bound.program, bound.tensors, bound.parameters, cores)


def test_tiles_change_in_place():
    @pt.tile_kernel
    def k(x, out):
        for i in pt.range(0, x.shape[0], 16):
            out[i:i + 16, 0:16] += x[i:i + 16, 0:16]

    x, out = arrays((60, 16), (60, 16))
    check(k, [x, out], "out", out + x)


def test_one_tile_changes_again_and_again():
    @pt.tile_kernel
    def k(x, out):
        for _ in pt.range(0, x.shape[0], 16):
            out[0:16, 0:16] = out[0:16, 0:16] * 2.0

    x, out = arrays((60, 16), (16, 16))
    check(k, [x, out], "out", out * 16)


def test_a_store_outside_of_loops_happens_once():
    @pt.tile_kernel
    def k(x, out):
        out[0:16, 0:16] = out[0:16, 0:16] + x[0:16, 0:16]

    x, out = arrays((16, 16), (16, 16))
    check(k, [x, out], "out", out + x)


def test_no_more_is_stored_than_is_valid():
    @pt.tile_kernel
    def narrow(x: pt.f32[16, 10], out: pt.f32[16, 16]):
        out[0:16, 0:16] = x[0:16, 0:16]

    @pt.tile_kernel
    def shifted(x, out):
        out[0:16, 0:16] = x[16:32, 0:16]

    with pytest.raises(ShapeError, match="10 valid"):
        narrow(*arrays((16, 10), (16, 16)))
    x, out = arrays((20, 16), (16, 16))
    wanted = np.vstack([x[16:], out[4:]])
    shifted(x, out)
    np.testing.assert_array_equal(out, wanted)


def test_a_product_in_place_reads_what_was_before():
    @pt.tile_kernel
    def k(c, b):
        c[:] = pt.matmul(c, b)

    c, b = arrays((300, 300), (300, 300))
    wanted = c @ b
    k(c, b)
    np.testing.assert_allclose(c, wanted, atol=1e-3)


def test_an_expression_in_place():
    @pt.tile_kernel
    def k(x):
        x[:] = x * 2.0

    [x] = arrays((40, 40))
    check(k, [x], "x", x * 2)


def test_an_expression_before_a_store_has_the_values_of_before():
    @pt.tile_kernel
    def k(c, a):
        y = c * 2.0
        c[:] = a + 1.0
        return y

    c, a = arrays((30, 30), (30, 30))
    wanted = c * 2
    try:
        got = k(c, a)
    except PtoError:
        return  # refusing is right too
    np.testing.assert_array_equal(got, wanted)


def test_overlapping_windows_are_stored_in_order():
    @pt.tile_kernel
    def k(x, out):
        for i in pt.range(0, x.shape[0], 16):
            out[i:i + 32, 0:16] = x[i:i + 32, 0:16] * 2.0

    x, out = arrays((64, 16), (64, 16))
    check(k, [x, out], "out", x * 2)


def test_two_nests_store_to_one_tensor_in_order():
    @pt.tile_kernel
    def k(x, y, out):
        for i in pt.range(0, x.shape[0], 16):
            out[i:i + 16, 0:16] = x[i:i + 16, 0:16]
        for i in pt.range(0, x.shape[0], 32):
            out[i:i + 32, 0:16] = y[i:i + 32, 0:16]

    x, y, out = arrays((64, 16), (64, 16), (64, 16))
    check(k, [x, y, out], "out", y)
