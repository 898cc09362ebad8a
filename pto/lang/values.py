"""What a kernel author holds: tensors, tiles and integers that stand for values of the program."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator
from functools import reduce, wraps
from numbers import Real
from typing import Any

from pto.core.dtypes import BF16, DTYPES, F16, F32, PRED, S32, DType
from pto.core.errors import CaptureError, DTypeError, Loc, ShapeError, UnsupportedError, located
from pto.core.numeric import NEAREST, STOCHASTIC, TRUNCATE, rounding_called
from pto.core.types import INDEX, TensorType, TileType
from pto.ir.graph import Val
from pto.ir.ops import ARG, PRODUCTS, STREAMED, TENSOR_OPS, TILE_OPS, of_type
from pto.lang.integers import JOINED, Index, Proxy
from pto.lang.outside import is_array
from pto.lang.regions import agree_valid, valid
from pto.lang.trace import tracer, watching
from pto.lang.views import expanded, layout, narrowed, reshaped, select, shown

Number = Real
NUMBERED = {"maximum": "maxs", "minimum": "mins"}  # others with a number are called as with a tensor, plus s
HALVES = (F16, BF16)
ROUNDED = frozenset((  # operations whose results may be rounded, or be out of range
    "abs", "add", "adds", "cos", "div", "divs", "erf", "exp", "gelu", "log", "mul", "muls", "neg", "rdivs", "recip",
    "rsqrt", "rsubs", "sigmoid", "silu", "sin", "sqrt", "sub", "subs", "tanh",
))


def wrap(value: Any) -> Any:
    """The author's view of a value."""
    if not isinstance(value, Val):
        return value
    if value.type == INDEX:
        return Index(value)
    return Tensor(value) if isinstance(value.type, TensorType) else Tile(value)


class Weights:
    """What stands for a matrix that is no tensor of the program: it knows what a product with it is."""

    __slots__ = ()

    def multiplied(self, x: Any) -> Any:
        """x times it."""
        raise NotImplementedError


