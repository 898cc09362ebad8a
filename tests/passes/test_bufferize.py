"""Which values share a buffer: carried ones are changed in place where nothing needs what they were."""
# ruff: noqa: F821, UP037 (extents in quotes)

from __future__ import annotations

import numpy as np
import pytest

import pto as pt
from pto.isa.program import TileRef
from pto.isa.table import vector


@pt.tile_kernel
def leads_on(x: pt.f32[8, "N"], out: pt.f32[8, 1]):
    total = pt.zeros((8, 1))
    for j in pt.range(0, x.shape[1], 16):
        total = total * 0.5 + pt.sum(x[0:8, j:j + 16], keepdims=True)
    out[:] = total


@pt.tile_kernel
def is_needed(x: pt.f32[8, "N"], out: pt.f32[8, 1]):
    total = pt.zeros((8, 1))
    for j in pt.range(0, x.shape[1], 16):
        half = total * 0.5
        total = half * total + pt.sum(x[0:8, j:j + 16], keepdims=True)
    out[:] = total


@pt.tile_kernel
def is_used_twice(x: pt.f32[8, "N"], out: pt.f32[8, 1]):
    total = pt.zeros((8, 1))
    for j in pt.range(0, x.shape[1], 16):
        half = total * 0.5
        total = half * (half + pt.sum(x[0:8, j:j + 16], keepdims=True))
    out[:] = total + 1.0


@pytest.mark.parametrize(("kernel", "step"), [
    (leads_on, lambda t, s: t * 0.5 + s), (is_needed, lambda t, s: t * 0.5 * t + s),
    (is_used_twice, lambda t, s: t * 0.5 * (t * 0.5 + s)),
])
def test_values_that_loops_carry_are_right_wherever_they_are(kernel, step):
    x, out = np.random.default_rng(3).integers(-2, 3, (8, 40)).astype(np.float32), np.zeros((8, 1), np.float32)
    total = np.zeros((8, 1), np.float32)
    for j in range(0, 40, 16):
        total = step(total, x[:, j:j + 16].sum(1, keepdims=True))
    kernel(x, out)
    np.testing.assert_array_equal(out, total + (kernel is is_used_twice))
    assert kernel.verify(x, out)


def halvings(kernel):
    """Where the products with a number go, and where they come from."""
    found = [inst.args[:2] for inst in kernel.program().code if inst.spec is vector.TMULS]
    return [(to.tile, at.tile) for to, at in found if isinstance(to, TileRef) and isinstance(at, TileRef)]


def test_a_carried_value_that_only_leads_to_the_next_is_changed_in_place():
    [(to, at)] = halvings(leads_on)
    assert to == at
    [(to, at)] = halvings(is_needed)
    assert to != at
