"""Loops over elements are what Python makes of them on NumPy arrays, and become a few instructions on whole tiles."""
# ruff: noqa: F821 (names of options)

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pto as pt
from pto.core.errors import PtoError
from tests.arrays import fixed, some


def product(A, B, C):
    for i in range(A.shape[0]):
        for j in range(B.shape[1]):
            acc = 0.0
            for k in range(A.shape[1]):
                acc += A[i, k] * B[k, j]
            C[i, j] = acc


def stored_sum(A, B, C):
    for i in range(A.shape[0]):
        for j in range(B.shape[1]):
            for k in range(A.shape[1]):
                C[i, j] += A[i, k] * B[k, j]


def started(A, B, C):
    for j in range(B.shape[1]):
        for i in range(A.shape[0]):
            acc = 1.5
            for k in range(A.shape[1]):
                acc = acc + B[k, j] * A[i, k]
            C[i, j] = acc * 2.0


def differences(A, B, C):
    """A sum of what is no product, with a value of the outer loops in it."""
    for i in range(A.shape[0]):
        for j in range(B.shape[1]):
            half = A[i, j] * 0.5
            acc = 0.0
            for k in range(A.shape[1]):
                acc += A[i, k] - B[k, j] + half
            C[i, j] = acc


def two_sums(A, B, C):
    for i in range(A.shape[0]):
        total = 0.0
        for k in range(A.shape[1]):
            total += A[i, k]
        for j in range(B.shape[1]):
            acc = 0.0
            for k in range(A.shape[1]):
                acc += A[i, k] * B[k, j]
            C[i, j] = acc - total


def constant(A, B, C):
    for i in range(A.shape[0]):
        for j in range(B.shape[1]):
            C[i, j] = 2.5


def compared(function, a, b, c):
    """A kernel and plain Python on the same arrays."""
    want, found = c.astype(np.float64), c.copy()
    function(a.astype(np.float64), b.astype(np.float64), want)
    pt.tile_kernel(function)(a, b, found)
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("function", [product, stored_sum, started, two_sums, constant])
@settings(max_examples=6)
@given(extents=st.tuples(*[st.integers(2, 40)] * 3), seed=st.integers(0, 9))
def test_elements_are_what_python_computes(function, extents, seed):
    m, n, k = extents
    rng = np.random.default_rng(seed)
    compared(function, *(rng.standard_normal(s, np.float32) for s in ((m, k), (k, n), (m, n))))


def test_a_sum_of_what_is_no_product():
    compared(differences, *(some(9, 9) for _ in range(3)))


def test_three_loops_are_one_product_for_every_extent():
    kernel, whole = pt.tile_kernel(product), pt.tile_kernel(lambda A, B: pt.matmul(A, B))
    for m, n, k in ((3, 4, 5), (130, 70, 300)):
        a, b = fixed(1, m, k), fixed(2, k, n)
        c = np.zeros((m, n), np.float32)
        kernel(a, b, c)
        np.testing.assert_array_equal(c, whole(a, b))
    assert sum(map(len, kernel.variants.values())) == 1
    count = {name: [i.spec.mnemonic for i in k.program().code] for name, k in (("loops", kernel), ("whole", whole))}
    assert len(count["loops"]) < len(count["whole"]) + 8  # the result is an argument, with extents of its own
    assert count["loops"].count("tmatmul") == 1


def rowwise(X, Y, Z):
    for b in range(X.shape[0]):
        for i in range(X.shape[1]):
            squares = 0.0
            for j in range(X.shape[2]):
                squares += X[b, i, j] * X[b, i, j]
            for j in range(X.shape[2]):
                Z[b, i, j] = X[b, i, j] / squares + Y[j]


def test_elements_of_three_axes_and_of_one():
    x, y = some(3, 5, 7), some(7)
    compared(rowwise, x, y, np.zeros_like(x))


def normalised(X, Y, Z):
    for i in range(X.shape[0]):
        total = 0.0
        for j in range(X.shape[1]):
            total += X[i, j]
        mean = total / X.shape[1]
        squares = 0.0
        for j in range(X.shape[1]):
            centred = X[i, j] - mean
            squares += centred * centred
        for j in range(X.shape[1]):
            Z[i, j] = (X[i, j] - mean) / (squares / X.shape[1] + 1e-5) + Y[j]


