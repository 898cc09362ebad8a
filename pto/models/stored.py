"""Tensors in files: reading their elements as float32 without a copy of the file."""

from __future__ import annotations

import mmap
import os
import stat
import time
from dataclasses import dataclass
from math import prod
from typing import NoReturn

import numpy as np

from pto.core.errors import PtoFormatError, UsageError
from pto.isa.words import printable
from pto.quant.blocks import Floats, Records, Storage, to_blocks

Buffer = bytes | mmap.mmap
SETTLED = 2_000_000_000  # nanoseconds within which the clock of a file system may not tell two writes apart
AT_ONCE = 2**18  # elements widened at a time: what is held besides the result stays near a megabyte


@dataclass(frozen=True, slots=True)
class Stamp:
    """Which file was opened, and in what state: whatever writes to it, or puts another in its place, changes that.

    Attributes:
        path: where it was.
        device, inode, size, modified, changed: as the system has them; nanoseconds. No program can set `changed`.
        opened: when that was, in nanoseconds.
    """

    path: str
    device: int
    inode: int
    size: int
    modified: int
    changed: int
    opened: int

    @classmethod
    def of(cls, path: str, status: os.stat_result) -> Stamp:
        return cls(path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns,
                   time.time_ns())

    @property
    def state(self) -> tuple[int, ...]:
        return self.device, self.inode, self.size, self.modified, self.changed

    def still(self) -> bool:
        """Is the file there, and what it was? One that had just been written may since have been, unnoticed."""
        try:
            now = self.of(self.path, os.stat(self.path))
        except OSError:
            return False
        return now.state == self.state and self.opened - self.changed > SETTLED


class Mapped(mmap.mmap):
    """A file in memory."""

    stamp: Stamp


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
            if not status.st_size:
                return b""
            found = Mapped(handle, 0, access=mmap.ACCESS_READ)
            found.stamp = Stamp.of(os.path.abspath(path), status)
            return found
        finally:
            os.close(handle)
    except (OSError, ValueError) as err:
        reason = err.strerror if isinstance(err, OSError) and err.strerror else str(err)
        raise PtoFormatError(f"{name}: cannot be read: {printable(reason)}") from None
