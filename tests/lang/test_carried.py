"""Parts of arrays under names that loops and branches bind again: what NumPy's views would say, or a refusal."""
# ruff: noqa: F821 (names of extents)

import numpy as np
import pytest

import pto as pt

ROWS = np.random.default_rng(0).integers(-5, 6, (4, 8)).astype(np.float32)


@pt.tile_kernel
def running(x: pt.f32["N", 8]):
    last = x[0]
    for i in pt.range(1, x.shape[0]):
        x[i] = x[i] + last
        last = x[i]
    return last


@pt.tile_kernel
def summed(x: pt.f32["N", 8]):
    total = x[0]
    for i in pt.range(1, x.shape[0]):
        total = total + x[i]
    return total


@pt.tile_kernel
def summed_and_stored(x: pt.f32["N", 8]):
    total = x[0]
    for i in pt.range(1, 4):
        total = total + x[i]
    x[0] = total * 2.0
    return total


@pt.tile_kernel
def kept(x: pt.f32["N", 8], n: pt.index):
    row = x[0].contiguous()
    if n > 2:
        row = x[1].contiguous()
    x[1] = x[1] * 2.0
    return row


@pt.tile_kernel
def bound_after_the_store(x: pt.f32["N", 8], n: pt.index):
    row = x[0]
    if n > 2:
        x[1] = x[1] * 2.0
        row = x[1]
    return row


@pt.tile_kernel
def stored_to_as_an_array(x: pt.f32["N", 8], n: pt.index):
    out, row = pt.empty((4, 8)), x[0]
    for i in pt.range(n):
        out[i] = row
        row = x[i]
        x[i] = row * 2.0
    return out


@pt.tile_kernel
def read_through_a_view(x: pt.f32["N", 8]):
    out = pt.empty((4, 8))
    for i in pt.range(4):
        row = x[i]
        x[i] = row * 2.0
        out[i] = row
    return out


@pytest.mark.parametrize(("kernel", "numbers", "expected"), [
    (running, (), ROWS.sum(0)), (summed, (), ROWS.sum(0)), (summed_and_stored, (), ROWS.sum(0)),
    (kept, (3,), ROWS[1]), (kept, (2,), ROWS[0]),
    (bound_after_the_store, (3,), 2 * ROWS[1]), (bound_after_the_store, (2,), ROWS[0]),
    (read_through_a_view, (), 2 * ROWS),
    (stored_to_as_an_array, (4,), np.stack((ROWS[0], 2 * ROWS[0], 2 * ROWS[1], 2 * ROWS[2]))),
])
def test_a_name_that_is_bound_again_has_the_elements_that_it_was_bound_to(kernel, numbers, expected):
    assert np.array_equal(kernel(ROWS.copy(), *numbers), expected)


@pt.tile_kernel
def stored_after_a_branch(x: pt.f32["N", 8], n: pt.index):
    row = x[0]
    if n > 2:
        row = x[1]
    x[1] = x[1] * 2.0
    return row + 1.0


@pt.tile_kernel
def stored_in_the_loop(x: pt.f32["N", 8], n: pt.index, part: pt.constexpr):
    row = x[0] if part else x[0] * 1.0
    for i in pt.range(2, 5):
        x[:] = x * 2.0
        if i == n:
            row = x[1]
    return row


@pt.tile_kernel
def read_after_the_store(x: pt.f32["N", 8], n: pt.index):
    row, out = x[0] * 1.0, pt.empty((4, 8))
    for i in pt.range(4):
        x[:] = x * 2.0
        out[i] = row
        row = x[n]
    return out


@pt.tile_kernel
def one_of_two_arrays(x: pt.f32["N", 8], n: pt.index):
    y = x * 1.0
    rows = x
    if n > 2:
        rows = y
    x[1] = x[1] * 2.0
    return rows[1]


@pt.tile_kernel
def stored_to_under_the_name(x: pt.f32["N", 8], n: pt.index):
    row = x[0]
    if n > 2:
        row = x[1]
    row[:] = x[2]
    return x


@pytest.mark.parametrize(("kernel", "numbers", "line"), [
    (stored_after_a_branch, (3,), "return row + 1.0"), (one_of_two_arrays, (3,), "return rows[1]"),
    (stored_in_the_loop, (3, True), "for i in pt.range(2, 5):"),
    (stored_in_the_loop, (3, False), "for i in pt.range(2, 5):"),
    (read_after_the_store, (3,), "for i in pt.range(4):"), (stored_to_under_the_name, (3,), "row[:] = x[2]"),
])
def test_what_numpy_would_see_of_a_later_store_is_refused(kernel, numbers, line):
    with pytest.raises(pt.PtoError, match="there is a store") as caught:
        kernel(ROWS.copy(), *numbers)
    assert line in str(caught.value)
    assert "contiguous()" in str(caught.value)
