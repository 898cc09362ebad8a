"""Happens-before of an Execution graph on a small schedule of its own: is every conflict ordered?

The schedule takes the outermost loops through three iterations, and each inner loop through three, two and
one in turn, which shows every way in which flags of consecutive iterations, restarted parities and loop boundaries can
meet. Then it goes through all again with only some of the loops that may be empty (`trips`): what a loop orders is
not ordered where it does not run. Order is that of each pipe plus, for each flag, each set before the wait that
consumes it. A flag is one bit, so each wait in its turn is before the next set. Clocks are one counter a pipe.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby

from pto.core.errors import Loc
from pto.core.types import TileType
from pto.ir.graph import Graph, Node
from pto.ir.ops import FOR
from pto.isa.spec import Pipe
from pto.passes.accesses import Access, Accesses, span
from pto.passes.insert_barriers import BARRIERS
from pto.passes.trips import BRIEF, Bounds, Course, Trail, Trips, brief_courses, courses

PIPES = len(Pipe)
TRIPS = (3, 2, 1)
LIMIT = 6000  # steps; a deeper nest is taken through fewer iterations
WIDTH = 20  # bits of a pipe's field in a clock, the top one kept free for comparisons
ONE = [1 << WIDTH * p for p in range(PIPES)]
FIELD = [one * ((1 << WIDTH - 1) - 1) for one in ONE]
TOPS, FIELDS = sum(one << WIDTH - 1 for one in ONE), sum(FIELD)
Place = tuple[str, int]  # a buffer, and its slot, or -1
Key = tuple[int, int]  # a body, by its identity, and the key of a node in it


@dataclass(frozen=True, eq=False)
class Flag:
    """A flag relation: set by `src` after item `after` of a body, waited for by `dst` before item `before`.

    `locs` are the spans of two accesses that it orders.
    """

    body: Graph
    src: Pipe
    after: int
    dst: Pipe
    before: int
    slots: int
    back: bool
    locs: tuple[Loc, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One event: accesses of a pipe, or a set or wait of a flag."""

    pipe: int
    flag: int = -1
    slot: int = 0
    is_set: bool = False
    reads: tuple[Place, ...] = ()
    writes: tuple[Place, ...] = ()


Touching = tuple[Step, tuple[tuple[int, bool], ...]]  # the cells that it touches: does it write them?


@dataclass(frozen=True, slots=True)
class Run:
    """Accesses of one pipe with nothing between them, as one: what orders one of them orders all."""

    pipe: Pipe
    reads: tuple[str, ...]
    writes: tuple[str, ...]

    @classmethod
    def of(cls, accesses: Sequence[Access]) -> Run:
        """All of them."""
        reads = dict.fromkeys(name for access in accesses for name in sorted(access.reads))
        writes = dict.fromkeys(name for access in accesses for name in sorted(access.writes))
        return cls(accesses[0].pipe, tuple(reads), tuple(writes))


@dataclass(frozen=True, slots=True)
class Signal:
    """A set of a flag, or a wait for it; of all its slots where it is primed or drained."""

    number: int
    flag: Flag
    is_set: bool
    whole: bool = False


Line = Run | Signal | Node  # of a body; a node is a loop or a barrier


@dataclass(frozen=True)
class Stretch:
    """Steps between two barriers, and how many sets of each (flag, slot) of theirs wait at their start."""

    steps: tuple[Step, ...]
    waiting: tuple[tuple[tuple[int, int], int], ...]
    program: list[Touching] = field(default_factory=list, compare=False, repr=False)

    @cached_property
    def flags(self) -> frozenset[int]:
        """Which are set or waited for here."""
        return frozenset(s.flag for s in self.steps if s.flag >= 0)

    @cached_property
    def size(self) -> int:
        """How many cells it touches."""
        return max((n for _, cells in self.program for n, _ in cells), default=-1) + 1

    @cached_property
    def slots(self) -> frozenset[tuple[int, int]]:
        """The flags and slots that are set or waited for here."""
        return frozenset((step.flag, step.slot) for step in self.steps if step.flag >= 0)

    def queues(self) -> dict[tuple[int, int], deque[int]]:
        """The clocks that wait at the start, for each flag and slot."""
        found = {slot: deque[int]() for slot in self.slots}
        found.update({flag: deque([0] * n) for flag, n in self.waiting})
        return found


