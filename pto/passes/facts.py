"""Facts that passes make and rely on, each a check that can be run."""

from __future__ import annotations

from pto.core.types import TileType
from pto.ir.graph import Graph
from pto.ir.ops import EXECUTION_OPS
from pto.isa.spec import Kind
from pto.isa.table import sync
from pto.passes.accesses import Accesses
from pto.passes.base import Fact


def _level(name: str) -> Fact:
    return Fact(f"is a {name} graph", lambda g: [] if g.level == name else [f"the graph is at the {g.level} level"])


TILE_LEVEL, BLOCK_LEVEL, EXECUTION_LEVEL = _level("tile"), _level("block"), _level("execution")


def _unallocated(graph: Graph) -> list[str]:
    """Buffers that are alive together must not share bytes; every buffer has an address."""
    found = [f"buffer {b.name} has no address" for b in graph.buffers if b.address < 0]
    if found:
        return found
    accesses = Accesses(graph)
    placed = [b for b in graph.buffers if accesses.of[b.name]]
    for i, a in enumerate(placed):
        for b in placed[i + 1:]:
            assert isinstance(a.type, TileType) and isinstance(b.type, TileType)
            apart = (a.type.space is not b.type.space or a.address + a.type.nbytes * a.slots <= b.address
                     or b.address + b.type.nbytes * b.slots <= a.address)
            (low, high), (other_low, other_high) = accesses.live(a.name), accesses.live(b.name)
            if not apart and low <= other_high and other_low <= high:
                found.append(f"buffers {a.name} and {b.name} are alive together and share bytes")
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
