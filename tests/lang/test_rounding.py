"""Roundings, saturation and promotion by the numeric configuration; rounding at random, at every level."""
# ruff: noqa: F821, UP037, E731 (names of extents and options; one expression in two kernels)

from __future__ import annotations

import itertools

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pto as pt
from pto.core.arrays import numpy_dtype
from pto.core.dtypes import BF16, F16, S8, S16, U8
from pto.core.errors import DTypeError
from pto.isa.disasm import disassemble
from pto.isa.meaning.convert import to_float, to_integer

DRAWS = 1 << 20
NARROW = [F16, BF16, S8, S16, U8]


@pytest.fixture(scope="module")
def drawing():
    """A kernel that rounds a number many times, to each type."""
    def rounded(dtype):
        @pt.tile_kernel
        def k(x, like: pt.f32["M", "N"], seed: pt.index):
            return pt.cast(like * 0.0 + x, dtype, "stochastic", seed=seed)
        return k
    return {dtype: rounded(dtype) for dtype in (F16, S8)}


def inputs():
    """64 numbers: between integers and far from them, near 0, subnormal in float16, on both sides, exact ones."""
    rng = np.random.default_rng(12)
    whole = np.concatenate([rng.uniform(-100, 100, 28), [0.5, -0.5, 0.001, -7.999]])
    half = np.concatenate([rng.standard_normal(14), rng.uniform(-6e-5, 6e-5, 8), 2.0**-24 * np.array([0.3, 1.7, -2.25]),
                           rng.uniform(-6e4, 6e4, 7)])
    return [(S8, x) for x in whole.astype(np.float32)] + [(F16, x) for x in half.astype(np.float32)]


def neighbours(dtype, x):
    """Those toward zero and away from it."""
    make = to_float if dtype.kind == "f" else to_integer
    toward, away = (make(np.float64([x]), numpy_dtype(dtype), mode, False).astype(np.float64)[0]
                    for mode in ("rtz", "rup" if x > 0 else "rdn"))
    return toward, away


