"""Memory whose surroundings show a stray access: pages that nobody may touch, and bytes that must stay."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Sequence
from enum import Enum, auto

import numpy as np

from pto.core.target import DEFAULT
from pto.isa.program import Program
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


class Form(Enum):
    """How an argument lies in its pages."""

    END = auto()  # flush with the end
    START = auto()
    PADDED = auto()  # rows apart
    REVERSED = auto()  # the last row first
    ODD = auto()  # at an address that is no multiple of anything


class Arguments:
    """Copies of arrays, each in pages of its own, the rest of which is canaries.

    A form that needs rows falls back to the end where an array has none, or `whole` says that it must be contiguous.
    """

    def __init__(self, arrays: Sequence[np.ndarray], form: Form, *, whole: Sequence[int] = ()) -> None:
        self.given = [np.ascontiguousarray(array) for array in arrays]
        self.pages: list[Pages] = []
        self.mine: list[np.ndarray] = []  # by byte of the pages: is it the array's?
        self.arrays: list[np.ndarray] = []
        for i, array in enumerate(self.given):
            rows = array.ndim == 2 and i not in whole and array.size > 0
            self._place(array, form if rows or form in (Form.START, Form.ODD) else Form.END)

    def _place(self, array: np.ndarray, form: Form) -> None:
        size, strides, start = array.itemsize, list(array.strides), 0
        if form in (Form.PADDED, Form.REVERSED):
            strides[0] += 3 * size
        if form is Form.REVERSED:
            strides[0] *= -1
            start = -strides[0] * (array.shape[0] - 1)
        extent = sum(abs(s) * (n - 1) for s, n in zip(strides, array.shape, strict=True)) + size if array.size else 0
        pages = Pages(max(1, extent + 1))
        if form is Form.ODD:
            start = 1
        elif form is not Form.START:
            start += (pages.size - extent) // size * size
        pages.inside[:] = CANARY
        mine = np.zeros(pages.size, bool)
        copy = np.ndarray(array.shape, array.dtype, pages.inside, start, strides)
        byte = np.ndarray((*array.shape, size), bool, mine, start, (*strides, 1))
        copy[...], byte[...] = array, True
        self.pages.append(pages)
        self.mine.append(mine)
        self.arrays.append(copy)

    def damaged(self) -> list[int]:
        """Arguments around which something was written."""
        return [i for i, (pages, mine) in enumerate(zip(self.pages, self.mine, strict=True))
                if (pages.inside[~mine] != CANARY).any()]

    def changed(self, allowed: Sequence[bool]) -> list[int]:
        """Arguments that are not what they were and may not be written."""
        return [i for i, (one, two) in enumerate(zip(self.given, self.arrays, strict=True))
                if not allowed[i] and one.tobytes() != two.tobytes()]


def contiguous(program: Program) -> set[int]:
    """Tensors of a program whose elements must be contiguous, since they have views."""
    return {view.tensor for view in program.views}


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
