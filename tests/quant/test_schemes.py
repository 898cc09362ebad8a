"""Schemes: exact round trips, errors within half a step, calibration that does what it promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pto.core.errors import UsageError
from pto.quant.calibrate import METHODS, Calibration, compared, report
from pto.quant.schemes import BY_NAME, SCHEMES, blocks, find, from_planes, to_planes
from pto.quant.tensor import Quantised, quantise

each = pytest.mark.parametrize("scheme", SCHEMES, ids=lambda row: row.name)
GRIDS = [row for row in SCHEMES if not row.ternary and not row.storage]


def codes_of(scheme, rows=10_000, cols=128):
    """Random codes, both ends of the range in every block that shares a scale."""
    rng = np.random.default_rng(len(scheme.name))
    found = rng.integers(scheme.low, scheme.high + 1, (rows, cols)).astype(scheme.dtype)
    found[:, ::32], found[:, 1::32] = scheme.high, scheme.low
    return found


@each
def test_values_on_the_grid_become_the_same_codes(scheme):
    codes = codes_of(scheme, 10_000 * max(scheme.share, 1) // 128 + 64)
    if scheme.ternary:
        codes[:, 2::4] = codes[:, 3::4] = 0  # weights of one magnitude stay above any threshold
    parts = blocks(codes, scheme)
    scale = (2.0 ** np.random.default_rng(1).integers(-9, 4, parts.shape[:-1])).astype(np.float32)
    offset = None if scheme.symmetric else np.asarray(-3 * scale, np.float32)
    first = Quantised(scheme, codes, scale, offset)
    again = quantise(first.dequantise(), scheme)
    if scheme.ternary == "absmean":  # its scale is the mean magnitude: a code survives where half of them count
        np.testing.assert_array_equal(np.sign(again.codes), np.sign(codes))
        return
    np.testing.assert_array_equal(again.codes, codes)
    np.testing.assert_array_equal(again.dequantise(), first.dequantise())


@pytest.mark.parametrize("scheme", GRIDS, ids=lambda row: row.name)
@given(values=arrays(np.float32, (3, 128), elements=st.floats(-1e6, 1e6, width=32)))
def test_every_value_is_within_half_a_step(scheme, values):
    made = quantise(values, scheme)
    wrong = np.abs(blocks(made.dequantise() - values, scheme))
    size = np.abs(blocks(values, scheme)).max(-1)
    assert (wrong <= (0.5 + 2**-10) * made.scale[..., None] + 2**-20 * size[..., None] + 1e-37).all()
    assert made.codes.min() >= scheme.low and made.codes.max() <= scheme.high


@given(arrays(np.int16, st.integers(0, 200), elements=st.integers(-121, 121)))
def test_planes_are_the_digits_of_codes(codes):
    planes = to_planes(codes, 5)
    assert set(np.unique(planes)) <= {-1, 0, 1}
    np.testing.assert_array_equal(from_planes(planes), codes)


def test_three_planes_hold_every_code_of_four_bits():
    codes = np.arange(-8, 8, dtype=np.int8)
    np.testing.assert_array_equal(from_planes(to_planes(codes, 3)), codes)
    with pytest.raises(UsageError, match="-13 to 13, not -8 to 14"):
        to_planes(np.array([-8, 14]), 3)


def test_ternary_rules_by_hand():
    row = np.array([[4.0, -3.0, 1.0, 0.0]], np.float32)
    mean = quantise(row, find("ternary_mean_channel"))  # the mean magnitude is 2, the threshold 1.4
    assert mean.codes.tolist() == [[1, -1, 0, 0]] and mean.scale.tolist() == [[3.5]]
    absmean = quantise(row, find("ternary_absmean_channel"))
    assert absmean.codes.tolist() == [[1, -1, 0, 0]] and absmean.scale.tolist() == [[2.0]]


@given(arrays(np.float32, (2, 6), elements=st.floats(-100, 100, width=16)))
def test_optimal_ternary_has_the_least_error(values):
    made = quantise(values, find("ternary_optimal_channel"))
    error = np.square(made.dequantise() - values).sum(-1)
    every = np.stack(np.meshgrid(*[[-1, 0, 1]] * 6), -1).reshape(-1, 6)
    every = every[every.any(1)]
    dots, sizes = values.astype(np.float64) @ every.T, np.square(every).sum(-1)
    best = np.square(values.astype(np.float64)).sum(-1) - (dots**2 / sizes).max(-1)
    assert (error <= best * (1 + 1e-4) + 1e-3).all()


def test_calibration_by_error_is_no_worse_than_the_others():
    rng = np.random.default_rng(3)
    values = (rng.standard_t(3, (64, 256))).astype(np.float32)
    for name in ("int8_channel", "int4_g32", "int4_asymmetric_g64"):
        errors = {m: np.square(quantise(values, BY_NAME[name], Calibration(m, 99)).dequantise() - values).mean()
                  for m in METHODS}
        assert errors["optimal"] == min(errors.values())


def test_a_percentile_cuts_what_lies_beyond():
    values = np.linspace(-1, 1, 1001, dtype=np.float32)[None]
    made = quantise(values, find("int8_channel"), Calibration("percentile", 90))
    assert made.scale[0, 0] * 127 == pytest.approx(0.9, abs=0.003)
    assert (made.codes == 127).sum() > 50


def test_refusals():
    with pytest.raises(UsageError, match="groups of 32"):
        quantise(np.ones((2, 33), np.float32), find("int4_g32"))
    with pytest.raises(UsageError, match="finite"):
        quantise(np.array([np.nan]), find("int8_channel"))
    with pytest.raises(UsageError, match="no scheme 'int5'"):
        find("int5")
    with pytest.raises(UsageError, match="no calibration"):
        Calibration("guess")
    with pytest.raises(UsageError, match="no ternary planes"):
        quantise(np.ones((2, 4)), find("int8_channel")).planes()


def test_zeros_stay_zeros():
    for scheme in SCHEMES:
        assert not quantise(np.zeros((2, 128), np.float32), scheme).dequantise().any(), scheme.name


def test_a_report_puts_the_worst_last():
    exact = np.random.default_rng(0).standard_normal((8, 128)).astype(np.float32)
    rows = [compared(name, exact, quantise(exact, find(name)).dequantise()) for name in ("int4_g32", "int8_channel")]
    assert rows[0].sqnr < 25 < 40 < rows[1].sqnr and rows[1].cosine > rows[0].cosine > 0.99
    assert [line.split()[0] for line in report(rows).splitlines()] == ["layer", "int8_channel", "int4_g32"]
    same = compared("x", exact, exact)
    assert (same.cosine, same.sqnr, same.largest) == (1.0, np.inf, 0.0)
