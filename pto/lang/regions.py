"""Valid regions of tiles under tracing: where two of them must agree, the extents that they come from do."""

from __future__ import annotations

from typing import Any

from pto.core.types import TileType
from pto.ir.graph import LOOP_BOUNDS, Val, origin
from pto.ir.ops import TILE_OPS
from pto.lang.trace import tracer


def valid(tile: Val) -> tuple[Val | int | None, Val | int | None]:
    """Valid rows and columns of a tile as far as its making tells."""
    known: dict[Val, tuple[Val | int | None, Val | int | None]] = tracer().valid
    stack = [tile]
    while stack:  # a stack of our own: a kernel may apply thousands of operations one after the other
        missing = next((v for v in _sources(stack[-1]) if v not in known), None)
        if missing is not None:
            stack.append(missing)
        elif (last := stack.pop()) not in known:
            known[last] = _valid(last)
    return known[tile]


def _sources(tile: Val) -> list[Val]:
    """The tiles that a tile's valid region comes from."""
    node, graph = tile.node, tile.graph
    if node.op.name == "get" and (body := graph[node.inputs[0]].body) is not None:
        last = Val(body, body.outputs[node["index"]])
        before = Val(graph, graph[node.inputs[0]].inputs[LOOP_BOUNDS + node["index"]])
        return [before if last.key == body.params[1 + node["index"]] else last]
    if node.op.instr is None and node.op not in (TILE_OPS["matmul"], TILE_OPS["over"]):
        return []
    return [v for v in (Val(graph, k) for k in node.inputs) if isinstance(v.type, TileType)]


def _valid(tile: Val) -> tuple[Val | int | None, Val | int | None]:
    node, graph = tile.node, tile.graph
    inputs = [Val(graph, k) for k in node.inputs]
    if node.op is TILE_OPS["load"]:
        return _size(inputs[3]), _size(inputs[4])
    if node.op is TILE_OPS["over"]:
        return valid(inputs[0])
    if node.op is TILE_OPS["matmul"]:
        return valid(inputs[0])[0], valid(inputs[1])[1]
    if node.op.name == "get":
        return valid(_sources(tile)[0])
    if node.op.instr is None:
        return None, None
    kind = tile.type
    assert isinstance(kind, TileType)
    tiles = [(v, v.type) for v in inputs if isinstance(v.type, TileType)]
    rows = [valid(v)[0] for v, type in tiles if type.rows == kind.rows]
    cols = [valid(v)[1] for v, type in tiles if type.cols == kind.cols]
    return next((n for n in rows if n is not None), None), next((n for n in cols if n is not None), None)


def _size(value: Val) -> Val | int:
    """A size that is a constant as a number: it belongs to no loop."""
    number = value.graph.constant(value.key)
    return value if number is None else number


def _edge(size: Val | int | None) -> tuple[int, Any, str] | None:
    """(capacity, offset, symbol) where a valid size is the smaller of a capacity and symbol - offset."""
    if not isinstance(size, Val) or (node := outside(size).node).op.name != "min":
        return None
    graph = outside(size).graph
    capacity, rest = graph.constant(node.inputs[0]), outside(Val(graph, node.inputs[1]))
    if capacity is not None and rest.node.op.name == "dim":
        return capacity, 0, str(rest.node["name"])
    if capacity is None or rest.node.op.name != "sub":
        return None
    total, offset = (outside(Val(rest.graph, k)) for k in rest.node.inputs)
    return (capacity, offset, str(total.node["name"])) if total.node.op.name == "dim" else None


def agree_valid(a: Val | int | None, b: Val | int | None, complaint: str) -> None:
    """Make the extents equal that two valid sizes come from, where they are the edges of two tensors."""
    x, y = _edge(a), _edge(b)
    if x and y and x[:2] == y[:2]:
        symbols = tracer().symbols
        symbols.equal(x[2], y[2], f"{complaint}: {symbols.show(x[2])} and {symbols.show(y[2])}")


def outside(value: Val) -> Val:
    """The value that a captured parameter is in the outer graphs."""
    return Val(*origin(value.graph, value.key))


def is_version(new: Val, old: Val) -> bool:
    """Is a value what stores have made of another?"""
    while (new := outside(new)) != old:
        node = new.node
        if node.op.name in ("store", "tile.store", "tensor.assign"):
            new = Val(new.graph, node.inputs[0])
        elif node.op.name == "get" and (body := new.graph[node.inputs[0]].body) is not None:
            position = node["index"]
            if not is_version(Val(body, body.outputs[position]), Val(body, body.params[1 + position])):
                return False
            new = Val(new.graph, new.graph[node.inputs[0]].inputs[LOOP_BOUNDS + position])
        else:
            return False
    return True
