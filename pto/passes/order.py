"""Happens-before of an Execution graph on a small schedule of its own: is every conflict ordered?

The schedule takes the outermost loops through three iterations, and each inner loop through three, two and
one in turn (none where the loop may be empty), which shows every way in which flags of consecutive
iterations, restarted parities and loop boundaries can meet. Then it goes through all again without the loops that
may be empty: what they order is not ordered where they do not run. Order is that of each pipe plus, for each flag,
each set before the wait that consumes it. Clocks are one counter a pipe.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import Any, Protocol

from pto.core.types import TileType
from pto.ir.graph import Graph, Node
from pto.ir.ops import CONST, DIM, EXECUTION_OPS, FOR
from pto.isa.spec import Pipe
from pto.isa.table import sync
from pto.passes.accesses import Access, Accesses, span

SYNC = EXECUTION_OPS[sync.SYNC_ALL.mnemonic]
PIPES = len(Pipe)
TRIPS = (3, 2, 1)
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


Touching = tuple[Step, list[int], list[int]]  # the cells it reads, and writes


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

    def __init__(self, accesses: Accesses, flags: Sequence[Relation]) -> None:
        self.accesses, self.flags = accesses, list(flags)
        self.number = {id(f): n for n, f in enumerate(self.flags)}
        self.by_key = {(id(a.chain[-1]), a.key): a for a in accesses.all}
        self.owner = {n: accesses.home(n)[-1] for n, b in accesses.buffers.items() if b.slots > 1}
        self.trips: tuple[int, ...] = TRIPS
        self.steps = self._all()
        while max(map(len, between_barriers(self.steps)), default=0) > LIMIT and len(self.trips) > 1:
            self.trips = self.trips[1:]
            self.steps = self._all()

    def _all(self) -> list[Step]:
        self.out: list[Step] = []
        self.entries: dict[int, int] = {}
        self.iteration: dict[int, int] = {}
        for n, flag in enumerate(self.flags):
            if flag.back:
                self.out += [Step(int(flag.src), n, s, True) for s in range(flag.slots)]
        self.without_empty = self.some_empty = False
        self._body(self.accesses.root)
        if self.some_empty:  # flags stand as at the start; the barrier keeps the first course from ordering the second
            self.out.append(Step(-1))
            self.without_empty = True
            self._body(self.accesses.root)
        return self.out

    def _body(self, body: Graph) -> None:
        around: dict[int, list[tuple[int, Relation, bool]]] = {}
        for n, flag in enumerate(self.flags):
            if flag.body is body:
                around.setdefault(flag.before, []).append((n, flag, False))
                around.setdefault(flag.after, []).append((n, flag, True))
        for key, node in body.items():
            mine = around.get(key, ())
            for n, flag, is_set in mine:
                if not is_set:
                    self.out.append(Step(int(flag.dst), n, self._slot(flag), False))
            self._node(body, key, node)
            for n, flag, is_set in mine:
                if is_set:
                    self.out.append(Step(int(flag.src), n, self._slot(flag), True))

    def _node(self, body: Graph, key: int, node: Node) -> None:
        if node.op is FOR:
            self._loop(body, node)
        elif node.op is SYNC:
            self.out.append(Step(-1))
        elif (id(body), key) in self.by_key:
            self.out.append(self._access(self.by_key[id(body), key]))

    def _loop(self, outer: Graph, node: Node) -> None:
        body = node.body
        assert body is not None
        entry = self.entries[id(body)] = self.entries.get(id(body), -1) + 1
        surely = at_least_once(outer, node)
        trips = self.trips if surely else (*self.trips, 0)
        if not surely and "grid" not in dict(node.attrs):
            self.some_empty = True
            if self.without_empty:
                return
        count = max(self.trips) if outer.outer is None else trips[entry % len(trips)]
        for iteration in range(count):
            self.iteration[id(body)] = iteration
            self._body(body)

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
        return step, read, wrote

    def ordered(self, flags: Sequence[Relation], without: Relation | None = None) -> bool:
        """Is every conflict ordered with these flags alone?

        With `without`, a flag that these lack and with which all was ordered, only its own stretches are looked at.
        """
        live = {self.number[id(f)] for f in flags}
        gone = None if without is None else self.number[id(without)]
        return all(self._ordered(s, live) for s in self.stretches if gone is None or gone in s.flags)

    def _ordered(self, stretch: Stretch, live: set[int]) -> bool:
        """Is every conflict of a stretch ordered?

        A clock is one integer with a field for each pipe; `(a | TOPS) - b & TOPS == TOPS` says that no field of b is
        above that of a, for all pipes at once.
        """
        clocks = [0] * PIPES
        carried = {flag: deque([0] * n) for flag, n in stretch.waiting}
        size = max((cells.stop for cells in self.cells.values()), default=0)
        reads, writes = [0] * size, [0] * size
        for step, read, wrote in stretch.program:
            pipe = step.pipe
            if step.flag < 0:
                clock = clocks[pipe] = clocks[pipe] + ONE[pipe]
                known = clock | TOPS
                if any((known - writes[n]) & TOPS != TOPS for n in read):
                    return False
                if any((known - writes[n]) & (known - reads[n]) & TOPS != TOPS for n in wrote):
                    return False
                for n in read:
                    reads[n] = reads[n] & ~FIELD[pipe] | clock & FIELD[pipe]
                for n in wrote:
                    writes[n] = writes[n] & ~FIELD[pipe] | clock & FIELD[pipe]
            elif step.flag in live:
                queue = carried.setdefault((step.flag, step.slot), deque())
                if step.is_set:
                    queue.append(clocks[pipe])
                else:
                    clocks[pipe] = joined(clocks[pipe], queue.popleft())
        return True


def between_barriers(steps: Sequence[Step]) -> Iterator[tuple[Step, ...]]:
    """The steps before, between and after the barriers of all pipes."""
    for is_barrier, stretch in groupby(steps, lambda s: s.pipe < 0):
        if not is_barrier:
            yield tuple(stretch)


def joined(a: int, b: int) -> int:
    """The larger of two clocks, pipe by pipe."""
    return sum(max(a & field, b & field) for field in FIELD)


def at_least_once(graph: Graph, node: Node) -> bool:
    """Does a loop surely run: from 0 to a positive constant, or to an extent (which is at least 1)?"""
    low, high = graph.constant(node.inputs[0]), _origin(graph, node.inputs[1])
    if low is None or high is None:
        return False
    if high.op is CONST:
        return int(high["value"]) > low
    return low == 0 and (_positive(graph, high) or _edge(high))


def _positive(graph: Graph, node: Node) -> bool:
    """Is it an extent: a symbol of the program that is at least 1?"""
    while graph.outer is not None:
        graph = graph.outer
    return node.op is DIM and all(s.low > 0 for s in graph.symbols if s.name == node["name"])


def _origin(graph: Graph, key: int) -> Node | None:
    """The node that a captured value is outside."""
    node = graph[key]
    while node.op.name == "param" and graph.outer is not None:
        source = next((v for v, k in graph.captured.items() if k == key), None)
        if source is None:
            return None
        graph, key = source.graph, source.key
        node = graph[key]
    return node


def _edge(node: Node) -> bool:
    """The smaller of a tile's extent and what is left of a tensor: at least 1 inside a loop over it."""
    return node.op.name == "min"
