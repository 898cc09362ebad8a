"""Random kernels at every level, on both machines and in other legal orders, against NumPy; and planted bugs.

Half of the kernels are of small integers, and every level computes exactly what NumPy does; the others are within
running error bounds. A kernel that fails is made small and printed as a file for `tests/passes/fuzz_cases`.
"""

from __future__ import annotations

import os

from tests.campaigns.report import Report, main
from tests.fuzz.generate import generate
from tests.fuzz.judge import Senseless, judge
from tests.fuzz.planted import BUGS, found_after
from tests.fuzz.shrink import shrink

COUNT = 20_000
WITHIN = 2000  # kernels, in which a planted bug is found
SHRUNK = 3  # failures that are made small
# Defects that are known and open, by what is said of them: each has a file in `tests/passes/fuzz_cases/open`.
OPEN = {"race on flag": "a back flag is set again before its wait where the loops between them are empty"}


def run(count: int, seed: int, first: int = 0) -> Report:
    """Judge `count` kernels, from the `first` of a seed on."""
    report = Report()
    start = seed * COUNT + first
    for number in range(start, start + count):
        one(report, number, len(report.failures) < SHRUNK)
    return report


def one(report: Report, number: int, small: bool) -> None:
    """Judge the kernel of a number."""
    case, used = generate(number)
    try:
        found = judge(case)
    except Senseless as err:
        report.fail(f"kernel {number} has no meaning: {err}")
        return
    if known := next((what for said, what in OPEN.items() if said in found.said and found.kind), ""):
        report.saw(f"open defect: {known}")
        return
    if found.kind:
        case = shrink(case) if small else case
        report.fail(f"kernel {number}, {found.kind}: {found.said}\n{case.text}")
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
            kind = what[0] if isinstance(what[0], str) else what[0][0]
            report.saw(f"argument: {kind}, {len(what) - 1} axes")


def plants(count: int, seed: int) -> Report:
    """Look for every planted bug among `count` kernels."""
    report = Report()
    for bug in BUGS:
        after = found_after(bug, count, seed * COUNT)
        report.saw(f"planted, found within {count}: {bug.name}" if after else "not found", after or 1)
        if not after:
            report.fail(f"not found among {count} kernels: {bug.name}")
    return report


def both(count: int, seed: int) -> Report:
    """All of a run."""
    os.environ["PTO_DISABLE_CACHE"] = "1"
    report = run(count, seed)
    report.add(plants(min(count, WITHIN), seed))
    return report


if __name__ == "__main__":
    main("kernels", both, COUNT)
