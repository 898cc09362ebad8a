"""Products of many rows whose use goes through the vector unit some rows at a time."""

from inspect import signature

import numpy as np
import pytest

import pto as pt
from pto.core.errors import PtoError
from pto.passes.choose_tiles import PIECE

DEPTH = 80  # more than a slice of a product


def operand(rng, *shape):
    return rng.integers(-4, 5, shape).astype(np.float32)


def typed(function, *arguments, **directed):
    """A kernel for as many rows as it is given, whose other extents are constants."""
    kernel = pt.tile_kernel(**directed)(function)
    for name, array in zip(signature(function).parameters, arguments, strict=True):
        kernel.declare(name, pt.f32["rows" if name in "xr" else len(array), array.shape[1]])
    return kernel


def instructions(kernel):
    return [inst.spec.mnemonic for inst in kernel.compiled().program.code]


KERNELS = {
    "an operand beside": (lambda x, a, b, r, s: pt.matmul(x, a) + r, lambda x, a, b, r, s: x @ a + r),
    "a row for all": (lambda x, a, b, r, s: pt.maximum(pt.matmul(x, a) + s, 0),
                      lambda x, a, b, r, s: np.maximum(x @ a + s, 0)),
    "two of one left operand": (lambda x, a, b, r, s: pt.matmul(x, a) * pt.matmul(x, b),
                                lambda x, a, b, r, s: (x @ a) * (x @ b)),
    "two of different ones": (lambda x, a, b, r, s: pt.matmul(x, a) - pt.matmul(x + 1, b),
                              lambda x, a, b, r, s: x @ a - (x + 1) @ b),
    "an operand scaled": (lambda x, a, b, r, s: pt.matmul(x, a) * 2 - r * 3, lambda x, a, b, r, s: x @ a * 2 - r * 3),
    "three": (lambda x, a, b, r, s: pt.matmul(x, a) - pt.matmul(x, b) + pt.matmul(x, a + b) + r,
              lambda x, a, b, r, s: x @ a - x @ b + x @ (a + b) + r),
    "a cast": (lambda x, a, b, r, s: pt.cast(pt.matmul(x, a), pt.f16),
               lambda x, a, b, r, s: (x @ a).astype(np.float16)),
}


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("rows", [2, PIECE, PIECE + 1, 130, 256, 257, 400])
def test_any_number_of_rows_is_computed(name, rows, monkeypatch):
    rng = np.random.default_rng(rows)
    ours, theirs = KERNELS[name]
    arguments = (operand(rng, rows, DEPTH), operand(rng, DEPTH, 40), operand(rng, DEPTH, 40), operand(rng, rows, 40),
                 operand(rng, 1, 40))
    kernel = typed(ours, *arguments)
    np.testing.assert_array_equal(kernel(*arguments), theirs(*arguments))
    assert ("textract_rows" in instructions(kernel)) == (name != "three")
    monkeypatch.setenv("PTO_CHECK", "all")
    np.testing.assert_array_equal(kernel(*arguments), theirs(*arguments))


def test_leading_axes_stay_apart():
    rng = np.random.default_rng(5)
    x, w, r = operand(rng, 3, 100, DEPTH), operand(rng, 3, DEPTH, 20), operand(rng, 3, 100, 20)

    kernel = pt.tile_kernel(lambda x, w, r: pt.matmul(x, w) + r)
    for name, type in (("x", pt.f32[3, "M", DEPTH]), ("w", pt.f32[3, DEPTH, 20]), ("r", pt.f32[3, "M", 20])):
        kernel.declare(name, type)
    np.testing.assert_array_equal(kernel(x, w, r), x @ w + r)
    assert "textract_rows" in instructions(kernel)


def test_a_tile_of_many_rows_is_multiplied_at_once_and_used_in_pieces():
    rng = np.random.default_rng(0)
    x, w, r = operand(rng, 256, 576), operand(rng, 144, 576), operand(rng, 256, 144)
    found = instructions(typed(lambda x, w, r: pt.matmul(x, w.T) + r, x, w, r))
    assert found.count("tmatmul") == 1 and found.count("textract_rows") == 1


def test_products_that_share_a_left_operand_load_it_once():
    rng = np.random.default_rng(0)
    x, a, b = operand(rng, 256, 576), operand(rng, 576, 128), operand(rng, 576, 128)
    found = instructions(typed(lambda x, a, b: pt.matmul(x, a) * pt.matmul(x, b), x, a, b))
    assert found.count("tmatmul") == 2 and found.count("tload") == 3 and found.count("textract") == 3


def test_an_author_who_directs_the_tiles_gets_them():
    rng = np.random.default_rng(0)
    x, w, r = operand(rng, 200, DEPTH), operand(rng, DEPTH, 40), operand(rng, 200, 40)
    for directed, expected in (({}, True), ({"tile_m": 128, "tile_n": 32}, False)):
        kernel = typed(lambda x, w, r: pt.matmul(x, w) + r, x, w, r, **directed)
        assert ("textract_rows" in instructions(kernel)) == expected


@pytest.mark.parametrize(("function", "shapes"), [
    (lambda x, w, r: pt.matmul(x, w) + r, ((3, 513, DEPTH), (DEPTH, 40), (513, 40))),
    (lambda x, w, y, r: r + y * pt.matmul(x, w), ((320, DEPTH), (DEPTH, 1999), (320, 1999), (1, 1999))),
], ids=["an accumulator", "a row"])
def test_tiles_that_are_used_in_four_pieces_and_then_in_one_are_not_overtaken(function, shapes, monkeypatch):
    rng = np.random.default_rng(0)
    arguments = [operand(rng, *shape) for shape in shapes]
    monkeypatch.setenv("PTO_CHECK", "all")

    def run():
        kernel = pt.tile_kernel(function)
        for name, shape in zip(signature(function).parameters, shapes, strict=True):
            kernel.declare(name, pt.f32[tuple({513: "M", 320: "M", 1999: "N", 3: "B"}.get(n, n) for n in shape)])
        return kernel(*arguments)

    x, w, *others = arguments
    np.testing.assert_array_equal(run(), x @ w + others[0] if len(others) == 1 else others[1] + others[0] * (x @ w))
    monkeypatch.setattr("pto.passes.order.BRIEF", ())
    monkeypatch.setenv("PTO_DISABLE_CACHE", "1")
    with pytest.raises(PtoError, match="race"):  # what the brief courses are for
        run()
