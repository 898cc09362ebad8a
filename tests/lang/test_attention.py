"""Attention by blocks: against NumPy's over lengths, groups and masks; memory does not grow with the scores."""
# ruff: noqa: F821, UP037 (extents in quotes)

from __future__ import annotations

import numpy as np
import pytest

import pto as pt
from pto.core.errors import ShapeError


@pt.tile_kernel
def full(q: pt.f32[4, "M", 32], k: pt.f32[2, "N", 32], v: pt.f32[2, "N", 16]):
    return pt.attention(q, k, v)


@pt.tile_kernel
def causal(q: pt.f32[4, "M", 32], k: pt.f32[2, "N", 32], v: pt.f32[2, "N", 16], start: pt.index):
    return pt.attention(q, k, v, causal=True, start=start)


def wanted(q, k, v, start=None):
    k, v = (np.repeat(x.astype(np.float64), 2, 0) for x in (k, v))
    scores = q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1])
    if start is not None:
        seen = np.arange(k.shape[1]) <= start + np.arange(q.shape[1])[:, None]
        scores = np.where(seen, scores, -np.inf)
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True) @ v


def arguments(m, n):
    rng = np.random.default_rng(m * 1000 + n)
    return [rng.standard_normal(s, dtype=np.float32) for s in ((4, m, 32), (2, n, 32), (2, n, 16))]


@pytest.mark.parametrize(("m", "n"), [(1, 1), (1, 257), (5, 300), (64, 128), (65, 129), (200, 200), (130, 333),
                                    (150, 600)])
def test_attention_is_that_of_numpy(m, n):
    given = arguments(m, n)
    assert np.allclose(full(*given), wanted(*given), atol=2e-6)
    for start in {0, n - m, (n - m) // 2}:
        assert np.allclose(causal(*given, start), wanted(*given, start), atol=2e-6)
    assert sum(map(len, (*full.variants.values(), *causal.variants.values()))) <= 2


@pytest.mark.parametrize("target", ["AI_Accelerator_V1", "AI_Accelerator_V2"])
@pytest.mark.parametrize("channels", [8, 64, 128, 256])
@pytest.mark.parametrize(("dtype", "masked"), [(pt.f32, False), (pt.f32, True), (pt.f16, True)])
def test_tiles_are_chosen_that_fit(channels, target, dtype, masked):
    @pt.tile_kernel(target=target)
    def attend(q, k, v):
        return pt.attention(q, k, v, causal=masked)

    for name, extent in (("q", "M"), ("k", "N"), ("v", "N")):
        attend.declare(name, dtype[1, extent, channels])
    assert attend.program().target == target


def test_many_channels():
    @pt.tile_kernel
    def attend(q: pt.f32[2, "M", 192], k: pt.f32[2, "N", 192], v: pt.f32[2, "N", 192]):
        return pt.attention(q, k, v)

    given = [np.random.default_rng(n).standard_normal((2, n, 192), dtype=np.float32) for n in (90, 150)]
    given.append(given[1][::-1].copy())
    q, k, v = given
    scores = q @ k.transpose(0, 2, 1) / np.sqrt(192)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    assert np.allclose(attend(q, k, v), weights / weights.sum(-1, keepdims=True) @ v, atol=2e-6)


def test_every_level_agrees():
    assert causal.verify(*arguments(70, 140), 70)


def test_no_tensor_of_scores_is_made():
    full(*arguments(3, 5))
    for tensor in full.program().tensors:
        assert not {"M", "N"} <= set(tensor.dims)


@pytest.mark.parametrize(("shapes", "said"), [
    (((4, 3, 8), (3, 5, 8), (3, 5, 8)), "multiple"), (((4, 3, 8), (2, 5, 9), (2, 5, 8)), "channels of q and k differ"),
    (((4, 3, 8), (2, 5, 8), (2, 6, 8)), "positions of k and v differ"), (((3, 8), (2, 5, 8), (2, 5, 8)), "three axes"),
])
def test_extents_that_do_not_fit_are_refused(shapes, said):
    @pt.tile_kernel
    def attend(q, k, v):
        return pt.attention(q, k, v)

    for name, shape in zip("qkv", shapes, strict=True):
        attend.declare(name, pt.f32[shape])
    with pytest.raises(ShapeError, match=said):
        attend(*(np.zeros(shape, np.float32) for shape in shapes))
