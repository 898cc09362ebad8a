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
    ROW_OBJECT,
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
    """Replaces where some arrays are by where their elements are, unless one is not as its row of the table says.

    Then the first becomes zero.
    """
    for number in range(count):
        array, row = word(arrays, number), table + WORD * ROW_WORDS * number
        if word(row, ROW_OBJECT) != 0 and (word(row, ROW_OBJECT) != array or not is_as(array, row)):
            set_word(arrays, 0, 0)
            return
        set_word(arrays, number, word(array, OBJECT_DATA))


FUNCTIONS[STANDING] = standing