def test_the_mean_is_the_number_and_the_results_are_its_neighbours(drawing):
    found = inputs()
    assert len(found) == 64
    like = np.ones((DRAWS // 1024, 1024), np.float32)
    for number, (dtype, x) in enumerate(found):
        drawn = drawing[dtype](np.float32([x]), like, number).astype(np.float64)
        toward, away = neighbours(dtype, x)
        assert set(np.unique(drawn)) <= {toward, away}
        part = (x - toward) / (away - toward) if away != toward else 0.0
        sigma = abs(away - toward) * np.sqrt(part * (1 - part) / DRAWS)
        assert abs(drawn.mean() - np.float64(x)) <= 4 * sigma + 1e-12 * abs(x)


@pytest.mark.parametrize("dtype", NARROW, ids=str)
def test_exact_values_never_move(dtype):
    every = np.arange(1 << dtype.bits, dtype=f"u{dtype.size}").view(numpy_dtype(dtype))
    x = every.astype(np.float32).reshape(1, -1)
    for seed in range(3):
        with pt.numeric_config(rounding="stochastic", seed=seed):
            again = pt.tile_kernel(lambda x: x.to(dtype))(x)
        np.testing.assert_array_equal(again.astype(np.float32), x)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    x = np.random.default_rng(0).standard_normal((37, 211)).astype(np.float32)
    k = pt.tile_kernel(lambda x: (x.to(pt.f16), x.to(pt.f16)))
    found = {}
    for seed in (1, 2):
        with pt.numeric_config(rounding={"float16": "stochastic"}, seed=seed):
            found[seed] = k(x)
            np.testing.assert_array_equal(found[seed][0], k(x.copy())[0])
    one, two = found[1]
    assert (one != found[2][0]).mean() > 0.2 and (one != two).mean() > 0.2  # two conversions draw apart
    np.testing.assert_array_equal(k(x)[0], x.astype(np.float16))
    assert len(k.variants) == 3


def test_a_place_decides_whatever_the_tiles_and_the_threads():
    x = np.random.default_rng(1).standard_normal((70, 300)).astype(np.float32)
    body = lambda x: pt.cast(x, pt.bf16, "stochastic", seed=5)
    expected = pt.tile_kernel(body)(x)
    np.testing.assert_array_equal(pt.tile_kernel(tile_m=8, tile_n=16)(body)(x), expected)
    threads = pt.get_num_threads()
    try:
        pt.set_num_threads(2)
        np.testing.assert_array_equal(pt.tile_kernel(body)(x), expected)
    finally:
        pt.set_num_threads(threads)


@pt.tile_kernel(t=16)
def in_tiles(x, out):
    for i in pt.range(0, x.shape[0], t):
        for j in pt.range(0, x.shape[1], t):
            tile = x[i:i + t, j:j + t]
            out[i:i + t, j:j + t] = pt.cast(tile, pt.s8, "stochastic")


def test_every_level_and_both_machines_agree():
    x = np.random.default_rng(2).uniform(-9, 9, (37, 50)).astype(np.float32)
    assert pt.tile_kernel(lambda x: pt.cast(x * 2.0, pt.f16, "stochastic", seed=9)).verify(x, tolerance=0)
    with pt.numeric_config(rounding="stochastic", seed=9):
        assert pt.tile_kernel(lambda x: pt.sum(x.to(pt.bf16), axis=-1)).verify(x, tolerance=0)
        assert in_tiles.verify(x, np.zeros(x.shape, np.int8), tolerance=0)


def test_tiles_draw_anew_in_each_turn_of_a_loop():
    x, out = np.full((64, 64), 0.5, np.float32), np.zeros((64, 64), np.int8)
    in_tiles(x, out)
    tiles = [out[i:i + 16, j:j + 16] for i, j in itertools.product(range(0, 64, 16), repeat=2)]
    assert all((a != b).mean() > 0.3 for a, b in itertools.combinations(tiles, 2))
    assert abs(out.mean() - 0.5) < 0.05


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(NARROW), st.sampled_from(["nearest_even", "truncate", "floor", "ceil", "nearest_away", "odd",
                                                 "nearest_up"]), st.booleans(), st.integers(0, 99))
def test_conversions_are_those_of_the_configuration(dtype, name, saturates, seed):
    mode = {"nearest_even": "rne", "truncate": "rtz", "floor": "rdn", "ceil": "rup", "nearest_away": "rna",
            "odd": "rto", "nearest_up": "rhb"}[name]
    x = (np.random.default_rng(seed).standard_normal((3, 40)) * 10.0 ** (seed % 6)).astype(np.float32)
    keeps = "saturate" if saturates else "infinity" if dtype.kind == "f" else "wrap"
    with pt.numeric_config(rounding={dtype: name}, overflow={dtype: keeps}):
        found = pt.tile_kernel(lambda x: x.to(dtype))(x)
    make = to_float if dtype.kind == "f" else to_integer
    np.testing.assert_array_equal(found, make(x.astype(np.float64), numpy_dtype(dtype), mode, saturates))


def test_results_in_halves_are_rounded_as_the_configuration_says():
    a, b = (np.random.default_rng(n).standard_normal((8, 64)).astype(ml_dtypes.bfloat16) for n in (1, 2))
    sum_ = a.astype(np.float32) + b.astype(np.float32)
    k = pt.tile_kernel(lambda a, b: (a + b, pt.exp(a) * 1.0, a * 0.1, pt.maximum(a, b)))
    with pt.numeric_config(rounding={"bfloat16": "truncate"}):
        down = k(a, b)
    np.testing.assert_array_equal(down[0], to_float(sum_.astype(np.float64), a.dtype, "rtz", False))
    assert (np.abs(down[1].astype(np.float32)) <= np.exp(a.astype(np.float32)) * (1 + 1e-6)).all()
    np.testing.assert_array_equal(down[2], to_float(a.astype(np.float64) * np.float32(0.1), a.dtype, "rtz", False))
    np.testing.assert_array_equal(down[3], np.maximum(a, b))


def test_small_steps_are_not_lost_on_average():
    """Why there is rounding at random: a weight of bfloat16 to which steps of a tenth of its unit are added."""
    step = np.full((64, 64), 2.0**-11, np.float32)

    @pt.tile_kernel
    def trained(w, step, seed: pt.index):
        return pt.cast(w.to(pt.f32) + step, pt.bf16, "stochastic", seed=seed)

    w = np.ones((64, 64), ml_dtypes.bfloat16)
    for seed in range(64):
        w = trained(w, step, seed)
    assert abs(w.astype(np.float64).mean() - (1 + 64 * 2.0**-11)) < 0.001
    plain = np.ones((64, 64), ml_dtypes.bfloat16)
    assert (plain + step.astype(ml_dtypes.bfloat16) == plain).all()


@pytest.mark.parametrize("dtype", [S8, U8, S16], ids=str)
def test_integer_results_saturate(dtype):
    kind = numpy_dtype(dtype)
    limits = np.iinfo(kind)
    a, b = (np.random.default_rng(n).integers(limits.min, limits.max + 1, (9, 40)).astype(kind) for n in (3, 4))
    k = pt.tile_kernel(lambda a, b: (a + b, a - b, a * b, a * 3, -a))
    with pt.numeric_config(overflow="saturate"):
        found = k(a, b)
    x, y = a.astype(np.int64), b.astype(np.int64)
    for got, want in zip(found, (x + y, x - y, x * y, x * 3, -x), strict=True):
        np.testing.assert_array_equal(got, np.clip(want, limits.min, limits.max))
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(k(a, b)[0], a + b)


def test_promotion():
    one, two = np.ones((4, 8), np.float16), np.ones((4, 8), np.int16)
    k = pt.tile_kernel(lambda a, b: a + b)
    assert k(one, two).dtype == np.float16
    with pt.numeric_config(promotion="conservative"):
        assert k(one, two).dtype == np.float32
        assert pt.tile_kernel(lambda a, b: pt.where(a > 0, a, b))(one, two).dtype == np.float32
        with pytest.raises(DTypeError, match="no element type has all values of float32 and int32"):
            k(one.astype(np.float32), two.astype(np.int32))
    with pt.numeric_config(promotion="strict"):
        assert k(one, one).dtype == np.float16 and k(one, one * 2).dtype == np.float16
        with pytest.raises(DTypeError, match="mixes no types") as caught:
            k(one, two)
    assert "a + b" in caught.value.loc.source()


def test_the_usual_configuration_changes_no_program():
    x = np.ones((4, 8), np.float32)
    body = lambda x: pt.softmax(x.to(pt.f16)) * 2.0
    plain, said = pt.tile_kernel(body), pt.tile_kernel(body)
    plain(x)
    with pt.numeric_config(overflow="wrap", detect=False, promotion="pytorch"):
        said(x)
    assert disassemble(plain.program()) == disassemble(said.program()) and list(plain.variants) == list(said.variants)
