"""Ranges of integers: every value of every run lies in them, and what they decide is decided right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pto as pt
from pto.core.types import INDEX
from pto.ir.graph import Graph, Symbol, Val, captures
from pto.ir.ops import CONST, DIM, FOR, GET, INDEX_OPS
from pto.isa.meaning.scalar import MEANING
from pto.passes.ranges import ALL, Ranges

NAMES = sorted(INDEX_OPS)
FUEL = 3000  # steps of a run that is followed
X = np.arange(32, dtype=np.float32).reshape(4, 8)


class Enough(Exception):
    """A run is longer than anybody follows it."""


@st.composite
def graphs(draw):
    """Nests of loops that compute with integers, and carry some."""
    root = Graph(level="tensor", symbols=(Symbol("n", 0, 9), Symbol("m", 1, 4)))
    pool = [root.op(DIM, type=INDEX, name=name) for name in ("n", "m")]

    def value(graph, known):
        return draw(st.one_of(st.integers(-3, 9), st.sampled_from(known)))

    def block(graph, known, depth):
        for _ in range(draw(st.integers(1, 4))):
            if depth < 3 and draw(st.booleans()):
                inits = [Val(graph, graph.use(value(graph, known))) for _ in range(draw(st.integers(0, 2)))]
                bounds = value(graph, known), value(graph, known), draw(st.sampled_from([1, 2, 3, pool[1]]))

                def body(inner, counter, carried, known=known, depth=depth):
                    made = block(inner, [*known, counter, *carried], depth + 1)
                    return [value(inner, made) for _ in carried]

                known = [*known, *graph.loop(bounds, inits, body)]
            else:
                name = draw(st.sampled_from(NAMES))
                made = graph.index(name, *(value(graph, known) for _ in INDEX_OPS[name].inputs))
                known = [*known, made] if isinstance(made, Val) else known
        return known

    block(root, pool, 0)
    return root


class Run:
    """One run of a graph: each value that it makes, and the bodies that it enters."""

    def __init__(self, sizes, seen, entered):
        self.sizes, self.seen, self.entered, self.fuel = sizes, seen, entered, FUEL

    def block(self, graph, env):
        for key, node in graph.items():
            self.fuel -= 1
            if not self.fuel:
                raise Enough
            if key not in env:
                env[key] = self.value(node, [env[i] for i in node.inputs], env)
        for key, number in env.items():
            if isinstance(number, int):
                self.seen.setdefault((id(graph), key), set()).add(number)
        return [env[key] for key in graph.outputs]

    def value(self, node, inputs, env):
        if node.op is FOR:
            return self.loop(node, inputs, {there: env[here] for here, there in captures(node)})
        if node.op in (CONST, DIM):
            return node["value"] if node.op is CONST else self.sizes[node["name"]]
        return inputs[0][node["index"]] if node.op is GET else MEANING[node.op.name](*inputs)

    def loop(self, node, inputs, given):
        (counter, high, step), state = inputs[:3], inputs[3:3 + node.carried]
        while counter < high:
            self.entered.add(id(node.body))
            state = self.block(node.body, given | dict(zip(node.body.params, (counter, *state), strict=False)))
            counter += step
        return state


@settings(deadline=None, max_examples=300)
@given(graphs())
def test_every_value_of_every_run_lies_in_its_range(graph):
    ranges = Ranges(graph)
    seen, entered = {}, set()
    for n in range(10):
        for m in range(1, 5):
            try:
                Run({"n": n, "m": m}, seen, entered).block(graph, {})
            except (ZeroDivisionError, Enough):
                continue
    places = {id(g): g for g, _, _ in graph.walk()}
    for (home, key), numbers in seen.items():
        low, high = ranges.of(places[home], key)
        assert low <= min(numbers) and max(numbers) <= high
    assert entered <= {id(n.body) for _, _, n in graph.walk() if n.body is not None and ranges.runs(n)}


@pytest.mark.parametrize(("name", "operands", "wanted"), [
    ("add", ((1, 2), (3, 5)), (4, 7)), ("sub", ((1, 2), (3, 5)), (-4, -1)), ("mul", ((-2, 3), (-5, 4)), (-15, 12)),
    ("div", ((-7, 7), (2, 3)), (-4, 3)), ("div", ((1, 2), (-1, 1)), ALL), ("mod", ((3, 4), (5, 9)), (3, 4)),
    ("mod", ((-3, 4), (5, 9)), (0, 8)), ("min", ((1, 9), (3, 4)), (1, 4)), ("max", ((1, 9), (3, 4)), (3, 9)),
    ("lt", ((1, 2), (3, 3)), (1, 1)), ("lt", ((3, 5), (1, 3)), (0, 0)), ("lt", ((1, 3), (3, 3)), (0, 1)),
    ("add", ((0, 2**62), (0, 2**62)), ALL), ("xor", ((6, 6), (3, 3)), (5, 5)), ("xor", ((0, 1), (0, 1)), ALL),
])
def test_operations_make_ranges_of_ranges(name, operands, wanted):
    graph = Graph(level="tensor", symbols=tuple(Symbol(f"s{i}", *ends) for i, ends in enumerate(operands)))
    made = graph.op(INDEX_OPS[name], *(graph.op(DIM, type=INDEX, name=s.name) for s in graph.symbols), type=INDEX)
    assert Ranges(graph).of(graph, made.key) == wanted


def operations(kernel):
    """The operations on tensors and tiles that are left of a kernel."""
    simplified = next(s.graph for s in kernel.compiled().compiled.stages if s.name == "simplify")
    return {n.op.name.partition(".")[2] for _, _, n in simplified.walk() if "." in n.op.name}


@pytest.mark.parametrize("count", [0, 1, 5])
def test_a_branch_whose_condition_never_holds_is_left_out(count):
    @pt.tile_kernel
    def kernel(x, n: pt.index):
        y = x + 1.0
        if n < 0:
            y = pt.exp(y)
        if (n + 3 < 2) | (n // 2 == -1):
            y = pt.sqrt(y)
        return y

    np.testing.assert_array_equal(kernel(X, count), X + 1)
    assert operations(kernel) == {"adds"}


@pytest.mark.parametrize("count", [0, 1, 3])
def test_what_a_break_of_the_first_iteration_leaves_never_runs(count):
    @pt.tile_kernel
    def kernel(x, n: pt.index):
        y = x + 1.0
        for i in pt.range(n):
            if i == 0:
                break
            y = pt.exp(y)
        return y

    np.testing.assert_array_equal(kernel(X, count), X + 1)
    assert operations(kernel) == {"adds"}


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_what_may_run_stays(count):
    @pt.tile_kernel
    def kernel(x, n: pt.index):
        y = x - 9.0
        for i in pt.range(n):
            if i == 1:
                break
            y = pt.relu(y)
        if n < 1:
            y = y * 2.0
        return y

    np.testing.assert_array_equal(kernel(X, count), np.maximum(X - 9, 0) if count else (X - 9) * 2)
    assert {"relu", "muls"} <= operations(kernel)


def test_an_integer_that_can_be_but_one_number_is_that_number():
    @pt.tile_kernel
    def kernel(x: pt.f32[40, 16], out: pt.f32[40, 16], n: pt.index):
        for i in pt.range(0, 40, 8):
            last = i // 40 * 8 + n // (n + 1)
            out[i:i + 8, last:last + 16] = x[i:i + 8, 0:16]

    simplified = next(s.graph for s in kernel.compiled().compiled.stages if s.name == "simplify")
    assert not any(n.op.name == "div" and g.constant(n.inputs[1]) == 40 for g, _, n in simplified.walk())
