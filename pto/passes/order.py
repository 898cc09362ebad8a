"""Happens-before of an Execution graph on a small schedule of its own: is every conflict ordered?

The schedule takes the outermost loops through three iterations, and each inner loop through three, two and
one in turn, which shows every way in which flags of consecutive iterations, restarted parities and loop boundaries can
meet. Then it goes through all again with only some of the loops that may be empty (`trips`): what a loop orders is
not ordered where it does not run. Order is that of each pipe plus, for each flag, each set before the wait that
consumes it. A flag is one bit, so each wait in its turn is before the next set. Clocks are one counter a pipe.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import Any, Protocol

from pto.core.types import TileType
from pto.ir.graph import Graph, Node
from pto.ir.ops import EXECUTION_OPS, FOR
from pto.isa.spec import Pipe
from pto.isa.table import sync
from pto.passes.accesses import Access, Accesses, span
from pto.passes.trips import Bounds, Course, Trips, at_least_once, at_most, courses, exactly

SYNC = EXECUTION_OPS[sync.SYNC_ALL.mnemonic]
PIPES = len(Pipe)
TRIPS = (3, 2, 1)
Place = tuple[int, int]  # a body, by its identity, and the key of a step in it
LIMIT = 6000  # steps; a deeper nest is taken through fewer iterations
WIDTH = 20  # bits of a pipe's field in a clock, the top one kept free for comparisons
ONE = [1 << WIDTH * p for p in range(PIPES)]
FIELD = [one * ((1 << WIDTH - 1) - 1) for one in ONE]
TOPS = sum(one << WIDTH - 1 for one in ONE)


class Relation(Protocol):
    """What the schedule needs to know of a flag."""

    @property
    def body(self) -> Graph: ...
    @property
    def src(self) -> Pipe: ...
    @property
    def after(self) -> int: ...
    @property
    def dst(self) -> Pipe: ...
    @property
    def before(self) -> int: ...
    @property
    def slots(self) -> int: ...
    @property
    def back(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Step:
    """One event: an access (pipe, reads and writes as (byte class, slot)), a set or wait of a flag, or (pipe -1) a
    barrier of all pipes."""

    pipe: int
    flag: int = -1
    slot: int = 0
    is_set: bool = False
    reads: tuple[Any, ...] = ()
    writes: tuple[Any, ...] = ()


# Pipe; flag and slot; whether it is set; the cells read, and written.
Touching = tuple[int, tuple[int, int], bool, list[int], list[int]]


@dataclass(frozen=True)
class Stretch:
    """Steps between two barriers, and how many sets of each (flag, slot) wait at its start."""

    steps: tuple[Step, ...]
    waiting: tuple[tuple[tuple[int, int], int], ...]
    program: list[Touching] = field(default_factory=list, compare=False, repr=False)

    @cached_property
    def flags(self) -> frozenset[int]:
        """Which are set or waited for here."""
        return frozenset(s.flag for s in self.steps)


class Schedule:
    """The steps of a graph with all candidate flags; asked again and again with fewer of them."""

    def __init__(self, accesses: Accesses, flags: Sequence[Relation],
                 homes: Mapping[int, Place] | None = None) -> None:
        """`homes`: for bodies whose back flags are primed before a step and drained after it, that step."""
        self.accesses, self.flags = accesses, list(flags)
        self.number = {id(f): n for n, f in enumerate(self.flags)}
        self.by_key = {(id(a.chain[-1]), a.key): a for a in accesses.all}
        self.owner = {n: accesses.home(n)[-1] for n, b in accesses.buffers.items() if b.slots > 1}
        self.primed: dict[Place | None, list[int]] = {}
        for n, flag in enumerate(self.flags):
            if flag.back:
                self.primed.setdefault((homes or {}).get(id(flag.body)), []).append(n)
        self.known = Trips(accesses.root)
        self.trips: tuple[int, ...] = TRIPS
        self.steps = self._all()
        while max(map(len, between_barriers(self.steps)), default=0) > LIMIT and len(self.trips) > 1:
            self.trips = self.trips[1:]
            self.steps = self._all()

    def _all(self) -> list[Step]:
        self.out: list[Step] = []
        self.entries: dict[int, int] = {}
        self.iteration: dict[int, int] = {}
        self._ends(None, is_set=True)
        self.course: Course | None = None  # of the loops that may be empty; None: all of them
        self.inside: list[Bounds] = []
        self.barriers = 0
        self.seen: dict[int, dict[frozenset[Bounds], None]] = {}
        self._body(self.accesses.root)
        for course in courses(self.seen.values()):  # flags stand as at the start; a barrier keeps the courses apart
            self.out.append(Step(-1))
            self.course = course
            self._body(self.accesses.root)
        return self.out

    def _ends(self, place: Place | None, *, is_set: bool) -> None:
        """Prime, or drain, the back flags of a step (None: of the program)."""
        for n in self.primed.get(place, ()):
            flag = self.flags[n]
            pipe = flag.src if is_set else flag.dst
            self.out += [Step(int(pipe), n, slot, is_set) for slot in range(flag.slots)]

    @cached_property
    def around(self) -> dict[tuple[int, int], list[tuple[int, Relation, bool]]]:
        """The flags before and after each node, with their numbers: is it set there?"""
        found: dict[tuple[int, int], list[tuple[int, Relation, bool]]] = {}
        for n, flag in enumerate(self.flags):
            found.setdefault((id(flag.body), flag.before), []).append((n, flag, False))
            found.setdefault((id(flag.body), flag.after), []).append((n, flag, True))
        return found

    def _body(self, body: Graph) -> None:
        for key, node in body.items():
            mine = self.around.get((id(body), key), ())
            self._ends((id(body), key), is_set=True)
            for n, flag, is_set in mine:
                if not is_set:
                    self.out.append(Step(int(flag.dst), n, self._slot(flag), False))
            self._node(body, key, node)
            for n, flag, is_set in mine:
                if is_set:
                    self.out.append(Step(int(flag.src), n, self._slot(flag), True))
            self._ends((id(body), key), is_set=False)

    def _node(self, body: Graph, key: int, node: Node) -> None:
        if node.op is FOR:
            self._loop(body, node)
        elif node.op is SYNC:
            self.barriers += 1
            self.out.append(Step(-1))
        elif (id(body), key) in self.by_key:
            self.out.append(self._access(self.by_key[id(body), key]))

    def _loop(self, outer: Graph, node: Node) -> None:
        if at_least_once(outer, node) and "grid" not in dict(node.attrs):  # a core may have no block of a grid
            self._turns(outer, node)
            return
        bounds = self.known.bounds(outer, node)
        if self.course is not None and self.iteration.get(bounds.home, 0) not in self.course.get(bounds, ()):
            return
        self.inside.append(bounds)
        if self.course is None:
            self.seen.setdefault(self.barriers, {})[frozenset(self.inside)] = None
        self._turns(outer, node)
        self.inside.pop()

    def _turns(self, outer: Graph, node: Node) -> None:
        """Go through a loop as often as it is the turn of."""
        body = node.body
        assert body is not None
        for iteration in range(self._count(outer, node)):
            self.iteration[id(body)] = iteration
            self._body(body)

    def _count(self, outer: Graph, node: Node) -> int:
        """How many iterations of a loop to take; of a constant number as many, or as odd or even a number."""
        entry = self.entries[id(node.body)] = self.entries.get(id(node.body), -1) + 1
        known, most = exactly(outer, node), max(self.trips)
        if known is not None and most == max(TRIPS):
            return known if known <= most else most + (known - most) % 2
        count = most if outer.outer is None else self.trips[entry % len(self.trips)]
        return min(count, at_most(outer, node))

    def _slot(self, flag: Relation) -> int:
        return self.iteration.get(id(flag.body), 0) % 2 if flag.slots > 1 else 0

    def _place(self, name: str) -> Any:
        """A buffer, and which of its slots in this iteration."""
        owner = self.owner.get(name)
        return name, self.iteration.get(id(owner), 0) % 2 if owner is not None else -1

    def _access(self, access: Access) -> Step:
        return Step(int(access.pipe), reads=tuple(map(self._place, sorted(access.reads))),
                    writes=tuple(map(self._place, sorted(access.writes))))

    @cached_property
    def cells(self) -> dict[Any, range]:
        """The numbers of the cells of each place that a step touches; places share cells where they share bytes."""
        places = dict.fromkeys(p for step in self.steps for p in (*step.reads, *step.writes))
        spans = {place: self._bytes(*place) for place in places}
        ends = sorted({(span[0], at) for span in spans.values() for at in span[1:]})
        number = {end: n for n, end in enumerate(ends)}
        return {place: range(number[kind, low], number[kind, high]) for place, (kind, low, high) in spans.items()}

    def _bytes(self, name: str, slot: int) -> tuple[str, int, int]:
        """Memory, first byte, and the first byte after a place; a tensor in global memory is one byte."""
        buffer = self.accesses.buffers.get(name)
        if buffer is None:
            return name, 0, 1
        assert isinstance(buffer.type, TileType) and buffer.type.space is not None
        size, (low, high) = buffer.type.nbytes, span(buffer)
        return buffer.type.space.value, *((low, high) if slot < 0 else (low + slot * size, low + (slot + 1) * size))

    @cached_property
    def stretches(self) -> list[Stretch]:
        """The schedule cut at its barriers: what one orders needs no further look. Like stretches are one."""
        waiting: Counter[tuple[int, int]] = Counter()
        found: dict[Stretch, None] = {}
        for steps in between_barriers(self.steps):
            before = tuple(sorted((flag, n) for flag, n in waiting.items() if n))
            for step in steps:
                if step.flag >= 0:
                    waiting[step.flag, step.slot] += 1 if step.is_set else -1
            found[Stretch(steps, before)] = None
        for stretch in found:
            stretch.program[:] = [self._touching(step) for step in stretch.steps]
        return list(found)

    def _touching(self, step: Step) -> Touching:
        read, wrote = ([n for p in places for n in self.cells[p]] for places in (step.reads, step.writes))
        return step.pipe, (step.flag, step.slot), step.is_set, read, wrote

    def ordered(self, flags: Sequence[Relation], without: Relation | None = None) -> bool:
        """Is every conflict ordered with these flags alone?

        With `without`, a flag that these lack and with which all was ordered, only its own stretches are looked at.
        """
        live = {self.number[id(f)] for f in flags}
        gone = None if without is None else self.number[id(without)]
        return all(self._ordered(s, live) for s in self.stretches if gone is None or gone in s.flags)

    def _ordered(self, stretch: Stretch, live: set[int]) -> bool:
        """Is every conflict of a stretch ordered, and every wait before the next set of its flag?

        A clock is one integer with a field for each pipe; `(a | TOPS) - b & TOPS == TOPS` says that no field of b is
        above that of a, for all pipes at once.
        """
        clocks = [0] * PIPES
        carried = {flag: deque([0] * n) for flag, n in stretch.waiting}
        size = max((cells.stop for cells in self.cells.values()), default=0)
        reads, writes = [0] * size, [0] * size
        waits: dict[tuple[int, int], int] = {}
        for pipe, bit, is_set, read, wrote in stretch.program:
            if bit[0] < 0:
                clock = clocks[pipe] = clocks[pipe] + ONE[pipe]
                if not _touched(clock, FIELD[pipe], (reads, read), (writes, wrote)):
                    return False
            elif bit[0] in live:
                queue = carried.setdefault(bit, deque())
                if is_set:
                    if ((clocks[pipe] | TOPS) - waits.get(bit, 0)) & TOPS != TOPS:
                        return False
                    queue.append(clocks[pipe])
                else:
                    clock = clocks[pipe] = joined(clocks[pipe], queue.popleft()) + ONE[pipe]
                    waits[bit] = clock & FIELD[pipe]
        return True


def _touched(clock: int, mine: int, reading: tuple[list[int], list[int]], writing: tuple[list[int], list[int]]) -> bool:
    """Note that a pipe reads and writes cells, each with the clocks of those that did; False: it was too early."""
    (reads, read), (writes, wrote) = reading, writing
    known = clock | TOPS
    for n in read:
        if (known - writes[n]) & TOPS != TOPS:
            return False
        reads[n] = reads[n] & ~mine | clock & mine
    for n in wrote:
        if (known - writes[n]) & (known - reads[n]) & TOPS != TOPS:
            return False
        writes[n] = writes[n] & ~mine | clock & mine
    return True


def between_barriers(steps: Sequence[Step]) -> Iterator[tuple[Step, ...]]:
    """The steps before, between and after the barriers of all pipes."""
    for is_barrier, stretch in groupby(steps, lambda s: s.pipe < 0):
        if not is_barrier:
            yield tuple(stretch)


def joined(a: int, b: int) -> int:
    """The larger of two clocks, pipe by pipe."""
    above = (a | TOPS) - b & TOPS  # the top bit of each field of a that is not below that of b
    mine = above - (above >> WIDTH - 1)
    return a & mine | b & ~mine