class Schedule:
    """The steps of a graph with all candidate flags; asked again and again with fewer of them."""

    def __init__(self, accesses: Accesses, flags: Sequence[Flag], homes: Mapping[int, Key] | None = None) -> None:
        """`homes`: the nodes before and after which the back flags of a body are primed and drained; else the program.
        """
        self.accesses, self.flags, self.homes = accesses, list(flags), homes or {}
        self.by_key = {(id(a.chain[-1]), a.key): a for a in accesses.all}
        self.owner = {n: accesses.home(n)[-1] for n, b in accesses.buffers.items() if b.slots > 1}
        self.known = Trips(accesses.root)
        self.lines: dict[int, list[Line]] = {}
        self.trips: tuple[int, ...] = TRIPS
        self.brief: tuple[tuple[int, ...], ...] = BRIEF  # a course of loops with these numbers of iterations for each
        self._all()
        while self._is_long() and (self.brief or len(self.trips) > 1):
            self.brief, self.trips = (self.brief[:-1], self.trips) if self.brief else ((), self.trips[1:])
            self._all()

    def _is_long(self) -> bool:
        """Is there more between two barriers than can be looked at again and again?"""
        return max(len(steps) for steps, _ in self.parts) > LIMIT

    def _all(self) -> None:
        """The steps between each two barriers; of a further course only some parts are looked at."""
        self.parts: list[tuple[tuple[Step, ...], bool]] = []
        self.out: list[Step] = []
        self.entries: dict[int, int] = {}  # of this course, so that each takes a loop through the most iterations first
        self.iteration: dict[int, int] = {}
        for signal in self.primed.get(None, ()):
            self._signal(signal)
        self.course: Course | None = None  # of the loops that may be empty; None: all of them
        self.inside: list[Bounds] = []
        self.barrier = 0  # the last one, by the identity of its node
        self.trail = Trail()
        self._body(self.accesses.root)
        self._cut(0, looked_at=True)
        # Flags stand as at the start; a barrier keeps the courses apart.
        for course in (*courses(self.trail), *brief_courses(self.trail, self.brief)):
            self.course, self.entries = course, {}
            self._body(self.accesses.root)
            self._cut(0, looked_at=self.barrier in course.after)

    def _cut(self, barrier: int, *, looked_at: bool) -> None:
        """A barrier: what comes after it is another part."""
        self.parts.append((tuple(self.out), looked_at))
        self.out, self.barrier = [], barrier
        if self.course is None:
            self.trail.meets(barrier, self.inside)

    @cached_property
    def primed(self) -> dict[Key | None, list[Signal]]:
        """The back flags that are primed before a node, and drained after it; None: of the program."""
        found: dict[Key | None, list[Signal]] = {}
        for n, flag in enumerate(self.flags):
            if flag.back:
                found.setdefault(self.homes.get(id(flag.body)), []).append(Signal(n, flag, True, whole=True))
        return found

    @cached_property
    def around(self) -> dict[tuple[int, int], list[Signal]]:
        """The waits before and the sets after each node."""
        found: dict[tuple[int, int], list[Signal]] = {}
        for n, flag in enumerate(self.flags):
            found.setdefault((id(flag.body), flag.before), []).append(Signal(n, flag, False))
            found.setdefault((id(flag.body), flag.after), []).append(Signal(n, flag, True))
        return found

    def _lines_of(self, body: Graph) -> list[Line]:
        """A body without what orders nothing."""
        if id(body) not in self.lines:
            all_lines = [line for key, node in body.items() for line in self._lines_at(body, key, node)]
            found = self.lines[id(body)] = []
            for pipe, group in groupby(all_lines, lambda line: line.pipe if isinstance(line, Access) else None):
                if pipe is None:
                    found += [line for line in group if not isinstance(line, Access)]
                else:
                    found.append(Run.of([line for line in group if isinstance(line, Access)]))
        return self.lines[id(body)]

    def _lines_at(self, body: Graph, key: int, node: Node) -> list[Access | Signal | Node]:
        """The waits before a node, what it does itself, and the sets after it."""
        mine, ends = self.around.get((id(body), key), []), self.primed.get((id(body), key), [])
        access = self.by_key.get((id(body), key))
        itself: list[Access | Node] = [access] if access else [node] * (node.op in (FOR, *BARRIERS))
        return [*ends, *(s for s in mine if not s.is_set), *itself, *(s for s in mine if s.is_set),
                *(replace(s, is_set=False) for s in ends)]

    def _body(self, body: Graph) -> None:
        for line in self._lines_of(body):
            if isinstance(line, Signal):
                self._signal(line)
            elif isinstance(line, Run):
                self.out.append(Step(int(line.pipe), reads=tuple(map(self._place, line.reads)),
                                     writes=tuple(map(self._place, line.writes))))
            elif line.op is FOR:
                self._loop(body, line)
            else:
                self._cut(id(line), looked_at=self.course is None or self.barrier in self.course.after)

    def _signal(self, signal: Signal) -> None:
        flag = signal.flag
        pipe = int(flag.src if signal.is_set else flag.dst)
        slots = range(flag.slots) if signal.whole else (self._slot(flag),)
        self.out += [Step(pipe, signal.number, slot, signal.is_set) for slot in slots]

    def _loop(self, outer: Graph, node: Node) -> None:
        count = self.known.count(outer, node)
        if count.surely and "grid" not in dict(node.attrs):  # a core may have no block of a grid
            self._turns(outer, node)
            return
        bounds = count.bounds
        if self.course is not None:
            tour = self.course.tour(bounds)
            if self.iteration.get(bounds.home, 0) in tour.turns:
                self._turns(outer, node, most=1 if tour.once else LIMIT)
            return
        self.inside.append(bounds)
        self.trail.enters(self.inside)
        self._turns(outer, node)
        self.inside.pop()

    def _turns(self, outer: Graph, node: Node, most: int = LIMIT) -> None:
        """Go through a loop as often as it is the turn of."""
        body = node.body
        assert body is not None
        for iteration in range(min(self._count(outer, node), most)):
            self.iteration[id(body)] = iteration
            self._body(body)

    def _count(self, outer: Graph, node: Node) -> int:
        """How many iterations of a loop to take; of a constant number as many, or as odd or even a number."""
        entry = self.entries[id(node.body)] = self.entries.get(id(node.body), -1) + 1
        known, most = self.known.count(outer, node), max(self.trips)
        if known.exactly is not None and most == max(TRIPS):
            return known.exactly if known.exactly <= most else most + (known.exactly - most) % 2
        return min(self._taken(outer, node, entry, most), known.most)

    def _taken(self, outer: Graph, node: Node, entry: int, most: int) -> int:
        """How many iterations of a loop to take that has as many as it likes, when it is entered so often."""
        if self.course is not None and self.course.least:
            return 1
        if self.course is not None and self.course.brief:
            return self._briefly(outer, node, entry, most)
        return most if outer.outer is None else self.trips[entry % len(self.trips)]

    def _briefly(self, outer: Graph, node: Node, entry: int, most: int) -> int:
        """The same on a brief course: loops around innermost ones go on until these ran in every way."""
        assert self.course is not None
        counts, inside = self.course.brief, loops(node.body)
        if not inside:  # those beside each other begin at different places
            place = [loop.body for loop in loops(outer)].index(node.body)
            return counts[(entry + len(counts) // 3 * place) % len(counts)]
        return len(counts) + 2 if any(not loops(loop.body) for loop in inside) else most

    def _slot(self, flag: Flag) -> int:
        return self.iteration.get(id(flag.body), 0) % 2 if flag.slots > 1 else 0

    def _place(self, name: str) -> Place:
        """A buffer, and which of its slots in this iteration."""
        owner = self.owner.get(name)
        return name, self.iteration.get(id(owner), 0) % 2 if owner is not None else -1

    def _cells(self, steps: Sequence[Step]) -> dict[Place, range]:
        """The numbers of the cells of each place that steps touch; places share cells where they share bytes."""
        places = dict.fromkeys(p for step in steps for p in (*step.reads, *step.writes))
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
        for steps, looked_at in self.parts:
            mine = {(step.flag, step.slot) for step in steps if step.flag >= 0}
            before = tuple((flag, waiting[flag]) for flag in sorted(mine) if waiting[flag])
            for step in steps:
                if step.flag >= 0:
                    waiting[step.flag, step.slot] += 1 if step.is_set else -1
            if looked_at:
                found[Stretch(steps, before)] = None
        for stretch in found:
            cells = self._cells(stretch.steps)
            for step in stretch.steps:
                read, wrote = ({n for p in places for n in cells[p]} for places in (step.reads, step.writes))
                stretch.program.append((step, tuple((n, n in wrote) for n in sorted(read | wrote))))
        return list(found)

    @cached_property
    def meeting(self) -> list[list[Stretch]]:
        """The stretches of each flag."""
        found: list[list[Stretch]] = [[] for _ in self.flags]
        for stretch in self.stretches:
            for flag in stretch.flags:
                found[flag].append(stretch)
        return found

    def ordered(self, live: Set[int], gone: int | None = None) -> bool:
        """Is every conflict ordered with the flags of these numbers alone?

        With `gone`, the number of a flag with which all was ordered, only its own stretches are looked at.
        """
        return all(_ordered(stretch, live) for stretch in (self.stretches if gone is None else self.meeting[gone]))

    def clashing(self, live: Set[int], numbers: Set[int]) -> set[frozenset[int]]:
        """Pairs of flags that cannot be one: one may be set before it is known that the other was waited for."""
        met = [stretch for stretch in self.stretches if stretch.flags & numbers]
        bodies = {number: self.flags[number].body for number in numbers}
        return {pair for stretch in met for pair in _clashing(stretch, live, bodies)}

    def idle(self, numbers: Sequence[int]) -> set[int]:
        """Flags whose waits tell no pipe anything that it does not know, or that the other waits of the same moment do
        not tell it: without all of these, every clock is the same.

        Of waits that tell the same the last in `numbers` are idle.
        """
        rank = {number: n for n, number in enumerate(numbers)}
        told: set[int] = set()
        for stretch in self.stretches:
            clocks, carried = [0] * PIPES, stretch.queues()
            for (pipe, waits), steps in groupby(stretch.steps, lambda s: (s.pipe, s.flag >= 0 and not s.is_set)):
                if waits:
                    told.update(_told(clocks, pipe, carried, sorted(steps, key=lambda s: rank[s.flag])))
                    clocks[pipe] += ONE[pipe]
                    continue
                for step in steps:
                    if step.is_set:
                        carried[step.flag, step.slot].append(clocks[pipe])
                    else:
                        clocks[pipe] += ONE[pipe]
        return set(numbers) - told


def loops(body: Graph | None) -> list[Node]:
    """The loops of a body, without those inside of them."""
    return [node for _, node in body.items() if node.op is FOR] if body is not None else []


def _told(clocks: list[int], pipe: int, carried: dict[tuple[int, int], deque[int]],
          waits: Sequence[Step]) -> Iterator[int]:
    """Bring a pipe's clock up to date; gives the flags that did so."""
    for step in waits:
        clock = joined(clocks[pipe], carried[step.flag, step.slot].popleft())
        if clock != clocks[pipe]:
            clocks[pipe] = clock
            yield step.flag


def _clashing(stretch: Stretch, live: Set[int], bodies: Mapping[int, Graph]) -> Iterator[frozenset[int]]:
    """The pairs of the flags in `bodies` that clash in a stretch.

    Those of one body use the same slot in the same iteration; which slots those of two bodies use one after the other
    depends on how often loops run, so all are looked at.
    """
    clocks, carried = [0] * PIPES, stretch.queues()
    waited = {bit: 0 for bit in carried if bit[0] in bodies}
    for step in stretch.steps:
        bit = step.flag, step.slot
        if step.flag < 0:
            clocks[step.pipe] += ONE[step.pipe]
        elif step.flag in live and step.is_set:
            for other, clock in waited.items() if bit in waited else ():
                unknown = (clocks[step.pipe] | TOPS) - clock & TOPS != TOPS
                meet = other[1] == step.slot or bodies[other[0]] is not bodies[step.flag]
                if meet and other != bit and (unknown or carried[other]):
                    yield frozenset((step.flag, other[0]))
            carried[bit].append(clocks[step.pipe])
        elif step.flag in live:
            clocks[step.pipe] = joined(clocks[step.pipe], carried[bit].popleft()) + ONE[step.pipe]
            if bit in waited:
                waited[bit] = clocks[step.pipe] & FIELD[step.pipe]


def _ordered(stretch: Stretch, live: Set[int]) -> bool:
    """Is every conflict of a stretch ordered, and every wait before the next set of its flag?

    A clock is one integer with a field for each pipe; `(a | TOPS) - b & TOPS == TOPS` says that no field of b is
    above that of a, for all pipes at once.
    """
    clocks, carried = [0] * PIPES, stretch.queues()
    reads, writes = [0] * stretch.size, [0] * stretch.size
    waited = dict.fromkeys(carried, 0)
    for step, cells in stretch.program:
        pipe = step.pipe
        if step.flag < 0:
            clock = clocks[pipe] = clocks[pipe] + ONE[pipe]
            known, mine, others = clock | TOPS, clock & FIELD[pipe], ~FIELD[pipe]
            for n, wrote in cells:
                above = (known - writes[n]) & (known - reads[n]) if wrote else known - writes[n]
                if above & TOPS != TOPS:
                    return False
                last = writes if wrote else reads
                last[n] = last[n] & others | mine
        elif step.flag in live:
            bit = step.flag, step.slot
            if step.is_set:
                if ((clocks[pipe] | TOPS) - waited[bit]) & TOPS != TOPS:
                    return False
                carried[bit].append(clocks[pipe])
            else:
                clock = clocks[pipe] = joined(clocks[pipe], carried[bit].popleft()) + ONE[pipe]
                waited[bit] = clock & FIELD[pipe]
    return True


def joined(a: int, b: int) -> int:
    """The larger of two clocks, pipe by pipe: a's fields where they are not below b's, else b's."""
    above = ((a | TOPS) - b & TOPS) >> WIDTH - 1
    mask = (above << WIDTH - 1) - above
    return a & mask | b & ~mask & FIELDS
