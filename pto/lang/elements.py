"""Elements of tensors under all values of the counters around them: what a nest over elements means (see `nests.py`).

In a nest of n loops every value of the kernel is a tensor of n axes, one for each counter, of extent 1 where it does
not depend on the counter: `A[i, k]` under the loops i, j, k is A with an axis of extent 1 in the middle. Arithmetic
broadcasts; a sum over the innermost loops is a reduction of the last axes, or, of a product, a matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pto.core.errors import CaptureError, Loc, located
from pto.ir.graph import Val
from pto.ir.ops import TENSOR_OPS
from pto.lang import nests, reductions, stores, values
from pto.lang.trace import tracer
from pto.lang.values import Tensor, wrap


@dataclass(frozen=True, eq=False)
class Axis:
    """All values of a counter: 0 up to an extent."""

    extent: int | str


def are_elements(*pairs: tuple[Any, int]) -> bool:
    """Is each of these a tensor with so many axes, so that as many subscripts are one element?"""
    return all(isinstance(tensor, Tensor) and tensor.ndim == count for tensor, count in pairs)


def axis(count: Any) -> Axis:
    """The counter of ``range(count)``."""
    found = tracer().extent(count)
    if found is None:
        raise CaptureError("a loop over elements runs over an extent: a constant, or one of an argument",
                           loc=Loc.of_user(), hint="write range(A.shape[0]), or range(tile_m) with an option")
    return Axis(found)


def _cover(tensor: Tensor, axes: tuple[Axis, ...]) -> None:
    """The loops run over all elements of a tensor: one that is larger is for a grid of tiles."""
    symbols = tracer().symbols
    for number, (dim, one) in enumerate(zip(tensor.dims, axes, strict=True)):
        said = (f"axis {number} of this tensor has extent {symbols.show(dim)}, and the loop over it "
                f"{symbols.show(one.extent)}")
        symbols.equal(dim, one.extent, said, "write range(A.shape[0]) for tensors of any extent; or call the kernel "
                      "once for each tile of a larger one")


def _axes(where: Any) -> tuple[Axis, ...]:
    return where if isinstance(where, tuple) else (where,)


def element(tensor: Tensor, where: Any, around: tuple[Axis, ...]) -> Tensor:
    """``tensor[i, k]`` for all values of the counters."""
    with located(Loc.of_user()):
        axes = _axes(where)
        _cover(tensor, axes)
        places = [next(n for n, other in enumerate(around) if other is one) for one in axes]
        order = sorted(range(len(places)), key=places.__getitem__)
        made = tensor if order == list(range(len(order))) else tensor.permute(*order)
        for place in range(len(around)):
            made = made if place in places else made.unsqueeze(place)
        return made


def widen(value: Any, by: int) -> Any:
    """A value of outer loops in `by` more of them; -1: one from outside of the nest, which is a number."""
    if by < 0 and isinstance(value, Tensor) and value.ndim:
        raise CaptureError("a whole tensor in a loop over elements", loc=Loc.of_user(),
                           hint="subscript it with the counters")
    if isinstance(value, Tensor):
        for _ in range(max(by, 0)):
            value = value.unsqueeze(value.ndim)
    return value


def fold(start: Any, term: Any, times: int) -> Any:
    """``start += term`` in `times` loops more than start has its value in."""
    for _ in range(times):
        if not isinstance(term, Tensor):
            raise CaptureError("a sum of a number that no element has a part in", loc=Loc.of_user(),
                               hint="multiply the number by how often the loop runs")
        product = _product(term)
        term = reductions.sum(term, axis=-1) if product is None else product
    return term if not isinstance(start, Tensor) and start == 0 else start + term


def _product(term: Tensor) -> Any:
    """The sum over the last axis of what is a product, as a matrix product; None where it is none."""
    graph, node = term.val.graph, term.val.node
    if node.op is not TENSOR_OPS["mul"]:
        return None
    a, b = (wrap(Val(graph, key)) for key in node.inputs)
    if 1 in (a.dims[-1], b.dims[-1]):
        return None
    *outer, last = range(term.ndim)
    rows, cols = ([n for n in outer if x.dims[n] != 1 and y.dims[n] == 1] for x, y in ((a, b), (b, a)))
    if len(rows) != 1 or len(cols) != 1:
        return None
    if rows > cols:
        a, b, rows, cols = b, a, cols, rows
    both = [n for n in outer if n not in (*rows, *cols)]
    if [*both, *rows, *cols] != outer:
        return None
    left, right = a.permute(*both, *rows, last, *cols), b.permute(*both, last, *cols, *rows)
    return values.matmul(left.squeeze(-1), right.squeeze(-1))


def put(target: Any, where: Any, value: Any, around: tuple[Axis, ...]) -> Any:
    """``target[i, j] = value`` for all values of the counters: the next version of the target."""
    with located(Loc.of_user()):
        axes = _axes(where)
        _cover(target, axes)
        if not isinstance(value, Tensor):
            value = values.filled(target, value, target.dtype)
        elif axes != around:
            value = value.permute(*(around.index(one) for one in axes))
        if any(dim == 1 and one.extent != 1 for dim, one in zip(value.dims, axes, strict=True)):
            value = values.filled(target, 0, value.dtype) + value
        return stores.setitem(target, slice(None), value)


HOOKS = {nests.ELEMENTS: are_elements, nests.AXIS: axis, nests.ELEMENT: element, nests.WIDEN: widen, nests.FOLD: fold,
         nests.PUT: put}
