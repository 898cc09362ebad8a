"""Products with a matrix: how its columns are cut and dealt to cores."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pto as pt
from pto.passes.choose_tiles import NARROWEST, Tiles
from pto.sim.machine import Machine

KERNELS = {tiles: pt.tile_kernel(**dict(tiles))(lambda a, b: pt.matmul(a, b))
           for tiles in ((), (("tile_n", 5), ("tile_k", 3)))}
TYPES = [(a, a) for a in (np.float32, np.float16, np.int8)] + [
    (np.float32, np.float16), (np.float32, np.int8), (np.int16, np.int8), (np.float16, np.int8)]
FEW_TYPES = [(pt.f32, pt.f32), (pt.f32, pt.f16), (pt.f32, pt.s8), (pt.f16, pt.f16), (pt.s8, pt.s8), (pt.s16, pt.s8)]
TURNED_LEFT = pt.tile_kernel(lambda a, b: pt.matmul(a.T, b))
TURNED_RIGHT = pt.tile_kernel(lambda a, b: pt.matmul(a, b.T))
TWISTED = pt.tile_kernel(lambda x: x ^ x[0].unsqueeze(0))
WHOLE = Tiles((128, 256, 64), (64, 64), 64, (192, 64), area=16 * 1024, pairs=2, depth=256)
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


@pytest.mark.parametrize(("extent", "cols"), [(64, 96), (1024, 256), (8192, 2048), ("N", 2048)])
def test_what_is_streamed_by_rows_comes_in_wide_tiles(extent, cols):
    assert TILES.streamed(extent, by_rows=True) == cols


@pytest.mark.parametrize(("size", "tall"), [(4, 16), (2, 32), (1, 64)])
def test_tiles_of_narrow_elements_have_as_many_bytes(size, tall):
    tiles = Tiles((64, 64, 32), (16, 1024), 16384, (64, 64), area=16 * 1024).of_bytes(size)
    assert (tiles.vector, tiles.line * size, tiles.area * size) == ((tall, 1024), 65536, 65536)
    directed = Tiles((64, 64, 32), (16, 1024), 16384, (64, 64))
    assert directed.of_bytes(size) == directed


@given(shape=st.tuples(st.integers(1, 150), st.integers(1, 2100)), name=st.sampled_from(["int8", "uint8", "bool"]))
@settings(max_examples=15)
def test_many_narrow_elements_are_all_computed(shape, name):
    rng = np.random.default_rng(shape[0])
    x = rng.integers(0, 2 if name == "bool" else 120, shape).astype(name)
    np.testing.assert_array_equal(TWISTED(x), x ^ x[:1])


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
    program = product.program()  # one column is a program of its own
    Machine(program, cores=cores).run([x, w, out], [columns] * len(program.parameters))
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


@pytest.mark.parametrize("types", TYPES)
@given(data=st.data())
@settings(max_examples=25)
def test_products_of_a_vector_are_those_of_numpy(types, data):
    m, k, n = (data.draw(st.integers(1, 40)) for _ in range(3))
    lead = data.draw(st.sampled_from([(), (2,), (2, 3)]))
    vector = data.draw(st.sampled_from([(k,), (1, k), (*lead, 1, k)]))
    by_columns, transposed, swapped, tiles = (data.draw(st.booleans()) for _ in range(4))
    rng = np.random.default_rng(m * 1600 + k * 40 + n)
    left, right = types[::-1] if swapped and (by_columns or np.int16 not in types) else types
    x = rng.integers(-9, 9, vector).astype(right if by_columns else left)
    w = rng.integers(-9, 9, (*lead, k, m)).astype(left if by_columns else right)
    column = x if x.ndim == 1 else np.ascontiguousarray(np.swapaxes(x, -1, -2))
    matrix = np.swapaxes(w, -1, -2)
    kernel = KERNELS[list(KERNELS)[tiles]]
    if not transposed:
        matrix = np.ascontiguousarray(matrix)
        got = kernel(matrix, column) if by_columns else kernel(x, w)
    else:
        got = (TURNED_LEFT if by_columns else TURNED_RIGHT)(*((w, column) if by_columns else (x, matrix.copy())))
    wide = np.int64 if got.dtype == np.int32 else np.float64
    want = matrix.astype(wide) @ column.astype(wide) if by_columns else x.astype(wide) @ w.astype(wide)
    np.testing.assert_array_equal(got, want)  # of integers, which float32 adds exactly
    assert got.shape == want.shape


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 8, 12, 13])
@pytest.mark.parametrize("types", FEW_TYPES, ids=lambda types: " ".join(map(str, types)))
@pytest.mark.parametrize("turned", [True, False], ids=["its transpose", "itself"])
@given(extents=st.tuples(st.integers(1, 70), st.integers(1, 70)), lead=st.sampled_from([(), (2,)]))
@settings(max_examples=8)
def test_few_rows_meet_each_row_of_weights_together(rows, types, turned, extents, lead):
    (n, k), (left, right) = extents, types

    @pt.tile_kernel
    def product(x: left[*lead, rows, "k"], w):
        return pt.matmul(x, w.T if turned else w)

    rng = np.random.default_rng(n * 70 + k)
    x, w = (rng.integers(-9, 9, shape).astype(kind.numpy)
            for shape, kind in (((*lead, rows, k), left), ((*lead, n, k) if turned else (*lead, k, n), right)))
    matrix = w.astype(np.float64)
    np.testing.assert_array_equal(product(x, w), x @ (np.swapaxes(matrix, -1, -2) if turned else matrix))
    name = "tgemm_stream " if turned else "tgemm_stream_rows "
    by_cube = not turned and left in (pt.s8, pt.s16)
    assert (name in product.disasm()) == (1 < rows <= 12 and n > 1 and not by_cube)


@pytest.mark.parametrize("inner", [40, 5000])
def test_few_rows_give_what_each_gives_alone(inner):
    rows = pt.f32[3, "k"]

    @pt.tile_kernel
    def together(x: rows, w):
        return pt.matmul(x, w.T)

    rng = np.random.default_rng(inner)
    x, w = (rng.standard_normal((n, inner), np.float32) for n in (3, 21))
    np.testing.assert_allclose(together(x, w), x.astype(np.float64) @ w.T, rtol=1e-4, atol=1e-3)
    if inner < 4096:  # else it is added up in pieces, of other extents
        alone = pt.tile_kernel(lambda x, w: pt.matmul(x.unsqueeze(1), w.T))
        np.testing.assert_array_equal(together(x, w), alone(x, w).reshape(3, 21))
    else:
        assert "for" in str(pt.text(together.graph("tile")))


def test_few_rows_that_end_within_a_round_read_nothing_behind_them():
    @pt.tile_kernel
    def product(x: pt.f32[3, 64], w, length: pt.index):
        return pt.matmul(x[:, :length], w[:, :length].T)

    @pt.tile_kernel
    def by_rows(x: pt.f32[3, 64], w, length: pt.index):
        return pt.matmul(x[:, :length], w[:length])

    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal((n, 64), np.float32) for n in (3, 9))
    x[:, 37:] = w[:, 37:] = np.nan
    want = x[:, :37] @ w[:, :37].T
    np.testing.assert_allclose(product(x, w, 37), want, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(by_rows(x, w.T.copy(), 37), want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("make", [lambda x, w: pt.matmul(x, w), lambda x, w: pt.matmul(w.T, x)])
def test_the_sum_over_a_long_inner_axis_is_carried(make):
    rng = np.random.default_rng(0)
    x, w = (rng.integers(-4, 4, shape).astype(np.float32) for shape in ((9000,), (9000, 3)))
    kernel = pt.tile_kernel(make)
    np.testing.assert_array_equal(kernel(x, w), x @ w)
    assert "tgevm_stream" in str(pt.text(kernel.graph("block")))


def test_a_dot_product_makes_no_tile_of_products():
    kernel = pt.tile_kernel(lambda x, y: pt.matmul(x, y))
    x = np.arange(70000, dtype=np.float32) % 7
    assert kernel(x, x) == x.astype(np.int64) @ x.astype(np.int64)
    assert "trowdot" in str(pt.text(kernel.graph("execution")))


def test_tiles_of_products_by_what_their_operands_are():
    """Slices are as many bytes; where the right side is computed for each tile of rows, tiles are tall."""
    assert [WHOLE.slice(size) for size in (4, 2, 1)] == [64, 128, 256]
    assert WHOLE.multiplied(1024) == (128, 256)
    assert WHOLE.multiplied(1024, computed=True) == (256, 128)
    assert replace(WHOLE, area=0).multiplied(1024, computed=True) == (128, 256)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8])
def test_the_author_directs_the_inner_extent_alone(dtype):
    directed = pt.tile_kernel(tile_k=32)(lambda x, w: pt.matmul(x, w))
    x, w = np.ones((70, 100), dtype), np.ones((100, 40), dtype)
    np.testing.assert_array_equal(directed(x, w), x.astype(np.int64) @ w.astype(np.int64))
    assert {tile.type.cols for tile in directed.compiled().program.tiles if tile.name == "x_l1"} == {32}


def test_weights_that_are_converted_are_so_for_many_rows_at_once():
    def accumulator(w):
        @pt.tile_kernel
        def weighted(x, w, s, y):
            y[:] = pt.matmul(x, pt.cast(w, pt.f32)) * s
        x, y, s = (np.zeros(shape, np.float32) for shape in ((512, 256), (512, 512), (512,)))
        weighted(x, w, s, y)
        tiles = {tile.name: tile.type for tile in weighted.compiled().program.tiles}
        return tiles["acc"].rows, tiles["acc"].cols

    assert accumulator(np.zeros((256, 512), np.int8)) == (256, 128)
    assert accumulator(np.zeros((256, 512), np.float32)) == (128, 256)
