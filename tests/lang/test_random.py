"""Random numbers: the published words of the generator, distributions, and that a place decides alone."""
# ruff: noqa: F821, UP037 (extents in quotes)

from __future__ import annotations

import numpy as np
import pytest

import pto as pt
from pto.lang.random import threefry

WORDS = [  # key, counter, result: Random123's known answers for threefry2x32 with 20 rounds
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
]


def words(*values: int) -> np.ndarray:
    return np.array(values, np.uint32).view(np.int32)


def test_the_generator_gives_the_published_words():
    @pt.tile_kernel
    def generated(k0, k1, c0, c1):
        return threefry((k0, k1), (c0, c1))

    key, counter, wanted = (np.array([row[i] for row in WORDS], np.uint32).view(np.int32).T.copy() for i in range(3))
    for got, want in zip(generated(*key, *counter), wanted, strict=True):
        np.testing.assert_array_equal(got, want)


@pt.tile_kernel
def numbers(x: pt.f32["M", "N"], seed: pt.index):
    return pt.rand(x.shape, seed), pt.randn(x.shape, seed), pt.randint(-3, 4, x.shape, seed)


def test_distributions():
    x = np.zeros((100, 1000), np.float32)
    uniform, normal, integers = numbers(x, 7)
    assert uniform.min() >= 0 and uniform.max() < 1
    assert abs(uniform.mean() - 0.5) < 0.005 and abs(uniform.var() - 1 / 12) < 0.002
    assert abs(normal.mean()) < 0.01 and abs(normal.var() - 1) < 0.02
    assert abs((normal**3).mean()) < 0.05 and abs((normal**4).mean() - 3) < 0.15
    assert np.unique(integers).tolist() == [-3, -2, -1, 0, 1, 2, 3]
    counts = np.bincount(integers.ravel() + 3) / integers.size
    assert np.abs(counts - 1 / 7).max() < 0.005
    for lag in (1, 2, 1000):  # neighbours in a row, and in a column
        flat = normal.ravel()
        assert abs((flat[lag:] * flat[:-lag]).mean()) < 0.015


def test_a_place_decides_alone():
    small, large = (numbers(np.zeros(shape, np.float32), 7)[1] for shape in ((3, 5), (40, 300)))
    np.testing.assert_array_equal(small, large[:3, :5])
    assert (numbers(np.zeros((3, 5), np.float32), 8)[1] != small).all()


def test_other_extents_and_types():
    found = pt.tile_kernel(lambda x: (pt.randn((6,), 1), pt.rand((2, 3, 4), 1, pt.f16), pt.dropout(x, 0.25, 3)))(
        np.ones((50, 200), np.float32))
    assert found[0].shape == (6,) and found[1].dtype == np.float16 and len(np.unique(found[1])) == 24
    assert set(np.unique(found[2])) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs((found[2] == 0).mean() - 0.25) < 0.02


@pytest.mark.parametrize("wrong", [lambda x: pt.rand(x.shape, 0.5), lambda x: pt.randint(3, 3, x.shape, 0)])
def test_what_is_refused(wrong):
    with pytest.raises(pt.PtoError):
        pt.tile_kernel(wrong)(np.ones((2, 2), np.float32))


def test_a_seed_may_be_an_integer_of_numpys():
    @pt.tile_kernel
    def both(x):
        return pt.rand(x.shape, 7), pt.rand(x.shape, np.int64(7))

    np.testing.assert_array_equal(*both(np.ones((2, 3), np.float32)))


def test_a_random_tensor_is_stored_at_once():
    """Its words are used twice in each round: a walk that looks at each use takes 2**20 steps."""
    @pt.tile_kernel
    def stored(out):
        out[:] = pt.rand(out.shape, 7)

    out = np.zeros((3, 5), np.float32)
    stored(out)
    np.testing.assert_array_equal(out, numbers(out, 7)[0])
