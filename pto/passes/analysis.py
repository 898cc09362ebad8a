"""Questions that several passes ask of a graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pto.core.types import TensorType, TileType, Type
from pto.ir.graph import LOOP_BOUNDS, Graph, Node, Val, captures, origin
from pto.ir.ops import ARG, CONST, DIM, FOR, GET, INDEX_OPS, PARAM, STRUCTURE, TENSOR_OPS, TILE_OPS

STORE, LOAD = TILE_OPS["store"], TILE_OPS["load"]
RESULT, SCRATCH = 1, 2  # kinds of room of the program's own


def is_expression(node: Node) -> bool:
    """Is it a whole-tensor value that has no memory of its own yet: computed where it is stored?"""
    return node.op.name.startswith("tensor.") and node.op not in (TENSOR_OPS["assign"], TENSOR_OPS["view"])


def room(root: Graph, type: Type, slot: int, kind: int) -> Val:
    """A tensor of the program's own, declared in its root."""
    name = f"{'result' if kind == RESULT else 'scratch'}{slot}"
    taken = {n["name"] for _, n in root.items() if n.op in (ARG, DIM)}
    while name in taken:
        name += "_"
    return root.op(ARG, type=type, name=name, slot=slot, result=kind)


def deep_users(graph: Graph, key: int) -> list[tuple[Graph, int, Node]]:
    """The users of a value, and those inside the loops that capture or carry it."""
    found: list[tuple[Graph, int, Node]] = []
    for user, node in dict(graph.users(key)).items():
        if node.op is not FOR:
            found.append((graph, user, node))
            continue
        assert node.body is not None
        for position, source in enumerate(node.inputs):
            if source == key and position >= LOOP_BOUNDS:
                inner = node.body.params[1 + position - LOOP_BOUNDS]
                found += deep_users(node.body, inner) or [(graph, user, node)]
    return found


def stored_at(node: Node) -> tuple[int, ...]:
    """Operands of a store that say where: row and column."""
    return node.inputs[2:4]


def is_parallel(node: Node) -> bool:
    """May the iterations of a loop run in any order, on any core?

    A pass that made the loop says so; else every carried value is a tensor, and the counter, or a multiple of it, is a
    row or column offset of every store to it, or says where the matrix begins that is stored to.
    """
    body = node.body
    if dict(node.attrs).get("parallel"):
        return True
    if body is None or not node.carried:
        return False
    counter, *rest = body.params
    carried, captured = rest[:node.carried], rest[node.carried:]
    if any(isinstance(body[p].type, TensorType) and _is_written(body, p) for p in captured):
        return False  # scratch that every iteration uses
    reach = _reach(body, counter, _constant_step(node), set(captured))
    return all(isinstance(body[p].type, TensorType) and _stored_by(body, p, reach) for p in carried)


@dataclass(frozen=True, slots=True)
class Monomial:
    """An integer times values of a program, each as the graph that makes it and its key there."""

    factor: int
    values: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, graph: Graph, key: int) -> Monomial:
        """What a value is, as far as it is a product."""
        graph, key = origin(graph, key)
        value, node = graph.constant(key), graph[key]
        if value is not None:
            return cls(value)
        if node.op is INDEX_OPS["mul"]:
            a, b = (cls.of(graph, i) for i in node.inputs)
            return a * b
        return cls(1, ((id(graph), key),))

    def __mul__(self, other: Monomial) -> Monomial:
        return Monomial(self.factor * other.factor, tuple(sorted(self.values + other.values)))

    def is_within(self, other: Monomial) -> bool:
        """Is it no larger, where no value is negative?"""
        return self.values == other.values and self.factor <= other.factor


Reach = Mapping[int, Monomial]


def _reach(body: Graph, counter: int, step: int, fixed: set[int]) -> Reach:
    """How far apart the iterations of a loop are in each value that is its counter, or a multiple of it, or the sum of
    such a one and of what is the same in all of them (`fixed`).
    """
    found = {counter: Monomial(step)}
    if step <= 0:
        return found
    for key, node in body.items():
        moving = [i for i in node.inputs if i in found]
        if len(moving) != 1 or node.op not in (INDEX_OPS["mul"], INDEX_OPS["add"]):
            continue
        other = next(i for i in node.inputs if i != moving[0])
        same = other in fixed or body.constant(other) is not None
        if node.op is INDEX_OPS["mul"] and same:
            factor = Monomial.of(body, other)
            if factor.factor > 0:
                found[key] = found[moving[0]] * factor
        elif same:
            found[key] = found[moving[0]]
    return found


def _constant_step(loop: Node) -> int:
    """The step of a loop, where its body's graph tells; else 0."""
    outer = loop.body.outer if loop.body is not None else None
    return (outer.constant(loop.inputs[2]) or 0) if outer is not None else 0


