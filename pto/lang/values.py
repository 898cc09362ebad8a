"""What a kernel author holds: tensors, tiles and integers that stand for values of the program."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

from pto.core.dtypes import DType
from pto.core.errors import CaptureError, DTypeError, Loc, ShapeError, UnsupportedError, located
from pto.core.types import INDEX, TensorType, TileType, Type
from pto.ir.graph import Val
from pto.ir.ops import ARG, TENSOR_OPS, TILE_OPS
from pto.lang.trace import tracer

Number = Real
JOINED = ("for `a and b`, `a or b`, `not a` and `a < b < c` write `a & b`, `a | b`, `a != 1` and `(a < b) & (b < c)`, "
          "in a plain `if`")


class Proxy:
    """What an author's name is bound to while a kernel is traced: it stands for one value of the graph."""

    __slots__ = ("val",)

    def __init__(self, val: Val) -> None:
        self.val = val

    @property
    def type(self) -> Type:
        return self.val.type


def wrap(value: Any) -> Any:
    """The author's view of a value."""
    if not isinstance(value, Val):
        return value
    if value.type == INDEX:
        return Index(value)
    return Tensor(value) if isinstance(value.type, TensorType) else Tile(value)


def unwrap(value: Any) -> Any:
    """The value that a proxy stands for; anything else as it is."""
    return value.val if isinstance(value, Proxy) else value


