"""Meanings of gathers, scatters, sequences and reads of single elements; indices are checked before."""

from __future__ import annotations

import numpy as np

from pto.isa.meaning.operands import Array, Meaning, Operands
from pto.isa.meaning.scalar import wrap
from pto.isa.table import gather

CANONICAL_NAN = np.uint32(0x7FC00000).view(np.float32)


def gathered_rows(o: Operands) -> Array:
    """The rows that are named."""
    return np.asarray(o.src[o.index[:, 0]])


def scattered_rows(o: Operands) -> Array:
    """The destination with some rows replaced, one after the other."""
    for i, row in enumerate(o.index[:, 0]):
        o.dst[row] = o.src[i]
    return np.asarray(o.dst)


def added_rows(o: Operands) -> Array:
    """The destination with something added to some rows, one after the other."""
    for i, row in enumerate(o.index[:, 0]):
        total = o.dst[row] + o.src[i]
        o.dst[row] = np.where(np.isnan(total), CANONICAL_NAN, total) if o.dtype == np.float32 else total
    return np.asarray(o.dst)


def gathered(o: Operands) -> Array:
    """In each row, the columns that are named."""
    return np.take_along_axis(o.src, o.index.astype(np.int64), axis=1)


def scattered(o: Operands) -> Array:
    """The destination with some columns of each row replaced, one after the other."""
    every = np.arange(o.rows)
    for j in range(o.cols):
        o.dst[every, o.index[:, j]] = o.src[:, j]
    return np.asarray(o.dst)


def sequence(o: Operands) -> Array:
    """64-bit integers, which wrap, as the destination's type."""
    numbers = [[wrap(o.start + i * o.row_step + j * o.col_step) for j in range(o.cols)] for i in range(o.rows)]
    return np.array(numbers, np.int64).reshape(o.shape).astype(o.dtype)


def element(o: Operands) -> Array:
    """The one element."""
    return np.asarray(o.src)


MEANING: dict[str, Meaning] = {
    gather.MGATHER.mnemonic: gathered_rows,
    gather.MSCATTER.mnemonic: scattered_rows,
    gather.MSCATTER_ADD.mnemonic: added_rows,
    gather.TGATHER.mnemonic: gathered,
    gather.MGATHER_ELEM.mnemonic: gathered,
    gather.TSCATTER.mnemonic: scattered,
    gather.TCI.mnemonic: sequence,
    gather.TGETVAL.mnemonic: element,
    gather.LDG.mnemonic: element,
}
