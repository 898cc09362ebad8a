"""Forms as rows: how a quantised matrix lies in memory for the machine, and what a product with it means.

A product of activations x [m, k] with weights [n, k] is ``x W'``. With activations in 8 or 14 bits, each token's are
first rounded to integers that share a scale; products and sums of integers are exact, and scaled at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pto.core.arrays import room
from pto.core.errors import UsageError, require_known
from pto.core.packed import COLS, Q4, Q8, T2, T3, Packing
from pto.core.packing import packed, unpacked
from pto.quant.schemes import A8, A14, ROW, TENSOR, Floats, Scheme
from pto.quant.tensor import Quantised

BITS_32, WEIGHT, GIVEN_UP = 2**31 - 1, 128, 8  # largest sum, largest weight, parts of the range that may be lost
EIGHT = 8  # what three digits of code 0 stand for
PANEL = 16  # rows that are packed together
MOST_TERNARY = 100_000  # columns whose sums 32 bits hold
SMALLEST = float(np.float32(2.0**-100))  # of a token's scale: activations of nothing but zeros stay zeros
ACTIVATIONS: dict[str, Scheme | None] = {"a16": None, "a14": A14, "a8": A8}  # None: as they are, float32
Parts = tuple[NDArray[np.generic], ...]
Layout = tuple[tuple[str, tuple[int, ...]], ...]  # element type, as NumPy names it, and extents of each part


@dataclass(frozen=True, slots=True)
class Form:
    """One way to keep the weights of a product.

    Attributes:
        name: what it is called.
        parts: names of its arrays.
        activations: the activations it can be multiplied with, of `ACTIVATIONS`.
        takes: can it keep weights of a scheme in rows of k columns?
        layout: what the parts of n rows of k columns are. Those of the first rows of a matrix, where these are whole
            panels, are the first rows of its parts.
        pack: weights to parts, each with the leading axes of the weights.
        weights: the arrays of one matrix to float32 [n, k], which are what a product means; rows may follow.
        doc: one sentence.
        limited: integers of a row's products are added up in 32 bits, and codes have 8 (see `most`); else all sums fit.
    """

    name: str
    parts: tuple[str, ...]
    activations: tuple[str, ...]
    takes: Callable[[Scheme, int], bool]
    layout: Callable[[int, int], Layout]
    pack: Callable[[Quantised], Parts]
    weights: Callable[..., Floats]
    doc: str
    limited: bool = False


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

    @classmethod
    def empty(cls, form: Form, activation: str, shape: tuple[int, ...]) -> Packed:
        """Room for weights, which `put` fills."""
        *lead, n, k = shape
        parts = tuple(room((*lead, *extents), dtype) for dtype, extents in form.layout(n, k))
        return cls(form, activation, shape, parts)

    def put(self, weights: Quantised, first: int, *lead: int) -> None:
        """Keep some rows of the matrix at some place of the leading axes.

        Args:
            weights: [rows, k].
            first: where they begin, a multiple of `PANEL`; they end there too, or where the matrix ends.
        """
        begins = self.form.layout(first, self.shape[-1])
        for part, made, (_, (start, *_)) in zip(self.parts, self.form.pack(weights), begins, strict=True):
            part[lead][start:start + len(made)] = made

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(part.nbytes for part in self.parts)

    def dequantise(self) -> Floats:
        """The weights, float32."""
        lead = self.shape[:-2]
        found = np.empty(self.shape, np.float32)
        for at in np.ndindex(lead):
            found[at] = self.form.weights(*(part[at] for part in self.parts))[:self.shape[-2]]
        return found


def _whole_rows(scheme: Scheme) -> bool:
    return scheme.dtype == np.int8 and scheme.share in (ROW, TENSOR)


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


def _grouped(scheme: Scheme) -> bool:
    """Groups of 32, which records are made of."""
    return scheme.share == COLS


def _panels(rows: int) -> int:
    return -(-rows // PANEL)


def _record_layout(packing: Packing, n: int, k: int) -> Layout:
    return (("uint8", (_panels(n), k // COLS * packing.record)),)


def _shifted(weights: Quantised, low: int) -> tuple[Floats, Floats]:
    """Scales and offsets for codes that are counted from `low` on."""
    offset = weights.scale * np.float32(low)
    return weights.scale, offset if weights.offset is None else offset + weights.offset


def _records(weights: Quantised, packing: Packing, low: int = 0) -> Parts:
    """Records of the codes less `low`, for each matrix, completed with rows of zeros; scales become float16."""
    lead = weights.shape[:-2]
    numbers: tuple[Floats, ...] = _shifted(weights, low) if packing.shifted else (weights.scale,) * packing.scaled
    made = [packed(_completed(weights.codes[at].astype(np.int16) - low), packing,
                   *(_completed(x[at].astype(np.float16)) for x in numbers)) for at in np.ndindex(lead)]
    return (np.reshape(made, (*lead, *made[0].shape)),)


def _completed(rows: NDArray[Any]) -> NDArray[Any]:
    """Rows, and zeros up to a whole number of panels."""
    return np.pad(rows, ((0, -len(rows) % PANEL), (0, 0)))


def _from_records(packing: Packing, records: NDArray[np.uint8]) -> Floats:
    values, numbers = unpacked(records, packing)
    found = values.astype(np.float32)
    for number, combine in zip(numbers, (np.multiply, np.add), strict=False):
        found = combine(found, np.repeat(number, COLS, 1))
    return np.asarray(found, np.float32)


def _is_q8(scheme: Scheme, k: int) -> bool:
    return _grouped(scheme) and scheme.symmetric and scheme.dtype == np.int8


def _is_q4(scheme: Scheme, k: int) -> bool:
    return _grouped(scheme) and scheme.levels <= Q4.high + 1


def _is_t3(scheme: Scheme, k: int) -> bool:
    """Three digits, or the codes of four bits, which they hold."""
    return _grouped(scheme) and (scheme.planes == T3.planes or scheme.levels <= Q4.high + 1)


def _is_t2(scheme: Scheme, k: int) -> bool:
    return _whole_rows(scheme) and k % COLS == 0 and k <= MOST_TERNARY and scheme.planes == 1


def _pack_t2(weights: Quantised) -> Parts:
    scale = _by_row(weights.scale, weights)
    whole = np.pad(scale, [(0, 0)] * (scale.ndim - 1) + [(0, -scale.shape[-1] % PANEL)])
    return *_records(weights, T2), whole.reshape(*scale.shape[:-1], -1, PANEL)


def _from_t2(records: NDArray[np.uint8], scale: Floats) -> Floats:
    return np.asarray(unpacked(records, T2)[0] * scale.reshape(-1, 1), np.float32)


def _pack_t3(weights: Quantised) -> Parts:
    four = weights.scheme.planes != T3.planes
    return _records(weights, T3, weights.scheme.low if four else -EIGHT)


ALL = tuple(ACTIVATIONS)
T2_FORM = Form("t2", ("records", "scale"), ALL, _is_t2,
               lambda n, k: (*_record_layout(T2, n, k), ("float32", (_panels(n), PANEL))), _pack_t2, _from_t2,
               "ternary codes, a scale for each row")
T3_FORM = Form("t3", ("records",), ALL, _is_t3, partial(_record_layout, T3), _pack_t3, partial(_from_records, T3),
               "codes of three ternary digits, a scale and an offset for each group of 32")
Q4_FORM = Form("q4", ("records",), ALL, _is_q4, partial(_record_layout, Q4), lambda w: _records(w, Q4, w.scheme.low),
               partial(_from_records, Q4), "codes in 4 bits, a scale and an offset for each group of 32")
Q8_FORM = Form("q8", ("records",), ALL, _is_q8, partial(_record_layout, Q8), lambda w: _records(w, Q8),
               partial(_from_records, Q8), "codes in int8, a scale for each group of 32")
ROWS = Form("rows", ("codes", "scale"), ALL, lambda scheme, k: scheme.symmetric and _whole_rows(scheme),
            lambda n, k: (("int8", (n, k)), ("float32", (n,))), _pack_rows, _rows,
            "codes in int8 and a scale for each row", limited=True)
ROWS_OFFSET = Form("rows_offset", ("codes", "scale", "offset"), ALL,
                   lambda scheme, k: not scheme.symmetric and _whole_rows(scheme),
                   lambda n, k: (("int8", (n, k)), ("float32", (n,)), ("float32", (n,))), _pack_rows_offset,
                   _rows_offset, "codes in int8, a scale and an offset for each row", limited=True)
FORMS = (T2_FORM, Q4_FORM, T3_FORM, Q8_FORM, ROWS, ROWS_OFFSET)  # the first that can keep some weights does
BY_NAME = {form.name: form for form in FORMS}


def form_of(scheme: Scheme, shape: tuple[int, ...], activation: str = "a14", form: str = "") -> Form:
    """The form with a name, or the first one, that can keep weights [..., n, k] of a scheme; errors as of `pack`."""
    require_known(ACTIVATIONS, activation, "activation")
    if len(shape) < 2:
        raise UsageError(f"weights have two axes or more, not {len(shape)}")
    for row in FORMS:
        if form in ("", row.name) and activation in row.activations and row.takes(scheme, shape[-1]):
            return row
    raise UsageError(f"no kernel multiplies {activation} activations with weights in {scheme.name} of "
                     f"{' x '.join(map(str, shape))}",
                     hint="a scheme with a scale for each row has kernels for all extents")


def pack(weights: Quantised, activation: str = "a14", form: str = "") -> Packed:
    """Weights [..., n, k] in a form, or in the first one that can keep them.

    Packed forms keep scales in float16: those of other schemes than blocks of files are rounded.

    Args:
        activation: "a16": float32 activations; "a14", "a8": a token's are rounded to 14 or 8 bits.

    Raises:
        UsageError: there is no such activation, or no form for these weights.
    """
    row = form_of(weights.scheme, weights.shape, activation, form)
    return Packed(row, activation, weights.shape, row.pack(weights))


def most(scheme: Scheme, k: int) -> tuple[int, int]:
    """The largest integer that activations of k channels become, and how many products are added up at a time.

    This is for forms that are `limited`: sums with 8-bit weights fit 32 bits. Of 14 bits one is given up for each
    doubling of k beyond 2048, three at most; longer sums are cut.
    """
    cut = min(k, BITS_32 // (WEIGHT * (scheme.high // GIVEN_UP + 1)) // COLS * COLS)
    return min(scheme.high, BITS_32 // (WEIGHT * cut)), cut


def rounded(x: Floats, scheme: Scheme, high: int) -> tuple[NDArray[np.signedinteger], Floats]:
    """Activations [..., k] as integers up to `high`, with each token's scale [..., 1]; as the machine computes it."""
    largest = np.abs(x).max(-1, keepdims=True)
    scale = np.maximum(largest * np.float32(1 / high), np.float32(SMALLEST))
    return np.rint(x * (np.float32(1) / scale)).astype(scheme.dtype), np.asarray(scale, np.float32)


def product(x: Floats, form: Form, activation: str, n: int, *parts: NDArray[np.generic]) -> Floats:
    """x [..., m, k] times the transpose of the n rows of weights that parts stand for, in float64 and rounded once."""
    scheme, weights = ACTIVATIONS[activation], form.weights(*parts)[:n].astype(np.float64)
    if scheme is None:
        return np.asarray(x.astype(np.float64) @ weights.T, np.float32)
    codes, scale = rounded(x, scheme, most(scheme, x.shape[-1])[0] if form.limited else scheme.high)
    return np.asarray((codes.astype(np.float64) @ weights.T) * scale, np.float32)
