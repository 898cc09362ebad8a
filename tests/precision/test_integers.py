"""Products of integers equal to NumPy's over 1,000 random shapes each, and all pairs of 8-bit operands."""


from __future__ import annotations

import numpy as np
import pytest

import pto as pt
from pto.core.arrays import numpy_dtype
from pto.core.dtypes import DTYPES, S8, U8
from tests.campaigns import conversions, integers


@pytest.mark.parametrize("left", integers.LEFT)
@pytest.mark.parametrize("one_row", [False, True])
def test_products_of_1000_random_shapes(left, one_row):
    assert integers.differing(integers.dense(left, one_row)) == 0


@pytest.mark.parametrize("activation", ["a14", "a8"])
@pytest.mark.parametrize("one_row", [False, True])
def test_ternary_products_of_a_few_random_shapes(activation, one_row):
    assert integers.differing(integers.ternary(activation, one_row, 8)) == 0


def test_one_wrong_integer_is_found(monkeypatch):
    found = list(integers.dense("int8", False, 3))
    found[1][0][0, 0] += 1
    assert integers.differing(iter(found)) == 1


PAIRS = [np.repeat(np.arange(256, dtype=np.uint8), 256), np.tile(np.arange(256, dtype=np.uint8), 256)]
BINARY = {
    "+": (lambda a, b: a + b, np.add), "-": (lambda a, b: a - b, np.subtract), "*": (lambda a, b: a * b, np.multiply),
    "maximum": (lambda a, b: pt.maximum(a, b), np.maximum), "minimum": (lambda a, b: pt.minimum(a, b), np.minimum),
    "&": (lambda a, b: a & b, np.bitwise_and), "|": (lambda a, b: a | b, np.bitwise_or),
    "^": (lambda a, b: a ^ b, np.bitwise_xor), "<<": (lambda a, b: a << b, lambda a, b: np.left_shift(a, b & 7)),
    ">>": (lambda a, b: a >> b, lambda a, b: np.right_shift(a, b & 7)),
    "<": (lambda a, b: a < b, np.less), "<=": (lambda a, b: a <= b, np.less_equal),
    ">": (lambda a, b: a > b, np.greater), ">=": (lambda a, b: a >= b, np.greater_equal),
    "==": (lambda a, b: a == b, np.equal), "!=": (lambda a, b: a != b, np.not_equal),
    "//": (lambda a, b: a // b, np.floor_divide), "%": (lambda a, b: a % b, np.remainder),
}


@pytest.mark.parametrize("dtype", [S8, U8], ids=str)
@pytest.mark.parametrize("name", BINARY)
def test_all_pairs_of_8_bit_operands(name, dtype):
    ours, theirs = BINARY[name]
    a, b = (x.view(numpy_dtype(dtype)) for x in PAIRS)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(pt.tile_kernel(ours)(a, b), theirs(a, b))


@pytest.mark.parametrize("dtype", [S8, U8], ids=str)
def test_all_conversions_from_and_to_8_bits(dtype):
    for other in (row for row in DTYPES.values() if row != dtype and row.kind != "p"):
        seen, wrong = conversions.against_numpy(other, dtype)
        assert (seen, wrong) == (256, 0), other
        if other.bits < 32:
            assert conversions.against_numpy(dtype, other) == (1 << other.bits, 0), other
