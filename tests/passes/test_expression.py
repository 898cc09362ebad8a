"""Whole-tensor expressions of any depth become tiles without Python's recursion."""

import numpy as np
import pytest

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
