"""Storages: elements equal to those of the package gguf, bit for bit, wherever reading begins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pto.core.errors import PtoFormatError, UsageError
from pto.models import stored
from pto.models.stored import StoredTensor, mapped, narrowed
from pto.quant.blocks import BY_NAME, STORAGES

DATA = np.load(Path(__file__).parents[1] / "data" / "dequantised.npz")
each = pytest.mark.parametrize("row", STORAGES, ids=lambda row: row.name)


def read(row, raw: bytes, elements: int, first: int = 0) -> np.ndarray:
    out = np.empty(elements, np.float32)
    StoredTensor("t", row, (len(raw) // row.record.itemsize * row.elements,), raw, 0, "f").read(out, first)
    return out


@each
def test_elements_are_those_of_the_gguf_package(row):
    raw, expected = DATA[f"{row.name}_raw"].tobytes(), DATA[f"{row.name}_values"]
    got = read(row, raw, len(expected))
    assert np.isnan(got).any()
    nan = np.isnan(got)
    np.testing.assert_array_equal(nan, np.isnan(expected.view(np.float32)))
    np.testing.assert_array_equal(got.view(np.uint32)[~nan], expected[~nan])


@each
def test_parts_are_those_of_the_whole(row, monkeypatch):
    raw = DATA[f"{row.name}_raw"].tobytes()
    whole = read(row, raw, 96 * row.elements)
    monkeypatch.setattr(stored, "AT_ONCE", 7 * row.elements + row.elements // 2)
    np.testing.assert_array_equal(read(row, raw, 96 * row.elements), whole)
    np.testing.assert_array_equal(read(row, raw, 11 * row.elements, 5 * row.elements),
                                  whole[5 * row.elements:16 * row.elements])


def test_q4_1_by_hand():
    raw = np.float16(0.5).tobytes() + np.float16(-2).tobytes() + bytes(range(0x10, 0x20))
    np.testing.assert_array_equal(read(BY_NAME["Q4_1"], raw, 32), [*(n / 2 - 2 for n in range(16)), *[-1.5] * 16])


@given(st.lists(st.floats(-1e4, 1e4, width=16), min_size=64, max_size=64))
def test_what_is_written_is_read(values):
    array = np.array(values, np.float32)
    for name, bound in (("F32", 0.0), ("F16", 0.0), ("Q8_0", float(np.abs(array).max()) / 127 * 0.52 + 1e-4)):
        got = read(BY_NAME[name], narrowed(array, BY_NAME[name]), 64)
        assert np.abs(got - array).max() <= bound


def test_only_whole_blocks_are_written():
    with pytest.raises(UsageError, match="no multiple of the 32"):
        narrowed(np.zeros(31, np.float32), BY_NAME["Q8_0"])


def test_a_file_that_shrinks_is_an_error_not_a_fault(tmp_path):
    path = tmp_path / "t"
    path.write_bytes(bytes(8192))
    tensor = StoredTensor("t", BY_NAME["F32"], (2048,), mapped(path), 0, str(path))
    with open(path, "r+b") as file:
        file.truncate(4096)
    with pytest.raises(PtoFormatError, match="truncated while in use"):
        tensor.read(np.empty(2048, np.float32))


@pytest.mark.parametrize(("make", "words"), [
    (lambda path: path.mkdir(), "not a regular file"), (lambda path: None, "No such file"),
])
def test_only_regular_files_are_mapped(tmp_path, make, words):
    make(tmp_path / "x")
    with pytest.raises(PtoFormatError, match=words):
        mapped(tmp_path / "x")
