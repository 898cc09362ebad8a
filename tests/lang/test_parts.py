"""Parts of tensors: integer arguments, pieces, other extents, tensors stored to parts of tensors, joined tensors."""
# ruff: noqa: F821, UP037 (extents in quotes)

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pto as pt
from pto.core.errors import PtoError, ShapeError, UsageError


def array(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


@pt.tile_kernel
def append(cache: pt.f32["L", "C", "D"], x: pt.f32["D"], at: pt.index):
    for layer in pt.range(cache.shape[0]):
        cache[layer, at] = x + cache[layer, at]


@pt.tile_kernel
def put(c: pt.f32["N", 8], x: pt.f32["T", 8], at: pt.index):
    c[at:at + x.shape[0]] = x


@pt.tile_kernel
def scores(q: pt.f32[2, 1, 8], keys: pt.f32["L", 2, "C", 8], layer: pt.index, length: pt.index):
    return pt.softmax(pt.matmul(q, keys[layer, :, :length].T))


@pt.tile_kernel
def turned(x: pt.f32["T", 16], cos: pt.f32[4], sin: pt.f32[4]):
    return pt.rope(x.view(-1, 2, 8), cos, sin).view(x.shape[0], 16)


@pt.tile_kernel
def rows(ids: pt.s32["T"], table: pt.f32["V", 20]):
    return pt.embedding(ids, table) + pt.arange(5, 25)


def test_an_integer_argument_says_where_to_store():
    cache, x = array(3, 10, 7), array(7, seed=1)
    want = cache.copy()
    for at in (4, 0, 9):
        append(cache, x, at)
        want[:, at] += x
    assert np.array_equal(cache, want)
    assert sum(map(len, append.variants.values())) == 1


@pytest.mark.parametrize(("count", "at"), [(3, 0), (3, 7), (1, 4), (10, 0)])
def test_a_tensor_is_stored_to_a_piece_at_a_run_time_position(count, at):
    c, x = np.zeros((10, 8), np.float32), array(count, 8)
    put(c, x, at)
    want = np.zeros((10, 8), np.float32)
    want[at:at + count] = x
    assert np.array_equal(c, want)


def test_a_piece_outside_its_tensor_is_refused():
    with pytest.raises(PtoError) as caught:
        put(np.zeros((10, 8), np.float32), array(3, 8), 8)
    assert "out of bounds" in str(caught.value)


@pytest.mark.parametrize("length", [1, 5, 20])
def test_a_slice_up_to_an_integer_argument_is_a_tensor(length):
    q, keys = array(2, 1, 8), array(3, 2, 20, 8, seed=1)
    x = q @ keys[1, :, :length].transpose(0, 2, 1)
    e = np.exp(x - x.max(-1, keepdims=True))
    assert np.allclose(scores(q, keys, 1, length), e / e.sum(-1, keepdims=True), atol=1e-6)
    assert sum(map(len, scores.variants.values())) == 1


def test_lengths_that_the_program_is_not_right_for_are_refused_at_their_line():
    q, keys = array(2, 1, 8), array(3, 2, 20, 8)
    with pytest.raises(ShapeError, match="not inside an axis of extent 20") as caught:
        scores(q, keys, 1, 21)
    assert caught.value.loc is not None and "length" in caught.value.loc.source()
    with pytest.raises(ShapeError, match="1 <= length"):
        scores(q, keys, 1, 0)
    with pytest.raises(UsageError, match="length is an integer"):
        scores(q, keys, 1, 2.5)


def test_rotary_embedding_turns_the_halves():
    x, c, s = array(5, 16), array(4, seed=1), array(4, seed=2)
    low, high = np.split(x.reshape(5, 2, 8), 2, axis=-1)
    want = np.concatenate((low * c - high * s, high * c + low * s), -1).reshape(5, 16)
    assert np.allclose(turned(x, c, s), want, atol=1e-6)
    assert turned.verify(x, c, s)


def test_rows_of_a_table_by_integers():
    table, ids = array(50, 20), np.random.default_rng(0).integers(0, 50, 17).astype(np.int32)
    assert np.array_equal(rows(ids, table), table[ids] + np.arange(5, 25, dtype=np.float32))
    assert rows.verify(ids, table)
    for bad in (50, -1):
        with pytest.raises(PtoError, match="out of bounds"):
            rows(np.array([1, bad], np.int32), table)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=4), st.integers(1, 20), st.booleans())
