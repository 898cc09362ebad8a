"""The safetensors reader: what it reads, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from struct import pack

import ml_dtypes
import numpy as np
import pytest

from pto.core.errors import PtoFormatError
from pto.models.safetensors import LIMITS, load_folder, parse, read_json
from tests.models.files import safetensors_bytes

A, B = np.arange(6, dtype=np.float32).reshape(2, 3), np.full((4,), 0.5, np.float32)


def raw(header: object, body: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return pack("<Q", len(text) if length is None else length) + text + body


def entry(dtype: object = "F32", shape: object = (1,), offsets: object = (0, 4), **more: object) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}


HOSTILE = {
    "empty": (b"", "byte 0: header length: the file ends"),
    "length 2^64 - 1": (pack("<Q", 2**64 - 1), "byte 0: header length: is 18446744073709551615, at most"),
    "length beyond the file": (pack("<Q", 99) + b"{}", "byte 0: header length: is 99, but only 2"),
    "no JSON": (raw(b"hello"), "byte 8: JSON: Expecting value"),
    "not UTF-8": (raw(b'{"\xff":1}'), "byte 10: JSON: is not UTF-8"),
    "a list": (raw(b"[]"), "JSON: is no object"),
    "nested": (raw(b"[" * 10**5), "JSON: is nested too deeply"),
    "nested 65 deep": (raw(b'{"a":' + b"[" * 64 + b"]" * 64 + b"}"), "JSON: is nested too deeply"),
    "nested 64 deep": (raw(b'{"a":' + b"[" * 63 + b"]" * 63 + b"}"), "'a': is not described by"),
    "too many marks": (raw(b"[" * (2**20 + 1)), "JSON: has more than 1048576 times '['"),
    "a number of 5,000 digits": (raw(b'{"a":' + b"1" * 5000 + b"}"), "JSON: Exceeds the limit"),
    "a name twice": (raw(b'{"a":1,"a":2}'), "JSON: 'a' appears twice"),
    "metadata of numbers": (raw({"__metadata__": {"a": 1}}), "__metadata__: is no table of texts"),
    "an entry that is a number": (raw({"a": 1}), "'a': is not described by"),
    "an entry with more": (raw({"a": entry(x=1)}, bytes(4)), "'a': is not described by"),
    "a name of controls": (raw({"a\x1b[2J": entry()}, bytes(4)), "is not described by"),
    "F8_E4M3": (raw({"a": entry("F8_E4M3", (4,))}, bytes(4)), "'a': dtype: is 'F8_E4M3'; readable are F32, F16, BF16"),
    "dtype as number": (raw({"a": entry(4)}, bytes(4)), "'a': dtype: is 4"),
    "shape -1": (raw({"a": entry(shape=(-1,))}, bytes(4)), "'a': shape: has -1"),
    "shape true": (raw({"a": entry(shape=(True,))}, bytes(4)), "'a': shape: has True"),
    "shape 1.0": (raw({"a": entry(shape=(1.0,))}, bytes(4)), "'a': shape: has 1.0"),
    "shape 0": (raw({"a": entry(shape=(0,), offsets=(0, 0))}), "'a': shape: has not between 1 and"),
    "shape of nine": (raw({"a": entry(shape=(1,) * 9)}, bytes(4)), "'a': shape: is no list of at most 8"),
    "product wraps 2^64": (raw({"a": entry(shape=(2**62, 4))}, bytes(4)), "'a': shape: has not between 1 and"),
    "offsets of three": (raw({"a": entry(offsets=(0, 4, 8))}, bytes(4)), "'a': data_offsets: is no list of at most 2"),
    "offsets of none": (raw({"a": entry(offsets=())}, bytes(4)), "'a': data_offsets: are not of 4 bytes"),
    "offsets turned round": (raw({"a": entry(offsets=(4, 0))}, bytes(4)), "'a': data_offsets: are not of 4 bytes"),
    "offset 2^64": (raw({"a": entry(offsets=(2**64, 4))}, bytes(4)), "'a': data_offsets: has 18446744073709551616"),
    "another size": (raw({"a": entry(offsets=(0, 8))}, bytes(8)), "'a': data_offsets: are not of 4 bytes"),
    "a hole": (raw({"a": entry(), "b": entry(offsets=(8, 12))}, bytes(12)), "'b': data_offsets: begin at 8, not at 4"),
    "an overlap": (raw({"a": entry(), "b": entry(offsets=(0, 4))}, bytes(4)), "'b': data_offsets: begin at 0, not"),
    "cut": (raw({"a": entry()}, bytes(3)), "data: the tensors end at byte"),
    "bytes behind": (raw({"a": entry()}, bytes(5)), "data: the tensors end at byte"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_with_offset_and_field(name):
    data, words = HOSTILE[name]
    with pytest.raises(PtoFormatError) as caught:
        parse(data, "m")
    assert caught.value.message.startswith("m: byte ")
    assert words in caught.value.message
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("storage", ["F32", "F16", "BF16"])
def test_tensors_are_those_that_were_written(storage):
    values = A * np.float32(1.001)
    found = parse(safetensors_bytes({"b": B, "a": values}, storage=storage, metadata={"format": "pt"}))
    got = np.empty((2, 3), np.float32)
    found["a"].read(got)
    narrow = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}[storage]
    expected = (values.view(np.uint32) & 0xFFFF0000).view(np.float32) if storage == "BF16" else values.astype(narrow)
    np.testing.assert_array_equal(got, expected.astype(np.float32))
    assert found["b"].shape == (4,)


def test_limits_hold_to_the_unit():
    data = safetensors_bytes({"a": A, "b": B})
    size = int.from_bytes(data[:8], "little")
    for name, most in (("header", size), ("tensors", 2), ("dims", 2), ("elements", 6), ("marks", data.count(b","))):
        parse(data, limits=replace(LIMITS, **{name: most}))
        with pytest.raises(PtoFormatError):
            parse(data, limits=replace(LIMITS, **{name: most - 1}))


MANY = {str(n): f"{n}.safetensors" for n in range(1025)}
INDEXES = {
    "too many files": ({"weight_map": MANY}, "names 1025 files, at most 1024"),
    "no table": ({"weight_map": 3}, "is no table of file names"),
    "a path": ({"weight_map": {"a": "../a.safetensors"}}, "is no plain file name"),
    "the parent": ({"weight_map": {"a": ".."}}, "is not a regular file"),
    "a missing file": ({"weight_map": {"a": "b.safetensors"}}, "No such file"),
    "a missing tensor": ({"weight_map": {"z": "a.safetensors"}}, "'z' is not in its file"),
}


@pytest.mark.parametrize("name", INDEXES)
def test_hostile_indexes_are_refused(name, tmp_path):
    index, words = INDEXES[name]
    (tmp_path / "a.safetensors").write_bytes(safetensors_bytes({"a": A}))
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(PtoFormatError, match=words):
        load_folder(tmp_path)


def test_large_json_is_refused(tmp_path):
    (tmp_path / "x.json").write_text('{"a": 1}')
    with pytest.raises(PtoFormatError, match="has 8 bytes, at most 7"):
        read_json(tmp_path / "x.json", replace(LIMITS, json=7))


def test_the_safetensors_package_agrees():
    package = pytest.importorskip("safetensors.numpy")
    data = package.save({"a": A, "b": B})
    for name, array in package.load(data).items():
        got = np.empty(array.shape, np.float32)
        parse(data)[name].read(got)
        np.testing.assert_array_equal(got, array)
    assert set(package.load(safetensors_bytes({"a": A, "b": B}))) == {"a", "b"}
