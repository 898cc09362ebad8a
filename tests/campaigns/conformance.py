"""The fast machine against the meaning: every legal instruction, element type, layout and tail; and all conversions.

`python -m tests.campaigns.conformance` runs all of it, `--only tadd,tcvt` some instructions. A vector is one use of an
instruction on random and special values, all of whose operands are compared afterwards: in exact mode bit for bit, in
fast mode within the bounds of `tests.sim.bounds`. It ends with 1 where anything differs.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from pto.core.types import Layout
from pto.isa.spec import Instr, Route
from pto.isa.table import TABLE
from pto.sim.machine import Machine
from pto.sim.slow import SlowMachine
from tests.campaigns import conversions
from tests.sim.bounds import APPROXIMATE, FOLDS, ROUNDING, is_near, is_near_fold, terms_of
from tests.sim.cases import Case, joined

VECTORS, SEED = 16, 0
TAILS = {"whole": 32, "one more": 33, "one less": 31, "few": 5}  # elements along the lanes of a register
ACROSS = ("rows", "m")


@dataclass(frozen=True, slots=True)
class Legal:
    """An instruction with places and element types of its operands, and how many elements end a row."""

    row: Instr
    route: Route
    types: tuple[str, ...]
    tail: str

    def __str__(self) -> str:
        places = " ".join(f"{space.value}.{layout.value}" if space else "gm" for space, layout in self.route.places)
        return f"{self.row.mnemonic} {' '.join(self.types)}, {places}, {self.tail}"

    @property
    def number(self) -> tuple[int, ...]:
        row = self.row
        return row.opcode, row.routes.index(self.route), row.dtypes.index(self.types), list(TAILS).index(self.tail)


def all_legal(rows: tuple[Instr, ...] = TABLE) -> Iterator[Legal]:
    """Every legal tuple of the rows that touch tiles or tensors."""
    for row in rows:
        yield from itertools.starmap(Legal, itertools.product((row,), row.routes, row.dtypes, TAILS))


def extents(legal: Legal, rng: np.random.Generator) -> dict[str, int]:
    """Extents with the tail along the lanes: rows where every tile lies in columns, else columns."""
    layouts = {layout for space, layout in legal.route.places if space}
    long, short = TAILS[legal.tail], int(rng.integers(1, 6))
    if rng.random() < 0.05:
        short = 0
    names = ("n", "k", "cols", "width") if layouts != {Layout.COL} else ("rows",)
    every = {name: long if name in names else short for name in ("rows", "cols", "m", "n", "k", "width")}
    return every | {"count": int(rng.integers(0, long + 2))}


def bits(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x).view(np.uint8)


def agrees(case: Case, meant: list[np.ndarray], fast: list[np.ndarray]) -> bool:
    """Whether fast mode is within the bound of the case's instruction."""
    row = case.row
    for number, (one, two) in enumerate(zip(meant, fast, strict=True)):
        result = number == case.drained.get(case.used[row.operands[0].name][0]) if row in (*FOLDS, *APPROXIMATE) else 0
        close = is_near(one, two, APPROXIMATE.get(row, 1)) if result else bits(one) == bits(two)
        if result and row in FOLDS and case.types["dst"] in ROUNDING:
            rows, cols = case.numbers["rows"], case.numbers["cols"]
            a, b = (case.arrays[case.filled[case.used[n][0]]][:rows, :cols] if n in case.used else None
                    for n in "ab")
            terms = terms_of(row, a, b)
            close[:rows, 0] = is_near_fold(row, terms, one[:rows, 0], two[:rows, 0])
        if not close.all():
            return False
    return True


def ran(machine: Machine | SlowMachine, arrays: list[np.ndarray]) -> list[np.ndarray]:
    tensors = [array.copy() for array in arrays]
    machine.run(tensors, [])
    return tensors


def judge(legal: Legal, vectors: int, seed: int) -> list[str]:
    """Run some vectors; gives a line for each that differs."""
    rng = np.random.default_rng([seed, *legal.number])
    cases = [Case(rng, legal.row, legal.route, legal.types, extents(legal, rng)) for _ in range(vectors)]
    program, arrays, starts = joined(cases)
    meant = ran(SlowMachine(program), arrays)
    exact, fast = ran(Machine(program, exact=True), arrays), ran(Machine(program), arrays)
    faults = []
    for number, (case, start) in enumerate(zip(cases, starts, strict=True)):
        own = slice(start, start + len(case.arrays))
        if any(not np.array_equal(bits(a), bits(b)) for a, b in zip(meant[own], exact[own], strict=True)):
            faults.append(f"{legal}, vector {number}: exact mode differs")
        elif not agrees(case, meant[own], fast[own]):
            faults.append(f"{legal}, vector {number}: fast mode is out of bounds")
    return faults


def judge_row(row: Instr, vectors: int, seed: int) -> tuple[str, int, list[str]]:
    """All tuples of a row: its name, how many there are, and what differs."""
    every = list(all_legal((row,)))
    return row.mnemonic, len(every), [fault for legal in every for fault in judge(legal, vectors, seed)]


def judged(rows: list[Instr], vectors: int, seed: int, jobs: int) -> Iterator[tuple[str, int, list[str]]]:
    """The rows, in some processes or in this one."""
    arguments = rows, itertools.repeat(vectors), itertools.repeat(seed)
    if jobs == 1:
        yield from map(judge_row, *arguments)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(judge_row, *arguments)


def campaign(rows: list[Instr], vectors: int, seed: int, jobs: int) -> int:
    """Print a line for each row and what differs; gives how much does."""
    total: Counter[str] = Counter()
    print(f"{'instruction':<18}{'tuples':>8}{'vectors':>9}{'mismatches':>12}")
    faults: list[str] = []
    for name, tuples, found in judged(rows, vectors, seed, jobs):
        print(f"{name:<18}{tuples:>8}{tuples * vectors:>9}{len(found):>12}", flush=True)
        total.update(tuples=tuples, vectors=tuples * vectors, mismatches=len(found))
        faults += found
    print(f"{'all':<18}{total['tuples']:>8}{total['vectors']:>9}{total['mismatches']:>12}")
    for fault in faults[:40]:
        print(fault)
    return len(faults)


def main() -> int:
    """The command line; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=VECTORS, help="vectors of each tuple")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--only", default="", help="mnemonics, with commas")
    given = parser.parse_args()
    names = given.only.split(",") if given.only else []
    rows = [row for row in TABLE if row.memory and (not names or row.mnemonic in names)]
    start = time.perf_counter()
    wrong = campaign(rows, given.count, given.seed, given.jobs)
    if not names or "tcvt" in names:
        wrong += conversions.campaign()
    print(f"{time.perf_counter() - start:.0f} s")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
