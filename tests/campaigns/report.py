"""What a campaign saw and what it holds against the project, as a table; and its command line."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

SHOWN = 20  # failures that are printed; the rest is counted


@dataclass
class Report:
    """Counts by what was seen, and each broken promise in words."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def saw(self, what: str, times: int = 1) -> None:
        self.counts[what] += times

    def fail(self, what: str) -> None:
        self.failures.append(what)

    def add(self, other: Report) -> None:
        self.counts.update(other.counts)
        self.failures += other.failures

    def of(self, start: str) -> int:
        """How often something was seen whose name starts so."""
        return sum(n for what, n in self.counts.items() if what.startswith(start))

    def table(self, name: str) -> str:
        """All of it, one line each."""
        lines = [f"{n:>9}  {what}" for what, n in sorted(self.counts.items())]
        lines.append(f"{len(self.failures):>9}  broken promises")
        lines += [f"           {failure}" for failure in self.failures[:SHOWN]]
        return "\n".join((name, *lines))


def main(name: str, run: Callable[[int, int], Report], count: int) -> None:
    """The command line of a campaign; exits with 1 where a promise is broken."""
    parser = argparse.ArgumentParser(description=name)
    parser.add_argument("--count", type=int, default=count, help=f"how much of it; {count} is all")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    start = time.perf_counter()
    report = run(chosen.count, chosen.seed)
    took = time.perf_counter() - start
    print(report.table(f"{name}, count {chosen.count}, seed {chosen.seed}: {took:.0f} s"), flush=True)
    sys.exit(bool(report.failures))
