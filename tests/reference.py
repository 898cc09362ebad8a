"""Expressions in float64 with a bound on the error of any f32 evaluation: what a result is compared with.

`Bounded` follows each rounding of f32 by the usual running analysis; sums and products of matrices may be in
any order, so their bound is gamma_n times the sum of the terms' magnitudes. The functions below are what `pt`
is when a kernel's text is run on `Bounded`.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

U = 2.0**-24
TINY = 2.0**-149


def gamma(n: int) -> float:
    return n * U / (1 - n * U)


@dataclass
class Bounded:
    """A value, and how far from it an f32 evaluation may be."""

    value: np.ndarray
    error: np.ndarray

    @classmethod
    def exact(cls, array: Any) -> Bounded:
        value = np.asarray(array, np.float64)
        return cls(value, np.zeros_like(value))

    def _new(self, value: np.ndarray, error: Any, roundings: float = 1.0) -> Bounded:
        return Bounded(value, error + roundings * U * (np.abs(value) + error) + TINY)

    def __add__(self, other: Any) -> Bounded:
        o = lift(other)
        return self._new(self.value + o.value, self.error + o.error)

    def __sub__(self, other: Any) -> Bounded:
        o = lift(other)
        return self._new(self.value - o.value, self.error + o.error)

    def __mul__(self, other: Any) -> Bounded:
        o = lift(other)
        error = np.abs(self.value) * o.error + np.abs(o.value) * self.error + self.error * o.error
        return self._new(self.value * o.value, error)

    def __truediv__(self, other: Any) -> Bounded:
        o = lift(other)
        value = self.value / o.value
        error = (self.error + np.abs(value) * o.error) / np.maximum(np.abs(o.value) - o.error, TINY)
        return self._new(value, error)

    __radd__, __rmul__ = __add__, __mul__

    def __rsub__(self, other: Any) -> Bounded:
        return lift(other) - self

    def __neg__(self) -> Bounded:
        return Bounded(-self.value, self.error)

    def check(self, got: np.ndarray, slack: float = 1.0) -> None:
        """Is a result within the bound everywhere?"""
        assert got.shape == self.value.shape
        assert got.dtype == np.float32
        excess = np.abs(got - self.value) - slack * self.error
        worst = np.unravel_index(np.argmax(np.nan_to_num(excess, nan=np.inf)), excess.shape)
        assert excess[worst] <= 0, f"at {worst}: {got[worst]} for {self.value[worst]} +- {self.error[worst]}"


def lift(value: Any) -> Bounded:
    """A constant is rounded to f32 first."""
    return value if isinstance(value, Bounded) else Bounded.exact(np.float64(np.float32(value)))


def exp(x: Bounded) -> Bounded:
    value = np.exp(x.value)
    return x._new(value, value * np.expm1(x.error), 2.0)


def relu(x: Bounded) -> Bounded:
    return Bounded(np.maximum(x.value, 0), x.error)


def maximum(a: Bounded, b: Any) -> Bounded:
    return Bounded(np.maximum(a.value, lift(b).value), np.maximum(a.error, lift(b).error))


def total(x: Bounded, axis: int = -1, keepdims: bool = True) -> Bounded:
    n = x.value.shape[-1] + 1
    magnitude = (np.abs(x.value) + x.error).sum(-1, keepdims=True)
    return Bounded(x.value.sum(-1, keepdims=True), x.error.sum(-1, keepdims=True) + gamma(n) * magnitude + TINY)


def largest(x: Bounded, axis: int = -1, keepdims: bool = True) -> Bounded:
    return Bounded(x.value.max(-1, keepdims=True), x.error.max(-1, keepdims=True))


def softmax(x: Bounded, dim: int = -1) -> Bounded:
    powers = exp(x - largest(x))
    return powers * (lift(1.0) / total(powers))


def matmul(a: Bounded, b: Bounded) -> Bounded:
    x, y = np.abs(a.value), np.abs(b.value)
    error = a.error @ y + x @ b.error + a.error @ b.error
    n = a.value.shape[1]
    return Bounded(a.value @ b.value, error + gamma(n) * ((x + a.error) @ (y + b.error)) + n * TINY)


PT = SimpleNamespace(exp=exp, relu=relu, maximum=maximum, sum=total, max=largest, softmax=softmax, matmul=matmul)
