"""Tensor -> Tensor: what is made in room of the program's own, and then copied whole to an argument, is made there.

`out[:] = pt.attention(...)` stores tiles to a tensor that `pt.empty` made, and copies that. The argument takes its
place, where it is as large, its rows are as long, and nothing else uses either of the two. The room that is left has
one element.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

from pto.core.types import TensorType
from pto.ir.graph import LOOP_BOUNDS, Graph, Node
from pto.ir.ops import ARG, GET, TENSOR_OPS, TILE_OPS
from pto.ir.rewrite import Made, Rewriter
from pto.passes.analysis import RESULT, SCRATCH

ASSIGN, VIEW, STORE = TENSOR_OPS["assign"], TENSOR_OPS["view"], TILE_OPS["store"]
WHOLE = 2  # operands of an assignment of all


def room_of(graph: Graph, key: int) -> int | None:
    """The room whose last version a value is, or a view of the whole of; nothing else uses any version of it."""
    found: int | None = None
    while len(graph.users(key)) == 1 and key not in graph.outputs:
        node = graph[key]
        if node.op is ARG:
            return key if node["result"] in (RESULT, SCRATCH) else None
        if node.op is VIEW and found is None and is_whole(graph, node):
            key = node.inputs[0]
        elif node.op is GET:
            found, key = key, node.inputs[0]
            key = graph[key].inputs[LOOP_BOUNDS + node["index"]] if len(graph.users(key)) == 1 else key
        elif node.op in (STORE, ASSIGN):
            found, key = key, node.inputs[0]
        else:
            return None
    return None


def is_whole(graph: Graph, view: Node) -> bool:
    """Has a view all elements of its tensor, in their order?"""
    type, base = view.type, graph[view.inputs[0]].type
    assert isinstance(type, TensorType) and isinstance(base, TensorType)
    for axis, stride in enumerate(view.inputs[2:]):
        inner = type.dims[axis + 1:]
        dense = prod(n for n in inner if isinstance(n, int))
        if type.dims[axis] != 1 and (any(isinstance(n, str) for n in inner) or graph.constant(stride) != dense):
            return False
    return graph.constant(view.inputs[1]) == 0 and elements(base) == elements(type)


def elements(type: TensorType) -> tuple[int, list[str]]:
    """How many elements a tensor has: a number times extents."""
    return prod(n for n in type.dims if isinstance(n, int)), sorted(n for n in type.dims if isinstance(n, str))


def rows(type: TensorType) -> tuple[Any, ...]:
    """What must be equal of two tensors whose windows are to be at the same elements."""
    return type.dtype, type.dims[-1:], elements(type)


class ElideCopies(Rewriter):
    """Copies a graph without the copies of rooms."""

    def run(self, old: Graph) -> Graph:
        self.places: dict[int, int] = {}  # arguments, by the rooms that they stand for
        self.copies: set[int] = set()
        for key, node in old.items():
            if node.op is not ASSIGN or len(node.inputs) != WHOLE:
                continue
            target, value = node.inputs
            room = room_of(old, value)
            if room is not None and old[target].op is ARG and not old[target]["result"] and self.fit(old, target, room):
                self.places[room] = target
                self.copies.add(key)
        return super().run(old)

    def fit(self, old: Graph, target: int, room: int) -> bool:
        """May an argument stand for a room?"""
        one, other = old[target].type, old[room].type
        assert isinstance(one, TensorType) and isinstance(other, TensorType)
        return target < room and len(old.users(target)) == 1 and rows(one) == rows(other)

    def visit(self, old: Graph, key: int, node: Node, new: Graph, env: dict[int, Any]) -> Made | None:
        if old.outer is None and key in self.places:
            assert isinstance(node.type, TensorType)
            new.op(ARG, type=replace(node.type, dims=(1,)), **{**dict(node.attrs), "result": SCRATCH})
            found: Made = env[self.places[key]]
            return found
        if old.outer is None and key in self.copies:
            return self.source(old, node.inputs[1], env)
        if node.op in (STORE, ASSIGN):
            inputs = [env[i] for i in node.inputs]
            return new.op(node.op, *inputs, type=inputs[0].type, locs=node.locs, **dict(node.attrs))
        return super().visit(old, key, node, new, env)

    def source(self, old: Graph, key: int, env: dict[int, Any]) -> Made:
        """The version that a value, or a view of it, is."""
        while old[key].op is VIEW:
            key = old[key].inputs[0]
        found: Made = env[key]
        return found


def elide_copies(graph: Graph) -> Graph:
    """Make what is copied whole to an argument there."""
    return Rewriter().run(ElideCopies().run(graph))
