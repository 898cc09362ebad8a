"""Reductions over any axes, and changes of shape, against NumPy over random extents."""
# ruff: noqa: F821, UP037 (extents in quotes)

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pto as pt
from pto.core.errors import ShapeError
from tests.arrays import some


@st.composite
def reductions(draw: st.DrawFn) -> tuple[tuple[int, ...], int | tuple[int, ...] | None]:
    """Extents and the axes of a reduction."""
    shape = tuple(draw(st.lists(st.integers(1, 40), min_size=1, max_size=3)))
    axes = draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, unique=True))
    negative = draw(st.booleans())
    chosen = tuple(a - len(shape) * negative for a in axes)
    return shape, draw(st.sampled_from([None, chosen, chosen[0]]))


@pytest.mark.parametrize("name", ["sum", "max", "min", "mean", "var"])
@given(case=reductions(), keepdims=st.booleans())
@settings(max_examples=20)
def test_a_reduction_is_numpys(name, case, keepdims):
    shape, axis = case
    x = some(*shape)

    @pt.tile_kernel
    def reduced(x):
        return getattr(pt, name)(x * 2.0, axis, keepdims=keepdims)

    expected = getattr(np, name)(x * 2, axis=axis, keepdims=keepdims)
    found = reduced(x)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-4)


@pytest.mark.parametrize("name", ["sum", "max", "any"])
@pytest.mark.parametrize("axis", [0, (0, 1), (0, 2)])
def test_leading_axes_are_reduced_as_the_rows_of_a_matrix(name, axis):
    x = some(5, 7, 30)
    kernel = pt.tile_kernel(lambda x: getattr(pt, name)(x, axis=axis))
    np.testing.assert_allclose(kernel(x), getattr(np, name)(x, axis=axis), rtol=1e-5, atol=1e-5)
    assert f"col{name}" in str(pt.text(kernel.graph("tile")))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "bool"])
@pytest.mark.parametrize("name", ["max", "min", "count_nonzero", "sum", "argmax", "argmin"])
@given(data=st.data())
@settings(max_examples=8)
def test_reductions_of_integers_and_predicates_are_exact(name, dtype, data):
    shape = data.draw(st.tuples(st.integers(1, 80), st.integers(1, 300)))
    axis = data.draw(st.sampled_from([0, 1, None]))
    rng = np.random.default_rng(shape)
    limits = (0, 1) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    span = data.draw(st.sampled_from([limits, (0, 1), (limits[0], limits[0]), (limits[1], limits[1])]))
    x = rng.integers(*span, shape, np.int64, endpoint=True).astype(dtype)
    want = getattr(np, name)(x, axis=axis)
    got = pt.tile_kernel(lambda x: getattr(pt, name)(x, axis=axis))(x)
    np.testing.assert_array_equal(got, np.asarray(want).astype(np.int64).astype(got.dtype))


@given(rows=st.integers(1, 40), cols=st.integers(1, 90), seed=st.integers(0, 99), name=st.sampled_from(["max", "min"]))
@settings(max_examples=25)
def test_extremes_of_columns_with_zeros_and_what_is_no_number(rows, cols, seed, name):
    """Where one comparison does not tell: -0 is below 0, and NaN is ignored unless all of a column is."""
    rng = np.random.default_rng(seed)
    x = rng.choice(np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1.5, -1.5], np.float32), (rows, cols))
    got = pt.tile_kernel(lambda x: getattr(pt, name)(x, axis=0))(x)
    sign = 1 if name == "max" else -1
    for column, found in zip(x.T, got, strict=True):
        numbers = column[~np.isnan(column)]
        if len(numbers) == 0:
            assert np.isnan(found)
            continue
        best = max(numbers, key=lambda v: (sign * v, sign * np.copysign(1, v)))
        assert (found, np.signbit(found)) == (best, np.signbit(best))


