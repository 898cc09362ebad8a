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
from pto.quant.forms import ACTIVATIONS, most, pack, product
from pto.quant.schemes import find
from pto.quant.tensor import Quantised, quantise

SCHEMES = ("int8_channel", "int8_tensor", "int8_asymmetric_channel", "int4_channel", "ternary_mean_channel")
PACKED = (("ternary_mean_channel", "t2"), ("int4_g32", "q4"), ("q4_1", "q4"), ("q4_0", "t3"), ("q4_1", "t3"),
          ("planes3_g32", "t3"), ("int8_g32", "q8"), ("q8_0", "q8"))


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
    expected = product(x, weights.form, weights.activation, weights.shape[-2], *weights.parts)
    size = np.abs(x) @ np.abs(weights.dequantise().T) + 1e-30
    assert np.abs(got - expected).max() <= 1e-5 * scale * size.max()


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(tuple(ACTIVATIONS)), st.sampled_from(SCHEMES), st.integers(1, 40), st.integers(1, 150),
       st.integers(1, 300))
def test_products_of_any_extents(activation, scheme, m, n, k):
    x, w = made(m + n + k, m, n, k)
    weights = pack(quantise(w, find(scheme)), activation)
    near(x, weights, multiply(x, weights))


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(tuple(ACTIVATIONS)), st.sampled_from(PACKED), st.sampled_from([1, 1, 2, 33]), st.integers(1, 20),
       st.integers(1, 12))
def test_packed_products_of_any_extents(activation, named, m, panels, groups):
    scheme, form = named
    x, w = made(m + panels + groups, m, 16 * panels + 5 * (panels % 3), 32 * groups)
    weights = pack(quantise(w, find(scheme)), activation, form)
    assert form in ("", weights.form.name) and weights.form.parts[0] == "records"
    near(x, weights, multiply(x, weights))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32))
def test_integers_of_ternary_weights_are_those_of_numpy(panels, groups, seed):
    """Activations that are integers already, up to the largest there is, and weights of one magnitude."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(-1, 2, (16 * panels, 32 * groups)).astype(np.int8)
    codes[0], codes[-1] = 1, -1
    weights = pack(Quantised(find("ternary_mean_channel"), codes, np.ones((len(codes), 1), np.float32)))
    top = ACTIVATIONS["a14"].high
    x = rng.integers(-top, top + 1, (1, codes.shape[1]))
    x[0, 0] = top
    exact = x @ codes.T.astype(np.int64)
    np.testing.assert_allclose(multiply(x.astype(np.float32), weights), exact, rtol=3e-7)


def test_planes_give_the_same_bits_as_the_codes_that_they_hold():
    x, w = made(1, 1, 64, 96)
    four = quantise(w, find("q4_1"))
    results = [multiply(x, pack(four, "a14", form)) for form in ("q4", "t3")]
    np.testing.assert_array_equal(*results)


def test_a_product_is_viewed_like_any_tensor():
    @pt.tile_kernel
    def heads(x, w):
        return pt.matmul(x, w.T).view(4, 8) * 2.0

    x, w = made(1, 1, 32, 64)
    for name in ("int8_channel", "q8_0"):
        weights = pack(quantise(w, find(name)))
        np.testing.assert_array_equal(heads(x, weights), 2 * multiply(x, weights).reshape(4, 8))


@pytest.mark.parametrize("name", ["int8_channel", "q8_0", "q4_1", "ternary_mean_channel"])
@pytest.mark.parametrize("n", [64, 40])  # whole panels, and a part of one
def test_a_product_of_one_row_goes_wherever_a_value_may(name, n):
    @pt.tile_kernel
    def uses(x, y, a, b):
        best, ids = pt.topk(pt.matmul(x, a.T), 3)
        for _ in pt.range(3):
            y = pt.matmul(pt.relu(y), b.T)
        return best, ids, pt.matmul(x, a.T), pt.matmul(x, a.T).view(2, -1) + 1.0, y

    x, a = made(7, 1, n, 64)
    y, b = made(8, 1, 64, 64)
    a, b = (pack(quantise(w, find(name))) for w in (a, b))
    best, ids, plain, viewed, carried = uses(x, y, a, b)
    expected = multiply(x, a)
    np.testing.assert_array_equal(plain, expected)
    np.testing.assert_array_equal(viewed, expected.reshape(2, -1) + 1)
    np.testing.assert_array_equal(ids[0], np.argsort(-expected[0], kind="stable")[:3])
    np.testing.assert_array_equal(best[0], expected[0, ids[0]])
    for _ in range(3):
        y = multiply(np.maximum(y, 0), b)
    np.testing.assert_array_equal(carried, y)
    assert uses.verify(x, y, a, b).ok


@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize(("activation", "k"), [("a14", 4096 + 70), ("a14", 17_000), ("a14", 2064), ("a8", 133_200)])
def test_sums_that_32_bits_do_not_hold(activation, k, m):
    """Every product is the largest there is, so is every sum; the integers are those of 64 bits."""
    codes = np.full((2, k), -128, np.int8)
    codes[1] = 127
    weights = pack(Quantised(find("int8_channel"), codes, np.ones((2, 1), np.float32)), activation)
    top = most(ACTIVATIONS[activation], k)[0]
    x = np.full((m, k), -float(top), np.float32)
    exact = x.astype(np.int64) @ codes.T.astype(np.int64)
    np.testing.assert_allclose(multiply(x, weights), exact, rtol=3e-7)


GROUPED = [("q4_1", "q4"), ("q4_1", "t3"), ("q8_0", "q8"), ("ternary_mean_channel", "t2")]


@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize(("name", "form"), GROUPED)
def test_activations_of_many_channels_keep_14_bits_where_all_sums_fit(name, form, m):
    """Integers whose largest is 8191 stay what they are; in 12 bits they would be wrong by 1 on the average."""
    rng = np.random.default_rng(m)
    weights = pack(quantise(rng.standard_normal((16, 8192)).astype(np.float32), find(name)), "a14", form)
    x = rng.integers(-8191, 8192, (m, 8192)).astype(np.float32)
    x[:, 0] = 8191
    w = weights.dequantise().astype(np.float64)
    np.testing.assert_allclose(multiply(x, weights), x @ w.T, rtol=0, atol=5e-7 * (np.abs(x) @ np.abs(w).T).max())


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("m", [1, 5])
def test_every_level_agrees(activation, m):
    x, w = made(3, m, 48, 2100 if activation == "a14" and m == 1 else 70)
    assert multiply.verify(x, pack(quantise(w, find("int8_asymmetric_channel")), activation)).ok
    x, w = made(3, m, 48, 96)
    for scheme in ("ternary_mean_channel", "q4_1", "q8_0"):
        assert multiply.verify(x, pack(quantise(w, find(scheme)), activation)).ok


def test_a_layer_of_a_stack_is_selected():
    x, w = made(5, 2, 3, 64, 64)
    weights = pack(quantise(w / 8, find("int8_channel")))
    expected = x
    for layer in range(3):
        expected = expected + product(expected, weights.form, "a14", 64, *(p[layer] for p in weights.parts))
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
        pack(quantise(np.ones((5, 128), np.float32), find("int8_g64")))
    with pytest.raises(UsageError, match="no activation"):
        pack(quantise(w, find("int8_channel")), "a7")
