"""What `pt` is when the text of a kernel is run on NumPy: values in float64 with a bound on the error of f32.

A result that f32 holds exactly, of operands that are exact, has no error: so kernels of small integers are compared
bit for bit, and all others within the usual running bounds (Higham, Accuracy and Stability, chapter 3).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.reference import TINY, U, gamma

LARGEST = 2.0**24  # integers up to here are f32


class Value:
    """A tensor or a tile: its elements, and how far from them an f32 evaluation may be. Views share memory."""

    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: Any, error: Any = None) -> None:
        self.value = np.asarray(value, np.float64)
        self.error = np.zeros_like(self.value) if error is None else np.array(np.broadcast_to(error, self.value.shape))

    def seen(self, look: Callable[[np.ndarray], np.ndarray]) -> Value:
        """A view of both parts."""
        made = Value.__new__(Value)
        made.value, made.error = look(self.value), look(self.error)
        return made

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def ndim(self) -> int:
        return self.value.ndim

    @property
    def T(self) -> Value:
        return self.transpose(-2, -1)

    def size(self, axis: int) -> int:
        return self.shape[axis]

    def transpose(self, a: int, b: int) -> Value:
        return self.seen(lambda x: x.swapaxes(a, b))

    def permute(self, *axes: int) -> Value:
        return self.seen(lambda x: x.transpose(axes))

    def unsqueeze(self, axis: int) -> Value:
        return self.seen(lambda x: np.expand_dims(x, axis))

    def view(self, *dims: int) -> Value:
        return self.seen(lambda x: x.reshape(dims))

    def contiguous(self) -> Value:
        return self.seen(np.array)

    def narrow(self, axis: int, start: int, length: int) -> Value:
        if not 0 <= start <= start + length <= self.shape[axis]:
            raise IndexError("a piece outside of its axis")
        where: list[Any] = [slice(None)] * self.ndim
        where[axis] = slice(start, start + length)
        return self[tuple(where)]

    def __getitem__(self, where: Any) -> Value:
        return self.seen(lambda x: x[where])

    def __setitem__(self, where: Any, other: Value) -> None:
        """A tile that is larger than what is left of the window is stored as far as it goes."""
        if not self.value.flags.writeable:
            raise ValueError("an expression is not stored to")
        for mine, its in ((self.value, other.value), (self.error, other.error)):
            room = mine[where]
            near = [slice(0, n) for n in room.shape]
            its = np.array(its)  # NumPy 2.4 copies an axis in the wrong order onto one of another stride that overlaps
            mine[where] = its if its.ndim < room.ndim else its[tuple(near)]

    def __neg__(self) -> Value:
        return Value(-self.value, self.error)

    def __add__(self, other: Any) -> Value:
        o = lift(other)
        return rounded(self.value + o.value, self.error + o.error)

    def __sub__(self, other: Any) -> Value:
        o = lift(other)
        return rounded(self.value - o.value, self.error + o.error)

    def __mul__(self, other: Any) -> Value:
        o = lift(other)
        error = np.abs(self.value) * o.error + np.abs(o.value) * self.error + self.error * o.error
        return rounded(self.value * o.value, error)

    def __truediv__(self, other: Any) -> Value:
        o = lift(other)
        if not isinstance(other, Value) and math.frexp(other)[0] in (0.5, -0.5):
            return self * (1 / other)
        value = self.value / o.value
        error = (self.error + np.abs(value) * o.error) / np.maximum(np.abs(o.value) - o.error, TINY)
        return rough(value, error, 2.0)

    __radd__, __rmul__ = __add__, __mul__

    def __rsub__(self, other: Any) -> Value:
        return lift(other) - self

    def __rtruediv__(self, other: Any) -> Value:
        return lift(other) / self

    def __matmul__(self, other: Value) -> Value:
        return matmul(self, other)

    def __gt__(self, other: Any) -> Test:
        return compared(np.greater, self, other)

    def __ge__(self, other: Any) -> Test:
        return compared(np.greater_equal, self, other)

    def __lt__(self, other: Any) -> Test:
        return compared(np.less, self, other)

    def __le__(self, other: Any) -> Test:
        return compared(np.less_equal, self, other)

    def __eq__(self, other: object) -> Test:  # type: ignore[override]
        return compared(np.equal, self, other)

    def __ne__(self, other: object) -> Test:  # type: ignore[override]
        return compared(np.not_equal, self, other)

    def to(self, type: Elements) -> Typed:
        """In another type: `Typed`, unless it is f32."""
        return type.of(self)

    def _in_place(self, other: Any) -> Any:
        return NotImplemented

    __iadd__ = __imul__ = __isub__ = _in_place


def lift(value: Any) -> Value:
    """A constant is rounded to f32 first."""
    return value if isinstance(value, Value) else Value(np.float64(np.float32(value)))


def rough(value: np.ndarray, error: Any, roundings: float) -> Value:
    """A value after roundings that happen whatever it is."""
    return Value(value, error + roundings * U * (np.abs(value) + error) + TINY)


def rounded(value: np.ndarray, error: Any) -> Value:
    """A value after one rounding to f32: none, where f32 holds it. A twin is judged by what f32 can hold."""
    whole = (error == 0) & (value.astype(np.float32) == value)
    return Value(value, np.where(whole, 0.0, error + U * (np.abs(value) + error) + TINY))


@dataclass(frozen=True)
class Test:
    """A predicate for each element, and where nobody can know it: operands may be on either side."""

    true: np.ndarray
    unsure: np.ndarray

    def __and__(self, other: Test) -> Test:
        return Test(self.true & other.true, self.unsure | other.unsure)

    def __or__(self, other: Test) -> Test:
        return Test(self.true | other.true, self.unsure | other.unsure)

    def __invert__(self) -> Test:
        return Test(~self.true, self.unsure)


def compared(function: Callable[[Any, Any], np.ndarray], a: Any, b: Any) -> Test:
    """A comparison, element by element."""
    x, y = lift(a), lift(b)
    error = x.error + y.error
    return Test(function(x.value, y.value), (error > 0) & (np.abs(x.value - y.value) <= error))


def where(test: Test, a: Any, b: Any) -> Value:
    """One or the other; either, where nobody knows the predicate."""
    x, y = lift(a), lift(b)
    value = np.where(test.true, x.value, y.value)
    either = np.abs(x.value - y.value) + x.error + y.error
    return Value(value, np.where(test.unsure, either, np.where(test.true, x.error, y.error)))


def masked_fill(x: Value, mask: Test, number: float) -> Value:
    return where(mask, number, x)


def clamp(x: Value, low: float, high: float) -> Value:
    return Value(np.clip(x.value, low, high), x.error)


@dataclass(frozen=True)
class Elements:
    """An element type beside f32: a floating one rounds, an integer one holds what it holds.

    Attributes:
        unit: half the distance from 1 to the next number; 0 for integers.
        low, high: the least and the largest.
    """

    name: str
    unit: float
    low: float
    high: float

    def __getitem__(self, dims: Any) -> None:
        """An annotation is for the compiler."""

    def of(self, x: Value) -> Typed:
        """The elements in this type."""
        if self.name == "f32":
            return x  # type: ignore[return-value]
        if (x.value < self.low).any() or (x.value > self.high).any():
            raise ValueError(f"out of the range of {self.name}")
        if self.unit:
            _, power = np.frexp(x.value)
            step = np.ldexp(2 * self.unit, power - 1)
            value = np.rint(x.value / step) * step
            inexact = (value != x.value) | (x.error > 0)
            error = np.where(inexact, x.error + self.unit * (np.abs(x.value) + x.error) + 1e-7, 0.0)
            return Typed(Value(x.value.copy(), np.where(value == x.value, x.error + error, error)), self)
        if x.error.any():
            raise ValueError("nobody knows to which integer")
        return Typed(Value(np.trunc(x.value)), self)


@dataclass(frozen=True)
class Typed:
    """A tensor of another element type; an operation rounds once, to that type."""

    elements: Value
    type: Elements

    @property
    def shape(self) -> tuple[int, ...]:
        return self.elements.shape

    @property
    def T(self) -> Typed:
        return Typed(self.elements.T, self.type)

    def to(self, type: Elements) -> Typed:
        return type.of(self.elements)

    def _of(self, found: Value) -> Typed:
        return self.type.of(found)

    def __add__(self, other: Any) -> Typed:
        return self._of(self.elements + plain(other))

    def __sub__(self, other: Any) -> Typed:
        return self._of(self.elements - plain(other))

    def __mul__(self, other: Any) -> Typed:
        return self._of(self.elements * plain(other))


def plain(x: Any) -> Any:
    return x.elements if isinstance(x, Typed) else x


def product(a: Any, b: Any) -> Any:
    """A product of halves is f32, one of bytes s32."""
    if not isinstance(a, Typed):
        return matmul(a, b)
    found = matmul(a.elements, b.elements)
    return found if a.type.unit else S32.of(found)


F32, S32 = Elements("f32", 2.0**-24, -np.inf, np.inf), Elements("s32", 0, -2.0**24, 2.0**24)
ELEMENTS = {row.name: row for row in (
    F32, S32, Elements("f16", 2.0**-11, -60000, 60000), Elements("bf16", 2.0**-8, -1e30, 1e30),
    Elements("s16", 0, -32768, 32767), Elements("s8", 0, -128, 127), Elements("u8", 0, 0, 255))}


def smooth(function: Callable[[np.ndarray], np.ndarray], steepest: Callable[[Value], Any],
           roundings: float = 4.0) -> Callable[[Value], Value]:
    """A function whose slope around each element is at most what `steepest` says."""
    return lambda x: rough(function(x.value), x.error * steepest(x), roundings)


def stepped(function: Callable[[np.ndarray], np.ndarray]) -> Callable[[Value], Value]:
    """A function that jumps by one: exact where its operand is."""
    return lambda x: Value(function(x.value), np.where(x.error == 0, 0.0, x.error + 1))


def kept(function: Callable[[np.ndarray], np.ndarray]) -> Callable[[Value], Value]:
    """A function that rounds nothing and is nowhere steeper than one."""
    return lambda x: Value(function(x.value), x.error)


def least(x: Value) -> np.ndarray:
    """The least magnitude that an element may have."""
    return np.maximum(np.abs(x.value) - x.error, TINY)


def picked(function: Callable[[Any, Any], np.ndarray]) -> Callable[[Any, Any], Value]:
    """The larger, or the smaller, of two."""
    def of(a: Any, b: Any) -> Value:
        x, y = lift(a), lift(b)
        return Value(function(x.value, y.value), np.maximum(x.error, y.error))
    return of


def along(reduction: Callable[[Value], Value]) -> Callable[..., Value]:
    """A reduction of the last axis as one of any axis, which stays as one element."""
    def of(x: Value, axis: int = -1, *, keepdims: bool = True) -> Value:
        return reduction(x) if axis == -1 else reduction(x.seen(lambda a: a.swapaxes(axis, -1))).transpose(axis, -1)
    return of


@along
def total(x: Value) -> Value:
    """Sums in any order: exact where every partial sum is."""
    terms = np.abs(x.value) + x.error
    magnitude = terms.sum(-1, keepdims=True)
    value, error = x.value.sum(-1, keepdims=True), x.error.sum(-1, keepdims=True)
    return Value(value, _sums(x, error, magnitude, x.shape[-1]))


def _sums(terms: Value, error: np.ndarray, magnitude: np.ndarray, count: int) -> np.ndarray:
    """The error of sums of `count` terms, in any order."""
    whole = bool((terms.value == np.rint(terms.value)).all()) and not terms.error.any()
    exact = (magnitude <= LARGEST) & (error == 0) if whole else np.zeros_like(magnitude, bool)
    return np.where(exact, 0.0, error + gamma(count + 2) * magnitude + (count + 1) * TINY)


@along
def largest(x: Value) -> Value:
    return Value(x.value.max(-1, keepdims=True), x.error.max(-1, keepdims=True))


@along
def smallest(x: Value) -> Value:
    return Value(x.value.min(-1, keepdims=True), x.error.max(-1, keepdims=True))


@along
def first_of_largest(x: Value) -> Value:
    """The position of the first of the largest elements."""
    if x.error.any():
        raise ValueError("nobody knows which is the largest")
    return Value(x.value.argmax(-1, keepdims=True))


def mean(x: Value, axis: int = -1, *, keepdims: bool = True) -> Value:
    return total(x) * (1.0 / x.shape[-1])


def matmul(a: Value, b: Value) -> Value:
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
        raise ValueError("inner extents differ")
    x, y = np.abs(a.value), np.abs(b.value)
    error = a.error @ y + x @ b.error + a.error @ b.error
    both = Value(np.concatenate([a.value.ravel(), b.value.ravel()]), np.concatenate([a.error.ravel(), b.error.ravel()]))
    magnitude = (x + a.error) @ (y + b.error)
    return Value(a.value @ b.value, _sums(both, error, magnitude, a.shape[-1]))


def softmax(x: Value, dim: int = -1) -> Value:
    powers = exp(x - largest(x))
    return powers / total(powers)


def layer_norm(x: Value, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Value:
    centred = x - mean(x)
    y = centred / sqrt(mean(centred * centred) + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def rms_norm(x: Value, weight: Any = None, eps: float = 1e-5) -> Value:
    y = x / sqrt(mean(x * x) + eps)
    return y if weight is None else y * weight


def sigmoid(x: Value) -> Value:
    return logistic(x, 1.0, 2.0**-126)


def logistic(x: Value, over: Any, least: float) -> Value:
    """A number over 1 + e to the power of -x: 0 where that is infinite in f32, and the result at most `least`."""
    found = over / (1.0 + exp(-x))
    return Value(found.value, found.error + least)


def attention(q: Value, k: Value, v: Value, *, causal: bool = False, start: int = 0, scale: float | None = None,
              tile_m: int = 64, tile_n: int = 128) -> Value:
    """Rescaling by blocks costs a rounding of each power and sum a block; the bound is four times the plain one's."""
    group = q.shape[0] // k.shape[0]
    keys, values = (x.seen(lambda a: np.repeat(a, group, 0)) for x in (k, v))
    scores = matmul(q * (q.shape[-1] ** -0.5 if scale is None else scale), keys.T)
    if causal:
        sees = np.arange(keys.shape[1]) <= start + np.arange(q.shape[1])[:, None]
        scores = Value(np.where(sees, scores.value, -1e30), np.where(sees, scores.error, 0))
    found = matmul(softmax(scores), values)
    return Value(found.value, 4 * found.error + k.shape[1] * 8 * U * np.abs(values.value).max())


