"""What instructions mean, against arithmetic done another way."""

from __future__ import annotations

import math
from decimal import Decimal, getcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pto.isa import exact_math
from pto.isa.meaning import CANONICAL_NAN, MEANING, Operands, compute, cube, scalar, vector
from pto.isa.spec import Instr
from pto.isa.table import TABLE, sync

F32 = np.float32
finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
anything = st.floats(width=32)
INF, NAN = math.inf, math.nan


def bits(x: object) -> list[int]:
    return np.asarray(x, F32).view(np.uint32).ravel().tolist()


def run(mnemonic: str, shape: tuple[int, int], **operands: object) -> np.ndarray:
    arrays = {k: np.asarray(v, F32) if isinstance(v, list) else v for k, v in operands.items()}
    extents = {"rows": shape[0], "cols": shape[1]} | arrays
    return compute(mnemonic, Operands(shape=shape, dtype=np.dtype(F32), exact=True, **extents))


def nearest_f32(x: Fraction) -> float:
    """The f32 nearest to a rational number, ties to even; by integers alone."""
    if x == 0:
        return 0.0
    exponent = max(math.frexp(float(abs(x)))[1] - 24, -149) if float(x) else -149
    scaled = abs(x) / Fraction(2) ** exponent
    while scaled >= 2**24:
        scaled, exponent = scaled / 2, exponent + 1
    while scaled < 2**23 and exponent > -149:
        scaled, exponent = scaled * 2, exponent - 1
    value = math.ldexp(round(scaled), exponent)  # round() is half to even
    return math.copysign(INF if value >= 2.0**128 else value, x)


def test_every_tile_row_has_one_meaning() -> None:
    assert set(MEANING) == {row.mnemonic for row in TABLE if not row.is_scalar}


def test_every_scalar_row_has_a_meaning_or_is_the_machines_own() -> None:
    scalars = {row.mnemonic for row in TABLE if row.is_scalar}
    order = {row.mnemonic for row in vars(sync).values() if isinstance(row, Instr)}
    assert scalars == {*scalar.MEANING, *scalar.BRANCHES, "halt", "tview", *order}


@given(finite, finite, finite)
def test_fma_rounds_once(a: float, b: float, c: float) -> None:
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    with np.errstate(all="ignore"):
        got = cube.fma(*(np.array([x], F32) for x in (a, b, c)))
    assert got[0] == nearest_f32(exact)


def test_fma_where_two_roundings_would_differ() -> None:
    a, c = 1 + 2.0**-12, 2.0**-80
    got = cube.fma(np.array([a, a, -a], F32), np.array([a, a, a], F32), np.array([c, -c, -c], F32))
    up = 1 + 2.0**-11 + 2.0**-23
    assert got.tolist() == [up, 1 + 2.0**-11, -up]


@pytest.mark.parametrize(("a", "b", "c", "want"), [
    (-0.0, 1, -0.0, "-0.0"), (-0.0, 1, 0.0, "0.0"), (1, -1, 1, "0.0"), (INF, 0, 1, "nan"), (INF, 1, -INF, "nan"),
    (INF, 1, 1, "inf"), (2.0**-149, 2.0**-149, 2.0**-149, "1e-45"), (3e38, 3e38, -INF, "-inf"), (3e38, 3e38, 0, "inf"),
])
def test_fma_at_the_edges(a: float, b: float, c: float, want: str) -> None:
    with np.errstate(all="ignore"):
        assert str(cube.fma(*(np.array([x], F32) for x in (a, b, c)))[0]) == want


def test_matmul_adds_in_increasing_k_and_starts_from_c_only_when_told() -> None:
    a, b, c = [[1.0, 1.0, -1.0]], [[1e8] + [0.0] * 15, [1.0] * 16, [1e8] + [0.0] * 15], [[5.0] * 16]
    fresh = run("tmatmul", (1, 16), a=a, b=b, m=1, n=2, k=3, acc=0)
    assert fresh.tolist() == [[0.0] + [1.0] * 15]
    assert run("tmatmul", (1, 16), a=a, b=b, c=c, m=1, n=2, k=3, acc=7).tolist() == [[8.0] + [6.0] * 15]
    assert bits(run("tmatmul", (1, 16), a=[[]], b=[], m=1, n=2, k=0, acc=0)) == [0] * 16


@given(st.lists(finite, min_size=1, max_size=40))
def test_rowsum_is_a_left_fold(row: list[float]) -> None:
    total = F32(row[0])
    with np.errstate(all="ignore"):
        for value in row[1:]:
            total = F32(total + F32(value))
    got = run("trowsum", (1, 1), a=[row], cols=len(row))
    assert bits(got) == ([CANONICAL_NAN] if np.isnan(total) else bits(total))


def test_folds_of_nothing() -> None:
    assert bits(run("trowsum", (2, 1), a=[[], []], cols=0)) == [0, 0]
    assert run("trowmax", (2, 1), a=[[], []], cols=0).tolist() == [[-INF], [-INF]]


def test_maximum_ignores_one_nan_and_orders_zeros() -> None:
    a, b = [[NAN, 1, NAN, -0.0, 0.0, -0.0, -INF]], [[1, NAN, NAN, 0.0, -0.0, -0.0, NAN]]
    want = [1, 1, CANONICAL_NAN, 0.0, 0.0, -0.0, -INF]
    expected = [w if w == CANONICAL_NAN else bits(w)[0] for w in want]
    assert bits(run("tmax", (1, 7), a=a, b=b)) == expected


