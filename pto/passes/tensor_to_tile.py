"""Tensor -> Tile: whole-tensor expressions become nests of loops over tiles; explicit tile loops are taken as they are.

An expression is expanded where it is stored: as an output, or by an assignment (see `expression.py` for its nest).
"""

from __future__ import annotations

from typing import Any

from pto.core.errors import UnsupportedError
from pto.ir.graph import Graph, Node, Val
from pto.ir.ops import ARG, DIM
from pto.ir.rewrite import Made, Rewriter
from pto.passes.analysis import RESULT, room
from pto.passes.choose_tiles import Tiles
from pto.passes.expression import Expression
from pto.passes.windows import ASSIGN, VIEW, Strided


class TensorToTile(Rewriter):
    """Expands what is needed of each tensor expression where it is stored."""

    level = "tile"

    def __init__(self, tiles: Tiles) -> None:
        self.tiles = tiles

    def run(self, old: Graph) -> Graph:
        new = Graph(name=old.name, level=self.level, symbols=old.symbols)
        env: dict[int, Any] = {}
        for key, node in old.items():  # declarations first: results follow the arguments
            if node.op in (DIM, ARG):
                env[key] = new.op(node.op, type=node.type, **dict(node.attrs))
        self.dims = {node["name"]: env[key] for key, node in old.items() if node.op is DIM}
        self.block(old, new, env)
        new.outputs = tuple(new.use(self.output(old, key, new, env)) for key in old.outputs)
        return new

    def expression(self, old: Graph, new: Graph, env: dict[int, Any]) -> Expression:
        return Expression(old, new, env, self.dims, self.tiles)

    def output(self, old: Graph, key: int, new: Graph, env: dict[int, Any]) -> Val:
        if env[key] is not None and not isinstance(env[key], Strided):  # a view that is returned is copied
            found: Val = env[key]
            return found
        node = old[key]
        made = room(new, node.type, sum(n.op is ARG for _, n in new.items()), RESULT)
        with new.because(node.locs):
            return self.expression(old, new, env).store(new, key, made, node.locs)

    def visit(self, old: Graph, key: int, node: Node, new: Graph, env: dict[int, Any]) -> Made | None:
        if node.op is ASSIGN:
            target, value, *view = node.inputs
            place = Strided(env[target], env[view[0]], tuple(env[k] for k in view[1:])) if view else None
            return self.expression(old, new, env).store(new, value, env[target], node.locs, place)
        if node.op is VIEW:
            base, offset, *strides = (env[i] for i in node.inputs)
            return Strided(base, offset, tuple(strides))
        if node.op.name.startswith("tensor."):
            return None  # made where it is stored
        if any(env[i] is None for i in node.inputs):
            raise UnsupportedError("a tile loop reads a whole-tensor expression", loc=(*node.locs, None)[0],
                                   hint="compute the expression on tiles, or split the kernel in two")
        return super().visit(old, key, node, new, env)


def tensor_to_tile(graph: Graph, tiles: Tiles) -> Graph:
    """Cut whole-tensor expressions into tiles of these extents."""
    return TensorToTile(tiles).run(graph)
