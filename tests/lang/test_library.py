"""Functions of the language that are written in it, against NumPy."""

import math

import numpy as np
import pytest

import pto as pt
from tests.arrays import some


@pt.tile_kernel
def layer_norm(X, w, b):
    return pt.layer_norm(X, w, b)


@pt.tile_kernel
def rms_norm(X, w):
    return pt.rms_norm(X, w)


@pt.tile_kernel
def activations(X):
    return pt.sigmoid(X), pt.silu(X), pt.gelu(X), pt.sqrt(X * X), pt.minimum(X, X * 2.0), 2.0 / X, X / 3.0


@pt.tile_kernel
def functions(X):
    size = pt.abs(X) + 0.5
    return (pt.log(size), pt.rsqrt(size), pt.reciprocal(size), pt.tanh(X), pt.erf(X), pt.sin(X), pt.cos(X * 100.0),
            pt.floor(X), pt.ceil(X), pt.round(X))


@pt.tile_kernel
def largest(X):
    return pt.max(X, keepdims=True)


@pt.tile_kernel
def biased(X, W, b):
    return pt.relu(pt.matmul(X, W) + b)


def random(*shapes):
    rng = np.random.default_rng(0)
    return [rng.standard_normal(s, dtype=np.float32) for s in shapes]


def near(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("rows", [1, 3, 50])
@pytest.mark.parametrize("length", [1, 7, 64, 1500])
def test_norms(rows, length):
    x, w, b = random((rows, length), (length,), (length,))
    centred = x - x.mean(-1, keepdims=True)
    near(layer_norm(x, w, b), centred / np.sqrt((centred * centred).mean(-1, keepdims=True) + 1e-5) * w + b)
    near(rms_norm(x, w), x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * w)


def test_norms_over_leading_axes():
    x, w = random((2, 3, 5, 40), (40,))
    near(rms_norm(x, w), x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * w)


@pytest.mark.parametrize("shape", [(33, 45), (2, 1500)])
def test_functions(shape):
    [x] = random(shape)
    size = np.abs(x) + np.float32(0.5)
    erf = np.vectorize(math.erf)(x)
    wanted = (np.log(size), 1 / np.sqrt(size), 1 / size, np.tanh(x), erf, np.sin(x), np.cos(x * np.float32(100)),
              np.floor(x), np.ceil(x), np.rint(x))
    for found, want in zip(functions(x), wanted, strict=True):
        near(found, want)


@pytest.mark.parametrize("length", [1, 40, 3000])
def test_the_maximum_of_nothing_but_nan_is_nan(length):
    x = np.full((5, length), np.nan, np.float32)
    x[1, length // 2], x[2], x[3, -1] = 3, -np.inf, -np.inf
    found = largest(x)
    assert found.shape == (5, 1) and np.isnan(found[[0, 4]]).all()
    assert found[1:4, 0].tolist() == [3, -np.inf, -np.inf]


def test_activations():
    [x] = random((33, 45))
    sigmoid = 1 / (1 + np.exp(-x))
    gelu = 0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x**3)))
    wanted = sigmoid, x * sigmoid, gelu, np.abs(x), np.minimum(x, x * 2), 2 / x, x / 3
    for found, want in zip(activations(x), wanted, strict=True):
        near(found, want)


def test_every_level_of_a_norm_agrees():
    assert layer_norm.verify(*random((9, 21), (21,), (21,)))


@pytest.mark.parametrize("shape", [(20,), (1, 20), (30, 1), (30, 20), (1, 1)])
def test_operands_broadcast_on_either_side(shape):
    x, c = random((30, 20), shape)

    @pt.tile_kernel
    def sums(X, C):
        return X + C, C - X, C * X, X / C, pt.maximum(C, X)

    for found, want in zip(sums(x, c), (x + c, c - x, c * x, x / c, np.maximum(c, x)), strict=True):
        np.testing.assert_array_equal(found, want)


def test_a_bias_is_added_to_a_product():
    x, w, b = random((50, 30), (30, 20), (20,))
    np.testing.assert_allclose(biased(x, w, b), np.maximum(x @ w + b, 0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("left", "right"), [((4, 6), (6,)), ((6,), (6, 5)), ((6,), (6,)), ((2, 4, 6), (6,)),
                                             ((6,), (2, 6, 5))])
def test_the_operator_takes_rows_and_columns_of_one_axis(left, right):
    a, b = some(*left), some(*right)
    for product in (lambda a, b: a @ b, lambda a, b: pt.matmul(a, b), lambda a, b: a.matmul(b)):
        found = pt.tile_kernel(product)(a, b)
        assert found.shape == (a @ b).shape
        np.testing.assert_allclose(found, a @ b, rtol=1e-5, atol=1e-5)
