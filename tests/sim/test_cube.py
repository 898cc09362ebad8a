"""Products of matrices: blocks of every height and width, on this host and as on one with narrower registers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import pto as pt
from pto.sim.kernels.cube import MOST_ROWS

TYPES = {"f32": (np.float32, np.float32), "f16": (np.float16, np.float16),
         "bf16": (ml_dtypes.bfloat16, ml_dtypes.bfloat16), "s8": (np.int8, np.int8), "s16s8": (np.int16, np.int8)}
HIGHEST = 2 * MOST_ROWS + 2


@pt.tile_kernel
def product(a, b, c):
    c[:] = pt.matmul(a, b)


def is_right(types: str, m: int, n: int, k: int) -> bool:
    """Whether a product of small integers, which all types hold exactly, is what NumPy makes of them."""
    rng = np.random.default_rng(m + 100 * n)
    a, b = rng.integers(-4, 5, (m, k)), rng.integers(-4, 5, (k, n))
    left, right = TYPES[types]
    c = np.full((m, n), 77, np.int32 if "s8" in types else np.float32)
    product(a.astype(left), b.astype(right), c)
    return bool((c == a @ b).all())


@pytest.mark.parametrize("types", TYPES)
def test_blocks_of_every_height_and_width(types: str) -> None:
    for m in range(1, HIGHEST):
        assert is_right(types, m, 40, 7), m
    for n in (1, 16, 17, 32, 33, 80):
        assert is_right(types, 13, n, 6), n


@pytest.mark.parametrize("types", TYPES)
def test_an_inner_extent_beyond_what_is_widened_at_a_time(types: str) -> None:
    for k in (1, 2, 63, 127, 128, 129, 255, 256, 257, 511, 513):
        assert is_right(types, 3, 18, k), k


@pytest.mark.parametrize("at", [(0, 0), (0, 39), (11, 20), (13, 16), (24, 32), (24, 39)])
def test_a_nan_of_any_bits_is_the_canonical_one(at: tuple[int, int]) -> None:
    a, b = np.ones((25, 5), np.float32), np.ones((5, 40), np.float32)
    i, j = at
    a.view(np.uint32)[i, 2], b.view(np.uint32)[3, j] = 0xFFC54321, 0x7F812345
    c = np.zeros((25, 40), np.float32)
    product(a, b, c)
    nan = np.zeros((25, 40), bool)
    nan[i], nan[:, j] = True, True
    assert (c.view(np.uint32) == np.where(nan, 0x7FC00000, np.float32(5).view(np.uint32))).all()


OTHER_HOST = """
from pto.sim.loader import host
from tests.sim.test_cube import HIGHEST, TYPES, is_right

assert not host().has_wide_registers
assert all(is_right(types, m, 40, 7) for types in TYPES for m in range(1, HIGHEST))
"""


def test_a_host_with_narrow_registers_has_the_same_sums(tmp_path: Path) -> None:
    """Where this host has AVX-512, what others run is tested here; elsewhere it is what all tests run."""
    environment = os.environ | {"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": "+avx2,+fma,+f16c",
                                "PTO_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", OTHER_HOST], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