class Array(Proxy):
    """What tensors and tiles share: arithmetic, element by element."""

    __slots__ = ()
    __array_ufunc__ = None  # NumPy arrays leave arithmetic with these to these

    @property
    def dtype(self) -> DType:
        """Element type."""
        assert isinstance(self.type, TensorType | TileType)
        return self.type.dtype

    def __add__(self, other: Any) -> Any:
        return binary("add", self, other)

    def __radd__(self, other: Any) -> Any:
        return binary("add", self, other)

    def __sub__(self, other: Any) -> Any:
        number = isinstance(other, Number) and self.dtype.kind == "f"
        return binary("add", self, -other) if number else binary("sub", self, other)

    def __rsub__(self, other: Any) -> Any:
        if self.dtype.kind != "f" and isinstance(other, Number):
            return with_number("rsub", self, other)
        return binary("add", binary("mul", self, -1.0), other)

    def __mul__(self, other: Any) -> Any:
        return binary("mul", self, other)

    def __rmul__(self, other: Any) -> Any:
        return binary("mul", self, other)

    def __truediv__(self, other: Any) -> Any:
        return binary("div", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        if is_array(other):
            return binary("div", lifted(other), self)
        if not isinstance(other, Number):
            return NotImplemented
        return with_number("rdiv", self, other)

    def __neg__(self) -> Any:
        return binary("mul", self, -1.0) if self.dtype.kind == "f" else unary("neg", self)

    def __lt__(self, other: Any) -> Any:
        return compare("lt", self, other)

    def __le__(self, other: Any) -> Any:
        return compare("le", self, other)

    def __gt__(self, other: Any) -> Any:
        return compare("gt", self, other)

    def __ge__(self, other: Any) -> Any:
        return compare("ge", self, other)

    def __eq__(self, other: object) -> Any:
        return compare("eq", self, other)

    def __ne__(self, other: object) -> Any:
        return compare("ne", self, other)

    def __and__(self, other: Any) -> Any:
        return binary("and", self, other)

    __rand__ = __and__

    def __or__(self, other: Any) -> Any:
        return binary("or", self, other)

    __ror__ = __or__

    def __xor__(self, other: Any) -> Any:
        return binary("xor", self, other)

    __rxor__ = __xor__

    def __invert__(self) -> Any:
        return unary("not", self)

    def __lshift__(self, other: Any) -> Any:
        return binary("shl", self, other)

    def __rshift__(self, other: Any) -> Any:
        return binary("shr", self, other)

    def to(self, dtype: DType) -> Any:
        """The elements in another type; see `cast`."""
        return cast(self, dtype)

    def __matmul__(self, other: Any) -> Any:
        return matmul(self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return matmul(other, self)

    def __bool__(self) -> bool:
        raise CaptureError("the elements of a tensor are not known when the kernel is traced", loc=Loc.of_user(),
                           hint="choose element by element: pt.where(x > 0, a, b); conditions of Python are on extents "
                           f"and counters; {JOINED}")

    __hash__ = object.__hash__

    def __setitem__(self, where: Any, value: Any) -> None:
        raise CaptureError("what is stored to is an argument of the kernel, or made by it: `out[...] = value`",
                           loc=Loc.of_user(), hint="make it an argument of the kernel, and store to that by its name")

    def __array__(self, *_: object, **__: object) -> Any:
        raise CaptureError("NumPy is given a value of the kernel, which has no elements yet when the kernel is traced",
                           loc=Loc.of_user(), hint="make what is stored to an argument of the kernel; functions are in "
                           "pto, as pt.exp for numpy.exp")


class Tensor(Array):
    """A whole tensor. Slices of constant extent are tiles: ``A[i:i + 128, k:k + 32]``; integers select."""

    __slots__ = ()

    @property
    def dims(self) -> tuple[int | str, ...]:
        """Extents as integers and names of symbols."""
        assert isinstance(self.type, TensorType)
        return self.type.dims

    @property
    def shape(self) -> tuple[Any, ...]:
        """Extents: integers, or symbols known at launch."""
        return tuple(tracer().dim(d) for d in self.dims)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.dims)

    def size(self, axis: int) -> Any:
        """One extent, as in PyTorch."""
        return self.shape[axis]

    def _in_place(self, other: Any) -> Any:
        """Python's own meaning for a local value; NumPy's would change an argument, so that is asked for by name."""
        if self.val.node.op is ARG:
            raise CaptureError("this would change an argument, as NumPy does, or only a name, as Python does",
                               loc=Loc.of_user(), hint="to change the argument: `x[:] = x + y`; else `z = x + y`")
        return NotImplemented

    __iadd__ = __isub__ = __imul__ = __itruediv__ = _in_place

    @property
    def T(self) -> Any:  # as in NumPy
        """The last two axes swapped."""
        return self.transpose(-2, -1)

    def transpose(self, a: int, b: int) -> Any:
        """Two axes swapped, without a copy."""
        axes = list(builtins.range(self.ndim))
        axes[a], axes[b] = axes[b], axes[a]
        return self.permute(*axes)

    def permute(self, *axes: int) -> Any:
        """The axes in another order, without a copy."""
        if sorted(a % self.ndim for a in axes) != list(builtins.range(self.ndim)):
            raise ShapeError(f"{axes} is no order of {self.ndim} axes", loc=Loc.of_user())
        found = layout(self)
        return found.made([self.dims[a] for a in axes], [found.strides[a] for a in axes], found.offset)

    def unsqueeze(self, axis: int) -> Any:
        """One more axis, of extent 1."""
        found, at = layout(self), axis % (self.ndim + 1)
        return found.made([*self.dims[:at], 1, *self.dims[at:]], [*found.strides[:at], 0, *found.strides[at:]],
                          found.offset)

    def squeeze(self, axis: int) -> Any:
        """One axis less, which has extent 1; the program is then for that."""
        with located(Loc.of_user()):
            found = layout(self)
            if not -self.ndim <= axis < self.ndim or not tracer().symbols.is_one(self.dims[axis]):
                raise ShapeError(f"there is no axis {axis} of extent 1 in {shown(self.dims)}")
            tracer().symbols.pin(self.dims[axis])
            kept = [a for a in builtins.range(self.ndim) if a != axis % self.ndim]
            return found.made([self.dims[a] for a in kept], [found.strides[a] for a in kept], found.offset)

    def expand(self, *dims: Any) -> Any:
        """The elements of axes of extent 1 again and again, without a copy; -1 keeps an extent, as in PyTorch."""
        with located(Loc.of_user()):
            return expanded(self, dims)

    def view(self, *dims: Any) -> Any:
        """The same elements in the same order in other extents, without a copy; one extent may be -1."""
        with located(Loc.of_user()):
            return reshaped(self, dims)

    reshape = view

    def contiguous(self) -> Any:
        """The same elements one after the other: a copy, where they are not."""
        with located(Loc.of_user()):
            if self.val.node.op is not TENSOR_OPS["view"]:
                return self
            return tracer().emit(TENSOR_OPS["assign"], tracer().room(TensorType(self.dtype, self.dims), "copy"), self)

    def narrow(self, axis: int, start: Any, length: Any) -> Any:
        """`length` elements of an axis from `start` on, without a copy; as in PyTorch."""
        with located(Loc.of_user()):
            if not -self.ndim <= axis < self.ndim:
                raise ShapeError(f"there is no axis {axis} of {self.ndim}")
            return narrowed(layout(self), axis % self.ndim, start, length).tensor()

    def __len__(self) -> int:
        extent = self.dims[0] if self.dims else 0
        if isinstance(extent, str):
            raise CaptureError(f"Python needs a number, but the extent {extent} is known at run time only",
                               loc=Loc.of_user(), hint="write x.shape[0]; loop with `for i in pt.range(x.shape[0])`; "
                               "or annotate the extent with a number")
        return extent

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in builtins.range(len(self)))

    def __getitem__(self, where: Any) -> Any:
        loc = Loc.of_user()
        with located(loc):
            selected, rest = select(self, where)
            if all(s == slice(None) for s in rest):
                return selected.tensor()
            where, extent = selected.window(rest)
            return tracer().emit(TILE_OPS["load"], selected.base, *where, type=TileType(self.dtype, *extent))


