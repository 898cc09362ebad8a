"""Other processes that compile functions of the machine into the object cache, while this one compiles some, too.

LLVM and Numba work on one function at a time in a process. A process is told names and nothing else; what it leaves
behind is read from the cache like any other entry, and what it leaves out is compiled here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pto.core.processors import available

FEW = 6  # functions that compile in about the time in which another process starts
PATIENCE = 300  # seconds
COMMAND = "import sys; from pto.sim.jit import compile_here; compile_here(sys.argv[1:])"
ROOT = Path(__file__).resolve().parents[2]


def shares(names: Sequence[str]) -> list[Sequence[str]]:
    """Functions for each process, those of this one first."""
    count = max(min(available(), len(names) // FEW), 1)
    if not sys.executable or getattr(sys, "frozen", False):  # there is no Python to start
        count = 1
    return [names[i::count] for i in range(count)]


@contextmanager
def compiled(others: Sequence[Sequence[str]]) -> Iterator[None]:
    """Each share is compiled by a process while the body runs; after it they have ended, or were ended."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    running = [subprocess.Popen([sys.executable, "-c", COMMAND, *names], env={**os.environ, "PYTHONPATH": path},
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
               for names in others]
    try:
        yield
        with suppress(subprocess.TimeoutExpired):  # what it leaves out is compiled here
            for process in running:
                process.wait(PATIENCE)
    finally:
        for process in running:
            process.kill()
            process.wait()