def concat(parts: Sequence[Value], dim: int = -1) -> Value:
    return Value(*(np.concatenate([look(p) for p in parts], dim) for look in (
        lambda p: p.value, lambda p: p.error)))


def empty(shape: tuple[int, ...], dtype: Any = None) -> Value:
    """Nobody may read what nothing was stored to."""
    return Value(np.full(shape, np.nan), np.zeros(shape)).contiguous()


def full(shape: tuple[int, int], value: float, dtype: Any = None) -> Value:
    """A tile of one value is as large as its user wants."""
    return Value(np.full((1, 1), np.float32(value)))


def window(x: Value, at: Sequence[int], sizes: Sequence[int]) -> tuple[slice, ...]:
    """A window that is inside."""
    if any(not 0 <= start <= extent - n for start, n, extent in zip(at, sizes, x.shape, strict=True)):
        raise IndexError("a window outside of its tensor")
    return tuple(slice(start, start + n) for start, n in zip(at, sizes, strict=True))


def store(x: Value, at: Sequence[int], tile: Value) -> None:
    x[window(x, at, tile.shape)] = tile


def require(condition: Test, message: str = "") -> None:
    """An assertion of a kernel: one that holds."""
    if not condition.true.all() or condition.unsure.any():
        raise ValueError(message)


