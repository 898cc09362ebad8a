"""The views of arguments that an Execution graph sets."""

from __future__ import annotations

from pto.ir.graph import Graph
from pto.ir.ops import ARG
from pto.isa.program import ViewDecl


def viewed_slots(root: Graph) -> dict[int, int]:
    """The argument slot of each view, by number."""
    return {n["view"]: n["src"] for _, _, n in root.walk() if "view" in n.op.attrs}


def declarations(root: Graph) -> tuple[ViewDecl, ...]:
    """The views, by number, under names that nothing else has."""
    found = viewed_slots(root)
    taken = {n["name"] for _, n in root.items() if n.op is ARG} | {b.name for b in root.buffers}
    prefix = "view"
    while any(name.startswith(prefix) for name in taken):
        prefix += "_"
    return tuple(ViewDecl(f"{prefix}{i}", found[number]) for i, number in enumerate(sorted(found)))
