"""The functions of the language: what an author calls as `pt.name` inside a kernel."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pto.core.dtypes import F32, S32, DType
from pto.core.errors import CaptureError, Loc, ShapeError, UnsupportedError, located
from pto.core.types import INDEX, TensorType, TileType
from pto.ir.graph import Graph, Val
from pto.ir.ops import TENSOR_OPS, TILE_OPS
from pto.lang import carried as arrays
from pto.lang import stores, values
from pto.lang.integers import Index, Proxy, are_integers, larger, smaller, unwrap
from pto.lang.reductions import max, mean, sum
from pto.lang.regions import is_version, outside, valid
from pto.lang.trace import Sources, Tracer, tracer, uncaptured
from pto.lang.values import wrap


def exp(x: Any) -> Any:
    """e to the power x, element by element."""
    return values.unary("exp", x)


def relu(x: Any) -> Any:
    """The larger of x and 0, element by element."""
    return values.unary("relu", x)


def sqrt(x: Any) -> Any:
    """Square root, element by element."""
    return values.unary("sqrt", x)


def log(x: Any) -> Any:
    """Natural logarithm, element by element."""
    return values.unary("log", x)


def rsqrt(x: Any) -> Any:
    """1 / square root, element by element."""
    return values.unary("rsqrt", x)


def reciprocal(x: Any) -> Any:
    """1 / x, element by element."""
    return values.unary("recip", x)


def tanh(x: Any) -> Any:
    """Hyperbolic tangent, element by element."""
    return values.unary("tanh", x)


def erf(x: Any) -> Any:
    """Error function, element by element."""
    return values.unary("erf", x)


def sin(x: Any) -> Any:
    """Sine, element by element."""
    return values.unary("sin", x)


def cos(x: Any) -> Any:
    """Cosine, element by element."""
    return values.unary("cos", x)


def floor(x: Any) -> Any:
    """The largest integer not above x, element by element."""
    return values.unary("floor", x)


def ceil(x: Any) -> Any:
    """The smallest integer not below x, element by element."""
    return values.unary("ceil", x)


def round(x: Any) -> Any:
    """The nearest integer, ties to even, element by element."""
    return values.unary("round", x)


def abs(x: Any) -> Any:
    """Magnitude, element by element."""
    return values.unary("abs", x)


def maximum(a: Any, b: Any) -> Any:
    """The larger of a and b, element by element; one of them may be a number, or both integers of the program."""
    return larger(a, b) if are_integers(a, b) else values.either("maximum", a, b)


def minimum(a: Any, b: Any) -> Any:
    """The smaller of a and b, element by element; one of them may be a number, or both integers of the program."""
    return smaller(a, b) if are_integers(a, b) else values.either("minimum", a, b)


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), element by element."""
    return values.unary("sigmoid", x)


def silu(x: Any) -> Any:
    """x times its sigmoid, element by element."""
    return values.unary("silu", x)


@values.in_f32
def gelu(x: Any, approximate: str = "tanh") -> Any:
    """The Gaussian error linear unit, element by element (Hendrycks and Gimpel, 2016): its tanh form, or ("none") the
    one with the error function.
    """
    if approximate == "none":
        return x * (0.5 + 0.5 * erf(x * 0.7071067811865476))
    return values.unary("gelu", x)


