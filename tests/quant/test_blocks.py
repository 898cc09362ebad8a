"""Blocks of GGUF files: rounding equal to the package gguf, bit for bit, and codes that survive a round trip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pto.quant.blocks import BY_NAME, STORAGES, codes, from_blocks, to_blocks

DATA = np.load(Path(__file__).parents[1] / "data" / "quantised.npz")
NAMES = [row.name for row in STORAGES if row.name != "F32"]
each = pytest.mark.parametrize("name", NAMES)


@each
def test_blocks_are_those_of_the_gguf_package(name):
    assert to_blocks(DATA["values"], BY_NAME[name]).tobytes() == DATA[name].tobytes()


@each
def test_blocks_are_those_of_the_installed_package(name):
    gguf = pytest.importorskip("gguf")
    values = np.random.default_rng(6).standard_normal((10_000, 32)).astype(np.float32)
    expected = gguf.quantize(values.reshape(1, -1), gguf.GGMLQuantizationType[name])
    assert to_blocks(values, BY_NAME[name]).tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", ["Q8_0", "Q4_0", "Q4_1"])
def test_values_of_a_block_become_that_block_again(name):
    """Of blocks that reach both ends of their range, as those of a quantiser do; 10,000 random ones."""
    rng, row = np.random.default_rng(2), BY_NAME[name]
    records = np.zeros(10_000, row.record)
    records["d"] = 2.0 ** rng.integers(-8, 3, len(records))
    if name == "Q8_0":
        records["q"] = rng.integers(-127, 128, (len(records), 32))
        records["q"][:, 5] = 127
    else:
        records["q"] = rng.integers(0, 256, (len(records), 16))
        records["q"][:, 3] = 0xF0  # codes 0 and 15
    if name == "Q4_1":
        records["m"] = rng.integers(-64, 64, len(records)) * records["d"]
    assert to_blocks(from_blocks(records, row), row).tobytes() == records.tobytes()


def test_codes_are_in_the_order_of_the_elements():
    records = np.zeros(1, BY_NAME["Q4_1"].record)
    records["d"], records["q"] = 1, np.arange(16) + 16 * np.arange(15, -1, -1)
    expected = [*range(16), *range(15, -1, -1)]
    assert codes(records)[0].tolist() == expected == from_blocks(records, BY_NAME["Q4_1"])[0].tolist()


def test_bf16_of_every_pattern_of_16_bits_is_itself():
    bits = np.arange(65536, dtype=np.uint32) << 16
    made = to_blocks(bits.view(np.float32), BY_NAME["BF16"])["w"].ravel()
    nan = np.isnan(bits.view(np.float32))
    np.testing.assert_array_equal(made[~nan], (bits >> 16)[~nan])
    assert np.isnan(from_blocks(made.view(BY_NAME["BF16"].record), BY_NAME["BF16"]))[nan].all()
