"""Fair timing on a shared machine: interleaved rounds in one process, thread CPU time, best and median."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds a call: the best round, and the median one."""

    best: float
    median: float


def race(calls: Mapping[str, Callable[[], object]], *, rounds: int = 11, least: float = 0.02,
         clock: Callable[[], float] = time.thread_time) -> dict[str, Timing]:
    """Time each call in every round, repeated until a round lasts `least` seconds."""
    repeats = {}
    for name, call in calls.items():
        call()
        start = clock()
        call()
        repeats[name] = max(1, int(least / max(clock() - start, 1e-7)))
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = clock()
            for _ in range(repeats[name]):
                call()
            seconds[name].append((clock() - start) / repeats[name])
    return {name: Timing(min(s), statistics.median(s)) for name, s in seconds.items()}
