"""Tensor -> Tensor: a product with quantised weights becomes the product that the machine has for their form.

- With float32 activations the weights are multiplied as they lie, and each column of the result is scaled.
- Else each token's activations become integers that share a scale (largest magnitude / 127 or / 8191, to nearest); the
  integer product is exact, and is scaled by token and by column. Sums of more terms than 32 bits hold are cut.

Which of them is a choice of the author's, kept with the weights (`pto.quant.forms`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from pto.core.dtypes import F32, S8, S16, S32, DType
from pto.core.packed import COLS, Q4, Q8, T2, T3, Packing
from pto.core.types import TensorType
from pto.ir.graph import Graph, Node, Val
from pto.ir.ops import CONST, TENSOR_OPS
from pto.ir.rewrite import Made, Rewriter
from pto.passes.analysis import view_of
from pto.quant.forms import (
    ACTIVATIONS,
    PANEL,
    Q4_FORM,
    Q8_FORM,
    ROWS,
    ROWS_OFFSET,
    SMALLEST,
    T2_FORM,
    T3_FORM,
    most,
)

QUANTISED, VIEW, PACKED, UNPACK = (
    TENSOR_OPS[name] for name in ("quantised_matmul", "view", "packed_matmul", "unpack")
)
INTEGERS = {"a8": S8, "a14": S16}
Known = dict[tuple[Val, str, int], tuple[Val, Val]]  # activations that are rounded already: several products share them


@dataclass(frozen=True, slots=True)
class Builder:
    """Makes the nodes that one product becomes."""

    graph: Graph
    node: Node
    known: Known
    viewed: bool  # may the product be a view? Tiles are read of values

    def op(self, name: str, *inputs: Val, **attrs: Any) -> Val:
        return self.graph.apply(TENSOR_OPS[name], *inputs, locs=self.node.locs, **attrs)

    def cast(self, x: Val, dtype: DType, rounding: str = "rne", saturate: str = "off") -> Val:
        assert isinstance(x.type, TensorType)
        return self.graph.op(TENSOR_OPS["cast"], x, type=TensorType(dtype, x.type.dims), locs=self.node.locs,
                             round=rounding, sat=saturate)

    def part(self, x: Val, dims: tuple[int | str, ...], axes: tuple[int, ...], start: Any = 0) -> Val:
        """A view of a tensor in memory, or of a view: these axes of it, from an element of the last axis on."""
        base, offset, strides = self.place(x)
        offset = self.graph.index("madd", start, strides[-1], offset)
        assert isinstance(x.type, TensorType)
        return self.graph.op(VIEW, base, offset, *(strides[a] for a in axes), type=TensorType(x.type.dtype, dims),
                             locs=self.node.locs)

    def place(self, x: Val) -> tuple[Val, Any, list[Any]]:
        if view := view_of(x.graph, x.key):
            base, offset, *strides = (self._operand(view[0], k) for k in view[1].inputs)
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

    def rounded(self, x: Val, activation: str, high: int) -> tuple[Val, Val]:
        """Activations as integers up to a number, and the scale of each token."""
        if (x, activation, high) not in self.known:
            self.known[x, activation, high] = self._round(x, INTEGERS[activation], high)
        return self.known[x, activation, high]

    def _round(self, x: Val, dtype: DType, high: int) -> tuple[Val, Val]:
        largest = self.op("rowmax", self.op("abs", x))
        scale = self.op("maxs", self.op("muls", largest, scalar=1 / high), scalar=SMALLEST)
        scale = self.kept(scale)
        inverse = self.op("rdivs", scale, scalar=1.0)
        return self.kept(self.cast(self.op("mul", x, inverse), dtype, saturate="on")), scale

    def kept(self, x: Val) -> Val:
        """A matrix that gets memory of its own, for a view is of memory: no product computes it again."""
        assert isinstance(x.type, TensorType)
        if len(x.type.dims) != 2:
            return x
        width = x.type.dims[1]
        assert isinstance(width, int)
        return self.graph.op(VIEW, x, 0, width, 1, type=x.type, locs=self.node.locs)


def by_rows(build: Builder, x: Val, activation: str, codes: Val, scale: Val, offset: Val | None = None) -> Val:
    """Codes in int8, a scale and perhaps an offset for each row of weights."""
    assert isinstance(codes.type, TensorType)
    n, k = codes.type.dims
    assert isinstance(k, int)
    scheme = ACTIVATIONS[activation]
    if scheme is None:
        found = build.op("mul", build.op("matmul", x, build.part(codes, (k, n), (1, 0))), scale)
        return found if offset is None else build.op("add", found, build.op("mul", build.op("rowsum", x), offset))
    high, cut = most(scheme, k)
    q, token = build.rounded(x, activation, high)
    total = None
    for start in range(0, k, cut):
        size = min(cut, k - start)
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
    if view_of(x.graph, x.key):
        return build.part(x, (*lead, size), (0, 1), start)
    strides: list[Any] = [1]
    for extent in reversed((*lead[1:], k) if lead else ()):
        assert isinstance(extent, int)
        strides.insert(0, strides[0] * extent)
    return build.graph.op(VIEW, x, start, *strides, type=TensorType(x.type.dtype, (*lead, size)), locs=build.node.locs)


def by_groups(build: Builder, x: Val, activation: str, records: Val, *, packing: Packing) -> Val:
    """Packed codes with scales of their own: streamed for one row, else made numbers first."""
    scheme = ACTIVATIONS[activation]
    if scheme is None:
        return build.op("matmul", x, whole(build, unpack(build, records, packing, F32)))
    q, token = build.rounded(x, activation, scheme.high)
    if is_row(x):
        return settled(build, streamed(build, q, records, packing, F32), token)
    found = build.op("matmul", build.cast(q, F32), whole(build, unpack(build, records, packing, F32)))
    return build.op("mul", found, token)


def by_trits(build: Builder, x: Val, activation: str, records: Val, scale: Val) -> Val:
    """Packed ternary codes, a scale for each row of weights [panels, 16]."""
    scheme = ACTIVATIONS[activation]
    q, token = (x, None) if scheme is None else build.rounded(x, activation, scheme.high)
    if token is not None and is_row(x):
        return settled(build, build.cast(streamed(build, q, records, T2, S32), F32), token, scale)
    found = build.op("matmul", q, whole(build, build.cast(unpack(build, records, T2, S32), S8)))
    found = found if token is None else build.op("mul", build.cast(found, F32), token)
    return build.op("mul", found, row_of(build, scale))


def settled(build: Builder, found: Val, token: Val, scale: Val | None = None) -> Val:
    """A product of one row [panels, 16], scaled: each core scales the panels that it makes, and a view is the row."""
    if build.viewed:
        found = build.op("mul", found, token)
        return flat(build, found if scale is None else build.op("mul", found, scale))
    found = build.op("mul", flat(build, found), token)
    return found if scale is None else build.op("mul", found, row_of(build, scale))


def row_of(build: Builder, scale: Val) -> Val:
    """The scales of all columns, of [panels, 16]."""
    base, offset, _ = build.place(scale)
    return build.graph.op(VIEW, base, offset, 1, type=TensorType(F32, (columns(build),)), locs=build.node.locs)


def is_row(x: Val) -> bool:
    """Is it one token's activations?"""
    assert isinstance(x.type, TensorType)
    return x.type.dims[:-1] == (1,)


