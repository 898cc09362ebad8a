"""Meanings of the instructions that report."""

from __future__ import annotations

import numpy as np

from pto.isa.meaning.operands import Array, Meaning, Operands
from pto.isa.table.log import HEADER, LOG, MLOG, MLOG_UNLESS


def words_of(elements: Array) -> Array:
    """Two words for each element: an integer, or the bits of a float64 with the one NaN."""
    if elements.dtype.kind not in "iub":
        wide = np.where(np.isnan(elements.astype(np.float64)), np.nan, elements.astype(np.float64))
        return np.ascontiguousarray(wide).view(np.int32).reshape(-1)
    return np.ascontiguousarray(elements.astype(np.int64)).view(np.int32).reshape(-1)


def recorded(o: Operands, *behind: Array) -> Array:
    """The row of a log with one more record, or one more that is missing."""
    row: Array = o.log.copy()
    record = np.concatenate([[o.site, o.rows, o.cols], words_of(o.src), *behind])
    used = int(row[0, 0])
    if used < 0 or used + HEADER + len(record) > LOG:
        row[0, 1] = np.int64(row[0, 1]) + 1 & 0x7FFFFFFF
        return row
    row[0, HEADER + used:HEADER + used + len(record)] = record.astype(np.int64) & 0xFFFFFFFF
    row[0, 0] = used + len(record)
    return row


def recorded_unless(o: Operands) -> Array:
    """The same, where an element of the mask is false."""
    return np.asarray(o.log) if o.mask.all() else recorded(o, o.mask.astype(np.int32).reshape(-1))


MEANING: dict[str, Meaning] = {MLOG.mnemonic: recorded, MLOG_UNLESS.mnemonic: recorded_unless}
