"""Integers of the program: the larger and the smaller of two."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pto as pt

NUMBERS = st.integers(0, 11)


@pt.tile_kernel(tile_m=8, tile_n=8)
def between(x, y, low: pt.index, high: pt.index):
    total = pt.zeros((8, 8))
    for i in pt.range(pt.maximum(low - 2, 0), pt.minimum(high - 2, 7)):
        total = total + pt.matmul(x[0:8, i:i + 1], y[i:i + 1, 0:8])
    out = pt.empty((8, 8))
    out[0:8, 0:8] = total
    return out


@given(NUMBERS, NUMBERS)
def test_a_loop_runs_between_the_larger_and_the_smaller_of_numbers(low, high):
    rng = np.random.default_rng(0)
    x, y = (rng.integers(-9, 10, (8, 8)).astype(np.float32) for _ in range(2))
    chosen = slice(max(low - 2, 0), max(min(high - 2, 7), 0))
    assert np.array_equal(between(x, y, low, high), x[:, chosen] @ y[chosen])


@pytest.mark.parametrize("low", [0, 5, 8])
def test_a_loop_that_may_have_no_iteration_is_in_order(low, monkeypatch):
    monkeypatch.setenv("PTO_CHECK", "all")
    x = np.ones((8, 8), np.float32)
    assert np.array_equal(between(x, x, low + 2, 7), np.full((8, 8), max(5 - low, 0), np.float32))


def test_of_pythons_numbers_it_is_pythons():
    @pt.tile_kernel
    def first(x, count: pt.constexpr):
        return x[:, :pt.minimum(count, 3)] * float(pt.maximum(2, count))

    assert np.array_equal(first(np.ones((2, 4), np.float32), 5), np.full((2, 3), 5, np.float32))
