"""What a watched kernel looks for: where a value that is no number, or is out of range, first comes up.

Behind each operation whose result may be such a value the kernel computes where that is so though the operands are in
order, and reports the first place. Floating results are looked at by themselves; integer ones beside the same operation
in float32, from which a result that wrapped is half its range away at least. Functions that are made of several
operations are looked at as a whole, and only where their operands are all in order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import and_, or_
from typing import Any

from pto.core.dtypes import BF16, F16, F32, S32, DType
from pto.core.errors import Loc
from pto.core.numeric import NEAREST
from pto.core.types import TensorType, TileType
from pto.ir.graph import Val
from pto.ir.ops import ARG, TENSOR_OPS, TILE_OPS, Op, of_type
from pto.lang import language as pt
from pto.lang import reductions, reports
from pto.lang.functions import isnan
from pto.lang.integers import Index
from pto.lang.loops import repeat
from pto.lang.regions import outside
from pto.lang.selection import where
from pto.lang.stores import kept
from pto.lang.trace import Site, Tracer, Watch, tracer
from pto.lang.values import ROUNDED, Array, Tensor, cast, filled, wrap

LAST = 2**31 - 1  # no element's number
FOLDS = frozenset(("rowsum", "rowprod", "colsum", "colprod", "matmul"))
QUANTISED = "quantised_matmul"
CONVERSIONS = frozenset(("cast", "cast_random"))
WINDOWS = (TENSOR_OPS["view"], TILE_OPS["load"])


class Detector:
    """The hook of a tracer; see `Tracer.emit`."""

    def __init__(self, kinds: Sequence[str]) -> None:
        self.nan, self.overflow = "nan" in kinds, "overflow" in kinds
        self.seen = set[Val]()  # arguments, and windows of them

    def __call__(self, op: Op, inputs: Sequence[Any], attrs: Mapping[str, Any], made: Any) -> Any:
        """An operation was traced; gives its result, which is in memory, so that no check computes a chain again."""
        name = op.name.partition(".")[2]
        if name not in ROUNDED | FOLDS | CONVERSIONS | {QUANTISED}:
            return made
        operands = [wrap(v) for v in inputs if isinstance(v, Val) and isinstance(v.type, TensorType | TileType)]
        with tracer().unwatched():
            made = made if name == "mul" else kept(made)  # a sum of products over elements is a matrix product
            if op is TILE_OPS["matmul"]:  # its operands lie where the vector unit does not read
                if made.dtype.kind == "f":
                    always = is_number(made) | isnan(made)
                    self._report(self._odd(made, always, always), made, name)
                return made
            self._sources(operands[:1] if name == QUANTISED else operands)
            if name in CONVERSIONS:
                self._conversion(op, operands, attrs, made)
            elif made.dtype.kind != "f":
                self._integers(op, operands, attrs, made)
            elif name == QUANTISED:
                self._report(self._odd(made, *whole_clean(operands[:1])), made, name)
            elif name in FOLDS:
                self._report(self._odd(made, *folded_clean(op, operands, attrs)), made, name)
            else:
                self._report(self._odd(made, *clean(operands, attrs.get("scalar", 0.0))), made, name)
        return made

    def whole(self, name: str, operands: Sequence[Array], made: Any) -> Any:
        """A function of several operations was traced; gives its result, computed once."""
        if not isinstance(made, Array):
            return made
        floating = [x for x in operands if x.dtype.kind == "f"]
        with tracer().unwatched():
            made = kept(made)
            self._sources(floating)
            if floating and made.dtype.kind == "f":
                self._report(self._odd(made, *whole_clean(floating)), made, name)
        return made

    def _sources(self, operands: Sequence[Array]) -> None:
        """Look once at what comes from an argument."""
        for x in operands:
            name = argument_of(x.val)
            if self.nan and name and x.dtype.kind == "f" and x.val not in self.seen:
                self.seen.add(x.val)
                self._report(isnan(x), x, "argument", name)

    def _odd(self, made: Any, no_nan: Any, finite: Any) -> Any:
        """Where a floating result is not in order though the operands are."""
        found = [isnan(made) & no_nan] if self.nan and no_nan is not None else []
        found += [infinite(made) & finite] if self.overflow and finite is not None else []
        return reduce(or_, found) if found else None

    def _integers(self, op: Op, operands: Sequence[Array], attrs: Mapping[str, Any], made: Any) -> None:
        if self.overflow:
            meant = again(op, [cast(x, F32) for x in operands], attrs)
            apart = pt.abs(cast(made, F32) - meant) > 2.0 ** (made.dtype.bits - 2)
            self._report(apart, made, op.name.partition(".")[2])

    def _conversion(self, op: Op, operands: Sequence[Array], attrs: Mapping[str, Any], made: Any) -> None:
        x, *bits = operands
        if not self.overflow or (made.dtype.kind == "f" and made.dtype not in (F16, BF16)):
            return
        if made.dtype.kind == "f":
            out = infinite(cast(x, made.dtype, NEAREST, saturate=False))
        else:
            out = ~in_range(op, x, bits, attrs, made.dtype)
        self._report(out if x.dtype.kind != "f" else out & is_finite(x), x, "cast")

    def _report(self, odd: Any, value: Any, name: str, argument: str = "") -> None:
        """The first element where a condition holds: its number, its value, and the counters of the loops around."""
        if odd is None:
            return
        found, loc, number = tracer(), Loc.of_user(), numbered(value)
        odd = kept(odd)  # a nest of loops of its own: what is looked for in a long expression needs not be one
        first = reductions.min(where(odd, number, LAST), axis=None, keepdims=True)
        kind = F32 if value.dtype.kind == "f" else S32
        picked = reductions.sum(where(number == first, cast(value, kind), 0), axis=None, keepdims=True)
        dims = value.dims if isinstance(value, Tensor) else value.shape
        counters = loops(found)
        watch = Watch(name, tuple(dims), len(counters), argument)
        site = Site(len(found.sites), loc, "", asserts=True, watch=watch)

        def report(*_: Any) -> tuple[()]:
            tile = single(first)
            for one in (tile, single(picked), *map(reports.whole, counters)):
                reports.unless(found, one, tile == LAST, site)
            return ()

        if isinstance(value, Tensor):
            repeat(pt.range(1), report)  # a loop of its own: outside of loops all loads would need flags at once
        else:
            report()


def loops(found: Tracer) -> list[Index]:
    """The counters of the loops that are being traced, outermost first."""
    counters, graph = list[Index](), found.graph
    while graph.outer is not None:
        counters.insert(0, Index(Val(graph, graph.params[0])))
        graph = graph.outer
    return counters


def argument_of(value: Val) -> str:
    """The name of the argument that a value is, or is a window of; empty: it is none."""
    value = outside(value)
    while value.node.op in WINDOWS:
        value = outside(Val(value.graph, value.node.inputs[0]))
    return str(value.node["name"]) if value.node.op is ARG and not value.node["result"] else ""


def infinite(x: Any) -> Any:
    """Where x is infinite."""
    return pt.abs(x) == math.inf


def is_number(x: Any) -> Any:
    """Where x is a number."""
    return x == x


def is_finite(x: Any) -> Any:
    """Where x is finite; an integer is."""
    return pt.abs(x) < math.inf if x.dtype.kind == "f" else is_number(x)


def clean(operands: Sequence[Any], scalar: float) -> tuple[Any, Any]:
    """Where no operand is no number, and where all are finite; None: nowhere."""
    return (None if math.isnan(scalar) else reduce(and_, map(is_number, operands)),
            None if not math.isfinite(scalar) else reduce(and_, map(is_finite, operands)))


def folded_clean(op: Op, operands: Sequence[Any], attrs: Mapping[str, Any]) -> tuple[Any, Any]:
    """The same for what is summed up or multiplied: the operation of zeros, with no number in place of what is not."""
    marked = [where(x == x, filled(x, 0.0, x.dtype), math.nan) if x.dtype.kind == "f" else x * 0 for x in operands]
    first, second = again(op, marked, attrs), again(op, [x * 0 for x in operands], attrs)
    return first == first, second == second


def whole_clean(operands: Sequence[Any]) -> tuple[Any, ...]:
    """The same where all elements of all operands count."""
    return tuple(kept(reduce(and_, [all_of(test(x)) for x in operands])) for test in (is_number, is_finite))


def all_of(condition: Any) -> Any:
    """Whether a condition holds everywhere: 1 x 1."""
    if isinstance(condition, Tensor) and not condition.ndim:
        return matrix(condition)
    return matrix(reductions.all(condition, axis=None, keepdims=True))


def again(op: Op, operands: Sequence[Any], attrs: Mapping[str, Any]) -> Any:
    """The same operation of other operands."""
    return tracer().emit(op, *operands, **attrs)


def in_range(op: Op, x: Any, bits: Sequence[Any], attrs: Mapping[str, Any], dtype: DType) -> Any:
    """Where an integer type has what x is rounded to."""
    if x.dtype.kind == "f" and dtype == S32:
        return (x >= -(2.0**31)) & (x < 2.0**31)
    wide = cast(x, S32) if x.dtype.kind != "f" else tracer().emit(
        op, x, *bits, type=of_type(x.type, S32), **{**attrs, "sat": "on"})
    low = -(2 ** (dtype.bits - 1)) if dtype.kind == "i" else 0
    return (wide >= low) & (wide <= low + 2**dtype.bits - 1)


def numbered(x: Any) -> Any:
    """The number of each element, row by row (int32)."""
    if not isinstance(x, Tensor):
        rows, cols = x.shape
        return tracer().emit(TILE_OPS["iota"], 0, cols, 1, type=TileType(S32, rows, cols))
    found: Any = pt.full((), 0, S32)
    for axis, extent in enumerate(x.shape):
        along = pt.arange(extent)
        for _ in range(x.ndim - 1 - axis):
            along = along.unsqueeze(-1)
        found = found * extent + along if axis else along
    return found


def matrix(x: Any) -> Any:
    """A tensor of one element in two axes, for whatever is computed in fewer is no loop; a tile as it is."""
    if isinstance(x, Tensor):
        for _ in range(x.ndim - 2):
            x = x.squeeze(0)
        for _ in range(2 - x.ndim):
            x = x.unsqueeze(0)
    return x


def single(x: Any) -> Any:
    """The one element of a tensor or tile, as a tile."""
    return matrix(x)[0:1, 0:1] if isinstance(x, Tensor) else x


def detector(kinds: Sequence[str]) -> Callable[..., None] | None:
    """The hook for what a configuration detects; None where that is nothing."""
    return Detector(kinds) if kinds else None