def tile_kernel(function: Any = None, **options: Any) -> Any:
    """The function itself, with its options as names."""
    if function is None:
        return lambda f: tile_kernel(f, **options)
    function.__globals__.update(options)
    return function


class _Type:
    """What an annotation says is for the compiler."""

    def __getitem__(self, dims: Any) -> None:
        return None


def _slope_of_exp(x: Value) -> np.ndarray:
    return np.exp(x.value + x.error)


exp = smooth(np.exp, _slope_of_exp)
sqrt = smooth(np.sqrt, lambda x: 0.5 / np.sqrt(least(x)))
PT = SimpleNamespace(
    exp=exp, sqrt=sqrt, log=smooth(np.log, lambda x: 1 / least(x)), tanh=smooth(np.tanh, lambda x: 1.0),
    rsqrt=smooth(lambda v: 1 / np.sqrt(v), lambda x: 0.5 / least(x) ** 1.5),
    reciprocal=smooth(lambda v: 1 / v, lambda x: 1 / least(x) ** 2),
    sin=smooth(np.sin, lambda x: 1.0), cos=smooth(np.cos, lambda x: 1.0),
    erf=smooth(lambda v: np.vectorize(math.erf, otypes=[float])(v), lambda x: 1.13),
    floor=stepped(np.floor), ceil=stepped(np.ceil), round=stepped(np.rint), abs=kept(np.abs),
    relu=kept(lambda v: np.maximum(v, 0)), maximum=picked(np.maximum), minimum=picked(np.minimum), sum=total,
    max=largest, min=smallest, mean=mean, matmul=product, tile_matmul=matmul, dot=matmul, where=where,
    argmax=lambda x, axis=-1, *, keepdims=True: S32.of(first_of_largest(x, axis)), masked_fill=masked_fill, clamp=clamp,
    softmax=softmax, layer_norm=layer_norm,
    rms_norm=rms_norm, sigmoid=sigmoid, silu=lambda x: logistic(x, x, 2.0**-121), attention=attention, concat=concat,
    embedding=lambda ids, table: table[ids], arange=lambda start, stop, step=1: Value(
        np.arange(start, stop, step)),
    empty=empty, full=full, zeros=lambda shape, dtype=None: full(shape, 0.0), range=range, static_range=range,
    load=lambda x, at, sizes: x[window(x, at, sizes)], store=store, print=lambda *parts: None, assert_=require,
    cdiv=lambda a, b: -(-a // b), tile_kernel=tile_kernel, index=_Type(), constexpr=_Type(), **ELEMENTS,
)
