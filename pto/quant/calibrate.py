"""Calibration: which range of values the codes of a block cover, and how well they do."""

from __future__ import annotations

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


def compared(name: str, exact: Floats, ours: Floats) -> Fidelity:
    """How near `ours` is to `exact`, two arrays of one shape; computed in float64."""
    a, b = exact.astype(np.float64).ravel(), ours.astype(np.float64).ravel()
    wrong, power = np.square(a - b).sum(), np.square(a).sum()
    lengths = np.sqrt(power * np.square(b).sum())
    cosine = float(a @ b / lengths) if lengths else float(power == 0 and wrong == 0)
    if not wrong:
        return Fidelity(name, 1.0, np.inf, 0.0)
    sqnr = float(10 * np.log10(power / wrong)) if power else -np.inf
    return Fidelity(name, cosine, sqnr, float(np.abs(a - b).max()))


def report(rows: list[Fidelity]) -> str:
    """A table of layers, the worst last."""
    wide = max([len(row.name) for row in rows], default=0)
    lines = [f"{'layer':{wide}}  {'cosine':>9}  {'SQNR dB':>8}  {'largest':>10}"]
    for row in sorted(rows, key=lambda r: -r.sqnr):
        lines.append(f"{row.name:{wide}}  {row.cosine:9.6f}  {row.sqnr:8.2f}  {row.largest:10.3e}")
    return "\n".join(lines)
