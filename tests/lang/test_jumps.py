"""Integers that change, `while`, `break` and `continue` in loops of the program, against the same in Python."""
# ruff: noqa: F821, UP037 (names of options, extents in quotes)

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pto as pt
from tests.arrays import some

ROWS = st.integers(1, 40)


@pt.tile_kernel
def packed(x: pt.f32["M", 8], out: pt.f32["M", 8], every: pt.index):
    row = 0
    for i in pt.range(0, x.shape[0]):
        if i % every == 0:
            out[row:row + 1, 0:8] = x[i:i + 1, 0:8]
            row += 1


@pt.tile_kernel
def fibonacci(x: pt.f32["M", 8], out: pt.f32["M", 8]):
    a, b = 0, 1
    for i in pt.range(0, x.shape[0]):
        if b < x.shape[0]:
            out[b:b + 1, 0:8] = x[i:i + 1, 0:8]
        a, b = b, a + b


@pt.tile_kernel
def skipping(x: pt.f32["M", 8], out: pt.f32["M", 8], lost: pt.index, end: pt.index):
    for i in pt.range(0, x.shape[0]):
        if i == lost:
            continue
        tile = x[i:i + 1, 0:8]
        if i > lost:
            tile = tile * 2.0
            if i > end:
                out[i:i + 1, 0:8] = tile * 3.0
                break
        out[i:i + 1, 0:8] = tile


@pt.tile_kernel(tile_m=4)
def counting(x: pt.f32["M", 8], out: pt.f32["M", 8], low: pt.index, step: pt.index):
    i = low
    while i < x.shape[0]:
        out[i:i + 1, 0:8] = x[i:i + 1, 0:8] * 2.0
        i += step
    if i < x.shape[0] + 2:
        out[0:1, 0:8] = x[0:1, 0:8] * 5.0


@given(rows=ROWS, every=st.integers(1, 7))
@settings(max_examples=12)
def test_an_integer_that_changes_in_a_branch(rows, every):
    x, out = some(rows, 8), np.zeros((rows, 8), np.float32)
    packed(x, out, every)
    kept = x[::every]
    np.testing.assert_array_equal(out[:len(kept)], kept)
    assert not out[len(kept):].any()


@given(rows=ROWS)
@settings(max_examples=12)
def test_two_integers_that_change_at_once(rows):
    x, out, expected = some(rows, 8), np.zeros((rows, 8), np.float32), np.zeros((rows, 8), np.float32)
    a, b = 0, 1
    for i in range(rows):
        if b < rows:
            expected[b] = x[i]
        a, b = b, a + b
    fibonacci(x, out)
    np.testing.assert_array_equal(out, expected)


@given(rows=ROWS, lost=st.integers(0, 20), end=st.integers(0, 30))
@settings(max_examples=15)
def test_break_and_continue(rows, lost, end):
    x, out, expected = some(rows, 8), np.zeros((rows, 8), np.float32), np.zeros((rows, 8), np.float32)
    for i in range(rows):
        if i == lost:
            continue
        tile = x[i]
        if i > lost:
            tile = tile * 2
            if i > end:
                expected[i] = tile * 3
                break
        expected[i] = tile
    skipping(x, out, lost, end)
    np.testing.assert_array_equal(out, expected)


@given(rows=ROWS, low=st.integers(0, 50), step=st.integers(1, 9))
@settings(max_examples=15)
def test_a_while_that_counts(rows, low, step):
    x, out, expected = some(rows, 8), np.zeros((rows, 8), np.float32), np.zeros((rows, 8), np.float32)
    i = low
    while i < rows:
        expected[i] = x[i] * 2
        i += step
    if i < rows + 2:
        expected[0] = x[0] * 5
    counting(x, out, low, step)
    np.testing.assert_array_equal(out, expected)


def test_every_level_agrees():
    x = some(9, 8)
    assert skipping.verify(x, np.zeros_like(x), 2, 5)
    assert counting.verify(x, np.zeros_like(x), 1, 3)
    assert packed.verify(x, np.zeros_like(x), 2)


def test_loops_of_python_keep_their_jumps():
    @pt.tile_kernel
    def k(x):
        y = x
        for n in (1.0, 2.0, 3.0, 4.0):
            if n == 2.0:
                continue
            if n == 4.0:
                break
            y = y * n
        while n > 1.0:
            n -= 1.0
            y = y + n
        return y

    x = some(3, 4)
    np.testing.assert_allclose(k(x), x * 3 + 6, rtol=1e-6)


def test_a_name_that_only_a_branch_needs_and_changes():
    @pt.tile_kernel
    def k(x: pt.f32["M", 8], out: pt.f32["M", 8]):
        tile = x[0:1, 0:8]
        for i in pt.range(0, x.shape[0]):
            if i > 2:
                tile = tile * 2.0
                out[i:i + 1, 0:8] = tile

    x = some(6, 8)
    out, expected = np.zeros_like(x), np.zeros_like(x)
    k(x, out)
    for n in (3, 4, 5):
        expected[n] = x[0] * 2 ** (n - 2)
    np.testing.assert_array_equal(out, expected)


def test_a_loop_in_a_loop_is_broken_off():
    @pt.tile_kernel
    def k(x, out):
        for i in pt.range(x.shape[0]):
            for j in pt.range(x.shape[1]):
                if j == 1:
                    continue
                if j > i:
                    break
                out[i, j] = x[i, j] + out[i, j]

    x = some(5, 6)
    out, expected = np.ones_like(x), np.ones_like(x)
    k(x, out)
    for i in range(5):
        for j in range(6):
            if j == 1:
                continue
            if j > i:
                break
            expected[i, j] += x[i, j]
    np.testing.assert_array_equal(out, expected)


def halving(x, out):
    n = x.shape[0]
    while n > 1:
        n = n // 2
    out[0:1, 0:4] = x[0:1, 0:4]


def returns(x, out):
    for i in pt.range(0, x.shape[0]):
        out[i:i + 1, 0:4] = x[i:i + 1, 0:4]
        return


@pytest.mark.parametrize(("function", "message", "line"), [
    (halving, "a while loop of the program counts", 2),
    (returns, "without return or else", 1),
])
def test_what_cannot_be_captured_is_an_error_at_its_line(function, message, line):
    with pytest.raises(pt.PtoError, match=message) as caught:
        pt.tile_kernel(function)(some(4, 4), some(4, 4))
    assert caught.value.loc.file == __file__
    assert caught.value.loc.line == function.__code__.co_firstlineno + line
