"""Whether arrays still are as they were, all at once: a launch may be on many, and few ever change."""

from __future__ import annotations

from pto.sim.kernels.registry import FUNCTIONS
from pto.sim.layout import (
    HALF,
    OBJECT_AXES,
    OBJECT_DATA,
    OBJECT_DTYPE,
    OBJECT_FLAGS,
    OBJECT_SHAPE,
    OBJECT_STRIDES,
    ROW_AXES,
    ROW_DATA,
    ROW_DTYPE,
    ROW_EXTENTS,
    ROW_FLAGS,
    ROW_WORDS,
    WORD,
)
from pto.sim.names import STANDING
from pto.sim.vec import called, set_word, word


@called
def is_as(array: int, row: int) -> bool:
    """Is an array as its row of the table says?"""
    axes = word(row, ROW_AXES)
    if word(array, OBJECT_DATA) != word(row, ROW_DATA) or word(array, OBJECT_AXES) & HALF != axes:
        return False
    if word(array, OBJECT_DTYPE) != word(row, ROW_DTYPE) or word(array, OBJECT_FLAGS) & HALF != word(row, ROW_FLAGS):
        return False
    extents = row + WORD * ROW_EXTENTS
    for axis in range(axes):
        if word(word(array, OBJECT_SHAPE), axis) != word(extents, axis):
            return False
        if word(word(array, OBJECT_STRIDES), axis) != word(extents, axes + axis):
            return False
    return True


def standing(arrays: int, table: int, count: int) -> None:
    """Puts zero for the first of some addresses of arrays, unless all are as their rows of the table say."""
    for number in range(count):
        if not is_as(word(arrays, number), table + WORD * ROW_WORDS * number):
            set_word(arrays, 0, 0)
            return


FUNCTIONS[STANDING] = standing
