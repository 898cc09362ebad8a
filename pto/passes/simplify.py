"""Tensor -> Tensor: the same values with fewer operations.

- Equal operations on equal operands are one (common subexpressions), with the spans of all.
- Operations on constants are constants, and a constant tile or tensor is the scalar of the operation that uses it.
- Scalars of one operation after another are one scalar, and operations that change nothing are left out, where the
  result has the same bits for every operand (a NaN may be another NaN): `x * 2 * 3` is `x * 6`, `x + 1 + 2` is
  `x + 3` for integers alone, `x + 0.0` is not x where x is -0.
- None of this moves a read of a tensor past a store to it, which may be through another view of it.

- Integers that can be but one number are that number (`ranges`), and loops that never run, as branches whose condition
  never holds, are left out.
- What a loop carries without changing it is carried no more.

Dead code is left out by every pass that copies a graph; integers are simplified as they are made.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from pto.core.dtypes import DType
from pto.core.types import INDEX, TensorType, TileType
from pto.ir.graph import LOOP_BOUNDS, Graph, Node, Val, joined
from pto.ir.ops import DIM, GET, TENSOR_OPS, TILE_OPS, Op
from pto.ir.rewrite import Made, Rewriter
from pto.isa.exact_math import round_f32
from pto.passes.analysis import is_expression, slot_of, written_slots
from pto.passes.ranges import Ranges

WRITES = ("assign", "store", "view")
INVOLUTIONS, IDEMPOTENT = {"neg", "not"}, {"relu", "abs", "floor", "ceil", "round"}
SAME = {"muls": 1.0, "divs": 1.0, "subs": 0.0, "adds": -0.0}  # the scalar with which an operation changes nothing
BY_SCALAR = {"add": "adds", "sub": "subs", "mul": "muls", "div": "divs", "maximum": "maxs", "minimum": "mins"}
REVERSED = {"add": "adds", "mul": "muls", "maximum": "maxs", "minimum": "mins", "sub": "rsubs", "div": "rdivs"}
Folding = Callable[[float, float], float]
F32_FOLDS: dict[str, Folding] = {"adds": operator.add, "subs": operator.sub, "muls": operator.mul,
                                 "rsubs": lambda a, b: b - a}


def together(name: str, dtype: DType, first: float, second: float) -> float | None:
    """The scalar of an operation that does what it does with one scalar and then with another, if there is one."""
    if dtype.kind != "f" and None in (_wrapped(dtype, first), _wrapped(dtype, second)):
        return None
    if name in ("maxs", "mins"):
        choose = max if name == "maxs" else min
        return choose(first, second, key=_ordered) if first == first and second == second else None
    if dtype.kind != "f" and name in ("adds", "muls", "subs"):
        return _wrapped(dtype, first * second if name == "muls" else first + second)
    if dtype.name != "f32" or name != "muls":
        return None
    # A first factor of 1, 2, 4, ... rounds nothing; what overflows by it overflows by both.
    product, exact = round_f32(first) * round_f32(second), math.frexp(first)[0] == 0.5 and first >= 1.0
    return product if exact and abs(second) >= 1.0 and round_f32(product) == product else None


def _ordered(value: float) -> tuple[float, float]:
    """As the machine orders numbers: -0 is below +0."""
    return value, math.copysign(1.0, value)


def _wrapped(dtype: DType, value: float) -> float | None:
    """An integer that the type has; others are rounded or saturated as scalars."""
    low, high = (0, (1 << dtype.bits) - 1) if dtype.kind == "u" else (-(1 << dtype.bits - 1), (1 << dtype.bits - 1) - 1)
    return value if value == int(value) and low <= value <= high else None


def dtype_of(node: Node) -> DType:
    """The element type of a value."""
    assert isinstance(node.type, TensorType | TileType)
    return node.type.dtype


class Simplify(Rewriter):
    """Copies a graph, each value as few operations."""

    def __init__(self, ranges: Ranges) -> None:
        self.ranges = ranges
        self.made: dict[Any, Val] = {}
        self.written = set[int]()  # slots that anything stores to
        self.clock = 0  # how many stores there were
        self.last: dict[int, int] = {}  # the last of them, by slot
        self.born: dict[Val, int] = {}  # how many there were before each operation

    def run(self, old: Graph) -> Graph:
        self.written.update(slot for _, node in old.items() for slot in written_slots(old, node))
        return super().run(old)

    def visit(self, old: Graph, key: int, node: Node, new: Graph, env: dict[int, Any]) -> Made | None:
        for slot in written_slots(old, node):  # a loop may have stored what it stores in its turn before this one
            self.clock += 1
            self.last[slot] = self.clock
        if node.type == INDEX and node.op is not DIM:
            return self.integer(old, key, node, new, env)
        space, _, name = node.op.name.partition(".")
        if not name or name in WRITES or node.body is not None:
            return super().visit(old, key, node, new, env)
        ops = TENSOR_OPS if space == "tensor" else TILE_OPS
        return self.simple(new, ops, name, [env[i] for i in node.inputs], node)

    def integer(self, old: Graph, key: int, node: Node, new: Graph, env: dict[int, Any]) -> Made | None:
        """An integer: a number, one of its operands, or an operation on them."""
        if (number := self.ranges.known(old, key)) is not None:
            return number
        picked = self.ranges.picked(old, node)
        if picked is None:
            return super().visit(old, key, node, new, env)
        made: Made = env[picked]
        return made

    def loop(self, node: Node, new: Graph, inputs: list[Any]) -> Made:
        """A loop, or what it carries, where it never runs."""
        return super().loop(node, new, inputs) if self.ranges.runs(node) else self.carried(node, inputs)

    def carries(self, node: Node) -> Sequence[int]:
        """What the body changes."""
        return [i for i in range(node.carried) if self.changes(node, i)]

    def changes(self, node: Node, number: int) -> bool:
        """Does a loop change what it carries in a place? Those inside it may only hand it on."""
        body = node.body
        assert body is not None
        key = body.outputs[number]
        while body[key].op is GET:
            index, inner = body[key]["index"], body[body[key].inputs[0]]
            if self.ranges.runs(inner) and self.changes(inner, index):
                return True
            key = inner.inputs[LOOP_BOUNDS + index]
        return key != body.params[1 + number]

    def simple(self, graph: Graph, ops: dict[str, Op], name: str, inputs: list[Any], node: Node) -> Val:
        """A value, by the first rule that fits."""
        for rule in (self.unary, self.constant, self.scalar):
            found = rule(graph, ops, name, inputs, node)
            if found is not None:
                return found
        return self.shared(graph, ops[name], inputs, node)

    def shared(self, graph: Graph, op: Op, inputs: list[Any], node: Node) -> Val:
        """The node of an operation, which may be there already."""
        operands = (v if isinstance(v, int) else (id(v.graph), v.key) for v in inputs)
        stores = tuple(self.last.get(memory(v), 0) for v in inputs)
        name = (id(graph), op.name, node.type, repr(node.attrs), stores, *operands)
        if name not in self.made:
            self.made[name] = graph.op(op, *inputs, type=node.type, locs=node.locs, **dict(node.attrs))
            self.born[self.made[name]] = self.clock
            return self.made[name]
        return self.listed(self.made[name], node)

    def source(self, inner: Val) -> Val | None:
        """The operand of an operation, if an operation that is made now may read it."""
        found = Val(inner.graph, inner.node.inputs[0])
        return found if self.last.get(memory(found), 0) <= self.born[inner] else None

    def listed(self, value: Val, node: Node) -> Val:
        """A value that is there, which a node of the old graph asks for, too."""
        value.graph.nodes[value.key] = replace(value.node, locs=joined(value.node.locs, node.locs))
        return value

    def unary(self, graph: Graph, ops: dict[str, Op], name: str, inputs: list[Any], node: Node) -> Val | None:
        """Operations that undo, or repeat, what their operand did."""
        if name not in INVOLUTIONS | IDEMPOTENT or inputs[0].node.op is not ops[name]:
            return None
        inner: Val = inputs[0]
        if name in IDEMPOTENT:
            return self.listed(inner, node)
        source = Val(inner.graph, inner.node.inputs[0])
        return None if memory(source) in self.written else source

    def constant(self, graph: Graph, ops: dict[str, Op], name: str, inputs: list[Any], node: Node) -> Val | None:
        """Operations of a constant with a scalar, or with another value."""
        if name in F32_FOLDS and is_full(inputs[0]) and dtype_of(node).name == "f32":
            value = F32_FOLDS[name](round_f32(inputs[0].node["scalar"]), round_f32(node["scalar"]))
            locs = joined(inputs[0].node.locs, node.locs)
            return self.shared(graph, ops["full"], [], replace(node, attrs=(("scalar", round_f32(value)),), locs=locs))
        if name not in BY_SCALAR or len(inputs) != 2:
            return None
        for full, other, table in ((1, 0, BY_SCALAR), (0, 1, REVERSED)):
            x = inputs[other]
            if is_full(inputs[full]) and not is_full(x) and x.type == node.type and table[name] in ops:
                attrs = (("scalar", inputs[full].node["scalar"]),)
                locs = joined(node.locs, inputs[full].node.locs)
                return self.simple(graph, ops, table[name], [x], replace(node, attrs=attrs, locs=locs))
        return None

    def scalar(self, graph: Graph, ops: dict[str, Op], name: str, inputs: list[Any], node: Node) -> Val | None:
        """Operations with a scalar, after one with a scalar or with a scalar that changes nothing."""
        attrs = dict(node.attrs)
        if list(attrs) != ["scalar"] or len(inputs) != 1 or inputs[0].type != node.type:
            return None
        inner, number = inputs[0].node, attrs["scalar"]
        if name in SAME and number == SAME[name] and (
                dtype_of(node).kind != "f" or math.copysign(1.0, number) == math.copysign(1.0, SAME[name])):
            return None if memory(inputs[0]) in self.written else self.listed(inputs[0], node)
        if inner.op is not ops[name] or (both := together(name, dtype_of(node), inner["scalar"], number)) is None:
            return None
        source = self.source(inputs[0])
        wanted = replace(node, attrs=(("scalar", both),), locs=joined(inner.locs, node.locs))
        return None if source is None else self.simple(graph, ops, name, [source], wanted)


def memory(value: Any) -> int:
    """The slot in which a tensor lies that is not computed; -1: it is something else."""
    if not isinstance(value, Val) or not isinstance(value.type, TensorType) or is_expression(value.node):
        return -1
    return slot_of(value.graph, value.key)


def is_full(value: Any) -> bool:
    """Has every element of a value one known value?"""
    return isinstance(value, Val) and value.node.op in (TENSOR_OPS["full"], TILE_OPS["full"])


def simplify(graph: Graph) -> Graph:
    """The same values with fewer operations, and nothing that no value needs any more."""
    return Rewriter().run(Simplify(Ranges(graph)).run(graph))
