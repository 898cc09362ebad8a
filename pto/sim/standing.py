"""Arrays that are the same ones at each launch, as the weights of a model."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pto.sim.layout import (
    HALF,
    MOST_AXES,
    OBJECT_AXES,
    OBJECT_DATA,
    OBJECT_DTYPE,
    OBJECT_FLAGS,
    OBJECT_SHAPE,
    OBJECT_STRIDES,
    ROW_EXTENTS,
    ROW_WORDS,
)

Array = NDArray[Any]
Compare = Callable[[int, int, int], None]  # addresses of arrays, a table of what they were, how many


def _row(array: Array) -> list[int]:
    """What an array says of itself."""
    found = [array.ctypes.data, array.ndim, id(array.dtype), array.flags.num, *array.shape, *array.strides]
    return found + [0] * (ROW_WORDS - len(found))


@cache
def objects_are_known() -> bool:
    """Does this NumPy keep what an array says of itself where we look?"""
    probe = np.empty((3, 5), np.float32)
    words = (ctypes.c_int64 * (OBJECT_FLAGS + 1)).from_address(id(probe))
    pair = ctypes.c_int64 * probe.ndim
    found = [words[OBJECT_DATA], words[OBJECT_AXES] & HALF, words[OBJECT_DTYPE], words[OBJECT_FLAGS] & HALF]
    if found != _row(probe)[:ROW_EXTENTS]:
        return False
    extents = [*pair.from_address(words[OBJECT_SHAPE]), *pair.from_address(words[OBJECT_STRIDES])]
    return extents == [*probe.shape, *probe.strides]


class Standing:
    """What is known of arrays that were the same ones at two launches: descriptors, and what these were made of.

    Attributes:
        others: the places of all other arrays.
    """

    __slots__ = ("_address", "_dtypes", "_ids", "_places", "_table", "_words", "others")

    def __init__(self, places: Sequence[int], arrays: Sequence[Array], words: Sequence[int]) -> None:
        self._places, self._words = places, list(words)
        self.others = [i for i in range(len(arrays)) if i not in places]
        self._table = np.array([_row(arrays[i]) for i in places], np.int64)
        self._address = self._table.ctypes.data
        self._ids = [id(arrays[i]) for i in places]
        self._dtypes = [arrays[i].dtype for i in places]  # kept, so that no other one gets its address

    @classmethod
    def of(cls, places: Sequence[int], arrays: Sequence[Array], words: Sequence[int]) -> Standing | None:
        """Of the arrays at some places, with the descriptors of all."""
        plain = [i for i in places if type(arrays[i]) is np.ndarray and arrays[i].ndim <= MOST_AXES]
        return cls(plain, arrays, words) if plain and objects_are_known() else None

    def words(self, arrays: Sequence[Array], compare: Compare) -> list[int] | None:
        """The descriptors of all arrays, of which those of `others` are old; None: one is another, or was changed."""
        ids = [id(arrays[i]) for i in self._places]
        if ids != self._ids:
            return None
        now = array("q", ids)
        compare(now.buffer_info()[0], self._address, len(ids))
        return self._words.copy() if now[0] else None
