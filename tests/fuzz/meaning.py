"""What `pt` is when the text of a kernel is run on NumPy: values in float64 with a bound on the error of f32.

A result that f32 holds exactly, of operands that are exact, has no error: so kernels of small integers are compared
bit for bit, and all others within the usual running bounds (Higham, Accuracy and Stability, chapter 3).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.reference import TINY, U, gamma

LARGEST = 2.0**24  # integers up to here are f32


class Value:
    """A tensor or a tile: its elements, and how far from them an f32 evaluation may be. Views share memory."""

    __array_ufunc__ = None

    def __init__(self, value: Any, error: Any = None) -> None:
        self.value = np.asarray(value, np.float64)
        self.error = np.zeros_like(self.value) if error is None else np.broadcast_to(error, self.value.shape)

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


def total(x: Value, axis: int = -1, *, keepdims: bool = True) -> Value:
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


def largest(x: Value, axis: int = -1, *, keepdims: bool = True) -> Value:
    return Value(x.value.max(-1, keepdims=True), x.error.max(-1, keepdims=True))


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
    return 1.0 / (1.0 + exp(-x))


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
    max=largest, mean=mean, matmul=matmul, tile_matmul=matmul, dot=matmul, softmax=softmax, layer_norm=layer_norm,
    rms_norm=rms_norm, sigmoid=sigmoid, silu=lambda x: x / (1.0 + exp(-x)), attention=attention, concat=concat,
    embedding=lambda ids, table: table[ids], arange=lambda start, stop, step=1: Value(
        np.arange(start, stop, step)),
    empty=empty, full=full, zeros=lambda shape, dtype=None: full(shape, 0.0), range=range, static_range=range,
    cdiv=lambda a, b: -(-a // b), tile_kernel=tile_kernel, f32=_Type(), s32=_Type(), index=_Type(), constexpr=_Type(),
)