class Index(Proxy):
    """An integer known at run time: an extent, a loop counter, an offset. Conditions on it are 0 or 1."""

    __slots__ = ()

    def _op(self, name: str, other: Any, flip: bool = False) -> Any:
        if not isinstance(other, Index | int):
            return NotImplemented
        a, b = self.val, unwrap(int(other) if isinstance(other, bool) else other)
        tracer().require_seen((a, b))
        return wrap(tracer().graph.index(name, *((b, a) if flip else (a, b))))

    def __add__(self, other: Any) -> Any:
        return self._op("add", other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self._op("sub", other)

    def __rsub__(self, other: Any) -> Any:
        return self._op("sub", other, flip=True)

    def __mul__(self, other: Any) -> Any:
        return self._op("mul", other)

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Any:
        return self._op("div", other)

    def __rfloordiv__(self, other: Any) -> Any:
        return self._op("div", other, flip=True)

    def __mod__(self, other: Any) -> Any:
        return self._op("mod", other)

    def __rmod__(self, other: Any) -> Any:
        return self._op("mod", other, flip=True)

    def __neg__(self) -> Any:
        return 0 - self

    def __lt__(self, other: Any) -> Any:
        return self._op("lt", other)

    def __gt__(self, other: Any) -> Any:
        return self._op("lt", other, flip=True)

    def __le__(self, other: Any) -> Any:
        found = self._op("lt", other, flip=True)
        return found if found is NotImplemented else 1 - found

    def __ge__(self, other: Any) -> Any:
        found = self._op("lt", other)
        return found if found is NotImplemented else 1 - found

    def __eq__(self, other: object) -> Any:
        found = self._op("lt", other)
        return found if found is NotImplemented else (1 - found) * (1 - self._op("lt", other, flip=True))

    def __ne__(self, other: object) -> Any:
        found = self == other
        return found if found is NotImplemented else 1 - found

    def __and__(self, other: Any) -> Any:
        """Both conditions."""
        return self * other

    __rand__ = __and__

    def __or__(self, other: Any) -> Any:
        """Either condition."""
        return self._op("max", other)

    __ror__ = __or__

    def __hash__(self) -> int:
        return hash(self.val)

    def _python(self, what: str, hint: str) -> Any:
        raise CaptureError(
            f"{what} needs a number when the kernel is traced, but this is known at run time only",
            loc=Loc.of_user(), hint=hint)

    def __bool__(self) -> bool:
        return bool(self._python("a condition", JOINED))

    def __index__(self) -> int:
        return int(self._python("Python", "loop with `for ... in pt.range(...)`; give what must be constant as an "
                                          "option of @pt.tile_kernel"))


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
        return binary("add", self, -other) if isinstance(other, Number) else binary("sub", self, other)

    def __rsub__(self, other: Any) -> Any:
        return binary("add", binary("mul", self, -1.0), other)

    def __mul__(self, other: Any) -> Any:
        return binary("mul", self, other)

    def __rmul__(self, other: Any) -> Any:
        return binary("mul", self, other)

    def __truediv__(self, other: Any) -> Any:
        return binary("div", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        if not isinstance(other, Number):
            return NotImplemented
        return tracer().emit(_ops(self)["rdivs"], self, scalar=float(other))

    def __neg__(self) -> Any:
        return binary("mul", self, -1.0)

    def __matmul__(self, other: Any) -> Any:
        return matmul(self, other)

    def _compared(self, *_: object) -> Any:
        raise CaptureError("the elements of a tensor are not known when the kernel is traced", loc=Loc.of_user(),
                           hint=f"conditions are on extents and counters; {JOINED}")

    # Without these, Python would compare identities and trace the wrong branch.
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __bool__ = _compared
    __hash__ = object.__hash__

    def __setitem__(self, where: Any, value: Any) -> None:
        raise CaptureError("store through a local name of the kernel: `out[...] = value`", loc=Loc.of_user())


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
    def T(self) -> Tensor:  # as in NumPy
        """The last two axes swapped."""
        return self.transpose(-2, -1)

    def transpose(self, a: int, b: int) -> Tensor:
        """Two axes swapped, without a copy."""
        axes = list(builtins.range(self.ndim))
        axes[a], axes[b] = axes[b], axes[a]
        return self.permute(*axes)

    def permute(self, *axes: int) -> Tensor:
        """The axes in another order, without a copy."""
        if sorted(a % self.ndim for a in axes) != list(builtins.range(self.ndim)):
            raise ShapeError(f"{axes} is no order of {self.ndim} axes", loc=Loc.of_user())
        found = layout(self)
        return found.made([self.dims[a] for a in axes], [found.strides[a] for a in axes], found.offset)

    def unsqueeze(self, axis: int) -> Tensor:
        """One more axis, of extent 1."""
        found, at = layout(self), axis % (self.ndim + 1)
        return found.made([*self.dims[:at], 1, *self.dims[at:]], [*found.strides[:at], 0, *found.strides[at:]],
                          found.offset)

    def __getitem__(self, where: Any) -> Any:
        loc = Loc.of_user()
        with located(loc):
            selected, rest = select(self, where)
            if all(s == slice(None) for s in rest):
                return selected.tensor()
            where, extent = selected.window(rest)
            return tracer().emit(TILE_OPS["load"], selected.base, *where, type=TileType(self.dtype, *extent))


@dataclass(frozen=True)
class Strided:
    """Where the elements of a tensor lie in its argument: from an offset on, with a stride for each axis."""

    base: Val
    dtype: DType
    dims: tuple[int | str, ...]
    offset: Any
    strides: tuple[Any, ...]
    plain: Tensor | None = None  # the tensor itself, where it is the whole argument

    def made(self, dims: Sequence[int | str], strides: Sequence[Any], offset: Any) -> Tensor:
        """A tensor of other extents over the same elements."""
        type = TensorType(self.dtype, tuple(dims))
        found = tracer().emit(TENSOR_OPS["view"], self.base, offset, *strides, type=type)
        assert isinstance(found, Tensor)
        return found

    def tensor(self) -> Tensor:
        return self.plain or self.made(self.dims, self.strides, self.offset)

    def window(self, slices: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[int, int]]:
        """Operands of a load or store, and the tile's extents: the valid region is what lies inside."""
        if len(self.dims) not in (1, 2) or len(slices) != len(self.dims):
            raise ShapeError(f"a window has one or two axes, not {len(self.dims)}",
                             hint="select the other axes with integers: X[b, i:i + m, j:j + n]")
        sizes = [tracer().dim(d) for d in self.dims]
        parts = [_span(size, part) for size, part in zip(sizes, slices, strict=True)]
        strides = list(self.strides)
        if len(parts) == 1:
            parts, sizes, strides = [(0, 1, 1), *parts], [1, *sizes], [0, *strides]
        (i, rows, r), (j, cols, c) = parts
        view = () if self.plain is not None else (self.offset, *sizes, *strides)
        return (i, j, rows, cols, *view), (r, c)


def layout(tensor: Tensor) -> Strided:
    """Where a tensor lies: a view knows; an argument is contiguous."""
    node, graph = tensor.val.node, tensor.val.graph
    if node.op is TENSOR_OPS["view"]:
        base, offset, *steps = (wrap(Val(graph, k)) for k in node.inputs)
        return Strided(unwrap(base), tensor.dtype, tensor.dims, _constant(offset), tuple(map(_constant, steps)))
    strides: list[Any] = []
    step: Any = 1
    for extent in reversed(tensor.shape):
        strides.insert(0, step)
        step = step * extent
    return Strided(tensor.val, tensor.dtype, tensor.dims, 0, tuple(strides), tensor)


def _constant(value: Any) -> Any:
    """A constant as a number."""
    found = value.val.graph.constant(value.val.key) if isinstance(value, Index) else None
    return value if found is None else found


def select(tensor: Tensor, where: Any) -> tuple[Strided, list[Any]]:
    """A subscript's integers applied; gives what is left and its slices, one for each axis."""
    parts = list(where) if isinstance(where, tuple) else [where]
    if Ellipsis in [p for p in parts if not isinstance(p, Proxy)]:
        at = next(n for n, p in enumerate(parts) if p is Ellipsis)
        parts[at:at + 1] = [slice(None)] * (tensor.ndim - len(parts) + 1)
    if len(parts) > tensor.ndim:
        raise ShapeError(f"{len(parts)} subscripts of a tensor with {tensor.ndim} axes")
    parts += [slice(None)] * (tensor.ndim - len(parts))
    found = layout(tensor)
    if not any(isinstance(p, int | Index) for p in parts):
        return found, parts
    offset, kept = found.offset, []
    for axis, part in enumerate(parts):
        if isinstance(part, int | Index):
            size = tracer().symbols.value(found.dims[axis])
            if isinstance(part, int) and size is not None and not -size <= part < size:
                raise ShapeError(f"index {part} is out of range for an axis of extent {size}")
            position = part + tracer().dim(found.dims[axis]) if isinstance(part, int) and part < 0 else part
            offset = offset + position * found.strides[axis]
        else:
            kept.append(axis)
    left = Strided(found.base, found.dtype, tuple(found.dims[a] for a in kept), offset,
                   tuple(found.strides[a] for a in kept))
    return left, [parts[a] for a in kept]


class Tile(Array):
    """A tile: a piece of a tensor in a core's memory, of constant capacity."""

    __slots__ = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Capacity in rows and columns."""
        assert isinstance(self.type, TileType)
        return self.type.rows, self.type.cols


def _span(size: Any, part: Any) -> tuple[Any, Any, int]:
    """(start, valid extent, capacity) of one axis of a window."""
    graph = tracer().graph
    if part.step not in (None, 1):
        raise UnsupportedError("a window has no step", hint="load the whole window")
    start = 0 if part.start is None else part.start
    stop = size if part.stop is None else part.stop
    extent = wrap(graph.index("sub", unwrap(stop), unwrap(start)))
    if not isinstance(extent, int):
        raise ShapeError("a tile's extent must be a constant",
                         hint="write the window as `i:i + n` where n is an option of @pt.tile_kernel")
    if extent < 1:
        raise ShapeError(f"a tile of extent {extent} is empty")
    left = graph.index("sub", unwrap(size), unwrap(start))
    return start, wrap(graph.index("min", extent, left)), extent


def setitem(target: Any, where: Any, value: Any) -> Any:
    """``C[i:i + m, j:j + n] = tile`` and ``C[:] = tensor``: the next version of C."""
    if not isinstance(target, Tensor):
        target[where] = value
        return target
    loc = Loc.of_user()
    with located(loc):
        if isinstance(value, Tensor) and where in (slice(None), (slice(None), slice(None)), Ellipsis):
            _agree("the tensor that is written", target, "the value", value)
            return tracer().emit(TENSOR_OPS["assign"], target, value)
        if not isinstance(value, Tile):
            raise CaptureError("only a tile can be stored to a window, and a tensor to the whole")
        if target.val.node.op is TENSOR_OPS["view"]:
            raise CaptureError("store through the argument itself, not through a view of it",
                               hint="write out[b, i:i + m, j:j + n] = tile")
        selected, rest = select(target, where)
        operands, extent = selected.window(rest)
        if value.shape != extent:
            raise ShapeError(f"a tile of {value.shape[0]} x {value.shape[1]} cannot be stored to a window of "
                             f"{extent[0]} x {extent[1]}")
        if value.dtype != target.dtype:
            raise DTypeError(f"a tile of {value.dtype} cannot be stored to a tensor of {target.dtype}")
        for mine, its in zip(operands[2:4], valid(value.val), strict=True):
            agree_valid(unwrap(mine), its, "the tensor that is stored to has another extent than the tile's")
        return tracer().emit(TILE_OPS["store"], target, value, *operands)


def _ops(value: Array) -> dict[str, Any]:
    return TENSOR_OPS if isinstance(value, Tensor) else TILE_OPS


def _agree(first: str, a: Array, second: str, b: Array, *, broadcast: bool = False) -> None:
    """Make the extents of two tensors equal; with `broadcast` an extent may be 1 in one of them, or be missing."""
    if not (isinstance(a, Tensor) and isinstance(b, Tensor)):
        return
    x, y = a.dims, b.dims
    said = f"extents differ: {first} is {_shape(a)}, {second} is {_shape(b)}"
    if len(x) != len(y) and not broadcast:
        raise ShapeError(said, hint="give both as many axes")
    _unify(x, y, said, broadcast)


def _unify(x: Sequence[int | str], y: Sequence[int | str], said: str, broadcast: bool) -> None:
    """Make extents equal, aligned at the right; with `broadcast` one of two may be 1."""
    symbols = tracer().symbols
    for m, n in zip(reversed(x), reversed(y), strict=False):
        if broadcast and symbols.is_one(n) != symbols.is_one(m):
            symbols.pin(n if symbols.is_one(n) else m)
        else:
            symbols.equal(m, n, said, "extents must be equal, or 1 in one of the operands" if broadcast else "")


def valid(tile: Val) -> tuple[Val | int | None, Val | int | None]:
    """Valid rows and columns of a tile as far as its making tells."""
    known: dict[Val, tuple[Val | int | None, Val | int | None]] = tracer().valid
    stack = [tile]
    while stack:  # a stack of our own: a kernel may apply thousands of operations one after the other
        missing = next((v for v in _sources(stack[-1]) if v not in known), None)
        if missing is not None:
            stack.append(missing)
        elif (last := stack.pop()) not in known:
            known[last] = _valid(last)
    return known[tile]


def _sources(tile: Val) -> list[Val]:
    """The tiles that a tile's valid region comes from."""
    node, graph = tile.node, tile.graph
    if node.op.name == "get" and (body := graph[node.inputs[0]].body) is not None:
        return [Val(body, body.outputs[node["index"]])]
    if node.op.instr is None and node.op is not TILE_OPS["matmul"]:
        return []
    return [v for v in (Val(graph, k) for k in node.inputs) if isinstance(v.type, TileType)]


def _valid(tile: Val) -> tuple[Val | int | None, Val | int | None]:
    node, graph = tile.node, tile.graph
    inputs = [Val(graph, k) for k in node.inputs]
    if node.op is TILE_OPS["load"]:
        return inputs[3], inputs[4]
    if node.op is TILE_OPS["matmul"]:
        return valid(inputs[0])[0], valid(inputs[1])[1]
    if node.op.name == "get" and (body := inputs[0].node.body) is not None:
        return valid(Val(body, body.outputs[node["index"]]))
    if node.op.instr is None:
        return None, None
    kind = tile.type
    assert isinstance(kind, TileType)
    tiles = [v for v in inputs if isinstance(v.type, TileType)]
    rows = [valid(v)[0] for v in tiles if v.type.rows == kind.rows]  # type: ignore[union-attr]
    cols = [valid(v)[1] for v in tiles if v.type.cols == kind.cols]  # type: ignore[union-attr]
    return next((n for n in rows if n is not None), None), next((n for n in cols if n is not None), None)


def _edge(size: Val | int | None) -> tuple[int, Any, str] | None:
    """(capacity, offset, symbol) where a valid size is the smaller of a capacity and symbol - offset."""
    if not isinstance(size, Val) or (node := outside(size).node).op.name != "min":
        return None
    graph = outside(size).graph
    capacity, rest = graph.constant(node.inputs[0]), outside(Val(graph, node.inputs[1]))
    if capacity is not None and rest.node.op.name == "dim":
        return capacity, 0, str(rest.node["name"])
    if capacity is None or rest.node.op.name != "sub":
        return None
    total, offset = (outside(Val(rest.graph, k)) for k in rest.node.inputs)
    return (capacity, offset, str(total.node["name"])) if total.node.op.name == "dim" else None


def agree_valid(a: Val | int | None, b: Val | int | None, complaint: str) -> None:
    """Make the extents equal that two valid sizes come from, where they are the edges of two tensors."""
    x, y = _edge(a), _edge(b)
    if x and y and x[:2] == y[:2]:
        symbols = tracer().symbols
        symbols.equal(x[2], y[2], f"{complaint}: {symbols.show(x[2])} and {symbols.show(y[2])}")


def outside(value: Val) -> Val:
    """The value that a captured parameter is in the outer graphs."""
    while value.node.op.name == "param":
        found = next((v for v, k in value.graph.captured.items() if k == value.key), None)
        if found is None:
            return value
        value = found
    return value


def _shape(value: Array) -> str:
    symbols = tracer().symbols
    dims = value.type.dims if isinstance(value.type, TensorType) else value.shape  # type: ignore[attr-defined]
    return " x ".join(map(symbols.show, dims)) or "a scalar"


def binary(name: str, a: Array, b: Any) -> Any:
    """An elementwise operation of two tensors, two tiles, or one and a number."""
    if isinstance(b, Number) and not isinstance(b, bool):
        return _with_number(name, a, float(b))
    if hasattr(b, "__array_interface__"):
        raise CaptureError("an array from outside of the kernel is not a value of it", loc=Loc.of_user(),
                           hint="make it an argument of the kernel")
    if not isinstance(b, Array):
        return NotImplemented
    loc = Loc.of_user()
    with located(loc):
        if isinstance(a, Tensor) is not isinstance(b, Tensor):
            raise ShapeError("one operand is a tile and the other a whole tensor",
                             hint="load a window of the tensor: `x[i:i + n, j:j + m]`")
        if a.dtype != b.dtype:
            raise DTypeError(f"element types differ: {a.dtype} and {b.dtype}", hint="cast one of them")
        _agree("the first operand", a, "the second", b, broadcast=True)
        if isinstance(a, Tile):
            for x, y in zip(valid(a.val), valid(b.val), strict=True):
                agree_valid(x, y, "the operands are windows of tensors whose extents differ")
        return tracer().emit(_ops(a)[name], a, b)


def _with_number(name: str, a: Array, value: float) -> Any:
    op = _ops(a).get(f"{name}s")
    if op is not None:
        return tracer().emit(op, a, scalar=value)
    if name == "div" and 2.0**-126 <= abs(value) <= 2.0**126 and math.frexp(value)[0] in (0.5, -0.5):
        return tracer().emit(_ops(a)["muls"], a, scalar=1.0 / value)
    raise UnsupportedError(f"{name} of a tensor and a number is not built", loc=Loc.of_user())


def unary(name: str, a: Any) -> Any:
    """An elementwise operation or a reduction of one operand."""
    if not isinstance(a, Array):
        raise CaptureError(f"pt.{name} takes a tensor or a tile of the kernel, not {type(a).__name__}",
                           loc=Loc.of_user())
    return tracer().emit(_ops(a)[name], a)


def matmul(a: Any, b: Any) -> Any:
    """(m x k) times (k x n), accumulated in f32."""
    if not isinstance(a, Array) or not isinstance(b, Array):
        raise CaptureError("a matrix product takes tensors or tiles of the kernel", loc=Loc.of_user(),
                           hint="make an array from outside an argument of the kernel")
    loc = Loc.of_user()
    with located(loc):
        if isinstance(a, Tensor) is not isinstance(b, Tensor):
            raise ShapeError("one operand is a tile and the other a whole tensor")
        if a.dtype != b.dtype:
            raise DTypeError(f"element types differ: {a.dtype} and {b.dtype}", hint="cast one of them")
        if isinstance(a, Tensor):
            assert isinstance(b, Tensor)
            x, y = a.dims, b.dims
            if len(x) < 2 or len(y) < 2:
                raise ShapeError(f"a matrix product takes two axes or more each, not {len(x)} and {len(y)}",
                                 hint="x.unsqueeze(0) is a matrix of one row")
            said = f"inner extents differ: {_shape(a)} times {_shape(b)}"
            tracer().symbols.equal(x[-1], y[-2], said, f"the second operand needs {tracer().symbols.show(x[-1])} rows")
            _unify(x[:-2], y[:-2], f"leading extents differ: {_shape(a)} times {_shape(b)}", True)
        else:
            agree_valid(valid(a.val)[1], valid(b.val)[0], "inner extents differ")
        return tracer().emit(_ops(a)["matmul"], a, b)
