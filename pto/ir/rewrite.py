"""Copying a graph under a rule: the shape of most passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pto.core.types import EFFECT, INDEX, Type
from pto.ir.graph import LOOP_BOUNDS, Graph, Node, Val, captures
from pto.ir.ops import ARG, CONST, DIM, FOR, GET, INDEX_OPS, PARAM
from pto.isa.spec import Trait


class Promise:
    """What stands for a value that is made where it is used."""

    __slots__ = ()


Made = Val | int | list[Val] | Promise


def has_effect(node: Node) -> bool:
    """Does a node do more than make a value: an instruction on buffers, one that reports, or a loop with one?"""
    if node.body is not None:
        return any(has_effect(n) for _, n in node.body.items())
    row = node.op.instr
    return node.type == EFFECT or (row is not None and Trait.REPORTS in row.traits)


def alive(graph: Graph) -> set[int]:
    """Keys that an output or an effect needs; declarations are always alive."""
    found = set(graph.outputs)
    for key in reversed(range(len(graph))):
        node = graph[key]
        if key in found or node.op in (DIM, ARG) or has_effect(node):
            found.add(key)
            found.update(node.inputs)
    return found


class Rewriter:
    """Copies a graph into a new one without what is dead.

    Subclasses override `rule`, which returns what to use instead of a node, or None to copy it.
    """

    level: str | None = None

    def rule(self, graph: Graph, node: Node, inputs: list[Any]) -> Made | None:
        """The replacement of a node, given its operands in the new graph."""
        return None

    def type(self, type: Type) -> Type:
        """The type of a copied node."""
        return type

    def run(self, old: Graph) -> Graph:
        """The new root."""
        new = Graph(name=old.name, level=self.level or old.level, symbols=old.symbols, buffers=old.buffers)
        env: dict[int, Any] = {}
        self.block(old, new, env)
        new.outputs = tuple(new.use(env[k]) for k in old.outputs)
        return new

    def block(self, old: Graph, new: Graph, env: dict[int, Any]) -> None:
        """Copy the nodes of a graph or a body, from what `env` already has."""
        needed = alive(old)
        for key, node in old.items():
            if key in needed and key not in env and node.op is not PARAM:
                self.step(old, key, node, new, env)

    def step(self, old: Graph, key: int, node: Node, new: Graph, env: dict[int, Any]) -> None:
        """Note what one node is in the new graph; whatever is made for it has its spans."""
        with new.because(node.locs):
            env[key] = self.visit(old, key, node, new, env)

    def visit(self, old: Graph, key: int, node: Node, new: Graph, env: dict[int, Any]) -> Made | None:
        """One node, in the new graph; None: what uses it makes it."""
        if node.op is CONST:
            return int(node["value"])
        inputs = [env[i] for i in node.inputs]
        if node.op is GET:
            made: Made = inputs[0][node["index"]]
            return made
        found = self.rule(new, node, inputs)
        if found is not None:
            return found
        if node.op is FOR:
            return self.loop(node, new, inputs)
        if node.type == INDEX and node.op.name in INDEX_OPS:
            return new.index(node.op.name, *inputs)
        return new.op(node.op, *inputs, type=self.type(node.type), locs=node.locs, **dict(node.attrs))

    def loop(self, node: Node, new: Graph, inputs: list[Any]) -> Made:
        """A loop of the same shape, its body copied."""
        body, kept, values = node.body, self.carries(node), self.carried(node, inputs)
        assert body is not None

        def filled(some: Sequence[Val]) -> list[Any]:
            found = dict(enumerate(values)) | dict(zip(kept, some, strict=True))
            return [*found.values()]

        def copy(inner: Graph, counter: Val, carried: list[Val]) -> list[Val]:
            env = self.enter(node, [counter, *filled(carried)], inputs)
            self.block(body, inner, env)
            return [env[body.outputs[i]] for i in kept]

        inits = [v if isinstance(v, Val) else Val(new, new.use(v)) for v in (values[i] for i in kept)]
        return filled(new.loop(inputs[:LOOP_BOUNDS], inits, copy, node.locs, **dict(node.attrs)))

    def carries(self, node: Node) -> Sequence[int]:
        """Which of the values that a loop carries its copy carries."""
        return range(node.carried)

    def carried(self, node: Node, inputs: list[Any]) -> list[Any]:
        """The initial values of a loop."""
        return inputs[LOOP_BOUNDS:LOOP_BOUNDS + node.carried]

    def enter(self, node: Node, parameters: Sequence[Val | int], inputs: list[Any]) -> dict[int, Any]:
        """What a body's parameters are in the new graph."""
        body = node.body
        assert body is not None
        env: dict[int, Any] = dict(zip(body.params, parameters, strict=False))
        outer = dict(zip(node.inputs, inputs, strict=True))
        env.update({inner: outer[key] for key, inner in captures(node)})
        return env
