"""Which values share a buffer: carried ones are changed in place where nothing needs what they were."""
# ruff: noqa: F821, UP037 (extents in quotes)

from __future__ import annotations

import numpy as np
import pytest

import pto as pt
from pto.isa.program import TileRef
from pto.isa.table import vector
from tests.kernels import bind, on_fast, on_slow


def leads_on(total, part):
    return total * 0.5 + part


def is_needed(total, part):
    return total * 0.5 * total + part


def is_used_twice(total, part):
    half = total * 0.5
    return half * (half + part)


def carried(step):
    """A kernel whose loop carries a column."""
    @pt.tile_kernel
    def kernel(x: pt.f32[8, "N"], out: pt.f32[8, 1]):
        total = pt.zeros((8, 1))
        for j in pt.range(0, x.shape[1], 16):
            total = step(total, pt.sum(x[0:8, j:j + 16], keepdims=True))
        out[:] = total + 1.0

    return kernel


@pytest.mark.parametrize("step", [leads_on, is_needed, is_used_twice])
def test_values_that_loops_carry_are_right_wherever_they_are(step):
    x, total = np.random.default_rng(3).integers(-2, 3, (8, 40)).astype(np.float32), np.zeros((8, 1), np.float32)
    for j in range(0, 40, 16):
        total = step(total, x[:, j:j + 16].sum(1, keepdims=True))
    bound = bind(carried(step), [x, np.zeros((8, 1), np.float32)])
    for [found] in (on_fast(bound), on_slow(bound)):
        np.testing.assert_array_equal(found, total + 1)


def halving(step):
    """Where the product with a number goes, and where it comes from."""
    [places] = [inst.args[:2] for inst in carried(step).program().code if inst.spec is vector.TMULS]
    assert all(isinstance(place, TileRef) for place in places)
    return [place.tile for place in places]


def test_a_carried_value_that_only_leads_to_the_next_is_changed_in_place():
    to, at = halving(leads_on)
    assert to == at
    to, at = halving(is_needed)
    assert to != at
