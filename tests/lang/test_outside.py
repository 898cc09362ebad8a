"""Arrays from outside of a kernel: implicit arguments, looked up at each call, never constants by value."""
# ruff: noqa: F821 (names of options)

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pto as pt
from tests.arrays import fixed, some

GAIN = fixed(1, 7)
TABLES = {"first": [fixed(2, 7), fixed(3, 5, 7)]}
X = fixed(4, 5, 7)


class Layer:
    """A layer as an author writes it, with its weights on itself and in its parts."""

    def __init__(self, width: int, out: int) -> None:
        self.weight, self.parts = some(width, out), [SimpleNamespace(bias=some(out))]

    @pt.tile_kernel
    def forward(self, x):
        return pt.relu(x @ self.weight + self.parts[0].bias)

    @pt.tile_kernel
    def transposed(self, x):
        return x @ self.weight.T

    @pt.tile_kernel(tile_m=16)
    def scaled(self, x):
        out = pt.empty((x.shape[0], x.shape[1]))
        for i in pt.range(0, x.shape[0], tile_m):
            out[i:i + tile_m, 0:8] = x[i:i + tile_m, 0:8] * self.weight[0:1, 0:8]
        return out


@given(rows=st.integers(1, 20), width=st.integers(1, 20), out=st.integers(1, 20))
@settings(max_examples=10)
def test_attributes_of_self(rows, width, out):
    layer, x = Layer(width, out), some(rows, width)
    expected = np.maximum(x @ layer.weight + layer.parts[0].bias, 0)
    np.testing.assert_allclose(layer.forward(x), expected, rtol=1e-4, atol=1e-5)


def test_views_and_windows_of_attributes():
    layer = Layer(8, 8)
    x = some(37, 8)
    np.testing.assert_allclose(layer.transposed(x), x @ layer.weight.T, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(layer.scaled(x), x * layer.weight[:1])


def test_what_changes_outside_is_seen_without_another_program():
    layer, x = Layer(4, 6), some(3, 4)
    kernel = layer.forward
    kernel(x)
    layer.weight[:] = 1.0
    layer.parts[0].bias = np.zeros(6, np.float32)
    np.testing.assert_allclose(kernel(x), np.maximum(x @ np.ones((4, 6)), 0), rtol=1e-4, atol=1e-5)
    layer.weight, layer.parts[0].bias = some(4, 9), some(9)
    np.testing.assert_allclose(kernel(x), np.maximum(x @ layer.weight + layer.parts[0].bias, 0), rtol=1e-4, atol=1e-5)
    assert [len(found) for found in kernel.variants.values()] == [1]


def test_globals_names_around_and_containers():
    local = some(7)

    @pt.tile_kernel
    def k(x):
        return (x * GAIN + local - TABLES["first"][0]) * TABLES["first"][1]

    np.testing.assert_array_equal(k(X), (X * GAIN + local - TABLES["first"][0]) * TABLES["first"][1])
    local = some(7)
    np.testing.assert_array_equal(k(X), (X * GAIN + local - TABLES["first"][0]) * TABLES["first"][1])


def test_either_side_and_without_source():
    for function in (lambda x: x + GAIN, lambda x: GAIN - x, lambda x: GAIN / x, lambda x: X @ x.T):
        np.testing.assert_allclose(pt.tile_kernel(function)(X), function(X), rtol=1e-4, atol=1e-5)


def test_another_element_type_is_converted_or_compiled_anew():
    weight = some(7)

    @pt.tile_kernel
    def k(x):
        return x * weight

    k(X)
    weight = weight.astype(np.float64)
    with pytest.warns(UserWarning, match="weight is float64"):
        np.testing.assert_array_equal(k(X), X * weight.astype(np.float32))


def test_extents_that_do_not_fit_are_an_error_at_the_line_also_later():
    weight = some(7)

    @pt.tile_kernel
    def k(x):
        return x * weight

    k(X)
    weight = some(6)
    with pytest.raises(pt.PtoError, match="extents differ: the first operand is 5 x 7, the second is 6") as caught:
        k(X)
    assert caught.value.loc.file == __file__


def test_kernels_in_kernels_verification_and_shared_memory():
    @pt.tile_kernel
    def inner(x):
        return x * GAIN

    @pt.tile_kernel
    def outer(x):
        return inner(x) + GAIN

    @pt.tile_kernel
    def stores(x, out):
        out[:] = x + TABLES["first"][1]

    np.testing.assert_array_equal(outer(X), X * GAIN + GAIN)
    assert outer.verify(X, ref=lambda x: x * GAIN + GAIN)
    with pytest.raises(pt.PtoError, match="shares memory with TABLES, which stores reads"):
        stores(X, TABLES["first"][1])


@pytest.mark.parametrize(("function", "message"), [
    (lambda x: x + np.ones(7, np.float32), "made while the kernel is traced"),
    (lambda x: pt.exp(np.ones(7, np.float32)) + x, "made while the kernel is traced"),
])
def test_what_cannot_be_found_again_is_refused(function, message):
    with pytest.raises(pt.PtoError, match=message) as caught:
        pt.tile_kernel(function)(X)
    assert caught.value.loc.file == __file__


def test_an_array_from_outside_is_not_stored_to():
    kept = some(5, 7)

    @pt.tile_kernel
    def k(x):
        y = kept
        y[:] = x
        return y

    with pytest.raises(pt.PtoError, match="is not stored to"):
        k(X)