def test_a_layer_norm_of_elements():
    x, y = some(5, 70), some(70)
    compared(normalised, x, y, np.zeros_like(x))


def turned(X, Y, Z):
    for i in range(X.shape[0]):
        for j in range(X.shape[1]):
            Z[j, i] = X[i, j] * Y[i]


def test_subscripts_in_another_order_turn_the_axes():
    x, y = some(5, 7), some(5)
    compared(turned, x, y, np.zeros((7, 5), np.float32))


def in_order(X, Y, Z):
    total = 0.0
    for i in range(X.shape[0]):
        total += X[i]
        Z[i] = total


def from_the_turn_before(X, Y, Z):
    for i in range(X.shape[0]):
        Z[i] = Y[i] + X[i]
        Y[i] = Z[i] * 2.0


def stored_twice(X, Y, Z):
    for i in range(X.shape[0]):
        Z[i] = X[i]
        Z[i] = Y[i]


def read_before(X, Y, Z):
    last = X[0]
    for i in range(X.shape[0]):
        Z[i] = last
        last = X[i]


def read_inside(X, Y, Z):
    for i in range(X.shape[0]):
        acc = 0.0
        for k in range(Y.shape[0]):
            acc += Y[k]
            Z[i] = acc


def turned_in_place(X, Y, Z):
    for i in range(X.shape[0]):
        for j in range(X.shape[1]):
            other = X[j, i]
            X[i, j] = other + 1.0


def sum_of_what_is_stored(X, Y, Z):
    for i in range(X.shape[0]):
        total = 0.0
        for k in range(X.shape[0]):
            total += X[k]
        X[i] = total


def swapped(X, Y, Z):
    for i in range(X.shape[0]):
        kept = X[i] * 1.0
        X[i] = Y[i]
        Y[i] = kept


def read_after(X, Y, Z):
    for i in range(X.shape[0]):
        value = X[i] * 2.0
        Z[i] = value
    Z[0:1] = value


def test_a_square_that_is_turned_in_place_is_right_or_refused():
    x = some(6, 6)
    with suppress(PtoError):
        want, found = x.astype(np.float64), x.copy()
        turned_in_place(want, None, None)
        pt.tile_kernel(turned_in_place)(found, x, x)
        np.testing.assert_allclose(found, want, rtol=1e-4)


def scaled_in_place(X, Y, Z):
    for i in range(X.shape[0]):
        Z[i] = Z[i] * 2.0 + X[i]


def added_in_place(X, Y, Z):
    for i in range(X.shape[0]):
        Z[i] += X[i] * Y[i]


@pytest.mark.parametrize("function", [scaled_in_place, added_in_place])
def test_an_element_may_be_read_where_it_is_stored(function):
    compared(function, *some(3, 40))


@pytest.mark.parametrize("function", [in_order, swapped, sum_of_what_is_stored, from_the_turn_before, stored_twice,
                                      read_before, read_inside, read_after])
def test_what_depends_on_the_order_is_right_or_refused(function):
    x, y, z = some(3, 6)
    with suppress(PtoError):  # never a wrong result, nor a traceback
        compared(function, x, y, z)


@pt.tile_kernel(tile_m=16)
def of_a_tile(X, Y):
    for i in range(tile_m):
        Y[i] = X[i] * 2.0


def test_arrays_that_are_larger_than_the_loops_are_refused_at_the_element():
    of_a_tile(*np.ones((2, 16), np.float32))
    with pytest.raises(PtoError, match=r"axis 0 of this tensor has extent 17, and the loop over it 16") as caught:
        of_a_tile(*np.ones((2, 17), np.float32))
    assert caught.value.loc.source()[caught.value.loc.col:caught.value.loc.end] == "X[i]"
    assert "range(A.shape[0])" in caught.value.hint


def test_an_extent_is_a_number_in_arithmetic_with_floats():
    @pt.tile_kernel
    def scaled(X):
        return X / X.shape[-1] + X * X.size(-1) ** -0.5 + 1 / X.shape[0]

    for shape in ((4, 9), (5, 16)):
        x = fixed(3, *shape)
        np.testing.assert_allclose(scaled(x), x / shape[1] + x * shape[1] ** -0.5 + 1 / shape[0], rtol=1e-5)
    assert sum(map(len, scaled.variants.values())) == 2
