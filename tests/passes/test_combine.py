"""One instruction where two would do: sums of products, and reductions of transposes."""
# ruff: noqa: F821, UP037 (extents in quotes)

from __future__ import annotations

import numpy as np
import pytest

import pto as pt
from pto.isa.check import require_legal
from tests.kernels import agree


def compiled(kernel, arguments, wanted):
    """The names of the instructions on tiles, where every level agrees with what is wanted."""
    bound, _ = agree(kernel, arguments, wanted, ("tile-to-block", "combine"), rtol=1e-4, atol=1e-4)
    require_legal(bound.program)
    return [inst.spec.mnemonic for inst in bound.program.code]


@pytest.mark.parametrize("cols", [1, 7, 64, 1300])
def test_a_sum_of_products_makes_no_tile_of_them(cols):
    @pt.tile_kernel
    def dots(x, y):
        return pt.sum(x * y, keepdims=True), pt.sum((x - y) * (x - y), keepdims=True)

    x, y = (np.random.default_rng(n).standard_normal((37, cols), np.float32) for n in (0, 1))
    names = compiled(dots, [x, y], (x * y).sum(1, keepdims=True))
    assert "trowdot" in names and "trowsum" not in names


def test_a_product_that_is_needed_is_made():
    @pt.tile_kernel
    def kept(x: pt.f32["m", 40]):
        y = x * x
        return pt.sum(y, keepdims=True) + y

    x = np.random.default_rng(0).standard_normal((5, 40), np.float32)
    assert "trowdot" not in compiled(kept, [x], (x * x).sum(1, keepdims=True) + x * x)


def test_products_of_halves_are_rounded_first():
    @pt.tile_kernel
    def halves(x: pt.f16["m", "n"]):
        return pt.sum(x * x, keepdims=True)

    x = np.ones((3, 20), np.float16)
    assert "trowdot" not in compiled(halves, [x], np.full((3, 1), 20))


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32])
@pytest.mark.parametrize("shape", [(7,), (37, 130), (1, 3000)])
def test_two_bounds_are_one_instruction(shape, dtype):
    @pt.tile_kernel
    def bounded(x):
        return pt.clamp(x, -3, 2)

    x = np.random.default_rng(0).integers(-9, 9, shape).astype(dtype)
    names = compiled(bounded, [x], np.clip(x, -3, 2))
    assert "tclamps" in names and not {"tmaxs", "tmins"} & {*names}


def test_what_is_only_bounded_below_is_made_where_it_is_needed():
    @pt.tile_kernel
    def both(x):
        y = pt.maximum(x, 0.25)
        return pt.minimum(y, 0.5) + y

    x = np.random.default_rng(0).standard_normal((5, 40), np.float32)
    names = compiled(both, [x], np.clip(x, 0.25, 0.5) + np.maximum(x, 0.25))
    assert "tclamps" not in names


def test_bounds_in_the_other_order_are_two_instructions():
    """A number that is not one becomes the bound that comes first."""
    @pt.tile_kernel
    def other(x):
        return pt.maximum(pt.minimum(x, 1.0), -1.0)

    x = np.array([[np.nan, 3, -3, 0.5]], np.float32)
    assert "tclamps" not in compiled(other, [x], [[1, 1, -1, 0.5]])


@pytest.mark.parametrize("shape", [(1, 5), (40, 1), (3, 130), (300, 70), (129, 257)])
@pytest.mark.parametrize("name", ["sum", "max", "min", "prod"])
def test_reductions_over_the_first_axis_read_rows_as_they_lie(name, shape):
    reduce = getattr(pt, name)

    @pt.tile_kernel
    def reduced(x):
        return reduce(x, axis=0)

    x = np.random.default_rng(0).uniform(0.9, 1.1, shape).astype(np.float32)
    names = compiled(reduced, [x], getattr(x, name)(axis=0))
    assert f"tcol{name}" in names and f"trow{name}" not in names
