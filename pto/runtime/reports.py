"""What a launch reported: lines that a kernel prints, and the first assertion that did not hold."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pto.core.arrays import numpy_dtype
from pto.core.errors import AssertionFailed
from pto.isa.table.log import HEADER, LOG, RECORD_HEADER
from pto.lang.trace import Site

Array = NDArray[Any]
MOST_SHOWN = 4  # elements for which an assertion does not hold


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


def lines(found: Sequence[Record]) -> Iterator[str]:
    """What is printed of the records of one core: a line for each time that the program came to a call."""
    text, last = "", None
    for record in found:
        if record.site.asserts:
            continue
        if last is not None and (record.first or record.site == last):
            yield text
            text = ""
        text += record.site.text
        if record.site.shown:
            text += shown(record.values)
        last = record.site
    if last is not None:
        yield text


def shown(values: Array) -> str:
    """A value as it is printed."""
    return str(values.reshape(-1)[0].item()) if values.size == 1 else np.array2string(values, separator=", ")


def deliver(log: Array, sites: Sequence[Site], kernel: str, *, quiet: bool = False) -> None:
    """Print what was reported, core by core.

    Raises:
        AssertionFailed: a condition did not hold; the first one of the lowest core.
    """
    failed = None
    for core, row in enumerate(log):
        if not row[0] and not row[1]:
            continue
        found = list(records(row, sites))
        for line in () if quiet else lines(found):
            sys.stdout.write(line + "\n")
        if row[1]:
            sys.stdout.write(f"{kernel}: core {core} reported {int(row[1])} more values than there is room for\n")
        at = next((n for n, record in enumerate(found) if record.site.asserts), None)
        failed = failed or (None if at is None else failure(found[at:], kernel, core))
    if failed is not None:
        raise failed


def failure(found: Sequence[Record], kernel: str, core: int) -> AssertionFailed:
    """The error for an assertion whose records are the first ones."""
    first = found[0]
    assert first.held is not None
    parts = [r for r in found[:3] if r.site == first.site or r.site.call == first.site.call]
    same = [r for r in parts if r.held is not None and r.held.shape == first.held.shape]
    values, wrong = same[-1].values, np.argwhere(~first.held)
    said = f": {first.site.text}" if first.site.text else ""
    if first.values.shape == (1, 2) and not first.held.any() and len(same) == 1:
        a, b = first.values[0]
        what = f"the condition is false, of {a} and {b}" if a != b else f"the value is {a}"
    else:
        places = np.stack([r.values for r in same[:2]]) if len(same) == 3 else np.indices(first.held.shape)
        each = [f"element ({places[0, i, j]}, {places[1, i, j]}) is {values[i, j]}" for i, j in wrong[:MOST_SHOWN]]
        what = ", ".join(each) + (f", and {len(wrong) - MOST_SHOWN} more" if len(wrong) > MOST_SHOWN else "")
    return AssertionFailed(f"assertion failed in {kernel}{said}: {what} (core {core})", loc=first.site.loc)
