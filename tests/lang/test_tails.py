"""Tiles that a loop carries and windows that are shorter at a tensor's edge: what is outside of a window stays."""
# ruff: noqa: F821 (names of options)

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pto as pt
from tests.arrays import some

TILE = 16


@pt.tile_kernel(tile_m=TILE, tile_n=8)
def folded_rows(x, out):
    total, top = pt.zeros((tile_m, tile_n)), pt.full((tile_m, tile_n), -100.0)
    for i in pt.range(0, x.shape[0], tile_m):
        total += x[i:i + tile_m, 0:tile_n]
        top = pt.maximum(top, x[i:i + tile_m, 0:tile_n] * 2.0)
    out[0:tile_m, 0:tile_n] = total
    out[tile_m:2 * tile_m, 0:tile_n] = top


@pt.tile_kernel(tile_m=4, tile_n=TILE)
def folded_columns(x, out):
    """Along the other axis, from a loaded tile on, with a value of the turn before."""
    for i in pt.range(0, x.shape[0], tile_m):
        total = x[i:i + tile_m, 0:tile_n] * 1.0
        last = pt.zeros((tile_m, tile_n))
        for j in pt.range(tile_n, x.shape[1], tile_n):
            last, total = total, total * 0.5 + x[i:i + tile_m, j:j + tile_n]
        out[i:i + tile_m, 0:tile_n] = total
        out[i:i + tile_m, tile_n:2 * tile_n] = last


@pt.tile_kernel(tile_m=TILE)
def some_rows(x, out, wanted: pt.index):
    """In a branch."""
    total = pt.zeros((tile_m, 8))
    for i in pt.range(0, x.shape[0], tile_m):
        if i // tile_m != wanted:
            total += x[i:i + tile_m, 0:8]
    out[0:tile_m, 0:8] = total


def by_rows(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    total, top = np.zeros((TILE, 8), np.float32), np.full((TILE, 8), -100, np.float32)
    for i in range(0, len(x), TILE):
        part = x[i:i + TILE, :8]
        total[:len(part)] += part
        top[:len(part)] = np.maximum(top[:len(part)], part * 2)
    return total, top


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(1, 70))
def test_rows_outside_of_the_last_window_stay(rows):
    x, out = some(rows, 8), np.zeros((2 * TILE, 8), np.float32)
    folded_rows(x, out)
    np.testing.assert_array_equal(out, np.concatenate(by_rows(x)))


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(1, 9), cols=st.integers(TILE, 80))
def test_columns_outside_of_the_last_window_stay(rows, cols):
    x, out = some(rows, cols), np.zeros((rows, 2 * TILE), np.float32)
    folded_columns(x, out)
    total, last = x[:, :TILE].copy(), np.zeros((rows, TILE), np.float32)
    for j in range(TILE, cols, TILE):
        part, last = x[:, j:j + TILE], total.copy()
        total[:, :part.shape[1]] = total[:, :part.shape[1]] * np.float32(0.5) + part
    np.testing.assert_array_equal(out, np.concatenate([total, last], 1))


@pytest.mark.parametrize("wanted", [0, 1, 2, 9])
def test_a_window_in_a_branch(wanted):
    x, out = some(37, 8), np.zeros((TILE, 8), np.float32)
    some_rows(x, out, wanted)
    want = np.zeros((TILE, 8), np.float32)
    for i in range(0, 37, TILE):
        if i // TILE != wanted:
            want[:len(x[i:i + TILE])] += x[i:i + TILE]
    np.testing.assert_array_equal(out, want)


def test_every_level_agrees():
    assert folded_rows.verify(some(37, 8), np.zeros((2 * TILE, 8), np.float32))
    assert folded_columns.verify(some(5, 41), np.zeros((5, 2 * TILE), np.float32))
    assert some_rows.verify(some(37, 8), np.zeros((TILE, 8), np.float32), 1)
