"""Products with quantised weights: every form, any extents, sums that 32 bits would not hold, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pto as pt
from pto.core.errors import CaptureError, DTypeError, ShapeError, UsageError
from pto.ir.parse import parse
from pto.ir.text import text
from pto.quant.forms import ACTIVATIONS, pack, product
from pto.quant.schemes import find
from pto.quant.tensor import Quantised, quantise

SCHEMES = ("int8_channel", "int8_tensor", "int8_asymmetric_channel", "int4_channel", "ternary_mean_channel")


@pt.tile_kernel
def multiply(x, w):
    return pt.matmul(x, w.T)


@pt.tile_kernel
def layers(x, w):
    for layer in pt.range(3):
        x = x + x @ w[layer].T
    return x


def made(seed: int, m: int, *shape: int):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((m, shape[-1])).astype(np.float32), rng.standard_normal(shape).astype(np.float32)


def near(x, weights, got, scale: float = 1.0) -> None:
    expected = product(x, weights.form, weights.activation, *weights.parts)
    size = np.abs(x) @ np.abs(weights.dequantise().T) + 1e-30
    assert np.abs(got - expected).max() <= 1e-5 * scale * size.max()


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(tuple(ACTIVATIONS)), st.sampled_from(SCHEMES), st.integers(1, 40), st.integers(1, 150),
       st.integers(1, 300))
def test_products_of_any_extents(activation, scheme, m, n, k):
    x, w = made(m + n + k, m, n, k)
    weights = pack(quantise(w, find(scheme)), activation)
    near(x, weights, multiply(x, weights))


@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize(("activation", "k"), [("a14", 4096 + 70), ("a14", 2064), ("a8", 133_200)])
def test_sums_that_32_bits_do_not_hold(activation, k, m):
    """Every product is the largest there is, so is every sum; the integers are those of 64 bits."""
    codes = np.full((2, k), -128, np.int8)
    codes[1] = 127
    weights = pack(Quantised(find("int8_channel"), codes, np.ones((2, 1), np.float32)), activation)
    top = ACTIVATIONS[activation].high
    x = np.full((m, k), -float(top), np.float32)
    exact = x.astype(np.int64) @ codes.T.astype(np.int64)
    np.testing.assert_allclose(multiply(x, weights), exact, rtol=3e-7)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("m", [1, 5])
def test_every_level_agrees(activation, m):
    x, w = made(3, m, 48, 2100 if activation == "a14" and m == 1 else 70)
    assert multiply.verify(x, pack(quantise(w, find("int8_asymmetric_channel")), activation)).ok


def test_a_layer_of_a_stack_is_selected():
    x, w = made(5, 2, 3, 64, 64)
    weights = pack(quantise(w / 8, find("int8_channel")))
    expected = x
    for layer in range(3):
        expected = expected + product(expected, weights.form, "a14", *(p[layer] for p in weights.parts))
    np.testing.assert_allclose(layers(x, weights), expected, rtol=1e-3, atol=1e-3)


def test_activations_are_rounded_once_for_all_products_with_them():
    @pt.tile_kernel
    def three(x, a, b):
        return pt.matmul(x, a.T) + pt.matmul(x, b.T)

    x, w = made(6, 4, 32, 64)
    weights = pack(quantise(w, find("int8_channel")))
    np.testing.assert_array_equal(three(x, weights, weights), 2 * multiply(x, weights))
    lowered = next(s.graph for s in three.compiled().compiled.stages if s.name == "lower-quantised")
    assert sum(node.op.name == "tensor.rowmax" for _, node in lowered.items()) == 1


def test_zeros_give_zeros():
    _, w = made(1, 1, 8, 16)
    for activation in ACTIVATIONS:
        assert not multiply(np.zeros((2, 16), np.float32), pack(quantise(w, find("int8_channel")), activation)).any()


def test_graphs_with_quantised_weights_are_text():
    x, w = made(2, 3, 16, 24)
    multiply(x, pack(quantise(w, find("int8_channel")), "a8"))
    graph = multiply.compiled().compiled.stages[0].graph
    assert "quantised_matmul" in text(graph) and text(parse(text(graph))) == text(graph)


def test_refusals():
    x, w = made(2, 3, 16, 24)
    weights = pack(quantise(w, find("int8_channel")))
    with pytest.raises(ShapeError, match=r"inner extents differ: x has .*23.* channels, the weights 24"):
        pt.tile_kernel(lambda x, w: pt.matmul(x, w.T))(x[:, :23].copy(), weights)
    with pytest.raises(ShapeError, match="one transposed matrix"):
        pt.tile_kernel(lambda x, w: pt.matmul(x, w))(x, weights)
    with pytest.raises(DTypeError, match="activations are float32"):
        pt.tile_kernel(lambda x, w: pt.matmul(x, w.T))(x.astype(np.int8), weights)
    with pytest.raises(CaptureError):
        pt.tile_kernel(lambda x, w: x + w)(x, weights)
    with pytest.raises(UsageError, match="no kernel multiplies"):
        pack(quantise(np.ones((5, 96), np.float32), find("int8_g32")))
    with pytest.raises(UsageError, match="no activation"):
        pack(quantise(w, find("int8_channel")), "a7")
