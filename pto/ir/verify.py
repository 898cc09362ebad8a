"""Is this graph well formed? One walk, driven by the rows and the level; it lists every fault it finds."""

from __future__ import annotations

from collections.abc import Iterator

import networkx as nx

from pto.core.errors import PtoError
from pto.core.types import EFFECT, INDEX, TensorType, TileType
from pto.ir.graph import LOOP_BOUNDS, Graph, Node, captures
from pto.ir.levels import LEVELS
from pto.ir.ops import BLOCK_OPS, CONST, DIM, FOR, GET, PARAM, TENSOR_OPS, TILE_OPS
from pto.isa.table import move

WRITERS = {TILE_OPS["store"].name, TENSOR_OPS["assign"].name, BLOCK_OPS[move.TSTORE.mnemonic].name}


def arity(graph: Graph, node: Node) -> Iterator[str]:
    """Operands are as many as the row names, and none is an effect (but a loop's, to `get`)."""
    wanted = node.op.inputs
    if wanted and wanted[-1].endswith("*"):
        if len(node.inputs) < len(wanted) - 1:
            yield f"takes at least {len(wanted) - 1} operands, has {len(node.inputs)}"
    elif len(node.inputs) != len(wanted):
        yield f"takes {len(wanted)} operands, has {len(node.inputs)}"
    if node.op is not GET and any(graph[i].type == EFFECT for i in node.inputs):
        yield "uses a node that is no value"


def attributes(graph: Graph, node: Node) -> Iterator[str]:
    """Attributes are those that the row names."""
    extra = {key for key, _ in node.attrs} - set(node.op.attrs)
    if extra:
        yield f"has attributes {sorted(extra)} that {node.op.name} does not know"


def typing(graph: Graph, node: Node) -> Iterator[str]:
    """The stored type is the one that the row's rule derives."""
    try:
        expected = node.op.rule(tuple(graph[i].type for i in node.inputs), dict(node.attrs), node.type)
    except PtoError as err:
        yield err.message
        return
    if expected != node.type:
        yield f"has type {node.type}, but its rule derives {expected}"
    if isinstance(node.type, TileType) and not (node.type.rows > 0 and node.type.cols > 0):
        yield f"has an empty capacity: {node.type}"


def versions(graph: Graph, node: Node) -> Iterator[str]:
    """A tensor version that is stored to, or carried, has no other writer: buffers are in place."""
    for i in node.inputs:
        if isinstance(graph[i].type, TensorType) and graph[i].op is not CONST:
            users = dict(graph.users(i)).items()
            writers = [u for u, n in users if _carries(n, i) or (n.op.name in WRITERS and n.inputs[0] == i)]
            if len(writers) > 1:
                yield f"is one of {len(writers)} writers of the same version of a tensor"


def _carries(node: Node, key: int) -> bool:
    return node.op is FOR and key in node.inputs[LOOP_BOUNDS:LOOP_BOUNDS + node.carried]


def loops(graph: Graph, node: Node) -> Iterator[str]:
    """A body's parameters are the counter, the carried values and the captured ones, with equal types."""
    if node.body is None:
        if node.op is FOR:
            yield "has no body"
        return
    body = node.body
    given = [INDEX, *(graph[i].type for i in node.inputs[LOOP_BOUNDS:])]
    if [body[p].type for p in body.params] != given:
        yield "has a body whose parameters do not fit its operands"
        return
    carried = node.inputs[LOOP_BOUNDS:LOOP_BOUNDS + node.carried]
    if [body[o].type for o in body.outputs] != [graph[i].type for i in carried]:
        yield "yields other types than it carries"
    if len(captures(node)) != len(node.inputs) - LOOP_BOUNDS - node.carried:
        yield "captures other values than its body's parameters"
    if any(graph[i].type != INDEX for i in node.inputs[:LOOP_BOUNDS]):
        yield "has bounds that are no integers"


CHECKS = (typing, versions, loops)


def faults(graph: Graph) -> list[str]:
    """One line for each fault; an empty list means well formed at the graph's level."""
    level = LEVELS.get(graph.level)
    if level is None:
        return [f"there is no level {graph.level!r}"]
    found = list(_unordered(graph))
    for inner, key, node in graph.walk():
        here = f"%{key} {node.op.name}" + (f" at {node.locs[0]}" if node.locs else "")
        if level.ops.get(node.op.name) is not node.op:
            found.append(f"{here} does not belong to the {level.name} level")
            continue
        wrong = [*arity(inner, node), *attributes(inner, node)]  # a rule may rely on these
        checks = () if wrong else (*CHECKS, *level.checks)
        found += [f"{here} {fault}" for fault in (*wrong, *(f for check in checks for f in check(inner, node)))]
    names = [node["name"] for _, node in graph.items() if node.op is DIM]
    found += [f"the extent {name} is declared twice" for name in {n for n in names if names.count(n) > 1}]
    return found + [f"%{k} is a parameter of a root" for k, n in graph.items() if n.op is PARAM]


def _unordered(graph: Graph) -> Iterator[str]:
    if any(source >= key for key, node in graph.items() for source in node.inputs):
        wrong = "a node that is used before it is made" if nx.is_directed_acyclic_graph(graph.nx) else "a cycle"
        yield f"the graph of {graph.name or 'a loop'} has {wrong}"
    for _, node in graph.items():
        if node.body is not None:
            yield from _unordered(node.body)
