"""Finds what no flag orders: conflicting accesses that legal executions perform either way round.

An access happens before another where a chain of these leads from one to the other: the order of one
pipe of one core; a set_flag and the wait_flag that consumes it; an event_set and the event_wait that takes it;
the barriers; what the scalar unit itself does before it issues an instruction. Every event carries a vector
clock over pipes of cores, so a pair is one comparison.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pto.isa.program import Inst, Program
from pto.isa.spec import Kind, Pipe
from pto.isa.table import sync
from pto.sim.access import Access, Race
from pto.sim.regions import Region
from pto.sim.slow import Barrier, Event, Flag, SlowMachine, flag_name
from pto.sim.waiting import event_name

Place = tuple[str, int, int]  # a memory of a core, a tensor, or a flag of a core
PIPES = len(Pipe)
FLAG_ROWS = (sync.SET_FLAG.mnemonic, sync.WAIT_FLAG.mnemonic)


@dataclass(frozen=True, slots=True)
class Relation:
    """The set_flag and wait_flag instructions that share ids of one ordered pair of pipes."""

    src: Pipe
    dst: Pipe
    ids: frozenset[int]
    pcs: frozenset[int]

    def __str__(self) -> str:
        return f"{self.src.name} -> {self.dst.name}, ids {sorted(self.ids)}, at {sorted(self.pcs)}"


@dataclass(frozen=True, slots=True)
class _Use:
    """An access of the event with this index, as a box that tells most pairs apart."""

    event: int
    writes: bool
    region: Region | None
    box: tuple[int, int, int, int]  # rows, then columns or bytes; ends are exclusive


def races(program: Program, tensors: Sequence[NDArray[Any]], parameters: Sequence[int] = (),
          cores: int = 1) -> list[Race]:
    """Races on memories and tensors, in program order, one for each pair of instructions.

    The program runs in program order, on copies of the tensors.
    """
    events = traced(program, tensors, parameters, cores)
    return _races(program, events, _memory_uses(events))


def flag_races(program: Program, tensors: Sequence[NDArray[Any]], parameters: Sequence[int] = (),
               cores: int = 1) -> list[Race]:
    """Flags that another legal execution would set while they are set, as races on the flag.

    So are two event_set of one event whose order is not known: which of them a wait takes would not be, either.
    """
    events = traced(program, tensors, parameters, cores)
    uses: dict[Place, list[_Use]] = defaultdict(list)
    for i, event in enumerate(events):
        flag = event.sets or event.waits
        if flag:
            uses[flag_name(flag), event.core, 0].append(_Use(i, True, None, (0, 1, 0, 1)))
        if event.sends:
            uses[event_name(event.sends), event.core, 0].append(_Use(i, True, None, (0, 1, 0, 1)))
    return _races(program, events, uses)


def traced(program: Program, tensors: Sequence[NDArray[Any]], parameters: Sequence[int],
           cores: int) -> list[Event]:
    """What a run in program order performs, on copies of the tensors."""
    machine = SlowMachine(program, cores=cores, trace=True)
    machine.run([np.array(tensor) for tensor in tensors], parameters)
    return machine.events


def clocks(events: Sequence[Event], cores: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each event's chain (a pipe of a core), and how many events of each chain happen before or at it."""
    chains = np.array([event.core * PIPES + event.pipe for event in events], np.int64)
    table = np.zeros((len(events), cores * PIPES), np.int64)
    now = np.zeros((cores * PIPES, cores * PIPES), np.int64)
    pending: dict[tuple[object, ...], deque[int]] = defaultdict(deque)
    synced = [0] * cores
    arrived: dict[int, NDArray[np.int64]] = {}  # by sync_all: the clocks of all that have come to it
    for i, event in enumerate(events):
        chain, first = chains[i], event.core * PIPES
        clock = np.maximum(now[chain], now[first + Pipe.S])
        for key in (event.waits and (event.core, event.waits), event.takes):
            if key:
                clock = np.maximum(clock, table[pending[key].popleft()])
        if event.barrier is Barrier.LEFT:
            clock, synced[event.core] = np.maximum(clock, arrived[synced[event.core]]), synced[event.core] + 1
        elif event.barrier:
            clock = np.maximum(clock, now[first:first + PIPES].max(axis=0))
        clock[chain] += 1
        table[i] = now[chain] = clock
        if event.barrier is Barrier.ARRIVED:
            number = synced[event.core]
            arrived[number] = np.maximum(arrived.get(number, 0), clock)
        for key in (event.sets and (event.core, event.sets), event.sends):
            if key:
                pending[key].append(i)
    return chains, table


def relations(program: Program, tensors: Sequence[NDArray[Any]], parameters: Sequence[int] = (),
              cores: int = 1) -> list[Relation]:
    """Every flag relation of a program, in the order of its first instruction.

    An instruction has the ids that it took in this run, and its id where that is an immediate.
    """
    used: dict[int, set[Flag]] = defaultdict(set)
    for event in traced(program, tensors, parameters, cores):
        flag = event.sets or event.waits
        if flag:
            used[event.pc].add(flag)
    for pc, inst in enumerate(program.code):
        fixed = _fixed_flag(inst)
        if fixed:
            used[pc].add(fixed)
    found: list[tuple[set[Flag], set[int]]] = []
    for pc, flags in sorted(used.items()):
        joined = [group for group in found if group[0] & flags]
        all_flags, all_pcs = set(flags).union(*(g[0] for g in joined)), {pc}.union(*(g[1] for g in joined))
        found = [*(group for group in found if group not in joined), (all_flags, all_pcs)]
    ordered = sorted(found, key=lambda group: min(group[1]))
    return [_relation(flags, pcs) for flags, pcs in ordered]


