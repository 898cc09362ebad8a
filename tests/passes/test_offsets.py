"""Indices as sums: they are worth what the indices are, whatever the values."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pto.core.types import INDEX
from pto.ir.graph import Graph, Val
from pto.ir.ops import CONST, DIM
from pto.passes.offsets import Offsets, Sum

NAMES = "abc"
VALUES = st.lists(st.integers(0, 9), min_size=3, max_size=3)
EXPRESSIONS = st.recursive(
    st.integers(-5, 20) | st.sampled_from(NAMES),
    lambda inner: st.tuples(st.sampled_from(["add", "sub", "mul", "min"]), inner, inner)
    | st.tuples(st.just("madd"), inner, inner, inner), max_leaves=12)
MEANING = {"add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "min": min,
           "madd": lambda a, b, c: a * b + c}


class Program:
    """Indices over three extents."""

    def __init__(self) -> None:
        self.graph = Graph(name="k", level="tile")
        self.dims = {name: self.graph.op(DIM, type=INDEX, name=name) for name in NAMES}
        self.offsets, self.shown = Offsets(), {}

    def index(self, expression) -> int | Val:
        if isinstance(expression, str):
            return self.dims[expression]
        if isinstance(expression, int):
            return expression
        name, *operands = expression
        return self.graph.index(name, *map(self.index, operands))

    def sum(self, expression) -> Sum:
        found = self.index(expression)
        return self.offsets.of(self.graph, found.key if isinstance(found, Val) else
                               self.graph.op(CONST, type=INDEX, value=found).key)

    def worth(self, value: Sum, given: dict[str, int]) -> int:
        def of(key: int) -> int:
            node = self.graph[key]
            if node.op is DIM:
                return given[node["name"]]
            number = self.graph.constant(key)
            return number if number is not None else MEANING[node.op.name](*map(of, node.inputs))

        total = 0
        for product, times in value.terms:
            for _, key in product:
                times *= of(key)
            total += times
        return total


def meant(expression, given: dict[str, int]) -> int:
    if isinstance(expression, str):
        return given[expression]
    return expression if isinstance(expression, int) else (
        MEANING[expression[0]](*(meant(part, given) for part in expression[1:])))


@given(EXPRESSIONS, VALUES)
def test_a_sum_is_worth_its_index(expression, values):
    program, given = Program(), dict(zip(NAMES, values, strict=True))
    assert program.worth(program.sum(expression), given) == meant(expression, given)


@given(EXPRESSIONS, EXPRESSIONS, VALUES)
def test_what_is_within_another_is_never_above_it(one, other, values):
    program, given = Program(), dict(zip(NAMES, values, strict=True))
    a, b = program.sum(one), program.sum(other)
    if program.offsets.is_within(a, b):
        assert meant(one, given) <= meant(other, given)


@given(EXPRESSIONS, st.sampled_from(NAMES), VALUES)
def test_a_sum_by_a_value_is_a_line(expression, name, values):
    program, given = Program(), dict(zip(NAMES, values, strict=True))
    slope, rest = program.sum(expression).by((id(program.graph), program.dims[name].key))
    assert program.worth(slope, given) * given[name] + program.worth(rest, given) == meant(expression, given)


@given(EXPRESSIONS, st.integers(1, 6), VALUES)
def test_a_remainder_differs_by_a_multiple(expression, count, values):
    program, given = Program(), dict(zip(NAMES, values, strict=True))
    size = ("mul", count, "a")
    rest = program.sum(expression).modulo(program.sum(size))
    whole, gone = count * given["a"], meant(expression, given) - program.worth(rest, given)
    assert gone % whole == 0 if whole else gone == 0


def test_sums_that_are_long_stay_values():
    """A sum of two to the power of itself again and again would have more terms than there is memory for."""
    program = Program()
    found = ("add", "a", ("add", "b", "c"))
    index = program.index(found)
    for _ in range(40):
        index = program.graph.index("mul", index, index)
    assert program.offsets.of(program.graph, index.key).is_small
