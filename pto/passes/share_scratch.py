"""Tensor -> Tensor: scratch tensors of equal types that are not needed at the same time are one tensor.

A value in scratch is needed from the assignment that makes it to the last nest that reads it. In the order of the
program, the next value of that type that is made after it takes its place; a barrier between the nests, which reads
before writes need anyway, keeps the cores apart. What a loop's body makes and reads in each turn is shared in the body.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pto.core.types import TensorType
from pto.ir.graph import LOOP_BOUNDS, Graph, Node, Val
from pto.ir.ops import ARG, FOR, GET, TENSOR_OPS, TILE_OPS
from pto.ir.rewrite import Made, Rewriter
from pto.passes.analysis import SCRATCH, is_expression, slot_of

ASSIGN, VIEW, STORE = TENSOR_OPS["assign"], TENSOR_OPS["view"], TILE_OPS["store"]
WHOLE = 2  # operands of an assignment to all of a tensor


def read_slots(graph: Graph, keys: tuple[int, ...]) -> set[int]:
    """The slots that values read where they are stored or used."""
    found: set[int] = set()
    stack, seen = list(keys), set[int]()
    while stack:
        key = stack.pop()
        if key in seen or not isinstance(graph[key].type, TensorType):
            continue
        seen.add(key)
        if is_expression(graph[key]):
            stack += graph[key].inputs
        else:
            found.add(slot_of(graph, key))
    return found


def uses(graph: Graph) -> dict[int, list[int]]:
    """For each slot, where in a graph it is stored to or read, in order; a loop counts as one place."""
    found: dict[int, list[int]] = {}
    for key, node in graph.items():
        if is_expression(node) or node.op in (VIEW, GET, ARG):
            continue
        for slot in read_slots(graph, node.inputs):
            found.setdefault(slot, []).append(key)
    for slot in read_slots(graph, graph.outputs):
        found.setdefault(slot, []).append(len(graph))
    return found


def bodies(graph: Graph) -> Iterator[tuple[Graph, int, Graph]]:
    """Every loop: the graph it is in, its key and its body."""
    for key, node in graph.items():
        if node.op is FOR and node.body is not None:
            yield graph, key, node.body
            yield from bodies(node.body)


def merged(root: Graph, first: int) -> dict[int, int]:
    """What each scratch slot, from `first` on, is to be: an earlier one of its type, where that is free by then."""
    types = {n["slot"]: n.type for _, n in root.items()
             if n.op is ARG and n["result"] == SCRATCH and n["slot"] >= first}
    found: dict[int, int] = {}
    open_slots = set(types)
    for graph, inside in [(root, uses(root)), *((body, uses(body)) for _, _, body in bodies(root))]:
        loops = {k for k, n in graph.items() if n.op is FOR}
        mine = {slot: keys for slot, keys in inside.items() if slot in open_slots and _is_made(graph, slot, keys)}
        open_slots -= {slot for slot, keys in inside.items() if len(set(keys)) > 1 or not loops.issuperset(keys)}
        found |= _share(mine, types)
    return found


def _is_made(graph: Graph, slot: int, keys: list[int]) -> bool:
    """Does a graph assign all of a tensor before it reads any of it?"""
    if keys[0] >= len(graph):
        return False
    node = graph[keys[0]]
    made = node.op is ASSIGN and len(node.inputs) == WHOLE and slot_of(graph, node.inputs[0]) == slot
    return made and slot not in read_slots(graph, node.inputs[1:])


def _share(ranges: dict[int, list[int]], types: dict[int, Any]) -> dict[int, int]:
    """Slots that take the place of others, by when they are used."""
    found: dict[int, int] = {}
    free_from: dict[int, int] = {}  # the last use of each slot that is kept, and of those that took its place
    for slot, keys in sorted(ranges.items(), key=lambda item: item[1][0]):
        home = next((s for s, last in free_from.items() if last < keys[0] and types[s] == types[slot]), slot)
        if home != slot:
            found[slot] = home
        free_from[home] = keys[-1]
    return found


class ShareScratch(Rewriter):
    """Replaces tensors by earlier ones, whose last versions theirs follow."""

    def __init__(self, moved: dict[int, int]) -> None:
        self.moved = moved
        self.latest: dict[tuple[Graph | None, int], Val] = {}

    def visit(self, old: Graph, key: int, node: Node, new: Graph, env: dict[int, Any]) -> Made | None:
        if node.op is ARG:
            return self.declared(node, new)
        if node.op is ASSIGN and env[node.inputs[0]] is None:
            home = self.moved[slot_of(old, node.inputs[0])]
            env = {**env, node.inputs[0]: self.latest.get((new, home)) or self.latest[None, home]}
        made = super().visit(old, key, node, new, env)
        for before, version in self.stored(node, made):
            slot = slot_of(old, before)
            self.latest[new, self.moved.get(slot, slot)] = version
        return made

    @staticmethod
    def stored(node: Node, made: Made | None) -> list[tuple[int, Val]]:
        """The tensors that a node stores to, as it found them, and what they are after it: a loop's also where nothing
        reads them.
        """
        if node.op in (ASSIGN, STORE) and isinstance(made, Val):
            return [(node.inputs[0], made)]
        if node.op is not FOR or not isinstance(made, list):
            return []
        return [(before, after) for before, after in zip(node.inputs[LOOP_BOUNDS:], made, strict=False)
                if isinstance(after, Val) and isinstance(after.type, TensorType)]

    def declared(self, node: Node, new: Graph) -> Made | None:
        """An argument, under its new number; one that another takes the place of is none."""
        slot = node["slot"]
        if self.moved.get(slot, slot) != slot:
            return None
        gone = sum(1 for s, home in self.moved.items() if s < slot and s != home)
        made = new.op(ARG, type=node.type, **{**dict(node.attrs), "slot": slot - gone})
        self.latest[None, slot] = made
        return made


def share_scratch(graph: Graph, first: int) -> Graph:
    """Let scratch tensors, from slot `first` on, take the place of earlier ones that nothing needs any more."""
    moved = merged(graph, first)
    return ShareScratch(moved).run(graph) if moved else graph
