"""Block -> Execution: instructions on buffers, in order; tiles are no longer values.

Values that must share memory share a buffer: a carried value, its initial value, its next value and the
loop's result; an accumulation and what it accumulates to. Tile -> Block made copies where sharing would
overwrite what is still needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from itertools import chain, count
from typing import Any

from networkx.utils import UnionFind

from pto.core.errors import Loc
from pto.core.types import INDEX, Space, TensorType, TileType
from pto.ir.graph import LOOP_BOUNDS, Buffer, Graph, Node, Val
from pto.ir.ops import ALLOC, ARG, CONST, DIM, EXECUTION_OPS, FOR, GET, INDEX_OPS, PARAM
from pto.isa.spec import Kind, Role
from pto.isa.table import scalar, vector
from pto.passes.analysis import slot_of

Key = tuple[int, int]  # identity of a graph, key of a node


def sharing(root: Graph) -> UnionFind:
    """Classes of tile values that share a buffer."""
    classes = UnionFind()
    for graph, key, node in root.walk():
        here = (id(graph), key)
        if isinstance(node.type, TileType):
            classes[here]
        if node.body is not None:
            body = node.body
            for position, source in enumerate(node.inputs[LOOP_BOUNDS:], start=1):
                if isinstance(graph[source].type, TileType):
                    classes.union((id(graph), source), (id(body), body.params[position]))
            for parameter, output in zip(body.params[1:], body.outputs, strict=False):
                if isinstance(body[output].type, TileType):
                    classes.union((id(body), parameter), (id(body), output))
        elif isinstance(node.type, TileType) and node.op is GET:
            classes.union((id(graph), graph[node.inputs[0]].inputs[LOOP_BOUNDS + node["index"]]), here)
        elif node.op.instr is not None and node.op.instr.operands[0].role is Role.INOUT:
            classes.union((id(graph), node.inputs[0]), here)
    in_place(root, classes)
    return classes


def in_place(root: Graph, classes: UnionFind) -> None:
    """Let an elementwise result take the place of an operand that nothing needs after it.

    Both must be alone so far, so that a value which a loop carries is never written early.
    """
    size = Counter(classes[member] for member in list(classes))
    chained: set[Key] = set()
    for graph, key, node in root.walk():
        here = (id(graph), key)
        if not _elementwise(node) or size[classes[here]] != 1 or key in graph.outputs:
            continue
        for source in dict.fromkeys(i for i in node.inputs if isinstance(graph[i].type, TileType)):
            there = (id(graph), source)
            made = graph[source]
            alone = made.op.instr is not None and (there in chained or size[classes[there]] == 1)
            dies = source not in graph.outputs and max(user for user, _ in graph.users(source)) == key
            if dies and made.type == node.type and (alone or _leads_on(graph, source, key)):
                classes.union(there, here)
                chained |= {here}
                break


def _leads_on(graph: Graph, source: int, key: int) -> bool:
    """Is a carried value made into another that only leads to the next one, which is elementwise of it?

    Between the two nothing else is in that place, then.
    """
    if source not in graph.params[1:1 + len(graph.outputs)]:
        return False
    after = graph.outputs[graph.params.index(source) - 1]
    return _elementwise(graph[after]) and [user for user, _ in graph.users(key)] == [after]


def _elementwise(node: Node) -> bool:
    row = node.op.instr
    return row is not None and isinstance(node.type, TileType) and (
        bool(row.tensor_op) or row in (vector.TROWEXPANDEXPDIF, vector.TCLAMPS))


class Bufferize:
    """Builds the Execution graph, without slots, addresses or flags."""

    def __init__(self, old: Graph) -> None:
        self.old, self.classes = old, sharing(old)
        self.buffers: dict[Any, Buffer] = {}
        self.views: dict[Any, int] = {}
        self.next: dict[str, Iterator[int]] = {}  # the number to try for the next buffer of a name
        self.taken = set(self.root_names.values())

    def run(self) -> Graph:
        new = Graph(name=self.old.name, level="execution", symbols=self.old.symbols)
        self.block(self.old, new, {})
        new.buffers = tuple(self.buffers.values())
        return new

    def buffer(self, graph: Graph, key: int) -> str:
        """The name of the buffer of a tile value; named after what first writes it."""
        found = self.classes[id(graph), key]
        if found not in self.buffers:
            self.buffers[found] = Buffer(self.unique(self.title(graph, key)), graph[key].type)
        return self.buffers[found].name

    def unique(self, base: str) -> str:
        """A name that no other buffer and no argument has."""
        names = chain([base] * (base not in self.next), (f"{base}_{n}" for n in self.next.setdefault(base, count(1))))
        found = next(name for name in names if name not in self.taken)
        self.taken.add(found)
        return found

    def title(self, graph: Graph, key: int) -> str:
        """What a listing calls a buffer: the argument it is loaded from, or the operation that makes it."""
        node = graph[key]
        assert isinstance(node.type, TileType) and node.type.space is not None
        if node.type.space is Space.L0C:
            return "acc"
        tensors = [i for i in node.inputs if isinstance(graph[i].type, TensorType)]
        if tensors:
            return f"{self.root_names[slot_of(graph, tensors[0])]}_{node.type.space.value}"
        tiles = [i for i in node.inputs if isinstance(graph[i].type, TileType)]
        if node.type.space in (Space.L0A, Space.L0B) and tiles:
            return f"{self.buffer(graph, tiles[0]).split('_')[0]}_{node.type.space.value}"
        return node.op.instr.tensor_op or node.op.name if node.op.instr else "tile"

    @cached_property
    def root_names(self) -> dict[int, str]:
        return {n["slot"]: n["name"] for _, n in self.old.items() if n.op is ARG}

    def block(self, old: Graph, new: Graph, env: dict[int, Any]) -> None:
        for key, node in old.items():
            if key in env or node.op in (PARAM, ALLOC) or (node.op is GET and node.type != INDEX):
                continue
            with new.because(node.locs):
                self.step(old, key, node, new, env)

    def step(self, old: Graph, key: int, node: Node, new: Graph, env: dict[int, Any]) -> None:
        """One node, in the new graph."""
        if node.op is CONST:
            env[key] = int(node["value"])
        elif node.op is ARG or node.op is DIM:
            env[key] = new.op(node.op, type=node.type, **dict(node.attrs))
        elif node.op is GET:
            env[key] = env[node.inputs[0]][node["index"]]
        elif node.op is FOR:
            env[key] = self.loop(node, new, env)
        elif node.op.name in INDEX_OPS:
            env[key] = new.index(node.op.name, *(env[i] for i in node.inputs))
        else:
            self.instruction(old, key, node, new, env)

    def loop(self, node: Node, new: Graph, env: dict[int, Any]) -> dict[int, Val]:
        """Only integers are still carried; gives them by their old position."""
        body = node.body
        assert body is not None
        kept = [i for i, o in enumerate(body.outputs) if body[o].type == INDEX]
        inits = [env[node.inputs[LOOP_BOUNDS + i]] for i in kept]
        inits = [v if isinstance(v, Val) else Val(new, new.use(v)) for v in inits]

        def copy(inner: Graph, counter: Val, carried: list[Val]) -> list[Any]:
            deep: dict[int, Any] = {body.params[0]: counter}
            deep.update({body.params[1 + i]: v for i, v in zip(kept, carried, strict=True)})
            for position, source in enumerate(node.inputs[LOOP_BOUNDS + node.carried:], start=1 + node.carried):
                if source in env:
                    deep[body.params[position]] = env[source]
            self.block(body, inner, deep)
            return [deep[body.outputs[i]] for i in kept]

        made = new.loop([env[i] for i in node.inputs[:LOOP_BOUNDS]], inits, copy, node.locs, **dict(node.attrs))
        return dict(zip(kept, made, strict=True))

    def view(self, graph: Graph, slot: int, operands: list[Any], locs: tuple[Loc, ...]) -> int:
        """The number of a tensor operand: its slot, or a view, set in the outermost graph that sees its operands."""
        if not operands:
            return slot
        name = (slot, *(v if isinstance(v, int) else (id(v.graph), v.key) for v in operands))
        if name not in self.views:
            self.views[name] = sum(n.op is ARG for _, n in self.old.items()) + len(self.views)
            root = graph
            while root.outer is not None:
                root = root.outer
            home = max((v.graph for v in operands if isinstance(v, Val)), key=lambda g: g.depth, default=root)
            home.op(EXECUTION_OPS[scalar.TVIEW.mnemonic], *operands, locs=locs, view=self.views[name], src=slot)
        return self.views[name]

    def instruction(self, old: Graph, key: int, node: Node, new: Graph, env: dict[int, Any]) -> None:
        row = node.op.instr
        assert row is not None
        values = iter(node.inputs)
        inputs: list[Any] = []
        tiles: list[str] = []
        attrs: dict[str, Any] = dict(node.attrs)
        for position, operand in enumerate(row.operands):
            made = operand.role is Role.OUT and operand.kind is Kind.TILE
            if operand.kind is Kind.SCALAR:
                continue
            source = key if made else next(values)
            if operand.kind is Kind.TILE:
                tiles.append(self.buffer(old, source))
                inputs.append(0)
            elif operand.kind is Kind.TENSOR:
                attrs[operand.name] = slot_of(old, source)
            else:
                assert row.operands[position].kind is Kind.INDEX
                inputs.append(env[source])
        for name in [o.name for o in row.operands if o.kind is Kind.TENSOR]:
            attrs[name] = self.view(new, attrs[name], [env[k] for k in values], node.locs)
        new.op(EXECUTION_OPS[row.mnemonic], *inputs, locs=node.locs, tiles=tuple(tiles), **attrs)


def bufferize(graph: Graph) -> Graph:
    """Turn a Block graph into an Execution graph."""
    return Bufferize(graph).run()
