"""Tensors in files: storage formats as rows, and reading their elements as float32 without a copy of the file."""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from pto.core.errors import PtoFormatError, UsageError
from pto.isa.words import printable

Floats = NDArray[np.float32]
Records = NDArray[Any]  # of a structured type, one record a block
Buffer = bytes | mmap.mmap
AT_ONCE = 2**18  # elements widened at a time: what is held besides the result stays near a megabyte


def refuse(offset: int, field: str, reason: str) -> NoReturn:
    """Say where in a file what is wrong."""
    raise PtoFormatError(f"byte {offset}: {field}: {reason}")


def _plain(records: Records, out: Floats) -> None:
    out[:] = records["w"]


def _bf16(records: Records, out: Floats) -> None:
    np.left_shift(records["w"], 16, out=out.view(np.uint32), dtype=np.uint32)


def _q8_0(records: Records, out: Floats) -> None:
    np.multiply(records["q"], records["d"].astype(np.float32)[:, None], out=out)


def _nibbles(records: Records, out: Floats) -> None:
    """Weights 0 to 15 of a block are the low halves of its bytes, 16 to 31 the high ones."""
    np.bitwise_and(records["q"], 15, out=out[:, :16], casting="unsafe")
    np.right_shift(records["q"], 4, out=out[:, 16:], casting="unsafe")


def _q4_0(records: Records, out: Floats) -> None:
    _nibbles(records, out)
    out -= 8
    out *= records["d"].astype(np.float32)[:, None]


def _q4_1(records: Records, out: Floats) -> None:
    _nibbles(records, out)
    out *= records["d"].astype(np.float32)[:, None]
    out += records["m"].astype(np.float32)[:, None]


def _narrow_plain(values: Floats, records: Records) -> None:
    records["w"] = values


def _narrow_q8_0(values: Floats, records: Records) -> None:
    scale = np.abs(values).max(axis=1) / np.float32(127)
    records["d"] = scale
    inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)
    records["q"] = np.rint(values * inverse[:, None])


@dataclass(frozen=True, slots=True)
class Storage:
    """How a file keeps the elements of a tensor, in blocks along its last axis.

    Attributes:
        name, number: as GGUF calls it; safetensors uses the same names for plain elements.
        elements: elements in one block.
        record: NumPy's type of one block.
        widen: fills float32 [blocks, elements] from blocks.
        narrow: the inverse, where files of this storage can be written.
    """

    name: str
    number: int
    elements: int
    record: np.dtype[Any]
    widen: Callable[[Records, Floats], None]
    narrow: Callable[[Floats, Records], None] | None = None

    def nbytes(self, elements: int) -> int:
        """Bytes of a whole number of blocks."""
        return elements // self.elements * self.record.itemsize


STORAGES = (
    Storage("F32", 0, 1, np.dtype([("w", "<f4", 1)]), _plain, _narrow_plain),
    Storage("F16", 1, 1, np.dtype([("w", "<f2", 1)]), _plain, _narrow_plain),
    Storage("BF16", 30, 1, np.dtype([("w", "<u2", 1)]), _bf16),
    Storage("Q8_0", 8, 32, np.dtype([("d", "<f2"), ("q", "i1", 32)]), _q8_0, _narrow_q8_0),
    Storage("Q4_0", 2, 32, np.dtype([("d", "<f2"), ("q", "u1", 16)]), _q4_0),
    Storage("Q4_1", 3, 32, np.dtype([("d", "<f2"), ("m", "<f2"), ("q", "u1", 16)]), _q4_1),
)
BY_NAME = {row.name: row for row in STORAGES}
BY_NUMBER = {row.number: row for row in STORAGES}
PLAIN = {name: BY_NAME[name] for name in ("F32", "F16", "BF16")}


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor of a file whose place in the file has been checked.

    Attributes:
        shape: as NumPy orders it, the last axis is contiguous.
        offset: its first byte in `data`.
        file: what messages call the file.
    """

    name: str
    storage: Storage
    shape: tuple[int, ...]
    data: Buffer
    offset: int
    file: str

    @property
    def elements(self) -> int:
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.storage.nbytes(self.elements)

    def read(self, out: Floats, first: int = 0) -> None:
        """Fill a contiguous float32 array with the elements from `first`, a multiple of the block.

        Raises:
            PtoFormatError: the file has become shorter since it was opened.
        """
        if isinstance(self.data, mmap.mmap) and self.data.size() < self.offset + self.nbytes:
            raise PtoFormatError(f"{printable(self.file)}: byte {self.offset}: {printable(self.name)}: "
                                 "the file was truncated while in use")
        flat, storage = out.reshape(-1), self.storage
        step = AT_ONCE // storage.elements * storage.elements
        with np.errstate(all="ignore"):  # infinite scales are legal, and give what IEEE 754 says
            for start in range(0, flat.size, step):
                part = flat[start:start + step].reshape(-1, storage.elements)
                place = self.offset + storage.nbytes(first + start)
                storage.widen(np.frombuffer(self.data, storage.record, len(part), place), part)


def narrowed(values: Floats, storage: Storage) -> bytes:
    """The bytes that keep an array in a storage.

    Raises:
        UsageError: this storage cannot be written, or the last extent is no multiple of its block.
    """
    if storage.narrow is None:
        writable = ", ".join(row.name for row in STORAGES if row.narrow)
        raise UsageError(f"tensors are not written as {storage.name}", hint=f"one of {writable}")
    if values.shape[-1] % storage.elements:
        raise UsageError(f"{values.shape[-1]} channels are no multiple of the {storage.elements} of {storage.name}")
    blocks = np.ascontiguousarray(values, np.float32).reshape(-1, storage.elements)
    records = np.empty(len(blocks), storage.record)
    storage.narrow(blocks, records)
    return records.tobytes()


def mapped(path: str | os.PathLike[str]) -> Buffer:
    """The bytes of a regular file, as a read-only map of it.

    Raises:
        PtoFormatError: it cannot be opened, or is no regular file.
    """
    name = printable(str(path))
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise PtoFormatError(f"{name}: is not a regular file")
            return mmap.mmap(handle, 0, access=mmap.ACCESS_READ) if status.st_size else b""
        finally:
            os.close(handle)
    except (OSError, ValueError) as err:
        reason = err.strerror if isinstance(err, OSError) and err.strerror else str(err)
        raise PtoFormatError(f"{name}: cannot be read: {printable(reason)}") from None
