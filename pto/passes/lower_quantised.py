"""Tensor -> Tensor: a product with quantised weights becomes the product that the machine has for their form.

- With float32 activations the weights are multiplied as they lie, and each column of the result is scaled.
- Else each token's activations become integers that share a scale (largest magnitude / 127 or / 8191, to nearest); the
  integer product is exact, and is scaled by token and by column. Sums of more terms than 32 bits hold are cut.

Which of them is a choice of the author's, kept with the weights (`pto.quant.forms`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pto.core.dtypes import F32, S8, S16, DType
from pto.core.types import TensorType
from pto.ir.graph import Graph, Node, Val
from pto.ir.ops import CONST, TENSOR_OPS
from pto.ir.rewrite import Made, Rewriter
from pto.quant.forms import ACTIVATIONS, ROWS, ROWS_OFFSET, SMALLEST
from pto.quant.schemes import Scheme

QUANTISED, VIEW = TENSOR_OPS["quantised_matmul"], TENSOR_OPS["view"]
INTEGERS = {"a8": S8, "a14": S16}
MOST = 2**31 - 1
ROUND = 32  # a cut is a whole number of rounds of a streamed product


@dataclass(frozen=True, slots=True)
class Builder:
    """Makes the nodes that one product becomes."""

    graph: Graph
    node: Node
    known: dict[tuple[Val, str], tuple[Val, Val]]  # activations that were rounded already: several products share them

    def op(self, name: str, *inputs: Val, **attrs: Any) -> Val:
        return self.graph.apply(TENSOR_OPS[name], *inputs, locs=self.node.locs, **attrs)

    def cast(self, x: Val, dtype: DType, rounding: str = "rne", saturate: str = "off") -> Val:
        assert isinstance(x.type, TensorType)
        return self.graph.op(TENSOR_OPS["cast"], x, type=TensorType(dtype, x.type.dims), locs=self.node.locs,
                             round=rounding, sat=saturate)

    def part(self, x: Val, dims: tuple[int | str, ...], axes: tuple[int, ...], start: Any = 0) -> Val:
        """A view of a tensor in memory, or of a view: these axes of it, from an element of the last axis on."""
        base, offset, strides = self._place(x)
        offset = self.graph.index("madd", start, strides[-1], offset)
        assert isinstance(x.type, TensorType)
        return self.graph.op(VIEW, base, offset, *(strides[a] for a in axes), type=TensorType(x.type.dtype, dims),
                             locs=self.node.locs)

    def _place(self, x: Val) -> tuple[Val, Any, list[Any]]:
        if x.node.op is VIEW:
            base, offset, *strides = (self._operand(x.graph, k) for k in x.node.inputs)
            assert isinstance(base, Val)
            return base, offset, strides
        assert isinstance(x.type, TensorType)
        steps: list[Any] = [1]
        for extent in reversed(x.type.dims[1:]):
            assert isinstance(extent, int)
            steps.insert(0, steps[0] * extent)
        return x, 0, steps

    @staticmethod
    def _operand(graph: Graph, key: int) -> Val | int:
        node = graph[key]
        return int(node["value"]) if node.op is CONST else Val(graph, key)

    def rounded(self, x: Val, activation: str) -> tuple[Val, Val]:
        """Activations as integers, and the scale of each token."""
        if (x, activation) not in self.known:
            scheme = ACTIVATIONS[activation]
            assert scheme is not None
            self.known[x, activation] = self._round(x, scheme, INTEGERS[activation])
        return self.known[x, activation]

    def _round(self, x: Val, scheme: Scheme, dtype: DType) -> tuple[Val, Val]:
        largest = self.op("rowmax", self.op("abs", x))
        scale = self.op("maxs", self.op("muls", largest, scalar=1 / scheme.high), scalar=SMALLEST)
        inverse = self.op("rdivs", scale, scalar=1.0)
        return self.cast(self.op("mul", x, inverse), dtype, saturate="on"), scale


def by_rows(build: Builder, x: Val, activation: str, codes: Val, scale: Val, offset: Val | None = None) -> Val:
    """Codes in int8, a scale and perhaps an offset for each row of weights."""
    assert isinstance(codes.type, TensorType)
    n, k = codes.type.dims
    assert isinstance(k, int)
    scheme = ACTIVATIONS[activation]
    if scheme is None:
        found = build.op("mul", build.op("matmul", x, build.part(codes, (k, n), (1, 0))), scale)
        return found if offset is None else build.op("add", found, build.op("mul", build.op("rowsum", x), offset))
    q, token = build.rounded(x, activation)
    most = MOST // (scheme.high * 128) // ROUND * ROUND
    total = None
    for start in range(0, k, most):
        size = min(most, k - start)
        left = q if size == k else piece(build, q, start, size)
        term = build.cast(build.op("matmul", left, build.part(codes, (size, n), (1, 0), start)), F32)
        total = term if total is None else build.op("add", total, term)
    assert total is not None
    found = build.op("mul", build.op("mul", total, token), scale)
    if offset is None:
        return found
    sums = build.op("mul", build.op("rowsum", build.cast(q, F32)), token)
    return build.op("add", found, build.op("mul", sums, offset))


def piece(build: Builder, x: Val, start: int, size: int) -> Val:
    """Some channels of a tensor that gets memory of its own."""
    assert isinstance(x.type, TensorType)
    *lead, k = x.type.dims
    strides: list[Any] = [1]
    for extent in reversed((*lead[1:], k) if lead else ()):
        assert isinstance(extent, int)
        strides.insert(0, strides[0] * extent)
    return build.graph.op(VIEW, x, start, *strides, type=TensorType(x.type.dtype, (*lead, size)), locs=build.node.locs)


LOWERINGS: dict[str, Callable[..., Val]] = {ROWS.name: by_rows, ROWS_OFFSET.name: by_rows}


class LowerQuantised(Rewriter):
    """Replaces products with quantised weights."""

    def __init__(self) -> None:
        self.known: dict[tuple[Val, str], tuple[Val, Val]] = {}

    def rule(self, graph: Graph, node: Node, inputs: list[Any]) -> Made | None:
        if node.op is not QUANTISED:
            return None
        x, *parts = inputs
        return LOWERINGS[node["form"]](Builder(graph, node, self.known), x, node["activation"], *parts)


def lower_quantised(graph: Graph) -> Graph:
    """Choose the machine's product for each form of weights."""
    return LowerQuantised().run(graph)