def streamed(build: Builder, q: Val, records: Val, packing: Packing, dtype: DType) -> Val:
    """A product of one row, [panels, 16]."""
    assert isinstance(records.type, TensorType)
    type = TensorType(dtype, (records.type.dims[0], PANEL))
    return build.graph.op(PACKED, q, records, type=type, locs=build.node.locs, packing=packing.name)


def unpack(build: Builder, records: Val, packing: Packing, dtype: DType) -> Val:
    """Weights as numbers, transposed."""
    assert isinstance(records.type, TensorType)
    panels, nbytes = records.type.dims
    assert isinstance(panels, int) and isinstance(nbytes, int)
    type = TensorType(dtype, (nbytes // packing.record * COLS, panels * PANEL))
    return build.graph.op(UNPACK, records, type=type, locs=build.node.locs, packing=packing.name)


def columns(build: Builder) -> int:
    """Columns of the product."""
    assert isinstance(build.node.type, TensorType)
    n = build.node.type.dims[-1]
    assert isinstance(n, int)
    return n


def whole(build: Builder, x: Val) -> Val:
    """Transposed weights without the columns that complete the last panel."""
    assert isinstance(x.type, TensorType)
    k, wide = x.type.dims
    n = columns(build)
    assert isinstance(wide, int)
    if n == wide:
        return x
    return build.graph.op(VIEW, x, 0, wide, 1, type=TensorType(x.type.dtype, (k, n)), locs=build.node.locs)


def flat(build: Builder, x: Val) -> Val:
    """[panels, 16] as one row, without what completes the last panel."""
    assert isinstance(x.type, TensorType)
    n = columns(build)
    return build.graph.op(VIEW, x, 0, n, 1, type=TensorType(x.type.dtype, (1, n)), locs=build.node.locs)


LOWERINGS: dict[str, Callable[..., Val]] = {
    ROWS.name: by_rows, ROWS_OFFSET.name: by_rows, T2_FORM.name: by_trits,
    T3_FORM.name: partial(by_groups, packing=T3), Q4_FORM.name: partial(by_groups, packing=Q4),
    Q8_FORM.name: partial(by_groups, packing=Q8),
}


class LowerQuantised(Rewriter):
    """Replaces products with quantised weights."""

    def __init__(self) -> None:
        self.known: Known = {}

    def visit(self, old: Graph, key: int, node: Node, new: Graph, env: dict[int, Any]) -> Made | None:
        self.viewed = all(user.op.name.startswith("tensor.") for _, user in old.users(key))
        return super().visit(old, key, node, new, env)

    def rule(self, graph: Graph, node: Node, inputs: list[Any]) -> Made | None:
        if node.op is VIEW and (view := view_of(inputs[0].graph, inputs[0].key)):  # what a product became
            base = Val(view[0], view[1].inputs[0])  # whose first elements are those of the product
            return graph.op(VIEW, base, *inputs[1:], type=node.type, locs=node.locs)
        if node.op is not QUANTISED:
            return None
        x, *parts = inputs
        build = Builder(graph, node, self.known, self.viewed)
        return LOWERINGS[node["form"]](build, x, node["activation"], *parts)


def lower_quantised(graph: Graph) -> Graph:
    """Choose the machine's product for each form of weights."""
    return LowerQuantised().run(graph)
