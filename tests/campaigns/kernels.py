"""Random kernels at every level, on both machines and in other legal orders, against NumPy; and planted bugs.

Half of the kernels are of small integers, and every level computes exactly what NumPy does; the others are within
running error bounds. A kernel that fails is made small and printed as a file for `tests/passes/fuzz_cases`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from pto.core.errors import PtoError
from tests.campaigns.pieces import Piece, side_by_side
from tests.campaigns.report import Report, main
from tests.fuzz.arrays import ArrayWriter
from tests.fuzz.flags import extents, redundant
from tests.fuzz.generate import SMALL, Writer, generate
from tests.fuzz.judge import Judge, Senseless, judge
from tests.fuzz.planted import BUGS, found_after
from tests.fuzz.shrink import shrink

COUNT, ARRAYS = 20_000, 2000  # kernels of expressions, and such that store to arrays again and again
PART, MANY = 250, 20  # kernels that one process judges, and whose flags it leaves out, at a time
WITHIN = 2000  # kernels, in which a planted bug is found
FLAGS = 50  # of so many kernels the flags of one are left out in turn
SHRUNK = 3  # failures that are made small
SENSELESS = "cannot be compared"  # of a kernel: what its generator follows a statement at a time becomes too vague
FEW = 200  # of so many kernels one may be so


def run(count: int, seed: int, first: int = 0, kind: type[Writer] = Writer) -> Report:
    """Judge `count` kernels, from the `first` of a seed on; too few that can be compared are a broken promise, too."""
    return told(judged(count, seed, first, kind), count)


def judged(count: int, seed: int, first: int, kind: type[Writer] = Writer) -> Report:
    """What is seen of `count` kernels."""
    report = Report()
    start = seed * COUNT + first
    for number in range(start, start + count):
        one(report, number, len(report.failures) < SHRUNK, kind)
    return report


def told(report: Report, count: int) -> Report:
    """What was seen of so many kernels, of which nearly all can be compared."""
    vague = report.of(SENSELESS)
    if vague > 1 + count // FEW:
        report.fail(f"{vague} of {count} kernels have no meaning that can be compared")
    return report


def one(report: Report, number: int, small: bool, kind: type[Writer]) -> None:
    """Judge the kernel of a number."""
    case, used = generate(number, kind=kind)
    try:
        found = judge(case)
    except Senseless as err:
        report.saw(f"{SENSELESS}: {err}")
        return
    if found.kind:
        case = shrink(case) if small else case
        report.fail(f"kernel {number} of {kind.__name__}, {found.kind}: {found.said}\n{case.text}")
        return
    report.saw("kernels")
    if found.refused:
        report.saw("refused: " + " ".join(word for word in found.said.split() if word.isalpha())[:70])
        return
    report.saw("compared bit for bit" if found.exact else "compared within bounds")
    for what in dict.fromkeys(used):
        report.saw(what)
    for level in dict.fromkeys(level.split(",")[0] for level in found.levels):
        report.saw(f"level: {level}")
    for what in case.arguments.values():
        if not isinstance(what, int):
            elements = what[0] if isinstance(what[0], str) else what[0][0]
            report.saw(f"argument: {elements}, {len(what) - 1} axes")


def relations(count: int, seed: int, first: int = 0) -> Report:
    """Is every flag relation of `count` kernels with small tiles needed?"""
    report = Report()
    for number in range(seed * COUNT + first, seed * COUNT + first + count):
        case = generate(number, SMALL)[0]
        try:
            judged = Judge(case)
            judged.called()
            judged.bound()
        except (Senseless, PtoError):
            report.saw("left out: no program")
            continue
        except Exception as err:
            report.fail(f"kernel {number} of small tiles, {type(err).__name__}: {err}\n{case.text}")
            continue
        found, useless = redundant(judged.variant.program, extents(case), number)
        report.saw("flag relations that are needed", found)
        if useless:
            report.fail(f"kernel {number} of small tiles: redundant are {'; '.join(useless)}\n{case.text}")
    return report


def plant(name: str, count: int, seed: int) -> Report:
    """Look for a planted bug among `count` kernels."""
    report = Report()
    [bug] = [bug for bug in BUGS if bug.name == name]
    after = found_after(bug, count, seed * COUNT)
    report.saw(f"planted, found within {count}: {name}" if after else "not found", after or 1)
    if not after:
        report.fail(f"not found among {count} kernels: {name}")
    return report


def parts(name: str, work: Callable[..., Report], count: int, most: int, *rest: Any) -> list[Piece]:
    """`count` kernels in pieces of `most`."""
    seed, *kind = rest
    return [Piece(f"{name} from {first}", work, (min(most, count - first), seed, first, *kind))
            for first in range(0, count, most)]


def all_of_it(count: int, seed: int) -> Report:
    """All of a run: every kernel, the flags of some, and each planted bug."""
    os.environ["PTO_DISABLE_CACHE"] = "1"
    bugs = [Piece(f"planted: {bug.name}", plant, (bug.name, min(count, WITHIN), seed)) for bug in BUGS]
    arrays = parts("kernels of arrays", judged, count * ARRAYS // COUNT, PART, seed, ArrayWriter)
    return told(side_by_side([*parts("kernels", judged, count, PART, seed), *arrays, *bugs,
                              *parts("flags of kernels", relations, count // FLAGS, MANY, seed)]), count)


if __name__ == "__main__":
    main("kernels", all_of_it, COUNT)