def _is_written(graph: Graph, version: int) -> bool:
    """Is a tensor stored to, here or in a loop?"""
    for _, node in graph.users(version):
        if node.op is STORE and node.inputs[0] == version:
            return True
        if node.op is FOR and node.body is not None:
            inner = [node.body.params[1 + p - LOOP_BOUNDS] for p, i in enumerate(node.inputs)
                     if i == version and p >= LOOP_BOUNDS]
            if any(_is_written(node.body, p) for p in inner):
                return True
    return False


def _stored_by(graph: Graph, version: int, reach: Reach) -> bool:
    """Does every store to a version, and every load of it, sit at an offset of the loop's own (also in inner loops),
    and reach no further than to the next iteration's?
    """
    return all(_store_uses(graph, node, version, reach) for _, node in graph.users(version))


def _store_uses(graph: Graph, node: Node, version: int, reach: Reach) -> bool:
    if node.op in (STORE, LOAD):
        tile = graph[node.inputs[1]].type if node.op is STORE else node.type
        assert isinstance(tile, TileType)
        where, view = (node.inputs[2:4], node.inputs[6:]) if node.op is STORE else (node.inputs[1:3], node.inputs[5:])
        return any(at in reach and Monomial(extent).is_within(reach[at])
                   for at, extent in zip(where, (tile.rows, tile.cols), strict=True)) or _own_matrix(graph, view, reach)
    if node.op is not FOR:
        return False
    assert node.body is not None
    inner = dict(zip(node.inputs[LOOP_BOUNDS:], node.body.params[1:], strict=True))
    return version in inner and _stored_by(node.body, inner[version],
                                           {inner[k]: n for k, n in reach.items() if k in inner})


def _own_matrix(graph: Graph, view: tuple[int, ...], reach: Reach) -> bool:
    """Do the matrices that iterations see, given by offset, extents and strides, lie behind each other?"""
    if not view or view[0] not in reach:
        return False
    rows, cols, down, across = (Monomial.of(graph, key) for key in view[1:])
    if across != Monomial(1):
        rows, cols, down, across = cols, rows, across, down
    return across == Monomial(1) and cols.is_within(down) and (rows * down).is_within(reach[view[0]])


def carries_sum(node: Node, position: int) -> tuple[int, int] | None:
    """(addition, product) in a loop's body where a carried value is only ever added a matrix product to."""
    body = node.body
    assert body is not None
    carried, result = body.params[1 + position], body.outputs[position]
    addition = body[result]
    if addition.op is not TILE_OPS["add"] or carried not in addition.inputs or len(body.users(carried)) != 1:
        return None
    product = next((i for i in addition.inputs if i != carried), carried)
    if body[product].op is not TILE_OPS["matmul"] or len(body.users(product)) != 1:
        return None
    others = [user for user, _ in body.users(result)]
    return None if others or body.outputs.count(result) != 1 else (result, product)


def inner_work(graph: Graph) -> list[Node]:
    """The nodes of a body that are more than integers and structure."""
    return [n for _, n in graph.items() if n.op.name not in INDEX_OPS and (n.op not in STRUCTURE or n.op is FOR)]


def parallel_nest(node: Node) -> list[Node]:
    """A parallel loop and the parallel loops that are all its work, while their bounds depend on no counter."""
    loops, outside = [node], set(node.body.params[1 + node.carried:]) if node.body else set()
    while True:
        body = loops[-1].body
        assert body is not None
        work = inner_work(body)
        if len(work) != 1 or work[0].op is not FOR or not is_parallel(work[0]):
            return loops
        fixed = {k for k, n in body.items() if n.op is CONST} | outside
        if not fixed.issuperset(work[0].inputs[:LOOP_BOUNDS]):
            return loops
        loops.append(work[0])
        outside = {inner for outer, inner in captures(work[0]) if outer in fixed}


def slot_of(graph: Graph, key: int) -> int:
    """The argument slot that a tensor version is a version of; `graph` may be a body of the root.

    -1: of none, as a view of what has no memory yet.
    """
    node = graph[key]
    if node.op is ARG:
        return int(node["slot"])
    if node.op is GET:
        loop = graph[node.inputs[0]]
        return slot_of(graph, loop.inputs[LOOP_BOUNDS + node["index"]])
    if node.op is PARAM and graph.outer is not None:
        return _slot_of_param(graph, key)
    if is_expression(node):
        return -1
    return slot_of(graph, node.inputs[0])


def _slot_of_param(graph: Graph, key: int) -> int:
    outer = graph.outer
    assert outer is not None
    position = graph.params.index(key)
    for _, node in outer.items():
        if node.body is graph:
            return slot_of(outer, node.inputs[LOOP_BOUNDS + position - 1])
    sources = {k: v for v, k in graph.captured.items()} | graph.carries  # the loop is under construction
    return slot_of(sources[key].graph, sources[key].key)
