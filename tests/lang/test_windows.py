"""Subscripts of tensors mean what they mean in NumPy."""
# ruff: noqa: F821 (names of options)

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pto as pt
from tests.arrays import some


@st.composite
def subscripts(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[object, ...]]:
    """Extents and a subscript of integers, slices within them, new axes and dots; one axis at least stays whole."""
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=3)))
    parts: list[object] = []
    for extent in shape[:-1]:
        kind = draw(st.sampled_from(["whole", "integer", "slice", "tail"]))
        start = draw(st.integers(0, extent - 1))
        stop = draw(st.integers(start + 1, extent))
        parts.append({"whole": slice(None), "integer": draw(st.integers(-extent, extent - 1)),
                      "slice": slice(start, stop), "tail": slice(start - extent, None)}[kind])
    parts.append(draw(st.sampled_from([slice(None), Ellipsis])))
    if draw(st.booleans()):
        parts.insert(draw(st.integers(0, len(parts))), None)
    return shape, tuple(parts)


@given(subscripts())
@settings(max_examples=60)
def test_a_subscript_is_numpys(case):
    shape, where = case
    x = some(*shape)

    @pt.tile_kernel
    def read(x):
        return x[where] * 2.0

    np.testing.assert_array_equal(read(x), x[where] * 2)


@given(rows=st.integers(3, 40), cols=st.integers(1, 20))
@settings(max_examples=15)
def test_neighbours_and_columns_in_a_loop(rows, cols):
    @pt.tile_kernel(tile_m=16)
    def difference(x):
        out = pt.empty((x.shape[0], x.shape[1]))
        for i in pt.range(1, x.shape[0]):
            out[i:i + 1, 0:32] = x[i:i + 1, 0:32] - x[i - 1:i, 0:32]
        return out

    @pt.tile_kernel(tile_m=16)
    def scaled(x):
        out = pt.empty((x.shape[0], x.shape[1]))
        for i in pt.range(0, x.shape[0], tile_m):
            out[i:i + tile_m, 0:32] = x[i:i + tile_m, 0:32] * x[i:i + tile_m, -1, None]
        return out

    x = some(rows, cols)
    np.testing.assert_array_equal(difference(x), np.vstack([np.zeros_like(x[:1]), x[1:] - x[:-1]]))
    np.testing.assert_array_equal(scaled(x), x * x[:, -1:])


def test_parts_at_the_end_are_read_and_stored():
    @pt.tile_kernel
    def tile(x):
        out = pt.empty((16, 8))
        out[0:16, -8:] = x[-16:, 2:10]
        return out

    @pt.tile_kernel
    def piece(x):
        out = pt.empty((x.shape[0], x.shape[1]))
        out[1:3] = x[-4:-2]
        return out

    x = some(37, 12)
    np.testing.assert_array_equal(tile(x), x[-16:, 2:10])
    expected = np.zeros_like(x)
    expected[1:3] = x[-4:-2]
    np.testing.assert_array_equal(piece(x), expected)


@pytest.mark.parametrize(("where", "message"), [
    ((slice(-9, None),), "9 elements from 0 on are not inside"),
    ((slice(3, 9),), "not inside an axis of extent 5"),
    ((7,), "index 7 is out of range"),
    ((0, 0, 0), "3 subscripts of a tensor with 2 axes"),
    (([0, 1],), "a list is no subscript"),
    ((Ellipsis, Ellipsis), "one ... at most"),
])
def test_a_subscript_that_cannot_be_is_an_error_at_its_line(where, message):
    @pt.tile_kernel
    def read(x):
        return x[where] * 1.0

    with pytest.raises(pt.PtoError, match=message) as caught:
        read(some(5, 4))
    assert caught.value.loc.file == __file__


def test_more_from_the_end_than_there_is_in_a_later_call():
    @pt.tile_kernel
    def last(x):
        return x[-4:] + 0.0

    last(some(8, 3))
    with pytest.raises(pt.PtoError, match="not inside an axis of extent 3") as caught:
        last(some(3, 3))
    assert caught.value.loc.file == __file__
