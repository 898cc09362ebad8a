"""Schemes: exact round trips, errors within half a step, calibration that does what it promises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pto.core.errors import UsageError
from pto.quant.calibrate import METHODS, Calibration, Sums, compared, report
from pto.quant.schemes import BY_NAME, SCHEMES, TENSOR, blocks, find, from_planes, to_planes
from pto.quant.tensor import Quantised, from_records, quantise, to_records

each = pytest.mark.parametrize("scheme", SCHEMES, ids=lambda row: row.name)
GRIDS = [row for row in SCHEMES if not row.ternary and not row.storage]


BLOCKS = 10_000  # of a scheme


def codes_of(scheme, rows=BLOCKS, cols=128, seed=0):
    """Random codes, both ends of the range in every block that shares a scale."""
    rng = np.random.default_rng((len(scheme.name), seed))
    found = rng.integers(scheme.low, scheme.high + 1, (rows, cols)).astype(scheme.dtype)
    found[:, ::32], found[:, 1::32] = scheme.high, scheme.low
    return found


@each
def test_values_on_the_grid_become_the_same_codes(scheme):
    """Of 10,000 blocks: groups, rows, or tensors."""
    if scheme.share == TENSOR:
        for seed in range(BLOCKS):
            comes_back(scheme, codes_of(scheme, 1, 32, seed))
    else:
        codes = codes_of(scheme, -(-BLOCKS * (scheme.share or 128) // 128))
        assert blocks(codes, scheme)[..., 0].size >= BLOCKS
        comes_back(scheme, codes)


def comes_back(scheme, codes):
    """Values on a grid are quantised to that grid."""
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


@given(st.integers(0, 2**32), st.integers(1, 30))
def test_sums_of_parts_are_those_of_the_whole(seed, cut):
    exact, ours = np.random.default_rng(seed).standard_normal((2, 31)).astype(np.float32)
    parts, whole = Sums.of(exact[:cut], ours[:cut]) + Sums.of(exact[cut:], ours[cut:]), compared("x", exact, ours)
    found = parts.fidelity("x")
    np.testing.assert_allclose((found.cosine, found.sqnr), (whole.cosine, whole.sqnr), rtol=1e-9)
    assert found.largest == whole.largest == np.abs(exact.astype(np.float64) - ours).max()
    a, b = exact.astype(np.float64), ours.astype(np.float64)
    np.testing.assert_allclose(whole.cosine, a @ b / np.linalg.norm(a) / np.linalg.norm(b), rtol=1e-12)
    np.testing.assert_allclose(whole.sqnr, 20 * np.log10(np.linalg.norm(a) / np.linalg.norm(a - b)), rtol=1e-12)


def test_what_is_nothing_like_it():
    one, none = np.ones(4, np.float32), np.zeros(4, np.float32)
    assert (compared("x", none, one).sqnr, compared("x", none, one).cosine) == (-np.inf, 0.0)
    assert (compared("x", one, none).sqnr, compared("x", one, -one).cosine) == (0.0, -1.0)


@pytest.mark.parametrize("storage", ["q4_0", "q8_0"])
@pytest.mark.parametrize("name", ["ternary_absmean_channel", "ternary_mean_g64", "int4_g32", "int4_tensor"])
@given(seed=st.integers(0, 2**32))
def test_codes_are_kept_as_blocks_of_a_file(storage, name, seed):
    """They read as they were, in a scheme with a scale for each 32; scales become float16."""
    values = np.random.default_rng(seed).standard_normal((3, 128)).astype(np.float32)
    made = quantise(values, find(name))
    found = from_records(to_records(made, find(storage)), find(storage))
    np.testing.assert_array_equal(found.codes, made.codes)
    rounded = replace(made, scale=made.scale.astype(np.float16).astype(np.float32))
    np.testing.assert_array_equal(found.dequantise(), rounded.dequantise())


@pytest.mark.parametrize(("scheme", "storage"), [("int8_channel", "q4_0"), ("int4_asymmetric_g32", "q8_0"),
                                                 ("int4_channel", "q4_1")])
def test_codes_that_a_storage_has_not_are_refused(scheme, storage):
    with pytest.raises(UsageError, match=f"{storage} has not the codes of {scheme}"):
        to_records(quantise(np.arange(64, dtype=np.float32).reshape(2, 32) - 30, find(scheme)), find(storage))


@given(st.integers(0, 2**32))
def test_ternary_weights_are_found_again_exactly(seed):
    """Weights that are -s, 0 and s already, a scale for each row, become these codes and scales."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(-1, 2, (4, 96)).astype(np.int8)
    codes[1], codes[2, 1:] = 0, 0
    scale = rng.uniform(1e-3, 10, (4, 1)).astype(np.float16).astype(np.float32)
    found = quantise(codes * scale, find("ternary_optimal_channel"))
    np.testing.assert_array_equal(found.codes, codes)
    np.testing.assert_array_equal(found.dequantise(), codes * scale)
