"""Each level refuses graphs of the others, and each rule sees what breaks it."""

from __future__ import annotations

import pytest

from pto.core.dtypes import F32
from pto.core.types import EFFECT, INDEX, Space, TensorType, TileType
from pto.ir.graph import Graph, Node, Val
from pto.ir.levels import LEVELS
from pto.ir.ops import ARG, DIM, FOR, TENSOR_OPS, TILE_OPS
from pto.ir.parse import parse
from pto.ir.text import text
from pto.ir.verify import faults
from tests.kernels import CASES, bind, gemm_bias_relu

LEVEL_NAMES = list(LEVELS)
TENSOR = TensorType(F32, ("N", 16))
TILE = TileType(F32, 16, 16)


@pytest.fixture(scope="module")
def graphs():
    case = next(c for c in CASES if c.kernel is gemm_bias_relu)
    bind(case.kernel, case.arguments())
    return {level: case.kernel.graph(level) for level in LEVEL_NAMES}


@pytest.mark.parametrize("mine", LEVEL_NAMES)
@pytest.mark.parametrize("other", LEVEL_NAMES)
def test_a_level_refuses_graphs_of_its_neighbours(graphs, mine, other):
    graph = parse(text(graphs[mine]))
    graph.level = other
    below = (mine, other) == ("tile", "tensor")  # whose graphs may have the author's tile loops
    assert bool(faults(graph)) is (mine != other and not below)


def tile_graph() -> Graph:
    graph = Graph(name="g", level="tile")
    graph.op(DIM, type=INDEX, name="N")
    graph.op(ARG, type=TENSOR, name="x", slot=0, result=False)
    return graph


def load(graph: Graph, type: TileType = TILE):
    return graph.op(TILE_OPS["load"], _val(graph, 1), 0, 0, 16, 16, type=type)




def _val(graph: Graph, key: int):
    return Val(graph, key)


@pytest.mark.parametrize(("breaks", "message"), [
    (lambda g: g.op(TILE_OPS["exp"], type=TILE), "takes 1 operands"),
    (lambda g: g.op(TILE_OPS["add"], load(g), load(g, TileType(F32, 8, 16)), type=TILE), "8 x 16"),
    (lambda g: g.op(TILE_OPS["exp"], load(g), type=TileType(F32, 8, 8)), "its rule derives"),
    (lambda g: g.op(TILE_OPS["exp"], load(g), type=TILE, colour=1), "does not know"),
    (lambda g: load(g, TileType(F32, 16, 16, Space.UB)), "before the Block level"),
    (lambda g: load(g, TileType(F32, 0, 16)), "empty capacity"),
    (lambda g: g.op(TENSOR_OPS["exp"], _val(g, 1), type=TENSOR), "does not belong"),
    (lambda g: g.op(DIM, type=INDEX, name="N"), "declared twice"),
    (lambda g: g.op(FOR, 0, 4, 1, type=EFFECT), "has no body"),
    (lambda g: g.param(INDEX), "parameter of a root"),
    (lambda g: g.op(TILE_OPS["exp"], g.op(TILE_OPS["exp"], load(g), type=EFFECT), type=TILE), "no value"),
    (lambda g: [g.op(TILE_OPS["store"], _val(g, 1), load(g), 0, 0, 16, 16, type=TENSOR) for _ in "ab"],
     "2 writers"),
    (lambda g: g.loop((load(g), 4, 1), [], lambda *_: []), "bounds that are no integers"),
])
def test_a_broken_graph_is_seen(breaks, message):
    graph = tile_graph()
    assert not faults(graph)
    breaks(graph)
    assert any(message in fault for fault in faults(graph)), faults(graph)


def test_a_loop_that_yields_another_type_is_seen():
    graph = tile_graph()
    small = load(graph, TileType(F32, 8, 8))
    made = graph.loop((0, 4, 1), [load(graph)], lambda g, i, vs: [vs[0]])
    loop = graph[made[0].node.inputs[0]]
    loop.body.outputs = (loop.body.op(TILE_OPS["full"], type=small.type, scalar=0.0).key,)
    assert any("yields other types" in f for f in faults(graph))


def test_a_cycle_is_seen():
    graph = tile_graph()
    first = load(graph)
    second = graph.op(TILE_OPS["exp"], first, type=TILE)
    graph.nodes[first.key] = Node(first.node.op, (second.key, *first.node.inputs[1:]), (), TILE)
    assert any("cycle" in f for f in faults(graph))


def test_a_node_that_is_used_before_it_is_made_is_seen():
    graph = tile_graph()
    first = load(graph)
    second = graph.op(TILE_OPS["exp"], first, type=TILE)
    third = load(graph)
    graph.nodes[second.key] = Node(second.node.op, (third.key,), (), TILE)
    assert any("before it is made" in f for f in faults(graph))


def test_a_fault_names_the_users_line(graphs):
    graph = parse(text(graphs["tile"]))
    key = next(k for k, n in graph.items() if n.op is FOR)
    node = graph[key]
    graph.nodes[key] = Node(node.op, node.inputs[1:], node.attrs, node.type, node.locs, node.body)
    assert any("kernels.py:" in f for f in faults(graph))
