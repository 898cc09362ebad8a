"""Products with a matrix: how its columns are cut and dealt to cores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pto as pt
from pto.passes.choose_tiles import NARROWEST, Tiles
from pto.sim.machine import Machine

TILES = Tiles((128, 256, 64), (64, 64), 64, (192, 64), shares=4, pairs=2)


@given(st.integers(1, 200_000))
def test_tiles_are_neither_narrow_nor_wide(extent):
    assert NARROWEST <= TILES.streamed(extent) <= TILES.stream[0]
    rows, cols = TILES.multiplied(extent)
    assert rows == TILES.matrix[0] and NARROWEST <= cols <= TILES.matrix[1]


@pytest.mark.parametrize(("extent", "tiles"), [(192, 2), (576, 4), (1536, 8), (4096, 24), (49152, 256)])
def test_tiles_come_in_equal_shares_for_two_cores_and_four(extent, tiles):
    assert -(-extent // TILES.streamed(extent)) == tiles


@pytest.mark.parametrize(("extent", "cols"), [(192, 96), (576, 144), (1536, 256), (49152, 256), ("N", 256)])
def test_tiles_of_products_of_matrices_come_in_pairs(extent, cols):
    assert TILES.multiplied(extent)[1] == cols


def test_the_author_directs_the_columns():
    assert Tiles((64, 64, 32), (64, 64), 64, (40, 64)).streamed(576) == 40
    assert Tiles((64, 80, 32), (64, 64), 64, (40, 64)).multiplied(576) == (64, 80)


@pytest.mark.parametrize("columns", [1, 97, 576, 700, 1536])
@pytest.mark.parametrize("cores", [1, 2, 3, 5])
def test_every_column_is_computed_once_on_any_number_of_cores(columns, cores):
    @pt.tile_kernel
    def product(x: pt.f32[1, 64], w):
        return pt.matmul(x, w.T)

    rng = np.random.default_rng(columns)
    x, w = (rng.standard_normal(shape, np.float32) for shape in ((1, 64), (columns, 64)))
    out = np.full_like(product(x, w), np.nan)
    Machine(product.program(), cores=cores).run([x, w, out], [columns])
    np.testing.assert_allclose(out, x @ w.T, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("count", [1, 5, 31, 32, 33, 47])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_rows_that_end_within_a_round_read_nothing_behind_them(count, dtype):
    @pt.tile_kernel
    def product(x: pt.f32[1, 64], w, length: pt.index):
        return pt.matmul(x[:, :length], w[:, :length].T)

    rng = np.random.default_rng(count)
    x, w = rng.standard_normal((1, 64), np.float32), rng.standard_normal((9, 64)).astype(dtype)
    w[:, count:] = np.nan
    np.testing.assert_allclose(product(x, w, count), x[:, :count] @ w[:, :count].astype(np.float32).T,
                               rtol=1e-4, atol=1e-4)


def test_a_tile_of_weights_serves_all_rows_before_the_next():
    @pt.tile_kernel
    def products(x: pt.f32[5, 1, 64], w: pt.f32[960, 64]):
        return pt.matmul(x, w.T)

    loops = [line for line in str(pt.text(products.graph("tile"))).splitlines() if " for " in line]
    assert "0 .. 960 by" in loops[0]
    assert "0 .. 5 by 1" in loops[1]
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(shape, np.float32) for shape in ((5, 1, 64), (960, 64)))
    np.testing.assert_allclose(products(x, w), x @ w.T, rtol=1e-4, atol=1e-4)
