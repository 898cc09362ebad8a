"""Tensor -> Tensor: what is made in room of the program's own, and then copied whole to an argument, is made there.

`out[:] = pt.attention(...)` stores tiles to a tensor that `pt.empty` made, and copies that. The argument takes its
place, where it is as large, its rows are as long, and nothing else uses either of the two. The room that is left has
one element.

What is returned as a view of all its elements is made in a result of the view's extents.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

from pto.core.types import TensorType
from pto.ir.graph import LOOP_BOUNDS, Graph, Node, Val
from pto.ir.ops import ARG, DIM, GET, TENSOR_OPS, TILE_OPS
from pto.ir.rewrite import Made, Rewriter
from pto.passes.analysis import RESULT, SCRATCH, is_expression, room
from pto.passes.offsets import Offsets, Sum

ASSIGN, VIEW, STORE = TENSOR_OPS["assign"], TENSOR_OPS["view"], TILE_OPS["store"]
WHOLE = 2  # operands of an assignment of all
MATRIX = 2  # axes


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
    type, base, offsets = view.type, graph[view.inputs[0]].type, Offsets()
    assert isinstance(type, TensorType) and isinstance(base, TensorType)
    dense = Sum.number(1)
    for extent, stride in zip(type.dims[::-1], view.inputs[:1:-1], strict=True):
        if extent != 1 and offsets.of(graph, stride) != dense:
            return False
        dense *= offsets.extent(graph, extent)
    all_of_base = prod((offsets.extent(graph, n) for n in base.dims), start=Sum.number(1))
    return graph.constant(view.inputs[1]) == 0 and all_of_base == dense


def elements(type: TensorType) -> tuple[int, list[str]]:
    """How many elements a tensor has: a number times extents."""
    return prod(n for n in type.dims if isinstance(n, int)), sorted(n for n in type.dims if isinstance(n, str))


def rows(type: TensorType) -> tuple[Any, ...]:
    """What must be equal of two tensors whose windows are to be at the same elements."""
    return type.dtype, type.dims[-1:], elements(type)


def is_placed(graph: Graph, key: int) -> bool:
    """Do all stores to a room say where each element is, whatever the extents of the room?"""
    while graph[key].op is ASSIGN and len(graph[key].inputs) > WHOLE:
        key = graph[key].inputs[0]
    return graph[key].op is ARG


class ElideCopies(Rewriter):
    """Copies a graph without the copies of rooms."""

    def run(self, old: Graph) -> Graph:
        self.places: dict[int, int] = {}  # arguments, by the rooms that they stand for
        self.copies: set[int] = set()
        for key, node in old.items():
            if node.op is not ASSIGN or len(node.inputs) != WHOLE:
                continue
            target, value = node.inputs
            made = room_of(old, value)
            if made is not None and old[target].op is ARG and not old[target]["result"] and self.fit(old, target, made):
                self.places[made] = target
                self.copies.add(key)
        self.results: dict[int, TensorType] = {}  # extents of rooms that are returned as views of all of them
        self.returned: set[int] = set()  # such views
        for key in (k for k in old.outputs if self.is_returned(old, k)):
            base, type = old[key].inputs[0], old[key].type
            assert isinstance(type, TensorType)
            home = room_of(old, base)
            if self.is_made_there(old, base):
                self.returned.add(key)
            elif home is not None and (rows(type) == rows(self.type_of(old, home)) or is_placed(old, base)):
                self.results[home] = type
                self.returned.add(key)
        self.slots = sum(node.op is ARG for _, node in old.items())
        return super().run(old)

    def is_returned(self, old: Graph, key: int) -> bool:
        """Is it a view of all of what nothing else uses, and only returned?"""
        node = old[key]
        return (node.op is VIEW and not old.users(key) and old.outputs.count(key) == 1 and is_whole(old, node)
                and len(old.users(node.inputs[0])) == 1 and node.inputs[0] not in old.outputs)

    def is_made_there(self, old: Graph, key: int) -> bool:
        """Is it an expression that can be stored in other extents? One of many axes is computed as if it had two."""
        return is_expression(old[key]) and len(self.type_of(old, key).dims) <= MATRIX

    def type_of(self, old: Graph, key: int) -> TensorType:
        """The type of a tensor."""
        type = old[key].type
        assert isinstance(type, TensorType)
        return type

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
        if old.outer is None and key in self.results:
            return new.op(ARG, type=self.results[key], **{**dict(node.attrs), "result": RESULT})
        if old.outer is None and key in self.returned:
            base = node.inputs[0]
            made: Made = env[base]
            return self.stored(old, base, node, new, env) if is_expression(old[base]) else made
        if node.op in (STORE, ASSIGN):
            inputs = [env[i] for i in node.inputs]
            return new.op(node.op, *inputs, type=inputs[0].type, locs=node.locs, **dict(node.attrs))
        return super().visit(old, key, node, new, env)

    def stored(self, old: Graph, key: int, view: Node, new: Graph, env: dict[int, Any]) -> Val:
        """An expression in a result of the extents of a view of it."""
        dims = {node["name"]: env[k] for k, node in old.items() if node.op is DIM}
        strides: list[Any] = [1]
        for extent in self.type_of(old, key).dims[:0:-1]:
            strides.insert(0, new.index("mul", strides[0], dims.get(extent, extent)))
        self.slots += 1
        target = room(new, view.type, self.slots - 1, RESULT)
        strides = strides[:len(self.type_of(old, key).dims)]
        return new.op(ASSIGN, target, env[key], 0, *strides, type=view.type, locs=view.locs)

    def source(self, old: Graph, key: int, env: dict[int, Any]) -> Made:
        """The version that a value, or a view of it, is."""
        while old[key].op is VIEW:
            key = old[key].inputs[0]
        found: Made = env[key]
        return found


def elide_copies(graph: Graph) -> Graph:
    """Make what is copied whole to an argument there."""
    return Rewriter().run(ElideCopies().run(graph))