def test_rowmax_is_nan_only_where_all_are() -> None:
    a = [[NAN, -3, NAN], [NAN, NAN, NAN], [-0.0, 0.0, -0.0], [NAN, -INF, NAN]]
    assert bits(run("trowmax", (4, 1), a=a, cols=3)) == [bits(-3)[0], CANONICAL_NAN, 0, bits(-INF)[0]]


def test_relu_of_nan_and_of_minus_zero_is_plus_zero() -> None:
    assert bits(run("trelu", (1, 4), a=[[NAN, -0.0, -1, 2]])) == bits([0.0, 0.0, 0.0, 2.0])


def test_a_scalar_is_rounded_to_the_tiles_type_first() -> None:
    assert run("tmuls", (1, 1), a=[[3.0]], scalar=0.1).tolist() == [[float(F32(3) * F32(0.1))]]
    assert run("tadds", (1, 1), a=[[0.0]], scalar=1e300).tolist() == [[INF]]
    assert bits(run("texpands", (1, 2), scalar=-NAN)) == [CANONICAL_NAN] * 2


def test_division() -> None:
    a, b = [[1, -1, 0, 1]], [[0, 0.0, 0, 3]]
    assert bits(run("tdiv", (1, 4), a=a, b=b)) == [*bits([INF, -INF]), CANONICAL_NAN, *bits(F32(1) / F32(3))]


def test_one_column_serves_all_columns() -> None:
    got = run("trowexpandsub", (2, 2), a=[[1, 2], [3, 4]], b=[[1], [3]])
    assert got.tolist() == [[0, 1], [0, 1]]


def test_nan_results_are_canonical_but_moved_bits_are_kept() -> None:
    odd = np.array([[0xFFC12345, 0x7F812345]], np.uint32).view(F32)
    assert bits(run("tadds", (1, 2), a=odd, scalar=1.0)) == [CANONICAL_NAN] * 2
    assert bits(run("tmov", (1, 2), src=odd)) == [0xFFC12345, 0x7F812345]


def test_extract_fills_the_last_panel_with_zeros() -> None:
    got = run("textract", (2, 16), src=[[1, 2], [3, 4]], cols=2)
    assert got[:, :2].tolist() == [[1, 2], [3, 4]]
    assert bits(got[:, 2:]) == [0] * 28


@given(st.floats(-104, 89, width=32))
def test_exp_is_within_half_an_ulp_and_a_hair(x: float) -> None:
    getcontext().prec = 40
    true = Decimal(x).exp()
    n, p = exact_math.exp_steps(x)
    assert abs(Decimal(math.ldexp(p, int(n))) / true - 1) < Decimal(2) ** -45
    got = exact_math.exp_f32(x)
    if math.isfinite(got):
        assert abs(Decimal(got) - true) <= Decimal("0.50001") * Decimal(float(np.spacing(F32(got))))


@given(st.lists(anything, min_size=1, max_size=20))
def test_exp_of_an_array_is_exp_of_each(values: list[float]) -> None:
    want = [exact_math.exp_f32(x) for x in values]
    assert bits(run("texp", (1, len(values)), a=[values])) == bits(want)


@pytest.mark.parametrize(("x", "want"), [
    (0.0, 1.0), (-0.0, 1.0), (INF, INF), (-INF, 0.0), (89.0, INF), (88.72284, INF),
    (-104.0, 0.0), (-103.0, 1e-45), (3.4e38, INF), (-3.4e38, 0.0), (1e-45, 1.0),
])
def test_exp_at_the_edges(x: float, want: float) -> None:
    assert bits(run("texp", (1, 1), a=[[x]])) == bits(want)


def test_larger_is_a_function_of_arrays() -> None:
    assert vector.larger(np.array([1.0]), np.array([2.0])).tolist() == [2.0]


word = st.integers(-(2**63), 2**63 - 1)


@given(word, word, word)
def test_scalar_arithmetic_wraps_as_numpys_does(a: int, b: int, c: int) -> None:
    x, y, z = (np.array(v, np.int64) for v in (a, b, c))
    with np.errstate(all="ignore"):
        want = {"add": x + y, "sub": x - y, "mul": x * y, "xor": x ^ y, "min": min(a, b), "max": max(a, b),
                "lt": a < b}
        assert {name: scalar.MEANING[name](a, b) for name in want} == {k: int(v) for k, v in want.items()}
        assert scalar.MEANING["madd"](a, b, c) == int(x * y + z)


@pytest.mark.parametrize(("a", "b", "quotient", "rest"), [
    (7, 2, 3, 1), (-7, 2, -4, 1), (7, -2, -4, -1), (-7, -2, 3, -1), (-(2**63), -1, -(2**63), 0),
])
def test_division_rounds_down_and_wraps(a: int, b: int, quotient: int, rest: int) -> None:
    assert (scalar.MEANING["div"](a, b), scalar.MEANING["mod"](a, b)) == (quotient, rest)


def test_branches() -> None:
    assert scalar.BRANCHES["jmp"]()
    assert scalar.BRANCHES["blt"](1, 2) and not scalar.BRANCHES["blt"](2, 2)
    assert scalar.BRANCHES["bge"](2, 2) and not scalar.BRANCHES["bge"](1, 2)