def test_joined_tensors_are_those_of_numpy(widths, other, first_axis):
    parts = [array(*((w, other) if first_axis else (other, w)), seed=i) for i, w in enumerate(widths)]
    axis = 0 if first_axis else 1
    types = [pt.f32[p.shape] for p in parts]
    names = ", ".join(f"x{i}" for i, _ in enumerate(parts))
    space: dict = {"pt": pt, "axis": axis}
    exec(f"def joined({names}):\n    return pt.concat([{names}], axis)", space)  # a kernel of any number of arguments
    kernel = pt.tile_kernel(space["joined"])
    for i, t in enumerate(types):
        kernel.declare(f"x{i}", t)
    assert np.array_equal(kernel(*parts), np.concatenate(parts, axis))


@pytest.mark.parametrize(("dims", "said"), [
    ((3, 5), "cannot be seen as"), ((-1, -1), "one of them"), ((0, 4), "extent"),
])
def test_views_of_other_sizes_are_refused(dims, said):
    @pt.tile_kernel
    def seen(x: pt.f32[4, 6]):
        return x.view(*dims) * 1.0

    with pytest.raises(ShapeError, match=said):
        seen(array(4, 6))


def test_a_view_of_numbers_says_what_an_extent_is():
    @pt.tile_kernel
    def seen(x: pt.f32["N", 6]):
        return x.view(2, 12) * 1.0

    assert np.array_equal(seen(array(4, 6)), array(4, 6).reshape(2, 12))
    with pytest.raises(ShapeError, match="5 x 6 elements cannot be seen as 2 x 12"):
        seen(array(5, 6))

    @pt.tile_kernel
    def pairs(x: pt.f32["M", "N", 6]):
        return x.view(x.shape[0], 12) * 1.0

    assert np.array_equal(pairs(array(7, 2, 6)), array(7, 2, 6).reshape(7, 12))


def test_a_view_needs_elements_one_after_the_other():
    @pt.tile_kernel
    def seen(x: pt.f32[4, 6]):
        return x.T.view(24) * 1.0

    with pytest.raises(ShapeError, match="do not lie one after the other"):
        seen(array(4, 6))

    @pt.tile_kernel
    def copied(x: pt.f32[4, 6]):
        return x.T.contiguous().view(24) * 1.0

    x = array(4, 6)
    assert np.array_equal(copied(x), x.T.reshape(24))


@pytest.mark.parametrize("function", [
    lambda x: x[1:] - x[:-1], lambda x: x[:, 2:] * x[:, :-2], lambda x: x[0:-1][1:] + 1.0,
    lambda x: x[:-1, None, 2:] + x[0, 2:]])
def test_slices_to_or_from_the_end_are_tensors(function):
    x = np.arange(30, dtype=np.float32).reshape(5, 6)
    np.testing.assert_array_equal(pt.tile_kernel(function)(x), function(x))


def test_the_inside_of_a_tensor_is_stored_to():
    def smoothed(x):
        for _ in pt.range(3):
            x[1:-1, 1:-1] = 0.25 * (x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:])

    kernel = pt.tile_kernel(smoothed)
    for shape in ((5, 6), (9, 4)):
        found, expected = (np.arange(np.prod(shape), dtype=np.float32).reshape(shape) ** 2 for _ in range(2))
        kernel(found)
        for _ in range(3):
            inside = expected[:-2, 1:-1] + expected[2:, 1:-1] + expected[1:-1, :-2] + expected[1:-1, 2:]
            expected[1:-1, 1:-1] = np.float32(0.25) * inside
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_slice_beyond_the_end_is_refused():
    @pt.tile_kernel
    def k(x):
        return x[7:] + 1.0

    with pytest.raises(pt.PtoError, match="this slice of an axis of extent 5 is empty"):
        k(np.ones((5, 6), np.float32))
