"""Forms as rows: how a quantised matrix lies in memory for the machine, and what a product with it means.

A product of activations x [m, k] with weights [n, k] is ``x W'``. With activations in 8 or 14 bits, each token's are
first rounded to integers that share a scale; products and sums of integers are exact, and scaled at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pto.core.errors import UsageError
from pto.quant.schemes import A8, A14, ROW, TENSOR, Floats, Scheme
from pto.quant.tensor import Quantised

SMALLEST = float(np.float32(2.0**-100))  # of a token's scale: activations of nothing but zeros stay zeros
ACTIVATIONS: dict[str, Scheme | None] = {"a16": None, "a14": A14, "a8": A8}  # None: as they are, float32
Parts = tuple[NDArray[np.generic], ...]


@dataclass(frozen=True, slots=True)
class Form:
    """One way to keep the weights of a product.

    Attributes:
        name: what it is called.
        parts: names of its arrays.
        activations: the activations it can be multiplied with, of `ACTIVATIONS`.
        takes: can it keep these weights?
        pack: weights to arrays, each with the leading axes of the weights.
        weights: the arrays of one matrix to float32 [n, k], which are what a product means.
        doc: one sentence.
    """

    name: str
    parts: tuple[str, ...]
    activations: tuple[str, ...]
    takes: Callable[[Quantised], bool]
    pack: Callable[[Quantised], Parts]
    weights: Callable[..., Floats]
    doc: str


@dataclass(frozen=True, eq=False)
class Packed:
    """Quantised weights as kernels take them: an argument of a kernel like an array.

    Attributes:
        form: how they lie in memory.
        activation: in what the activations of a product are written, of `ACTIVATIONS`.
        shape: of the weights, [..., n, k].
        parts: the arrays.
    """

    form: Form
    activation: str
    shape: tuple[int, ...]
    parts: Parts

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(part.nbytes for part in self.parts)

    def dequantise(self) -> Floats:
        """The weights, float32."""
        lead = self.shape[:-2]
        found = np.empty(self.shape, np.float32)
        for at in np.ndindex(lead):
            found[at] = self.form.weights(*(part[at] for part in self.parts))
        return found


def _whole_rows(weights: Quantised) -> bool:
    return weights.codes.dtype == np.int8 and weights.scheme.share in (ROW, TENSOR)


def _by_row(values: Floats, weights: Quantised) -> Floats:
    """One value for each row."""
    rows = weights.shape[:-1]
    return np.ascontiguousarray(np.broadcast_to(values[..., 0], rows), np.float32)


def _pack_rows(weights: Quantised) -> Parts:
    return np.ascontiguousarray(weights.codes), _by_row(weights.scale, weights)


def _pack_rows_offset(weights: Quantised) -> Parts:
    assert weights.offset is not None
    return *_pack_rows(weights), _by_row(weights.offset, weights)


def _rows(codes: NDArray[np.int8], scale: Floats) -> Floats:
    return np.asarray(codes * scale[:, None], np.float32)


def _rows_offset(codes: NDArray[np.int8], scale: Floats, offset: Floats) -> Floats:
    return np.asarray(codes * scale[:, None] + offset[:, None], np.float32)


ALL = tuple(ACTIVATIONS)
ROWS = Form("rows", ("codes", "scale"), ALL, lambda w: w.offset is None and _whole_rows(w), _pack_rows, _rows,
            "codes in int8 and a scale for each row")
ROWS_OFFSET = Form("rows_offset", ("codes", "scale", "offset"), ALL, lambda w: w.offset is not None and _whole_rows(w),
                   _pack_rows_offset, _rows_offset, "codes in int8, a scale and an offset for each row")
FORMS = (ROWS, ROWS_OFFSET)
BY_NAME = {form.name: form for form in FORMS}


def pack(weights: Quantised, activation: str = "a14") -> Packed:
    """Weights [..., n, k] in the first form that can keep them.

    Args:
        activation: "a16": float32 activations; "a14", "a8": a token's are rounded to 14 or 8 bits.

    Raises:
        UsageError: there is no such activation, or no form for these weights.
    """
    if activation not in ACTIVATIONS:
        raise UsageError(f"there is no activation {activation!r}", hint=f"there are {', '.join(ACTIVATIONS)}")
    if len(weights.shape) < 2:
        raise UsageError(f"weights have two axes or more, not {len(weights.shape)}")
    for form in FORMS:
        if activation in form.activations and form.takes(weights):
            return Packed(form, activation, weights.shape, form.pack(weights))
    raise UsageError(f"no kernel multiplies {activation} activations with weights in {weights.scheme.name} of "
                     f"{weights.shape[-2]} x {weights.shape[-1]}", hint="a scheme with a scale for each row "
                     "has kernels for all extents")


def rounded(x: Floats, scheme: Scheme) -> tuple[NDArray[np.signedinteger], Floats]:
    """Activations [..., k] as integers, with each token's scale [..., 1]; in float32 as the machine computes it."""
    largest = np.abs(x).max(-1, keepdims=True)
    scale = np.maximum(largest * np.float32(1 / scheme.high), np.float32(SMALLEST))
    return np.rint(x * (np.float32(1) / scale)).astype(scheme.dtype), np.asarray(scale, np.float32)


def product(x: Floats, form: Form, activation: str, *parts: NDArray[np.generic]) -> Floats:
    """x [..., m, k] times the transpose of the weights that parts stand for, in float64 and rounded once."""
    scheme, weights = ACTIVATIONS[activation], form.weights(*parts).astype(np.float64)
    if scheme is None:
        return np.asarray(x.astype(np.float64) @ weights.T, np.float32)
    codes, scale = rounded(x, scheme)
    return np.asarray((codes.astype(np.float64) @ weights.T) * scale, np.float32)
