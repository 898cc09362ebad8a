"""What a launch reported: lines that a kernel prints, and the first assertion that did not hold."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from pto.core.errors import AssertionFailed
from pto.lang.trace import Site
from pto.runtime.detected import announce, events
from pto.runtime.records import Array, Record, records

MOST_SHOWN = 4  # elements for which an assertion does not hold


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


def deliver(log: Array, sites: Sequence[Site], kernel: str, extent: Callable[[int | str], int]) -> None:
    """Print what was reported, core by core; pass on what a kernel that is watched found.

    Args:
        extent: the number that an extent of the program is in this launch.

    Raises:
        AssertionFailed: a condition did not hold; the first one of the lowest core.
        NumericError: a value is odd, and the numeric configuration says that this is an error.
    """
    failed, watched = None, list[Record]()
    for core, row in enumerate(log):
        if not row[0] and not row[1]:
            continue
        every = list(records(row, sites))
        found = [record for record in every if record.site.watch is None]
        watched += [record for record in every if record.site.watch is not None]
        for line in lines(found):
            sys.stdout.write(line + "\n")
        if row[1]:
            sys.stdout.write(f"{kernel}: core {core} reported {int(row[1])} more values than there is room for\n")
        at = next((n for n, record in enumerate(found) if record.site.asserts), None)
        failed = failed or (None if at is None else failure(found[at:], kernel, core))
    announce(events(watched, kernel, extent))
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
