"""Rotary tables: exact angles, and scaling as published."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from pto.models.config import RopeScaling
from pto.models.rope import frequencies, llama3_scaling, rope_tables
from tests.models.files import SMALL


def test_tables_are_the_angles_rounded_once():
    config = replace(SMALL, head_dim=64, rope_base=100000.0)
    cos, sin = rope_tables(config, 9000)
    assert cos.shape == sin.shape == (9000, 32) and cos.dtype == sin.dtype == np.float32
    for position, pair in ((0, 0), (1, 0), (8191, 0), (8191, 31), (4097, 13)):
        angle = position * 100000.0 ** (-2 * pair / 64)
        assert cos[position, pair] == np.float32(math.cos(angle)) and sin[position, pair] == np.float32(math.sin(angle))


def test_linear_scaling_stretches_positions():
    stretched = replace(SMALL, scaling=RopeScaling("linear", (4.0,)))
    np.testing.assert_allclose(rope_tables(stretched, 64)[0][::4], rope_tables(SMALL, 16)[0], atol=1e-6)


def test_llama3_scaling_is_the_published_rule():
    """Each wavelength by its own case, as the reference implementation of Llama 3.1 writes it."""
    base, factor, low, high, context = 500000.0, 8.0, 1.0, 4.0, 8192
    found = llama3_scaling(128, base, factor, low, high, context).divisors
    cases = set()
    for pair, divisor in enumerate(found):
        frequency = base ** (-2 * pair / 128)
        wavelength = 2 * math.pi / frequency
        smooth = (context / wavelength - low) / (high - low)
        if wavelength < context / high:
            case, expected = "kept", frequency
        elif wavelength > context / low:
            case, expected = "stretched", frequency / factor
        else:
            case, expected = "between", (1 - smooth) * frequency / factor + smooth * frequency
        cases.add(case)
        assert frequency / divisor == pytest.approx(expected, rel=1e-12)
    assert cases == {"kept", "between", "stretched"}


def test_each_frequency_has_its_divisor():
    config = replace(SMALL, scaling=RopeScaling("factors", (1.0, 2.0, 3.0, 4.0)))
    np.testing.assert_allclose(frequencies(config) * [1, 2, 3, 4], frequencies(SMALL))
