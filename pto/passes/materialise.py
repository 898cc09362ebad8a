"""Tensor -> Tensor: which values get a tensor of their own in global memory, and which are computed where needed.

An expression that is stored becomes one nest of loops (see tensor_to_tile). A value inside it is computed again,
tile by tile, wherever it is used; that is right for cheap elementwise chains and wrong for

- operands of a matrix product that hold a product or a row reduction (they would be computed for every tile);
- products that are used more than once, as a softmax uses its scores;
- values that an explicit tile loop reads.

These are assigned to a scratch tensor, in an earlier nest of the same program.
"""

from __future__ import annotations

from typing import Any

from pto.core.types import TensorType
from pto.ir.graph import Graph, Node
from pto.ir.ops import ARG, TENSOR_OPS
from pto.ir.rewrite import Made, Rewriter
from pto.passes.analysis import slot_of

MATMUL, ASSIGN, VIEW = (TENSOR_OPS[name] for name in ("matmul", "assign", "view"))
RESULT, SCRATCH = 1, 2
REDUCES = {TENSOR_OPS[name] for name in ("rowsum", "rowmax")}


def is_expression(node: Node) -> bool:
    """Is it a whole-tensor value that has no memory of its own yet?"""
    return node.op.name.startswith("tensor.") and node.op not in (ASSIGN, VIEW)


class Costs:
    """Which values hold a product or a reduction that would be computed again."""

    def __init__(self, graph: Graph) -> None:
        self.product: set[int] = set()
        self.reduction: set[int] = set()
        self.stored: set[int] = set()
        for key, node in graph.items():
            if is_expression(node):
                self._note(graph, key, node)
                if self._must(graph, key):
                    self.stored.add(key)
                    self.product.discard(key)
                    self.reduction.discard(key)

    def _clobbers(self, graph: Graph, key: int, assignment: Node) -> bool:
        """Does an expression read the tensor that it is stored to, elsewhere than at the element it writes?"""
        slot = slot_of(graph, assignment.inputs[0])
        leaves, stack, far = set(), [key], key in self.product or key in self.reduction
        while stack:
            k = stack.pop()
            if is_expression(graph[k]) and (k == key or k not in self.stored):
                stack += graph[k].inputs
            elif isinstance(graph[k].type, TensorType) and slot_of(graph, k) == slot:
                leaves.add(k)
                far |= graph[k].op is VIEW or graph[k].type != graph[key].type
        return bool(leaves) and far

    def _note(self, graph: Graph, key: int, node: Node) -> None:
        if node.op is MATMUL or self.product & set(node.inputs):
            self.product.add(key)
        if node.op in REDUCES or self.reduction & set(node.inputs):
            self.reduction.add(key)

    def _must(self, graph: Graph, key: int) -> bool:
        users = [n for _, n in graph.users(key)]
        if any(n.op is ASSIGN and self._clobbers(graph, key, n) for n in users):
            return True
        outside = [n for n in users if not n.op.name.startswith("tensor.") or n.op is VIEW]
        operand = any(n.op is MATMUL for n in users)
        costly = key in self.product or key in self.reduction
        uses = len(users) + graph.outputs.count(key)
        return bool(outside) or (operand and costly) or (key in self.product and uses > 1)


class Materialise(Rewriter):
    """Assigns what must be stored to scratch tensors, and what is returned to results."""

    def __init__(self, old: Graph) -> None:
        self.stored, self.outputs = Costs(old).stored, set(old.outputs)

    def visit(self, old: Graph, key: int, node: Node, new: Graph, env: dict[int, Any]) -> Made:
        made = super().visit(old, key, node, new, env)
        if new.outer is not None or key not in self.stored:
            return made
        slot = sum(n.op is ARG for _, n in new.items())
        kind = RESULT if key in self.outputs else SCRATCH
        name = f"{'result' if kind == RESULT else 'scratch'}{slot}"
        room = new.op(ARG, type=node.type, name=name, slot=slot, result=kind)
        return new.apply(ASSIGN, room, made, locs=node.locs)  # type: ignore[arg-type]


def materialise(graph: Graph) -> Graph:
    """Give a tensor of their own to the values that need one."""
    return Materialise(graph).run(graph)
