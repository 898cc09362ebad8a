"""Pieces of a long campaign side by side in processes, with a line after each: a run that is stopped has said what it
found.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from tests.campaigns.report import Report


@dataclass(frozen=True)
class Piece:
    """Part of a campaign: a function that a new process can import, and its arguments."""

    name: str
    work: Callable[..., Report]
    arguments: tuple[Any, ...]

    def run(self) -> Report:
        return self.work(*self.arguments)


def side_by_side(pieces: Sequence[Piece], workers: int | None = None) -> Report:
    """Run all pieces, one process a core. A process that dies is a broken promise: the pieces that it leaves are named.
    """
    report, start = Report(), time.perf_counter()
    spawning = multiprocessing.get_context("spawn")  # a fork would copy the compiler's state and its threads' locks
    with ProcessPoolExecutor(workers or os.cpu_count(), spawning) as pool:
        running = {pool.submit(piece.run): piece for piece in pieces}
        for done, future in enumerate(as_completed(running), start=1):
            piece = running[future]
            try:
                found = future.result()
            except BrokenProcessPool:
                found = Report(failures=[f"{piece.name}: a process died in it, or before it was begun"])
            report.add(found)
            print(f"{time.perf_counter() - start:6.0f} s  {done} of {len(pieces)}  {piece.name}: "
                  f"{len(found.failures)} broken promises", file=sys.stderr, flush=True)
            for failure in found.failures:
                print(failure, file=sys.stderr, flush=True)
    return report
