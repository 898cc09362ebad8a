"""Barriers between the nests of a program: what one core stored, another core may load.

Outside of grids every core runs the same instructions, so a barrier there is met by all of them. It is placed before a
step that reads what an earlier step wrote, or writes what it read or wrote, of any tensor, since the last barrier; in a
loop that holds grids, also across iterations.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pto.ir.graph import Graph, Node
from pto.ir.ops import EXECUTION_OPS, FOR
from pto.ir.rewrite import Rewriter
from pto.isa.spec import Kind, Role
from pto.isa.table import sync
from pto.passes.accesses import Accesses

SYNC = EXECUTION_OPS[sync.SYNC_ALL.mnemonic]


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


def is_shared(node: Node) -> bool:
    """Does every core run all iterations of a loop, with a grid inside?"""
    if node.op is not FOR or "grid" in dict(node.attrs) or node.body is None:
        return False
    return any(n.op is FOR and "grid" in dict(n.attrs) for _, _, n in node.body.walk())


class Barriers:
    """Finds the steps that need a barrier before them."""

    def __init__(self, root: Graph, *, everywhere: bool) -> None:
        self.everywhere = everywhere
        self.accesses = Accesses(root)
        self.before: set[tuple[int, int]] = set()
        self.walk(root, Slots())

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

    def walk(self, graph: Graph, pending: Slots) -> Slots:
        """What is pending after a body, given what was before it; notes barriers on the way."""
        for key, node in graph.items():
            if is_shared(node):
                assert node.body is not None
                once = self.walk(node.body, pending)
                pending = pending.joined(self.walk(node.body, once))
                continue
            now = self.touched(node)
            fenced = self.everywhere and node.op is FOR and bool(pending.reads or pending.writes)
            if (id(graph), key) in self.before or fenced or pending.conflicts(now):
                self.before.add((id(graph), key))
                pending = Slots()
            pending = pending.joined(now)
        return pending


class _Insert(Rewriter):
    """Puts the barriers in."""

    def __init__(self, before: set[tuple[int, int]]) -> None:
        self.before = before

    def visit(self, old: Graph, key: int, node: Node, new: Graph, env: dict[int, Any]) -> Any:
        if (id(old), key) in self.before:
            new.op(SYNC, locs=node.locs)
        return super().visit(old, key, node, new, env)


def insert_barriers(graph: Graph, *, everywhere: bool = False) -> Graph:
    """Order the nests of an Execution graph between cores; `everywhere`: also those that need no order."""
    return _Insert(Barriers(graph, everywhere=everywhere).before).run(graph)
