"""Barriers between the nests of a program: what one core stored, another core may load.

Outside of grids every core runs the same instructions, so a barrier there is met by all of them. It is placed before a
step that reads what an earlier step wrote, or writes what it read or wrote, of any tensor, since the last barrier; in a
loop that holds grids, also across iterations. A grid of one block is run by the first core: what only such grids
touched in conflict, that core alone puts in order, and no core waits for another.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from pto.ir.graph import Graph, Node
from pto.ir.ops import EXECUTION_OPS, FOR, Op
from pto.ir.rewrite import Rewriter
from pto.isa.spec import Kind, Role
from pto.isa.table import sync
from pto.passes.accesses import Accesses
from pto.passes.trips import Trips

SYNC, DRAIN = (EXECUTION_OPS[row.mnemonic] for row in (sync.SYNC_ALL, sync.PIPE_BARRIER))
BARRIERS = SYNC, DRAIN  # of all cores; of the pipes of each core
FEW = 6  # steps between two barriers of a block: of so few no pair of pipes needs more flags than there are


@dataclass
class Slots:
    """Argument slots that were read and written."""

    reads: set[int] = field(default_factory=set)
    writes: set[int] = field(default_factory=set)

    def conflicts(self, later: Slots) -> bool:
        """Must these accesses be over before the later ones begin?"""
        return bool(self.writes & (later.reads | later.writes) or self.reads & later.writes)

    def joined(self, other: Slots) -> Slots:
        """Both together."""
        return Slots(self.reads | other.reads, self.writes | other.writes)


@dataclass(frozen=True)
class Pending:
    """What was accessed since the last barrier.

    Attributes:
        several, first: since the last one of all cores; by grids of several blocks and outside of grids, and by grids
            that the first core runs alone.
        near: since the last one of either kind.
    """

    several: Slots = field(default_factory=Slots)
    first: Slots = field(default_factory=Slots)
    near: Slots = field(default_factory=Slots)

    def joined(self, other: Pending) -> Pending:
        """Both together."""
        return Pending(self.several.joined(other.several), self.first.joined(other.first), self.near.joined(other.near))

    def then(self, now: Slots, *, alone: bool) -> Pending:
        """With what a step accesses, which the first core runs alone, or not."""
        return self.joined(Pending(first=now, near=now) if alone else Pending(several=now, near=now))

    def barrier(self, now: Slots, *, alone: bool) -> Op | None:
        """What a step needs before it."""
        if self.several.conflicts(now) or (not alone and self.first.conflicts(now)):
            return SYNC
        return DRAIN if self.near.conflicts(now) else None

    def after(self, barrier: Op | None) -> Pending:
        """What is left of it by a barrier."""
        return self if barrier is None else Pending() if barrier is SYNC else replace(self, near=Slots())


def is_shared(node: Node) -> bool:
    """Does every core run all iterations of a loop, with a grid inside?"""
    if node.op is not FOR or "grid" in dict(node.attrs) or node.body is None:
        return False
    return any(n.op is FOR and "grid" in dict(n.attrs) for _, _, n in node.body.walk())


def fences(block: Graph) -> Iterator[int]:
    """The steps of a block before which a barrier leaves few flags between two barriers."""
    near = 0
    for key, node in block.items():
        near += node.op.instr is not None and "tiles" in node.op.attrs
        if node.op is FOR or near == FEW:
            yield key
            near = 1


class Barriers:
    """Finds the steps that need a barrier before them."""

    def __init__(self, root: Graph, *, everywhere: bool, inside: bool) -> None:
        self.everywhere, self.inside = everywhere, inside
        self.accesses, self.trips = Accesses(root), Trips(root)
        self.before: dict[tuple[int, int], Op] = {}
        self.walk(root, Pending())

    def is_alone(self, graph: Graph, node: Node) -> bool:
        """Does the first core run a step alone: a grid of one block at most?"""
        return node.op is FOR and "grid" in dict(node.attrs) and self.trips.at_most(graph, node) <= 1

    def touched(self, node: Node) -> Slots:
        """The slots that a step reads and writes."""
        found = Slots()
        nodes = [node] if node.body is None else [n for _, _, n in node.body.walk()]
        for n in nodes:
            if n.op.instr is not None and "tiles" in n.op.attrs:
                for operand in n.op.instr.operands:
                    if operand.kind is Kind.TENSOR:
                        slot = self.accesses.slot(n[operand.name])
                        (found.writes if operand.role is Role.OUT else found.reads).add(slot)
        return found

    def walk(self, graph: Graph, pending: Pending) -> Pending:
        """What is pending after a body, given what was before it; notes barriers on the way."""
        for key, node in graph.items():
            if is_shared(node):
                assert node.body is not None
                once = self.walk(node.body, pending)
                pending = pending.joined(self.walk(node.body, once))
                continue
            if self.inside and node.body is not None:
                self.before |= {(id(node.body), step): DRAIN for step in fences(node.body)}
            now, alone = self.touched(node), self.is_alone(graph, node)
            needed = self.needed((id(graph), key), node, pending.barrier(now, alone=alone), pending)
            pending = pending.after(needed).then(now, alone=alone)
        return pending

    def needed(self, key: tuple[int, int], node: Node, found: Op | None, pending: Pending) -> Op | None:
        """The barrier before a step, which may be there already; noted."""
        fenced = self.everywhere and node.op is FOR and bool(pending.near.reads or pending.near.writes)
        known = {self.before.get(key), found, DRAIN if fenced else None}
        strongest = next((barrier for barrier in BARRIERS if barrier in known), None)
        if strongest is not None:
            self.before[key] = strongest
        return strongest


class _Insert(Rewriter):
    """Puts the barriers in."""

    def __init__(self, before: dict[tuple[int, int], Op]) -> None:
        self.before = before

    def visit(self, old: Graph, key: int, node: Node, new: Graph, env: dict[int, Any]) -> Any:
        if barrier := self.before.get((id(old), key)):
            new.op(barrier, locs=node.locs)
        return super().visit(old, key, node, new, env)


def insert_barriers(graph: Graph, *, everywhere: bool = False, inside: bool = False) -> Graph:
    """Order the nests of an Execution graph between cores; `everywhere`: also those that need no order; `inside`: and
    the loops of each block.
    """
    return _Insert(Barriers(graph, everywhere=everywhere, inside=inside).before).run(graph)
