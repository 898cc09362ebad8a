"""Calibration: which range of values the codes of a block cover, and how well they do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pto.core.errors import UsageError, require_known
from pto.quant.schemes import Floats, Scheme

METHODS = ("minmax", "percentile", "optimal")
SHRINKS = np.linspace(1.0, 0.3, 71, dtype=np.float32)  # parts of the whole range that are tried


@dataclass(frozen=True, slots=True)
class Calibration:
    """How the range of each block is found.

    Attributes:
        method: ``minmax``: all values; ``percentile``: that part of them, `percent`, from the middle on; ``optimal``:
            the part of the whole range with the least mean square error.
        percent: of the values that lie within the range.
    """

    method: str = "minmax"
    percent: float = 99.9

    def __post_init__(self) -> None:
        require_known(METHODS, self.method, "calibration")
        if not 0 < self.percent <= 100:
            raise UsageError(f"a percentile is above 0 and at most 100, not {self.percent}")

    def grid(self, parts: Floats, scheme: Scheme) -> tuple[Floats, Floats]:
        """The scale of each block [..., n], and the code of 0.0, as float32."""
        low, high = self._range(parts, scheme)
        if self.method != "optimal":
            return fitted(low, high, scheme)
        best = fitted(low, high, scheme)
        error: Floats = np.full_like(low, np.inf)
        for part in SHRINKS:
            scale, zero = fitted(low * part, high * part, scheme)
            wrong = self._error(parts, scale, zero, scheme)
            better = wrong < error
            best = _chosen(better, scale, best[0]), _chosen(better, zero, best[1])
            error = _chosen(better, wrong, error)
        return best

    def _range(self, parts: Floats, scheme: Scheme) -> tuple[Floats, Floats]:
        """The ends of the range of each block, 0.0 inside."""
        if self.method == "percentile":
            outside = (100 - self.percent) / (1 if scheme.symmetric else 2)
            source = np.abs(parts) if scheme.symmetric else parts
            high: NDArray[Any] = np.percentile(source, 100 - outside, axis=-1)
            low: NDArray[Any] = -high if scheme.symmetric else np.percentile(source, outside, axis=-1)
        else:
            low, high = parts.min(-1), parts.max(-1)
        return _floats(np.minimum(low, 0)), _floats(np.maximum(high, 0))

    @staticmethod
    def _error(parts: Floats, scale: Floats, zero: Floats, scheme: Scheme) -> Floats:
        safe = np.where(scale > 0, scale, 1)[..., None]
        codes = np.clip(np.rint(parts / safe) + zero[..., None], scheme.low, scheme.high) - zero[..., None]
        return np.asarray(np.square(codes * scale[..., None] - parts).mean(-1), np.float32)


def _floats(values: Any) -> Floats:
    return np.asarray(values, np.float32)


def _chosen(first: Any, a: Floats, b: Floats) -> Floats:
    return _floats(np.where(first, a, b))


def fitted(low: Floats, high: Floats, scheme: Scheme) -> tuple[Floats, Floats]:
    """The scale that makes a scheme's codes cover a range, and the code of 0.0."""
    if scheme.symmetric:
        size = _floats(np.maximum(-low, high) / np.float32(scheme.high))
        return size, np.zeros_like(size)
    scale = _floats((high - low) / np.float32(scheme.levels - 1))
    zero = scheme.low - np.rint(np.divide(low, scale, out=np.zeros_like(scale), where=scale > 0))
    return scale, _floats(zero)


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How near some values are to others that they stand for.

    Attributes:
        name: of the layer.
        cosine: of the angle between the two, as vectors.
        sqnr: power of the values over that of the difference, in decibels; inf where there is none.
        largest: largest difference.
    """

    name: str
    cosine: float
    sqnr: float
    largest: float


@dataclass(frozen=True, slots=True)
class Sums:
    """What a comparison of two arrays adds up, in float64; those of parts of the arrays can be added.

    Attributes:
        product, exact, ours: sums of the products of their elements, and of the squares of each array's.
        wrong: sum of the squares of their differences.
        largest: largest difference.
    """

    product: float = 0.0
    exact: float = 0.0
    ours: float = 0.0
    wrong: float = 0.0
    largest: float = 0.0

    @classmethod
    def of(cls, exact: Floats, ours: Floats) -> Sums:
        """Those of two arrays of one shape."""
        a, b = exact.astype(np.float64).ravel(), ours.astype(np.float64).ravel()
        off = a - b
        return cls(float(a @ b), float(a @ a), float(b @ b), float(off @ off), float(np.abs(off).max(initial=0.0)))

    def __add__(self, more: Sums) -> Sums:
        return Sums(self.product + more.product, self.exact + more.exact, self.ours + more.ours,
                    self.wrong + more.wrong, max(self.largest, more.largest))

    def fidelity(self, name: str) -> Fidelity:
        """How near the second array is to the first."""
        if not self.wrong:
            return Fidelity(name, 1.0, np.inf, 0.0)
        lengths = math.sqrt(self.exact) * math.sqrt(self.ours)
        sqnr = 10 * math.log10(self.exact / self.wrong) if self.exact else -np.inf
        return Fidelity(name, self.product / lengths if lengths else 0.0, sqnr, self.largest)


def compared(name: str, exact: Floats, ours: Floats) -> Fidelity:
    """How near `ours` is to `exact`, two arrays of one shape."""
    return Sums.of(exact, ours).fidelity(name)


def table(rows: Sequence[Fidelity]) -> str:
    """Lines of layers below each other, with a head."""
    wide = max(5, *(len(row.name) for row in rows)) if rows else 5
    lines = [f"{'layer':{wide}}  {'cosine':>9}  {'SQNR dB':>8}  {'largest':>10}"]
    lines += [f"{row.name:{wide}}  {row.cosine:9.6f}  {row.sqnr:8.2f}  {row.largest:10.3e}" for row in rows]
    return "\n".join(lines)


def report(rows: Sequence[Fidelity]) -> str:
    """A table of layers, the worst last."""
    return table(sorted(rows, key=lambda row: -row.sqnr))