@values.in_f32
def layer_norm(x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Each row less its mean, times the reciprocal of the root of its variance plus eps; times weight, plus bias, where
    given."""
    centred = x - mean(x, keepdims=True)
    y = centred * (1.0 / sqrt(mean(centred * centred, keepdims=True) + eps))
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


@values.in_f32
def rms_norm(x: Any, weight: Any = None, eps: float = 1e-5) -> Any:
    """Each row times the reciprocal of the root of its mean square plus eps; times weight, where given."""
    y = x * (1.0 / sqrt(mean(x * x, keepdims=True) + eps))
    return y if weight is None else y * weight


def embedding(ids: Any, table: Any) -> Any:
    """The rows of a table [n, d] that integers [...] (int32) name: [..., d]."""
    return tracer().emit(TENSOR_OPS["gather"], values.lifted(table), values.lifted(ids))


def arange(start: Any, stop: Any = None, step: int = 1, *, dtype: DType = S32) -> Any:
    """start, start + step, ... up to, not including, stop, or 0 to start where no stop is given: one axis; int32, or
    float32 where `dtype` says so.
    """
    with located(Loc.of_user()):
        if stop is None:
            start, stop = 0, start
        count: Any = stop if isinstance(start, int) and start == 0 and step == 1 else tracer().wrap(
            tracer().graph.index("sub", unwrap(stop), unwrap(start)))
        if not isinstance(step, int) or step == 0:
            raise ShapeError("the step of pt.arange is an integer that is not 0")
        if step != 1:
            if not isinstance(count, int):
                raise ShapeError("the number of elements of pt.arange with a step must be a constant")
            count = -(-count // step)
        return tracer().emit(TENSOR_OPS["iota"], start, step, type=TensorType(dtype, (_extent(count),)))


def concat(parts: Sequence[Any], dim: int = -1) -> Any:
    """Tensors one after the other along an axis; the other extents are equal."""
    loc = Loc.of_user()
    with located(loc):
        parts = [values.lifted(p) for p in parts]
        if not parts or not all(isinstance(p, values.Tensor) for p in parts):
            raise ShapeError("concat takes one or more tensors")
        first = parts[0]
        axis = dim % first.ndim
        if any(p.ndim != first.ndim for p in parts):
            raise ShapeError("the tensors that are joined have as many axes")
        widths = [pinned(p, axis) for p in parts]
        room = empty((*first.shape[:axis], builtins.sum(widths), *first.shape[axis + 1:]), first.dtype)
        start = 0
        for part, width in zip(parts, widths, strict=True):
            where = (slice(None),) * axis + (slice(start, start + width),)
            room, start = stores.assign(room, where, part), start + width
        return room


cat = concat


def pinned(x: Any, axis: int) -> int:
    """The extent of an axis as a number; the program is then for it."""
    symbols = tracer().symbols
    found = symbols.value(x.dims[axis])
    if found is None:
        raise ShapeError("the extent of an axis must be known here", loc=Loc.of_user(),
                         hint="annotate the axis with a number, or call the kernel")
    symbols.pin(x.dims[axis])
    return found


def stack(parts: Sequence[Any], dim: int = 0) -> Any:
    """Tensors of equal extents one after the other along a new axis."""
    loc = Loc.of_user()
    with located(loc):
        parts = [values.lifted(p) for p in parts]
        if not parts or not all(isinstance(p, values.Tensor) for p in parts):
            raise ShapeError("stack takes one or more tensors")
        return concat([p.unsqueeze(dim) for p in parts], dim)


def split(x: Any, size: int | Sequence[int], dim: int = 0) -> tuple[Any, ...]:
    """Pieces of an axis, without a copy: of `size` elements (the last of what is left), or of each of these sizes; as
    in PyTorch. The program is for the axis's extent.
    """
    with located(Loc.of_user()):
        x = values.lifted(x)
        if not (isinstance(x, values.Tensor) and -x.ndim <= dim < x.ndim):
            raise ShapeError("split takes a tensor, and an axis of it")
        extent = pinned(x, dim)
        if isinstance(size, int):
            size = [builtins.min(size, extent - at) for at in builtins.range(0, extent, builtins.max(1, size))]
        if builtins.sum(size) != extent or builtins.min(size) < 1:
            raise ShapeError(f"pieces of {', '.join(map(str, size))} do not add up to an axis of extent {extent}")
        starts = [builtins.sum(size[:n]) for n, _ in enumerate(size)]
        return tuple(x.narrow(dim, start, length) for start, length in zip(starts, size, strict=True))


def rope(x: Any, cos: Any, sin: Any) -> Any:
    """Rotary position embedding: pairs of channels (i, i + half) of the last axis turned by the angle of a position.

    Args:
        x: [..., 2 * half].
        cos, sin: of the angles, [half], or with axes that broadcast with those of x.
    """
    half = x.dims[-1] // 2
    low, high = x.narrow(-1, 0, half), x.narrow(-1, half, half)
    return concat((low * cos - high * sin, high * cos + low * sin))


@values.in_f32
def softmax(x: Any, dim: int = -1) -> Any:
    """exp(x) times the reciprocal of its sum in each row, computed from the row's largest element on."""
    powers = exp(x - max(x, dim, keepdims=True))
    return powers * (1.0 / sum(powers, dim, keepdims=True))


@values.in_f32
def log_softmax(x: Any, dim: int = -1) -> Any:
    """The logarithm of `softmax`, computed without it: x less its largest element, less the logarithm of the sum."""
    centred = x - max(x, dim, keepdims=True)
    return centred - log(sum(exp(centred), dim, keepdims=True))


@values.in_f32
def logsumexp(x: Any, dim: int = -1, keepdims: bool = False) -> Any:
    """The logarithm of the sum of e to the power x along an axis."""
    top = max(x, dim, keepdims=True)
    found = log(sum(exp(x - top), dim, keepdims=True)) + top
    return found if keepdims else found.squeeze(dim)


matmul = tile_matmul = dot = values.matmul


def full(shape: Sequence[Any], value: float, dtype: DType = F32) -> Any:
    """Elements that all are `value`: a tile, where two constant extents are given; else a tensor."""
    loc = Loc.of_user()
    with located(loc):
        if len(shape) == 2 and builtins.all(isinstance(n, int) and n > 0 for n in shape):
            rows, cols = shape
            return tracer().emit(TILE_OPS["full"], type=TileType(dtype, rows, cols), scalar=values.number(value, dtype))
        return full_tensor(shape, value, dtype)


def full_tensor(shape: Sequence[Any], value: float, dtype: DType) -> Any:
    """A tensor, whatever its extents are, whose elements all are `value`."""
    dims = tuple(map(_extent, shape))
    return tracer().emit(TENSOR_OPS["full"], type=TensorType(dtype, dims), scalar=values.number(value, dtype))


def zeros(shape: Sequence[Any], dtype: DType = F32) -> Any:
    """Zeros: a tile or a tensor, see `full`."""
    return full(shape, 0.0, dtype)


def ones(shape: Sequence[Any], dtype: DType = F32) -> Any:
    """Ones: a tile or a tensor, see `full`."""
    return full(shape, 1.0, dtype)


def full_like(x: Any, value: float, dtype: DType | None = None) -> Any:
    """A tensor or tile of the extents of x whose elements all are `value`."""
    x = values.lifted(x)
    with located(Loc.of_user()):
        return values.filled(x, value, dtype or x.dtype)


def zeros_like(x: Any, dtype: DType | None = None) -> Any:
    """Zeros of the extents of x."""
    return full_like(x, 0.0, dtype)


def ones_like(x: Any, dtype: DType | None = None) -> Any:
    """Ones of the extents of x."""
    return full_like(x, 1.0, dtype)


def empty(shape: tuple[Any, ...], dtype: DType = F32) -> Any:
    """Room for a tensor: to store tensors and tiles to, to read, and to return; in a loop, the same at each turn."""
    return tracer().room(TensorType(dtype, tuple(map(_extent, shape))), "result")


def _extent(value: Any) -> int | str:
    found = tracer().extent(value)
    if found is None:
        raise ShapeError("a result's extent is a constant, an extent of an argument or an integer argument",
                         loc=Loc.of_user(), hint="write pt.empty((A.shape[0], B.shape[1]))")
    return found


def cdiv(a: Any, b: Any) -> Any:
    """a / b, rounded up."""
    return (a + (b - 1)) // b


def program_id(axis: int = 0) -> Any:
    """Which program of the grid of ``kernel[grid](...)`` this is, along an axis."""
    return _of_grid(axis, 0)


def num_programs(axis: int = 0) -> Any:
    """How many programs the grid of ``kernel[grid](...)`` has along an axis."""
    return _of_grid(axis, 1)


def _of_grid(axis: int, which: int) -> Any:
    programs = tracer().programs
    found = programs[-1][which] if programs else ()
    if not 0 <= axis < len(found):
        said = f"the grid of this call has {len(found)} axes" if found else "this call has no grid"
        raise CaptureError(f"{said}, and axis {axis} is asked for", loc=Loc.of_user(),
                           hint="launch the kernel on a grid: kernel[(pt.cdiv(n, block),)](...)")
    return found[axis]


def static_assert(condition: Any, message: str = "") -> None:
    """A condition that must be known, and hold, when the kernel is traced: on options, constants and element types.

    Raises:
        CaptureError: it does not.
    """
    if not condition:
        raise CaptureError(f"static_assert: {message or 'the condition does not hold'}", loc=Loc.of_user(),
                           hint="give the kernel other options or constants")


@dataclass(frozen=True, slots=True)
class Range:
    """The values of a loop's counter: from `low` up to, not including, `high`."""

    low: Any
    high: Any
    step: Any

    def __iter__(self) -> Iterator[Any]:
        raise CaptureError("a loop over pt.range must be a plain `for NAME in pt.range(...)` without return or else, "
                           "in a kernel whose source is in a file",
                           loc=Loc.of_user(), hint=uncaptured() or "store in the loop, and return after the loop; or "
                           "unroll it: pt.static_range(...)")


def range(low: Any, high: Any = None, step: Any = 1) -> Range:
    """The range of a loop of the program; bounds may be extents known at launch."""
    if high is None:
        low, high = 0, low
    if isinstance(step, int) and step < 1:
        raise CaptureError(f"a loop's step must be positive, not {step}", loc=Loc.of_user(),
                           hint="count upwards in steps of at least 1, and subscript from the end: n - step - i")
    return Range(low, high, step)


def static_range(*bounds: int) -> Any:
    """Python's range: the loop is unrolled when the kernel is traced."""
    return tuple(builtins.range(*bounds))  # no range, which a loop that subscripts with it would keep rolled


def python_range(*bounds: Any) -> Any:
    """What `range(...)` is in a kernel: Python's for numbers, the program's for symbols."""
    if any(isinstance(b, Index) for b in bounds):
        return range(*bounds)
    return builtins.range(*bounds)


def for_loop(values_: Any, body: Callable[..., tuple[Any, ...]], carried: tuple[Any, ...], names: tuple[str, ...],
             lost: tuple[str, ...], subscripts: bool) -> tuple[Any, ...]:
    """A `for` statement of a kernel. `names` are carried; `lost` are read later but have no value before."""
    if not isinstance(values_, Range) and subscripts and isinstance(values_, builtins.range) and len(values_) > 1:
        values_ = Range(values_.start, values_.stop, values_.step) if values_.step > 0 else values_
    if not isinstance(values_, Range):
        for value in values_:
            carried = body(value, *carried)
        return carried
    loc = Loc.of_user()
    _carriable(carried, names, lost, "loop", loc)
    return loop(values_, body, carried, names, loc)


def symbolic(test: Any) -> bool:
    """Is a condition known at run time only, or a range one of the program?"""
    return isinstance(test, Index | Range)


def known(test: Any) -> Any:
    """The condition of a `while` that Python runs.

    Raises:
        CaptureError: it is known at run time only.
    """
    if isinstance(test, Index):
        raise CaptureError("a while loop of the program counts: its condition is `name < bound`, and its last "
                           "statement `name += step`", loc=Loc.of_user(),
                           hint=uncaptured() or "write it so, with a bound that the loop does not change "
                           "(`n = x.shape[0]` before it), or as `for name in pt.range(low, high, step)` with `if` and "
                           "`break`")
    return test


def counted(start: Any, bound: Any, step: Any) -> tuple[Range, Any]:
    """The range that a `while` counts through, and what its counter is after it."""
    if isinstance(step, int) and step < 1:
        raise CaptureError(f"a while loop of the program counts up, not by {step}", loc=Loc.of_user())
    trips = cdiv(bound - start, step)
    least = trips if isinstance(trips, int) else tracer().wrap(tracer().graph.index("max", unwrap(trips), 0))
    return range(start, bound, step), start + least * step


def branch(test: Index, then: Callable[..., tuple[Any, ...]], other: Callable[..., tuple[Any, ...]],
           carried: tuple[Any, ...], names: tuple[str, ...], lost: tuple[str, ...]) -> tuple[Any, ...]:
    """An `if` statement of a kernel, on a condition (0 or 1) of the program."""
    loc = Loc.of_user()
    _carriable(carried, names, lost, "branch", loc)
    for condition, side in ((test, then), (1 - test, other)):
        carried = loop(Range(0, condition, 1), lambda _, *values, side=side: side(*values), carried, names, loc)
    return carried


def _carriable(carried: tuple[Any, ...], names: tuple[str, ...], lost: tuple[str, ...], what: str, loc: Loc) -> None:
    """Names that a construct of the program changes have a value of the program before it."""
    if lost:
        raise CaptureError(f"{lost[0]} is first assigned in the {what}, and read after it", loc=loc,
                           hint=f"give {lost[0]} a value before the {what}")
    for name, value in zip(names, carried, strict=True):
        if not isinstance(value, Proxy | int):
            raise CaptureError(f"{name} changes in a {what} of the program, but is a Python {type(value).__name__} "
                               "before it", loc=loc, hint=f"start {name} as a tile: pt.full((rows, columns), value)")


def loop(bounds: Range, body: Callable[..., tuple[Any, ...]], carried: tuple[Any, ...], names: tuple[str, ...],
              loc: Loc) -> tuple[Any, ...]:
    """A loop of the program: `body` is traced once, with a counter and the carried values, and gives the next ones."""
    found = tracer()

    inside: list[Val] = []
    last: list[Any] = []
    known: list[Sources] = []

    def trace(inner: Graph, counter: Val, carried: list[Val]) -> list[Any]:
        arrays.begin(inits, carried)
        inside.extend(carried)
        with found.inside(inner):
            results = body(wrap(counter), *map(wrap, carried))
            found.require_seen(map(unwrap, results))
            results = tuple(_kept(before, after) for before, after in zip(carried, results, strict=True))
            last.extend(map(_latest, results))
        _stored_once(inits, carried, names, loc)
        known.extend(arrays.end(carried, last, loc))
        for name, before, after in zip(names, carried, results, strict=True):
            was, kind = (_kind(found, value) for value in (before, after))
            if kind != was:
                raise ShapeError(f"{name} is {was} before the loop and {kind} after its body", loc=loc,
                                 hint="a value that a loop carries keeps its type")
        return last

    limits = [unwrap(b) for b in (bounds.low, bounds.high, bounds.step)]
    found.require_seen([*limits, *map(unwrap, carried)])
    inits = [Val(found.graph, found.graph.use(v)) for v in map(_latest, carried)]
    found.replaced.update(v for v in map(unwrap, carried) if isinstance(v, Val))
    first = list(map(arrays.sources, inits))
    made = found.graph.loop(limits, inits, trace, found.spans(loc))
    _note_versions(inits, made)
    low, high = bounds.low, bounds.high
    surely = isinstance(low, int) and isinstance(high, int) and low < high
    arrays.over(inits, first, inside, known, last, made, surely=surely)
    return tuple(map(wrap, made))


def _note_versions(inits: Sequence[Val], made: Sequence[Val]) -> None:
    """What a loop carries and stores to is the next version of what it was; under another name, too."""
    found = tracer()
    stored = [(init, after) for init, after in zip(inits, made, strict=True) if is_version(after, outside(init))]
    for init, after in sorted(stored, key=lambda pair: _is_as_it_was(pair[1])):
        before, now = (after, found.latest(init)) if init in found.next else (init, after)
        found.stored(before, now)


def _is_as_it_was(after: Val) -> bool:
    """Does a loop only hand on what it carries in a place?"""
    body, index = after.graph[after.node.inputs[0]].body, after.node["index"]
    return body is not None and body.outputs[index] == body.params[1 + index]


def _latest(value: Any) -> Any:
    """A value of the graph; of a tensor that was stored to under another name, the version that this made."""
    found = unwrap(value)
    return tracer().latest(found) if isinstance(value, values.Tensor) else found


def _stored_once(inits: Sequence[Val], carried: Sequence[Val], names: Sequence[str], loc: Loc) -> None:
    """A body stores to an array under one name alone: what it carries under two is two values.

    Raises:
        UnsupportedError: it stores under two names.
    """
    stored: dict[Val, str] = {}
    for init, inner, name in zip(inits, carried, names, strict=True):
        if inner in tracer().next and stored.setdefault(init, name) != name:
            raise UnsupportedError(f"{stored[init]} and {name} are one array, and this loop stores to it under both "
                                   "names", loc=loc, hint="store under one of them")


def _kept(before: Val, after: Any) -> Any:
    """A carried tile after a turn: outside of a window that is shorter at this turn it is what it was before."""
    if not isinstance(after, values.Tile) or after.type != before.type:
        return after
    sizes = [outside(s) for s in valid(after.val) if isinstance(s, Val)]
    if not any(s.graph.depth >= before.graph.depth for s in sizes):
        return after
    return tracer().emit(TILE_OPS["over"], before, after)


def _kind(found: Tracer, value: Any) -> Any:
    """The type of a carried value; the body may have found two extents to be one."""
    if isinstance(value, Proxy | Val):
        return found.symbols.type(value.type)
    return INDEX if isinstance(value, int) else type(value).__name__
