"""Blocks of GGUF files as rows: how 1 or 32 elements lie in bytes, and rounding to them (llama.cpp, gguf 0.19).

Blocks made of float32 are those of the package gguf, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Records = NDArray[Any]  # of a structured type, one record a block
HALF = 16  # elements of half a block of 32: weights 0 to 15 are the low halves of its bytes, 16 to 31 the high ones


def _plain(records: Records, out: Floats) -> None:
    out[:] = records["w"]


def _bf16(records: Records, out: Floats) -> None:
    np.left_shift(records["w"], 16, out=out.view(np.uint32), dtype=np.uint32)


def _q8_0(records: Records, out: Floats) -> None:
    np.multiply(records["q"], records["d"].astype(np.float32)[:, None], out=out)


def _nibbles(records: Records, out: Floats) -> None:
    np.bitwise_and(records["q"], 15, out=out[:, :HALF], casting="unsafe")
    np.right_shift(records["q"], 4, out=out[:, HALF:], casting="unsafe")


def _q4_0(records: Records, out: Floats) -> None:
    _nibbles(records, out)
    out -= 8
    out *= records["d"].astype(np.float32)[:, None]


def _q4_1(records: Records, out: Floats) -> None:
    _nibbles(records, out)
    out *= records["d"].astype(np.float32)[:, None]
    out += records["m"].astype(np.float32)[:, None]


def _to_plain(values: Floats, records: Records) -> None:
    records["w"] = values


def _to_bf16(values: Floats, records: Records) -> None:
    """To nearest, ties to even; a NaN stays one, quiet."""
    bits = values.view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))
    nan = (bits & np.uint32(0x7FFFFFFF)) > 0x7F800000
    records["w"] = np.where(nan, bits | np.uint32(0x400000), rounded) >> np.uint32(16)


def away(values: Floats) -> Floats:
    """The nearest integers, ties away from zero."""
    size = np.abs(values)
    low = np.floor(size)
    return np.asarray(np.sign(values) * (low + np.floor(2 * (size - low))), values.dtype)


def _inverse(scale: Floats) -> Floats:
    """1 / scale; 0 for 0."""
    return np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=scale != 0)


def _to_q8_0(values: Floats, records: Records) -> None:
    scale = np.abs(values).max(axis=1, keepdims=True) / np.float32(127)
    records["d"] = scale[:, 0]
    records["q"] = away(values * _inverse(scale))


def _pack(codes: Floats, records: Records) -> None:
    put_codes(np.trunc(codes).astype(np.uint8).clip(0, 15), records)


def _to_q4_0(values: Floats, records: Records) -> None:
    """The element of largest magnitude becomes -8."""
    largest = np.take_along_axis(values, np.abs(values).argmax(axis=1, keepdims=True), axis=1)
    scale = largest / np.float32(-8)
    _pack(values * _inverse(scale) + np.float32(8.5), records)
    records["d"] = scale[:, 0]


def _to_q4_1(values: Floats, records: Records) -> None:
    low = values.min(axis=1, keepdims=True)
    scale = (values.max(axis=1, keepdims=True) - low) / np.float32(15)
    _pack((values - low) * _inverse(scale) + np.float32(0.5), records)
    records["d"], records["m"] = scale[:, 0], low[:, 0]


@dataclass(frozen=True, slots=True)
class Storage:
    """How a file keeps the elements of a tensor, in blocks along its last axis.

    Attributes:
        name, number: as GGUF calls it; safetensors uses the same names for plain elements.
        elements: elements in one block.
        record: NumPy's type of one block.
        widen: fills float32 [blocks, elements] from blocks.
        narrow: fills blocks with the elements of float32 [blocks, elements], rounded.
    """

    name: str
    number: int
    elements: int
    record: np.dtype[Any]
    widen: Callable[[Records, Floats], None]
    narrow: Callable[[Floats, Records], None]

    def nbytes(self, elements: int) -> int:
        """Bytes of a whole number of blocks."""
        return elements // self.elements * self.record.itemsize


STORAGES = (
    Storage("F32", 0, 1, np.dtype([("w", "<f4", 1)]), _plain, _to_plain),
    Storage("F16", 1, 1, np.dtype([("w", "<f2", 1)]), _plain, _to_plain),
    Storage("BF16", 30, 1, np.dtype([("w", "<u2", 1)]), _bf16, _to_bf16),
    Storage("Q8_0", 8, 32, np.dtype([("d", "<f2"), ("q", "i1", 32)]), _q8_0, _to_q8_0),
    Storage("Q4_0", 2, 32, np.dtype([("d", "<f2"), ("q", "u1", 16)]), _q4_0, _to_q4_0),
    Storage("Q4_1", 3, 32, np.dtype([("d", "<f2"), ("m", "<f2"), ("q", "u1", 16)]), _q4_1, _to_q4_1),
)
BY_NAME = {row.name: row for row in STORAGES}
BY_NUMBER = {row.number: row for row in STORAGES}
PLAIN = {name: BY_NAME[name] for name in ("F32", "F16", "BF16")}


def to_blocks(values: Floats, storage: Storage) -> Records:
    """Blocks of the elements of an array, whose number is a multiple of the block's."""
    flat = np.ascontiguousarray(values, np.float32).reshape(-1, storage.elements)
    records = np.empty(len(flat), storage.record)
    with np.errstate(all="ignore"):  # infinities and NaN give what IEEE 754 says
        storage.narrow(flat, records)
    return records


def from_blocks(records: Records, storage: Storage) -> Floats:
    """The elements of blocks, [blocks, elements]."""
    out = np.empty((len(records), storage.elements), np.float32)
    with np.errstate(all="ignore"):
        storage.widen(records, out)
    return out


def codes(records: Records) -> NDArray[np.int8]:
    """The codes of blocks of 32, as they are stored: -128 to 127, or 0 to 15."""
    stored = records["q"]
    if stored.dtype == np.int8:
        return np.asarray(stored)
    return np.concatenate((stored & 15, stored >> 4), axis=1).astype(np.int8)


def put_codes(codes: NDArray[np.integer[Any]], records: Records) -> None:
    """Store the codes of blocks of 32: the inverse of `codes`."""
    if records.dtype["q"].base == np.int8:
        records["q"] = codes
    else:
        whole = codes.astype(np.uint8)
        records["q"] = whole[:, :HALF] | whole[:, HALF:] << np.uint8(4)