class Tile(Array):
    """A tile: a piece of a tensor in a core's memory, of constant capacity."""

    __slots__ = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Capacity in rows and columns."""
        assert isinstance(self.type, TileType)
        return self.type.rows, self.type.cols


def lifted(value: Any) -> Any:
    """An array from outside of the kernel as an implicit argument of it; anything else as it is.

    Raises:
        CaptureError: nothing that the kernel names leads to it, so that it could not be found at another call.
    """
    if isinstance(value, Array) or not is_array(value):
        return value
    found = tracer().lift(value)
    if found is None:
        raise CaptureError("an array that is made while the kernel is traced is not a value of it", loc=Loc.of_user(),
                           hint="make it an argument of the kernel, or keep it under a name outside of the kernel")
    return found


def _ops(value: Array) -> dict[str, Any]:
    return TENSOR_OPS if isinstance(value, Tensor) else TILE_OPS


def binary(name: str, a: Array, b: Any) -> Any:
    """An elementwise operation of two tensors, two tiles, or one and a number, in the type in which they meet."""
    if isinstance(b, Number) and not isinstance(b, bool):
        return with_number(name, a, b)
    b = spread(a, lifted(b))
    if not isinstance(b, Array):
        return NotImplemented
    with located(Loc.of_user()):
        return operation(name, *together(a, b))


def operation(name: str, *operands: Array, **attrs: Any) -> Any:
    """An operation of operands of one type, rounded to it as the numeric configuration says."""
    first, *_ = operands
    wide = tracer().numeric.computed_in(first.dtype) if name in ROUNDED else first.dtype
    if wide == first.dtype:
        return tracer().emit(_ops(first)[name], *operands, **attrs)
    return cast(tracer().emit(_ops(first)[name], *(cast(x, wide) for x in operands), **attrs), first.dtype)


def spread(like: Array, value: Any) -> Any:
    """An integer of the program as a tensor or tile of one element, of the type of another where that is a number's."""
    if not isinstance(value, Index):
        return value
    dtype = like.dtype if like.dtype in (F32, S32) else S32
    if isinstance(like, Tensor):
        found = tracer().emit(TENSOR_OPS["iota"], value, 1, type=TensorType(dtype, (1,)))
    else:
        found = tracer().emit(TILE_OPS["iota"], value, 0, 0, type=TileType(dtype, 1, 1))
    return cast(found, like.dtype) if like.dtype != PRED else found


