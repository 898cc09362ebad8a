"""How many host threads, and with them virtual cores, kernels use."""

from __future__ import annotations

from operator import index
from typing import Any

from pto.core.errors import Loc, UsageError

LIMIT = 256
_count = 1


def get_num_threads() -> int:
    """Host threads that a kernel's cores share; 1 unless set."""
    return _count


def set_num_threads(count: Any) -> None:
    """Let kernels use so many host threads from now on, each one virtual core. Results do not depend on it.

    Raises:
        UsageError: it is no number from 1 to 256.
    """
    global _count
    try:
        number = index(count)
    except TypeError:
        number = 0
    if not 1 <= number <= LIMIT:
        raise UsageError(f"a number of threads is an integer from 1 to {LIMIT}, not {count!r}", loc=Loc.of_user())
    _count = number
