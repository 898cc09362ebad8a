"""Tensor -> Tensor: which values get a tensor of their own in global memory, and which are computed where needed.

An expression that is stored becomes one nest of loops (see tensor_to_tile). A value inside it is computed again,
tile by tile, wherever it is used; that is right for cheap elementwise chains and wrong for

- operands of a matrix product that hold a product or a row reduction (they would be computed for every tile);
- products that are used more than once, as a softmax uses its scores;
- row reductions on top of so many others that each of their stages would compute again what all before it did;
- values that an explicit tile loop reads.

These are assigned to a scratch tensor, in an earlier nest of the same program. A loop that carries whole tensors (as
one over the layers of a network does) writes the next value into the tensor that it carries.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pto.core.types import TensorType
from pto.ir.graph import LOOP_BOUNDS, Graph, Node, Val
from pto.ir.ops import ARG, FOR, GET, REDUCTIONS, TENSOR_OPS, TILE_OPS
from pto.ir.rewrite import Made, Rewriter
from pto.passes.analysis import RESULT, SCRATCH, is_expression, room, slot_of, view_of, written_slots
from pto.passes.offsets import Block, Offsets
from pto.passes.share_scratch import share_scratch

ASSIGN, VIEW, GATHER, TAKE = (TENSOR_OPS[name] for name in ("assign", "view", "gather", "take"))
PRODUCTS = {TENSOR_OPS[name] for name in ("matmul", "packed_matmul")}
COSTLY = {*PRODUCTS, TENSOR_OPS["unpack"]}
STORE = TILE_OPS["store"]
MOST_STAGES = 3  # of row reductions in one nest; layer_norm has two
REDUCES = {TENSOR_OPS[name] for name in REDUCTIONS}


def last_uses(graph: Graph) -> dict[int, int]:
    """Where each expression is evaluated at the latest: by a node that stores it or reads it as a tile."""
    found: dict[int, int] = {}
    for key in reversed(range(len(graph))):
        users = [found[k] if is_expression(n) or n.op is VIEW else k for k, n in graph.users(key)]
        found[key] = max([len(graph)] * (key in graph.outputs) + users, default=key)
    return found


def moves_within(graph: Graph, node: Node) -> bool:
    """Does an assignment copy a part of a tensor to the tensor itself, to where it may read it later?"""
    target, value, *place = node.inputs
    view, type = view_of(graph, value), graph[value].type
    if is_expression(graph[value]) or slot_of(graph, value) != slot_of(graph, target) or not (place or view):
        return False
    if not place or not view:
        return True
    assert isinstance(type, TensorType)
    offsets = Offsets()
    home, source = view
    first, *strides = (offsets.of(home, k) for k in source.inputs[1:])
    second, *others = (offsets.of(graph, k) for k in place)
    axes = [(offsets.extent(graph, dim), stride) for dim, stride in zip(type.dims, strides, strict=True)]
    block = Block.of(offsets, axes)
    return strides != others or block is None or bool((first - second).modulo(block.size).terms)


class Costs:
    """Which values hold a product or a reduction that would be computed again."""

    def __init__(self, graph: Graph) -> None:
        self.product: set[int] = set()
        self.reduction: set[int] = set()
        self.stored: set[int] = set()
        self.stages: dict[int, int] = {}  # row reductions one after the other below a value, in its nest
        self.writes = [(k, slot) for k, n in graph.items() for slot in written_slots(graph, n)]
        self.last = last_uses(graph)
        for key, node in graph.items():
            if is_expression(node):
                self._note(key, node)
                if self._must(graph, key, node):
                    self.stored.add(key)
                    self.product.discard(key)
                    self.reduction.discard(key)
                    self.stages[key] = 0

    def clobbers(self, graph: Graph, key: int, slot: int, *, part: bool = False) -> bool:
        """Does an expression read the tensor that it is stored to (or a part of it), elsewhere than at the element it
        writes?
        """
        leaves, far = set(), key in self.product or key in self.reduction
        for k, computed in self._inside(graph, key):
            if computed:
                far |= graph[k].op in (GATHER, TAKE)
            elif isinstance(graph[k].type, TensorType) and slot_of(graph, k) == slot:
                leaves.add(k)
                far |= graph[k].op is VIEW or graph[k].type != graph[key].type or part
        return bool(leaves) and far

    def _overtaken(self, graph: Graph, key: int) -> bool:
        """Is a tensor that an expression reads stored to between where it stands and where it is used?"""
        between = {slot for k, slot in self.writes if key < k < self.last[key]}
        if not between:
            return False
        return any(not computed and isinstance(graph[k].type, TensorType) and slot_of(graph, k) in between
                   for k, computed in self._inside(graph, key))

    def _inside(self, graph: Graph, key: int) -> Iterator[tuple[int, bool]]:
        """The values of an expression, each once, and whether they are computed with it: else they are its leaves."""
        seen, stack = {key}, [key]
        while stack:
            k = stack.pop()
            computed = is_expression(graph[k]) and (k == key or k not in self.stored)
            yield k, computed
            more = set(graph[k].inputs) - seen if computed else set()
            seen |= more
            stack += more

    def _note(self, key: int, node: Node) -> None:
        if node.op in COSTLY or self.product & set(node.inputs):
            self.product.add(key)
        if node.op in REDUCES or self.reduction & set(node.inputs):
            self.reduction.add(key)
        self.stages[key] = max([self.stages.get(i, 0) for i in node.inputs], default=0) + (node.op in REDUCES)

    def _must(self, graph: Graph, key: int, node: Node) -> bool:
        users = [n for _, n in graph.users(key)]
        if self._overtaken(graph, key):
            return True
        if any(self.clobbers(graph, key, slot_of(graph, n.inputs[0]), part=len(n.inputs) > 2)
               for n in users if n.op is ASSIGN):
            return True
        outside = [n for n in users if not n.op.name.startswith("tensor.") or n.op is VIEW]
        if any(n.op is GATHER or (n.op is TAKE and n.inputs[0] == key) for n in users):
            return True
        operand = any(n.op in PRODUCTS for n in users)
        costly = key in self.product or key in self.reduction
        uses = len(users) + graph.outputs.count(key)
        deep = node.op in REDUCES and self.stages[key] >= MOST_STAGES
        return bool(outside) or (operand and costly) or deep or (key in self.product and uses > 1)


class Materialise(Rewriter):
    """Assigns what must be stored to scratch tensors, and what is returned to results."""

    def __init__(self) -> None:
        self.costs: dict[int, Costs] = {}
        self.slots = 0  # that are taken

    def run(self, old: Graph) -> Graph:
        self.slots = sum(node.op is ARG for _, node in old.items())
        return super().run(old)

    def of(self, graph: Graph) -> Costs:
        """What is known of the values of a graph or body."""
        if id(graph) not in self.costs:
            self.costs[id(graph)] = Costs(graph)
        return self.costs[id(graph)]

    def visit(self, old: Graph, key: int, node: Node, new: Graph, env: dict[int, Any]) -> Made | None:
        if node.op is FOR:
            return self.carry(old, key, node, new, [env[i] for i in node.inputs])
        if node.op is ARG and node["result"] == RESULT and not self.returns(old, node["slot"]):
            return room(new, node.type, node["slot"], SCRATCH)
        if node.op is ASSIGN and moves_within(old, node):
            env = env | {node.inputs[1]: self.assigned(new, env[node.inputs[1]], SCRATCH, node)}
        made = super().visit(old, key, node, new, env)
        if key not in self.of(old).stored:
            return made
        returned = old.outer is None and key in old.outputs
        assert isinstance(made, Val)
        return self.assigned(new, made, RESULT if returned else SCRATCH, node)

    def returns(self, root: Graph, slot: int) -> bool:
        """Is a tensor in a slot one of the outputs?"""
        return any(slot_of(root, k) == slot for k in root.outputs if not is_expression(root[k]))

    def assigned(self, graph: Graph, value: Val, kind: int, node: Node) -> Val:
        """A value in a tensor of its own."""
        root = graph
        while root.outer is not None:
            root = root.outer
        self.slots += 1
        return graph.apply(ASSIGN, room(root, value.type, self.slots - 1, kind), value, locs=node.locs)

    def carry(self, old: Graph, key: int, node: Node, new: Graph, inputs: list[Any]) -> Made:
        """A loop: a tensor that it carries and does not store to itself gets a tensor, written at each turn's end."""
        body = node.body
        assert body is not None
        fresh = [i for i, o in enumerate(body.outputs) if self.replaced(body, i, o)]
        returned = {n["index"] for k, n in old.users(key) if n.op is GET and k in old.outputs and old.outer is None}
        inits = [v if isinstance(v, Val) else Val(new, new.use(v)) for v in self.carried(node, inputs)]
        for i in fresh:
            inits[i] = self.assigned(new, inits[i], RESULT if i in returned else SCRATCH, node)

        def copy(inner: Graph, counter: Val, carried: list[Val]) -> list[Val]:
            env = self.enter(node, [counter, *carried], inputs)
            self.block(body, inner, env)
            results = [env[k] for k in body.outputs]
            for i in fresh:
                slot = slot_of(body, body.params[1 + i])
                if len(fresh) > 1 or self.of(body).clobbers(body, body.outputs[i], slot):
                    results[i] = self.assigned(inner, results[i], SCRATCH, body[body.outputs[i]])
            for i in fresh:
                results[i] = inner.apply(ASSIGN, carried[i], results[i], locs=body[body.outputs[i]].locs)
            return results

        return new.loop(inputs[:LOOP_BOUNDS], inits, copy, node.locs, **dict(node.attrs))

    def replaced(self, body: Graph, position: int, output: int) -> bool:
        """Is a carried tensor another one after each turn, rather than the same, stored to?"""
        if not isinstance(body[output].type, TensorType):
            return False
        key = output
        while body[key].op in (STORE, ASSIGN, GET):
            node = body[key]
            if node.op is not GET:
                key = node.inputs[0]
                continue
            loop, at = body[node.inputs[0]], node["index"]
            assert loop.body is not None
            if self.replaced(loop.body, at, loop.body.outputs[at]):
                return True
            key = loop.inputs[LOOP_BOUNDS + at]
        return key != body.params[1 + position]


def materialise(graph: Graph) -> Graph:
    """Give a tensor to the values that need one: of their own, or one that nothing needs any more."""
    return share_scratch(Materialise().run(graph), sum(node.op is ARG for _, node in graph.items()))