def either(name: str, a: Any, b: Any) -> Any:
    """An elementwise operation of which the order of operands does not matter, of which one may be a number."""
    a, b = lifted(a), lifted(b)
    if not isinstance(a, Array):
        a, b = b, a
    _require_array(name, a)
    return binary(name, a, b)


def together(*arrays: Array) -> list[Array]:
    """Operands of one elementwise operation, in the type in which they meet."""
    agree(*arrays)
    dtype = reduce(tracer().numeric.met, (a.dtype for a in arrays))
    return [cast(a, dtype) for a in arrays]


def agree(*arrays: Array) -> None:
    """Operands of one elementwise operation are all tensors or all tiles, and their extents broadcast.

    Raises:
        ShapeError: they do not, or tiles meet tensors.
    """
    first, *rest = arrays
    for i, other in enumerate(rest):
        if isinstance(first, Tensor) is not isinstance(other, Tensor):
            raise ShapeError("one operand is a tile and the other a whole tensor",
                             hint="load a window of the tensor: `x[i:i + n, j:j + m]`")
        for before in arrays[:i + 1]:
            if isinstance(before, Tensor) and isinstance(other, Tensor):
                said = f"extents differ: the first operand is {shown(before.dims)}, the second is {shown(other.dims)}"
                tracer().symbols.unify(before.dims, other.dims, said, broadcast=True)
            else:
                for x, y in zip(valid(before.val), valid(other.val), strict=True):
                    agree_valid(x, y, "the operands are windows of tensors whose extents differ")


def with_number(name: str, a: Array, value: Any) -> Any:
    """An elementwise operation of a tensor or tile and a number, which takes its elements' type."""
    with located(Loc.of_user()):
        numbered = NUMBERED.get(name, f"{name}s")
        if numbered not in _ops(a):
            raise UnsupportedError(f"{name} of a tensor and a number is not built", loc=Loc.of_user())
        return operation(numbered, a, scalar=number(value, a.dtype))


def number(value: Any, dtype: DType) -> float:
    """A Python number as an element of a type.

    Raises:
        DTypeError: an integer type has no such value.
    """
    found = float(value)
    if dtype.kind in "iu":
        low = -(2 ** (dtype.bits - 1)) if dtype.kind == "i" else 0
        if not (found.is_integer() and low <= found < low + 2**dtype.bits):
            raise DTypeError(f"{value} is no {dtype.title}, and numbers do not change the type of a tensor",
                             loc=Loc.of_user(), hint="convert the tensor first: x.to(pt.f32)")
    return found


def compare(how: str, a: Array, b: Any) -> Any:
    """A predicate for each element."""
    if isinstance(b, Number) and not isinstance(b, bool):
        with located(Loc.of_user()):
            return tracer().emit(_ops(a)["compares"], a, scalar=number(b, a.dtype), cmp=how)
    b = spread(a, lifted(b))
    if not isinstance(b, Array):
        raise CaptureError(f"a tensor is compared with a tensor, a tile or a number, not with {type(b).__name__}",
                           loc=Loc.of_user(), hint="write `x is None`, of an argument with a default" if b is None else
                           "make it a number, or an argument of the kernel")
    with located(Loc.of_user()):
        return tracer().emit(_ops(a)["compare"], *together(a, b), cmp=how)


