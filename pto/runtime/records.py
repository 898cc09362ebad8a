"""The records that a launch left in its log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pto.core.arrays import numpy_dtype
from pto.isa.table.log import HEADER, LOG, RECORD_HEADER
from pto.lang.trace import Site

Array = NDArray[Any]


@dataclass(frozen=True)
class Record:
    """One value that a place reported, whether it is the first one of its call, and where its condition held."""

    site: Site
    values: Array
    first: bool
    held: Array | None = None


def records(row: Array, sites: Sequence[Site]) -> Iterator[Record]:
    """The records of one core, in order."""
    words, at, end = row[HEADER:], 0, min(int(row[0]), LOG - HEADER)
    while at + RECORD_HEADER <= end:
        number, rows, cols = (int(n) for n in words[at:at + RECORD_HEADER])
        site, size, at = sites[number], rows * cols, at + RECORD_HEADER
        raw = words[at:at + 2 * size].copy().view(np.int64)
        found = (raw.view(np.float64) if site.dtype.kind == "f" else raw).astype(numpy_dtype(site.dtype))
        at += 2 * size
        held = None
        if site.asserts:
            held, at = words[at:at + size].reshape(rows, cols) != 0, at + size
        yield Record(site, found.reshape(rows, cols), number == site.call, held)