def remove(program: Program, relation: Relation) -> Program:
    """The program without the sets and waits of a relation."""
    return without(program, relation.pcs)


def without(program: Program, pcs: Iterable[int]) -> Program:
    """The program without some instructions; a label on one of them names what follows."""
    gone = set(pcs)
    kept = [pc for pc in range(len(program.code)) if pc not in gone]
    moved = np.cumsum([0, *(pc not in gone for pc in range(len(program.code)))]).tolist()
    code = tuple(_relabelled(program.code[pc], moved) for pc in kept)
    lines = tuple(program.lines[pc] for pc in kept if pc < len(program.lines))
    return replace(program, code=code, lines=lines)


def _relabelled(inst: Inst, moved: list[int]) -> Inst:
    args = list(inst.args)
    for i, operand in enumerate(inst.spec.operands):
        target = args[i]
        if operand.kind is Kind.LABEL and isinstance(target, int):
            args[i] = moved[target]
    return replace(inst, args=tuple(args))


def _fixed_flag(inst: Inst) -> Flag | None:
    """The flag of an instruction whose id is no register."""
    if inst.spec.mnemonic not in FLAG_ROWS:
        return None
    src, dst, number = inst.args
    if not (isinstance(src, int) and isinstance(dst, int) and isinstance(number, int)):
        return None
    return Pipe(src), Pipe(dst), number


def _relation(flags: set[Flag], pcs: set[int]) -> Relation:
    src, dst, _ = next(iter(flags))
    return Relation(src, dst, frozenset(flag[2] for flag in flags), frozenset(pcs))


def _memory_uses(events: Sequence[Event]) -> dict[Place, list[_Use]]:
    """The accesses to each memory of each core and to each tensor, in the order of events."""
    uses: dict[Place, list[_Use]] = defaultdict(list)
    for i, event in enumerate(events):
        for writes, regions in ((False, event.reads), (True, event.writes)):
            for region in regions:
                if not region.is_empty:
                    uses[_place(event, region)].append(_Use(i, writes, region, (0, 1, 0, 1)))
    return {place: _boxed(users) for place, users in uses.items()}


def _place(event: Event, region: Region) -> Place:
    return ("gm", -1, region.slot) if region.space is None else (region.space.value, event.core, 0)


def _boxed(users: list[_Use]) -> list[_Use]:
    """The users with their boxes: windows of a tensor exactly; else the bytes from first to last."""
    regions = [user.region for user in users if user.region]
    windows = all(r.space is None and (r.start, r.step, r.pitch) == (0, 1, regions[0].pitch) for r in regions)
    return [replace(user, box=_box(region, windows)) for user, region in zip(users, regions, strict=True)]


def _box(region: Region, window: bool) -> tuple[int, int, int, int]:
    if window:
        return region.row, region.row + region.rows, region.col, region.col + region.cols
    return 0, 1, region.pieces()[0], region.end


def _races(program: Program, events: Sequence[Event], uses: dict[Place, list[_Use]]) -> list[Race]:
    cores = 1 + max((event.core for event in events), default=0)
    chains, table = clocks(events, cores)
    pairs: list[tuple[int, int, Race]] = []
    for place, users in uses.items():
        for one, two in _unordered(users, chains, table):
            race = _race(program, events, place, one, two)
            if race is not None:
                pairs.append((two.event, one.event, race))
    found: dict[tuple[object, ...], Race] = {}
    for _, _, race in sorted(pairs, key=lambda pair: pair[:2]):
        first, second = race.first, race.second
        key = (first.place, first.core, first.pc, second.core, second.pc)
        found[key] = replace(found[key], count=found[key].count + 1) if key in found else race
    return list(found.values())


def _unordered(users: list[_Use], chains: NDArray[np.int64],
               table: NDArray[np.int64]) -> Iterable[tuple[_Use, _Use]]:
    """Pairs of accesses, the earlier in program order first, that touch one box and are not ordered."""
    boxes = np.array([use.box for use in users], np.int64).T
    writes = np.array([use.writes for use in users])
    index = np.array([use.event for use in users])
    chain = chains[index]
    rank = table[index, chain]
    for i, use in enumerate(users):
        top, bottom, left, right = use.box
        clash = (boxes[0, :i] < bottom) & (boxes[1, :i] > top)
        clash &= (boxes[2, :i] < right) & (boxes[3, :i] > left)
        clash &= (writes[:i] | use.writes) & (rank[:i] > table[use.event, chain[:i]])
        for j in np.flatnonzero(clash):
            yield users[j], use


def _race(program: Program, events: Sequence[Event], place: Place, one: _Use,
          two: _Use) -> Race | None:
    """The race of two unordered accesses, if they share a byte."""
    start, stop = shared(one.region, two.region) if one.region and two.region else (0, 1)
    if start >= stop:
        return None
    name, core, slot = place
    if core < 0:
        name = f"tensor {program.tensors[slot].name}"
    first, second = (_access(program, events, use, name, (start, stop)) for use in (one, two))
    return Race(first, second)


def _access(program: Program, events: Sequence[Event], use: _Use, place: str,
            span: tuple[int, int]) -> Access:
    event = events[use.event]
    mnemonic = program.code[event.pc].spec.mnemonic
    loc = program.span(event.pc)
    return Access(event.pc, event.pipe, event.core, mnemonic, use.writes, place, *span, loc)


def shared(one: Region, two: Region) -> tuple[int, int]:
    """The first run of bytes that two regions of one memory share; empty where they share none."""
    others = list(two.runs())
    stops = [stop for _, stop in others]
    for start, stop in one.runs():
        at = int(np.searchsorted(stops, start, side="right"))
        if at < len(others) and others[at][0] < stop:
            return max(start, others[at][0]), min(stop, others[at][1])
    return 0, 0
