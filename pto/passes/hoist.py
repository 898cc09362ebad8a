"""Block -> Block: what is the same in every iteration of a loop is loaded, moved and computed once, before it.

Integers are placed where they belong when they are made; these are the tiles. A tile goes outside of the loops that
nothing it is made of depends on, as far as

- no loop overwrites it: it is no initial value that a loop carries, and no accumulator;
- for a load: nothing in the loop stores to the tensor, and the loop surely runs, or the window is at the tensor's
  origin, for a window elsewhere may be outside of it where a loop does not run.

A tile outside of a loop stays in its memory while the loop runs. Where that does not fit, the pipeline goes on without
this pass. Of a program of several grids, nothing leaves a grid: between grids flags are few, for all of them are alive.
"""

from __future__ import annotations

from typing import Any

from pto.core.types import TileType
from pto.ir.graph import LOOP_BOUNDS, Graph, Node, Val
from pto.ir.ops import BLOCK_OPS, FOR
from pto.ir.rewrite import Made, Rewriter
from pto.isa.spec import Kind, Role
from pto.isa.table import move
from pto.passes.analysis import slot_of
from pto.passes.trips import Trips

LOAD, STORE = BLOCK_OPS[move.TLOAD.mnemonic], BLOCK_OPS[move.TSTORE.mnemonic]
ORIGIN = slice(1, 3)  # operands of a load: its first row and column


def is_overwritten(graph: Graph, key: int) -> bool:
    """Does a loop carry a tile on from here, or an instruction change it in place?"""
    return any(_changes(node, position) for _, node in dict(graph.users(key)).items()
               for position, source in enumerate(node.inputs) if source == key)


def _changes(node: Node, position: int) -> bool:
    if node.op is FOR:
        return LOOP_BOUNDS <= position < LOOP_BOUNDS + node.carried
    row = node.op.instr
    return row is not None and position == 0 and row.operands[0].role is Role.INOUT


def stored_slots(body: Graph) -> set[int]:
    """The argument slots that a body stores to."""
    return {slot_of(graph, node.inputs[0]) for graph, _, node in body.walk() if node.op is STORE}


class Hoist(Rewriter):
    """Makes tiles in the outermost graph that sees what they are made of."""

    def __init__(self) -> None:
        self.stores: dict[Graph, set[int]] = {}  # what the loop of a new body stores to
        self.runs: dict[Graph, bool] = {}  # whether that loop surely runs
        self.made: dict[Any, Val] = {}
        self.closed: set[Graph] = set()  # bodies that nothing leaves

    def run(self, old: Graph) -> Graph:
        self.trips = Trips(old)
        self.grids = sum("grid" in dict(node.attrs) for _, _, node in old.walk())
        return super().run(old)

    def block(self, old: Graph, new: Graph, env: dict[int, Any]) -> None:
        if old.outer is not None:
            loop = next(n for _, n in old.outer.items() if n.body is old)
            self.stores[new], self.runs[new] = stored_slots(old), self.trips.at_least_once(old.outer, loop)
            if "grid" in dict(loop.attrs) and self.grids > 1:
                self.closed.add(new)
        super().block(old, new, env)

    def visit(self, old: Graph, key: int, node: Node, new: Graph, env: dict[int, Any]) -> Made | None:
        if not self.may_move(old, key, node):
            return super().visit(old, key, node, new, env)
        inputs = [env[i] for i in node.inputs]
        home = self.home(old, node, new, inputs)
        if home is new:
            return super().visit(old, key, node, new, env)
        name = (id(home), node.op.name, node.type, node.attrs,
                *(v if isinstance(v, int) else (id(v.graph), v.key) for v in inputs))
        if name not in self.made:
            self.made[name] = home.op(node.op, *inputs, type=node.type, locs=node.locs, **dict(node.attrs))
        return self.made[name]

    def may_move(self, old: Graph, key: int, node: Node) -> bool:
        """Is it an instruction that makes a tile, of others or by a load, which stays what it is?"""
        row = node.op.instr
        if old.outer is None or row is None or not isinstance(node.type, TileType) or key in old.outputs:
            return False
        if node.op is not LOAD and any(o.kind is Kind.TENSOR for o in row.operands):
            return False
        return row.operands[0].role is Role.OUT and not is_overwritten(old, key)

    def home(self, old: Graph, node: Node, new: Graph, inputs: list[Any]) -> Graph:
        """The outermost graph that an instruction may go to."""
        least = max((v.graph.depth for v in inputs if isinstance(v, Val)), default=new.depth)
        home = new
        while home.depth > least and home.outer is not None and home not in self.closed and (
                node.op is not LOAD or self.load_may_leave(old, node, home, inputs)):
            home = home.outer
        return home

    def load_may_leave(self, old: Graph, node: Node, body: Graph, inputs: list[Any]) -> bool:
        """May a load go before the loop of a body?"""
        return slot_of(old, node.inputs[0]) not in self.stores[body] and (
            self.runs[body] or inputs[ORIGIN] == [0, 0])


def hoist(graph: Graph) -> Graph:
    """Make what is the same in every iteration of a loop before it."""
    return Hoist().run(graph)
