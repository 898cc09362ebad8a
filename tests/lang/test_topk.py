"""The largest elements of rows, and where they are: against NumPy's stable order."""
# ruff: noqa: F821, UP037 (extents in quotes)

from __future__ import annotations

import numpy as np
import pytest

import pto as pt
from pto.core.errors import ShapeError


def kernel(n: int, k: int):
    @pt.tile_kernel
    def best(x: pt.f32["M", n]):
        return pt.topk(x, k)
    return best


SHAPES = [(1, 2, 2), (3, 1, 1), (5, 700, 1), (1, 49152, 1),
          (3, 7, 7), (2, 100, 5), (1, 4096, 3), (2, 9000, 40), (1, 49152, 64), (1, 8195, 2)]


@pytest.mark.parametrize(("m", "n", "k"), SHAPES)
def test_the_best_of_each_row_are_those_of_numpy(m, n, k):
    x = np.random.default_rng(n).integers(-500, 500, (m, n)).astype(np.float32)  # many are equal
    values, ids = kernel(n, k)(x)
    want = np.argsort(-x, axis=1, kind="stable")[:, :k]
    assert np.array_equal(ids, want)
    assert np.array_equal(values, np.take_along_axis(x, want, 1))
    assert ids.dtype == np.int32


def test_every_level_agrees():
    assert kernel(9000, 3).verify(np.random.default_rng(0).standard_normal((2, 9000), dtype=np.float32))


@pytest.mark.parametrize(("n", "k"), [(5, 6), (5, 0), (5, -1)])
def test_too_many_or_too_few_are_refused(n, k):
    with pytest.raises(ShapeError, match="the best"):
        kernel(n, k)(np.zeros((1, n), np.float32))
