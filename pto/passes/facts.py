"""Facts that passes make and rely on, each a check that can be run."""

from __future__ import annotations

from pto.ir.graph import Buffer, Graph, has_spans
from pto.ir.ops import EXECUTION_OPS
from pto.isa.spec import Kind
from pto.isa.table import sync
from pto.passes.accesses import Accesses, meet
from pto.passes.base import Fact


def _level(name: str) -> Fact:
    return Fact(f"is a {name} graph", lambda g: [] if g.level == name else [f"the graph is at the {g.level} level"])


TILE_LEVEL, BLOCK_LEVEL, EXECUTION_LEVEL = _level("tile"), _level("block"), _level("execution")


def _unspanned(graph: Graph) -> list[str]:
    """Every node that does something says which lines of the user's it is there for."""
    return [f"%{key} {node.op.name} has no span" for _, key, node in graph.walk()
            if not node.locs and has_spans(node.op)]


SPANNED = Fact("traceable to source lines", _unspanned)


def _unallocated(graph: Graph) -> list[str]:
    """Buffers that are alive together must not share bytes; every buffer has an address."""
    found = [f"buffer {b.name} has no address" for b in graph.buffers if b.address < 0]
    if found:
        return found
    accesses = Accesses(graph)
    alive: list[Buffer] = []
    for b in sorted((b for b in graph.buffers if accesses.of[b.name]), key=lambda b: accesses.live(b.name)):
        alive = [a for a in alive if accesses.live(a.name)[1] >= accesses.live(b.name)[0]]
        found += [f"buffers {a.name} and {b.name} are alive together and share bytes" for a in alive if meet(a, b)]
        alive.append(b)
    return found


ALLOCATED = Fact("allocated", _unallocated)


def _unpaired(graph: Graph) -> list[str]:
    """Each flag relation has sets and waits."""
    sides: dict[tuple[int, int], set[str]] = {}
    for _, _, node in graph.walk():
        if node.op.instr is not None and any(o.kind is Kind.PIPE for o in node.op.instr.operands):
            sides.setdefault((node["src"], node["dst"]), set()).add(node.op.name)
    both = {EXECUTION_OPS[r.mnemonic].name for r in (sync.SET_FLAG, sync.WAIT_FLAG)}
    return [f"flags from pipe {p} to pipe {q} are only {names}" for (p, q), names in sides.items() if names != both]


SYNCHRONISED = Fact("synchronised", _unpaired)
