"""What races and what reads of unwritten bytes there are, by brute force over a trace of the slow machine.

Each event knows every event that must happen before it; every pair that is not ordered is compared byte by byte.
Nothing is shared with the watch of the fast machine, nor with the vector clocks of `pto.sim.happens_before`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pto.core.errors import PtoError
from pto.isa.program import Program
from pto.isa.spec import Pipe
from pto.sim.regions import Region
from pto.sim.slow import Barrier, Event, SlowMachine

Side = tuple[int, int, Pipe]  # core, pc, pipe
Pair = tuple[Side, Side]


@dataclass(frozen=True)
class Trace:
    """What the slow machine performed, and why it stopped, if not at the end."""

    events: tuple[Event, ...]
    error: PtoError | None


def traced(program: Program, tensors: Sequence[np.ndarray], parameters: Sequence[int], cores: int) -> Trace:
    """A run in program order."""
    machine, error = SlowMachine(program, cores=cores, trace=True), None
    try:
        machine.run([tensor.copy() for tensor in tensors], parameters, fuel=20_000)
    except PtoError as err:
        error = err
    return Trace(tuple(machine.events), error)


def before(events: Sequence[Event]) -> list[int]:
    """For each event, the set of those that happen before it in every legal execution, as bits."""
    order = _Order()
    for event in events:
        order.add(event)
    return order.before


class _Order:
    """What is known of the events so far."""

    def __init__(self) -> None:
        self.before: list[int] = []
        self.last: dict[tuple[int, Pipe], int] = {}  # of each pipe of a core: its last event
        self.sent: dict[object, list[int]] = defaultdict(list)  # of each flag and event: what set it, not yet taken
        self.comings: dict[tuple[int, int], int] = {}  # to a sync_all, by core and number
        self.goings: dict[int, int] = defaultdict(int)  # from them, by core

    def add(self, event: Event) -> None:
        """One more event."""
        number, bits = len(self.before), 0
        for earlier in self._edges(event):
            bits |= self.before[earlier] | 1 << earlier
        self.before.append(bits)
        self.last[event.core, event.pipe] = number
        for key in (event.sets and (event.core, event.sets), event.sends):
            if key:
                self.sent[key].append(number)
        if event.barrier is Barrier.ARRIVED:
            self.comings[event.core, sum(core == event.core for core, _ in self.comings)] = number

    def _edges(self, event: Event) -> Iterator[int]:
        """Events that come directly before one."""
        pipes = tuple(Pipe) if event.barrier is not None else (event.pipe, Pipe.S)
        yield from (self.last[event.core, pipe] for pipe in pipes if (event.core, pipe) in self.last)
        for key in (event.waits and (event.core, event.waits), event.takes):
            if key:
                yield self.sent[key].pop(0)
        if event.barrier is Barrier.LEFT:
            number = self.goings[event.core]
            yield from (at for (_, which), at in self.comings.items() if which == number)
            self.goings[event.core] += 1


def races(events: Sequence[Event]) -> set[Pair]:
    """Every pair of accesses to one byte, one of them a write, or to one flag or event, that nothing orders."""
    known, found = before(events), set()
    for uses in _uses(events).values():
        for n, (j, writes, mine) in enumerate(uses):
            for i, wrote, theirs in uses[:n]:
                if (writes or wrote) and i != j and not known[j] >> i & 1 and _share(mine, theirs):
                    found.add(pair(_side(events[i]), _side(events[j])))
    return found


def pair(one: Side, two: Side) -> Pair:
    return (one, two) if one <= two else (two, one)


def _side(event: Event) -> Side:
    return event.core, event.pc, event.pipe


Use = tuple[int, bool, tuple[tuple[int, int], ...]]  # event, whether it writes, runs of bytes


def _uses(events: Sequence[Event]) -> dict[object, list[Use]]:
    """What is used, by whom: memories, tensors, flags, events."""
    uses: dict[object, list[Use]] = defaultdict(list)
    for i, event in enumerate(events):
        for writes, regions in ((False, event.reads), (True, event.writes)):
            for region in regions:
                place = ("tensor", region.slot) if region.space is None else (region.space, event.core)
                uses[place].append((i, writes, tuple(region.runs())))
        flag = event.sets or event.waits
        if flag:
            uses["flag", flag, event.core].append((i, True, ((0, 1),)))
        if event.sends:
            uses["event", event.sends].append((i, True, ((0, 1),)))
    return uses


def _share(one: tuple[tuple[int, int], ...], two: tuple[tuple[int, int], ...]) -> bool:
    """Whether runs in rising order share a byte."""
    if not one or not two or one[-1][1] <= two[0][0] or two[-1][1] <= one[0][0]:
        return False
    i = j = 0
    while i < len(one) and j < len(two):
        if max(one[i][0], two[j][0]) < min(one[i][1], two[j][1]):
            return True
        i, j = (i + 1, j) if one[i][1] <= two[j][1] else (i, j + 1)
    return False


def unwritten(events: Sequence[Event]) -> dict[int, int]:
    """By core, the pc of its first read of a byte of its memories that nothing has written."""
    written: dict[object, np.ndarray] = {}
    first: dict[int, int] = {}
    for event in events:
        for region in event.reads:
            if region.space and not all(_bytes(written, event, region)[a:b].all() for a, b in region.runs()):
                first.setdefault(event.core, event.pc)
        for region in event.writes:
            for a, b in region.runs() if region.space else ():
                _bytes(written, event, region)[a:b] = True
    return first


def _bytes(written: dict[object, np.ndarray], event: Event, region: Region) -> np.ndarray:
    return written.setdefault((event.core, region.space), np.zeros(1 << 20, bool))
