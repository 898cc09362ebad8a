"""Calls on the same arrays, again and again: nothing that changed in between is overlooked."""
# ruff: noqa: F821, UP037 (extents in quotes)

from __future__ import annotations

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

import pto as pt
from pto.core.arrays import Seen
from pto.core.errors import PtoError, ShapeError, UsageError
from pto.quant.forms import pack
from pto.quant.schemes import find
from pto.quant.tensor import quantise

TIMES = 4  # the third call on the same arguments is the first of which all is known


def made(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def row_plus():
    @pt.tile_kernel
    def kernel(x, at: pt.index, y, scale=1):
        return x[at].view(1, -1) * scale + y
    return kernel


def test_integers_may_be_others_each_time():
    kernel, x, y = row_plus(), made(6, 5), made(1, 5)
    for at in (0, 3, 5, 2, 2, 1):
        np.testing.assert_array_equal(kernel(x, at, y), x[at] + y)
    with pytest.raises(PtoError):
        kernel(x, 6, y)
    with pytest.raises(UsageError, match="at is an integer"):
        kernel(x, y, 1)
    np.testing.assert_array_equal(kernel(x, np.int64(4), y), x[4] + y)


def test_an_integer_may_be_left_out_each_time():
    @pt.tile_kernel
    def added(x, y: pt.f32["m", "n"], at: pt.index = 2, *, more: pt.index = 1):
        y[:] = y + 1.0
        return x[at].view(1, -1) * 2.0 + x[more].view(1, -1)
    x, y = made(6, 5), made(3, 5)
    before = y.copy()
    for time in range(TIMES):
        np.testing.assert_allclose(added(x, y), 2 * x[2:3] + x[1:2], rtol=1e-6)
        np.testing.assert_allclose(added(x, y, 3), 2 * x[3:4] + x[1:2], rtol=1e-6)
        np.testing.assert_allclose(y, before + 2 * (time + 1), rtol=1e-6)


def test_a_constant_is_not_taken_for_an_integer():
    kernel, x, y = row_plus(), made(6, 5), made(1, 5)
    for scale in (2, 2, 2, 3, 3, 3):
        np.testing.assert_allclose(kernel(x, 1, y, scale), x[1] * scale + y, rtol=1e-6)
    for _ in range(TIMES):
        np.testing.assert_array_equal(kernel(x, 1, y), x[1] + y)
    np.testing.assert_allclose(kernel(x, 1, y, 2), x[1] * 2 + y, rtol=1e-6)


def test_arrays_that_change_are_looked_at_again():
    @pt.tile_kernel
    def doubled(x):
        return x + x
    x = made(4, 6)
    for _ in range(TIMES):
        np.testing.assert_array_equal(doubled(x), 2 * x)
    x[:] = 7
    assert (doubled(x) == 14).all()
    x.shape = 6, 4
    assert doubled(x).shape == (6, 4)
    for change in (lambda: x.__setstate__((1, (3, 2), np.dtype(np.float32), False, made(3, 2).tobytes())),
                   lambda: x.__setstate__((1, (3, 2), np.dtype(np.int32), False, np.arange(6, dtype="i4").tobytes()))):
        for _ in range(TIMES):
            np.testing.assert_array_equal(doubled(x), 2 * x)
        change()
        np.testing.assert_array_equal(doubled(x), x + x)
        assert doubled(x).dtype == x.dtype


def test_what_is_stored_to_must_still_be_writable_and_apart():
    @pt.tile_kernel
    def stores(x, y: pt.f32["m", "n"]):
        y[:] = x * 2.0
    x, y = made(4, 6), made(4, 6)
    for _ in range(TIMES):
        stores(x, y)
        np.testing.assert_array_equal(y, 2 * x)
    y.flags.writeable = False
    with pytest.raises(UsageError, match="read-only"):
        stores(x, y)
    y.flags.writeable = True
    stores(x, y)
    with pytest.raises(UsageError, match="shares memory"):
        stores(x, x)
    other = made(2, 6)
    for _ in range(TIMES):
        stores(other, y[:2])
    np.testing.assert_array_equal(y[:2], 2 * other)


def test_copies_are_made_and_written_back_each_time():
    @pt.tile_kernel
    def adds(x: pt.f32["m", "n"]):
        x[:] = x + 1.0
    x = np.zeros((6, 4), np.float32)
    turned = x.T
    for count in range(1, TIMES + 1):
        adds(turned)
        assert (x == count).all()


def test_quantised_weights_are_told_from_others_of_the_same_arrays():
    @pt.tile_kernel
    def product(x, w):
        return pt.matmul(x, w.T)
    weights = pack(quantise(made(32, 64), find("int8_channel")), "a14")
    coarse, x = replace(weights, activation="a8"), made(1, 64)
    fine = [product(x, weights) for _ in range(TIMES)]
    np.testing.assert_array_equal(fine[0], fine[-1])
    assert (product(x, coarse) != fine[0]).any()
    np.testing.assert_array_equal(product(x, weights), fine[0])


def test_the_numeric_configuration_counts():
    @pt.tile_kernel
    def narrowed(x):
        return x.to(pt.f16)
    x = np.full((1, 8), 1 + 2**-11 + 2**-13, np.float32)
    for _ in range(TIMES):
        up = narrowed(x)
    with pt.numeric_config(rounding={"f16": "rtz"}):
        assert (narrowed(x) < up).all()
    assert (narrowed(x) == up).all()


def test_a_kernel_keeps_no_array_alive():
    @pt.tile_kernel
    def doubled(x):
        return x + x
    x = made(3, 3)
    known = weakref.ref(x)
    for _ in range(TIMES):
        doubled(x)
    del x
    gc.collect()
    assert known() is None
    again = made(3, 3)
    np.testing.assert_array_equal(doubled(again), 2 * again)


def test_what_takes_the_place_of_an_array_in_memory_is_another_one():
    kernel, y = row_plus(), made(1, 5)
    for size in (6, 9, 4, 6):
        x = made(size, 5)
        for at in range(TIMES):
            np.testing.assert_array_equal(kernel(x, at, y), x[at] + y)
        known = id(x)
        del x
        others = [np.full((size + 1, 5), 3, np.float32) for _ in range(8)]
        for x in sorted(others, key=lambda array: id(array) != known):
            np.testing.assert_array_equal(kernel(x, size, y), x[size] + y)


def test_weights_in_the_place_of_others_are_not_taken_for_these():
    @pt.tile_kernel
    def product(x, w):
        return pt.matmul(x, w.T)
    fine, x = pack(quantise(made(32, 64), find("int8_channel")), "a14"), made(1, 64)
    want = {name: product(x, replace(fine, activation=name)) for name in ("a14", "a8")}
    assert (want["a14"] != want["a8"]).any()
    for name in ("a14", "a8", "a14"):
        weights = replace(fine, activation=name)
        for _ in range(TIMES):
            np.testing.assert_array_equal(product(x, weights), want[name])
        del weights  # the next ones are the same arrays, and often have its address


def test_integers_are_judged_by_extents_as_they_are_now():
    @pt.tile_kernel
    def doubled(x, count: pt.index):
        return x[:count] * 2.0
    x = made(6, 10)
    for count in range(2, 2 + TIMES):
        np.testing.assert_array_equal(doubled(x, count), 2 * x[:count])
    x.shape = 12, 5
    np.testing.assert_array_equal(doubled(x, 10), 2 * x[:10])
    for _ in range(TIMES):
        doubled(x, 10)
    with pytest.raises(ShapeError):
        doubled(x, 13)


def test_an_argument_that_is_returned_is_this_one():
    @pt.tile_kernel
    def both(x: pt.f32["m", "n"], w):
        x[:] = x + w
        return x * 2.0, x
    x, w = np.zeros((4, 6), np.float32), np.ones((4, 6), np.float32)
    for count in range(1, 2 + TIMES):
        twice, same = both(x, w)
        assert same is x and (x == count).all() and (twice == 2 * count).all()


def test_threads_that_call_it_on_the_same_arrays_do_not_meet():
    @pt.tile_kernel
    def scaled(x, at: pt.index):
        return (x * 2.0)[at].view(1, -1) + 1.0
    x = made(64, 40)
    want = 2 * x + 1
    for at in range(TIMES):
        scaled(x, at)

    def calls(first):
        return [np.array_equal(scaled(x, at)[0], want[at]) for at in range(first, 64)]
    with ThreadPoolExecutor(4) as pool:
        assert all(all(found) for found in pool.map(calls, range(8)))


def test_an_array_is_seen_to_be_the_same():
    x = made(4, 6)
    seen = Seen(x)
    assert seen.still(x) and not seen.still(x.copy()) and not seen.still(x[:]) and not seen.still(None)
    x.shape = 6, 4
    assert not seen.still(x)
