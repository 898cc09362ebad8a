"""Questions that several passes ask of a graph."""

from __future__ import annotations

from pto.core.types import Type
from pto.ir.graph import LOOP_BOUNDS, Graph, Node, Val, origin
from pto.ir.ops import ARG, DIM, FOR, GET, PARAM, TENSOR_OPS, TILE_OPS

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


def view_of(graph: Graph, key: int) -> tuple[Graph, Node] | None:
    """The view that a value is, and the graph that makes it: a body captures views of the graphs around it."""
    graph, key = origin(graph, key)
    return (graph, graph[key]) if graph[key].op is TENSOR_OPS["view"] else None


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


def written_slots(graph: Graph, node: Node) -> list[int]:
    """The slots that a node stores to: an assignment, a store, or a loop that carries tensors it stores to."""
    if node.op in (TENSOR_OPS["assign"], STORE):
        return [slot_of(graph, node.inputs[0])]
    if node.body is None:
        return []
    return [slot for _, n in node.body.items() for slot in written_slots(node.body, n)]


def _slot_of_param(graph: Graph, key: int) -> int:
    outer = graph.outer
    assert outer is not None
    position = graph.params.index(key)
    for _, node in outer.items():
        if node.body is graph:
            return slot_of(outer, node.inputs[LOOP_BOUNDS + position - 1])
    sources = {k: v for v, k in graph.captured.items()} | graph.carries  # the loop is under construction
    return slot_of(sources[key].graph, sources[key].key)
