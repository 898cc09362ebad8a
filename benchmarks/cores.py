"""How evenly two cores share a program: the work between two barriers of its busier core, added up.

`python benchmarks/cores.py [--json]` needs the fetched model. Each core runs alone, from barrier to barrier, and its
processor time counts: so the figures are those of the program, however busy the host and whatever its memory gives to
two cores at once. `speedup` is the work of both cores over that of the busier one: what two cores give at best.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

import pto as pt
from pto.models.catalog import find
from pto.models.llama.model import Llama, Session
from pto.sim.launch import Launch
from pto.sim.layout import ARRIVALS, CORES, CREW_BUDGET, CREW_RESULT, CREW_SPINS, Result

MODEL, CONTEXT = "smollm2-135m", 1024
PRECISIONS = "f32", "f16", "bf16", "w8a14", "w4a14"
TOKENS, AT = (1, 128, 512), 128
REPEATS = 5
ENDLESS = 1 << 40


def in_turn(launch: Launch) -> list[list[float]]:
    """Run the cores of a launch one after the other, between barriers; gives the seconds of each, each time."""
    frame, found = launch.frame, []
    left = set(range(len(frame.crews)))
    frame.contexts[:, CORES] = len(frame.crews) + 1  # we are one more core, that comes to each barrier last
    while left:
        seconds = [0.0] * len(frame.crews)
        for core in sorted(left):
            crew, start = frame.crews[core], time.thread_time()
            crew[CREW_SPINS], crew[CREW_RESULT] = 0, -1
            while crew[CREW_RESULT] not in (Result.DONE, Result.IDLE):
                crew[CREW_BUDGET] = ENDLESS
                launch.engine(frame.addresses[core], launch.code, 0)
                assert crew[CREW_RESULT] != Result.FAILED
            seconds[core] = time.thread_time() - start
            left -= {core} if crew[CREW_RESULT] == Result.DONE else set()
        found.append(seconds)
        frame.shared[ARRIVALS] += 1
    return found


@contextmanager
def watched() -> Iterator[list[list[list[float]]]]:
    """The times of each launch while the block runs."""
    found, run = [], Launch.run
    Launch.run = lambda launch: found.append(in_turn(launch))  # type: ignore[method-assign]
    try:
        yield found
    finally:
        Launch.run = run  # type: ignore[method-assign]


def phases(call: Callable[[], Any]) -> NDArray[np.float64]:
    """Seconds of each core between barriers, [phases, cores]: the least of some runs."""
    call()
    with watched() as found:
        for _ in range(REPEATS):
            call()
    return np.min(found, axis=0)


def shared(session: Session, ids: list[int], count: int) -> dict[str, float]:
    """The figures of one token after `AT` others, or of a prompt of `count`."""
    first = AT if count == 1 else 0
    session.rewind(0)
    session.feed(ids[:AT])

    def step() -> None:
        session.rewind(first)
        session.feed(ids[:count])
    times = phases(step)
    busier = times.max(1).sum()
    return {"ms": busier * 1e3, "speedup": times.sum() / busier, "barriers": len(times) - 1}


def main() -> None:
    pt.set_num_threads(2)
    figures: dict[str, float] = {}
    ids = np.random.default_rng(0).integers(100, 49_000, max(TOKENS)).tolist()
    for precision in PRECISIONS:
        session = Llama.load(find(MODEL), context=CONTEXT, precision=precision).session()
        for count in TOKENS:
            for name, value in shared(session, ids, count).items():
                figures[f"{name}_{precision}_{count}"] = round(float(value), 3)
                print(f"{f'{name}_{precision}_{count}':20} {value:10.3f}", file=sys.stderr)
    if "--json" in sys.argv:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
