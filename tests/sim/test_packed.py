"""Packed weights: what is packed is unpacked, both machines agree on whole records, and sums are those of NumPy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pto.core.packed import PACKINGS, Q4, T2, T3
from pto.core.packing import packed, unpacked
from pto.isa.meaning import compute
from pto.isa.meaning.operands import Operands
from pto.isa.table.packed import STREAMS, UNPACKS
from tests.sim.cases import Case
from tests.sim.test_agree import assert_equal

each = pytest.mark.parametrize("packing", PACKINGS, ids=lambda p: p.name)


def matrix(packing, n, k, seed=0):
    """Integers with both ends of the range, scales and offsets."""
    rng = np.random.default_rng(seed)
    low, high = (0, 15) if packing is T3 else (packing.low, packing.high)
    values = rng.integers(low, high + 1, (n, k))
    values[:, 0], values[:, -1] = low, high
    count = packing.scaled + packing.shifted
    return values, [rng.standard_normal((n, k // 32)).astype(np.float16) for _ in range(count)]


@each
def test_what_is_packed_is_unpacked(packing):
    values, numbers = matrix(packing, 10_000 // 32 * 16, 64)
    got, also = unpacked(packed(values, packing, *numbers), packing)
    np.testing.assert_array_equal(got, values)
    for one, two in zip(numbers, also, strict=True):
        np.testing.assert_array_equal(one, two)


def test_nothing_but_zeros_is_not_nothing_but_zero_bytes():
    """A byte of zeros would be four times -1."""
    zeros = np.zeros((16, 32), np.int8)
    assert set(packed(zeros, T2).ravel()) == {0x55}


def test_planes_of_four_bit_codes_mean_the_same():
    values, numbers = matrix(Q4, 32, 96)
    x = np.random.default_rng(1).integers(-8191, 8192, (1, 96)).astype(np.int16)
    results = [compute(STREAMS[p].mnemonic, Operands(w=packed(values, p, *numbers), x=x, p=2, k=96, b=3 * p.record,
                                                     shape=(2, 16), dtype=np.float32)) for p in (Q4, T3)]
    np.testing.assert_array_equal(*results)


@each
def test_sums_are_those_of_numpy(packing):
    values, numbers = matrix(packing, 32, 128)
    x = np.random.default_rng(1).integers(-32768, 32768, (1, 128)).astype(np.int16)
    records = packed(values, packing, *numbers)
    dtype = np.float32 if packing.scaled else np.int32
    got = compute(STREAMS[packing].mnemonic, Operands(w=records, x=x, p=2, k=128, b=4 * packing.record, shape=(2, 16),
                                                      dtype=dtype)).ravel()
    weights = values.astype(np.float64)
    if packing.scaled:
        weights = weights * np.repeat(numbers[0].astype(np.float64), 32, 1)
    if packing.shifted:
        weights = weights + np.repeat(numbers[1].astype(np.float64), 32, 1)
    exact = weights @ x[0].astype(np.float64)
    np.testing.assert_allclose(got, exact, rtol=1e-5, atol=1e-6 * np.abs(x).max() * np.abs(weights).sum(1).max())
    if not packing.scaled:
        np.testing.assert_array_equal(got, exact)


@pytest.mark.parametrize("row", [*STREAMS.values(), *UNPACKS.values()], ids=lambda row: row.mnemonic)
def test_both_machines_agree_on_whole_records(row):
    packing = next(p for rows in (STREAMS, UNPACKS) for p, r in rows.items() if r is row)
    rng = np.random.default_rng(row.opcode)
    for types in row.dtypes:
        for k, extra, p in ((32, 0, 1), (96, 0, 3), (64, 40, 2), (100, 7, 1), (128, -9, 2), (31, 0, 1)):
            fixed = {"k": k, "b": k // 32 * packing.record + extra, "p": p}
            case = Case(rng, row, row.routes[0], types, fixed)
            assert assert_equal(case.program(), case.arrays) == ""


OTHER_HOST = """
import numpy as np
from pto.isa.table.cube import TGEMM_STREAM, TGEMV_STREAM
from pto.isa.table.packed import STREAMS
from pto.sim.loader import host
from tests.sim.cases import Case
from tests.sim.test_agree import assert_equal

assert not host().adds_products
for packing, row in STREAMS.items():
    fixed = {"k": 96, "b": 3 * packing.record, "p": 3}
    case = Case(np.random.default_rng(1), row, row.routes[0], row.dtypes[0], fixed)
    assert assert_equal(case.program(), case.arrays) == ""
for row in (TGEMV_STREAM, TGEMM_STREAM):
    for vector in ("s16", "s8"):
        case = Case(np.random.default_rng(2), row, row.routes[0], ("s32", vector, "s8"), {"n": 7, "k": 100})
        assert assert_equal(case.program(), case.arrays) == ""
"""


def test_a_host_that_adds_no_products_has_the_same_sums(tmp_path):
    """Where this host has AVX-512 VNNI, what others run is tested here; elsewhere it is what all tests run."""
    environment = os.environ | {"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": "+avx2,+fma,+f16c",
                                "PTO_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", OTHER_HOST], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
