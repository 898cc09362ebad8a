"""Memory whose surroundings show a stray access: pages that nobody may touch, and bytes that must stay."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Sequence

import numpy as np

from pto.core.target import DEFAULT
from pto.sim import machine
from pto.sim.link import Arena

PAGE = mmap.PAGESIZE
CANARY = 0xA5
NOTHING = 0  # PROT_NONE
_libc = ctypes.CDLL(None, use_errno=True)


class Pages:
    """Some pages between two that nobody may touch; gone with their last reader."""

    def __init__(self, nbytes: int) -> None:
        self.size = -(-nbytes // PAGE) * PAGE
        self.map = mmap.mmap(-1, self.size + 2 * PAGE)
        self.block = np.frombuffer(self.map, np.uint8)
        self.start = self.block.ctypes.data
        self.address = self.start + PAGE
        self.inside = self.block[PAGE:PAGE + self.size]
        self.forbid(-PAGE)
        self.forbid(self.size)

    def forbid(self, offset: int) -> None:
        """Let nobody touch the page at an offset from `address`."""
        if _libc.mprotect(ctypes.c_void_p(self.address + offset), ctypes.c_size_t(PAGE), NOTHING):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Arguments:
    """Copies of arrays, each flush with the end or with the start of its pages, the rest of which is canaries."""

    def __init__(self, arrays: Sequence[np.ndarray], *, at_end: bool) -> None:
        self.given = [np.ascontiguousarray(array) for array in arrays]
        self.pages = [Pages(max(1, array.nbytes)) for array in self.given]
        self.arrays: list[np.ndarray] = []
        self.starts: list[int] = []
        for array, pages in zip(self.given, self.pages, strict=True):
            start = (pages.size - array.nbytes) // array.itemsize * array.itemsize if at_end else 0
            pages.inside[:] = CANARY
            copy = np.frombuffer(pages.inside, array.dtype, array.size, start).reshape(array.shape)
            copy[...] = array
            self.starts.append(start)
            self.arrays.append(copy)

    def damaged(self) -> list[int]:
        """Arguments around which something was written."""
        return [i for i, (pages, start, array) in enumerate(zip(self.pages, self.starts, self.given, strict=True))
                if (pages.inside[:start] != CANARY).any() or (pages.inside[start + array.nbytes:] != CANARY).any()]

    def changed(self, allowed: Sequence[bool]) -> list[int]:
        """Arguments that are not what they were and may not be written."""
        return [i for i, (one, two) in enumerate(zip(self.given, self.arrays, strict=True))
                if not allowed[i] and one.tobytes() != two.tobytes()]


class GuardedArena:
    """In place of a launch's arena: also the gap behind each memory of a core is forbidden."""

    def __init__(self, nbytes: int) -> None:
        self.pages = Pages(nbytes)
        self.address = self.pages.address
        arena = Arena.of(DEFAULT)
        if arena.nbytes == nbytes:
            for start in (*sorted(arena.base.values())[1:], arena.spare):
                self.pages.forbid(start - PAGE)
            self.pages.forbid(nbytes - PAGE)


def guard_arenas() -> None:
    """Give every later launch of this process guarded arenas; for child processes."""
    machine._idle.clear()
    machine._Memory = GuardedArena  # type: ignore[assignment, misc]
