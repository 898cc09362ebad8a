"""Flags between pipes: every two conflicting accesses on different pipes are ordered, with as few as can be.

A flag is one bit. For two accesses in conflict (write-read, read-write, write-write of the same bytes) the
flag sits in the innermost body common to both, around its items; a nested loop is one item there.

- FORWARD: `set_flag` after the earlier item, `wait_flag` before the later one.
- BACK, in a body that repeats: set after the item that is done with the bytes, waited for before the item of
  the next iteration that uses them again. Back flags are primed once at the program's start and drained once
  at its end: the state "each slot's free flag will be set exactly once more" holds at every loop boundary, so
  loops of no iterations and restarted parities are right. In a program with barriers each nest between two of them, and
  each outermost loop with some inside, primes and drains its own, so that those of other stretches can use the same
  ids.
- TWO SLOTS: where both accesses are to a two-slot buffer that this body owns, the flag has two ids, and the
  parity says which.

Of the flags of one body and pipe pair those covered by another (set later, waited for earlier) are not made.
Then each flag is tried: if every conflict stays ordered without it, on a schedule that takes loops through
one, two and three iterations, it is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from pto.core.types import EFFECT
from pto.ir.graph import Buffer, Graph, Node, Val, joined
from pto.ir.ops import DIM, EXECUTION_OPS, FOR
from pto.ir.rewrite import Rewriter
from pto.isa.spec import Pipe
from pto.isa.table import sync
from pto.passes.accesses import Access, Accesses, meet, slot_name, span
from pto.passes.flag_ids import Segments, numbered
from pto.passes.insert_barriers import BARRIERS
from pto.passes.order import Flag, Schedule

SET, WAIT = EXECUTION_OPS[sync.SET_FLAG.mnemonic], EXECUTION_OPS[sync.WAIT_FLAG.mnemonic]


@dataclass(frozen=True)
class Item:
    """One step of a body: an instruction, or a loop with all its accesses."""

    key: int
    accesses: tuple[Access, ...]


def overlaps(buffers: Sequence[Buffer]) -> dict[str, frozenset[str]]:
    """The buffers that share bytes with each; those of the same bytes have one answer."""
    places = {b: (b.type.space, *span(b)) for b in buffers}  # type: ignore[union-attr]
    first = {place: b for b, place in reversed(places.items())}
    near = {p: frozenset(b.name for b, q in places.items() if meet(first[q], first[p])) for p in first}
    return {b.name: near[place] for b, place in places.items()}


class Conflicts:
    """Which accesses conflict, by the bytes they touch."""

    def __init__(self, accesses: Accesses) -> None:
        self.accesses = accesses
        self.owner = {n: accesses.home(n)[-1] for n, b in accesses.buffers.items() if b.slots > 1}
        self.overlap = overlaps(accesses.root.buffers)
        self.overlap.update({n: frozenset({n}) for n in map(slot_name, accesses.shared)})

    def between(self, x: Access, y: Access, body: Graph) -> int:
        """0: none; else how many slots apart the conflict may be, for a flag in this body."""
        found = 0
        for a in x.touched:
            for b in y.touched & self.overlap[a]:
                if a in x.writes or b in y.writes:
                    two = a == b and self.owner.get(a) is body
                    found = min(found or 2, 2 if two else 1)
        return found


def items(accesses: Accesses, body: Graph) -> list[Item]:
    """The steps of a body that touch buffers, in order."""
    found: dict[int, list[Access]] = {}
    loops = {id(n.body): k for k, n in body.items() if n.op is FOR}
    for depth, access in accesses.inside.get(id(body), ()):
        inner = len(access.chain) > depth + 1
        found.setdefault(loops[id(access.chain[depth + 1])] if inner else access.key, []).append(access)
    return [Item(key, tuple(found[key])) for key in sorted(found)]


def wanted(conflicts: Conflicts, body: Graph, repeats: bool) -> Iterator[Flag]:
    """The flags of one body, without those that another of the same pipes covers."""
    steps = items(conflicts.accesses, body)
    found: dict[tuple[bool, Pipe, Pipe], dict[tuple[int, int], int]] = {}
    first: dict[tuple[Pipe, Pipe, int, int], tuple[Access, Access]] = {}  # to be in conflict, of each pair of steps
    fences = [key for key, node in body.items() if node.op in BARRIERS]
    pipes = [frozenset(a.pipe for a in step.accesses) for step in steps]
    others = {kind: [j for j, p in enumerate(pipes) if len(p | kind) > 1] for kind in set(pipes)}
    for i, x in enumerate(steps):
        for j in others[pipes[i]]:
            y = steps[j]
            if i == j or (j < i and not repeats) or barred(fences, x.key, y.key):
                continue
            for a in x.accesses:
                for b in y.accesses:
                    if a.pipe != b.pipe and (slots := conflicts.between(a, b, body)):
                        pairs = found.setdefault((j < i, a.pipe, b.pipe), {})
                        pairs[i, j] = min(slots, pairs.get((i, j), 2))
                        first.setdefault((a.pipe, b.pipe, i, j), (a, b))
    for (back, p, q), pairs in sorted(found.items()):
        for i, j in uncovered(pairs):
            locs = joined(*(access.node.locs for access in first[p, q, i, j]))
            yield Flag(body, p, steps[i].key, q, steps[j].key, pairs[i, j], back, locs)


def uncovered(pairs: dict[tuple[int, int], int]) -> list[tuple[int, int]]:
    """The pairs of steps, with their slots, than which no other is set later, waited for earlier and no further apart.

    From the last to be set on, and of these from the first to be waited for on: what covers one is seen before it.
    """
    kept = []
    first: dict[int, float] = {1: inf, 2: inf}  # to be waited for, by slots
    for i, j in sorted(pairs, key=lambda pair: (-pair[0], pair[1])):
        slots = pairs[i, j]
        if j < min(first[s] for s in range(1, slots + 1)):
            kept.append((i, j))
        first[slots] = min(first[slots], j)
    return sorted(kept)


def barred(fences: list[int], first: int, second: int) -> bool:
    """Is there a barrier on the way from one step of a body to another, of the same turn or the next?"""
    if first < second:
        return any(first < fence < second for fence in fences)
    return any(fence > first or fence < second for fence in fences)


def all_flags(accesses: Accesses) -> list[Flag]:
    """The flags of every body, outer bodies first."""
    conflicts = Conflicts(accesses)
    found = list(wanted(conflicts, accesses.root, repeats=False))
    for _, _, node in accesses.root.walk():
        if node.body is not None:
            found += wanted(conflicts, node.body, repeats=True)
    return found


def needed(schedule: Schedule, flags: list[Flag]) -> list[Flag]:
    """Flags without those that the others, and the order within pipes, make unnecessary."""
    first = sorted(range(len(flags)), key=lambda n: not flags[n].back)  # to be dropped
    kept = set(first) - schedule.idle(first[::-1])
    for number in [n for n in first if n in kept]:
        if schedule.ordered(kept - {number}, gone=number):
            kept.remove(number)
    return [flags[n] for n in sorted(kept)]


class _Insert(Rewriter):
    """Puts sets and waits around the items they belong to."""

    def __init__(self, flags: list[Flag], ids: dict[Flag, int], segments: Segments) -> None:
        self.flags, self.ids = flags, ids
        self.at: dict[tuple[int, int], list[tuple[Flag, bool]]] = {}
        self.primed: dict[tuple[int, int] | None, list[Flag]] = {}
        for flag in flags:
            self.at.setdefault((id(flag.body), flag.before), []).append((flag, False))
            self.at.setdefault((id(flag.body), flag.after), []).append((flag, True))
            if flag.back:
                self.primed.setdefault(segments.home.get(id(flag.body)), []).append(flag)
        self.parity: dict[int, Val] = {}

    def run(self, old: Graph) -> Graph:
        new = Graph(name=old.name, level=old.level, symbols=old.symbols, buffers=old.buffers)
        env: dict[int, Any] = {}
        for key, node in old.items():
            if node.op is DIM:
                self.step(old, key, node, new, env)
        self.ends(new, SET, None)
        self.block(old, new, env)
        self.ends(new, WAIT, None)
        return new

    def ends(self, graph: Graph, op: Any, where: tuple[int, int] | None) -> None:
        """Prime, or drain, each back flag of a step (None: of the program), once for each slot."""
        for flag in self.primed.get(where, ()):
            for slot in range(flag.slots):
                graph.op(op, self.ids[flag] + slot, locs=flag.locs, src=int(flag.src), dst=int(flag.dst))

    def visit(self, old: Graph, key: int, node: Node, new: Graph, env: dict[int, Any]) -> Any:
        around = self.at.get((id(old), key), [])
        self.ends(new, SET, (id(old), key))
        for flag, is_set in around:
            if not is_set:
                self.put(new, WAIT, flag)
        made = super().visit(old, key, node, new, env)
        for flag, is_set in around:
            if is_set:
                self.put(new, SET, flag)
        self.ends(new, WAIT, (id(old), key))
        return made

    def put(self, graph: Graph, op: Any, flag: Flag) -> None:
        number = self.ids[flag]
        which = graph.index("add", self.parity[id(flag.body)], number) if flag.slots > 1 else number
        graph.op(op, which, type=EFFECT, locs=flag.locs, src=int(flag.src), dst=int(flag.dst))

    def enter(self, node: Node, parameters: Sequence[Val | int], inputs: list[Any]) -> dict[int, Any]:
        if dict(node.attrs).get("parity"):
            parity = parameters[-1]
            assert isinstance(parity, Val)
            self.parity[id(node.body)] = parity
        return super().enter(node, parameters, inputs)


def insert_flags(graph: Graph, limit: int) -> Graph:
    """Order every conflict of an allocated Execution graph; `limit` ids for each pair of pipes."""
    accesses, segments = Accesses(graph), Segments(graph)
    candidates = all_flags(accesses)
    schedule = Schedule(accesses, candidates, segments.home)
    flags = needed(schedule, candidates)
    return _Insert(flags, numbered(flags, limit, segments, schedule), segments).run(graph)