@given(rows=st.integers(1, 70), cols=st.integers(1, 40))
@settings(max_examples=15)
def test_the_columns_of_a_tile_are_summed_at_its_valid_rows(rows, cols):
    @pt.tile_kernel
    def totals(x):
        out = pt.empty((1, x.shape[1]))
        total = pt.zeros((1, 48))
        for i in pt.range(0, x.shape[0], 16):
            total += pt.sum(x[i:i + 16, 0:48], axis=0, keepdims=True)
        out[0:1, 0:48] = total
        return out

    x = some(rows, cols)
    np.testing.assert_allclose(totals(x), x.sum(0, keepdims=True), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("tiles", [{"tile_n": 1}, {"tile_m": 1}, {"tile_m": 1, "tile_n": 1}])
def test_tiles_of_one_row_or_column(tiles):
    x = some(20, 12)
    found = pt.tile_kernel(lambda x: pt.softmax(x), **tiles)(x)
    powers = np.exp(x - x.max(-1, keepdims=True))
    np.testing.assert_allclose(found, powers / powers.sum(-1, keepdims=True), rtol=1e-5, atol=1e-6)


def test_a_variance_of_a_sample():
    x = some(6, 9)
    found = pt.tile_kernel(lambda x: pt.var(x, axis=-1, ddof=1))(x)
    np.testing.assert_allclose(found, x.var(-1, ddof=1), rtol=1e-5)


@given(shape=st.tuples(st.integers(1, 9), st.integers(2, 20)), parts=st.integers(1, 4), new=st.integers(1, 7))
@settings(max_examples=15)
def test_stack_split_squeeze_and_expand(shape, parts, new):
    x = some(*shape)
    rows, cols = shape

    @pt.tile_kernel
    def stacked(x: pt.f32["R", cols]):
        return pt.stack([x * float(n + 1) for n in range(parts)], 1)

    @pt.tile_kernel
    def swapped(x: pt.f32["R", cols]):
        first, *others = pt.split(x, [1, cols - 1], dim=1)
        return pt.concat([*others, first])

    @pt.tile_kernel
    def repeated(x):
        return x.unsqueeze(1).expand(-1, new, x.shape[1]) * 1.0

    @pt.tile_kernel
    def without(x):
        return x[0:1, :].squeeze(0) * 1.0

    np.testing.assert_array_equal(stacked(x), np.stack([x * np.float32(n + 1) for n in range(parts)], 1))
    np.testing.assert_array_equal(swapped(x), np.roll(x, -1, axis=1))
    np.testing.assert_array_equal(repeated(x), np.broadcast_to(x[:, None], (rows, new, cols)))
    np.testing.assert_array_equal(without(x), x[0])


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min"])
@pytest.mark.parametrize("shape", [(1, 1), (300, 1), (40, 1030), (17, 3)])
@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_columns_of_a_matrix_and_of_its_tiles(name, shape, dtype):
    x = np.random.default_rng(0).choice([-1, 1, 2], shape).astype(dtype) if name != "prod" else np.ones(shape, dtype)
    found = pt.tile_kernel(lambda x: getattr(pt, name)(x, axis=0))(x)
    np.testing.assert_array_equal(found, getattr(x, name)(0))

    @pt.tile_kernel
    def of_a_tile(x, out):
        out[0:1, 0:1] = getattr(pt, name)(x[0:8, 0:1], axis=0, keepdims=True)

    out = np.zeros((1, shape[1]), dtype)
    of_a_tile(x, out)
    assert out[0, 0] == getattr(x[:8, 0], name)()


@pytest.mark.parametrize("axis", [2, -3, (0, 0), ()])
@pytest.mark.parametrize("name", ["sum", "max", "mean", "argmin"])
def test_an_axis_of_a_tile_or_tensor_is_one_that_there_is(name, axis):
    reduced = getattr(pt, name)

    @pt.tile_kernel
    def of_a_tile(x: pt.f32[8, 8]):
        out = pt.empty((8, 1))
        out[0:8, 0:1] = reduced(x[0:8, 0:8], axis=axis, keepdims=True)
        return out

    @pt.tile_kernel
    def of_a_tensor(x: pt.f32[8, 8]):
        return reduced(x, axis=axis)

    for kernel in (of_a_tile, of_a_tensor):
        with pytest.raises(ShapeError, match=r"there is no axis|names no axis|along one axis"):
            kernel(some(8, 8))


def test_a_position_is_along_one_axis():
    @pt.tile_kernel
    def positions(x: pt.f32[4, 5, 6]):
        return pt.argmax(x, axis=(0, 1))

    with pytest.raises(ShapeError, match="a position is along one axis"):
        positions(some(4, 5, 6))


def test_an_extent_that_is_known_by_now_may_be_named_as_before():
    @pt.tile_kernel
    def split(x: pt.f32["M", 32]):
        count = x.shape[0]
        row = x.squeeze(0)  # the program is for one row from here on
        return x.view(count, 4, 8) + row.view(4, 8)

    x = some(1, 32)
    np.testing.assert_array_equal(split(x), 2 * x.reshape(1, 4, 8))