def unary(name: str, a: Any) -> Any:
    """An elementwise operation or a reduction of one operand."""
    a = lifted(a)
    _require_array(name, a)
    return operation(name, a)


def _require_array(name: str, a: Any) -> None:
    if not isinstance(a, Array):
        raise CaptureError(f"pt.{name} takes a tensor or a tile of the kernel, not {type(a).__name__}",
                           loc=Loc.of_user())


def in_f32(function: Callable[..., Any]) -> Callable[..., Any]:
    """A composed function whose first operand, where it is float16 or bfloat16, is computed with as float32; the result
    is rounded once.
    """
    @wraps(function)
    def compute(x: Any, *rest: Any, **named: Any) -> Any:
        x = lifted(x)
        if isinstance(x, Array) and x.dtype in HALVES:
            return cast(function(cast(x, F32), *rest, **named), x.dtype)
        return function(x, *rest, **named)
    return as_a_whole(compute)


def as_a_whole(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of several operations: of a kernel that is watched its result is looked at, and not its steps."""
    @wraps(function)
    def compute(*operands: Any, **named: Any) -> Any:
        watch = watching()
        if watch is None:
            return function(*operands, **named)
        with tracer().unwatched():
            made = function(*operands, **named)
        return watch.whole(function.__name__, [x for x in (*operands, *named.values()) if isinstance(x, Array)], made)
    return compute


def cast(x: Any, dtype: DType, rounding: str | None = None, saturate: bool | None = None, *, seed: Any = None) -> Any:
    """The elements in another type.

    Args:
        dtype: pt.f32, f16, bf16, s32, s16, s8, u8 or bool.
        rounding: "nearest_even" ("rne"), "truncate" ("rtz") toward zero, "floor" ("rdn"), "ceil" ("rup"),
            "nearest_away" ("rna") with ties away from zero, "odd" ("rto") where inexact, "nearest_up" ("rhb") with ties
            up; or "stochastic", to one of the two neighbours, to each as often as the value is near it. Unless given,
            by the numeric configuration; else toward zero from floating types to integers, to nearest otherwise.
        saturate: what is out of range becomes the nearest value of the type, and NaN as an integer 0. Else integers
            wrap, floating types give infinity, and what no integer type holds is its lowest (unsigned: largest) value.
            Unless given, by the numeric configuration.
        seed: of stochastic rounding, an integer, or an integer of the call (`pt.index`): an element's bits are then a
            function of the seed and of its place, as of `pt.rand`. Unless given, that of the numeric configuration,
            and each conversion and each turn of a loop has bits of its own.

    Raises:
        DTypeError: there is no such type.
        UsageError: there is no such rounding.
    """
    x = lifted(x)
    _require_array("cast", x)
    if not isinstance(dtype, DType):
        raise DTypeError(f"{dtype!r} is no element type", loc=Loc.of_user(),
                         hint=f"types are {', '.join(f'pt.{row.public}' for row in DTYPES.values())}")
    mode = rounding_called(rounding) if rounding is not None else tracer().numeric.rounding_to(dtype)
    if x.dtype == dtype:
        return x
    if dtype == PRED:
        return compare("ne", x, 0)
    if x.dtype == PRED:
        return tracer().emit(_ops(x)["selects"], x, filled(x, 1.0, dtype), scalar=0.0)
    saturates = dtype in tracer().numeric.saturates if saturate is None else saturate
    return _converted(x, dtype, mode, "on" if saturates else "off", seed)


def _converted(x: Array, dtype: DType, mode: str | None, sat: str, seed: Any) -> Any:
    """The elements in another type, neither of them of predicates."""
    type, inexact = of_type(x.type, dtype), "f" in x.dtype.kind + dtype.kind
    if mode == STOCHASTIC and inexact:
        return tracer().emit(_ops(x)["cast_random"], x, tracer().draw(x, seed), type=type, sat=sat)
    usual = TRUNCATE if x.dtype.kind == "f" and dtype.kind != "f" else NEAREST
    how = mode if mode and inexact else usual
    return tracer().emit(_ops(x)["cast"], x, type=type, round=how, sat=sat)


def filled(like: Array, value: Any, dtype: DType) -> Any:
    """A tensor or tile of the extents of another, of one value."""
    return tracer().emit(_ops(like)["full"], type=of_type(like.type, dtype), scalar=number(value, dtype))


def matmul(a: Any, b: Any) -> Any:
    """(m x k) times (k x n), accumulated in increasing k; the result has the accumulator's type. Operands of one axis
    are a row on the left and a column on the right, as in NumPy; leading axes are batches, and broadcast.

    float32 for float32, float16 and bfloat16 operands; int32 for int8 x int8 and int16 x int8. Other operands are
    converted to the type in which they meet: float32 activations take weights of float16, bfloat16 or int8.
    """
    a, b = lifted(a), lifted(b)
    if isinstance(b, Weights):
        return b.multiplied(a)
    if not isinstance(a, Array) or not isinstance(b, Array):
        raise CaptureError("a matrix product takes tensors or tiles of the kernel", loc=Loc.of_user(),
                           hint="make an array from outside an argument of the kernel")
    with located(Loc.of_user()):
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            return _product_of_tensors(a, b)
        if isinstance(a, Tensor) or isinstance(b, Tensor):
            raise ShapeError("one operand is a tile and the other a whole tensor")
        agree_valid(valid(a.val)[1], valid(b.val)[0], "inner extents differ")
        return product(a, b)


def _product_of_tensors(a: Tensor, b: Tensor) -> Any:
    """One of matrices, of which a row or a column may have one axis."""
    if not (a.ndim and b.ndim):
        raise ShapeError("a matrix product of one element", hint="write a * b")
    row, column = a.ndim == 1, b.ndim == 1
    a, b = a.unsqueeze(0) if row else a, b.unsqueeze(1) if column else b
    x, y, symbols = a.dims, b.dims, tracer().symbols
    said = f"inner extents differ: {shown(x)} times {shown(y)}"
    symbols.equal(x[-1], y[-2], said, f"the second operand needs {symbols.show(x[-1])} rows")
    symbols.unify(x[:-2], y[:-2], f"leading extents differ: {shown(x)} times {shown(y)}", broadcast=True)
    found = _product_of_matrices(a, b)
    found = found.squeeze(-2) if row else found
    return found.squeeze(-1) if column else found


def _product_of_matrices(a: Tensor, b: Tensor) -> Any:
    """One row, or one column, is multiplied by what reads the matrix once, as it lies; the program is then for it."""
    symbols = tracer().symbols
    one_row, one_column = symbols.is_one(a.dims[-2]), symbols.is_one(b.dims[-1])
    for extent in (a.dims[-2],) * one_row + (b.dims[-1],) * one_column:
        symbols.pin(extent)
    if not one_column:
        return product(a, b)
    vector, matrix = _factors(b.T, a.T)
    sums = (PRODUCTS | STREAMED).get((vector.dtype, matrix.dtype))
    if sums is None:
        return product(a, b)
    if not one_row:  # the transpose of a row times a matrix
        return product(vector, matrix).T
    return unary("rowsum", binary("mul", *(cast(x, sums) for x in (vector, a))))


def product(a: Array, b: Array, **attrs: Any) -> Any:
    """A matrix product of operands whose extents fit."""
    return tracer().emit(_ops(a)["matmul"], *_factors(a, b), **attrs)


def _factors(a: Array, b: Array) -> tuple[Array, Array]:
    """The operands of a product: as they are where the machine multiplies them, else in the type in which they meet."""
    legal = PRODUCTS | STREAMED if isinstance(a, Tensor) else PRODUCTS
    if (a.dtype, b.dtype) in legal:
        return a, b
    common = tracer().numeric.met(a.dtype, b.dtype)
    if (common, common) not in legal:
        return a, b
    return cast(a, common), cast(b, common)
