"""Instructions of the vector unit where elements change size, overlap, or come in order; and hosts without f16."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from pto.core.arrays import numpy_dtype
from pto.core.dtypes import DTYPES
from pto.core.types import Layout, Space, TileType
from pto.isa.meaning import Operands, compute
from pto.isa.program import Arg, Inst, Program, TensorDecl, TileDecl, TileRef
from pto.isa.spec import Instr
from pto.isa.table import move, scalar, vector
from pto.sim.machine import Machine
from pto.sim.slow import SlowMachine

ROWS, COLS = 6, 40
SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 3.5, -3.5, 1e5, -1e5, 2.5, -2.5, 1e-7], np.float32)


def values(dtype: str, shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    rng, kind = np.random.default_rng(seed), DTYPES[dtype]
    if kind.kind != "f":
        return rng.integers(0, 2 if dtype == "pred" else 256, (*shape, kind.size), np.uint8).view(kind.numpy)[..., 0]
    with np.errstate(all="ignore"):
        x = np.where(rng.random(shape) < 0.3, rng.choice(SPECIAL, shape), rng.standard_normal(shape) * 3)
        return x.astype(np.float32).astype(numpy_dtype(kind))


def run(row: Instr, types: tuple[str, ...], layouts: tuple[Layout, ...], args: tuple[Arg, ...], at: tuple[int, ...],
        shapes: tuple[tuple[int, int], ...], attrs: tuple[str, ...] = (),
        arrays: list[np.ndarray] | None = None) -> list[np.ndarray]:
    """One instruction on tiles at any addresses, the sources loaded and the destination stored, on both machines."""
    decls = list(zip(types, layouts, at, shapes, strict=True))
    tiles = tuple(TileDecl(f"t{i}", TileType(DTYPES[dtype], *shape, Space.UB, layout), address)
                  for i, (dtype, layout, address, shape) in enumerate(decls))
    tensors = tuple(TensorDecl(f"x{i}", DTYPES[t], shape, written=i == 0) for i, (t, _, _, shape) in enumerate(decls))
    arrays = arrays or [values(t, shape, i) for i, (t, _, _, shape) in enumerate(decls)]
    code = [Inst(move.TLOAD, (TileRef(i), i, 0, 0, *shape)) for i, (_, _, _, shape) in enumerate(decls)]
    code += [Inst(row, (*map(TileRef, range(len(tiles))), *args), attrs),
             Inst(move.TSTORE, (0, TileRef(0), 0, 0, *shapes[0])), Inst(scalar.HALT)]
    program = Program("one", "V2", tensors=tensors, tiles=tiles, code=tuple(code))
    results = []
    for machine in (SlowMachine(program), Machine(program, exact=True)):
        given = [array.copy() for array in arrays]
        machine.run(given, [])
        results.append(given[0])
    assert results[0].tobytes() == results[1].tobytes()
    return results


BOTH, WHOLE = (Layout.ROW, Layout.ROW), (ROWS, COLS)


@pytest.mark.parametrize("distance", [0, 64, 192, -128])
@pytest.mark.parametrize("types", [("f16", "f32"), ("f32", "f16"), ("s8", "f32"), ("s32", "s8"), ("bf16", "f16")])
def test_a_conversion_may_overlap_its_source(types: tuple[str, str], distance: int) -> None:
    run(vector.TCVT, types, BOTH, (ROWS, COLS), (1024 + distance, 1024), (WHOLE, WHOLE), ("rne", "off"))


@pytest.mark.parametrize("distance", [0, 64, 960])
def test_others_may_overlap_their_sources(distance: int) -> None:
    column, one = (ROWS, 1), (1, COLS)
    run(vector.TCMP, ("pred", "f32", "f32"), (Layout.ROW,) * 3, (ROWS, COLS), (1024 + distance, 1024, 8192),
        (WHOLE, WHOLE, WHOLE), ("lt",))
    run(vector.TSEL, ("f32", "pred", "f32", "f32"), (Layout.ROW,) * 4, (ROWS, COLS),
        (1024, 1024 + distance, 4096, 8192), (WHOLE,) * 4)
    run(vector.TROWARGMAX, ("s32", "f32"), (Layout.COL, Layout.ROW), (ROWS, COLS), (1024 + distance, 1024),
        (column, WHOLE))
    run(vector.TCOLMAX, ("f16", "f16"), BOTH, (ROWS, COLS), (1024 + distance, 1024), (one, WHOLE))
    for row, kind in ((vector.TTOPK, "f32"), (vector.TTOPK_INDEX, "s32")):
        run(row, (kind, "f32"), BOTH, (ROWS, COLS, 7), (1024 + distance, 1024), ((ROWS, 7), WHOLE))


def meant(row: Instr, dtype: str, shape: tuple[int, int], **operands: object) -> np.ndarray:
    return compute(row.mnemonic, Operands(dtype=numpy_dtype(DTYPES[dtype]), shape=shape, exact=True, rows=shape[0],
                                          **({"cols": shape[1]} | operands)))


def test_the_largest_come_in_falling_order_by_index_and_nan_last() -> None:
    a = np.array([[1, np.nan, 3, 3, -np.inf, -0.0, 0.0]], np.float32)
    got = meant(vector.TTOPK_INDEX, "s32", (1, 9), a=a, cols=7, count=9)
    assert got.tolist() == [[2, 3, 0, 5, 6, 4, 1, -1, -1]]
    top = meant(vector.TTOPK, "f32", (1, 9), a=a, cols=7, count=9)
    assert top[0, :6].tolist() == [3, 3, 1, 0, 0, -math.inf] and np.isnan(top[0, 6]) and top[0, 8] == -math.inf


def test_the_first_of_the_largest_is_chosen() -> None:
    a = np.array([[np.nan, 2, 5, 5], [np.nan] * 4, [-0.0, 0.0, -1, 0]], np.float32)
    assert meant(vector.TROWARGMAX, "s32", (3, 1), a=a, cols=4).ravel().tolist() == [2, 0, 0]
    assert meant(vector.TROWARGMIN, "s32", (3, 1), a=a, cols=4).ravel().tolist() == [1, 0, 2]


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
@pytest.mark.parametrize("bound", [math.nan, 0.0, -0.0, 1e-60, -1e-60, 1e-7, -1e-7, 2.5, -2.5, math.inf, -math.inf])
def test_bounds_that_are_numbers(bound: float, dtype: str) -> None:
    for row in (vector.TMAXS, vector.TMINS):
        run(row, (dtype, dtype), BOTH, (bound, ROWS, COLS), (0, 1024), (WHOLE, WHOLE))


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16", "s32", "u8"])
@pytest.mark.parametrize("low", [math.nan, 0.0, -0.0, 1e-60, -2.5, math.inf])
@pytest.mark.parametrize("high", [math.nan, 0.0, -0.0, -1e-60, 2.5, -math.inf])
def test_two_bounds_are_one_after_the_other(low: float, high: float, dtype: str) -> None:
    one, other = (run(vector.TCLAMPS, (dtype, dtype), BOTH, (low, high, ROWS, COLS), at, (WHOLE, WHOLE))
                  for at in ((0, 1024), (0, 0)))
    assert one[0].tobytes() == other[0].tobytes()
    a = values(dtype, WHOLE, 1)
    above = meant(vector.TMAXS, dtype, WHOLE, a=a, scalar=low)
    assert one[0].tobytes() == meant(vector.TMINS, dtype, WHOLE, a=above, scalar=high).tobytes()


@pytest.mark.parametrize("columns", [31, 32, 33, 64, 100, 130])
@pytest.mark.parametrize("dtype", ["f32", "f16", "s32"])
def test_positions_in_long_rows(columns: int, dtype: str) -> None:
    for row in (vector.TROWARGMAX, vector.TROWARGMIN):
        run(row, ("s32", dtype), (Layout.COL, Layout.ROW), (24, columns), (0, 1024), ((24, 1), (24, 130)))


@pytest.mark.parametrize("columns", [7, 32, 63, 64, 65, 100, 130])
def test_long_rows_of_integers(columns: int) -> None:
    for row in (vector.TROWSUM, vector.TROWPROD, vector.TROWMAX, vector.TROWMIN):
        run(row, ("s32", "s32"), (Layout.COL, Layout.ROW), (24, columns), (0, 1024), ((24, 1), (24, 130)))


@pytest.mark.parametrize("columns", [7, 31, 63, 127, 128, 129, 300])
@pytest.mark.parametrize("dtype", ["s16", "s8", "u8", "pred"])
def test_long_rows_of_narrow_elements(columns: int, dtype: str) -> None:
    """Extremes of integers, and how many predicates are true."""
    for row in (vector.TROWSUM,) if dtype == "pred" else (vector.TROWMAX, vector.TROWMIN):
        kinds = ("s32", dtype) if dtype == "pred" else (dtype, dtype)
        run(row, kinds, (Layout.COL, Layout.ROW), (24, columns), (0, 16384), ((24, 1), (24, 300)))


@pytest.mark.parametrize("dtype", ["s32", "s16", "s8", "u8"])
def test_integers_at_the_ends_of_a_type(dtype: str) -> None:
    """NumPy's cast where it has a meaning, and the row's own where it has none."""
    low, high = np.iinfo(DTYPES[dtype].numpy).min, np.iinfo(DTYPES[dtype].numpy).max
    near = np.array([low, high + 1.0, low - 1.0, 0.0, -0.0, np.nan, np.inf, -np.inf, -1.0, -0.99], np.float32)
    x = np.stack([near, np.nextafter(near, np.float32(0)), near + np.float32(0.5), near - np.float32(0.5),
                  np.nextafter(near, np.float32(-np.inf)), np.nextafter(near, np.float32(np.inf))])
    for mode, saturation in itertools.product(("rne", "rtz", "rdn"), ("off", "on")):
        run(vector.TCVT, (dtype, "f32"), BOTH, x.shape, (0, 1024), (x.shape, x.shape), (mode, saturation),
            [np.zeros(x.shape, DTYPES[dtype].numpy), x])


@pytest.mark.parametrize("columns", [1, 31, 127, 128, 129, 256, 300])
@pytest.mark.parametrize("true", [1, 2, 0x80, 0xFF])
def test_one_predicate_decides(columns: int, true: int) -> None:
    """Every byte but 0 is true, whatever bits others have."""
    lone = np.vstack([np.eye(columns, dtype=np.uint8) * true, np.zeros((1, columns), np.uint8)])
    most = np.where(lone == 0, np.resize(np.array([1, 2, 0x80], np.uint8), lone.shape), 0).astype(np.uint8)
    for rows, cols, x in ((vector.TROWANY, vector.TCOLANY, lone), (vector.TROWALL, vector.TCOLALL, most)):
        by_rows = np.zeros((columns + 1, 1), bool), x.view(bool)
        found, _ = run(rows, ("pred", "pred"), (Layout.COL, Layout.ROW), (columns + 1, columns), (1 << 17, 0),
                       ((columns + 1, 1), (columns + 1, columns)), arrays=list(by_rows))
        assert found.ravel().tolist() == [(i < columns) == (rows is vector.TROWANY) for i in range(columns + 1)]
        by_cols = np.zeros((1, columns), bool), x.view(bool)
        found, _ = run(cols, ("pred", "pred"), BOTH, (columns + 1, columns), (1 << 17, 0),
                       ((1, columns), (columns + 1, columns)), arrays=list(by_cols))
        assert found.ravel().tolist() == [rows is vector.TROWANY] * columns


@pytest.mark.parametrize(("mode", "want"), [
    ("rne", [2, 2, -2, -2, 3, -3]), ("rtz", [2, 1, -2, -1, 2, -2]), ("rdn", [2, 1, -3, -2, 2, -3]),
    ("rup", [3, 2, -2, -1, 3, -2]), ("rna", [3, 2, -3, -2, 3, -3]), ("rto", [3, 1, -3, -1, 3, -3]),
    ("rhb", [3, 2, -2, -1, 3, -3]),
])
def test_rounding_modes(mode: str, want: list[int]) -> None:
    a = np.array([[2.5, 1.5, -2.5, -1.5, 2.75, -2.75]], np.float32)
    assert meant(vector.TCVT, "s32", a.shape, a=a, round=mode, sat="off").tolist() == [want]
    far = np.copysign(128 + np.abs(a), a)  # where neighbours of bf16 are 1 apart
    wide = meant(vector.TCVT, "bf16", a.shape, a=far, round=mode, sat="off").astype(np.float32)
    assert (wide - np.copysign(128, a)).tolist() == [want]


def test_what_is_out_of_range() -> None:
    a = np.array([[np.nan, np.inf, -np.inf, 300.0, -300.0, 1e20]], np.float32)
    cases = {
        ("s8", "off"): [-128] * 6, ("s8", "on"): [0, 127, -128, 127, -128, 127],
        ("u8", "off"): [255] * 6, ("u8", "on"): [0, 255, 0, 255, 0, 255],
    }
    for (dtype, sat), want in cases.items():
        assert meant(vector.TCVT, dtype, a.shape, a=a, round="rne", sat=sat).tolist() == [want]
    big = np.array([[1e6, -1e6, np.inf, 65519.9, 65520.0]], np.float32)
    half = {
        ("rne", "off"): [np.inf, -np.inf, np.inf, 65504, np.inf], ("rtz", "off"): [65504, -65504, np.inf, 65504, 65504],
        ("rup", "off"): [np.inf, -65504, np.inf, np.inf, np.inf], ("rne", "on"): [65504, -65504, 65504, 65504, 65504],
    }
    for (mode, sat), want in half.items():
        assert meant(vector.TCVT, "f16", big.shape, a=big, round=mode, sat=sat).tolist() == [want]
    whole = np.array([[200, -200, 70000]], np.int32)
    assert meant(vector.TCVT, "s8", whole.shape, a=whole, round="rne", sat="off").tolist() == [[-56, 56, 112]]
    assert meant(vector.TCVT, "u8", whole.shape, a=whole, round="rne", sat="on").tolist() == [[200, 0, 255]]


def test_rounding_at_random_goes_away_from_zero_below_the_part_of_the_way() -> None:
    bits = np.array([[0, 2**30 - 1, 2**30, -1]], np.int64).astype(np.int32)
    for number, want in ((2.25, [3, 3, 2, 2]), (-2.25, [-3, -3, -2, -2]), (7.0, [7] * 4), (0.0, [0] * 4)):
        a = np.full(bits.shape, number, np.float32)
        assert meant(vector.TCVT_SR, "s8", a.shape, a=a, bits=bits, sat="off").tolist() == [want]
        half = meant(vector.TCVT_SR, "bf16", a.shape, a=a + np.copysign(128, a), bits=bits, sat="off")
        assert (half.astype(np.float32) - np.copysign(128, a)).tolist() == [want]
    far = np.array([[np.nan, np.inf, 1e6, 65535.0]], np.float32)
    for sat, whole, floating in (("off", [-128] * 4, [np.nan, np.inf, np.inf, 65504]),
                                 ("on", [0, 127, 127, 127], [np.nan, 65504, 65504, 65504])):
        drawn = np.full(far.shape, -1, np.int32)  # the largest word: the neighbour toward zero
        assert meant(vector.TCVT_SR, "s8", far.shape, a=far, bits=drawn, sat=sat).tolist() == [whole]
        half = meant(vector.TCVT_SR, "f16", far.shape, a=far, bits=drawn, sat=sat)
        np.testing.assert_array_equal(half.astype(np.float32), [floating])


def test_products_of_bytes() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-128, 128, (5, 4), np.int8) for _ in "ab")
    a[0] = b[0] = -128
    acc = np.array([[0, 5, 2**31 - 1, -(2**31), 7]], np.int32)
    want = (acc.astype(np.int64) + (a.astype(np.int64) * b).sum(1)).astype(np.int32)
    found = meant(vector.TDOT4, "s32", acc.shape, acc=acc, a=a.view(np.int32).T.copy(), b=b.view(np.int32).T.copy())
    np.testing.assert_array_equal(found, want)


def test_integers_wrap_and_shifts_count_modulo() -> None:
    a, b = np.array([[127, -128, 64, 3]], np.int8), np.array([[1, -1, 2, 9]], np.int8)
    assert meant(vector.TADD, "s8", a.shape, a=a, b=b).tolist() == [[-128, 127, 66, 12]]
    assert meant(vector.TMUL, "s8", a.shape, a=a, b=b).tolist() == [[127, -128, -128, 27]]
    assert meant(vector.TSHL, "s8", a.shape, a=a, b=b).tolist() == [[-2, 0, 0, 6]]
    assert meant(vector.TABS, "s8", a.shape, a=a).tolist() == [[127, -128, 64, 3]]
    assert meant(vector.TADDS, "u8", a.shape, a=a.view(np.uint8), scalar=300.0).tolist() == [[126, 127, 63, 2]]


def test_halves_are_computed_in_f32_and_rounded_once() -> None:
    a = np.array([[60000, 1e-7, 1, 1.001]], np.float16)
    assert meant(vector.TADD, "f16", a.shape, a=a, b=a).tolist()[0][:2] == [np.inf, float(a[0, 1]) * 2]
    x = np.array([[1.0, 3.0]]).astype(ml_dtypes.bfloat16)
    want = (np.float32(1) / x.astype(np.float32)).astype(ml_dtypes.bfloat16)
    assert meant(vector.TRECIP, "bf16", x.shape, a=x).tolist() == want.tolist()


HALVES = """
import numpy as np
from tests.campaigns.conversions import against_numpy
from pto.core.dtypes import BF16, F16, F32
print(against_numpy(F16, F32, 1 << 18), against_numpy(F32, F16), against_numpy(BF16, F16))
"""


def test_a_host_without_f16_converts_alike(tmp_path: Path) -> None:
    environment = os.environ | {"NUMBA_CPU_NAME": "generic", "PTO_CACHE_DIR": str(tmp_path),
                                "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", HALVES], env=environment, capture_output=True, text=True)
    assert done.stdout == "(262144, 0) (65536, 0) (65536, 0)\n", done.stderr
