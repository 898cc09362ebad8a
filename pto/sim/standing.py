"""Arrays that are the same ones at each launch, as the weights of a model."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable, Mapping, Sequence
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
Compare = Callable[[int, int, int], None]  # where arrays are, a table of what they were, how many
COMPARE = ctypes.PYFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)  # no thread changes them meanwhile


def _row(array: Array) -> list[int]:
    """What an array is, and says of itself."""
    found = [id(array), array.ctypes.data, array.ndim, id(array.dtype), array.flags.num, *array.shape, *array.strides]
    return found + [0] * (ROW_WORDS - len(found))


@cache
def objects_are_known() -> bool:
    """Does this NumPy keep what an array says of itself where we look?"""
    probe = np.empty((3, 5), np.float32)
    words = (ctypes.c_int64 * (OBJECT_FLAGS + 1)).from_address(id(probe))
    pair = ctypes.c_int64 * probe.ndim
    found = [id(probe), words[OBJECT_DATA], words[OBJECT_AXES] & HALF, words[OBJECT_DTYPE], words[OBJECT_FLAGS] & HALF]
    if found != _row(probe)[:ROW_EXTENTS]:
        return False
    extents = [*pair.from_address(words[OBJECT_SHAPE]), *pair.from_address(words[OBJECT_STRIDES])]
    return extents == [*probe.shape, *probe.strides]


class Standing:
    """What is known of arrays that were the same ones at two launches: descriptors, and what these were made of.

    Attributes:
        others: the places of all other arrays.
        words: the descriptors of all arrays; those of `others` are old.
        lends: whether loads may leave bytes in these arrays.
    """

    __slots__ = ("_address", "_compare", "_dtypes", "_ids", "_relied", "_table", "lends", "others", "words")

    def __init__(self, places: Sequence[int], arrays: Sequence[Array], words: Sequence[int],
                 relied: Mapping[int, int], lends: bool, compare: Compare) -> None:
        self.others = [i for i in range(len(arrays)) if i not in places]
        self.words, self.lends, self._compare = array("l", words), lends, compare
        self._relied = list(relied.items())
        self._table = np.zeros((len(arrays), ROW_WORDS), np.int64)
        for i in places:
            self._table[i] = _row(arrays[i])
        self._address, self._ids = self._table.ctypes.data, array("q", map(id, arrays))
        self._dtypes = [arrays[i].dtype for i in places]  # kept, so that no other one gets its address

    @classmethod
    def of(cls, places: Sequence[int], arrays: Sequence[Array], words: Sequence[int], relied: Mapping[int, int],
           lends: bool, compare: Compare) -> Standing | None:
        """Of the arrays at some places, with the descriptors of all; `relied`: values that their extents are."""
        plain = [i for i in places if type(arrays[i]) is np.ndarray and arrays[i].ndim <= MOST_AXES]
        return cls(plain, arrays, words, relied, lends, compare) if plain and objects_are_known() else None

    def is_about(self, arrays: Sequence[Array]) -> bool:
        """Are the first arrays these ones?"""
        count = len(arrays)
        return self._ids[:count] == array("q", map(id, arrays)) and all(i >= count for i in self.others)

    def addresses(self, arrays: Sequence[Array], values: Sequence[int] = (), first: int = 0) -> array[int] | None:
        """The addresses of all arrays; None: one is another, or was changed.

        Args:
            values: of the program's parameters.
            first: where `arrays` begin; those before them are alive, and none of `others`.
        """
        for i, value in self._relied:
            if values[i] != value:
                return None
        for i in self.others:
            if type(arrays[i - first]) is not np.ndarray:
                return None
        found = self._ids[:first]
        found.extend(map(id, arrays))
        self._compare(found.buffer_info()[0], self._address, len(found))
        return found if found[0] else None
