"""The graph: closed bodies, shared and hoisted integers, order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pto.core.errors import CompilerBug
from pto.core.types import INDEX
from pto.ir.graph import Graph, Val, captures
from pto.ir.ops import CONST, DIM, INDEX_OPS
from pto.isa.meaning.scalar import MEANING


def root() -> tuple[Graph, Val]:
    graph = Graph(name="g", level="tile")
    return graph, graph.op(DIM, type=INDEX, name="N")


def test_keys_are_a_topological_order():
    graph, n = root()
    graph.loop((0, n, 1), [], lambda g, i, _: list(range(0 * g.index("mul", g.index("add", i, n), 3).key)))
    for inner, key, node in graph.walk():
        assert all(i < key for i in node.inputs)
        assert [e[0] for e in sorted(inner.nx.in_edges(key, keys=True), key=lambda e: e[2])] == list(node.inputs)


def test_integers_are_made_once_and_outside_of_loops():
    graph, n = root()
    seen = []

    def body(g, i, _):
        seen.append(g.index("mul", n, 4))
        seen.append(g.index("mul", n, 4))
        return []

    graph.loop((0, n, 1), [], body)
    assert seen[0] == seen[1]
    assert seen[0].graph is graph


@given(st.sampled_from(sorted(MEANING.keys() & INDEX_OPS.keys())), st.lists(st.integers(-9, 9), min_size=3, max_size=3),
       st.integers(0, 7))
def test_folding_is_evaluation(name, numbers, known):
    """Whatever is known of the operands, what is folded equals what is computed."""
    graph, _ = root()
    arity = len(INDEX_OPS[name].inputs)
    numbers = numbers[:arity]
    if name in ("div", "mod") and numbers[1] == 0:
        return
    names = [graph.op(DIM, type=INDEX, name=f"n{i}") for i in range(arity)]
    operands = [v if known >> i & 1 else names[i] for i, v in enumerate(numbers)]

    def value(v):
        if not isinstance(v, Val):
            return v
        if v.node.op is CONST:
            return v.node["value"]
        if v in names:
            return numbers[names.index(v)]
        return MEANING[v.node.op.name](*(value(Val(graph, k)) for k in v.node.inputs))

    assert value(graph.index(name, *operands)) == MEANING[name](*numbers)


def test_static_extent_of_a_slice_is_seen():
    graph, n = root()
    assert graph.index("sub", graph.index("add", n, 7), n) == 7
    found = []
    graph.loop((0, n, 1), [], lambda g, i, _: found.append(g.index("sub", g.index("add", i, 5), i)) or [])
    assert found == [5]


def test_a_loop_captures_what_it_uses_of_outside():
    graph, n = root()
    x = graph.op(DIM, type=INDEX, name="X")

    def inner(g, j, carried):
        return [g.index("madd", carried[0], x, j)]

    def outer(g, i, carried):
        return g.loop((0, i, 1), carried, inner)

    [last] = graph.loop((0, n, 1), [Val(graph, graph.use(0))], outer)
    loop = graph[last.node.inputs[0]]
    assert [graph[outer] for outer, _ in captures(loop)] == [x.node]
    assert loop.body.outer is graph


def test_a_value_of_a_body_cannot_be_used_outside():
    graph, n = root()
    stolen = []
    graph.loop((0, n, 1), [], lambda g, i, _: stolen.append(g.index("add", i, n)) or [])
    with pytest.raises(CompilerBug, match="outside the graph"):
        graph.op(INDEX_OPS["add"], stolen[0], 1, type=INDEX)
    with pytest.raises(CompilerBug, match="as many values"):
        graph.loop((0, n, 1), [n], lambda g, i, vs: [])
