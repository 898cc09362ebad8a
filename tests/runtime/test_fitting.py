"""Tiles that do not fit: what is alive at the peak, and three choices that fit, each of which compiles and is right."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pto as pt
from pto.core.errors import CapacityError
from pto.passes.choose_tiles import smaller
from tests.arrays import fixed

A, B = fixed(1, 70, 90), fixed(2, 90, 50)
CHOICE = re.compile(r"(\w+)=(\d+)")


@pt.tile_kernel(tile_m=512, tile_n=1024)
def expression(A, B):
    return pt.matmul(A, B)


@pt.tile_kernel(tile_m=512, tile_n=512, tile_k=512)
def loops(A, B):
    C = pt.empty((A.shape[0], B.shape[1]))
    for i in pt.range(0, A.shape[0], tile_m):  # noqa: F821
        for j in pt.range(0, B.shape[1], tile_n):  # noqa: F821
            acc = pt.zeros((tile_m, tile_n))  # noqa: F821
            for k in pt.range(0, A.shape[1], tile_k):  # noqa: F821
                acc += pt.tile_matmul(A[i:i + tile_m, k:k + tile_k], B[k:k + tile_k, j:j + tile_n])  # noqa: F821
            C[i:i + tile_m, j:j + tile_n] = acc  # noqa: F821
    return C


@pt.tile_kernel(BLOCK_M=400, BLOCK_N=300)
def sums(A, B):
    out = pt.empty((A.shape[0], A.shape[1]))
    for i in pt.range(0, A.shape[0], BLOCK_M):  # noqa: F821
        for j in pt.range(0, A.shape[1], BLOCK_N):  # noqa: F821
            out[i:i + BLOCK_M, j:j + BLOCK_N] = A[i:i + BLOCK_M, j:j + BLOCK_N] + B[i:i + BLOCK_M, j:j + BLOCK_N]  # noqa: F821
    return out


CASES = {"expression": (expression, (A, B), A @ B), "loops": (loops, (A, B), A @ B), "sums": (sums, (A, A), A + A)}


@pytest.mark.parametrize("target", ["V1", "V2"])
@pytest.mark.parametrize("name", CASES)
def test_each_of_three_choices_fits_and_is_right(name, target):
    kernel, arguments, want = CASES[name]
    with pytest.raises(CapacityError, match=r"bytes are needed at once, there are [\d,]+\n +[\d,]+ bytes") as caught:
        pt.tile_kernel(kernel.__wrapped__, target=target, **kernel.options)(*arguments)
    choices = [{n: int(v) for n, v in CHOICE.findall(part)} for part in caught.value.hint.split(";")]
    assert len({tuple(c.items()) for c in choices}) == 3
    for choice in choices:
        assert set(choice) == set(kernel.options)
        made = pt.tile_kernel(kernel.__wrapped__, target=target, **choice)
        np.testing.assert_allclose(made(*arguments), want, rtol=1e-4, atol=1e-4)


def with_numbers(rows, cols):
    """A kernel whose extents are no options."""
    @pt.tile_kernel
    def shifted(X, out):
        for i in pt.range(0, X.shape[0], rows):
            for j in pt.range(0, X.shape[1], cols):
                out[i:i + rows, j:j + cols] = X[i:i + rows, j:j + cols] * 2.0 + X[i:i + rows, j:j + cols]

    return shifted


def test_three_shapes_of_tiles_fit_where_extents_are_numbers():
    out = np.zeros_like(A)
    with pytest.raises(CapacityError) as caught:
        with_numbers(512, 1024)(A, out)
    shapes = re.findall(r"(\d+) x (\d+)(?= or| instead)", caught.value.hint)
    assert len(set(shapes)) == 3
    for rows, cols in shapes:
        with_numbers(int(rows), int(cols))(A, out)
        np.testing.assert_array_equal(out, A * 3)


def test_what_no_tile_extent_can_help_has_no_choices():
    with pytest.raises(CapacityError) as caught:
        pt.tile_kernel(tile_m=400)(with_numbers(4000, 4000).__wrapped__)(A, A.copy())
    assert "tile_m" not in caught.value.hint


@given(st.lists(st.integers(1, 2000), min_size=1, max_size=3), st.integers(1, 10**6))
def test_choices_are_the_largest_shapes_that_fit(extents, room):
    def fits(found):
        return np.prod(found) <= room

    found = smaller(extents, fits)
    assert all(map(fits, found))
    assert found or np.prod(extents) > room
    assert len(set(found)) == len(found) <= 3
    for choice in found[:1]:  # none with one halving less fits
        larger = [tuple(2 * c if i == k else c for i, c in enumerate(choice)) for k in range(len(extents))]
        assert all(not fits(x) or any(a > b for a, b in zip(x, extents, strict=True)) for x in larger)
