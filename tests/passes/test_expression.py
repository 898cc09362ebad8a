"""Whole-tensor expressions of any depth become tiles without Python's recursion."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pto as pt

X = np.linspace(-1, 1, 35, dtype=np.float32).reshape(5, 7)


@pytest.mark.parametrize("length", [1, 50, 600])
def test_a_long_chain_of_operations(length):
    @pt.tile_kernel
    def chain(x):
        for step in pt.static_range(length):
            x = x + 1.0 if step % 2 else pt.maximum(-x, x)
        return x

    wanted = X
    for step in range(length):
        wanted = wanted + np.float32(1) if step % 2 else np.abs(wanted)
    np.testing.assert_array_equal(chain(X), wanted)


def test_a_long_chain_on_a_tile():
    @pt.tile_kernel
    def chain(x, out):
        tile = x[0:5, 0:7]
        for _ in pt.static_range(1200):
            tile = pt.relu(tile)
        out[0:5, 0:7] = tile

    out = np.empty_like(X)
    chain(X, out)
    np.testing.assert_array_equal(out, np.maximum(X, 0))


@st.composite
def broadcasts(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Extents of three axes and more, and of an operand that is the same along some of them."""
    shape = tuple(draw(st.lists(st.integers(1, 7), min_size=3, max_size=5)))
    other = tuple(n if draw(st.booleans()) else 1 for n in shape)
    return shape, other[draw(st.integers(0, len(shape))):]


@given(case=broadcasts())
@settings(max_examples=60)
def test_axes_that_can_be_one_are(case):
    shape, other = case
    x, y = np.arange(np.prod(shape), dtype=np.float32).reshape(shape), np.ones(other, np.float32) * 3
    y += np.arange(y.size, dtype=np.float32).reshape(other)
    kernel = pt.tile_kernel(lambda x, y: x * y + x)
    np.testing.assert_array_equal(kernel(x, y), x * y + x)


def test_a_value_for_each_channel_meets_rows_of_pixels():
    kernel = pt.tile_kernel(lambda x, y: x + y[:, None, None])
    x, y = np.arange(2 * 3 * 40 * 50, dtype=np.float32).reshape(2, 3, 40, 50), np.arange(3, dtype=np.float32)
    np.testing.assert_array_equal(kernel(x, y), x + y[:, None, None])
    assert "trowexpandadd" in str(pt.text(kernel.graph("block")))
