"""Tensors in files: reading their elements as float32 without a copy of the file."""

from __future__ import annotations

import mmap
import os
import stat
from dataclasses import dataclass
from math import prod
from typing import NoReturn

import numpy as np

from pto.core.errors import PtoFormatError, UsageError
from pto.isa.words import printable
from pto.quant.blocks import Floats, Records, Storage, to_blocks

Buffer = bytes | mmap.mmap
AT_ONCE = 2**18  # elements widened at a time: what is held besides the result stays near a megabyte


def refuse(offset: int, field: str, reason: str) -> NoReturn:
    """Say where in a file what is wrong."""
    raise PtoFormatError(f"byte {offset}: {field}: {reason}")


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

    def _require(self) -> None:
        if isinstance(self.data, mmap.mmap) and self.data.size() < self.offset + self.nbytes:
            raise PtoFormatError(f"{printable(self.file)}: byte {self.offset}: {printable(self.name)}: "
                                 "the file was truncated while in use")

    def records(self) -> Records:
        """All blocks, without a copy.

        Raises:
            PtoFormatError: the file has become shorter since it was opened.
        """
        self._require()
        return np.frombuffer(self.data, self.storage.record, self.elements // self.storage.elements, self.offset)

    def read(self, out: Floats, first: int = 0) -> None:
        """Fill a contiguous float32 array with the elements from `first`, a multiple of the block.

        Raises:
            PtoFormatError: the file has become shorter since it was opened.
        """
        self._require()
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
        UsageError: the last extent is no multiple of its block.
    """
    if values.shape[-1] % storage.elements:
        raise UsageError(f"{values.shape[-1]} channels are no multiple of the {storage.elements} of {storage.name}")
    return to_blocks(values, storage).tobytes()


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
